"""The time by Slack's clock, which messages in a channel and on cards have."""

import logging
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

log = logging.getLogger(__name__)

WARN_SECONDS = 60.0
REFUSED_SECONDS = 300.0  # what Slack signs at a time further away is refused


class SlackClock:
    """Goes on, by this machine's monotonic clock, from the time that Slack last said.

    Until Slack has said a time, it is this machine's own.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._ahead: float | None = None
        self._is_off = False

    def learn(self, answer: Any) -> None:
        """Keep the time that the header Date of an answer says, and log when this machine's becomes wrong."""
        headers = {name.lower(): str(value) for name, value in dict(answer.headers).items()}
        try:
            said = parsedate_to_datetime(headers.get("date", "")).timestamp()
        except (TypeError, ValueError, OverflowError):
            return
        self._ahead = said - self._monotonic()
        is_off = abs(self.off()) > WARN_SECONDS
        if is_off != self._is_off:
            level = logging.WARNING if is_off else logging.INFO
            log.log(level, "clock=%s seconds=%+.0f", "wrong" if is_off else "right", self.off())
        self._is_off = is_off

    def now(self) -> float:
        """Return the time by Slack's clock."""
        return time.time() if self._ahead is None else self._ahead + self._monotonic()

    def off(self) -> float:
        """Return by how many seconds this machine's clock is ahead of Slack's; 0 if that is not known."""
        return 0.0 if self._ahead is None else time.time() - self.now()
