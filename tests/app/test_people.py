"""Who people are in Enterprise Grid and with single sign-on: with several ids, or an unconfirmed address."""

import re
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

import blocks
from sandbox.workspace import ANN, EVE, GUS, SAM, TEAM, Message, Person
from tests.support.steps import answer_to, posted, request_of, run, writes
from tests.support.world import World, eventually

ORG, OTHER_ORG, SISTER = "E0HARBOR", "E0RIVAL", "T0SISTER"
GROUP = "S0LEADS"
TWO_IDS = [("U0ABE", "W0ABEORG"), ("W0BEA", "U0BEA")]  # of a click, and in the list of the channel's members


def in_org(user_id: str, *teams: str, org: str = ORG) -> dict[str, Any]:
    return {"id": user_id, "enterprise_id": org, "teams": list(teams)}


def make(user_id: str, **more: Any) -> Person:
    name = user_id[2:].lower()
    return Person(user_id, name, name.title(), **{"email": f"{name}@harbor.example", **more})


MAY = [
    pytest.param(
        make("W0KAY", team_id=SISTER, enterprise_user=in_org("W0KAY", SISTER, TEAM)), id="first in another"
    ),
    pytest.param(make("W0LEA", team_id="", enterprise_user=in_org("W0LEA", TEAM)), id="without team_id"),
    pytest.param(
        make("U0MIA", email="mia@x.example", enterprise_user=in_org("W0MIAORG", TEAM)), id="group has W id"
    ),
    pytest.param(
        make("W0NED", email="ned@x.example", team_id=SISTER, enterprise_user=in_org("W0NED", SISTER, TEAM)),
        id="group has the same id",
    ),
    pytest.param(
        make("U0OTTO", email="otto@x.example", enterprise_user=in_org("W0OTTOORG", TEAM)), id="listed by W id"
    ),
    pytest.param(make("U0PIA", email="pia@x.example", is_email_confirmed=False), id="single sign-on, by id"),
    pytest.param(
        make("U0QUIN", email="quin@x.example", is_email_confirmed=False), id="single sign-on, in the group"
    ),
]
MAY_NOT = [
    pytest.param(
        make("W0RAY", team_id=SISTER, enterprise_user=in_org("W0RAY", SISTER)),
        blocks.NOT_A_MEMBER,
        id="not in ours",
    ),
    pytest.param(make("W0ROY", team_id=""), blocks.NOT_A_MEMBER, id="of no workspace"),
    pytest.param(
        make("W0SUE", team_id="T0X", enterprise_user=in_org("W0SUE", TEAM, org=OTHER_ORG)),
        blocks.NOT_A_MEMBER,
        id="other organization",
    ),
    pytest.param(
        make("W0TIM", team_id=SISTER, is_restricted=True, enterprise_user=in_org("W0TIM", SISTER, TEAM)),
        blocks.NOT_A_MEMBER,
        id="guest here",
    ),
    pytest.param(
        make("U0UDO", email="udo@x.example", enterprise_user=in_org("W0MIAORG", TEAM, org=OTHER_ORG)),
        blocks.NOT_A_REVIEWER,
        id="id of a member in another organization",
    ),
    pytest.param(make("U0VIC", is_email_confirmed=False), blocks.NO_ADDRESS, id="single sign-on, by domain"),
]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with closing(World(tmp_path_factory.mktemp("town"))) as made:
        made.slack.enterprise_id = ORG
        for person in (*MAY, *MAY_NOT):
            meet(made, person.values[0])
        for asks_as, listed_as in TWO_IDS:  # the app asks who is in the channel once a minute
            made.slack.users[asks_as] = make(asks_as, enterprise_user=in_org(listed_as, TEAM))
            made.slack.channels[made.slack.channel_id].members.append(listed_as)
        made.slack.user_groups[GROUP] = {"handle": "leads", "users": ["W0MIAORG", "W0NED", "U0QUIN"]}
        yield made.start(REVIEWERS=f"@harbor.example,{GROUP},W0OTTOORG,U0PIA,{ANN}")
    assert made.leaks() == []


def meet(world: World, person: Any) -> None:
    """Let this person be in Slack and in the channel."""
    world.slack.users[person.id] = person
    world.slack.channels[world.slack.channel_id].members.append(person.id)


def clicked(world: World, who: str, card: Message) -> int | None:
    world.slack.private.clear()
    return world.slack.click(who, card.ts, "approve").status


@pytest.mark.parametrize("person", MAY)
def test_full_members_decide_under_whichever_id_they_are_listed(town: World, person: Person) -> None:
    card = posted(town)
    assert clicked(town, person.id, card) == 200
    town.shows(request_of(card), "approved", f"<@{person.id}>")
    assert town.conveyor.decisions[-1].reviewer_email == person.email


@pytest.mark.parametrize(("person", "words"), MAY_NOT)
def test_nobody_else_decides_and_everybody_is_told_why(town: World, person: Person, words: str) -> None:
    card = posted(town)
    assert clicked(town, person.id, card) == 200
    town.told(person.id, words)
    assert writes(town, request_of(card)) == []


# Clicks in another workspace


@pytest.fixture
def elsewhere(town: World) -> Iterator[World]:
    town.slack.sent_team = SISTER
    yield town
    town.slack.sent_team, town.slack.enterprise_id = "", ORG


@pytest.mark.parametrize("who", ["W0KAY", ANN])
def test_a_full_member_may_click_in_another_workspace_of_the_organization(elsewhere: World, who: str) -> None:
    card = posted(elsewhere)
    assert clicked(elsewhere, who, card) == 200
    elsewhere.shows(request_of(card), "approved", f"<@{who}>")
    assert "acme.com" in elsewhere.slack.text_of(answer_to(elsewhere, who, "acme.com"))


def refused(world: World) -> int:
    """Return how many payloads from another workspace /readyz has counted."""
    notes = [note for note in world.readiness()[1]["notes"] if "another workspace" in note]
    return int(notes[0].split()[2]) if notes else 0


@pytest.mark.parametrize("who", ["W0RAY", "W0SUE", "W0TIM", GUS, EVE])
def test_whoever_is_no_full_member_is_refused_there_counted_and_told(elsewhere: World, who: str) -> None:
    card, before = posted(elsewhere), refused(elsewhere)
    assert clicked(elsewhere, who, card) == 401
    elsewhere.told(who, blocks.OTHER_WORKSPACE)
    assert writes(elsewhere, request_of(card)) == []
    elsewhere.slack.private.clear()
    assert elsewhere.slack.command(who, "acme.com").status == 401
    elsewhere.told(who, blocks.OTHER_WORKSPACE)
    assert refused(elsewhere) == before + 2


@pytest.mark.parametrize("org", ["", OTHER_ORG])
def test_clicks_in_another_organization_are_refused_counted_and_told(elsewhere: World, org: str) -> None:
    card, before = posted(elsewhere), refused(elsewhere)
    elsewhere.slack.enterprise_id = org
    assert clicked(elsewhere, ANN, card) == 401
    elsewhere.told(ANN, blocks.OTHER_WORKSPACE)
    assert refused(elsewhere) == before + 1
    elsewhere.slack.private.clear()
    elsewhere.slack.replay()
    time.sleep(0.5)
    assert elsewhere.slack.private == []  # a copy of a click gets no answer
    assert writes(elsewhere, request_of(card)) == []


def test_whoever_slack_says_nothing_about_is_refused_there(elsewhere: World) -> None:
    meet(elsewhere, make("W0ZOE", team_id=SISTER, enterprise_user=in_org("W0ZOE", SISTER, TEAM)))
    card = posted(elsewhere)
    elsewhere.slack.fail("users.info", status=500)
    assert clicked(elsewhere, "W0ZOE", card) == 401
    elsewhere.told("W0ZOE", blocks.WHO_UNKNOWN)
    assert clicked(elsewhere, "W0ZOE", card) == 200
    elsewhere.shows(request_of(card), "approved", "<@W0ZOE>")


# The command


@pytest.mark.parametrize("asks_as", [asks_as for asks_as, _ in TWO_IDS])
def test_whoever_is_in_the_channel_under_another_id_is_answered_and_told(town: World, asks_as: str) -> None:
    card = posted(town, f"jane@{asks_as.lower()}.example")
    town.slack.private.clear()
    answer = answer_to(town, asks_as, f"{asks_as.lower()}.example")
    assert f"@{asks_as.lower()}.example" in town.slack.text_of(answer)
    town.slack.click(asks_as, answer.ts, "tell_me", via=answer)
    town.told(asks_as, blocks.watched(town.row(request_of(card)), new=True))
    clicked(town, ANN, card)
    told = f"D{asks_as[1:]}"
    eventually(lambda: [said for said in town.slack.messages if said.channel == told])


def test_whoever_is_in_the_channel_under_no_id_is_not_answered(town: World) -> None:
    stranger = make("U0CAL", enterprise_user=in_org("W0KAY", TEAM, org=OTHER_ORG))
    town.slack.users[stranger.id] = stranger
    assert blocks.not_in_channel(town.slack.channel_id) in town.slack.text_of(
        answer_to(town, stranger.id, "acme.com")
    )


# An installation for the whole organization, and missing scopes


def test_an_org_wide_installation_is_said_to_be_unsupported(world: World) -> None:
    world.slack.enterprise_id, world.slack.is_org_wide = ORG, True
    world.waits["worker.refresh.RETRY_SECONDS"] = 0.2
    world.launch()
    reason = "org-wide installation is not supported; install the app in one workspace"

    def reasons() -> list[str]:
        try:
            return world.readiness()[1]["reasons"]
        except OSError:
            return []

    eventually(lambda: f"Slack: {reason}." in reasons(), 60)
    assert world.log().count(reason) == 1
    world.slack.command(SAM, "acme.com")
    world.told(SAM, blocks.ORG_WIDE)
    status, said = run(world, "check")
    assert (status, f"✗ Slack: {reason}." in said) == (1, True)
    world.slack.is_org_wide = False
    eventually(lambda: reason not in str(reasons()))
    posted(world)


def test_reviewers_are_told_of_a_missing_scope_and_not_of_their_profile(world: World) -> None:
    world.slack.scopes.discard("users:read.email")
    world.waits["worker.refresh.REFRESH_SECONDS"] = 0.5
    world.launch()
    warning = "at=workspace.reviewers reviewers=unknown cause=missing_scope needed=users:read.email"
    eventually(lambda: warning in world.log(), 60)
    card = posted(world)
    clicked(world, ANN, card)
    assert "`users:read.email`" in world.told(ANN, blocks.NO_SCOPE)
    status, why = world.readiness()
    assert status == 503
    assert any("without the scope users:read.email" in reason for reason in why["reasons"])
    assert world.log().count(warning) == 1
    world.slack.scopes.add("users:read.email")
    eventually(lambda: world.readiness()[0] == 200)


def test_the_scope_that_slack_needs_is_in_the_log(world: World) -> None:
    world.start(REVIEWERS="@harbor.example")  # nobody whom the app asks about before they click
    card = posted(world)
    world.slack.scopes.discard("users:read")
    clicked(world, ANN, card)
    world.told(ANN, blocks.WHO_UNKNOWN)
    assert re.search('users_info=failed user=U0ANN cause=".*missing_scope needed=users:read"', world.log())


@pytest.mark.parametrize(
    ("reviewers", "line"),
    [
        ("U0SSO", "✓ Reviewers: U0SSO is Sso."),
        ("sso@harbor.example", "✗ Reviewers: Slack hasn't confirmed the address sso@harbor.example."),
        ("U0BARE", "✗ Reviewers: U0BARE has no email address"),
        ("W0ORG", "✓ Reviewers: W0ORG is Org."),
        ("W0OUT", "✗ Reviewers: W0OUT belongs to another workspace."),
    ],
)
def test_check_judges_people_as_the_app_does(world: World, reviewers: str, line: str) -> None:
    world.slack.enterprise_id = ORG
    meet(world, make("U0SSO", is_email_confirmed=False))
    meet(world, make("U0BARE", email=None))
    meet(world, make("W0ORG", team_id=SISTER, enterprise_user=in_org("W0ORG", SISTER, TEAM)))
    meet(world, make("W0OUT", team_id=SISTER, enterprise_user=in_org("W0OUT", SISTER)))
    said = run(world, "check", REVIEWERS=reviewers)[1]
    assert any(each.startswith(line) for each in said.splitlines()), said
