"""Answers the message shortcut: where is the customer whom this message names?

People use it in threads, where Slack offers no slash commands. The message may be from anybody.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slack_bolt import App

import addresses
import blocks
from ledger.ledger import Ledger
from ledger.memory import PERSONAL_DOMAINS
from listeners.answers import Answers
from listeners.customers import Customers
from listeners.members import Members
from listeners.payloads import mapping_at, text_at
from listeners.questions import readings, unescaped
from text import clean
from workspace.block_kit import Message
from workspace.channel import Channel

# Only so much of a message is read, and only so many customers are looked for: both cost time.
TEXT_CHARS = 20_000
PARTS_MOST = 2_000
NAMED_MOST = 20
WORD_CHARS = 400
# Where people may write, or Slack may put, the name of a customer in a message.
KEYS = ("text", "url", "fallback", "pretext", "plain_text", "address")
BETWEEN = re.compile(r"[\s,;|()<>\[\]{}\"“”]+")
LINK = re.compile("https?://", re.I)


@dataclass(frozen=True)
class Named:
    """A customer whom a message names, in each way in which the name can be read.

    An address and a link are `certain`. What looks like a domain in prose may be the name of a file.
    """

    readings: Sequence[str]
    certain: bool


@dataclass(frozen=True)
class Shortcut:
    """Answers as the slash command does, to the same people."""

    _ledger: Ledger
    _channel: Channel
    _members: Members
    _customers: Customers
    _answers: Answers

    def register(self, bolt: App) -> None:
        bolt.message_shortcut(blocks.WHERE_IS)(self._answers.on_question(self.answer))

    def answer(self, body: Mapping[str, Any]) -> Message | str:
        self._members.check(body)
        message = mapping_at(body, "message")
        channel_id = text_at(body, "channel", "id")
        if on_card := self._on_card(channel_id, text_at(message, "ts")):
            return self._customers.about([on_card])
        named = customers_in(message)
        known = list(dict.fromkeys(filter(None, (self._customers.known(each.readings) for each in named))))
        if known:
            return self._customers.offered(known, blocks.MORE_IN_MESSAGE)
        certain = [each for each in named if each.certain]
        if len(certain) == 1:
            return self._customers.about(certain[0].readings)
        if certain:
            return blocks.NO_KNOWN_CUSTOMER
        if on_card := self._on_card(channel_id, text_at(message, "thread_ts")):
            return self._customers.about([on_card])
        return blocks.NO_CUSTOMER

    def _on_card(self, channel_id: str, ts: str) -> str:
        """Return the address on this card; empty if the message is no card, or an old one."""
        row = self._ledger.decisions.find_by_card(self._channel.ids_of(channel_id), ts) if ts else None
        return row.email if row else ""


def customers_in(message: Mapping[str, Any]) -> list[Named]:
    """Return the customers whom a message names, people before companies.

    A company is left out if one of its people is named: it is part of their address.
    """
    found: dict[str, Named] = {}
    for word in _words(message):
        if len(found) >= NAMED_MOST:
            break
        if spellings := readings(word) if "." in word and len(word) <= WORD_CHARS else []:
            who = spellings[-1]
            is_link = LINK.match(word) is not None
            before = found.get(addresses.folded(who))
            certain = "@" in who or is_link or (before is not None and before.certain)
            found[addresses.folded(who)] = Named(spellings, certain)
    people = {who: named for who, named in found.items() if "@" in who}
    theirs = {addresses.domain(who) for who in people} | PERSONAL_DOMAINS
    companies = [
        named for who, named in found.items() if "@" not in who and addresses.domain_folded(who) not in theirs
    ]
    return [*people.values(), *companies]


def _words(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the words of a message, among them the targets of its links."""
    left = TEXT_CHARS
    for text in _texts(message):
        yield from BETWEEN.split(unescaped(clean(text[:left])))
        left -= len(text)
        if left <= 0:
            return


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield every text in a message, its blocks, its attachments and its files."""
    parts: list[Any] = [message]
    for _ in range(PARTS_MOST):
        if not parts:
            return
        part = parts.pop()
        if isinstance(part, list):
            parts += reversed(part[:PARTS_MOST])
        elif isinstance(part, Mapping):
            yield from (part[key] for key in KEYS if isinstance(part.get(key), str))
            parts += [
                part[key] for key in ("files", "attachments", "blocks", "from", "fields") if key in part
            ]
            parts += [part[key] for key in ("elements", "text") if isinstance(part.get(key), (list, dict))]
