"""Sends many HTTP requests at once, from one thread over raw sockets.

The client must need far less CPU time than any server, so that it never limits what is measured.
"""

import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

ANSWER_SECONDS = 3.0  # Slack waits no longer


@dataclass(frozen=True)
class LoadResult:
    """The outcome of a number of requests. Times are in seconds, and `latencies` are sorted."""

    latencies: list[float]
    unanswered: int
    seconds: float
    client_cpu: float

    def percentile(self, percent: int) -> float:
        """Return the latency that this percentage of the requests stayed below."""
        return self.latencies[min(len(self.latencies) - 1, len(self.latencies) * percent // 100)]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds


def fire(port: int, at_once: int, requests: Sequence[bytes]) -> LoadResult:
    """Send all requests, `at_once` at a time, each over a connection of its own.

    A request counts as unanswered if no status 200 comes within ANSWER_SECONDS. Call this in a process of its
    own, since the CPU time is that of the whole process.
    """
    selector = selectors.DefaultSelector()
    waiting = iter(requests)
    latencies: list[float] = []
    unanswered = 0
    started, cpu = time.perf_counter(), time.process_time()

    def send_next() -> None:
        request = next(waiting, None)
        if request is not None:
            sent_at = time.perf_counter()
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(request)
            selector.register(connection, selectors.EVENT_READ, (sent_at, bytearray()))

    for _ in range(at_once):
        send_next()
    while selector.get_map():
        for key, _ in selector.select():
            connection = key.fileobj
            assert isinstance(connection, socket.socket)  # noqa: S101 - for the type checker
            sent_at, answer = key.data
            try:
                received = connection.recv(65536)
            except ConnectionError:
                received = b""
            answer += received
            if not received:
                seconds = time.perf_counter() - sent_at
                latencies.append(seconds)
                unanswered += seconds > ANSWER_SECONDS or not answer.startswith(b"HTTP/1.1 200")
                selector.unregister(connection)
                connection.close()
                send_next()
    return LoadResult(sorted(latencies), unanswered, time.perf_counter() - started, time.process_time() - cpu)
