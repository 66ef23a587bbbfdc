"""What is followed in Conveyor in small steps, so that a poll makes one call more at most."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from conveyor_client import ConveyorClient, ConveyorError

log = logging.getLogger(__name__)


@dataclass
class Followed:
    """Takes one step, with one call at most, whenever it is run. `held` says whether this process may work.

    A subclass says in `begin` which steps there are. WHAT is its name in the log, and UNKNOWN is what /readyz
    says while Conveyor does not answer.
    """

    WHAT: ClassVar[str]
    UNKNOWN: ClassVar[str]

    conveyor: ConveyorClient
    held: Callable[[], bool]
    poll_seconds: float
    clock: Callable[[], float]
    monotonic: Callable[[], float] = field(default=time.monotonic, kw_only=True)
    _problem: str = field(default="", init=False)
    _steps: Iterator[None] | None = field(default=None, init=False)

    def begin(self) -> Iterator[None] | None:
        """Return the next steps, each of which ends after a call, or None if it is not time for them."""
        raise NotImplementedError

    def run(self) -> bool:
        """Take the next step, and return whether that made a call."""
        if self._steps is None:
            self._steps = self.begin()
        if self._steps is None:
            return False
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
            return False
        except ConveyorError as error:
            self._steps = None
            self.report(str(error))
        return True

    def report(self, problem: str) -> None:
        """Keep why Conveyor does not answer, or that it does, and log it when that changes."""
        if problem and not self._problem:
            log.warning("followed=%s known=no cause=%r", self.WHAT, problem)
        elif self._problem and not problem:
            log.info("followed=%s known=again", self.WHAT)
        self._problem = problem

    def notes(self) -> list[str]:
        """Return what /readyz says of it, if this process does the work and Conveyor did not answer."""
        return [self.UNKNOWN.format(self._problem)] if self._problem and self.held() else []
