"""Brings the tables of a ledger up to date, one revision after another, by Alembic.

A revision is a file in `versions`. To change the tables, change tables.py, copy the newest revision to the
next number, and write into it what differs; a test compares the two. A released revision never changes.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect


class CannotUpgrade(Exception):
    """The ledger was made by a version whose tables this one does not know. The text says what to do."""


def upgrade(db: Connection) -> None:
    """Make every table, or change those that are there, within the transaction of this connection."""
    config = Config(attributes={"connection": db})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    current = set(MigrationContext.configure(db).get_current_heads())
    if current == set(script.get_heads()):
        return
    if not current <= {revision.revision for revision in script.walk_revisions()}:
        raise CannotUpgrade(
            "a newer version of this app made the ledger: start that one, or put back a backup"
        )
    if not current and inspect(db).has_table("requests"):
        raise CannotUpgrade("the ledger is from before version 1.0.0: move it away, to begin with a new one")
    command.upgrade(config, "head")
