"""How the app is served: one process, many threads, and the background in it.

Settings and ledger are checked here, before any fork, so that a mistake ends the start at once.
"""

import gc
import os
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from typing import Any

from ledger.database import LedgerError
from ledger.ledger import Ledger
from operations.logs import log_to_stderr
from operations.serving import Logger, Worker
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
            new = prepare()
            if (new.host, new.port) != (settings.host, settings.port):
                raise Mistake("HOST and PORT can change only when the app is stopped and started again.")
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
