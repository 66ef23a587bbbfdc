"""The table of states in docs/operating.md: when clicks or cards stop, nothing is silent, and all agree."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from email.utils import formatdate

import pytest
import requests

from sandbox.stand_in import QuietHandler
from sandbox.workspace import ANN
from tests.support.steps import posted, run
from tests.support.world import REVIEWERS, ROOT, World, eventually

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
TABLE = (
    (ROOT / "docs" / "operating.md")
    .read_text()
    .partition("## When clicks don't arrive")[2]
    .partition("\n## ")[0]
)
ROWS = {
    state.strip(): [cell.strip().strip("`") for cell in cells]
    for state, *cells in (line.strip("|").split("|") for line in TABLE.splitlines() if line.startswith("|"))
    if len(cells) == 3 and not state.startswith((" state", "--"))
}

State = Callable[[World], object]


@contextmanager
def answer(world: World, method: str, error: str) -> Iterator[None]:
    """Let Slack answer this method with an error."""
    world.slack.fail(method, times=None, body={"ok": False, "error": error})
    world.conveyor.ask(f"{error.replace('_', '-')}@acme.com")
    yield
    world.slack.clear_faults()


@contextmanager
def setting(owner: object, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    yield
    setattr(owner, name, before)


@contextmanager
def without(scope: str, world: World) -> Iterator[None]:
    world.slack.scopes.discard(scope)
    yield
    world.slack.scopes.add(scope)


@contextmanager
def clicked(world: World, secret: str = "", offset: int = 0, **change: object) -> Iterator[None]:
    """Click, signed with this secret at another time, with a payload that differs in this."""
    payload = {**world.slack.click_payload(ANN, world.slack.cards()[0].ts, "approve"), **change}
    with setting(world.slack, "signing_secret", secret or world.slack.signing_secret):
        if offset:
            world.slack.send(
                b"payload=%7B%7D", world.slack.sign(b"payload=%7B%7D", int(time.time()) + offset)
            )
        else:
            world.slack.send_payload(payload)
    yield


@contextmanager
def hooked(world: World) -> Iterator[None]:
    headers = {"svix-id": "m", "svix-timestamp": str(int(time.time())), "svix-signature": "v1,bm90aGluZw=="}
    requests.post(world.url + "/conveyor/webhook", data=b"{}", headers=headers, timeout=5)
    yield


@contextmanager
def locked(world: World) -> Iterator[None]:
    with closing(sqlite3.connect(world.database)) as db:
        db.execute("BEGIN IMMEDIATE")
        world.slack.click(ANN, world.slack.cards()[0].ts, "approve")
        yield
        db.rollback()


@contextmanager
def silent(world: World, service: str) -> Iterator[None]:
    stand_in = getattr(world, service)
    stand_in.fail("*", times=None, status=503)
    yield
    stand_in.clear_faults()


@contextmanager
def cut(world: World) -> Iterator[None]:
    world.slack.fail("apps.connections.open", times=None, status=503)
    world.slack.link.drop()
    yield
    world.slack.clear_faults()


UNKNOWN = [{"type": "button", "action_id": "unknown", "value": "x"}]
STATES: dict[str, Callable[[World], AbstractContextManager[None]]] = {
    "Slack refuses the bot token": lambda world: answer(world, "auth.test", "invalid_auth"),
    "Slack doesn't answer": lambda world: silent(world, "slack"),
    "Clicks are signed with another secret": lambda world: clicked(world, secret="0" * 32),
    "Clicks are signed at another time": lambda world: clicked(world, offset=-900),
    "Clicks are signed while this machine's clock is wrong": lambda _: setting(
        QuietHandler, "date_time_string", lambda *_: formatdate(time.time() - 3600, usegmt=True)
    ),
    "Clicks come from another workspace": lambda world: clicked(world, team={"id": "T0ELSE"}),
    "Clicks match no part of the app": lambda world: clicked(world, actions=UNKNOWN),
    "Conveyor's webhook is signed with another secret": hooked,
    "The WebSocket is refused (Socket Mode)": cut,
    "The WebSocket is cut (Socket Mode)": cut,
    "The channel is archived": lambda world: setting(
        world.slack.channels[world.slack.channel_id], "is_archived", True
    ),
    "The app was removed from the channel": lambda world: setting(
        world.slack.channels[world.slack.channel_id], "is_member", False
    ),
    "A scope was removed": lambda world: without("chat:write", world),
    "Nobody's email address is known": lambda world: without("users:read.email", world),
    "Slack doesn't say who is in a user group": lambda world: answer(
        world, "usergroups.users.list", "no_such_subteam"
    ),
    "Posting is restricted": lambda world: answer(
        world, "chat.postMessage", "restricted_action_read_only_channel"
    ),
    "The workspace's message limit is reached": lambda world: answer(
        world, "chat.postMessage", "message_limit_exceeded"
    ),
    "Slack refuses one card": lambda world: answer(world, "chat.postMessage", "msg_blocks_too_long"),
    "The ledger is locked by another program": locked,
    "Conveyor rejects the key": lambda world: setting(world.conveyor, "key_revoked", True),
    "Conveyor doesn't answer": lambda world: silent(world, "conveyor"),
}


def is_of(by_socket: bool, state: str) -> bool:
    """Return whether an app by HTTP, or one with a socket, can come into this state."""
    return by_socket if "WebSocket" in state else not (by_socket and state.startswith("Clicks"))


CASES = [(by_socket, state) for by_socket in (False, True) for state in STATES if is_of(by_socket, state)]


@pytest.fixture(scope="module")
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One running app, by HTTP or with a socket, that each state leaves as it was."""
    with closing(World(tmp_path_factory.mktemp("states"), by_socket=request.param)) as world:
        world.waits |= {"listeners.unheard.TELL_SECONDS": 0.0, "worker.refresh.REFRESH_SECONDS": 0.5}
        world.waits |= {"worker.show.LONGEST_OUTAGE_PAUSE": 0.5, "worker.watch.LONGEST_PAUSE": 0.5}
        world.waits |= {"worker.groups.READ_SECONDS": 0.5, "worker.groups.CALL_SECONDS": 0.2}
        world.waits |= {"ledger.user_groups.LIST_SECONDS": 5.0}
        world.slack.user_groups["S0SEC"] = {"handle": "security", "users": [ANN]}
        world.settings["REVIEWERS"] = f"{REVIEWERS},S0SEC"
        world.start(CONVEYOR_WEBHOOK_SECRET=SECRET)
        posted(world)
        yield world


def test_the_table_has_a_row_for_each_state() -> None:
    assert list(ROWS) == list(STATES)


@pytest.mark.long
@pytest.mark.parametrize(("app", "state"), CASES, indirect=["app"])
def test_all_three_say_it_and_no_longer_say_it(app: World, state: str) -> None:
    ready, log, check = ROWS[state]
    was = len(app.log())
    eventually(lambda: app.readiness()[0] == 200, 40)
    with STATES[state](app):
        if ready != "–":
            eventually(
                lambda: ready in str(app.readiness()[1]), 40, f"{ready}: {app.readiness()}\n{app.log()[was:]}"
            )
        eventually(lambda: log in app.log()[was:], 20, log)
        if check != "–":
            said = run(app, "check")[1]
            assert check in said, said
    eventually(lambda: app.readiness()[0] == 200, 40)
