"""What Slack sends, taken apart in one place. It came through a client: any part may be missing or odd."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import blocks
from conveyor_client import clean
from ledger.rows import Row


class Sorry(Exception):
    """Nothing was done; the person is told why, in a sentence that only they see.

    `redraw` is the id of a request whose card showed them something else.
    """

    def __init__(self, sentence: str, why: str, redraw: str = "") -> None:
        super().__init__(why)
        self.sentence = sentence
        self.why = why
        self.redraw = redraw


class Wrong(Exception):
    """Something in a modal is to be mended, and the person is told beside it."""

    def __init__(self, block_id: str, sentence: str) -> None:
        super().__init__(block_id)
        self.errors = {block_id: sentence}


@dataclass(frozen=True)
class Click:
    """Who did something, with which card. All of it came through a client and is checked later on.

    `subject` stands for the address and the Trust Center that the card showed (see Row.subject).
    """

    user_id: str
    trigger_id: str
    request_id: str
    round: int
    subject: str
    channel: str
    card_ts: str

    @classmethod
    def of_button(cls, body: Mapping[str, Any]) -> "Click":
        round_text, subject, request_id = _button_value(body)
        return cls._checked(body, request_id, round_text, subject, *card_of(body))

    @classmethod
    def of_modal(cls, body: Mapping[str, Any]) -> "Click":
        kept = kept_by_modal(body)
        names = ("request", "round", "subject", "channel", "ts")
        request_id, round_text, subject, channel, ts = (text_at(kept, name) for name in names)
        return cls._checked(body, request_id, round_text, subject, channel, ts)

    @classmethod
    def _checked(
        cls,
        body: Mapping[str, Any],
        request_id: str,
        round_text: str,
        subject: str,
        channel: str,
        ts: str,
    ) -> "Click":
        user_id, trigger_id = user_of(body), text_at(body, "trigger_id")
        is_number = round_text.isascii() and round_text.isdigit() and len(round_text) < 10
        if not (user_id and trigger_id and request_id and is_number):
            raise Sorry(blocks.ODD_CLICK, "odd click")
        return cls(user_id, trigger_id, request_id, int(round_text), subject, channel, ts)

    @classmethod
    def on_card(cls, body: Mapping[str, Any], row: Row | None) -> "Click":
        """A click that names no request: it is about that of the card."""
        known = (row.id, str(row.round), row.subject) if row else ("?", "0", "")
        return cls._checked(body, *known, *card_of(body))

    def metadata(self) -> str:
        """What a modal keeps of the click that opened it."""
        return json.dumps(
            {
                "request": self.request_id,
                "round": str(self.round),
                "subject": self.subject,
                "channel": self.channel,
                "ts": self.card_ts,
            }
        )


def kept_by_modal(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a modal kept of the click that opened it."""
    try:
        kept = json.loads(text_at(body, "view", "private_metadata"))
    except (ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def selected_groups(values: Mapping[str, Any]) -> dict[str, str]:
    """Ids and names of the chosen groups."""
    return {
        text_at(option, "value"): text_at(option, "text", "text")
        for block in values.values()
        for option in list_at(block, blocks.GROUPS, "selected_options")
    }


def mapping_at(source: Any, *keys: str) -> Mapping[str, Any]:
    for key in keys:
        source = source.get(key) if isinstance(source, Mapping) else None
    return source if isinstance(source, Mapping) else {}


def list_at(source: Any, *keys: str) -> list[Any]:
    found = mapping_at(source, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, list) else []


def text_at(source: Any, *keys: str) -> str:
    """The string at the end of these keys; empty if anything else is there."""
    found = mapping_at(source, *keys[:-1]).get(keys[-1])
    return clean(found) if isinstance(found, str) else ""


def user_of(body: Mapping[str, Any]) -> str:
    """Who did it, empty if that is no user's id; slash commands say so in another place."""
    found = text_at(body, "user", "id") or text_at(body, "user_id")
    return found if re.fullmatch(r"[UW][A-Z0-9]{1,29}", found) else ""


def card_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """The channel and the ts of the message that somebody did something with."""
    return text_at(body, "channel", "id"), text_at(body, "container", "message_ts")


def request_of(body: Mapping[str, Any]) -> str:
    """The id of the request that a click or a modal names, for the trail."""
    return (_button_value(body)[2] or text_at(kept_by_modal(body), "request"))[:200]


def _button_value(body: Mapping[str, Any]) -> tuple[str, str, str]:
    """What a card's button says: the round, the subject and the request's id, each perhaps empty."""
    actions = list_at(body, "actions")
    parts = (text_at(actions[0], "value") if actions else "").split(" ", 2)
    round_text, subject, request_id = [*parts, "", ""][:3]
    return round_text, subject, request_id
