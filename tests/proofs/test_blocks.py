"""Every card, modal and sentence is valid within Slack's limits, whatever outsiders wrote."""

import json
import re
from dataclasses import asdict, replace
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block
from slack_sdk.models.views import View

import addresses
import blocks
from conveyor_client import AccessGroup, Authorization
from ledger.numbers import Numbers, Waiting
from ledger.rows import Past, Reviewer, Row
from ledger.same import Given
from ledger.states import State
from sandbox import limits
from settings import MENTIONS_MOST
from text import is_readable
from workspace import block_kit as elements
from workspace.reviewers import WhoDecides

# Text as outsiders may write it: anything, and often something that has a meaning in Slack.
NASTY = st.sampled_from(
    [
        "<!channel>",
        "<@U0ANN>",
        "&",
        "<",
        ">",
        "&amp;",
        "*b*",
        "`",
        "😀",
        "\u202e",
        "\n",
        "a",
        "<https://x|y>",
        "\x07",
        " ",
    ]
)
OUTSIDE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60),
    st.lists(NASTY, max_size=40).map("".join),
    st.tuples(NASTY, st.sampled_from([75, 150, 500, 3000, 4001, 20_000])).map(lambda pair: pair[0] * pair[1]),
)
GROUPS = st.lists(
    st.builds(
        AccessGroup,
        id=st.text("abcdefgh-0123456789", min_size=1, max_size=150),
        name=OUTSIDE,
        dataroom_id=st.just("room-1"),
    ),
    max_size=14,
    unique_by=lambda group: group.id,
)
TIMES = st.floats(0, 4e9)
STATES = [
    *(
        State.PENDING,
        State.APPROVING,
        State.APPROVED,
        State.REJECTING,
        State.REJECTED,
        State.REVOKING,
        State.REVOKED,
        State.CHANGING,
        State.APPROVING_AFTER_ALL,
    ),
    *(State.APPROVED_ELSEWHERE, State.IGNORED_ELSEWHERE, State.GONE),
]
PEOPLE = st.builds(Reviewer, st.sampled_from(["", "U0ANN"]), OUTSIDE, st.just(""))
PASTS = st.builds(
    Past,
    email=OUTSIDE,
    state=st.sampled_from([*STATES, State.CLOSED, None]),
    at=TIMES,
    reviewer=PEOPLE,
    reason=OUTSIDE,
    groups=st.one_of(st.none(), GROUPS.map(tuple)),
)
REJECTIONS = st.builds(replace, PASTS, state=st.just(State.REJECTED))
COMPANIES = st.one_of(
    st.sampled_from([None, {}, {"personal": True}]),
    st.dictionaries(st.sampled_from(list(blocks.LOOKS_LIKE)), st.one_of(OUTSIDE, st.just("a.b" * 999))),
    st.fixed_dictionaries(
        {
            "with_access": st.integers(0, 10**9),
            "latest_activity_at": TIMES,
            "crm_link": st.sampled_from(["", "https://crm.example/" + "x" * 1900]),
        }
    ),
)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    state = draw(st.sampled_from(STATES))
    is_after_all = state == State.APPROVING_AFTER_ALL
    is_thought_over = is_after_all or state == State.CHANGING  # neither begins once access is revoked
    return Row(
        id=draw(st.text("abc-123", min_size=1, max_size=200)),
        round=draw(st.integers(1, 10_000)),
        state=state,
        email=draw(OUTSIDE) or "x",
        message=draw(OUTSIDE),
        dataroom_id="room-1",
        link=draw(st.sampled_from(["", "https://app.example/" + "x" * 1980])),
        crm_link=draw(st.sampled_from(["", "https://crm.example/" + "x" * 1980])),
        received_at=draw(TIMES),
        previous=draw(st.none() | PASTS),
        company=draw(COMPANIES),
        revision=draw(st.integers(1, 10_000)),
        card_ts=draw(st.sampled_from(["", "1.2"])),
        reviewer=draw(PEOPLE),
        revoker=draw(PEOPLE),
        revoked_at=draw(st.none() | TIMES),
        changer=draw(PEOPLE),
        wanted=draw(st.none() | GROUPS.map(tuple)),
        changed=draw(st.none() | PASTS),
        rejection=None if is_after_all else draw(st.none() | REJECTIONS),
        note=draw(OUTSIDE)[: blocks.REASON_CHARS] if is_after_all else "",
        nda_bypass=draw(st.booleans()),
        expires_at=draw(st.sampled_from(["", "2027-01-31"])),
        access_status=draw(st.sampled_from(["", "gated", "authorized", "odd"])),
        signed_at=draw(st.none() | TIMES),
        access_ends=draw(st.sampled_from([None, "", "2027-01-31"])),
        groups=draw(st.one_of(st.none(), GROUPS.map(tuple))),
        reason=draw(OUTSIDE)[: blocks.REASON_CHARS],
        revoke_reason="" if is_thought_over else draw(OUTSIDE)[: blocks.REASON_CHARS],
        claimed_at=draw(st.none() | TIMES),
        settled_at=draw(st.none() | TIMES),
        problem=draw(st.sampled_from(["", "unavailable", "key", "unconfirmed"])),
    )


def check_message(message: elements.Message) -> None:
    """Check that Slack accepts a message, that its SDK reads it, and that no outsider's markup is in it."""
    assert limits.message_problems(message["text"], message["blocks"]) == []
    assert limits.block_text_length(message["blocks"]) <= limits.BLOCK_TEXT_BUDGET
    assert 0 < len(message["text"]) <= limits.TEXT_BUDGET
    for block in message["blocks"]:
        parsed = Block.parse(block)
        assert parsed
        assert parsed.to_dict() == block
    no_raw_markup(message["text"])
    for text in mrkdwn_texts(message["blocks"]):
        no_raw_markup(text)


def buttons(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the buttons and menus of these blocks."""
    return [element for block in found for element in block.get("elements", [block.get("accessory")])
            if element and element["type"] in ("button", "overflow")]  # fmt: skip


def decisive(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the buttons and menus that decide, and whether the first asks once more before it does."""
    kept = [each for each in buttons(found) if each["action_id"] != blocks.SHOW_WHOLE]
    return [{**each, "confirm": "confirm" in each} for each in kept]


def mrkdwn_texts(found: Any) -> list[str]:
    """Return every text in these blocks that Slack reads as markup."""
    if isinstance(found, list):
        return [text for item in found for text in mrkdwn_texts(item)]
    if isinstance(found, dict):
        own = [found["text"]] if found.get("type") == "mrkdwn" else []
        return own + [text for item in found.values() for text in mrkdwn_texts(item)]
    return []


def no_raw_markup(text: str) -> None:
    """Check that the only markup in a text is our own mentions, dates and links."""
    links = r"<(https://|mailto:)[^|<>]*\|[^|<>]*>"
    ours = re.sub(rf"<@U0ANN>|<!subteam\^S0SEC(URITY)?>|<!date\^\d+\^[^|<>]*\|[^<>]*>|{links}", "", text)
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", ours), text


NUMBERS = st.builds(
    Numbers,
    **dict.fromkeys(("days", "asked", "approved", "rejected"), st.integers(0, 70_000)),
    **dict.fromkeys(("revoked", "elsewhere", "waiting"), st.integers(0, 10**6)),
    **dict.fromkeys(("half", "most"), st.none() | st.floats(0, 1e9)),
    working=st.booleans(),
    longest=st.lists(st.builds(Waiting, OUTSIDE, TIMES, st.sampled_from(["", "https://x/p1"])), max_size=3),
    begins=st.none() | TIMES,
)


@settings(max_examples=100, deadline=None)
@given(NUMBERS, st.integers(0, 2), OUTSIDE)
def test_every_message_with_numbers_is_valid(found: Numbers, refusals: int, typed: str) -> None:
    row = Row("week-1", 1, State.NUMBERS, "", "", "", "", 0.0, numbers=asdict(found), refusals=refusals)
    picture = blocks.shorter_card(row) if refusals else blocks.card(row)
    for message in (blocks.numbers(found), picture, blocks.period_not_understood("/rooms", typed)):
        assert limits.message_problems(message["text"], message["blocks"]) == []


@settings(max_examples=100, deadline=None)
@given(rows(), GROUPS, st.lists(PASTS, max_size=3))
def test_every_card_is_valid(row: Row, groups: list[AccessGroup], past: list[Past]) -> None:
    message = blocks.card(row, groups, past)
    check_message(message)
    for refusals in (1, 2):
        short = blocks.shorter_card(replace(row, refusals=refusals), past)
        check_message(short)
        # Almost all of that are the names of the groups that were granted, beside the address of the link.
        assert limits.block_text_length(short["blocks"]) - len(row.link) < 4000
        assert decisive(short["blocks"]) == decisive(message["blocks"])
    if row.state in (State.APPROVED, State.REJECTED, State.REVOKED):
        assert message["text"].startswith(blocks.DECIDED[row.state][0])
    reason = elements.inert(row.reason).strip()
    if row.state != State.PENDING:
        assert blocks.reason_on_card(message["blocks"], blocks.REASON) == elements.cut(
            reason, blocks.REASON_CHARS
        )


READY = st.lists(
    st.builds(blocks.Ready, words=st.text(min_size=1, max_size=80), needs_text=st.booleans()),
    max_size=100,
    unique_by=lambda ready: ready.words,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(rows(), min_size=2, max_size=6), GROUPS, st.sampled_from(["", "2027-01-31"]))
def test_every_offer_of_the_same_is_valid(found: list[Row], groups: list[AccessGroup], ends: str) -> None:
    first, *others = found
    what = Given(first, tuple(groups), ends)
    for row in others:
        check_message(blocks.card(row, groups, given=what))
    question = blocks.colleagues_question(what, others, 2, lambda row: "https://ours.example/p1")
    assert question
    check_message(question)
    answer = blocks.colleagues_answer(what, others[2:], list(map(blocks.left_out, others[:2])))
    assert len(answer) <= limits.MAX_MESSAGE_TEXT  # it is no card, in whose text people search
    for sentence in (blocks.same_changed(first), blocks.outdated(first), blocks.not_saved(first)):
        assert 0 < len(sentence) <= limits.TEXT_BUDGET
        no_raw_markup(sentence)
    no_raw_markup(answer)


@settings(max_examples=50, deadline=None)
@given(rows(), st.booleans(), READY)
def test_every_rejection_modal_is_valid(row: Row, required: bool, ready: list[blocks.Ready]) -> None:
    metadata = json.dumps({"request": row.id, "round": str(row.round), "channel": "C0", "ts": "1.2"})
    for offered in (blocks.REJECT_REASONS, tuple(ready)):
        with patch.object(blocks, "REJECT_REASONS", offered):
            view = blocks.reject_modal(row, metadata, required)
        assert limits.view_problems(view) == []
        assert View(**view).to_dict() == view


def test_the_email_fits_the_reason_and_never_has_what_was_typed() -> None:
    first, longer = blocks.Ready("Asked twice", mail="We wrote."), blocks.Ready("Asked twice: by phone")
    row = Row("id-1", 1, State.REJECTED, "jo@acme.com", "", "", "", 1.0)
    kept = {
        first.kept(""): first.mail,
        first.kept("no budget"): first.mail,
        longer.kept("no budget"): blocks.MAIL_NEUTRAL,
        "Asked twice, no budget": blocks.MAIL_NEUTRAL,
        "no budget": blocks.MAIL_NEUTRAL,
        "": blocks.MAIL_NEUTRAL,
    }
    with patch.object(blocks, "REJECT_REASONS", (first, longer)):
        for reason, said in kept.items():
            mail = unquote(json.dumps(blocks.card(replace(row, reason=reason))["blocks"][2]))
            assert said in mail
            assert "budget" not in mail
    with patch.object(blocks, "REJECT_REASONS", ()):  # reworded since
        mail = unquote(json.dumps(blocks.card(replace(row, reason=first.words))["blocks"][2]))
    assert blocks.MAIL_NEUTRAL in mail


@settings(max_examples=50, deadline=None)
@given(rows(), st.booleans(), st.integers(-1, 99))
def test_every_other_modal_is_valid(row: Row, required: bool, page: int) -> None:
    for view in (blocks.revoke_modal(row, "{}", required), blocks.message_modal(row, "{}", page)):
        assert limits.view_problems(view) == []
        assert View(**view).to_dict() == view


@settings(max_examples=50, deadline=None)
@given(rows(), GROUPS.filter(bool), st.sampled_from(["gated", "authorized"]))
def test_every_modal_that_changes_groups_is_valid(row: Row, groups: list[AccessGroup], status: str) -> None:
    granted = Authorization("a-1", row.email, status, "room-1", tuple(groups[::2]), 0.0)
    view = blocks.change_modal(row, '{"request": "x"}', groups, granted)
    assert limits.view_problems(view) == []
    assert View(**view).to_dict() == view


@settings(deadline=None)
@given(OUTSIDE.map(lambda text: text[:2000]).filter(str.strip), st.integers(2, 700))
def test_no_text_is_lost_in_pieces(text: str, most: int) -> None:
    found = elements.pieces(text, most)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(elements.length(piece) <= most for piece in found)


@settings(max_examples=50, deadline=None)
@given(rows(), GROUPS, st.sets(st.integers(0, 13)))
def test_every_approval_modal_is_valid(row: Row, groups: list[AccessGroup], chosen: set[int]) -> None:
    ids = [group.id for number, group in enumerate(groups) if number in chosen]
    rejected = replace(row, state=State.REJECTED)
    for view in (
        blocks.approve_modal(row, '{"request": "x"}', groups, ids),
        blocks.after_all_modal(rejected, '{"request": "x"}', groups),
    ):
        assert limits.view_problems(view) == []
        assert View(**view).to_dict() == view


@settings(max_examples=50, deadline=None)
@given(
    st.lists(rows(), max_size=10),
    OUTSIDE,
    st.integers(0, 100_000),
    st.sampled_from([None, "", "gated", "authorized", "revoked", "<new & odd>"]),
    TIMES,
)
def test_every_answer_to_a_command_is_valid(
    found: list[Row], typed: str, more: int, standing: str | None, now: float
) -> None:
    def permalink(row: Row) -> str:
        return "https://ours.example/archives/C0/p12"

    few = found[: blocks.ROOMS_MOST]
    said = None if standing is None else blocks.Access(standing, "2026-12-28")
    access = dict.fromkeys([typed, *(row.id for row in few)], said)
    deciders = WhoDecides(("U0ANN", "S0SECURITY"), ("harbor.example",), more=True)
    check_message(blocks.rooms_help("/rooms", typed))
    check_message(blocks.rooms_help("/rooms", typed, searched=True))
    if customers := list(filter(None, map(addresses.bounded, [typed, *(row.email for row in few)]))):
        check_message(blocks.customers_offered(customers, blocks.MORE_CALLED))
    for who in (typed, f"jane@{typed}"):
        for with_access in (None, 0, more):
            customer = blocks.Customer(who, few, len(few) + more, access, with_access, 3)
            check_message(blocks.rooms_answer(customer, now, permalink, deciders))
    check_message(blocks.waiting_answer(found, len(found) + more, now, permalink))
    until = {row.id: now for row in found[::2]}
    check_message(blocks.watching_answer(found * 2, len(found) * 2 + more, permalink, until))
    for row in found:
        check_message(blocks.more_offered(blocks.watched(row, new=True), row, now))
        for sentence in (blocks.followed(row, now, now), blocks.documents_unseen(row, now)):
            no_raw_markup(sentence)
        check_message(blocks.opened(row.email, typed, now, permalink(row)))
        check_message(blocks.outcome(row, permalink(row)))
        check_message(blocks.outcome_withheld(row))


@settings(max_examples=50, deadline=None)
@given(rows(), st.lists(OUTSIDE, min_size=1, max_size=30), OUTSIDE)
def test_every_sentence_is_valid(row: Row, names: list[str], detail: str) -> None:
    sentences = [
        blocks.groups_not_offered(row, names),
        blocks.card_late(row),
        blocks.no_window(row),
        blocks.nothing_to_change(row),
        *(blocks.cannot_change(row, why) for why in blocks.CANNOT_CHANGE),
        blocks.changed(row),
        blocks.already_decided(row, "U0ANN"),
        blocks.already_decided(row, "U0BOB"),
        blocks.unexpected("abcd1234"),
        *(blocks.not_a_reviewer(WhoDecides(("U0ANN",), (), more)) for more in (True, False)),
        blocks.old_card(row, "https://ours.example/archives/C0/p12"),
        *(
            value
            for name, value in vars(blocks).items()
            if name.isupper() and isinstance(value, str) and " " in value
        ),
    ]
    for sentence in sentences:
        assert 0 < len(sentence) <= limits.TEXT_BUDGET
        no_raw_markup(sentence)
        assert limits.view_problems(blocks.sentence_modal(sentence)) == []
    for kind in blocks.NOTES:
        check_message(blocks.note(kind, "U0ANN", detail, row.email))
        check_message(blocks.note(kind, "", detail, row.email))
    mentions = ["S0SEC", *["U0ANN"] * MENTIONS_MOST]
    for waited in (-1.0, 3601.0, 1e9):
        check_message(blocks.reminder(row.email, waited, mentions, waited > 0, "https://ours.example/p1"))
        check_message(blocks.reminder("", waited, [], waited < 0, ""))


@settings(max_examples=50, deadline=None)
@given(st.lists(OUTSIDE, max_size=150), OUTSIDE)
def test_the_options_that_are_offered_are_valid(names: list[str], typed: str) -> None:
    groups = [AccessGroup(f"id-{number}", name) for number, name in enumerate(names)]
    options = blocks.group_options(groups, typed)
    assert len(options) <= elements.OPTIONS
    assert limits.option_problems({"options": options}) == []
    assert len({option["value"] for option in options}) == len(options)


def test_a_group_is_found_among_two_thousand() -> None:
    groups = [AccessGroup(f"id-{number}", f"Group {number}") for number in range(2000)]
    assert [option["value"] for option in blocks.group_options(groups, "GROUP 1999")] == ["id-1999"]
    assert len(blocks.group_options(groups)) == 100


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("😀😀", 4, "😀😀"), ("😀😀😀", 4, "😀…"), ("", 1, "")],
)
def test_cut_counts_as_slack_may_count(text: str, most: int, expected: str) -> None:
    assert elements.cut(text, most) == expected


UNREADABLE = list(
    "\u200b\u2060\ufeff\xad\u3164\u2800\u034f\u115f\u1160\uffa0\ufe0f\ufe00\U000e0100\U000e0020"
    "\U000e007f\u180b\u200d\u061c\u202e\u3000\x1b\u0301"
)


@pytest.mark.parametrize("unseen", UNREADABLE, ids=ascii)
def test_text_of_invisible_characters_is_not_readable(unseen: str) -> None:
    assert not is_readable(unseen)
    assert not is_readable(f" {unseen}\n\t{unseen}\xa0")
    assert not is_readable(" ".join(UNREADABLE))
    assert is_readable(f"{unseen}.{unseen}")


@pytest.mark.parametrize(
    "text", [".", "7", "€", "不行", "لا", "ᄒ", "न", "👍🏽", "❤\ufe0f", "\U0001fae9", "🇩🇪"]
)
def test_text_that_people_write_is_readable(text: str) -> None:
    assert is_readable(text)


def test_the_text_of_a_decided_card_has_what_people_search_for() -> None:
    row = Row(
        "r",
        1,
        State.REJECTED,
        "Jane@Acme.com",
        "hi",
        "",
        "",
        1.0,
        reviewer=Reviewer("U0ANN", "Ann Lee", ""),
        reason="No NDA",
        settled_at=2.0,
    )
    text = blocks.card(row, [])["text"]
    assert text.startswith(blocks.DECIDED[State.REJECTED][0])
    assert text.endswith(f" Ann Lee: Jane@Acme.com (acme.com). {blocks.WHY} No NDA")
