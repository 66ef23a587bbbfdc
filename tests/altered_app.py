"""Serves the app as `python app.py` does, but with other constants, and stopped where a test says.

    python tests/altered_app.py worker.LEASE_SECONDS=2.0 …

When the file named by STOP_FILE holds the beginning of a request ("POST /api/…") or of an SQL statement, the
process takes the file away and stops itself (SIGSTOP): right before it sends that request, or right after
that statement, in the middle of its transaction.
"""

import http.client
import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from gunicorn.app.wsgiapp import run  # type: ignore[import-untyped] # it has no types
from sqlalchemy import Engine, event

sys.path.insert(0, os.getcwd())


def stop_if_asked(what: str) -> None:
    file = Path(os.environ.get("STOP_FILE", "/nowhere"))
    if file.exists() and what.startswith(file.read_text()):
        file.unlink()
        os.kill(os.getpid(), signal.SIGSTOP)


def putrequest(self: http.client.HTTPConnection, method: str, url: str, *args: Any, **kwargs: Any) -> None:
    stop_if_asked(f"{method} {url}")
    original(self, method, url, *args, **kwargs)


original = http.client.HTTPConnection.putrequest
http.client.HTTPConnection.putrequest = putrequest  # type: ignore[method-assign] # it wraps the original
event.listen(Engine, "after_cursor_execute", lambda _, __, statement, *___: stop_if_asked(statement))

for setting in sys.argv[1:]:
    place, _, value = setting.partition("=")
    module, _, name = place.partition(".")
    setattr(importlib.import_module(module), name, float(value))
sys.argv[1:] = ["-c", "gunicorn.conf.py", "app:create_app()"]
run()
