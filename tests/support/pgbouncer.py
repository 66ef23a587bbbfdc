"""A real pgbouncer on a free port, in front of a PostgreSQL server of the tests."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from tests.support.postgres import Postgres, as_somebody, program
from tests.support.world import eventually, free_port

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={behind} user=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
logfile = {folder}/log
"""


class Pgbouncer:
    """The pooler, which knows its default startup parameters only.

    By transaction all clients share four connections; by session each one needs a connection for itself.
    """

    def __init__(self, postgres: Postgres, mode: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
        self.port = free_port()
        file = self._folder / "pgbouncer.ini"
        size = 4 if mode == "transaction" else 40
        values = {
            "size": size,
            "behind": postgres.port,
            "port": self.port,
            "mode": mode,
            "folder": self._folder,
        }
        file.write_text(CONFIGURATION.format(**values))
        self._process = subprocess.Popen(
            [program("pgbouncer"), "-q", str(file)],
            **as_somebody(self._folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers, 30, "pgbouncer answers")

    def address(self, database_url: str) -> str:
        """Return the address of this database by way of the pooler."""
        url = make_url(database_url).set(port=self.port)
        return url.render_as_string(hide_password=False).replace("+psycopg", "")

    def close(self) -> None:
        self._process.kill()
        self._process.wait(30)
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        try:
            psycopg.connect(host="127.0.0.1", port=self.port, user="app", dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True
