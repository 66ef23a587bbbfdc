"""What is done now and then: following NDAs and documents, reminders, numbers, and forgetting what is old."""

import logging
from dataclasses import dataclass

from ledger.upkeep import Upkeep as Record
from worker.gated import Gated
from worker.interest import Interest
from worker.weekly import Weekly
from working_hours import WorkingHours

log = logging.getLogger(__name__)

DAY_SECONDS = 86400.0
FORGET_SECONDS = 3600.0  # between two searches for what is old


@dataclass
class Upkeep:
    """Runs after polls of Conveyor; `remind` only after complete ones, which say what is still open."""

    record: Record
    gated: Gated
    interest: Interest
    weekly: Weekly
    remind_after_hours: float
    retention_days: float
    remind_times: int
    working_hours: WorkingHours | None = None
    _forget_at: float = 0.0
    _was_gated: bool = False

    def remind(self, now: float) -> None:
        if self.remind_after_hours:
            self.record.remind(self.remind_after_hours, self.remind_times, now, self.working_hours)

    def run(self, now: float) -> None:
        if self.retention_days and now >= self._forget_at:
            forgotten = self.record.forget(self.retention_days * DAY_SECONDS, now)
            if forgotten:
                log.info("forgotten=%d", forgotten)
            else:
                self._forget_at = now + min(FORGET_SECONDS, self.retention_days * DAY_SECONDS)
        self.weekly.run(now)
        # One call to Conveyor at most. Whose turn it was comes second the next time.
        turns = (self.interest, self.gated) if self._was_gated else (self.gated, self.interest)
        if turns[0].run():
            self._was_gated = not self._was_gated
        else:
            turns[1].run()
