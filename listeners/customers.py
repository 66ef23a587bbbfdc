"""Tells where a customer stands: from the ledger, and from what Conveyor says about their access now.

Who may ask has been checked by the caller. Conveyor is only read.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import addresses
import blocks
from conveyor_client import GATED, Authorization, ConveyorClient, ConveyorError, NotAllowed, Refused
from ledger.ledger import Ledger
from ledger.memory import PERSONAL_DOMAINS
from ledger.rows import Row
from workspace.block_kit import Message
from workspace.channel import Channel
from workspace.reviewers import Reviewers

log = logging.getLogger(__name__)

CONVEYOR_SECONDS = 2.0  # for everything that one answer asks Conveyor
OFFERED_MOST = 5
NO_ACCESS = blocks.Access("")


@dataclass(frozen=True)
class Customers:
    """Answers about people, who are named by their addresses, and about companies, named by their domains."""

    _ledger: Ledger
    _channel: Channel
    _reviewers: Reviewers
    _conveyor: ConveyorClient
    _clock: Callable[[], float]

    def known(self, readings: Sequence[str]) -> str | None:
        """Return the first of these addresses or domains from which there is a request, or None."""
        return next((who for who in readings if self._ledger.memory.asked(who, 1)[1]), None)

    def about(self, readings: Sequence[str]) -> Message:
        """Answer about the first of these addresses or domains that has asked, or about the last of them."""
        who = self.known(readings) or readings[-1]
        rows, total = self._ledger.memory.asked(who, blocks.ROOMS_MOST)
        ask = self._person if "@" in who else self._company
        customer = ask(who, rows, total, self._conveyor.within(CONVEYOR_SECONDS))
        return blocks.rooms_answer(customer, self._clock(), self.permalink, self._reviewers.who_decides())

    def offered(self, customers: Sequence[str], note: str) -> Message:
        """Answer about the customer if there is one, and offer several; `note` is said of those left out."""
        if len(customers) == 1:
            return self.about(customers)
        return blocks.customers_offered(customers[:OFFERED_MOST], note if customers[OFFERED_MOST:] else "")

    def documents_are_seen(self) -> bool:
        """Return whether the key may read which documents people open. Without an answer it may."""
        try:
            self._conveyor.within(CONVEYOR_SECONDS).try_documents_opened()
        except (NotAllowed, Refused) as error:
            log.warning("documents=not_allowed cause=%r", str(error))
            return False
        except ConveyorError as error:
            log.info("documents=unknown cause=%r", str(error))
        return True

    def permalink(self, row: Row) -> str:
        identity = self._channel.identity
        return identity.permalink(row.channel, row.card_ts) if identity else ""

    def _person(self, who: str, rows: Sequence[Row], total: int, conveyor: ConveyorClient) -> blocks.Customer:
        access: dict[str, blocks.Access | None] = dict.fromkeys([who, *(row.id for row in rows)])
        try:
            grants = _grants(conveyor, rows[0].email if rows else who)
            access = {row.id: _access(grants, row.dataroom_id) for row in rows}
            access[who] = _access(grants)
        except ConveyorError as error:
            log.warning("access=unknown cause=%r", str(error))
        return blocks.Customer(who, rows, total, access)

    def _company(
        self, who: str, rows: Sequence[Row], total: int, conveyor: ConveyorClient
    ) -> blocks.Customer:
        access: dict[str, blocks.Access | None] = dict.fromkeys(row.id for row in rows)
        is_personal = addresses.domain_folded(who) in PERSONAL_DOMAINS
        with_access = None
        try:
            if not is_personal:
                # Asked for as it was written: how Conveyor writes the domains that it keeps is not known.
                company = conveyor.company(rows[0].email.rpartition("@")[2] if rows else who)
                with_access = company.with_access if company else 0
            grants: dict[str, list[Authorization]] = {}
            for row in rows:
                if row.email not in grants:
                    grants[row.email] = _grants(conveyor, row.email)
                access[row.id] = _access(grants[row.email], row.dataroom_id)
        except ConveyorError as error:
            log.warning("access=unknown cause=%r", str(error))
        approvals = self._ledger.memory.approvals(who)
        return blocks.Customer(who, rows, total, access, with_access, approvals, is_personal)


def _grants(conveyor: ConveyorClient, email: str) -> list[Authorization]:
    """Return what Conveyor lists for this address. Raises ConveyorError."""
    # How Conveyor writes the addresses that it keeps is not known, nor whether it looks for others.
    spellings = dict.fromkeys([email, addresses.folded(email)])
    return [granted for spelling in spellings for granted in conveyor.authorizations(spelling)]


def _access(grants: Iterable[Authorization], room: str = "") -> blocks.Access:
    """Return the access that is left in this Trust Center, or in any, however many others were revoked."""
    found = [blocks.Access(granted.status, granted.ends) for granted in grants if granted.is_in(room)]
    return min(found, key=_rank, default=NO_ACCESS)


def _rank(access: blocks.Access) -> int:
    return {"authorized": 0, GATED: 1, "revoked": 3}.get(access.status, 2)
