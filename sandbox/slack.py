"""A stand-in for a Slack workspace: its Web API as the app uses it, and people who click."""

import base64
import hashlib
import hmac
import json
import math
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qs, urlencode

import requests

from sandbox.limits import (
    MESSAGE_TEXT_MOST,
    blocks_text,
    elements_of,
    message_problems,
    metadata_is_kept,
    metadata_problems,
    option_problems,
    view_problems,
)
from sandbox.stand_in import Exchange, Incoming, Reply, StandIn

Json = dict[str, Any]
Blocks = list[Json]
Key = tuple[str, str]  # block_id, action_id

ANN, BOB, SAM = "U0ANN", "U0BOB", "U0SAM"
GUS, GIL, EVE = "U0GUS", "U0GIL", "U0EVE"
ROBOT, DAN, NOEL, UNA = "U0ROBOT", "U0DAN", "U0NOEL", "U0UNA"
TEAM, OTHER_TEAM = "T0SANDBOX", "T0ELSEWHERE"

NEEDED_SCOPES = (
    "chat:write",
    "channels:history",
    "groups:history",
    "users:read",
    "users:read.email",
    "usergroups:read",
    "commands",
    "im:write",
)
SCOPE_OF = {
    "chat.postMessage": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "conversations.open": "im:write",
    "users.info": "users:read",
    "users.lookupByEmail": "users:read.email",
    "usergroups.list": "usergroups:read",
    "usergroups.users.list": "usergroups:read",
}
ACK_SECONDS = 3.0
TRIGGER_SECONDS = 3.0
RESPONSE_URL_SECONDS = 30 * 60
RESPONSE_URL_USES = 5
POST_SECONDS = 1.0
HISTORY_MOST = 999
VIEWS_STACKED_MOST = 3

# For each kind of input: its key in `state.values`, the key of its initial value, and what it is when empty.
STATE: dict[str, tuple[str, str, Any]] = {
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


class Refused(Exception):
    """Slack's client would not let a person do that."""


class ApiError(Exception):
    """An answer of the Web API that is an error."""

    def __init__(
        self, error: str, status: int = 200, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(error)
        self.reply = Reply({"ok": False, "error": error, **more}, status, headers or {})


@dataclass
class Person:
    id: str
    name: str
    real_name: str
    email: str | None = None
    team_id: str = TEAM
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
    """A message in a channel; `history` keeps what it showed before each of its updates."""

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


@dataclass
class Private:
    """A message that one person sees."""

    user: str
    channel: str
    text: str
    blocks: Blocks
    thread_ts: str | None
    at: float
    ts: str
    replaced_original: bool = False


@dataclass
class View:
    """An open modal; `state` is what the person has entered, `errors` what the app said of it."""

    id: str
    user: str
    view: Json
    hash: str
    root: str
    previous: str | None = None
    state: dict[Key, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    trouble: str = ""

    @property
    def blocks(self) -> Blocks:
        return list(self.view["blocks"])


@dataclass
class Trigger:
    user: str
    at: float
    used: bool = False


@dataclass
class ResponseUrl:
    user: str
    channel: str
    ts: str | None
    thread_ts: str | None
    at: float
    uses: int = 0


@dataclass
class Answer:
    """What the app answered, or did not within three seconds (`status` is None)."""

    status: int | None
    body: Any
    seconds: float
    error: str = ""
    sent: tuple[bytes, Mapping[str, str]] = field(default=(b"", {}), repr=False)


def _people() -> dict[str, Person]:
    ours = "harbor.example"
    people = [
        Person(ANN, "ann", "Ann Abbot", f"ann@{ours}"),
        Person(BOB, "bob", "Bob Brown", f"bob@{ours}"),
        Person(SAM, "sam", "Sam Sales", f"sam@{ours}", tz="America/New_York"),
        Person(GUS, "gus", "Gus Guest", f"gus@{ours}", is_restricted=True),
        Person(GIL, "gil", "Gil Guest", f"gil@{ours}", is_restricted=True, is_ultra_restricted=True),
        Person(EVE, "eve", "Eve Elsewhere", "eve@elsewhere.example", OTHER_TEAM, is_stranger=True),
        Person(ROBOT, "robot", "Robot", is_bot=True, is_email_confirmed=None),
        Person(DAN, "dan", "Dan Departed", f"dan@{ours}", deleted=True),
        Person(NOEL, "noel", "Noel Noaddress", None),
        Person(UNA, "una", "Una Unconfirmed", f"una@{ours}", is_email_confirmed=False),
    ]
    return {person.id: person for person in people}


class Workspace(StandIn):
    """The state of a workspace, and helpers to read it."""

    def __init__(
        self,
        bot_token: str = "xoxb-made-up-token",  # noqa: S107
        signing_secret: str = "made-up-signing-secret",  # noqa: S107
        scopes: Iterable[str] = NEEDED_SCOPES,
        rate_limit_posts: bool = False,
    ) -> None:
        super().__init__([bot_token, signing_secret])
        self.bot_token, self.signing_secret = bot_token, signing_secret
        self.scopes = set(scopes)
        self.rate_limit_posts = rate_limit_posts
        self.allow_made_up_options = True
        self.app_url = ""
        self.team_id, self.bot_user_id, self.bot_id, self.app_id = TEAM, "U0APP", "B0APP", "A0APP"
        self.channel_id = "C0REQUESTS"
        self.users = _people()
        members = [*(person.id for person in self.users.values() if not person.deleted), self.bot_user_id]
        self.channels = {self.channel_id: Channel(self.channel_id, "trust-requests", members)}
        self.user_groups: dict[str, Json] = {}
        self.messages: list[Message] = []
        self.private: list[Private] = []
        self.views: dict[str, View] = {}
        self.trigger_ids: dict[str, Trigger] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self.answers: list[Answer] = []
        self.problems: list[str] = []  # what Slack would refuse without telling the app
        self._last_ts = 0
        self._last_post: dict[str, float] = {}
        self._selections: dict[tuple[str, str, str, str], Any] = {}
        self._stale: set[tuple[str, str]] = set()
        self._suggested: dict[str, list[Json]] = {}

    @property
    def api_url(self) -> str:
        """The app's SLACK_API_URL."""
        return self.url + "/api/"

    def find(self, ts: str | None, channel: str | None = None) -> Message | None:
        """The message with this timestamp, unless it is deleted."""
        with self.lock:
            found = (message for message in self.messages if message.ts == ts and not message.deleted)
            return next((message for message in found if channel in (None, message.channel)), None)

    def cards(self) -> list[Message]:
        """The app's own messages in the channel, oldest first, without replies and deleted ones."""
        with self.lock:
            mine = [message for message in self.messages if message.bot_id == self.bot_id]
            return [
                message
                for message in mine
                if message.channel == self.channel_id and not message.thread_ts and not message.deleted
            ]

    def replies(self, ts: str) -> list[Message]:
        """The replies in the thread of this message, oldest first."""
        with self.lock:
            return [message for message in self.messages if message.thread_ts == ts and not message.deleted]

    def search(self, query: str) -> list[Message]:
        """The messages whose top-level text has all the words, as a person's search finds them."""
        words = query.lower().split()
        with self.lock:
            shown = [message for message in self.messages if not message.deleted]
        return [message for message in shown if all(word in message.text.lower() for word in words)]

    def text_of(self, message: Message | Private | View) -> str:
        """All text that is visible in it."""
        if isinstance(message, View):
            titles = [message.view[key] for key in ("title", "submit", "close") if key in message.view]
            return blocks_text([*titles, *message.blocks])
        return blocks_text(message.blocks) if message.blocks else message.text

    def delete(self, ts: str) -> None:
        """Somebody deletes a message."""
        with self.lock:
            if message := self.find(ts):
                message.deleted = True
        self.touch()

    def post_as(self, user_id: str, text: str, thread_ts: str | None = None) -> Message:
        """Somebody writes in the channel."""
        with self.lock:
            message = Message(self.channel_id, self._new_ts(), user_id, text, thread_ts=thread_ts)
            self._add(message)
        self.touch()
        return message

    def open_view(self, user_id: str) -> View | None:
        """The modal in front of this person."""
        with self.lock:
            mine = [view for view in self.views.values() if view.user == user_id]
        return mine[-1] if mine else None

    def _new_ts(self) -> str:
        self._last_ts = max(int(self.now() * 1e6), self._last_ts + 1)
        return f"{self._last_ts // 10**6}.{self._last_ts % 10**6:06d}"

    def _add(self, message: Message) -> None:
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
        self._add(message)
        return message

    def _show(self, message: Message | Private, text: str, blocks: Blocks) -> None:
        """Draw the message anew. Blocks that are drawn under the same id lose their initial values."""
        new = _with_ids(blocks)
        before = {block["block_id"]: block for block in message.blocks}
        for block in new:
            if block != before.get(block["block_id"], block):
                self._stale.add((message.ts, block["block_id"]))
        if isinstance(message, Message):
            message.history.append((message.text, message.blocks, message.metadata))
            message.edited += 1
        message.text, message.blocks = text, new

    def _add_private(self, user: str, channel: str, text: str, blocks: Blocks, thread: str | None) -> Private:
        private = Private(user, channel, text, _with_ids(blocks), thread, self.now(), self._new_ts())
        self.private.append(private)
        return private

    def _new_view(self, user: str, view: Json, below: View | None = None) -> View:
        view_id = f"V{secrets.token_hex(5).upper()}"
        root, previous = (below.root, below.id) if below else (view_id, None)
        opened = View(view_id, user, _with_view_ids(view), _new_hash(), root, previous)
        self.views[view_id] = opened
        return opened

    def _redraw_view(self, view: View, new: Json) -> None:
        """Show something else in an open modal; what was entered stays where the ids stay."""
        view.view, view.hash, view.errors = _with_view_ids(new), _new_hash(), {}
        keys = {(block["block_id"], element["action_id"]) for block, element in _elements(view.blocks)}
        view.state = {key: value for key, value in view.state.items() if key in keys}

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
            "state": {"values": _state(view.blocks, view.state, ())},
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
        if with_metadata and message.metadata and not message.deleted:
            found["metadata"] = deepcopy(message.metadata)
        return found


class WebApi(Workspace):
    """Slack's Web API and response URLs. Each method `api_a_b` answers the call `a.b`."""

    def call_name(self, incoming: Incoming) -> str:
        if incoming.path.startswith("/actions/"):
            return "response_url"
        return incoming.path.removeprefix("/api/")

    def work(self, incoming: Incoming) -> Reply:
        call = self.call_name(incoming)
        try:
            if call == "response_url":
                return self._use_response_url(incoming.path.removeprefix("/actions/"), incoming.arguments)
            reply = Reply({"ok": True, **self._call(call, incoming)})
        except ApiError as error:
            reply = error.reply
        scopes = {"x-oauth-scopes": ",".join(sorted(self.scopes))}
        return Reply(reply.body, reply.status, {**scopes, **reply.headers})

    def _call(self, call: str, incoming: Incoming) -> Json:
        method = getattr(self, f"api_{call.replace('.', '_')}", None)
        if method is None or not incoming.path.startswith("/api/"):
            raise ApiError("unknown_method", req_method=call)
        scheme, _, token = incoming.headers.get("Authorization", "").partition(" ")
        token = token if scheme.lower() == "bearer" else str(incoming.arguments.get("token", ""))
        if not token and call != "api.test":
            raise ApiError("not_authed")
        if token != self.bot_token and call != "api.test":
            raise ApiError("invalid_auth")
        if call in SCOPE_OF:
            self._need(SCOPE_OF[call])
        reads = not call.startswith(("chat.", "views.", "conversations.open", "api."))
        # Slack reads JSON bodies only in the methods that write.
        arguments = incoming.query if reads and incoming.is_json else incoming.arguments
        answer: Json = method(_decoded(arguments))
        return answer

    def _need(self, scope: str) -> None:
        if scope not in self.scopes:
            raise ApiError("missing_scope", needed=scope, provided=",".join(sorted(self.scopes)))

    def api_api_test(self, arguments: Json) -> Json:
        return {"args": {key: str(value) for key, value in arguments.items() if key != "token"}}

    def api_auth_test(self, arguments: Json) -> Json:
        return {
            "url": self.url + "/",
            "team": "Sandbox",
            "user": "conveyor",
            "team_id": self.team_id,
            "user_id": self.bot_user_id,
            "bot_id": self.bot_id,
            "is_enterprise_install": False,
        }

    def api_chat_postMessage(self, arguments: Json) -> Json:
        channel = self._channel_to_write(arguments)
        if self.rate_limit_posts:
            wait = self._last_post.get(channel.id, 0.0) + POST_SECONDS - self.now()
            if wait > 0:
                raise ApiError("ratelimited", 429, {"Retry-After": str(math.ceil(wait))})
        text, blocks, metadata = _content(arguments)
        thread = arguments.get("thread_ts")
        if thread and not self.find(thread, channel.id):
            raise ApiError("thread_not_found")
        self._last_post[channel.id] = self.now()
        message = self._post(channel.id, text, blocks, metadata, thread)
        return {
            "channel": channel.id,
            "ts": message.ts,
            "message": self._message_json(message, with_metadata=True),
        }

    def api_chat_update(self, arguments: Json) -> Json:
        channel = self._channel(arguments)
        if channel.is_archived:
            raise ApiError("is_inactive")
        message = self._own_message(arguments, channel, "cant_update_message")
        text, blocks, metadata = _content(arguments)
        self._show(message, text, blocks)
        if "metadata" in arguments:
            message.metadata = metadata
        return {
            "channel": channel.id,
            "ts": message.ts,
            "text": text,
            "message": self._message_json(message, with_metadata=True),
        }

    def api_chat_delete(self, arguments: Json) -> Json:
        channel = self._channel(arguments)
        message = self._own_message(arguments, channel, "cant_delete_message")
        message.deleted = True
        return {"channel": channel.id, "ts": message.ts}

    def api_chat_postEphemeral(self, arguments: Json) -> Json:
        channel = self._channel_to_write(arguments)
        user = arguments.get("user")
        if user not in channel.members:
            raise ApiError("user_not_in_channel")
        text, blocks, _ = _content(arguments)
        private = self._add_private(str(user), channel.id, text, blocks, arguments.get("thread_ts"))
        return {"message_ts": private.ts}

    def api_chat_getPermalink(self, arguments: Json) -> Json:
        channel = self._channel(arguments)
        ts = str(arguments.get("message_ts"))
        if not self.find(ts, channel.id):
            raise ApiError("message_not_found")
        permalink = f"{self.url}/archives/{channel.id}/p{ts.replace('.', '')}"
        return {"channel": channel.id, "permalink": permalink}

    def api_conversations_history(self, arguments: Json) -> Json:
        channel = self._channel_to_read(arguments, "history")
        limit = _number(arguments, "limit", 100, HISTORY_MOST)
        oldest, latest = _timestamp(arguments, "oldest", 0), _timestamp(arguments, "latest", 10**12)
        inclusive = _flag(arguments, "inclusive")
        if cursor := arguments.get("cursor"):
            # As Slack's cursors: the timestamp of the next message to show.
            latest, inclusive = _timestamp({"latest": _uncursor(cursor)}, "latest", 0), True

        def wanted(message: Message) -> bool:
            moment = Decimal(message.ts)
            within = oldest < moment < latest or (inclusive and moment in (oldest, latest))
            # Slack keeps the place of a deleted message as long as it has replies.
            there = not message.deleted or message.reply_count > 0
            return within and there and message.channel == channel.id and not message.thread_ts

        found = sorted(filter(wanted, self.messages), key=lambda message: Decimal(message.ts), reverse=True)
        rest = found[limit:]
        with_metadata = _flag(arguments, "include_all_metadata")
        return {
            "messages": [self._message_json(message, with_metadata) for message in found[:limit]],
            "has_more": bool(rest),
            "response_metadata": {"next_cursor": _cursor(rest[0].ts) if rest else ""},
        }

    def api_conversations_replies(self, arguments: Json) -> Json:
        channel = self._channel_to_read(arguments, "history")
        ts = str(arguments.get("ts"))
        thread = [
            message
            for message in self.messages
            if message.channel == channel.id and ts in (message.ts, message.thread_ts) and not message.deleted
        ]
        if not thread:
            raise ApiError("thread_not_found")
        with_metadata = _flag(arguments, "include_all_metadata")
        shown, page = _page(thread, arguments, HISTORY_MOST)
        return {"messages": [self._message_json(message, with_metadata) for message in shown], **page}

    def api_conversations_info(self, arguments: Json) -> Json:
        channel = self._channel(arguments)
        self._need(f"{_kind(channel)}:read")
        flags = ("is_private", "is_archived", "is_member", "is_ext_shared", "is_im")
        found = {"id": channel.id, "name": channel.name, "num_members": len(channel.members)}
        return {"channel": {**found, **{flag: getattr(channel, flag) for flag in flags}}}

    def api_conversations_members(self, arguments: Json) -> Json:
        channel = self._channel_to_read(arguments, "read")
        shown, page = _page(channel.members, arguments, 1000)
        return {"members": shown, **page}

    def api_conversations_open(self, arguments: Json) -> Json:
        user = str(arguments.get("users", ""))
        if user not in self.users:
            raise ApiError("user_not_found")
        return {"channel": {"id": self._direct(user).id}}

    def api_users_info(self, arguments: Json) -> Json:
        person = self.users.get(str(arguments.get("user")))
        if person is None:
            raise ApiError("user_not_found")
        return {"user": self._person_json(person)}

    def api_users_lookupByEmail(self, arguments: Json) -> Json:
        wanted = str(arguments.get("email", "")).lower()
        for person in self.users.values():
            if person.email and person.email.lower() == wanted and not person.deleted:
                return {"user": self._person_json(person)}
        raise ApiError("users_not_found")

    def api_usergroups_list(self, arguments: Json) -> Json:
        groups = self.user_groups.items()
        return {
            "usergroups": [
                {"id": key, "team_id": self.team_id, "handle": group["handle"], "name": group["handle"]}
                for key, group in groups
            ]
        }

    def api_usergroups_users_list(self, arguments: Json) -> Json:
        group = self.user_groups.get(str(arguments.get("usergroup")))
        if group is None:
            raise ApiError("no_such_subteam")
        return {"users": list(group["users"])}

    def api_views_open(self, arguments: Json) -> Json:
        trigger = self.trigger_ids.get(str(arguments.get("trigger_id")))
        if trigger is None:
            raise ApiError("invalid_trigger_id")
        if trigger.used:
            raise ApiError("exchanged_trigger_id")
        if self.now() - trigger.at > TRIGGER_SECONDS:
            raise ApiError("expired_trigger_id")
        _check_view(arguments.get("view"))
        trigger.used = True
        return {"view": self._view_json(self._new_view(trigger.user, arguments["view"]))}

    def api_views_update(self, arguments: Json) -> Json:
        wanted = arguments.get("view_id"), arguments.get("external_id")
        found = [
            view
            for view in self.views.values()
            if view.id == wanted[0] or (wanted[1] and view.view.get("external_id") == wanted[1])
        ]
        if not found:
            raise ApiError("not_found")
        if arguments.get("hash") not in (None, found[0].hash):
            raise ApiError("hash_conflict")
        _check_view(arguments.get("view"))
        self._redraw_view(found[0], arguments["view"])
        return {"view": self._view_json(found[0])}

    def _channel(self, arguments: Json) -> Channel:
        wanted = str(arguments.get("channel"))
        if wanted in self.users:
            return self._direct(wanted)
        channel = self.channels.get(wanted)
        if channel is None or (channel.is_private and not channel.is_member):
            raise ApiError("channel_not_found")
        return channel

    def _channel_to_write(self, arguments: Json) -> Channel:
        channel = self._channel(arguments)
        if channel.is_archived:
            raise ApiError("is_archived")
        if not channel.is_member:
            raise ApiError("not_in_channel")
        return channel

    def _channel_to_read(self, arguments: Json, right: str) -> Channel:
        channel = self._channel(arguments)
        self._need(f"{_kind(channel)}:{right}")
        if not channel.is_member:
            raise ApiError("not_in_channel")
        return channel

    def _direct(self, user: str) -> Channel:
        """The direct messages with this person."""
        new = Channel(f"D{user[1:]}", "directmessage", [user, self.bot_user_id], is_private=True, is_im=True)
        return self.channels.setdefault(new.id, new)

    def _own_message(self, arguments: Json, channel: Channel, error: str) -> Message:
        message = self.find(str(arguments.get("ts")), channel.id)
        if message is None:
            raise ApiError("message_not_found")
        if message.bot_id != self.bot_id:
            raise ApiError(error)
        return message

    def _person_json(self, person: Person) -> Json:
        flags = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted")
        confirmed = person.is_email_confirmed
        profile = {"display_name": person.name, "real_name": person.real_name}
        if person.email and "users:read.email" in self.scopes:
            profile["email"] = person.email
        return {
            "id": person.id,
            "team_id": person.team_id,
            "name": person.name,
            "real_name": person.real_name,
            "tz": person.tz,
            **{flag: getattr(person, flag) for flag in flags},
            **({"is_stranger": True} if person.is_stranger else {}),
            **({} if confirmed is None else {"is_email_confirmed": confirmed}),
            "profile": profile,
        }

    def _use_response_url(self, secret: str, content: Json) -> Reply:
        target = self.response_urls.get(secret)
        expired = target is None or self.now() - target.at > RESPONSE_URL_SECONDS
        if target is None or expired or target.uses >= RESPONSE_URL_USES:
            return Reply({"ok": False, "error": "expired_url"}, 404)
        target.uses += 1
        try:
            text, blocks, _ = ("", [], None) if content.get("delete_original") else _content(content)
        except ApiError as error:
            return Reply(error.reply.body, 400)
        self._respond(target, content, text, blocks)
        return Reply({"ok": True})

    def _respond(self, target: ResponseUrl, content: Json, text: str, blocks: Blocks) -> None:
        private = next((each for each in self.private if each.ts == target.ts), None)
        original = self.find(target.ts) or private
        if content.get("delete_original"):
            if isinstance(original, Message):
                original.deleted = True
            elif original:
                self.private.remove(original)
        elif content.get("replace_original") and original:
            self._show(original, text, blocks)
            if isinstance(original, Private):
                original.replaced_original = True
        elif content.get("response_type") == "in_channel":
            self._post(target.channel, text, blocks, None, content.get("thread_ts") or target.thread_ts)
        else:
            self._add_private(target.user, target.channel, text, blocks, content.get("thread_ts"))


class SlackStandIn(WebApi):
    """A workspace with people in it. What they do arrives at the app signed, as from Slack."""

    def click(self, user_id: str, ts: str, action_id: str, **how: Any) -> Answer:
        """Somebody clicks; `how` is explained at `click_payload`."""
        return self.send_payload(self.click_payload(user_id, ts, action_id, **how))

    def click_payload(
        self,
        user_id: str,
        ts: str,
        action_id: str,
        *,
        choose: Mapping[str, Any] | None = None,
        block_id: str | None = None,
        value: Any = None,
        via: Private | None = None,
        behind: int = 0,
    ) -> Json:
        """What Slack sends for a click on a message, after making the choices (`{action_id: values}`).

        `value` is what is picked in a menu that acts by itself, `via` the private message that the button
        is in, `behind` by how many updates the person's screen is late. Raises Refused if it is not there.
        """
        with self.lock:
            message = via or self.find(ts)
            if message is None:
                raise Refused("there is no such message")
            blocks = message.blocks
            if behind and isinstance(message, Message):
                blocks = message.history[-behind][1]
            for name, wanted in (choose or {}).items():
                self._select(user_id, message.ts, blocks, name, wanted)
            block, element = _find(blocks, action_id, block_id)
            if element["type"] in STATE and value is not None:
                self._select(user_id, message.ts, blocks, action_id, value)
            values = self._values(user_id, message.ts, blocks)
            action = self._action(block, element, value, values)
            return self._click_json(user_id, message, blocks, action, values)

    def select(self, user_id: str, ts: str, action_id: str, values: Any) -> None:
        """Somebody ticks, picks or types something in a message, which by itself sends nothing."""
        with self.lock:
            message = self.find(ts)
            if message is None:
                raise Refused("there is no such message")
            self._select(user_id, ts, message.blocks, action_id, values)

    def suggest(
        self, user_id: str, action_id: str, value: str, *, ts: str | None = None, view_id: str | None = None
    ) -> Answer:
        """Somebody types in an external select; the options are in the answer's body."""
        with self.lock:
            place = self.find(ts) if ts else self._view(user_id, view_id)
            if place is None:
                raise Refused("there is no such message")
            block, element = _find(place.blocks, action_id, None)
            payload = {
                **self._head("block_suggestion", user_id),
                "action_id": action_id,
                "block_id": block["block_id"],
                "value": value,
                **(self._place(place) if isinstance(place, Message) else {"view": self._view_json(place)}),
            }
        if len(value) < element.get("min_query_length", 3):
            raise Refused("too short to be looked up")
        answer = self.send_payload(payload)
        self._learn_options(action_id, answer)
        return answer

    def submit(
        self,
        user_id: str,
        view_id: str | None = None,
        values: Mapping[str, Any] | None = None,
        *,
        enforce: bool = True,
    ) -> Answer:
        """Somebody fills in a modal (`{action_id: value}`) and submits it; the modal obeys the answer."""
        view = self._view(user_id, view_id)
        answer = self.send_payload(self.submit_payload(user_id, view.id, values, enforce=enforce))
        with self.lock:
            self._after_submit(view, answer)
        self.touch()
        return answer

    def submit_payload(
        self,
        user_id: str,
        view_id: str | None = None,
        values: Mapping[str, Any] | None = None,
        *,
        enforce: bool = True,
    ) -> Json:
        """What Slack sends for a modal. Raises Refused for what its client checks, unless told not to."""
        with self.lock:
            view = self._view(user_id, view_id)
            for name, wanted in (values or {}).items():
                block, element = _find(view.blocks, name, None)
                view.state[block["block_id"], name] = self._picked(element, wanted)
            shown = self._view_json(view)
            if enforce:
                _enforce(view.blocks, shown["state"]["values"])
            return {**self._head("view_submission", user_id), "view": shown, "response_urls": []}

    def close(self, user_id: str, view_id: str | None = None) -> Answer | None:
        """Somebody closes a modal; the answer, if the app wanted to hear of it."""
        with self.lock:
            view = self._view(user_id, view_id)
            del self.views[view.id]
            head = self._head("view_closed", user_id)
            payload = {**head, "view": self._view_json(view), "is_cleared": False}
        self.touch()
        return self.send_payload(payload) if view.view.get("notify_on_close") else None

    def command(self, user_id: str, text: str, command: str = "/rooms", channel: str | None = None) -> Answer:
        """Somebody uses a slash command; what the app answers at once is shown to them."""
        with self.lock:
            channel = channel or self.channel_id
            target = ResponseUrl(user_id, channel, None, None, self.now())
            form = {
                "token": "made-up-verification-token",
                "team_id": self.team_id,
                "team_domain": "sandbox",
                "channel_id": channel,
                "channel_name": self._channel_json(channel)["name"],
                "user_id": user_id,
                "user_name": self.users[user_id].name,
                "command": command,
                "text": text,
                "api_app_id": self.app_id,
                "is_enterprise_install": "false",
                "response_url": self._response_url(target),
                "trigger_id": self._trigger(user_id),
            }
        body = urlencode(form).encode()
        answer = self._send(body, self.sign(body), f"→ app: command {command}", form)
        self._show_command_answer(target, answer)
        return answer

    def sign(self, body: bytes, timestamp: int | None = None) -> dict[str, str]:
        """The headers that Slack sends with this body. The time is the real one, since the app's is."""
        moment = int(time.time()) if timestamp is None else timestamp
        signed = b"v0:%d:%s" % (moment, body)
        digest = hmac.new(self.signing_secret.encode(), signed, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": str(moment),
            "X-Slack-Signature": f"v0={digest}",
        }

    def send_payload(self, payload: Json) -> Answer:
        """Send an interaction, signed."""
        body = urlencode({"payload": json.dumps(payload)}).encode()
        return self._send(body, self.sign(body), f"→ app: {_name_of(payload)}", payload)

    def send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send any bytes with any headers, as from the Internet."""
        return self._send(body, headers, "→ app: send", body)

    def replay(self, answer: Answer | None = None) -> Answer:
        """Send again, byte for byte, what got this answer, or what was sent last."""
        body, headers = (answer or self.answers[-1]).sent
        return self._send(body, headers, "→ app: replay", parse_qs(body.decode(errors="replace")))

    def _send(self, body: bytes, headers: Mapping[str, str], call: str, request: Any) -> Answer:
        exchange = self.arrived("POST", "/slack/events", call, request)
        started = time.monotonic()
        try:
            # The environment may name a proxy, which has no business on loopback.
            with requests.Session() as session:
                session.trust_env = False
                response = session.post(
                    self.app_url + "/slack/events",
                    data=body,
                    headers=dict(headers),
                    timeout=ACK_SECONDS,
                    allow_redirects=False,
                )
            answer = Answer(response.status_code, _body_of(response), time.monotonic() - started)
            if answer.seconds > ACK_SECONDS:  # the timeout above is for each read
                answer = Answer(None, None, answer.seconds, "too late")
        except requests.RequestException as error:
            answer = Answer(None, None, time.monotonic() - started, type(error).__name__)
        answer.sent = (body, headers)
        return self._answered(exchange, answer)

    def _answered(self, exchange: Exchange, answer: Answer) -> Answer:
        with self.lock:
            self.answers.append(answer)
        self.finished(exchange, answer.status, answer.body or answer.error, answer.seconds)
        return answer

    def _head(self, kind: str, user_id: str) -> Json:
        """What every interaction starts with."""
        person = self.users[user_id]
        return {
            "type": kind,
            "user": {
                "id": person.id,
                "username": person.name,
                "name": person.name,
                "team_id": person.team_id,
            },
            "team": {"id": self.team_id, "domain": "sandbox"},
            "enterprise": None,
            "is_enterprise_install": False,
            "api_app_id": self.app_id,
            "token": "made-up-verification-token",
            "trigger_id": self._trigger(user_id),
        }

    def _click_json(
        self, user_id: str, message: Message | Private, blocks: Blocks, action: Json, values: Json
    ) -> Json:
        target = ResponseUrl(user_id, message.channel, message.ts, message.thread_ts, self.now())
        payload = {
            **self._head("block_actions", user_id),
            **self._place(message),
            "state": {"values": values},
            "response_url": self._response_url(target),
            "actions": [action],
        }
        if "message" in payload:
            payload["message"]["blocks"] = deepcopy(blocks)
        return payload

    def _place(self, message: Message | Private) -> Json:
        """Where in Slack it happened. Of a private message Slack does not send the content."""
        private = isinstance(message, Private)
        container: Json = {"type": "message", "message_ts": message.ts, "channel_id": message.channel}
        container["is_ephemeral"] = private
        if message.thread_ts:
            container["thread_ts"] = message.thread_ts
        place: Json = {"container": container, "channel": self._channel_json(message.channel)}
        if isinstance(message, Message):
            place["message"] = self._message_json(message)
        return place

    def _channel_json(self, channel: str) -> Json:
        found = self.channels[channel]
        hidden = found.is_private and not found.is_im
        return {"id": channel, "name": "privategroup" if hidden else found.name}

    def _trigger(self, user_id: str) -> str:
        trigger_id = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self.trigger_ids[trigger_id] = Trigger(user_id, self.now())
        return trigger_id

    def _response_url(self, target: ResponseUrl) -> str:
        secret = secrets.token_hex(12)
        self.response_urls[secret] = target
        return f"{self.url}/actions/{secret}"

    def _view(self, user_id: str, view_id: str | None) -> View:
        view = self.views.get(view_id) if view_id else self.open_view(user_id)
        if view is None or view.user != user_id:
            raise Refused("there is no such modal open")
        return view

    def _select(self, user_id: str, ts: str, blocks: Blocks, action_id: str, wanted: Any) -> None:
        block, element = _find(blocks, action_id, None)
        self._selections[user_id, ts, block["block_id"], action_id] = self._picked(element, wanted)

    def _values(self, user_id: str, ts: str, blocks: Blocks) -> Json:
        chosen = {key[2:]: value for key, value in self._selections.items() if key[:2] == (user_id, ts)}
        stale = [block_id for stale_ts, block_id in self._stale if stale_ts == ts]
        return _state(blocks, chosen, stale)

    def _picked(self, element: Json, wanted: Any) -> Any:
        """What stands in the state after this choice: options for values, None for an empty text."""
        if element["type"] not in STATE:
            raise Refused(f"nothing can be chosen in a {element['type']}")
        key, _, empty = STATE[element["type"]]
        listed = wanted if isinstance(wanted, list) else [wanted] if wanted else []
        if "option" in key:
            listed = [self._option(element, value) for value in listed]
        return listed if empty == [] else next(iter(listed), None)

    def _option(self, element: Json, value: str) -> Json:
        offered = [*element.get("options", []), *self._suggested.get(element["action_id"], [])]
        offered += [option for group in element.get("option_groups", []) for option in group["options"]]
        offered += element.get("initial_options", [])
        for option in offered:
            if option["value"] == value:
                return dict(option)
        if "external" in element["type"] and self.allow_made_up_options:
            return {"text": {"type": "plain_text", "text": value}, "value": value}
        raise Refused(f"“{value}” is not among the options")

    def _action(self, block: Json, element: Json, value: Any, values: Json) -> Json:
        kept = ("type", "action_id", "text", "value", "style", "url", "placeholder")
        action = {key: deepcopy(element[key]) for key in kept if key in element}
        action |= {"block_id": block["block_id"], "action_ts": self._new_ts()}
        if element["type"] == "overflow":
            action["selected_option"] = self._option(element, value)
        elif element["type"] in STATE:
            action |= values[block["block_id"]][element["action_id"]]
        return action

    def _learn_options(self, action_id: str, answer: Answer) -> None:
        problems = option_problems(answer.body) if answer.status == 200 else [f"status {answer.status}"]
        with self.lock:
            self.problems += [f"suggestions for {action_id}: {problem}" for problem in problems]
            if not problems:
                groups = answer.body.get("option_groups") or [answer.body]
                known = self._suggested.setdefault(action_id, [])
                known[:0] = [option for group in groups for option in group["options"]]

    def _after_submit(self, view: View, answer: Answer) -> None:
        """Do with the modal what the app says."""
        view.errors, view.trouble = {}, ""
        body = answer.body if isinstance(answer.body, dict) else {}
        action = body.get("response_action")
        problems = view_problems(body.get("view")) if action in ("update", "push") else []
        if answer.status != 200 or problems or (answer.body and not action):
            view.trouble = "We had some trouble connecting. Try again?"
            self.problems += problems
        elif action is None:
            self.views.pop(view.id, None)
        elif action == "errors":
            self._show_errors(view, body.get("errors"))
        elif action == "update":
            self._redraw_view(view, body["view"])
        elif action == "push":
            self._push(view, body["view"])
        elif action == "clear":
            self.views = {key: each for key, each in self.views.items() if each.root != view.root}
        else:
            self.problems.append(f"response_action: {action} is not known")

    def _push(self, view: View, pushed: Json) -> None:
        if sum(each.root == view.root for each in self.views.values()) >= VIEWS_STACKED_MOST:
            self.problems.append(f"response_action push: more than {VIEWS_STACKED_MOST} modals")
        else:
            self._new_view(view.user, pushed, below=view)

    def _show_errors(self, view: View, errors: Any) -> None:
        inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
        if not isinstance(errors, dict) or not errors or not set(errors) <= inputs:
            self.problems.append("response_action errors: not keyed by the block_ids of inputs")
            view.trouble = "We had some trouble connecting. Try again?"
        else:
            view.errors = {key: str(sentence) for key, sentence in errors.items()}

    def _show_command_answer(self, target: ResponseUrl, answer: Answer) -> None:
        content = answer.body if isinstance(answer.body, dict) else {"text": answer.body}
        if answer.status != 200 or not (content.get("text") or content.get("blocks")):
            return
        with self.lock:
            try:
                text, blocks, _ = _content(content)
                self._respond(target, content, text, blocks)
            except ApiError as error:
                self.problems.append(f"answer to a command: {error.reply.body}")
        self.touch()


def _with_ids(blocks: Blocks) -> Blocks:
    """A copy in which every block and element has an id, as Slack gives them out."""
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


def _elements(blocks: Blocks) -> Iterator[tuple[Json, Json]]:
    """Every button, menu and input, with its block."""
    return ((block, element) for block in blocks for element in elements_of(block))


def _find(blocks: Blocks, action_id: str, block_id: str | None) -> tuple[Json, Json]:
    for block, element in _elements(blocks):
        if element.get("action_id") == action_id and block_id in (None, block["block_id"]):
            return block, element
    raise Refused(f"there is no “{action_id}” to be seen")


def _state(blocks: Blocks, chosen: Mapping[Key, Any], stale: Collection[str]) -> Json:
    """`state.values`: what was chosen, else the initial value unless the block is stale."""
    values: Json = {}
    for block, element in _elements(blocks):
        if element["type"] in STATE:
            key, initial, empty = STATE[element["type"]]
            place = block["block_id"], element["action_id"]
            untouched = empty if place[0] in stale else element.get(initial, empty)
            value = deepcopy(chosen.get(place, untouched))
            values.setdefault(place[0], {})[place[1]] = {"type": element["type"], key: value}
    return values


def _enforce(blocks: Blocks, values: Json) -> None:
    """What Slack's client checks before it sends a modal; white space counts as text there."""
    for block, element in _elements(blocks):
        if block["type"] != "input":
            continue
        value = values[block["block_id"]][element["action_id"]][STATE[element["type"]][0]]
        if not value and not block.get("optional"):
            raise Refused(f"{element['action_id']} is required")
        if value and isinstance(value, str):
            if len(value) > element.get("max_length", 3000):
                raise Refused(f"{element['action_id']} is too long")
            if len(value) < element.get("min_length", 0):
                raise Refused(f"{element['action_id']} is too short")
        if isinstance(value, list) and len(value) > element.get("max_selected_items", len(value)):
            raise Refused(f"{element['action_id']}: too many are selected")


def _decoded(arguments: Json) -> Json:
    """The arguments with JSON in strings read, as Slack does for some of them."""
    decoded = dict(arguments)
    for key in ("blocks", "metadata", "view", "attachments"):
        if isinstance(decoded.get(key), str):
            try:
                decoded[key] = json.loads(decoded[key])
            except ValueError:
                raise ApiError("invalid_blocks_format" if key == "blocks" else "invalid_arguments") from None
    return decoded


def _content(arguments: Json) -> tuple[str, Blocks, Json | None]:
    """Text, blocks and metadata of a message. Raises ApiError if Slack would not take them."""
    text, blocks, metadata = (arguments.get(key) for key in ("text", "blocks", "metadata"))
    if not text and not blocks:
        raise ApiError("no_text")
    if text and len(text) > MESSAGE_TEXT_MOST:
        raise ApiError("msg_too_long")
    if problems := message_problems(text, blocks):
        raise ApiError("invalid_blocks", errors=problems, response_metadata={"messages": problems})
    if problems := metadata_problems(metadata):
        raise ApiError("metadata_too_large", response_metadata={"messages": problems})
    # Slack says nothing about a bad event_type, it just loses the metadata.
    kept = deepcopy(metadata) if metadata and metadata_is_kept(metadata) else None
    return text or "", blocks or [], kept


def _check_view(view: Any) -> None:
    if problems := view_problems(view):
        messages = [f"[ERROR] {problem}" for problem in problems]
        raise ApiError("invalid_arguments", response_metadata={"messages": messages})


def _kind(channel: Channel) -> str:
    """The part of a scope before the colon."""
    return "im" if channel.is_im else "groups" if channel.is_private else "channels"


def _flag(arguments: Json, key: str) -> bool:
    return str(arguments.get(key, "")).lower() in ("1", "true")


def _number(arguments: Json, key: str, default: int, most: int) -> int:
    try:
        number = int(arguments.get(key, default))
    except ValueError:
        number = 0
    if not 1 <= number <= most:
        raise ApiError("invalid_limit")
    return number


def _timestamp(arguments: Json, key: str, default: int) -> Decimal:
    try:
        return Decimal(str(arguments.get(key) or default))
    except InvalidOperation:
        raise ApiError(f"invalid_ts_{key}") from None


def _cursor(place: object) -> str:
    return base64.b64encode(f"next:{place}".encode()).decode()


def _uncursor(cursor: str) -> str:
    try:
        mark, _, place = base64.b64decode(cursor, validate=True).decode().partition(":")
    except ValueError:
        mark, place = "", ""
    if mark != "next":
        raise ApiError("invalid_cursor")
    return place


def _page(items: list[Any], arguments: Json, most: int) -> tuple[list[Any], Json]:
    """One page of a list that only grows at its end."""
    cursor = arguments.get("cursor")
    start = int(_uncursor(cursor)) if cursor else 0
    end = start + _number(arguments, "limit", 100, most)
    more = end < len(items)
    next_cursor = _cursor(end) if more else ""
    return items[start:end], {"has_more": more, "response_metadata": {"next_cursor": next_cursor}}


def _name_of(payload: Json) -> str:
    """What a person did, for the log."""
    match payload.get("type"):
        case "block_actions":
            match payload.get("actions"):
                case [{"action_id": action_id}, *_]:
                    return f"click {action_id}"
            return "click"
        case "block_suggestion":
            return f"suggest {payload.get('action_id')}"
        case "view_submission":
            return f"submit {payload.get('view', {}).get('callback_id')}"
        case "view_closed":
            return f"close {payload.get('view', {}).get('callback_id')}"
        case kind:
            return str(kind)


def _body_of(response: requests.Response) -> Any:
    if "json" in response.headers.get("Content-Type", ""):
        try:
            return response.json()
        except ValueError:
            pass
    return response.text
