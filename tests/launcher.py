"""Starts the real app quickly, with short waits, and kills it at a chosen commit or outgoing call.

A process that has imported everything (multiprocessing's fork server) forks one for each start: gunicorn,
with the app's own configuration, as `python app.py` runs it. The app knows nothing of all this.
"""

import http.client
import importlib
import multiprocessing
import os
import re
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.engine.default import DefaultDialect

# Imported once, not at each start.
importlib.import_module("app")
importlib.import_module("gunicorn.workers.gthread")
gunicorn = importlib.import_module("gunicorn.app.wsgiapp")

ROOT = Path(__file__).resolve().parent.parent

# The app's waits in seconds, short enough for hundreds of runs, in the same order of length.
SHORT: dict[str, float] = {
    "app.LISTENER_SECONDS": 1.0,
    "app.BACKGROUND_SECONDS": 1.0,
    "channel.CALL_SECONDS": 1.2,
    "conveyor_client.CALL_SECONDS": 1.2,
    "conveyor_client.READ_SECONDS": 1.0,
    "decide.CONFIRM_SECONDS": 1.4,
    "decide.TRYING_SECONDS": 6.0,
    "decide.IDLE_SECONDS": 0.05,
    "ledger.PROGRESS_GRACE": 0.1,
    "listeners.OPEN_SECONDS": 1.0,
    "answers.TELL_SECONDS": 1.0,
    "memory.COMPANY_SECONDS": 0.5,
    "reviewers.LOOKUP_SECONDS": 1.0,
    "show.IDLE_SECONDS": 0.05,
    "show.LONGEST_OUTAGE_PAUSE": 0.8,
    "show.LOOK_AGAIN_SECONDS": 1.4,
    "show.POST_SECONDS": 0.05,
    "show.SWEEP_SECONDS": 3.0,
    "watch.LONGEST_PAUSE": 0.8,
    "watch.READ_AGAIN_SECONDS": 1.0,
    "worker.BEAT_SECONDS": 0.2,
    "worker.FAILED_SECONDS": 0.2,
    "worker.GREET_AGAIN_SECONDS": 0.2,
    "worker.HELD_SECONDS": 0.75,
    "worker.IDLE_SECONDS": 0.05,
    "worker.LEASE_SECONDS": 1.0,
}
LONGEST_PAUSE = 0.8

When = Literal["before", "after"]


@dataclass(frozen=True)
class Kill:
    """SIGKILL at the `number`-th event of this name (any name if it is empty), before or after it."""

    event: str
    number: int
    when: When

    def __str__(self) -> str:
        return f"{self.when} {self.number} {self.event}"


@dataclass
class Events:
    """Counts commits and outgoing calls, writes them down, and kills the process at one of them."""

    log: Path
    kill: Kill | None
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def before(self, event: str) -> tuple[str, int]:
        with self.lock:
            self.counts[event] += 1
            self.counts[""] += 1
            number = self.counts[self.kill.event if self.kill and not self.kill.event else event]
            with self.log.open("a") as file:
                file.write(event + "\n")
            self.die_at(event, number, "before")
        return event, number

    def after(self, event: str, number: int) -> None:
        self.die_at(event, number, "after")

    def die_at(self, event: str, number: int, when: When) -> None:
        kill = self.kill
        if kill and kill.event in ("", event) and (kill.number, kill.when) == (number, when):
            os.killpg(0, signal.SIGKILL)

    def watch(self) -> None:
        """Hear of every commit of SQLAlchemy and every HTTP call of this process."""
        commit: Callable[..., None] = DefaultDialect.do_commit
        putrequest = http.client.HTTPConnection.putrequest
        getresponse = http.client.HTTPConnection.getresponse

        def committed(dialect: DefaultDialect, connection: Any) -> None:
            event = self.before(f"commit {_writer()}")
            commit(dialect, connection)
            self.after(*event)

        def sent(connection: Any, method: str, url: str, *args: Any, **more: Any) -> None:
            connection.counted = self.before(f"{method} {_place(url)}")
            putrequest(connection, method, url, *args, **more)

        def answered(connection: Any) -> Any:
            response = getresponse(connection)
            self.after(*connection.counted)
            return response

        connection = http.client.HTTPConnection
        for owner, name, wrapped in (
            (DefaultDialect, "do_commit", committed),
            (connection, "putrequest", sent),
            (connection, "getresponse", answered),
        ):
            setattr(owner, name, wrapped)


def _writer() -> str:
    """The method of the ledger that commits."""
    for frame, _ in traceback.walk_stack(None):
        code = frame.f_code
        ours = code.co_filename.endswith(("/ledger.py", "/memory.py")) or code.co_name == "prepare"
        if ours and not code.co_name.startswith("_"):
            return code.co_name
    return "?"


def _place(url: str) -> str:
    """The path of an address, without what differs from run to run."""
    path = url.partition("?")[0].removeprefix("/api/v2").removeprefix("/api/")
    return re.sub(r"^/actions/.*", "response_url", path)


def pause(failures: int) -> float:
    return min(0.05 * 2.0 ** min(failures, 20), LONGEST_PAUSE)


def serve(
    environment: Mapping[str, str], waits: Mapping[str, float], log: Path, event_log: Path, kill: Kill | None
) -> None:
    """Be the app, in a session of its own."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    values: dict[str, Any] = {**waits, "decide.pause": pause, "show.pause": pause}
    for name, value in values.items():
        module, _, constant = name.partition(".")
        found = importlib.import_module(module)
        assert hasattr(found, constant), f"{name} is not there any more"
        setattr(found, constant, value)
    Events(event_log, kill).watch()
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv = ["gunicorn", "-c", "gunicorn.conf.py", "app:create_app()"]
    gunicorn.run()


def end_with_parent() -> None:
    """A driver that is interrupted leaves no app behind."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.killpg(0, signal.SIGKILL)


def launch(
    environment: Mapping[str, str], waits: Mapping[str, float], log: Path, event_log: Path, kill: Kill | None
) -> BaseProcess:
    """The app's process, forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.launcher"])
    arguments = (dict(environment), dict(waits), log, event_log, kill)
    process = context.Process(target=serve, args=arguments, daemon=True)
    process.start()
    return process
