"""Socket Mode: Slack sends clicks over a WebSocket that the app opens, so the app needs no public URL."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from slack_bolt import BoltResponse
from slack_sdk import WebClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from listeners.intake import Intake
from workspace.web_socket import SocketFailed, frame_of, open_socket

log = logging.getLogger(__name__)

CONCURRENCY = 100  # clicks answered at once, as many as gunicorn.conf.py has threads
STOP_SECONDS = 3.0  # as long as Slack waits for an answer
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0  # between attempts to connect
STEADY_SECONDS = 30.0  # a socket that is open for so long ends a row of failures


class Sockets:
    """Keeps one WebSocket to Slack open.

    1. A socket is opened; when that fails, again after a pause that doubles up to LONGEST_PAUSE_SECONDS.
    2. A thread reads its frames, and hands each click to a thread of its own, which answers on that socket.
    3. When Slack asks for another socket, that is opened first, while the old one is still read and answered
       until Slack closes it.
    4. A socket that is cut is noticed by a ping without an answer, and another is opened at once.

    `problem` says why no socket is open, for `/readyz`; it is empty while one is open.
    """

    def __init__(self, intake: Intake, app_token: str, client: WebClient) -> None:
        self._intake = intake
        self._app_token = app_token
        self._client = client
        self._clicks = ThreadPoolExecutor(CONCURRENCY, "click")
        self._stopping = False
        self._changed = threading.Condition()
        self._wanted = True  # whether another socket has to be opened
        self._open: set[ClientConnection] = set()
        self._thread = threading.Thread(target=self._stay_connected, name="socket", daemon=True)
        self.problem = "the socket is not open yet"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Accept no more clicks, and finish answering those that have arrived."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._intake.finish(STOP_SECONDS)
        self._clicks.shutdown(wait=True, cancel_futures=True)
        for connection in list(self._open):
            connection.close()
        self._thread.join(STOP_SECONDS)

    def _stay_connected(self) -> None:
        failures, opened_at = 0, 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted or self._stopping)
                if self._stopping:
                    return
            if time.monotonic() - opened_at >= STEADY_SECONDS:
                failures = 0
            if failures and self._pause(failures):
                return
            failures += 1
            opened_at = time.monotonic()
            try:
                self._use(open_socket(self._client, self._app_token))
            except SocketFailed as error:
                if not self._open:
                    self._lost(f"the socket does not open: {error}")

    def _pause(self, failures: int) -> bool:
        """Wait after so many attempts in a row, and return whether the app stops meanwhile."""
        seconds = min(FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 20), LONGEST_PAUSE_SECONDS)
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, seconds)

    def _use(self, connection: ClientConnection) -> None:
        """Read the frames of this socket from now on. Raises SocketFailed if there is no thread for that."""
        reader = threading.Thread(target=self._read, args=(connection,), name="frames", daemon=True)
        with self._changed:
            self._wanted = False
            self._open.add(connection)
        try:
            reader.start()
        except RuntimeError:
            self._close(connection)
            self._want_another()
            raise SocketFailed("there is no thread to read it") from None
        if self.problem:
            log.info("socket=open")
        self.problem = ""

    def _close(self, connection: ClientConnection) -> bool:
        """Close this socket, and return whether no other is open."""
        connection.close()
        with self._changed:
            self._open.discard(connection)
            return not self._open

    def _lost(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("socket=closed cause=%r", problem)
        self.problem = problem

    def _read(self, connection: ClientConnection) -> None:
        """Read the frames of one socket until it closes. However that ends, a socket is open afterward."""
        asked_to_change = False
        try:
            for text in connection:
                frame = frame_of(text)
                if frame.get("type") == "disconnect":
                    asked_to_change = True
                    self._want_another()
                elif "envelope_id" in frame and not self._stopping:
                    with suppress(RuntimeError):  # the app stops at this moment
                        self._clicks.submit(self._answer, connection, frame)
        except (ConnectionClosed, OSError):
            pass  # what follows tells it
        except Exception:
            # A bug must not leave a socket open that nobody reads: no click would arrive, and all look well.
            log.exception("socket=failed")
        is_last = self._close(connection)
        if is_last and not self._stopping:
            self._lost("Slack closed the socket" if asked_to_change else "the socket was cut")
        if is_last or not asked_to_change:
            self._want_another()

    def _want_another(self) -> None:
        with self._changed:
            self._wanted = True
            self._changed.notify_all()

    def _answer(self, connection: ClientConnection, frame: dict[str, Any]) -> None:
        answer = self._intake.dispatch(frame.get("payload"))
        if answer.status != 200:
            return  # without an acknowledgment, Slack shows the person that the click failed
        acknowledged = {"envelope_id": frame["envelope_id"]}
        if answer.body:
            acknowledged["payload"] = _payload(answer)
        try:
            connection.send(json.dumps(acknowledged))
        except (ConnectionClosed, OSError):
            # Slack shows that the click failed, or sends it again, which then counts as the copy that it is.
            log.warning('click=not_acknowledged cause="the socket was closed meanwhile"')


def _payload(answer: BoltResponse) -> dict[str, Any]:
    """Return the body of Bolt's answer in the form that Socket Mode takes."""
    return dict(json.loads(answer.body)) if answer.body.startswith("{") else {"text": answer.body}
