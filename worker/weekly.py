"""Once a week, lets the numbers of the week be posted in the channel: at the moment that WEEKLY names."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from ledger.numbers import DAY_SECONDS, Counting
from ledger.rows import Row
from working_hours import WeeklyMoment, WorkingHours
from workspace.channel import Channel

log = logging.getLogger(__name__)

LATE_SECONDS = DAY_SECONDS  # a message that could not be posted for so long is left out


@dataclass
class Weekly:
    """Runs after each poll that read Conveyor's whole queue, so that it counts everything that is waiting."""

    record: Counting
    channel: Channel
    moment: WeeklyMoment | None
    hours: WorkingHours | None
    permalink: Callable[[Row], str]
    _since: float | None = field(default=None, init=False)  # when this setting came into force
    _done: str = field(default="", init=False)  # the last week whose message is in the ledger

    def run(self, now: float) -> None:
        """Record this week's message if it is due, and was not recorded yet. May raise LedgerError.

        It covers the time from the last moment to this one, so that nothing is counted twice or left out.
        After the setting was turned on or changed, the next moment is the first.
        """
        if self.channel.identity is None:  # until Slack has answered, this machine's clock may be wrong
            return
        if self._since is None:
            self._since = self.record.in_force_since(str(self.moment or ""))
        if self.moment is None:
            return
        at = self.channel.clock.now()
        due, week = self.moment.last(at)
        if week == self._done or due < self._since or at - due > LATE_SECONDS:
            return
        before, _ = self.moment.last(due - 1.0)
        numbers = self.record.numbers(before, due, self.permalink, self.hours)
        if self.record.post(f"week-{week}", numbers, now):
            log.info("week=%s numbers=recorded", week)
        self._done = week
