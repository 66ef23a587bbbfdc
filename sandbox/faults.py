"""The page's switches for what can go wrong with Slack and Conveyor.

A switch only sets what the stand-ins already offer; what a fault does is implemented there.
"""

import threading
from dataclasses import dataclass, field

from sandbox.conveyor import ConveyorStandIn
from sandbox.slack import SlackStandIn

SLOW_SECONDS = 3.0
RETRY_SECONDS = "5"
SWITCHES = {
    "conveyor-slow": "is slow: every answer takes 3 seconds",
    "conveyor-failing": "is failing: every call gets a 503",
    "conveyor-refusing": "refuses reviewers: nobody can decide",
    "conveyor-key": "has revoked the API key",
    "conveyor-down": "is down: nothing answers",
    "slack-limiting": "limits rates: every message gets a 429",
    "slack-down": "is down for the app: its Web API doesn't answer",
}


@dataclass
class Faults:
    """Switches faults of the stand-ins on and off. `on` holds the names of those that are on."""

    slack: SlackStandIn
    conveyor: ConveyorStandIn
    on: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)  # for clicks at the same time

    def switch(self, name: str, on: bool) -> None:
        """Switch this fault on or off, unless it already is."""
        with self._lock:
            if on != (name in self.on):
                self._switch(name, on)

    def _switch(self, name: str, on: bool) -> None:
        (self.on.add if on else self.on.discard)(name)
        if name.endswith("-down"):
            stand_in = self.slack if name.startswith("slack") else self.conveyor
            stand_in.stop()
            if not on:
                stand_in.serve(stand_in.port)
        self._apply()

    def _apply(self) -> None:
        """Make both stand-ins behave as the switches say."""
        slack, conveyor = self.slack, self.conveyor
        slack.clear_faults()
        conveyor.clear_faults()
        conveyor.key_revoked = "conveyor-key" in self.on
        conveyor.refuse_reviewers = "conveyor-refusing" in self.on
        delay = SLOW_SECONDS if "conveyor-slow" in self.on else 0.0
        failing = "conveyor-failing" in self.on
        if delay or failing:
            body = "The sandbox's Conveyor is failing." if failing else None
            conveyor.fail("*", None, status=503 if failing else None, body=body, delay=delay)
        if "slack-limiting" in self.on:
            answer = {"ok": False, "error": "ratelimited"}
            slack.fail("chat.*", None, status=429, body=answer, headers={"Retry-After": RETRY_SECONDS})
        slack.touch()
        conveyor.touch()
