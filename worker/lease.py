"""Whose turn it is to work: of all processes on one ledger, one at a time."""

import logging
import os
import secrets
import socket
from collections.abc import Callable

from ledger.clock import elapsed
from ledger.lease import Lease as Record

log = logging.getLogger(__name__)

LEASE_SECONDS = 20.0  # a heartbeat that stands still for so long frees the lease
# The owner stops before another may begin, and a last call that it has begun is given some time to end.
HELD_SECONDS = LEASE_SECONDS * 0.75
TRY_SECONDS = 4.0  # how often a process that does not work tries whether it could write to the ledger


class Lease:
    """This process's view of the lease. No clocks are compared: only a heartbeat that stands still frees it.

    1. The owner renews the lease now and then, which raises its heartbeat in the ledger.
    2. It holds the lease for HELD_SECONDS after it began the last renewal that succeeded, and then does
       nothing more, even if it cannot reach the ledger to learn what became of the lease.
    3. Every other process watches the heartbeat. When that stands still for LEASE_SECONDS by its own clock,
       or the owner has released the lease, it takes it with a compare-and-set that only one can win.
    """

    def __init__(self, record: Record, monotonic: Callable[[], float] = elapsed) -> None:
        self.owner = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(8)}"
        self._record = record
        self._monotonic = monotonic
        self._held_until = 0.0
        self._seen: tuple[str, int] | None = None
        self._seen_at = 0.0
        self._try_at = 0.0

    def held(self) -> bool:
        return self._monotonic() < self._held_until

    def seconds_left(self) -> float:
        """Return the seconds until another process may take the lease, or 0 if this one does not hold it."""
        left = self._held_until + LEASE_SECONDS - HELD_SECONDS - self._monotonic()
        return max(left, 0.0) if self.held() else 0.0

    def tend(self) -> None:
        """Renew the lease if it is ours; take it if it is free or its owner silent. May raise LedgerError."""
        now = self._monotonic()
        if self._held_until:
            if self._record.renew(self.owner):
                self._held_until = now + HELD_SECONDS
                return
            log.warning("lease=lost owner=%s", self.owner)
            self._held_until = 0.0
        found = self._record.read()
        if found != self._seen:
            self._seen, self._seen_at = found, now
        owner, _ = found
        if (not owner or now - self._seen_at >= LEASE_SECONDS) and self._record.take(self.owner, found):
            log.info("lease=taken owner=%s", self.owner)
            self._held_until = now + HELD_SECONDS
        elif now >= self._try_at:
            self._try_at = now + TRY_SECONDS
            self._record.write_nothing()

    def release(self) -> None:
        if self._held_until:
            self._held_until = 0.0
            self._record.release(self.owner)
            log.info("lease=released owner=%s", self.owner)
