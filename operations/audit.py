"""Who let whom in: exports the audit trail, and compares it with what Conveyor lists.

This module only reads, from the ledger and from Conveyor.
"""

import csv
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, TextIO

from sqlalchemy import select

import addresses
from conveyor_client import Authorization, ConveyorClient
from ledger.database import Database
from ledger.states import IN_FLIGHT, State
from ledger.tables import REQUESTS, TRAIL
from ledger.trail import first_start
from text import counted, printable

COLUMNS = ("number", "time", "event", "request", "round", "customer", "person", "person_email", "detail")
AT_A_TIME = 500
MAY_HAVE_ACCESS = {State.APPROVED, *IN_FLIGHT} - {State.REJECTING}


class Decided(NamedTuple):
    """A decision in the ledger. `expires_at` is the last day of access (YYYY-MM-DD), or empty."""

    dataroom_id: str
    request_id: str
    state: str
    expires_at: str


def export(ledger: Database, format: str, since: float, out: TextIO) -> None:
    """Write each line of the trail since then, oldest first, as CSV or as a JSON array."""
    if format == "csv":
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        for line in _lines(ledger, since):
            writer.writerow({name: _inert(value) for name, value in line.items()})
        return
    separator = "[\n"
    for line in _lines(ledger, since):
        out.write(separator + json.dumps(line, ensure_ascii=False))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")


def reconcile(ledger: Database, conveyor: ConveyorClient, out: TextIO) -> int:
    """Write how Conveyor and the ledger differ. Return the exit status: 1 if they differ, else 0.

    Access from before the app's first start is counted, but is not a difference.
    """
    decided = _decided(ledger)
    today = datetime.now(UTC).date().isoformat()
    active: defaultdict[str, list[Authorization]] = defaultdict(list)
    earlier: set[str] = set()  # those who had access before anybody could decide here
    found: list[str] = []
    with ledger.read() as db:
        started_at = first_start(db) or time.time()
    for granted in conveyor.every_authorization():
        if granted.status == "revoked":
            continue
        address = addresses.folded(granted.email)
        active[address].append(granted)
        here = {each.state for each in decided[address] if granted.is_in(each.dataroom_id)}
        if not here and 0.0 < granted.created_at < started_at:
            earlier.add(address)
        elif not here & MAY_HAVE_ACCESS:
            why = "was revoked here" if State.REVOKED in here else "this ledger has no approval of it"
            found.append(f"{granted.email} has access in Conveyor ({granted.id}), but {why}.")
    ignored = {request.id for request in conveyor.ignored_requests()}
    for address, decisions in decided.items():
        for each in decisions:
            if each.expires_at and each.expires_at < today:
                continue
            has_access = any(granted.is_in(each.dataroom_id) for granted in active[address])
            where = f"{address} was {each.state} here ({each.request_id})"
            if each.state == State.APPROVED and not has_access:
                found.append(f"{where}, but has no access in Conveyor.")
            elif each.state == State.REJECTED and each.request_id not in ignored:
                found.append(f"{where}, but is not ignored in Conveyor.")
    for difference in found:
        out.write(printable(difference) + "\n")
    if earlier:
        first = f"the app's first start on {datetime.fromtimestamp(started_at, UTC):%Y-%m-%d}"
        out.write(f"Not compared: {counted(len(earlier), 'customer')} who had access before {first}.\n")
    out.write(f"{counted(len(found), 'difference')}.\n" if found else "Conveyor and the ledger agree.\n")
    return 1 if found else 0


def _decided(ledger: Database) -> defaultdict[str, list[Decided]]:
    """Return what was decided here about each address, which is folded (see addresses.py)."""
    decided: defaultdict[str, list[Decided]] = defaultdict(list)
    place = REQUESTS.c.address, REQUESTS.c.dataroom_id, REQUESTS.c.id
    decided_here = REQUESTS.c.state.in_((*MAY_HAVE_ACCESS, State.REVOKED, State.REJECTED))
    now = select(*place, REQUESTS.c.state, REQUESTS.c.expires_at).where(decided_here)
    # What was approved and asked for again still has its access, however that ended.
    approved = select(TRAIL.c.request_id).where(TRAIL.c.event == State.APPROVED)
    again = select(*place).where(
        REQUESTS.c.state.not_in((State.APPROVED, State.REVOKED)), REQUESTS.c.id.in_(approved)
    )
    with ledger.read() as db:
        for address, *decision in db.execute(now):
            decided[address].append(Decided(*decision))
        for address, dataroom_id, request_id in db.execute(again):
            decided[address].append(Decided(dataroom_id, request_id, State.REVOKING, ""))
    return decided


def _lines(ledger: Database, since: float) -> Iterator[dict[str, Any]]:
    """Yield each line of the trail since then. It is read in parts, so that no transaction stays open."""
    last = 0
    while True:
        with ledger.read() as db:
            query = (
                select(TRAIL, REQUESTS.c.email)
                .outerjoin(REQUESTS, REQUESTS.c.id == TRAIL.c.request_id)
                .where(TRAIL.c.number > last, TRAIL.c.at >= since)
                .order_by(TRAIL.c.number)
                .limit(AT_A_TIME)
            )
            found = db.execute(query).all()
        for line in found:
            last = line.number
            yield {
                "number": line.number,
                "time": datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds"),
                "event": line.event,
                "request": line.request_id,
                "round": line.round,
                "customer": line.email or "",
                "person": line.person_id,
                "person_email": line.person_email,
                "detail": line.detail,
            }
        if len(found) < AT_A_TIME:
            return


def _inert(value: object) -> object:
    """Return the value as a cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value
