"""How the app is served: one process, many threads, and the background in it.

Settings and ledger are checked here, before any fork, so that a mistake ends the start at once.
"""

import gc
import logging
import os
import selectors
import signal
import socket
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn import glogging  # type: ignore[import-untyped]  # it has no types
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]  # as above

from ledger.database import LedgerError
from ledger.ledger import Ledger
from operations.logs import log_to_stderr
from settings import Settings, SettingsError, load

HAS_TERMINAL = sys.stderr.isatty()


class Mistake(Exception):
    """The text says what is wrong and how to fix it, and can stand behind a colon."""


def prepare() -> Settings:
    """Return the settings, after making their ledger ready. Raises Mistake."""
    try:
        found = load()
        log_to_stderr(found.log_level)
        ledger = Ledger(found.database_url).database
        ledger.prepare()
        ledger.close()
    except SettingsError as error:
        problems = [f"- {problem}" for problem in error.problems]
        raise Mistake("\n".join(["some settings have to be fixed.", *problems])) from None
    except LedgerError as error:
        raise Mistake(f"{error}. {error.fix}") from None
    return found


try:
    settings = prepare()
except Mistake as mistake:
    raise SystemExit(f"The app cannot start: {mistake}") from None
REQUEST_SECONDS = 2.0  # for a whole request to arrive; Slack itself gives up after three
HURRIED_SECONDS = 0.15  # the same while a quarter of the threads is taken: most may only be waiting for bytes
SILENT_CONNECTIONS = 200  # that have not sent anything yet; beyond this number the oldest are closed
UNREAD_BYTES = 10_000_000  # of what the app did not read, taken in and thrown away
ORPHAN_SECONDS = 1.0  # to end in order after gunicorn's main process is gone
LOOK_SECONDS = 0.25  # between two looks at whether it is gone


class Connection(socket.socket):
    """A connection whose other side counts as gone when it has not sent its whole request in time."""

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
    """Lets gunicorn's own records look like those of the app."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers = logging.getLogger().handlers


class Worker(ThreadWorker):  # type: ignore[misc]  # as above
    """Serves everybody else while some send nothing, or slowly, or more than is read, or do not hang up."""

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
        is_busy = self.nr_conns - len(self.pending_conns) > threads // 4
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


def every_address() -> str:
    """Return the address that takes connections by IPv6 and IPv4, or by IPv4 where no address takes both."""
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        if not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            return "::"
    return "0.0.0.0"  # noqa: S104 - Slack's proxy may be anywhere; HOST says where it is not


host = settings.host or every_address()
bind = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
workers = 1
worker_class = Worker
threads = 100  # Slack waits for three seconds, so nobody may stand in a queue behind a slow call
# With the sockets of the calls in app.py, fewer than the 1,024 files that a process may usually open.
worker_connections = 600
graceful_timeout = 10
# A connection carries one request. A proxy that reuses connections would send a click over one that is just
# being closed, and answer 502; and what is left of somebody's request could be read as the next one.
keepalive = 0
control_socket_disable = True
if os.access("/dev/shm", os.W_OK):  # noqa: S108 - gunicorn makes a file there and unlinks it at once
    worker_tmp_dir = "/dev/shm"  # noqa: S108 - in a container with a read-only root there is no /tmp
else:
    try:
        worker_tmp_dir = tempfile.gettempdir()
    except FileNotFoundError:
        raise SystemExit("The app cannot start. It needs /dev/shm or /tmp for one small file.") from None
loglevel = "warning"
logger_class = Logger


def on_starting(server: Any) -> None:
    """Begin, and let SIGHUP do no harm: by itself gunicorn ends when the new settings are wrong."""
    if server.cfg.preload_app:
        raise SystemExit("The app cannot start with --preload: its threads begin in the process that serves.")
    reload = server.reload

    def reload_if_right() -> None:
        if HAS_TERMINAL and not sys.stderr.isatty():
            os.kill(os.getpid(), signal.SIGTERM)  # it was closed, and with it the log
            return
        try:
            prepare()
        except Mistake as mistake:
            print(f"The app goes on with the settings that it had: {mistake}", file=sys.stderr)
        else:
            reload()

    server.reload = reload_if_right


# Imported here and not above: by itself gunicorn tells a mistake in the settings before that takes its time.


def post_worker_init(worker: Any) -> None:
    from app import parts

    # What lives as long as the process: to look through it again for garbage held up every click for 50 ms.
    gc.freeze()
    parts(worker.wsgi).start()


def worker_exit(server: Any, worker: Any) -> None:
    from app import parts

    if getattr(worker, "wsgi", None):
        parts(worker.wsgi).stop()
