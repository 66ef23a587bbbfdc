"""Who wants to be told when a customer who was let in opens a document, and that it happened."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select, update

from ledger.changes import Changes
from ledger.gated import FOLLOWED_SECONDS
from ledger.rows import Row, row_of
from ledger.states import LET_IN, OPEN
from ledger.tables import FOLLOWERS, NOTES, REQUESTS
from ledger.trail import OPENED


@dataclass(frozen=True)
class Follower:
    """A person who follows a request since a time of day. `connection_id` is empty until it is known."""

    row: Row
    person_id: str
    at: float
    connection_id: str

    @property
    def since(self) -> float:
        """From when on a document counts: since the person asked, or the later approval."""
        settled_at = self.row.settled_at or 0.0
        # Whoever approved clicked before Conveyor confirmed it, and the customer may be quick.
        return max(self.at, min(self.row.claimed_at or settled_at, settled_at))

    @property
    def until(self) -> float:
        """Until when documents are looked for, once the customer was let in."""
        return max(self.at, self.row.settled_at or 0.0) + FOLLOWED_SECONDS

    def is_over(self, at: float) -> bool:
        """Return whether this person is not told of a document anymore, at this time of day."""
        return self.row.state not in OPEN and (self.row.state not in LET_IN or at > self.until)

    def may_open(self, at: float) -> bool:
        """Return whether the customer may be able to open a document.

        While the NDA is not signed they are not, and the app hears of the signature for some time.
        """
        hears = self.row.is_gated and at <= (self.row.settled_at or 0.0) + FOLLOWED_SECONDS
        return self.row.state in LET_IN and not hears


class Followers(Changes):
    """Used by whoever asks to be told, and after polls of Conveyor. Every method may raise LedgerError."""

    def follow(self, request_id: str, person_id: str) -> None:
        """Let this person be told of the first document, for 30 days; if that was so before, it stays."""
        at = self._time_of_day()
        values = {"request_id": request_id, "person_id": person_id, "at": at, "connection_id": ""}
        mine = and_(FOLLOWERS.c.request_id == request_id, FOLLOWERS.c.person_id == person_id)
        with self._database.write(wakes=False) as db:
            db.execute(FOLLOWERS.delete().where(mine, FOLLOWERS.c.at < at - FOLLOWED_SECONDS))
            db.execute(self._database.insert_if_absent(FOLLOWERS), values)

    def unfollow(self, request_id: str, person_id: str) -> None:
        mine = and_(FOLLOWERS.c.request_id == request_id, FOLLOWERS.c.person_id == person_id)
        self._database.update(FOLLOWERS.delete().where(mine), wakes=False)

    def every(self, person_id: str = "") -> list[Follower]:
        """Return all who follow a request, or what this person follows."""
        query = select(REQUESTS, FOLLOWERS.c.person_id, FOLLOWERS.c.at, FOLLOWERS.c.connection_id)
        query = query.join(FOLLOWERS, FOLLOWERS.c.request_id == REQUESTS.c.id)
        if person_id:
            query = query.where(FOLLOWERS.c.person_id == person_id)
        with self._database.read() as db:
            return [
                Follower(row_of(found), found.person_id, found.at, found.connection_id)
                for found in db.execute(query)
            ]

    def active(self) -> list[Follower]:
        """Return those whose customer may open a document now, and forget those for whom that is over."""
        every, at = self.every(), self._time_of_day()
        if over := [each for each in every if each.is_over(at)]:
            self._forget(over)
        return [each for each in every if each.may_open(at) and not each.is_over(at)]

    def _forget(self, over: Sequence[Follower]) -> None:
        with self._database.write(wakes=False) as db:
            for each in over:
                db.execute(FOLLOWERS.delete().where(_is(each)))

    def learn(self, request_id: str, connection_id: str) -> None:
        """Keep in which connection Conveyor lists what this customer opens."""
        theirs = update(FOLLOWERS).where(FOLLOWERS.c.request_id == request_id)
        self._database.update(theirs.values(connection_id=connection_id), wakes=False)

    def unlearn(self, connection_id: str) -> None:
        """Forget a connection that Conveyor does not know."""
        theirs = update(FOLLOWERS).where(FOLLOWERS.c.connection_id == connection_id)
        self._database.update(theirs.values(connection_id=""), wakes=False)

    def opened(self, follower: Follower, title: str, at: float, now: float) -> bool:
        """Let the follower be told of this document, and return whether they still wanted to be."""
        note = {
            "request_id": follower.row.id,
            "kind": OPENED,
            "person_id": follower.person_id,
            # By the time it is told the request may be somebody else's.
            "detail": json.dumps([follower.row.email, title, at]),
            "send_at": now,
        }
        with self._database.write() as db:
            if not db.execute(FOLLOWERS.delete().where(_is(follower))).rowcount:
                return False
            db.execute(NOTES.insert().values(**note))
        return True


def _is(follower: Follower) -> Any:
    same = FOLLOWERS.c.request_id == follower.row.id, FOLLOWERS.c.person_id == follower.person_id
    return and_(*same, FOLLOWERS.c.at == follower.at)
