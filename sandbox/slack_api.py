"""Slack's Web API and response URLs: the methods that the app calls, with Slack's scopes, rates and limits.

This module must not accept what Slack would refuse. What people do belongs to `slack`.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.limits import (
    MAX_MESSAGE_TEXT,
    block_problems,
    message_problems,
    metadata_is_kept,
    metadata_problems,
    view_problems,
)
from sandbox.stand_in import Incoming, Reply
from sandbox.workspace import (
    MAX_HISTORY,
    Blocks,
    Channel,
    Json,
    Message,
    Person,
    ResponseUrl,
    Trigger,
    View,
    Workspace,
    ids_of,
)

SCOPE_OF = {
    "chat.postMessage": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.update": "chat:write",
    "users.info": "users:read",
    "users.lookupByEmail": "users:read.email",
    "usergroups.list": "usergroups:read",
    "usergroups.users.list": "usergroups:read",
}
WITHOUT_TOKEN = ("api.test", "blocks.validate")
TRIGGER_SECONDS = 3.0
MAX_STACKED_VIEWS = 3
RESPONSE_URL_SECONDS = 30 * 60
MAX_RESPONSE_URL_USES = 5
# How often a method may be called: how many times within how many seconds. Each method is counted by itself,
# and posts by conversation.
TIER_2, TIER_3, TIER_4 = (20, 60.0), (50, 60.0), (100, 60.0)
RATE_LIMITS = {
    "chat.postMessage": (1, 1.0),
    "usergroups.list": TIER_2,
    "usergroups.users.list": TIER_2,
    "chat.update": TIER_3,
    "conversations.history": TIER_3,
    "conversations.info": TIER_3,
    "users.lookupByEmail": TIER_3,
    "users.info": TIER_4,
    "views.open": TIER_4,
    "views.push": TIER_4,
    "views.update": TIER_4,
    "chat.postEphemeral": TIER_4,
    "conversations.members": TIER_4,
}


class ApiError(Exception):
    """The call fails with this error code."""

    def __init__(
        self, error: str, status: int = 200, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(error)
        self.reply = Reply({"ok": False, "error": error, **more}, status, headers or {})


class WebApi(Workspace):
    """Slack's Web API and response URLs. The method `api_chat_update` answers the call `chat.update`."""

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
        """Check token, scope and rate of a call, and return the fields of its answer. Raise ApiError."""
        method = getattr(self, f"api_{call.replace('.', '_')}", None)
        if method is None or not incoming.path.startswith("/api/"):
            raise ApiError("unknown_method", req_method=call)
        scheme, _, token = incoming.headers.get("Authorization", "").partition(" ")
        token = token if scheme.lower() == "bearer" else str(incoming.arguments.get("token", ""))
        if not token and call not in WITHOUT_TOKEN:
            raise ApiError("not_authed")
        wanted = self.app_token if call == "apps.connections.open" else self.bot_token
        if token != wanted and call not in WITHOUT_TOKEN:
            raise ApiError("invalid_auth")
        if call in SCOPE_OF:
            self._require_scope(SCOPE_OF[call])
        reads = not call.startswith(("chat.", "views.", "api.", "blocks."))
        # As in Slack, the methods that only read ignore a JSON body.
        arguments = incoming.query if reads and incoming.is_json else incoming.arguments
        arguments = _parse_json_arguments(arguments)
        channel = str(arguments.get("channel", "")) if call == "chat.postMessage" else ""
        self._enforce_rate_limit(call, self._conversation(channel))
        answer: Json = method(arguments)
        return answer

    def _conversation(self, channel: str) -> str:
        """Return the one id of this channel, or of the direct messages with this person."""
        person = self.person(channel)
        return f"D{person.id[1:]}" if person else self.former_ids.get(channel, channel)

    def _enforce_rate_limit(self, call: str, channel: str) -> None:
        """Count this call. Raise ApiError if there were too many within the time of its limit."""
        limits = {**(RATE_LIMITS if self.limit_rates else {}), **self.rate_limits}
        if call not in limits:
            return
        times, seconds = limits[call]
        now = self.now()
        recent = [at for at in self._calls_at.get((call, channel), []) if at > now - seconds]
        if len(recent) >= times:
            wait = recent[0] + seconds - now
            raise ApiError("ratelimited", 429, {"Retry-After": str(math.ceil(wait))})
        self._calls_at[call, channel] = [*recent, now]

    def _require_scope(self, scope: str) -> None:
        if scope not in self.scopes:
            raise ApiError("missing_scope", needed=scope, provided=",".join(sorted(self.scopes)))

    def api_api_test(self, arguments: Json) -> Json:
        return {"args": {key: str(value) for key, value in arguments.items() if key != "token"}}

    def api_apps_connections_open(self, arguments: Json) -> Json:
        return {"url": self.link.open()}

    def api_auth_test(self, arguments: Json) -> Json:
        return {
            "url": self.url + "/",
            "team": "Sandbox",
            "user": "conveyor",
            "team_id": self.enterprise_id if self.is_org_wide else self.team_id,
            "user_id": self.bot_user_id,
            "bot_id": self.bot_id,
            **({"enterprise_id": self.enterprise_id} if self.enterprise_id else {}),
            "is_enterprise_install": self.is_org_wide,
        }

    def api_blocks_validate(self, arguments: Json) -> Json:
        asked = [kind for kind in ("blocks", "message", "view") if arguments.get(kind) is not None]
        if len(asked) != 1:
            messages = ["must provide exactly one of `blocks`, `view`, or `message`"]
            raise ApiError("invalid_arguments", response_metadata={"messages": messages})
        (kind,) = asked
        if problems := VALIDATED[kind](arguments[kind]):
            raise ApiError(f"invalid_{kind}", errors=[_schema_error(kind, each) for each in problems])
        return {}

    def api_chat_postMessage(self, arguments: Json) -> Json:
        channel = self._channel_to_write(arguments)
        text, blocks, metadata = content_of(arguments)
        thread = arguments.get("thread_ts")
        if thread:
            thread = self._thread_to_reply_in(str(thread), channel)
        if channel.is_im and not self.messages_tab:
            raise ApiError("messages_tab_disabled")
        message = self._post(channel.id, text, blocks, metadata, thread)
        message.broadcast = thread is not None and _bool_argument(arguments, "reply_broadcast")
        return {
            "channel": channel.id,
            "ts": message.ts,
            "message": self._message_json(message, with_metadata=True),
        }

    def api_chat_update(self, arguments: Json) -> Json:
        channel = self._find_channel(arguments)
        if channel.is_archived:
            raise ApiError("is_inactive")
        message = self._own_message(arguments, channel)
        text, blocks, metadata = content_of(arguments)
        self._redraw(message, text, blocks)
        if "metadata" in arguments:
            message.metadata = metadata
        message.broadcast |= message.thread_ts is not None and _bool_argument(arguments, "reply_broadcast")
        return {
            "channel": channel.id,
            "ts": message.ts,
            "text": text,
            "message": self._message_json(message, with_metadata=True),
        }

    def api_chat_postEphemeral(self, arguments: Json) -> Json:
        channel = self._channel_to_write(arguments)
        user = arguments.get("user")
        person = self.person(str(user))
        if person is None or not ids_of(person) & set(channel.members):
            raise ApiError("user_not_in_channel")
        text, blocks, _ = content_of(arguments)
        private = self._add_private(str(user), channel.id, text, blocks, arguments.get("thread_ts"))
        return {"message_ts": private.ts}

    def api_conversations_history(self, arguments: Json) -> Json:
        channel = self._channel_to_read(arguments, "history")
        limit = min(_int_argument(arguments, "limit", 100, MAX_HISTORY), self.history_page)
        oldest, latest = _timestamp(arguments, "oldest", 0), _timestamp(arguments, "latest", 10**12)
        inclusive = _bool_argument(arguments, "inclusive")
        if cursor := arguments.get("cursor"):
            # As in Slack, the cursor holds the timestamp of the next message to show.
            latest, inclusive = _timestamp({"latest": _decode_cursor(cursor)}, "latest", 0), True

        def wanted(message: Message) -> bool:
            moment = Decimal(message.ts)
            in_range = oldest < moment < latest or (inclusive and moment in (oldest, latest))
            # As in Slack, a tombstone takes the place of a deleted message that has replies.
            is_listed = not message.deleted or message.reply_count > 0
            is_reply = message.thread_ts is not None and not message.broadcast
            return in_range and is_listed and message.channel == channel.id and not is_reply

        found = sorted(filter(wanted, self.messages), key=lambda message: Decimal(message.ts), reverse=True)
        rest = found[limit:]
        with_metadata = _bool_argument(arguments, "include_all_metadata")
        return {
            "messages": [self._message_json(message, with_metadata) for message in found[:limit]],
            "has_more": bool(rest),
            "response_metadata": {"next_cursor": _encode_cursor(rest[0].ts) if rest else ""},
        }

    def api_conversations_info(self, arguments: Json) -> Json:
        channel = self._find_channel(arguments)
        self._require_scope(f"{_scope_prefix(channel)}:read")
        flags = ("is_private", "is_archived", "is_member", "is_ext_shared", "is_im")
        found = {"id": channel.id, "name": channel.name, "num_members": len(channel.members)}
        return {"channel": {**found, **{flag: getattr(channel, flag) for flag in flags}}}

    def api_conversations_members(self, arguments: Json) -> Json:
        channel = self._channel_to_read(arguments, "read")
        shown, page = _page(channel.members, arguments, 1000)
        return {"members": shown, **page}

    def api_users_info(self, arguments: Json) -> Json:
        person = self.person(str(arguments.get("user")))
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
        return {
            "usergroups": [
                {"id": key, "team_id": self.team_id, "handle": group["handle"], "name": group["handle"]}
                for key, group in self.user_groups.items()
            ]
        }

    def api_usergroups_users_list(self, arguments: Json) -> Json:
        group = self.user_groups.get(str(arguments.get("usergroup")))
        if group is None:
            raise ApiError("no_such_subteam")
        return {"users": list(group["users"])}

    def api_views_open(self, arguments: Json) -> Json:
        trigger = self._use_trigger(arguments)
        opened = self._new_view(trigger.user, arguments["view"], arguments["trigger_id"])
        return {"view": self._view_json(opened)}

    def api_views_push(self, arguments: Json) -> Json:
        below = self._view_below(arguments)
        trigger = self._use_trigger(arguments)
        pushed = self._new_view(trigger.user, arguments["view"], arguments["trigger_id"], below)
        return {"view": self._view_json(pushed)}

    def api_views_update(self, arguments: Json) -> Json:
        _check_view(arguments.get("view"))
        view = self.views.get(str(arguments.get("view_id")))
        if view is None:
            raise ApiError("not_found")
        if arguments.get("hash") not in (None, view.hash):
            raise ApiError("hash_conflict")
        self._redraw_view(view, arguments["view"])
        return {"view": self._view_json(view)}

    def _view_below(self, arguments: Json) -> View:
        """Return the modal in which the click was that gave this trigger_id, unless its stack is full."""
        trigger = self.trigger_ids.get(str(arguments.get("trigger_id")))
        below = self.views.get(trigger.view) if trigger else None
        if below is None:
            raise ApiError("not_found" if trigger else "invalid_trigger_id")
        if sum(each.root == below.root for each in self.views.values()) >= MAX_STACKED_VIEWS:
            raise ApiError("push_limit_reached")
        return below

    def _use_trigger(self, arguments: Json) -> Trigger:
        """Use up the trigger_id of a call. Raise ApiError if Slack would refuse it or the modal."""
        trigger = self.trigger_ids.get(str(arguments.get("trigger_id")))
        if trigger is None:
            raise ApiError("invalid_trigger_id")
        if trigger.used:
            raise ApiError("exchanged_trigger_id")
        if self.now() - trigger.at > TRIGGER_SECONDS:
            raise ApiError("expired_trigger_id")
        _check_view(arguments.get("view"))
        trigger.used = True
        return trigger

    def _find_channel(self, arguments: Json) -> Channel:
        """Return the channel of this call. The id of a person stands for the direct messages with them."""
        wanted = str(arguments.get("channel"))
        if person := self.person(wanted):
            return self._direct_channel(person.id)
        channel = self.channels.get(self.former_ids.get(wanted, wanted))
        if channel is None or (channel.is_private and not channel.is_member):
            raise ApiError("channel_not_found")
        return channel

    def _channel_to_write(self, arguments: Json) -> Channel:
        channel = self._find_channel(arguments)
        if channel.is_archived:
            raise ApiError("is_archived")
        if not channel.is_member:
            raise ApiError("not_in_channel")
        return channel

    def _channel_to_read(self, arguments: Json, right: str) -> Channel:
        channel = self._find_channel(arguments)
        self._require_scope(f"{_scope_prefix(channel)}:{right}")
        if not channel.is_member:
            raise ApiError("not_in_channel")
        return channel

    def _thread_to_reply_in(self, ts: str, channel: Channel) -> str | None:
        """Return the thread for a reply to this message.

        If the message was deleted and left no mark, return None: the reply appears in the channel itself.
        """
        parent = next((each for each in self.messages if (each.ts, each.channel) == (ts, channel.id)), None)
        if parent is None:
            raise ApiError("thread_not_found")
        if ts in self.locked_threads:
            raise ApiError("restricted_action_thread_locked")
        return None if parent.deleted and not parent.reply_count else ts

    def _direct_channel(self, user: str) -> Channel:
        """Return the channel of direct messages with this person, which is created on first use."""
        new = Channel(f"D{user[1:]}", "directmessage", [user, self.bot_user_id], is_private=True, is_im=True)
        return self.channels.setdefault(new.id, new)

    def _own_message(self, arguments: Json, channel: Channel) -> Message:
        """Return the message of this call. Raise ApiError if there is none or another app posted it."""
        message = self.find(str(arguments.get("ts")), channel.id)
        if message is None:
            raise ApiError("message_not_found")
        if message.bot_id != self.bot_id:
            raise ApiError("cant_update_message")
        return message

    def _person_json(self, person: Person) -> Json:
        flags = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted")
        confirmed = person.is_email_confirmed
        profile = {"display_name": person.name, "real_name": person.real_name}
        if person.email and "users:read.email" in self.scopes:
            profile["email"] = person.email
        return {
            "id": person.id,
            **({"team_id": person.team_id} if person.team_id else {}),
            **({"enterprise_user": person.enterprise_user} if person.enterprise_user else {}),
            "name": person.name,
            "real_name": person.real_name,
            "tz": person.tz,
            **{flag: getattr(person, flag) for flag in flags},
            **({"is_stranger": True} if person.is_stranger else {}),
            **({} if confirmed is None else {"is_email_confirmed": confirmed}),
            "profile": profile,
        }

    def _use_response_url(self, secret: str, content: Json) -> Reply:
        """Do what the app posts to a response_url, unless that is unknown, too old or used too often."""
        target = self.response_urls.get(secret)
        expired = target is None or self.now() - target.at > RESPONSE_URL_SECONDS
        if target is None or expired or target.uses >= MAX_RESPONSE_URL_USES:
            return Reply({"ok": False, "error": "expired_url"}, 404)
        target.uses += 1
        try:
            text, blocks, _ = ("", [], None) if content.get("delete_original") else content_of(content)
        except ApiError as error:
            return Reply(error.reply.body, 400)
        self._post_response(target, content, text, blocks)
        return Reply({"ok": True})

    def _post_response(self, target: ResponseUrl, content: Json, text: str, blocks: Blocks) -> None:
        """Delete or replace the original message, or post a new one: for everybody or for one person."""
        private = next((each for each in self.private if each.ts == target.ts), None)
        original = self.find(target.ts) or private
        if content.get("delete_original"):
            if isinstance(original, Message):
                original.deleted = True
            elif original:
                self.private.remove(original)
        elif content.get("replace_original") and original:
            self._redraw(original, text, blocks)
        elif content.get("response_type") == "in_channel":
            self._post(target.channel, text, blocks, None, content.get("thread_ts") or target.thread_ts)
        else:
            thread = content.get("thread_ts")
            target.ephemerals.append(self._add_private(target.user, target.channel, text, blocks, thread))


def _parse_json_arguments(arguments: Json) -> Json:
    """Return the arguments, with those parsed that Slack accepts as a string of JSON."""
    decoded = dict(arguments)
    for key in ("blocks", "message", "metadata", "view", "attachments"):
        if isinstance(decoded.get(key), str):
            try:
                decoded[key] = json.loads(decoded[key])
            except ValueError:
                raise ApiError("invalid_blocks_format" if key == "blocks" else "invalid_arguments") from None
    return decoded


def content_of(arguments: Json) -> tuple[str, Blocks, Json | None]:
    """Return the text, blocks and metadata of a message. Raise ApiError if Slack would not accept them."""
    text, blocks, metadata = (arguments.get(key) for key in ("text", "blocks", "metadata"))
    if not text and not blocks:
        raise ApiError("no_text")
    if text and len(text) > MAX_MESSAGE_TEXT:
        raise ApiError("msg_too_long")
    if problems := message_problems(text, blocks):
        raise ApiError("invalid_blocks", errors=problems, response_metadata={"messages": problems})
    if problems := metadata_problems(metadata):
        raise ApiError("metadata_too_large", response_metadata={"messages": problems})
    # As in Slack, a bad event_type is no error: the metadata is dropped silently.
    kept = deepcopy(metadata) if metadata and metadata_is_kept(metadata) else None
    return text or "", blocks or [], kept


def _check_view(view: Any) -> None:
    if problems := view_problems(view):
        messages = [f"[ERROR] {problem}" for problem in problems]
        raise ApiError("invalid_arguments", response_metadata={"messages": messages})


def _payload_problems(message: Any) -> list[str]:
    """Return what blocks.validate says about a message. As in Slack, it takes none with a text."""
    if not isinstance(message, dict):
        return ["message: not an object"]
    odd = sorted(message.keys() - {"blocks", "attachments"})
    return [*(f"{key}: additional property" for key in odd), *block_problems(message.get("blocks"))]


VALIDATED: dict[str, Callable[[Any], list[str]]] = {
    "blocks": block_problems,
    "message": _payload_problems,
    "view": view_problems,
}


def _schema_error(kind: str, problem: str) -> Json:
    """Return a problem in the form of blocks.validate, with a JSON pointer that begins in what was sent."""
    path, _, said = problem.partition(": ")
    parts = re.findall(r"\w+", path.removeprefix(kind))
    return {"code": "failed_constraint", "message": said, "pointer": "".join(f"/{part}" for part in parts)}


def _scope_prefix(channel: Channel) -> str:
    """Return the part before the colon of the scopes for this kind of channel."""
    return "im" if channel.is_im else "groups" if channel.is_private else "channels"


def _bool_argument(arguments: Json, key: str) -> bool:
    return str(arguments.get(key, "")).lower() in ("1", "true")


def _int_argument(arguments: Json, key: str, default: int, most: int) -> int:
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


def _encode_cursor(position: object) -> str:
    return base64.b64encode(f"next:{position}".encode()).decode()


def _decode_cursor(cursor: str) -> str:
    try:
        prefix, _, position = base64.b64decode(cursor, validate=True).decode().partition(":")
    except ValueError:
        prefix, position = "", ""
    if prefix != "next":
        raise ApiError("invalid_cursor")
    return position


def _page(items: list[Any], arguments: Json, most: int) -> tuple[list[Any], Json]:
    """Return one page of a list, and the fields of the answer that lead to the next page.

    The cursor is a position in the list, so items may only be added at its end.
    """
    cursor = arguments.get("cursor")
    position = _decode_cursor(cursor) if cursor else "0"
    if not position.isdecimal():
        raise ApiError("invalid_cursor")
    start = int(position)
    end = start + _int_argument(arguments, "limit", 100, most)
    more = end < len(items)
    next_cursor = _encode_cursor(end) if more else ""
    return items[start:end], {"has_more": more, "response_metadata": {"next_cursor": next_cursor}}
