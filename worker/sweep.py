"""Finds open cards that somebody deleted, by asking Slack for one card after another.

The channel itself is never read for this: in a busy one that takes more calls than Slack allows.
"""

from dataclasses import dataclass

from ledger.cards import Cards
from ledger.rows import Row
from workspace.channel import Channel
from workspace.history import is_card_there
from workspace.slack_answers import is_ts
from workspace.slack_errors import CardRefused

ASK_SECONDS = 2.0  # between two questions at least: Slack takes 50 a minute, and other searches need some
NEW_SECONDS = 60.0  # and at most, so that cards that are new meanwhile do not wait for long


@dataclass
class Sweep:
    """Goes from each open card to the next newer one, and after the newest begins again."""

    channel: Channel
    cards: Cards
    _asked: str = ""  # the ts of the card that was asked for last

    def step(self, now: float, seconds: float) -> float:
        """Ask for the next card; return the seconds until the one after it, if all take `seconds` together.

        What was not found is drawn again. That finds out whether it was deleted, and posts it again if so.
        After a ChannelError or a LedgerError the next call asks for the same card.
        """
        row, count = self.cards.next_open(self._asked)
        if row:
            if not self._is_there(row):
                self.cards.redraw(row.id, now)
            self._asked = row.card_ts
        return min(max(seconds / max(count, 1), ASK_SECONDS), NEW_SECONDS)

    def _is_there(self, row: Row) -> bool:
        """Return whether the card is where it belongs. One in a former channel moves once that is closed."""
        if not self.channel.is_here(row.channel) or not is_ts(row.card_ts):
            return False
        try:
            return is_card_there(self.channel, row.card_ts)
        except CardRefused:
            return False  # it is this question that Slack does not take
