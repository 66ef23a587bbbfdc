"""The app: its wiring, and the Flask routes that Slack, Conveyor and load balancers call.

`python app.py` serves it.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from flask import Flask, Response, jsonify, request
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook, WebhookVerificationError
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge, RequestTimeout

import blocks
from conveyor_client import ConveyorClient
from deadline import Calls
from ledger.database import LedgerError
from ledger.ledger import Ledger
from listeners.answers import Answers
from listeners.clicks import Clicks
from listeners.colleagues import Colleagues
from listeners.customers import Customers
from listeners.intake import NOT_SLACKS, Intake, make_bolt
from listeners.members import Members
from listeners.rooms import Rooms
from listeners.second_thoughts import SecondThoughts
from listeners.shortcut import Shortcut
from listeners.unheard import Unheard
from operations.health import EVERYBODY_MAY_DECIDE, Health
from operations.starting import Announced, log_start
from settings import Settings, load
from worker.colleagues import Questions
from worker.companies import Companies
from worker.decide import Decide
from worker.draw import Draw
from worker.gated import Gated
from worker.groups import Groups
from worker.interest import Interest
from worker.lease import Lease
from worker.loops import Worker
from worker.refresh import Refresh, RefreshPeople
from worker.reminders import Reminders
from worker.show import Show
from worker.tell import Tell
from worker.upkeep import Upkeep
from worker.watch import Watch
from worker.weekly import Weekly
from workspace.channel import Channel
from workspace.mentions import Mentions
from workspace.reviewers import Reviewers, groups_in
from workspace.slack_client import SlackClient

if TYPE_CHECKING:
    from listeners.sockets import Sockets

log = logging.getLogger(__name__)

LISTENER_SECONDS = 1.0  # for a whole call of Slack within a click
BACKGROUND_SECONDS = 10.0  # for one that nobody waits for
# How many calls of each kind there may be at once. Each click makes one at a time, and gunicorn.conf.py has
# 100 threads. The rest is spare: a call that is stuck in the look-up of a name cannot be ended.
CLICKS, BACKGROUND, CONVEYOR = 128, 32, 32
CLICK_BYTES = 1_000_000  # of an answer about one person, or one window
FINISH_SECONDS = 5.0  # for what is under way when the process is told to stop
MAX_BODY_BYTES = 1_000_000
# The names of the Standard Webhooks, and those under which Svix sends the same.
WEBHOOK_HEADERS = {f"webhook-{name}": f"svix-{name}" for name in ("id", "timestamp", "signature")}


def create_app(settings: Settings | None = None) -> Flask:
    """Return the whole app. The tables must be there already; `parts(app).start()` begins its work."""
    settings = settings or load()
    ledger = Ledger(settings.database_url)
    lease, clicks, clock = Lease(ledger.lease), Clicks(), ledger.database.clock
    with suppress(LedgerError):
        ledger.lease.read()  # from here on `clock` goes on from where the ledger's stands

    # The calls to Slack and Conveyor
    for_clicks = Calls("Slack for clicks", CLICKS, CLICK_BYTES)
    for_slack, for_conveyor = Calls("Slack", BACKGROUND), Calls("Conveyor", CONVEYOR)
    calls = [for_clicks, for_slack, for_conveyor]
    slack = settings.slack_bot_token, settings.slack_api_url
    quick = SlackClient(*slack, for_clicks, LISTENER_SECONDS)
    patient = SlackClient(*slack, for_slack, BACKGROUND_SECONDS)
    for_the_owner = SlackClient(*slack, for_slack, BACKGROUND_SECONDS, lease.held)
    conveyor = ConveyorClient(
        settings.conveyor_api_url, settings.conveyor_key, for_conveyor, may_write=lease.held
    )
    channel = Channel(patient, settings.slack_channel_id, for_the_owner)
    clock.time_of_day = channel.clock.now
    mentions = Mentions(patient, settings.remind, settings.reviewers)
    reviewers = Reviewers(quick, ledger.user_groups, settings.reviewers, user_id_of=mentions.reviewer_id)

    # What people do in Slack
    bolt = make_bolt(quick)
    answers = Answers(ledger, channel, for_slack, settings.slack_api_url, clock)
    for_cards = ledger, reviewers, channel, quick, answers, settings.reason_required, clock
    SecondThoughts(*for_cards, conveyor).register(bolt)
    Colleagues(*for_cards).register(bolt)
    members = Members(channel, reviewers)
    customers = Customers(ledger, channel, reviewers, conveyor, clock.time_of_day)
    Rooms(ledger, members, customers, answers, clock.time_of_day, settings.working_hours).register(bolt)
    Shortcut(ledger, channel, members, customers, answers).register(bolt)
    unheard = Unheard(channel.clock.now)
    intake = Intake(bolt, channel, reviewers, answers, clicks, unheard)
    sockets = None
    if settings.slack_app_token:
        from listeners.sockets import Sockets  # only here: its library takes memory

        sockets = Sockets(intake, settings.slack_app_token, patient)

    # The background
    following = conveyor, lease.held, settings.poll_seconds, clock
    gated, interest = Gated(*following, ledger.gated), Interest(*following, ledger.followers)
    when = settings.remind_after_hours, settings.retention_days, settings.remind_times, settings.working_hours
    weekly = Weekly(ledger.numbers, channel, settings.weekly, settings.working_hours, customers.permalink)
    upkeep = Upkeep(ledger.upkeep, gated, interest, weekly, *when)
    recorded = ledger.queue, ledger.polls
    watch = Watch(conveyor, *recorded, blocks.offer, settings.poll_seconds, clock, upkeep.remind, upkeep.run)
    reminders = Reminders(mentions.ids, settings.working_hours)
    socket_problem = (lambda: sockets.problem) if sockets else None
    noted = unheard, gated, interest
    health = Health(settings, ledger, channel, reviewers, calls, socket_problem, noted)
    metrics = None
    if settings.metrics:
        from operations.metrics import Metrics  # only here: its library takes memory

        metrics = Metrics(ledger, calls, unheard.total, socket_problem, lease.held, health)
    show = Show(
        channel,
        ledger,
        Companies(conveyor, ledger.known, reviewers.domains),
        Draw(ledger.polls, ledger.memory, ledger.same, settings.trust_center_url),
        Tell(channel, ledger.cards, lease.held, reminders, Questions(ledger.same, ledger.memory)),
        lease.held,
        clock,
        tell_posted=metrics.posted if metrics else None,
    )
    worker = Worker(
        ledger.database,
        clicks.let_pass,
        lease,
        calls,
        Refresh(channel, ledger.cards, reviewers, mentions, unheard.tell),
        RefreshPeople(reviewers),
        Groups(patient, ledger.user_groups, groups_in(settings.reviewers)),
        watch,
        Decide(conveyor, ledger.decisions, lease.held, clock, clicks.let_pass, ledger.database.wake),
        Announced(show.round, health),
        poll_wanted=watch.wanted if settings.conveyor_webhook_secret else None,
    )

    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    made = Parts(settings, ledger, answers, calls, worker, sockets)
    app.extensions["conveyor_for_slack"] = made
    app.add_url_rule("/healthz", view_func=lambda: _health(worker), endpoint="healthz")
    app.add_url_rule("/readyz", view_func=health.response, endpoint="readyz")
    if metrics:
        app.add_url_rule("/metrics", view_func=metrics.response, endpoint="metrics")
    if settings.slack_signing_secret:
        verifier = SignatureVerifier(settings.slack_signing_secret)
        app.post("/slack/events", endpoint="slack_events")(lambda: _slack_events(verifier, intake, unheard))
    if settings.conveyor_webhook_secret:
        webhook = Webhook(settings.conveyor_webhook_secret)
        app.post("/conveyor/webhook", endpoint="webhook")(lambda: _webhook(webhook, ledger, unheard))
    return app


# The routes


def _slack_events(verifier: SignatureVerifier, intake: Intake, unheard: Unheard) -> Response:
    """Hand on what Slack signed to Bolt; everything else ends here, without a trace of its content."""
    try:
        text = _body().decode("utf-8")
    except UnicodeDecodeError:
        return _plainly(400, NOT_SLACKS)
    if problem := _signature_problem(verifier, text):
        unheard.refuse(problem)
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


def _body() -> bytes:
    """Return the whole body, or raise an HTTPException: a part of it would have another signature."""
    try:
        body = request.get_data(cache=False)
    except HTTPException:
        raise
    except Exception:  # gunicorn's own, of chunks that are none
        raise BadRequest from None
    if len(body) >= MAX_BODY_BYTES:  # in chunks, whose length nobody announced
        raise RequestEntityTooLarge
    if len(body) < (request.content_length or 0):
        raise RequestTimeout
    return body


def _signature_problem(verifier: SignatureVerifier, text: str) -> str:
    """Return what is wrong with the signature, in the words of Unheard; empty if it is Slack's."""
    timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
    signature = request.headers.get("X-Slack-Signature", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12 and signature.isascii()):
        return "unsigned"
    if verifier.is_valid(text, timestamp, signature):
        return ""
    expected = verifier.generate_signature(timestamp=timestamp, body=text) or ""
    return "outdated" if compare_digest(expected, signature) else "unsigned"


def _webhook(webhook: Webhook, ledger: Ledger, unheard: Unheard) -> Response:
    """Let Conveyor be polled soon. Nothing else that is in a webhook is used."""
    headers = {
        name: request.headers.get(svix) or request.headers.get(name) or ""
        for name, svix in WEBHOOK_HEADERS.items()
    }
    try:
        # It is not even parsed: whatever it says, the queue itself is read.
        webhook.verify(_body(), headers, json_parse=False)
    except WebhookVerificationError:
        unheard.refuse("webhook_unsigned")
        return _plainly(401, "The signature is not Conveyor's.")
    except (ValueError, TypeError, OverflowError, HTTPException):
        return _plainly(400, "This is not what Conveyor sends.")
    try:
        ledger.polls.request()
    except LedgerError as error:
        log.error("webhook=not_recorded cause=%r", str(error))
        return _plainly(503, "Please send it again.")
    return _plainly(200, "Thank you.")


def _health(worker: Worker) -> Response:
    """For load balancers: is this process alive?"""
    alive = worker.is_alive()
    response = jsonify(alive=alive)
    response.status_code = 200 if alive else 503
    return response


def _plainly(status: int, sentence: str) -> Response:
    return Response(sentence.rstrip() + "\n", status, mimetype="text/plain")


# Starting and stopping


@dataclass(frozen=True)
class Parts:
    """What `create_app` made, for whoever starts and stops it."""

    settings: Settings
    ledger: Ledger
    answers: Answers
    calls: Sequence[Calls]
    worker: Worker
    sockets: "Sockets | None"

    def start(self, address: str = "") -> None:
        """Begin the work, and say in the log and the trail that it begins. `address` is for the log."""
        log_start(self.settings, address)
        if not self.settings.reviewers:
            log.warning(EVERYBODY_MAY_DECIDE)
        try:
            self.ledger.upkeep.record_start(self.worker.owner)
        except LedgerError as error:  # gunicorn would end if its worker did not start
            log.error("start=not_recorded cause=%r", str(error))
        self.worker.start()
        if self.sockets:
            self.sockets.start()

    def stop(self) -> None:
        """End what is under way in order, but give up the calls that take longer than FINISH_SECONDS."""
        patience = threading.Timer(FINISH_SECONDS, self._give_up)
        patience.daemon = True
        patience.start()
        if self.sockets:
            self.sockets.stop()
        self.answers.stop()
        self.worker.stop()
        patience.cancel()
        self.ledger.database.close()

    def _give_up(self) -> None:
        for calls in self.calls:
            calls.stop()


def parts(app: Flask) -> Parts:
    found = app.extensions["conveyor_for_slack"]
    assert isinstance(found, Parts)  # noqa: S101 - for the type checker
    return found


def main() -> None:
    """Become gunicorn, the same as when it is started by hand; or carry out a command."""
    if len(sys.argv) > 1:
        from operations.command_line import run

        raise SystemExit(run(sys.argv[1:]))
    os.chdir(Path(__file__).resolve().parent)
    # gunicorn's main process needs nothing of what this file imports, and would keep it in memory.
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "app:create_app()"]
    os.execv(sys.executable, command)  # noqa: S606 - no shell, and no word from outside


if __name__ == "__main__":
    main()
