"""The database under the ledger: short transactions, on SQLite or PostgreSQL, and a wake-up after each.

LedgerError
├── OddValue      the database is well, and does not take this value
└── NotWritable   the ledger's file cannot be written by this user
"""

import errno
import logging
import os
import shlex
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, event, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from ledger.clock import Clock
from ledger.fair_lock import FairLock
from ledger.migrations import CannotUpgrade, upgrade
from ledger.rows import json_of

log = logging.getLogger(__name__)

# A click may wait for both, for its turn among the threads of this process and for a file that is locked from
# outside, and still has to be answered within Slack's three seconds.
TURN_SECONDS = 1.2
BUSY_SECONDS = 0.8
PREPARE_SECONDS = 20  # while others that start do the same
# The last one frees the rows that a process holds which was stopped in the middle of a transaction.
POSTGRESQL_OPTIONS = "-c statement_timeout=5s -c lock_timeout=2s -c idle_in_transaction_session_timeout=5s"


class LedgerError(Exception):
    """The ledger cannot be read or written now. A commit whose answer was lost may have been made.

    `fix` says what to do if that keeps the app from starting.
    """

    fix = "Please look at DATABASE_URL."


class OddValue(LedgerError):
    """The database is well and does not take this value."""


class NotWritable(LedgerError):
    """The ledger's file cannot be written by this user."""

    def __init__(self, text: str, fix: str) -> None:
        super().__init__(text)
        self.fix = fix


# The classes of PostgreSQL's errors that are about a value: data, constraints, and limits such as an index's.
ABOUT_A_VALUE = ("22", "23", "54")


class Database:
    """Reads and writes of the ledger's tables. Every method may raise LedgerError."""

    def __init__(self, database_url: str) -> None:
        url = make_url(database_url)
        self.clock = Clock()
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._write_lock = FairLock()
        self._changed = threading.Condition()
        self._changes = 0
        options: dict[str, Any] = {"pool_size": 10, "max_overflow": 20, "pool_timeout": TURN_SECONDS}
        options["json_deserializer"] = json_of
        if self._is_sqlite:
            _make_private_file(url.database or "")
            options["connect_args"] = {"timeout": BUSY_SECONDS}
        else:
            options["pool_pre_ping"] = True
            options["connect_args"] = {"connect_timeout": 5, "options": POSTGRESQL_OPTIONS}
        self._engine = create_engine(url, **options)
        if self._is_sqlite:
            event.listen(self._engine, "connect", _make_durable)

    def prepare(self) -> None:
        """Make the tables, or bring those of an earlier version up to date, wholly or not at all.

        Several processes may do so at once.
        """
        try:
            with self._errors():
                if self._is_sqlite:
                    self._upgrade_sqlite()
                else:
                    self._upgrade_postgresql()
        except CannotUpgrade as error:
            raise LedgerError(str(error)) from None

    def _upgrade_sqlite(self) -> None:
        with self._engine.connect() as db:
            db.execute(text(f"PRAGMA busy_timeout = {1000 * PREPARE_SECONDS}"))
            # Python's library begins no transaction by itself before a table is changed.
            db.execute(text("BEGIN IMMEDIATE"))
            if db.scalar(text("PRAGMA quick_check(1)")) != "ok":
                raise LedgerError("the ledger is damaged: put a backup in its place")
            upgrade(db)
            db.commit()
        self._engine.dispose()  # the only connection up to now, and its patience with it

    def _upgrade_postgresql(self) -> None:
        with self._engine.begin() as db:
            for limit in ("statement_timeout", "lock_timeout"):
                db.execute(text(f"SET LOCAL {limit} = '{PREPARE_SECONDS}s'"))
            # PostgreSQL fails when two processes make the same thing at once: one after the other, then.
            db.execute(text("SELECT pg_advisory_xact_lock(20210923)"))
            upgrade(db)

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
        insert = sqlite_insert if self._is_sqlite else postgresql_insert
        return insert(table).on_conflict_do_nothing()

    def update(self, statement: Any, *, wakes: bool = True) -> bool:
        """Execute one statement in a transaction of its own, and return whether it changed a row."""
        with self.write(wakes) as db:
            return bool(db.execute(statement).rowcount)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._errors(), self._engine.connect() as db:
            yield db

    @contextmanager
    def write(self, wakes: bool = True) -> Iterator[Connection]:
        """Open one transaction, which may have made work for the loops of this process: `wakes` wakes them.

        SQLite has one writer at a time, so threads of this process queue here.
        """
        with self._errors():
            if self._is_sqlite and not self._write_lock.acquire(timeout=TURN_SECONDS):
                raise LedgerError("the ledger is busy")
            try:
                with self._engine.begin() as db:
                    yield db
            finally:
                if self._is_sqlite:
                    self._write_lock.release()
        if wakes:
            self.wake()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # SQLAlchemy's own text repeats the values, customers' words among them.
            cause = getattr(error, "orig", None) or type(error).__name__
            is_odd = isinstance(error, (DataError, IntegrityError)) or (
                str(getattr(cause, "sqlstate", None))[:2] in ABOUT_A_VALUE
            )
            raise (OddValue if is_odd else LedgerError)(f"the ledger failed: {cause}") from None


def _make_durable(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA temp_store=MEMORY")  # in a container there may be no other place to write
    cursor.close()


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
    return [place for place in places if os.path.exists(place) and not os.access(place, os.W_OK)]


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
