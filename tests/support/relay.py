"""A relay in front of PostgreSQL that can fall silent without a goodbye, as a host without power does."""

import socket
import threading
from contextlib import suppress


class Relay:
    """Passes connections on. After `freeze` those that are open stay open, and nothing comes through them."""

    def __init__(self, port: int) -> None:
        self.is_silent = False  # whether new connections are accepted and then hear nothing
        self._behind = port
        self._frozen = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Pass nothing more on over the connections that are open now; new ones work."""
        self._frozen.set()
        self._frozen = threading.Event()

    def stop(self) -> None:
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed by `stop`
            while True:
                near = self._listener.accept()[0]
                self._sockets.append(near)
                if self.is_silent:
                    continue
                far = socket.create_connection(("127.0.0.1", self._behind))
                self._sockets.append(far)
                for source, target in ((near, far), (far, near)):
                    threading.Thread(
                        target=_pass_on, args=(source, target, self._frozen), daemon=True
                    ).start()


def _pass_on(source: socket.socket, target: socket.socket, frozen: threading.Event) -> None:
    """Send on whatever comes, and the end as well, until the relay is frozen."""
    with suppress(OSError):
        while data := source.recv(65_536):
            if frozen.is_set():
                return
            target.sendall(data)
        if not frozen.is_set():
            target.shutdown(socket.SHUT_WR)
