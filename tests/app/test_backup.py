"""`python app.py backup FILE`: whole, private, and made while the app runs, or a sentence says why not."""

import os
import re
import shlex
import signal
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

import pytest

from sandbox.workspace import ANN
from tests.requirements import find, needs
from tests.support.postgres import Postgres
from tests.support.steps import posted, request_of, run
from tests.support.world import COMMAND, World, eventually

SAID = re.compile(r"(.*) has (\d+) requests? and (\d+) lines? of the audit trail\.\n")


def rows(file: Path, query: str) -> list[tuple[object, ...]]:
    """Return what this query finds in a backup, which is not changed by that."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as db:
        return db.execute(query).fetchall()


def fails(world: World, file: Path) -> str:
    """Check that no backup is made and that nothing is left of it; return the sentence."""
    before = sorted(file.parent.iterdir()) if file.parent.exists() else []
    status, said = run(world, "backup", str(file))
    assert status == 1
    assert "Traceback" not in said
    after = sorted(file.parent.iterdir()) if file.parent.exists() else []
    assert set(after) - {world.folder / "said"} == set(before) - {world.folder / "said"}
    return said


def started(
    world: World, *before: str, file: str, stdout: int | BinaryIO = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    """Start the command in the world's folder, behind another command."""
    command = [*before, *COMMAND, "backup", file]
    environment = world.environment(PYTHONDONTWRITEBYTECODE="1")  # which a limit on files would cut short
    return subprocess.Popen(command, env=environment, cwd=world.folder, stdout=stdout, stderr=subprocess.PIPE)


def test_each_backup_is_whole_while_clicks_come_in(world: World) -> None:
    world.start()
    cards = [posted(world, f"{name}@acme.com") for name in ("ann", "ben", "cleo", "dan")]
    with ThreadPoolExecutor() as pool:
        clicks = [pool.submit(world.slack.click, ANN, card.ts, "approve") for card in cards]
        backups = []
        for number in range(3):
            file = world.folder / f"{number}.db"
            status, said = run(world, "backup", str(file))
            assert status == 0, said
            backups.append((file, said))
    assert [click.result().status for click in clicks] == [200] * len(cards)
    for file, said in backups:
        told = SAID.fullmatch(said)
        assert told, said
        assert told.groups() == (str(file), "4", str(rows(file, "SELECT count(*) FROM trail")[0][0]))
        assert file.stat().st_mode & 0o777 == 0o600
        assert rows(file, "PRAGMA integrity_check") == [("ok",)]
        # Each claim is there with its line of the trail, or not at all.
        claims = "SELECT count(*) FROM requests WHERE reviewer_id != ''"
        assert rows(file, claims) == rows(file, "SELECT count(*) FROM trail WHERE event = 'approving'")
    for card in cards:
        world.shows(request_of(card), "approved")
    assert not list(world.folder.glob(".backup-*"))
    assert not list(world.folder.glob("*.db-*"))


def test_a_backup_replaces_nothing_and_changes_nothing(world: World) -> None:
    world.start()
    posted(world)
    world.stop()
    before = world.database.read_bytes()
    file = world.folder / "here.db"
    file.write_text("somebody's letters")
    assert f"{file} is already there." in fails(world, file)
    assert file.read_text() == "somebody's letters"
    file.unlink()
    file.symlink_to("nowhere")
    assert f"{file} is already there." in fails(world, file)
    made = started(world, file="a%20b?c.db")  # from where the command is typed
    assert made.communicate(timeout=60)[1] == b""
    assert rows(world.folder / "a%20b?c.db".replace("%", "%25").replace("?", "%3f"), "SELECT 1") == [(1,)]
    assert world.database.read_bytes() == before


def test_a_ledger_that_cannot_be_copied_is_named_in_a_sentence(world: World) -> None:
    file = world.folder / "backup.db"
    assert f"There is no ledger at {world.database} yet." in fails(world, file)
    assert not world.database.parent.exists()
    world.start()
    posted(world)
    world.stop()
    assert "No such file or directory" in fails(world, world.folder / "missing" / "backup.db")
    whole = world.database.read_bytes()
    world.database.write_bytes(whole[:8192] + os.urandom(len(whole) - 8192))
    assert fails(world, file).startswith("No backup was made")
    world.database.write_bytes(b"somebody's letters " * 1000)
    assert fails(world, file) == f"No backup was made in {world.folder}: file is not a database.\n"
    assert world.database.read_bytes() == b"somebody's letters " * 1000


def test_a_full_disk_is_named_in_a_sentence(world: World) -> None:
    world.start()
    posted(world)
    limited = started(world, "prlimit", "--fsize=20480", file="backup.db")
    said = limited.communicate(timeout=60)[1].decode()
    assert limited.returncode == 1
    assert said.startswith(f"No backup was made in {world.folder}: ")
    assert "Traceback" not in said
    assert not list(world.folder.glob("*backup*"))
    with open("/dev/full", "wb") as full:
        untold = started(world, file="backup.db", stdout=full)
        assert untold.communicate(timeout=60)[1].startswith(b"The output could not be written: No space")
    assert (world.folder / "backup.db").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_leaves_nothing(world: World, number: int) -> None:
    world.start()
    world.stop()
    world.ledger("CREATE TABLE large AS SELECT zeroblob(200000000) AS zeros")
    copying = started(world, file="backup.db")
    eventually(lambda: [file for file in world.folder.glob(".backup-*/ledger.db") if file.stat().st_size])
    copying.send_signal(number)
    assert copying.communicate(timeout=60) == (b"", b"Stopped.\n")
    assert copying.returncode == 1
    assert not list(world.folder.glob("*backup*"))


def test_nobody_has_to_read_what_is_said(world: World) -> None:
    world.start()
    posted(world)
    end, given = os.pipe()
    os.close(end)
    untold = started(world, file="backup.db", stdout=given)
    os.close(given)
    assert untold.communicate(timeout=60)[1] == b""
    assert (world.folder / "backup.db").exists()


@needs("initdb")
def test_postgresql_has_its_own_command(world: World, postgres: Postgres) -> None:
    address = postgres.new_database().replace("+psycopg", "")
    world.settings["DATABASE_URL"] = address.replace("app@", "app:made-up-password@")
    world.start()
    posted(world)
    file = world.folder / "it's here.dump"
    said = fails(world, file)
    assert "made-up-password" not in said
    programs = find("pg_dump")
    assert programs
    environment = {"PATH": f"{Path(programs).parent}:{os.environ['PATH']}", "DATABASE_URL": address}
    subprocess.run(["/bin/bash", "-c", said.splitlines()[-1]], env=environment, check=True, timeout=60)
    assert file.stat().st_mode & 0o777 == 0o600
    listed = subprocess.run([f"{Path(programs).parent}/pg_restore", "--list", file], capture_output=True)
    assert b"TABLE DATA public trail" in listed.stdout
    assert shlex.quote(str(file)) in said
