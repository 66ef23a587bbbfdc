"""What is known of the companies that ask, which a card shows."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import addresses
from conveyor_client import ConveyorClient, ConveyorError
from ledger.known import Known
from ledger.memory import PERSONAL_DOMAINS
from ledger.same import Given
from look_alikes import look_alike

log = logging.getLogger(__name__)

COMPANY_SECONDS = 1.0  # a card waits no longer for what is only good to know
CACHED_SECONDS = 600.0
AFTER_FAILURE_SECONDS = 60.0
CACHED_MOST = 1000


class Companies:
    """What Conveyor knows of the companies that ask, each asked for once in a while, and whom they look like.

    `own` returns domains of the company that runs the app. Those of people who decided are in the ledger.
    """

    def __init__(
        self,
        conveyor: ConveyorClient,
        ledger: Known,
        own: Callable[[], Iterable[str]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conveyor = conveyor
        self._ledger = ledger
        self._own = own
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._not_before = 0.0

    def forget(self, email: str) -> None:
        """Ask again next time: something about this company has changed."""
        self._known.pop(addresses.domain(email), None)

    def known(self, email: str, given: Given | None = None) -> Mapping[str, Any]:
        """Return what a card shows about the company of this address. Raises LedgerError.

        `personal` says that it is at a personal email provider. Otherwise there are the fields of
        conveyor_client.Company, if Conveyor could say them. `like_own` is the company's own domain that this
        one may be taken for, and `like_customer` that of a customer. `same` is the request that was `given`
        access here, if Conveyor says that the colleague still has it.
        """
        conveyor = self._conveyor.within(COMPANY_SECONDS)
        known = self._company(email, conveyor)
        return {**known, "same": given.row.id} if given and self._is_left(given, conveyor) else known

    def _is_left(self, given: Given, conveyor: ConveyorClient) -> bool:
        """Return whether Conveyor says that this colleague still has all that was given."""
        if self._monotonic() < self._not_before:
            return False
        try:
            listed = conveyor.authorizations(given.row.email)
        except ConveyorError as error:
            log.warning("request=%s access=unknown cause=%r", given.row.id, str(error))
            return False
        wanted = {group.id for group in given.groups}
        return any(
            each.id == given.row.authorization_id
            and each.status == "authorized"
            and (each.groups is None or wanted <= {group.id for group in each.groups})
            for each in listed
        )

    def _company(self, email: str, conveyor: ConveyorClient) -> Mapping[str, Any]:
        domain = addresses.domain(email)
        if not domain:
            return {}
        if domain in PERSONAL_DOMAINS:
            return {"personal": True}
        return {**self._in_conveyor(email, conveyor), **self._like(domain)}

    def _like(self, domain: str) -> dict[str, str]:
        own = self._ledger.deciders().union(self._own()) - PERSONAL_DOMAINS
        found = look_alike(domain, own | self._ledger.customers() - PERSONAL_DOMAINS)
        return {"like_own" if found in own else "like_customer": found} if found else {}

    def _in_conveyor(self, email: str, conveyor: ConveyorClient) -> Mapping[str, Any]:
        domain, now = addresses.domain(email), self._monotonic()
        until, known = self._known.get(domain, (0.0, {}))
        if now < until:
            return known
        if now < self._not_before:
            return {}
        try:
            # Asked for as it was written: how Conveyor writes the domains that it keeps is not known.
            company = conveyor.company(email.rpartition("@")[2])
        except ConveyorError as error:
            log.warning("company=unknown cause=%r", str(error))
            self._not_before = now + AFTER_FAILURE_SECONDS
            return {}
        if len(self._known) >= CACHED_MOST:
            self._known.clear()
        known = asdict(company) if company else {"with_access": 0}
        self._known[domain] = (now + CACHED_SECONDS, known)
        return known
