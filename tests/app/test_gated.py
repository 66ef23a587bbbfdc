"""An approved customer who has to sign the NDA first: what is said of them, and how the app follows."""

from itertools import pairwise
from typing import Any

import pytest

import blocks
from ledger.gated import FOLLOWED_SECONDS
from ledger.states import State
from sandbox.stand_in import Exchange
from sandbox.workspace import ANN, SAM, Message
from tests.support.steps import answer_to, approved, posted, request_of, revoke
from tests.support.world import World, eventually, state_of

WAITING = blocks.UNTIL_SIGNED.lower()
QUEUE, GRANTS = "GET /exchange/authorization_request_queue", "GET /exchange/authorizations"


def lists(world: World) -> list[Exchange]:
    """The times that the app read who has to sign."""
    return [each for each in world.conveyor.calls(GRANTS) if "status" in each.request]


def reads(world: World, email: str) -> int:
    """How often the app read what this customer was granted."""
    return sum(each.request.get("email") == email for each in world.conveyor.calls(GRANTS))


def is_list(arguments: Any) -> bool:
    return "status" in arguments


def polled(world: World, times: int) -> None:
    """Wait until Conveyor's queue was read so often again."""
    before = len(world.conveyor.calls(QUEUE))
    eventually(lambda: len(world.conveyor.calls(QUEUE)) >= before + times, 40)


def listed(world: World, times: int) -> None:
    """Wait until the list was read so often again, and what followed from it was done."""
    before = len(lists(world))
    eventually(lambda: len(lists(world)) >= before + times, 40, f"the list is read\n{world.log()}")
    polled(world, 3)


def grant_of(world: World, email: str) -> str:
    return next(key for key, item in world.conveyor.authorizations.items() if item["email"] == email)


def gated(world: World, email: str) -> Message:
    """The card of a customer who was approved and has to sign the NDA."""
    card = approved(world, email)
    assert WAITING in said(world, card), said(world, card)
    return card


def said(world: World, card: Message) -> str:
    """What a card shows, and what searching finds of it."""
    now = world.slack.find(card.ts)
    assert now
    return f"{world.slack.text_of(now)}\n{now.text}".lower()


def direct(world: World) -> list[str]:
    told = [message for message in world.slack.messages if message.channel == f"D{SAM[1:]}"]
    return [f"{message.text}\n{world.slack.text_of(message)}" for message in told]


def test_everything_says_so_and_follows_when_the_nda_is_signed(town: World) -> None:
    card = posted(town, "jane@follow.example")
    asked = answer_to(town, SAM, "follow.example")
    town.slack.click(SAM, asked.ts, "tell_me", via=asked)
    town.told(SAM, blocks.watched(town.row(request_of(card)), new=True))
    town.slack.click(ANN, card.ts, "approve")
    card = town.shows(request_of(card), "approved")
    assert WAITING in card.text.lower()
    assert blocks.DECIDED[State.APPROVED][0] + blocks.UNTIL_SIGNED in town.slack.text_of(card)
    assert WAITING in eventually(lambda: direct(town))[0].lower()
    assert "jane@follow.example" in town.slack.text_of(answer_to(town, SAM, "watching"))
    assert blocks.NOT_SIGNED in town.slack.text_of(answer_to(town, SAM, "jane@follow.example"))

    town.conveyor.sign_nda(grant_of(town, "jane@follow.example"))
    # Conveyor itself is asked, so the answer is ahead of the card.
    answer = town.slack.text_of(answer_to(town, SAM, "jane@follow.example"))
    assert answer.startswith(f"{blocks.HAS} jane@follow.example {blocks.HAS_ACCESS}")
    assert blocks.NOT_SIGNED not in answer
    town.shows(request_of(card), "approved", blocks.NDA_SIGNED, "<@U0ANN>")
    assert WAITING not in said(town, card)
    assert state_of(card) == "approved"
    assert "<@U0ANN>" in town.slack.text_of(card)
    last = eventually(lambda: direct(town)[1:])[0]
    assert blocks.SIGNED_THE_NDA.strip() in last
    assert WAITING not in last.lower()
    assert town.ledger("SELECT * FROM watchers") == []
    trail = town.ledger(f"SELECT event FROM trail WHERE request_id = '{request_of(card)}' ORDER BY number")
    assert trail[-1] == ("signed",)
    polled(town, 10)
    assert len(direct(town)) == 2


def test_access_that_was_revoked_in_conveyor_is_not_waited_for(town: World) -> None:
    card = gated(town, "jane@taken.example")
    town.conveyor.revoke_here(grant_of(town, "jane@taken.example"))
    town.shows(request_of(card), "revoked", blocks.NOT_IN_SLACK)
    assert WAITING not in said(town, card)
    assert blocks.NDA_FIRST.lower() not in said(town, card)


@pytest.mark.parametrize("grants", ["gated", "another status", "missing", "somebody else's", "down"])
def test_being_missing_from_the_list_proves_nothing(town: World, grants: str) -> None:
    email = f"jane@{grants.replace(' ', '-').replace(chr(39), '')}.example"
    card = gated(town, email)
    grant = grant_of(town, email)
    item = {**town.conveyor.authorizations[grant], "status": "authorized"}
    answers = {
        "another status": [{**item, "status": "of another kind"}],
        "missing": [{**item, "id": "auth-of-another-approval"}],
        "somebody else's": [{**item, "email": "mallory@evil.example"}],
    }
    nothing: dict[str, Any] = {"authorizations": [], "page": 1, "per_page": 100, "total_pages": 1}
    town.conveyor.fail(GRANTS, times=None, body=nothing, when=is_list)
    if grants == "down":
        town.conveyor.fail(GRANTS, times=None, status=503)
    elif grants in answers:
        town.conveyor.fail(GRANTS, times=None, body={**nothing, "authorizations": answers[grants]})
    before = reads(town, email)
    eventually(lambda: reads(town, email) >= before + 2, 60)
    listed(town, 1)
    town.conveyor.clear_faults()
    assert WAITING in said(town, card)
    town.conveyor.sign_nda(grant)
    town.shows(request_of(card), "approved", blocks.NDA_SIGNED, seconds=40)


def test_it_costs_one_call_a_poll_at_most_however_long_the_list_is(town: World) -> None:
    before = len(town.conveyor.exchanges)  # /rooms asks for grants as well
    for number in range(230):
        town.conveyor.approve_here(town.conveyor.ask(f"p{number}@many.example", status="approved"))
    cards = [gated(town, f"jane@list-{number}.example") for number in range(2)]
    for honored in (True, False):
        town.conveyor.honors_status = honored
        for card in cards[honored:][:1]:
            town.conveyor.sign_nda(grant_of(town, str((card.metadata or {})["event_payload"]["email"])))
            town.shows(request_of(card), "approved", blocks.NDA_SIGNED, seconds=60)
    town.conveyor.honors_status = True
    with town.conveyor.lock:
        calls = [exchange.call for exchange in town.conveyor.exchanges[before:]]
    polls = [number for number, call in enumerate(calls) if call == QUEUE]
    assert max(calls[start:end].count(GRANTS) for start, end in pairwise(polls)) == 1
    assert max(int(each.request["page"]) for each in lists(town)) == 3


def test_where_conveyor_refuses_the_list_nothing_is_followed_and_the_log_says_so_once(world: World) -> None:
    world.start()
    card = gated(world, "jane@acme.com")
    world.conveyor.fail(GRANTS, times=None, status=422, body={"error": "no such filter"}, when=is_list)
    world.conveyor.sign_nda(grant_of(world, "jane@acme.com"))
    listed(world, 3)
    assert reads(world, "jane@acme.com") == 0
    assert WAITING in said(world, card)
    assert world.log().count("followed=nda known=no") == 1
    status, found = world.readiness()
    assert status == 200
    assert "who has signed it" in str(found["notes"])
    world.conveyor.clear_faults()
    world.shows(request_of(card), "approved", blocks.NDA_SIGNED)
    eventually(lambda: "signed it" not in str(world.readiness()[1]["notes"]))
    assert world.log().count("followed=nda known=again") == 1


def test_it_survives_a_restart_and_ends_after_thirty_days(world: World) -> None:
    world.start()
    later_card, old = gated(world, "later@acme.com"), gated(world, "old@acme.com")
    world.kill()
    assert not reads(world, "old@acme.com")
    world.conveyor.sign_nda(grant_of(world, "later@acme.com"))
    world.conveyor.sign_nda(grant_of(world, "old@acme.com"))
    past = f"settled_at = settled_at - {FOLLOWED_SECONDS}"
    world.ledger(f"UPDATE requests SET {past} WHERE id = '{request_of(old)}'")
    world.start()
    world.shows(request_of(later_card), "approved", blocks.NDA_SIGNED, seconds=30)
    before = len(lists(world))
    polled(world, 12)
    assert len(lists(world)) == before
    assert not reads(world, "old@acme.com")
    assert WAITING in said(world, old)


def test_a_reviewer_may_revoke_meanwhile_and_watchers_hear_of_it(town: World) -> None:
    card = posted(town, "jane@meanwhile.example")
    asked = answer_to(town, SAM, "meanwhile.example")
    before = len(direct(town))
    town.slack.click(SAM, asked.ts, "tell_me", via=asked)
    eventually(lambda: town.ledger(f"SELECT 1 FROM watchers WHERE request_id = '{request_of(card)}'"))
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved")
    eventually(lambda: direct(town)[before:])
    # What Conveyor refuses is no news for them.
    town.conveyor.fail("PATCH /exchange/authorizations/*", status=422, body={"error": "no"})
    revoke(town, ANN, card)
    eventually(
        lambda: [each for each in town.slack.replies(card.ts) if blocks.NOTES["revoke refused"] in each.text]
    )
    town.shows(request_of(card), "approved")
    revoke(town, ANN, card)
    town.shows(request_of(card), "revoked", "<@U0ANN>")
    told = eventually(lambda: direct(town)[before + 1 :])
    assert [each for each in told if not each.startswith(blocks.DECIDED[State.REVOKED][0])] == []
    assert blocks.NDA_FIRST.lower() not in said(town, card)
