"""Wiring: settings become parts, and the parts a Flask app. `python app.py` serves it."""

import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from flask import Flask, Response, jsonify, request
from slack_bolt import App, BoltRequest, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient
from slack_sdk.signature import SignatureVerifier

import blocks
import health
from channel import Channel
from conveyor_client import ConveyorClient
from decide import Decide
from ledger import Ledger
from listeners import Listeners, text_at
from reviewers import Reviewers
from settings import Settings, load
from show import Show
from watch import Watch
from worker import Greet, Lease, Worker

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_000_000
LISTENER_SECONDS = 1  # for each read of a Slack call within a click
BACKGROUND_SECONDS = 5


@dataclass(frozen=True)
class Parts:
    """What `create_app` made, for whoever starts and stops it."""

    settings: Settings
    ledger: Ledger
    channel: Channel
    listeners: Listeners
    worker: Worker

    def start(self) -> None:
        if not self.settings.reviewers:
            log.warning(health.EVERYBODY_MAY_DECIDE)
        self.worker.start()

    def stop(self) -> None:
        self.listeners.stop()
        self.worker.stop()
        self.ledger.close()


def create_app(settings: Settings | None = None) -> Flask:
    """The whole app, ready to serve; its background begins with `parts(app).start()`."""
    settings = settings or load()
    log_to_stderr(settings.log_level)
    ledger = Ledger(settings.database_url)
    ledger.prepare()
    quick, patient = (
        WebClient(settings.slack_bot_token, settings.slack_api_url, timeout=seconds, retry_handlers=[])
        for seconds in (LISTENER_SECONDS, BACKGROUND_SECONDS)
    )
    channel = Channel(patient, settings.slack_channel_id)
    reviewers = Reviewers(quick, settings.reviewers)
    listeners = Listeners(ledger, reviewers, channel, quick, settings.reason_required, time.time)
    conveyor = ConveyorClient(settings.conveyor_api_url, settings.conveyor_key)
    lease = Lease(ledger)
    worker = Worker(
        ledger,
        lease,
        Greet(channel, reviewers),
        Watch(conveyor, ledger, blocks.offer, settings.poll_seconds, time.time),
        Decide(conveyor, ledger, lease.held, time.time),
        Show(channel, ledger, lease.held, time.time),
    )
    bolt = _bolt(quick, settings)
    listeners.register(bolt)

    app = Flask(__name__)
    app.extensions["conveyor_for_slack"] = Parts(settings, ledger, channel, listeners, worker)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    verifier = SignatureVerifier(settings.slack_signing_secret)
    app.post("/slack/events", endpoint="slack_events")(lambda: receive(bolt, verifier, channel))
    app.get("/healthz", endpoint="healthz")(lambda: _health(worker.is_alive()))
    app.get("/readyz", endpoint="readyz")(lambda: _readiness(health.readiness(settings, ledger, channel)))
    return app


def parts(app: Flask) -> Parts:
    found = app.extensions["conveyor_for_slack"]
    assert isinstance(found, Parts)  # noqa: S101 - for the type checker
    return found


def receive(bolt: App, verifier: SignatureVerifier, channel: Channel) -> Response:
    """Hand what Slack signed to Bolt; everything else ends here, without a trace of its content."""
    try:
        text = request.get_data(cache=False).decode("utf-8")
    except UnicodeDecodeError:
        return _plainly(400, "This is not what Slack sends.")
    if not _is_signed(verifier, text):
        return _plainly(401, "The signature is not Slack's.")
    try:
        form = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
        payload: Any = json.loads(form["payload"]) if form.get("payload") else form
    except (ValueError, RecursionError):
        return _plainly(400, "This is not what Slack sends.")
    if not isinstance(payload, dict) or not payload:
        return _plainly(400, "This is not what Slack sends.")
    team = text_at(payload, "team_id") or text_at(payload, "team", "id")
    if channel.identity and team and team != channel.identity.team_id:
        return _plainly(401, "This is another workspace.")
    try:
        # Given the parsed body, Bolt does not parse it again: its own parser mistakes a form that contains
        # the word "payload" anywhere for an interaction. Only the mode of its sockets takes a parsed body.
        answer = bolt.dispatch(BoltRequest(body=payload, mode="socket_mode"))
    except Exception as error:
        answer = _odd_payload(error)
    return Response(answer.body, answer.status, {name: values[0] for name, values in answer.headers.items()})


def _is_signed(verifier: SignatureVerifier, text: str) -> bool:
    timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
    signature = request.headers.get("X-Slack-Signature", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12 and signature.isascii()):
        return False
    return verifier.is_valid(text, timestamp, signature)


def _bolt(client: WebClient, settings: Settings) -> App:
    """Bolt without its own server, signature check, authorization calls and thread pool."""
    identity = AuthorizeResult(enterprise_id=None, team_id=None, bot_token=settings.slack_bot_token)
    logger = logging.getLogger("bolt")
    logger.setLevel(logging.ERROR)  # it warns that it does not use the SLACK_BOT_TOKEN that it found
    bolt = App(
        logger=logger,
        client=client,
        authorize=lambda: identity,
        signing_secret=settings.slack_signing_secret,
        process_before_response=True,
        request_verification_enabled=False,  # done in `receive`, which answers malformed ones as well
        ssl_check_enabled=False,
        url_verification_enabled=False,
        ignoring_self_events_enabled=False,
    )
    logger.setLevel(logging.WARNING)
    bolt.error(_odd_payload)
    return bolt


def _odd_payload(error: Exception) -> BoltResponse:
    """Our listeners let no exception out, so this is Bolt, tripping over a payload of an odd shape."""
    log.warning("payload=odd cause=%s", type(error).__name__)
    return BoltResponse(status=400, body="This is not what Slack sends.\n")


def _health(alive: bool) -> Response:
    response = jsonify(alive=alive)
    response.status_code = 200 if alive else 503
    return response


def _readiness(found: health.Readiness) -> Response:
    response = jsonify(ready=not found.reasons, reasons=found.reasons, notes=found.notes)
    response.status_code = 503 if found.reasons else 200
    return response


def _plainly(status: int, sentence: str) -> Response:
    return Response(sentence + "\n", status, mimetype="text/plain")


class OneLine(logging.Formatter):
    """Each record on one line of what can be seen, so that nobody's text can pass for a record of its own."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


def log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s level=%(levelname)s at=%(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("slack_bolt", "slack_sdk", "urllib3", "werkzeug"):
        # Below WARNING they write bodies, with customers' words in them.
        logging.getLogger(chatty).setLevel(logging.WARNING)


def main() -> None:
    """Become gunicorn, which reads gunicorn.conf.py: the same as starting it by hand."""
    os.chdir(Path(__file__).resolve().parent)
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:create_app()"]
    os.execv(sys.executable, command)  # noqa: S606 - our own program, no shell


if __name__ == "__main__":
    main()
