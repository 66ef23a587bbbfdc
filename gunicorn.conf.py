"""How the app is served: one process, many threads, and the background in it.

Settings and ledger are checked here, before any fork, so that a mistake ends the start at once.
"""

import sys
from pathlib import Path
from typing import Any

from database import LedgerError
from ledger import Ledger
from settings import SettingsError, load

try:
    settings = load()
    ledger = Ledger(settings.database_url)
    ledger.prepare()
    ledger.close()
except SettingsError as error:
    print("The app cannot start. Please mend these settings:", file=sys.stderr)
    print(*(f"- {problem}" for problem in error.problems), sep="\n", file=sys.stderr)
    raise SystemExit(1) from None
except LedgerError as error:
    print(f"The app cannot start: {error}. Please look at DATABASE_URL.", file=sys.stderr)
    raise SystemExit(1) from None

bind = f"0.0.0.0:{settings.port}"
workers = 1
worker_class = "gthread"
threads = 100  # Slack waits for three seconds, so nobody may stand in a queue behind a slow call
graceful_timeout = 30
keepalive = 5
control_socket_disable = True
if Path("/dev/shm").is_dir():  # noqa: S108 - gunicorn makes a file there and unlinks it at once
    worker_tmp_dir = "/dev/shm"  # noqa: S108 - in a container with a read-only root there is no /tmp
loglevel = "warning"


# The app is imported in the worker alone: a mistake in the settings is told before that takes its time.


def post_worker_init(worker: Any) -> None:
    from app import log_to_stderr, parts

    log_to_stderr(settings.log_level)
    parts(worker.wsgi).start()


def worker_exit(server: Any, worker: Any) -> None:
    from app import parts

    if getattr(worker, "wsgi", None):
        parts(worker.wsgi).stop()
