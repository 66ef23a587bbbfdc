"""Whoever asks for more is told, once, that the customer signed the NDA and opened a document."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

import blocks
from conveyor_client import AuthorizationRequest
from ledger.gated import FOLLOWED_SECONDS
from ledger.ledger import Ledger
from ledger.rows import Reviewer, Row
from ledger.states import APPROVE, REVOKE, State
from ledger.trail import DIRECT
from listeners.rooms import MAX_WATCHED
from sandbox.stand_in import Exchange
from sandbox.workspace import ANN, BOB, SAM, Message, Private, elements_in
from tests.support.ledgers import new_ledger
from tests.support.steps import answer_to, approved, posted, request_of, revoke
from tests.support.world import World, eventually

QUEUE, GRANTS = "GET /exchange/authorization_request_queue", "GET /exchange/authorizations"
INTERACTIONS = "GET /interactions/connections/*"
TITLE = "SOC 2 <!channel> *report*"


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running world that the tests of this module share, which reads documents often."""
    made = World(tmp_path_factory.mktemp("town"))
    made.waits["worker.interest.ASK_SECONDS"] = 0.5
    yield made.start()
    made.close()
    assert made.leaks() == []


@pytest.fixture
def world(world: World) -> World:
    world.waits["worker.interest.ASK_SECONDS"] = 0.5
    return world


def grant_of(world: World, email: str) -> str:
    return next(key for key, item in world.conveyor.authorizations.items() if item["email"] == email)


def pressed(world: World, answer: Private, button: str, who: str = SAM) -> Private:
    """Let somebody click a button in a private answer to them; return the next answer."""
    before = len(world.slack.private)
    world.slack.click(who, answer.ts, button, via=answer)
    return eventually(lambda: [said for said in world.slack.private[before:] if said.user == who])[0]


def buttons(answer: Private) -> list[str]:
    return [str(element["action_id"]) for _, element in elements_in(answer.blocks or [])]


def follow(world: World, card: Message, who: str = SAM) -> str:
    """Let somebody ask for all there is to know about a request; return the last answer."""
    email = (card.metadata or {})["event_payload"]["email"]
    answer = answer_to(world, who, email)
    if blocks.TELL_ME in buttons(answer):
        answer = pressed(world, answer, blocks.TELL_ME, who)
    return world.slack.text_of(pressed(world, answer, blocks.TELL_MORE, who))


def direct(world: World, email: str, who: str = SAM) -> list[str]:
    """Return the direct messages to somebody that name this customer."""
    told = [message for message in world.slack.messages if message.channel == f"D{who[1:]}"]
    return [world.slack.text_of(message) for message in told if email in message.text]


def openings(world: World, email: str, who: str = SAM) -> list[str]:
    return [said for said in direct(world, email, who) if blocks.OPENED_A_DOCUMENT in said]


def read(world: World, times: int = 2) -> None:
    """Wait until Conveyor said so often again what was opened."""
    before = len(world.conveyor.calls(INTERACTIONS))
    eventually(lambda: len(world.conveyor.calls(INTERACTIONS)) >= before + times, 40, world.log())
    polled(world)


def polled(world: World, times: int = 2) -> None:
    before = len(world.conveyor.calls(QUEUE))
    eventually(lambda: len(world.conveyor.calls(QUEUE)) >= before + times, 40)


def followers(world: World, card: Message) -> int:
    return len(world.ledger(f"SELECT 1 FROM followers WHERE request_id = '{request_of(card)}'"))


def let_in(world: World, email: str) -> Message:
    """Return the card of a customer who was approved and has signed the NDA."""
    card = approved(world, email)
    world.conveyor.sign_nda(grant_of(world, email))
    return world.shows(request_of(card), "approved", blocks.NDA_SIGNED)


def test_nobody_is_promised_more_while_a_rejected_customer_is_approved_after_all(town: World) -> None:
    email = "rae@rethought.example"
    card = posted(town, email)
    answer = pressed(town, answer_to(town, SAM, email), blocks.TELL_ME)
    town.slack.click(BOB, card.ts, "reject")
    town.slack.submit(BOB, values={"reason": "no"})
    town.shows(request_of(card), "rejected")
    town.conveyor.fail("POST /exchange/authorizations", None, status=503)
    town.slack.click(ANN, card.ts, "more", value=blocks.AFTER_ALL)
    town.slack.submit(ANN)
    eventually(lambda: town.row(request_of(card)).state is State.APPROVING_AFTER_ALL)
    said = town.slack.text_of(pressed(town, answer, blocks.TELL_MORE))
    assert said == blocks.already_ended(town.row(request_of(card)))
    assert followers(town, card) == 0
    town.conveyor.clear_faults()
    town.shows(request_of(card), "approved")


def test_who_asks_before_the_decision_hears_of_it_the_signature_and_the_document(town: World) -> None:
    email = "jane@story.example"
    card = posted(town, email)
    said = follow(town, card)
    assert said == blocks.followed(town.row(request_of(card)), 0.0, time.time())
    assert len(town.ledger(f"SELECT 1 FROM trail WHERE event = 'following' AND person_id = '{SAM}'")) == 1
    town.slack.click(ANN, card.ts, "approve")
    eventually(lambda: len(direct(town, email)) == 1)
    grant = grant_of(town, email)
    town.conveyor.sign_nda(grant)
    assert blocks.SIGNED_THE_NDA in eventually(lambda: direct(town, email)[1:])[0]
    read(town)
    assert len(direct(town, email)) == 2
    town.conveyor.open_document(grant, TITLE)
    (opened,) = eventually(lambda: direct(town, email)[2:])
    assert opened.startswith("📄 " + email + blocks.OPENED_A_DOCUMENT)
    assert TITLE in opened
    (message,) = [each for each in town.slack.messages if blocks.OPENED_A_DOCUMENT in each.text]
    assert "<!channel>" not in message.text
    assert f"/p{card.ts.replace(chr(46), '')}" in str(message.blocks)
    assert "SOC 2" not in town.log()
    assert email not in town.log()
    town.conveyor.open_document(grant, "Another one")
    polled(town, 6)
    assert len(direct(town, email)) == 3
    assert followers(town, card) == 0


def test_who_comes_late_hears_only_of_what_follows(town: World) -> None:
    email = "jane@late.example"
    card = let_in(town, email)
    grant = grant_of(town, email)
    town.conveyor.open_document(grant, "Before")
    town.conveyor.interactions[-1]["type"] = "Q & A"
    town.conveyor.open_document(grant, "Before")
    follow(town, card)
    row = town.row(request_of(card))
    read(town)
    assert direct(town, email) == []
    watching = town.slack.text_of(answer_to(town, SAM, "watching"))
    assert email in watching
    colleague = town.conveyor.approve_here(town.conveyor.ask("joe@late.example", status="approved"))
    town.conveyor.open_document(colleague, "By a colleague")
    town.conveyor.open_document(grant, "Q & A")
    town.conveyor.interactions[-1]["type"] = "Q & A"
    read(town)
    assert direct(town, email) == []
    town.conveyor.open_document(grant, "After")
    town.conveyor.interactions[-1]["email"] = email.upper()  # the same address
    (opened,) = eventually(lambda: direct(town, email))
    assert "After" in opened
    assert row.email in opened


def test_who_comes_while_the_nda_is_not_signed_hears_of_both_and_once(town: World) -> None:
    email = "jane@between.example"
    card = approved(town, email)
    assert followers(town, card) == 0
    said = follow(town, card)
    assert follow(town, card) == said
    assert followers(town, card) == 1
    assert not any(each.path.endswith(email) for each in town.conveyor.calls(INTERACTIONS))
    town.conveyor.sign_nda(grant_of(town, email))
    assert blocks.SIGNED_THE_NDA in eventually(lambda: direct(town, email))[0]
    town.conveyor.open_document(grant_of(town, email), "")
    eventually(lambda: openings(town, email))
    polled(town, 4)
    assert len(direct(town, email)) == 2


def test_both_of_two_followers_are_told_and_who_stops_is_not(town: World) -> None:
    email = "jane@several.example"
    card = let_in(town, email)
    for who in (SAM, BOB, ANN):
        follow(town, card, who)
    answer = answer_to(town, ANN, "watching")
    assert email in town.slack.text_of(answer)
    pressed(town, answer, blocks.STOP_TELLING, ANN)
    assert followers(town, card) == 2
    town.conveyor.open_document(grant_of(town, email))
    eventually(lambda: openings(town, email, SAM) and openings(town, email, BOB))
    polled(town, 4)
    assert [len(direct(town, email, who)) for who in (SAM, BOB, ANN)] == [1, 1, 0]


@pytest.mark.parametrize("end", ["rejected", "revoked", "revoked while gated", "revoked in Conveyor"])
def test_an_end_is_told_and_ends_it(town: World, end: str) -> None:
    email = f"jane@{end.replace(' ', '-').lower()}.example"
    card = posted(town, email)
    follow(town, card)
    if end == "rejected":
        town.slack.click(ANN, card.ts, "reject")
        town.slack.submit(ANN, values={"reason": "No"})
    else:
        town.slack.click(ANN, card.ts, "approve")
        town.shows(request_of(card), "approved")
        if end == "revoked":
            town.conveyor.sign_nda(grant_of(town, email))
            town.shows(request_of(card), "approved", blocks.NDA_SIGNED)
        if end == "revoked in Conveyor":
            town.conveyor.revoke_here(grant_of(town, email))
        else:
            revoke(town, ANN, card)
    state = end.split()[0]
    town.shows(request_of(card), state)
    last = f"{blocks.DECIDED[State(state)][0]}: {email}"
    eventually(lambda: [each for each in town.slack.messages if each.text.startswith(last)])
    assert followers(town, card) == 0
    assert town.ledger(f"SELECT 1 FROM watchers WHERE request_id = '{request_of(card)}'") == []
    if end != "rejected":
        town.conveyor.open_document(grant_of(town, email))
    polled(town, 6)
    assert openings(town, email) == []
    asked = answer_to(town, SAM, email)
    assert blocks.TELL_MORE not in buttons(asked)


def test_who_asks_too_late_is_told_the_outcome(town: World) -> None:
    card = posted(town, "jane@too-late.example")
    answer = pressed(town, answer_to(town, SAM, "jane@too-late.example"), blocks.TELL_ME)
    town.slack.click(ANN, card.ts, "reject")
    town.slack.submit(ANN, values={"reason": "No"})
    town.shows(request_of(card), "rejected")
    said = pressed(town, answer, blocks.TELL_MORE)
    assert said.text == blocks.already_ended(town.row(request_of(card)))
    assert followers(town, card) == 0


def test_a_new_round_is_told_and_counts_anew(town: World) -> None:
    email = "jane@again.example"
    card = let_in(town, email)
    follow(town, card)
    request_id = request_of(card)
    town.conveyor.ask_again(request_id)
    again = town.shows(request_id, "pending", round=2)
    eventually(lambda: town.ledger(f"SELECT 1 FROM requests WHERE card_ts = '{again.ts}'"))
    town.slack.click(BOB, again.ts, "approve")
    town.shows(request_id, "approved", round=2)
    assert eventually(lambda: direct(town, email))[0].startswith(blocks.UNSIGNED)
    grant = list(town.conveyor.authorizations)[-1]
    town.conveyor.sign_nda(grant)
    eventually(lambda: [said for said in direct(town, email) if blocks.SIGNED_THE_NDA in said])
    town.conveyor.open_document(grant)
    eventually(lambda: openings(town, email))
    assert len(direct(town, email)) == 3


def test_what_was_approved_in_conveyor_is_followed_too(town: World) -> None:
    email = "jane@elsewhere.example"
    card = posted(town, email)
    follow(town, card)
    grant = town.conveyor.approve_here(request_of(card))
    town.shows(request_of(card), "approved elsewhere")
    town.conveyor.sign_nda(grant)
    town.conveyor.open_document(grant)
    eventually(lambda: openings(town, email))
    assert len(direct(town, email)) == 2


def test_more_than_can_be_listed_are_counted(town: World) -> None:
    ids = [town.conveyor.ask(f"p{number}@crowd.example") for number in range(MAX_WATCHED + 1)]
    crowd = "domain = 'crowd.example'"
    eventually(lambda: town.ledger(f"SELECT count(*) FROM requests WHERE {crowd}") == [(len(ids),)])
    town.ledger(f"INSERT INTO followers SELECT id, '{BOB}', 0, '' FROM requests WHERE {crowd}")
    assert buttons(answer_to(town, BOB, "watching")) == [blocks.STOP_TELLING] * MAX_WATCHED
    town.ledger(f"DELETE FROM followers WHERE person_id = '{BOB}'")


# What it costs


def between_polls(calls: list[Exchange]) -> list[list[str]]:
    names = [each.call for each in calls]
    polls = [number for number, name in enumerate(names) if name == QUEUE]
    return [names[start:end] for start, end in pairwise(polls)]


def test_it_costs_one_call_a_poll_at_most_also_beside_the_ndas(world: World) -> None:
    world.start()
    cards = [let_in(world, f"p{number}@firm-{number % 3}.example") for number in range(5)]
    approved(world, "gated@firm-0.example")
    for card in cards:
        follow(world, card)
    for number in range(250):  # three pages
        world.conveyor.open_document(grant_of(world, "p0@firm-0.example"), f"Old {number}")
        world.conveyor.interactions[-1]["email"] = f"other{number}@firm-0.example"
    before = len(world.conveyor.exchanges)
    read(world, 12)
    with world.conveyor.lock:
        polls = between_polls(world.conveyor.exchanges[before:])
    extra = [[call for call in calls if call == GRANTS or "interactions" in call] for calls in polls]
    assert max(map(len, extra)) == 1
    assert any(GRANTS in calls for calls in extra)  # documents do not keep NDAs from being read
    connections = {call for calls in extra for call in calls if "interactions" in call}
    assert len(connections) == 3
    pages = {each.request.get("page") for each in world.conveyor.calls(INTERACTIONS)}
    assert {"1", "2", "3"} <= pages
    for card in cards:
        world.conveyor.open_document(grant_of(world, world.row(request_of(card)).email))
    eventually(lambda: world.ledger("SELECT 1 FROM followers") == [], 40)


def test_a_connection_is_read_once_in_ten_minutes(world: World) -> None:
    del world.waits["worker.interest.ASK_SECONDS"]
    world.waits["worker.interest.ASK_POLLS"] = 10_000
    world.start()
    for number in range(2):
        follow(world, let_in(world, f"p{number}@acme.com"))
    eventually(lambda: world.conveyor.calls(INTERACTIONS))
    polled(world, 8)
    asked = [each for each in world.conveyor.calls(INTERACTIONS) if "created_at_start" in each.request]
    assert len(asked) == 1


# What goes wrong


def test_a_key_without_the_right_is_said_and_costs_nothing_else(world: World) -> None:
    world.start()
    early, card = posted(world, "early@acme.com"), let_in(world, "jane@acme.com")
    follow(world, card)
    world.conveyor.key_forbids.add(INTERACTIONS)
    eventually(lambda: "Documents:" in str(world.readiness()[1]["notes"]))
    assert world.readiness()[0] == 200
    assert world.log().count("followed=documents known=no") == 1
    late = let_in(world, "late@acme.com")
    assert follow(world, late) == blocks.DOCUMENTS_UNSEEN
    assert followers(world, late) == 0
    assert follow(world, early).startswith(blocks.DOCUMENTS_UNSEEN)
    unsigned = approved(world, "unsigned@acme.com")
    assert follow(world, unsigned).startswith(blocks.DOCUMENTS_UNSEEN)
    world.conveyor.sign_nda(grant_of(world, "unsigned@acme.com"))
    assert blocks.SIGNED_THE_NDA in eventually(lambda: direct(world, "unsigned@acme.com"))[0]
    world.conveyor.key_forbids.clear()
    world.conveyor.open_document(grant_of(world, "jane@acme.com"))
    eventually(lambda: openings(world, "jane@acme.com"))
    eventually(lambda: "Documents:" not in str(world.readiness()[1]["notes"]))


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 422, "body": {"error": "no such filter"}},
        {"body": {"interactions": None}},
        {"body": {"interactions": [None, 7, {}, {"type": "Document"}], "total_pages": 2}},
        {"body": {"interactions": [], "total_pages": 9}},
        {"drop": "after"},
    ],
    ids=str,
)
def test_what_conveyor_does_not_say_is_asked_again(town: World, fault: dict[str, Any]) -> None:
    email = f"jane@fault-{len(town.conveyor.requests)}.example"
    follow(town, let_in(town, email))
    town.conveyor.fail(INTERACTIONS, None, **fault)
    town.conveyor.open_document(grant_of(town, email))
    read(town, 3)
    assert openings(town, email) == []
    assert "Documents:" in str(town.readiness()[1]["notes"])
    town.conveyor.clear_faults()
    eventually(lambda: openings(town, email), 30)
    polled(town, 4)
    assert len(openings(town, email)) == 1


def test_a_list_that_lags_behind_is_waited_for(town: World) -> None:
    email = "jane@lags.example"
    card = let_in(town, email)
    follow(town, card)
    town.conveyor.lag = 120.0
    town.conveyor.open_document(grant_of(town, email))
    read(town)
    assert openings(town, email) == []
    town.conveyor.lag = 0.0
    eventually(lambda: openings(town, email), 30)
    polled(town, 4)
    assert len(openings(town, email)) == 1


def test_an_opening_on_a_page_is_told_although_the_next_page_repeats(town: World) -> None:
    email = "jane@repeats.example"
    follow(town, let_in(town, email))
    town.conveyor.honors_page = False
    town.conveyor.open_document(grant_of(town, email))
    for number in range(120):
        town.conveyor.open_document(grant_of(town, email), f"Number {number}")
    eventually(lambda: openings(town, email), 30)
    town.conveyor.honors_page = True


@pytest.mark.parametrize("known", [True, False])
def test_a_grant_without_a_connection_is_found_by_its_company(town: World, known: bool) -> None:
    email = f"jane@company-{known}.example".lower()
    card = let_in(town, email)
    grant = town.conveyor.authorizations[grant_of(town, email)]
    connection_id = grant.pop("connection_id")
    connections = list(town.conveyor.connections)
    if not known:
        town.conveyor.connections.remove(next(each for each in connections if each["id"] == connection_id))
    follow(town, card)
    if not known:
        eventually(lambda: f"request={request_of(card)} connection=unknown" in town.log(), 30)
        town.conveyor.connections[:] = connections
    grant["connection_id"] = connection_id
    town.conveyor.open_document(grant["id"])
    if known:
        del grant["connection_id"]
    eventually(lambda: openings(town, email), 30)


def test_a_connection_that_is_gone_is_looked_for_again(town: World) -> None:
    email = "jane@merged.example"
    card = let_in(town, email)
    follow(town, card)
    known = f"SELECT 1 FROM followers WHERE request_id = '{request_of(card)}' AND connection_id != ''"
    eventually(lambda: town.ledger(known), 30)
    grant = town.conveyor.authorizations[grant_of(town, email)]
    connection = next(each for each in town.conveyor.connections if each["id"] == grant["connection_id"])
    connection["id"] = grant["connection_id"] = "conn-merged"
    town.conveyor.open_document(grant["id"])
    eventually(lambda: openings(town, email), 30)


def test_it_survives_a_restart_and_ends_after_thirty_days(world: World) -> None:
    world.start()
    cards = [let_in(world, f"{name}@acme.com") for name in ("old", "later")]
    for card in cards:
        follow(world, card)
    world.kill()
    old, later = (request_of(card) for card in cards)
    past = f"at = at - {FOLLOWED_SECONDS + 1}"
    world.ledger(f"UPDATE followers SET {past}")
    world.ledger(f"UPDATE requests SET settled_at = settled_at - {FOLLOWED_SECONDS + 1} WHERE id = '{old}'")
    for name in ("old", "later"):
        world.conveyor.open_document(grant_of(world, f"{name}@acme.com"))
    world.start()
    eventually(lambda: openings(world, "later@acme.com"), 30)
    assert world.ledger("SELECT 1 FROM followers") == []
    assert openings(world, "old@acme.com") == []
    assert world.slack.text_of(answer_to(world, SAM, "watching")) == blocks.NOT_FOLLOWING
    assert old != later


def test_a_lost_ledger_has_forgotten_who_follows(world: World) -> None:
    world.start()
    card = let_in(world, "jane@acme.com")
    follow(world, card)
    world.kill()
    for file in world.database.parent.iterdir():
        file.unlink()
    world.conveyor.open_document(grant_of(world, "jane@acme.com"))
    world.start()
    polled(world, 4)
    assert direct(world, "jane@acme.com") == []
    assert world.slack.text_of(answer_to(world, SAM, "watching")) == blocks.NOT_FOLLOWING
    assert blocks.TELL_MORE not in buttons(answer_to(world, SAM, "jane@acme.com"))


def test_who_left_the_channel_learns_nothing_and_refused_messages_come_privately(world: World) -> None:
    world.waits["workspace.channel.MEMBERS_SECONDS"] = 1
    world.start()
    card = let_in(world, "jane@acme.com")
    follow(world, card, SAM)
    follow(world, card, BOB)
    world.slack.private.clear()
    world.slack.channels[world.slack.channel_id].members.remove(SAM)
    time.sleep(1.2)
    world.slack.messages_tab = False
    world.conveyor.open_document(grant_of(world, "jane@acme.com"))
    world.told(BOB, "jane@acme.com", blocks.OPENED_A_DOCUMENT)
    eventually(lambda: world.ledger("SELECT 1 FROM notes") == [] == world.ledger("SELECT 1 FROM followers"))
    assert direct(world, "jane@acme.com") == []
    assert [said for said in world.slack.private if said.user == SAM] == []


def test_two_processes_tell_nobody_twice(database_url: str) -> None:
    ledgers = [new_ledger(database_url) for _ in range(2)]
    asked = AuthorizationRequest("r1", "requested", "jane@acme.com", "", "room-1", "", 5.0)
    ledgers[0].queue.record([asked], 10.0)
    ledgers[0].cards.posted(find(ledgers[0]), "C0", "1.1")
    ann = Reviewer(ANN, "Ann", "ann@harbor.example")
    assert ledgers[0].decisions.claim(find(ledgers[0]), APPROVE, ann, "t1", 20.0)
    assert ledgers[0].decisions.settle(find(ledgers[0]), 21.0)
    for who in (SAM, BOB):
        for ledger in ledgers:
            ledger.memory.watch("r1", who, 30.0)
            ledger.followers.follow("r1", who)
    seen = [ledger.followers.active() for ledger in ledgers]
    start = threading.Barrier(8)

    def tell(number: int) -> int:
        start.wait()
        ledger, mine = ledgers[number % 2], seen[number % 2]
        return sum(ledger.followers.opened(each, TITLE, 40.0, 40.0) for each in mine)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(tell, range(8))) == 2
    for who in (SAM, BOB):
        ledgers[1].followers.follow("r1", who)
    assert ledgers[1].decisions.claim(find(ledgers[1]), REVOKE, ann, "t2", 50.0)
    assert ledgers[1].decisions.settle(find(ledgers[1]), 51.0)
    assert ledgers[0].followers.every() == []
    with ledgers[0].database.read() as db:
        notes = sorted(tuple(note) for note in db.execute(text("SELECT person_id, kind FROM notes")))
    assert notes == sorted((who, kind) for who in (SAM, BOB) for kind in DIRECT)
    for ledger in ledgers:
        ledger.database.close()


def find(ledger: Ledger) -> Row:
    row = ledger.decisions.find("r1")
    assert row
    return row
