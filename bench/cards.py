"""Measures how long it takes from a request to its card, and from a click to the decided card."""

import random
import time
from statistics import median
from typing import Any

from bench import servers
from bench.report import Section, Target
from bench.setting import Setting
from ledger.states import State

TITLE = "Cards: from request to card, and from click to decided card"
POLL_SECONDS = 1.0
ALLOWED_BEYOND_POLL = 0.2
CALL_SECONDS = 0.1
ALLOWED_BEYOND_CALLS = 0.1
PACE_SECONDS = 1.1  # the app posts one card a second

# The calls of an approval in their order, and why each is needed.
WHY = {
    "users.info": "who clicked and whether they may decide; the answer is kept for 60 s",
    "GET request": "is it still open? Somebody may have decided it in Conveyor itself",
    "POST authorizations": "the decision (or `PATCH request`); the answer or a read says what was granted",
    "chat.update": "the card says what was decided",
}


def measure(setting: Setting) -> Section:
    """Measure single requests at any moment between two polls, and single clicks with calls of 100 ms."""
    trials = 3 if setting.quick else 5
    to_card: list[list[float]] = []
    to_decided: list[list[float]] = []
    calls: list[list[str]] = []
    for _ in range(setting.runs):
        database = setting.new_ledger(trials)
        setting.services.set(pauses={})
        with setting.app(database, POLL_SECONDS=str(POLL_SECONDS)) as app:
            servers.wait_until(app.is_ready)
            to_card.append([_ask(setting, trials + number) for number in range(trials)])
            setting.services.set(pauses={"Slack": CALL_SECONDS, "Conveyor": CALL_SECONDS})
            to_decided.append([])
            for number in range(trials):
                seconds, called = _decide(setting, app.port, number)
                to_decided[-1].append(seconds)
                calls.append(called)
    # If a decision takes long, the app updates the card in between too. The shortest list has no such call.
    return _section(to_card, to_decided, min(calls, key=len))


def _ask(setting: Setting, number: int) -> float:
    """Return the seconds from a request in Conveyor to its card in Slack."""
    time.sleep(PACE_SECONDS + random.uniform(0, POLL_SECONDS))  # any moment between two polls
    setting.services.set(forget=True)
    asked_at = time.time()
    setting.services.set(ask=number)
    return float(until(setting, "chat.postMessage", State.PENDING)[-1][2]) - asked_at


def _decide(setting: Setting, port: int, number: int) -> tuple[float, list[str]]:
    """Return the seconds from a click to the decided card, and the calls in between."""
    click = setting.clicks(number, 1)
    setting.services.set(forget=True)
    clicked_at = time.time()
    setting.fire(port, 1, click)
    calls = until(setting, "chat.update", State.APPROVED)
    return calls[-1][2] - clicked_at, [name for name, *_ in calls if name in WHY]


def until(setting: Setting, call: str, state: str, after: str = "") -> list[list[Any]]:
    """Wait until this call has drawn a card in this state. Return the calls before it, and it as the last.

    It counts only after the call `after`: a card that was decided before may be drawn once more.
    """
    found: list[list[Any]] = []

    def is_there() -> bool:
        calls = setting.services.set()["calls"]
        first = next((place for place, each in enumerate(calls) if after in ("", each[0])), len(calls))
        drawn = [number for number, each in enumerate(calls[first:], first + 1) if each[:2] == [call, state]]
        found[:] = calls[: drawn[0]] if drawn else []
        return bool(found)

    servers.wait_until(is_there)
    return found


def _section(to_card: list[list[float]], to_decided: list[list[float]], calls: list[str]) -> Section:
    section = Section(TITLE, ("", "median", "slowest", "allowed"))
    in_sequence = len(calls) * CALL_SECONDS
    for name, runs, allowed in (
        (f"request → card, POLL_SECONDS={POLL_SECONDS:g}", to_card, POLL_SECONDS + ALLOWED_BEYOND_POLL),
        ("click → decided card, each call 100 ms", to_decided, in_sequence + ALLOWED_BEYOND_CALLS),
    ):
        slowest = median(max(run) for run in runs)
        middle = median(median(run) for run in runs)
        section.rows.append((name, f"{middle:.3f} s", f"{slowest:.3f} s", f"{allowed:.3f} s"))
        section.targets.append(Target(name, slowest, allowed, "s"))
    section.remarks = [
        f"{len(to_card[0])} requests and as many clicks per run; *slowest* is the median of "
        "the slowest of each run.",
        f"A decision costs {len(calls)} calls, one after another: "
        + "; ".join(f"`{call}` ({WHY[call]})" for call in calls)
        + ".",
    ]
    return section
