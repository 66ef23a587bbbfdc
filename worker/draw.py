"""What a card shows now: the request, the groups that can be granted, and what was asked before."""

from dataclasses import dataclass

import blocks
from ledger.memory import Memory
from ledger.polls import Polls
from ledger.rows import Row
from ledger.same import Same
from ledger.states import State
from workspace.block_kit import Message


@dataclass(frozen=True)
class Draw:
    """Reads the ledger, so it may raise LedgerError. `trust_center` is where customers sign in, or empty."""

    polls: Polls
    memory: Memory
    same: Same
    trust_center: str = ""

    def card(self, row: Row) -> Message:
        past = self.memory.past(row) if row.state == State.PENDING else []
        if row.refusals:
            return blocks.shorter_card(row, past)
        groups = self.polls.access_groups(row.dataroom_id) if row.state == State.PENDING else []
        given = self.same.offered(row) if row.state == State.PENDING else None
        return blocks.card(row, groups, past, self.trust_center, given)
