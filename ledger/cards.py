"""What there is to show: cards that have to be posted or updated, and notes that have to be sent."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import and_, bindparam, func, select, update

from ledger.changes import MANY_FAILURES, ROWS, Changes, addressed, fresh, redraw, unchanged
from ledger.rows import Row, row_of
from ledger.states import OPEN, State
from ledger.tables import LEASE, MOVED_CHANNELS, NOTES, REQUESTS
from ledger.trail import DIRECT, REMINDER, Note, log_event

# Made once: to make a statement costs SQLAlchemy more than to run it.
WITHOUT_CARD = (
    ROWS.where(REQUESTS.c.show_at.is_not(None), REQUESTS.c.card_ts == "")
    .order_by(REQUESTS.c.received_at, REQUESTS.c.id)
    .limit(1)
)
WITHOUT_CARD_DUE = WITHOUT_CARD.where(REQUESTS.c.show_at <= bindparam("now"))
UPDATE_DUE = (
    ROWS.where(REQUESTS.c.show_at <= bindparam("now"), REQUESTS.c.card_ts != "")
    .order_by(REQUESTS.c.card_state == REQUESTS.c.state, REQUESTS.c.show_at)
    .limit(1)
)
OPEN_CARDS = and_(REQUESTS.c.state.in_(OPEN), REQUESTS.c.card_ts != "")
NEXT_OPEN = ROWS.where(OPEN_CARDS, REQUESTS.c.card_ts > bindparam("ts")).order_by(REQUESTS.c.card_ts).limit(1)
NOTE_DUE = NOTES.select().where(NOTES.c.send_at <= bindparam("now")).limit(1)
REPLY_DUE = NOTE_DUE.where(NOTES.c.kind.not_in(DIRECT)).order_by(NOTES.c.kind == REMINDER, NOTES.c.number)
DIRECT_DUE = NOTE_DUE.where(NOTES.c.kind.in_(DIRECT)).order_by(NOTES.c.number)


class Cards(Changes):
    """Used by the loop that writes to Slack."""

    # What is due

    def next_update(self, now: float) -> Row | None:
        """Return the card that has waited longest to be brought up to date; a change of state goes first."""
        return self._first(UPDATE_DUE, {"now": now})

    def next_post(self, now: float, *, in_doubt: bool = True) -> Row | None:
        """Return the oldest request without a card. A few failures of that one do not change the order.

        `in_doubt` says whether it may be one whose posting is in doubt.
        """
        first, due = WITHOUT_CARD, WITHOUT_CARD_DUE
        if not in_doubt:
            first, due = (each.where(REQUESTS.c.posting_at.is_(None)) for each in (first, due))
        row = self._first(first, {})
        if row and (row.show_at or 0.0) > now and row.show_failures >= MANY_FAILURES:
            row = self._first(due, {"now": now})
        return row if row and (row.show_at or 0.0) <= now else None

    def next_open(self, ts: str) -> tuple[Row | None, int]:
        """Return the next newer open card after this ts, or else the oldest, and how many there are."""
        row = self._first(NEXT_OPEN, {"ts": ts}) or self._first(NEXT_OPEN, {"ts": ""})
        with self._database.read() as db:
            return row, db.scalar(select(func.count()).select_from(REQUESTS).where(OPEN_CARDS)) or 0

    def next_reply(self, now: float) -> Note | None:
        """Return the oldest note for a thread that is due, reminders last."""
        return self._first_note(REPLY_DUE, now)

    def next_direct(self, now: float, not_to: Collection[str]) -> Note | None:
        """Return the oldest note for a direct message that is due, but not one to these people."""
        return self._first_note(DIRECT_DUE.where(NOTES.c.person_id.not_in(not_to)), now)

    def _first_note(self, query: Any, now: float) -> Note | None:
        with self._database.read() as db:
            found = db.execute(query, {"now": now}).one_or_none()
            if found is None:
                return None
            return Note(
                found.number, found.request_id, found.kind, found.person_id, found.detail, found.failures
            )

    def _first(self, query: Any, parameters: dict[str, Any]) -> Row | None:
        with self._database.read() as db:
            found = db.execute(query, parameters).one_or_none()
            return None if found is None else row_of(found)

    # Posting a card

    def posting(self, row: Row, channel: str, at: float) -> bool:
        """Commit that the card is about to be posted, with what is known of the customer's company.

        `at` is the time by Slack's clock. Return whether it may be posted: the row was unchanged and had no
        card until then.
        """
        posting = update(REQUESTS).where(unchanged(row), REQUESTS.c.card_ts == "")
        values = {"channel": channel, "posting_at": at, "company": row.company}
        return self._database.update(posting.values(**values), wakes=False)

    def posted(self, row: Row, channel: str, ts: str) -> None:
        """Keep that the card is there. It is up to date unless the row has changed since it was drawn."""
        with self._database.write() as db:
            values = {"channel": channel, "card_ts": ts, "posting_at": None, "show_failures": 0}
            db.execute(update(REQUESTS).where(_round_of(row)).values(**values, card_state=row.state))
            db.execute(update(REQUESTS).where(_as_drawn(row)).values(show_at=None))

    def not_posted(self, row: Row) -> None:
        """Keep that there is certainly no card."""
        self._database.update(update(REQUESTS).where(_round_of(row)).values(posting_at=None), wakes=False)

    def found_card(self, row: Row, channel: str, ts: str) -> None:
        """Keep that a card whose posting was in doubt is there. It is drawn again: it may be an older one."""
        values = {"channel": channel, "card_ts": ts, "posting_at": None, "show_failures": 0}
        self._database.update(
            update(REQUESTS).where(_round_of(row), REQUESTS.c.card_ts == "").values(**values)
        )

    # Keeping it up to date

    def redraw(self, request_id: str, now: float) -> None:
        """Let the card be drawn again, unless it is the only record of its decision."""
        drawable = and_(REQUESTS.c.id == request_id, REQUESTS.c.state != State.CLOSED)
        self._database.update(update(REQUESTS).where(drawable).values(**redraw(now)))

    def shown(self, row: Row, again_at: float | None = None) -> None:
        """Keep that the card is up to date, unless the row has changed since it was drawn.

        With `again_at` the card has to be drawn once more at that time.
        """
        values = {"show_at": again_at, "show_failures": 0}
        with self._database.write(wakes=False) as db:
            db.execute(update(REQUESTS).where(_round_of(row)).values(card_state=row.state))
            db.execute(update(REQUESTS).where(_as_drawn(row)).values(**values))

    def show_later(self, row: Row, until: float, *, failed: bool, posting_at: float | None = None) -> None:
        """Let the card be drawn at a later time; `failed` says that Slack does not take this very card."""
        values: dict[str, Any] = {"show_at": until}
        if failed:
            values["show_failures"] = REQUESTS.c.show_failures + 1
        if posting_at is not None:
            values["posting_at"] = posting_at
        drawable = and_(_round_of(row), REQUESTS.c.state != State.CLOSED)
        self._database.update(update(REQUESTS).where(drawable).values(**values), wakes=False)

    def refused(self, row: Row, until: float) -> None:
        """Let a shorter card be drawn at this time, since Slack does not take this one."""
        values = {"show_at": until, "show_failures": REQUESTS.c.show_failures + 1}
        with self._database.write(wakes=False) as db:
            db.execute(update(REQUESTS).where(_as_drawn(row)).values(refusals=row.refusals + 1, **values))

    def lost_card(self, row: Row, now: float) -> None:
        """Let another card be posted, since this one was deleted or is out of reach."""
        values = {"card_ts": "", "posting_at": None, "card_state": "", **redraw(now)}
        lost = and_(_round_of(row), REQUESTS.c.card_ts == row.card_ts, REQUESTS.c.state != State.CLOSED)
        self._database.update(update(REQUESTS).where(lost).values(**values))

    # Notes

    def note_sent(self, note: Note) -> None:
        self._database.update(NOTES.delete().where(NOTES.c.number == note.number), wakes=False)

    def note_later(self, note: Note, until: float, *, failed: bool) -> None:
        """Send the note at a later time; `failed` says that it was sent in vain."""
        later = update(NOTES).where(NOTES.c.number == note.number)
        failures = NOTES.c.failures + int(failed)
        self._database.update(later.values(send_at=until, failures=failures), wakes=False)

    def untold(self, note: Note) -> None:
        """Give up the note, which could be said nowhere in Slack."""
        with self._database.write(wakes=False) as db:
            if db.execute(NOTES.delete().where(NOTES.c.number == note.number)).rowcount:
                db.execute(update(LEASE).values(untold_at=self._time_of_day()))

    def tell_outage(self, note: Note, now: float) -> None:
        """Let the message about this outage be posted, unless the outage ended meanwhile."""
        with self._database.write() as db:
            if db.execute(NOTES.delete().where(NOTES.c.number == note.number)).rowcount:
                began = {"received_at": float(note.detail), "state": State.OUTAGE}
                values = {**fresh(note.request_id, now), **addressed(""), **began}
                db.execute(REQUESTS.insert().values(values))

    # Channels whose id has changed

    def moved_channels(self) -> dict[str, str]:
        """Return the present ids of channels, by their former ones."""
        with self._database.read() as db:
            return {row.former: row.current for row in db.execute(MOVED_CHANNELS.select())}

    def move_channels(self, moved: Mapping[str, str]) -> None:
        """Keep these present ids of channels, by their former ones, also for the cards that are there."""
        new = moved.items() - self.moved_channels().items()
        if not new:
            return
        with self._database.write() as db:
            for former, current in new:
                is_known = MOVED_CHANNELS.c.former == former
                db.execute(
                    self._database.insert_if_absent(MOVED_CHANNELS), {"former": former, "current": current}
                )
                db.execute(update(MOVED_CHANNELS).where(is_known).values(current=current))
                db.execute(update(REQUESTS).where(REQUESTS.c.channel == former).values(channel=current))

    # After a lost ledger

    def adopt(self, rows: Iterable[Mapping[str, Any]], now: float) -> None:
        """Begin with these requests, each as its card in the channel has it."""
        with self._database.write() as db:
            for values in rows:
                db.execute(self._database.insert_if_absent(REQUESTS), dict(values))
                event = f"adopted as {values['state']}"[:30]
                log_event(db, self._time_of_day(), event, values["id"], values["round"])
            db.execute(update(LEASE).values(adopted_at=now))


def _round_of(row: Row) -> Any:
    return and_(REQUESTS.c.id == row.id, REQUESTS.c.round == row.round)


def _as_drawn(row: Row) -> Any:
    return and_(_round_of(row), REQUESTS.c.revision == row.revision)
