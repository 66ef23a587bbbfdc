"""The ledger's tables are made and upgraded as a whole or not at all, and never downgraded."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from ledger.database import Database, LedgerError
from ledger.tables import METADATA
from sandbox.app_process import app_files
from sandbox.workspace import ANN
from tests.support.steps import posted, request_of
from tests.support.world import ROOT, World

NEXT = '''"""A made-up next version."""

import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("requests", sa.Column("favorite", sa.Text()))
    op.execute("UPDATE requests SET favorite = email")
'''


def test_the_revisions_make_the_tables_that_the_app_uses(database_url: str) -> None:
    database = Database(database_url)
    with closing(database):
        database.prepare()
        database.prepare()  # the second time there is nothing to do
        with database.read() as db:
            context = MigrationContext.configure(db, opts={"compare_type": True})
            assert compare_metadata(context, METADATA) == []


@pytest.fixture
def next_version(tmp_path: Path) -> Callable[[str], Path]:
    """A function that makes a copy of the app with one more revision."""

    def make(revision: str) -> Path:
        made = tmp_path / "next"
        for file in app_files():
            (made / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, made / file.relative_to(ROOT))
        (made / "ledger/migrations/versions/9999_next.py").write_text(revision)
        return made

    return make


def test_a_newer_version_upgrades_the_ledger_and_a_backup_leads_back(
    world: World, next_version: Callable[[str], Path], tmp_path: Path
) -> None:
    world.start()
    card = posted(world)
    world.stop()
    newer = next_version(NEXT)
    world.command = [sys.executable, str(newer / "app.py")]
    backup = tmp_path / "backup.db"
    made = subprocess.run([*world.command, "backup", str(backup)], env=world.environment(), timeout=60)
    assert made.returncode == 0  # by the newer version, before it ever served
    world.start()
    assert world.ledger("SELECT favorite FROM requests") == [("jane@acme.com",)]
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")
    world.stop()
    upgraded = world.database.read_bytes()
    world.command = []
    assert world.launch().wait(timeout=30) == 1
    assert "cannot start: a newer version of this app made the ledger" in world.log()
    assert world.database.read_bytes() == upgraded
    world.process = None
    for file in world.database.parent.iterdir():
        file.unlink()
    shutil.copy(backup, world.database)
    world.start()  # it waits for the lease that the backup still has
    world.shows(request_of(card), "approved elsewhere", seconds=40)
    assert len(world.cards(request_of(card))) == 1


def test_versions_with_the_same_tables_take_turns(world: World, next_version: Callable[[str], Path]) -> None:
    other = next_version("")
    (other / "ledger/migrations/versions/9999_next.py").unlink()
    world.command = [sys.executable, str(other / "app.py")]
    world.start()
    card = posted(world)
    world.stop()
    world.command = []
    world.start()
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")


def test_an_upgrade_that_fails_leaves_the_ledger_as_it_was(
    world: World, next_version: Callable[[str], Path]
) -> None:
    world.start()
    card = posted(world)
    world.stop()
    before = schema(world.database)
    broken = NEXT + '    op.execute("UPDATE requests SET nothing = 1")\n'
    world.command = [sys.executable, str(next_version(broken) / "app.py")]
    assert world.launch().wait(timeout=30) == 1
    world.process = None
    assert "cannot start: the ledger failed" in world.log()
    assert "Traceback" not in world.log()
    assert schema(world.database) == before
    world.command = []
    world.start()
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")


def test_a_failed_upgrade_leaves_each_kind_of_database_as_it_was(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger import preparing as module

    database = Database(database_url)
    with closing(database):
        database.prepare()
        with database.read() as db:
            before = MigrationContext.configure(db).get_current_heads()

        def upgrade(db: Connection) -> None:
            db.execute(text("ALTER TABLE requests ADD COLUMN favorite TEXT"))
            db.execute(text("UPDATE requests SET nothing = 1"))

        monkeypatch.setattr(module, "upgrade", upgrade)
        with pytest.raises(LedgerError, match="the ledger failed"):
            database.prepare()
        monkeypatch.undo()
        database.prepare()
        with database.read() as db:
            assert MigrationContext.configure(db).get_current_heads() == before
            context = MigrationContext.configure(db, opts={"compare_type": True})
            assert compare_metadata(context, METADATA) == []


def test_a_ledger_without_a_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/ledger.db")
    with closing(database):
        with database.write() as db:
            db.execute(text("CREATE TABLE requests (id TEXT)"))
        with pytest.raises(LedgerError, match="from before version 1"):
            database.prepare()


def schema(file: Path) -> list[tuple[str]]:
    """Return the statements that made the tables of a ledger."""
    with closing(sqlite3.connect(file)) as db:
        return db.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
