"""Random schedules of customers, reviewers, faults of both services and deaths of the app, one for each seed.

python -m tests.proofs.chaos 1-200      tries these schedules, several at once
python -m tests.proofs.chaos 17         tries this one
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

from sqlalchemy.exc import OperationalError

import blocks
from sandbox.conveyor import OPEN
from sandbox.stand_in import StandIn
from sandbox.workspace import ANN, BOB, SAM, Message, elements_in
from tests.proofs.invariants import broken, watch_each_step
from tests.proofs.mortal import (
    LAG_SECONDS,
    TELL_ME,
    TELL_MORE,
    MortalWorld,
    answer_question,
    follow,
    questions,
    stop_watching,
    watch,
)
from tests.proofs.promises import promises_broken, watch_what_is_told
from tests.support.launcher import Kill
from tests.support.steps import weekly_due
from tests.support.world import eventually, state_of

AT_ONCE = 4
STEPS = 50
MEAN_PAUSE = 0.08
LULL_SECONDS = 4.0
PATIENCE = 3.0  # how long somebody waits for buttons to click
PEOPLE = (ANN, BOB, SAM)  # Sam may not decide
DECISIONS = ("approve", "reject", "approve with options", "reject")
LONGEST_LIFE = 120  # commits and calls until a planned death, at most

HTML = "<!doctype html><title>Sign in</title>"
# Delays are longer than the app waits, and shorter than it takes to read again what it could not confirm.
FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 503, "after": True},
    {"status": 302, "headers": {"Location": "http://127.0.0.1:9/elsewhere"}},
    {"status": 429, "headers": {"Retry-After": "1"}, "body": {"ok": False, "error": "ratelimited"}},
    {"status": 200, "body": HTML},
    {"status": 200, "body": HTML, "after": True},
    {"drop": "before"},
    {"drop": "after"},
    {"delay": 0.3},
    {"delay": 1.1},
    {"delay_after": 1.3},
    {"trickle": 0.002},
    {"trickle": 0.05},
    {"drip": 0.05},
)
WRITE_FAULTS: tuple[dict[str, Any], ...] = (
    {"status": 422, "body": {"error": "No seats left"}},
    {"status": 409, "body": {"error": "Already approved"}, "after": True},
    {"status": 409, "body": {"error": "Try again"}},
    {"status": 403, "body": ""},
)
NOBODYS: dict[str, Any] = {"id": "x-1", "email": "mallory@evil.example", "dataroom_id": "room-1"}
# Answers that look good and are about something else; the work is done or not done.
LIES: dict[str, tuple[dict[str, Any], ...]] = {
    "POST /exchange/authorizations": (NOBODYS | {"status": "gated"}, NOBODYS | {"status": "revoked"}, {}),
    "PATCH /exchange/authorization_requests/*": (NOBODYS | {"status": "ignored"}, {}),
    "PATCH /exchange/authorizations/*": (NOBODYS | {"status": "revoked"}, {}),
    "GET /exchange/authorization_requests/*": (NOBODYS | {"status": "approved"}, {}),
    "GET /exchange/authorizations": ({"authorizations": None},),
    "GET /interactions/connections/*": (
        {"interactions": None},
        {"interactions": [None, 7, NOBODYS | {"type": "Document", "created_at": "2026-12-01T00:00:00Z"}]},
    ),
    "GET /exchange/authorization_request_queue": (
        {"authorization_requests": [{"id": 7}, None, []], "total_pages": 1},
        {"authorization_requests": {}},
    ),
    "chat.postMessage": ({"ok": True}, {"ok": True, "ts": None}),
    "chat.update": ({"ok": True},),
    "conversations.history": ({"ok": True}, {"ok": True, "messages": None}),
    "conversations.members": ({"ok": True},),
    "users.info": ({"ok": True, "user": None}, {"ok": True, "user": {"id": "U0SAM"}}),
    "auth.test": ({"ok": True},),
}
CONVEYOR_READS = (
    "GET /exchange/authorization_request_queue",
    "GET /exchange/access_groups",
    "GET /exchange/authorization_requests/*",
    "GET /exchange/authorizations",
    "GET /interactions/connections/*",
)
CONVEYOR_WRITES = (
    "POST /exchange/authorizations",
    "PATCH /exchange/authorization_requests/*",
    "PATCH /exchange/authorizations/*",
)
# Not chat.postEphemeral, which is the last way to tell somebody something.
SLACK_CALLS = (
    "chat.postMessage",
    "chat.update",
    "conversations.history",
    "conversations.members",
    "users.info",
    "views.open",
    "auth.test",
    "response_url",
)

# A trigger that notes every change of a row's state in the database itself.
WITNESS = (
    "CREATE TABLE IF NOT EXISTS witness (id TEXT, old_round INT, old TEXT, new_round INT, new TEXT)",
    "CREATE TRIGGER IF NOT EXISTS witness_state AFTER UPDATE OF state, round ON requests"
    " WHEN old.state != new.state OR old.round != new.round BEGIN INSERT INTO witness VALUES"
    " (old.id, old.round, old.state, new.round, new.state); END",
)
ELSEWHERE = ("approved elsewhere", "ignored elsewhere", "gone")
BECOMES: dict[str, tuple[str, ...]] = {
    "pending": ("approving", "rejecting", *ELSEWHERE),
    "approving": ("approved", "pending", *ELSEWHERE),
    "rejecting": ("rejected", "pending", *ELSEWHERE),
    "approved": ("revoking", "changing"),
    "revoking": ("revoked", "approved"),
    "changing": ("approved", "revoked"),
    "rejected": ("approving after all",),
    "approving after all": ("approved", "rejected", "approved elsewhere"),
}
SETTLED = ("approved", "rejected", "revoked", *ELSEWHERE)
LOCKED = "restricted_action_thread_locked"


@dataclass(frozen=True)
class Step:
    """Something that happens; `numbers` choose to what and how, among what exists at that time."""

    name: str
    pause: float
    numbers: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.pause:.2f} s, {self.name} {self.numbers}"


class Chaos(MortalWorld):
    """A world that lives through a schedule."""

    def __init__(self, folder: Path, long_queue: bool = False) -> None:
        """Make a world, perhaps one whose queue is long, so that not every poll reads all of it."""
        super().__init__(folder)
        self.waits |= {
            "worker.decide.TRYING_SECONDS": 4.0,
            "worker.show.SWEEP_SECONDS": 1.0,
            "workspace.channel.MEMBERS_SECONDS": 1,
        }
        if long_queue:
            self.waits |= {"conveyor_client.PER_PAGE": 2, "worker.watch.MANY_PAGES": 1}
            self.waits["worker.watch.COMPLETE_SECONDS"] = 1.0
            self.conveyor.queue_order = lambda item: crc32(item["id"].encode())
        self.settings["REMIND_AFTER_HOURS"] = str(1.5 / 3600)
        self.settings["WEEKLY"] = weekly_due(self)
        self.found: list[str] = []
        self.people = ThreadPoolExecutor(12)
        self.busy: list[Future[None]] = []
        self.witnessed = False
        self.planned_death = False
        self.companies: list[str] = []  # from which several people ask
        watch_each_step(self, self.found)
        watch_what_is_told(self, self.found)
        for name in ("Penetration test", "Source code"):
            self.conveyor.add_group(name)

    def live(self, steps: list[Step]) -> None:
        """Let every step happen, then end all faults and wait until everything is at rest."""
        self.begin()
        for step in steps:
            time.sleep(step.pause)
            EVENTS[step.name][1](self, *step.numbers)
            self.witness()
        for future in self.busy:
            future.result()
        for stand_in in (self.slack, self.conveyor):
            stand_in.clear_faults()
        self.conveyor.lag = 0.0
        self.slow_file.unlink(missing_ok=True)
        if self.is_dead():
            self.begin()
        self.rest()
        if self.planned_death:
            self.kill()  # so that no planned death is left
            self.begin()
            self.rest()
        assert not self.is_dead(), "the app ended by itself"

    def witness(self) -> None:
        """Set the trigger that notes every change of a state, if it is not set yet."""
        if self.witnessed:
            return
        with suppress(OperationalError):  # the ledger does not exist yet, or it is busy
            for statement in WITNESS:
                self.ledger(statement)
            self.witnessed = True

    def forbidden_changes(self) -> list[str]:
        """Return the changes of a row's state that the life of a request does not have."""
        return [
            f"{row_id} became {new} (round {new_round}) from {old} (round {old_round})"
            for row_id, old_round, old, new_round, new in self.ledger("SELECT * FROM witness")
            if not (
                (new in BECOMES.get(str(old), ()) and new_round == old_round)
                or (old in SETTLED and new == "pending" and new_round == int(str(old_round)) + 1)
            )
        ]

    def has_buttons(self, request_id: str) -> bool:
        """Return whether the newest card of a request can be clicked."""
        cards = self.cards(request_id)
        return bool(cards) and any(block["type"] == "actions" for block in cards[-1].blocks)

    def requests_that_are(self, *statuses: str) -> list[str]:
        """Return the requests that have one of these statuses in Conveyor."""
        with self.conveyor.lock:
            return [key for key, item in self.conveyor.requests.items() if item["status"] in statuses]


def ask(chaos: Chaos, number: int, _: int, __: int) -> None:
    """A customer asks for access."""
    chaos.conveyor.ask(f"p{number}@acme.com", f"Hello <{number}>")


def ask_together(chaos: Chaos, number: int, who: int, _: int) -> None:
    """Three people of a company ask, and a reviewer approves the first, who has signed the NDA before."""
    emails = [f"{name}@c{number}.example" for name in ("jane", "bob", "eve")]
    chaos.conveyor.have_signed.add(emails[0])
    waiting = [chaos.conveyor.ask(email) for email in emails]
    chaos.companies.append(f"c{number}.example")

    def approve() -> None:
        with suppress(AssertionError):
            eventually(lambda: all(map(chaos.has_buttons, waiting)), 2 * PATIENCE)
            chaos.does(PEOPLE[who % 2], waiting[0], "approve")

    chaos.busy.append(chaos.people.submit(approve))


def ask_after(chaos: Chaos, which: int, number: int, _: int) -> None:
    """Somebody else of such a company asks."""
    if chaos.companies:
        chaos.conveyor.ask(f"p{number}@{chaos.companies[which % len(chaos.companies)]}")


def ask_again(chaos: Chaos, which: int, _: int, __: int) -> None:
    """A customer repeats a request that was decided."""
    if closed := chaos.requests_that_are("approved", "ignored"):
        request_id = closed[which % len(closed)]
        chaos.asked_again.append((request_id, time.time()))
        chaos.conveyor.ask_again(request_id)


def handle_here(chaos: Chaos, which: int, how: int, group: int) -> None:
    """Somebody approves, ignores or removes an open request in Conveyor itself."""
    with chaos.conveyor.lock:
        waiting = chaos.requests_that_are(*OPEN)
        if not waiting:
            return
        request_id = waiting[which % len(waiting)]
        status = ("approved", "ignored", None)[min(how % 7, 2)] if how % 7 < 3 else "ignored"
        chaos.closed_here.append((request_id, status))
        if status == "approved":
            groups = sorted(chaos.conveyor.groups)
            chaos.conveyor.approve_here(request_id, groups[: group % 2])
        elif status == "ignored":
            chaos.conveyor.ignore_here(request_id)
        else:
            chaos.conveyor.remove(request_id)


def change_groups(chaos: Chaos, which: int, how: int, number: int) -> None:
    """Somebody adds, renames or deletes an access group in Conveyor."""
    groups = sorted(chaos.conveyor.groups)
    if how % 3 == 0 or not groups:
        chaos.conveyor.add_group(f"Group {number}")
    elif how % 3 == 1:
        chaos.conveyor.rename_group(groups[which % len(groups)], f"New name {number}")
    else:
        chaos.conveyor.delete_group(groups[which % len(groups)])


def click(chaos: Chaos, which: int, who: int, what: int) -> None:
    """Somebody waits for the buttons of one of the newest requests, and decides it."""
    waiting = (chaos.requests_that_are(*OPEN) or list(chaos.conveyor.requests))[-3:]
    request_id, person = waiting[which % len(waiting)], PEOPLE[who % 3]
    action = DECISIONS[what % len(DECISIONS)]

    def decide() -> None:
        try:
            eventually(lambda: chaos.has_buttons(request_id), PATIENCE)
        except AssertionError:
            return
        chaos.does(person, request_id, action)

    chaos.busy.append(chaos.people.submit(decide))


def give_same(chaos: Chaos, which: int, who: int, _: int) -> None:
    """Somebody gives a customer what a colleague got, if a card offers that."""
    waiting = chaos.requests_that_are(*OPEN)
    offers = [each for each in waiting if _has(chaos.cards(each)[-1:], blocks.APPROVE_SAME)]
    if offers:
        request_id = offers[which % len(offers)]
        chaos.busy.append(chaos.people.submit(chaos.does, PEOPLE[who % 3], request_id, "give the same"))


def _has(cards: list[Message], action_id: str) -> bool:
    return any(each.get("action_id") == action_id for card in cards for _, each in elements_in(card.blocks))


def agree(chaos: Chaos, which: int, who: int, _: int) -> None:
    """A reviewer agrees to approve colleagues who wait as well; sometimes two clicks come at once."""
    person = PEOPLE[who % 2]
    if asked := questions(chaos, person):
        for _ in range(1 + which % 2):
            chaos.busy.append(chaos.people.submit(answer_question, chaos, person, asked[which % len(asked)]))


def rush(chaos: Chaos, which: int, who: int, what: int) -> None:
    """Several people decide at the same moment."""
    for more in range(3):
        click(chaos, which, who + more, what // (1 + more))


def think_over(chaos: Chaos, which: int, who: int, how: int) -> None:
    """Somebody revokes what was approved, changes its groups, or approves what was rejected."""
    newest = list(chaos.conveyor.requests)[-4:]
    if not newest:
        return
    request_id, person = newest[which % len(newest)], PEOPLE[who % 3]
    actions = {"approved": ("revoke", "change", "change")[how % 3], "rejected": "after all"}

    def decide() -> None:
        def action() -> str | None:
            cards = chaos.cards(request_id)
            return actions.get(state_of(cards[-1])) if cards else None

        with suppress(AssertionError):
            chaos.does(person, request_id, eventually(action, PATIENCE))

    chaos.busy.append(chaos.people.submit(decide))


def ask_about(chaos: Chaos, which: int, how: int, _: int) -> None:
    """Sam asks to be told how one of the newest requests ends, or of all that follows, or of nothing."""
    watched = [deed.request_id for deed in list(chaos.deeds) if deed.what in (TELL_ME, TELL_MORE)]
    act, among = (watch, follow)[how % 2], list(chaos.conveyor.requests)
    if how % 4 == 0:
        act, among = stop_watching, watched
    if among := among[-3:]:
        chaos.busy.append(chaos.people.submit(act, chaos, SAM, among[which % len(among)]))


def sign(chaos: Chaos, which: int, _: int, __: int) -> None:
    """A customer signs the NDA, often one of those who were let in last."""
    with chaos.conveyor.lock:
        gated = [key for key, item in chaos.conveyor.authorizations.items() if item["status"] == "gated"]
    if gated := gated[-3:]:
        chaos.sign(gated[which % len(gated)])


def open_document(chaos: Chaos, which: int, _: int, number: int) -> None:
    """A customer opens a document, and before that signs the NDA, often one of those let in last."""
    with chaos.conveyor.lock:
        every = chaos.conveyor.authorizations.items()
        if active := [key for key, item in every if item["status"] != "revoked"][-3:]:
            chaos.sign(active[which % len(active)])
            chaos.conveyor.open_document(active[which % len(active)], f"Report {number}")


def delete_card(chaos: Chaos, which: int, _: int, __: int) -> None:
    """Somebody deletes a card in Slack."""
    if cards := chaos.slack.cards():
        chaos.slack.delete(cards[which % len(cards)].ts)


def break_conveyor(chaos: Chaos, which: int, how: int, times: int) -> None:
    """The next calls of one kind to Conveyor go wrong."""
    if which % 3 == 0:
        call, faults = CONVEYOR_READS[which // 3 % len(CONVEYOR_READS)], FAULTS
    else:
        call, faults = CONVEYOR_WRITES[which // 3 % len(CONVEYOR_WRITES)], FAULTS + WRITE_FAULTS
    faults += lies(call)
    chaos.conveyor.fail(call, 1 + times % 3, **faults[how % len(faults)])


def lies(call: str) -> tuple[dict[str, Any], ...]:
    """Return the faults in which this call is answered with something else."""
    told = LIES.get(call, ())
    return tuple({"status": 200, "body": body, "after": after} for body in told for after in (False, True))


def break_slack(chaos: Chaos, which: int, how: int, times: int) -> None:
    """The next calls of one kind to Slack go wrong."""
    call, faults = SLACK_CALLS[which % len(SLACK_CALLS)], FAULTS
    if call == "response_url":  # to which Slack answers nothing but the status
        faults = tuple(fault for fault in FAULTS if fault.get("body") != HTML)
    faults += lies(call)
    chaos.slack.fail(call, 1 + times % 3, **faults[how % len(faults)])


def refuse_messages(chaos: Chaos, which: int, _: int, times: int) -> None:
    """Let Slack refuse the next cards as they are, or the next replies and direct messages."""

    def is_card(request: Any) -> bool:
        return "metadata" in request

    def is_no_card(request: Any) -> bool:
        return not is_card(request)

    call, error, refused = (
        ("chat.*", "invalid_blocks", is_card) if which % 2 else ("chat.postMessage", LOCKED, is_no_card)
    )
    chaos.slack.fail(call, 1 + times % 3, body={"ok": False, "error": error}, when=refused)


def lag_behind(chaos: Chaos, much: int, how_long: int, _: int) -> None:
    """For a while, reads from Conveyor are behind what was written there."""

    def catch_up() -> None:
        time.sleep(how_long % 300 / 100)
        chaos.conveyor.lag = 0.0

    chaos.conveyor.lag = LAG_SECONDS * (1 + much % 100) / 100
    chaos.busy.append(chaos.people.submit(catch_up))


def change_address(chaos: Chaos, which: int, how: int, number: int) -> None:
    """A request gets another address or another Trust Center, or its address in other case."""
    with chaos.conveyor.lock:
        waiting = chaos.requests_that_are(*OPEN)[-3:]
        if not waiting:
            return
        request_id = waiting[which % len(waiting)]
        email = str(chaos.conveyor.requests[request_id]["email"])
        changes = (
            {"email": f"{email}.evil{number % 100}.example"},
            {"email": email.swapcase()},
            {"dataroom_id": f"room-{number % 2 + 1}"},
        )
        chaos.conveyor.change_here(request_id, **changes[how % len(changes)])


def move_channel(chaos: Chaos, number: int, _: int, __: int) -> None:
    """The channel gets another id, as when it is shared; that happens once."""
    if not chaos.slack.former_ids:
        chaos.slack.move_channel(f"C0MOVED{number % 10}")


def look_up_slowly(chaos: Chaos, much: int, how_long: int, _: int) -> None:
    """For a while, looking up the names of both services takes long, perhaps too long for any call."""
    begun = time.time()

    def end() -> None:
        time.sleep(how_long % 200 / 100)
        chaos.slow_file.unlink(missing_ok=True)
        chaos.outages.append((chaos.slack, begun, time.time()))

    chaos.slow_file.write_text(str(much % 250 / 100))
    chaos.busy.append(chaos.people.submit(end))


def stop_service(chaos: Chaos, which: int, how_long: int, _: int) -> None:
    """One service is down for a moment."""
    stand_in: StandIn = (chaos.slack, chaos.conveyor)[which % 2]
    begun = time.time()
    stand_in.stop()
    time.sleep(0.1 + how_long % 100 / 100)
    stand_in.serve(stand_in.port)
    chaos.outages.append((stand_in, begun, time.time()))


def die(chaos: Chaos, planned_death: int, number: int, when: int) -> None:
    """The app is killed now and started again, perhaps with another death planned."""
    chaos.kill()
    kill = (
        Kill("", 1 + number % LONGEST_LIFE, "before" if when % 2 else "after") if planned_death % 2 else None
    )
    chaos.planned_death = kill is not None
    chaos.begin(kill)


def stop(chaos: Chaos, _: int, __: int, ___: int) -> None:
    """The app is stopped by SIGTERM and started again."""
    process = chaos.process
    if process and not chaos.is_dead():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        eventually(chaos.is_dead, 40, "the app stops")
        chaos.planned_death = False
        chaos.begin()


def lull(chaos: Chaos, _: int, __: int, ___: int) -> None:
    """Nothing new happens for a while, so that the app can finish its work."""
    revive(chaos, 0, 0, 0)
    with suppress(AssertionError):
        eventually(lambda: not chaos.unfinished(), LULL_SECONDS)


def revive(chaos: Chaos, _: int, __: int, ___: int) -> None:
    """The app is started again if it is dead."""
    if chaos.is_dead():
        chaos.planned_death = False
        chaos.begin()


# How often each kind of step happens, and what it does.
EVENTS: dict[str, tuple[int, Callable[[Chaos, int, int, int], None]]] = {
    "ask": (5, ask),
    "ask together": (2, ask_together),
    "follow": (3, ask_after),
    "ask again": (3, ask_again),
    "handle here": (2, handle_here),
    "change groups": (1, change_groups),
    "click": (10, click),
    "rush": (4, rush),
    "give same": (5, give_same),
    "agree": (6, agree),
    "think over": (6, think_over),
    "sign": (4, sign),
    "open document": (4, open_document),
    "ask about": (6, ask_about),
    "delete card": (1, delete_card),
    "break conveyor": (6, break_conveyor),
    "break slack": (5, break_slack),
    "refuse messages": (2, refuse_messages),
    "lag behind": (2, lag_behind),
    "change address": (2, change_address),
    "move channel": (1, move_channel),
    "look up slowly": (1, look_up_slowly),
    "stop service": (1, stop_service),
    "die": (3, die),
    "stop": (1, stop),
    "lull": (6, lull),
    "revive": (3, revive),
}


def schedule(seed: int) -> list[Step]:
    """Return the steps of this schedule."""
    random = Random(seed)
    names, weights = list(EVENTS), [weight for weight, _ in EVENTS.values()]
    return [Step("ask", 0.0, (0, 0, 0)), Step("ask", 0.0, (1, 0, 0)), Step("lull", 0.0, (0, 0, 0))] + [
        Step(
            random.choices(names, weights)[0],
            min(random.expovariate(1 / MEAN_PAUSE), 1.0),
            (random.randrange(10**6), random.randrange(10**6), random.randrange(10**6)),
        )
        for _ in range(STEPS)
    ]


def perform(seed: int, folder: Path) -> list[str]:
    """Live through a schedule; return what was broken."""
    chaos = Chaos(folder, long_queue=seed % 2 == 0)
    try:
        chaos.live(schedule(seed))
        found = chaos.found + broken(chaos) + promises_broken(chaos) + chaos.forbidden_changes()
    except AssertionError as error:
        found = [*chaos.found, str(error)]
    finally:
        chaos.people.shutdown()
        chaos.close()
    if found:
        found.append(f"the app's log: {chaos.log_file}")
    return found


def seeds(wanted: str) -> list[int]:
    """Return the numbers in a text such as “1-20,77”."""
    found: list[int] = []
    for part in wanted.split(","):
        first, _, last = part.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return list(dict.fromkeys(found))


def main() -> None:
    wanted = seeds(sys.argv[1] if len(sys.argv) > 1 else "1-20")
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    began = time.monotonic()

    def one(seed: int) -> bool:
        own = folder / str(seed)
        own.mkdir()
        if found := perform(seed, own):
            head = f"BROKEN by seed {seed}; again: python -m tests.proofs.chaos {seed}"
            print(head, *found, sep="\n  ", flush=True)
        return not found

    with ThreadPoolExecutor(AT_ONCE) as pool:
        good = sum(pool.map(one, wanted))
    print(f"{good} of {len(wanted)} schedules did no harm, in {time.monotonic() - began:.0f} s")
    sys.exit(good != len(wanted))


if __name__ == "__main__":
    main()
