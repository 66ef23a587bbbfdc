"""Follows the approvals that wait for the customer to sign the NDA.

Conveyor's list of such access tells which of ours to read. Only what this read says changes a row: that
something is missing from a list proves nothing.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conveyor_client import GATED, ConveyorClient, ConveyorError, Unavailable
from ledger.gated import Gated as Record
from ledger.rows import of_trust_center

log = logging.getLogger(__name__)

LIST_SECONDS = 180.0  # between two times that the list is read
LIST_POLLS = 6  # the same in polls, where these are more frequent


@dataclass
class Gated:
    """Runs after each complete poll, and makes one call to Conveyor at most."""

    conveyor: ConveyorClient
    record: Record
    held: Callable[[], bool]
    poll_seconds: float
    clock: Callable[[], float]
    monotonic: Callable[[], float] = time.monotonic
    _problem: str = ""
    _list_at: float = 0.0
    _steps: Iterator[None] | None = None

    def run(self) -> bool:
        """Take the next step of what was begun, or begin again if it is time.

        Return whether that made a call.
        """
        if self._steps is None:
            now = self.monotonic()
            if now < self._list_at:
                return False
            self._list_at = now + min(LIST_SECONDS, LIST_POLLS * self.poll_seconds)
            self._steps = self._follow()
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
            return False
        except ConveyorError as error:
            self._steps = None
            self._report(str(error))
        return True

    def _follow(self) -> Iterator[None]:
        """Read the list, then whatever it lacks of ours. Each step ends after a call."""
        left = self.record.waiting()
        for listed in self.conveyor.gated() if left else ():
            left = {key: access_id for key, access_id in left.items() if access_id not in listed}
            yield
            if not left:
                break
        problem = ""
        for request_id in left:
            try:
                self._read(request_id)
            except ConveyorError as error:
                problem = str(error)
            yield
        self._report(problem)

    def _read(self, request_id: str) -> None:
        row = self.record.find(request_id)
        if row is None or not row.is_gated:
            return
        grants = of_trust_center(row, self.conveyor.authorizations(row.email))
        status = next((each.status for each in grants if each.id == row.authorization_id), "")
        is_over = status == "revoked" and all(each.status == "revoked" for each in grants)
        if status == "authorized" and self.record.signed(row, self.clock()):
            log.info("request=%s nda=signed", row.id)
        elif is_over and self.record.revoked(row, self.clock()):
            log.info("request=%s elsewhere=revoked", row.id)
        elif status not in ("", GATED, "authorized", "revoked"):
            raise Unavailable(f"unknown status {status!r}")

    def _report(self, problem: str) -> None:
        if problem and not self._problem:
            log.warning("nda=unknown cause=%r", problem)
        elif self._problem and not problem:
            log.info("nda=known_again")
        self._problem = problem

    def notes(self) -> list[str]:
        """Return what /readyz says of it, if this process does the work and Conveyor did not answer."""
        if not (self._problem and self.held()):
            return []
        said = f"NDA: Conveyor doesn't say who has signed it: {self._problem}."
        return [f"{said} Cards that wait for a signature stay as they are."]
