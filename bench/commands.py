"""Measures how long the answer to a slash command takes, with many decided requests in the ledger."""

import time
from statistics import median

from bench import made_up, servers
from bench.report import Section, Target, milliseconds
from bench.setting import Setting

TITLE = "Slash command: from question to answer"
DECIDED = 100_000
ALLOWED_SECONDS = 1.0
TYPED = {  # what a person types after the command, by how the table names it
    "waiting requests": "",
    "one person": f"person{DECIDED}@customer{DECIDED % 5000}.com",
    "a company of 20 requests": "customer7.com",
    "somebody unknown": "nobody@nowhere.example",
    "part of several names": "customer7",
    "the numbers of a month": "numbers",
    "the numbers of all decisions": "numbers 9999d",
}


def measure(setting: Setting) -> Section:
    """Measure the answers to several commands, with every call of the app to a service taking 100 ms."""
    section = Section(TITLE, ("question", "median", "slowest"))
    database = setting.new_ledger(10, DECIDED)
    setting.services.set(pauses={"Conveyor": 0.1, "Slack": 0.1})
    slowest = 0.0
    with setting.app(database) as app:
        servers.wait_until(app.is_ready)
        for name, typed in TYPED.items():
            seconds = [_ask(setting, app.port, typed) for _ in range(3 * setting.runs)]
            slowest = max(slowest, *seconds)
            section.rows.append((name, milliseconds(median(seconds)), milliseconds(max(seconds))))
    section.remarks = [
        f"{DECIDED:,} decided requests are in the ledger; every call to Slack and Conveyor takes 100 ms. The "
        "time is from Slack's request to the arrival of the answer; in it is who is in the channel (kept "
        "for a minute), what Conveyor says of each customer shown, and the answer's own call."
    ]
    section.targets = [Target("Answer to a command, the slowest", slowest, ALLOWED_SECONDS, "s")]
    return section


def _ask(setting: Setting, port: int, typed: str) -> float:
    """Return the seconds from a command to the arrival of its answer at the response_url."""
    form = {
        "command": "/rooms",
        "text": typed,
        "user_id": made_up.ASKER,
        "team_id": made_up.TEAM,
        "trigger_id": f"{time.time():.6f}.command",
        "response_url": setting.services.url + "/respond",
    }
    setting.services.set(forget=True)
    started = time.time()
    setting.fire(port, 1, [made_up.signed(form)])
    answered: list[float] = []

    def is_answered() -> bool:
        answered.extend(at for name, _, at, _ in setting.services.set()["calls"] if name == "respond")
        return bool(answered)

    servers.wait_until(is_answered)
    return answered[0] - started
