"""The part of `check` that looks at the ledger: can this user write it, and can this version use it?

What it writes is rolled back. It shows the path of a SQLite file, and nothing else of DATABASE_URL.
"""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ledger.connecting import url_of
from ledger.errors import FAILED, LedgerError
from ledger.preparing import prepare
from operations.findings import BAD, GOOD, Finding


def ledger_findings(database_url: str) -> Iterator[Finding]:
    url = url_of(database_url)
    name, says = "PostgreSQL", "PostgreSQL cannot be used"
    if url.get_backend_name() == "sqlite":
        path = Path(os.path.realpath(url.database or ""))
        if problem := _problem_with_file(path):
            yield BAD, f"Ledger: {problem}"
            return
        if not path.exists():
            yield GOOD, f"Ledger: {path} will be made at the first start."
            return
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield BAD, f"Ledger: other users can read {path}. Please run: chmod 600 {path}"
        name, says = str(path), f"SQLite says of {path}"
    try:
        prepare(database_url, only_try=True)
    except LedgerError as error:
        cause = str(error)
        if cause.startswith(FAILED):
            cause = f"{says}: {cause.removeprefix(FAILED)}"
        hint = "" if name != "PostgreSQL" else f" {error.fix}"
        yield BAD, f"Ledger: {cause}.{hint}"
    else:
        yield GOOD, f"Ledger: {name} can be read and written."


def _problem_with_file(path: Path) -> str:
    """Return what keeps this user from writing the file and those that SQLite makes beside it; or ""."""
    me = os.geteuid()
    files = [file for file in (str(path), f"{path}-wal", f"{path}-shm") if os.path.exists(file)]
    for file in files:
        try:
            found = os.stat(file)
        except FileNotFoundError:
            continue  # SQLite has just removed it
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
        except FileNotFoundError:
            continue
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
