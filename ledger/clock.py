"""The ledger's own clock: whatever is due goes by it, and no change of a machine's clock moves it."""

import time
from collections.abc import Callable


def elapsed() -> float:
    """Return seconds that no setting of a clock changes, and that pass while the machine is suspended too."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux has it
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Clock:
    """Goes on evenly, by this machine's monotonic clock, from where the ledger's clock stood.

    A new ledger's clock begins with the time of day. It stands still while no process runs. Whoever holds the
    lease writes it into the ledger with every heartbeat, and the other processes follow (see lease.py). Times
    that people read are not of this clock: they are the `time_of_day`.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.time_of_day: Callable[[], float] = time.time
        self._monotonic = monotonic
        self.set(self.time_of_day())

    def __call__(self) -> float:
        return self._ahead + self._monotonic()

    def set(self, now: float) -> None:
        """Go on from this time."""
        self._ahead = now - self._monotonic()
