"""Totals for /metrics: how many requests are waiting now, and how often each outcome has come so far."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from ledger.database import Database
from ledger.second_thoughts import CHANGED
from ledger.states import IN_FLIGHT, SETTLED, State
from ledger.tables import REQUESTS, TRAIL
from ledger.trail import GIVEN_BACK

# What became of requests, and of decisions about them, as the trail names it.
OUTCOMES = (*dict.fromkeys(state for state in SETTLED if state != State.CLOSED), CHANGED, GIVEN_BACK)
HOUR, DAY = 3600, 86400
BOUNDS = (60, 300, 900, HOUR, 4 * HOUR, 8 * HOUR, DAY, 2 * DAY, 3 * DAY, 7 * DAY)  # seconds of waiting
# Lines of the trail that are counted again each time. PostgreSQL gives a line its number before the
# transaction ends, so lines with lower numbers may still appear; but not so many.
RECENT = 1000
AT_ONCE = 100_000  # lines of one statement: PostgreSQL gives each little time


@dataclass(frozen=True)
class Now:
    """How many requests wait, since when the first of them does, and how many decisions are carried out."""

    waiting: int
    oldest_at: float | None
    under_way: int


@dataclass(frozen=True)
class Total:
    """How often an outcome came.

    Where it ended a customer's wait, `waited` has the sum of the whole seconds, and `within` how many waited
    no longer than each of BOUNDS, and last how many waited.
    """

    count: int
    waited: int
    within: Sequence[int]


class Totals:
    """Counts, and only reads. Threads may share it. Every method may raise LedgerError."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._counted_to = 0  # the number of the last line of the trail that need not be counted again
        self._counted = {outcome: [0] * (len(BOUNDS) + 3) for outcome in OUTCOMES}

    def now(self) -> Now:
        counts = select(func.count(), func.min(REQUESTS.c.received_at))
        with self._database.read() as db:
            waiting, oldest_at = db.execute(counts.where(REQUESTS.c.state == State.PENDING)).one()
            under_way, _ = db.execute(counts.where(REQUESTS.c.state.in_(IN_FLIGHT))).one()
        return Now(waiting, oldest_at, under_way)

    def since_the_start(self) -> Mapping[str, Total]:
        """Return the total of each of OUTCOMES since the records began.

        The trail only grows, so what was counted once is kept: each process reads a long trail once.
        """
        with self._lock, self._database.read() as db:
            newest = db.scalar(select(func.max(TRAIL.c.number))) or 0
            while self._counted_to < newest - RECENT:
                to = min(self._counted_to + AT_ONCE, newest - RECENT)
                self._counted = _added(self._counted, _count(db, self._counted_to, to))
                self._counted_to = to
            found = _added(self._counted, _count(db, self._counted_to, newest))
        return {outcome: Total(count, waited, within) for outcome, (count, waited, *within) in found.items()}


def _count(db: Connection, after: int, to: int) -> dict[str, list[int]]:
    """Return the numbers of `Total`, in a row, for each outcome in these lines of the trail."""
    waited = TRAIL.c.waited
    # Whole seconds: the sum of fractions depends on their order, and a total must never become less.
    seconds = func.coalesce(func.sum(func.round(waited)), 0)
    within = (func.sum(case((waited <= bound, 1), else_=0)) for bound in BOUNDS)
    query = (
        select(TRAIL.c.event, func.count(), seconds, *within, func.count(waited))
        .where(TRAIL.c.number > after, TRAIL.c.number <= to, TRAIL.c.event.in_(OUTCOMES))
        .group_by(TRAIL.c.event)
    )
    return {outcome: list(map(int, numbers)) for outcome, *numbers in db.execute(query)}


def _added(numbers: Mapping[str, list[int]], more: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {
        outcome: [a + b for a, b in zip(kept, more.get(outcome, [0] * len(kept)), strict=True)]
        for outcome, kept in numbers.items()
    }
