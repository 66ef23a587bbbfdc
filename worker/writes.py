"""What is written to Conveyor for each kind of decision. Whether it may be written, decide.py says."""

from dataclasses import dataclass

from conveyor_client import Authorization, ConveyorClient, NotAllowed, Refused
from ledger.rows import Row
from ledger.states import APPROVE, CHANGE, REVOKE
from worker.evidence import Found, chosen


@dataclass(frozen=True)
class Written:
    """What Conveyor answered to a write.

    `granted` is the access that it gave or changed. `refused` is how it said no, if it did; `landed` says
    that another part of the write took effect.
    """

    granted: Authorization | None = None
    refused: Refused | NotAllowed | None = None
    landed: bool = False


@dataclass(frozen=True)
class Writes:
    conveyor: ConveyorClient

    def send(self, row: Row, found: Found) -> Written:
        """Write what was decided; `found` was just read. Raises ConveyorError if it may have landed."""
        if row.state == REVOKE.runs_as:
            return self._revoke(found)
        try:
            return Written(self._send(row, found))
        except (Refused, NotAllowed) as error:
            return Written(refused=error)

    def _send(self, row: Row, found: Found) -> Authorization | None:
        if row.state == CHANGE.runs_as and found.granted:
            return self.conveyor.change_groups(found.granted, chosen(row))
        if row.state == APPROVE.runs_as and found.request:
            return self.conveyor.approve(
                found.request, row.reviewer.email, chosen(row), row.nda_bypass, row.expires_at
            )
        if found.request:
            self.conveyor.ignore(found.request, row.reviewer.email)
        return None

    def _revoke(self, found: Found) -> Written:
        """Take all access back. Where a part is refused, the rest is taken back all the same."""
        refused: Refused | NotAllowed | None = None
        landed = False
        for authorization_id in found.access:
            try:
                self.conveyor.revoke(authorization_id)
                landed = True
            except (Refused, NotAllowed) as error:
                refused = error
        return Written(refused=refused, landed=landed)
