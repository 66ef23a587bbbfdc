"""The part of `check` that tries the ledger: can this user write it, and can this version of the app use it?

Whatever it writes is rolled back. Of DATABASE_URL it shows the path of a SQLite file, and nothing else.
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

AS_ROOT = "Please run this as root: "


def ledger_findings(database_url: str) -> Iterator[Finding]:
    url = url_of(database_url)
    name, says = "PostgreSQL", "PostgreSQL can't be used"
    if url.get_backend_name() == "sqlite":
        path = Path(os.path.realpath(url.database or ""))
        if problem := _problem_with_file(path):
            yield BAD, f"Ledger: {problem}"
            return
        if not path.exists():
            yield GOOD, f"Ledger: {path} will be created at the first start."
            return
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield BAD, f"Ledger: other users can read {path}. Please run: chmod 600 {path}"
        name, says = str(path), f"SQLite can't use {path}"
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
    """Return what keeps this user from writing the file or those that SQLite makes beside it, or ""."""
    me = os.geteuid()
    files = [file for file in (str(path), f"{path}-wal", f"{path}-shm") if os.path.exists(file)]
    for file in files:
        try:
            found = os.stat(file)
        except FileNotFoundError:
            continue  # SQLite has just removed it
        if not stat.S_ISREG(found.st_mode):
            return f"{file} isn't a file. Check DATABASE_URL."
        if found.st_uid != me:
            return f"{file} belongs to user {found.st_uid}, and this is user {me}. {AS_ROOT}chown {me} {file}"
        if found.st_mode & 0o600 != 0o600:
            return f"its owner can't read and write {file}. Please run: chmod 600 {file}"
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
        # Where the system allows it, this file has no name; in any case it is removed right away.
        with tempfile.TemporaryFile(dir=folder) as trial:
            trial.write(b"x")
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            make = "" if folder == wanted else f"mkdir -p {wanted} && "
            return f"this user can't write to {folder}. {AS_ROOT}{make}chown {os.geteuid()} {wanted}"
        return _cannot_write(folder, error)
    return ""


def _cannot_write(place: Path, error: OSError) -> str:
    if error.errno == errno.EROFS:
        return f"{place} is on a read-only file system. Mount it so that it can be written to."
    return f"this user can't write to {place}: {error.strerror}."
