"""Searches the channel, a page at a time, for open cards that somebody deleted."""

import logging
from dataclasses import dataclass, field

from ledger.cards import Cards
from ledger.rows import Row
from workspace.channel import Channel, is_ts
from workspace.history import Reading

log = logging.getLogger(__name__)


@dataclass
class Sweep:
    """One search after another. May raise ChannelError and LedgerError, and then goes on where it was."""

    channel: Channel
    cards: Cards
    _reading: Reading | None = None
    _rows: list[Row] = field(default_factory=list)  # whose cards are looked for
    _there: set[str] = field(default_factory=set)

    @property
    def messages(self) -> int:
        """How many messages this search has read so far; 0 between two."""
        return self._reading.messages if self._reading else 0

    def step(self, now: float) -> bool:
        """Read one page, and return whether the search is over.

        What was not found is drawn again. That finds out whether it was deleted, and posts it again if so.
        """
        if self._reading is None:
            self._rows, self._there = self.cards.open_cards(), set()
            here = [float(row.card_ts) for row in self._rows if self._is_here(row)]
            self._reading = Reading(self.channel, min(here) - 1.0) if here else None
        if self._reading:
            self._there.update(card.ts for card in self._reading.page())
            if not self._reading.done:
                log.info("channel=sweeping messages=%d", self._reading.messages)
                return False
        self._reading = None
        for row in self._rows:
            if not self.channel.is_here(row.channel) or row.card_ts not in self._there:
                self.cards.redraw(row.id, now)
        return True

    def _is_here(self, row: Row) -> bool:
        return self.channel.is_here(row.channel) and is_ts(row.card_ts)
