"""How gunicorn serves the app: one process with many threads, which also runs the background work.

Settings and ledger are checked before anything is served, so that a mistake stops the start at once.
"""

import gc
import os
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from typing import Any

from operations.preparing import Mistake, prepare
from operations.serving import Logger, Worker

HAS_TERMINAL = sys.stderr.isatty()

try:
    settings = prepare()
except Mistake as mistake:
    raise SystemExit(f"The app cannot start: {mistake}") from None


def every_address() -> str:
    """Return the address that accepts IPv6 and IPv4, or only IPv4 on machines where no address does both."""
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::", 0))
        if not probe.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            return "::"
    return "0.0.0.0"  # noqa: S104 - Slack's requests may arrive on any interface; HOST narrows that


host = settings.host or every_address()
bind = f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"
workers = 1
worker_class = Worker
threads = 100  # Slack waits three seconds, so no click may queue behind a slow call
# Together with the sockets of the calls in app.py, below the usual limit of 1,024 open files.
worker_connections = 600
graceful_timeout = 10
# One request per connection. A proxy that reuses connections could send a click over one that is just being
# closed, and answer 502; and the rest of somebody's request could be read as the next request.
keepalive = 0
control_socket_disable = True
if os.access("/dev/shm", os.W_OK):  # noqa: S108 - gunicorn creates a file there and unlinks it at once
    worker_tmp_dir = "/dev/shm"  # noqa: S108 - in a container with a read-only root there is no /tmp
else:
    try:
        worker_tmp_dir = tempfile.gettempdir()
    except FileNotFoundError:
        raise SystemExit(
            "The app cannot start: it needs to write one small file to /dev/shm or /tmp."
        ) from None
loglevel = "warning"
logger_class = Logger


def on_starting(server: Any) -> None:
    """Make SIGHUP harmless: by default gunicorn ends when the new settings are wrong."""
    if server.cfg.preload_app:
        raise SystemExit(
            "The app cannot start with --preload: its threads must start in the process that serves."
        )
    reload = server.reload

    def reload_if_right() -> None:
        if HAS_TERMINAL and not sys.stderr.isatty():
            os.kill(os.getpid(), signal.SIGTERM)  # the terminal was closed, and the log with it
            return
        try:
            new = prepare()
            if (new.host, new.port) != (settings.host, settings.port):
                raise Mistake("HOST and PORT change only when you stop the app and start it again.")
        except Mistake as mistake:
            print(f"The app keeps its current settings: {mistake}", file=sys.stderr)
        else:
            reload()

    server.reload = reload_if_right


# Imported inside the hooks: the main process needs none of it, and would keep its memory.


def post_worker_init(worker: Any) -> None:
    from app import parts

    # Objects that live as long as the process: scanning them for garbage held up every click for 50 ms.
    gc.freeze()
    parts(worker.wsgi).start(" ".join(map(str, worker.sockets)))


def worker_exit(server: Any, worker: Any) -> None:
    from app import parts

    if getattr(worker, "wsgi", None):
        parts(worker.wsgi).stop()
