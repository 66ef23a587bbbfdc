"""Measures the queries behind a card, with few and with many decided requests, and names their indexes."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

from sqlalchemy import Engine, event

from bench import made_up
from bench.report import Section, Target
from bench.setting import Setting
from ledger.ledger import Ledger
from ledger.tables import REQUESTS

TITLE = "Queries behind a card"
WAITING = 100
DECIDED = (1_000, 100_000)
ALLOWED_GROWTH = 2.0
TIMES = 50
FLOOR = "one row by its number, without the app"
ALL_DOMAINS = "the domains of all customers"


def measure(setting: Setting) -> Section:
    """Measure each query with both numbers of decided requests."""
    section = Section(TITLE, ("query", *(f"{decided:,} decided" for decided in DECIDED), "found by"))
    found: dict[str, list[float]] = {}
    ways: dict[str, str] = {}
    for decided in DECIDED:
        ledger = Ledger(setting.new_ledger(WAITING, decided))
        with sqlite3.connect(setting.folder / "ledger.db") as plain:
            found.setdefault(FLOOR, []).append(_seconds(partial(_read_row, plain, decided)))
            for name, ask in _questions(ledger).items():
                found.setdefault(name, []).append(_seconds(ask))
                with _statements() as asked:
                    ask()
                ways[name] = _ways(plain, asked)
        plain.close()
        ledger.database.close()
    for name, seconds in found.items():
        cells = (f"{each * 1e6:,.0f} µs" for each in seconds)
        section.rows.append((name, *cells, ways.get(name, "")))
    growth = max(late / early for name, (early, late) in found.items() if name != ALL_DOMAINS)
    section.remarks = [
        f"{WAITING} requests wait. Medians of {TIMES} times in this process, without other work; SQLite's "
        "own query plan says how a query finds its rows.",
        "One query reads the domain of every company that was ever let in (5,000). It runs once a card and "
        "grows with their number, so the promise below leaves it out.",
    ]
    section.targets = [
        Target("Slowest query behind a card, 100,000 decided vs. 1,000", growth, ALLOWED_GROWTH, "×")
    ]
    return section


def _questions(ledger: Ledger) -> dict[str, Callable[[], object]]:
    """Return the queries between a request and its decided card, by what they find."""
    row = ledger.decisions.find("req-7")
    if row is None:
        raise LookupError("the made-up request is missing")
    channels, now = frozenset([made_up.CHANNEL]), time.time()
    return {
        "a click: its request": lambda: ledger.decisions.find(row.id),
        "a menu: its card": lambda: ledger.decisions.find_by_card(channels, row.card_ts),
        "earlier requests of the person and company": lambda: ledger.memory.past(row),
        "what a colleague was given": lambda: ledger.same.of(row),
        ALL_DOMAINS: ledger.known.customers,
        "the next card to post": lambda: ledger.cards.next_post(now),
        "the next card to update": lambda: ledger.cards.next_update(now),
        "decisions that are due": lambda: ledger.decisions.due(now, 16),
    }


def _read_row(plain: sqlite3.Connection, number: int) -> list[Any]:
    return plain.execute("SELECT * FROM requests WHERE rowid = ?", [number]).fetchall()


def _seconds(ask: Callable[[], object]) -> float:
    """Return how long this takes."""
    taken = []
    for _ in range(TIMES):
        started = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - started)
    return median(taken)


@contextmanager
def _statements() -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that the ledger sends meanwhile, with their parameters."""
    asked: list[tuple[str, Any]] = []

    def keep(_db: object, _cursor: object, statement: str, parameters: Any, *_others: object) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", keep)


def _ways(plain: sqlite3.Connection, asked: list[tuple[str, Any]]) -> str:
    """Return the indexes by which SQLite finds the rows, or that it reads all of them."""
    ways = []
    for statement, parameters in asked:
        for *_, step in plain.execute(f"EXPLAIN QUERY PLAN {statement}", parameters):
            if REQUESTS.name in step.split()[1:2]:
                _, _, index = step.partition(" INDEX ")
                ways.append(index.partition(" (")[0] or step.lower())
    return ", ".join(dict.fromkeys(ways))
