"""What a reviewer is asked privately after an approval: whether colleagues who wait get the same."""

from collections.abc import Callable
from dataclasses import dataclass

import blocks
from ledger.memory import Memory
from ledger.rows import Row
from ledger.same import Same
from ledger.states import State
from ledger.trail import Note
from workspace.block_kit import Message

LOOKED_AT_MOST = 20  # colleagues; those with a warning are then left out


@dataclass(frozen=True)
class Questions:
    """Reads the ledger, so it may raise LedgerError."""

    same: Same
    memory: Memory

    def about_colleagues(self, row: Row, note: Note, permalink: Callable[[Row], str]) -> Message | None:
        """Return the question after this approval, or None if there is nothing to ask anymore.

        A colleague whose card has a warning is not named: whoever decides has to see the warning.
        """
        given = (
            self.same.given(row) if row.state == State.APPROVED and str(row.round) == note.detail else None
        )
        waiting, total = self.same.waiting(row, note, LOOKED_AT_MOST) if given else ([], 0)
        named: dict[str, Row] = {}
        for each in waiting:
            if not blocks.has_warnings(each, self.memory.past(each)):
                named.setdefault(each.subject, each)
        asked = list(named.values())[: blocks.COLLEAGUES_MOST]
        if not (given and asked):
            return None
        return blocks.colleagues_question(given, asked, total - len(asked), permalink)
