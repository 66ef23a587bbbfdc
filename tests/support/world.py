"""World: the real app in its own process, between the stand-ins for Slack and Conveyor."""

import itertools
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Literal, TypeVar

import requests
from sqlalchemy import Engine, NullPool, create_engine, select, text

from ledger.rows import Row, row_of
from ledger.states import State
from ledger.tables import REQUESTS
from sandbox.conveyor import ConveyorStandIn
from sandbox.slack import SlackStandIn
from sandbox.workspace import Message
from tests.support.launcher import BRISK, Forked, Kill, Start, moved_time
from tests.support.leaks import secrets_in
from tests.support.ledgers import put_ledger

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
REVIEWERS = "U0ANN,U0BOB"
MODES = ("http", "socket")  # the two ways in which clicks arrive
# Made-up values of the settings that have no default.
GOOD = {
    "CONVEYOR_KEY": "made-up-key",
    "SLACK_BOT_TOKEN": "xoxb-made-up",
    "SLACK_SIGNING_SECRET": "made-up-secret",
    "SLACK_CHANNEL_ID": "C0REQUESTS",
}
COMMAND = [sys.executable, str(ROOT / "app.py")]


def eventually(check: Callable[[], T | Literal[False] | None], seconds: float = 15.0, what: str = "") -> T:
    """Call `check` again and again until it returns something true; return that, or fail."""
    until = time.monotonic() + seconds
    pause = 0.02
    while not (value := check()):
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what or getattr(check, '__name__', 'it')}")
        time.sleep(pause)
        pause = min(1.3 * pause, 0.1)
    return value


# Each process that runs tests has a share of the ports, and the last share is for whoever runs beside them.
SHARES = max(14, 1 + int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")))
SHARE = int(os.environ.get("PYTEST_XDIST_WORKER", f"gw{SHARES - 1}").removeprefix("gw"))
STEP = 4  # the sandbox takes four ports in a row
STEPS = 22_400 // SHARES // STEP
FIRST = 10_000 + SHARE * STEPS * STEP
PORTS = itertools.cycle(range(FIRST, FIRST + STEPS * STEP, STEP))
for _ in range(random.randrange(STEPS)):
    next(PORTS)  # so that two runs at the same time begin in different places


def free_port() -> int:
    """Return a free port that the system does not give out by itself, so that nobody else takes it."""
    while True:
        port = next(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def kill(process: subprocess.Popen[bytes] | Forked) -> None:
    """Kill the app's main process and its worker at once, and wait until they are gone."""

    def is_gone() -> bool:
        with suppress(ProcessLookupError):  # it is dead already, or so new that it has no process group yet
            os.killpg(process.pid, signal.SIGKILL)
        return process.poll() is not None

    eventually(is_gone)


def state_of(card: Message) -> str:
    """Return the state of the request that this card shows."""
    assert card.metadata
    return str(card.metadata["event_payload"]["state"])


@cache
def engine(url: str) -> Engine:
    """Return an engine that connects for every query: the ledger may be deleted between two of them."""
    return create_engine(url, poolclass=NullPool)


class World:
    """The stand-ins for Slack and Conveyor, and the app, which can be started, stopped and killed.

    If there is a `command`, `start` runs it. Otherwise the launcher starts the app with these `waits`.
    """

    def __init__(self, folder: Path, *, by_socket: bool = False) -> None:
        self.folder = folder
        self.slack = SlackStandIn()
        self.conveyor = ConveyorStandIn()
        self.slack.serve(free_port())
        self.conveyor.serve(free_port())
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.slack.app_url = self.url
        self.database = folder / "ledger" / "ledger.db"
        self.log_file = folder / "app.log"
        self.command: list[str] = []
        self.waits = dict(BRISK)
        self.events_file: Path | None = None
        self.stop_file: Path | None = None
        self.slow_file = folder / "slow"
        self.clock_file = folder / "clock"
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.settings = {
            "CONVEYOR_KEY": self.conveyor.api_key,
            "SLACK_BOT_TOKEN": self.slack.bot_token,
            "SLACK_SIGNING_SECRET": self.slack.signing_secret,
            "SLACK_CHANNEL_ID": self.slack.channel_id,
            "CONVEYOR_API_URL": self.conveyor.api_url,
            "SLACK_API_URL": self.slack.api_url,
            "DATABASE_URL": f"sqlite:///{self.database}",
            "PORT": str(self.port),
            "POLL_SECONDS": "0.4",
            "REVIEWERS": REVIEWERS,
            "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{self.port}",
        }
        if by_socket:
            self.slack.app_url = ""
            del self.settings["SLACK_SIGNING_SECRET"]
            self.settings["SLACK_APP_TOKEN"] = self.slack.app_token

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the app's environment with these settings added; no `.env` file is read."""
        return {"PATH": os.environ["PATH"], "ENV_FILE": os.devnull, **self.settings, **settings}

    def launch(self, kill: Kill | None = None, /, **settings: str) -> subprocess.Popen[bytes] | Forked:
        """Start the app with these settings added; return its process at once, before it serves."""
        environment = self.environment(**settings)
        if self.command:
            with self.log_file.open("ab") as log:
                self.process = subprocess.Popen(
                    self.command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
                )
        else:
            files = self.events_file, kill, self.stop_file, self.slow_file
            # Where the app's commits are counted, it makes its ledger itself.
            if not any(files[:3]) and environment["DATABASE_URL"] == f"sqlite:///{self.database}":
                put_ledger(self.database)
            waits = dict(self.waits)
            if self.clock_file.exists():
                # The second is the name by which the check of Slack's signature knows the first.
                moved = partial(moved_time, self.clock_file)
                waits |= {"time.time": moved, "slack_sdk.signature.time": moved}
            self.process = Forked(Start(environment, self.log_file, waits, *files))
        return self.process

    def start(self, **settings: str) -> "World":
        """Start the app and wait until it serves, knows who it is in Slack and has read the channel."""
        self.launch(**settings)
        eventually(self.serves, 60.0, what=f"the app serves\n{self.log()}")
        return self

    def serves(self) -> bool:
        assert self.process, f"the app was not started\n{self.log()}"
        assert self.process.poll() is None, f"the app ended\n{self.log()}"
        try:
            reasons = requests.get(self.url + "/readyz", timeout=5).json()["reasons"]
        except requests.RequestException:
            return False
        return not any("Slack" in reason for reason in reasons)

    def move_clock(self, seconds: float) -> None:
        """Set the app's clock so many seconds ahead of the real one. Its first use is before the start."""
        written = self.clock_file.with_suffix(".new")
        written.write_text(str(seconds))
        written.rename(self.clock_file)  # in one step

    def kill(self) -> None:
        """Kill the app."""
        assert self.process
        kill(self.process)
        self.process = None

    def stop(self) -> int:
        """Send SIGTERM to the app, wait until it ends and return its exit status."""
        assert self.process
        os.kill(self.process.pid, signal.SIGTERM)
        status = self.process.wait(timeout=40)
        self.process = None
        return status

    def close(self) -> None:
        """Kill the app, if it runs, and stop the stand-ins."""
        if self.process:
            self.kill()
        self.slack.stop()
        self.conveyor.stop()

    def leaks(self) -> list[str]:
        """Return the secrets that are in the log, or in what people were told."""
        told = [self.slack.text_of(private) for private in self.slack.private]
        told += [message.text + str(message.blocks) for message in self.slack.messages]
        told += [str(view.view) for view in self.slack.views.values()]
        answers = [str(answer.body) for answer in self.slack.answers]
        return [leak for text in (self.log(), *told, *answers) for leak in secrets_in(text)]

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def readiness(self) -> tuple[int, dict[str, list[str]]]:
        """Return the status and the body of /readyz."""
        answer = requests.get(self.url + "/readyz", timeout=5)
        return answer.status_code, answer.json()

    def ledger(self, query: str) -> list[tuple[object, ...]]:
        """Run a statement in the ledger, beside the app, and return its rows."""
        with engine(self._database()).begin() as db:
            result = db.execute(text(query))
            return [tuple(row) for row in result] if result.returns_rows else []

    def _database(self) -> str:
        """Return the address of the ledger, as SQLAlchemy writes it."""
        return re.sub("^postgres(ql)?:", "postgresql+psycopg:", self.settings["DATABASE_URL"])

    # What people see

    def card(self, request_id: str, *, round: int = 1) -> Message | None:
        """Return the newest card of this round of a request, or None."""
        found = [
            card
            for card in self.cards(request_id)
            if (card.metadata or {})["event_payload"]["round"] == round
        ]
        return found[-1] if found else None

    def cards(self, request_id: str) -> list[Message]:
        """Return all cards of a request, of every round."""
        return [
            card
            for card in self.slack.cards()
            if card.metadata and card.metadata["event_payload"]["id"] == request_id
        ]

    def row(self, request_id: str) -> Row:
        """Return the row of a request in the ledger, as the app sees it."""
        with engine(self._database()).connect() as db:
            columns = select(REQUESTS).where(REQUESTS.c.id == request_id)
            return row_of(db.execute(columns).one())

    def shows(
        self, request_id: str, state: str, *phrases: str, seconds: float = 15.0, round: int = 1
    ) -> Message:
        """Wait until the card of a request is in this state and has these phrases; return the card.

        Phrases are data, such as an address or a mention, or come from blocks.py: its words may change.
        """
        wanted = State(state)

        def found() -> Message | None:
            card = self.card(request_id, round=round)
            if card is None or state_of(card) != wanted:
                return None
            return card if all(phrase in self.slack.text_of(card) for phrase in phrases) else None

        def last() -> str:
            card = self.card(request_id, round=round)
            return f"{state_of(card)}: {self.slack.text_of(card)}" if card else "no card"

        try:
            return eventually(found, seconds)
        except AssertionError:
            raise AssertionError(f"not {wanted} with {phrases}, but {last()}\n{self.log()}") from None

    def told(self, user_id: str, *phrases: str) -> str:
        """Wait until somebody is told all of these phrases privately; return the whole text."""

        def found() -> str | None:
            texts = [self.slack.text_of(private) for private in self.slack.private if private.user == user_id]
            return next((said for said in texts if all(phrase in said for phrase in phrases)), None)

        return eventually(found, what=f"{user_id} is told {phrases}: {self.slack.private}\n{self.log()}")
