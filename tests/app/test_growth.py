"""Decided requests cost nothing: SQLite takes as many steps with thousands of them as with none."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from bench.made_up import fill
from ledger.ledger import Ledger

WAITING, DECIDED = 10, 5_000
STEPS = 100
QUESTIONS: dict[str, Callable[[Ledger], object]] = {
    "due": lambda ledger: ledger.decisions.due(1e10, 10),
    "failing": lambda ledger: ledger.upkeep.failing(),
    "missing": lambda ledger: ledger.queue.missing(set(), 1e10, 10),
    "next_post": lambda ledger: ledger.cards.next_post(1e10),
    "next_update": lambda ledger: ledger.cards.next_update(1e10),
    "open_rooms": lambda ledger: ledger.polls.open_rooms(),
    "settled_among": lambda ledger: ledger.queue.settled_among(f"req-{number}" for number in range(WAITING)),
    "now": lambda ledger: ledger.totals.now(),
    "next_open": lambda ledger: ledger.cards.next_open(""),
}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, int], int]]:
    """Return how many hundreds of SQLite's steps a query takes with so many decided requests."""
    taken = [0]

    def count() -> None:
        taken[0] += 1

    def connected(connection: sqlite3.Connection, _: object) -> None:
        connection.set_progress_handler(count, STEPS)

    ledgers: dict[int, Ledger] = {}
    folder: Path = tmp_path_factory.mktemp("growth")
    for decided in (0, DECIDED):
        url = f"sqlite:///{folder}/{decided}.db"
        fill(url, WAITING, decided)
        ledgers[decided] = Ledger(url)
    event.listen(Engine, "connect", connected)

    def ask(question: str, decided: int) -> int:
        before = taken[0]
        QUESTIONS[question](ledgers[decided])
        return taken[0] - before

    yield ask
    event.remove(Engine, "connect", connected)
    for ledger in ledgers.values():
        ledger.database.close()


@pytest.mark.parametrize("question", QUESTIONS)
def test_decided_requests_cost_nothing(steps: Callable[[str, int], int], question: str) -> None:
    assert steps(question, DECIDED) <= steps(question, 0) + 2
