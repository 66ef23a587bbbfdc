"""TCP servers that answer slowly, wrongly or not at all, and an address at which connecting hangs."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import cycle, repeat

# The parts of the answer to a request. Without parts, the connection stays open until the client closes it.
Say = Callable[[bytes], Iterable[bytes]]

DRIP_SECONDS = 0.2
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ENDLESS_BYTES = 600_000_000  # a client that keeps even all of this does not bring the machine down


def nothing(request: bytes) -> Iterable[bytes]:
    """Accept the connection and answer nothing."""
    return ()


def dripping(start: bytes, then: bytes) -> Say:
    """Answer `start` at once, and then `then` again and again, slowly, one byte at a time."""

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
    """Answer JSON that does not end, as fast as the client reads it."""
    yield HEAD + b'\r\n{"ok": true, "user": "'
    chunk = b"x" * 500_000
    yield from repeat(chunk, ENDLESS_BYTES // len(chunk))


def endless_redirect(request: bytes) -> Iterator[bytes]:
    """Answer a redirect whose body does not end."""
    yield HEAD.replace(b"200 OK", b"302 Found") + b"Location: http://127.0.0.1:9/\r\n\r\n"
    chunk = b"x" * 500_000
    yield from repeat(chunk, ENDLESS_BYTES // len(chunk))


def saying(body: bytes) -> Say:
    """Answer with this body, at once."""
    return lambda request: (HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body,)


class RawPeer:
    """Accepts connections, reads a request on each and answers as it is told to. `open` counts connections.

    With `stays` it keeps a connection open for more requests, as most servers do.
    """

    def __init__(self, say: Say = nothing, *, stays: bool = False) -> None:
        self.say = say
        self.stays = stays
        self.heard: list[bytes] = []  # what each connection received, in the order in which they were opened
        self.open = 0
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, name="peer", daemon=True)]
        self._threads[0].start()

    def stop(self) -> None:
        """Stop listening, and close every connection."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self.hang_up()
        for thread in self._threads:
            thread.join()

    def hang_up(self) -> None:
        """Close every connection."""
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with self._listener, suppress(OSError):  # the listener was closed by `stop`
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
        with suppress(OSError):  # the client closed the connection
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
        """Return a whole request, or what came of it before the client closed the connection."""
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
    """A proxy in front of a stand-in. Paths in `instead` are not passed on but answered as said there."""

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
            # Only one request goes over this connection, so the answer ends where the connection ends.
            behind.sendall(request.replace(b"Connection: keep-alive", b"Connection: close"))
            # The client has to know too, or its next request may meet a connection that is being closed.
            yield behind.recv(65_536).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            while part := behind.recv(65_536):
                yield part


class DeadEnd:
    """An address at which connecting hangs: its backlog is full, and nobody accepts the connections."""

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
        """Refuse connections from now on, and also those that hang."""
        for each in (self._listener, *self._waiting):
            each.close()
