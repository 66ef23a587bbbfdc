"""Measures how much memory the app uses, and how long its start takes."""

from statistics import median

from bench import servers
from bench.acks import FLOORS
from bench.report import Section, Target
from bench.setting import Setting

TITLE = "Memory and start"
REVIEWERS = 20
AT_ONCE = 8
ALLOWED_GROWTH_MB = 5.0


def measure(setting: Setting) -> Section:
    """Measure starts of the floors and the app, and then one app that carries out 10,000 decisions."""
    section = Section(TITLE, ("", "start to first answer", "memory idle"))
    database = setting.new_ledger(0)
    setting.services.set(pauses={})
    for name, function in {**FLOORS, "the app": ""}.items():
        started_in, resident = [], []
        for _ in range(setting.runs):
            server = servers.floor(function, setting.log) if function else setting.app(database)
            with server:
                started_in.append(server.started_in)
                if not function:
                    servers.wait_until(server.is_ready)
                resident.append(server.resident)
        section.rows.append((name, f"{median(started_in):.2f} s", f"{median(resident):.0f} MB"))
    _decide_many(setting, section)
    return section


def _decide_many(setting: Setting, section: Section) -> None:
    """Measure the memory of one process after each of five rounds of decisions.

    It may grow in the first round, but not after that.
    """
    rounds, each = (5, 60) if setting.quick else (5, 2_000)
    database = setting.new_ledger(rounds * each)
    sizes = []
    with setting.app(database) as app:
        servers.wait_until(app.is_ready)
        idle = app.resident
        for number in range(rounds):
            clicks = setting.clicks(number * each, each, REVIEWERS)
            setting.fire(app.port, AT_ONCE, clicks)
            setting.wait_until_quiet()
            sizes.append(app.resident)
        cpu = app.cpu() / (rounds * each)
    steps = ", ".join(f"{size:.0f} MB after {(number + 1) * each:,}" for number, size in enumerate(sizes))
    section.remarks = [
        "The memory is that of the process that answers, as the system counts it (RSS).",
        f"The app with {rounds * each:,} open requests: {idle:.0f} MB, then with decisions: {steps}. "
        "The first ones make the threads and fill the caches; the promise is about what comes after.",
        f"A decision costs {cpu * 1000:.1f} ms of CPU in all, from the click to the decided card.",
    ]
    section.targets = [
        Target(
            f"Memory after {rounds * each:,} decisions, beyond that after {each:,}",
            sizes[-1] - sizes[0],
            ALLOWED_GROWTH_MB,
            "MB",
        )
    ]
