"""The content of the sandbox's page: what it shows of the two stand-ins, and the actions that it offers.

The browser reaches it through `page_server`. It must not keep a second copy of what the stand-ins know.
"""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import cycle
from typing import Any, TypeVar

from sandbox.app_process import AppProcess
from sandbox.conveyor import OPEN, ConveyorStandIn
from sandbox.faults import SWITCHES, Faults
from sandbox.slack import Refused, SlackStandIn
from sandbox.stand_in import Exchange, StandIn
from sandbox.tries import TRIES, Tries
from sandbox.workspace import ANN, BOB, EVE, GUS, SAM, Answer, Channel, Json, Message, Private, View

T = TypeVar("T")

PEOPLE = {
    ANN: "reviewer",
    BOB: "reviewer",
    SAM: "sales rep",
    GUS: "guest",
    EVE: "from another company",
}
COMMANDS = ("/rooms",)
# Calls that the app makes again and again. The page hides them as long as they succeed.
ROUTINE = (
    "GET /exchange/access_groups",
    "GET /exchange/authorization_request_queue",
    "auth.test",
    "usergroups.list",
    "usergroups.users.list",
)
SHOWN_EXCHANGES = 200  # of each stand-in, without the routine ones
SHOWN_LATEST = 50  # of each stand-in, with the routine ones

ORDINARY = cycle(
    [
        (
            "jane.doe@acme.example",
            "Hi! We are reviewing vendors for our new data platform and would like to see your SOC 2 report "
            "and the latest penetration test.\n\nThanks,\nJane Doe, Acme Security",
        ),
        ("li.wei@northwind.example", "Our auditors ask for your ISO 27001 certificate. May we have a look?"),
        ("sofia@globex.example", "Security review before we renew in December. Could you let me in?"),
        ("tom@initech.example", "Please add me: I fill in the questionnaire for our bank."),
    ]
)
HOSTILE = (
    "<!channel> <@U0ANN> approve this at once: <https://evil.example|your bank>\n"
    "*urgent* _now_ `code` :rotating_light: https://evil.example\n"
    "<b>bold</b> <img src=x onerror=alert(1)> <script>alert(2)</script> \u202edesrever"
)
LONG = ("We need access to everything. " * 700)[:20_000]
EXAMPLES: dict[str, Callable[[], tuple[str, str | None]]] = {
    "ordinary": lambda: next(ORDINARY),
    "silent": lambda: ("quiet@hooli.example", None),
    "hostile": lambda: ("mallory@evil.example", HOSTILE),
    "long": lambda: ("verbose@longwinded.example", LONG),
}


def sender_and_receiver(side: str, exchange: Exchange) -> tuple[str, str]:
    """Return the sender and the receiver of an exchange in the log of `side`, "Slack" or "Conveyor"."""
    return ("Slack", "app") if exchange.call.startswith("→ app") else ("app", side)


def is_routine(exchange: Exchange) -> bool:
    """Return whether this is one of the routine calls and nothing went wrong with it."""
    who_has_to_sign = exchange.call == "GET /exchange/authorizations" and "status" in exchange.request
    is_well = outcome(exchange) in ("200", "…") and not exchange.fault
    what_is_opened = exchange.call.startswith("GET /interactions/connections/")
    return is_well and (exchange.call in ROUTINE or who_has_to_sign or what_is_opened)


def outcome(exchange: Exchange) -> str:
    """Return the status of the answer, and the error code if Slack refused, which it does with status 200."""
    if not exchange.done:
        return "…"
    answer = exchange.response
    refused = answer.get("error") if isinstance(answer, dict) and answer.get("ok") is False else ""
    return " ".join(str(part) for part in (exchange.status or "no answer", refused) if part)


class Page:
    """What the page shows and does.

    `act_say` answers `/act/say`, and so on. If the result has a `problem`, the page shows that sentence.
    """

    def __init__(self, slack: SlackStandIn, conveyor: ConveyorStandIn, app: AppProcess) -> None:
        self.slack, self.conveyor, self.app = slack, conveyor, app
        self.faults = Faults(slack, conveyor)
        self.tries = Tries(slack, conveyor, app, self.faults)
        self._windows: dict[str, str] = {}  # the browser window in which each trigger_id was created
        self._sides: list[tuple[str, StandIn]] = [("Slack", slack), ("Conveyor", conveyor)]
        self._interesting: dict[str, deque[Exchange]] = {}
        for side, stand_in in self._sides:
            self._interesting[side] = deque(maxlen=SHOWN_EXCHANGES)
            stand_in.on_exchange.append(partial(self._keep_unless_routine, side))

    # What the page shows

    def snapshot(self, person: str, window: str, since: float) -> dict[str, Json]:
        """Return everything that this window shows to this person, each thing under a key that never changes.

        `since` is the time at which the window was loaded: older ephemeral messages are gone, as in Slack.
        """
        lines = list(self.app.last_lines) if self.app.problem else []
        app = {"app": {"problem": self.app.problem, "lines": lines}}
        slack = self._slack(person, window, since)
        return {**app, **slack, **self._conveyor(), **self._wire(), **self._faults(), **self.tries.listed()}

    def _slack(self, person: str, window: str, since: float) -> dict[str, Json]:
        slack = self.slack
        with slack.lock:
            shown: dict[str, Json] = {
                f"person/{user.id}": {
                    "id": user.id,
                    "name": user.real_name,
                    "handle": user.name,
                    "role": PEOPLE.get(user.id),
                }
                for user in slack.users.values()
            }
            shown |= {
                f"message/{message.ts}": _message(message)
                for message in slack.messages
                if not message.deleted and self._can_see(person, message.channel)
            }
            shown |= {
                f"message/{each.ts}": _private(each)
                for each in slack.private
                if each.user == person and each.at >= since
            }
            shown |= {
                f"place/{channel.id}": {
                    "id": channel.id,
                    "name": channel.name,
                    "direct": channel.is_im,
                    "read_only": self._is_read_only(channel),
                }
                for channel in slack.channels.values()
                if person in channel.members
            }
            shown |= {
                f"shortcut/{callback_id}": {"id": callback_id, "name": name}
                for callback_id, name in slack.shortcuts.items()
            }
            views = [
                view
                for view in slack.views.values()
                if view.user == person and self._windows.get(view.trigger_id, window) == window
            ]
        return {**shown, **({"view": _view(views[-1])} if views else {})}

    def _can_see(self, person: str, channel: str) -> bool:
        known = self.slack.channels.get(channel)
        return known is not None and person in known.members

    def _is_read_only(self, channel: Channel) -> bool:
        return channel.is_im and self.slack.messages_tab_is_read_only

    def _conveyor(self) -> dict[str, Json]:
        conveyor = self.conveyor
        with conveyor.lock:
            shown: dict[str, Json] = {
                f"request/{key}": {
                    "id": key,
                    "email": request["email"],
                    "status": request["status"],
                    "open": request["status"] in OPEN,
                }
                for key, request in conveyor.requests.items()
            }
            for key, grant in conveyor.authorizations.items():
                groups = [group["name"] for group in grant["_embedded"]["access_groups"]]
                shown[f"grant/{key}"] = {
                    "id": key,
                    "email": grant["email"],
                    "status": grant["status"],
                    "groups": groups,
                }
            for key, group in conveyor.groups.items():
                shown[f"group/{key}"] = {"id": key, "name": group["name"]}
        return shown

    def _wire(self) -> dict[str, Json]:
        return {f"exchange/{key}": _exchange(key, side, each) for key, side, each in self._exchanges()}

    def _faults(self) -> dict[str, Json]:
        return {
            f"fault/{name}": {"name": name, "label": label, "on": name in self.faults.on}
            for name, label in reversed(SWITCHES.items())  # the page puts the last one first
        }

    def _keep_unless_routine(self, side: str, exchange: Exchange) -> None:
        if not is_routine(exchange):
            self._interesting[side].append(exchange)

    def _exchanges(self) -> list[tuple[str, str, Exchange]]:
        """Return the recent exchanges of both stand-ins, oldest first. Routine ones are dropped sooner."""
        found = {}
        for side, stand_in in self._sides:
            with stand_in.lock:
                latest = stand_in.exchanges[-SHOWN_LATEST:]
            for each in [*list(self._interesting[side]), *latest]:
                found[f"{each.at:.6f}-{id(each)}"] = (side, each)
        ordered = sorted(found.items(), key=lambda entry: entry[1][1].at)
        return [(key, side, each) for key, (side, each) in ordered]

    def bodies(self, key: str) -> Json:
        """Return what was sent and answered in this exchange."""
        for found, _, exchange in self._exchanges():
            if found == key:
                return {"path": exchange.path, "request": exchange.request, "response": exchange.response}
        return {"problem": "This exchange is too old to show."}

    def search(self, person: str, query: str) -> list[str]:
        """Return the timestamps of the messages that this person finds, newest first."""
        found = self.slack.search(_escaped(query)) if query.strip() else []
        seen = [message.ts for message in reversed(found) if self._can_see(person, message.channel)]
        if {card.ts for card in self.slack.cards()} & set(seen):
            self.tries.done.add("search")
            self.slack.touch()
        return seen

    # What people do in Slack

    def act_click(
        self,
        person: str,
        window: str,
        ts: str,
        action_id: str,
        block_id: str,
        choose: Mapping[str, Any],
        value: Any = None,
        seen: int = 0,
    ) -> Json:
        """Click in a message. `seen` is the value of its `edited` on the screen, which may be outdated."""
        slack = self.slack
        with slack.lock:
            private = next((each for each in slack.private if (each.ts, each.user) == (ts, person)), None)
            message = self._message(person, ts) if private is None else None
            behind = message.edited - seen if message else 0
            slack.forget_choices(person, ts)  # only what this window shows counts
            payload = slack.click_payload(
                person,
                ts,
                action_id,
                block_id=block_id,
                choose=choose,
                value=value,
                via=private,
                behind=behind,
            )
        self._windows[payload["trigger_id"]] = window
        return _problem(slack.send_payload(payload))

    def act_view_click(
        self,
        person: str,
        window: str,
        view_id: str,
        action_id: str,
        block_id: str,
        values: Mapping[str, Any],
        value: Any = None,
    ) -> Json:
        """Click or choose in a modal. `values` is what else this window shows in it."""
        slack = self.slack
        with slack.lock:
            slack.forget_choices(person, view_id)  # only what this window shows counts
            payload = slack.view_click_payload(
                person, action_id, view_id=view_id, values=values, block_id=block_id, value=value
            )
        self._windows[payload["trigger_id"]] = window
        return _problem(slack.send_payload(payload))

    def act_shortcut(self, person: str, window: str, ts: str, callback_id: str) -> Json:
        """Use a message shortcut of the app."""
        self._message(person, ts)
        payload = self.slack.shortcut_payload(person, ts, callback_id)
        self._windows[payload["trigger_id"]] = window
        return _problem(self.slack.send_payload(payload))

    def act_suggest(
        self, person: str, action_id: str, typed: str, ts: str | None = None, view_id: str | None = None
    ) -> Json:
        """Return the options that the app suggests for what a person has typed in an external select."""
        if ts:
            self._message(person, ts)
        answer = self.slack.suggest(person, action_id, typed, ts=ts, view_id=view_id)
        if not isinstance(answer.body, dict):
            return {"options": [], **_problem(answer)}
        groups = answer.body.get("option_groups") or [answer.body]
        return {"options": [option for group in groups for option in group.get("options", [])]}

    def act_submit(self, person: str, view_id: str, values: Mapping[str, Any]) -> Json:
        self.slack.forget_choices(person, view_id)  # only what this window shows counts
        self.slack.submit(person, view_id, values)  # the modal itself shows the outcome
        return {}

    def act_close(self, person: str, view_id: str) -> Json:
        self.slack.close(person, view_id)
        return {}

    def act_say(self, person: str, channel: str, text: str, thread_ts: str | None = None) -> Json:
        """Post a message, or use a slash command if the text starts with one."""
        if not self._can_see(person, channel):
            raise Refused("you are not in this channel")
        if self._is_read_only(self.slack.channels[channel]):
            raise Refused("sending messages to this app has been turned off")  # Slack's own words
        command, _, rest = text.partition(" ")
        if not command.startswith("/"):
            self.slack.post_as(person, _escaped(text), thread_ts, channel)
            return {}
        if command not in COMMANDS:
            return {"problem": f"{command} is not a valid command. Try {', '.join(COMMANDS)}."}
        if thread_ts:
            return {"problem": f"{command} is not supported in threads. Sorry!"}  # Slack's own words
        answer = self.slack.command(person, rest.strip(), command, channel)
        if answer.status == 200:
            return {}
        late = answer.status is None and answer.error != "ConnectionError"
        error = "operation_timeout" if late else "dispatch_failed"
        return {"problem": f"{command} failed with the error “{error}”."}

    def _message(self, person: str, ts: str) -> Message:
        message = self.slack.find(ts)
        if message is None or not self._can_see(person, message.channel):
            raise Refused("there is no such message")
        return message

    # What customers do, and what people do in Conveyor's own pages

    def act_ask(self, email: str, message: str) -> Json:
        self.conveyor.ask(email, message)
        return {}

    def act_example(self, name: str) -> Json:
        self.conveyor.ask(*_get_or_refuse(EXAMPLES, name)())
        return {}

    def act_approve_here(self, id: str) -> Json:
        with self.conveyor.lock:
            if self._is_open(id):  # the second of two quick clicks does nothing
                self.conveyor.approve_here(id)
        return {}

    def act_ignore_here(self, id: str) -> Json:
        with self.conveyor.lock:
            if self._is_open(id):
                self.conveyor.ignore_here(id)
        return {}

    def act_ask_again(self, id: str) -> Json:
        with self.conveyor.lock:
            if not self._is_open(id):
                self.conveyor.ask_again(id)
        return {}

    def act_sign_nda(self, id: str) -> Json:
        with self.conveyor.lock:
            if _get_or_refuse(self.conveyor.authorizations, id)["status"] == "gated":
                self.conveyor.sign_nda(id)
        return {}

    def act_open_document(self, id: str) -> Json:
        with self.conveyor.lock:
            if _get_or_refuse(self.conveyor.authorizations, id)["status"] == "authorized":
                self.conveyor.open_document(id)
        return {}

    def _is_open(self, id: str) -> bool:
        return _get_or_refuse(self.conveyor.requests, id)["status"] in OPEN

    def act_add_groups(self, names: list[str]) -> Json:
        for name in filter(str.strip, names):
            self.conveyor.add_group(name)
        return {}

    def act_rename_group(self, id: str, name: str) -> Json:
        _get_or_refuse(self.conveyor.groups, id)
        self.conveyor.rename_group(id, name)
        return {}

    def act_delete_group(self, id: str) -> Json:
        _get_or_refuse(self.conveyor.groups, id)
        self.conveyor.delete_group(id)
        return {}

    def act_try(self, name: str) -> Json:
        """Set up something to try, and return what the window does next."""
        _get_or_refuse(TRIES, name)
        return self.tries.set_up(name)

    def act_fault(self, name: str, on: bool) -> Json:
        _get_or_refuse(SWITCHES, name)
        self.faults.switch(name, on)
        return {}


def _get_or_refuse(things: Mapping[str, T], key: str) -> T:
    if key not in things:
        raise Refused("that no longer exists")
    return things[key]


def _problem(answer: Answer) -> Json:
    """Return what Slack says under a button when the app fails to answer, or an empty object."""
    if answer.status == 200:
        return {}
    failure = "did not respond" if answer.status is None else f"responded with status {answer.status}"
    return {"problem": f"⚠️ Slack says: the app {failure}."}


def _message(message: Message) -> Json:
    names = ("channel", "ts", "user", "text", "blocks", "thread_ts", "edited", "broadcast")
    shown = {name: getattr(message, name) for name in names}
    kept = (message.metadata or {}).get("event_payload", {})
    return {**shown, "app": bool(message.bot_id), "state": kept.get("state")}


def _private(private: Private) -> Json:
    names = ("channel", "ts", "text", "blocks", "thread_ts")
    return {**{name: getattr(private, name) for name in names}, "edited": 0, "app": True, "private": True}


def _view(view: View) -> Json:
    shown = {key: view.view.get(key) for key in ("title", "submit", "close", "blocks")}
    return {"id": view.id, "hash": view.hash, "errors": view.errors, "problem": view.problem, **shown}


def _exchange(key: str, side: str, exchange: Exchange) -> Json:
    """Return what the page lists for an exchange, without the bodies, which it loads on demand."""
    sender, receiver = sender_and_receiver(side, exchange)
    return {
        "key": key,
        "at": exchange.at,
        "from": sender,
        "to": receiver,
        "call": exchange.call.removeprefix("→ app: "),
        "outcome": outcome(exchange),
        "good": outcome(exchange) in ("…", "200"),
        "seconds": exchange.seconds if exchange.done else None,
        "fault": exchange.fault,
        "routine": is_routine(exchange),
    }


def _escaped(text: str) -> str:
    """Return this text as Slack stores what a person types."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
