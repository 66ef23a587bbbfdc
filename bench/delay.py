"""A distance on loopback: bytes arrive late, and a new connection takes a round trip before its first."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType


class Delay:
    """Passes connections on to a port for as long as the `with` block lasts, half of `round_trip` each way.

    On loopback a connection is open at once. So its first bytes wait for the round trip that opening it would
    take. TLS costs its own round trips, since its messages are passed on like all others.
    """

    def __init__(self, port: int, round_trip: float) -> None:
        self._behind = port
        self._round_trip = round_trip
        self._open: set[asyncio.StreamWriter] = set()
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> "Delay":
        self._thread.start()
        self.port = self._ready.result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def cut(self) -> None:
        """Close every connection, as a load balancer closes those that it finds idle for too long."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1000)
        self._ready.set_result(int(server.sockets[0].getsockname()[1]))
        await self._over.wait()
        server.close()
        await self._close()

    async def _close(self) -> None:
        for writer in self._open:
            writer.close()
        self._open.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened_at = self._loop.time() + self._round_trip
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        self._open |= {writer, far_writer}
        ways = (reader, far_writer), (far_reader, writer)
        with suppress(asyncio.CancelledError):  # the end of the `with` block
            await asyncio.gather(*(self._pass_on(*way, opened_at) for way in ways))

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, opened_at: float
    ) -> None:
        """Deliver what comes from the reader half a round trip later, in its order, and the end as well."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due_at, data = await under_way.get()
                await asyncio.sleep(due_at - self._loop.time())
                if not data:
                    break
                writer.write(data)
            writer.close()
            self._open.discard(writer)

        delivering = asyncio.ensure_future(deliver())
        data = b"more"
        while data:
            with suppress(ConnectionError):
                data = b""
                data = await reader.read(65_536)
            under_way.put_nowait((max(self._loop.time(), opened_at) + self._round_trip / 2, data))
        await delivering
