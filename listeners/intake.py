"""From Slack to Bolt, whichever way it came: signed HTTP or the app's own socket."""

import logging
from typing import Any

from slack_bolt import App, BoltRequest, BoltResponse
from slack_bolt.authorization import AuthorizeResult
from slack_sdk import WebClient

from listeners.clicks import Clicks
from listeners.payloads import text_at
from workspace.channel import Channel

log = logging.getLogger(__name__)

NOT_SLACKS = "This is not what Slack sends."


class Intake:
    """Gives what certainly comes from Slack to the listeners."""

    def __init__(self, bolt: App, channel: Channel, clicks: Clicks) -> None:
        self._bolt = bolt
        self._channel = channel
        self._clicks = clicks
        bolt.error(_odd_payload)

    def finish(self, seconds: float) -> None:
        """Wait until what is being answered is answered, so long at most."""
        self._clicks.wait_until_answered(seconds)

    def dispatch(self, payload: Any) -> BoltResponse:
        """The listeners' answer, 401 for another workspace, or 400 for what cannot be understood."""
        if not isinstance(payload, dict) or not payload:
            return BoltResponse(status=400, body=NOT_SLACKS)
        team = text_at(payload, "team_id") or text_at(payload, "team", "id")
        if self._channel.identity and team and team != self._channel.identity.team_id:
            return BoltResponse(status=401, body="This is another workspace.")
        try:
            # Given the parsed body, Bolt does not parse it again: its own parser mistakes a form that has the
            # word "payload" anywhere for an interaction. Only the mode of its sockets takes a parsed body.
            with self._clicks.answering():
                answer = self._bolt.dispatch(BoltRequest(body=payload, mode="socket_mode"))
        except Exception as error:
            return _odd_payload(error)
        if answer.status == 404:
            log.warning("payload=unhandled")
        return answer


def make_bolt(client: WebClient) -> App:
    """Bolt without its own server, signature check, authorization calls and thread pool."""
    identity = AuthorizeResult(enterprise_id=None, team_id=None, bot_token=client.token)
    logger = logging.getLogger("bolt")
    # It warns that it does not use the SLACK_BOT_TOKEN that it found, and with parts of a payload of what
    # nobody listens to, which may be anything.
    logger.setLevel(logging.ERROR)
    return App(
        name="conveyor-for-slack",  # or it reads the sources of all that called it, to find one
        logger=logger,
        client=client,
        authorize=lambda: identity,
        process_before_response=True,
        request_verification_enabled=False,  # done in routes.py, which answers malformed ones as well
        ssl_check_enabled=False,
        url_verification_enabled=False,
        ignoring_self_events_enabled=False,
    )


def _odd_payload(error: Exception) -> BoltResponse:
    """Our listeners let no exception out, so this is Bolt, tripping over a payload of an odd shape."""
    log.warning("payload=odd cause=%s", type(error).__name__)
    return BoltResponse(status=400, body=NOT_SLACKS)
