"""Wiring: settings become parts, and the parts a Flask app. `python app.py` serves it."""

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flask import Flask

import blocks
from conveyor_client import ConveyorClient
from deadline import Calls
from ledger.ledger import Ledger
from ledger.memory import Companies, Memory
from listeners.answers import Answers
from listeners.clicks import Clicks
from listeners.decisions import Listeners
from listeners.intake import Intake, make_bolt
from listeners.rooms import Rooms
from listeners.sockets import Sockets
from operations import health
from routes import listen_to_conveyor, listen_to_slack, make_flask
from settings import LOG_FORMAT, Settings, load
from worker.decide import Decide
from worker.loops import Greet, Lease, Worker
from worker.show import Show
from worker.upkeep import Upkeep
from worker.watch import Watch
from workspace.channel import Channel
from workspace.reviewers import Reviewers
from workspace.slack_client import SlackClient

log = logging.getLogger(__name__)

LISTENER_SECONDS = 1.0  # for a whole call of Slack within a click
BACKGROUND_SECONDS = 10.0  # for one that nobody waits for
# How many calls of each kind there may be at once. A click makes one at a time and has a thread of those in
# gunicorn.conf.py; the others leave room for calls whose look-up of a name hangs, which nothing can end.
CLICKS, BACKGROUND, CONVEYOR = 128, 32, 32
CLICK_BYTES = 1_000_000  # of an answer about one person, or one window
FINISH_SECONDS = 5.0  # for what is under way when the process is told to stop


@dataclass(frozen=True)
class Parts:
    """What `create_app` made, for whoever starts and stops it."""

    settings: Settings
    ledger: Ledger
    channel: Channel
    answers: Answers
    calls: Sequence[Calls]
    worker: Worker
    sockets: Sockets | None

    def start(self) -> None:
        if not self.settings.reviewers:
            log.warning(health.EVERYBODY_MAY_DECIDE)
        self.ledger.record_start(self.worker.owner, time.time())
        self.worker.start()
        if self.sockets:
            self.sockets.start()

    def stop(self) -> None:
        """End what is under way in order, but give up the calls that take longer than a while."""
        patience = threading.Timer(FINISH_SECONDS, self._give_up)
        patience.daemon = True
        patience.start()
        if self.sockets:
            self.sockets.stop()
        self.answers.stop()
        self.worker.stop()
        patience.cancel()
        self.ledger.close()

    def _give_up(self) -> None:
        for calls in self.calls:
            calls.stop()


def create_app(settings: Settings | None = None) -> Flask:
    """The whole app, ready to serve; its background begins with `parts(app).start()`."""
    settings = settings or load()
    log_to_stderr(settings.log_level)
    ledger = Ledger(settings.database_url)
    ledger.prepare()
    lease, clicks = Lease(ledger), Clicks()
    for_clicks = Calls("Slack for clicks", CLICKS, CLICK_BYTES)
    for_slack, for_conveyor = Calls("Slack", BACKGROUND), Calls("Conveyor", CONVEYOR)
    calls = [for_clicks, for_slack, for_conveyor]
    slack = settings.slack_bot_token, settings.slack_api_url
    quick = SlackClient(*slack, for_clicks, LISTENER_SECONDS)
    patient = SlackClient(*slack, for_slack, BACKGROUND_SECONDS)
    channel = Channel(
        patient, settings.slack_channel_id, SlackClient(*slack, for_slack, BACKGROUND_SECONDS, lease.held)
    )
    reviewers = Reviewers(quick, patient, settings.reviewers)
    answers = Answers(ledger, channel, for_slack, settings.slack_api_url, time.time)
    listeners = Listeners(ledger, reviewers, channel, quick, answers, settings.reason_required, time.time)
    conveyor = ConveyorClient(
        settings.conveyor_api_url, settings.conveyor_key, for_conveyor, may_write=lease.held
    )
    memory = Memory(ledger)
    rooms = Rooms(ledger, memory, channel, conveyor, answers, time.time)
    upkeep = Upkeep(ledger, settings.remind_after_hours, settings.retention_days)
    worker = Worker(
        ledger,
        clicks,
        lease,
        calls,
        Greet(channel, reviewers),
        Watch(conveyor, ledger, blocks.offer, settings.poll_seconds, time.time, upkeep.run),
        Decide(conveyor, ledger, lease.held, time.time, clicks.let_pass),
        Show(channel, ledger, memory, Companies(conveyor), lease.held, time.time),
        may_be_woken=bool(settings.conveyor_webhook_secret),
    )
    bolt = make_bolt(quick)
    intake = Intake(bolt, channel, clicks)
    listeners.register(bolt)
    rooms.register(bolt)

    sockets = Sockets(intake, settings.slack_app_token, patient) if settings.slack_app_token else None

    app = make_flask(worker.is_alive, lambda: health.readiness(settings, ledger, channel, sockets, calls))
    app.extensions["conveyor_for_slack"] = Parts(settings, ledger, channel, answers, calls, worker, sockets)
    if settings.slack_signing_secret:
        listen_to_slack(app, settings.slack_signing_secret, intake)
    if settings.conveyor_webhook_secret:
        listen_to_conveyor(app, settings.conveyor_webhook_secret, ledger)
    return app


def parts(app: Flask) -> Parts:
    found = app.extensions["conveyor_for_slack"]
    assert isinstance(found, Parts)  # noqa: S101 - for the type checker
    return found


# Libraries that write bodies and addresses, with customers in them, or what is logged here with its cause.
CHATTY = {
    "slack_bolt": logging.WARNING,
    "slack_sdk": logging.WARNING,
    "slack_sdk.web": logging.CRITICAL,
    "urllib3": logging.ERROR,
    "werkzeug": logging.WARNING,
}


class OneLine(logging.Formatter):
    """Each record on one line of what can be seen, so that nobody's text can pass for a record of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(LOG_FORMAT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("gunicorn.error").handlers = [handler]
    for chatty, least in CHATTY.items():
        logging.getLogger(chatty).setLevel(least)


def main() -> None:
    """Be gunicorn, which reads gunicorn.conf.py: the same as starting it by hand. Or do a command."""
    os.chdir(Path(__file__).resolve().parent)
    if len(sys.argv) > 1:
        from operations.command_line import run

        raise SystemExit(run(sys.argv[1:]))
    from gunicorn.app.wsgiapp import run as serve  # type: ignore[import-untyped]  # it has no types

    sys.argv[1:] = ["-c", "gunicorn.conf.py", "app:create_app()"]
    serve()


if __name__ == "__main__":
    main()
