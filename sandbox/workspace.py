"""The state of the stand-in for Slack: people, channels, messages, modals, and what people have chosen.

This module keeps and changes the state. It must not decide what is allowed: `slack_api` does that for the
app, and `slack` for the people.
"""

import html
import re
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sandbox.limits import blocks_text, elements_of
from sandbox.socket_link import SocketLink
from sandbox.stand_in import StandIn

Json = dict[str, Any]
Blocks = list[Json]
ElementIds = tuple[str, str]  # block_id, action_id
ANN, BOB, SAM = "U0ANN", "U0BOB", "U0SAM"  # ids of the people whom `_people` describes
GUS, GIL, EVE = "U0GUS", "U0GIL", "U0EVE"
ROBOT, DAN, NOEL, UNA = "U0ROBOT", "U0DAN", "U0NOEL", "U0UNA"
TEAM, OTHER_TEAM = "T0SANDBOX", "T0ELSEWHERE"
MAX_HISTORY = 999
MANIFEST = Path(__file__).resolve().parent.parent / "manifest.yaml"
# For each type of input element: the key of its value in `state.values`, the key of its initial value in the
# element, and the value of an empty one.
INPUT_STATE: dict[str, tuple[str, str, Any]] = {
    "checkboxes": ("selected_options", "initial_options", []),
    "multi_static_select": ("selected_options", "initial_options", []),
    "multi_external_select": ("selected_options", "initial_options", []),
    "multi_users_select": ("selected_users", "initial_users", []),
    "radio_buttons": ("selected_option", "initial_option", None),
    "static_select": ("selected_option", "initial_option", None),
    "external_select": ("selected_option", "initial_option", None),
    "users_select": ("selected_user", "initial_user", None),
    "datepicker": ("selected_date", "initial_date", None),
    "plain_text_input": ("value", "initial_value", None),
}


@dataclass
class Person:
    id: str
    name: str
    real_name: str
    email: str | None = None
    team_id: str = TEAM  # empty: Slack does not say it
    enterprise_user: Json | None = None  # what Slack says of somebody who is in an organization
    deleted: bool = False
    is_bot: bool = False
    is_restricted: bool = False
    is_ultra_restricted: bool = False
    is_stranger: bool = False
    is_email_confirmed: bool | None = True
    tz: str = "Europe/Berlin"


@dataclass
class Channel:
    id: str
    name: str
    members: list[str] = field(default_factory=list)
    is_private: bool = False
    is_archived: bool = False
    is_member: bool = True
    is_ext_shared: bool = False
    is_im: bool = False


@dataclass
class Message:
    """A message in a channel, seen by all members.

    `edited` counts its updates, and `history` keeps the text, blocks and metadata from before each of them.
    """

    channel: str
    ts: str
    user: str
    text: str
    blocks: Blocks = field(default_factory=list)
    metadata: Json | None = None
    thread_ts: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    edited: int = 0
    history: list[tuple[str, Blocks, Json | None]] = field(default_factory=list)
    deleted: bool = False
    reply_count: int = 0
    broadcast: bool = False  # a reply that the channel shows as well


@dataclass
class Private:
    """An ephemeral message, which only one person sees."""

    user: str
    channel: str
    text: str
    blocks: Blocks
    thread_ts: str | None
    at: float
    ts: str


@dataclass
class View:
    """An open modal.

    `state` is what the person has entered. `errors` come from the app, by block_id; `problem` is what Slack
    itself says when the app fails to answer. `root` is the first modal of the stack, `previous` the next one
    below.
    """

    id: str
    user: str
    view: Json
    hash: str
    root: str
    previous: str | None = None
    state: dict[ElementIds, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    trigger_id: str = ""  # of the click that opened it, or the modal below it

    @property
    def blocks(self) -> Blocks:
        return list(self.view["blocks"])


@dataclass
class Trigger:
    """The right to open one modal for this person, which every click and command gives for three seconds."""

    user: str
    at: float
    used: bool = False
    view: str = ""  # the id of the modal in which the click was, if it was in one


@dataclass
class ResponseUrl:
    """The right to post in a channel, or to replace the message `ts`, which every click and command gives."""

    user: str
    channel: str
    ts: str | None
    thread_ts: str | None
    at: float
    uses: int = 0
    ephemerals: list[Private] = field(default_factory=list)  # the ephemeral messages posted through it


@dataclass
class Answer:
    """What the app answered. `status` is None if it did not within three seconds; then `error` says why."""

    status: int | None
    body: Any
    seconds: float
    error: str = ""
    sent: tuple[bytes, Mapping[str, str]] = field(default=(b"", {}), repr=False)


def ids_of(person: Person) -> set[str]:
    """Return the ids of a person: the one in the workspace, and the one in the organization."""
    return {person.id, (person.enterprise_user or {}).get("id", person.id)}


def manifest_scopes(key: str = "bot") -> list[str]:
    """Return the scopes that manifest.yaml asks for; with "bot_optional", those that may be declined."""
    listed = re.search(rf"^    {key}:.*\n((?: {{6}}- .*\n)*)", MANIFEST.read_text(), re.MULTILINE)
    return re.findall(r"- (\S+)", listed[1]) if listed else []


def messages_tab_is_read_only() -> bool:
    """Return whether manifest.yaml lets nobody write direct messages to the app."""
    return "messages_tab_read_only_enabled: true" in MANIFEST.read_text()


def manifest_shortcuts() -> dict[str, str]:
    """Return the name of each message shortcut in manifest.yaml by its callback_id."""
    section = re.search(r"^  shortcuts:\n((?: {4}.*\n)+)", MANIFEST.read_text(), re.MULTILINE)
    found = {}
    for entry in re.split(r"^ {4}- ", section[1] if section else "", flags=re.MULTILINE):
        fields = {
            key: value.strip("\"'")
            for key, value in re.findall(r"(\w+): +(.+?)(?: +#.*)?$", entry, re.MULTILINE)
        }
        if fields.get("type") == "message":
            found[fields["callback_id"]] = fields["name"]
    return found


def _people() -> dict[str, Person]:
    company = "harbor.example"
    people = [
        Person(ANN, "ann", "Ann Abbot", f"ann@{company}"),
        Person(BOB, "bob", "Bob Brown", f"bob@{company}"),
        Person(SAM, "sam", "Sam Sales", f"sam@{company}", tz="America/New_York"),
        Person(GUS, "gus", "Gus Guest", f"gus@{company}", is_restricted=True),
        Person(GIL, "gil", "Gil Guest", f"gil@{company}", is_restricted=True, is_ultra_restricted=True),
        Person(EVE, "eve", "Eve Elsewhere", "eve@elsewhere.example", OTHER_TEAM, is_stranger=True),
        Person(ROBOT, "robot", "Robot", is_bot=True, is_email_confirmed=None),
        Person(DAN, "dan", "Dan Departed", f"dan@{company}", deleted=True),
        Person(NOEL, "noel", "Noel Noaddress", None),
        Person(UNA, "una", "Una Unconfirmed", f"una@{company}", is_email_confirmed=False),
    ]
    return {person.id: person for person in people}


class Workspace(StandIn):
    """A workspace with one channel, whose state the tests and the page read and change."""

    def __init__(
        self,
        bot_token: str = "xoxb-made-up-token",  # noqa: S107 - made up
        signing_secret: str = "made-up-signing-secret",  # noqa: S107 - made up
        limit_rates: bool = False,
    ) -> None:
        super().__init__([bot_token, signing_secret, "xapp-made-up-token"])
        self.bot_token, self.signing_secret = bot_token, signing_secret
        self.install()
        self.limit_rates = limit_rates
        # How many times a method may be called within how many seconds, whatever `limit_rates` says, and how
        # many messages a page of a channel's history has at most.
        self.rate_limits: dict[str, tuple[int, float]] = {}
        self.history_page = MAX_HISTORY
        self.former_ids: dict[str, str] = {}  # of channels that were moved, while Slack still takes them
        self.allow_made_up_options = True  # a person may pick options that the app has not suggested
        self.app_url = ""  # where the app listens; empty: it uses Socket Mode
        self.app_token = "xapp-made-up-token"  # noqa: S105 - made up
        self.link = SocketLink()  # the Socket Mode connections
        self.team_id, self.bot_user_id, self.bot_id, self.app_id = TEAM, "U0APP", "B0APP", "A0APP"
        self.enterprise_id = ""  # of the organization that the workspace is in; empty: it is in none
        self.is_org_wide = False  # the app is installed for the organization, and not in the workspace
        self.sent_team = ""  # the workspace in which people click, if it is another one
        self.channel_id = "C0REQUESTS"
        self.users = _people()
        members = [*(person.id for person in self.users.values() if not person.deleted), self.bot_user_id]
        self.channels = {self.channel_id: Channel(self.channel_id, "trust-requests", members)}
        self.user_groups: dict[str, Json] = {}
        self.shortcuts = manifest_shortcuts()  # which every message offers: their names by callback_id
        self.messages: list[Message] = []
        self.private: list[Private] = []
        self.views: dict[str, View] = {}
        self.trigger_ids: dict[str, Trigger] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self.answers: list[Answer] = []
        self.locked_threads: set[str] = set()  # timestamps of messages to which nobody may reply
        self.messages_tab = True  # whether the app may send direct messages
        self.messages_tab_is_read_only = messages_tab_is_read_only()
        self.problems: list[str] = []  # what Slack would not accept, without telling the app
        self._last_ts = 0
        self._calls_at: dict[tuple[str, str], list[float]] = {}
        self._choices: dict[tuple[str, str], dict[ElementIds, Any]] = {}  # by person and ts of the message
        self._redrawn: set[tuple[str, str]] = set()  # ts and block_id of blocks that ignore initial values
        self._suggested: dict[str, dict[str, Json]] = {}  # options of external selects by action_id and value

    def install(self, *declined: str) -> None:
        """Install the app again, without the scopes that are declined: Slack lets nobody decline others."""
        if required := set(declined) - set(manifest_scopes("bot_optional")):
            raise ValueError(f"not optional: {', '.join(sorted(required))}")
        self.scopes = set(manifest_scopes()) - set(declined)

    @property
    def api_url(self) -> str:
        """The value for the app's setting SLACK_API_URL."""
        return self.url + "/api/"

    def find(self, ts: str | None, channel: str | None = None) -> Message | None:
        """Return the message with this timestamp, or None if there is none or it is deleted."""
        with self.lock:
            found = (message for message in self.messages if message.ts == ts and not message.deleted)
            return next((message for message in found if channel in (None, message.channel)), None)

    def person(self, user_id: str) -> Person | None:
        """Return the person with this id, which may be their id in the organization."""
        if user_id in self.users:
            return self.users[user_id]
        return next((who for who in self.users.values() if user_id in ids_of(who)), None)

    def cards(self) -> list[Message]:
        """Return the app's own messages in the channel, oldest first, except replies and deleted ones."""
        with self.lock:
            mine = [message for message in self.messages if message.bot_id == self.bot_id]
            return [
                message
                for message in mine
                if message.channel == self.channel_id and not message.thread_ts and not message.deleted
            ]

    def replies(self, ts: str) -> list[Message]:
        """Return the replies in the thread of this message, oldest first."""
        with self.lock:
            return [message for message in self.messages if message.thread_ts == ts and not message.deleted]

    def search(self, query: str) -> list[Message]:
        """Return the messages whose top-level text contains every word, as Slack's search finds them."""
        words = query.lower().split()
        with self.lock:
            shown = [message for message in self.messages if not message.deleted]
        return [message for message in shown if all(word in message.text.lower() for word in words)]

    def text_of(self, message: Message | Private | View) -> str:
        """Return all text that a person sees in it."""
        if isinstance(message, View):
            titles = [message.view[key] for key in ("title", "submit", "close") if key in message.view]
            return blocks_text([*titles, *message.blocks])
        return blocks_text(message.blocks) if message.blocks else message.text

    def delete(self, ts: str) -> None:
        """Delete a message as a person."""
        with self.lock:
            if message := self.find(ts):
                message.deleted = True
        self.touch()

    def move_channel(self, new_id: str, takes_former: bool = True) -> None:
        """Give the channel another id, as Slack does when a private channel starts to be shared.

        `takes_former` says whether calls may still name the former id.
        """
        with self.lock:
            former, self.channel_id = self.channel_id, new_id
            self.channels[new_id] = replace(self.channels.pop(former), id=new_id)
            self.former_ids = {former: new_id} if takes_former else {}
            there: list[Message | Private | ResponseUrl] = [*self.messages, *self.private]
            for each in (*there, *self.response_urls.values()):
                if each.channel == former:
                    each.channel = new_id
        self.touch()

    def post_as(self, user_id: str, text: str, thread_ts: str | None = None, channel: str = "") -> Message:
        """Post a message as this person, in the channel unless another is given."""
        with self.lock:
            message = Message(channel or self.channel_id, self._new_ts(), user_id, text, thread_ts=thread_ts)
            self._add_message(message)
        self.touch()
        return message

    def chatter(self, user_id: str, count: int) -> None:
        """Post so many messages as this person in the channel."""
        with self.lock:
            for number in range(count):
                said = Message(self.channel_id, self._new_ts(), user_id, f"Something else, {number}")
                self.messages.append(said)
        self.touch()

    def open_view(self, user_id: str) -> View | None:
        """Return the topmost modal that this person has open, or None."""
        with self.lock:
            mine = [view for view in self.views.values() if view.user == user_id]
        return mine[-1] if mine else None

    def _new_ts(self) -> str:
        """Return a timestamp that no message has, even if the clock stands still."""
        self._last_ts = max(int(self.now() * 1e6), self._last_ts + 1)
        return f"{self._last_ts // 10**6}.{self._last_ts % 10**6:06d}"

    def _add_message(self, message: Message) -> None:
        self.messages.append(message)
        if parent := self.find(message.thread_ts):
            parent.reply_count += 1

    def _post(
        self, channel: str, text: str, blocks: Blocks, metadata: Json | None, thread: str | None
    ) -> Message:
        message = Message(
            channel, self._new_ts(), self.bot_user_id, text, _with_ids(blocks), metadata, thread,
            self.bot_id, self.app_id,
        )  # fmt: skip
        self._add_message(message)
        return message

    def _redraw(self, message: Message | Private, text: str, blocks: Blocks) -> None:
        """Replace the text and blocks of a message.

        As in Slack, a block that keeps its id ignores its initial values from now on.
        """
        new = _with_ids(blocks)
        before = {block["block_id"] for block in message.blocks}
        self._redrawn |= {(message.ts, block["block_id"]) for block in new if block["block_id"] in before}
        if isinstance(message, Message):
            message.history.append((message.text, message.blocks, message.metadata))
            message.edited += 1
        message.text, message.blocks = text, new

    def _add_private(self, user: str, channel: str, text: str, blocks: Blocks, thread: str | None) -> Private:
        private = Private(user, channel, text, _with_ids(blocks), thread, self.now(), self._new_ts())
        self.private.append(private)
        return private

    def _new_view(self, user: str, view: Json, trigger_id: str, below: View | None = None) -> View:
        view_id = f"V{secrets.token_hex(5).upper()}"
        root, previous = (below.root, below.id) if below else (view_id, None)
        shown = _with_view_ids(view)
        opened = View(view_id, user, shown, _new_hash(), root, previous, trigger_id=trigger_id)
        self.views[view_id] = opened
        return opened

    def _redraw_view(self, view: View, new: Json) -> None:
        """Replace the content of an open modal.

        As in Slack, what an input contains stays where the ids are the same, whatever its new initial value.
        """
        before = {**_initial_state(view.blocks), **view.state}
        view.view, view.hash, view.errors = _with_view_ids(new), _new_hash(), {}
        view.state = {key: before[key] for key in _initial_state(view.blocks) if key in before}

    def _view_json(self, view: View) -> Json:
        empty = {"private_metadata": "", "callback_id": "", "external_id": ""}
        return {
            **empty,
            "submit": None,
            "close": None,
            "clear_on_close": False,
            "notify_on_close": False,
            **deepcopy(view.view),
            "id": view.id,
            "team_id": self.team_id,
            "hash": view.hash,
            "state": {"values": state_of(view.blocks, view.state, ())},
            "previous_view_id": view.previous,
            "root_view_id": view.root,
            "app_id": self.app_id,
            "app_installed_team_id": self.team_id,
            "bot_id": self.bot_id,
        }

    def _message_json(self, message: Message, with_metadata: bool = False) -> Json:
        if message.deleted:
            shown = {"subtype": "tombstone", "user": "USLACKBOT", "text": "This message was deleted."}
        else:
            shown = {"user": message.user, "text": message.text}
        found: Json = {"type": "message", "ts": message.ts, "team": self.team_id, **shown}
        if message.bot_id and not message.deleted:
            found |= {"bot_id": message.bot_id, "app_id": message.app_id}
        if message.blocks and not message.deleted:
            found["blocks"] = deepcopy(message.blocks)
        if message.reply_count or message.thread_ts:
            found["thread_ts"] = message.thread_ts or message.ts
        if message.reply_count:
            found["reply_count"] = message.reply_count
        if message.broadcast and not message.deleted:
            found["subtype"] = "thread_broadcast"
            if root := self.find(message.thread_ts):
                found["root"] = self._message_json(root)
        if with_metadata and message.metadata and not message.deleted:
            found["metadata"] = deepcopy(message.metadata)
        return found


def _with_ids(blocks: Blocks) -> Blocks:
    """Return a copy in which every block and element has an id: Slack adds the missing ones."""
    copied = deepcopy(blocks)
    for block in copied:
        block.setdefault("block_id", secrets.token_urlsafe(4))
        for element in elements_of(block):
            element.setdefault("action_id", secrets.token_urlsafe(4))
    return copied


def _with_view_ids(view: Json) -> Json:
    return {**deepcopy(view), "blocks": _with_ids(view["blocks"])}


def _new_hash() -> str:
    return f"{time.time():.0f}.{secrets.token_hex(4)}"


def elements_in(blocks: Blocks) -> Iterator[tuple[Json, Json]]:
    """Return every button, menu and input, each with its block."""
    return ((block, element) for block in blocks for element in elements_of(block))


def _initial_state(blocks: Blocks) -> dict[ElementIds, Any]:
    """Return what each input of these blocks contains before a person changes it."""
    found = {}
    for block, element in elements_in(blocks):
        if element["type"] in INPUT_STATE:
            _, initial_key, empty = INPUT_STATE[element["type"]]
            found[block["block_id"], element["action_id"]] = element.get(initial_key, empty)
    return found


def state_of(blocks: Blocks, chosen: Mapping[ElementIds, Any], stale: Collection[str]) -> Json:
    """Return `state.values` as Slack sends it.

    An element without a choice has its initial value, except in the blocks of `stale`, where it is empty. The
    texts of options are HTML-escaped, whatever the app wrote into them.
    """
    values: Json = {}
    for block, element in elements_in(blocks):
        if element["type"] in INPUT_STATE:
            value_key, initial_key, empty = INPUT_STATE[element["type"]]
            block_id, action_id = block["block_id"], element["action_id"]
            untouched = empty if block_id in stale else element.get(initial_key, empty)
            value = deepcopy(chosen.get((block_id, action_id), untouched))
            for option in value if isinstance(value, list) else [value]:
                if isinstance(option, dict) and "text" in option:
                    option["text"]["text"] = html.escape(option["text"]["text"], quote=False)
            values.setdefault(block_id, {})[action_id] = {"type": element["type"], value_key: value}
    return values
