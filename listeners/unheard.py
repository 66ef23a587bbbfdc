"""Counts what was refused although somebody may have meant it, so that a deaf app does not look well.

Anybody on the Internet can call the app, so refused calls make the app neither "not ready" nor its log long:
there is one line a minute at most, and a note in /readyz.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf

log = logging.getLogger(__name__)

TELL_SECONDS = 60.0  # between two lines in the log
KEPT_MINUTES = 60

# What was refused, and what that may mean. The keys are those of the line in the log.
LIKELY = {
    "unsigned": (
        "calls to /slack/events were not signed with SLACK_SIGNING_SECRET. If clicks fail, compare it with "
        "your Slack app's Basic Information page; otherwise somebody else is calling this address"
    ),
    "outdated": (
        "calls to /slack/events were signed, but more than five minutes off this machine's clock. "
        "Set the clock; if it's right, somebody is replaying old calls"
    ),
    "other_workspace": (
        "payloads came from another workspace than the token. Install the app in the workspace where "
        "people click, and use that installation's token"
    ),
    "unhandled": (
        "payloads matched no part of this app. Compare the Slack app's settings with manifest.yaml"
    ),
    "webhook_unsigned": (
        "calls to /conveyor/webhook were not signed with CONVEYOR_WEBHOOK_SECRET. Compare it with the "
        "webhook's secret in Conveyor; until then, requests appear at the next poll"
    ),
}


class Unheard:
    """Safe to share between threads. `time_of_day` is for what people read."""

    def __init__(self, time_of_day: Callable[[], float] = time.time) -> None:
        self._time_of_day = time_of_day
        self._lock = threading.Lock()
        self._by_minute: dict[int, Counter[str]] = {}
        self.total = dict.fromkeys(LIKELY, 0)  # since the start
        self._untold: Counter[str] = Counter()
        self._tell_at = -inf
        self._accepted_at = 0.0

    def accept(self) -> None:
        """Remember that a click was taken."""
        self._accepted_at = self._time_of_day()

    def refuse(self, kind: str) -> None:
        """Count a refused call. `kind` is a key of LIKELY."""
        now = time.monotonic()
        with self._lock:
            self._by_minute.setdefault(int(now // 60), Counter())[kind] += 1
            for minute in [each for each in self._by_minute if each <= now // 60 - KEPT_MINUTES]:
                del self._by_minute[minute]
            self._untold[kind] += 1
            self.total[kind] += 1
        self.tell()

    def tell(self) -> None:
        """Write what was refused since the last line, unless that was less than a minute ago."""
        now = time.monotonic()
        with self._lock:
            if not self._untold or now - self._tell_at < TELL_SECONDS:
                return
            untold, self._untold, self._tell_at = self._untold, Counter(), now
        counts = " ".join(f"{kind}=%d" for kind in untold)
        causes = ". ".join(f"{kind}: {LIKELY[kind]}" for kind in untold)
        said = *untold.values(), self._last_accepted(), causes
        log.warning(f"calls=refused {counts} accepted=%s likely=%r", *said)

    def notes(self) -> list[str]:
        """Return a sentence for each kind of call that was refused within the last hour."""
        now = time.monotonic()
        with self._lock:
            kept = [count for minute, count in self._by_minute.items() if minute > now // 60 - KEPT_MINUTES]
        total = sum(kept, Counter[str]())
        return [
            f"Last hour: {count:,} {LIKELY[kind]}. Last click accepted: {self._last_accepted()}."
            for kind, count in total.items()
        ]

    def _last_accepted(self) -> str:
        if not self._accepted_at:
            return "none since the start"
        return datetime.fromtimestamp(self._accepted_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
