"""What a reminder says, whom it mentions, and when it may be sent. tell.py sends it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import blocks
from ledger.rows import Row
from working_hours import WorkingHours
from workspace.block_kit import Message


@dataclass(frozen=True)
class Reminders:
    """`mentions` returns the ids of the people and user groups that are mentioned.

    Without working hours a reminder may be sent at any time. `at` is the time of day, and `now` is the same
    moment by the ledger's clock.
    """

    mentions: Callable[[], Sequence[str]] = tuple
    hours: WorkingHours | None = None

    def may_be_sent(self, at: float) -> bool:
        return self.hours is None or self.hours.is_open(at)

    def message(self, row: Row, now: float, at: float, permalink: str = "") -> Message:
        """Return the reminder of this card; `permalink` leads to the card if this is not in its thread."""
        began = min(row.received_at, at - (now - (row.waiting_since or now)))
        waited = self.hours.between(began, at) if self.hours else at - began
        return blocks.reminder(row.email, waited, self.mentions(), self.hours is not None, permalink)
