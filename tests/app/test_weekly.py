"""WEEKLY: the message with the numbers of the week comes at its moment, and once, whatever happens."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import blocks
from ledger.numbers import Numbers, Waiting
from ledger.trail import log_event
from sandbox.slack import SlackStandIn
from sandbox.workspace import ANN, SAM, Message
from settings import SettingsError, load
from tests.support.ledgers import new_ledger
from tests.support.steps import answer_to, posted, request_of, run, weekly_due
from tests.support.world import GOOD, World, eventually
from worker.weekly import Weekly
from working_hours import WeeklyMoment, parse_moment
from workspace.channel import Channel
from workspace.slack_client import SlackClient
from workspace.slack_clock import SlackClock

BERLIN = "Europe/Berlin"
MONDAY = "Mon 09:00 Europe/Berlin"
POST = "chat.postMessage"


def at(text: str, zone: str = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def moments(text: str, start: str, days: int) -> list[str]:
    """Return the moments of so many days, by the clock on the wall, as a poll in each minute finds them."""
    moment = parse_moment(text, "UTC")
    found: list[tuple[float, str]] = []
    zone, begin = ZoneInfo(moment.zone), int(at(start, moment.zone))
    for second in range(begin, begin + days * 86400, 60):
        last, week = moment.last(second)
        if last >= begin and last not in [each for each, _ in found]:
            found.append((last, week))
    return [f"{datetime.fromtimestamp(last, zone):%m-%d %H:%M} {week}" for last, week in found]


def test_the_moment_is_that_of_the_clock_on_the_wall() -> None:
    assert moments(MONDAY, "2026-03-22", 10) == ["03-23 09:00 2026-W13", "03-30 09:00 2026-W14"]
    assert moments(MONDAY, "2026-10-18", 10) == ["10-19 09:00 2026-W43", "10-26 09:00 2026-W44"]
    assert moments("fri 24:00", "2026-12-30", 5) == ["01-02 00:00 2026-W53"]


def test_a_time_that_clocks_skip_or_show_twice_comes_once() -> None:
    assert moments("Sun 02:30 Europe/Berlin", "2026-03-28", 8) == ["03-29 03:30 2026-W13"]
    assert moments("Sun 02:30 Europe/Berlin", "2026-10-24", 8) == ["10-25 02:30 2026-W43"]
    assert moments("Fri 12:00 Pacific/Apia", "2011-12-25", 14) == [
        "12-31 12:00 2011-W52",  # there was no December 30
        "01-06 12:00 2012-W01",
    ]


# The setting


def test_its_zone_is_that_of_the_working_hours_unless_it_names_one() -> None:
    hours = {"WORKING_HOURS": "Mon-Fri 09:00-17:00 America/New_York"}
    assert load({**GOOD}).weekly is None
    assert load({**GOOD, "WEEKLY": "Mon 09:00"}).weekly == WeeklyMoment(0, 32400, "UTC")
    assert load({**GOOD, **hours, "WEEKLY": "sunday  7:05"}).weekly == WeeklyMoment(
        6, 25500, "America/New_York"
    )
    assert load({**GOOD, **hours, "WEEKLY": "Mon 09:00 europe/berlin"}).weekly == WeeklyMoment(
        0, 32400, BERLIN
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Monday", "“Monday” isn't a day and a time."),
        ("Mon-Fri 09:00", "“Mon-Fri 09:00” isn't a day and a time."),
        ("Mon 9", "“Mon 9” isn't a day and a time."),
        ("Mon 09:00-17:00", "isn't a day and a time."),
        ("Mox 09:00", "“mox” isn't a day."),
        ("Mon 25:00", "“25:00” isn't a time."),
        ("Mon 09:00 Berlin", "“Berlin” isn't a time zone."),
        ("Mon 09:00 UTC please", "isn't a day and a time."),
        ("postgresql://me:secret@host/name", "a part of it isn't"),
    ],
)
def test_a_mistake_is_a_sentence_at_start(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({**GOOD, "WEEKLY": text})
    (problem,) = caught.value.problems
    assert problem.startswith("WEEKLY: ")
    assert said in problem
    assert "secret" not in problem


# When it is due


class Moved(SlackClock):
    """The time in Slack, as the test sets it."""

    def __init__(self, scene: "Scene") -> None:
        super().__init__()
        self._scene = scene

    def now(self) -> float:
        return self._scene.at


class Scene:
    """What decides whether the message is due, on a clock that the test moves; each row is a message."""

    def __init__(self, folder: Path, start: str, weekly: str = MONDAY) -> None:
        self.at = at(start)
        self.slack = SlackStandIn()
        self.slack.serve()
        self.file = folder / "ledger.db"
        self.start(weekly)

    def start(self, weekly: str = MONDAY) -> None:
        """Begin as the app does after a start."""
        self.ledger = new_ledger(f"sqlite:///{self.file}")
        self.weekly = self.process(weekly)

    def process(self, weekly: str) -> Weekly:
        channel = Channel(SlackClient(self.slack.bot_token, self.slack.api_url), self.slack.channel_id)
        channel.clock = Moved(self)
        assert channel.refresh_identity()
        self.ledger.database.clock.time_of_day = channel.clock.now
        moment = parse_moment(weekly, "UTC") if weekly else None
        return Weekly(self.ledger.numbers, channel, moment, None, lambda row: "")

    def restart(self, weekly: str = MONDAY) -> None:
        self.ledger.database.close()
        self.start(weekly)

    def poll(self, time: str = "") -> list[str]:
        """Poll once, at this time; return the weeks whose message is in the ledger."""
        self.at = at(time) if time else self.at
        self.weekly.run(self.at)
        with self.ledger.database.read() as db:
            rows = db.exec_driver_sql("SELECT id FROM requests WHERE state = 'numbers' ORDER BY id")
            return [row_id.removeprefix("week-2026-") for (row_id,) in rows]

    def close(self) -> None:
        self.ledger.database.close()
        self.slack.stop()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with closing(Scene(tmp_path, "2026-11-30 09:30")) as made:
        yield made


def test_the_first_message_waits_for_its_moment(scene: Scene) -> None:
    assert scene.poll() == scene.poll("2026-12-07 08:59:59") == []
    assert scene.poll("2026-12-07 09:00") == ["W50"]
    scene.restart()
    assert scene.poll("2026-12-07 09:01") == scene.poll("2026-12-14 08:59") == ["W50"]
    assert scene.poll("2026-12-14 09:01") == ["W50", "W51"]


def test_a_late_message_comes_within_a_day(scene: Scene) -> None:
    scene.poll()
    scene.restart()
    assert scene.poll("2026-12-08 08:59") == ["W50"]
    scene.restart()
    assert scene.poll("2026-12-15 09:01") == ["W50"]  # too late
    assert scene.poll("2026-12-21 09:00") == ["W50", "W52"]


def test_a_change_of_the_setting_posts_no_second_message_and_none_at_once(scene: Scene) -> None:
    scene.poll()
    assert scene.poll("2026-12-07 09:00") == ["W50"]
    scene.restart("Wed 10:00 Europe/Berlin")
    assert scene.poll("2026-12-07 10:00") == scene.poll("2026-12-09 10:00") == ["W50"]
    assert scene.poll("2026-12-16 10:00") == ["W50", "W51"]
    scene.restart("Mon 09:00 Europe/Berlin")
    assert scene.poll("2026-12-21 09:00") == ["W50", "W51", "W52"]
    scene.restart("")
    assert scene.poll("2026-12-22 09:00") == ["W50", "W51", "W52"]
    scene.restart()
    assert scene.poll("2026-12-28 09:00") == ["W50", "W51", "W52", "W53"]
    scene.restart("")
    scene.poll("2026-12-29 09:00")
    scene.restart("Tue 09:00 Europe/Berlin")
    assert len(scene.poll("2026-12-29 09:30")) == 4


def test_it_is_turned_on_again_without_a_message_at_once(scene: Scene) -> None:
    scene.poll()
    scene.restart("")
    scene.poll()
    scene.restart()
    assert scene.poll("2026-12-07 09:30") == []
    assert scene.poll("2026-12-14 09:00") == ["W51"]


def test_of_two_processes_one_wins(scene: Scene) -> None:
    scene.poll()
    other = scene.process(MONDAY)
    other.run(scene.at)
    assert scene.poll("2026-12-07 09:00") == ["W50"]
    with scene.ledger.database.read() as db:
        before = db.exec_driver_sql("SELECT * FROM requests").all()
    scene.at += 60
    other.run(scene.at)
    with scene.ledger.database.read() as db:
        assert db.exec_driver_sql("SELECT * FROM requests").all() == before


def test_weeks_follow_each_other_without_a_gap(scene: Scene) -> None:
    scene.poll()
    with scene.ledger.database.write() as db:
        for moment in ("2026-12-07 08:59:59", "2026-12-07 09:00", "2026-12-07 11:00"):
            log_event(db, at(moment), "asked", "r1", 1)
    scene.poll("2026-12-07 12:00")
    scene.poll("2026-12-14 09:00")
    rows = [scene.ledger.numbers.find(f"week-2026-W{week}") for week in (50, 51)]
    found = [Numbers.of(row.numbers) for row in rows if row]
    assert [each.asked for each in found if each] == [1, 2]


def test_nothing_is_due_before_slack_has_said_what_time_it_is(scene: Scene) -> None:
    scene.poll()
    scene.weekly.channel.identity = None
    assert scene.poll("2026-12-07 09:00") == []


# In the channel


def weeks(world: World) -> list[Message]:
    """Return the weekly messages in the channel."""
    return [card for card in world.slack.cards() if request_of(card).startswith("week-")]


def is_up_to_date(world: World) -> bool:
    return world.ledger("SELECT card_ts != '', show_at FROM requests WHERE state = 'numbers'") == [(1, None)]


def test_it_is_posted_once_across_restarts_and_a_lost_ledger(world: World) -> None:
    asked = world.conveyor.ask("jane@acme.com")
    weekly = weekly_due(world)
    world.start(WEEKLY=weekly)
    (told,) = eventually(lambda: weeks(world))
    eventually(lambda: is_up_to_date(world))
    assert told.text == blocks.card(world.row(request_of(told)))["text"]
    assert "jane@acme.com" in world.slack.text_of(told)
    assert world.slack.text_of(answer_to(world, SAM, "")).count("jane@acme.com") == 1
    text = told.text
    world.slack.click(ANN, world.shows(asked, "pending").ts, "approve")
    world.shows(asked, "approved")
    assert run(world, "audit", "reconcile")[0] == 0
    world.stop()
    world.start(WEEKLY=weekly)
    posted(world, "after@acme.com")
    world.stop()
    for file in world.database.parent.iterdir():
        file.unlink()
    weekly_due(world)
    world.start(WEEKLY=weekly)
    posted(world, "last@acme.com")
    assert [card.text for card in weeks(world)] == [text]
    assert not told.edited
    assert world.slack.text_of(answer_to(world, SAM, "numbers")).count("week-") == 0


def test_it_is_posted_once_if_the_answer_to_the_post_is_lost(world: World) -> None:
    world.slack.fail(POST, drop="after")
    world.start(WEEKLY=weekly_due(world))
    eventually(lambda: is_up_to_date(world), 30)
    assert len(weeks(world)) == 1
    assert len(world.slack.calls(POST)) == 1


def test_if_slack_refuses_its_words_it_comes_without_customers(world: World) -> None:
    world.conveyor.ask("jane@acme.com")
    weekly = weekly_due(world)
    world.slack.fail(
        POST,
        body={"ok": False, "error": "invalid_blocks"},
        when=lambda message: "week-" in str(message.get("metadata")),
    )
    world.start(WEEKLY=weekly)
    (told,) = eventually(lambda: weeks(world))
    assert "jane@acme.com" not in world.slack.text_of(told)
    notes = eventually(lambda: world.readiness()[1]["notes"])
    assert request_of(told) in str(notes)


def test_its_customers_are_forgotten_with_the_others(world: World) -> None:
    world.conveyor.ask("jane@acme.com")
    weekly = weekly_due(world)
    world.start(WEEKLY=weekly)
    (told,) = eventually(lambda: weeks(world))
    eventually(lambda: is_up_to_date(world))
    assert "jane@acme.com" in str(world.ledger("SELECT numbers FROM requests WHERE state = 'numbers'"))
    world.stop()
    world.start(WEEKLY=weekly, RETENTION_DAYS="0.000001")
    eventually(lambda: world.ledger("SELECT numbers FROM requests WHERE state = 'numbers'") == [(None,)])
    posted(world, "after@acme.com")
    assert weeks(world) == [told]


def test_its_numbers_are_those_in_its_row() -> None:
    found = Numbers(7, 3, 1, 1, 0, 1, 60.0, 90.0, False, 4, [Waiting("jane@acme.com", 9e5, "https://x/p1")])
    kept = json.loads(json.dumps(found.__dict__))
    read = Numbers.of(kept)
    assert read
    assert blocks.numbers(read) == blocks.numbers(found)
