"""The loop that carries decisions out in Conveyor: mark, read, write, read.

A write whose answer was lost may have happened. So the row is marked before it, the request is read before it
and after every end that was not a clear answer, and a second write follows only on two reads, ten seconds
apart, that both say "open".
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from conveyor_client import (
    CLOSED_STATUSES,
    AccessGroup,
    AuthorizationRequest,
    ConveyorClient,
    ConveyorError,
    NotAllowed,
    NotFound,
    Refused,
    Unavailable,
)
from ledger import Ledger, pause
from tables import APPROVING, GONE, REJECTING, REVOKING, Row
from watch import ELSEWHERE

log = logging.getLogger(__name__)

AT_ONCE = 8
CONFIRM_SECONDS = 10.0
TRYING_SECONDS = 900.0
IDLE_SECONDS = 0.5
WANTED = {APPROVING: "approved", REJECTING: "ignored"}


@dataclass(frozen=True)
class Found:
    """Where a decision stands in Conveyor: still to be made, or closed, and if so whether as asked."""

    status: str
    is_closed: bool
    as_asked: bool
    request: AuthorizationRequest | None = None
    access: tuple[str, ...] = ()  # ids of the authorizations that a revocation is to take back


class Decide:
    """Takes due decisions from the ledger, several at once, so that a slow one holds up nobody else's."""

    def __init__(
        self,
        conveyor: ConveyorClient,
        ledger: Ledger,
        held: Callable[[], bool],
        clock: Callable[[], float],
        let_pass: Callable[[], object] = lambda: None,
    ) -> None:
        self._conveyor = conveyor
        self._ledger = ledger
        self._held = held
        self._clock = clock
        self._let_pass = let_pass
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="decide")
        self._busy: set[str] = set()

    def round(self) -> float:
        """Start what is due; seconds until the next look."""
        # Copied before the ledger is read: of a decision that ends in between, the row is an old one.
        busy = set(self._busy)
        if len(busy) >= AT_ONCE:
            return IDLE_SECONDS  # the first to end wakes this loop
        for row in self._ledger.decisions_due(self._clock(), 2 * AT_ONCE):
            if row.id not in busy:
                self._busy.add(row.id)
                self._pool.submit(self._run, row)
        return IDLE_SECONDS

    def stop(self) -> None:
        """Wait for what is running; what has not begun stays in the ledger."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, row: Row) -> None:
        try:
            self._let_pass()
            self.carry_out(row)
        except Exception:
            # One decision that fails must not stop the others; it is tried again later.
            log.exception("request=%s decision=failed", row.id)
            self._back_off(row)
        finally:
            self._busy.discard(row.id)
            self._ledger.wake()

    def _back_off(self, row: Row) -> None:
        now = self._clock()
        try:
            self._ledger.put_off(
                row,
                now,
                now + pause(row.decide_failures),
                row.trouble,
                decide_failures=row.decide_failures + 1,
            )
        except Exception:
            # The ledger itself may be the cause; the row is still due, and found again.
            log.exception("request=%s back_off=failed", row.id)

    def carry_out(self, row: Row) -> None:
        """One step of one decision."""
        now = self._clock()
        first = row.sent_at is None
        may_write = first or (row.open_since is not None and now >= row.open_since + CONFIRM_SECONDS)
        if not self._held():
            return
        if may_write:
            if not self._ledger.mark_sent(row, now):
                return
            row = replace(row, sent_at=now, open_since=None)
        try:
            found = self._look(row)
        except NotFound:
            self._missing(row, first)
            return
        except ConveyorError as error:
            self._wait(row, first, error)
            return
        if found.is_closed:
            self._closed(row, found, ours=not first)
        elif not may_write:
            since = row.open_since if row.open_since is not None else self._clock()
            self._ledger.put_off(
                row, now, since + CONFIRM_SECONDS, row.trouble, open_since=since, not_found=0
            )
        elif row.adopted:
            self._give_back(row, "lost")
        elif not first and self._is_late(row):
            self._give_back(row, "still open")
        else:
            self._write(row, found, first)

    def _look(self, row: Row) -> Found:
        """What Conveyor says of the decision now. Raises ConveyorError."""
        request = None
        if row.state != REVOKING or row.adopted:
            request = self._conveyor.request(row.id)
        if request and row.adopted:
            self._ledger.learn(request, self._clock())
        if row.state == REVOKING:
            return self._look_at_access(row, request)
        assert request  # noqa: S101 - for the type checker
        is_closed = request.status in CLOSED_STATUSES
        if not (is_closed or request.is_open):
            raise Unavailable(f"unknown status {request.status!r}")
        return Found(request.status, is_closed, request.status == WANTED.get(row.state), request)

    def _look_at_access(self, row: Row, request: AuthorizationRequest | None) -> Found:
        """Whether there is still access to take back."""
        customer = request or row
        grants = [
            granted
            for granted in self._conveyor.authorizations(customer.email)
            if granted.dataroom_id in ("", customer.dataroom_id)
        ]
        if not grants:
            raise NotFound("this address has no authorization")
        if row.adopted:
            self._ledger.learn_groups(row, grants[0].groups)
        active = tuple(granted.id for granted in grants if granted.status != "revoked")
        return Found("active" if active else "revoked", not active, not active, access=active)

    def _write(self, row: Row, found: Found, first: bool) -> None:
        if not self._held():
            return
        groups: Sequence[AccessGroup] | None = None
        try:
            if row.state == REVOKING:
                for authorization_id in found.access:
                    self._conveyor.revoke(authorization_id)
            elif row.state == APPROVING and found.request:
                chosen = [group.id for group in row.group_list or []]
                granted = self._conveyor.approve(
                    found.request, row.reviewer_email, chosen, bool(row.nda_bypass), row.expires_at
                )
                groups = granted.groups
            else:
                self._conveyor.ignore(row.id, row.reviewer_email)
        except (Refused, NotAllowed) as error:
            self._refused(row, first, error)
            return
        except ConveyorError as error:
            # It may have happened: the next step, at once, is to read.
            log.warning("request=%s write=unconfirmed cause=%r", row.id, str(error))
            now = self._clock()
            self._ledger.put_off(row, now, now, "unavailable")
            return
        self._settle(row, found, groups)

    def _settle(self, row: Row, found: Found, groups: Sequence[AccessGroup] | None = None) -> None:
        """Conveyor said yes. What was granted is what Conveyor lists, not what was asked for."""
        if row.state == APPROVING and found.request and groups is None:
            try:
                groups = self._granted(found.request)
            except ConveyorError as error:
                self._wait(row, False, error)
                return
        if self._ledger.settle(row, self._clock(), groups):
            log.info("request=%s round=%d done=%s by=%s", row.id, row.round, row.state, row.decider.id)

    def _granted(self, request: AuthorizationRequest) -> Sequence[AccessGroup] | None:
        for granted in self._conveyor.authorizations(request.email):
            if granted.dataroom_id in ("", request.dataroom_id) and granted.status != "revoked":
                return granted.groups
        return None

    def _closed(self, row: Row, found: Found, *, ours: bool) -> None:
        if ours and found.as_asked:
            self._settle(row, found)
        elif row.state == REVOKING:
            if self._ledger.revoked_elsewhere(row, self._clock()):
                log.info("request=%s elsewhere=revoked", row.id)
        elif self._ledger.handled_elsewhere(row, ELSEWHERE[found.status], self._clock(), "elsewhere"):
            log.info("request=%s elsewhere=%s", row.id, found.status)

    def _refused(self, row: Row, first: bool, error: ConveyorError) -> None:
        """Conveyor said no to the write: believe what it says now of the decision."""
        log.warning("request=%s write=refused cause=%r", row.id, str(error))
        try:
            found = self._look(row)
        except NotFound:
            self._missing(row, first)
        except ConveyorError as unread:
            self._wait(row, first, unread)
        else:
            if found.is_closed:
                self._closed(row, found, ours=not first)
            elif isinstance(error, Refused):
                self._give_back(row, "refused", error.reason)
            else:
                self._give_back(row, "not allowed")

    def _give_back(self, row: Row, note: str, detail: str = "") -> None:
        if self._ledger.give_back(row, self._clock(), note, detail):
            log.warning("request=%s given_back=%r reviewer=%s", row.id, note, row.decider.id)

    def _missing(self, row: Row, first: bool) -> None:
        """One 404 may be a mistake; the second is believed."""
        now = self._clock()
        if row.not_found and row.state == REVOKING:
            self._give_back(row, "gone")
        elif row.not_found:
            if self._ledger.handled_elsewhere(row, GONE, now, "gone"):
                log.info("request=%s gone=yes", row.id)
        else:
            self._ledger.put_off(
                row, now, now + CONFIRM_SECONDS, row.trouble, not_found=1, sent_at=_mark(row, first)
            )

    def _wait(self, row: Row, first: bool, error: ConveyorError) -> None:
        """Conveyor could not be asked: try later, and say so. Only what was never sent is given back."""
        now = self._clock()
        log.warning("request=%s decision=waiting cause=%r", row.id, str(error))
        if first and self._is_late(row):
            self._give_back(row, "never sent")
            return
        trouble = "key" if isinstance(error, NotAllowed) else "unavailable"
        note = "key" if trouble == "key" and row.trouble != "key" else ""
        told_late = row.told_late
        if self._is_late(row):
            trouble = "unconfirmed"
            note, told_late = ("", 1) if told_late else ("unconfirmed", 1)
        wait = pause(row.decide_failures)
        if isinstance(error, Unavailable):
            wait = max(wait, error.retry_after)
        self._ledger.put_off(
            row,
            now,
            now + wait,
            trouble,
            note,
            decide_failures=row.decide_failures + 1,
            told_late=told_late,
            sent_at=_mark(row, first),
        )

    def _is_late(self, row: Row) -> bool:
        return self._clock() >= (row.claimed_at or 0.0) + TRYING_SECONDS


def _mark(row: Row, first: bool) -> float | None:
    """The mark that a row keeps: none while it is certain that no write was sent."""
    return None if first else row.sent_at
