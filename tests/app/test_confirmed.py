"""A card says about an approval's end and NDA only what Conveyor confirmed."""

import pytest

import blocks
from sandbox.workspace import ANN, SAM, Message
from tests.support.steps import answer_to, day, posted, request_of, written
from tests.support.world import World

POST = "POST /exchange/authorizations"


def approved_with(world: World, card: Message, **options: object) -> list[str]:
    """Approve with these options; return what the card and /rooms say about the person."""
    world.slack.click(ANN, card.ts, "options")
    world.slack.submit(ANN, values=options)
    shown = world.slack.text_of(world.shows(request_of(card), "approved", "<@U0ANN>"))
    ((address,),) = world.ledger(f"SELECT email FROM requests WHERE id = '{request_of(card)}'")
    return [shown, world.slack.text_of(answer_to(world, SAM, str(address)))]


def answers(world: World, card: Message, **said: str | None) -> None:
    """Make the next approval succeed with this in Conveyor's answer."""
    metadata = (card.metadata or {})["event_payload"]
    answer = {
        "id": f"auth-of-{metadata['id']}",
        "email": metadata["email"],
        "dataroom_id": "room-1",
        "status": "authorized",
        "_embedded": {"access_groups": []},
        **said,
    }
    world.conveyor.fail(POST, after=True, body=answer)


@pytest.mark.parametrize("lists_ends", [True, False])
def test_an_end_is_stated_only_if_conveyor_lists_it(town: World, lists_ends: bool) -> None:
    card = posted(town, f"jane@ends-{lists_ends}.example".lower())
    town.conveyor.returns_expires_at = lists_ends
    both = approved_with(town, card, ends="30")
    town.conveyor.returns_expires_at = False
    assert town.conveyor.calls(POST)[-1].request["expires_at"] == day(30)
    for said in both:
        assert (blocks.ENDS_ON.format(written(30)) in said) == lists_ends, said
        assert (blocks.ENDS_ASKED.format(written(30)) in said) == (not lists_ends), said


@pytest.mark.parametrize("listed", [None, day(90)], ids=["none", "later"])
def test_an_end_that_conveyor_did_not_accept_is_not_stated(town: World, listed: str | None) -> None:
    card = posted(town, f"jane@other-end-{listed}.example".lower())
    answers(town, card, expires_at=listed)
    for said in approved_with(town, card, ends="30"):
        assert blocks.ENDS_ON.format(written(30)) not in said
        assert (blocks.ENDS_ON.format(written(90)) in said) == bool(listed), said
        assert (blocks.ENDS_ASKED.format(written(30)) in said) == (not listed), said


@pytest.mark.parametrize("status", ["gated", "authorized", "of another kind"])
def test_no_nda_is_required_only_if_conveyor_says_so(town: World, status: str) -> None:
    card = posted(town, f"jane@{status.replace(' ', '-')}.example")
    answers(town, card, status=status)
    both = approved_with(town, card, nda=["nda"])
    assert town.conveyor.calls(POST)[-1].request["nda_bypass"] is True
    for said in both:
        assert (blocks.NDA_SKIPPED in said) == (status == "authorized"), said
        assert (blocks.NDA_ASKED in said) == (status != "authorized"), said


def test_an_nda_that_has_to_be_signed_is_stated_with_the_approval(town: World) -> None:
    card = posted(town, "jane@signs.example")
    answers(town, card, status="gated")
    for said in approved_with(town, card):
        assert blocks.NDA_FIRST in said or blocks.NOT_SIGNED in said, said
        assert blocks.NDA_SKIPPED not in said, said
        assert blocks.NDA_ASKED not in said, said
