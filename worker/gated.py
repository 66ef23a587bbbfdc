"""Follows the approvals that wait for the customer to sign the NDA.

Conveyor's list of such access tells which of ours to read. Only what this read says changes a row: that
something is missing from a list proves nothing.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from conveyor_client import GATED, ConveyorError, Unavailable
from ledger.gated import Gated as Record
from ledger.rows import of_trust_center
from worker.followed import Followed

log = logging.getLogger(__name__)

LIST_SECONDS = 180.0  # between two times that the list is read
LIST_POLLS = 6  # the same in polls, where these are more frequent


@dataclass
class Gated(Followed):
    """Runs after polls of Conveyor."""

    WHAT = "nda"
    UNKNOWN = (
        "NDA: Conveyor doesn't say who has signed it: {}. Cards that wait for a signature stay as they are."
    )

    record: Record
    _list_at: float = field(default=0.0, init=False)

    def begin(self) -> Iterator[None] | None:
        now = self.monotonic()
        if now < self._list_at:
            return None
        self._list_at = now + min(LIST_SECONDS, LIST_POLLS * self.poll_seconds)
        return self._follow()

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
        self.report(problem)

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
