"""A real PostgreSQL server on a free port, with its data in a temporary folder."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from tests.requirements import find
from tests.support.world import eventually, free_port


class Postgres:
    """The server. PostgreSQL refuses to run as root, so root starts it as another user."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._as = as_somebody(self._folder)
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None
        command = [program("initdb"), "-D", "data", "-U", "app", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run([*command, "--locale=C"], check=True, capture_output=True, **self._as)
        self.port = free_port()
        self.start()

    def start(self) -> None:
        """Serve on 127.0.0.1, without waiting for the disk, since no data has to survive a power cut."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("postgres"), "-D", "data", *options], stdout=log, stderr=log, **self._as
            )
        eventually(self._answers, 30, "PostgreSQL answers")

    def stop(self) -> None:
        """Stop at once and cut every connection."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def close(self) -> None:
        """Stop, and delete the data."""
        self.stop()
        shutil.rmtree(self._folder)

    def new_database(self) -> str:
        """Create an empty database and return its address as SQLAlchemy writes it."""
        name = f"ledger{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name}")
        return self._url(name)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the server's administrator and return its rows."""
        engine = create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as db:
            result = db.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://app@127.0.0.1:{self.port}/{database}"

    def _answers(self) -> bool:
        try:
            return bool(self.run("SELECT 1"))
        except OperationalError:
            return False


def as_somebody(folder: Path) -> dict[str, Any]:
    """Return the arguments that let Popen start a program as a user other than root, who owns the folder."""
    started: dict[str, Any] = {"cwd": folder}
    if os.geteuid() == 0:
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        user = known.get("postgres") or known["nobody"]
        for place in (folder, *folder.iterdir()):
            os.chown(place, user.pw_uid, user.pw_gid)
        started |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return started


def program(name: str) -> str:
    found = find(name)
    assert found, f"{name} is not installed: see tests/requirements.py"
    return found
