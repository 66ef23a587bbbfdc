"""The things to try in the sandbox: how each one is set up, and how the page notices that it was done.

A thing counts as done by what reached the stand-ins. It must not depend on the app's words.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import cycle

from sandbox.app_process import AppProcess
from sandbox.conveyor import OPEN, ConveyorStandIn
from sandbox.faults import Faults
from sandbox.slack import SlackStandIn
from sandbox.stand_in import Exchange
from sandbox.workspace import ANN, BOB, EVE, GUS, SAM, Json

PATCH_ACCESS = "PATCH /exchange/authorizations/*"  # a revocation, or other groups
TRIES = {
    "approve": ("Approve a request", "Tick a report on the card and approve. Then look at Conveyor."),
    "reject": ("Reject one and say why", "The reason is for your own team. The customer won't see it."),
    "search": ("Find a request by searching", "Try an address, a reviewer, or a word of the reason."),
    "race": ("Race another reviewer", "A window opens as Bob. Decide the same request in both."),
    "guest": ("Try to decide as a guest", "Click a button on the card as somebody who can't decide."),
    "personal": ("Decide about a personal address", "A request from gmail.com arrives. Can you trust it?"),
    "look-alike": ("Spot a look-alike address", "Approve robin@wayne.example, and look who asks next."),
    "same": ("Give a colleague the same", "Approve Kai with a report. Then see the card of a colleague."),
    "colleagues": ("Approve several at once", "Three people of one company ask. Approve one of them."),
    "change": ("Change what a customer gets", "Approve a request. Then open ⋯ on its card: Change groups…"),
    "after all": ("Change your mind", "Reject a request. Then open ⋯ on its card: Approve after all…"),
    "down": ("Decide while Conveyor is down", "Approve, watch the card, then turn the switch off again."),
    "rooms": ("Ask as a sales rep", "Press Enter to send the command. Only Sam sees the answer."),
    "notify": ("Get a message when it's decided", "Click the button in the answer, then decide as Ann."),
    "more": ("Hear when a document is opened", "Ask for both. Approve as Ann; sign and open it in Conveyor."),
    "thread": ("Ask about a message in a thread", "Commands don't work in threads: use ⋮ on Bob's reply."),
    "numbers": ("See how many and how fast", "Press Enter: what came in, and how long decisions took."),
    "words": ("Change a word in blocks.py", "Change and save it, then click here: the next card shows it."),
}
# Who asks, and with which words, for what begins with a new request.
ASKS = {
    "personal": ("casey.jones@gmail.com", "Hi, could I see your SOC 2 report?"),
    "notify": ("dana@umbrella.example", "We'd like to see your penetration test."),
    "more": ("kim@tyrell.example", "Our auditors would like your SOC 2 report."),
    "numbers": ("lee@wayne.example", "May we see your security documents?"),
    "words": ("robin@stark.example", "May we see your security documents?"),
}
# What Sam types.
TYPES = {
    "rooms": "/rooms acme.example",
    "notify": "/rooms umbrella.example",
    "more": "/rooms tyrell.example",
    "numbers": "/rooms numbers",
}
COMPANIES = ("globex.example", "initech.example", "hooli.example", "cyberdyne.example")
CUSTOMER, LOOK_ALIKE = "robin@wayne.example", "robin@vvayne.example"


@dataclass
class Tries:
    """Sets things up, and remembers in `done` what was done since the sandbox started."""

    slack: SlackStandIn
    conveyor: ConveyorStandIn
    app: AppProcess
    faults: Faults
    done: set[str] = field(default_factory=set)
    _clicked_by: dict[str, set[str]] = field(default_factory=dict)  # by the ts of the message
    _decided_before_outage: int | None = None
    _look_alike_is_next: bool = False
    _companies: Iterator[str] = field(default_factory=lambda: cycle(COMPANIES))
    _followed_by: dict[str, str] = field(default_factory=dict)  # who asks after whom was approved

    def __post_init__(self) -> None:
        self.slack.on_exchange.append(self._see)

    def listed(self) -> dict[str, Json]:
        """Return everything that can be tried now, by a key that never changes."""
        self._look()
        shown = [name for name in TRIES if name != "thread" or self.slack.shortcuts]
        return {
            f"try/{name}": {"name": name, "label": label, "hint": hint, "done": name in self.done}
            for name, (label, hint) in ((name, TRIES[name]) for name in reversed(shown))
        }

    def set_up(self, name: str) -> Json:
        """Set this up. Return what the window does next: who acts, what is typed, what it shows."""
        if name in ASKS:
            self.conveyor.ask(*ASKS[name])
        if name in TYPES:
            return {"person": SAM, "type": TYPES[name]}
        if name in ASKS:
            return {"person": ANN, "follow": True}
        match name:
            case "race":
                return {"person": ANN, "window": BOB, "ts": self._waiting_card()}
            case "guest":
                return {"person": GUS, "ts": self._waiting_card()}
            case "look-alike":
                self._look_alike_is_next = True
                if not self._has_access(CUSTOMER):
                    self.conveyor.ask(CUSTOMER, "Could we see your penetration test?")
                return {"person": ANN, "follow": True}
            case "same" | "colleagues":
                return self._ask_from_a_company(next(self._companies), name)
            case "down":
                self.faults.switch("conveyor-down", True)
                return {"person": ANN, "ts": self._waiting_card(), "pane": "faults"}
            case "thread":
                ts = self._waiting_card()
                reply = self.slack.post_as(BOB, "Does mia@acme.example have access?", ts) if ts else None
                return {"person": SAM, "ts": reply.ts if reply else ""}
            case "search":
                return {"search": True}
        return {"person": ANN, "ts": self._waiting_card()}

    def _ask_from_a_company(self, company: str, name: str) -> Json:
        """Let one person ask, whom a colleague follows after the approval, or three at once."""
        if name == "same":
            self.conveyor.have_signed.add(f"kai@{company}")
            self._followed_by[f"kai@{company}"] = f"lena@{company}"
        for who in ("kai",) if name == "same" else ("pia", "bo", "max"):
            self.conveyor.ask(f"{who}@{company}", "Our security team would like to read your reports.")
        return {"person": ANN, "follow": True}

    def _waiting_card(self) -> str:
        """Return the ts of the oldest card that waits for a decision, or "" after asking for a new one."""
        cards = self.slack.cards()
        with self.conveyor.lock:
            waiting = [key for key, request in self.conveyor.requests.items() if request["status"] in OPEN]
        for key in waiting:
            for card in cards:
                if f"'{key}'" in str(card.metadata):
                    return card.ts
        self.conveyor.ask("robin@stark.example", "May we see your security documents?")
        return ""

    def _has_access(self, email: str) -> bool:
        """Return whether a card says that this customer was approved: then the app knows it."""
        said = [str(card.metadata) for card in self.slack.cards()]
        return any(f"'{email}'" in each and "'state': 'approved'" in each for each in said)

    def _see(self, exchange: Exchange) -> None:
        """Remember what a person did in Slack."""
        match exchange.request:
            case {"type": "block_actions", "user": {"id": person}, "message": {"ts": ts}}:
                clicked_by = self._clicked_by.setdefault(ts, set())
                clicked_by.add(person)
                if "'approve_same'" in str(exchange.request.get("actions")):
                    self.done.add("same")
                if {ANN, BOB} <= clicked_by:
                    self.done.add("race")
                if person in (GUS, EVE):
                    self.done.add("guest")
                if any(name.startswith("conveyor") for name in self.faults.on):
                    self._decided_before_outage = len(self._decided())
            case {"type": "block_actions", "actions": [{"action_id": "approve_colleagues"}]}:
                self.done.add("colleagues")
            case {"type": "message_action"}:
                self.done.add("thread")
            case {"command": "/rooms", "text": "numbers"}:
                self.done.add("numbers")
            case {"command": "/rooms", "text": text, "user_id": str(person)} if text and person == SAM:
                self.done.add("rooms")

    def _look(self) -> None:
        """Notice what was done from the state of the stand-ins and the app."""
        self._look_at_decisions()
        with self.slack.lock:
            direct = {channel.id for channel in self.slack.channels.values() if channel.is_im}
            told = [each.ts for each in self.slack.messages if each.bot_id and each.channel in direct]
        if told:
            self.done.add("notify")
        if any("access_group_ids" in call.request for call in self.conveyor.calls(PATCH_ACCESS)):
            self.done.add("change")
        with self.conveyor.lock:
            opened = [datetime.fromisoformat(each["created_at"]) for each in self.conveyor.interactions]
        if opened and told and float(told[-1]) > min(opened).timestamp():
            self.done.add("more")
        if self.app.restarts:
            self.done.add("words")

    def _look_at_decisions(self) -> None:
        decided = self._decided()
        for email, call, groups in decided:
            if call == "POST" and groups:
                self.done.add("approve")
            if call == "PATCH":
                self.done.add("reject")
            if groups and (colleague := self._followed_by.pop(email, "")):
                self.conveyor.ask(colleague, "Kai said that you share your reports here.")
            if email.endswith("@gmail.com"):
                self.done.add("personal")
            if email == LOOK_ALIKE:
                self.done.add("look-alike")
        if self._look_alike_is_next and self._has_access(CUSTOMER):
            self._look_alike_is_next = False
            self.conveyor.ask(LOOK_ALIKE, "This is my other address. Please let me in here, too.")
        before = self._decided_before_outage
        if before is not None and len(decided) > before and not self.faults.on:
            self.done.add("down")
        approvals = self.conveyor.calls("POST /exchange/authorizations")
        with self.conveyor.lock:
            rejected = {each.request_id for each in self.conveyor.decisions if each.call.startswith("PATCH")}
            if any(each.request.get("request_id") in rejected for each in approvals):
                self.done.add("after all")

    def _decided(self) -> list[tuple[str, str, list[str]]]:
        """Return the address, the HTTP method and the groups of each decision that the app carried out."""
        with self.conveyor.lock:
            return [
                (
                    str(self.conveyor.requests.get(each.request_id, {}).get("email", "")),
                    each.call.partition(" ")[0],
                    each.groups,
                )
                for each in self.conveyor.decisions
                if each.effective and each.request_id
            ]
