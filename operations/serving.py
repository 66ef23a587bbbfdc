"""How gunicorn treats connections: one request each, and nobody waits behind a client that sends nothing."""

import logging
import os
import selectors
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped]  # it has no types
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]  # as above

REQUEST_SECONDS = 2.0  # for a whole request to arrive; Slack itself gives up after three
HURRIED_SECONDS = 0.15  # the same while a quarter of the threads is taken: most may only be waiting for bytes
SILENT_CONNECTIONS = 200  # that have not sent anything yet; beyond this number the oldest are closed
UNREAD_BYTES = 10_000_000  # of what the app did not read, taken in and thrown away
ORPHAN_SECONDS = 1.0  # to end in order after gunicorn's main process is gone
LOOK_SECONDS = 0.25  # how often to check whether it is gone


class Connection(socket.socket):
    """A connection that counts as closed when the client has not sent its whole request in time."""

    deadline = 0.0

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.settimeout(max(0.0, self.deadline - time.monotonic()))
        try:
            return super().recv(size, flags)
        except (TimeoutError, BlockingIOError):
            return b""
        finally:
            self.setblocking(True)

    def hang_up(self) -> None:
        """Say that nothing more will be sent, and read until the other side hangs up as well.

        Closing a connection with bytes that nobody read resets it. A proxy that is still sending then loses
        the answer, and may count the app as failed. gunicorn reads less, in its main loop, where everybody
        else waits meanwhile; with the deadline at zero it does not wait.
        """
        left = UNREAD_BYTES
        with suppress(OSError):  # the other side is gone already
            self.shutdown(socket.SHUT_WR)
            while left > 0 and (part := self.recv(65_536)):
                left -= len(part)
        self.deadline = 0.0


class Logger(glogging.Logger):  # type: ignore[misc]  # as above
    """Makes gunicorn's log records look like the app's."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = list(
            logging.getLogger().handlers
        )  # a list of its own, to which gunicorn adds


class Worker(ThreadWorker):  # type: ignore[misc]  # as above
    """Keeps serving while some clients send nothing, or slowly, or too much, or do not hang up."""

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop in order at Ctrl-C too: gunicorn's own way waits for a lock that this very thread may hold."""
        self.handle_exit(sig, frame)

    def enqueue_req(self, conn: Any) -> None:
        """Let a connection wait without a thread until it sends something; gunicorn gives it one for 5 s."""
        if conn.data_ready:
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + REQUEST_SECONDS
        self.pending_conns.append(conn)
        readable = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, readable)
        if len(self.pending_conns) > SILENT_CONNECTIONS:
            self.pending_conns[0].timeout = 0.0  # the main loop closes it right away

    def handle(self, conn: Any) -> Any:
        conn.sock = Connection(fileno=conn.sock.detach())
        is_busy = self.nr_conns - len(self.pending_conns) > self.cfg.threads // 4
        conn.sock.deadline = time.monotonic() + (HURRIED_SECONDS if is_busy else REQUEST_SECONDS)
        result = super().handle(conn)
        if not result:  # it is over, and not only set aside
            conn.sock.hang_up()
        return result

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, LOOK_SECONDS))

    def is_parent_alive(self) -> bool:
        """Return whether gunicorn's main process lives; if not, free the port, and end soon."""
        if super().is_parent_alive():
            return True
        self.log.warning("The main process is gone, so this one ends.")
        self.alive = False
        self.set_accept_enabled(False)
        for listener in self.sockets:
            listener.close()
        self.cfg.set("graceful_timeout", 0)
        end = threading.Timer(ORPHAN_SECONDS, os._exit, [1])  # like a kill: nothing recorded is lost
        end.daemon = True
        end.start()
        return False
