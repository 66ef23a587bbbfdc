"""How many requests came and were decided in a period, and how long that took; and whose turn the week is.

The weekly message is a row like that of a card, and its id names the week: inserting it decides who posts it.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sqlalchemy import and_, func, select, update

from ledger.changes import ROWS, Changes, addressed, fresh
from ledger.queue import BEFORE
from ledger.rows import Row, row_of
from ledger.states import ELSEWHERE, State
from ledger.tables import LEASE, REQUESTS, TRAIL
from ledger.trail import first_start
from working_hours import WorkingHours

DAY_SECONDS = 86400.0
LONGEST_MOST = 3
ASKED = ("asked", "asked again")
HERE = (State.APPROVED, State.REJECTED)
IN_CONVEYOR = (*ELSEWHERE.values(), State.GONE)
COUNTED = (*ASKED, State.REVOKED, *IN_CONVEYOR)


class Waiting(NamedTuple):
    """A request that waits: its customer, for how many seconds, and where its card is, or empty."""

    email: str
    seconds: float
    card: str


@dataclass(frozen=True)
class Numbers:
    """The requests of a period of `days` in figures, and what is waiting now.

    The trail is counted, event by event: whoever asked twice counts twice, a request that was decided twice
    counts with both decisions, and one that was revoked also counts as approved. Requests count even if the
    ledger has forgotten their customers since. `elsewhere` counts what was handled in Conveyor. `half` and
    `most` are the median and the 90th percentile of the seconds from a request to the decision here, None if
    there was no decision; `working` says that these are seconds of working time. `begins` is when the records
    began, if that was after the beginning of the period.
    """

    days: int
    asked: int = 0
    approved: int = 0
    rejected: int = 0
    revoked: int = 0
    elsewhere: int = 0
    half: float | None = None
    most: float | None = None
    working: bool = False
    waiting: int = 0
    longest: Sequence[Waiting] = ()
    begins: float | None = None

    @classmethod
    def of(cls, kept: Any) -> "Numbers | None":
        """Return what the column `numbers` holds, or None if it holds nothing or is damaged."""
        try:
            return cls(**{**kept, "longest": [Waiting(*each) for each in kept["longest"]]})
        except (TypeError, LookupError):
            return None


class Counting(Changes):
    """Used by the slash command, and for the weekly message. Every method may raise LedgerError."""

    def numbers(
        self, since: float, until: float, permalink: Callable[[Row], str], hours: WorkingHours | None
    ) -> Numbers:
        """Count what happened from one time of day to another; `permalink` says where a row's card is."""
        period = and_(TRAIL.c.at >= since, TRAIL.c.at < until)
        # What came before the app's first start was not asked in the period in which the app found it.
        counted = and_(period, TRAIL.c.event.in_(COUNTED), TRAIL.c.detail != BEFORE)
        is_waiting = REQUESTS.c.state == State.PENDING
        with self._database.read() as db:
            counts = select(TRAIL.c.event, func.count()).where(counted).group_by(TRAIL.c.event)
            events: Counter[str] = Counter(dict(db.execute(counts).all()))
            decisions = select(TRAIL.c.event, TRAIL.c.at, TRAIL.c.waited)
            decided = db.execute(decisions.where(period, TRAIL.c.event.in_(HERE))).all()
            oldest = db.execute(ROWS.where(is_waiting).order_by(REQUESTS.c.received_at).limit(LONGEST_MOST))
            rows = list(map(row_of, oldest))
            waiting = db.scalar(select(func.count()).select_from(REQUESTS).where(is_waiting)) or 0
            began = first_start(db)
        now = self._time_of_day()
        times = _times([(at, waited) for _, at, waited in decided if waited is not None], hours)
        approved = sum(event == State.APPROVED for event, _, _ in decided)
        longest = [
            Waiting(row.email, max(0.0, now - row.received_at), permalink(row) if row.card_ts else "")
            for row in rows
        ]
        return Numbers(
            days=round((until - since) / DAY_SECONDS),
            asked=sum(events[event] for event in ASKED),
            approved=approved,
            rejected=len(decided) - approved,
            revoked=events[State.REVOKED],
            elsewhere=sum(events[state] for state in IN_CONVEYOR),
            half=_within(times, 0.5),
            most=_within(times, 0.9),
            working=hours is not None,
            waiting=waiting,
            longest=longest,
            begins=began if began > since else None,
        )

    # The weekly message

    def in_force_since(self, weekly: str) -> float:
        """Return since when this has been the setting WEEKLY: from now on if it was another until now."""
        other = update(LEASE).where(LEASE.c.weekly != weekly)
        self._database.update(other.values(weekly=weekly, weekly_since=self._time_of_day()), wakes=False)
        with self._database.read() as db:
            return float(db.scalar(select(LEASE.c.weekly_since)) or 0.0)

    def post(self, week: str, numbers: Numbers, now: float) -> bool:
        """Let this week's message be posted, unless it was before; return whether it was not.

        Its numbers are kept in its row, so that it says the same however often it is drawn.
        """
        at = self._time_of_day()
        values = {
            **fresh(week, now),
            **addressed(""),
            "state": State.NUMBERS,
            "numbers": asdict(numbers),
            "received_at": at,
            "settled_at": at,
            "settled_since": now,
        }
        return self._database.update(self._database.insert_if_absent(REQUESTS).values(values))


def _times(ends: Sequence[tuple[float, float]], hours: WorkingHours | None) -> list[float]:
    """Return how many seconds were waited before these times, or seconds of working time, in order.

    Each comes with the seconds that were waited by the clock on the wall.
    """
    if not (ends and hours):
        return sorted(waited for _, waited in ends)
    worked = hours.worked(min(at - waited for at, waited in ends), max(at for at, _ in ends))
    return sorted(worked(at) - worked(at - waited) for at, waited in ends)


def _within(times: Sequence[float], share: float) -> float | None:
    """Return the shortest time within which this share of them lies; None if there are none."""
    return times[math.ceil(share * len(times)) - 1] if times else None
