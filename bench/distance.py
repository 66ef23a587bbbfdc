"""Measures a decision with Slack and Conveyor at a distance: 80 ms for a round trip, and TLS."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from statistics import median

from bench import load, servers
from bench.cards import until
from bench.delay import Delay
from bench.report import Section, Target, milliseconds
from bench.services import Services
from bench.setting import Setting
from deadline import IDLE_SECONDS
from ledger.states import State
from tests.support.certificates import certify

TITLE = "Distance: from click to decided card at 80 ms a round trip"
ROUND_TRIP = 0.08
REVIEWER = "U0N0"
OPENING = 2  # round trips of a new connection: one for TCP, one for TLS
QUIET_SECONDS = IDLE_SECONDS + 10
ARRIVED_SECONDS = 3 * ROUND_TRIP  # by when everything that was sent is there
# The calls of an approval by a known reviewer, in their order: each needs the answer to the one before.
READ, WRITE, UPDATE = CALLS = "GET request", "POST authorizations", "chat.update"
WARM, QUIET = "connections are open", f"first click after {QUIET_SECONDS:.0f} s"
ONE_CUT, BOTH_CUT = "Conveyor has closed its own", "both have closed theirs"
CLOSING = "each answer closes its own"
ALLOWED = {WARM: 3.6, QUIET: 6.0}


@dataclass(frozen=True)
class Decision:
    """What one decision took, from the click on.

    `ack` is in seconds, and `waited` says whether it may have waited for Slack's answer about the reviewer.
    `calls` are those of the decision, and `new` is how many of them opened a connection. `steps` are the
    round trips of each of CALLS, from the answer to the one before until its own answer is back.
    """

    ack: float
    waited: bool
    calls: int
    new: int
    steps: list[float]


def measure(setting: Setting) -> Section:
    """Measure clicks of a known reviewer, one after another, with connections in different states."""
    certificate, key = certify(setting.folder, "localhost")
    with (
        Services(certificate, key) as services,
        Delay(services.tls_port, ROUND_TRIP) as slack,
        Delay(services.tls_port, ROUND_TRIP) as conveyor,
    ):
        trials = 3 if setting.quick else 10
        # How often to measure each state, and what brings it about.
        states: dict[str, tuple[int, Sequence[Callable[[], object]]]] = {
            WARM: (trials, []),
            QUIET: (1 if setting.quick else 3, [lambda: time.sleep(QUIET_SECONDS)]),
            ONE_CUT: (trials, [conveyor.cut]),
            BOTH_CUT: (trials, [conveyor.cut, slack.cut]),
            CLOSING: (trials, [lambda: services.set(closing=True), conveyor.cut, slack.cut]),
        }
        far = replace(setting, services=services)
        numbers = count()
        found: dict[str, list[Decision]] = {}
        with far.app(
            far.new_ledger(sum(times for times, _ in states.values()) + 1),
            SLACK_API_URL=f"https://127.0.0.1:{slack.port}/api/",
            CONVEYOR_API_URL=f"https://127.0.0.1:{conveyor.port}/api/v2",
            REQUESTS_CA_BUNDLE=str(certificate),
            REVIEWERS=REVIEWER,
        ) as app:
            servers.wait_until(app.is_ready)
            servers.wait_until(lambda: "users.info" in services.set()["counts"])
            _decide(far, app.port, next(numbers))  # not counted: it loads what the first decision needs
            for state, (times, steps) in states.items():
                found[state] = []
                for _ in range(times):
                    time.sleep(ARRIVED_SECONDS)
                    for step in steps:
                        step()
                    time.sleep(ARRIVED_SECONDS)
                    found[state].append(_decide(far, app.port, next(numbers)))
    return _section(found)


def _decide(setting: Setting, port: int, number: int) -> Decision:
    """Click, and return what the decision took until the answer to the card's update is back."""
    click = setting.clicks(number, 1, people=1)
    setting.services.set(forget=True)
    clicked_at = time.time()
    ack = load.fire(port, 1, click).latencies[0]
    calls = until(setting, UPDATE, State.APPROVED, after=WRITE)
    arrived = {name: at for name, _, at, _ in calls}
    half = ROUND_TRIP / 2
    # The app knows each answer, and goes on, half a round trip after the call arrived.
    times = [clicked_at, *(arrived[name] + half for name in CALLS)]
    own = [is_new for name, _, _, is_new in calls if name in CALLS]
    return Decision(
        ack,
        any(name == "users.info" and half <= at - clicked_at <= ack - half for name, _, at, _ in calls),
        len(own),
        sum(own),
        [(end - begin) / ROUND_TRIP for begin, end in pairwise(times)],
    )


def _section(found: dict[str, list[Decision]]) -> Section:
    section = Section(
        TITLE, ("", "calls", "new connections", "least", "read", "write", "update", "in all", "allowed")
    )
    for state, decisions in found.items():
        steps = [median(each) for each in zip(*(one.steps for one in decisions), strict=True)]
        calls, new = (median(getattr(one, what) for one in decisions) for what in ("calls", "new"))
        total = median(sum(one.steps) for one in decisions)
        allowed = ALLOWED.get(state)
        section.rows.append(
            (
                state,
                f"{calls:g}",
                f"{new:g}",
                f"{calls + OPENING * new:g}",
                *(f"{step:.1f}" for step in steps),
                f"{total:.1f}",
                f"{allowed:.1f}" if allowed else "",
            )
        )
        if allowed:
            section.targets.append(Target(f"click → decided card, {state}", total, allowed, "round trips"))
    every = [one for decisions in found.values() for one in decisions]
    waited = sum(one.waited for one in every)
    section.targets.append(Target("Acks of a known reviewer that waited for Slack", waited, 0, ""))
    kept, closed = (median(sum(one.steps) for one in found[state]) for state in (WARM, CLOSING))
    section.remarks = [
        "All but *calls* and *new connections* are round trips, and medians of "
        f"{', '.join(str(len(decisions)) for decisions in found.values())} clicks. A proxy delays every byte "
        f"by {ROUND_TRIP / 2 * 1000:.0f} ms each way, and the first ones of a connection by the round trip "
        "that opening it takes. TLS is real, and takes one more.",
        "*Least* is what these calls take on the network, one after another: each needs the answer to the "
        f"one before. They are *read* (`{READ}`), *write* (`{WRITE}`) and *update* (`{UPDATE}`), which end "
        "when the answer is back at the app. What is beyond the least was spent on this machine, by the app, "
        "its syncs to the disk, the services and the proxy.",
        f"*{QUIET.capitalize()}* is a real wait, which stands for ten minutes: the app keeps a connection "
        f"for {IDLE_SECONDS:.0f} s after its last call, and every 30 s it polls Conveyor and asks Slack who "
        "it is. If it polls more rarely, the next row shows the first click. There, and in the row after it, "
        "nobody waits: the proxy closes the connections a moment before the click.",
        f"Kept connections save {closed - kept:.1f} of {closed:.1f} round trips. A decision that takes "
        "longer than 0.4 s has a fourth call: the card says that it is on its way, and the last "
        "update comes after.",
        f"The ack took {milliseconds(median(one.ack for one in every))}: the app asks Slack about known "
        "reviewers before they click.",
    ]
    return section
