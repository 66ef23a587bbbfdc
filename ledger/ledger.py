"""The durable record: one database, and a small class for each who uses it."""

from ledger.cards import Cards
from ledger.database import Database
from ledger.decisions import Decisions
from ledger.followers import Followers
from ledger.gated import Gated
from ledger.known import Known
from ledger.lease import Lease
from ledger.memory import Memory
from ledger.numbers import Counting
from ledger.polls import Polls
from ledger.queue import Queue
from ledger.same import Same
from ledger.totals import Totals
from ledger.upkeep import Upkeep
from ledger.user_groups import UserGroups


class Ledger:
    """Every method of the parts may raise LedgerError."""

    def __init__(self, database_url: str) -> None:
        self.database = Database(database_url)
        self.lease = Lease(self.database)
        self.polls = Polls(self.database)
        self.queue = Queue(self.database)
        self.decisions = Decisions(self.database)
        self.gated = Gated(self.database)
        self.followers = Followers(self.database)
        self.cards = Cards(self.database)
        self.upkeep = Upkeep(self.database)
        self.memory = Memory(self.database)
        self.known = Known(self.database)
        self.same = Same(self.database, self.polls)
        self.numbers = Counting(self.database)
        self.totals = Totals(self.database)
        self.user_groups = UserGroups(self.database)
