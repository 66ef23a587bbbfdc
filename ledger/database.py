"""The database under the ledger: short transactions, on SQLite or PostgreSQL, and a wake-up after each."""

import errno
import logging
import os
import shlex
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import SQLAlchemyError

from ledger.clock import Clock
from ledger.connecting import TURN_SECONDS, engine_for, url_of
from ledger.errors import LedgerError, NotWritable, OddValue, failure
from ledger.fair_lock import FairLock

__all__ = ["Database", "LedgerError", "OddValue"]

log = logging.getLogger(__name__)


class Database:
    """Reads and writes of the ledger's tables. Every method may raise LedgerError.

    `problem` says why the last write, or a read since then, failed; it is empty while the ledger is well.
    With `patience` statements may take so many seconds, and otherwise no longer than a click may wait.
    """

    def __init__(self, database_url: str, patience: float = 0.0) -> None:
        url = url_of(database_url)
        self.clock = Clock()
        self._database_url = database_url
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._write_lock = FairLock()
        self._changed = threading.Condition()
        self._changes = 0
        self._telling = threading.Lock()
        self._well_at = 0.0
        self.problem = ""
        if self._is_sqlite:
            _make_private_file(url.database or "")
        self._engine = engine_for(database_url, patience)

    def prepare(self) -> None:
        """Make the tables, or bring those of an earlier version up to date, wholly or not at all.

        Raises LedgerError if the app cannot work with this database. Several processes may do so at once.
        """
        # Imported here, since Alembic takes memory, and whoever serves needs none of it.
        from ledger.preparing import prepare

        prepare(self._database_url)

    def close(self) -> None:
        self._engine.dispose()

    @property
    def changes(self) -> int:
        """The number of writes of this process that may have made work."""
        return self._changes

    def wait_for_change(self, since: int, seconds: float) -> None:
        """Return when the count is no longer `since`, or after so many seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._changes != since, timeout=max(0.0, seconds))

    def wake(self) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    def insert_if_absent(self, table: Table) -> Any:
        """Return a statement that inserts the rows it is executed with, but for those that are there."""
        if self._is_sqlite:
            return sqlite_insert(table).on_conflict_do_nothing()
        from sqlalchemy.dialects.postgresql import insert  # only here, since it takes memory

        return insert(table).on_conflict_do_nothing()

    def update(self, statement: Any, *, wakes: bool = True) -> bool:
        """Execute one statement in a transaction of its own, and return whether it changed a row."""
        with self.write(wakes) as db:
            return bool(db.execute(statement).rowcount)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._failures(), self._engine.connect() as db:
            yield db

    @contextmanager
    def write(self, wakes: bool = True) -> Iterator[Connection]:
        """Open one transaction, which may have made work for the loops of this process: `wakes` wakes them.

        SQLite has one writer at a time, so threads of this process queue here.
        """
        with self._failures():
            if self._is_sqlite and not self._write_lock.acquire(timeout=TURN_SECONDS):
                self._tell("the ledger is busy")
                raise LedgerError(self.problem)
            try:
                with self._engine.begin() as db:
                    yield db
            finally:
                if self._is_sqlite:
                    self._write_lock.release()
        self._tell("")
        if wakes:
            self.wake()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except SQLAlchemyError as error:
            failed = failure(error)
            # What began before the last write that succeeded says nothing new.
            if began > self._well_at and not isinstance(failed, OddValue):
                self._tell(str(failed))
            raise failed from None

    def _tell(self, problem: str) -> None:
        """Keep how the ledger is, and log it when it becomes ill or well."""
        with self._telling:
            before, self.problem = self.problem, problem
            if not problem:
                self._well_at = time.monotonic()
        if problem and not before:
            log.warning("ledger=failing cause=%r", problem)
        elif before and not problem:
            log.info("ledger=well")


def _make_private_file(path: str) -> None:
    """Make the file and its folder for this user alone. SQLite's own helper files get the same rights."""
    try:
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        if places := _closed_places(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), places[0])
    except OSError as error:
        text = f"the ledger's file cannot be written: {error.strerror}: {path}"
        is_right = isinstance(error, PermissionError)
        raise NotWritable(text, how_to_own(path) if is_right else LedgerError.fix) from None
    _shut_others_out(os.path.realpath(path))


def how_to_own(path: str) -> str:
    """Return what lets this user write the ledger's file, in a sentence with the command."""
    me = os.geteuid()
    if foreign := [place for place in _closed_places(path) if os.stat(place).st_uid != me]:
        return f"If that folder is only for the ledger, run this as root: chown {me} {shlex.join(foreign)}"
    if own := _closed_places(path):
        return f"Please run: chmod u+rwX {shlex.join(own)}"
    folder = shlex.quote(str(Path(path).absolute().parent))
    return f"Please run this as root: mkdir -p {folder} && chown {me} {folder}"


def _closed_places(path: str) -> list[str]:
    """Return the ledger's folder and files that are there and that this user may not write."""
    file = Path(path).absolute()
    places = [str(file.parent), *(f"{file}{ending}" for ending in ("", "-wal", "-shm"))]
    closed = [place for place in places if os.path.exists(place) and not os.access(place, os.W_OK)]
    # Another process may have removed one of SQLite's own files between the two questions.
    return [place for place in closed if os.path.exists(place)]


def _shut_others_out(path: str) -> None:
    """Set the mode of the ledger's files to 600 if others can read them and they are this user's; log it."""
    files = [file for file in (path, f"{path}-wal", f"{path}-shm") if _lets_others_in(file)]
    for file in files:
        with suppress(OSError):
            if os.stat(file).st_uid == os.geteuid():
                os.chmod(file, 0o600)
    if left := [file for file in files if _lets_others_in(file)]:
        log.warning(
            "Other users can read the ledger, and this app did not change that: "
            "make the user who runs it the owner of %s, and set the mode to 600.",
            " and ".join(left),
        )
    elif files:
        log.warning("Other users could read the ledger, so the mode of %s is 600 now.", " and ".join(files))


def _lets_others_in(file: str) -> bool:
    try:
        return bool(stat.S_IMODE(os.stat(file).st_mode) & 0o077)
    except OSError:
        return False  # not there: SQLite makes and removes the files beside the ledger by itself
