"""Measures what one poll of Conveyor costs, with many open requests and with many decided ones in the ledger.

Each case runs in a process of its own, `python -m bench.growth`, so that it has its own peak of memory.
"""

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median

import blocks
from bench.made_up import API_KEY, BOT_TOKEN, CHANNEL, SIGNING_SECRET
from bench.report import Section, Target, milliseconds
from bench.setting import Setting
from conveyor_client import ConveyorClient
from ledger.ledger import Ledger
from settings import load
from worker.watch import Watch

TITLE = "Growth: one poll of Conveyor"
OPEN = (10, 1_000, 10_000)
DECIDED = (0, 10_000, 100_000)
ALLOWED_GROWTH = 1.5


@dataclass(frozen=True)
class Look:
    """The cost of one poll of Conveyor: its calls, its CPU seconds, and the peak of memory in megabytes."""

    calls: int
    cpu: float
    peak: float


def measure(setting: Setting) -> Section:
    """Measure a poll with each number of open requests, then with 1,000 and each number of decided ones."""
    cases = [(waiting, 0) for waiting in OPEN] + [(OPEN[1], decided) for decided in DECIDED[1:]]
    found = {case: _measure_case(setting, *case) for case in cases}
    section = Section(
        TITLE, ("open", "decided", "Conveyor calls", "CPU", "CPU per open request", "peak memory")
    )
    for (waiting, decided), look in found.items():
        per_request = f"{look.cpu / waiting * 1e6:.0f} µs"
        cells = (f"{decided:,}", str(look.calls), milliseconds(look.cpu), per_request, f"{look.peak:.0f} MB")
        section.rows.append((f"{waiting:,}", *cells))
    few, some, many = (found[waiting, 0].cpu for waiting in OPEN)
    early, late = (some - few) / (OPEN[1] - OPEN[0]), (many - some) / (OPEN[2] - OPEN[1])
    section.remarks = [
        "The worker's own loop with the real ledger and client, in a separate process; "
        "medians after one poll "
        "that isn't counted. Every request is known and unchanged, as in nearly every real poll.",
        f"A poll costs {milliseconds(few)} even if nearly nothing is open. Beyond that, an open request "
        f"costs {early * 1e6:.0f} µs from {OPEN[0]} to {OPEN[1]:,}, and {late * 1e6:.0f} µs from there to "
        f"{OPEN[2]:,}: the promise compares these two.",
    ]
    decided_cost = found[OPEN[1], DECIDED[-1]].cpu / found[OPEN[1], 0].cpu
    section.targets = [
        Target("CPU per additional open request, 10,000 vs. 1,000", late / early, ALLOWED_GROWTH, "×"),
        Target("CPU of a poll with 100,000 decided requests vs. none", decided_cost, 1.2, "×"),
    ]
    return section


def _measure_case(setting: Setting, waiting: int, decided: int) -> Look:
    database = setting.new_ledger(waiting, decided)
    setting.services.set(pauses={}, forget=True)
    environment = {
        "ENV_FILE": os.devnull,
        "PATH": os.environ["PATH"],
        "CONVEYOR_KEY": API_KEY,
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
        "SLACK_CHANNEL_ID": CHANNEL,
        "CONVEYOR_API_URL": setting.services.url + "/api/v2",
        "SLACK_API_URL": setting.services.url + "/api/",
        "DATABASE_URL": database,
    }
    command = [sys.executable, "-m", "bench.growth", str(setting.runs)]
    printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout
    told = json.loads(printed)
    calls = sum(count for name, count in setting.services.set()["counts"].items() if " " in name)
    return Look(calls // (setting.runs + 1), median(told["cpu"]), told["peak"])


def _look(times: int) -> None:
    """Poll `times` times after one poll that does not count, and print what each poll took."""
    settings = load()
    conveyor = ConveyorClient(settings.conveyor_api_url, settings.conveyor_key)
    ledger = Ledger(settings.database_url)
    watch = Watch(conveyor, ledger.queue, ledger.polls, blocks.offer, settings.poll_seconds, time.time)
    watch.round()
    cpu = []
    for _ in range(times):
        started = time.process_time()
        watch.round()
        cpu.append(time.process_time() - started)
    print(json.dumps({"cpu": cpu, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    _look(int(sys.argv[1]))
