"""Connections that a call can be made on, kept open for the next one, and ended from another thread."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

SILENCE_SECONDS = 5.0  # for each read within a call


class CallFailed(Exception):
    """No usable answer came. `sent` says whether any part of the request may have left this machine.

    The text is a kind of error and holds no part of the address, which may be a secret.
    """

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Session(requests.Session):
    """One connection, which one call at a time uses: ending a call never closes another call's connection."""

    def __init__(self) -> None:
        super().__init__()
        self.used_at = 0.0
        adapter = _Adapter()
        for scheme in ("https://", "http://"):
            self.mount(scheme, adapter)
        # Of the environment only proxies are taken: a user's .netrc would add a header of its own.
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def get_redirect_target(self, *_: Any) -> None:
        """Return None: otherwise requests reads a redirect to its end, even one that it does not follow."""


class Call:
    """A call under way, with what it takes to end it from another thread."""

    def __init__(self, ends_at: float, may_send: Callable[[], bool]) -> None:
        self.answer: Future[Any] = Future()
        self.sent = False
        self._ends_at = ends_at
        self._may_send = may_send
        self._lock = threading.Lock()
        self._over = False
        self._handles: list[socket.socket] = []

    def seconds_left(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    def connect(self, host: str, port: int, options: Any = ()) -> tuple[socket.socket, socket.socket]:
        """Return a connection to the first of the name's addresses that accepts one, and a second handle.

        The second one can end the connection, since TLS takes the first one over.
        """
        failed: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            connection = socket.socket(family, kind, protocol)
            handle = connection.dup()
            try:
                self.take(handle)
                connection.settimeout(min(SILENCE_SECONDS, self.seconds_left()) or 0.001)
                for option in options:
                    connection.setsockopt(*option)
                connection.connect(address)
                self.raise_if_over()
                return connection, handle
            except (OSError, CallFailed) as error:
                connection.close()
                handle.close()
                if isinstance(error, CallFailed):
                    raise
                failed = error
        raise failed or OSError("the name has no address")

    def raise_if_over(self) -> None:
        with self._lock:
            self._check()

    def take(self, handle: socket.socket) -> None:
        """Use the connection of this handle, which ends with the call. Raises CallFailed."""
        with self._lock:
            self._check()
            if handle not in self._handles:
                self._handles.append(handle)

    def let_go(self) -> None:
        """Leave the connections open: the answer is whole. Raises CallFailed if the call has ended before."""
        with self._lock:
            self._check()
            self._handles.clear()

    def _check(self) -> None:
        if self._over or not self.seconds_left():
            raise CallFailed("given up", sent=self.sent)

    def about_to_send(self) -> None:
        """Raises CallFailed if it is too late, or no longer this process's turn."""
        with self._lock:
            self._check()
            if not self._may_send():
                raise CallFailed("no longer this process's turn", sent=self.sent)
            self.sent = True

    def end(self) -> None:
        """Close what was opened: whoever still waits for the other side waits no longer."""
        with self._lock:
            self._over = True
            for handle in self._handles:
                with suppress(OSError):  # the other side was quicker
                    handle.shutdown(socket.SHUT_RDWR)
            self._handles.clear()


here = threading.local()


class _Http(HTTPConnection):
    """A connection that belongs to the call of its thread."""

    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        call: Call = here.call
        connection, self._handle = call.connect(self.host, self.port, self.socket_options or ())
        return connection

    def send(self, data: Any) -> None:
        call: Call = here.call
        if self.sock is None:
            self.connect()
        elif self._handle:
            call.take(self._handle)
        call.about_to_send()
        super().send(data)

    def close(self) -> None:
        super().close()
        if self._handle:
            self._handle.close()


class _Https(_Http, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class _Adapter(HTTPAdapter):
    """Makes the connections above. All of them share the trusted certificates: to read those takes 20 ms."""

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, ssl_context=trusted_certificates(), **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}

    def proxy_manager_for(self, *args: Any, **more: Any) -> Any:
        manager = super().proxy_manager_for(*args, ssl_context=trusted_certificates(), **more)
        manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
        return manager

    def cert_verify(self, *_: Any) -> None:
        """The certificates are those of the context, which demands them."""


@cache
def trusted_certificates() -> ssl.SSLContext:
    """Return the context for every TLS connection of the app: it demands a certificate that is trusted.

    Those of the system are trusted, which OpenSSL takes from SSL_CERT_FILE where that is set, and with them
    those of REQUESTS_CA_BUNDLE, or else of certifi. Raises CallFailed.
    """
    context = ssl.create_default_context()
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or certifi.where()
    try:
        context.load_verify_locations(**{"capath" if os.path.isdir(bundle) else "cafile": bundle})
    except OSError:  # ssl.SSLError is one as well
        raise CallFailed("what REQUESTS_CA_BUNDLE names cannot be read as certificates", sent=False) from None
    return context
