"""Reads what Slack sends. A client sent it, so any part of it may be missing or of the wrong type.

The functions return an empty value for what they do not find. Only `Click` insists on its parts.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import blocks
from ledger.rows import Row
from listeners.errors import Refusal
from text import clean


@dataclass(frozen=True)
class Click:
    """Who clicked, and what the card showed them: everything the listeners have to check.

    `subject` stands for the email address and the Trust Center that the card showed (see Row.subject).
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
        """Return the click on a button, whose value names the request. Raises Refusal."""
        round_text, subject, request_id = _button_value(body)
        return cls._checked(body, request_id, round_text, subject, *card_of(body))

    @classmethod
    def of_modal(cls, body: Mapping[str, Any]) -> "Click":
        """Return the click that opened the modal, by the person who submitted it. Raises Refusal."""
        kept = kept_by_modal(body)
        names = ("request", "round", "subject", "channel", "ts")
        request_id, round_text, subject, channel, ts = (text_at(kept, name) for name in names)
        return cls._checked(body, request_id, round_text, subject, channel, ts)

    @classmethod
    def on_card(cls, body: Mapping[str, Any], row: Row | None) -> "Click":
        """Return a choice from a card's menu, which names no request: `row` is the card's. Raises Refusal."""
        known = (row.id, str(row.round), row.subject) if row else ("?", "0", "")
        return cls._checked(body, *known, *card_of(body))

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
            raise Refusal(blocks.ODD_CLICK, "odd click")
        return cls(user_id, trigger_id, request_id, int(round_text), subject, channel, ts)

    def to_keep(self, **more: object) -> str:
        """Return what the modal that this click opens has to keep, as its private_metadata."""
        return json.dumps(
            {
                **more,
                "request": self.request_id,
                "round": str(self.round),
                "subject": self.subject,
                "channel": self.channel,
                "ts": self.card_ts,
            }
        )


@dataclass(frozen=True)
class Recipient:
    """Who gets the answer, the URL at which Slack takes it for this click, and the thread they are in."""

    user_id: str
    response_url: str
    thread_ts: str = ""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Recipient":
        return cls(user_of(body), text_at(body, "response_url"), _thread_of(body))


def kept_by_modal(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a modal kept of the click that opened it."""
    try:
        kept = json.loads(text_at(body, "view", "private_metadata"))
    except (ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def selected_groups(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the access groups that are ticked on a card or in a modal.

    Their names are not read here: Slack sends them HTML-escaped, and the ledger knows them.
    """
    ids = (
        text_at(option, "value")
        for block in values.values()
        for option in list_at(block, blocks.GROUPS, "selected_options")
    )
    return tuple(dict.fromkeys(ids))


def command_text(body: Mapping[str, Any]) -> str:
    """Return what was typed after a slash command, in which Slack may have turned an address into a link."""
    return text_at(body, "text").strip()


def user_of(body: Mapping[str, Any]) -> str:
    """Return the id of whoever did this, or an empty string if there is no valid one."""
    found = text_at(body, "user", "id") or text_at(body, "user_id")  # a slash command has the second
    return found if re.fullmatch(r"[UW][A-Z0-9]{1,29}", found) else ""


def card_of(body: Mapping[str, Any]) -> tuple[str, str]:
    """Return the channel and the ts of the message that was clicked."""
    return text_at(body, "channel", "id"), text_at(body, "container", "message_ts")


def _thread_of(body: Mapping[str, Any]) -> str:
    """Return the thread of the reply that was clicked or asked about; empty if it is in no thread."""
    thread = text_at(body, "container", "thread_ts") or text_at(body, "message", "thread_ts")
    is_root = thread in (text_at(body, "container", "message_ts"), text_at(body, "message", "ts"))
    return "" if is_root else thread


def request_of(body: Mapping[str, Any]) -> str:
    """Return the id of the request that a button or a modal names, cut to what the audit trail takes."""
    return (_button_value(body)[2] or text_at(kept_by_modal(body), "request"))[:200]


def _button_value(body: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what the value of a card's button holds: the round, the subject and the request's id."""
    round_text, subject, request_id = [*button_text(body).split(" ", 2), "", ""][:3]
    return round_text, subject, request_id


def button_text(body: Mapping[str, Any]) -> str:
    """Return the value of the button that was clicked."""
    actions = list_at(body, "actions")
    return text_at(actions[0], "value") if actions else ""


def button_block(body: Mapping[str, Any]) -> str:
    """Return the id of the block in which a button was clicked."""
    actions = list_at(body, "actions")
    return text_at(actions[0], "block_id") if actions else ""


def page_wanted(body: Mapping[str, Any]) -> int:
    """Return which page of a message the clicked button leads to; the first if it names none."""
    page = button_text(body)
    return int(page) if page.isascii() and page.isdigit() and len(page) < 5 else 0


def chosen_in_menu(body: Mapping[str, Any]) -> str:
    """Return the value of the entry that was chosen in a card's menu."""
    actions = list_at(body, "actions")
    return text_at(actions[0], "selected_option", "value") if actions else ""


def text_at(source: Any, *keys: str) -> str:
    """Return the string under these keys, or an empty one if anything else is there."""
    found = mapping_at(source, *keys[:-1]).get(keys[-1])
    return clean(found) if isinstance(found, str) else ""


def list_at(source: Any, *keys: str) -> list[Any]:
    """Return the list under these keys, or an empty one if anything else is there."""
    found = mapping_at(source, *keys[:-1]).get(keys[-1])
    return found if isinstance(found, list) else []


def mapping_at(source: Any, *keys: str) -> Mapping[str, Any]:
    """Return the mapping under these keys, or an empty one if anything else is there."""
    for key in keys:
        source = source.get(key) if isinstance(source, Mapping) else None
    return source if isinstance(source, Mapping) else {}
