"""Measures what a card asks the ledger, with few and with many decided requests, and by which index."""

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

TITLE = "Questions of a card to the ledger"
WAITING = 100
DECIDED = (1_000, 100_000)
ALLOWED_GROWTH = 2.0
TIMES = 50
FLOOR = "a row by its number, without the app"
ALL_DOMAINS = "which domains could it be mistaken for?"


def measure(setting: Setting) -> Section:
    """Measure each question with both numbers of decided requests."""
    section = Section(TITLE, ("question", *(f"{decided:,} decided" for decided in DECIDED), "found by"))
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
        "own query plan says how a question finds its rows.",
        "One question is about every company that was ever let in (5,000). It is asked once a card and grows "
        "with their number, and the promise below leaves it out.",
    ]
    section.targets = [
        Target("A card's question, 100,000 decided vs. 1,000, the worst", growth, ALLOWED_GROWTH, "×")
    ]
    return section


def _questions(ledger: Ledger) -> dict[str, Callable[[], object]]:
    """Return what is asked between a request and its decided card, about the last decided one's colleague."""
    row = ledger.decisions.find("req-7")
    if row is None:
        raise LookupError("the made-up request is missing")
    channels, now = frozenset([made_up.CHANNEL]), time.time()
    return {
        "a click: which request is it?": lambda: ledger.decisions.find(row.id),
        "a menu: which card is it?": lambda: ledger.decisions.find_by_card(channels, row.card_ts),
        "what did this person and company ask before?": lambda: ledger.memory.past(row),
        "what did a colleague get, and still has?": lambda: ledger.same.of(row),
        ALL_DOMAINS: ledger.known.customers,
        "which card is to be posted?": lambda: ledger.cards.next_post(now),
        "which card is to be updated?": lambda: ledger.cards.next_update(now),
        "which decision is to be carried out?": lambda: ledger.decisions.due(now, 16),
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
