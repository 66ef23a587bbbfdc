"""How the app connects to its database, so that nothing that it waits for takes longer than it may."""

from typing import Any
from urllib.parse import quote, unquote

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from ledger.errors import FAILED, LedgerError
from ledger.rows import json_of

SQLITE = "sqlite:///"
# A click may wait for both, for its turn among the threads of this process and for a file that is locked from
# outside, and still has to be answered within Slack's three seconds.
TURN_SECONDS = 1.2
BUSY_SECONDS = 0.8
POOL = {"pool_size": 10, "max_overflow": 20, "pool_timeout": TURN_SECONDS}


def url_of(database_url: str) -> URL:
    """Return the address in parts. A SQLite file may have any name, also with a question mark in it."""
    if database_url.startswith(SQLITE):
        return URL.create("sqlite", database=unquote(database_url.removeprefix(SQLITE)))
    return make_url(database_url)


def engine_for(database_url: str, patience: float = 0.0, *, only_try: bool = False) -> Engine:
    """Return an engine on which nothing takes longer than a click may wait, or than `patience` if given.

    With `only_try` it does not make or change a SQLite file. Raises LedgerError.
    """
    url = url_of(database_url)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, patience or BUSY_SECONDS, only_try)
    try:
        # Imported here, since its library needs a part of the system that not every machine has.
        from ledger.postgresql import postgresql
    except ImportError:
        failed = LedgerError(FAILED + "PostgreSQL's library libpq is not installed")
        failed.fix = "On Debian: apt-get install libpq5."
        raise failed from None
    try:
        return postgresql(url, patience, json_deserializer=json_of, **POOL)
    except (SQLAlchemyError, TypeError, ValueError):  # their texts repeat a part of the address
        raise LedgerError(FAILED + "what stands after the question mark cannot be read") from None


def _sqlite(url: URL, busy_seconds: float, only_try: bool) -> Engine:
    if only_try:
        url = url.set(database=f"file:{quote(url.database or '')}", query={"mode": "rw", "uri": "true"})
    engine = create_engine(url, json_deserializer=json_of, connect_args={"timeout": busy_seconds}, **POOL)
    if not only_try:
        event.listen(engine, "connect", _make_durable)
    return engine


def _make_durable(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA temp_store=MEMORY")  # in a container there may be no other place to write
    cursor.close()
