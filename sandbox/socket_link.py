"""Socket Mode's other end: the app opens a WebSocket, and what people do goes down that."""

import json
import secrets
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

Json = dict[str, Any]


class SocketLink:
    """The sockets that the app has open: an envelope goes down one, and its answer comes up that one."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._tickets: set[str] = set()
        self._connections: list[ServerConnection] = []
        self._answers: dict[str, Json] = {}
        self._changed = threading.Condition()

    def open(self) -> str:
        """The address of a new socket, good for one connection."""
        ticket = secrets.token_hex(16)
        with self._changed:
            self._tickets.add(ticket)
            if self._server is None:
                self._server = serve(self._talk, "127.0.0.1", 0)
                threading.Thread(target=self._server.serve_forever, daemon=True).start()
            port = self._server.socket.getsockname()[1]
        return f"ws://127.0.0.1:{port}/link/?ticket={ticket}"

    def stop(self) -> None:
        with self._changed:
            server, self._server = self._server, None
        if server:
            server.shutdown()
            self.drop()

    def drop(self) -> None:
        """The network loses every connection."""
        with self._changed:
            lost, self._connections = self._connections, []
        for connection in lost:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def refresh(self) -> None:
        """Slack asks the app to open another socket, as it does every few hours."""
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            connection.send(json.dumps({"type": "disconnect", "reason": "refresh_requested"}))

    def is_open(self) -> bool:
        with self._changed:
            return bool(self._connections)

    def send(self, kind: str, payload: Json, seconds: float) -> Json | None:
        """What the app answers to an envelope (`{}` if nothing but that), None if it does not in time."""
        envelope_id = secrets.token_hex(16)
        until = time.monotonic() + seconds
        with self._changed:
            if not self._changed.wait_for(lambda: self._connections, seconds):
                return None
            connection = self._connections[-1]
        envelope = {"type": kind, "envelope_id": envelope_id, "accepts_response_payload": True}
        try:
            connection.send(json.dumps({**envelope, "payload": payload}))
        except (ConnectionClosed, OSError):
            return None
        with self._changed:
            self._changed.wait_for(lambda: envelope_id in self._answers, max(0.0, until - time.monotonic()))
            return self._answers.pop(envelope_id, None)

    def _talk(self, connection: ServerConnection) -> None:
        path = connection.request.path if connection.request else ""
        with self._changed:
            if path.rpartition("=")[2] not in self._tickets:
                return
            self._tickets.discard(path.rpartition("=")[2])
        connection.send(json.dumps({"type": "hello", "num_connections": 1}))
        with self._changed:
            self._connections.append(connection)
            self._changed.notify_all()
        try:
            for message in connection:
                answer = json.loads(message)
                with self._changed:
                    self._answers[str(answer.get("envelope_id"))] = answer.get("payload") or {}
                    self._changed.notify_all()
        except (ConnectionClosed, OSError):
            pass
        finally:
            with self._changed:
                if connection in self._connections:
                    self._connections.remove(connection)
