"""Measures how much memory the app uses, and how long its start takes."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import servers
from bench.acks import FLOORS
from bench.checkout import ROOT, Checkout
from bench.report import Section, Target, beside
from bench.setting import Setting

TITLE = "Memory and start"
REVIEWERS = 20
AT_ONCE = 8
ROUNDS = 5
ALLOWED_GROWTH_MB = 5.0
ALLOWED_TIMES_BOLT = 1.5
# What the process that answers is made of, in this order: each adds what the ones before it did not need.
LAYERS = {
    "Python": "",
    "gunicorn": "import gunicorn.app.wsgiapp, gunicorn.workers.gthread",
    "Flask and Bolt": "import flask, slack_bolt.adapter.flask",
    "SQLAlchemy with SQLite": "import sqlalchemy.dialects.sqlite",
    "requests": "import requests",
    "the app's own modules and its small libraries": "import app",
    "the trusted certificates": "import connections; connections.trusted_certificates()",
}
RESIDENT = "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"


@dataclass(frozen=True)
class Decided:
    """What many decisions cost one process: its memory before and after each round, and CPU per decision.

    `together` is the memory in the end with that of gunicorn's main process.
    """

    idle: float
    sizes: Sequence[float]
    together: float
    cpu: float


def measure(setting: Setting) -> Section:
    """Measure starts of the floors and the app, and then one app that carries out 10,000 decisions."""
    section = Section(TITLE, ("", "start to first answer", "memory idle", "with the main process"))
    setting.services.set(pauses={})
    apps = {checkout.name: checkout for checkout in setting.apps}
    idle: dict[str, float] = {}
    together: dict[str, float] = {}
    for name in [*FLOORS, *apps]:
        started_in, resident, both = [], [], []
        if name in apps:
            database = setting.new_ledger(0, of=apps[name])
        for _ in range(setting.runs):
            is_app = name in apps
            server = setting.app(database, apps[name]) if is_app else servers.floor(FLOORS[name], setting.log)
            with server:
                started_in.append(server.started_in)
                if is_app:
                    servers.wait_until(server.is_ready)
                resident.append(server.resident)
                both.append(server.resident_together)
        idle[name], together[name] = median(resident), median(both)
        sizes = [f"{idle[name]:.0f} MB", f"{together[name]:.0f} MB"]
        section.rows.append((name, f"{median(started_in):.2f} s", *sizes))
    each = 60 if setting.quick else 2_000  # decisions in a round
    decided = {name: _decide_many(setting, checkout, each) for name, checkout in apps.items()}
    now = decided["the app"]
    section.remarks = _remarks(now, _bolt_after(setting, ROUNDS * each), each)
    section.remarks.append(_layers(idle["the app"]))
    section.targets = [
        Target(
            f"Memory idle, with gunicorn's main process: {ALLOWED_TIMES_BOLT} × bare Bolt",
            together["the app"],
            ALLOWED_TIMES_BOLT * together["bare Bolt"],
            "MB",
        ),
        Target(
            f"Memory after {ROUNDS * each:,} decisions, beyond that after {each:,}",
            now.sizes[-1] - now.sizes[0],
            ALLOWED_GROWTH_MB,
            "MB",
        ),
    ]
    if setting.against:
        before = decided[setting.against.name]
        section.targets += [
            beside("Memory idle, of both", together["the app"], together[setting.against.name], "MB"),
            beside("Memory after all decisions, of both", now.together, before.together, "MB"),
            beside("CPU per decision", now.cpu * 1000, before.cpu * 1000, "ms"),
        ]
    return section


def _decide_many(setting: Setting, checkout: Checkout, each: int) -> Decided:
    """Measure one process in rounds of so many decisions each."""
    database = setting.new_ledger(ROUNDS * each, of=checkout)
    sizes = []
    with setting.app(database, checkout) as app:
        servers.wait_until(app.is_ready)
        idle = app.resident
        for number in range(ROUNDS):
            clicks = setting.clicks(number * each, each, REVIEWERS, checkout)
            setting.fire(app.port, AT_ONCE, clicks)
            setting.wait_until_quiet()
            sizes.append(app.resident)
        return Decided(idle, sizes, app.resident_together, app.cpu() / (ROUNDS * each))


def _bolt_after(setting: Setting, count: int) -> float:
    """Return the memory of bare Bolt after so many clicks, with that of gunicorn's main process."""
    with servers.floor("bare_bolt", setting.log) as floor:
        setting.fire(floor.port, AT_ONCE, setting.clicks(0, count, REVIEWERS))
        return floor.resident_together


def _remarks(decided: Decided, bolt: float, each: int) -> list[str]:
    """Return what many decisions cost the app. The memory may grow in the first round, but not after that."""
    steps = [f"{size:.0f} MB after {(number + 1) * each:,}" for number, size in enumerate(decided.sizes)]
    return [
        "The memory is that of the process that answers, as the system counts it (RSS). *With the main "
        "process* adds gunicorn's, which starts that one and watches over it; what the two share counts "
        "twice, for the floors and for the app.",
        f"The app with {ROUNDS * each:,} open requests: {decided.idle:.0f} MB, then with decisions: "
        f"{', '.join(steps)}. The first ones make the threads and fill the caches; the promise is about what "
        f"comes after. With the main process that is {decided.together:.0f} MB in the end; bare Bolt has "
        f"{bolt:.0f} MB after as many clicks.",
        f"A decision costs {decided.cpu * 1000:.1f} ms of CPU in all, from the click to the decided card.",
    ]


def _layers(idle: float) -> str:
    """Return what the memory of the app, which takes so many megabytes when idle, is made of."""
    script = "\n".join(f"{layer}\n{RESIDENT}" for layer in LAYERS.values())
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    sizes = [int(size) / 1024 for size in done.stdout.split()]
    added = [size - before for before, size in zip([0.0, *sizes], sizes, strict=False)]
    layers = [f"{name} {size:.1f} MB" for name, size in zip(LAYERS, added, strict=True)]
    return (
        f"What the app's {idle:.0f} MB are made of, by importing one after another: {', '.join(layers)}. "
        f"The other {idle - sizes[-1]:.1f} MB are what a start makes: threads, connections, and statements."
    )
