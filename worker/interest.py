"""Notices when a customer whom somebody follows opens a document.

Conveyor lists that for a whole company, a connection, so one that has many followers is read once for all.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

import addresses
from conveyor_client import NotFound, Opened
from ledger.followers import Follower, Followers
from ledger.rows import Row, of_trust_center
from worker.followed import Followed

log = logging.getLogger(__name__)

ASK_SECONDS = 600.0  # between two times that a connection is read
ASK_POLLS = 20  # the same in polls, where these are more frequent


@dataclass
class Interest(Followed):
    """Runs after polls of Conveyor."""

    WHAT = "documents"
    UNKNOWN = (
        "Documents: Conveyor doesn't say who has opened one: {}. Whoever asked to be told of that isn't."
    )

    record: Followers
    # When each connection was last read or, where it is not known, last looked for, by the request's id.
    _asked: dict[tuple[str, str], float] = field(default_factory=dict, init=False)

    def begin(self) -> Iterator[None] | None:
        followers = self._next()
        return self._ask(followers) if followers else None

    def _next(self) -> Sequence[Follower]:
        """Return the followers of the connection that was not asked for longest, if it may be asked."""
        now = self.monotonic()
        before = now - min(ASK_SECONDS, ASK_POLLS * self.poll_seconds)
        by_connection: dict[tuple[str, str], list[Follower]] = defaultdict(list)
        for each in self.record.active():
            by_connection[each.connection_id, "" if each.connection_id else each.row.id].append(each)
        due = [key for key in by_connection if self._asked.get(key, -inf) <= before]
        self._asked = {key: at for key, at in self._asked.items() if at > before or key in due}
        if not by_connection:
            self.report("")  # nobody waits for an answer anymore
        if not due:
            return ()
        longest = min(due, key=lambda key: self._asked.get(key, -inf))
        self._asked[longest] = now
        return by_connection[longest]

    def _ask(self, followers: Sequence[Follower]) -> Iterator[None]:
        """Read what was opened in this connection. Each step ends after a call."""
        connection_id = followers[0].connection_id
        if not connection_id:
            yield from self._find_connection(followers[0].row)
            return
        since = min(each.since for each in followers)
        try:
            for opened in self.conveyor.documents_opened(connection_id, since):
                followers = [each for each in followers if not self._tell(each, opened)]
                yield
                if not followers:
                    break
        except NotFound:
            self.record.unlearn(connection_id)
            raise
        self.report("")

    def _find_connection(self, row: Row) -> Iterator[None]:
        grants = of_trust_center(row, self.conveyor.authorizations(row.email))
        grants.sort(key=lambda each: each.id != row.authorization_id)  # the request's own comes first
        connection_id = next((each.connection_id for each in grants if each.connection_id), "")
        if not connection_id:
            yield
            company = self.conveyor.company(row.email.rpartition("@")[2])
            connection_id = company.connection_id if company else ""
        if connection_id:
            self.record.learn(row.id, connection_id)
        else:
            log.info("request=%s connection=unknown", row.id)
        yield

    def _tell(self, follower: Follower, opened: Sequence[Opened]) -> bool:
        """Let the follower be told of the first of these documents that their customer opened, if any."""
        theirs = [
            each
            for each in opened
            if each.at >= follower.since and addresses.same(each.email, follower.row.email)
        ]
        if not theirs:
            return False
        first = min(theirs, key=lambda each: each.at)
        if self.record.opened(follower, first.title, first.at, self.clock()):
            log.info("request=%s document=opened", follower.row.id)
        return True
