"""A world whose app is killed and started again, with a list of what people did and what came of it."""

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from sqlalchemy.exc import OperationalError

import addresses
import blocks
from sandbox.conveyor import OPEN, Decision
from sandbox.slack import Refused
from sandbox.stand_in import StandIn
from sandbox.workspace import ANN, SAM, Answer, Private, elements_in
from settings import Settings
from tests.support.launcher import SHORT, Kill
from tests.support.world import World, eventually, kill, state_of

POLL_SECONDS = "0.2"
STARTING_SECONDS = 10.0  # on a loaded machine
REST_SECONDS = 60.0  # also on a loaded machine
HEARING_SECONDS = 6.0  # how long somebody waits for the answer to a question
LAG_SECONDS = 2.0  # longer than the app waits before a second write, and shorter than until it gives back
ASKED = "asked for a window"
QUESTION, TELL_ME, STOP_TELLING = "asked how it stands", "tell me", "stop telling me"
TELL_MORE = "tell me more"
DECISIONS = ("approve", "reject", "revoke", "change", "after all")
COLLEAGUES = "approve colleagues"
GATED = "SELECT authorization_id FROM requests WHERE state = 'approved' AND access_status = 'gated'"
FOLLOWED = (
    "SELECT email, max(at, min(coalesce(claimed_at, settled_at), settled_at)) FROM followers"
    " JOIN requests ON id = request_id"
    " WHERE state IN ('approved', 'approved elsewhere') AND access_status != 'gated'"
)
REMINDER = blocks.STILL_WAITING


@dataclass
class Deed:
    """One thing that somebody did in Slack, and how the app answered; `seen` is what the answer showed."""

    user: str
    request_id: str
    what: str
    reason: str = ""
    begun: float = field(default_factory=time.time)
    ended: float = 0.0
    answer: Answer | None = None
    seen: str = ""
    about: str = ""  # the customer's address
    shown: frozenset[str] = frozenset()  # the addresses on the card, right before and right after a click
    said: list[Private] = field(default_factory=list)  # what was posted to its response_url

    @property
    def sent(self) -> dict[str, Any]:
        """What Slack sent to the app for it."""
        assert self.answer
        body, _ = self.answer.sent
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        return dict(json.loads(fields["payload"])) if "payload" in fields else fields

    @property
    def trigger_id(self) -> str:
        return str(self.sent["trigger_id"])


class MortalWorld(World):
    """A World whose app can be killed at a chosen moment, with a list of what people did in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.settings["POLL_SECONDS"] = POLL_SECONDS
        self.waits = dict(SHORT)
        self.starts: list[float] = []
        self.ends: list[float] = []  # when the app was seen to be dead
        self.deeds: list[Deed] = []
        self.closed_here: list[tuple[str, str | None]] = []  # by people in Conveyor: request, status
        self.signed: list[str] = []  # by customers: the ids of what they were granted
        self.asked_again: list[tuple[str, float]] = []  # by customers: request, when
        self.outages: list[tuple[StandIn, float, float]] = []  # of a service, from when to when
        self.ledger_lost_at = 0.0
        self.asking = threading.Lock()
        self._dying = threading.Lock()

    def begin(self, kill: Kill | None = None) -> None:
        """Start the app, perhaps to be killed at some moment; return at once."""
        self.starts.append(time.time())
        self.events_file = self.folder / f"events-{len(self.starts)}"
        self.launch(kill)

    def events(self) -> list[str]:
        """Return the names of the commits and outgoing calls since the last start."""
        assert self.events_file
        return self.events_file.read_text().splitlines() if self.events_file.exists() else []

    def is_dead(self) -> bool:
        """Return whether the app is dead; its end is noted when that is first seen."""
        with self._dying:
            if self.process and self.process.poll() is None:
                return False
            if self.process:
                self.process = None
                self.ends.append(time.time())
            return True

    def kill(self) -> None:
        if process := self.process:
            kill(process)
            self.is_dead()

    def lose_ledger(self) -> None:
        """Delete the ledger, as an operator might do between two starts."""
        if self.database.parent.exists():
            for file in self.database.parent.iterdir():
                file.unlink()
        self.ledger_lost_at = time.time()

    def closings(self, request_id: str, status: str | None) -> int:
        """Return how often a request got this status, from the app or from people in Conveyor."""
        verb = {"approved": "POST", "ignored": "PATCH"}.get(status or "", "-")
        with self.conveyor.lock:
            ours = [
                decision
                for decision in self.conveyor.decisions
                if decision.effective
                and self.request_of(decision) == request_id
                and decision.call.startswith(verb)
            ]
        return len(ours) + self.closed_here.count((request_id, status))

    def request_of(self, decision: Decision) -> str:
        """Return the id of the request that a write is about: by its address if it names no request."""
        if decision.request_id or not decision.email:
            return decision.request_id
        return self.request_from(decision.email)

    def request_from(self, email: str) -> str:
        """Return the id of the request from this address, or an empty string."""
        with self.conveyor.lock:
            items = [*self.conveyor.requests.items(), *self.conveyor.removed.items()]
        return next((key for key, item in items if addresses.same(item["email"], email)), "")

    def sign(self, authorization_id: str) -> None:
        """Sign the NDA as the customer, if that is still to be done."""
        with self.conveyor.lock:
            if self.conveyor.authorizations[authorization_id]["status"] == "gated":
                self.conveyor.sign_nda(authorization_id)
                self.signed.append(authorization_id)

    def is_opened(self, email: str, since: float = 0.0) -> bool:
        """Return whether the customer with this address has opened a document since then."""
        with self.conveyor.lock:
            opened = [(each["email"], each["created_at"]) for each in self.conveyor.interactions]
        return any(
            addresses.same(who, email) and datetime.fromisoformat(at).timestamp() >= since
            for who, at in opened
        )

    def is_signed(self, email: str) -> bool:
        """Return whether the customer with this address has signed the NDA."""
        return any(addresses.same(each, email) for each in self.signers())

    def signers(self) -> list[str]:
        """Return the address of each who has signed, as often as they did."""
        with self.conveyor.lock:
            return [str(self.conveyor.authorizations[key]["email"]) for key in self.signed]

    def approvals(self, request_id: str) -> list[Decision]:
        """Return the approvals of a request by the app that took effect."""
        with self.conveyor.lock:
            every = list(self.conveyor.decisions)
        return [
            each
            for each in every
            if (self.request_of(each), each.effective) == (request_id, True) and each.call.startswith("POST")
        ]

    def every_start(self) -> list[float]:
        """Return all starts, also of processes that replaced one which could not renew its lease in time."""
        own = self.ledger("SELECT at FROM trail WHERE event = 'start'")
        return [*self.starts, *(float(str(at)) for (at,) in own)]

    def was_down(self, begun: float, ended: float, starting: float = STARTING_SECONDS) -> bool:
        """Return whether the app was dead or starting, or a service was out, about then."""
        again = {end: min((at for at in self.starts if at > end), default=ended) for end in self.ends}
        died = any(end <= ended + 1.5 and begun - 0.5 <= start for end, start in again.items())
        began = any(begun - starting <= start <= ended + 1.5 for start in self.every_start())
        outages = [(out, end) for _, out, end in self.outages]
        return died or began or any(begun - 1.0 <= end and out <= ended + 1.5 for out, end in outages)

    def was_asked_again(self, request_id: str, after: float, before: float) -> bool:
        """Return whether the customer repeated this request between these two times."""
        return any(asked == request_id and after < at < before for asked, at in self.asked_again)

    def is_slow(self, at: float) -> bool:
        """Return whether a service was out or a look-up slow then, so that an answer may have come late."""
        return any(out <= at <= end + LAG_SECONDS for _, out, end in self.outages)

    # Waiting

    def unfinished(self) -> str:
        """Return what the app still has to do, or "" if everything is at rest."""
        if self.is_dead():
            return "the app is dead"
        try:
            rows = self.ledger("SELECT id, state, show_at, decide_at, card_ts FROM requests")
            notes = self.ledger("SELECT kind, request_id FROM notes")
            gated = self.ledger(GATED)
            followed = [(str(email), float(str(since))) for email, since in self.ledger(FOLLOWED)]
            (lease,) = self.ledger("SELECT adopted_at, polled_at, poll_problem FROM lease")
        except (OperationalError, ValueError):
            return "there is no ledger yet"
        if lease[0] is None or lease[1] is None or lease[2]:
            return f"no complete poll: {lease}"
        if due := [row for row in rows if row[2] is not None or row[3] is not None]:
            return f"due: {due}"
        if notes:
            return f"notes to send: {notes}"
        if bare := [row[0] for row in rows if row[1] == "pending" and not self.slack.find(str(row[4]))]:
            return f"without a card: {bare}"
        if signed := {key for (key,) in gated} & set(self.signed):
            return f"signed in Conveyor, not here: {signed}"
        if opened := [each for each in followed if self.is_opened(*each)]:
            return f"opened in Conveyor, and not told: {opened}"
        with self.conveyor.lock:
            is_open = {key for key, item in self.conveyor.requests.items() if item["status"] in OPEN}
        waiting = {row[0] for row in rows if row[1] == "pending"}
        return "" if waiting == is_open else f"open in Conveyor: {is_open}, waiting here: {waiting}"

    def rest(self, seconds: float = REST_SECONDS) -> None:
        """Wait until everything is at rest, and still is after another poll."""
        polls: set[object] = set()

        def calm() -> bool:
            if self.unfinished():
                polls.clear()
            else:
                polls.add(self.ledger("SELECT polled_at FROM lease")[0][0])
            return len(polls) == 2 or self.is_dead()

        try:
            eventually(calm, seconds)
        except AssertionError:
            raise AssertionError(f"no rest in {seconds} s: {self.unfinished()}") from None

    # What people do

    def does(self, user: str, request_id: str, what: str) -> None:
        """Let somebody do something with the newest card of a request, if there is one."""
        if cards := self.cards(request_id):
            ACTIONS[what](self, user, request_id, cards[-1].ts)

    def attempt(self, deed: Deed, act: Callable[[], Answer], ts: str = "") -> None:
        """Let somebody do something, with the card `ts` if it is about a card, and note it."""
        self.deeds.append(deed)
        deed.shown |= self.address_on(ts)
        try:
            deed.answer = act()
        except Refused:
            self.deeds.remove(deed)  # the button is gone, and they see that
        deed.shown |= self.address_on(ts)
        deed.ended = time.time()
        if deed.answer and deed.answer.status is None:
            with suppress(AssertionError):
                eventually(self.is_dead, 0.5)  # so that its end is noted now

    def address_on(self, ts: str) -> frozenset[str]:
        """Return the customer's address on a card, or nothing if there is no such card."""
        card = self.slack.find(ts)
        return frozenset([(card.metadata or {})["event_payload"]["email"]]) if card else frozenset()

    def ask(self, deed: Deed, act: Callable[[], Answer]) -> Private | None:
        """Let somebody use a command or its buttons; return the app's answer, or None."""
        self.attempt(deed, act)
        if deed.answer is None or deed.answer.status != 200:
            return None
        deed.said = self.said_about(deed)
        with suppress(AssertionError):
            eventually(lambda: deed.said or self.is_dead(), HEARING_SECONDS)
        deed.ended = time.time()
        return deed.said[0] if deed.said else None

    def said_about(self, deed: Deed) -> list[Private]:
        """Return what was posted to the response_url so far; the list goes on growing."""
        return self.slack.response_urls[deed.sent["response_url"].rpartition("/")[2]].ephemerals


def approve(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve, with the first group if the card offers it."""
    groups = sorted(world.conveyor.groups)[:1]

    def act() -> Answer:
        try:
            return world.slack.click(user, ts, "approve", choose={"groups": groups})
        except Refused:  # the card does not offer this group
            return world.slack.click(user, ts, "approve")

    world.attempt(Deed(user, request_id, "approve"), act, ts)


def reject(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Reject, for a reason that nobody else gives, or for a ready one."""
    said = f"{user} says no to {request_id}, number {len(world.deeds)}: " + "because & <so> " * 100
    reason, values = _why(world, blocks.REJECT_REASONS, said)
    _in_a_window(world, Deed(user, request_id, "reject", reason), ts, "reject", values)


def approve_with_options(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve in the window with options."""
    values = {"nda": ["nda"], "ends": "90", "reason": f"{user} says yes & <so on>"}
    _in_a_window(world, Deed(user, request_id, "approve"), ts, "options", values)


def revoke(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Revoke the access, for a reason that nobody else gives, or for a ready one."""
    said = f"{user} revokes {request_id}, number {len(world.deeds)}: " + "because & <so> " * 100
    reason, values = _why(world, blocks.REVOKE_REASONS, said)
    _in_a_window(world, Deed(user, request_id, "revoke", reason), ts, "more", values, entry="revoke")


def _why(world: MortalWorld, ready: Sequence[blocks.Ready], said: str) -> tuple[str, dict[str, Any]]:
    """Return a reason, and how to fill in the window for it: typed, chosen, or chosen with a text."""
    number, chosen = len(world.deeds), [each for each in ready if not each.needs_text]
    if not chosen or number % 3 == 2:
        return said.strip(), {"reason": said}
    one, text = chosen[number // 3 % len(chosen)], said if number % 3 else ""
    return one.kept(text.strip()), {blocks.READY: one.value, "reason": text}


def change(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Change the groups: to the first one, or to none if the customer has that."""
    with world.conveyor.lock:
        email = world.conveyor.requests.get(request_id, {}).get("email")
        grants = [each for each in world.conveyor.authorizations.values() if each["email"] == email]
        groups = (
            [] if grants and grants[-1]["_embedded"]["access_groups"] else sorted(world.conveyor.groups)[:1]
        )
    _in_a_window(world, Deed(user, request_id, "change"), ts, "more", {"groups": groups}, "change_groups")


def approve_after_all(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve what was rejected."""
    values = {"reason": f"{user} has thought it over"}
    _in_a_window(world, Deed(user, request_id, "after all"), ts, "more", values, "after_all")


def _in_a_window(
    world: MortalWorld, deed: Deed, ts: str, button: str, values: dict[str, Any], entry: str | None = None
) -> None:
    """Click a button or an entry of a menu, and submit the window that it opens, if it opens one."""
    asked = Deed(deed.user, deed.request_id, ASKED)
    world.attempt(asked, lambda: world.slack.click(deed.user, ts, button, value=entry), ts)
    deed.shown = asked.shown
    named = f'"{deed.request_id}"'
    with world.slack.lock:
        mine = [view for view in world.slack.views.values() if view.user == deed.user]
    view = next((each for each in mine if named in each.view.get("private_metadata", "")), None)
    if view is None:
        return
    asked.seen = "a modal"
    world.attempt(deed, lambda: world.slack.submit(deed.user, view.id, values))
    deed.seen = "problem" if view.problem else "errors" if view.errors else ""
    if deed.answer and deed.answer.body:
        deed.seen = world.slack.text_of(view)
    with suppress(Refused):  # it is closed already
        world.slack.close(deed.user, view.id)


def approve_and_revoke(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve, and revoke as soon as the card offers it."""
    approve(world, user, request_id, ts)
    _when(world, ts, "approved")
    revoke(world, user, request_id, ts)


def approve_and_change(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve, and change the groups as soon as the card offers it."""
    approve(world, user, request_id, ts)
    _when(world, ts, "approved")
    change(world, user, request_id, ts)


def reject_and_approve(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Reject, and approve after all as soon as the card offers it; Conveyor takes only the address."""
    reject(world, user, request_id, ts)
    _when(world, ts, "rejected")
    approve_after_all(world, user, request_id, ts)


def reject_and_approve_the_request(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """The same, but Conveyor takes the request."""
    world.conveyor.approves_ignored = True
    reject_and_approve(world, user, request_id, ts)


def _when(world: MortalWorld, ts: str, state: str) -> None:
    """Wait for a while until a card is in this state."""

    def is_so() -> bool:
        card = world.slack.find(ts)
        return world.is_dead() or bool(card and state_of(card) == state)

    with suppress(AssertionError):
        eventually(is_so, 5)


def watch(world: MortalWorld, user: str, request_id: str, _: str = "") -> None:
    """Use the command, and ask to be told when the request is decided."""
    _ask_and_click(world, user, request_id, blocks.TELL_ME, TELL_ME)


def follow(world: MortalWorld, user: str, request_id: str, _: str = "") -> None:
    """Use the command, and ask to be told of the outcome, the signature and the first document."""
    if answer := _ask_and_click(world, user, request_id, blocks.TELL_ME, TELL_ME):
        about = str(world.conveyor.requests[request_id]["email"])
        with world.asking:
            _click_in(world, answer, Deed(user, request_id, TELL_MORE, about=about), blocks.TELL_MORE)
    else:
        _ask_and_click(world, user, request_id, blocks.TELL_MORE, TELL_MORE)


def stop_watching(world: MortalWorld, user: str, request_id: str, _: str = "") -> None:
    """Use the command, and ask not to be told anymore."""
    _ask_and_click(world, user, request_id, blocks.STOP_TELLING, STOP_TELLING)


def _ask_and_click(world: MortalWorld, user: str, request_id: str, button: str, what: str) -> Private | None:
    """Use the command, and click the button for this request in its answer, if there is one.

    Return the answer to that.
    """
    item = world.conveyor.requests.get(request_id)
    if item is None:
        return None
    with world.asking:  # one at a time, so that it is known which question is answered
        email = str(item["email"])
        typed = "watching" if what == STOP_TELLING else email
        asked = Deed(user, request_id, QUESTION)
        answer = world.ask(asked, lambda: world.slack.command(user, typed))
        if answer is None:
            return None
        return _click_in(world, answer, Deed(user, request_id, what, about=email), button)


def _click_in(world: MortalWorld, answer: Private, deed: Deed, button: str) -> Private | None:
    """Click the button for this request in an answer, if there is one; return the answer to that."""
    buttons = [
        block["block_id"]
        for block, element in elements_in(answer.blocks or [])
        if (element.get("action_id"), element.get("value")) == (button, deed.request_id)
    ]
    if not buttons:
        return None
    click = partial(world.slack.click, deed.user, answer.ts, button, via=answer, block_id=buttons[0])
    return world.ask(deed, click)


def reject_watched(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Reject a request that one person watches and another one does not watch anymore."""
    watch(world, SAM, request_id)
    watch(world, ANN, request_id)
    stop_watching(world, ANN, request_id)
    reject(world, user, request_id, ts)


def approve_and_sign(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve what somebody wants to be told of; the customer then signs the NDA as soon as there is one."""
    watch(world, SAM, request_id)
    approve(world, user, request_id, ts)
    _sign(world, request_id)


def approve_and_read(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve what somebody wants to know all about; the customer signs the NDA and opens two documents."""
    follow(world, SAM, request_id)
    approve(world, user, request_id, ts)
    if granted := _sign(world, request_id):
        world.conveyor.open_document(granted, "SOC 2 report")
        world.conveyor.open_document(granted, "Penetration test")


def _sign(world: MortalWorld, request_id: str) -> str:
    """Sign the NDA as the customer as soon as there is one; return the id of what they were granted."""

    def granted() -> list[str]:
        email = world.conveyor.requests[request_id]["email"]
        with world.conveyor.lock:
            return [key for key, each in world.conveyor.authorizations.items() if each["email"] == email]

    with suppress(AssertionError):
        world.sign(eventually(granted, 5)[0])
        return granted()[0]
    return ""


def approve_moved(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve after the channel got another id, as when it is shared; that happens only once."""
    if not world.slack.former_ids:
        world.slack.move_channel("C0MOVED")
    approve(world, user, request_id, ts)


def approve_refused(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve while Slack does not take the card that says so, so that a shorter one has to."""
    world.slack.fail("chat.update", body={"ok": False, "error": "msg_blocks_too_long"})
    approve(world, user, request_id, ts)


def approve_changed(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve while the request gets another address in Conveyor; that happens only once."""
    email = str(world.conveyor.requests[request_id]["email"])
    if not email.endswith(".example"):
        world.conveyor.change_here(request_id, email=f"{email}.evil.example")
    approve(world, user, request_id, ts)


def approve_unheard(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve while Conveyor's answer is lost, and reads are behind what was written."""
    world.conveyor.lag = LAG_SECONDS
    world.conveyor.fail("POST /exchange/authorizations", drop="after")
    approve(world, user, request_id, ts)


def give_the_same(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Give this customer what a colleague got, if the card offers that."""
    act = partial(world.slack.click, user, ts, blocks.APPROVE_SAME)
    world.attempt(Deed(user, request_id, "approve"), act, ts)


def named_by(question: Private) -> list[str]:
    """Return the requests that a private question about colleagues names, the approved one first."""
    buttons = [each for _, each in elements_in(question.blocks)]
    values = [each["value"] for each in buttons if each["action_id"] == blocks.APPROVE_COLLEAGUES]
    if not values:
        return []
    _, subject, first = values[0].split(" ", 2)
    return [first, *(request_id for request_id, *_ in json.loads(unquote(subject[16:])))]


def questions(world: MortalWorld, user: str) -> list[Private]:
    """Return the questions about colleagues that somebody can still answer."""
    with world.slack.lock:
        return [each for each in world.slack.private if each.user == user and named_by(each)]


def answer_question(world: MortalWorld, user: str, question: Private) -> None:
    """Agree to approve those whom the question names. Each is a decision of its own."""
    first, *named = named_by(question)
    deed = Deed(user, first, COLLEAGUES)
    shown = [frozenset([str(world.conveyor.requests[each]["email"])]) for each in named]
    theirs = [Deed(user, each, "approve", shown=seen) for each, seen in zip(named, shown, strict=True)]
    world.deeds += theirs
    click = partial(world.slack.click, user, question.ts, blocks.APPROVE_COLLEAGUES, via=question)
    world.attempt(deed, click)
    with suppress(AssertionError):
        eventually(lambda: not named_by(question) or world.is_dead(), 1)
    deed.seen = "" if named_by(question) else "the answer in place of the question"
    for each in theirs:
        each.answer, each.ended, each.seen = deed.answer, time.time(), "the same click"
        if deed.answer is None:
            world.deeds.remove(each)


def approve_and_give_the_same(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve somebody who has signed; then a colleague asks, and gets the same with one click."""
    world.conveyor.have_signed.add(str(world.conveyor.requests[request_id]["email"]))
    approve(world, user, request_id, ts)
    _when(world, ts, "approved")
    (bob,) = _ask_once(world, "bob@acme.com")
    with suppress(AssertionError):
        eventually(lambda: world.is_dead() or _offers_same(world, bob), 5)
    world.does(user, bob, "give the same")


def approve_all(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve while two colleagues wait as well, and answer the question about them."""
    others = _ask_once(world, "bob@acme.com", "eve@acme.com")
    with suppress(AssertionError):
        eventually(lambda: world.is_dead() or all(map(world.cards, others)), 8)
    approve(world, user, request_id, ts)
    with suppress(AssertionError):
        answer_question(world, user, eventually(lambda: questions(world, user), 6)[-1])


def _ask_once(world: MortalWorld, *emails: str) -> list[str]:
    """Return the requests of these customers, who ask now if they did not before."""
    with world.conveyor.lock:
        known = {str(item["email"]): key for key, item in world.conveyor.requests.items()}
        return [known.get(email) or world.conveyor.ask(email) for email in emails]


def _offers_same(world: MortalWorld, request_id: str) -> bool:
    cards = world.cards(request_id)
    found = [each.get("action_id") for _, each in elements_in(cards[-1].blocks)] if cards else []
    return blocks.APPROVE_SAME in found


def approve_late(world: MortalWorld, user: str, request_id: str, ts: str) -> None:
    """Approve after the last reminder."""

    def reminded() -> bool:
        replies = [reply for reply in world.slack.replies(ts) if REMINDER in reply.text]
        return len(replies) >= Settings.remind_times or world.is_dead()

    eventually(reminded, REST_SECONDS, "the last reminder")
    approve(world, user, request_id, ts)


ACTIONS: dict[str, Callable[[MortalWorld, str, str, str], None]] = {
    "approve": approve,
    "approve with options": approve_with_options,
    "reject": reject,
    "revoke": revoke,
    "change": change,
    "after all": approve_after_all,
    "approve and revoke": approve_and_revoke,
    "approve and change": approve_and_change,
    "reject and approve": reject_and_approve,
    "reject and approve the request": reject_and_approve_the_request,
    "reject what is watched": reject_watched,
    "approve late": approve_late,
    "approve and sign": approve_and_sign,
    "approve and read": approve_and_read,
    "approve moved": approve_moved,
    "approve refused": approve_refused,
    "approve changed": approve_changed,
    "approve unheard": approve_unheard,
    "give the same": give_the_same,
    "approve and give the same": approve_and_give_the_same,
    "approve all": approve_all,
}
