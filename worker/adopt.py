"""A lost ledger loses little: each card's metadata keeps what the app needs to go on with its request.

1. `kept_by_card` says what is written into the metadata of a card whenever it is posted or updated.
2. When the ledger is new, `Adopt` reads the channel back before anything is posted or recorded.
3. What waits goes on waiting. A decision that was being carried out is looked up in Conveyor, and given back
   if nothing came of it (see `adopted` in decide.py and evidence.py). A card that was decided stays as it is:
   it is now the only record of its decision.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import addresses
import blocks
from ledger.cards import Cards
from ledger.changes import addressed, fresh
from ledger.rows import Reviewer, Row, person
from ledger.states import IN_FLIGHT, RUNNING, State
from text import clean
from workspace.channel import Channel
from workspace.history import FoundCard, Reading

log = logging.getLogger(__name__)

ADOPT_SECONDS = 90 * 86400.0
# What a card's metadata holds at most, in bytes as JSON: with all else it stays under Slack's 1 kB.
ADDRESS_BYTES = 280
ROOM_BYTES = 64
NAME_BYTES = 80


def kept_by_card(row: Row) -> dict[str, Any]:
    """Return the payload of the metadata of this request's card."""
    kept = {
        "id": row.id,
        "round": row.round,
        "state": row.state,
        "email": _fitted(row.email, ADDRESS_BYTES),
        "dataroom_id": _fitted(row.dataroom_id, ROOM_BYTES),
        "reviewer_id": row.reviewer.id,
        "reviewer_name": _fitted(row.reviewer.name, NAME_BYTES),
    }
    if row.state in IN_FLIGHT and (by := RUNNING[row.state].by) != "reviewer":
        kept |= {
            "settled_at": row.settled_at,
            "nda_bypass": row.nda_bypass,
            "expires_at": row.expires_at,
            f"{by}_id": row.decider.id,
            f"{by}_name": _fitted(row.decider.name, NAME_BYTES),
        }
    return kept


@dataclass
class Adopt:
    """Begins a new ledger with the cards that are in the channel. May raise ChannelError and LedgerError."""

    channel: Channel
    ledger: Cards
    _reading: Reading | None = None
    _best: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)

    @property
    def messages(self) -> int:
        """How many messages have been read so far; 0 before and after."""
        return self._reading.messages if self._reading else 0

    def run(self, now: float) -> None:
        """Read one page, and begin the ledger after the last. An error leaves what has been found."""
        self._reading = reading = self._reading or Reading(
            self.channel, self.channel.clock.now() - ADOPT_SECONDS
        )
        for card in reading.page():
            if card.round <= self._best.get(card.request_id, (0, {}))[0]:
                continue
            try:
                self._best[card.request_id] = card.round, _values(card, now, self.channel.clock.now())
            except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
                log.warning("card=unreadable ts=%r cause=%s", card.ts, type(error).__name__)
        if not reading.done:
            log.info("channel=reading messages=%d", reading.messages)
            return
        self.ledger.adopt([values for _, values in self._best.values()], now)
        log.info("channel=read cards=%d", len(self._best))
        self._reading, self._best = None, {}


def _values(card: FoundCard, now: float, time_of_day: float) -> dict[str, Any]:
    """Return the columns of the request on this card. Several errors may come of one in another shape."""
    said = card.payload
    state = State(said["state"])
    flight = {
        **person("reviewer", _person(said, "reviewer")),
        **person("revoker", _person(said, "revoker")),
        **person("changer", _person(said, "changer")),
        "reason": blocks.reason_on_card(card.blocks, blocks.REASON),
        "revoke_reason": blocks.reason_on_card(card.blocks, blocks.REVOKE_REASON),
        "note": blocks.reason_on_card(card.blocks, blocks.NOTE_OF_APPROVAL),
        "settled_at": float(said.get("settled_at") or 0.0) or None,
        "nda_bypass": bool(said.get("nda_bypass")),
        "expires_at": _short(said.get("expires_at"), 10),
        "claimed_at": time_of_day,
        "claimed_since": now,
        "sent_at": now,
        "decide_at": now,
        "show_at": None,
        "adopted": True,
    }
    values = {
        **fresh(card.request_id, now),
        **addressed(addresses.bounded(str(said.get("email") or ""))),
        "round": card.round,
        "state": state,
        "channel": card.channel,
        "card_ts": card.ts,
        "received_at": float(card.ts),
        "dataroom_id": str(said.get("dataroom_id") or ""),
    }
    if state in IN_FLIGHT:
        return {**values, **flight}
    if state in (State.OUTAGE, State.NUMBERS):
        return {**values, "show_at": None}
    if state == State.PENDING:
        return values
    settled = {"settled_at": time_of_day, "settled_since": now}
    return {**values, **settled, "state": State.CLOSED, "show_at": None}


def _person(said: Mapping[str, Any], by: str) -> Reviewer:
    return Reviewer(_short(said.get(f"{by}_id"), 30), str(said.get(f"{by}_name") or ""), "")


def _short(value: object, most: int) -> str:
    """Return the text, of which the ledger takes so many characters. Raises ValueError if it does not."""
    text = str(value or "")
    if len(text) > most or text != clean(text):
        raise ValueError
    return text


def _fitted(text: str, most: int) -> str:
    """Return the text, cut to so many bytes of JSON."""
    while len(json.dumps(text)) > most:
        text = text[:-1]
    return text
