"""Socket Mode: Slack sends clicks over a WebSocket that the app opens, so the app needs no public URL."""

import json
import logging
import threading
from typing import Any

from slack_bolt import BoltResponse
from slack_sdk import WebClient
from slack_sdk.socket_mode.builtin import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from listeners.intake import Intake

log = logging.getLogger(__name__)

CONCURRENCY = 100  # clicks answered at once, as many as gunicorn.conf.py has threads
PING_INTERVAL_SECONDS = 2.0  # a connection counts as lost when a ping fails, or four get no answer
STOP_SECONDS = 3.0  # as long as Slack waits for an answer
POLL_SECONDS = 1.0  # how often the connection is checked
MAX_BACKOFF_SECONDS = 30.0  # between attempts to connect


class Sockets:
    """Keeps one WebSocket to Slack open.

    `problem` says why it is not open, for `/readyz`; it is empty while the socket is open.
    """

    def __init__(self, intake: Intake, app_token: str, client: WebClient) -> None:
        self._intake = intake
        self._client = SocketModeClient(
            app_token, web_client=client, concurrency=CONCURRENCY, ping_interval=PING_INTERVAL_SECONDS
        )
        self._client.socket_mode_request_listeners.append(self._receive)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._stay_connected, name="socket", daemon=True)
        self.problem = "the socket is not open yet"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Accept no more clicks, and finish answering those that have arrived."""
        self._stopping.set()
        self._thread.join(STOP_SECONDS)
        # The library closes the connection before it waits for the answers.
        self._intake.finish(STOP_SECONDS)
        self._client.close()

    def _stay_connected(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if not self._client.is_connected():
                    self._client.connect_to_new_endpoint()
                self.problem, failures = "", 0
            except Exception as error:
                # Whatever the cause, the only thing to do is to try again.
                failures += 1
                self.problem = f"the socket does not open: {type(error).__name__}"
                log.warning("socket=closed failures=%d cause=%s", failures, type(error).__name__)
            self._stopping.wait(min(POLL_SECONDS * 2 ** min(failures, 20), MAX_BACKOFF_SECONDS))

    def _receive(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        answer = self._intake.dispatch(request.payload)
        if answer.status != 200:
            return  # without an acknowledgment, Slack shows the person that the click failed
        client.send_socket_mode_response(SocketModeResponse(request.envelope_id, _payload(answer)))


def _payload(answer: BoltResponse) -> dict[str, Any] | None:
    """Return the body of Bolt's answer in the form that Socket Mode takes."""
    if not answer.body:
        return None
    return dict(json.loads(answer.body)) if answer.body.startswith("{") else {"text": answer.body}
