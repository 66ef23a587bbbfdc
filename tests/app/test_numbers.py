"""/rooms numbers: how many requests came and were decided, and how long that took."""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import blocks
from conveyor_client import AuthorizationRequest
from ledger.numbers import DAY_SECONDS, Numbers, Waiting
from ledger.rows import Reviewer, Row
from ledger.states import APPROVE, ELSEWHERE, REJECT, REVOKE, Decision
from listeners.questions import days
from sandbox.workspace import ANN, SAM
from tests.support.ledgers import new_ledger
from tests.support.steps import answer_to, approved, posted, request_of, revoke
from tests.support.world import World
from working_hours import WorkingHours, parse

HOUR = 3600.0
ALWAYS = parse("Mon-Sun 00:00-24:00 UTC")


class Book:
    """A ledger in which the test asks and decides at times that it chooses."""

    def __init__(self, database_url: str) -> None:
        self.at = 1_800_000_000.0
        self.asked = 0
        self.ledger = new_ledger(database_url)
        self.ledger.database.clock.time_of_day = lambda: self.at
        self.ledger.upkeep.record_start("test")
        self.began = self.at

    def ask(self, received_at: float = 0.0) -> Row:
        self.asked += 1
        request = AuthorizationRequest(
            f"r{self.asked}", "requested", f"p{self.asked}@acme.com", "", "", "", received_at or self.at
        )
        self.ledger.queue.record([request], self.at)
        return self.row(request.id)

    def row(self, request_id: str) -> Row:
        found = self.ledger.decisions.find(request_id)
        assert found
        return found

    def decide(self, row: Row, decision: Decision, after: float = 0.0) -> Row:
        """Decide so many seconds later, and let Conveyor confirm it at once."""
        self.at += after
        clicked = f"{self.at} {row.id} {decision.runs_as}"
        assert self.ledger.decisions.claim(row, decision, Reviewer("U0ANN", "", ""), clicked, self.at)
        assert self.ledger.decisions.settle(self.row(row.id), self.at)
        return self.row(row.id)

    def ask_again(self, row: Row) -> Row:
        request = AuthorizationRequest(row.id, "requested", row.email, "", "", "", self.at)
        assert self.ledger.queue.reopen(row, request, self.at)
        return self.row(row.id)

    def numbers(self, period: int = 7, hours: WorkingHours | None = None) -> Numbers:
        since = self.at - period * DAY_SECONDS
        return self.ledger.numbers.numbers(since, self.at + 1.0, lambda row: row.card_ts, hours)


@pytest.fixture
def book(database_url: str) -> Iterator[Book]:
    made = Book(database_url)
    yield made
    made.ledger.database.close()


def test_each_decision_counts_in_its_own_period(book: Book) -> None:
    book.at += 100 * DAY_SECONDS
    book.decide(book.ask(), APPROVE, HOUR)
    book.at += 8 * DAY_SECONDS
    again = book.decide(book.ask(), REJECT, 2 * HOUR)
    again = book.decide(book.ask_again(again), APPROVE, 3 * HOUR)  # counts with both decisions
    book.decide(again, REVOKE, HOUR)
    for state in ELSEWHERE.values():
        assert book.ledger.queue.handled_elsewhere(book.ask(), state, book.at)
    waiting = [book.ask(book.at - age * HOUR).email for age in (3, 50, 1, 20)]
    counts = {"asked": 8, "approved": 1, "rejected": 1, "revoked": 1, "elsewhere": 2, "waiting": 4}
    found = book.numbers()
    assert {name: getattr(found, name) for name in counts} == counts
    assert (found.half, found.most, found.begins) == (2 * HOUR, 3 * HOUR, None)
    assert [each.email for each in found.longest] == [waiting[1], waiting[3], waiting[0]]
    assert [each.seconds for each in found.longest] == [50 * HOUR, 20 * HOUR, 3 * HOUR]
    assert replace(book.numbers(30), asked=8, approved=1, half=found.half, days=7) == found
    assert (book.numbers(30).asked, book.numbers(30).approved, book.numbers(30).half) == (9, 2, 2 * HOUR)
    assert book.numbers(9999).begins == book.began
    assert Numbers.of(json.loads(json.dumps(asdict(found)))) == replace(found, longest=list(found.longest))


def test_what_the_ledger_forgot_still_counts(book: Book) -> None:
    book.decide(book.ask(), APPROVE, HOUR)
    book.at += DAY_SECONDS
    before = book.numbers()
    assert book.ledger.upkeep.forget(HOUR, book.at) == 1
    assert book.numbers() == before
    assert (before.approved, before.half) == (1, HOUR)


def test_what_was_asked_before_the_first_start_was_not_asked_then(book: Book) -> None:
    row = book.ask(book.began - DAY_SECONDS)
    book.decide(row, APPROVE, HOUR)
    assert (book.numbers().asked, book.numbers().half) == (0, DAY_SECONDS + HOUR)


@pytest.mark.parametrize("hours", [None, ALWAYS])
def test_the_median_and_the_ninetieth_percentile(book: Book, hours: WorkingHours | None) -> None:
    took = [float(minute * 60) for minute in range(1, 11)]
    for seconds in random.Random(7).sample(took, len(took)):
        book.decide(book.ask(), APPROVE, seconds)
    found = book.numbers(hours=hours)
    assert (found.half, found.most, found.working) == (took[4], took[8], hours is not None)


def test_only_working_hours_count_if_there_are_any(book: Book) -> None:
    book.at += 3 * DAY_SECONDS - (book.at % DAY_SECONDS)  # midnight of a Monday
    book.decide(book.ask(book.at - 2 * DAY_SECONDS), APPROVE, 10 * HOUR)
    assert book.numbers(hours=parse("Mon-Fri 09:00-17:00 UTC")).half == HOUR


def test_an_empty_ledger_has_numbers_too(book: Book) -> None:
    found = book.numbers()
    assert (found.asked, found.half, found.most, found.longest) == (0, None, None, [])
    assert blocks.numbers(found)["text"] == f"{blocks.QUIET_WEEK} {blocks.NOTHING_WAITS}"


PERIODS = [("1d", 1), ("30 days", 30), ("2w", 14), ("1 week", 7), ("9999d", 9999)]
NO_PERIODS = ["", "0d", "0 weeks", "-1d", "12345d", "d", "30", "2m", "1.5d", "1d 2d", "acme.com", "٣d"]


@pytest.mark.parametrize(("typed", "count"), [*PERIODS, *((typed, 0) for typed in NO_PERIODS)])
def test_periods(typed: str, count: int) -> None:
    assert days(typed) == count


@pytest.mark.parametrize(
    ("seconds", "working", "text"),
    [
        (0.0, False, "1 minute"),
        (61.0, False, "2 minutes"),
        (119 * 60.0, False, "119 minutes"),
        (2 * HOUR + 1, False, "3 hours"),
        (47 * HOUR, False, "47 hours"),
        (48 * HOUR + 1, False, "3 days"),
        (1.0, True, f"1 {blocks.WORKING_HOUR}"),
        (9 * HOUR + 1, True, f"10 {blocks.WORKING_HOUR}s"),
    ],
)
def test_what_is_said_is_never_shorter_than_what_it_took(seconds: float, working: bool, text: str) -> None:
    found = Numbers(30, asked=1, approved=1, half=seconds, most=seconds, working=working)
    assert blocks.TIME.format(text) in blocks.numbers(found)["text"]


def test_it_names_no_reviewer_and_links_to_the_cards(town: World) -> None:
    card = approved(town, "jane@acme.com")
    revoke(town, ANN, card)
    town.shows(request_of(card), "revoked")
    waiting = posted(town, "joe@globex.example")
    answer = answer_to(town, SAM, "“Numbers  2 weeks”")
    said = town.slack.text_of(answer)
    assert "joe@globex.example" in said
    assert "jane@acme.com" not in said
    assert ANN not in str(answer.blocks)
    assert f"/p{waiting.ts.replace('.', '')}" in str(answer.blocks)
    assert blocks.DECISIONS.format(1, 0) in said
    assert blocks.REVOCATIONS.format(1) in said
    assert blocks.RECORDS_BEGIN in said
    assert said.startswith(f"📊 {blocks.NEW.format('14 days', '2 new requests')}")


def test_what_is_no_period_is_said_not_to_be(town: World) -> None:
    for typed in ("0d", "<!channel>", "acme.com"):
        answer = answer_to(town, SAM, f"numbers {typed}")
        assert town.slack.text_of(answer).startswith(blocks.NOT_A_PERIOD.partition("{")[0])
        assert "<!" not in answer.text


def test_only_members_of_the_channel_get_numbers(world: World) -> None:
    world.slack.channels[world.slack.channel_id].members.remove(SAM)
    world.start()
    said = world.slack.text_of(answer_to(world, SAM, "numbers"))
    assert said == blocks.not_in_channel(world.slack.channel_id)


def test_help_lists_it(town: World) -> None:
    assert "/rooms numbers" in town.slack.text_of(answer_to(town, SAM, "help"))


def test_a_damaged_message_of_the_week_says_that_its_numbers_are_gone(tmp_path: Path) -> None:
    for damaged in (None, 0.0, {}, {"days": 7}, {"longest": [[1]], "days": 7}, {"longest": 5, "days": 7}):
        assert Numbers.of(damaged) is None
    assert Numbers.of({"days": 7, "longest": [["a", 1.0, ""]]}) == Numbers(7, longest=[Waiting("a", 1.0, "")])
