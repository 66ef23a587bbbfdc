"""How long to wait before something is sent to Slack again.

Slack counts each method by itself, and messages in each conversation by themselves as well. So what has to
wait for one of them holds up no other.
"""

import time
from collections.abc import Callable


class Pace:
    """Until when each method or conversation has to wait, by a clock that nobody can set."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: dict[str, float] = {}

    def wait(self, what: str, seconds: float) -> None:
        """Let it wait for at least so many seconds from now."""
        self._until[what] = max(self._until.get(what, 0.0), self._monotonic() + seconds)

    def is_free(self, *all_of: str) -> bool:
        """Return whether none of these has to wait."""
        return not self.waiting().intersection(all_of)

    def waiting(self) -> set[str]:
        """Return what has to wait."""
        now = self._monotonic()
        self._until = {what: until for what, until in self._until.items() if until > now}
        return set(self._until)

    def seconds(self) -> float:
        """Return the seconds until the first of what has to wait is free, or infinity if nothing waits."""
        return min(self._until.values(), default=float("inf")) - self._monotonic()
