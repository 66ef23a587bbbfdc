"""What both stand-ins share: real HTTP on loopback, a log of every exchange, and faults on demand."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeVar

import flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

T = TypeVar("T")

KEPT_EXCHANGES = 5_000
POLL_SECONDS = 0.05
SECRET_FIELDS = ("token", "authorization", "x-api-key")
OF_AN_ANSWER = r"(?<=/actions/)[\w-]+"  # a response_url: whoever has it may answer


@dataclass(frozen=True)
class Incoming:
    """A request as it arrived; `arguments` merges the query, the form and a JSON object."""

    method: str
    path: str
    headers: Mapping[str, str]
    is_json: bool
    query: dict[str, Any]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """An answer: bytes and strings go out as they are, None as nothing, all else as JSON."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, str]:
        """The bytes to send, and their content type."""
        if self.body is None:
            return b"", "text/plain"
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode(), "text/html; charset=utf-8"
        return json.dumps(self.body).encode(), "application/json; charset=utf-8"


@dataclass
class Exchange:
    """One request and its answer, secrets masked. It is listed on arrival; `done` tells when it has ended."""

    at: float
    method: str
    path: str
    call: str
    request: Any
    status: int | None = None
    response: Any = None
    seconds: float = 0.0
    fault: str = ""
    done: bool = False


@dataclass
class Fault:
    """What shall go wrong with the next calls that match. Times are in seconds."""

    call: str = "*"
    times: int | None = 1
    status: int | None = None
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    delay_after: float = 0.0
    trickle: float = 0.0
    drip: float = 0.0
    drop: Literal["before", "after"] | None = None
    after: bool = False
    when: Callable[[Any], bool] | None = None
    used: int = 0

    @property
    def replaces(self) -> bool:
        return self.status is not None or self.body is not None

    def matches(self, call: str, arguments: Any) -> bool:
        """Whether it is the turn of this fault."""
        if self.times is not None and self.used >= self.times:
            return False
        return fnmatchcase(call, self.call) and (self.when is None or self.when(arguments))

    def __str__(self) -> str:
        names = ("status", "delay", "delay_after", "trickle", "drip", "drop", "after")
        return ", ".join(f"{name} {getattr(self, name)}" for name in names if getattr(self, name))


class QuietHandler(WSGIRequestHandler):
    # Headers and body are two writes: with Nagle's algorithm each answer would take 40 ms.
    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


class StandIn:
    """A service of which everything can be read and set from Python while it answers HTTP.

    Subclasses say what a request is called and do the work. The lock is held while they work,
    never while anything sleeps or is sent.
    """

    def __init__(self, secrets: Collection[str]) -> None:
        self.url = ""
        self.now: Callable[[], float] = time.time
        self.exchanges: list[Exchange] = []
        self.on_exchange: list[Callable[[Exchange], None]] = []
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self.version = 0
        known = (re.escape(secret) for secret in secrets if secret)
        self._secret = re.compile("|".join([*known, OF_AN_ANSWER]))
        self._faults: list[Fault] = []
        self._server: BaseWSGIServer | None = None
        self._thread = threading.Thread()
        self._stopping = threading.Event()
        self._flask = flask.Flask(type(self).__name__, static_folder=None)
        self._flask.url_map.merge_slashes = False
        self._flask.before_request(_keep_websites_out)
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        for rule in ("/", "/<path:path>"):
            self._flask.add_url_rule(rule, "any", self._serve_one, methods=methods)

    def call_name(self, incoming: Incoming) -> str:
        """What this request is called in the log and in faults."""
        raise NotImplementedError

    def work(self, incoming: Incoming) -> Reply:
        """Do what is asked. Called with the lock held."""
        raise NotImplementedError

    def serve(self, port: int = 0) -> None:
        """Answer on 127.0.0.1, on a free port unless one is given; `url` says where."""
        self._stopping = threading.Event()
        server = make_server("127.0.0.1", port, self._flask, threaded=True, request_handler=QuietHandler)
        self._server, self.url = server, f"http://127.0.0.1:{server.port}"
        self._thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Be down: connections are refused, and what still waits is dropped. `serve(port)` comes back."""
        server, self._server = self._server, None
        if server is not None:
            self._stopping.set()
            server.shutdown()
            # The thread closes the listening socket at its end: until then connections are still taken.
            self._thread.join()

    @property
    def port(self) -> int:
        """Where it answers, or answered last."""
        return int(self.url.rpartition(":")[2])

    def fail(
        self,
        call: str = "*",
        times: int | None = 1,
        *,
        status: int | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        delay_after: float = 0.0,
        trickle: float = 0.0,
        drip: float = 0.0,
        drop: Literal["before", "after"] | None = None,
        after: bool = False,
        when: Callable[[Any], bool] | None = None,
    ) -> Fault:
        """Let the next calls of this name (`*` and `?` as in file names) go wrong; the oldest fault is first.

        `status` and `body` replace the answer, and the work is not done unless `after` is set. `delay` comes
        before the work, `delay_after` between the work and the answer, `trickle` before each byte of it.
        `drip` comes before each byte of a header that never ends, after the work. `drop` closes the
        connection without an answer, before or after the work. `times=None`: until cleared.
        """
        fault = Fault(
            call, times, status, body, headers or {}, delay, delay_after, trickle, drip, drop, after, when
        )
        with self.lock:
            self._faults.append(fault)
        return fault

    def clear_faults(self) -> None:
        """Let everything work again."""
        with self.lock:
            self._faults.clear()

    def calls(self, call: str) -> list[Exchange]:
        """The exchanges of this name, oldest first, those still under way included."""
        with self.lock:
            return [exchange for exchange in self.exchanges if fnmatchcase(exchange.call, call)]

    def wait_for(self, predicate: Callable[[], T], seconds: float = 10.0) -> T:
        """The first true value of the predicate. Raises TimeoutError with the last exchanges."""
        deadline = time.monotonic() + seconds
        while True:
            version = self.version
            if value := predicate():
                return value
            if time.monotonic() > deadline:
                raise TimeoutError(f"not true within {seconds} s; the last exchanges:\n{self._latest()}")
            with self._changed:
                if self.version == version:
                    self._changed.wait(POLL_SECONDS)

    def touch(self) -> None:
        """Tell those who wait that something has changed."""
        with self._changed:
            self.version += 1
            self._changed.notify_all()

    def masked(self, value: Any) -> Any:
        """A copy without the secrets in it."""
        if isinstance(value, dict):
            return {
                key: "***" if str(key).lower() in SECRET_FIELDS else self.masked(part)
                for key, part in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.masked(part) for part in value]
        if isinstance(value, bytes):
            return self.masked(value.decode(errors="replace"))
        if isinstance(value, str):
            return self._secret.sub("***", value)
        return value

    def arrived(self, method: str, path: str, call: str, request: Any) -> Exchange:
        """A new exchange in the log."""
        exchange = Exchange(self.now(), method, self.masked(path), call, self.masked(request))
        with self.lock:
            self.exchanges.append(exchange)
            del self.exchanges[:-KEPT_EXCHANGES]
        self.touch()
        return exchange

    def finished(self, exchange: Exchange, status: int | None, response: Any, seconds: float) -> None:
        """The end of an exchange; whoever observes hears of it."""
        with self.lock:
            exchange.status, exchange.response = status, self.masked(response)
            exchange.seconds, exchange.done = seconds, True
        self.touch()
        for observer in list(self.on_exchange):
            observer(exchange)

    def _latest(self) -> str:
        with self.lock:
            return "\n".join(
                f"  {exchange.call} → {exchange.status} {str(exchange.response)[:300]} {exchange.fault}"
                for exchange in self.exchanges[-12:]
            )

    def _serve_one(self, path: str = "") -> flask.Response:
        incoming, stopping, started = _incoming(), self._stopping, time.monotonic()
        call = self.call_name(incoming)
        exchange = self.arrived(incoming.method, incoming.path, call, incoming.arguments)
        fault = self._take_fault(call, incoming.arguments)
        exchange.fault = str(fault)
        try:
            reply = self._reply(incoming, fault, stopping)
        except Exception as error:
            self.finished(exchange, 500, repr(error), time.monotonic() - started)
            raise
        status, body = (reply.status, reply.body) if reply else (None, None)
        self.finished(exchange, status, body, time.monotonic() - started)
        if fault.drip:
            _drip(flask.request.environ["werkzeug.socket"], fault.drip, stopping)
            reply = None
        if reply is None:
            # Not closed: the server does that itself, and would stumble over a closed one.
            with suppress(OSError):  # the other side was quicker
                flask.request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return flask.Response(status=500)
        content, kind = reply.encoded()
        response = flask.Response(content, reply.status, {"Content-Type": kind, **reply.headers})
        if fault.trickle:
            response.response = _drops(content, fault.trickle, stopping)
            response.headers["Content-Length"] = str(len(content))
        return response

    def _take_fault(self, call: str, arguments: Any) -> Fault:
        with self.lock:
            for fault in self._faults:
                if fault.matches(call, arguments):
                    fault.used += 1
                    return fault
        return Fault(times=0)

    def _reply(self, incoming: Incoming, fault: Fault, stopping: threading.Event) -> Reply | None:
        """What to answer, or None for a dropped connection."""
        if (fault.delay and stopping.wait(fault.delay)) or fault.drop == "before":
            return None
        reply = Reply(fault.body, fault.status or 200, fault.headers)
        if fault.after or not fault.replaces:
            with self.lock:
                done = self.work(incoming)
            self.touch()
            reply = reply if fault.replaces else done
        if (fault.delay_after and stopping.wait(fault.delay_after)) or fault.drop == "after":
            return None
        return reply


def _keep_websites_out() -> flask.Response | None:
    """A website may send requests to loopback, or point its own name there; programs name no origin."""
    host = flask.request.host.rpartition(":")[0]
    if "Origin" in flask.request.headers or host not in ("127.0.0.1", "localhost"):
        return flask.Response("This is for programs on this computer only.\n", 403, mimetype="text/plain")
    return None


def _incoming() -> Incoming:
    request = flask.request
    query = _flat(request.args.to_dict(flat=False))
    content = request.get_json(silent=True) if request.is_json else _flat(request.form.to_dict(flat=False))
    arguments = query | (content if isinstance(content, dict) else {})
    headers = dict(request.headers.items())
    return Incoming(request.method, request.path, headers, request.is_json, query, arguments)


def _flat(fields: Mapping[str, list[str]]) -> dict[str, Any]:
    """Fields given once as they are, others as lists."""
    return {key: values[0] if len(values) == 1 else values for key, values in fields.items()}


def _drip(connection: socket.socket, pause: float, stopping: threading.Event) -> None:
    """Begin an answer that goes on until the other side has enough of it."""
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        while not stopping.wait(pause):
            connection.sendall(b"x")


def _drops(content: bytes, pause: float, stopping: threading.Event) -> Iterator[bytes]:
    for position in range(len(content)):
        if stopping.wait(pause):
            return
        yield content[position : position + 1]
