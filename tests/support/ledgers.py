"""New ledgers. Alembic makes the first one of a process, and the others are copies of its file."""

import tempfile
from functools import cache
from pathlib import Path
from threading import Lock

from ledger.database import Database
from ledger.ledger import Ledger

PREPARING = Lock()  # Alembic works in one thread at a time


def put_ledger(file: Path) -> None:
    """Put a new ledger in this place if there is no file yet, as the app itself would do."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(0o600)
        with PREPARING:
            file.write_bytes(_new_file())


@cache
def _new_file() -> bytes:
    """Return the content of a new ledger's file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        database = Database(f"sqlite:///{file}")
        database.prepare()
        database.close()
        return file.read_bytes()


def new_ledger(database_url: str) -> Ledger:
    """Return the ledger at this address, with all its tables."""
    if database_url.startswith("sqlite:"):
        put_ledger(Path(database_url.removeprefix("sqlite:///")))
        return Ledger(database_url)
    ledger = Ledger(database_url)
    ledger.database.prepare()
    return ledger
