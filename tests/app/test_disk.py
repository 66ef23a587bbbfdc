"""With a ledger that is locked, read-only, full or corrupted, the app says so and loses nothing."""

import os
import resource
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

import pytest

import blocks
from ledger.connecting import BUSY_SECONDS
from ledger.database import Database
from sandbox.workspace import ANN
from tests.support.steps import posted, request_of, run, writes
from tests.support.world import COMMAND, World, eventually

# Root may write to every file. Without this capability it may not.
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []


def refuses_to_start(world: World) -> str:
    """Start the app, which must end and leave the ledger's file as it was; return its log."""
    before = contents(world)
    process = world.launch()
    assert process.wait(timeout=30) == 1
    assert contents(world) == before
    return world.log()


def contents(world: World) -> bytes:
    return world.database.read_bytes()


def not_recorded(world: World, ts: str) -> None:
    """Click, and check that the person is told what to do because the click could not be recorded."""
    answer = world.slack.click(ANN, ts, "approve")
    assert answer.status == 200
    world.told(ANN, blocks.LEDGER_BUSY)


def still_works(world: World, request_id: str) -> None:
    """Check that nothing was decided, and that a click decides now."""
    card = world.shows(request_id, "pending")
    assert writes(world, request_id) == []
    assert world.ledger("SELECT state FROM requests") == [("pending",)]
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_id, "approved", seconds=30)


def test_locked_by_another_program(world: World) -> None:
    world.start()
    card = posted(world)
    blocker = sqlite3.connect(world.database, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    for _ in range(2):  # also behind the background, which waits for the same file
        not_recorded(world, card.ts)
        world.slack.private.clear()
    blocker.execute("ROLLBACK")
    still_works(world, request_of(card))
    world.stop()
    blocker.execute("BEGIN EXCLUSIVE")
    world.waits["ledger.preparing.PREPARE_SECONDS"] = 1
    assert world.launch().wait(timeout=30) == 1
    assert "cannot start: the ledger failed: database is locked" in world.log()
    del world.waits["ledger.preparing.PREPARE_SECONDS"]
    world.launch()
    time.sleep(BUSY_SECONDS + 1)  # as if other processes were preparing the ledger
    blocker.execute("ROLLBACK")
    eventually(world.serves, 30)
    blocker.close()


def test_read_only(world: World) -> None:
    world.start()
    card = posted(world)
    world.stop()
    world.database.chmod(0o400)
    world.command = [*WITHOUT_RIGHTS, *COMMAND]
    said = refuses_to_start(world)
    assert f"cannot be written: Permission denied: {world.database}" in said
    assert f"Please run: chmod u+rwX {world.database}" in said
    world.database.chmod(0o600)
    world.start()
    still_works(world, request_of(card))


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file away takes root")
@pytest.mark.parametrize("given", ["folder", "file", "log"])
def test_of_another_user(world: World, given: str) -> None:
    """As an engine lays a volume, or as root leaves a restored backup."""
    world.start()
    card = posted(world)
    world.stop()
    place = {
        "folder": world.database.parent,
        "file": world.database,
        "log": Path(f"{world.database}-wal"),
    }[given]
    place.touch()
    mode = place.stat().st_mode
    os.chown(place, 10001, 10001)
    place.chmod(0o755 if given == "folder" else 0o644)
    world.command = [*WITHOUT_RIGHTS, *COMMAND]
    said = refuses_to_start(world)
    assert f"cannot be written: Permission denied: {world.database}" in said
    assert f"run this as root: chown 0 {place}\n" in said
    assert "DATABASE_URL" not in said
    os.chown(place, 0, 0)
    place.chmod(mode)
    world.start()
    still_works(world, request_of(card))


def test_full(world: World) -> None:
    """A limit on the size of files stands in for a full disk: the ledger's journal cannot grow."""
    world.start()
    card = posted(world)
    eventually(lambda: not world.ledger("SELECT 1 FROM requests WHERE show_at IS NOT NULL"))
    journal = Path(f"{world.database}-wal")
    limited = limit_files(world, journal.stat().st_size)
    not_recorded(world, card.ts)
    assert world.readiness()[0] in (200, 503)
    for pid in limited:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    still_works(world, request_of(card))


def test_full_is_a_reason_at_once_and_not_conveyors_fault(world: World) -> None:
    world.start()
    card = posted(world)
    before = len(world.log())
    limited = limit_files(world, Path(f"{world.database}-wal").stat().st_size)
    eventually(lambda: said(world).startswith("Ledger: the ledger failed: "), 8)
    time.sleep(4)  # several writes fail
    assert "Conveyor" not in said(world)
    told = [line for line in world.log()[before:].splitlines() if "level=INFO" not in line]
    assert len(told) == 1
    assert 'level=WARNING at=ledger.database ledger=failing cause="the ledger failed: ' in told[0]
    for pid in limited:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    eventually(lambda: said(world) == "", 20)
    still_works(world, request_of(card))


def said(world: World) -> str:
    """Return the reasons of /readyz."""
    return " ".join(world.readiness()[1]["reasons"])


@pytest.mark.parametrize("folder", ["a#b", "a?b", "a%23b", "a b&c=d"])
def test_a_folder_may_have_any_name(world: World, folder: str) -> None:
    world.database = world.folder / unquote(folder) / "ledger.db"
    world.settings["DATABASE_URL"] = f"sqlite:///{world.folder}/{folder}/ledger.db"
    for _ in range(2):
        found = run(world, "check")[1]
        assert f"✓ Ledger: {world.database} " in found, found
        world.launch()
        eventually(world.serves, 60)
        world.stop()
        assert world.database.exists()
    assert {file.name for file in world.folder.iterdir()} == {unquote(folder), "app.log", "said"}


def test_a_start_waits_while_sqlite_closes_or_recovers_the_file(world: World) -> None:
    """Meanwhile another connection has the whole file for itself, also against readers."""
    world.start()
    card = posted(world)
    world.stop()
    other = sqlite3.connect(world.database, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    world.launch()
    time.sleep(BUSY_SECONDS + 3)
    other.execute("ROLLBACK")
    other.close()
    eventually(world.serves, 30)
    still_works(world, request_of(card))


def limit_files(world: World, size: int) -> list[int]:
    """Forbid the app's processes to make files larger than this; return their ids."""
    assert world.process
    found = subprocess.run(
        ["/bin/ps", "-o", "pid=", "-g", str(world.process.pid)], capture_output=True, text=True, check=True
    )
    pids = [int(pid) for pid in found.stdout.split()]
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    return pids


def test_not_a_database(world: World) -> None:
    world.database.parent.mkdir()
    world.database.write_bytes(b"somebody's letters " * 1000)
    assert "cannot start: the ledger failed: file is not a database" in refuses_to_start(world)


def test_corrupted_within(world: World) -> None:
    world.start()
    card = posted(world)
    world.stop()
    kept = world.folder / "kept.db"
    with sqlite3.connect(world.database) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'requests'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    shutil.copy(world.database, kept)
    with world.database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size))
    said = refuses_to_start(world)
    assert "cannot start: the ledger" in said
    assert "damaged" in said or "malformed" in said
    shutil.copy(kept, world.database)
    world.start()
    still_works(world, request_of(card))


@pytest.mark.parametrize("ending", ["-wal", "-shm"])
def test_a_file_that_sqlite_removes_meanwhile_keeps_no_app_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Whoever closes the ledger last removes these, at any moment."""
    beside = tmp_path / f"ledger.db{ending}"
    beside.touch()
    access = os.access

    def remove_first(place: str, mode: int) -> bool:
        if place == str(beside):
            beside.unlink(missing_ok=True)
        return access(place, mode)

    monkeypatch.setattr(os, "access", remove_first)
    with closing(Database(f"sqlite:///{tmp_path}/ledger.db")) as database:
        database.prepare()
    assert not beside.exists()
