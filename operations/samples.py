"""Every card, window, and answer that the app can send: made-up customers, and words as long as they get.

`check` asks Slack whether it accepts each of them. A test fails if a function of blocks.py is missing here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import blocks
from addresses import ADDRESS_CHARS, LABEL_CHARS
from conveyor_client import (
    GATED,
    ID_CHARS,
    MESSAGE_CHARS,
    NAME_CHARS,
    OPTION_VALUE_CHARS,
    STATUS_CHARS,
    AccessGroup,
    Authorization,
)
from ledger.numbers import Numbers, Waiting
from ledger.rows import Past, Reviewer, Row
from ledger.same import Given
from ledger.states import IN_FLIGHT, State
from settings import MENTIONS_MOST
from workspace.reviewers import WhoDecides

# A message has "text" and "blocks", and a modal has a "type".
Sample = Mapping[str, Any]
Named = tuple[str, Sample]

NOW = 1_800_000_000.0
LATER = NOW + 1e8
DAY = "2027-01-31"
PERMALINK = "https://slack.example/archives/C0123456789/p1800000000000000"
METADATA = "m" * 1000  # what a window keeps for the click that follows


def _long(most: int) -> str:
    """Return words of so many characters, some of which are longer once they are escaped."""
    return ("Größe & <Maß> 😀 " * most)[:most]


ADDRESS = f"{'j' * 64}@{'.'.join(4 * ['d' * LABEL_CHARS])}"[:ADDRESS_CHARS]
COLLEAGUE = f"c{ADDRESS[1:]}"
COMPANY = ADDRESS.partition("@")[2]
LINK = "https://conveyor.example/".ljust(blocks.LINK_CHARS - 50, "l")  # a longer one is left out
GROUPS = [
    AccessGroup(f"{number:03}".ljust(OPTION_VALUE_CHARS, "g"), _long(NAME_CHARS), "room")
    for number in range(120)
]
ANN, BOB = Reviewer("U0123456789", _long(100), ADDRESS), Reviewer("W0123456789", _long(100), ADDRESS)
DECIDERS = WhoDecides(("U0123456789", "S0123456789"), (COMPANY,), more=True)
# Requests with little in them, with what most have, and with as much as there can be.
EMPTY = Row("r", 1, State.PENDING, "", "", "room", "", NOW)
USUAL = replace(
    EMPTY,
    email="jane@acme.example",
    message="Hello",
    link="https://conveyor.example/",
    company={"with_access": 1},
    card_ts="1800000000.000000",
    reviewer=ANN,
    groups=(AccessGroup("g1", "SOC 2 report"), AccessGroup("g2", "Penetration test")),
    access_status="authorized",
    access_ends=DAY,
    reason="They have signed.",
    claimed_at=NOW,
    settled_at=NOW,
)
LONG = replace(
    USUAL,
    id="r" * ID_CHARS,
    round=9999,
    revision=9999,
    email=ADDRESS,
    message=_long(5000),
    link=LINK,
    crm_link=LINK,
    company={"with_access": 12_345, "latest_activity_at": NOW},
    groups=tuple(GROUPS),
    reason=_long(blocks.REASON_CHARS),
)
ENDED = [state for state in blocks.DECIDED if state]
IS_APPROVED = replace(USUAL, state=State.APPROVED)
APPROVED = {
    "NDA not signed": replace(IS_APPROVED, access_status=GATED, groups=()),
    "NDA not skipped": replace(IS_APPROVED, access_status=GATED, nda_bypass=True),
    "NDA signed": replace(IS_APPROVED, signed_at=NOW),
    "NDA skipped": replace(IS_APPROVED, nda_bypass=True, groups=None),
    "NDA unknown": replace(IS_APPROVED, nda_bypass=True, access_status="", access_ends=None, expires_at=DAY),
    "no end": replace(IS_APPROVED, access_ends="", expires_at=DAY),
}


GIVEN = [Given(replace(LONG, state=State.APPROVED), LONG.groups or (), DAY), Given(IS_APPROVED, (), "")]
WAITING = [Waiting(ADDRESS, 1e8, PERMALINK), Waiting(USUAL.email, 60.0, "")]

# The constants of blocks.py that are private answers as they are.
SENTENCES = """
    CARD_UNKNOWN FORGOTTEN LEDGER_BUSY MEMBERS_UNKNOWN MESSAGE_GONE MORE_CALLED MORE_IN_MESSAGE NOT_ASKED
    NOT_A_MEMBER NOT_CURRENT NO_ADDRESS NO_CUSTOMER NO_KNOWN_CUSTOMER NO_SCOPE ODD_CLICK ORG_WIDE
    OTHER_WORKSPACE READING_THE_CHANNEL STILL_STARTING WHO_UNKNOWN
"""


def samples() -> list[Named]:
    """Return each sample behind its name: the function of blocks.py that makes it, and in which case."""
    return [*_cards(), *_windows(), *_sentences(), *_notes(), *_answers(), *_told()]


def _made(case: str, function: Callable[..., Any], *arguments: Any, **more: Any) -> Named:
    """Return what a function of blocks.py makes of these arguments, as a message or a modal, and its name."""
    made = function(*arguments, **more)
    if isinstance(made, str):
        made = _said(made)
    elif isinstance(made, list):  # the options of a menu
        menu = {"type": "static_select", "action_id": "menu", "options": made}
        made = {"text": "", "blocks": [{"type": "actions", "elements": [menu]}]}
    return f"{function.__name__} ({case})", made


def _said(sentences: str) -> Sample:
    """Return a message with a block for each line: Slack is asked about blocks, and takes longer texts."""
    texts = [{"type": "mrkdwn", "text": line} for line in sentences.split("\n")]
    return {"text": sentences, "blocks": [{"type": "section", "text": text} for text in texts]}


def _past(state: State | None, email: str) -> Past:
    return Past(email, state, NOW, ANN, LONG.reason, LONG.groups)


def _in(state: State, row: Row) -> Row:
    """Return this request in this state."""
    if state in (State.REVOKING, State.REVOKED):
        row = replace(row, revoker=BOB, revoked_at=NOW, revoke_reason=LONG.reason)
    return replace(row, state=state)


def _cards() -> Iterator[Named]:
    past = [_past(State.REJECTED, ADDRESS), _past(State.APPROVED, COLLEAGUE)]
    for state in State:
        if state != State.CLOSED:  # whose card is never drawn again
            yield _made(f"{state}, empty", blocks.card, _in(state, EMPTY))
            yield _made(f"{state}, long", blocks.card, _in(state, LONG), GROUPS, past, LINK)
            yield _made(f"{state}, long", blocks.shorter_card, _in(state, replace(LONG, refusals=1)), past)
    yield _made("refused twice", blocks.shorter_card, replace(LONG, refusals=2), past)
    yield _made("pending, 10 groups", blocks.card, USUAL, GROUPS[:10])
    for given in GIVEN:
        case = f"pending, {len(given.groups)} groups as a colleague"
        yield _made(case, blocks.card, LONG, GROUPS, past, given=given)
    companies: list[dict[str, Any]] = [{"personal": True}, {"with_access": 0}, {"with_access": 1}]
    for company in (*companies, {"like_own": COMPANY}, {"like_customer": COMPANY}):
        case = ", ".join(f"{key} {value!s:.5}" for key, value in company.items())
        yield _made(f"pending, {case}", blocks.card, replace(USUAL, company=company))
    for before in (*ENDED, None):
        row, colleague = replace(USUAL, previous=_past(before, USUAL.email)), _past(before, ADDRESS)
        yield _made(f"pending, before that {before}", blocks.card, row, [], [colleague])
    for state in IN_FLIGHT:
        for problem in filter(None, blocks.PROBLEMS):
            yield _made(f"{state}, {problem}", blocks.card, replace(_in(state, USUAL), problem=problem))
    for case, row in APPROVED.items():
        yield _made(f"approved, {case}", blocks.card, row)


def _windows() -> Iterator[Named]:
    past = [_past(State.REVOKED, COLLEAGUE)]
    for groups in ([], GROUPS[:10], GROUPS):
        chosen = [group.id for group in groups]
        yield _made(f"{len(groups)} groups", blocks.approve_modal, LONG, METADATA, groups, chosen, past)
        granted = Authorization("a", ADDRESS, GATED, "room", LONG.groups, NOW)
        if groups:  # otherwise there is nothing to choose, and no window
            yield _made(f"{len(groups)} groups", blocks.change_modal, LONG, METADATA, groups, granted)
        rejected = _in(State.REJECTED, LONG)
        yield _made(f"{len(groups)} groups", blocks.after_all_modal, rejected, METADATA, groups, past)
    for is_required in (True, False):
        case = "a reason is required" if is_required else "a reason is optional"
        yield _made(case, blocks.reject_modal, LONG, METADATA, is_required)
        yield _made(case, blocks.revoke_modal, _in(State.APPROVED, LONG), METADATA, is_required)
    whole = replace(LONG, message=_long(MESSAGE_CHARS))
    for page in (0, 1, MESSAGE_CHARS):
        yield _made(f"page {page}", blocks.message_modal, whole, METADATA, page)
    yield _made("no message", blocks.message_modal, EMPTY, METADATA)
    missing = [group.name for group in GROUPS]
    yield _made("long", blocks.sentence_modal, blocks.groups_not_offered(LONG, missing))
    yield _made("long", blocks.groups_not_offered, LONG, missing)
    yield _made("one", blocks.groups_not_offered, EMPTY, missing[:1])
    yield _made("long", blocks.group_options, GROUPS)


def _sentences() -> Iterator[Named]:
    yield from ((name, _said(getattr(blocks, name))) for name in SENTENCES.split())
    yield _made("long", blocks.unexpected, "0123abcd")
    yield _made("long", blocks.not_a_reviewer, DECIDERS)
    yield _made("nobody known", blocks.not_a_reviewer, WhoDecides())
    yield _made("long", blocks.old_card, LONG, PERMALINK)
    yield _made("long", blocks.not_in_channel, "C0123456789")
    about_a_row = (blocks.card_late, blocks.no_window, blocks.nothing_to_change, blocks.changed)
    about_colleagues = (blocks.same_changed, blocks.left_out, blocks.not_saved, blocks.outdated)
    for function in (*about_a_row, *about_colleagues, blocks.unwatched):
        yield _made("long", function, LONG)
        yield _made("empty", function, EMPTY)
    for why in blocks.CANNOT_CHANGE:
        yield _made(why, blocks.cannot_change, LONG, why)
    for is_new in (True, False):
        yield _made("new" if is_new else "again", blocks.watched, LONG, new=is_new)
    for state in (*IN_FLIGHT, *ENDED, State.CLOSED):
        row = _in(state, LONG)
        yield _made(f"{state}, by them", blocks.already_decided, row, row.decider.id)
        yield _made(f"{state}, by another", blocks.already_decided, row, "U0")
        yield _made(str(state), blocks.already_ended, row)
    in_conveyor = replace(LONG, state=State.REVOKED)
    yield _made("revoked in Conveyor", blocks.already_decided, in_conveyor, "U0")
    yield _made("NDA not signed", blocks.already_ended, APPROVED["NDA not signed"])


def _notes() -> Iterator[Named]:
    for kind in blocks.NOTES:
        yield _made(kind, blocks.note, kind, ANN.id, "", USUAL.email)
    yield _made("long", blocks.note, "refused", ANN.id, LONG.message, ADDRESS)
    yield _made("nobody mentioned", blocks.note, "gone", "", "", USUAL.email)
    yield _made("forgotten", blocks.note, "gone", "", "", "")
    mentions = [ANN.id, *(MENTIONS_MOST - 1) * ["S0123456789"]]
    for waited in (0.0, 3600.0, 1e9):
        for hours in (True, False):
            case = f"{waited:.0f} {'working ' if hours else ''}seconds"
            yield _made(case, blocks.reminder, ADDRESS, waited, mentions, hours, PERMALINK)
    yield _made("forgotten", blocks.reminder, "", 3600.0, [], False, "")

    for given in GIVEN:
        for others in ([USUAL], [LONG, USUAL], 5 * [LONG]):
            case = f"{len(others)} about {len(given.groups)} groups"
            yield _made(case, blocks.colleagues_question, given, others, len(others) - 1, _permalink)
            yield _made(case, blocks.colleagues_answer, given, others[1:], [blocks.not_saved(others[0])])


def _permalink(_: Row) -> str:
    return PERMALINK


def _answers() -> Iterator[Named]:
    yield _made("asked for", blocks.rooms_help, "/rooms")
    yield _made("not understood", blocks.rooms_help, "/rooms", LONG.message)
    yield _made("not found", blocks.rooms_help, "/rooms", LONG.message, searched=True)
    yield _made("long", blocks.customers_offered, blocks.ROOMS_MOST * [ADDRESS], blocks.MORE_IN_MESSAGE)
    many = [*(blocks.WAITING_MOST - 3) * [LONG], *(_in(state, LONG) for state in IN_FLIGHT)]
    followed = [*APPROVED.values(), *many]
    for case, waiting, following in (("none", [], []), ("one", [USUAL], [USUAL]), ("many", many, followed)):
        total = 100 * len(waiting) if len(waiting) > 1 else len(waiting)
        yield _made(case, blocks.waiting_answer, waiting, total, LATER, _permalink)
        yield _made(case, blocks.watching_answer, following, total, _permalink, {USUAL.id: LATER})
    yield _made("long", blocks.period_not_understood, "/rooms", LONG.message)
    for days in (1, 7, 30):
        yield _made(f"none in {days} days", blocks.numbers, Numbers(days))
        busy = Numbers(days, 9999, 9999, 999, 9, 99, 3600.0, 1e8, days == 7, 9999, WAITING, NOW)
        yield _made(f"many in {days} days", blocks.numbers, busy)
    yield from _standing("access unknown", None)
    for status in ("", "authorized", GATED, "revoked", _long(STATUS_CHARS)):
        yield from _standing(f"access “{status}”", blocks.Access(status, DAY))
    for case, who in (("a person", ADDRESS), ("a company", COMPANY)):
        for now in (NOW, LATER):
            asked = blocks.Customer(who, [LONG], 2000, {who: blocks.Access("")}, 0)
            yield _made(f"{case}, {now:.0f}", blocks.rooms_answer, asked, now, _permalink, DECIDERS)
    provider = blocks.Customer(COMPANY, [], 0, {}, is_personal=True)
    yield _made("an email provider", blocks.rooms_answer, provider, NOW, _permalink, DECIDERS)


def _standing(case: str, access: blocks.Access | None) -> Iterator[Named]:
    """Yield the answers about people and companies of whose access Conveyor says this."""
    before = _past(State.IGNORED_ELSEWHERE, ADDRESS)
    states = [_in(state, USUAL) for state in (State.PENDING, *IN_FLIGHT, *ENDED, State.CLOSED)]
    # What Conveyor says comes first; without that, where the request stands does.
    for number, row in enumerate(states[:1] if access and access.status else [*states, *APPROVED.values()]):
        rows = [replace(row, previous=before if number % 2 else None), USUAL]
        asked = blocks.Customer(row.email, rows, 2, {row.email: access, row.id: access})
        name = f"{case}, {row.state} {number}"
        yield _made(name, blocks.rooms_answer, asked, LATER, _permalink, DECIDERS)
    for with_access in (None, 0, 12_345):
        for rows in ([], [USUAL, USUAL], states[: blocks.ROOMS_MOST]):
            asked = blocks.Customer(COMPANY, rows, 1000 * len(rows), {USUAL.id: access}, with_access, 3)
            name = f"{case}, {len(rows)} requests of a company with {with_access}"
            yield _made(name, blocks.rooms_answer, asked, LATER, _permalink, DECIDERS)


def _told() -> Iterator[Named]:
    yield _made("long", blocks.outcome_withheld, LONG)
    yield _made("long", blocks.opened, ADDRESS, LONG.message, NOW, PERMALINK)
    yield _made("no title", blocks.opened, USUAL.email, "", NOW, "")
    for case, row in {"pending": LONG, **APPROVED}.items():
        yield _made(case, blocks.more_offered, blocks.watched(row, new=True), row, NOW)
        yield _made(case, blocks.followed, row, LATER, NOW)
        yield _made(case, blocks.documents_unseen, row, NOW)
    again = replace(LONG, previous=_past(State.REJECTED, ADDRESS))
    rows = {str(state): _in(state, LONG) for state in (*ENDED, State.REVOKING, State.CLOSED)}
    for case, row in (rows | APPROVED | {"asked again": again}).items():
        yield _made(case, blocks.outcome, row, PERMALINK)
