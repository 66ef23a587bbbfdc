"""What Conveyor knows of the companies that ask, which a card shows."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import addresses
from conveyor_client import ConveyorClient, ConveyorError
from ledger.memory import PERSONAL_DOMAINS

log = logging.getLogger(__name__)

COMPANY_SECONDS = 1.0  # a card waits no longer for what is only good to know
CACHED_SECONDS = 600.0
AFTER_FAILURE_SECONDS = 60.0
CACHED_MOST = 1000


class Companies:
    """What Conveyor knows of the companies that ask, each asked for once in a while."""

    def __init__(self, conveyor: ConveyorClient, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._conveyor = conveyor
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._not_before = 0.0

    def forget(self, email: str) -> None:
        """Ask again next time: something about this company has changed."""
        self._known.pop(addresses.domain(email), None)

    def known(self, email: str) -> Mapping[str, Any]:
        """Return what a card shows about the company of this address, empty if Conveyor could not say.

        `personal` says that it is at a personal email provider; otherwise there are the fields of
        conveyor_client.Company.
        """
        domain = addresses.domain(email)
        if not domain:
            return {}
        if domain in PERSONAL_DOMAINS:
            return {"personal": True}
        now = self._monotonic()
        until, known = self._known.get(domain, (0.0, {}))
        if now < until:
            return known
        if now < self._not_before:
            return {}
        try:
            # Asked for as it was written: how Conveyor writes the domains that it keeps is not known.
            company = self._conveyor.within(COMPANY_SECONDS).company(email.rpartition("@")[2])
        except ConveyorError as error:
            log.warning("company=unknown cause=%r", str(error))
            self._not_before = now + AFTER_FAILURE_SECONDS
            return {}
        if len(self._known) >= CACHED_MOST:
            self._known.clear()
        known = asdict(company) if company else {"with_access": 0}
        self._known[domain] = (now + CACHED_SECONDS, known)
        return known
