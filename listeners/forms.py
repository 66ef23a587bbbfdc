"""What people fill in: each form is read from a payload, and checked as far as that needs no ledger.

Each `of` raises InvalidField if a field is wrong, and then Refusal if the click makes no sense.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import blocks
from listeners.errors import InvalidField
from listeners.payloads import (
    Click,
    card_of,
    kept_by_modal,
    list_at,
    mapping_at,
    selected_groups,
    text_at,
    user_of,
)
from text import is_readable


@dataclass(frozen=True)
class CardForm:
    """A click on a button of a card, and the ids of the access groups that are ticked on it."""

    click: Click
    groups: tuple[str, ...]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "CardForm":
        return cls(Click.of_button(body), selected_groups(mapping_at(body, "state", "values")))


@dataclass(frozen=True)
class OptionsForm:
    """The modal "Approve with options". `expires_at` is YYYY-MM-DD, or empty if access does not end."""

    note: str
    expires_at: str
    click: Click
    groups: tuple[str, ...]
    nda_bypass: bool

    @classmethod
    def of(cls, body: Mapping[str, Any], today: date) -> "OptionsForm":
        values = _values(body)
        # Checked in this order: a person first hears of a wrong field, then that the click makes no sense.
        return cls(
            note=_reason(values),
            expires_at=_last_day(values, today),
            click=Click.of_modal(body),
            groups=selected_groups(values),
            nda_bypass=_is_nda_skipped(values),
        )


@dataclass(frozen=True)
class ReasonForm:
    """The modals that ask why a request is rejected, or access revoked."""

    reason: str
    click: Click

    @classmethod
    def of(
        cls, body: Mapping[str, Any], offered: Sequence[blocks.Ready], reason_required: bool
    ) -> "ReasonForm":
        values = _values(body)
        reason = _reason(values, _chosen_reason(values, offered))
        if reason_required and not reason:
            raise InvalidField(blocks.REASON, blocks.REASON_MISSING)
        return cls(reason, Click.of_modal(body))


@dataclass(frozen=True)
class ChangeForm:
    """The modal "Change groups".

    `shown` has the ids of the groups that Conveyor listed as granted when it opened, and `since` says what
    the ledger knew then.
    """

    groups: tuple[str, ...]
    shown: tuple[str, ...]
    since: str
    click: Click

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "ChangeForm":
        kept = kept_by_modal(body)
        groups = selected_groups(_values(body))
        shown = tuple(group for group in list_at(kept, "groups") if isinstance(group, str))
        if set(groups) == set(shown):
            raise InvalidField(blocks.GROUPS, blocks.SAME_GROUPS)
        return cls(groups, shown, text_at(kept, "since"), Click.of_modal(body))


@dataclass(frozen=True)
class GroupSearch:
    """What somebody typed in the menu of access groups, on a card or in a modal.

    `request_id` is what the modal kept; it is None on a card, which is then found by its message.
    """

    user_id: str
    request_id: str | None
    card: tuple[str, str]
    typed: str

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "GroupSearch":
        kept = kept_by_modal(body)
        request_id = text_at(kept, "request") if kept else None
        return cls(user_of(body), request_id, card_of(body), text_at(body, "value"))


def _values(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the fields of a submitted modal hold."""
    return mapping_at(body, "view", "state", "values")


def _chosen_reason(values: Mapping[str, Any], offered: Sequence[blocks.Ready]) -> blocks.Ready | None:
    """Return the ready reason that was chosen, or None: a window from before the list was there has none."""
    value = text_at(values, blocks.READY, blocks.READY, "selected_option", "value")
    chosen = next((each for each in offered if each.value == value), None)
    if value and not chosen:
        raise InvalidField(blocks.READY, blocks.READY_GONE)
    return chosen


def _reason(values: Mapping[str, Any], chosen: blocks.Ready | None = None) -> str:
    """Return the reason or note: what was chosen, what was typed, or both. It may be empty."""
    typed = text_at(values, blocks.REASON, blocks.REASON, "value").strip()
    typed = typed if is_readable(typed) else ""
    reason = chosen.kept(typed) if chosen else typed
    if (excess := len(reason) - blocks.REASON_CHARS) > 0:
        raise InvalidField(blocks.REASON, blocks.REASON_TOO_LONG.format(len(typed) - excess))
    return reason


def _last_day(values: Mapping[str, Any], today: date) -> str:
    """Return the day after which access ends (YYYY-MM-DD, in UTC), or an empty string if it does not."""
    ends = text_at(values, blocks.ENDS, blocks.ENDS, "selected_option", "value")
    day = text_at(values, blocks.DAY, blocks.DAY, "selected_date")
    if ends not in blocks.ENDINGS:
        raise InvalidField(blocks.ENDS, blocks.ENDS_MISSING)
    if ends == blocks.DAY:
        return _chosen_day(day, today)
    if day:
        raise InvalidField(blocks.DAY, blocks.DAY_UNUSED)
    return "" if ends == blocks.NEVER else (today + timedelta(days=int(ends))).isoformat()


def _chosen_day(day: str, today: date) -> str:
    """Return the day that was picked, as YYYY-MM-DD, unless it is missing, past or too many years away."""
    try:
        chosen = date.fromisoformat(day)
    except ValueError:
        raise InvalidField(blocks.DAY, blocks.DAY_MISSING) from None
    if chosen < today:
        raise InvalidField(blocks.DAY, blocks.DAY_PAST)
    if (chosen.year - blocks.ENDS_YEARS, chosen.month, chosen.day) > (today.year, today.month, today.day):
        raise InvalidField(blocks.DAY, blocks.DAY_TOO_FAR)
    return chosen.isoformat()


def _is_nda_skipped(values: Mapping[str, Any]) -> bool:
    ticked = list_at(values, blocks.NDA, blocks.NDA, "selected_options")
    return any(text_at(option, "value") == blocks.NDA for option in ticked)
