"""Everybody who asks for the version gets the same answer, and the log says what the app runs with."""

import re

import pytest
import requests

from sandbox.workspace import ANN
from tests.requirements import needs
from tests.support.postgres import Postgres
from tests.support.steps import posted, request_of, run
from tests.support.world import MODES, ROOT, World, eventually
from version import USER_AGENT, VERSION


def line_of(world: World, what: str) -> dict[str, str]:
    """Wait for the line of a start or of being ready, and return what it says."""
    wanted = re.compile(rf"level=INFO at=operations\.starting (app={what} .*)")
    (found,) = eventually(lambda: wanted.findall(world.log()))
    return dict(pair.split("=", 1) for pair in found.split(" "))


def test_the_newest_heading_of_the_changes_is_this_version(world: World) -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == VERSION
    assert run(world, "--version") == (0, f"Conveyor for Slack {VERSION}\n")


@pytest.mark.parametrize("mode", MODES)
def test_everybody_is_told_the_version(world: World, mode: str) -> None:
    if mode == "socket":
        world.settings["SLACK_APP_TOKEN"] = world.slack.app_token
    world.start()
    card = posted(world)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")
    assert requests.get(world.url + "/readyz", timeout=5).json()["version"] == VERSION
    (started,) = world.ledger("SELECT detail FROM trail WHERE event = 'start'")[0]
    assert f"version={VERSION} " in str(started)
    calls = [each for each in world.slack.exchanges if not each.call.startswith("→ app")]
    calls += world.conveyor.exchanges
    assert [each for each in calls if each.user_agent.split(" ")[0] != USER_AGENT] == []
    assert world.slack.link.user_agent == (USER_AGENT if mode == "socket" else "")


def test_the_log_says_what_the_app_runs_with_and_when_it_is_ready(world: World) -> None:
    world.conveyor.key_revoked = True
    world.start()
    started = line_of(world, "started")
    assert started == {
        "app": "started",
        "version": VERSION,
        "address": world.url,
        "channel": world.slack.channel_id,
        "reviewers": "2",
        "ledger": f"sqlite:///{world.database}",
        "mode": "http",
        "webhook": "off",
    }
    eventually(lambda: "poll=incomplete" in world.log())
    assert "app=ready" not in world.log()
    world.conveyor.key_revoked = False
    eventually(lambda: world.readiness()[0] == 200, 30)
    assert line_of(world, "ready")["version"] == VERSION
    posted(world)
    assert world.log().count("app=ready") == 1


@needs("initdb")
def test_the_line_of_a_start_has_no_secret(world: World, postgres: Postgres) -> None:
    world.settings["DATABASE_URL"] = postgres.new_database().replace("postgresql+psycopg:", "postgresql:")
    webhook = "whsec_" + "bWFkZSB1cCBmb3IgdGhlc2UgdGVzdHM="
    world.start(REVIEWERS="", SLACK_APP_TOKEN=world.slack.app_token, CONVEYOR_WEBHOOK_SECRET=webhook)
    started = line_of(world, "started")
    assert (started["reviewers"], started["mode"], started["webhook"]) == ("everybody", "http+socket", "on")
    assert re.fullmatch(r"postgresql://[^@?]*/\w+", started["ledger"])
    assert webhook not in world.log()
