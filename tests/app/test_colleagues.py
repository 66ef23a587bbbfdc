"""Colleagues: "Approve the same" on a card, and the question about those who wait as well."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

import blocks
from conveyor_client import AccessGroup, Authorization, AuthorizationRequest
from ledger.rows import Reviewer, Row
from ledger.same import LAST_APPROVED, WAITING
from ledger.states import APPROVE, State
from ledger.tables import REQUESTS
from ledger.trail import COLLEAGUES
from sandbox.workspace import ANN, BOB, SAM, Message, Private, elements_in
from tests.support.ledgers import new_ledger
from tests.support.steps import (
    approved,
    asked_before,
    clickable,
    day,
    offered,
    posted,
    request_of,
    revoke,
    writes,
    written,
)
from tests.support.world import World, eventually

ROOM = "room-of-colleagues"
SOC_2 = AccessGroup("g1", "SOC 2 report", ROOM)
QUICK = {"POLL_SECONDS": "0.3"}


@pytest.fixture
def groups(world: World) -> list[str]:
    """The ids of two access groups which a running app offers."""
    world.start(**QUICK)
    return offered(world, ROOM, ["SOC 2 report", "Pen test"])


def give(world: World, email: str, groups: list[str], who: str = ANN, **options: Any) -> Message:
    """Let somebody approve a new request with these groups, so that the customer gets in at once."""
    card = posted(world, email, dataroom_id=ROOM)
    world.slack.click(who, card.ts, "options")
    world.slack.submit(who, values={"groups": groups, "nda": ["nda"], **options})
    return world.shows(request_of(card), "approved")


def offers_same(card: Message) -> bool:
    return any(element.get("action_id") == blocks.APPROVE_SAME for _, element in elements_in(card.blocks))


def decision(world: World, request_id: str) -> Any:
    """Return the one decision about this request that reached Conveyor."""
    (made,) = [each for each in world.conveyor.decisions if each.request_id == request_id]
    return made


def question(world: World, who: str = ANN, about: str = "") -> Private:
    """Wait for the newest question to this person that names this address, and return it."""

    def asked() -> list[Private]:
        mine = [each for each in world.slack.private if each.user == who and about in each.text]
        return [each for each in mine if button_of(each)]

    return eventually(asked, what=f"a question to {who}\n{world.log()}")[-1]


def button_of(private: Private) -> dict[str, Any] | None:
    buttons = [element for _, element in elements_in(private.blocks)]
    return next((each for each in buttons if each["action_id"] == blocks.APPROVE_COLLEAGUES), None)


def agree(world: World, asked: Private, who: str = ANN) -> None:
    assert world.slack.click(who, asked.ts, blocks.APPROVE_COLLEAGUES, via=asked).status == 200


# Approve the same


def test_a_click_gives_what_a_colleague_has(world: World, groups: list[str]) -> None:
    give(world, "jane@acme.com", groups, ends="90")
    card = posted(world, "bob@acme.com", dataroom_id=ROOM)
    said = world.slack.text_of(card)
    assert f"<@{ANN}>{blocks.GAVE}jane@acme.com SOC 2 report and Pen test on " in said
    assert blocks.THAT_ENDS.format(written(90)) in said
    assert asked_before("jane@acme.com", State.APPROVED) not in said  # it is not said twice
    world.slack.click(BOB, card.ts, blocks.APPROVE_SAME, choose={blocks.GROUPS: groups[:1]})
    world.shows(request_of(card), "approved", "SOC 2 report and Pen test", f"<@{BOB}>")
    made = decision(world, request_of(card))
    assert (made.groups, made.expires_at, made.nda_bypass) == (groups, day(90), False)


def test_only_a_reviewer_gives_the_same(world: World, groups: list[str]) -> None:
    give(world, "jane@acme.com", groups)
    card = posted(world, "bob@acme.com", dataroom_id=ROOM)
    world.slack.click(SAM, card.ts, blocks.APPROVE_SAME)
    world.told(SAM, blocks.NOT_A_REVIEWER)
    assert writes(world, request_of(card)) == []


def revoked_here(world: World, jane: Message) -> None:
    revoke(world, BOB, jane)
    world.shows(request_of(jane), "revoked")


def revoked_in_conveyor(world: World, jane: Message) -> None:
    world.conveyor.revoke_here(world.row(request_of(jane)).authorization_id)


def narrowed_in_conveyor(world: World, jane: Message) -> None:
    access = world.conveyor.authorizations[world.row(request_of(jane)).authorization_id]
    access["_embedded"]["access_groups"] = access["_embedded"]["access_groups"][:1]


def colleague_rejected(world: World, jane: Message) -> None:
    card = posted(world, "kim@acme.com", dataroom_id=ROOM)
    world.slack.click(BOB, card.ts, "reject")
    world.slack.submit(BOB, values={"reason": "why"})
    world.shows(request_of(card), "rejected")


def colleague_ignored_in_conveyor(world: World, jane: Message) -> None:
    card = posted(world, "kim@acme.com", dataroom_id=ROOM)
    world.conveyor.ignore_here(request_of(card))
    world.shows(request_of(card), "ignored elsewhere")


def rejected_and_approved_again(world: World, jane: Message) -> None:
    """A rejection of an earlier round counts, too."""
    colleague_rejected(world, jane)
    kim = next(key for key, each in world.conveyor.requests.items() if each["email"] == "kim@acme.com")
    world.conveyor.ask_again(kim)
    card = clickable(world, kim, round=2)
    world.slack.click(BOB, card.ts, "approve")  # and waits for the NDA
    world.shows(kim, "approved", round=2)


def groups_deleted(world: World, jane: Message) -> None:
    for group in list(world.conveyor.groups):
        world.conveyor.delete_group(group)
    eventually(lambda: not world.ledger("SELECT 1 FROM access_groups"))


def conveyor_silent(world: World, jane: Message) -> None:
    world.conveyor.fail("GET /exchange/authorizations", 10, status=500)


@pytest.mark.parametrize(
    "since",
    [
        revoked_here,
        revoked_in_conveyor,
        narrowed_in_conveyor,
        colleague_rejected,
        colleague_ignored_in_conveyor,
        rejected_and_approved_again,
        groups_deleted,
        conveyor_silent,
    ],
)
def test_there_is_no_offer_after(
    world: World, groups: list[str], since: Callable[[World, Message], None]
) -> None:
    jane = give(world, "jane@acme.com", groups)
    since(world, jane)
    assert not offers_same(posted(world, "bob@acme.com", dataroom_id=ROOM))


def test_there_is_no_offer_for_whoever_was_rejected_before(world: World, groups: list[str]) -> None:
    card = posted(world, "bob@acme.com", dataroom_id=ROOM)
    world.slack.click(BOB, card.ts, "reject")
    world.slack.submit(BOB, values={"reason": "why"})
    world.shows(request_of(card), "rejected")
    give(world, "jane@acme.com", groups)
    assert not offers_same(posted(world, "Bob@ACME.com", dataroom_id=ROOM))
    # It is no obstacle to others: it was before the approval. Their card warns of it, and so asks once more.
    card = posted(world, "eve@acme.com", dataroom_id=ROOM)
    buttons = {element["action_id"]: element for _, element in elements_in(card.blocks)}
    assert buttons[blocks.APPROVE_SAME]["confirm"] == buttons[blocks.APPROVE]["confirm"]


@pytest.mark.parametrize(
    ("first", "second", "room"),
    [("jo@gmail.com", "al@gmail.com", ROOM), ("jo@acme.com", "al@acme.com", "room-1"),
     ("jo@acme.com", "jo@acme.com", ROOM), ("jo@acme.com", "al@eu.acme.com", ROOM)],
)  # fmt: skip
def test_there_is_no_offer_elsewhere(
    world: World, groups: list[str], first: str, second: str, room: str
) -> None:
    give(world, first, groups)
    assert not offers_same(posted(world, second, dataroom_id=room))


def test_the_offer_is_what_is_left(world: World, groups: list[str]) -> None:
    give(world, "jane@acme.com", groups)
    card = posted(world, "bob@acme.com", dataroom_id=ROOM)
    world.conveyor.delete_group(groups[1])
    given = f"{blocks.GAVE}jane@acme.com SOC 2 report on "
    card = world.shows(request_of(card), "pending", given)
    # Somebody who still sees the old card gets nothing by it.
    world.slack.click(ANN, card.ts, blocks.APPROVE_SAME, behind=1)
    world.told(ANN, blocks.NOTHING_GRANTED, "bob@acme.com")
    assert writes(world, request_of(card)) == []
    world.slack.click(ANN, card.ts, blocks.APPROVE_SAME)
    world.shows(request_of(card), "approved")
    assert decision(world, request_of(card)).groups == groups[:1]


def test_a_click_after_a_revocation_gives_nothing(world: World, groups: list[str]) -> None:
    jane = give(world, "jane@acme.com", groups)
    card = posted(world, "bob@acme.com", dataroom_id=ROOM)
    revoked_here(world, jane)
    world.slack.click(ANN, card.ts, blocks.APPROVE_SAME)
    world.told(ANN, blocks.NOTHING_GRANTED)
    eventually(lambda: not offers_same(world.shows(request_of(card), "pending")))
    assert writes(world, request_of(card)) == []


def test_a_card_makes_one_more_call_only_if_there_is_a_colleague(world: World, groups: list[str]) -> None:
    posted(world, "first@acme.com", dataroom_id=ROOM)
    assert world.conveyor.calls("GET /exchange/authorizations") == []
    give(world, "jane@globex.com", groups)
    before = len(world.conveyor.calls("GET /exchange/authorizations"))
    posted(world, "bob@globex.com", dataroom_id=ROOM)
    calls = world.conveyor.calls("GET /exchange/authorizations")[before:]
    assert [call.request["email"] for call in calls] == ["jane@globex.com"]


def test_a_company_is_said_to_have_nobody_only_if_conveyor_said_so(world: World, groups: list[str]) -> None:
    give(world, "jane@acme.com", groups)
    world.conveyor.fail("GET /exchange/connections", 10, status=500)
    card = posted(world, "bob@acme.com", dataroom_id=ROOM)
    assert blocks.NOBODY_HAS_ACCESS.format("acme.com") not in world.slack.text_of(card)


def test_the_ledger_finds_colleagues_by_its_indexes(world: World, groups: list[str]) -> None:
    values = {"domain": "acme.com", "room": ROOM, "address": "bob@acme.com", "request_id": "r"}
    for query in (LAST_APPROVED, REQUESTS.select().where(WAITING)):
        compiled = query.params(**values).compile(
            dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
        )
        plan = [str(step[3]) for step in world.ledger(f"EXPLAIN QUERY PLAN {compiled}")]
        reads = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
        assert reads
        assert all("USING INDEX" in step for step in reads), plan


def test_every_database_finds_colleagues_and_who_waits(database_url: str) -> None:
    ledger = new_ledger(database_url)
    with closing(ledger.database):
        ledger.polls.replace_access_groups([SOC_2], [], 1.0)
        people = ("jane", "bob", "eve")
        requests = [
            AuthorizationRequest(who, "requested", f"{who}@acme.com", "", ROOM, "", 5.0) for who in people
        ]
        ledger.queue.record(requests, 10.0)

        def row(who: str) -> Row:
            found = ledger.decisions.find(who)
            assert found
            return found

        for who in people:
            ledger.cards.posted(row(who), "C0", f"1.{who}")
        assert ledger.same.of(row("bob")) is None
        ann = Reviewer(ANN, "Ann", "ann@harbor.example")
        assert ledger.decisions.claim(row("jane"), APPROVE, ann, "t1", 11.0, groups=[SOC_2])
        access = Authorization("a1", "jane@acme.com", "authorized", ROOM, (SOC_2,), 12.0)
        assert ledger.decisions.settle(row("jane"), 12.0, access)
        given = ledger.same.of(row("bob"))
        assert given
        assert (given.row.id, given.groups, given.ends) == ("jane", (SOC_2,), "")
        note = ledger.cards.next_reply(13.0)
        assert note
        assert (note.kind, note.request_id, note.person_id) == (COLLEAGUES, "jane", ANN)
        waiting, total = ledger.same.waiting(row("jane"), note, 1)
        assert ([each.id for each in waiting], total) == (["bob"], 2)
        # While she approves another, and once that has left a note of its own, there is nothing to ask.
        assert ledger.decisions.claim(row("bob"), APPROVE, ann, "t2", 14.0, groups=[SOC_2])
        assert ledger.same.waiting(row("jane"), note, 1) == ([], 0)
        assert ledger.decisions.settle(row("bob"), 15.0, replace(access, id="a2", email="bob@acme.com"))
        assert ledger.same.waiting(row("jane"), note, 1) == ([], 0)


# Their colleagues wait too


def waiting(world: World, *names: str) -> list[Message]:
    return [posted(world, f"{name}@acme.com", dataroom_id=ROOM) for name in names]


def test_one_click_approves_those_who_wait_too(world: World, groups: list[str]) -> None:
    jane, bob, eve = waiting(world, "jane", "bob", "eve")
    world.slack.click(ANN, jane.ts, "options")
    world.slack.submit(ANN, values={"groups": groups, "nda": ["nda"], "ends": "30"})
    asked = question(world)
    said = world.slack.text_of(asked)
    for part in ("jane@acme.com", "bob@acme.com", "eve@acme.com", "SOC 2 report and Pen test", written(30)):
        assert part in said
    assert blocks.WITH_THE_SAME in said
    agree(world, asked)
    copy = world.slack.answers[-1]
    for card in (bob, eve):
        world.shows(request_of(card), "approved", "SOC 2 report and Pen test", f"<@{ANN}>")
        made = decision(world, request_of(card))
        assert (made.groups, made.expires_at, made.nda_bypass) == (groups, day(30), False)
    told = next(each for each in world.slack.private if each.ts == asked.ts)
    assert button_of(told) is None
    assert "bob@acme.com" in told.text
    assert "eve@acme.com" in told.text
    # A copy of the click does nothing, and nobody is asked once more.
    count = len(world.slack.private)
    assert world.slack.replay(copy).status == 200
    claims = world.ledger("SELECT request_id, count(*) FROM trail WHERE event = 'approving' GROUP BY 1")
    assert {number for _, number in claims} == {1}
    eventually(lambda: not world.ledger("SELECT 1 FROM notes"))
    assert len(world.slack.private) == count


def test_after_the_same_the_others_are_asked_about(world: World, groups: list[str]) -> None:
    give(world, "jane@acme.com", groups)
    bob, eve = waiting(world, "bob", "eve")
    world.slack.click(BOB, bob.ts, blocks.APPROVE_SAME)
    asked = question(world, BOB, "eve@acme.com")
    agree(world, asked, BOB)
    world.shows(request_of(eve), "approved", "SOC 2 report and Pen test")


def test_each_may_fail_alone(world: World, groups: list[str]) -> None:
    jane, bob, eve, kim = waiting(world, "jane", "bob", "eve", "kim")
    world.slack.click(ANN, jane.ts, "approve", choose={blocks.GROUPS: groups[:1]})
    asked = question(world)
    world.slack.click(BOB, bob.ts, "reject")
    world.slack.submit(BOB, values={"reason": "not him"})
    world.shows(request_of(bob), "rejected")
    world.conveyor.change_here(request_of(eve), email="mallory@evil.example")
    eventually(lambda: world.row(request_of(eve)).email == "mallory@evil.example")
    # Bob's rejection is no warning about Kim alone, but her card shows it by now: it has to be seen.
    agree(world, asked)
    told = eventually(lambda: next(e for e in world.slack.private if e.ts == asked.ts and not button_of(e)))
    for part in (f"<@{BOB}>", "bob@acme.com", "mallory@evil.example", "kim@acme.com"):
        assert part in told.text
    assert writes(world, request_of(kim)) == writes(world, request_of(eve)) == []
    assert world.row(request_of(kim)).state == State.PENDING


def test_the_question_ends_with_its_situation(world: World, groups: list[str]) -> None:
    jane, bob = waiting(world, "jane", "bob")
    world.slack.click(ANN, jane.ts, "approve", choose={blocks.GROUPS: groups})
    asked = question(world)
    jane = world.shows(request_of(jane), "approved")
    revoke(world, BOB, jane)
    world.shows(request_of(jane), "revoked")
    agree(world, asked)
    world.told(ANN, "jane@acme.com", blocks.OUTDATED)
    assert not any(map(button_of, world.slack.private))
    assert writes(world, request_of(bob)) == []


def test_a_reviewer_is_asked_about_five_at_most_and_then_about_the_rest(
    world: World, groups: list[str]
) -> None:
    cards = waiting(world, *(f"p{number}" for number in range(8)))
    world.slack.click(ANN, cards[0].ts, "approve", choose={blocks.GROUPS: groups})
    asked = question(world)
    assert "p5@acme.com" in asked.text
    assert "p6@acme.com" not in asked.text
    assert blocks.MORE_WAIT[1].format(2) in asked.text
    agree(world, asked)
    for card in cards[1:6]:
        world.shows(request_of(card), "approved")
    rest = question(world, about="p6@acme.com")
    assert "p7@acme.com" in rest.text
    assert [each for each in world.slack.private if button_of(each)] == [rest]


def test_nobody_is_asked_about_others(world: World, groups: list[str]) -> None:
    """Neither about another Trust Center, nor personal addresses, nor somebody with a warning."""
    approved(world, "al@gmail.com", dataroom_id=ROOM)
    rejected = posted(world, "kim@acme.com", dataroom_id=ROOM)
    world.slack.click(BOB, rejected.ts, "reject")
    world.slack.submit(BOB, values={"reason": "why"})
    world.shows(request_of(rejected), "rejected")
    for email, room in (
        ("jo@gmail.com", ROOM), ("cy@gmail.com", ROOM), ("jo@globex.com", "room-1"), ("cy@globex.com", ROOM),
        ("kim@acme.com", ROOM), ("cy@acme.com", ROOM),
    ):  # fmt: skip
        card = posted(world, email, dataroom_id=room)
        if email.startswith("cy"):
            world.slack.click(ANN, card.ts, "approve")
            world.shows(request_of(card), "approved")
    eventually(lambda: not world.ledger("SELECT 1 FROM notes"))
    assert not any(map(button_of, world.slack.private))


def test_basic_access_is_asked_about_as_such(world: World, groups: list[str]) -> None:
    jane, bob = waiting(world, "jane", "bob")
    world.slack.click(ANN, jane.ts, "approve")
    asked = question(world)
    assert blocks.WITH_BASIC in asked.text
    agree(world, asked)
    world.shows(request_of(bob), "approved")
    assert decision(world, request_of(bob)).groups == []


def test_a_question_outlives_the_app(world: World, groups: list[str]) -> None:
    jane, _ = waiting(world, "jane", "bob")
    world.slack.fail("chat.postEphemeral", 3, status=500)
    world.slack.click(ANN, jane.ts, "approve")
    world.shows(request_of(jane), "approved")
    eventually(lambda: world.ledger("SELECT 1 FROM notes"))
    world.kill()
    world.slack.clear_faults()
    world.start(**QUICK)
    question(world)
    eventually(lambda: not world.ledger("SELECT 1 FROM notes"))


def test_a_forged_question_does_nothing(world: World, groups: list[str]) -> None:
    jane, bob = waiting(world, "jane", "bob")
    world.slack.click(ANN, jane.ts, "approve")
    asked = question(world)
    payload = world.slack.click_payload(ANN, asked.ts, blocks.APPROVE_COLLEAGUES, via=asked)
    real = payload["actions"][0]["value"]
    round, subject, request_id = real.split(" ")
    others = json.dumps([["x", 1, "y"]] * 6, separators=(",", ":"))
    for value in (f"{round} {subject[:16]} {request_id}", f"{round} {subject[:16]}{others} {request_id}",
                  f"{round} {subject[:16]}[[1e999,1e999,{{}}]] {request_id}", "", real[:-1],
                  real.replace(subject[:16], "0" * 16)):  # fmt: skip
        payload["actions"][0]["value"] = value
        payload["trigger_id"] += "x"
        assert world.slack.send_payload(payload).status == 200
    payload["user"]["id"], payload["actions"][0]["value"] = SAM, real
    payload["trigger_id"] += "x"
    world.slack.send_payload(payload)
    world.told(SAM, blocks.NOT_A_REVIEWER)
    assert writes(world, request_of(bob)) == []
