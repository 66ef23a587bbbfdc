"""The time in Slack, which messages in a channel and on cards have, even if this machine's clock is wrong."""

import logging
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

from ledger.clock import elapsed

log = logging.getLogger(__name__)

WRONG_SECONDS = 60.0
REFUSED_SECONDS = 300.0  # what Slack signs at a time further away is refused


class SlackClock:
    """This machine's clock, or if that is wrong, the time that Slack last said and what has passed since.

    Slack says whole seconds, so that its time is no better while the two agree.
    """

    def __init__(self, monotonic: Callable[[], float] = elapsed) -> None:
        self._monotonic = monotonic
        self._ahead: float | None = None  # of the monotonic clock; None until Slack has said a time
        self._is_wrong = False

    def learn(self, answer: Any) -> None:
        """Keep the time that the header Date of an answer says, and log when this machine's becomes wrong."""
        headers = {name.lower(): str(value) for name, value in dict(answer.headers).items()}
        try:
            said = parsedate_to_datetime(headers.get("date", "")).timestamp()
        except (TypeError, ValueError, OverflowError):
            return
        self._ahead = said - self._monotonic()
        is_wrong = abs(self.off()) > WRONG_SECONDS
        if is_wrong != self._is_wrong:
            level = logging.WARNING if is_wrong else logging.INFO
            log.log(level, "clock=%s seconds=%+.0f", "wrong" if is_wrong else "right", self.off())
        self._is_wrong = is_wrong

    def now(self) -> float:
        """Return the time in Slack."""
        off = self.off()
        return time.time() - (off if abs(off) > WRONG_SECONDS else 0.0)

    def off(self) -> float:
        """Return by how many seconds this machine's clock is ahead of Slack's; 0 if that is not known."""
        return 0.0 if self._ahead is None else time.time() - self._ahead - self._monotonic()
