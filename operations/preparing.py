"""Checks the settings and prepares the ledger before gunicorn serves, in a process of its own.

gunicorn's main process only watches over the one that serves, and lives as long. Whatever it imports keeps
its memory for all that time: settings and ledger, with their libraries, would take 40 MB. So a fork imports
them, says what it found, and ends.
"""

import json
import logging
import os
from typing import NamedTuple, NoReturn

from operations.logs import log_to_stderr

log = logging.getLogger(__name__)


class Mistake(Exception):
    """The text says what is wrong and how to fix it, and reads well after a colon."""


class Prepared(NamedTuple):
    """What the main process needs of the settings."""

    host: str
    port: int
    log_level: str


def prepare() -> Prepared:
    """Check the settings, prepare their ledger, and log at their level from now on. Raises Mistake."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        _answer(writing)
    os.close(writing)
    with open(reading, encoding="ascii") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        raise Mistake("its settings and ledger could not be checked. The line above may say why.")
    found = json.loads(answer)
    if isinstance(found, str):
        raise Mistake(found)
    prepared = Prepared(*found)
    log_to_stderr(prepared.log_level)
    return prepared


def _answer(pipe: int) -> NoReturn:
    """Write what was found to the pipe as JSON, and end this process."""
    try:
        # A fork has gunicorn's sockets too. If it outlived the main process, it would keep the port taken.
        os.dup2(pipe, 3)
        os.closerange(4, 1024)
        log_to_stderr("INFO")  # until the settings say at which level
        os.write(3, json.dumps(_found()).encode("ascii"))
    except Exception:  # a bug: nobody else could say more about it than the log
        log.exception("start=not_checked")
    finally:
        os._exit(0)


def _found() -> Prepared | str:
    """Prepare the ledger, and return what is needed of the settings, or a text that says what is wrong."""
    from ledger.database import Database, LedgerError
    from settings import SettingsError, load

    try:
        settings = load()
        log_to_stderr(settings.log_level)
        Database(settings.database_url).prepare()
    except SettingsError as error:
        problems = [f"- {problem}" for problem in error.problems]
        return "\n".join(["some settings need fixing.", *problems])
    except LedgerError as error:
        return f"{error}. {error.fix}"
    return Prepared(settings.host, settings.port, settings.log_level)
