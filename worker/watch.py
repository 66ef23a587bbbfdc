"""The loop that polls Conveyor: what is open, what can be granted, what was handled elsewhere."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from conveyor_client import (
    AccessGroup,
    AuthorizationRequest,
    ConveyorClient,
    ConveyorError,
    NotAllowed,
    NotFound,
    Page,
    Unavailable,
)
from ledger.database import LedgerError
from ledger.polls import Polls
from ledger.queue import Queue
from ledger.rows import Row
from ledger.states import ELSEWHERE, State
from worker.back_off import LONGEST_PAUSE

log = logging.getLogger(__name__)

READS_A_ROUND = 10
READ_AGAIN_SECONDS = 600.0
STALE_SECONDS = 600.0  # how old a copy may be that Conveyor answers from
STATUSES_MOST = 5  # that are named to the operator
# A queue of more pages is read as a whole only now and then. Conveyor allows 2,000 requests in a time that it
# doesn't name. If it is an hour, polls every 30 s keep to it: ten pages make 1,320 calls, and a hundred pages
# 1,548, since every tenth poll is complete.
MANY_PAGES = 10
COMPLETE_SECONDS = 300.0  # between the beginnings of two complete polls of such a queue
OUTAGE_SECONDS = 600.0  # after which the channel is told that requests are not arriving

Offer = Callable[[Sequence[AccessGroup]], object]


@dataclass(frozen=True)
class Ends:
    """The first and the last page of a long queue, from a complete poll that left nothing to look into."""

    first: Page
    last: Page
    begun: float


@dataclass
class Watch:
    """Keeps the ledger true to Conveyor's queue and its access groups.

    Only a complete poll draws conclusions. While a long queue does not change at its ends, polls in between
    read nothing else of it (see `_is_unchanged`).

    `offer` says what a waiting card shows of a list of groups: it is drawn again only when that changes.
    `remind` is called with the time after each poll that could read the whole queue, and `upkeep` after each
    poll that could read what it was to read.
    """

    conveyor: ConveyorClient
    queue: Queue
    polls: Polls
    offer: Offer
    poll_seconds: float
    clock: Callable[[], float]
    remind: Callable[[float], None] = lambda now: None
    upkeep: Callable[[float], None] = lambda now: None
    _failures: int = 0
    _note: str = ""  # about the last complete poll, for the operator
    _ends: Ends | None = None  # None: the next poll is a complete one
    # Settled requests that the last complete poll listed, and when each was read itself.
    _reappeared: dict[tuple[str, int], float] = field(default_factory=dict)

    def round(self) -> float:
        """Poll once; return the seconds until the next poll."""
        if self.polls.status().adopted_at is None:
            return 0.1  # nothing is recorded before the channel was read
        error: Exception | None
        try:
            is_unchanged = self._is_unchanged()
            error, arriving = None if is_unchanged else self._poll(), True
        except Exception as failed:
            # Whatever it was, the channel has to hear of it if it lasts.
            is_unchanged, error, arriving = False, failed, False
        if is_unchanged:
            self.polls.going_on(self.clock())
            self.upkeep(self.clock())
            return self.poll_seconds
        # While requests arrive they arrive in time, whatever else cannot be read.
        self._failures = 0 if arriving else self._failures + 1
        problem = self._problem(error)
        if problem and not isinstance(error, LedgerError):  # the ledger logs its own failures
            log.warning("poll=incomplete failures=%d cause=%r", self._failures, problem)
        self.polls.record(
            problem, self.clock(), arriving=arriving, tell_after=OUTAGE_SECONDS, note=self._note
        )
        if arriving:
            self.remind(self.clock())
            self.upkeep(self.clock())
        longest = max(LONGEST_PAUSE, self.poll_seconds)
        return float(min(self.poll_seconds * 2 ** min(self._failures, 20), longest))

    def wanted(self) -> bool:
        """Return whether a webhook came since this was last asked. If so, the next poll is a complete one."""
        wanted = self.polls.take_request()
        if wanted:
            self._ends = None
        return wanted

    def _is_unchanged(self) -> bool:
        """Return whether a long queue has the same first and last page as in the last complete poll.

        Then the next complete poll can wait, for COMPLETE_SECONDS at most. In whatever order Conveyor lists
        requests, one more or less moves those behind it, so the last page changes, or the number of pages. It
        doesn't show if one comes and another goes, both between these two pages, or if one there changes:
        that waits for the next complete poll.
        """
        ends, self._ends = self._ends, None
        if ends is None or self.clock() + self.poll_seconds > ends.begun + COMPLETE_SECONDS:
            return False
        try:
            for number, known in ((1, ends.first), (ends.first.total, ends.last)):
                if (page := self.conveyor.queue_page(number)) != known:
                    self._record(page)  # what is new does not wait for the other pages
                    return False
            self._read_groups()
        except ConveyorError as error:
            log.info("poll=complete_instead cause=%r", str(error))
            return False
        self._ends = ends
        return True

    def _problem(self, error: Exception | None) -> str:
        """Return what kept a poll from being complete, in words for the operator; empty if nothing did."""
        if error is None:
            return ""
        if isinstance(error, NotAllowed):
            return f"Conveyor rejected CONVEYOR_KEY ({error})"
        if isinstance(error, ConveyorError):
            return str(error)
        if isinstance(error, LedgerError):
            return f"its answer was not recorded ({error})"
        log.error("poll=failed", exc_info=error)
        return f"the app failed with {type(error).__name__}; the log has a traceback"

    def _poll(self) -> ConveyorError | None:
        """Read the whole queue, or raise ConveyorError. Return what else could not be read."""
        begun = self.clock()
        groups_error: ConveyorError | None = None
        try:
            self._read_groups()
        except ConveyorError as error:
            groups_error = error  # requests are shown all the same
        seen: dict[str, AuthorizationRequest] = {}
        unknown: dict[str, str] = {}
        malformed = 0
        first = last = None
        reappeared, self._reappeared = self._reappeared, {}
        for page in self.conveyor.queue():
            first, last = first or page, page
            still_open = self._record(page)
            seen.update((request.id, request) for request in still_open)
            unknown |= {request.id: request.status for request in still_open if not request.is_known}
            malformed += page.malformed
            self.polls.going_on(self.clock())
        is_missing = self._read_missing(set(seen))
        if malformed:
            return Unavailable(f"entries in the queue that could not be read: {malformed}")
        # Only here is the poll complete.
        self._note_unknown(unknown)
        self._find_reappeared(seen, reappeared, begun)
        is_clear = not (groups_error or is_missing or self._reappeared)
        if is_clear and first and last and first.total > MANY_PAGES:
            self._ends = Ends(first, last, begun)
        return groups_error

    def _record(self, page: Page) -> list[AuthorizationRequest]:
        """Record the open requests of a page, and return them."""
        still_open = [request for request in page.requests if request.is_open]
        if new := self.queue.record(still_open, self.clock()):
            log.info("poll=new requests=%d", new)
        return still_open

    def _note_unknown(self, statuses: Mapping[str, str]) -> None:
        """Tell the operator about open requests whose status is none that the app knows.

        `statuses` has the status of each such request under its id.
        """
        shown = ", ".join(repr(status) for status in sorted(set(statuses.values()))[:STATUSES_MOST])
        note = f"open requests with a status that this app doesn't know: {len(statuses)} ({shown})"
        note = note if statuses else ""
        if note and note != self._note:
            log.warning("poll=unknown_status requests=%d statuses=%s", len(statuses), shown)
        self._note = note

    def _read_groups(self) -> None:
        groups = self.conveyor.access_groups()
        known = self.polls.access_groups()
        if groups == known:
            return
        changed = [
            room
            for room in self.polls.open_rooms()
            if self.offer([group for group in groups if group.is_in(room)])
            != self.offer([group for group in known if group.is_in(room)])
        ]
        log.info("groups=changed count=%d rooms_redrawn=%d", len(groups), len(changed))
        self.polls.replace_access_groups(groups, changed, self.clock())

    def _read_missing(self, seen: set[str]) -> bool:
        """Read the waiting requests that the queue left out one by one: only their own status closes them.

        Return whether there were any to read.
        """
        missing = self.queue.missing(seen, self.clock() - READ_AGAIN_SECONDS, READS_A_ROUND)
        for row in missing:
            self.polls.going_on(self.clock())
            try:
                request = self.conveyor.request(row.id)
            except NotFound:
                if self.queue.not_found(row, self.clock()):
                    log.info("request=%s gone=yes", row.id)
            except ConveyorError as error:
                log.warning("request=%s read=failed cause=%r", row.id, str(error))
            else:
                if request.status in ELSEWHERE:
                    state = ELSEWHERE[request.status]
                    self.queue.handled_elsewhere(row, state, self.clock(), request=request)
                    log.info("request=%s elsewhere=%s", row.id, request.status)
                else:
                    self.queue.still_open(row, request, self.clock())
        return bool(missing)

    def _find_reappeared(
        self, seen: Mapping[str, AuthorizationRequest], before: Mapping[tuple[str, int], float], begun: float
    ) -> None:
        """Reopen the settled requests that two complete polls list and whose own status is open.

        Both polls began after the request was settled. `before` has those that the last poll listed, and when
        each was read itself: the one that was not read for longest comes first.
        """
        listed = [row for row in self.queue.settled_among(seen) if (row.settled_since or 0.0) < begun]
        keys = {row.id: (row.id, row.round) for row in listed}
        twice = sorted((before[key], row_id) for row_id, key in keys.items() if key in before)
        due = {row_id for _, row_id in twice[:READS_A_ROUND]}
        for row in listed:
            if row.id in due:
                self.polls.going_on(self.clock())
                self._read_reappeared(row)
        now = self.clock()
        self._reappeared = {
            key: now if row_id in due else before.get(key, 0.0) for row_id, key in keys.items()
        }

    def _read_reappeared(self, row: Row) -> None:
        """Reopen the request if it says that it is open.

        Its own status may come from a copy that lags behind, too: one that is not known to be newer than what
        was known when the request was settled is not believed for a while.
        """
        try:
            request = self.conveyor.request(row.id)
        except ConveyorError as error:
            log.warning("request=%s read=failed cause=%r", row.id, str(error))
            return
        is_news = (
            row.state == State.CLOSED  # a lost ledger knew more
            or 0.0 < (row.updated_at or 0.0) < request.updated_at
            or self.clock() >= (row.settled_since or 0.0) + STALE_SECONDS
        )
        if is_news and request.is_open and self.queue.reopen(row, request, self.clock()):
            log.info("request=%s round=%d asked_again=yes", row.id, row.round + 1)
