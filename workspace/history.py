"""Reads the app's own cards back from a channel, page by page, without ever starting over.

This module decides nothing about a card that it finds. Its calls raise the errors of channel.py.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conveyor_client import ID_CHARS
from workspace.channel import METADATA_TYPE, Channel
from workspace.slack_answers import is_ts
from workspace.slack_errors import CardRefused, ChannelClosed, SlackSilent

log = logging.getLogger(__name__)

PAGE_MOST, PAGE_LEAST = 999, 15  # messages of one page: what Slack takes, and what it always gives
ROUNDS_MOST = 1_000_000


@dataclass(frozen=True)
class FoundCard:
    """A card of this app as it is in the channel. `payload` is what its metadata holds, unchecked."""

    channel: str
    ts: str
    request_id: str
    round: int
    payload: Mapping[str, Any]
    blocks: Any


class Reading:
    """One reading of a channel's messages since a time, newest first.

    `messages` counts what has been read, and `done` says whether that is all. After an error it stays where
    it is: the next call asks for the same page again.
    """

    def __init__(self, channel: Channel, oldest: float, channel_id: str = "") -> None:
        """`channel_id` may be that of a former channel; if that is closed by now, it has no cards."""
        self.messages = 0
        self.done = False
        self._channel = channel
        self._oldest = oldest
        self._channel_id = channel_id or channel.id
        self._limit = PAGE_MOST
        self._cursor = ""
        self._last_ts = ""
        self._latest = ""

    def page(self) -> list[FoundCard]:
        """Read the next page, and return the app's own cards in it."""
        if self.done:
            return []
        place = {"cursor": self._cursor or None, "latest": self._latest or None}
        try:
            found, following = self._channel.history(
                self._channel_id, oldest=f"{self._oldest:.6f}", limit=self._limit, **place
            )
        except ChannelClosed:
            if self._channel.is_here(self._channel_id):
                raise
            self.done = True
            return []
        except SlackSilent:
            # The page may have been too large to arrive in time.
            self._limit = max(PAGE_LEAST, self._limit // 4)
            raise
        except CardRefused:
            # Perhaps Slack does not know the cursor anymore; the time of the last message never expires.
            self._cursor, self._latest = "", self._last_ts
            raise
        self.messages += len(found)
        times = [message["ts"] for message in found if isinstance(message, dict) and is_ts(message.get("ts"))]
        self._last_ts = times[-1] if times else self._last_ts
        self.done = not following or following == self._cursor
        self._cursor = following
        return _cards(self._channel, self._channel_id, found)


def is_card_there(channel: Channel, ts: str) -> bool:
    """Return whether the message with this ts is there and is a card of this app.

    Of a deleted card with replies, Slack leaves a mark that says so.
    """
    found, _ = channel.history(channel.id, latest=ts, oldest=ts, inclusive=True, limit=1)
    return any(card.ts == ts for card in _cards(channel, channel.id, found))


def _cards(channel: Channel, channel_id: str, messages: list[Any]) -> list[FoundCard]:
    """Return the app's own cards among these messages. One in an unexpected shape is left out, and logged."""
    found = []
    for message in messages:
        try:
            found.append(_card(channel, channel_id, message))
        except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
            ts = message.get("ts") if isinstance(message, dict) else None
            log.warning("card=unreadable ts=%r cause=%s", ts, type(error).__name__)
    return [card for card in found if card]


def _card(channel: Channel, channel_id: str, message: Any) -> FoundCard | None:
    """Return the card in this message, or None if it is none of this app's.

    A card in an unexpected shape raises one of several errors (see `_cards`).
    """
    identity = channel.identity
    if identity is None or message.get("bot_id") != identity.bot_id:
        return None
    metadata = message.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    if metadata.get("event_type") != METADATA_TYPE or not payload.get("id"):
        return None
    request_id, round, ts = str(payload["id"]), int(payload.get("round") or 1), message["ts"]
    if len(request_id) > ID_CHARS or not 0 < round < ROUNDS_MOST or not is_ts(ts):
        raise ValueError
    return FoundCard(channel_id, ts, request_id, round, payload, message.get("blocks") or [])
