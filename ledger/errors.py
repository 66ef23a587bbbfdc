"""How the ledger fails, in words that hold no part of DATABASE_URL and no customer's words.

LedgerError
├── OddValue      the database is well, and does not take this value
└── NotWritable   the ledger's file cannot be written by this user
"""

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

FAILED = "the ledger failed: "
# The classes of PostgreSQL's errors that are about a value: data, constraints, and limits such as an index's.
ABOUT_A_VALUE = ("22", "23", "54")
# Parts of what PostgreSQL, pgbouncer and their library say, and what it means. Their own sentences name
# host, database and user, and repeat options that they do not know.
POSTGRESQL_SAYS = {
    "failed to resolve host": "its host was not found",
    "could not translate host": "its host was not found",
    "Connection refused": "nothing answers at its host and port",
    "timeout expired": "its host does not answer",
    "no answer in time": "the server does not answer anymore",
    "startup parameter": "pgbouncer does not take what stands after `options=`: "
    "add options to its setting ignore_startup_parameters, or leave that out",
    "statement timeout": "a statement timeout: the server is slow, or another program holds a lock",
    "certificate": "the server's certificate was not accepted",
    "authentication failed": "its user or password is not accepted",
    "no password supplied": "it has no password, and the server wants one",
    "pg_hba.conf": "the server does not let this user in from here",
    "does not exist": "the server knows no such database or user",
    "no schema has been selected": "the server knows no such schema",
    "permission denied": "its user may not make and write tables there",
    "read-only transaction": "the server takes no writes",
    "too many": "the server has no place for another connection",
    "shutting down": "the server is stopping",
    "starting up": "the server is starting",
    "server closed the connection": "the server has closed the connection",
    "terminating connection": "the server has closed the connection",
    "the trail can only grow": "the trail can only grow",
    "invalid port": "its port is no port",
    "invalid": "an option after the question mark is unknown or has a wrong value",
    "unrecognized configuration": "an option after the question mark is unknown or has a wrong value",
    "bad value": "an option after the question mark is unknown or has a wrong value",
}


class LedgerError(Exception):
    """The ledger cannot be read or written now. A commit whose answer was lost may have been made.

    `fix` says what to do if that keeps the app from starting.
    """

    fix = "Check DATABASE_URL."


class OddValue(LedgerError):
    """The database is well and does not take this value."""


class NotWritable(LedgerError):
    """The ledger's file cannot be written by this user."""

    def __init__(self, text: str, fix: str) -> None:
        super().__init__(text)
        self.fix = fix


def failure(error: SQLAlchemyError) -> LedgerError:
    """Return what to raise in place of an error of SQLAlchemy, whose own text repeats the values."""
    cause = getattr(error, "orig", None)
    is_odd = isinstance(error, (DataError, IntegrityError)) or (
        str(getattr(cause, "sqlstate", None))[:2] in ABOUT_A_VALUE
    )
    return (OddValue if is_odd else LedgerError)(FAILED + _meaning(cause or error))


def _meaning(cause: BaseException) -> str:
    name = type(cause).__name__
    if type(cause).__module__ == "sqlite3":
        return str(cause)  # SQLite's words are about the file, and do not name it
    if not type(cause).__module__.startswith("psycopg"):
        return name
    said = str(cause)
    return next((words for sign, words in POSTGRESQL_SAYS.items() if sign in said), f"PostgreSQL says {name}")
