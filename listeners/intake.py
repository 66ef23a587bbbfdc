"""Passes what Slack sends on to Bolt, whether it came as signed HTTP or over the app's own WebSocket."""

import logging
from typing import Any

from slack_bolt import App, BoltRequest, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient

import blocks
from listeners.answers import Answers
from listeners.clicks import Clicks
from listeners.errors import Refusal
from listeners.payloads import text_at, user_of
from listeners.unheard import Unheard
from workspace.channel import Channel, Identity
from workspace.reviewers import Reviewers, Unknown

log = logging.getLogger(__name__)

NOT_SLACKS = "This is not what Slack sends."


class Intake:
    """Passes payloads to the listeners. The caller has made sure that they come from Slack."""

    def __init__(
        self,
        bolt: App,
        channel: Channel,
        reviewers: Reviewers,
        answers: Answers,
        clicks: Clicks,
        unheard: Unheard,
    ) -> None:
        self._bolt = bolt
        self._channel = channel
        self._reviewers = reviewers
        self._answers = answers
        self._clicks = clicks
        self._unheard = unheard
        bolt.error(_malformed_payload)

    def finish(self, seconds: float) -> None:
        """Wait until every click that is being answered has its answer, at most this long."""
        self._clicks.wait_until_answered(seconds)

    def dispatch(self, payload: Any) -> BoltResponse:
        """Return the listeners' answer; 401 for another workspace; 400 for a malformed payload."""
        if not isinstance(payload, dict) or not payload:
            return BoltResponse(status=400, body=NOT_SLACKS)
        if refusal := self._refusal(payload, self._channel.identity):
            self._unheard.refuse("other_workspace")
            self._answers.refuse(payload, refusal)
            return BoltResponse(status=401, body="This is another workspace.")
        self._channel.learn_from_payload(text_at(payload, "channel", "id"))
        try:
            # Bolt gets the parsed body, because its own parser takes every form that contains the word
            # "payload" for an interaction. It accepts a parsed body only in Socket Mode.
            with self._clicks.answering():
                answer = self._bolt.dispatch(BoltRequest(body=payload, mode="socket_mode"))
        except Exception as error:
            return _malformed_payload(error)
        if answer.status == 404:
            self._unheard.refuse("unhandled")
        else:
            self._unheard.accept()
        return answer

    def _refusal(self, payload: dict[str, Any], identity: Identity | None) -> Refusal | None:
        """Return why a payload from another workspace is refused, or None.

        In an organization, full members of the app's workspace may click in another one of its workspaces.
        """
        team = text_at(payload, "team_id") or text_at(payload, "team", "id")
        if identity is None or team in ("", identity.team_id):
            return None
        organization = text_at(payload, "enterprise_id") or text_at(payload, "enterprise", "id")
        if organization and organization == identity.enterprise_id:
            try:
                if self._reviewers.is_member(user_of(payload), identity.team_id, organization):
                    return None
            except Unknown:
                return Refusal(blocks.WHO_UNKNOWN, "unknown person of another workspace")
        return Refusal(blocks.OTHER_WORKSPACE, "other workspace")


def make_bolt(client: WebClient) -> App:
    """Return a Bolt app without its own server, signature check, authorization calls and thread pool."""
    identity = AuthorizeResult(enterprise_id=None, team_id=None, bot_token=client.token)
    logger = logging.getLogger("bolt")
    # Its warnings are noise: one says that it ignores the SLACK_BOT_TOKEN in the environment. Others quote
    # parts of payloads that no listener takes, which may hold anything.
    logger.setLevel(logging.ERROR)
    return App(
        name="conveyor-for-slack",  # without a name, Bolt reads its callers' source files to find one
        logger=logger,
        client=client,
        authorize=lambda: identity,
        process_before_response=True,
        request_verification_enabled=False,  # done in app.py, which also answers malformed requests
        ssl_check_enabled=False,
        url_verification_enabled=False,
        ignoring_self_events_enabled=False,
    )


def _malformed_payload(error: Exception) -> BoltResponse:
    """Answer for Bolt when it fails on a payload. Our own listeners catch all of their exceptions."""
    log.warning("payload=malformed cause=%s", type(error).__name__)
    return BoltResponse(status=400, body=NOT_SLACKS)
