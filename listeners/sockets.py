"""Socket Mode: clicks arrive over a connection that the app opens, so that it needs no public address."""

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

AT_ONCE = 100  # as many as the threads of gunicorn.conf.py
PING_SECONDS = 2.0  # a lost connection is noticed when a ping fails, or after four without an answer
ANSWER_SECONDS = 3.0
LOOK_SECONDS = 1.0
LONGEST_PAUSE = 30.0


class Sockets:
    """Keeps one socket to Slack open. `problem` says why it is not, for `/readyz`."""

    def __init__(self, intake: Intake, app_token: str, client: WebClient) -> None:
        self._intake = intake
        self._client = SocketModeClient(
            app_token, web_client=client, concurrency=AT_ONCE, ping_interval=PING_SECONDS
        )
        self._client.socket_mode_request_listeners.append(self._receive)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._stay_connected, name="socket", daemon=True)
        self.problem = "the socket is not open yet"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take no more clicks, and answer those that came."""
        self._stopping.set()
        self._thread.join(ANSWER_SECONDS)
        # The library closes the connection before it waits for the answers.
        self._intake.finish(ANSWER_SECONDS)
        self._client.close()

    def _stay_connected(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                if not self._client.is_connected():
                    self._client.connect_to_new_endpoint()
                self.problem, failures = "", 0
            except Exception as error:
                # However it failed, all there is to do is to try again.
                failures += 1
                self.problem = f"the socket does not open: {type(error).__name__}"
                log.warning("socket=closed failures=%d cause=%s", failures, type(error).__name__)
            self._stopping.wait(min(LOOK_SECONDS * 2**failures, LONGEST_PAUSE) if failures else LOOK_SECONDS)

    def _receive(self, client: BaseSocketModeClient, request: SocketModeRequest) -> None:
        answer = self._intake.dispatch(request.payload)
        if answer.status != 200:
            return  # what was not understood is not acknowledged, and Slack tells the person
        client.send_socket_mode_response(SocketModeResponse(request.envelope_id, _payload(answer)))


def _payload(answer: BoltResponse) -> dict[str, Any] | None:
    if not answer.body:
        return None
    return dict(json.loads(answer.body)) if answer.body.startswith("{") else {"text": answer.body}
