"""The channel that holds the cards: every message that the app writes or reads there goes through here.

This module knows no words and no layout. Its calls raise one of these errors:

ChannelError            Slack did not do what was asked
├── SlackDown           no message would get through now: there were too many, or the token is wrong
│   └── ChannelClosed   no message gets through to this channel, but perhaps to others
├── SlackSilent         no usable answer came, and what was asked may have been done
├── CardRefused         Slack takes other messages, but not this one
│   └── CardUnfit       it is too long, or Slack does not take its layout
└── CardLost            the message is not there anymore, or this app may not change it
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse

from conveyor_client import ID_CHARS
from deadline import CallFailed, retry_after
from ledger.rows import Row
from workspace.block_kit import Message

log = logging.getLogger(__name__)

HISTORY_PAGE = 200
PAGES_MOST = 1000
MEMBERS_PAGE = 1000
MEMBERS_SECONDS = 60.0
METADATA_TYPE = "conveyor_request"
ROUNDS_MOST = 1_000_000

# Slack's errors that are no fault of the message: every other call would fail with them as well.
NOT_THE_MESSAGE = {
    "account_inactive",
    "ekm_access_denied",
    "invalid_auth",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "org_login_required",
    "ratelimited",
    "rate_limited",
    "team_access_not_granted",
    "token_expired",
    "token_revoked",
}
# The same for the calls about one channel: it is archived, or the app is not in it.
CLOSED_TO_US = {"channel_not_found", "is_archived", "is_inactive", "not_in_channel"}
# Slack's errors after which what was asked may have been done.
MAYBE_DONE = {"fatal_error", "internal_error", "request_timeout", "service_unavailable"}
# Slack's errors for what a message says: a shorter or plainer one gets through.
UNFIT = {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text"}
# Slack's errors for a card that cannot be changed anymore, so that another has to take its place.
LOST = {"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed"}
# Slack's errors for a thread that takes no replies. They begin like those of a channel that takes no message.
NO_THREAD = {"cannot_reply_to_message", "restricted_action_non_threadable_channel"}
NO_THREAD |= {"restricted_action_thread_locked"}


class ChannelError(Exception):
    """Slack did not do what was asked; the text is for the log."""


class SlackDown(ChannelError):
    """No message would get through now: there were too many, or the token is wrong.

    `retry_after` is the seconds that Slack asked to wait, or 0.0 if it is not about too many messages.
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class ChannelClosed(SlackDown):
    """No message gets through to this channel, but perhaps to others."""


class SlackSilent(ChannelError):
    """No usable answer came. `maybe_done` says whether what was asked may have been done."""

    def __init__(self, text: str, *, maybe_done: bool) -> None:
        super().__init__(text)
        self.maybe_done = maybe_done


class CardRefused(ChannelError):
    """Slack takes other messages, but not this one."""


class CardUnfit(CardRefused):
    """The message is too long, or Slack does not take its layout."""


class CardLost(ChannelError):
    """The message is not there anymore, or this app may not change it."""


@dataclass(frozen=True)
class FoundCard:
    """A card of this app as it is in the channel. `payload` is what its metadata holds, unchecked."""

    channel: str
    ts: str
    request_id: str
    round: int
    payload: Mapping[str, Any]
    blocks: Any


@dataclass(frozen=True)
class Identity:
    """Who the app is in Slack, as auth.test says."""

    team_id: str
    user_id: str
    bot_id: str
    url: str

    def permalink(self, channel: str, ts: str) -> str:
        """Return the address of a message."""
        return f"{self.url.rstrip('/')}/archives/{channel}/p{ts.replace('.', '')}"


class Channel:
    """The channel that holds the cards. `identity` is None until Slack has answered."""

    def __init__(self, client: WebClient, channel_id: str, worker_client: WebClient | None = None) -> None:
        """`worker_client` sends what only the process that holds the lease may send."""
        self._client = client
        self._worker_client = worker_client or client
        self.id = channel_id
        self.identity: Identity | None = None
        self.problem = "Slack has not answered yet"
        self._members: frozenset[str] = frozenset()
        self._members_until = 0.0

    def refresh_identity(self) -> bool:
        """Ask Slack who the app is, and return whether it knows the token.

        Its answer is kept in `identity`, its refusal in `problem`.
        """
        try:
            answer = _call(self._client.auth_test)
            said = [answer.get(name) for name in ("team_id", "user_id", "bot_id", "url")]
            identity = Identity(*(str(part or "") for part in said))
            if not all(isinstance(part, str) and part for part in said):
                raise SlackSilent("auth_test: the answer does not say who the app is", maybe_done=False)
        except ChannelError as error:
            if self.problem != str(error):
                log.warning("slack=unreachable cause=%r", str(error))
            self.problem = str(error)
            return False
        if self.problem:
            log.info("slack=reached team=%s bot=%s", answer.get("team_id"), answer.get("bot_id"))
        self.identity = identity
        self.problem = ""
        return True

    def post(self, message: Message, kept: Mapping[str, Any]) -> str:
        """Post a card with this metadata and return its ts.

        After a SlackSilent with `maybe_done` there may be a card as well.
        """
        answer = _write(
            self._worker_client.chat_postMessage,
            channel=self.id,
            metadata={"event_type": METADATA_TYPE, "event_payload": kept},
            unfurl_links=False,
            unfurl_media=False,
            **message,
        )
        return str(answer["ts"])

    def update(self, row: Row, message: Message, kept: Mapping[str, Any]) -> None:
        """Replace a card and its metadata."""
        self._call_about(
            row,
            self._worker_client.chat_update,
            ts=row.card_ts,
            metadata={"event_type": METADATA_TYPE, "event_payload": kept},
            parse="none",  # here, unlike for a post, the default is to find more in the text than its markup
            **message,
        )

    def reply(self, row: Row, message: Message) -> bool:
        """Post a message in the thread of a card, and return whether the card seems to be there.

        If it is gone, Slack may post the message in the channel itself; its answer then lacks `thread_ts`.
        """
        answer = self._call_about(
            row,
            self._worker_client.chat_postMessage,
            thread_ts=row.card_ts,
            unfurl_links=False,
            unfurl_media=False,
            **message,
        )
        posted = answer.get("message")
        return not isinstance(posted, dict) or bool(posted.get("thread_ts"))

    def _call_about(self, row: Row, method: Callable[..., SlackResponse], **arguments: Any) -> SlackResponse:
        """Make a call about a card, which may be in a channel that the app used before.

        Such a channel may be closed to the app; then the card is lost.
        """
        try:
            return _write(method, channel=row.channel, **arguments)
        except ChannelClosed as error:
            if row.channel == self.id:
                raise
            raise CardLost(str(error)) from error

    def post_ephemeral(self, user_id: str, message: Mapping[str, Any]) -> None:
        """Post a message in the channel that only this person sees."""
        _call(self._client.chat_postEphemeral, channel=self.id, user=user_id, **message)

    def direct(self, user_id: str, message: Message) -> None:
        """Send a direct message to this person."""
        quiet = {"unfurl_links": False, "unfurl_media": False}
        _write(self._worker_client.chat_postMessage, channel=user_id, **quiet, **message)

    def members(self) -> frozenset[str]:
        """Return the ids of those who can see the cards, as Slack listed them within MEMBERS_SECONDS."""
        now = time.monotonic()
        if now >= self._members_until:
            page = {"channel": self.id, "limit": MEMBERS_PAGE}
            listed = self._listed("members", self._client.conversations_members, **page)
            self._members, self._members_until = frozenset(map(str, listed)), now + MEMBERS_SECONDS
        return self._members

    def cards(self, oldest: float, channel: str = "") -> Iterator[FoundCard]:
        """Yield the app's own cards since then, newest first.

        `channel` may be one that the app used before; if it is closed to the app by now, it has no cards.
        """
        channel = channel or self.id
        page = {
            "channel": channel,
            "oldest": f"{oldest:.6f}",
            "include_all_metadata": True,
            "limit": HISTORY_PAGE,
        }
        try:
            for message in self._listed("messages", self._client.conversations_history, **page):
                try:
                    card = self._card(channel, message)
                except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
                    ts = message.get("ts") if isinstance(message, dict) else None
                    log.warning("card=unreadable ts=%r cause=%s", ts, type(error).__name__)
                    continue
                if card:
                    yield card
        except ChannelClosed:
            if channel == self.id:
                raise

    def _listed(self, name: str, method: Callable[..., SlackResponse], **page: Any) -> Iterator[Any]:
        """Yield every item of a list that Slack gives in pages. A page without its list is no answer."""
        cursor = ""
        for _ in range(PAGES_MOST):
            answer = _call(method, **page, cursor=cursor or None)
            items = answer.get(name)
            if not isinstance(items, list):
                raise SlackSilent(f"{method.__name__}: an answer without {name}", maybe_done=False)
            yield from items
            more = answer.get("response_metadata")
            following = more.get("next_cursor") if isinstance(more, dict) else None
            if not following or following == cursor:
                return
            cursor = str(following)
        raise SlackSilent(f"{method.__name__}: more than {PAGES_MOST} pages", maybe_done=False)

    def _card(self, channel: str, message: Any) -> FoundCard | None:
        """Return the card in this message, or None if it is none of this app's.

        A card in an unexpected shape raises one of several errors (see `cards`).
        """
        if self.identity is None or message.get("bot_id") != self.identity.bot_id:
            return None
        metadata = message.get("metadata") or {}
        payload = metadata.get("event_payload") or {}
        if metadata.get("event_type") != METADATA_TYPE or not payload.get("id"):
            return None
        request_id, round, ts = str(payload["id"]), int(payload.get("round") or 1), message["ts"]
        if len(request_id) > ID_CHARS or not 0 < round < ROUNDS_MOST or not is_ts(ts):
            raise ValueError
        return FoundCard(channel, ts, request_id, round, payload, message.get("blocks") or [])


def is_ts(value: object) -> bool:
    """Return whether this is a timestamp by which Slack names a message in its channel."""
    return isinstance(value, str) and re.fullmatch(r"\d{1,12}\.\d{1,9}", value) is not None


def _write(method: Callable[..., SlackResponse], **arguments: Any) -> SlackResponse:
    """Return the answer about the message that was posted or changed. Without its ts it is no answer."""
    answer = _call(method, **arguments)
    if not is_ts(answer.get("ts")):
        raise SlackSilent(f"{method.__name__}: an answer without the message", maybe_done=True)
    return answer


def _call(method: Callable[..., SlackResponse], **arguments: Any) -> SlackResponse:
    """Return Slack's answer, or raise the ChannelError that says what went wrong."""
    name = method.__name__
    try:
        return method(**arguments)
    except SlackApiError as error:
        raise _error(name, error.response) from error
    except CallFailed as error:
        raise SlackSilent(f"{name}: {error}", maybe_done=error.sent) from error
    except (SlackClientError, OSError, ValueError) as error:
        raise SlackSilent(f"{name}: {type(error).__name__}", maybe_done=True) from error


def _error(name: str, answer: Any) -> ChannelError:
    """Return the error for an answer in which Slack says that a call failed; `name` is that of the call."""
    status = getattr(answer, "status_code", 0)
    data = answer.data if isinstance(getattr(answer, "data", None), dict) else {}
    error = str(data.get("error") or "")
    metadata = data.get("response_metadata")
    messages = metadata.get("messages") if isinstance(metadata, dict) else None
    details = "; ".join(map(str, messages)) if isinstance(messages, list) else ""
    text = f"{name}: {status} {error}{f' ({details})' if details else ''}"
    if status == 429 or error in ("ratelimited", "rate_limited"):
        return SlackDown(text, retry_after(getattr(answer, "headers", None) or {}, 1.0))
    # What is not one of Slack's names (the SDK puts a page that is no JSON there) doesn't say what was done.
    if not error.replace("_", "").isalnum() or status >= 500 or error in MAYBE_DONE:
        return SlackSilent(text, maybe_done=True)
    if error in NO_THREAD:
        return CardRefused(text)
    if error in CLOSED_TO_US:
        return ChannelClosed(text)
    if error in NOT_THE_MESSAGE:
        return SlackDown(text)
    if error in LOST:
        return CardLost(text)
    return CardUnfit(text) if error in UNFIT else CardRefused(text)
