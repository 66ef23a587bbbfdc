"""Measures what a poll of Conveyor costs, with many open requests and with many decided ones in the ledger.

The first poll reads the whole queue, and so does the first after COMPLETE_SECONDS. Of a long queue, the polls
in between read only the ends.

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
from deadline import Calls
from ledger.ledger import Ledger
from settings import load
from worker.watch import COMPLETE_SECONDS, Watch

TITLE = "Growth: one poll of Conveyor"
OPEN = (10, 1_000, 10_000)
DECIDED = (0, 10_000, 100_000)
ALLOWED_GROWTH = 1.5


@dataclass(frozen=True)
class Polls:
    """The cost of polls: their calls and CPU seconds, and the peak of memory in megabytes.

    `between` are those of a poll between two that have to read the whole queue.
    """

    calls: int
    cpu: float
    calls_between: int
    cpu_between: float
    peak: float


def measure(setting: Setting) -> Section:
    """Measure a poll with each number of open requests, then with 1,000 and each number of decided ones."""
    cases = [(waiting, 0) for waiting in OPEN] + [(OPEN[1], decided) for decided in DECIDED[1:]]
    found = {case: _measure_case(setting, *case) for case in cases}
    head = "open", "decided", "calls", "CPU", "CPU per open request", "calls between", "CPU between", "memory"
    section = Section(TITLE, head)
    for (waiting, decided), polls in found.items():
        whole = str(polls.calls), milliseconds(polls.cpu), f"{polls.cpu / waiting * 1e6:.0f} µs"
        between = str(polls.calls_between), milliseconds(polls.cpu_between)
        section.rows.append((f"{waiting:,}", f"{decided:,}", *whole, *between, f"{polls.peak:.0f} MB"))
    few, some, many = (found[waiting, 0].cpu for waiting in OPEN)
    early, late = (some - few) / (OPEN[1] - OPEN[0]), (many - some) / (OPEN[2] - OPEN[1])
    section.remarks = [
        "The worker's own loop with the real ledger and client, in a separate process; "
        "medians after one poll "
        "that isn't counted. Every request is known and unchanged, as in nearly every real poll.",
        f"A poll reads the whole queue. *Between* are the polls in the {COMPLETE_SECONDS / 60:.0f} minutes "
        "after it: they read only the ends of a long queue. The memory is the peak.",
        f"A poll of the whole queue costs {milliseconds(few)} even if nearly nothing is open. Beyond that, "
        f"an open request costs {early * 1e6:.0f} µs from {OPEN[0]} to {OPEN[1]:,}, and {late * 1e6:.0f} µs "
        f"from there to {OPEN[2]:,}: the promise compares these two.",
    ]
    decided_cost = found[OPEN[1], DECIDED[-1]].cpu / found[OPEN[1], 0].cpu
    quick = found[OPEN[2], 0].cpu_between / many
    section.targets = [
        Target("CPU per additional open request, 10,000 vs. 1,000", late / early, ALLOWED_GROWTH, "×"),
        Target("CPU of a poll between two of 10,000 open requests vs. one of these", quick, 0.1, "×"),
        Target("CPU of a poll with 100,000 decided requests vs. none", decided_cost, 1.2, "×"),
    ]
    return section


def _measure_case(setting: Setting, waiting: int, decided: int) -> Polls:
    database = setting.new_ledger(waiting, decided)
    setting.services.set(pauses={})
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
    (calls, cpu), (calls_between, cpu_between) = (
        map(median, zip(*told[name], strict=True)) for name in ("whole", "between")
    )
    return Polls(int(calls), cpu, int(calls_between), cpu_between, told["peak"])


def _look(times: int) -> None:
    """Poll after one poll that does not count, `times` times of each kind, and print what each poll took."""
    settings = load()
    http = Calls("Conveyor", 32)
    conveyor = ConveyorClient(settings.conveyor_api_url, settings.conveyor_key, http)
    ledger = Ledger(settings.database_url)
    now = time.time()
    watch = Watch(conveyor, ledger.queue, ledger.polls, blocks.offer, settings.poll_seconds, lambda: now)

    def measured() -> tuple[int, float]:
        calls, started = sum(http.outcomes.values()), time.process_time()
        watch.round()
        return sum(http.outcomes.values()) - calls, time.process_time() - started

    measured()
    found: dict[str, list[tuple[int, float]]] = {"whole": [], "between": []}
    for _ in range(times):
        now += COMPLETE_SECONDS
        found["whole"].append(measured())
        found["between"].append(measured())
    print(json.dumps({**found, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    _look(int(sys.argv[1]))
