"""Servers of bare TCP, which say what they like at their own pace, and addresses where nobody is."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import cycle, repeat

# What is said to a request. Whoever says nothing listens until the other side is gone.
Say = Callable[[bytes], Iterable[bytes]]

DRIP_SECONDS = 0.2
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS_BYTES = 600_000_000  # of an endless answer: even who takes all of it leaves this machine alive


def nothing(request: bytes) -> Iterable[bytes]:
    """Take the connection and be silent."""
    return ()


def dripping(start: bytes, then: bytes) -> Say:
    """Begin quickly, then say the rest again and again, a byte now and then."""

    def say(request: bytes) -> Iterator[bytes]:
        yield start
        for byte in cycle(then):
            time.sleep(DRIP_SECONDS)
            yield bytes([byte])

    return say


DRIPPING: Mapping[str, Say] = {
    "status": dripping(b"HTTP/1.1 200 ", b"O"),
    "headers": dripping(HEAD, b"X-More: x\r\n"),
    "body": dripping(HEAD + b"Content-Length: 100000\r\n\r\n", b"{"),
}


def endless(request: bytes) -> Iterator[bytes]:
    """JSON as fast as it is taken."""
    yield HEAD + b'\r\n{"ok": true, "user": "'
    chunk = b"x" * 500_000
    yield from repeat(chunk, ENDLESS_BYTES // len(chunk))


def saying(body: bytes) -> Say:
    """A whole answer."""
    return lambda request: (HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body,)


class RawPeer:
    """Takes connections, hears a request on each and says something. It knows how many are open.

    With `stays` it takes more requests on the same connection, as the servers of the world do.
    """

    def __init__(self, say: Say = nothing, *, stays: bool = False) -> None:
        self.say = say
        self.stays = stays
        self.heard: list[bytes] = []  # on each connection, in the order in which they came
        self.open = 0
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, name="peer", daemon=True)]
        self._threads[0].start()

    def stop(self) -> None:
        """Close everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with self._listener, suppress(OSError):  # closed from here
            while True:
                connection, _ = self._listener.accept()
                with self._lock:
                    self.open += 1
                    self.heard.append(b"")
                    self._connections.add(connection)
                    place = len(self.heard) - 1
                thread = threading.Thread(
                    target=self._talk, args=(connection, place), name="peer", daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _talk(self, connection: socket.socket, place: int) -> None:
        with suppress(OSError):  # the other side has gone
            while request := self._hear(connection, place):
                said = False
                for part in self.say(request):
                    connection.sendall(part)
                    said = True
                if said and not self.stays:
                    break
        with self._lock:
            self._connections.discard(connection)
            connection.close()
            self.open -= 1

    def _hear(self, connection: socket.socket, place: int) -> bytes:
        """A whole request, or whatever comes before the other side goes."""
        request = b""
        while not _is_whole(request) and (more := connection.recv(65_536)):
            request += more
            self.heard[place] += more
        return request


def _is_whole(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


class Gate(RawPeer):
    """In front of a stand-in: passes on what comes, but for paths to which something is said `instead`."""

    def __init__(self, port: int) -> None:
        super().__init__(self._pass_on)
        self.instead: dict[str, Say] = {}
        self._behind = port

    def _pass_on(self, request: bytes) -> Iterator[bytes]:
        line = request.partition(b"\r\n")[0].decode()
        for path, say in list(self.instead.items()):
            if path in line:
                yield from say(request)
                return
        with socket.create_connection(("127.0.0.1", self._behind)) as behind:
            # What is passed on is one request, so that its answer ends with the connection.
            behind.sendall(request)
            while part := behind.recv(65_536):
                yield part


class DeadEnd:
    """An address where connecting hangs: those who came before wait there, and nobody lets them in."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = int(self._listener.getsockname()[1])
        self._waiting: list[socket.socket] = []
        with suppress(TimeoutError):
            while True:
                one = socket.socket()
                self._waiting.append(one)
                one.settimeout(0.1)
                one.connect(("127.0.0.1", self.port))

    def stop(self) -> None:
        """Refuse connections, those that hang as well."""
        for each in (self._listener, *self._waiting):
            each.close()
