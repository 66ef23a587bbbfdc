"""Who let whom in: the trail for other programs, and a comparison with what Conveyor lists."""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TextIO

from sqlalchemy import select

import addresses
from conveyor_client import ConveyorClient
from ledger.database import Database
from ledger.states import State
from ledger.tables import REQUESTS, TRAIL
from text import printable

COLUMNS = ("number", "time", "event", "request", "round", "customer", "person", "person_email", "detail")
AT_A_TIME = 500
MAY_HAVE_ACCESS = {State.APPROVING, State.APPROVED, State.REVOKING}


def export(ledger: Database, format: str, since: float, out: TextIO) -> None:
    """Write every line of the trail from then on, oldest first, as CSV or as a JSON array."""
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
    """Write what Conveyor and the ledger do not agree on; the exit status is 1 if there is anything."""
    decided = _decided(ledger)
    today = datetime.now(UTC).date().isoformat()
    active: set[tuple[str, str]] = set()
    found: list[str] = []
    for granted in conveyor.every_authorization():
        if granted.status == "revoked":
            continue
        address, room = addresses.folded(granted.email), granted.dataroom_id
        active |= {(address, room), (address, "")}
        here = {state for other, _, state, _ in decided[address] if room in ("", other) or not other}
        if not here & MAY_HAVE_ACCESS:
            why = "was revoked here" if State.REVOKED in here else "this ledger does not know of an approval"
            found.append(f"{granted.email} has access in Conveyor ({granted.id}), but {why}.")
    ignored = {request.id for request in conveyor.ignored_requests()}
    for address, requests in decided.items():
        for room, request_id, state, expires_at in requests:
            if expires_at and expires_at < today:
                continue
            if state == State.APPROVED and (address, room) not in active:
                found.append(f"{address} was approved here ({request_id}), but has no access in Conveyor.")
            elif state == State.REJECTED and request_id not in ignored:
                found.append(f"{address} was rejected here ({request_id}), but is not ignored in Conveyor.")
    for difference in found:
        out.write(printable(difference) + "\n")
    out.write(f"{len(found)} differences.\n" if found else "Conveyor and the ledger agree.\n")
    return 1 if found else 0


def _decided(ledger: Database) -> defaultdict[str, list[tuple[str, str, str, str]]]:
    """Of each address the data room, id, state and last day of what was decided here."""
    decided: defaultdict[str, list[tuple[str, str, str, str]]] = defaultdict(list)
    place = REQUESTS.c.address, REQUESTS.c.dataroom_id, REQUESTS.c.id
    ours = REQUESTS.c.state.in_((*MAY_HAVE_ACCESS, State.REVOKED, State.REJECTED))
    now = select(*place, REQUESTS.c.state, REQUESTS.c.expires_at).where(ours)
    # What was approved and asked for again still has its access, however that ended.
    approved = select(TRAIL.c.request_id).where(TRAIL.c.event == State.APPROVED)
    again = select(*place).where(
        REQUESTS.c.state.not_in((State.APPROVED, State.REVOKED)), REQUESTS.c.id.in_(approved)
    )
    with ledger.read() as db:
        for address, *of_it in db.execute(now):
            decided[address].append((of_it[0], of_it[1], of_it[2], of_it[3]))
        for address, room, request_id in db.execute(again):
            decided[address].append((room, request_id, State.REVOKING, ""))
    return decided


def _lines(ledger: Database, since: float) -> Iterator[dict[str, Any]]:
    """The trail, read a part at a time so that no transaction stays open."""
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
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value
