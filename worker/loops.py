"""The background: one process at a time watches Conveyor, carries out decisions and keeps cards true."""

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from deadline import Calls
from ledger.database import LedgerError
from ledger.ledger import Ledger
from listeners.clicks import Clicks
from worker.decide import Decide
from workspace.channel import Channel
from workspace.reviewers import Reviewers

log = logging.getLogger(__name__)

LEASE_SECONDS = 20.0
BEAT_SECONDS = 4.0
# The owner stops before another may begin, and a last call that it has begun is given some time to end.
HELD_SECONDS = LEASE_SECONDS * 0.75
STUCK_SECONDS = 300.0
FULL_SECONDS = 120.0  # every place for calls is taken: by now each should have ended
STOP_SECONDS = 7.0
IDLE_SECONDS = 0.5
FAILED_SECONDS = 5.0
GREET_SECONDS = 30.0  # half of what the reviewers' answers may be old
GREET_AGAIN_SECONDS = 2.0
ALARM_SECONDS = 1.0
WORD_SECONDS = 1.0  # between two looks, however many webhooks there are
HEAR_SECONDS = 0.2


class Lease:
    """Whose turn it is to work, without comparing clocks: only a beat that stands still frees it."""

    def __init__(self, ledger: Ledger, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.owner = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(8)}"
        self._ledger = ledger
        self._monotonic = monotonic
        self._held_until = 0.0
        self._seen: tuple[str, int] | None = None
        self._seen_at = 0.0

    def held(self) -> bool:
        return self._monotonic() < self._held_until

    def seconds_left(self) -> float:
        """Until another process may take the lease, if it is ours; else 0."""
        left = self._held_until + LEASE_SECONDS - HELD_SECONDS - self._monotonic()
        return max(left, 0.0) if self.held() else 0.0

    def tend(self) -> None:
        """Raise the beat if the lease is ours; take it if it is free or its owner is silent."""
        now = self._monotonic()
        if self._held_until:
            if self._ledger.beat(self.owner):
                self._held_until = now + HELD_SECONDS
                return
            log.warning("lease=lost owner=%s", self.owner)
            self._held_until = 0.0
        owner, beat = self._ledger.lease()
        if (owner, beat) != self._seen:
            self._seen, self._seen_at = (owner, beat), now
        if not owner or now - self._seen_at >= LEASE_SECONDS:
            if self._ledger.take_lease(self.owner, owner, beat):
                log.info("lease=taken owner=%s", self.owner)
                self._held_until = now + HELD_SECONDS

    def release(self) -> None:
        if self._held_until:
            self._held_until = 0.0
            self._ledger.release_lease(self.owner)
            log.info("lease=released owner=%s", self.owner)


class Loop(Protocol):
    def round(self) -> float:
        """Do what is due; seconds until something may be due again."""


class Greet:
    """Keeps in touch with Slack: who we are there, and who is in the reviewers' groups."""

    def __init__(self, channel: Channel, reviewers: Reviewers) -> None:
        self._channel = channel
        self._reviewers = reviewers

    def round(self) -> float:
        if not self._channel.greet():
            return GREET_AGAIN_SECONDS
        self._reviewers.refresh()
        return GREET_SECONDS


class Worker:
    """The threads of one process: `greet` runs in every one, the loops only in that which holds the lease."""

    def __init__(
        self,
        ledger: Ledger,
        clicks: Clicks,
        lease: Lease,
        calls: Sequence[Calls],
        greet: Loop,
        watch: Loop,
        decide: Decide,
        show: Loop,
        *,
        may_be_woken: bool = False,
    ) -> None:
        self._ledger = ledger
        self._clicks = clicks
        self._calls = calls
        self._decide = decide
        self._lease = lease
        self._stopping = threading.Event()
        self._rounds: dict[str, float] = {}
        self._look_began = 0.0
        self._threads = [
            threading.Thread(target=self._beat, name="beat", daemon=True),
            threading.Thread(target=self._set_alarm, name="alarm", daemon=True),
            *(
                threading.Thread(target=self._run, args=args, name=args[0], daemon=True)
                for args in (
                    ("greet", greet, False, self._stopping.wait),
                    ("watch", watch, True, self._wait_for_word if may_be_woken else self._stopping.wait),
                    ("decide", decide, True, None),
                    ("show", show, True, None),
                )
            ),
        ]

    @property
    def owner(self) -> str:
        """How this process is called in the lease and the trail."""
        return self._lease.owner

    def start(self) -> None:
        self._rounds = {thread.name: time.monotonic() for thread in self._threads}
        for thread in reversed(self._threads):  # the beat, which looks at the others, last
            thread.start()

    def stop(self) -> None:
        """Let the loops finish their round and the decisions their step, then hand over the lease."""
        self._stopping.set()
        self._ledger.wake()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=STOP_SECONDS)
        self._decide.stop()
        self._lease.release()

    def is_alive(self) -> bool:
        return not self._stuck()

    def _stuck(self) -> list[str]:
        """The loops that died or finished no round for too long, and the calls all of which hang."""
        oldest = time.monotonic() - STUCK_SECONDS
        loops = [
            thread.name
            for thread in self._threads
            if not thread.is_alive() or self._rounds[thread.name] < oldest
        ]
        return loops + [calls.name for calls in self._calls if calls.full_seconds() > FULL_SECONDS]

    def _beat(self) -> None:
        while not self._stopping.is_set():
            try:
                self._lease.tend()
            except LedgerError as error:
                log.warning("lease=unknown cause=%r", str(error))
            self._rounds["beat"] = time.monotonic()
            stuck = self._stuck()
            if stuck and not self._stopping.is_set():
                # Nothing in this process can mend that; a new one begins where the ledger stands.
                log.critical("stuck=%s the process ends itself", ",".join(stuck))
                os._exit(1)
            self._stopping.wait(BEAT_SECONDS if self._lease.held() else IDLE_SECONDS)

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
            self._clicks.let_pass()
            changes = self._ledger.changes
            seconds = IDLE_SECONDS
            try:
                if name == "watch":
                    self._look_began = time.monotonic()
                if not needs_lease or self._lease.held():
                    seconds = loop.round()
                self._rounds[name] = time.monotonic() + seconds
            except LedgerError as error:
                log.error("loop=%s cause=%r", name, str(error))
                self._rounds[name] = time.monotonic()
                seconds = FAILED_SECONDS
            except Exception:
                # A round that always fails is a stuck loop, and ends the process in the end.
                log.exception("loop=%s failed", name)
                seconds = FAILED_SECONDS
            if wait:
                wait(seconds)
            else:
                self._ledger.wait_for_change(changes, seconds)

    def _wait_for_word(self, seconds: float) -> None:
        """Wait so long, but less if a webhook says that there is news, a second after the last look."""
        until = time.monotonic() + seconds
        self._stopping.wait(max(0.0, self._look_began + WORD_SECONDS - time.monotonic()))
        while time.monotonic() < until and not self._stopping.is_set():
            try:
                if self._lease.held() and self._ledger.take_wanted_look():
                    return
            except LedgerError as error:
                log.warning("webhook=unknown cause=%r", str(error))
            self._stopping.wait(HEAR_SECONDS)
