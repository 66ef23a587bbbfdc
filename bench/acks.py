"""How long a click waits for its answer, and how many are answered in a second."""

from collections import defaultdict
from statistics import median

from bench import servers
from bench.load import Volley
from bench.report import Section, Target, milliseconds
from bench.setting import Setting

TITLE = "Clicks: from click to answer"
AT_ONCE = (1, 10, 100)
WARM_UP = 30
USERS_INFO = {"users.info": 0.01}
HANG_SECONDS = 10.0
ALLOWED_HANGING = 2.5
FLOORS = {"bare Flask": "bare_flask", "bare Bolt": "bare_bolt"}


def measure(setting: Setting) -> Section:
    """Clicks on the app and the floors in turn, again and again; then with either service hanging."""
    counts = {1: 60, 10: 200, 100: 300} if setting.quick else {1: 200, 10: 500, 100: 500}
    volleys: dict[tuple[str, int], list[Volley]] = defaultdict(list)
    unproven = 0
    for _ in range(setting.runs):
        for name, function in FLOORS.items():
            with servers.floor(function, setting.log) as floor:
                setting.fire(floor.port, 1, setting.clicks(0, WARM_UP))
                for at_once in AT_ONCE:
                    volley = setting.fire(floor.port, at_once, setting.clicks(0, counts[at_once]))
                    volleys[name, at_once].append(volley)
        _measure_app(setting, counts, volleys)
        unproven += _measure_hanging_slack(setting, volleys)
    return _section(volleys, unproven)


def _measure_app(
    setting: Setting, counts: dict[int, int], volleys: dict[tuple[str, int], list[Volley]]
) -> None:
    database = setting.new_ledger(WARM_UP + sum(counts.values()) + counts[10])
    setting.services.set(pauses=USERS_INFO)
    with setting.app(database) as app:
        servers.wait_until(app.is_ready)
        setting.fire(app.port, 1, setting.clicks(0, WARM_UP))
        first = WARM_UP
        for at_once in AT_ONCE:
            setting.wait_until_quiet()
            clicks = setting.clicks(first, counts[at_once])
            volleys["the app", at_once].append(setting.fire(app.port, at_once, clicks))
            first += counts[at_once]
        setting.wait_until_quiet()
        setting.services.set(pauses={**USERS_INFO, "Conveyor": HANG_SECONDS})
        volleys["Conveyor hangs", 10].append(setting.fire(app.port, 10, setting.clicks(first, counts[10])))


def _measure_hanging_slack(setting: Setting, volleys: dict[tuple[str, int], list[Volley]]) -> int:
    """How many requests were claimed although Slack did not say who clicked."""
    database = setting.new_ledger(110)
    setting.services.set(pauses={})
    with setting.app(database) as app:
        servers.wait_until(app.is_ready)
        setting.services.set(pauses={"Slack": HANG_SECONDS})
        volleys["Slack hangs", 10].append(setting.fire(app.port, 10, setting.clicks(0, 10)))
        volleys["Slack hangs", 100].append(setting.fire(app.port, 100, setting.clicks(10, 100)))
        return setting.ledger("SELECT count(*) FROM requests WHERE state != 'pending'")


def _section(volleys: dict[tuple[str, int], list[Volley]], unproven: int) -> Section:
    section = Section(TITLE, ("", "at once", "p50", "p99", "a second", "unanswered", "client busy"))
    p99: dict[tuple[str, int], float] = {}
    for (name, at_once), runs in volleys.items():
        p99[name, at_once] = median(volley.percentile(99) for volley in runs)
        section.rows.append(
            (
                name,
                str(at_once),
                milliseconds(median(volley.percentile(50) for volley in runs)),
                milliseconds(p99[name, at_once]),
                f"{median(volley.rate for volley in runs):.0f}",
                str(sum(volley.unanswered for volley in runs)),
                f"{100 * median(volley.client_cpu / volley.seconds for volley in runs):.0f} %",
            )
        )
    counts = {at_once: len(volleys["the app", at_once][0].latencies) for at_once in AT_ONCE}
    clicks = ", ".join(f"{count} at {at_once} at once" for at_once, count in counts.items())
    section.remarks = [
        f"Each run clicks {clicks}; whoever has an answer clicks again at once. Each click is an approval by "
        "somebody whom the app has not seen before, of a request of its own: `users.info` answers in 10 ms, "
        "the decision is in a SQLite file synced to disk before the answer, and the same process carries "
        "it out at the same time.",
        "*Unanswered* counts, over all runs, what got no 200 within Slack's three seconds. *Client busy* is "
        "the share of a processor that the client used: far below 100 % it does not hold up the servers.",
        f"*Hangs* means that every answer takes {HANG_SECONDS:.0f} s. When it is Slack, nobody knows who "
        f"clicked: nothing may be claimed. Claimed all the same: {unproven}.",
    ]
    ten, floor = p99["the app", 10] * 1000, p99["bare Bolt", 10] * 1000
    slowest = max(
        volley.latencies[-1] for key, runs in volleys.items() if key[0] == "Slack hangs" for volley in runs
    )
    lost = sum(volley.unanswered for volley in volleys["the app", 100])
    section.targets = [
        Target("Ack, p99 at 10 at once: 2 × bare Bolt + 30 ms", ten, 2 * floor + 30, "ms"),
        Target("… with Conveyor hanging: 1.5 × of that", p99["Conveyor hangs", 10] * 1000, 1.5 * ten, "ms"),
        Target("… with Slack hanging, the slowest of all", slowest, ALLOWED_HANGING, "s"),
        Target("Claimed without knowing who clicked", unproven, 0, ""),
        Target("Unanswered at 100 at once", lost, 0, ""),
    ]
    return section
