"""Keeps what every process knows about Slack fresh, whether or not it holds the lease."""

from collections.abc import Callable
from dataclasses import dataclass

from ledger.cards import Cards
from workspace.channel import Channel
from workspace.mentions import Mentions
from workspace.reviewers import Reviewers

REFRESH_SECONDS = 30.0
RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Refresh:
    """Asks who the app is in Slack, whether the channel can be used, and whom reminders mention.

    A channel's new id is kept in the ledger: Slack may take the former one for a while only.
    """

    channel: Channel
    cards: Cards
    reviewers: Reviewers
    mentions: Mentions
    tell: Callable[[], object]  # writes to the log what was refused since it last did

    def round(self) -> float:
        """Ask once; return the seconds until it should be asked again."""
        self.tell()
        for former, now in self.cards.moved_channels().items():
            self.channel.learn(former, now)
        if not self.channel.refresh_identity():
            return RETRY_SECONDS
        self.reviewers.learn_scopes(self.channel.scopes)
        self.channel.check()
        self.cards.move_channels(self.channel.moved)
        if self.channel.identity:
            self.mentions.refresh(self.channel.identity)
        return REFRESH_SECONDS


@dataclass(frozen=True)
class RefreshPeople:
    """Asks Slack in time about those who may decide, so that their clicks need no call."""

    reviewers: Reviewers

    def round(self) -> float:
        """Ask about one of them, if that is due; return the seconds until the next. Raises LedgerError."""
        return self.reviewers.refresh()
