"""A WebSocket to Slack, for Socket Mode: opened, greeted by Slack, and read frame by frame.

Slack's own library has several clients for this. They swallow the causes of a socket that does not open,
print whole frames and proxy addresses, and notice a cut connection late; so this uses `websockets` directly.
"""

import json
import socket
import ssl
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from websockets.exceptions import (
    InvalidHandshake,
    InvalidProxy,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)
from websockets.sync.client import ClientConnection, connect

from connections import CallFailed, trusted_certificates
from version import USER_AGENT

OPEN_SECONDS = 5.0  # for TCP, TLS and the handshake, and again for Slack's hello
# A ping that gets no answer closes the connection: a cut one is noticed within the sum of both.
PING_SECONDS = 2.0
PONG_SECONDS = 2.0
MAX_FRAME_BYTES = 1_000_000  # Slack's payloads are far smaller


class SocketFailed(Exception):
    """There is no socket. The text says why in plain words and holds no address."""


def open_socket(client: WebClient, app_token: str) -> ClientConnection:
    """Ask Slack for a socket, connect to it, and return it once Slack has said hello. Raises SocketFailed."""
    url = _address(client, app_token)
    try:
        connection = connect(
            url,
            ssl=trusted_certificates() if url.startswith("wss:") else None,
            open_timeout=OPEN_SECONDS,
            ping_interval=PING_SECONDS,
            ping_timeout=PONG_SECONDS,
            close_timeout=1.0,
            max_size=MAX_FRAME_BYTES,
            user_agent_header=USER_AGENT,
            legacy=True,
        )
    except Exception as error:
        # The library lets many kinds out, and some of their texts hold a proxy's address with its password.
        raise SocketFailed(_cause(error)) from None
    try:
        hello = frame_of(connection.recv(timeout=OPEN_SECONDS))
    except Exception:  # whatever came instead, it was no hello
        hello = {}
    if hello.get("type") != "hello":
        connection.close()
        raise SocketFailed("Slack accepted the connection and said no hello")
    return connection


def frame_of(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object in a frame, or an empty one."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return frame if isinstance(frame, dict) else {}


def _address(client: WebClient, app_token: str) -> str:
    try:
        url = client.apps_connections_open(app_token=app_token).get("url")
    except SlackApiError as error:
        said = error.response.get("error") or error.response.status_code
        raise SocketFailed(f"apps.connections.open says {said}") from None
    except CallFailed as error:
        raise SocketFailed(f"apps.connections.open: {error}") from None
    except Exception as error:  # Slack's library lets many kinds out
        raise SocketFailed(f"apps.connections.open: {type(error).__name__}") from None
    if not isinstance(url, str) or not url.startswith(("wss://", "ws://")):
        raise SocketFailed("apps.connections.open gave no address")
    return url


def _cause(error: Exception) -> str:
    """Return why a connection could not be made, without any part of an address."""
    if isinstance(error, CallFailed):
        return str(error)
    if isinstance(error, InvalidStatus):
        return f"the server answered {error.response.status_code} instead of opening a WebSocket"
    if isinstance(error, (InvalidProxy, ProxyError)):
        return "the proxy did not let the connection through"
    if isinstance(error, socket.gaierror):
        return "the host of the WebSocket was not found"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the certificate was not accepted"
    if isinstance(error, TimeoutError):
        return f"no connection within {OPEN_SECONDS:.0f} s"
    if isinstance(error, (InvalidHandshake, WebSocketException)):
        return "the server's answer was no WebSocket"
    return type(error).__name__
