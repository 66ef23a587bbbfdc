"""The app's HTTP: what Slack and Conveyor send, and is the app well?"""

import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from flask import Flask, Response, jsonify, request
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook, WebhookVerificationError
from werkzeug.exceptions import RequestEntityTooLarge

from ledger.database import LedgerError
from ledger.ledger import Ledger
from listeners.intake import NOT_SLACKS, Intake
from operations.health import Readiness

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1_000_000
# The names of the Standard Webhooks, and those under which Svix sends the same.
WEBHOOK_HEADERS = {f"webhook-{name}": f"svix-{name}" for name in ("id", "timestamp", "signature")}


def make_flask(is_alive: Callable[[], bool], readiness: Callable[[], Readiness]) -> Flask:
    """An app that says how it is; `/healthz` is for load balancers, `/readyz` for alarms and people."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.get("/healthz", endpoint="healthz")(lambda: _health(is_alive()))
    app.get("/readyz", endpoint="readyz")(lambda: _readiness(readiness()))
    return app


def listen_to_slack(app: Flask, signing_secret: str, intake: Intake) -> None:
    """`POST /slack/events`: everything from Slack."""
    verifier = SignatureVerifier(signing_secret)
    app.post("/slack/events", endpoint="slack_events")(lambda: _receive(verifier, intake))


def listen_to_conveyor(app: Flask, secret: str, ledger: Ledger) -> None:
    """`POST /conveyor/webhook`: a word that somebody asks for access, which is all that is taken from it."""
    webhook = Webhook(secret)
    app.post("/conveyor/webhook", endpoint="webhook")(lambda: _hear(webhook, ledger))


def _receive(verifier: SignatureVerifier, intake: Intake) -> Response:
    """Hand on what Slack signed; everything else ends here, without a trace of its content."""
    try:
        text = request.get_data(cache=False).decode("utf-8")
    except UnicodeDecodeError:
        return _plainly(400, NOT_SLACKS)
    if not _is_signed(verifier, text):
        return _plainly(401, "The signature is not Slack's.")
    try:
        form = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
        payload: Any = json.loads(form["payload"]) if form.get("payload") else form
    except (ValueError, RecursionError):
        return _plainly(400, NOT_SLACKS)
    answer = intake.dispatch(payload)
    if answer.status != 200:
        return _plainly(answer.status, answer.body)
    return Response(answer.body, answer.status, {name: values[0] for name, values in answer.headers.items()})


def _is_signed(verifier: SignatureVerifier, text: str) -> bool:
    timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
    signature = request.headers.get("X-Slack-Signature", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12 and signature.isascii()):
        return False
    return verifier.is_valid(text, timestamp, signature)


def _hear(webhook: Webhook, ledger: Ledger) -> Response:
    headers = {
        name: request.headers.get(svix) or request.headers.get(name) or ""
        for name, svix in WEBHOOK_HEADERS.items()
    }
    try:
        # It is not even parsed: whatever it says, the queue itself is asked.
        webhook.verify(request.get_data(cache=False), headers, json_parse=False)
    except WebhookVerificationError:
        return _plainly(401, "The signature is not Conveyor's.")
    except (ValueError, TypeError, OverflowError, RequestEntityTooLarge):
        return _plainly(400, "This is not what Conveyor sends.")
    try:
        ledger.want_look()
    except LedgerError as error:
        log.error("webhook=not_recorded cause=%r", str(error))
        return _plainly(503, "Please send it again.")
    return _plainly(200, "Thank you.")


def _health(alive: bool) -> Response:
    response = jsonify(alive=alive)
    response.status_code = 200 if alive else 503
    return response


def _readiness(found: Readiness) -> Response:
    response = jsonify(ready=not found.reasons, reasons=found.reasons, notes=found.notes)
    response.status_code = 503 if found.reasons else 200
    return response


def _plainly(status: int, sentence: str) -> Response:
    return Response(sentence.rstrip() + "\n", status, mimetype="text/plain")
