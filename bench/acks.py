"""Measures how long a click waits for its answer, and how many clicks are answered in a second."""

from collections import defaultdict
from statistics import median

from bench import servers
from bench.checkout import Checkout
from bench.load import LoadResult
from bench.report import Section, Target, beside, milliseconds
from bench.setting import Setting

TITLE = "Clicks: time to answer"
AT_ONCE = (1, 10, 100)
WARM_UP = 30
USERS_INFO = {"users.info": 0.01}
HANG_SECONDS = 10.0
ALLOWED_HANGING = 2.5
FLOORS = {"bare Flask": "bare_flask", "bare Bolt": "bare_bolt"}


def measure(setting: Setting) -> Section:
    """Measure clicks on the floors and the app in turn, also while one of the services hangs."""
    counts = {1: 60, 10: 200, 100: 300} if setting.quick else {1: 200, 10: 500, 100: 500}
    results: dict[tuple[str, int], list[LoadResult]] = defaultdict(list)
    unidentified = 0
    for _ in range(setting.runs):
        for name, function in FLOORS.items():
            with servers.floor(function, setting.log) as floor:
                setting.fire(floor.port, 1, setting.clicks(0, WARM_UP))
                for at_once in AT_ONCE:
                    result = setting.fire(floor.port, at_once, setting.clicks(0, counts[at_once]))
                    results[name, at_once].append(result)
        for checkout in setting.apps:
            _measure_app(setting, checkout, counts, results)
        unidentified += _measure_hanging_slack(setting, results)
    return _section(setting, results, unidentified)


def _measure_app(
    setting: Setting,
    checkout: Checkout,
    counts: dict[int, int],
    results: dict[tuple[str, int], list[LoadResult]],
) -> None:
    database = setting.new_ledger(WARM_UP + sum(counts.values()) + counts[10], of=checkout)
    setting.services.set(pauses=USERS_INFO)
    with setting.app(database, checkout) as app:
        servers.wait_until(app.is_ready)
        setting.fire(app.port, 1, setting.clicks(0, WARM_UP, of=checkout))
        first = WARM_UP
        for at_once in AT_ONCE:
            setting.wait_until_quiet()
            clicks = setting.clicks(first, counts[at_once], of=checkout)
            results[checkout.name, at_once].append(setting.fire(app.port, at_once, clicks))
            first += counts[at_once]
        if checkout == setting.against:
            return
        setting.wait_until_quiet()
        setting.services.set(pauses={**USERS_INFO, "Conveyor": HANG_SECONDS})
        results["Conveyor hangs", 10].append(setting.fire(app.port, 10, setting.clicks(first, counts[10])))


def _measure_hanging_slack(setting: Setting, results: dict[tuple[str, int], list[LoadResult]]) -> int:
    """Measure clicks while Slack hangs, and return how many requests were claimed all the same.

    Without Slack, the app cannot know who clicked, and must claim nothing.
    """
    database = setting.new_ledger(110)
    setting.services.set(pauses={})
    with setting.app(database) as app:
        servers.wait_until(app.is_ready)
        setting.services.set(pauses={"Slack": HANG_SECONDS})
        results["Slack hangs", 10].append(setting.fire(app.port, 10, setting.clicks(0, 10)))
        results["Slack hangs", 100].append(setting.fire(app.port, 100, setting.clicks(10, 100)))
        return setting.ledger("SELECT count(*) FROM requests WHERE state != 'pending'")


def _section(
    setting: Setting, results: dict[tuple[str, int], list[LoadResult]], unidentified: int
) -> Section:
    section = Section(TITLE, ("", "at once", "p50", "p99", "per second", "unanswered", "client busy"))
    p99: dict[tuple[str, int], float] = {}
    for (name, at_once), runs in results.items():
        p99[name, at_once] = median(result.percentile(99) for result in runs)
        section.rows.append(
            (
                name,
                str(at_once),
                milliseconds(median(result.percentile(50) for result in runs)),
                milliseconds(p99[name, at_once]),
                f"{median(result.rate for result in runs):.0f}",
                str(sum(result.unanswered for result in runs)),
                f"{100 * median(result.client_cpu / result.seconds for result in runs):.0f} %",
            )
        )
    counts = {at_once: len(results["the app", at_once][0].latencies) for at_once in AT_ONCE}
    clicks = ", ".join(f"{count} at {at_once} at once" for at_once, count in counts.items())
    section.remarks = [
        f"Each run clicks {clicks}; whoever gets an answer clicks again right away. Each click approves a "
        "different request, by somebody whom the app hasn't seen before: `users.info` takes 10 ms, the "
        "decision is synced to a SQLite file on disk before the answer, and the same process carries it out "
        "at the same time.",
        "*Unanswered* counts clicks, over all runs, without a 200 within Slack's three "
        "seconds. *Client busy* "
        "is the share of a processor that the client used: far below 100 %, it doesn't slow the servers.",
        f"*Hangs* means that every answer takes {HANG_SECONDS:.0f} s. If Slack hangs, the app can't tell who "
        f"clicked, so it must record nothing. Recorded anyway: {unidentified}.",
    ]
    ten, floor = p99["the app", 10] * 1000, p99["bare Bolt", 10] * 1000
    slowest = max(
        result.latencies[-1] for key, runs in results.items() if key[0] == "Slack hangs" for result in runs
    )
    lost = sum(result.unanswered for result in results["the app", 100])
    section.targets = [
        Target("Click answered, p99 with 10 at once: 2 × bare Bolt + 30 ms", ten, 2 * floor + 30, "ms"),
        Target("… while Conveyor hangs: 1.5 × that", p99["Conveyor hangs", 10] * 1000, 1.5 * ten, "ms"),
        Target("… while Slack hangs, the slowest click", slowest, ALLOWED_HANGING, "s"),
        Target("Decisions recorded without knowing who clicked", unidentified, 0, ""),
        Target("Unanswered clicks with 100 at once", lost, 0, ""),
    ]
    if before := setting.against:
        section.targets += [
            beside(
                f"Click answered, p99 with {n} at once",
                p99["the app", n] * 1e3,
                p99[before.name, n] * 1e3,
                "ms",
            )
            for n in (10, 100)
        ]
    return section
