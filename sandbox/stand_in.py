"""What both stand-ins share: an HTTP server on 127.0.0.1, a log of every exchange, and faults on demand.

A subclass names the calls of its service and does their work; this module implements none of them. It must
listen on no address but 127.0.0.1, and must put no secret into the log.
"""

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from socketserver import BaseServer
from typing import Any, Literal, TypeVar

import flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

T = TypeVar("T")

KEPT_EXCHANGES = 5_000
POLL_SECONDS = 0.05
SECRET_FIELDS = ("token", "authorization", "x-api-key")
RESPONSE_URL_ID = r"(?<=/actions/)[\w-]+"  # whoever knows a response_url can post through it


@dataclass(frozen=True)
class Incoming:
    """A request as it arrived. `arguments` merges the query string with the form or the JSON object."""

    method: str
    path: str
    headers: Mapping[str, str]
    is_json: bool
    query: dict[str, Any]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """An answer. Bytes and strings are sent unchanged, None as an empty body, anything else as JSON."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> tuple[bytes, str]:
        """Return the bytes to send and their content type."""
        if self.body is None:
            return b"", "text/plain"
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode(), "text/html; charset=utf-8"
        return json.dumps(self.body).encode(), "application/json; charset=utf-8"


@dataclass
class Exchange:
    """One request and its answer, with the secrets masked.

    It is in the log from the moment the request arrives; `done` becomes true when the answer is known.
    """

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
    user_agent: str = ""


@dataclass
class Fault:
    """What goes wrong with the next calls that match. Times are in seconds."""

    call: str = "*"  # the name of the call, in which * and ? match as in file names
    times: int | None = 1  # how many calls it affects; None: all until it is cleared
    status: int | None = None  # replaces the status of the answer
    body: Any = None  # replaces the body of the answer
    headers: Mapping[str, str] = field(default_factory=dict)  # of an answer that is replaced
    delay: float = 0.0  # before the work
    delay_after: float = 0.0  # between the work and the answer
    trickle: float = 0.0  # before each byte of the answer's body
    drip: float = 0.0  # before each byte of a header that never ends, after the work
    drop: Literal["before", "after"] | None = None  # end without an answer, before or after the work
    after: bool = False  # do the work although the answer is replaced
    when: Callable[[Any], bool] | None = None  # affects only calls for whose arguments this returns true
    used: int = 0  # how many calls it has affected so far

    @property
    def replaces_answer(self) -> bool:
        return self.status is not None or self.body is not None

    def matches(self, call: str, arguments: Any) -> bool:
        """Return whether this fault affects a call with this name and these arguments."""
        if self.times is not None and self.used >= self.times:
            return False
        return fnmatchcase(call, self.call) and (self.when is None or self.when(arguments))

    def __str__(self) -> str:
        names = ("status", "delay", "delay_after", "trickle", "drip", "drop", "after")
        return ", ".join(f"{name} {getattr(self, name)}" for name in names if getattr(self, name))


class QuietHandler(WSGIRequestHandler):
    """Keeps connections open between requests, as Slack and Conveyor do."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: with Nagle's algorithm each answer would take 40 ms.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        _open_connections(self.server).add(self.connection)
        vars(self.server)["opened"] = vars(self.server).get("opened", 0) + 1

    def finish(self) -> None:
        _open_connections(self.server).discard(self.connection)
        super().finish()

    def run_wsgi(self) -> None:
        """Answer as Werkzeug does, which reads each connection empty after an answer and closes it."""
        content, status, headers = run_wsgi_app(self.server.app, self.make_environ())
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        for chunk in content:
            self.wfile.write(chunk)

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def _open_connections(server: BaseServer) -> set[socket.socket]:
    found: set[socket.socket] = vars(server).setdefault("open_connections", set())
    return found


class StandIn:
    """An HTTP service whose whole state a test can read and change from Python while it runs.

    A subclass gives each request a name (`call_name`) and does its work (`work`). The lock is held while a
    subclass works, but never while a thread sleeps or sends.
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
        self._secret_pattern = re.compile("|".join([*known, RESPONSE_URL_ID]))
        self._faults: list[Fault] = []
        self._server: BaseWSGIServer | None = None
        self._thread = threading.Thread()
        self._stopping = threading.Event()
        self._flask = flask.Flask(type(self).__name__, static_folder=None)
        self._flask.url_map.merge_slashes = False
        self._flask.before_request(_reject_websites)
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        for rule in ("/", "/<path:path>"):
            self._flask.add_url_rule(rule, "any", self._handle, methods=methods)

    def call_name(self, incoming: Incoming) -> str:
        """Return the name of this request in the log and for faults."""
        raise NotImplementedError

    def work(self, incoming: Incoming) -> Reply:
        """Do what the request asks and return the answer. The caller holds the lock."""
        raise NotImplementedError

    def serve(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """Start to answer on 127.0.0.1, on this port or any free one, and set `url`."""
        self._stopping = threading.Event()
        server = make_server(
            "127.0.0.1", port, self._flask, threaded=True, request_handler=QuietHandler, ssl_context=tls
        )
        if tls:
            # Otherwise whoever connects and says nothing would hold up everybody else.
            vars(server.socket)["do_handshake_on_connect"] = False
        self._server, self.url = server, f"{'https' if tls else 'http'}://127.0.0.1:{server.port}"
        self._thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop answering: refuse new connections and end the waiting ones. `serve(port)` starts it again."""
        server, self._server = self._server, None
        if server is not None:
            self._stopping.set()
            server.shutdown()
            # The thread closes the listening socket when it ends. Until then, connections are still accepted.
            self._thread.join()
            for connection in list(_open_connections(server)):
                with suppress(OSError):  # the client was quicker
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def opened(self) -> int:
        """How many connections were opened since it last began to answer."""
        return int(vars(self._server).get("opened", 0))

    @property
    def port(self) -> int:
        """The port on which it answers, or answered last."""
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
        """Make the next `times` calls with this name go wrong, and return the fault.

        The parameters are those of `Fault`. An answer that `status` or `body` replaces comes without the
        work, unless `after` is set. If several faults match a call, the oldest one applies.
        """
        fault = Fault(
            call, times, status, body, headers or {}, delay, delay_after, trickle, drip, drop, after, when
        )
        with self.lock:
            self._faults.append(fault)
        return fault

    def clear_faults(self) -> None:
        """Remove every fault."""
        with self.lock:
            self._faults.clear()

    def calls(self, call: str) -> list[Exchange]:
        """Return the exchanges with this name, oldest first, including those that are not done yet."""
        with self.lock:
            return [exchange for exchange in self.exchanges if fnmatchcase(exchange.call, call)]

    def wait_for(self, predicate: Callable[[], T], seconds: float = 10.0) -> T:
        """Wait until the predicate is true and return its value. Raise TimeoutError after `seconds`."""
        deadline = time.monotonic() + seconds
        while True:
            version = self.version
            if value := predicate():
                return value
            if time.monotonic() > deadline:
                raise TimeoutError(f"not true within {seconds} s; the last exchanges:\n{self._log_tail()}")
            with self._changed:
                if self.version == version:
                    self._changed.wait(POLL_SECONDS)

    def touch(self) -> None:
        """Wake every thread that waits for a change."""
        with self._changed:
            self.version += 1
            self._changed.notify_all()

    def mask_secrets(self, value: Any) -> Any:
        """Return a copy in which *** replaces every secret."""
        if isinstance(value, dict):
            return {
                key: "***" if str(key).lower() in SECRET_FIELDS else self.mask_secrets(part)
                for key, part in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.mask_secrets(part) for part in value]
        if isinstance(value, bytes):
            return self.mask_secrets(value.decode(errors="replace"))
        if isinstance(value, str):
            return self._secret_pattern.sub("***", value)
        return value

    def record_arrival(self, method: str, path: str, call: str, request: Any) -> Exchange:
        """Add a new exchange to the log and return it."""
        exchange = Exchange(self.now(), method, self.mask_secrets(path), call, self.mask_secrets(request))
        with self.lock:
            self.exchanges.append(exchange)
            del self.exchanges[:-KEPT_EXCHANGES]
        self.touch()
        return exchange

    def record_answer(self, exchange: Exchange, status: int | None, response: Any, seconds: float) -> None:
        """Add the answer to an exchange, and call every observer in `on_exchange`."""
        with self.lock:
            exchange.status, exchange.response = status, self.mask_secrets(response)
            exchange.seconds, exchange.done = seconds, True
        self.touch()
        for observer in list(self.on_exchange):
            observer(exchange)

    def _log_tail(self) -> str:
        with self.lock:
            return "\n".join(
                f"  {exchange.call} → {exchange.status} {str(exchange.response)[:300]} {exchange.fault}"
                for exchange in self.exchanges[-12:]
            )

    def _handle(self, path: str = "") -> flask.Response:
        incoming, stopping, started = _read_request(), self._stopping, time.monotonic()
        call = self.call_name(incoming)
        exchange = self.record_arrival(incoming.method, incoming.path, call, incoming.arguments)
        exchange.user_agent = incoming.headers.get("User-Agent", "")
        fault = self._take_fault(call, incoming.arguments)
        exchange.fault = str(fault)
        try:
            reply = self._make_reply(incoming, fault, stopping)
        except Exception as error:
            self.record_answer(exchange, 500, repr(error), time.monotonic() - started)
            raise
        status, body = (reply.status, reply.body) if reply else (None, None)
        self.record_answer(exchange, status, body, time.monotonic() - started)
        if fault.drip:
            _send_endless_header(flask.request.environ["werkzeug.socket"], fault.drip, stopping)
            reply = None
        if reply is None:
            # Shut down, not closed: the server closes the socket itself and fails if it is closed already.
            with suppress(OSError):  # the other side has closed it first
                flask.request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return flask.Response(status=500)
        content, kind = reply.encoded()
        response = flask.Response(content, reply.status, {"Content-Type": kind, **reply.headers})
        if fault.trickle:
            response.response = _bytes_one_by_one(content, fault.trickle, stopping)
            response.headers["Content-Length"] = str(len(content))
        return response

    def _take_fault(self, call: str, arguments: Any) -> Fault:
        """Return the oldest fault for this call and count its use, or a fault without any effect."""
        with self.lock:
            for fault in self._faults:
                if fault.matches(call, arguments):
                    fault.used += 1
                    return fault
        return Fault(times=0)

    def _make_reply(self, incoming: Incoming, fault: Fault, stopping: threading.Event) -> Reply | None:
        """Return the answer, or None to drop the connection without one."""
        if (fault.delay and stopping.wait(fault.delay)) or fault.drop == "before":
            return None
        reply = Reply(fault.body, fault.status or 200, fault.headers)
        if fault.after or not fault.replaces_answer:
            with self.lock:
                real_reply = self.work(incoming)
            self.touch()
            reply = reply if fault.replaces_answer else real_reply
        if (fault.delay_after and stopping.wait(fault.delay_after)) or fault.drop == "after":
            return None
        return reply


def _reject_websites() -> flask.Response | None:
    """Refuse what a web page in a browser sends; the app and the tests send no Origin.

    Any website can make a browser send requests to 127.0.0.1, or let its own host name point there.
    """
    host = flask.request.host.rpartition(":")[0]
    if "Origin" in flask.request.headers or host not in ("127.0.0.1", "localhost"):
        return flask.Response("This is for programs on this computer only.\n", 403, mimetype="text/plain")
    return None


def _read_request() -> Incoming:
    request = flask.request
    request.get_data(parse_form_data=True)  # all of it: the next request follows on the same connection
    query = _flatten(request.args.to_dict(flat=False))
    content = request.get_json(silent=True) if request.is_json else _flatten(request.form.to_dict(flat=False))
    arguments = query | (content if isinstance(content, dict) else {})
    headers = dict(request.headers.items())
    return Incoming(request.method, request.path, headers, request.is_json, query, arguments)


def _flatten(fields: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return a field that was given once as its value, and any other as the list of its values."""
    return {key: values[0] if len(values) == 1 else values for key, values in fields.items()}


def _send_endless_header(connection: socket.socket, pause: float, stopping: threading.Event) -> None:
    """Send an answer whose first header never ends, until the other side closes the connection."""
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        while not stopping.wait(pause):
            connection.sendall(b"x")


def _bytes_one_by_one(content: bytes, pause: float, stopping: threading.Event) -> Iterator[bytes]:
    for position in range(len(content)):
        if stopping.wait(pause):
            return
        yield content[position : position + 1]
