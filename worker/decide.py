"""The loop that carries decisions out in Conveyor: mark, read, write, read.

A write whose answer was lost may have happened. So the row is marked before it, the request is read before it
and after every end that was not a clear answer, and a second write follows only on two reads, ten seconds
apart, that both say "open". Reads may come from a copy that lags behind. So a decision that may have landed
is given back only when reads have said "open" for minutes, and never because a later write was refused.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from conveyor_client import (
    Authorization,
    ConveyorClient,
    ConveyorError,
    NotAllowed,
    NotFound,
    Refused,
    Unavailable,
)
from ledger.decisions import Decisions
from ledger.rows import Row
from ledger.states import AFTER_ALL, APPROVE, CHANGE, ELSEWHERE, REVOKE, RUNNING, State
from worker import evidence
from worker.back_off import pause
from worker.evidence import Evidence, Found, is_as_asked, may_be_of
from worker.writes import Ambiguous, Writes

log = logging.getLogger(__name__)

AT_ONCE = 8
CONFIRM_SECONDS = 10.0  # between the two reads that come before a second write
TRYING_SECONDS = 900.0  # after which a decision that was certainly never sent is given back
IDLE_SECONDS = 0.5
CONFLICT = 409  # "this request is decided already"


@dataclass
class Decide:
    """Takes due decisions from the ledger, several at once, so that a slow one holds up no other.

    `held` says whether this process may work, `let_pass` returns when clicks need no attention.
    """

    conveyor: ConveyorClient
    ledger: Decisions
    held: Callable[[], bool]
    clock: Callable[[], float]
    let_pass: Callable[[], object] = lambda: None
    wake: Callable[[], object] = lambda: None
    _busy: set[str] = field(default_factory=set)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(AT_ONCE, "decide"))

    def __post_init__(self) -> None:
        self.evidence = Evidence(self.conveyor, self.ledger, self.clock)
        self.writes = Writes(self.conveyor, self.evidence)

    def round(self) -> float:
        """Start what is due; return the seconds until there may be more."""
        # Copied before the ledger is read. Otherwise a decision that ends in between would run again, from
        # its old row.
        busy = set(self._busy)
        if len(busy) >= AT_ONCE:
            return IDLE_SECONDS  # the first to end wakes this loop
        for row in self.ledger.due(self.clock(), 2 * AT_ONCE):
            if row.id not in busy:
                self._busy.add(row.id)
                self._pool.submit(self._run, row)
        return IDLE_SECONDS

    def stop(self) -> None:
        """Wait for what is running; what has not begun stays in the ledger."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, row: Row) -> None:
        try:
            self.let_pass()
            self.carry_out(row)
        except Exception:
            # One decision that fails must not stop the others; it is tried again later.
            log.exception("request=%s decision=%s step=failed", *_named(row))
            self._back_off(row)
        finally:
            self._busy.discard(row.id)
            self.wake()

    def _back_off(self, row: Row) -> None:
        now, failures = self.clock(), row.decide_failures + 1
        try:
            self.ledger.put_off(row, now, now + pause(failures - 1), row.problem, decide_failures=failures)
        except Exception:
            # The ledger itself may be the cause; the row is still due, and found again.
            log.exception("request=%s decision=%s back_off=failed", *_named(row))

    def carry_out(self, row: Row) -> None:
        """Take one step of one decision.

        1. If a write may follow, mark in the ledger that it is about to be sent.
        2. Read what Conveyor says about the request now.
        3. If it is closed there, the decision is over: settle it, or say that somebody else decided.
        4. If it is open and a write may follow, write; a clear answer settles or gives back the decision.
        5. If it is open and a write may have landed, read again; after three minutes "open" is believed.
        """
        now = self.clock()
        never_sent = row.sent_at is None
        confirmed_open = row.open_since is not None and now >= row.open_since + CONFIRM_SECONDS
        may_write = row.refusal is None and (never_sent or (confirmed_open and not self._only_reads(row)))
        if not self.held():
            return
        if may_write:
            if not self.ledger.mark_sent(row, now):
                return
            row = replace(row, sent_at=now, open_since=None)
        try:
            found = self.evidence.read(row)
        except NotFound:
            self._missing(row, never_sent)
            return
        except ConveyorError as error:
            self._wait(row, never_sent, error)
            return
        if found.is_closed:
            self._closed(row, found, ours=not never_sent)
        elif found.is_other and never_sent:
            self._give_back(row, "changed", found=found)
        elif may_write and not found.is_other:
            self._write(row, found, never_sent)
        else:
            self._still_open(row, found)

    # Writing

    def _write(self, row: Row, found: Found, never_sent: bool) -> None:
        if not self.held():
            return
        try:
            written = self.writes.send(row, found)
        except ConveyorError as error:
            # It may have happened: the next step, at once, is to read.
            log.warning("request=%s decision=%s write=unconfirmed cause=%r", *_named(row), str(error))
            now = self.clock()
            self.ledger.put_off(row, now, now, "unavailable", not_found=0)
            return
        if written.refused:
            self._refused(row, never_sent and not written.landed, written.refused)
            return
        granted = written.granted
        if granted and granted.groups is None:
            try:
                listed = self.evidence.grants(row, found.request)
            except ConveyorError as error:
                self._wait(row, False, error)
                return
            granted = next((each for each in listed if each.id == granted.id), granted)
        self._settle(row, found, granted)

    def _refused(self, row: Row, never_sent: bool, error: Refused | NotAllowed) -> None:
        """Give the decision back, since Conveyor said no to the write.

        After an earlier write that may have landed, and wherever Conveyor says that the request is decided
        already, that is no answer: what counts are reads.
        """
        log.warning("request=%s decision=%s write=refused cause=%r", *_named(row), str(error))
        reason = error.reason if isinstance(error, Refused) else ""
        is_ambiguous = isinstance(error, Ambiguous)
        if not (never_sent and (is_ambiguous or not isinstance(error, Refused) or error.status != CONFLICT)):
            now = self.clock()
            mark = _sent_at(row, never_sent)
            self.ledger.put_off(row, now, now, "unconfirmed", refusal=reason, open_since=None, sent_at=mark)
            return
        try:
            found = self.evidence.read(row)
        except NotFound:
            self._missing(row, never_sent)
        except ConveyorError as unread:
            self._wait(row, never_sent, unread)
        else:
            if found.is_closed:
                self._closed(row, found, ours=False)
            elif isinstance(error, Refused):
                self._give_back(row, "ambiguous" if is_ambiguous else "refused", reason)
            else:
                self._give_back(row, "not allowed")

    # The decision is over

    def _settle(self, row: Row, found: Found, granted: Authorization | None = None) -> None:
        updated_at = found.request.updated_at if found.request else None
        if self.ledger.settle(row, self.clock(), granted, updated_at):
            said = row.id, row.round, row.decision_id, row.state, row.decider.id
            log.info("request=%s round=%d decision=%s done=%s by=%s", *said)

    def _closed(self, row: Row, found: Found, *, ours: bool) -> None:
        """Settle what is closed in Conveyor; `ours` says whether a write of ours may have closed it."""
        if found.status == "revoked" and not (row.state == REVOKE.runs_as and ours):
            if self.ledger.revoked_elsewhere(row, self.clock()):
                log.info("request=%s decision=%s elsewhere=revoked", *_named(row))
        elif not ours:
            self._elsewhere(row, found, "elsewhere")
        elif not found.as_asked:
            self._elsewhere(row, found, "changed elsewhere" if found.is_other else "elsewhere")
        elif row.state in (APPROVE.runs_as, AFTER_ALL.runs_as):
            self._approved_without_answer(row, found)
        else:
            self._settle(row, found, found.granted)

    def _approved_without_answer(self, row: Row, found: Found) -> None:
        """Compare what was granted with what was asked for: Conveyor does not say who approved."""
        try:
            grants = self.evidence.grants(row, found.request)
        except ConveyorError as error:
            self._wait(row, False, error)
            return
        newest = next((granted for granted in grants if may_be_of(row, granted)), None)
        if newest and is_as_asked(row, newest):
            self._settle(row, found, newest)
        elif newest or (grants and self._is_late(row)):
            self._elsewhere(row, found, "differs")
        elif self._is_late(row):
            self._settle(row, found)
        else:
            self._read_again(row)  # the list may lag behind as well

    def _elsewhere(self, row: Row, found: Found, note: str) -> None:
        state = ELSEWHERE.get(found.status)
        if state is None:  # it is about access, which there still is
            self._give_back(row, note, found=found)
        elif self.ledger.handled_elsewhere(row, state, self.clock(), note, found.request):
            log.info("request=%s decision=%s elsewhere=%s", *_named(row), found.status)

    def _give_back(self, row: Row, note: str, detail: str = "", found: Found | None = None) -> None:
        """Take the decision back. With `found`, what was just read replaces what the row says."""
        said = (found.request, found.granted) if found else (None, None)
        if self.ledger.give_back(row, self.clock(), note, detail, *said):
            log.warning(
                "request=%s decision=%s given_back=%r reviewer=%s", *_named(row), note, row.decider.id
            )

    # It is not over

    def _still_open(self, row: Row, found: Found) -> None:
        """Conveyor says "open" after a write that may have landed. Believe it when it says so for long."""
        now = self.clock()
        since = row.open_since if row.open_since is not None else now
        if not (self._only_reads(row) or found.is_other):
            again_at = since + CONFIRM_SECONDS
            self.ledger.put_off(row, now, again_at, row.problem, open_since=since, not_found=0)
        elif now < (until := since + evidence.AGREE_SECONDS):
            # For what is somebody else's now, nothing more is written either.
            refusal = row.refusal or "" if found.is_other else row.refusal
            self._read_again(row, until, open_since=since, refusal=refusal)
        elif found.is_other:
            self._give_back(row, "changed", found=found)
        elif row.adopted:
            self._give_back(row, "lost")
        elif row.refusal is not None:
            self._give_back(row, "refused", row.refusal)
        else:
            self._give_back(row, "still open")

    def _read_again(self, row: Row, until: float = inf, **values: Any) -> None:
        """Read once more after a pause that grows; the card says meanwhile that nothing is confirmed yet."""
        now = self.clock()
        again_at = min(now + pause(row.decide_failures), until)
        values = {"not_found": 0, **values, "decide_failures": row.decide_failures + 1}
        self.ledger.put_off(row, now, again_at, "unconfirmed", **values)

    def _missing(self, row: Row, never_sent: bool) -> None:
        """Believe the second of two 404s in a row: one may be a mistake."""
        now = self.clock()
        by = RUNNING[row.state].by
        is_again = by != APPROVE.by
        if row.not_found and (by == CHANGE.by or (is_again and never_sent)):
            self._give_back(row, "gone")
        elif row.not_found:
            # Nobody can be asked anymore whether a write that may have landed took effect.
            note = "gone" if never_sent else "gone unconfirmed"
            if self.ledger.handled_elsewhere(row, State.GONE, now, note):
                log.info("request=%s decision=%s gone=yes", *_named(row))
        else:
            until = now + (evidence.AGREE_SECONDS if is_again and not never_sent else CONFIRM_SECONDS)
            self.ledger.put_off(row, now, until, row.problem, not_found=1, sent_at=_sent_at(row, never_sent))

    def _wait(self, row: Row, never_sent: bool, error: ConveyorError) -> None:
        """Try later, since Conveyor could not be asked. Only what was never sent is given back."""
        now = self.clock()
        log.warning("request=%s decision=%s conveyor=unavailable cause=%r", *_named(row), str(error))
        if never_sent and row.refusal is None and self._is_late(row):
            self._give_back(row, "never sent")
            return
        problem = "key" if isinstance(error, NotAllowed) else "unavailable"
        note = "key" if problem == "key" and row.problem != "key" else ""
        told_late = row.told_late
        if self._is_late(row):
            problem, note, told_late = "unconfirmed", "" if told_late else "unconfirmed", True
        wait = pause(row.decide_failures)
        if isinstance(error, Unavailable):
            wait = max(wait, error.retry_after)
        values = {"decide_failures": row.decide_failures + 1, "told_late": told_late}
        self.ledger.put_off(row, now, now + wait, problem, note, sent_at=_sent_at(row, never_sent), **values)

    def _only_reads(self, row: Row) -> bool:
        """Return whether nothing more is written for this decision."""
        return row.adopted or row.refusal is not None or self._is_late(row)

    def _is_late(self, row: Row) -> bool:
        return self.clock() >= (row.claimed_since or 0.0) + TRYING_SECONDS


def _named(row: Row) -> tuple[str, str]:
    """Return by what the log names a decision."""
    return row.id, row.decision_id


def _sent_at(row: Row, never_sent: bool) -> float | None:
    """Return the mark that a row keeps: none while it is certain that no write was sent."""
    return None if never_sent else row.sent_at
