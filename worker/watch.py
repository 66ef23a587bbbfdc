"""The loop that reads Conveyor: what is open, what can be granted, what was handled elsewhere."""

import logging
from collections.abc import Callable, Mapping, Sequence

from conveyor_client import (
    AccessGroup,
    AuthorizationRequest,
    ConveyorClient,
    ConveyorError,
    NotAllowed,
    NotFound,
    Unavailable,
)
from ledger.ledger import LONGEST_PAUSE, Ledger
from ledger.tables import APPROVED_ELSEWHERE, CLOSED, IGNORED_ELSEWHERE, Row

log = logging.getLogger(__name__)

READS_A_ROUND = 10
READ_AGAIN_SECONDS = 600.0
STALE_SECONDS = 600.0  # how old a copy may be that Conveyor answers from
ELSEWHERE = {"approved": APPROVED_ELSEWHERE, "ignored": IGNORED_ELSEWHERE}

Offer = Callable[[Sequence[AccessGroup]], object]


class Watch:
    """Keeps the ledger true to Conveyor's queue and its access groups.

    `offer` says what an open card shows of a list of groups: it is drawn again only when that changes.
    """

    def __init__(
        self,
        conveyor: ConveyorClient,
        ledger: Ledger,
        offer: Offer,
        poll_seconds: float,
        clock: Callable[[], float],
        upkeep: Callable[[float], None] = lambda now: None,
    ) -> None:
        self._conveyor = conveyor
        self._ledger = ledger
        self._offer = offer
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._upkeep = upkeep
        self._failures = 0
        self._reappeared: dict[tuple[str, int], float] = {}

    def round(self) -> float:
        """Look once; seconds until the next look."""
        if self._ledger.look().adopted_at is None:
            return 0.1  # nothing is recorded before the channel was read
        try:
            error, arriving = self._look(), True
        except ConveyorError as failed:
            error, arriving = failed, False
        if arriving:
            self._upkeep(self._clock())
        # While requests arrive they arrive in time, whatever else cannot be read.
        self._failures = 0 if arriving else self._failures + 1
        trouble = "" if error is None else str(error)
        if isinstance(error, NotAllowed):
            trouble = f"Conveyor does not accept CONVEYOR_KEY ({error})"
        if trouble:
            log.warning("look=incomplete failures=%d cause=%r", self._failures, trouble)
        self._ledger.record_look(trouble, self._clock(), arriving=arriving)
        longest = max(LONGEST_PAUSE, self._poll_seconds)
        return float(min(self._poll_seconds * 2 ** min(self._failures, 20), longest))

    def _look(self) -> ConveyorError | None:
        """Read the whole queue, or raise ConveyorError; what comes back is what else could not be read."""
        begun = self._clock()
        groups_error: ConveyorError | None = None
        try:
            self._read_groups()
        except ConveyorError as error:
            groups_error = error  # requests are shown all the same
        seen: dict[str, AuthorizationRequest] = {}
        malformed = 0
        reappeared, self._reappeared = self._reappeared, {}
        for page in self._conveyor.queue():
            still_open = [request for request in page.requests if request.is_open]
            seen.update((request.id, request) for request in still_open)
            malformed += page.malformed
            new = self._ledger.record(still_open, self._clock())
            if new:
                log.info("look=new requests=%d", new)
        self._read_missing(set(seen))
        if malformed:
            return Unavailable(f"the queue has {malformed} entries that cannot be read")
        # Only here is the pass complete.
        self._find_reappeared(seen, reappeared, begun)
        return groups_error

    def _read_groups(self) -> None:
        groups = self._conveyor.access_groups()
        known = self._ledger.access_groups()
        if groups == known:
            self._ledger.groups_are_current(self._clock())
            return
        changed = [
            room
            for room in self._ledger.open_rooms()
            if self._offer([group for group in groups if group.is_in(room)])
            != self._offer([group for group in known if group.is_in(room)])
        ]
        log.info("groups=changed count=%d rooms_redrawn=%d", len(groups), len(changed))
        self._ledger.replace_access_groups(groups, changed, self._clock())

    def _read_missing(self, seen: set[str]) -> None:
        """Ask for waiting requests that the queue left out: only their own status closes them."""
        for row in self._ledger.missing(seen, self._clock() - READ_AGAIN_SECONDS, READS_A_ROUND):
            try:
                request = self._conveyor.request(row.id)
            except NotFound:
                if self._ledger.not_found(row, self._clock()):
                    log.info("request=%s gone=yes", row.id)
            except ConveyorError as error:
                log.warning("request=%s read=failed cause=%r", row.id, str(error))
            else:
                if request.status in ELSEWHERE:
                    state = ELSEWHERE[request.status]
                    self._ledger.handled_elsewhere(row, state, self._clock(), request=request)
                    log.info("request=%s elsewhere=%s", row.id, request.status)
                else:
                    self._ledger.still_open(row, request, self._clock())

    def _find_reappeared(
        self, seen: Mapping[str, AuthorizationRequest], before: Mapping[tuple[str, int], float], begun: float
    ) -> None:
        """Reopen the settled requests that two complete passes list and that are open by their own word.

        Both passes began after the request was settled. `before` is what the last pass found of these, and
        when each was read: the one that was not read for longest comes first.
        """
        listed = [row for row in self._ledger.settled_among(seen) if (row.settled_at or 0.0) < begun]
        keys = {row.id: (row.id, row.round) for row in listed}
        twice = sorted((before[key], row_id) for row_id, key in keys.items() if key in before)
        due = {row_id for _, row_id in twice[:READS_A_ROUND]}
        for row in listed:
            if row.id in due:
                self._read_reappeared(row)
        now = self._clock()
        self._reappeared = {
            key: now if row_id in due else before.get(key, 0.0) for row_id, key in keys.items()
        }

    def _read_reappeared(self, row: Row) -> None:
        """Reopen the request if it says that it is open.

        Its own status may come from a copy that lags behind, too: one that is not known to be newer than what
        was known when the request was settled is not believed for a while.
        """
        try:
            request = self._conveyor.request(row.id)
        except ConveyorError as error:
            log.warning("request=%s read=failed cause=%r", row.id, str(error))
            return
        is_news = (
            row.state == CLOSED  # a lost ledger knew more
            or 0.0 < (row.updated_at or 0.0) < request.updated_at
            or self._clock() >= (row.settled_at or 0.0) + STALE_SECONDS
        )
        if is_news and request.is_open and self._ledger.reopen(row, request, self._clock()):
            log.info("request=%s round=%d asked_again=yes", row.id, row.round + 1)
