"""The slash command: where does each request stand? And: tell me when it is decided."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slack_bolt import App

import blocks
from conveyor_client import ConveyorClient, ConveyorError
from ledger.ledger import Ledger
from ledger.rows import Row
from ledger.states import SETTLED, State
from listeners.answers import Answers
from listeners.payloads import Sorry, list_at, text_at, user_of
from workspace.block_kit import Message
from workspace.channel import Channel, ChannelError

log = logging.getLogger(__name__)

CONVEYOR_SECONDS = 2.0  # for all that is asked of Conveyor for one answer
WATCHED_MOST = 20
ADDRESS = re.compile(r"([^@\s,;]+@[^@\s,;]+)")
# Also as it stands in a browser: https://www.acme.com/about
DOMAIN = re.compile(
    r"<?(?:https?://)?(?:www\.|@)?([^@\s,;:/<>]+\.[^@\s,;:/<>.]+)\.?(?:[:/][^\s,;<>]*)?>?", re.I
)


class Rooms:
    """Answers members of the channel that holds the cards, whoever they are in Conveyor."""

    def __init__(
        self,
        ledger: Ledger,
        channel: Channel,
        conveyor: ConveyorClient,
        answers: Answers,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._memory = ledger.memory
        self._channel = channel
        self._conveyor = conveyor
        self._answers = answers
        self._clock = clock

    def register(self, bolt: App) -> None:
        # Whatever the command is called in the manifest.
        bolt.command(re.compile("^/"))(self._answers.on_question(self.answer))
        bolt.action(blocks.TELL_ME)(self._answers.on_question(self.watch))
        bolt.action(blocks.STOP_TELLING)(self._answers.on_question(self.unwatch))

    def answer(self, body: Mapping[str, Any]) -> Message:
        self._member(body)
        # Slack may have turned what was typed into a link: <mailto:jane@acme.com|jane@acme.com>.
        typed = re.sub(r"<[^<>|]*\|([^<>|]*)>", r"\1", text_at(body, "text")).strip()
        now = self._clock()
        if not typed:
            rows, total = self._memory.waiting(blocks.WAITING_MOST)
            return blocks.waiting_answer(rows, total, now, self._permalink)
        if typed.casefold() == "watching":
            rows, total = self._memory.watched_by(user_of(body), WATCHED_MOST)
            return blocks.watching_answer(rows, total, self._permalink)
        if asked := ADDRESS.fullmatch(typed) or DOMAIN.fullmatch(typed):
            who = asked[1]
            rows, total = self._memory.asked(who, blocks.ROOMS_MOST)
            return blocks.rooms_answer(who, rows, total, self._standings(who, rows), now, self._permalink)
        unknown = "" if typed.casefold() == "help" else typed
        return blocks.rooms_help(text_at(body, "command"), unknown)

    def watch(self, body: Mapping[str, Any]) -> str | None:
        person_id = self._member(body)
        row = self._clicked(body)
        ended = row.state in SETTLED
        if not self._is_new(row, body, "too late to watch" if ended else "watching"):
            return None
        if ended:
            return blocks.already_ended(row)
        new = self._memory.watch(row.id, person_id, self._clock())
        # It may have been decided in between, when nobody was told of it.
        after = self._memory.find(row.id)
        if after and after.state in SETTLED and self._memory.unwatch(row.id, person_id):
            return blocks.already_ended(after)
        return blocks.watched(row, new=new)

    def unwatch(self, body: Mapping[str, Any]) -> str | None:
        person_id = self._member(body)
        row = self._clicked(body)
        if not self._is_new(row, body, "not watching"):
            return None
        self._memory.unwatch(row.id, person_id)
        self._memory.forget_outcome(row.id, person_id)  # if it has just been decided
        return blocks.UNWATCHED

    def _is_new(self, row: Row, body: Mapping[str, Any], event: str) -> bool:
        """Whether this is no copy of a click; if so, it is in the trail now."""
        trigger_id = text_at(body, "trigger_id")
        return bool(trigger_id) and self._ledger.decisions.record_click(
            event, row.id, user_of(body), trigger_id, self._clock()
        )

    def _member(self, body: Mapping[str, Any]) -> str:
        """Who asks, if they can see the cards: the answers contain internal reasons."""
        if self._channel.identity is None:
            raise Sorry(blocks.STILL_STARTING, "starting")
        try:
            members = self._channel.members()
        except ChannelError as error:
            log.warning("members=unknown cause=%r", str(error))
            raise Sorry(blocks.MEMBERS_UNKNOWN, "members unknown") from error
        if user_of(body) not in members:
            raise Sorry(blocks.NOT_IN_CHANNEL, "not in the channel")
        return user_of(body)

    def _clicked(self, body: Mapping[str, Any]) -> Row:
        actions = list_at(body, "actions")
        row = self._memory.find(text_at(actions[0], "value")) if actions else None
        if row is None:
            raise Sorry(blocks.NOT_ASKED, "unknown request")
        return row

    def _permalink(self, row: Row) -> str:
        identity = self._channel.identity
        return identity.permalink(row.channel, row.card_ts) if identity else ""

    def _standings(self, who: str, rows: Sequence[Row]) -> dict[str, str | None]:
        """Conveyor's word for what each customer can see now; None where it could not be had in time.

        It is asked about those who may have got access, and about an address that nobody asked under here.
        """
        places = [
            (row.email, row.dataroom_id)
            for row in rows
            if row.state in (State.APPROVED, State.REVOKED, State.APPROVED_ELSEWHERE) or row.previous
        ]
        if not rows and "@" in who:
            places = [(who, "")]
        found: dict[str, str | None] = dict.fromkeys((email for email, _ in places), None)

        conveyor = self._conveyor.within(CONVEYOR_SECONDS)
        try:
            for email, room in places:
                if found[email] is None:
                    found[email] = _standing(conveyor, email, room)
        except ConveyorError as error:
            log.warning("standing=unknown cause=%r", str(error))
        return found


def _standing(conveyor: ConveyorClient, email: str, room: str) -> str:
    """What counts is access that there still is, however many others were taken back."""
    statuses = [granted.status for granted in conveyor.authorizations(email) if granted.is_in(room)]
    return next((status for status in statuses if status != "revoked"), statuses[0] if statuses else "")
