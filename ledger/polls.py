"""How the polls of Conveyor went, which of its access groups can be granted, and who wants a poll now."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import and_, bindparam, select, union_all, update

from conveyor_client import AccessGroup
from ledger.changes import redraw
from ledger.database import Database
from ledger.states import OPEN, State
from ledger.tables import ACCESS_GROUPS, GROUP_NAMES, LEASE, NOTES, REQUESTS
from ledger.trail import OUTAGE


@dataclass(frozen=True)
class PollStatus:
    """What the last polls of Conveyor came to, and how the channel is, whichever process found out.

    `adopted_at` is None until the channel was read. `polled_since` is when a poll last ended or went on
    to another page, by the ledger's clock; None if none ever did. `problem` is empty after a complete poll.
    `note` is what the operator should know of a poll all the same, or empty. `untold_at` is when words to a
    person could last be said nowhere in Slack.
    `channel_problems` has a line for each thing that keeps cards from being posted or read. `messages_read`
    counts the messages of the channel that were read back so far; 0 while nothing is.
    """

    adopted_at: float | None
    polled_at: float | None
    polled_since: float | None
    problem: str
    note: str
    untold_at: float | None
    channel_problems: str
    messages_read: int


class Polls:
    """Written by the loop that polls Conveyor. Every method may raise LedgerError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def status(self) -> PollStatus:
        with self._database.read() as db:
            row = db.execute(select(LEASE)).one()
            return PollStatus(
                row.adopted_at,
                row.polled_at,
                row.polled_since,
                row.poll_problem,
                row.poll_note,
                row.untold_at,
                row.channel_problems,
                row.messages_read,
            )

    def record_channel(self, problems: str, messages_read: int) -> None:
        """Record how the channel is. `PollStatus` says what the values mean."""
        found = update(LEASE).values(channel_problems=problems, messages_read=messages_read)
        self._database.update(found, wakes=False)

    def record(self, problem: str, now: float, *, arriving: bool, tell_after: float, note: str = "") -> None:
        """Record how a poll went; an empty problem means that it was complete, `note` is for the operator.

        `arriving` says whether Conveyor's queue could be read. If it cannot for `tell_after` seconds, a
        message in the channel says so.
        """
        at = self._database.clock.time_of_day()
        values = {"poll_problem": problem} if problem else {"poll_problem": "", "polled_at": at}
        outage = REQUESTS.c.state == State.OUTAGE
        untold = and_(outage, REQUESTS.c.card_ts == "", REQUESTS.c.posting_at.is_(None))
        with self._database.write() as db:
            db.execute(update(LEASE).values(**values, poll_note=note, polled_since=now))
            if arriving:
                db.execute(NOTES.delete().where(NOTES.c.kind == OUTAGE))
                db.execute(REQUESTS.delete().where(untold))
                over = {"state": State.OUTAGE_OVER, "settled_at": at, **redraw(now)}
                db.execute(update(REQUESTS).where(outage).values(**over))
                return
            known = union_all(
                select(REQUESTS.c.id).where(outage), select(NOTES.c.request_id).where(NOTES.c.kind == OUTAGE)
            )
            if db.execute(known).first() is None:
                due = {"kind": OUTAGE, "request_id": f"outage {at:.3f}", "send_at": now + tell_after}
                db.execute(NOTES.insert().values(**due, person_id="", detail=str(at)))

    def going_on(self, now: float) -> None:
        """Record that a poll has read one more page."""
        self._database.update(update(LEASE).values(polled_since=now), wakes=False)

    def request(self) -> None:
        """Let the worker, in whichever process it is, poll Conveyor soon."""
        wanted = update(LEASE).where(LEASE.c.poll_wanted.is_(False)).values(poll_wanted=True)
        self._database.update(wanted, wakes=False)

    def take_request(self) -> bool:
        """Return whether somebody wanted a poll since this was last asked."""
        with self._database.read() as db:
            if not db.scalar(select(LEASE.c.poll_wanted)):
                return False
        taken = update(LEASE).where(LEASE.c.poll_wanted.is_(True)).values(poll_wanted=False)
        return self._database.update(taken, wakes=False)

    # Access groups

    def access_groups(self, dataroom_id: str | None = None) -> list[AccessGroup]:
        """Return the list last read from Conveyor: all groups, or those for one Trust Center."""
        with self._database.read() as db:
            rows = db.execute(select(ACCESS_GROUPS).order_by(ACCESS_GROUPS.c.position))
            groups = [AccessGroup(row.id, row.name, row.dataroom_id) for row in rows]
        return groups if dataroom_id is None else [group for group in groups if group.is_in(dataroom_id)]

    def group_names(self, group_ids: Iterable[str]) -> list[str]:
        """Return the name that each of these groups has or last had; empty for one that was never listed."""
        with self._database.read() as db:
            query = select(GROUP_NAMES).where(GROUP_NAMES.c.id.in_(list(group_ids)))
            names = {row.id: row.name for row in db.execute(query)}
        return [names.get(group_id, "") for group_id in group_ids]

    def replace_access_groups(
        self, groups: Sequence[AccessGroup], changed_rooms: Sequence[str], now: float
    ) -> None:
        """Keep the list, and redraw the waiting cards of the Trust Centers whose offer changed."""
        with self._database.write() as db:
            db.execute(ACCESS_GROUPS.delete())
            if groups:
                rows = [{"position": position, **asdict(group)} for position, group in enumerate(groups)]
                db.execute(ACCESS_GROUPS.insert(), rows)
                names = [{"listed": group.id, "id": group.id, "name": group.name} for group in groups]
                db.execute(GROUP_NAMES.delete().where(GROUP_NAMES.c.id == bindparam("listed")), names)
                db.execute(GROUP_NAMES.insert(), names)
            if changed_rooms:
                stale = and_(REQUESTS.c.state == State.PENDING, REQUESTS.c.dataroom_id.in_(changed_rooms))
                db.execute(update(REQUESTS).where(stale).values(**redraw(now)))

    def open_rooms(self) -> list[str]:
        """Return the Trust Centers of the requests that wait, or may wait again."""
        with self._database.read() as db:
            query = select(REQUESTS.c.dataroom_id).where(REQUESTS.c.state.in_(OPEN)).distinct()
            return list(db.scalars(query))
