"""What Conveyor says about a decision: is it still to be made, or made, and if so as the reviewer asked?

This module never writes to Conveyor; decide.py does.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from conveyor_client import (
    CLOSED_STATUSES,
    AccessGroup,
    Authorization,
    AuthorizationRequest,
    ConveyorClient,
    NotFound,
    Unavailable,
)
from ledger.decisions import Decisions
from ledger.rows import Groups, Row, of_trust_center
from ledger.states import AFTER_ALL, CHANGE, REVOKE, RUNNING

# How long a copy that Conveyor answers from may lag behind: for so long reads have to agree before a write
# counts as not carried out, and a list may lack what was granted.
AGREE_SECONDS = 180.0


@dataclass(frozen=True)
class Found:
    """Where a decision stands in Conveyor: still to be made, or closed, and if so whether as asked.

    `request` is None for a decision about access that was given. `is_other` says that the request is not
    from the address, or not for the Trust Center, that was decided on, or that the access is not as the
    reviewer saw it. `access` has the ids of the authorizations to take back, and `granted` is the one whose
    groups are to be changed.
    """

    status: str
    is_closed: bool
    as_asked: bool
    request: AuthorizationRequest | None = None
    is_other: bool = False
    access: tuple[str, ...] = ()
    granted: Authorization | None = None


@dataclass(frozen=True)
class Evidence:
    """Every method may raise ConveyorError and LedgerError."""

    conveyor: ConveyorClient
    ledger: Decisions
    clock: Callable[[], float]

    def read(self, row: Row) -> Found:
        """Return what Conveyor says about this decision now. Raises NotFound if it knows nothing."""
        if row.state == REVOKE.runs_as:
            return self._access(row)
        if row.state == CHANGE.runs_as:
            return self._groups(row)
        if row.state == AFTER_ALL.runs_as:
            return self._after_all(row)
        request, is_other = self._request(row)
        is_closed = request.status in CLOSED_STATUSES
        # One that is not known says nothing, unless it is still that of the card on which somebody decided.
        if not (request.is_known or request.status == row.status):
            raise Unavailable(f"unknown status {request.status!r}")
        decision = RUNNING.get(row.state)
        as_asked = decision is not None and request.status == decision.wanted and not is_other
        return Found(request.status, is_closed, as_asked, request, is_other)

    def _request(self, row: Row) -> tuple[AuthorizationRequest, bool]:
        """Return the request, and whether it is about somebody else by now."""
        request = self.conveyor.request(row.id)
        is_other = not request.is_about(row.email, row.dataroom_id)
        if row.adopted and not is_other:
            self.ledger.learn(row, request, self.clock())
        return request, is_other

    def _access(self, row: Row) -> Found:
        """Return whether there is access to take back."""
        grants = self._listed(row)
        if row.adopted:
            self.ledger.learn_groups(row, grants[0].groups)
        active = tuple(granted.id for granted in grants if granted.status != "revoked")
        return Found("active" if active else "revoked", not active, not active, access=active)

    def _groups(self, row: Row) -> Found:
        """Return whether the access has the groups that were chosen, those that were seen, or others."""
        active = [granted for granted in self._listed(row) if granted.status != "revoked"]
        if not active:
            return Found("revoked", is_closed=True, as_asked=False)
        granted = active[0]
        if len(active) > 1:  # with a change of one, the groups of the others would stay
            return Found("active", is_closed=False, as_asked=False, is_other=True)
        if granted.groups is None:
            raise Unavailable("the list of grants does not say which groups this access has")
        if row.adopted:  # the lost ledger knew what was chosen
            self.ledger.learn_groups(row, granted.groups)
            return Found("active", is_closed=False, as_asked=False, granted=granted)
        has = ids_of(granted.groups)
        is_done = has == set(chosen(row))
        is_as_seen = row.basis is not None and has == ids_of(row.basis)
        is_known = row.groups is None or has == ids_of(row.groups)
        if not is_known and self.clock() < (row.settled_since or 0.0) + AGREE_SECONDS:
            raise Unavailable("the list of grants may not have the last change yet")
        return Found("active", is_done, is_done, is_other=not (is_done or is_as_seen), granted=granted)

    def _after_all(self, row: Row) -> Found:
        """Return whether this customer has access by now, whoever gave it.

        A request that is open was made again: that is for the next round, with a card of its own.
        """
        request, is_other = None, False
        with suppress(NotFound):
            request, is_other = self._request(row)
        is_approved = request is not None and request.status == "approved" and not is_other
        if is_approved or any(granted.status != "revoked" for granted in self.grants(row)):
            return Found("approved" if is_approved else "active", True, True, request)
        if request is None:
            raise NotFound("there is neither the request nor an authorization")
        is_news = 0.0 < (row.updated_at or 0.0) < request.updated_at
        if request.is_open and not is_news and self.clock() < (row.settled_since or 0.0) + AGREE_SECONDS:
            raise Unavailable("the request may be an old copy, from before it was rejected")
        if not request.is_known:
            raise Unavailable(f"unknown status {request.status!r}")
        return Found(request.status, False, False, request, is_other or request.is_open)

    def _listed(self, row: Row) -> list[Authorization]:
        """Return what this customer was granted. A list that lags may not know of the approval yet."""
        if row.adopted:
            self._request(row)
        grants = self.grants(row)
        is_listed = row.authorization_id in [granted.id for granted in grants]
        if not is_listed and self.clock() < (row.settled_since or 0.0) + AGREE_SECONDS:
            raise Unavailable("the list of grants does not have this access yet")
        if not grants:
            raise NotFound("this address has no authorization")
        return grants

    def grants(self, row: Row, request: AuthorizationRequest | None = None) -> list[Authorization]:
        """Return what this customer was granted in this Trust Center, latest change first."""
        email = request.email if request else row.email  # Conveyor's spelling, if that is known
        return of_trust_center(row, self.conveyor.authorizations(email))


def may_be_of(row: Row, granted: Authorization) -> bool:
    """Return whether this may be what the request was granted: it counts, and is not older than it."""
    is_of_another = granted.request_id not in ("", row.id)
    begun = row.updated_at or 0.0
    if row.state == AFTER_ALL.runs_as:  # by our clock, which may differ from Conveyor's
        begun = max(begun, ((row.settled_at if row.adopted else row.claimed_at) or 0.0) - AGREE_SECONDS)
    is_older = 0.0 < granted.updated_at < begun
    return granted.status != "revoked" and not is_of_another and not is_older


def is_as_asked(row: Row, granted: Authorization) -> bool:
    """Return whether this access is what the reviewer asked for, as far as Conveyor lists it."""
    if row.adopted:
        return True  # the lost ledger knew what was asked for
    if _asked_for(row) is None or (row.nda_bypass and granted.status == "gated"):
        return False
    if granted.ends is not None and granted.ends != row.expires_at:
        return False
    return granted.groups is None or ids_of(granted.groups) == set(chosen(row))


def ids_of(groups: Iterable[AccessGroup]) -> set[str]:
    return {group.id for group in groups}


def chosen(row: Row) -> list[str]:
    """Return the ids of the groups that were chosen.

    Raises ValueError if the row is damaged: to grant none would not be what was asked for.
    """
    groups = _asked_for(row)
    if groups is None:
        raise ValueError("the row does not say which groups were chosen")
    return [group.id for group in groups]


def _asked_for(row: Row) -> Groups | None:
    return row.wanted if row.state in (CHANGE.runs_as, AFTER_ALL.runs_as) else row.groups
