"""Colleagues: "Approve the same" on a card."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

import blocks
from ledger.same import LAST_APPROVED
from ledger.states import State
from sandbox.workspace import ANN, BOB, SAM, Message, elements_in
from tests.support.steps import (
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
    compiled = LAST_APPROVED.params(**values).compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}
    )
    plan = [str(step[3]) for step in world.ledger(f"EXPLAIN QUERY PLAN {compiled}")]
    reads = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
    assert reads
    assert all("USING INDEX" in step for step in reads), plan
