"""Starts the real app quickly, with shorter waits, and kills or stops it at a chosen commit or outgoing call.

One process imports everything (multiprocessing's fork server). Each start is a fork of it, which then does
what `python app.py` does. Nothing in the app itself is made for this.
"""

import gc
import http.client
import importlib
import multiprocessing
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

import app
from connections import trusted_certificates
from look_alikes import look_alike

# Imported and read once, and not at each start.
TRUSTED = trusted_certificates()
look_alike("acme.com", ["acme.org"])  # reads the list of public suffixes
for name in ("operations.command_line", "operations.serving", "gunicorn.workers.gthread"):
    importlib.import_module(name)
GUNICORN: Any = importlib.import_module("gunicorn.app.wsgiapp")

ROOT = Path(__file__).resolve().parents[2]

LONGEST_PAUSE = 0.8
REAL_TIME = time.time


def pause(failures: int) -> float:
    """Return how long to wait after so many failures, in place of worker.back_off.pause."""
    return min(0.05 * 2.0 ** min(failures, 20), LONGEST_PAUSE)


def moved_time(file: Path) -> float:
    """Return the time of day, moved by so many seconds as the file contains, in place of time.time."""
    return REAL_TIME() + float(file.read_text())


# How long the app waits, in seconds: short enough for hundreds of runs. What is longer than another stays so.
SHORT: dict[str, Any] = {
    "app.BACKGROUND_SECONDS": 1.2,
    "conveyor_client.CALL_SECONDS": 1.2,
    "connections.SILENCE_SECONDS": 1.0,
    "worker.evidence.AGREE_SECONDS": 3.0,
    "worker.decide.CONFIRM_SECONDS": 1.4,
    "worker.decide.TRYING_SECONDS": 6.0,
    "worker.decide.IDLE_SECONDS": 0.1,
    "worker.decide.pause": pause,
    "ledger.decisions.PROGRESS_GRACE": 0.1,
    "listeners.answers.TELL_SECONDS": 1.0,
    "worker.companies.COMPANY_SECONDS": 0.5,
    "worker.interest.ASK_SECONDS": 0.5,
    "worker.show.DIRECT_SECONDS": 0.05,
    "worker.show.IDLE_SECONDS": 0.1,
    "worker.show.LONGEST_OUTAGE_PAUSE": LONGEST_PAUSE,
    "worker.show.LOOK_AGAIN_SECONDS": 1.4,
    "worker.show.POST_SECONDS": 0.05,
    "worker.show.REDRAW_SECONDS": 0.05,
    "worker.show.SWEEP_SECONDS": 3.0,
    "worker.sweep.ASK_SECONDS": 0.3,
    "worker.show.pause": pause,
    "worker.watch.LONGEST_PAUSE": LONGEST_PAUSE,
    "worker.watch.READ_AGAIN_SECONDS": 1.0,
    "worker.loops.ALARM_SECONDS": 0.1,
    "worker.loops.HEARTBEAT_SECONDS": 0.2,
    "worker.loops.FAILED_SECONDS": 0.2,
    "worker.refresh.RETRY_SECONDS": 0.2,
    "worker.lease.HELD_SECONDS": 0.75,
    "worker.loops.IDLE_SECONDS": 0.1,
    "worker.lease.LEASE_SECONDS": 1.0,
}
# The waits of most tests: cards are posted quickly, and another process soon takes over from a dead one.
BRISK: dict[str, Any] = {
    "listeners.answers.CARD_SECONDS": 8.0,  # a busy machine draws cards late, and nobody has to be told so
    "worker.evidence.AGREE_SECONDS": 4.0,
    "worker.decide.CONFIRM_SECONDS": 2.0,
    "worker.show.LOOK_AGAIN_SECONDS": 2.0,
    "worker.show.POST_SECONDS": 0.05,
    "worker.show.REDRAW_SECONDS": 0.05,
    "worker.loops.HEARTBEAT_SECONDS": 1.2,
    "worker.lease.HELD_SECONDS": 4.5,
    "worker.lease.LEASE_SECONDS": 6.0,
}

When = Literal["before", "after"]


@dataclass(frozen=True)
class Kill:
    """SIGKILL before or after the `number`-th event of this name; without a name, all events count."""

    event: str
    number: int
    when: When

    def __str__(self) -> str:
        return f"{self.when} {self.number} {self.event}"


@dataclass(frozen=True)
class Start:
    """One start of the app: its environment, where its output goes, its waits, and what happens to it.

    The name of every commit and outgoing call is written to the file `events`, one a line. When the file
    `stop` contains the beginning of a request ("POST /api/…") or of an SQL statement, the process deletes
    that file and stops itself (SIGSTOP): right before it sends that request, or right after that statement,
    in the middle of its transaction. While the file `slow` exists, each look-up of a name takes as many
    seconds as it contains.
    """

    environment: Mapping[str, str]
    output: Path
    waits: Mapping[str, Any]
    events: Path | None = None
    kill: Kill | None = None
    stop: Path | None = None
    slow: Path | None = None
    arguments: tuple[str, ...] = ()


@dataclass
class Events:
    """Counts and lists commits and outgoing calls, and kills or stops the process at one of them."""

    start: Start
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def before(self, name: str) -> tuple[str, int]:
        """Count and list an event that is about to happen; return its name and its number."""
        kill = self.start.kill
        with self.lock:
            self.counts[name] += 1
            self.counts[""] += 1
            number = self.counts[kill.event if kill and not kill.event else name]
            if self.start.events:
                with self.start.events.open("a") as file:
                    file.write(name + "\n")
            self.die_at(name, number, "before")
        return name, number

    def after(self, name: str, number: int) -> None:
        self.die_at(name, number, "after")

    def die_at(self, name: str, number: int, when: When) -> None:
        kill = self.start.kill
        if kill and kill.event in ("", name) and (kill.number, kill.when) == (number, when):
            os.killpg(0, signal.SIGKILL)

    def stop_at(self, what: str) -> None:
        """Stop this process if the file `stop` names this request or statement."""
        file = self.start.stop
        if file and file.exists() and what.startswith(file.read_text()):
            file.unlink()
            os.kill(os.getpid(), signal.SIGSTOP)

    def watch(self) -> None:
        """Observe every commit and statement of SQLAlchemy, and every HTTP call of this process."""
        commit: Callable[..., None] = DefaultDialect.do_commit
        putrequest = http.client.HTTPConnection.putrequest
        getresponse = http.client.HTTPConnection.getresponse

        def committed(dialect: DefaultDialect, connection: Any) -> None:
            number = self.before(f"commit {_writer()}")
            commit(dialect, connection)
            self.after(*number)

        def sent(connection: Any, method: str, url: str, *args: Any, **more: Any) -> None:
            self.stop_at(f"{method} {url}")
            connection.counted = self.before(f"{method} {_place(url)}")
            putrequest(connection, method, url, *args, **more)

        def answered(connection: Any) -> Any:
            try:
                return getresponse(connection)
            finally:
                self.after(*connection.counted)  # also if no answer came in time

        connection = http.client.HTTPConnection
        for owner, name, wrapped in (
            (DefaultDialect, "do_commit", committed),
            (connection, "putrequest", sent),
            (connection, "getresponse", answered),
        ):
            setattr(owner, name, wrapped)
        event.listen(Engine, "after_cursor_execute", lambda _, __, statement, *___: self.stop_at(statement))


def _writer() -> str:
    """Return the name of the ledger's method that is committing."""
    for frame, _ in traceback.walk_stack(None):
        file, name = Path(frame.f_code.co_filename), frame.f_code.co_name
        is_shared = file.name == "database.py" and name != "prepare"  # what every method uses
        if file.parent == ROOT / "ledger" and not is_shared and not name.startswith("_"):
            return name
    return "?"


def _place(url: str) -> str:
    """Return the path of an address, without the parts that differ from run to run."""
    path = url.partition("?")[0].removeprefix("/api/v2").removeprefix("/api/")
    return re.sub(r"^/actions/.*", "response_url", path)


def serve(start: Start) -> None:
    """Run the app in this process, in a session of its own."""
    gc.freeze()  # else the garbage collector copies all memory that is shared with the fork server
    os.setsid()
    output = os.open(start.output, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(start.environment)
    ssl.create_default_context = lambda *_, **__: TRUSTED
    if "REQUESTS_CA_BUNDLE" in start.environment:
        trusted_certificates.cache_clear()  # it may not be readable
    for name, value in start.waits.items():
        module, _, constant = name.rpartition(".")
        found = importlib.import_module(module)
        assert hasattr(found, constant), f"{name} does not exist anymore"
        setattr(found, constant, value)
    if start.events or start.kill or start.stop:
        Events(start).watch()
    if start.slow:
        look_up_slowly(start.slow)
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.argv = ["app.py", *start.arguments]
    os.execv = become_gunicorn
    app.main()


def become_gunicorn(_: object, command: Any) -> NoReturn:
    """Run gunicorn in this process, in place of os.execv, which would undo all that was prepared here."""
    sys.argv = command[2:]
    GUNICORN.run()
    sys.exit()


def look_up_slowly(file: Path) -> None:
    """Make each look-up of a name take as many seconds as the file contains, while it exists."""

    look_up = socket.getaddrinfo

    def slowly(*args: Any, **more: Any) -> Any:
        with suppress(OSError, ValueError):  # the file does not exist, or is not written yet
            time.sleep(float(file.read_text()))
        return look_up(*args, **more)

    socket.getaddrinfo = slowly


def end_with_parent() -> None:
    """End this process with the tests, so that interrupted tests leave no app behind."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.killpg(0, signal.SIGKILL)


class Forked:
    """The app's process, with the part of Popen's interface that is used here."""

    def __init__(self, start: Start) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.support.launcher"])
        self._process = context.Process(target=serve, args=(start,), daemon=True)
        self._process.start()
        assert self._process.pid
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired("the app", timeout or 0)
        return status
