"""What is written to Conveyor for each kind of decision. Whether it may be written, decide.py says."""

from dataclasses import dataclass

from conveyor_client import Authorization, AuthorizationRequest, ConveyorClient, NotAllowed, Refused
from ledger.rows import Row
from ledger.states import AFTER_ALL, APPROVE, CHANGE, REVOKE
from worker.evidence import Evidence, Found, chosen

# How Conveyor may answer a decision about a request that is not open; which of these is not known.
CLOSED_FOR_GOOD = (404, 409, 410, 422)


@dataclass(frozen=True)
class Written:
    """What Conveyor answered to a write.

    `granted` is the access that it gave or changed. `refused` is how it said no, if it did; `landed` says
    that another part of the write took effect.
    """

    granted: Authorization | None = None
    refused: Refused | NotAllowed | None = None
    landed: bool = False


class Ambiguous(Refused):
    """The request is closed for good, and its address alone may be let in somewhere else."""


@dataclass(frozen=True)
class Writes:
    conveyor: ConveyorClient
    evidence: Evidence

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
        if row.state == AFTER_ALL.runs_as and found.request:
            return self._approve_after_all(row, found.request)
        if found.request:
            self.conveyor.ignore(found.request, row.reviewer.email)
        return None

    def _approve_after_all(self, row: Row, request: AuthorizationRequest) -> Authorization:
        """Approve a rejected request or, if Conveyor says that it is closed for good, its address.

        Between the two writes everything is read again: somebody may just have approved it.
        """
        terms = row.changer.email, chosen(row), row.nda_bypass, row.expires_at
        try:
            return self.conveyor.approve(request, *terms)
        except Refused as error:
            if error.status not in CLOSED_FOR_GOOD:
                raise
            again = self.evidence.read(row)
            if again.is_closed or again.is_other or again.request is None:
                raise
            if not self.evidence.ledger.is_bound(row, chosen(row)):
                raise Ambiguous(str(error), error.reason, error.status) from error
        return self.conveyor.approve(again.request, *terms, by_address=True)

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
