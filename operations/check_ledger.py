"""The part of `check` that looks at the ledger: can this user write it, and can this version use it?

What it writes is rolled back. It shows the path of a SQLite file, and nothing else of DATABASE_URL.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from ledger.database import POSTGRESQL_OPTIONS
from ledger.migrations import CannotUpgrade, upgrade
from operations.findings import BAD, GOOD, Finding

# Parts of what PostgreSQL and its library say, which also names host, database and user, and their meaning.
POSTGRESQL_SAYS = {
    "failed to resolve host": "its host was not found",
    "could not translate host": "its host was not found",
    "Connection refused": "nothing answers at its host and port",
    "timeout expired": "its host does not answer",
    "certificate": "the server's certificate was not accepted",
    "authentication failed": "its user or password is not accepted",
    "no password supplied": "it has no password, and the server wants one",
    "pg_hba.conf": "the server does not let this user in from here",
    "does not exist": "the server knows no such database or user",
    "permission denied": "its user may not make and write tables there",
    "read-only transaction": "the server takes no writes",
    "too many": "the server has no place for another connection",
}


def ledger_findings(database_url: str) -> Iterator[Finding]:
    url = make_url(database_url)
    name, options = "PostgreSQL", {"connect_timeout": 5, "options": POSTGRESQL_OPTIONS}
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite:
        path = Path(os.path.realpath(url.database or ""))
        if problem := _problem_with_file(path):
            yield BAD, f"Ledger: {problem}"
            return
        if not path.exists():
            yield GOOD, f"Ledger: {path} will be made at the first start."
            return
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield BAD, f"Ledger: other users can read {path}. Please run: chmod 600 {path}"
        url = url.set(database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"})
        name, options = str(path), {}
    engine = create_engine(url, connect_args=options)
    try:
        with engine.connect() as db:
            _try_out(db, is_sqlite)
        yield GOOD, f"Ledger: {name} can be read and written."
    except CannotUpgrade as error:
        yield BAD, f"Ledger: {error}."
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or type(error).__name__)
        if is_sqlite:
            yield BAD, f"Ledger: SQLite says of {path}: {cause}."
        else:
            yield BAD, f"Ledger: PostgreSQL cannot be used: {_meaning(cause)}. Please look at DATABASE_URL."
    finally:
        engine.dispose()


def _try_out(db: Connection, is_sqlite: bool) -> None:
    """Do what the app does with its ledger at its start, and one write more; then roll it all back."""
    if is_sqlite:
        problem = db.scalar(text("PRAGMA quick_check(1)"))
        if problem != "ok":
            raise CannotUpgrade("it is damaged: put a backup in its place")
        db.execute(text("BEGIN IMMEDIATE"))
    upgrade(db)
    # A transaction alone begins well on a file that cannot be written.
    db.execute(text("UPDATE lease SET owner = owner"))
    db.rollback()


def _meaning(cause: str) -> str:
    return next(
        (words for sign, words in POSTGRESQL_SAYS.items() if sign in cause),
        "it gives another error, which psql may show",
    )


def _problem_with_file(path: Path) -> str:
    """Return what keeps this user from writing the file and those that SQLite makes beside it; or ""."""
    me = os.geteuid()
    files = [file for file in (str(path), f"{path}-wal", f"{path}-shm") if os.path.exists(file)]
    for file in files:
        found = os.stat(file)
        if not stat.S_ISREG(found.st_mode):
            return f"{file} is no file. Please look at DATABASE_URL."
        if found.st_uid != me:
            return (
                f"{file} belongs to user {found.st_uid}, and this is user {me}. Please run: chown {me} {file}"
            )
        if found.st_mode & 0o600 != 0o600:
            return f"its owner cannot read and write {file}. Please run: chmod 600 {file}"
        try:
            os.close(os.open(file, os.O_RDWR))
        except OSError as error:
            return _cannot_write(Path(file), error)
    return _problem_with_folder(path.parent)


def _problem_with_folder(wanted: Path) -> str:
    folder = next(place for place in (wanted, *wanted.parents) if os.path.exists(place))
    try:
        # It gets no name where the system can do that, and is gone at once in any case.
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"x")
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            make = "" if folder == wanted else f"mkdir -p {wanted} && "
            return f"this user cannot write to {folder}. Please run: {make}chown {os.geteuid()} {wanted}"
        return _cannot_write(folder, error)
    return ""


def _cannot_write(place: Path, error: OSError) -> str:
    if error.errno == errno.EROFS:
        return f"{place} is on a read-only file system. Please mount that so that it can be written."
    return f"this user cannot write to {place}: {error.strerror}."
