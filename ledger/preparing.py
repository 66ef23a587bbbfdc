"""Whether the app can work with its database. The start makes sure of it, and `check` asks the same."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from ledger.connecting import engine_for
from ledger.errors import LedgerError, failure
from ledger.migrations import CannotUpgrade, upgrade
from ledger.tables import METADATA, TRAIL

PREPARE_SECONDS = 20.0  # while others that start do the same, or SQLite recovers the file


def prepare(database_url: str, *, only_try: bool = False) -> None:
    """Make the tables, or bring those of an earlier version up to date, wholly or not at all.

    Raises LedgerError if the app could not work with this database. Several processes may do this at once.
    With `only_try` everything is done and then taken back, and no file is made.
    """
    engine = engine_for(database_url, PREPARE_SECONDS, only_try=only_try)
    try:
        with _failures(), engine.connect() as db:
            if db.dialect.name == "sqlite":
                # Python's library begins no transaction by itself before a table is changed.
                db.execute(text("BEGIN IMMEDIATE"))
                if db.scalar(text("PRAGMA quick_check(1)")) != "ok":
                    raise LedgerError("the ledger is damaged: put a backup in its place")
            else:
                _check_encoding(db)
                # PostgreSQL fails when two processes make the same thing at once: one after the other, then.
                db.execute(text("SELECT pg_advisory_xact_lock(20210923)"))
            upgrade(db)
            if db.dialect.name != "sqlite":
                _check_rights(db)
            # A transaction alone begins well on a file that cannot be written.
            db.execute(text("UPDATE lease SET owner = owner"))
            if only_try:
                db.rollback()
            else:
                db.commit()
    finally:
        engine.dispose()


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except CannotUpgrade as error:
        raise LedgerError(str(error)) from None
    except SQLAlchemyError as error:
        raise failure(error) from None


def _check_encoding(db: Connection) -> None:
    encoding = db.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise LedgerError(
            f"the database has the encoding {encoding}, which cannot hold what customers write: "
            "make one with the encoding UTF8"
        )


def _check_rights(db: Connection) -> None:
    for table in METADATA.sorted_tables:
        rights = ("SELECT", "INSERT") if table is TRAIL else ("SELECT", "INSERT", "UPDATE", "DELETE")
        may = [func.has_table_privilege(table.name, right) for right in rights]
        counted = table.autoincrement_column
        if counted is not None:
            counter = func.pg_get_serial_sequence(table.name, counted.name)
            may.append(func.has_sequence_privilege(counter, "USAGE"))
        if not all(db.execute(select(*may)).one()):
            raise LedgerError(
                f"its user may not do all that is needed with the table {table.name}: "
                "make this user the owner of the ledger's tables"
            )
