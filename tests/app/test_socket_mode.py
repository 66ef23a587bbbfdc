"""What is special about clicks over a socket; the main job, starts and stops are tested both ways."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sandbox.workspace import ANN, BOB, SAM
from tests.support.steps import posted, request_of, writes
from tests.support.world import World, eventually


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of its own for one test, whose clicks come over a socket."""
    made = World(tmp_path, by_socket=True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running world that the tests share, whose clicks come over a socket."""
    made = World(tmp_path_factory.mktemp("town"), by_socket=True)
    made.start()
    yield made
    made.close()


def test_health_is_served_and_the_route_for_slack_is_not(town: World) -> None:
    assert requests.get(town.url + "/healthz", timeout=5).status_code == 200
    assert requests.post(town.url + "/slack/events", data=b"x", timeout=5).status_code == 404


@pytest.mark.long
@pytest.mark.parametrize("lost", ["drop", "refresh"])
def test_no_click_is_lost_or_doubled_when_the_socket_changes(world: World, lost: str) -> None:
    world.start()
    cards = [posted(world, f"p{number}@acme.com") for number in range(3)]
    world.slack.click(ANN, cards[0].ts, "approve")
    before = len(world.slack.calls("apps.connections.open"))
    getattr(world.slack.link, lost)()
    clicked = world.slack.click_payload(BOB, cards[1].ts, "approve")
    answer = world.slack.send_payload(clicked)
    if answer.status is None:  # the person sees that it failed, and clicks again
        eventually(lambda: world.slack.send_payload(clicked).status == 200)
    eventually(lambda: len(world.slack.calls("apps.connections.open")) > before)
    eventually(world.slack.link.is_open)
    assert eventually(lambda: world.slack.click(ANN, cards[2].ts, "approve").status == 200)
    for card in cards:
        world.shows(request_of(card), "Approved by")
        assert writes(world, request_of(card)) == [("POST", True)]
    world.slack.send_payload(clicked)  # Slack may send it again if it got no answer
    assert writes(world, request_of(cards[1])) == [("POST", True)]


def test_readyz_says_that_slack_is_down_until_it_is_back(world: World) -> None:
    world.slack.fail("apps.connections.open", times=None, status=503)
    world.launch()
    eventually(lambda: world.slack.calls("apps.connections.open"))
    eventually(lambda: any("socket" in reason for reason in reasons(world)))
    world.slack.clear_faults()
    eventually(world.serves)
    card = posted(world)
    world.slack.click(SAM, card.ts, "approve")
    world.told(SAM, "not on the list")


def reasons(world: World) -> list[str]:
    """Return the reasons of /readyz, or none while the app does not serve yet."""
    try:
        return world.readiness()[1]["reasons"]
    except requests.RequestException:
        return []
