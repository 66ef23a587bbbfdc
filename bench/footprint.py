"""Measures how much memory the app uses, and how long its start takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import servers
from bench.acks import FLOORS
from bench.checkout import Checkout
from bench.report import Section, Target, beside
from bench.setting import Setting

TITLE = "Memory and start"
REVIEWERS = 20
AT_ONCE = 8
ROUNDS = 5
ALLOWED_GROWTH_MB = 5.0


@dataclass(frozen=True)
class Decided:
    """What many decisions cost one process: its memory before and after each round, and CPU per decision."""

    idle: float
    sizes: Sequence[float]
    cpu: float


def measure(setting: Setting) -> Section:
    """Measure starts of the floors and the app, and then one app that carries out 10,000 decisions."""
    section = Section(TITLE, ("", "start to first answer", "memory idle"))
    setting.services.set(pauses={})
    apps = {checkout.name: checkout for checkout in setting.apps}
    idle: dict[str, float] = {}
    for name in [*FLOORS, *apps]:
        started_in, resident = [], []
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
        idle[name] = median(resident)
        section.rows.append((name, f"{median(started_in):.2f} s", f"{idle[name]:.0f} MB"))
    each = 60 if setting.quick else 2_000  # decisions in a round
    decided = {name: _decide_many(setting, checkout, each) for name, checkout in apps.items()}
    _report(section, decided["the app"], each)
    if setting.against:
        now, before = decided["the app"], decided[setting.against.name]
        section.targets += [
            beside("Memory idle", idle["the app"], idle[setting.against.name], "MB"),
            beside("Memory after all decisions", now.sizes[-1], before.sizes[-1], "MB"),
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
        return Decided(idle, sizes, app.cpu() / (ROUNDS * each))


def _report(section: Section, decided: Decided, each: int) -> None:
    """Add what many decisions cost the app. The memory may grow in the first round, but not after that."""
    count, sizes = ROUNDS * each, decided.sizes
    steps = ", ".join(f"{size:.0f} MB after {(number + 1) * each:,}" for number, size in enumerate(sizes))
    section.remarks = [
        "The memory is that of the process that answers, as the system counts it (RSS).",
        f"The app with {count:,} open requests: {decided.idle:.0f} MB, then with decisions: {steps}. "
        "The first ones make the threads and fill the caches; the promise is about what comes after.",
        f"A decision costs {decided.cpu * 1000:.1f} ms of CPU in all, from the click to the decided card.",
    ]
    promise = f"Memory after {count:,} decisions, beyond that after {each:,}"
    section.targets = [Target(promise, sizes[-1] - sizes[0], ALLOWED_GROWTH_MB, "MB")]
