"""Steps that many tests take: a customer asks, a reviewer decides, somebody uses the command."""

from datetime import UTC, datetime, timedelta
from typing import Any

import blocks
from conveyor_client import AccessGroup
from ledger.states import State
from sandbox.workspace import ANN, Answer, Message, Private
from tests.support.launcher import Forked, Start
from tests.support.ledgers import put_ledger
from tests.support.world import World, eventually


def posted(world: World, email: str = "jane@acme.com", message: str | None = "Hello", **more: Any) -> Message:
    """Make a new request in Conveyor and return its card."""
    request_id = world.conveyor.ask(email, message, **more)
    return clickable(world, request_id)


def clickable(world: World, request_id: str, *, round: int = 1) -> Message:
    """Return the card of a request as soon as the ledger knows the card, so that a click on it counts."""
    card = world.shows(request_id, "pending", round=round)
    eventually(
        lambda: world.ledger(f"SELECT 1 FROM requests WHERE card_ts = '{card.ts}' AND state = 'pending'")
    )
    return card


def request_of(card: Message) -> str:
    """Return the id of the request that this card shows."""
    assert card.metadata
    return str(card.metadata["event_payload"]["id"])


def writes(world: World, request_id: str) -> list[tuple[str, bool]]:
    """Return every write about a request that reached Conveyor, and whether it took effect."""
    return [
        (decision.call.split()[0], decision.effective)
        for decision in world.conveyor.decisions
        if decision.request_id == request_id
    ]


def offered(world: World, room: str, names: list[str]) -> list[str]:
    """Add groups to a data room in Conveyor and return their ids as soon as the app offers them."""
    ids = [world.conveyor.add_group(name, room) for name in names]
    query = f"SELECT count(*) FROM access_groups WHERE dataroom_id = '{room}'"
    eventually(lambda: world.ledger(query) == [(len(ids),)])
    return ids


def approved(world: World, email: str = "jane@acme.com", **more: Any) -> Message:
    """Make a new request, let Ann approve it, and return its card."""
    card = posted(world, email, **more)
    world.slack.click(ANN, card.ts, "approve")
    return world.shows(request_of(card), "approved")


def revoke(world: World, who: str, card: Message, reason: str = "Not a customer anymore") -> None:
    """Let somebody revoke the access on this card, with a reason."""
    world.slack.click(who, card.ts, "more", value="revoke")
    world.slack.submit(who, values={"reason": reason})


def access_of(*names: str) -> str:
    """Return how a card names access to the groups with these names."""
    return blocks.access_of([AccessGroup(name, name) for name in names], blocks.GROUPS_CHARS)


def ended(state: State) -> str:
    """Return how the end of a request in this state is named in the middle of a sentence."""
    word: str = blocks.DECIDED[state][0]
    return word[0].lower() + word[1:]


def asked_before(email: str, state: State) -> str:
    """Return how a card names an earlier request of another person of the company, which ended so."""
    return (
        f"{email} {blocks.RISKY[state][1] if state in blocks.RISKY else blocks.ASKED_BEFORE + ended(state)}"
    )


def is_refusal(answer: Answer) -> bool:
    """Return whether the answer to a submitted window replaces it by one that says why nothing was done."""
    body, title = answer.body, blocks.sentence_modal("")["title"]
    return bool(body["response_action"] == "update" and body["view"]["title"] == title)


def answer_to(world: World, who: str, typed: str, command: str = "/rooms") -> Private:
    """Return the private answer that somebody gets to a slash command."""
    before = len(world.slack.private)
    assert world.slack.command(who, typed, command).status == 200
    return eventually(lambda: [said for said in world.slack.private[before:] if said.user == who])[0]


def change(world: World, request_id: str, **fields: str) -> None:
    """Change these fields of a request in Conveyor."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    with world.conveyor.lock:
        world.conveyor.requests[request_id].update(fields, updated_at=now)


def drawn(card: Message, **fields: str) -> None:
    """Wait until the card says this of its request."""

    def is_drawn() -> bool:
        said = (card.metadata or {})["event_payload"]
        return all(said[name] == value for name, value in fields.items())

    eventually(is_drawn, what=f"the card says {fields}")


def weekly_due(world: World) -> str:
    """Let the weekly message be due; return the setting, which the ledger takes for an old one.

    The moment was a few minutes ago, and the message is late.
    """
    ago = datetime.now(UTC) - timedelta(minutes=5)
    weekly = f"{ago:%a} {ago:%H:%M} UTC"
    put_ledger(world.database)
    world.ledger(f"UPDATE lease SET weekly = '{weekly}', weekly_since = 0")
    return weekly


def day(after: int) -> str:
    """Return the date so many days from today, as Conveyor writes it."""
    return (datetime.now(UTC).date() + timedelta(days=after)).isoformat()


def written(after: int) -> str:
    """Return the same date as people write it."""
    day = datetime.now(UTC).date() + timedelta(days=after)
    return f"{day:%B} {day.day}, {day.year}"


def run(world: World, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run `python app.py` with these arguments and the world's settings; return its status and output."""
    output = world.folder / "said"
    output.unlink(missing_ok=True)
    status = Forked(Start(world.environment(**settings), output, {}, arguments=arguments)).wait(60)
    return status, output.read_text()
