"""The ledger's guarantees, on each database that the app runs on: one winner, one mark, one lease."""

import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from conveyor_client import AuthorizationRequest
from ledger.database import Database, LedgerError
from ledger.ledger import Ledger
from ledger.rows import Reviewer, Row
from ledger.states import APPROVE, REJECT, State
from tests.support.ledgers import new_ledger
from worker.back_off import pause
from worker.lease import HELD_SECONDS, LEASE_SECONDS, Lease

ANN = Reviewer("U0ANN", "Ann", "ann@harbor.example")
BOB = Reviewer("U0BOB", "Bob", "bob@harbor.example")


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    made = new_ledger(database_url)
    yield made
    made.database.close()


def asked(request_id: str = "r1", **more: Any) -> AuthorizationRequest:
    details = {"email": "jane@acme.com", "message": "hi", "dataroom_id": "room-1", "link": "", **more}
    return AuthorizationRequest(id=request_id, status="requested", received_at=5.0, **details)


def waiting(ledger: Ledger, request_id: str = "r1") -> Row:
    """Record a request that has a card and waits for a decision; return its row."""
    ledger.queue.record([asked(request_id)], 10.0)
    ledger.cards.posted(row(ledger, request_id), "C0", f"1.{request_id}")
    return row(ledger, request_id)


def row(ledger: Ledger, request_id: str = "r1") -> Row:
    found = ledger.decisions.find(request_id)
    assert found
    return found


def test_many_processes_may_make_the_tables_at_once(database_url: str) -> None:
    ledgers = [Ledger(database_url) for _ in range(8)]
    start = threading.Barrier(len(ledgers))

    def prepare(made: Ledger) -> tuple[str, int]:
        start.wait()
        made.database.prepare()
        return made.lease.read()

    with ThreadPoolExecutor(len(ledgers)) as pool:
        assert set(pool.map(prepare, ledgers)) == {("", 0)}
    for made in ledgers:
        made.database.close()


def test_a_request_is_recorded_once(ledger: Ledger) -> None:
    assert ledger.queue.record([asked(), asked("r2")], 10.0) == 2
    assert ledger.queue.record([asked(), asked("r2")], 11.0) == 0


def test_new_details_are_kept_and_shown(ledger: Ledger) -> None:
    before = waiting(ledger)
    ledger.queue.record([asked(message="changed")], 12.0)
    after = row(ledger)
    assert after.message == "changed"
    assert after.revision > before.revision
    assert after.show_at == 12.0


def test_one_of_a_hundred_claims_wins(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.database.TURN_SECONDS", 30.0)  # a hundred writers on a busy machine
    found = waiting(ledger)
    start = threading.Barrier(50)

    def claim(number: int) -> str:
        if number < 50:
            start.wait()
        decision = (APPROVE, REJECT)[number % 2]
        return ledger.decisions.claim(found, decision, (ANN, BOB)[number % 2], f"t{number}", 20.0)

    with ThreadPoolExecutor(50) as pool:
        won = [number for number, wins in enumerate(pool.map(claim, range(100))) if wins]
    assert len(won) == 1
    assert row(ledger).reviewer.id == (ANN, BOB)[won[0] % 2].id


@pytest.mark.parametrize("change", [{"round": 2}, {"channel": "C1"}, {"card_ts": "9.9"}])
def test_a_claim_counts_only_from_the_current_card(ledger: Ledger, change: dict[str, Any]) -> None:
    from dataclasses import replace

    found = replace(waiting(ledger), **change)
    assert not ledger.decisions.claim(found, APPROVE, ANN, "t1", 20.0)
    assert row(ledger).state == "pending"


def test_the_same_click_claims_only_once_even_after_a_give_back(ledger: Ledger) -> None:
    waiting(ledger)
    assert ledger.decisions.claim(row(ledger), APPROVE, ANN, "t1", 20.0)
    assert ledger.decisions.give_back(row(ledger), 21.0, "refused")
    assert not ledger.decisions.claim(row(ledger), APPROVE, ANN, "t1", 22.0)
    assert row(ledger).state == "pending"
    assert row(ledger).reviewer.id == ""
    assert ledger.decisions.claim(row(ledger), APPROVE, ANN, "t2", 23.0)


def test_a_refused_click_is_recorded_once(ledger: Ledger) -> None:
    assert ledger.decisions.record_click("refused", "r1", "U0SAM", "t1", "not listed")
    assert not ledger.decisions.record_click("refused", "r1", "U0SAM", "t1", "not listed")


LINE = "(number, at, event, request_id, round, person_id, person_email, detail, trigger_id)"


def trail(ledger: Ledger) -> list[tuple[Any, ...]]:
    """Return every line of the trail."""
    with ledger.database.read() as db:
        return [tuple(line) for line in db.execute(text("SELECT * FROM trail ORDER BY number"))]


def refuses(ledger: Ledger, statement: str) -> None:
    """Check that this statement fails because the trail can only grow, and that it changes no line."""
    before = trail(ledger)
    with pytest.raises(LedgerError, match="the trail can only grow"), ledger.database.write() as db:
        db.execute(text(statement))
    assert trail(ledger) == before


@pytest.mark.parametrize(
    ("key", "values"),
    [("number", "1, 1, 'x', '', 1, '', '', '', NULL"), ("trigger_id", "9, 1, 'x', '', 1, '', '', '', 't1'")],
)
def test_no_insert_updates_a_line_of_the_trail(ledger: Ledger, key: str, values: str) -> None:
    ledger.decisions.record_click("refused", "r1", "U0SAM", "t1", "not listed")
    upsert = f"INSERT INTO trail {LINE} VALUES ({values}) ON CONFLICT ({key}) DO UPDATE SET event = 'x'"
    refuses(ledger, upsert)


@pytest.mark.parametrize("insert", ["REPLACE", "INSERT OR REPLACE"])
@pytest.mark.parametrize(
    "values",
    [
        "1, 1, 'x', '', 1, '', '', '', NULL",
        "1, 1, 'x', '', 1, '', '', '', 't1'",
        "NULL, 1, 'x', '', 1, '', '', '', 't1'",
        "7, 1, 'x', '', 1, '', '', '', 't1'",
        "-1, 1, 'x', '', 1, '', '', '', NULL",
        "0, 1, 'x', '', 1, '', '', '', NULL",
    ],
)
def test_nothing_replaces_a_line_of_the_trail(tmp_path: Path, insert: str, values: str) -> None:
    ledger = new_ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.decisions.record_click("refused", "r1", "U0SAM", "t1", "not listed")
    refuses(ledger, f"{insert} INTO trail {LINE} VALUES ({values})")
    assert ledger.decisions.record_click("refused", "r1", "U0SAM", "t2", "not listed")
    assert not ledger.decisions.record_click("refused", "r1", "U0SAM", "t1", "not listed")
    ledger.database.close()


def test_a_change_needs_the_row_as_it_was_read(ledger: Ledger) -> None:
    before = waiting(ledger)
    assert ledger.decisions.claim(before, APPROVE, ANN, "t1", 20.0)
    assert not ledger.queue.handled_elsewhere(before, State.APPROVED_ELSEWHERE, 21.0)
    claimed = row(ledger)
    assert ledger.decisions.give_back(claimed, 22.0, "refused")
    assert ledger.decisions.claim(row(ledger), REJECT, BOB, "t2", 23.0, reason="no")
    assert not ledger.decisions.settle(claimed, 24.0)
    assert not ledger.decisions.mark_sent(claimed, 24.0)
    assert row(ledger).state == "rejecting"


def test_a_card_that_changed_while_it_was_drawn_is_drawn_again(ledger: Ledger) -> None:
    ledger.queue.record([asked()], 10.0)
    drawn = row(ledger)
    ledger.queue.record([asked(message="changed")], 11.0)
    ledger.cards.posted(drawn, "C0", "1.1")
    assert row(ledger).card_ts == "1.1"
    assert row(ledger).show_at is not None
    ledger.cards.shown(drawn)
    assert row(ledger).show_at is not None
    ledger.cards.shown(row(ledger))
    assert row(ledger).show_at is None


def test_cards_are_posted_oldest_first_and_one_that_keeps_failing_is_passed(ledger: Ledger) -> None:
    ledger.queue.record([asked("a"), asked("b")], 10.0)
    first = ledger.cards.next_post(10.0)
    assert first
    assert first.id == "a"
    ledger.cards.show_later(first, 20.0, failed=True)
    assert ledger.cards.next_post(11.0) is None  # it waits for the first one for a while, to keep the order
    ledger.cards.show_later(first, 30.0, failed=True)
    ledger.cards.show_later(first, 40.0, failed=True)
    second = ledger.cards.next_post(11.0)
    assert second
    assert second.id == "b"
    assert ledger.upkeep.failing() == ["a"]


def test_characters_that_databases_refuse_are_removed(ledger: Ledger) -> None:
    ledger.queue.record([asked("x", message="a\0b\ud800c")], 10.0)
    assert row(ledger, "x").message == "ab?c"
    assert ledger.decisions.find("no\0such\ud800id") is None


def test_one_process_holds_the_lease_until_it_stops_renewing_it(ledger: Ledger) -> None:
    now = [100.0, 5_000.0]  # the processes' clocks have nothing in common
    first, second = Lease(ledger.lease, lambda: now[0]), Lease(ledger.lease, lambda: now[1])
    first.tend()
    second.tend()
    assert first.held()
    assert not second.held()
    for _ in range(10):
        now[0] += 4
        now[1] += 4
        first.tend()
        second.tend()
    assert first.held()
    assert not second.held()
    now[0] += HELD_SECONDS  # the first is suspended, and stops working before another one may begin
    now[1] += HELD_SECONDS
    second.tend()
    assert not first.held()
    assert not second.held()
    now[1] += LEASE_SECONDS - HELD_SECONDS
    second.tend()
    assert second.held()
    now[0] += LEASE_SECONDS
    first.tend()
    assert not first.held()
    second.release()
    first.tend()
    assert first.held()


def test_the_ledger_is_private_to_its_owner(tmp_path: Path) -> None:
    made = Ledger(f"sqlite:///{tmp_path}/new/ledger.db")
    made.database.prepare()
    made.queue.record([asked()], 1.0)
    for file in (tmp_path / "new").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    made.database.close()


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[list[Path]]:
    """The files of an open ledger, after somebody made them readable for everybody."""
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.database.prepare()
    with made.database.read() as db:
        db.execute(text("SELECT * FROM trail"))
        files = sorted(tmp_path.iterdir())
        for file in files:
            file.chmod(0o644)
        yield files
    made.database.close()


def test_a_ledger_that_others_can_read_is_made_private(
    shared: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    Database(f"sqlite:///{shared[0]}").close()
    assert [(file.name, oct(stat.S_IMODE(file.stat().st_mode))) for file in shared] == [
        ("ledger.db", "0o600"),
        ("ledger.db-shm", "0o600"),
        ("ledger.db-wal", "0o600"),
    ]
    (warning,) = caplog.records
    said = warning.getMessage()
    assert warning.levelname == "WARNING"
    assert said.startswith("Other users could read the ledger, so the mode of")
    assert all(str(file) in said for file in shared)
    caplog.clear()
    Database(f"sqlite:///{shared[0]}").close()
    assert caplog.records == []


def test_a_ledger_of_another_user_that_others_can_read_is_only_warned_about(
    shared: list[Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: shared[0].stat().st_uid + 1)
    Database(f"sqlite:///{shared[0]}").close()
    assert {stat.S_IMODE(file.stat().st_mode) for file in shared} == {0o644}
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert f"make the user who runs it the owner of {shared[0]}" in warning.getMessage()


def test_the_error_of_a_busy_ledger_shows_no_values(ledger: Ledger, database_url: str) -> None:
    waiting(ledger)
    blocker = create_engine(database_url)
    with blocker.connect() as db:
        db.execute(text("UPDATE requests SET round = round"))
        with pytest.raises(LedgerError) as caught:
            ledger.decisions.claim(row(ledger), REJECT, ANN, "t1", 20.0, reason="secret reason")
    blocker.dispose()
    said = str(caught.value)
    assert "locked" in said or "timeout" in said
    assert "secret" not in said
    assert row(ledger).state == "pending"


def test_pauses_double_up_to_five_minutes() -> None:
    assert [pause(failures) for failures in (0, 1, 2, 8, 9, 10_000)] == [1, 2, 4, 256, 300, 300]


def test_a_page_of_20000_requests_is_recorded(ledger: Ledger) -> None:
    many = [asked(f"r{number}") for number in range(20_000)]
    assert ledger.queue.record(many, 10.0) == 20_000
    assert ledger.queue.record(many, 11.0) == 0
    with ledger.database.read() as db:
        assert db.scalar(text("SELECT count(*) FROM trail WHERE event = 'asked'")) == 20_000
