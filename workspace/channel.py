"""The channel that holds the cards: every message that the app writes or reads there goes through here.

This module knows no words and no layout. Its calls raise the errors of slack_errors.py.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from slack_sdk import WebClient
from slack_sdk.web import SlackResponse

from ledger.rows import Row
from workspace.block_kit import Message
from workspace.slack_answers import listed, page_of, ts_of
from workspace.slack_client import scopes_of
from workspace.slack_clock import SlackClock
from workspace.slack_errors import (
    ARCHIVED,
    NO_SCOPE,
    PROBLEMS,
    CardLost,
    CardRefused,
    ChannelClosed,
    ChannelError,
    PostingRestricted,
    SlackDown,
    SlackSilent,
    call,
)

log = logging.getLogger(__name__)

MEMBERS_SECONDS = 60.0
METADATA_TYPE = "conveyor_request"
QUIET = {"unfurl_links": False, "unfurl_media": False}
ORG_WIDE = "org-wide installation is not supported; install the app in one workspace"


@dataclass(frozen=True)
class Identity:
    """Who the app is in Slack, as auth.test says."""

    team_id: str
    user_id: str
    bot_id: str
    url: str
    enterprise_id: str = ""  # of the organization that the workspace belongs to; empty if there is none

    def permalink(self, channel: str, ts: str) -> str:
        """Return the address of a message."""
        return f"{self.url.rstrip('/')}/archives/{channel}/p{ts.replace('.', '')}"


class Channel:
    """The channel that holds the cards. `identity` is None until Slack has answered.

    `id` is what Slack calls the channel now. When a private channel is shared its id changes: `moved` has the
    former ids of channels, each with the one that Slack uses now.
    """

    def __init__(self, client: WebClient, channel_id: str, worker_client: WebClient | None = None) -> None:
        """`worker_client` sends what only the process that holds the lease may send."""
        self._client = client
        self._worker_client = worker_client or client
        self.id = channel_id
        self.clock = SlackClock()
        self.moved: dict[str, str] = {}
        self.identity: Identity | None = None
        self.scopes: frozenset[str] = frozenset()  # empty if Slack did not say which the app has
        self.problem = "no answer yet"
        self._lock = threading.Lock()
        self._problems: dict[str, str] = {}  # by what has shown them: the name of a call, or a scope
        self._kind = ""  # of the channel, as the names of the scopes begin
        self._members: frozenset[str] = frozenset()
        self._members_until = 0.0

    def refresh_identity(self) -> bool:
        """Ask Slack who the app is, and return whether it knows the token.

        Its answer is kept in `identity`, its refusal in `problem`. That it was asked too often says nothing.
        """
        try:
            answer = call(self._client.auth_test)
            self.clock.learn(answer)
            said = [answer.get(name) for name in ("team_id", "user_id", "bot_id", "url")]
            if is_org_wide(answer):
                raise SlackDown(ORG_WIDE)
            identity = Identity(*map(str, [*said, answer.get("enterprise_id") or ""]))
            if not all(isinstance(part, str) and part for part in said):
                raise SlackSilent("auth_test: the answer does not say who the app is", maybe_done=False)
        except ChannelError as error:
            if self.identity and isinstance(error, SlackDown) and error.retry_after:
                return not self.problem
            if self.problem != str(error):
                log.warning("slack=unusable cause=%r", str(error))
            self.problem = str(error)
            return False
        if self.problem:
            log.info("slack=reached team=%s bot=%s", answer.get("team_id"), answer.get("bot_id"))
        self.identity = identity
        self.scopes = scopes_of(answer)
        self.problem = ""
        return True

    @property
    def problems(self) -> list[str]:
        """What keeps cards from being posted, updated or found, each in a sentence that says what to do."""
        with self._lock:
            return list(dict.fromkeys(filter(None, self._problems.values())))

    def check(self) -> None:
        """Ask Slack whether the channel can be used, and compare the app's scopes with those that it needs.

        What is wrong is kept in `problems`. The scopes by which people are known are the reviewers' affair.
        """
        with suppress(ChannelError):
            self._keep("conversations_info", self._problem_with_channel())
        needed = {"chat:write", "commands"}
        of_channels = {f"{kind}:{right}" for kind in ("channels", "groups") for right in ("history", "read")}
        needed |= {scope for scope in of_channels if scope.startswith(f"{self._kind}:")}
        for scope in sorted(needed | of_channels if self.scopes else ()):
            is_missing = scope in needed - self.scopes
            self._keep(scope, NO_SCOPE.format(scope) if is_missing else "")

    def _problem_with_channel(self) -> str:
        """Return what Slack says is wrong with the channel; empty if nothing is."""
        try:
            found = call(self._client.conversations_info, channel=self.id).get("channel")
        except SlackDown as error:
            if error.retry_after:
                raise
            return error.problem
        if not isinstance(found, dict):
            raise SlackSilent("conversations_info: an answer without the channel", maybe_done=False)
        self.learn(self.id, found.get("id"))
        self._kind = "groups" if found.get("is_private") else "channels"
        if found.get("is_archived"):
            return ARCHIVED
        return PROBLEMS["not_in_channel"] if found.get("is_member") is False else ""

    def _keep(self, shown_by: str, problem: str) -> None:
        """Keep what a call has shown to be wrong; an empty problem says that nothing is."""
        before = self.problems
        with self._lock:
            self._problems[shown_by] = problem
        after = self.problems
        if problem and problem not in before:
            log.warning("channel=unusable cause=%r", problem)
        elif before and not after:
            log.info("channel=usable")

    # Its id

    def learn(self, former: str, now: object) -> None:
        """Keep that Slack calls a channel by another id now, if this is one."""
        if now == former or not (isinstance(now, str) and re.fullmatch(r"[CG][A-Z0-9]{1,29}", now)):
            return
        with self._lock:
            now = self.moved.get(now, now)
            if now == self.moved.get(former, former):
                return
            followed = {each: now if last == former else last for each, last in self.moved.items()}
            self.moved = {**followed, former: now}
        if self.id == former:
            todo = "Put the second into SLACK_CHANNEL_ID."
            log.warning("channel=moved from=%s to=%s todo=%r", former, now, todo)
            self.id = now

    def learn_from_payload(self, channel_id: str) -> None:
        """Keep the id of the channel in which somebody clicked, if it is a new one of this channel."""
        if self.is_here(channel_id) and self.id.startswith("G") and channel_id.startswith("C"):
            self.learn(self.id, channel_id)

    def ask_id(self, client: WebClient) -> None:
        """Ask Slack by which id it calls the channel now."""
        with suppress(ChannelError):
            found = call(client.conversations_info, channel=self.id).get("channel")
            self.learn(self.id, found.get("id") if isinstance(found, dict) else None)

    def ids_of(self, channel_id: str) -> frozenset[str]:
        """Return every id by which this channel may be called."""
        now = self.moved.get(channel_id, channel_id)
        known = {channel_id, now, *(former for former, last in self.moved.items() if last == now)}
        # Only the first letter changes, as far as Slack's documentation shows.
        return frozenset(known | {letter + each[1:] for each in known if each[:1] in "CG" for letter in "CG"})

    def is_here(self, channel_id: str) -> bool:
        """Return whether this is the channel for new cards, and not one that was used before."""
        return self.id in self.ids_of(channel_id)

    # Writing

    def post(self, message: Message, kept: Mapping[str, Any]) -> str:
        """Post a card with this metadata and return its ts.

        After a SlackSilent with `maybe_done` there may be a card as well.
        """
        answer = self._write(
            self._worker_client.chat_postMessage,
            self.id,
            metadata={"event_type": METADATA_TYPE, "event_payload": kept},
            **QUIET,
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

    def reply(self, row: Row, message: Message, *, also_in_channel: bool = False) -> bool:
        """Post a message in the thread of a card, and return whether the card seems to be there.

        If it is gone, Slack may post the message in the channel itself; its answer then lacks `thread_ts`.
        """
        answer = self._call_about(
            row,
            self._worker_client.chat_postMessage,
            thread_ts=row.card_ts,
            reply_broadcast=also_in_channel or None,
            **QUIET,
            **message,
        )
        posted = answer.get("message")
        return not isinstance(posted, dict) or bool(posted.get("thread_ts"))

    def _call_about(self, row: Row, method: Callable[..., SlackResponse], **arguments: Any) -> SlackResponse:
        """Make a call about a card, which may be in a channel that the app used before.

        Such a channel may be closed to the app; then the card is lost.
        """
        try:
            return self._write(method, row.channel, **arguments)
        except (ChannelClosed, PostingRestricted) as error:
            if self.is_here(row.channel):
                raise
            raise (CardLost if isinstance(error, ChannelClosed) else CardRefused)(str(error)) from error

    def _write(self, method: Callable[..., SlackResponse], channel: str, **arguments: Any) -> SlackResponse:
        """Return the answer about a message that was posted or changed in a channel that holds cards."""
        answer = self._ask(method, channel, **arguments)
        ts_of(method, answer)
        return answer

    def _ask(self, method: Callable[..., SlackResponse], channel: str, **arguments: Any) -> SlackResponse:
        """Make a call about a channel that holds cards, and keep what its answer says about the channel."""
        is_here = self.is_here(channel)
        channel = self.id if is_here else self.moved.get(channel, channel)
        try:
            answer = call(method, channel=channel, **arguments)
        except SlackDown as error:
            if is_here and not error.retry_after:
                self._keep(method.__name__, error.problem)
            raise
        self.learn(channel, answer.get("channel"))
        if is_here:
            self._keep(method.__name__, "")
        return answer

    def announce(self, message: Mapping[str, Any]) -> None:
        """Post a message in the channel that is no card and in no thread."""
        self._write(self._worker_client.chat_postMessage, self.id, **QUIET, **message)

    def post_ephemeral(self, user_id: str, message: Mapping[str, Any]) -> None:
        """Post a message in the channel that only this person sees."""
        call(self._client.chat_postEphemeral, channel=self.id, user=user_id, **message)

    def direct(self, user_id: str, message: Message) -> None:
        """Send a direct message to this person."""
        post = self._worker_client.chat_postMessage
        ts_of(post, call(post, channel=user_id, **QUIET, **message))

    # Reading

    def members(self) -> frozenset[str]:
        """Return the ids of those who can see the cards, as Slack listed them within MEMBERS_SECONDS."""
        now = time.monotonic()
        if now >= self._members_until:
            page = {"channel": self.id, "limit": 1000}
            found = listed("members", self._client.conversations_members, **page)
            self._members, self._members_until = frozenset(map(str, found)), now + MEMBERS_SECONDS
        return self._members

    def history(self, channel: str, **page: Any) -> tuple[list[Any], str]:
        """Return a page of a channel's messages, newest first, and the cursor of the next page, if any."""
        method = self._client.conversations_history
        return page_of("messages", method, self._ask(method, channel, include_all_metadata=True, **page))


def is_org_wide(answer: SlackResponse) -> bool:
    """Return whether the token is for an organization, and not for one workspace, by what auth.test says."""
    return bool(answer.get("is_enterprise_install")) or str(answer.get("team_id")).startswith("E")
