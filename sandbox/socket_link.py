"""Slack's end of Socket Mode: the app opens a WebSocket, and what people do is sent to it through that.

It transports envelopes and their answers, and must not look into their payloads.
"""

import json
import secrets
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

Json = dict[str, Any]


class SocketLink:
    """The WebSockets that the app has open. The answer to an envelope comes back through the same one."""

    def __init__(self) -> None:
        self.says_hello = True
        self.tls: ssl.SSLContext | None = None
        self.frames = 1  # in how many frames an envelope is sent
        self.user_agent = ""  # of the last connection
        self._server: Server | None = None
        self._tickets: set[str] = set()
        self._connections: list[ServerConnection] = []
        self._answers: dict[str, Json] = {}
        self._changed = threading.Condition()

    def open(self) -> str:
        """Return the address for a new WebSocket. It is good for one connection."""
        ticket = secrets.token_hex(16)
        with self._changed:
            self._tickets.add(ticket)
            if self._server is None:
                self._server = serve(self._handle_connection, "127.0.0.1", 0, ssl=self.tls)
                threading.Thread(target=self._server.serve_forever, daemon=True).start()
            port = self._server.socket.getsockname()[1]
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{port}/link/?ticket={ticket}"

    def stop(self) -> None:
        with self._changed:
            server, self._server = self._server, None
        if server:
            server.shutdown()
            self.drop()

    def drop(self) -> None:
        """Break every connection without a closing handshake, as a failing network does."""
        with self._changed:
            lost, self._connections = self._connections, []
        for connection in lost:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def refresh(self) -> None:
        """Ask the app to open another WebSocket, as Slack does every few hours."""
        with self._changed:
            connections = list(self._connections)
        for connection in connections:
            connection.send(json.dumps({"type": "disconnect", "reason": "refresh_requested"}))

    def is_open(self) -> bool:
        with self._changed:
            return bool(self._connections)

    def send(self, kind: str, payload: Json, seconds: float) -> Json | None:
        """Send an envelope and return the payload of its answer, or None if no answer comes in time.

        The payload is `{}` if the app only acknowledges.
        """
        envelope_id = secrets.token_hex(16)
        deadline = time.monotonic() + seconds
        with self._changed:
            if not self._changed.wait_for(lambda: self._connections, seconds):
                return None
            connection = self._connections[-1]
        envelope = {"type": kind, "envelope_id": envelope_id, "accepts_response_payload": True}
        try:
            text = json.dumps({**envelope, "payload": payload})
            size = -(-len(text) // self.frames)
            parts = [text[start : start + size] for start in range(0, len(text), size)]
            connection.send(parts if self.frames > 1 else text)
        except (ConnectionClosed, OSError):
            return None
        with self._changed:
            remaining = max(0.0, deadline - time.monotonic())
            self._changed.wait_for(lambda: envelope_id in self._answers, remaining)
            return self._answers.pop(envelope_id, None)

    def send_raw(self, *parts: str | bytes) -> None:
        """Send a frame as it is, whatever it holds. Several parts are one message in several frames."""
        with self._changed:
            connection = self._connections[-1]
        connection.send(parts[0] if len(parts) == 1 else parts)

    def _handle_connection(self, connection: ServerConnection) -> None:
        """Greet the app on a new connection, and collect its answers until the connection ends."""
        ticket = connection.request.path.rpartition("=")[2] if connection.request else ""
        self.user_agent = connection.request.headers.get("User-Agent", "") if connection.request else ""
        with self._changed:
            if ticket not in self._tickets:
                return
            self._tickets.discard(ticket)
        if self.says_hello:
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
