"""HTTP calls that end in time: nothing is sent after the deadline, and whatever is read has an end as well.

The time limits of HTTP libraries hold for each read, so a peer that sends one byte now and then holds a call
for as long as it likes. Here every call runs in a thread of its own, and when its time is up its connection
is closed, which ends that thread too. Only the look-up of a name cannot be ended from outside; a call that
comes back from one too late sends nothing.
"""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import certifi
import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

SILENCE_SECONDS = 5.0  # for each read within a call
CHUNK_BYTES = 65_536
RETRY_SECONDS_MOST = 300.0
# How calls end: as was asked, with a no, with the request to call less often, or without a usable answer.
OUTCOMES = OK, REFUSED, RATE_LIMITED, FAILED = "ok", "refused", "rate_limited", "failed"


class CallFailed(Exception):
    """No usable answer came. `sent` says whether any part of the request may have left this machine.

    The text is a kind of error and holds no part of the address, which may be a secret.
    """

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


@dataclass(frozen=True)
class Answer:
    """What the other side answered; the names of `headers` may be written in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def outcome_of(status: int) -> str:
    """Return which of OUTCOMES an answer with this status is."""
    if status == 429:
        return RATE_LIMITED
    return OK if 200 <= status < 300 else REFUSED if 400 <= status < 500 else FAILED


def retry_after(headers: Mapping[str, object], default: float) -> float:
    """Return the seconds that the header Retry-After asks to wait, up to RETRY_SECONDS_MOST.

    Return `default` if the header is missing or is no whole number.
    """
    found = {name.lower(): str(value) for name, value in headers.items()}.get("retry-after", "")
    return min(float(found), RETRY_SECONDS_MOST) if found.isascii() and found.isdigit() else default


class Calls:
    """Makes HTTP calls of one kind, at most `most` at once, so that no kind takes the places of another.

    An answer has `most_bytes` at most. When a call is over, `ended` is called in the thread that made it,
    however it ended.
    """

    def __init__(self, name: str, most: int, most_bytes: int = 10_000_000) -> None:
        self.name = name
        self.ended: Callable[[], object] = lambda: None
        self.outcomes = dict.fromkeys(OUTCOMES, 0)  # of the calls so far
        self._most = most
        self._most_bytes = most_bytes
        self._places = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._under_way: set[_Call] = set()
        self._full_since: float | None = None
        self._over = False

    def request(
        self,
        seconds: float,
        method: str,
        url: str,
        may_send: Callable[[], bool] | None = None,
        **content: Any,
    ) -> Answer:
        """Return the answer, whatever its status, within so many seconds. Raises CallFailed.

        `may_send` is asked right before anything is sent. `content` is what `requests` takes. Redirects are
        not followed: the next host would get the key, and its answer would count.
        """
        call = _Call(time.monotonic() + seconds, may_send or (lambda: True))
        if not self._places.acquire(timeout=seconds):
            raise CallFailed(f"no place for another call in {seconds:.3g} s", sent=False)
        self._begin(call)
        # As a daemon, so that a look-up that hangs does not hold up the end of the process.
        thread = threading.Thread(target=self._run, args=(call, seconds, method, url, content), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self._finish(call)
            raise CallFailed("no thread for another call", sent=False) from None
        try:
            return call.answer.result(timeout=call.seconds_left())
        except FutureTimeout:
            call.end()
            raise CallFailed(f"no whole answer in {seconds:.3g} s", sent=call.sent) from None
        finally:
            self.ended()

    def count(self, outcome: str) -> None:
        """Count a call that ended so. The outcome is one of OUTCOMES."""
        with self._lock:
            self.outcomes[outcome] += 1

    def full_seconds(self) -> float:
        """Return for how long every place has been taken without a break."""
        with self._lock:
            return 0.0 if self._full_since is None else time.monotonic() - self._full_since

    def stop(self) -> None:
        """Give up the calls that are under way; from now on there are no others."""
        with self._lock:
            self._over = True
            under_way = list(self._under_way)
        for call in under_way:
            call.end()

    def _begin(self, call: "_Call") -> None:
        with self._lock:
            if self._over:
                call.end()
            self._under_way.add(call)
            if len(self._under_way) == self._most:
                self._full_since = time.monotonic()

    def _run(self, call: "_Call", seconds: float, method: str, url: str, content: dict[str, Any]) -> None:
        _here.call = call
        try:
            answer = self._exchange(seconds, method, url, content)
            # What ends because the connection was closed from here may only look like a whole answer.
            call.raise_if_over()
            call.answer.set_result(answer)
        except CallFailed as failed:
            call.answer.set_exception(failed)
        except Exception as error:
            # The libraries let many kinds out, and some of their texts hold the address.
            is_certificate = "CERTIFICATE_VERIFY_FAILED" in str(error)
            kind = "CertificateError" if is_certificate else type(error).__name__
            call.answer.set_exception(CallFailed(kind, sent=call.sent))
        finally:
            self._finish(call)

    def _finish(self, call: "_Call") -> None:
        call.end()
        with self._lock:
            self._under_way.discard(call)
            self._full_since = None
        self._places.release()

    def _exchange(self, seconds: float, method: str, url: str, content: dict[str, Any]) -> Answer:
        with _Session() as session:
            # Each call has its own, so that no other call takes this one's connection before it is closed.
            adapter = _Adapter()
            for scheme in ("https://", "http://"):
                session.mount(scheme, adapter)
            # Of the environment only proxies are taken: a user's .netrc would add a header of its own.
            session.trust_env = False
            session.headers["Accept-Encoding"] = "identity"
            with session.request(
                method,
                url,
                **content,
                proxies=get_environ_proxies(url),
                timeout=min(SILENCE_SECONDS, seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = bytearray()
                for chunk in response.iter_content(CHUNK_BYTES):
                    body += chunk
                    if len(body) > self._most_bytes:
                        raise CallFailed("too large an answer", sent=True)
                return Answer(response.status_code, response.headers, bytes(body))


class _Session(requests.Session):
    def get_redirect_target(self, *_: Any) -> None:
        """Lead nowhere: even if a redirect is not followed, requests reads it to the end to see where to."""


class _Call:
    """A call under way, with what it takes to end it from another thread."""

    def __init__(self, ends_at: float, may_send: Callable[[], bool]) -> None:
        self.answer: Future[Answer] = Future()
        self.sent = False
        self._ends_at = ends_at
        self._may_send = may_send
        self._lock = threading.Lock()
        self._over = False
        self._handles: list[socket.socket] = []

    def seconds_left(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    def connect(self, host: str, port: int, options: Any = ()) -> socket.socket:
        """Return a connection to the first address of the name that takes one."""
        failed: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            connection = socket.socket(family, kind, protocol)
            try:
                self._watch(connection)
                connection.settimeout(min(SILENCE_SECONDS, self.seconds_left()) or 0.001)
                for option in options:
                    connection.setsockopt(*option)
                connection.connect(address)
                self.raise_if_over()
                return connection
            except OSError as error:
                connection.close()
                failed = error
            except CallFailed:
                connection.close()
                raise
        raise failed or OSError("the name has no address")

    def raise_if_over(self) -> None:
        with self._lock:
            self._check()

    def _watch(self, connection: socket.socket) -> None:
        with self._lock:
            self._check()
            # A second handle of the same connection, since TLS takes the first one over.
            self._handles.append(connection.dup())

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
                handle.close()
            self._handles.clear()


_here = threading.local()


class _Http(HTTPConnection):
    """A connection that belongs to the call of its thread."""

    def _new_conn(self) -> socket.socket:
        call: _Call = _here.call
        return call.connect(self.host, self.port, self.socket_options or ())

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        call: _Call = _here.call
        call.about_to_send()
        super().send(data)


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
