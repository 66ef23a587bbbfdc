"""The loop that carries decisions out in Conveyor: mark, read, write, read.

A write whose answer was lost may have happened. So the row is marked before it, the request is read before it
and after every end that was not a clear answer, and a second write follows only on two reads, ten seconds
apart, that both say "open". Reads may come from a copy that lags behind. So a decision that may have landed
is given back only when reads have said "open" for minutes, and never because a later write was refused.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from conveyor_client import (
    CLOSED_STATUSES,
    Authorization,
    AuthorizationRequest,
    ConveyorClient,
    ConveyorError,
    NotAllowed,
    NotFound,
    Refused,
    Unavailable,
)
from ledger.ledger import Ledger, pause
from ledger.tables import APPROVING, GONE, REJECTING, REVOKING, Row
from worker.watch import ELSEWHERE

log = logging.getLogger(__name__)

AT_ONCE = 8
CONFIRM_SECONDS = 10.0
AGREE_SECONDS = 180.0  # how long reads have to say "open" before a write counts as not carried out
TRYING_SECONDS = 900.0
IDLE_SECONDS = 0.5
CONFLICT = 409  # "this request is decided already"
WANTED = {APPROVING: "approved", REJECTING: "ignored"}


@dataclass(frozen=True)
class Found:
    """Where a decision stands in Conveyor: still to be made, or closed, and if so whether as asked."""

    status: str
    is_closed: bool
    as_asked: bool
    request: AuthorizationRequest | None = None
    is_other: bool = False  # it is not from the address, or for the Trust Center, that was decided on
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
        """Take one step of one decision.

        1. If a write may follow, mark that it is about to be sent.
        2. Read what Conveyor says of the request.
        3. If it is closed, the decision is over. If it is open, write, or wait, or give the decision back.
        """
        now = self._clock()
        first = row.sent_at is None
        open_long = row.open_since is not None and now >= row.open_since + CONFIRM_SECONDS
        may_write = row.refusal is None and (first or (open_long and not self._only_reads(row)))
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
        elif found.is_other and first:
            self._give_back(row, "changed", request=found.request)
        elif may_write and not found.is_other:
            self._write(row, found, first)
        else:
            self._still_open(row, found)

    def _only_reads(self, row: Row) -> bool:
        """Whether nothing more is written for this decision."""
        return bool(row.adopted) or row.refusal is not None or self._is_late(row)

    def _still_open(self, row: Row, found: Found) -> None:
        """Conveyor says "open" after a write that may have landed. Believe it when it says so for long."""
        now = self._clock()
        since = row.open_since if row.open_since is not None else now
        if not (self._only_reads(row) or found.is_other):
            self._ledger.put_off(
                row, now, since + CONFIRM_SECONDS, row.trouble, open_since=since, not_found=0
            )
        elif now < (until := since + AGREE_SECONDS):
            # For what is somebody else's now, nothing more is written either.
            refusal = row.refusal or "" if found.is_other else row.refusal
            self._read_again(row, until, open_since=since, refusal=refusal)
        elif found.is_other:
            self._give_back(row, "changed", request=found.request)
        elif row.adopted:
            self._give_back(row, "lost")
        elif row.refusal is not None:
            self._give_back(row, "refused", row.refusal)
        else:
            self._give_back(row, "still open")

    def _read_again(self, row: Row, until: float = inf, **values: Any) -> None:
        """Look once more after a pause that grows; the card says meanwhile that nothing is confirmed yet."""
        now = self._clock()
        again_at = min(now + pause(row.decide_failures), until)
        values = {"not_found": 0, **values, "decide_failures": row.decide_failures + 1}
        self._ledger.put_off(row, now, again_at, "unconfirmed", **values)

    def _look(self, row: Row) -> Found:
        """What Conveyor says of the decision now. Raises ConveyorError."""
        request, is_other = None, False
        if row.state != REVOKING or row.adopted:
            request = self._conveyor.request(row.id)
            is_other = not request.is_about(row.email, row.dataroom_id)
        if request and row.adopted and not is_other:
            self._ledger.learn(row, request, self._clock())
        if row.state == REVOKING:
            return self._look_at_access(row)
        assert request  # noqa: S101 - for the type checker
        is_closed = request.status in CLOSED_STATUSES
        if not (is_closed or request.is_open):
            raise Unavailable(f"unknown status {request.status!r}")
        as_asked = request.status == WANTED.get(row.state) and not is_other
        return Found(request.status, is_closed, as_asked, request, is_other)

    def _look_at_access(self, row: Row) -> Found:
        """Whether there is still access to take back. A list that lags may not know of the approval yet."""
        grants = self._grants(row)
        is_listed = row.authorization_id in [granted.id for granted in grants]
        if not is_listed and self._clock() < (row.settled_at or 0.0) + AGREE_SECONDS:
            raise Unavailable("the list of grants does not have this access yet")
        if not grants:
            raise NotFound("this address has no authorization")
        if row.adopted:
            self._ledger.learn_groups(row, grants[0].groups)
        active = tuple(granted.id for granted in grants if granted.status != "revoked")
        return Found("active" if active else "revoked", not active, not active, access=active)

    def _grants(self, row: Row, request: AuthorizationRequest | None = None) -> list[Authorization]:
        """What this customer was granted in this Trust Center, latest change first."""
        email = request.email if request else row.email  # Conveyor's spelling, if that is known
        listed = self._conveyor.authorizations(email)
        return [granted for granted in listed if granted.is_in(row.dataroom_id)]

    def _write(self, row: Row, found: Found, first: bool) -> None:
        if not self._held():
            return
        granted: Authorization | None = None
        try:
            if row.state == REVOKING:
                self._revoke(row, found, first)
                return
            if row.state == APPROVING and found.request:
                granted = self._conveyor.approve(
                    found.request, row.reviewer_email, _chosen(row), bool(row.nda_bypass), row.expires_at
                )
            elif found.request:
                self._conveyor.ignore(found.request, row.reviewer_email)
        except (Refused, NotAllowed) as error:
            self._refused(row, first, error)
            return
        except ConveyorError as error:
            # It may have happened: the next step, at once, is to read.
            log.warning("request=%s write=unconfirmed cause=%r", row.id, str(error))
            now = self._clock()
            self._ledger.put_off(row, now, now, "unavailable", not_found=0)
            return
        if granted and granted.groups is None:
            try:
                listed = self._grants(row, found.request)
            except ConveyorError as error:
                self._wait(row, False, error)
                return
            granted = next((each for each in listed if each.id == granted.id), granted)
        self._settle(row, found, granted)

    def _revoke(self, row: Row, found: Found, first: bool) -> None:
        """Take all access back. Where a part is refused, the rest is taken back all the same."""
        refused: Refused | NotAllowed | None = None
        for authorization_id in found.access:
            try:
                self._conveyor.revoke(authorization_id)
                first = False  # some of it has landed
            except (Refused, NotAllowed) as error:
                refused = error
        if refused:
            self._refused(row, first, refused)
        else:
            self._settle(row, found)

    def _settle(self, row: Row, found: Found, granted: Authorization | None = None) -> None:
        updated_at = found.request.updated_at if found.request else None
        if self._ledger.settle(row, self._clock(), granted, updated_at):
            log.info("request=%s round=%d done=%s by=%s", row.id, row.round, row.state, row.decider.id)

    def _closed(self, row: Row, found: Found, *, ours: bool) -> None:
        if row.state == REVOKING and not ours:
            if self._ledger.revoked_elsewhere(row, self._clock()):
                log.info("request=%s elsewhere=revoked", row.id)
        elif not ours:
            self._elsewhere(row, found, "elsewhere")
        elif not found.as_asked:
            self._elsewhere(row, found, "changed elsewhere" if found.is_other else "elsewhere")
        elif row.state == APPROVING:
            self._approved_unseen(row, found)
        else:
            self._settle(row, found)

    def _approved_unseen(self, row: Row, found: Found) -> None:
        """It is approved, and Conveyor did not say by whom: compare what it gave with what was asked for."""
        try:
            grants = self._grants(row, found.request)
        except ConveyorError as error:
            self._wait(row, False, error)
            return
        newest = next((granted for granted in grants if _may_be_of(row, granted)), None)
        if newest and _is_as_asked(row, newest):
            self._settle(row, found, newest)
        elif newest or (grants and self._is_late(row)):
            self._elsewhere(row, found, "differs")
        elif self._is_late(row):
            self._settle(row, found)
        else:
            self._read_again(row)  # the list may lag behind as well

    def _elsewhere(self, row: Row, found: Found, note: str) -> None:
        state = ELSEWHERE[found.status]
        if self._ledger.handled_elsewhere(row, state, self._clock(), note, found.request):
            log.info("request=%s elsewhere=%s", row.id, found.status)

    def _refused(self, row: Row, first: bool, error: ConveyorError) -> None:
        """Conveyor said no to the write.

        After an earlier write that may have landed, and wherever it says that the request is decided already,
        that is no answer: what counts are reads.
        """
        log.warning("request=%s write=refused cause=%r", row.id, str(error))
        reason = error.reason if isinstance(error, Refused) else ""
        if not first or (isinstance(error, Refused) and error.status == CONFLICT):
            now = self._clock()
            mark = _mark(row, first)
            self._ledger.put_off(row, now, now, "unconfirmed", refusal=reason, open_since=None, sent_at=mark)
            return
        try:
            found = self._look(row)
        except NotFound:
            self._missing(row, first)
        except ConveyorError as unread:
            self._wait(row, first, unread)
        else:
            if found.is_closed:
                self._closed(row, found, ours=False)
            elif isinstance(error, Refused):
                self._give_back(row, "refused", reason)
            else:
                self._give_back(row, "not allowed")

    def _give_back(
        self, row: Row, note: str, detail: str = "", request: AuthorizationRequest | None = None
    ) -> None:
        if self._ledger.give_back(row, self._clock(), note, detail, request):
            log.warning("request=%s given_back=%r reviewer=%s", row.id, note, row.decider.id)

    def _missing(self, row: Row, first: bool) -> None:
        """One 404 may be a mistake; the second is believed."""
        now = self._clock()
        if row.not_found and row.state == REVOKING and first:
            self._give_back(row, "gone")
        elif row.not_found:
            # Nobody can be asked anymore whether a write that may have landed took effect.
            if self._ledger.handled_elsewhere(row, GONE, now, "gone" if first else "gone unconfirmed"):
                log.info("request=%s gone=yes", row.id)
        else:
            until = now + (AGREE_SECONDS if row.state == REVOKING and not first else CONFIRM_SECONDS)
            self._ledger.put_off(row, now, until, row.trouble, not_found=1, sent_at=_mark(row, first))

    def _wait(self, row: Row, first: bool, error: ConveyorError) -> None:
        """Conveyor could not be asked: try later, and say so. Only what was never sent is given back."""
        now = self._clock()
        log.warning("request=%s decision=waiting cause=%r", row.id, str(error))
        if first and row.refusal is None and self._is_late(row):
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


def _chosen(row: Row) -> list[str]:
    """The ids of the groups that were chosen. Raises ValueError if the row is damaged: none is not all."""
    if row.group_list is None:
        raise ValueError("the row does not say which groups were chosen")
    return [group.id for group in row.group_list]


def _may_be_of(row: Row, granted: Authorization) -> bool:
    """Whether this access may be what the request was granted: it counts, and is not older than that."""
    is_of_another = granted.request_id not in ("", row.id)
    is_older = 0.0 < granted.updated_at < (row.updated_at or 0.0)
    return granted.status != "revoked" and not is_of_another and not is_older


def _is_as_asked(row: Row, granted: Authorization) -> bool:
    """Whether this access is what the reviewer asked for, as far as Conveyor lists it."""
    if row.adopted:
        return True  # the lost ledger knew what was asked for
    if row.group_list is None or (row.nda_bypass and granted.status == "gated"):
        return False
    if granted.ends is not None and granted.ends != row.expires_at:
        return False
    return granted.groups is None or {group.id for group in granted.groups} == set(_chosen(row))
