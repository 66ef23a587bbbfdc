"""Clicks through nginx, configured as the docs say."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from sandbox.workspace import ANN
from tests.requirements import needs
from tests.support.nginx import Nginx
from tests.support.steps import posted, request_of
from tests.support.world import World

pytestmark = needs("nginx")


@pytest.fixture(scope="module")
def nginx(town: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """A running nginx in front of the shared app."""
    made = Nginx(tmp_path_factory.mktemp("nginx"), town.port)
    made.folder.chmod(0o755)
    made.install()
    made.start()
    yield made
    made.stop()


def test_a_signed_click_gets_through_and_its_words_are_nowhere_in_nginx(nginx: Nginx, town: World) -> None:
    card = posted(town, message="Confidential " + "é" * 300)
    payload = town.slack.click_payload(ANN, card.ts, "approve")
    payload["message"]["reactions"] = [
        {"name": "eyes", "users": [f"U{number:010}" for number in range(1000)]}
    ]
    body = urlencode({"payload": json.dumps(payload)}).encode()
    assert len(body) > 16_384, "more than nginx keeps in memory by itself"
    assert nginx.post("/slack/events", body, town.slack.sign(body)).status_code == 200
    town.shows(request_of(card), "approved")
    logs = nginx.logs()
    assert "POST /slack/events" in logs
    assert "Confidential" not in logs
    assert "buffered to a temporary file" not in logs
    assert nginx.bodies_on_disk() == []


def test_an_unsigned_request_is_refused_by_the_app(nginx: Nginx) -> None:
    answer = nginx.post("/slack/events", b"payload={}", {})
    assert (answer.status_code, answer.text) == (401, "The signature is not Slack's.\n")


def test_the_webhook_reaches_the_app(nginx: Nginx) -> None:
    answer = nginx.post("/conveyor/webhook", b"{}", {})
    assert answer.status_code == 404  # the app has no secret with which it could check a webhook
    assert "nginx" not in answer.text


def test_a_body_that_is_too_long_does_not_reach_the_app(nginx: Nginx) -> None:
    answer = nginx.post("/slack/events", b"x" * 1_048_577, {})
    assert answer.status_code == 413
    assert "nginx" in answer.text


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/slack/events/", "/slack"])
def test_no_other_path_is_served(nginx: Nginx, path: str) -> None:
    answer = nginx.post(path, b"", {})
    assert answer.status_code == 404
    assert "nginx" in answer.text


def test_while_the_app_is_down_slack_gets_an_error_at_once(tmp_path: Path) -> None:
    down = Nginx(tmp_path, app_port=1)
    down.install()
    down.start()
    try:
        answer = down.post("/slack/events", b"payload={}", {})
        assert answer.status_code == 502
        assert answer.elapsed.total_seconds() < 2
    finally:
        down.stop()
