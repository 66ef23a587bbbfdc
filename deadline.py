"""HTTP calls that end in time: nothing is sent after the deadline, and whatever is read has an end as well.

The time limits of HTTP libraries hold for each read, so a peer that sends one byte now and then holds a call
for as long as it likes. Here every call runs in a thread of its own, and when its time is up its connection
is closed, which ends that thread too. Only the look-up of a name cannot be ended from outside; a call that
comes back from one too late sends nothing.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies

import connections
from connections import Call, CallFailed, Session

__all__ = ["Answer", "CallFailed", "Calls", "retry_after"]

IDLE_SECONDS = 50.0  # that an open connection is kept: common load balancers close theirs after 60 s
IDLE_MOST = 8  # open connections that are kept for each host
CHUNK_BYTES = 65_536
RETRY_SECONDS_MOST = 300.0
# How calls end: as was asked, with a no, with the request to call less often, or without a usable answer.
OUTCOMES = OK, REFUSED, RATE_LIMITED, FAILED = "ok", "refused", "rate_limited", "failed"


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
        self._under_way: set[Call] = set()
        self._idle: dict[tuple[str, str], list[Session]] = {}
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
        call = Call(time.monotonic() + seconds, may_send or (lambda: True))
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
            answer: Answer = call.answer.result(timeout=call.seconds_left())
            return answer
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
        self._close_idle()

    def _begin(self, call: Call) -> None:
        with self._lock:
            if self._over:
                call.end()
            self._under_way.add(call)
            if len(self._under_way) == self._most:
                self._full_since = time.monotonic()

    def _run(self, call: Call, seconds: float, method: str, url: str, content: dict[str, Any]) -> None:
        connections.here.call = call
        try:
            call.answer.set_result(self._exchange(seconds, method, url, content))
        except CallFailed as failed:
            call.answer.set_exception(failed)
        except Exception as error:
            # The libraries let many kinds out, and some of their texts hold the address.
            is_certificate = "CERTIFICATE_VERIFY_FAILED" in str(error)
            kind = "CertificateError" if is_certificate else type(error).__name__
            call.answer.set_exception(CallFailed(kind, sent=call.sent))
        finally:
            self._finish(call)

    def _finish(self, call: Call) -> None:
        call.end()
        with self._lock:
            self._under_way.discard(call)
            self._full_since = None
        self._places.release()

    def _exchange(self, seconds: float, method: str, url: str, content: dict[str, Any]) -> Answer:
        session = self._take_session(url)
        try:
            with session.request(
                method,
                url,
                **content,
                proxies=get_environ_proxies(url),
                timeout=min(connections.SILENCE_SECONDS, seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                body = bytearray()
                for chunk in response.iter_content(CHUNK_BYTES):
                    body += chunk
                    if len(body) > self._most_bytes:
                        raise CallFailed("too large an answer", sent=True)
            # What ends because the connection was closed from here may only look like a whole answer.
            connections.here.call.let_go()
        except BaseException:
            session.close()
            # What failed may be the network, and then the other connections are as dead as this one.
            self._close_idle()
            raise
        self._keep_session(url, session)
        return Answer(response.status_code, response.headers, bytes(body))

    def _take_session(self, url: str) -> Session:
        """Return a session whose connection to this host is still open, or a new one."""
        with self._lock:
            idle = self._idle.get(_host_of(url), [])
            session = idle.pop() if idle else Session()
        if time.monotonic() > session.used_at + IDLE_SECONDS:
            session.close()  # it can still be used, and connects again
        return session

    def _keep_session(self, url: str, session: Session) -> None:
        session.used_at = time.monotonic()
        with self._lock:
            idle = self._idle.setdefault(_host_of(url), [])
            if not self._over and len(idle) < IDLE_MOST:
                idle.append(session)
                return
        session.close()

    def _close_idle(self) -> None:
        with self._lock:
            idle = [session for sessions in self._idle.values() for session in sessions]
            self._idle.clear()
        for session in idle:
            session.close()


def _host_of(url: str) -> tuple[str, str]:
    return urlsplit(url)[:2]
