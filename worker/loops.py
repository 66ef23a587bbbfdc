"""The background threads: one process at a time polls Conveyor, carries out decisions and draws cards."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from deadline import Calls
from ledger.database import Database, LedgerError
from worker.decide import Decide
from worker.lease import Lease

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 4.0
STUCK_SECONDS = 300.0  # without the end of a round, or of a call within one
FULL_SECONDS = 120.0  # every place for calls is taken: by now each should have ended
STOP_SECONDS = 7.0
IDLE_SECONDS = 0.5
FAILED_SECONDS = 5.0
ALARM_SECONDS = 1.0
POLL_AGAIN_SECONDS = 1.0  # between the beginnings of two polls, however many webhooks there are
WAKE_UP_SECONDS = 0.2  # between two looks for a webhook's wake-up, which another process may have received


class Loop(Protocol):
    def round(self) -> float:
        """Do what is due; return the seconds until something may be due again."""


class Worker:
    """The threads of one process. `refresh` and `people` run in each, the other loops in that with the lease.

    `let_pass` returns when clicks need no attention. `poll_wanted` says whether a webhook came; without it no
    webhook is waited for.
    """

    def __init__(
        self,
        database: Database,
        let_pass: Callable[[], object],
        lease: Lease,
        calls: Sequence[Calls],
        refresh: Loop,
        people: Loop,
        groups: Loop,
        watch: Loop,
        decide: Decide,
        show: Loop,
        poll_wanted: Callable[[], bool] | None = None,
    ) -> None:
        self._database = database
        self._poll_wanted = poll_wanted
        self._let_pass = let_pass
        self._calls = calls
        self._decide = decide
        self._lease = lease
        self._stopping = threading.Event()
        self._rounds: dict[str, float] = {}
        self._calls_ended: dict[str, float] = {}  # when the last call of the present round did
        for each in calls:
            each.ended = self._go_on
        self._poll_began = 0.0
        self._threads = [
            threading.Thread(target=self._keep_lease, name="heartbeat", daemon=True),
            threading.Thread(target=self._set_alarm, name="alarm", daemon=True),
            *(
                threading.Thread(target=self._run, args=args, name=args[0], daemon=True)
                for args in (
                    ("refresh", refresh, False, self._stopping.wait),
                    ("people", people, False, self._stopping.wait),
                    ("groups", groups, True, self._stopping.wait),
                    ("watch", watch, True, self._wait_for_wake_up if poll_wanted else self._stopping.wait),
                    ("decide", decide, True, None),
                    ("show", show, True, None),
                )
            ),
        ]

    @property
    def owner(self) -> str:
        """The name of this process in the lease and the trail."""
        return self._lease.owner

    def start(self) -> None:
        self._rounds = {thread.name: time.monotonic() for thread in self._threads}
        for thread in reversed(self._threads):  # the one that looks at the others last
            thread.start()

    def stop(self) -> None:
        """Let the loops finish their round and the decisions their step, then hand over the lease."""
        self._stopping.set()
        self._database.wake()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=STOP_SECONDS)
        self._decide.stop()
        self._lease.release()

    def is_alive(self) -> bool:
        return not self._stuck()

    def _stuck(self) -> list[str]:
        """Return the names of loops that died or ended nothing for too long, and of calls that all hang."""
        oldest = time.monotonic() - STUCK_SECONDS
        loops = [
            thread.name
            for thread in self._threads
            if not thread.is_alive()
            or max(self._rounds[thread.name], self._calls_ended.get(thread.name, 0.0)) < oldest
        ]
        return loops + [calls.name for calls in self._calls if calls.full_seconds() > FULL_SECONDS]

    def _go_on(self) -> None:
        """Keep that a call of this thread has ended: a round of many calls takes long, and is not stuck."""
        if (name := threading.current_thread().name) in self._rounds:
            self._calls_ended[name] = time.monotonic()

    def _keep_lease(self) -> None:
        while not self._stopping.is_set():
            with suppress(LedgerError):  # the database has logged it
                self._lease.tend()
            self._rounds["heartbeat"] = time.monotonic()
            stuck = self._stuck()
            if stuck and not self._stopping.is_set():
                # Nothing in this process can fix that; a new one begins where the ledger stands.
                log.critical("stuck=%s process=ends", ",".join(stuck))
                os._exit(1)
            self._stopping.wait(HEARTBEAT_SECONDS if self._lease.held() else IDLE_SECONDS)

    def _set_alarm(self) -> None:
        """Let the kernel end this process if it is stopped until another may work.

        A look at the lease before a write is not enough: a process can be stopped right after the look. When
        it wakes up, the alarm ends it before it does anything more.
        """
        while not self._stopping.is_set():
            signal.setitimer(signal.ITIMER_REAL, self._lease.seconds_left())
            self._rounds["alarm"] = time.monotonic()
            self._stopping.wait(ALARM_SECONDS)
        signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _run(self, name: str, loop: Loop, needs_lease: bool, wait: Callable[[float], object] | None) -> None:
        while not self._stopping.is_set():
            self._let_pass()
            changes = self._database.changes
            seconds = IDLE_SECONDS
            try:
                if name == "watch":
                    self._poll_began = time.monotonic()
                if not needs_lease or self._lease.held():
                    seconds = loop.round()
                self._rounds[name] = time.monotonic() + seconds
            except LedgerError as error:
                if not self._database.problem:  # it has not logged that already
                    log.error("loop=%s cause=%r", name, str(error))
                self._rounds[name] = time.monotonic()
                seconds = FAILED_SECONDS
            except Exception:
                # A round that always fails is a stuck loop, and ends the process in the end.
                self._calls_ended.pop(name, None)
                log.exception("loop=%s round=failed", name)
                seconds = FAILED_SECONDS
            if wait:
                wait(seconds)
            else:
                self._database.wait_for_change(changes, seconds)

    def _wait_for_wake_up(self, seconds: float) -> None:
        """Wait so long, or until a webhook says that there is news; a second at least between two polls."""
        until = time.monotonic() + seconds
        self._stopping.wait(max(0.0, self._poll_began + POLL_AGAIN_SECONDS - time.monotonic()))
        while not self._stopping.is_set():
            with suppress(LedgerError):  # the database has logged it
                if self._lease.held() and self._poll_wanted and self._poll_wanted():
                    return
            if time.monotonic() >= until:
                return
            self._stopping.wait(WAKE_UP_SECONDS)
