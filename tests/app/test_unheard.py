"""Clicks that the app refuses are counted and told, in few words, so that it is never deaf in silence."""

import time
from urllib.parse import urlencode

import pytest
import requests

from sandbox.workspace import ANN
from tests.support.steps import posted, request_of
from tests.support.world import World, eventually

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQ="


def notes(world: World) -> list[str]:
    status, found = world.readiness()
    assert (status, found["reasons"]) == (200, [])  # whatever anybody sends, the app is ready
    return found["notes"]


def lines(world: World) -> list[str]:
    return [line for line in world.log().splitlines() if "calls=refused" in line]


def ready(world: World, **settings: str) -> World:
    world.start(**settings)
    eventually(lambda: world.readiness()[0] == 200)
    return world


def test_clicks_signed_with_another_secret_are_counted_and_told_once(world: World) -> None:
    ready(world)
    card = posted(world)
    assert notes(world) == []
    right, world.slack.signing_secret = world.slack.signing_secret, "0" * 32
    for _ in range(20):
        assert world.slack.click(ANN, card.ts, "approve").status == 401
    (note,) = notes(world)
    assert "20 " in note
    assert "SLACK_SIGNING_SECRET" in note
    assert "none since the start" in note
    (line,) = lines(world)
    assert "level=WARNING" in line
    assert "unsigned=1 " in line
    assert "jane@acme.com" not in world.log()
    world.slack.signing_secret = right
    assert world.slack.click(ANN, card.ts, "approve").status == 200
    world.shows(request_of(card), "approved")
    assert "none since the start" not in notes(world)[0]


def test_what_was_refused_within_a_minute_is_in_the_next_line(world: World) -> None:
    world.waits |= {"listeners.unheard.TELL_SECONDS": 1.0, "worker.refresh.REFRESH_SECONDS": 0.2}
    ready(world)
    world.slack.signing_secret = "0" * 32
    for _ in range(3):
        world.slack.send(b"payload=%7B%7D", world.slack.sign(b"payload=%7B%7D"))
    eventually(lambda: len(lines(world)) == 2)
    assert "unsigned=2 " in lines(world)[1]


@pytest.mark.parametrize("seconds", [-400, 400])
def test_a_clock_that_is_off_is_told_as_that(world: World, seconds: int) -> None:
    ready(world)
    body = urlencode({"payload": "{}"}).encode()
    assert world.slack.send(body, world.slack.sign(body, int(time.time()) + seconds)).status == 401
    (note,) = notes(world)
    assert "clock" in note
    assert "outdated=1 " in lines(world)[0]


def test_another_workspace_and_an_unknown_action_are_told(world: World) -> None:
    ready(world)
    payload = world.slack.click_payload(ANN, posted(world).ts, "approve")
    assert world.slack.send_payload({**payload, "team": {"id": "T0ELSE"}}).status == 401
    payload["actions"][0]["action_id"] = "unknown"
    assert world.slack.send_payload(payload).status == 404
    said = " ".join(notes(world))
    assert "another workspace" in said
    assert "manifest.yaml" in said
    assert "other_workspace=1 " in lines(world)[0]


def test_a_webhook_signed_with_another_secret_is_told(world: World) -> None:
    ready(world, CONVEYOR_WEBHOOK_SECRET=SECRET)
    headers = {"svix-id": "m", "svix-timestamp": str(int(time.time())), "svix-signature": "v1,bm90aGluZw=="}
    answer = requests.post(world.url + "/conveyor/webhook", data=b"{}", headers=headers, timeout=5)
    assert answer.status_code == 401
    assert "CONVEYOR_WEBHOOK_SECRET" in notes(world)[0]
