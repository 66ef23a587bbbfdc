"""Reminders: whom they mention, when they come, and what happens where Slack takes none of them."""

import logging
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import blocks
from conveyor_client import AuthorizationRequest
from ledger.trail import LAST
from sandbox.slack import SlackStandIn
from sandbox.workspace import ANN, BOB, SAM, UNA, Message
from tests.app.test_told import LOCKED, all_said, is_reply, notes, refuse, warnings
from tests.proofs.replicas import Replicas
from tests.support.ledgers import new_ledger
from tests.support.steps import posted, run
from tests.support.world import MODES, World, eventually
from working_hours import WorkingHours, parse
from workspace.channel import Channel
from workspace.mentions import REMEMBERED_SECONDS, Mentions
from workspace.slack_client import SlackClient

LOOK_UP = "users.lookupByEmail"
SOON = {"REMIND_AFTER_HOURS": str(1.5 / 3600)}
HOUR = 3600.0


def reminders(world: World, card: Message) -> list[Message]:
    return [reply for reply in world.slack.replies(card.ts) if blocks.STILL_WAITING in reply.text]


def mentioned(message: Message) -> set[str]:
    """Return the ids of the people and user groups that this message mentions."""
    elements = message.blocks[0]["elements"][0]["elements"]
    return {each.get("user_id") or each.get("usergroup_id") for each in elements} - {None}


# In Slack


@pytest.mark.long
@pytest.mark.parametrize("mode", MODES)
def test_three_reminders_mention_people_and_the_channel_sees_the_last(tmp_path: Path, mode: str) -> None:
    world = World(tmp_path, by_socket=mode == "socket")
    try:
        world.slack.user_groups["S0SEC"] = {"handle": "security", "users": [SAM]}
        world.start(**SOON, REMIND=f"S0SEC, sam@harbor.example {BOB} nobody@harbor.example")
        card = posted(world)
        said = eventually(lambda: len(found := reminders(world, card)) == 3 and found, seconds=40)
        for each in said:
            assert mentioned(each) == {"S0SEC", SAM, BOB}
            assert "jane@acme.com" in each.text
            assert "<!subteam^S0SEC>" in each.text
            assert "channel" not in each.text
        assert [each.broadcast for each in said] == [False, False, True]
        at = [float(each.ts) for each in said]
        assert all(later - earlier >= 1.4 for earlier, later in pairwise(at))
        assert world.log().count("at=workspace.mentions") == 1
        queue = "GET /exchange/authorization_request_queue"
        polls = len(world.conveyor.calls(queue))
        eventually(lambda: len(world.conveyor.calls(queue)) > polls + 12, seconds=20)
        assert len(reminders(world, card)) == 3
        assert world.leaks() == []
    finally:
        world.close()


@pytest.mark.long
def test_after_a_kill_there_is_at_most_one_reminder_more(world: World) -> None:
    reminding = {"REMIND_AFTER_HOURS": str(2 / 3600)}
    world.slack.fail("chat.postMessage", delay_after=4, when=lambda request: bool(request.get("thread_ts")))
    world.start(**reminding)
    card = posted(world)
    eventually(lambda: world.slack.replies(card.ts))
    world.kill()
    world.start(**reminding)
    eventually(lambda: world.ledger("SELECT reminders FROM requests") == [(3,)], seconds=30)
    eventually(lambda: world.ledger("SELECT * FROM notes") == [], seconds=20)
    assert 3 <= len(world.slack.replies(card.ts)) <= 4
    assert all(mentioned(each) == {ANN, BOB} for each in reminders(world, card))


@pytest.mark.long
def test_a_reminder_that_is_queued_waits_for_the_working_hours(world: World) -> None:
    world.waits["worker.tell.CLOSED_SECONDS"] = 0.3
    world.slack.fail("chat.postMessage", None, status=503, when=is_reply)
    world.start(**SOON, REMIND=ANN, WORKING_HOURS="Mon-Sun 00:00-24:00 UTC")
    card = posted(world)
    eventually(lambda: world.ledger("SELECT 1 FROM notes WHERE failures > 0"))
    world.stop()
    world.slack.clear_faults()
    queued = world.ledger("SELECT count(*) FROM notes")
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[(time.gmtime().tm_wday + 3) % 7]
    world.start(**SOON, REMIND=ANN, WORKING_HOURS=f"{day} 00:00-24:00 UTC")
    later = "SELECT count(*) FROM notes WHERE failures > 0"
    posts = len(world.slack.calls("chat.postMessage"))
    other = posted(world, "joe@acme.com")
    time.sleep(3.0)
    assert reminders(world, card) == reminders(world, other) == []
    assert len(world.slack.calls("chat.postMessage")) == posts + 1
    assert world.ledger("SELECT count(*) FROM notes") == queued
    assert world.ledger(later) != [(0,)]
    world.stop()
    world.start(**SOON, REMIND=ANN, WORKING_HOURS="Mon-Sun 00:00-24:00 UTC")
    eventually(lambda: len(reminders(world, card)) == 3, seconds=30)
    assert blocks.WORKING_HOUR in reminders(world, card)[0].text


@pytest.mark.long
def test_a_reminder_that_its_thread_does_not_take_goes_to_the_channel(world: World) -> None:
    world.slack.limit_rates = True
    refuse(world, "chat.postMessage", LOCKED, when=is_reply)
    world.start(**SOON)
    card = posted(world)

    def in_channel() -> list[Message]:
        return [each for each in world.slack.messages if blocks.STILL_WAITING in each.text]

    eventually(lambda: len(in_channel()) == 3, seconds=40)
    all_said(world)
    for each in in_channel():
        assert each.thread_ts is None
        assert card.ts.replace(".", "") in str(each.blocks)
        assert mentioned(each) == {ANN, BOB}
    assert all("told=in_the_channel" in warning for warning in warnings(world))
    assert notes(world) == []


@pytest.mark.long
def test_a_reminder_that_slack_takes_nowhere_is_in_the_log_and_in_readyz(world: World) -> None:
    world.start(**SOON)
    is_card = "metadata"
    refuse(world, "chat.postMessage", "an_error_of_tomorrow", when=lambda request: is_card not in request)
    posted(world)
    eventually(lambda: warnings(world))
    all_said(world)
    assert "told=no" in warnings(world)[0]
    assert "jane@" not in world.log()
    assert notes(world)


@pytest.mark.long
def test_another_process_goes_on_with_the_reminders_of_a_dead_one(tmp_path: Path) -> None:
    waits = {"worker.loops.HEARTBEAT_SECONDS": 0.4, "worker.lease.HELD_SECONDS": 1.5}
    waits |= {"worker.lease.LEASE_SECONDS": 2.0, "worker.loops.ALARM_SECONDS": 0.1}
    replicas = Replicas(tmp_path, f"sqlite:///{tmp_path}/shared.db", 2, waits)
    world = replicas.world
    try:
        for each in replicas.each:
            each.settings |= {**SOON, "REMIND": "sam@harbor.example"}
        replicas.start()
        card = posted(world)
        eventually(lambda: reminders(world, card), 30)
        eventually(replicas.owner).kill()
        eventually(lambda: world.ledger("SELECT reminders FROM requests") == [(3,)], 40)
        eventually(lambda: world.ledger("SELECT * FROM notes") == [], 20)
        said = reminders(world, card)
        assert 3 <= len(said) <= 4  # the last one may have been sent twice
        assert all(mentioned(each) == {SAM} for each in said)
        assert said[-1].broadcast
    finally:
        replicas.close()


# When they are due


class Scene:
    """The ledger of a card that waits. The test moves the ledger's own clock and the time of day."""

    def __init__(self, folder: Path, start: str, working: str = "", hours: float = 2.0) -> None:
        self.ledger = new_ledger(f"sqlite:///{folder}/ledger.db")
        self.at = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
        self.now = 1000.0
        self.hours = hours
        self.ledger.database.clock.time_of_day = lambda: self.at
        self.working: WorkingHours | None = parse(working) if working else None
        self.ask("r1")

    def ask(self, request_id: str) -> None:
        request = AuthorizationRequest(request_id, "requested", "jane@acme.com", "", "", "", self.at)
        self.ledger.queue.record([request], self.now)
        with self.ledger.database.write() as db:
            db.exec_driver_sql("UPDATE requests SET card_ts = '1.1'")

    def run(self, hours: float) -> list[str]:
        """Let so many hours pass; return when reminders were queued, by the clock on the wall."""
        queued = []
        for _ in range(int(hours * 4)):
            self.now += HOUR / 4
            self.at += HOUR / 4
            if self.remind():
                queued.append(f"{datetime.fromtimestamp(self.at, ZoneInfo('Europe/Berlin')):%a %H:%M}")
        return queued

    def remind(self) -> int:
        return self.ledger.upkeep.remind(self.hours, 3, self.now, self.working)

    def details(self) -> list[str]:
        with self.ledger.database.read() as db:
            return [detail for (detail,) in db.exec_driver_sql("SELECT detail FROM notes ORDER BY number")]


@pytest.fixture
def made() -> Iterator[list[Scene]]:
    scenes: list[Scene] = []
    yield scenes
    for scene in scenes:
        scene.ledger.database.close()


FRIDAY = "2026-11-27 16:00"
NINE_TO_FIVE = "Mon-Fri 09:00-17:00 Europe/Berlin"


def test_working_hours_are_counted_and_nobody_is_reminded_outside(tmp_path: Path, made: list[Scene]) -> None:
    scene = Scene(tmp_path, FRIDAY, NINE_TO_FIVE)
    made.append(scene)
    assert scene.run(24 * 7) == ["Mon 10:00", "Mon 12:00", "Mon 14:00"]
    assert scene.details() == ["", "", LAST]


def test_without_working_hours_every_hour_counts(tmp_path: Path, made: list[Scene]) -> None:
    scene = Scene(tmp_path, FRIDAY)
    made.append(scene)
    assert scene.run(24) == ["Fri 18:00", "Fri 20:00", "Fri 22:00"]


@pytest.mark.parametrize("jump", [-24 * 365 * HOUR, -5 * HOUR, 5 * HOUR, 24 * 365 * HOUR])
def test_a_clock_that_jumps_neither_floods_nor_silences(
    tmp_path: Path, made: list[Scene], jump: float
) -> None:
    """The ledger's clock goes on evenly, whatever the time of day is set to."""
    scene = Scene(tmp_path, "2026-11-24 09:00", "Mon-Sun 00:00-24:00 UTC")
    made.append(scene)
    for number in range(20):
        scene.ask(f"r{number}")
    assert scene.run(1) == []
    scene.at += jump
    assert scene.run(0.75) == []
    scene.run(0.25)
    assert len(scene.details()) == 20
    scene.at -= jump
    assert scene.run(1.75) == []
    scene.run(30)
    assert len(scene.details()) == 60


def test_working_hours_count_while_no_process_runs(tmp_path: Path, made: list[Scene]) -> None:
    """On a computer that is off at night the ledger's clock stands still: no working hour is lost by that."""
    scene = Scene(tmp_path, "2026-11-24 09:00", NINE_TO_FIVE, hours=20.0)
    made.append(scene)
    queued = []
    for _ in range(3):
        queued += scene.run(8)
        scene.at += 16 * HOUR  # the ledger's clock stands still
    assert queued == ["Thu 13:00"]


# Whom they mention


class Finder:
    """A workspace, and what the app remembers of it."""

    def __init__(self, remind: list[str], reviewers: list[str]) -> None:
        self.now = 0.0
        self.slack = SlackStandIn()
        self.slack.serve()
        client = SlackClient(self.slack.bot_token, self.slack.api_url, seconds=2.5)
        channel = Channel(client, self.slack.channel_id)
        assert channel.refresh_identity()
        assert channel.identity
        self.identity = channel.identity
        self.mentions = Mentions(client, remind, reviewers, lambda: self.now)

    def ids(self, seconds: float = 0.0) -> tuple[str, ...]:
        """Return whom a reminder mentions after so many seconds and another refresh."""
        self.now += seconds
        self.mentions.refresh(self.identity)
        return self.mentions.ids()


@pytest.mark.parametrize(
    ("remind", "reviewers", "ids"),
    [
        ([], [], ()),
        ([], ["@harbor.example"], ()),
        ([], ["@harbor.example", "bob@harbor.example", "S0SEC", ANN], ("S0SEC", ANN, BOB)),
        ([], ["bob@harbor.example", "Bob@harbor.example"], (BOB,)),
        (["bob@harbor.example"], [ANN], (BOB,)),
        (["una@harbor.example"], [ANN], (UNA,)),
        (["nobody@harbor.example"], [ANN], ()),
        ([f"U0{number}" for number in range(20)], [], tuple(f"U0{number}" for number in range(20))),
        ([], [f"U0{number}" for number in range(30)], tuple(f"U0{number}" for number in range(20))),
    ],
)
def test_whom_reminders_mention(remind: list[str], reviewers: list[str], ids: tuple[str, ...]) -> None:
    finder = Finder(remind, reviewers)
    try:
        assert finder.ids() == ids
        if not any("@" in part[1:] for part in remind + reviewers):
            assert finder.slack.calls(LOOK_UP) == []
    finally:
        finder.slack.stop()


def test_answers_are_remembered_for_an_hour_and_survive_silence(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "workspace.mentions")

    def logged() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == "workspace.mentions"]

    finder = Finder(["ann@harbor.example", "bob@harbor.example", "gone@harbor.example"], [])
    try:
        assert finder.ids() == (ANN, BOB)
        assert finder.ids(REMEMBERED_SECONDS - 1) == (ANN, BOB)
        assert len(finder.slack.calls(LOOK_UP)) == 3
        assert [record.levelname for record in logged()] == ["WARNING"]
        finder.slack.scopes = finder.slack.scopes - {"users:read.email"}
        for _ in range(3):
            assert finder.ids(30) == (ANN, BOB)
        assert len(finder.slack.calls(LOOK_UP)) == 6  # the first refusal is one for all
        assert "missing_scope" in logged()[-1].getMessage()
        finder.slack.scopes |= {"users:read.email"}
        finder.slack.fail(LOOK_UP, None, body={"ok": True})
        assert finder.ids(30) == finder.ids(30) == (ANN, BOB)
        finder.slack.clear_faults()
        finder.slack.users[BOB].deleted = True
        assert finder.ids(30) == (ANN,)
        finder.slack.users[BOB].deleted = False
        finder.slack.users[SAM].email = "gone@harbor.example"
        assert finder.ids(REMEMBERED_SECONDS) == (ANN, BOB, SAM)
        assert logged()[-1].levelname == "INFO"
        assert len(logged()) == 5
    finally:
        finder.slack.stop()


def test_only_a_confirmed_address_names_a_reviewer() -> None:
    finder = Finder([], ["bob@harbor.example", "una@harbor.example"])
    try:
        assert finder.mentions.reviewer_id("bob@harbor.example") == ""  # nobody was asked yet
        assert finder.ids() == (BOB, UNA)
        assert finder.mentions.reviewer_id("bob@harbor.example") == BOB
        assert finder.mentions.reviewer_id("una@harbor.example") == ""
    finally:
        finder.slack.stop()


# What check says of them


def checked(world: World, **settings: str) -> list[str]:
    """Return the lines about reminders in what `check` says."""
    _, said = run(world, "check", **settings)
    return [line for line in said.splitlines() if line[2:].startswith("Reminders:")]


def test_check_says_which_part_of_remind_mentions_nobody(world: World) -> None:
    world.slack.user_groups |= {"S0SEC": {"users": [BOB]}, "S0EMPTY": {"users": []}}
    world.slack.users[UNA].deleted = True
    world.slack.channels[world.slack.channel_id].members.remove(SAM)
    parts = ["bob@harbor.example", "S0SEC", SAM, "gone@harbor.example", "S0EMPTY", "S0GONE", UNA, "U0GONE"]
    lines = checked(world, REMIND=",".join(parts))
    assert [line[0] for line in lines] == ["✓", "✓", "!", "✗", "✗", "✗", "✗", "✗"]
    for part, line in zip(parts, lines, strict=True):
        assert part in line
    world.slack.scopes = world.slack.scopes - {"users:read.email"}
    assert len(checked(world, REMIND="bob@harbor.example,U0BOB")) == 1


@pytest.mark.parametrize("reviewers", ["", "@harbor.example"])
def test_check_says_when_reminders_mention_nobody(world: World, reviewers: str) -> None:
    (line,) = checked(world, REVIEWERS=reviewers)
    assert "nobody" in line
    assert checked(world, REVIEWERS=reviewers, REMIND=ANN)[0].startswith("✓")
    assert checked(world, REVIEWERS=reviewers, REMIND_AFTER_HOURS="0") == []
    assert checked(world, REVIEWERS=f"@harbor.example {ANN}") == []
