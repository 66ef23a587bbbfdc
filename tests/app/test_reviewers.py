"""Who may decide, by the setting REVIEWERS and by what Slack says about a person."""

from collections.abc import Iterator
from typing import Any

import pytest

from ledger.user_groups import UserGroups
from sandbox.slack import SlackStandIn
from sandbox.workspace import ANN, BOB, DAN, EVE, GIL, GUS, NOEL, ROBOT, SAM, UNA
from tests.support.ledgers import new_ledger
from workspace.people import FRESH_MOST
from workspace.reviewers import MayNot, NoAddress, NotAMember, NotListed, Reviewers, Unknown, WhoDecides
from workspace.slack_client import SlackClient


class Slack(SlackStandIn):
    """A workspace, and the ledger that knows its user groups."""

    groups: UserGroups


@pytest.fixture
def slack(user_groups: UserGroups) -> Iterator[Slack]:
    made = Slack()
    made.groups = user_groups
    made.serve()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def user_groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UserGroups]:
    ledger = new_ledger(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db")
    yield ledger.user_groups
    ledger.database.close()


class Clock:
    """A clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def reviewers(slack: Slack, *allowed: str, clock: Clock | None = None) -> Reviewers:
    client = SlackClient(slack.bot_token, slack.api_url, seconds=2.5)
    return Reviewers(client, slack.groups, allowed, clock or Clock())


def verdict(who: Reviewers, user_id: str, team_id: str = "T0SANDBOX") -> type[MayNot] | str:
    """Return the address of somebody who may decide, or why they may not."""
    try:
        return who.check(user_id, team_id).email
    except MayNot as error:
        return type(error)


@pytest.mark.parametrize(
    ("allowed", "user_id", "expected"),
    [
        (["ann@harbor.example"], ANN, "ann@harbor.example"),
        (["Ann@HARBOR.example"], ANN, "ann@harbor.example"),
        (["@harbor.example"], ANN, "ann@harbor.example"),
        (["@HARBOR.EXAMPLE"], ANN, "ann@harbor.example"),
        (["@example"], ANN, NotListed),
        (["@sub.harbor.example"], ANN, NotListed),
        (["@arbor.example"], ANN, NotListed),
        (["bob@harbor.example"], ANN, NotListed),
        ([ANN], ANN, "ann@harbor.example"),
        ([ANN], SAM, NotListed),
        ([], SAM, "sam@harbor.example"),
        (["S0NONE"], ANN, Unknown),
        *(([who, "@harbor.example"], who, NotAMember) for who in (GUS, GIL, ROBOT, DAN, EVE)),
        *(([], who, NotAMember) for who in (GUS, GIL, ROBOT, DAN, EVE)),
        ([NOEL], NOEL, NoAddress),
        ([UNA, "@harbor.example"], UNA, "una@harbor.example"),
        (["@harbor.example"], UNA, NoAddress),
        (["una@harbor.example"], UNA, NoAddress),
        ([], UNA, NoAddress),
        (["@harbor.example"], NOEL, NoAddress),
        ([], "U0NOBODY", Unknown),
        ([], "USLACKBOT", Unknown),
    ],
)
def test_who_may_decide(slack: Slack, allowed: list[str], user_id: str, expected: type[MayNot] | str) -> None:
    assert verdict(reviewers(slack, *allowed), user_id) == expected


def test_people_of_another_workspace_may_not_decide(slack: Slack) -> None:
    assert verdict(reviewers(slack, ANN), ANN, "T0OTHER") is NotAMember
    assert verdict(reviewers(slack, ANN), ANN, "") is NotAMember


def test_only_the_part_after_the_last_at_is_the_domain(slack: Slack) -> None:
    slack.users[ANN].email = '"x@harbor.example"@evil.example'
    assert verdict(reviewers(slack, "@harbor.example"), ANN) is NotListed


def test_an_answer_is_kept_for_a_minute_at_most(slack: Slack) -> None:
    clock = Clock()
    who = reviewers(slack, ANN, clock=clock)
    assert verdict(who, ANN) == "ann@harbor.example"
    slack.users[ANN].deleted = True
    clock.now += 59
    assert verdict(who, ANN) == "ann@harbor.example"
    clock.now += 2
    assert verdict(who, ANN) is NotAMember


def asked(slack: Slack) -> list[str]:
    """Return about whom Slack was asked, in the order of the calls."""
    return [str(call.request["user"]) for call in slack.calls("users.info")]


def refresh_for(who: Reviewers, clock: Clock, seconds: float) -> None:
    """Refresh what is known of people for so long."""
    until = clock.now + seconds
    while clock.now < until:
        clock.now += who.refresh()


def test_whoever_may_decide_is_known_before_they_click(slack: Slack) -> None:
    clock = Clock()
    slack.groups.keep("S0SEC", [BOB], 0.0)
    client = SlackClient(slack.bot_token, slack.api_url)
    named = ["@harbor.example", SAM, "ann@harbor.example", "S0SEC"]
    found = {"ann@harbor.example": ANN}
    who = Reviewers(client, slack.groups, named, clock, lambda address: found.get(address, ""))
    refresh_for(who, clock, 600)
    assert set(asked(slack)) == {SAM, ANN, BOB}
    assert len(asked(slack)) <= 3 * 600 / 40
    slack.exchanges.clear()
    slack.users[BOB].deleted = True
    refresh_for(who, clock, 60)  # what was known before has an end, as if it had been asked for by a click
    slack.exchanges.clear()
    assert [verdict(who, each) for each in (SAM, ANN, BOB)] == [
        "sam@harbor.example",
        "ann@harbor.example",
        NotAMember,
    ]
    assert asked(slack) == []


def test_whoever_decided_is_known_first(slack: Slack) -> None:
    clock = Clock()
    crowd = [f"U0CROWD{number}" for number in range(30)]
    who = reviewers(slack, "@harbor.example", *crowd, clock=clock)
    assert verdict(who, ANN) == "ann@harbor.example"
    refresh_for(who, clock, 400)
    assert asked(slack).count(ANN) >= 400 / 42
    assert len(set(asked(slack))) == FRESH_MOST
    assert len(asked(slack)) <= FRESH_MOST * 400 / 40 + 1


@pytest.mark.parametrize(
    ("fault", "most"),
    [({"status": 429, "headers": {"Retry-After": "30"}}, 5), ({"status": 500}, 13), ({"drop": "before"}, 13)],
    ids=str,
)
def test_a_slack_that_does_not_answer_is_asked_less_often_and_nothing_old_counts(
    slack: Slack, fault: dict[str, Any], most: int
) -> None:
    clock = Clock()
    who = reviewers(slack, ANN, BOB, clock=clock)
    refresh_for(who, clock, 30)
    slack.exchanges.clear()
    slack.fail("users.info", None, **fault)
    refresh_for(who, clock, 120)
    assert len(asked(slack)) <= most
    assert verdict(who, ANN) is Unknown
    slack.clear_faults()
    refresh_for(who, clock, 60)
    slack.exchanges.clear()
    assert verdict(who, ANN) == "ann@harbor.example"
    assert asked(slack) == []


def test_somebody_whom_slack_does_not_know_holds_up_nobody(slack: Slack) -> None:
    clock = Clock()
    who = reviewers(slack, "U0NOBODY", ANN, clock=clock)
    refresh_for(who, clock, 60)
    slack.exchanges.clear()
    assert verdict(who, ANN) == "ann@harbor.example"
    assert asked(slack) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500},
        {"drop": "before"},
        {"delay": 3.0},
        {"trickle": 0.5},
        {"status": 429, "headers": {"Retry-After": "30"}},
        {"status": 200, "body": "<html>"},
        {"status": 200, "body": {"ok": True}},
        {"status": 200, "body": {"ok": True, "user": "U0ANN"}},
        {"status": 200, "body": {"ok": True, "user": {"id": "U0BOB", "team_id": "T0SANDBOX"}}},
    ],
    ids=str,
)
def test_nobody_may_decide_if_slack_does_not_say_who_they_are(slack: Slack, fault: dict[str, Any]) -> None:
    slack.fail("users.info", **fault)
    assert verdict(reviewers(slack), ANN) in (Unknown, NotAMember)


def test_letters_that_fold_into_other_letters_are_not_the_same(slack: Slack) -> None:
    slack.users[ANN].email = "ann@gro\u00df.example"
    assert verdict(reviewers(slack, "@gross.example", "ann@gross.example"), ANN) is NotListed
    slack.users[ANN].email = "an\u212a@harbor.example"  # the Kelvin sign
    assert verdict(reviewers(slack, "ank@harbor.example"), ANN) is NotListed


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        ([], WhoDecides(everybody=True)),
        ([ANN], WhoDecides((ANN,))),
        (["S0SEC", ANN], WhoDecides(("S0SEC", ANN))),
        ([ANN, "S0SEC", "W0WES", "U0MORE"], WhoDecides((ANN, "S0SEC", "W0WES"), more=True)),
        (["@Harbor.example"], WhoDecides(domains=("harbor.example",))),
        (["@harbor.example", ANN], WhoDecides((ANN,), ("harbor.example",))),
        (["@a.example", "@b.example", ANN, "S0SEC"], WhoDecides((ANN, "S0SEC"), ("a.example",), more=True)),
        (["Bob@harbor.example", ANN], WhoDecides(("U0BOB", ANN))),
        (["U0BOB", "bob@harbor.example", "U0BOB"], WhoDecides(("U0BOB",))),
        (["nobody@harbor.example", ANN], WhoDecides((ANN,), more=True)),
        (["nobody@harbor.example"], WhoDecides(more=True)),
    ],
)
def test_who_is_named_as_a_reviewer(slack: Slack, allowed: list[str], expected: WhoDecides) -> None:
    client = SlackClient(slack.bot_token, slack.api_url)
    found = {"bob@harbor.example": "U0BOB"}
    who = Reviewers(client, slack.groups, allowed, user_id_of=lambda address: found.get(address.lower(), ""))
    assert who.who_decides() == expected
    assert not slack.calls("users.info")
