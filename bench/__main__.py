"""`python -m bench`: runs every experiment and prints a table for each.

A full run writes all tables into `bench/results.md`; a quick one (QUICK=1) must not. AGAINST=path names an
older checkout, whose app is measured in the same run.
"""

import os
import platform
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from bench import acks, cards, commands, distance, footprint, growth, look_alikes, questions
from bench.checkout import older
from bench.report import Section, milliseconds, targets_table
from bench.services import Services
from bench.setting import Setting

RESULTS = Path(__file__).parent / "results.md"
# Each has `measure(setting)`.
SECTIONS = (acks, cards, distance, commands, questions, look_alikes, growth, footprint)
SYNCS = 200


def main() -> int:
    """Run every experiment, and return the exit status. A promise that is not kept is no error."""
    if not sys.platform.startswith("linux"):
        print("This reads its figures from /proc, so please run it on Linux.", file=sys.stderr)
        return 1
    try:
        against = older(path) if (path := os.environ.get("AGAINST")) else None
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    quick = bool(os.environ.get("QUICK"))
    started = time.monotonic()
    sections: list[Section] = []
    with (
        tempfile.TemporaryDirectory(prefix=".ledger-", dir=RESULTS.parent) as folder,
        Services() as services,
        ProcessPoolExecutor(1, get_context("spawn")) as client,
    ):
        setting = Setting(1 if quick else 5, quick, Path(folder), services, client, against)
        head = _head(setting)
        print(head, flush=True)
        for experiment in SECTIONS:
            section = experiment.measure(setting)
            print(section.markdown(), flush=True)
            sections.append(section)
    promises = targets_table(sections)
    duration = f"The whole run took {time.monotonic() - started:.0f} s.\n"
    print(promises, duration, sep="\n")
    parts = [head, promises, *(section.markdown() for section in sections), duration]
    if not quick:
        RESULTS.write_text("\n".join(parts), encoding="utf-8")
    return 0


def _head(setting: Setting) -> str:
    """Return the head of the report: on which computer and how everything was measured."""
    busy = os.getloadavg()[0]
    lines = [
        "# How fast it is",
        "",
        f"`make bench{' QUICK=1' if setting.quick else ''}`, {time.strftime('%Y-%m-%d')}: "
        + ("one short run, for a first impression. " if setting.quick else "medians of five runs. ")
        + "The floors are measured in the same run, on the same machine, and with the same gunicorn settings "
        "(one process, 100 threads): a bare Flask route that only checks Slack's signature, and a bare Bolt "
        "app whose listener only acknowledges."
        + (f" *The app before* is {setting.against.described()}." if setting.against else ""),
        "",
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {platform.system()} "
        f"{platform.release()}, {os.cpu_count()} processors, shared by server, client, and both services; "
        f"load {busy:.1f} at the start. Writing 4 kB and syncing it to disk takes "
        f"{milliseconds(_sync_seconds(setting.folder))} here.",
        "",
    ]
    return "\n".join(lines)


def _sync_seconds(folder: Path) -> float:
    """Return how long it takes to write 4 kB and sync it to disk, which every decision has to wait for."""
    seconds = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            started = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            seconds.append(time.perf_counter() - started)
    return median(seconds)


if __name__ == "__main__":
    sys.exit(main())
