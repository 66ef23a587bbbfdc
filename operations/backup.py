"""Copies the ledger to a file while the app runs, or says how PostgreSQL is copied.

It changes nothing in the ledger, and upgrades nothing, so that it can be used right before an upgrade.
"""

import os
import shlex
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from ledger.connecting import url_of
from ledger.states import State
from text import counted

BUSY_SECONDS = 5.0  # while another program has the whole ledger for itself, and Ctrl-C has to wait
AT_ONCE = 1000  # pages, after which Ctrl-C is noticed
REQUESTS = "SELECT count(*) FROM requests WHERE state NOT IN (?, ?, ?)"
NOT_REQUESTS = (State.OUTAGE, State.OUTAGE_OVER, State.NUMBERS)


class NoBackup(Exception):
    """There is no backup. The text says why, and what to do."""


def backup(database_url: str, file: Path, say: Callable[[str], object]) -> None:
    """Copy the ledger to a new file that only this user can read, and say what is in it.

    The file is there only when the copy is complete. Raises NoBackup.
    """
    if os.path.lexists(file):
        raise NoBackup(f"{file} is already there. Choose another name: a backup never replaces a file.")
    url = url_of(database_url)
    if url.get_backend_name() != "sqlite":
        command = f'pg_dump --format=custom --file={shlex.quote(str(file))} "$DATABASE_URL"'
        raise NoBackup(
            "The ledger is in PostgreSQL, which brings its own program for backups. "
            f"With DATABASE_URL in the environment, run this:\n(umask 077; {command})"
        )
    ledger = Path(url.database or "").absolute()
    if not ledger.exists():
        raise NoBackup(f"There is no ledger at {ledger} yet. Check DATABASE_URL.")
    try:
        # SQLite makes files of its own beside the copy. They go with this folder, whatever happens.
        with TemporaryDirectory(dir=file.parent, prefix=".backup-") as folder:
            part = Path(folder, "ledger.db")
            part.touch(0o600)
            requests, lines = _copy(ledger, part)
            if os.path.lexists(file):
                raise NoBackup(f"{file} has appeared meanwhile, and stays as it is. Choose another name.")
            part.rename(file)
            _keep_name(file.parent)
    except sqlite3.Error as error:  # its words are about a file, and do not name it
        raise NoBackup(f"No backup was made in {file.parent}: {error}.") from None
    except OSError as error:
        raise NoBackup(f"No backup was made in {file.parent}: {error.strerror}.") from None
    say(f"{file} has {counted(requests, 'request')} and {counted(lines, 'line')} of the audit trail.")


def _copy(ledger: Path, part: Path) -> tuple[int, int]:
    """Copy the ledger as it is at one moment. Return how many requests and lines of the trail are in it."""
    source = f"file:{quote(str(ledger))}?mode=rw"  # which does not make it
    with (
        closing(sqlite3.connect(source, BUSY_SECONDS, isolation_level=None, uri=True)) as original,
        closing(sqlite3.connect(part, isolation_level=None)) as copy,
    ):
        # A transaction that reads sees one moment and holds up no click. Without it, each click that comes
        # in between two steps would let SQLite begin again.
        original.execute("BEGIN")
        original.execute("SELECT count(*) FROM sqlite_master").fetchone()
        original.backup(copy, pages=AT_ONCE)
        copy.execute("PRAGMA journal_mode = DELETE")  # so that a backup is always a single file
        if copy.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise NoBackup("No backup was made: the ledger is damaged. Keep the backups that you have.")
        (requests,) = copy.execute(REQUESTS, NOT_REQUESTS).fetchone()
        (lines,) = copy.execute("SELECT count(*) FROM trail").fetchone()
        return requests, lines


def _keep_name(folder: Path) -> None:
    """Let the names of the files in a folder survive a power cut, where its file system can do that."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
