"""What is done now and then: reminding of what waits, and forgetting what is old."""

import logging

from ledger.ledger import Ledger

log = logging.getLogger(__name__)

DAY_SECONDS = 86400.0
FORGET_SECONDS = 3600.0  # between two looks for what is old


class Upkeep:
    """Runs after each complete look at Conveyor, when it is known what is still open."""

    def __init__(self, ledger: Ledger, remind_after_hours: float, retention_days: float) -> None:
        self._ledger = ledger
        self._remind_after_hours = remind_after_hours
        self._retention_days = retention_days
        self._forget_at = 0.0

    def run(self, now: float) -> None:
        if self._remind_after_hours:
            self._ledger.remind(self._remind_after_hours, now)
        if self._retention_days and now >= self._forget_at:
            forgotten = self._ledger.forget(now - self._retention_days * DAY_SECONDS, now)
            if forgotten:
                log.info("forgotten=%d", forgotten)
            else:
                self._forget_at = now + min(FORGET_SECONDS, self._retention_days * DAY_SECONDS)
