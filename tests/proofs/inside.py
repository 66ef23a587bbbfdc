"""The app inside the test's own process: signed bytes go in, and real HTTP goes to the stand-ins."""

import logging
import sqlite3
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from werkzeug.test import TestResponse

from app import create_app, parts
from ledger.database import Database
from ledger.rows import Row
from ledger.states import State
from operations.logs import Logfmt, log_to_stderr
from sandbox.conveyor import ConveyorStandIn
from sandbox.slack import SlackStandIn
from sandbox.workspace import Message
from settings import Settings
from tests.support.leaks import secrets_in
from tests.support.world import REVIEWERS, eventually, free_port


class Inside:
    """The app with two cards. Its background is stopped, so that only what is sent changes anything."""

    def __init__(self, folder: Path) -> None:
        self.slack, self.conveyor = SlackStandIn(), ConveyorStandIn()
        self.slack.serve(free_port())
        self.conveyor.serve(free_port())
        for name, room in (("Mine", "room-1"), ("Also mine", "room-1"), ("Theirs", "room-2")):
            self.conveyor.add_group(name, room, group_id=name.lower().replace(" ", "-"))
        self.ids = [self.conveyor.ask("jane@acme.com", "Hello"), self.conveyor.ask("joe@rival.example", "Hi")]
        database = folder / "ledger.db"
        log_to_stderr("INFO")
        Database(f"sqlite:///{database}").prepare()
        self.app = create_app(
            Settings(
                conveyor_key=self.conveyor.api_key,
                slack_bot_token=self.slack.bot_token,
                slack_signing_secret=self.slack.signing_secret,
                slack_channel_id=self.slack.channel_id,
                database_url=f"sqlite:///{database}",
                poll_seconds=0.1,
                reviewers=tuple(REVIEWERS.split(",")),
                conveyor_api_url=self.conveyor.api_url,
                slack_api_url=self.slack.api_url,
            )
        )
        self.client = self.app.test_client()
        self.log = Kept()
        logging.getLogger().addHandler(self.log)
        self.parts = parts(self.app)
        self.parts.answers._pool = self.telling = Pool()
        self.ledger = self.parts.ledger
        self.parts.start()
        eventually(
            lambda: all((row := self.ledger.decisions.find(each)) and row.card_ts for each in self.ids)
        )
        self.parts.worker.stop()
        self._rows = sqlite3.connect(database)

    def close(self) -> None:
        """Stop the app, which still sends what people are to be told, and the stand-ins."""
        self.parts.stop()
        self._rows.close()
        logging.getLogger().removeHandler(self.log)
        self.slack.stop()
        self.conveyor.stop()

    def post(self, body: bytes, headers: Mapping[str, str]) -> TestResponse:
        """Send a body to the route that Slack calls; return the answer."""
        return self.client.post("/slack/events", data=body, headers=dict(headers))

    def rows(self) -> list[Row]:
        """Return both requests as the ledger has them."""
        return [row for each in self.ids if (row := self.ledger.decisions.find(each))]

    def cards(self) -> list[Message]:
        """Return both cards."""
        return [card for row in self.rows() if (card := self.slack.find(row.card_ts))]

    def state(self) -> list[object]:
        """Return all that a body could change: the ledger, the channel, windows and Conveyor."""
        count = "SELECT (SELECT count(*) FROM trail), (SELECT count(*) FROM notes)"
        shown = [(message.ts, message.edited) for message in self.slack.messages]
        windows, told = len(self.slack.views), len(self.conveyor.decisions)
        return [self.rows(), self._rows.execute(count).fetchall(), shown, windows, told]

    def calm_state(self) -> list[object]:
        """Return the same as `state`, after every private answer is sent."""
        wait(self.telling.begun)
        self.telling.begun.clear()
        return self.state()

    def asked(self) -> list[str]:
        """Return the calls to Slack and Conveyor, without private answers, which may come later."""
        calls = [exchange.call for exchange in [*self.slack.exchanges, *self.conveyor.exchanges]]
        return [call for call in calls if call not in ("response_url", "chat.postEphemeral")]

    def open_again(self) -> None:
        """Open both requests again, for the next body."""
        self.slack.exchanges.clear()
        for row in self.rows():
            if row.state != State.PENDING:
                self.ledger.decisions.give_back(row, time.time(), "refused")

    def told_twice(self) -> list[str]:
        """Return the clicks that were answered more than once."""
        return [secret for secret, target in self.slack.response_urls.items() if target.uses > 1]


class Pool(ThreadPoolExecutor):
    """A thread pool that remembers what it was given to do."""

    def __init__(self) -> None:
        super().__init__(8)
        self.begun: list[Future[Any]] = []

    def submit(self, *work: Any, **more: Any) -> Future[Any]:
        self.begun.append(super().submit(*work, **more))
        return self.begun[-1]


class Kept(logging.Handler):
    """Keeps the errors that are logged, and the secrets in any record, as they would be in the log."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(Logfmt())
        self.errors: list[str] = []
        self.leaks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if record.levelno >= logging.ERROR:
            self.errors.append(line)
        self.leaks += secrets_in(line)
