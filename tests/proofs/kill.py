"""Kill the app at every commit and outgoing call of a scenario, before and after it, and start it again.

python -m tests.proofs.kill                 every moment of every scenario, with the ledger kept and lost
python -m tests.proofs.kill approve:lost    every moment of one scenario, with the ledger lost
"""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import blocks
from ledger.rows import Row
from ledger.states import State
from sandbox.workspace import ANN, BOB
from tests.proofs.invariants import broken, watch_each_step
from tests.proofs.mortal import REST_SECONDS, MortalWorld
from tests.proofs.promises import promises_broken, watch_what_is_told
from tests.support.launcher import Kill, When
from tests.support.steps import weekly_due
from tests.support.world import eventually
from worker.adopt import kept_by_card
from workspace.channel import Channel
from workspace.slack_client import SlackClient

AT_ONCE = 4
HIT_SECONDS = 4.0
PATIENCE = 5  # on a loaded machine somebody may be told to click again

MISSED = "the moment to die did not come"  # how many polls there are depends on the time
TRIES = 3  # until it comes
MOST_MISSED = 0.01  # of all runs: a driver that misses more shows too little

# Who does what with the card; all of them do it at the same moment.
SCENARIOS: dict[str, list[tuple[str, str]]] = {
    "post": [],
    "approve": [(ANN, "approve")],
    "reject": [(BOB, "reject")],
    "rivals": [(ANN, "approve"), (BOB, "reject")],
    "options": [(ANN, "approve with options")],
    "revoke": [(ANN, "approve and revoke")],
    "change": [(ANN, "approve and change")],
    "after all": [(BOB, "reject and approve the request")],
    "by address": [(BOB, "reject and approve")],
    "tell me": [(BOB, "reject what is watched")],
    "reminders": [(ANN, "approve late")],
    "nda": [(ANN, "approve and sign")],
    "more": [(ANN, "approve and read")],
    "moved": [(ANN, "approve moved")],
    "shorter": [(ANN, "approve refused")],
    "changed": [(ANN, "approve changed")],
    "unheard": [(ANN, "approve unheard")],
    "same": [(ANN, "approve and give the same")],
    "colleagues": [(ANN, "approve all")],
    "week": [],
    "three clicks": [(ANN, "approve"), (BOB, "approve"), (ANN, "approve")],
}
SETTINGS = {"reminders": {"REMIND_AFTER_HOURS": str(0.2 / 3600)}}
LEDGERS = ("kept", "lost")


@dataclass(frozen=True)
class Run:
    """One run: a scenario, whether the ledger is kept or lost after the kill, and when the app dies."""

    scenario: str
    ledger: str
    kill: Kill

    def __str__(self) -> str:
        return f"{self.scenario}:{self.ledger}:{self.kill}"


class Stage(MortalWorld):
    """A world with one open request, and two decided ones that are known only from their cards."""

    def __init__(self, folder: Path, scenario: str) -> None:
        super().__init__(folder)
        self.people = SCENARIOS[scenario]
        self.settings |= SETTINGS.get(scenario, {})
        if scenario == "week":
            self.settings["WEEKLY"] = weekly_due(self)
        self.found: list[str] = []
        watch_each_step(self, self.found)
        watch_what_is_told(self, self.found)
        self.conveyor.add_group("Penetration test")
        for state, status in ((State.APPROVED, "approved"), (State.REJECTED, "ignored")):
            decided = self.conveyor.ask(f"{state}@acme.com", status=status)
            self.closed_here.append((decided, status))
            row = Row(decided, 1, state, f"{state}@acme.com", "", "", "", time.time(), reason="why")
            Channel(SlackClient(self.slack.bot_token, self.slack.api_url), self.slack.channel_id).post(
                blocks.card(row, []), kept_by_card(row)
            )
        self.decided = [(card.ts, card.text, card.edited) for card in self.slack.cards()]
        self.request_id = self.conveyor.ask("jane@acme.com", "Hello")

    def is_clickable(self) -> bool:
        """Return whether the ledger knows the request's card, so that a click on it counts."""
        try:
            query = f"SELECT card_ts FROM requests WHERE id = '{self.request_id}' AND state = 'pending'"
            return any(card_ts for (card_ts,) in self.ledger(query))
        except Exception:
            return False  # the ledger does not exist yet

    def play(self) -> None:
        """Let people click as soon as they can, and again if they are told to, until it is decided."""
        for _ in range(PATIENCE):
            eventually(lambda: self.is_dead() or self.is_clickable(), REST_SECONDS, "a card to click")
            with ThreadPoolExecutor(3) as pool:
                doing = [pool.submit(self.does, user, self.request_id, what) for user, what in self.people]
                for deed in doing:
                    deed.result()
            self.rest()
            if not self.people or self.is_dead() or not self.is_clickable():
                return

    def broken(self) -> list[str]:
        """Return whatever is wrong, at rest."""
        return self.found + broken(self) + promises_broken(self) + self.untouched()

    def untouched(self) -> list[str]:
        """The cards of the requests that were decided before have not been changed."""
        now = [(card.ts, card.text, card.edited) for card in self.slack.cards() if card.ts in self._old()]
        return [] if now == self.decided else [f"decided cards were touched: {self.decided} → {now}"]

    def _old(self) -> set[str]:
        return {ts for ts, _, _ in self.decided}


def perform(run: Run, folder: Path) -> list[str]:
    """Do one run; return what was broken."""
    stage = Stage(folder, run.scenario)
    try:
        stage.begin(run.kill)
        stage.play()
        try:
            eventually(stage.is_dead, HIT_SECONDS)
        except AssertionError:
            stage.found.append(MISSED)
        stage.kill()
        if run.ledger == "lost":
            stage.lose_ledger()
        stage.begin()
        stage.rest()
        found = stage.broken()
        # Whoever still sees buttons clicks again: a request that was left open can still be decided.
        if not found and stage.people and stage.is_clickable():
            stage.play()
            found = stage.broken()
            if stage.is_clickable():
                found.append("the request cannot be decided anymore")
    except AssertionError as error:
        found = [*stage.found, str(error)]
    finally:
        stage.close()
    if found:
        found.append(f"the app's log: {stage.log_file}")
    return found


def perform_until_hit(run: Run, folder: Path) -> list[str]:
    """Do one run, and again while its moment does not come; return what was broken."""
    found: list[str] = []
    for again in range(TRIES):
        own = folder / str(again)
        own.mkdir(parents=True)
        if not is_missed(found := perform(run, own)):
            break
    return found


def is_missed(found: list[str]) -> bool:
    """Return whether nothing is wrong but that the app was not killed."""
    return found[:1] == [MISSED] and len(found) == 2


def moments(scenario: str, folder: Path) -> list[Kill]:
    """Return when the app may die in this scenario: at every commit and call of a run without kills."""
    stage = Stage(folder, scenario)
    try:
        stage.begin()
        stage.play()
        events = stage.events()
        found = stage.broken()
        assert not found, f"{found}\n{stage.log()}"
    finally:
        stage.close()
    counts: Counter[str] = Counter()
    kills = []
    for event in events:
        counts[event] += 1
        kills += [Kill(event, counts[event], when) for when in get_args(When)]
    return kills


def runs(wanted: str, folder: Path) -> Iterator[Run]:
    """Yield the runs of a scenario such as “approve” or “approve:lost”, or of all."""
    scenario, _, ledger = wanted.partition(":")
    for name in [scenario] if scenario else SCENARIOS:
        own = folder / name.replace(" ", "-")
        own.mkdir()
        points = moments(name, own)
        print(f"{name}: {len(points)} moments to die", flush=True)
        for kept in [ledger] if ledger else LEDGERS:
            yield from (Run(name, kept, kill) for kill in points)


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kill-"))
    began = time.monotonic()
    every = list(runs(sys.argv[1] if len(sys.argv) > 1 else "", folder))

    def one(numbered: tuple[int, Run]) -> list[str]:
        number, run = numbered
        if found := perform_until_hit(run, folder / str(number)):
            print(f"{run}", *found, sep="\n  ", flush=True)
        return found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(one, enumerate(every)))
    good, missed = results.count([]), sum(map(is_missed, results))
    bad = len(every) - good - missed
    seconds = time.monotonic() - began
    print(f"{good} kills did no harm, {bad} did, {missed} did not come; {seconds:.0f} s")
    if missed > MOST_MISSED * len(every):
        print(f"More than {MOST_MISSED:.0%} did not come, so this shows too little. Is the machine busy?")
    sys.exit(bad > 0 or missed > MOST_MISSED * len(every))


if __name__ == "__main__":
    main()
