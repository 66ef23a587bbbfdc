"""The commands other than serving: `python app.py check`, `… audit …`, and `… backup FILE`."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from conveyor_client import ConveyorClient, ConveyorError
from ledger.database import Database, LedgerError
from operations import audit, check, export
from operations.backup import NoBackup, backup
from operations.logs import log_to_stderr
from settings import Settings, SettingsError, load
from version import VERSION

READ_SECONDS = 60.0  # for a query of the whole ledger


def run(arguments: Sequence[str]) -> int:
    """Carry out a command, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python app.py", description="Without a command, serve the app.")
    parser.add_argument("--version", action="version", version=f"Conveyor for Slack {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "check", help="try settings, ledger, Slack, and Conveyor; say how to fix what's wrong; change nothing"
    )
    audits = commands.add_parser("audit", help="see who let whom in").add_subparsers(
        dest="audit", required=True
    )
    since: dict[str, Any] = {"type": _day, "default": 0.0, "metavar": "YYYY-MM-DD"}
    exports = audits.add_parser("export", help="write the audit trail to standard output")
    exports.add_argument("--format", choices=("csv", "json"), default="csv")
    exports.add_argument("--since", **since, help="from this day (UTC)")
    follows = audits.add_parser("follow", help="write each new line of the trail as it is added")
    follows.add_argument("--format", choices=("json",), default="json")
    follows.add_argument("--after", type=int, metavar="NUMBER", help="begin after this line; 0 for all")
    reconciles = audits.add_parser("reconcile", help="compare decisions made here with access in Conveyor")
    reconciles.add_argument("--since", **since, help="leave out what is older than this day (UTC)")
    backups = commands.add_parser("backup", help="copy the ledger to a new file while the app runs")
    backups.add_argument("file", type=lambda name: Path(name).absolute(), metavar="FILE")
    asked = parser.parse_args(arguments)
    os.chdir(Path(__file__).resolve().parents[1])  # not before: FILE is named from where the command is typed
    if isinstance(sys.stdout, TextIOWrapper):
        # Not every terminal can show every character, but other programs get UTF-8.
        encoding = "utf-8" if asked.command == "audit" and asked.audit == "export" else None
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
    log_to_stderr("WARNING")  # libraries must not print addresses or bodies here either
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it cleans up, as after Ctrl-C
    try:
        status = _carry_out(asked)
        print(end="", flush=True)  # what cannot be written fails here, and not when Python ends
        return status
    except SettingsError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
    except LedgerError as error:
        print(f"The ledger could not be read: {error}. {error.fix}", file=sys.stderr)
    except ConveyorError as error:
        print(f"Conveyor could not be read: {error}. `python app.py check` may say more.", file=sys.stderr)
    except NoBackup as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
    except BrokenPipeError:
        _drop_output()  # whoever read it stopped reading
    except OSError as error:
        _drop_output()
        print(f"The output could not be written: {error.strerror}.", file=sys.stderr)
    return 1


def _carry_out(asked: argparse.Namespace) -> int:
    """Carry out a command, and return the exit status."""
    if asked.command == "check":
        return check.run(sys.stdout)
    settings = load()
    if asked.command == "backup":
        backup(settings.database_url, asked.file, print)
        return 0
    if asked.audit == "export":
        export.export(_ledger(settings), asked.format, asked.since, sys.stdout)
        return 0
    if asked.audit == "follow":
        return export.follow(_ledger(settings), asked.after, sys.stdout, _say)
    conveyor = ConveyorClient(settings.conveyor_api_url, settings.conveyor_key)
    return audit.reconcile(_ledger(settings), conveyor, sys.stdout, asked.since)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _drop_output() -> None:
    """Let what is still to be written go nowhere, or Python would try again when it ends, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _ledger(settings: Settings) -> Database:
    database = Database(settings.database_url, READ_SECONDS)
    database.prepare()
    return database


def _day(text: str) -> float:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise argparse.ArgumentTypeError("write the day like this: 2026-01-31") from None
