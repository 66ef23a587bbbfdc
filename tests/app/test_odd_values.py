"""One odd value from Conveyor, on a card or in the ledger affects no other request."""

import logging
import random
import string
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from slack_sdk import WebClient

import blocks
from conveyor_client import MESSAGE_CHARS, AuthorizationRequest
from ledger.ledger import Ledger
from ledger.rows import Row
from ledger.states import State
from sandbox.workspace import ANN, BOB, SAM, Json, Message
from tests.requirements import needs
from tests.support.postgres import Postgres
from tests.support.steps import (
    answer_to,
    approved,
    asked_before,
    clickable,
    posted,
    request_of,
    revoke,
    writes,
)
from tests.support.world import World, eventually, state_of
from worker.adopt import kept_by_card
from workspace.channel import Channel

LONG = "x" * 10_000


def letters(count: int) -> str:
    """Return so many random letters, which no database can compress."""
    return "".join(random.Random(count).choices(string.ascii_letters, k=count))


# From Conveyor: addresses


def test_a_request_with_an_endless_address_gets_a_card_and_so_do_the_others(
    world: World, database_url: str
) -> None:
    world.settings["DATABASE_URL"] = database_url.replace("+psycopg", "")
    endless = letters(3000) + "@acme.com"
    first, odd, last = (world.conveyor.ask(email) for email in ("jane@acme.com", endless, "joe@acme.com"))
    world.start()
    for request_id, email in ((first, "jane@acme.com"), (last, "joe@acme.com")):
        assert email in world.slack.text_of(clickable(world, request_id))
    shown = world.slack.text_of(clickable(world, odd))
    assert endless[:250] in shown
    assert "… (3009 characters, " in shown
    assert endless not in shown
    world.slack.click(ANN, clickable(world, odd).ts, "approve")
    world.shows(odd, "approved")
    assert writes(world, odd) == [("POST", True)]


@needs("initdb")
def test_a_request_that_the_database_refuses_keeps_no_other_out(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    def asked(request_id: str, email: str = "jane@acme.com") -> AuthorizationRequest:
        return AuthorizationRequest(request_id, "requested", email, "", "room-1", "", 5.0)

    ledger = Ledger(postgres.new_database())
    ledger.database.prepare()
    assert ledger.queue.record([asked("one"), asked("odd", letters(3000)), asked("other")], 10.0)
    assert ledger.decisions.find("one")
    assert ledger.decisions.find("other")
    assert ledger.decisions.find("odd") is None
    # The same goes for a request that is known already and becomes odd.
    changed = [asked("one", letters(3000)), asked("other", "joe@acme.com"), asked("new")]
    ledger.queue.record(changed, 11.0)
    emails = [found.email for name in ("one", "other", "new") if (found := ledger.decisions.find(name))]
    assert emails == ["jane@acme.com", "joe@acme.com", "jane@acme.com"]
    ledger.database.close()
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [said.split()[:2] for said in told] == [
        ["request=odd", "recorded=no"],
        ["request=one", "recorded=no"],
    ]


# From Conveyor: lengths


@pytest.mark.parametrize(
    "odd",
    [
        {"request_id": LONG},
        {"status": LONG},
        {"dataroom_id": LONG},
        {"_links": {"self": {"href": f"https://conveyor.example/{LONG}"}}},
        {"message": "x" * 300_000},
        {"email": f"{LONG}@{LONG}.example"},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_a_request_with_an_odd_length_keeps_no_other_from_its_card(town: World, odd: dict[str, Any]) -> None:
    before = town.conveyor.ask("jane@acme.com")
    asked = town.conveyor.ask(**{"email": "odd@acme.com", **odd})
    after = town.conveyor.ask("joe@acme.com")
    for request_id in (before, after):
        town.slack.click(ANN, clickable(town, request_id).ts, "approve")
        town.shows(request_id, "approved")
    if "request_id" in odd:
        eventually(lambda: "could not be read: 1" in str(town.readiness()[1]["reasons"]))
    elif "status" not in odd:
        clickable(town, asked)
    town.conveyor.remove(asked)
    eventually(lambda: town.readiness()[0] == 200)


def test_a_huge_message_says_on_its_last_page_that_it_goes_on_in_conveyor(town: World) -> None:
    card = posted(town, message="x" * 300_000)
    assert blocks.SHOW_MESSAGE in town.slack.text_of(card)
    town.slack.click(SAM, card.ts, blocks.SHOW_WHOLE)
    view = town.slack.open_view(SAM)
    assert view
    shown = 0
    while blocks.PAGE_NEXT in str(view.blocks):
        assert blocks.KEPT_NO_MORE not in town.slack.text_of(view)
        shown += town.slack.text_of(view).count("x" * 100)
        town.slack.click_in_view(SAM, blocks.PAGE_NEXT)
    assert blocks.KEPT_NO_MORE in town.slack.text_of(view)
    assert shown + town.slack.text_of(view).count("x" * 100) == MESSAGE_CHARS / 100
    town.slack.close(SAM)


def test_groups_of_odd_length_can_be_chosen_or_are_left_out(town: World) -> None:
    town.conveyor.add_group("Nowhere", LONG)
    town.conveyor.add_group("Overlong", "room-of-lengths", group_id=LONG)
    named = town.conveyor.add_group("A very long name " + LONG, "room-of-lengths")
    short = town.conveyor.add_group("Short", "room-of-lengths")
    eventually(lambda: town.ledger("SELECT 1 FROM access_groups WHERE name = 'Short'"))
    card = posted(town, dataroom_id="room-of-lengths")
    shown = town.slack.text_of(card)
    assert "A very long name xxx" in shown
    assert "Short" in shown
    assert "Nowhere" not in shown
    assert "Overlong" not in shown
    town.slack.click(ANN, card.ts, "approve", choose={"groups": [named, short]})
    town.shows(request_of(card), "approved")
    assert town.conveyor.decisions[-1].groups == [named, short]


# From Conveyor: dates

DATES = [
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00+23:59",
    "2400-02-29T00:00:00Z",
]


@pytest.mark.parametrize("odd", DATES)
def test_dates_beyond_the_calendar_break_no_card_and_no_answer(town: World, odd: str) -> None:
    name = f"dates-{DATES.index(odd)}.example"
    town.conveyor.connections.append(
        {
            "id": f"conn-{name}",
            "domain": name,
            "crm_id": None,
            "crm_link": None,
            "authorizations_count": 3,
            "authorizations_with_access_count": 3,
            "authorizations_removed_count": 0,
            "latest_activity_at": odd,
        }
    )
    times = {"requested_at": odd, "created_at": odd, "updated_at": odd}
    card = posted(town, f"jane@{name}", **times)
    assert blocks.HAVE_ACCESS.format(blocks.PEOPLE.format(3), name) + "." in town.slack.text_of(card)
    assert f"jane@{name}" in town.slack.text_of(answer_to(town, SAM, ""))
    assert blocks.JUST_ASKED in town.slack.text_of(answer_to(town, SAM, name))
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved")
    grant = next(g for g in town.conveyor.authorizations.values() if g["email"] == f"jane@{name}")
    grant.update(updated_at=odd, created_at=odd, expires_at=odd)
    said = town.slack.text_of(answer_to(town, SAM, name))
    assert blocks.DECIDED[State.APPROVED][0] in said
    assert blocks.NOT_SIGNED in said
    revoke(town, BOB, card)
    town.shows(request_of(card), "revoked", "<@U0BOB>")
    assert asked_before(f"jane@{name}", State.REVOKED) in town.slack.text_of(posted(town, f"joe@{name}"))


def test_a_request_dated_tomorrow_has_been_waiting_since_now(town: World) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    posted(town, "jane@tomorrow.example", requested_at=tomorrow)
    said = town.slack.text_of(answer_to(town, SAM, "tomorrow.example"))
    assert blocks.JUST_ASKED in said


# In the channel


def payload(message: Message) -> Json:
    """Return the payload of a card's metadata, to be changed."""
    assert message.metadata
    found: Json = message.metadata["event_payload"]
    return found


def with_one_part(message: Message) -> None:
    """Add a reason to a card whose text is missing."""
    part = {"type": "rich_text_section", "elements": [{"type": "text", "text": "x"}]}
    message.blocks.append({"type": "rich_text", "block_id": "reason-1-1", "elements": [part]})


# What may have happened to a card since it was posted, or how another version of the app would post it.
CHANGES: dict[str, Callable[[Message], object]] = {
    "round is a word": lambda message: payload(message).update(round="x"),
    "round below one": lambda message: payload(message).update(round=-1),
    "too many rounds": lambda message: payload(message).update(round=10**12),
    "unknown state": lambda message: payload(message).update(state="surprised"),
    "no state": lambda message: payload(message).pop("state"),
    "several states": lambda message: payload(message).update(state=[State.PENDING, State.APPROVED]),
    "long reviewer": lambda message: payload(message).update(reviewer_id="U" * 100),
    "reviewer that no database takes": lambda message: payload(message).update(reviewer_id="U\0"),
    "settled at some time": lambda message: payload(message).update(settled_at="soon"),
    "long id": lambda message: payload(message).update(id=LONG),
    "payload is a list": lambda message: (message.metadata or {}).update(event_payload=[payload(message)]),
    "metadata is a text": lambda message: setattr(message, "metadata", "conveyor_request"),
    "odd timestamp": lambda message: setattr(message, "ts", f"{message.ts}000000"),
    "blocks are a text": lambda message: setattr(message, "blocks", ["reason"]),
    "reason without its text": with_one_part,
}


def test_a_lost_ledger_adopts_the_good_cards_among_odd_ones(world: World, database_url: str) -> None:
    world.settings["DATABASE_URL"] = database_url.replace("+psycopg", "")
    channel = Channel(WebClient(world.slack.bot_token, world.slack.api_url), world.slack.channel_id)

    def shown(state: State, status: str, name: str) -> Message:
        request_id = world.conveyor.ask(f"{name.replace(' ', '-')}@acme.com", status=status)
        row = Row(request_id, 1, state, f"{name.replace(' ', '-')}@acme.com", "", "room-1", "", time.time())
        found = world.slack.find(channel.post(blocks.card(row), kept_by_card(row)))
        assert found
        return found

    first = shown(State.PENDING, "requested", "first")
    odd = {name: shown(State.PENDING, "requested", name) for name in CHANGES}
    ids = {name: request_of(card) for name, card in odd.items()}
    for name, change in CHANGES.items():
        change(odd[name])
    decided = shown(State.APPROVED, "approved", "decided")
    last = shown(State.PENDING, "requested", "last")
    world.start()
    eventually(lambda: "channel=read cards=3" in world.log())
    for name, card in odd.items():
        assert f'card=unreadable ts="{card.ts}"' in world.log(), name
        card.metadata = None  # so that the new card is found below
    for card in (first, last):
        assert clickable(world, request_of(card)) is card
        world.slack.click(ANN, card.ts, "approve")
        world.shows(request_of(card), "approved")
    assert world.ledger(f"SELECT state FROM requests WHERE card_ts = '{decided.ts}'") == [("closed",)]
    # A request whose card cannot be read gets another one, and the old card stays as it is.
    for name, request_id in ids.items():
        assert clickable(world, request_id) is not odd[name]
        assert odd[name].edited == 0


# In the ledger


@pytest.mark.parametrize("settled_at", ["1e300", "-1e300", "'abc'", "x'00'"])
def test_a_damaged_row_harms_no_answer_and_no_card(town: World, settled_at: str) -> None:
    name = f"damaged-{settled_at.encode().hex()}.example"
    decided, waiting = approved(town, f"ann@{name}"), posted(town, f"cat@{name}")
    edits = decided.edited, waiting.edited
    values = {
        "groups": "'[[7'",
        "previous": "'x'",
        "company": "'[]'",
        "settled_at": settled_at,
        "revision": "revision + 1",
        "show_at": "0",
    }
    changes = ", ".join(f"{column} = {value}" for column, value in values.items())
    for card in (decided, waiting):
        town.ledger(f"UPDATE requests SET {changes} WHERE id = '{request_of(card)}'")
    eventually(lambda: decided.edited > edits[0] and waiting.edited > edits[1])
    for card in (decided, waiting):
        assert f"request={request_of(card)} damaged=settled_at" in town.log()
    assert state_of(decided) == "approved"
    assert "<@U0ANN>" in town.slack.text_of(decided)
    said = town.slack.text_of(answer_to(town, SAM, name))
    assert f"ann@{name}" in said
    assert blocks.DECIDED[State.APPROVED][0] in said
    assert f"cat@{name} {blocks.JUST_ASKED}" in said
    assert f"cat@{name}" in town.slack.text_of(answer_to(town, SAM, ""))
    shown = town.slack.text_of(posted(town, f"new@{name}"))
    assert asked_before(f"ann@{name}", State.APPROVED) in shown
    # Even the damaged requests can go on.
    revoke(town, BOB, decided)
    town.shows(request_of(decided), "revoked", "<@U0BOB>")
    town.slack.click(ANN, waiting.ts, "approve")
    town.shows(request_of(waiting), "approved", "<@U0ANN>")
