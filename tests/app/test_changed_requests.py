"""A click decides only what its card showed: a request that changed in Conveyor since is decided again."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import Any

import pytest

import blocks
from conveyor_client import AuthorizationRequest
from ledger.rows import Reviewer, Row
from ledger.states import APPROVE, OPEN, State
from sandbox.stand_in import Exchange
from sandbox.workspace import ANN, SAM, Message
from tests.support.ledgers import new_ledger
from tests.support.steps import answer_to, change, clickable, drawn, posted, request_of, writes
from tests.support.world import World, eventually

QUEUE = "GET /exchange/authorization_request_queue"
MALLORY = "mallory@evil.example"
TO_MALLORY = {"email": MALLORY}
TO_ANOTHER_ROOM = {"dataroom_id": "room-2"}
WAYS = {
    "reject": {"reason": "no customer"},
    "options": {"reason": "a good customer"},
}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with closing(World(tmp_path_factory.mktemp("town"))) as made:
        made.waits["worker.watch.LONGEST_PAUSE"] = 0.4
        yield made.start()
    assert made.leaks() == []


def knows(world: World, request_id: str, **fields: str) -> None:
    """Wait until the ledger has these values for the request."""
    wanted = " AND ".join(f"{name} = '{value}'" for name, value in fields.items())
    eventually(lambda: world.ledger(f"SELECT 1 FROM requests WHERE id = '{request_id}' AND {wanted}"))


@contextmanager
def unnoticed(world: World) -> Iterator[None]:
    """Make the queue fail, so that the app learns of changes only when it reads the request itself."""
    failing = world.conveyor.fail(QUEUE, times=None, status=503)
    eventually(lambda: failing.used)  # and the poll that had begun before is over
    try:
        yield
    finally:
        world.conveyor.clear_faults()


@contextmanager
def undrawn(world: World) -> Iterator[None]:
    """Make every update of a card fail."""
    world.slack.fail("chat.update", times=None, status=500)
    try:
        yield
    finally:
        world.slack.clear_faults()


def state_of(world: World, request_id: str) -> str:
    ((state,),) = world.ledger(f"SELECT state FROM requests WHERE id = '{request_id}'")
    return str(state)


def events(world: World, request_id: str) -> list[tuple[str, str]]:
    """Return the request's events in the trail, with the reason if a click was refused."""
    query = f"SELECT event, detail FROM trail WHERE request_id = '{request_id}' ORDER BY number"
    return [(str(event), str(why) if event == "refused" else "") for event, why in world.ledger(query)]


def pictures(world: World, card: Message) -> list[tuple[str, bool]]:
    """Return everything that the card has shown, with the text that search finds; and if it was open then."""
    with world.slack.lock:
        shown = [*card.history, (card.text, card.blocks, card.metadata)]
        return [
            (f"{text}\n{drawn}", (metadata or {})["event_payload"]["state"] in OPEN)
            for text, drawn, metadata in shown
        ]


def says_approved(world: World, address: str) -> list[str]:
    """Return the messages that a search for the address finds and that say that it was approved."""
    words = [blocks.DECIDED[State.APPROVED][0], blocks.DOING[State.APPROVING]]
    return [found.text for found in world.slack.search(address) if any(word in found.text for word in words)]


def told_in_thread(world: World, card: Message) -> str:
    """Wait for the reply to the reviewer in the card's thread; return its text."""
    (reply,) = eventually(lambda: world.slack.replies(card.ts))
    assert f"<@{ANN}>" in reply.text
    return reply.text


# The click comes before the app's next poll


@pytest.mark.parametrize("fields", [TO_MALLORY, TO_ANOTHER_ROOM], ids=["address", "room"])
@pytest.mark.parametrize("way", ["approve", *WAYS])
def test_nothing_is_written_for_what_the_reviewer_did_not_see(
    town: World, way: str, fields: dict[str, str]
) -> None:
    address = f"jane@{way}-{'-'.join(fields).replace('_', '-')}.example"
    card = posted(town, address)
    request_id = request_of(card)
    if way in WAYS:
        town.slack.click(ANN, card.ts, way)
    with unnoticed(town):
        change(town, request_id, **fields)
        if way in WAYS:
            town.slack.submit(ANN, values=WAYS[way])
        else:
            town.slack.click(ANN, card.ts, way)
        told_in_thread(town, card)
        knows(town, request_id, state="pending", **fields)
    assert writes(town, request_id) == []
    assert town.slack.open_view(ANN) is None
    drawn(card, state="pending", **fields)
    if fields == TO_MALLORY:
        shown = town.slack.text_of(card)
        assert MALLORY in shown
        assert address not in shown
        assert town.slack.search(address) == []
        assert blocks.NO_REQUEST.format(address) in town.slack.text_of(answer_to(town, SAM, address))
    assert says_approved(town, address) == []
    # A click on what is shown now decides.
    town.slack.click(ANN, clickable(town, request_id).ts, "approve")
    town.shows(request_id, "approved", "<@U0ANN>")
    assert writes(town, request_id) == [("POST", True)]


# The app knows of the change, and the reviewer's screen does not show it


@pytest.mark.parametrize("is_drawn", [True, False], ids=["card drawn again", "card not drawn yet"])
@pytest.mark.parametrize("fields", [TO_MALLORY, TO_ANOTHER_ROOM], ids=["address", "room"])
def test_after_a_click_on_an_older_picture_people_are_told_what_is_true_now(
    town: World, fields: dict[str, str], is_drawn: bool
) -> None:
    card = posted(town, "jane@screens.example")
    request_id = request_of(card)
    edits = card.edited
    late = town.slack.click_payload(ANN, card.ts, "approve")
    town.slack.private.clear()
    with nullcontext() if is_drawn else undrawn(town):
        change(town, request_id, **fields)
        knows(town, request_id, **fields)
        if is_drawn:
            drawn(card, **fields)
        assert town.slack.send_payload(late).status == 200
        said = town.told(ANN, blocks.changed(town.row(request_id)))
        assert fields.get("email", "jane@screens.example") in said
    assert state_of(town, request_id) == "pending"
    assert writes(town, request_id) == []
    assert events(town, request_id)[-1] == ("refused", "changed in Conveyor")
    assert town.slack.replies(card.ts) == []
    # The card shows it now, whatever it showed before.
    eventually(lambda: card.edited > edits)
    drawn(card, **fields)
    # A copy of that click changes nothing either, and nobody is told twice.
    town.slack.private.clear()
    town.slack.send_payload(late)
    town.slack.click(ANN, clickable(town, request_id).ts, "approve")
    town.shows(request_id, "approved", "<@U0ANN>")
    assert town.slack.private == []


@pytest.mark.parametrize("way", WAYS)
def test_no_window_opens_for_what_is_no_longer_true(town: World, way: str) -> None:
    card = posted(town, "jane@opening.example")
    late = town.slack.click_payload(ANN, card.ts, way)
    change(town, request_of(card), **TO_MALLORY)
    knows(town, request_of(card), **TO_MALLORY)
    town.slack.private.clear()
    town.slack.send_payload(late)
    assert MALLORY in town.told(ANN, blocks.changed(town.row(request_of(card))))
    assert town.slack.open_view(ANN) is None


@pytest.mark.parametrize("way", WAYS)
def test_a_window_that_was_opened_before_the_change_decides_nothing(town: World, way: str) -> None:
    card = posted(town, "jane@windows.example")
    request_id = request_of(card)
    town.slack.click(ANN, card.ts, way)
    before = town.slack.open_view(ANN)
    assert before
    assert "jane@windows.example" in town.slack.text_of(before)
    change(town, request_id, **TO_MALLORY)
    drawn(card, **TO_MALLORY)
    town.slack.submit(ANN, values=WAYS[way])
    after = town.slack.open_view(ANN)
    assert after
    assert blocks.changed(town.row(request_id)) in town.slack.text_of(after)
    assert MALLORY in town.slack.text_of(after)
    assert state_of(town, request_id) == "pending"
    assert writes(town, request_id) == []
    assert events(town, request_id)[-1] == ("refused", "changed in Conveyor")
    town.slack.close(ANN)


# It changes between the read and the write


@pytest.mark.parametrize(
    ("way", "state"),
    [
        ("approve", State.APPROVED_ELSEWHERE),
        ("options", State.APPROVED_ELSEWHERE),
        ("reject", State.IGNORED_ELSEWHERE),
    ],
)
def test_a_write_that_took_effect_for_somebody_else_is_not_called_the_reviewers(
    town: World, way: str, state: State
) -> None:
    address = f"jane@{way}-raced.example"
    card = posted(town, address)
    request_id = request_of(card)

    def observe(exchange: Exchange) -> None:
        if exchange.call == f"GET /exchange/authorization_requests/{request_id}":
            change(town, request_id, **TO_MALLORY)

    town.conveyor.on_exchange.append(observe)
    try:
        town.slack.click(ANN, card.ts, way)
        if way in WAYS:
            town.slack.submit(ANN, values=WAYS[way])
        knows(town, request_id, state=state)
    finally:
        town.conveyor.on_exchange.remove(observe)
    assert len(writes(town, request_id)) == 1  # it was sent once, and not again
    shown = town.shows(request_id, state, blocks.DECIDED[state][0])
    assert MALLORY in town.slack.text_of(shown)
    assert address not in town.slack.text_of(shown)
    assert blocks.NOTES["changed elsewhere"] in told_in_thread(town, card)
    assert not {event for event, _ in events(town, request_id)} & {"approved", "rejected"}
    ended = [text for text, is_open in pictures(town, card) if not is_open]
    assert ended
    assert not any(address in text or ANN in text for text in ended)
    assert says_approved(town, address) == []
    approved = blocks.DECIDED[State.APPROVED][0].lower()
    assert not any(approved in town.slack.text_of(private).lower() for private in town.slack.private)


# Changes that make no difference


@pytest.mark.parametrize("learned", [True, False])
def test_an_address_in_other_case_is_the_same_person(town: World, learned: bool) -> None:
    card = posted(town, "jane@acme.example")
    request_id = request_of(card)
    late = town.slack.click_payload(ANN, card.ts, "approve")
    if learned:
        change(town, request_id, email="Jane@ACME.example")
        drawn(card, email="Jane@ACME.example")
        town.slack.send_payload(late)
        town.shows(request_id, "approved", "<@U0ANN>")
    else:
        with unnoticed(town):
            change(town, request_id, email="Jane@ACME.example")
            town.slack.send_payload(late)
            town.shows(request_id, "approved", "<@U0ANN>")
    assert writes(town, request_id) == [("POST", True)]
    assert not {event for event, _ in events(town, request_id)} & {"changed in Conveyor", "refused"}


# Decided in Conveyor, under another address


@pytest.mark.parametrize("state", [State.APPROVED_ELSEWHERE, State.IGNORED_ELSEWHERE])
def test_what_was_decided_elsewhere_is_shown_with_the_address_it_was_decided_for(
    town: World, state: State
) -> None:
    address = f"jane@{state.replace(' ', '-')}.example"
    card = posted(town, address)
    request_id = request_of(card)
    with town.conveyor.lock:
        change(town, request_id, **TO_MALLORY)
        if state == State.APPROVED_ELSEWHERE:
            town.conveyor.approve_here(request_id)
        else:
            town.conveyor.ignore_here(request_id)
    shown = town.slack.text_of(town.shows(request_id, state, blocks.DECIDED[state][0]))
    assert MALLORY in shown
    assert address not in shown
    assert town.slack.search(address) == []
    assert blocks.NO_REQUEST.format(address) in town.slack.text_of(answer_to(town, SAM, address))
    assert blocks.DECIDED[state][0] in town.slack.text_of(answer_to(town, SAM, MALLORY))


# In the ledger itself


@pytest.mark.parametrize("fields", [TO_MALLORY, TO_ANOTHER_ROOM], ids=["address", "room"])
def test_a_poll_between_the_read_of_a_row_and_its_claim_makes_the_claim_fail(
    database_url: str, fields: dict[str, str]
) -> None:
    ann = Reviewer(ANN, "Ann Abbot", "ann@harbor.example")

    def asked(**more: Any) -> AuthorizationRequest:
        details = {"email": "jane@acme.example", "message": "hi", "dataroom_id": "room-1", "link": "", **more}
        return AuthorizationRequest(id="r1", status="requested", received_at=5.0, **details)

    def row() -> Row:
        found = ledger.decisions.find("r1")
        assert found
        return found

    ledger = new_ledger(database_url)
    with closing(ledger.database):
        ledger.queue.record([asked()], 10.0)
        ledger.cards.posted(row(), "C0", "1.1")
        seen = row()
        ledger.queue.record([asked(**fields)], 11.0)
        assert not ledger.decisions.claim(seen, APPROVE, ann, "t1", 12.0)
        assert row().state == "pending"
        assert row().reviewer.id == ""
        # The click is not used up: it counts for what the row says now.
        assert ledger.decisions.claim(row(), APPROVE, ann, "t1", 13.0)
