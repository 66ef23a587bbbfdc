"""Keeps what every process knows about Slack fresh, whether or not it holds the lease."""

from collections.abc import Callable
from dataclasses import dataclass

from workspace.channel import Channel
from workspace.reviewers import Reviewers

REFRESH_SECONDS = 30.0  # half of what the reviewers' answers may be old
RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class Refresh:
    """Asks who the app is in Slack, and who is in the user groups that may decide."""

    channel: Channel
    reviewers: Reviewers
    tell: Callable[[], object]  # writes to the log what was refused since it last did

    def round(self) -> float:
        """Ask once; return the seconds until it should be asked again."""
        self.tell()
        if not self.channel.refresh_identity():
            return RETRY_SECONDS
        self.reviewers.refresh()
        return REFRESH_SECONDS
