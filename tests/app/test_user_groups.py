"""Who is in the reviewers' user groups: read by one process, known to all, forgotten within two minutes.

In the test with running processes Slack's minute, and all that goes by it, lasts ten seconds.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import literal

import blocks
from ledger.user_groups import LIST_SECONDS
from sandbox.slack import SlackStandIn
from sandbox.workspace import ANN, SAM, Person
from tests.proofs.replicas import Replicas
from tests.support.launcher import BRISK
from tests.support.ledgers import new_ledger
from tests.support.steps import posted
from tests.support.world import World, eventually
from worker.groups import CALL_SECONDS, READ_SECONDS, Groups
from workspace.reviewers import MayNot, NotListed, Reviewers, Unknown
from workspace.slack_client import SlackClient

LIST = "usergroups.users.list"
TWO_MINUTES = 120.0
FASTER = 6


# One process, on a clock that the test moves


class Scene:
    """A workspace, the loop that reads its user groups, and whoever checks a person."""

    def __init__(self, database_url: str, *allowed: str) -> None:
        self.now = 1_000_000.0
        self.slack = SlackStandIn(limit_rates=True)
        self.slack.now = lambda: self.now
        self.slack.serve()
        self.ledger = new_ledger(database_url)
        self.client = SlackClient(self.slack.bot_token, self.slack.api_url, seconds=2.5)
        self.allowed = allowed
        self.start()

    def start(self) -> None:
        self.groups = Groups(self.client, self.ledger.user_groups, self.allowed, lambda: self.now)
        self.who = Reviewers(self.client, self.ledger.user_groups, self.allowed, lambda: self.now)
        self.next_at = self.now

    def run(self, seconds: float) -> None:
        """Let so many seconds pass."""
        until = self.now + seconds
        while self.next_at <= until:
            self.now = self.next_at
            self.next_at = self.now + self.groups.round()
        self.now = until

    def verdict(self, user_id: str) -> type[MayNot] | str:
        """Return the address of somebody who may decide, or why they may not."""
        try:
            return self.who.check(user_id, "T0SANDBOX").email
        except MayNot as error:
            return type(error)


@pytest.fixture
def make(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scene]]:
    made: list[Scene] = []
    monkeypatch.setattr("ledger.user_groups.Now", lambda: literal(made[-1].now))

    def make(*allowed: str) -> Scene:
        made.append(Scene(database_url, *allowed))
        return made[-1]

    yield make
    for each in made:
        each.ledger.database.close()
        each.slack.stop()


def test_a_group_counts_for_less_than_two_minutes_after_it_was_read(make: Callable[..., Scene]) -> None:
    scene = make("S0SEC")
    scene.slack.user_groups["S0SEC"] = {"handle": "security", "users": [SAM]}
    assert scene.verdict(SAM) is Unknown
    scene.run(1)
    assert scene.verdict(SAM) == "sam@harbor.example"
    assert scene.verdict(ANN) is NotListed
    scene.slack.fail(LIST, None, status=500)
    scene.run(LIST_SECONDS - 10)
    assert scene.verdict(SAM) == "sam@harbor.example"
    scene.run(20)
    assert scene.verdict(SAM) is Unknown
    assert scene.ledger.user_groups.members() == {}
    scene.slack.clear_faults()
    scene.run(31)
    assert scene.verdict(SAM) == "sam@harbor.example"


def test_a_restart_knows_what_was_read_before(make: Callable[..., Scene]) -> None:
    scene = make("S0SEC")
    scene.slack.user_groups["S0SEC"] = {"handle": "security", "users": [SAM]}
    scene.run(1)
    scene.slack.fail(LIST, None, status=500)
    scene.start()
    assert scene.verdict(SAM) == "sam@harbor.example"


def test_a_clock_that_is_set_back_lets_no_list_count_for_longer(make: Callable[..., Scene]) -> None:
    scene = make("S0SEC")
    scene.slack.user_groups["S0SEC"] = {"handle": "security", "users": [SAM]}
    scene.run(1)
    scene.slack.fail(LIST, None, status=500)
    with scene.ledger.database.write() as db:
        db.exec_driver_sql("UPDATE user_groups SET read_at = read_at + 60")
    assert scene.verdict(SAM) is Unknown  # it was read in the future
    scene.run(LIST_SECONDS + 31)
    assert scene.verdict(SAM) is Unknown  # by the database's clock it is not old yet


def test_a_group_that_slack_does_not_know_holds_up_no_other(make: Callable[..., Scene]) -> None:
    scene = make("S0GONE", "S0SEC")
    scene.slack.user_groups["S0SEC"] = {"handle": "security", "users": [SAM]}
    scene.run(600)
    assert scene.verdict(SAM) == "sam@harbor.example"
    assert scene.verdict(ANN) is Unknown
    assert len(scene.slack.calls(LIST)) < 60


@pytest.mark.parametrize("count", [1, 5, 25, 30])
def test_every_list_is_read_again_in_time_and_within_slacks_limit(
    make: Callable[..., Scene], count: int
) -> None:
    scene = make(*(f"S0G{number}" for number in range(count)))
    for group_id in scene.allowed:
        scene.slack.user_groups[group_id] = {"handle": group_id, "users": [SAM]}
    scene.run(100)
    for _ in range(20):
        scene.run(10)
        assert len(scene.ledger.user_groups.members()) == count
    refused = [call for call in scene.slack.calls(LIST) if call.status == 429]
    assert len(refused) <= 1  # while all were read for the first time


# Several processes


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    """Three processes whose 25 reviewers are each in a group of their own."""
    waits = BRISK | {
        "ledger.user_groups.LIST_SECONDS": LIST_SECONDS / FASTER,
        "worker.groups.LIST_SECONDS": LIST_SECONDS / FASTER,
        "worker.groups.READ_SECONDS": READ_SECONDS / FASTER,
        "worker.groups.CALL_SECONDS": CALL_SECONDS / FASTER,
    }
    made = Replicas(tmp_path, f"sqlite:///{tmp_path}/shared.db", 3, waits)
    slack = made.world.slack
    slack.rate_limits[LIST] = 20, 60.0 / FASTER
    for number in range(25):
        person = Person(f"U0R{number}", f"r{number}", f"R {number}", f"r{number}@x.example")
        slack.users[person.id] = person
        slack.channels[slack.channel_id].members.append(person.id)
        slack.user_groups[f"S0G{number}"] = {"handle": f"g{number}", "users": [person.id]}
    for replica in made.each:
        replica.settings["REVIEWERS"] = ",".join(slack.user_groups)
        replica.launch()
    for replica in made.each:
        eventually(replica.serves, 60)
    yield made
    made.close()


def may_decide(replica: World, card_ts: str, user_id: str) -> bool:
    """Return whether this process lets somebody open the window for a rejection."""
    slack = replica.slack
    slack.app_url = replica.url
    slack.click(user_id, card_ts, "reject")
    view = slack.open_view(user_id)
    return slack.views.pop(view.id, None) is not None if view else False


@pytest.mark.long
def test_more_groups_than_slack_lets_three_processes_read(replicas: Replicas) -> None:
    world = replicas.world
    slack, people = world.slack, [f"U0R{number}" for number in range(25)]
    card = posted(world)
    began = time.monotonic()
    while time.monotonic() - began < 20:
        for person in people[::3]:
            assert [may_decide(replica, card.ts, person) for replica in replicas.each] == [True] * 3
        time.sleep(0.5)
    owner = eventually(replicas.owner)
    other = next(replica for replica in replicas.each if replica is not owner)
    # Whoever is removed is refused by each process in time, also while the one that read the groups is dead.
    slack.user_groups["S0G3"]["users"] = []
    owner.kill()
    removed_at = time.monotonic()
    eventually(lambda: not may_decide(other, card.ts, people[3]), TWO_MINUTES / FASTER)
    assert time.monotonic() - removed_at < TWO_MINUTES / FASTER
    assert may_decide(other, card.ts, people[4])
    # And while Slack says nothing more.
    slack.fail(
        LIST, None, status=429, body={"ok": False, "error": "ratelimited"}, headers={"Retry-After": "1"}
    )
    slack.user_groups["S0G4"]["users"] = []
    eventually(lambda: not may_decide(other, card.ts, people[4]), TWO_MINUTES / FASTER)
    other.told(people[4], blocks.WHO_UNKNOWN)
    reasons = [reason for reason in other.readiness()[1]["reasons"] if "S0G4" in reason]
    assert len(reasons) == 1
    slack.clear_faults()
    eventually(lambda: may_decide(other, card.ts, people[5]))
    assert not may_decide(other, card.ts, people[4])
