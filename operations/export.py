"""Writes the audit trail: all of it as CSV or JSON, or each new line as soon as it is there.

This module only reads. What people chose with a decision is in the line of their click. The line that
confirms the decision, or gives it back, gets it from there, so that each says everything by itself.
"""

import csv
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from sqlalchemy import Connection, Row, func, select

from ledger.database import Database, LedgerError
from ledger.rows import Groups, groups_of, json_of
from ledger.second_thoughts import CHANGED
from ledger.states import AFTER_ALL, APPROVE, CHANGE, REJECT, REVOKE
from ledger.tables import REQUESTS, TRAIL

COLUMNS = (
    *("number", "time", "event", "request", "round", "customer", "person", "person_email", "decision"),
    *("groups", "groups_before", "reason", "nda_skipped", "access_ends", "waited_seconds", "note"),
)
AT_A_TIME = 500
FOLLOW_SECONDS = 1.0  # between two looks for new lines
GAP_SECONDS = 10.0  # longer than a transaction of the app can take
# Which decision an event belongs to: CLICKS begin one, and ENDS end it. "approved" also ends an approval
# after all. Its click tells the two apart, unless the ledger was lost in between.
CLICKS = {
    APPROVE.runs_as: "approve",
    REJECT.runs_as: "reject",
    REVOKE.runs_as: "revoke",
    CHANGE.runs_as: "change groups",
    AFTER_ALL.runs_as: "approve after all",
}
ENDS = {
    APPROVE.ends_as: "approve",
    REJECT.ends_as: "reject",
    REVOKE.ends_as: "revoke",
    CHANGED: "change groups",
    "given back": "",
}
COLLEAGUES = "colleagues"  # a click that decides several requests, whose ids it lists
GIVES_ACCESS = ("approve", "approve after all")
GIVES_GROUPS = (*GIVES_ACCESS, "change groups")

Line = Row[Any]
Clicks = defaultdict[tuple[str, int], list[Line]]


def export(ledger: Database, format: str, since: float, out: TextIO) -> None:
    """Write each line of the trail since then, oldest first, as CSV or as a JSON array."""
    if format == "csv":
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        for line in _lines(ledger, since=since):
            writer.writerow({name: _cell(value) for name, value in line.items()})
        return
    separator = "[\n"
    for line in _lines(ledger, since=since):
        out.write(separator + json.dumps(line, ensure_ascii=False))
        separator = ",\n"
    out.write("[]\n" if separator == "[\n" else "\n]\n")


def follow(ledger: Database, after: int | None, out: TextIO, say: Callable[[str], object]) -> int:
    """Write each line after this number, or each new one, as JSON on a line of its own, until Ctrl-C.

    Return the exit status. Whatever ends it, it says how to go on.
    """
    newest = _newest(ledger)
    last = newest if after is None else after
    if last > newest:
        say(f"The trail ends at number {newest}, before {last}: this is another ledger, or an older backup.")
        return 1
    gaps = Gaps(ledger)
    try:
        while True:
            with suppress(LedgerError):  # the database has logged it, and may be well again soon
                for line in _lines(ledger, after=last):
                    if gaps.may_fill(last, line["number"]):
                        break
                    out.write(json.dumps(line) + "\n")
                    out.flush()
                    last = line["number"]
            time.sleep(FOLLOW_SECONDS)
    except KeyboardInterrupt:
        return 0  # this is how it is meant to end
    finally:
        say(f"To continue, use --after {last}")


class Gaps:
    """Numbers that no line has. PostgreSQL gives one out before the commit, which may still come or never."""

    def __init__(self, ledger: Database) -> None:
        self._ledger = ledger
        self._final = 0  # up to this number, no line is still to come
        self._watched, self._since = 0, 0.0

    def may_fill(self, last: int, number: int) -> bool:
        """Return whether a line between these two may still come."""
        if number == last + 1 or number <= self._final:
            return False
        if not self._watched:
            self._watched, self._since = _newest(self._ledger), time.monotonic()
        if time.monotonic() - self._since < GAP_SECONDS:
            return True
        self._final, self._watched = self._watched, 0
        return number > self._final


def _newest(ledger: Database) -> int:
    with ledger.read() as db:
        return int(db.scalar(select(func.max(TRAIL.c.number))) or 0)


def _lines(ledger: Database, after: int = 0, since: float = 0.0) -> Iterator[dict[str, Any]]:
    """Yield each line after this number and since then, in parts, so that no transaction stays open."""
    while True:
        with ledger.read() as db:
            query = (
                select(TRAIL, REQUESTS.c.email)
                .outerjoin(REQUESTS, REQUESTS.c.id == TRAIL.c.request_id)
                .where(TRAIL.c.number > after, TRAIL.c.at >= since)
                .order_by(TRAIL.c.number)
                .limit(AT_A_TIME)
            )
            found = db.execute(query).all()
            clicks = _clicks(db, found)
        for line in found:
            after = line.number
            yield _readable(line, clicks)
        if len(found) < AT_A_TIME:
            return


def _clicks(db: Connection, lines: Sequence[Line]) -> Clicks:
    """Return the clicks that decided the requests whose end is among these lines, by request and round."""
    ended = {line.request_id for line in lines if line.event in ENDS}
    found: Clicks = defaultdict(list)
    decided = select(TRAIL).where(TRAIL.c.request_id.in_(ended), TRAIL.c.event.in_(CLICKS))
    for click in db.execute(decided.order_by(TRAIL.c.number)):
        found[click.request_id, click.round].append(click)
    return found


def _readable(line: Line, clicks: Clicks) -> dict[str, Any]:
    click = line if line.event in CLICKS else None
    if line.event in ENDS and line.person_id:  # without a person, somebody did it in Conveyor
        earlier = [each for each in clicks[line.request_id, line.round] if each.number < line.number]
        click = earlier[-1] if earlier else None
    decision = CLICKS[click.event] if click else ENDS.get(line.event, "")
    chosen = json_of(click.detail) if click else {}
    chosen = chosen if isinstance(chosen, dict) else {}
    said = json_of(line.detail) if line.event in (*ENDS, COLLEAGUES) else None
    groups = groups_of(chosen.get("wanted", chosen.get("groups")))
    if line.event in (APPROVE.ends_as, CHANGED):
        groups = groups_of(said)  # those that Conveyor says it gave
    note = "" if line is click else line.detail
    if isinstance(said, list):  # groups have a column
        note = ", ".join(map(str, said)) if line.event == COLLEAGUES else ""
    return {
        "number": line.number,
        "time": datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds"),
        "event": line.event,
        "request": line.request_id,
        "round": line.round,
        "customer": line.email or "",
        "person": line.person_id,
        "person_email": line.person_email,
        "decision": decision,
        "groups": _named(groups) if decision in GIVES_GROUPS else None,
        "groups_before": _named(groups_of(chosen.get("basis"))),
        "reason": str(chosen.get("reason") or chosen.get("revoke_reason") or chosen.get("note") or ""),
        "nda_skipped": bool(chosen.get("nda_bypass")) if click and decision in GIVES_ACCESS else None,
        "access_ends": str(chosen.get("expires_at") or ""),
        "waited_seconds": None if line.waited is None else round(line.waited, 1),
        "note": note,
    }


def _named(groups: Groups | None) -> list[dict[str, str]] | None:
    return None if groups is None else [{"id": group.id, "name": group.name} for group in groups]


def _cell(value: object) -> object:
    """Return the value as a cell that people understand, and that no spreadsheet takes for a formula."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = "; ".join(group["name"] for group in value) or "basic access only"
    if isinstance(value, str) and value.lstrip().startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return value
