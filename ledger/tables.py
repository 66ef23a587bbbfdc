"""The tables of the ledger. A change of them comes with a new revision in `migrations/versions`."""

from sqlalchemy import JSON, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator

from text import clean


class CleanText(TypeDecorator[str]):
    """Text that every database takes."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: object) -> str | None:
        return None if value is None else clean(value)


METADATA = MetaData()

REQUESTS = Table(
    "requests",
    METADATA,
    Column("id", CleanText, primary_key=True),
    # Counts how often the customer has asked; each round has a card and a decision of its own.
    Column("round", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("email", CleanText, nullable=False),
    Column("message", CleanText, nullable=False),
    Column("dataroom_id", CleanText, nullable=False),
    Column("link", CleanText, nullable=False),
    # Where the customer is in the CRM, as the request itself says; empty if it does not.
    Column("crm_link", CleanText, nullable=False, default=""),
    Column("received_at", Float, nullable=False),
    # When Conveyor last changed the request, by its own clock.
    Column("updated_at", Float),
    # What Conveyor last said about a request that waits; empty if it did not.
    Column("status", CleanText, nullable=False, default=""),
    # How the round before this one ended (rows.Past); null in the first.
    Column("previous", JSON(none_as_null=True)),
    # What finds a company's other requests: the address and its domain, as they are compared.
    Column("address", CleanText, nullable=False, index=True),
    Column("domain", CleanText, nullable=False, index=True),
    # What was known of the customer's company when the card was posted; null before that.
    Column("company", JSON(none_as_null=True)),
    # What the weekly message says (numbers.Numbers); null in a request.
    Column("numbers", JSON(none_as_null=True)),
    # The names that end in `_since`, and those of what is due (`show_at`, `decide_at`, `send_at`, `read_at`,
    # `reminded_at`), are times of the ledger's own clock. The others are times of day.
    Column("waiting_since", Float),
    Column("reminded_at", Float),
    Column("reminders", Integer, nullable=False, default=0),
    # The time of day at which it began to wait or was last reminded of, where the app knows it: working hours
    # are counted from it.
    Column("counted_from", Float),
    # The card. `revision` counts what there was to show; `show_at` is when it has to be drawn, null when it
    # is up to date; `posting_at` is when it was about to be posted, by Slack's clock, null when there is
    # no doubt about that.
    Column("channel", String(30), nullable=False, default=""),
    Column("card_ts", String(30), nullable=False, default=""),
    Column("posting_at", Float),
    # The state that the card shows: that of the last picture which Slack took; empty where nobody knows.
    Column("card_state", String(20), nullable=False, default=""),
    Column("revision", Integer, nullable=False, default=1),
    Column("show_at", Float, index=True),
    Column("show_failures", Integer, nullable=False, default=0),
    # How often Slack refused the card in this revision; until there is another, a shorter one is shown.
    Column("refusals", Integer, nullable=False, default=0, index=True),
    # The decision. `decide_at` is when its next step is due, null when there is none.
    Column("reviewer_id", String(30), nullable=False, default=""),
    Column("reviewer_name", CleanText, nullable=False, default=""),
    Column("reviewer_email", CleanText, nullable=False, default=""),
    # Ids and names of the groups that were chosen, or granted once it is approved; null where nobody knows.
    Column("groups", JSON(none_as_null=True)),
    Column("nda_bypass", Boolean, nullable=False, default=False),
    Column("expires_at", String(10), nullable=False, default=""),
    # What Conveyor said of the access that it gave: its id, its status, and its last day (empty for none,
    # null if Conveyor did not say). The two columns above are what was asked for.
    Column("authorization_id", CleanText, nullable=False, default=""),
    Column("access_status", CleanText, nullable=False, default=""),
    Column("access_ends", String(10)),
    # When Conveyor was first seen to say that the NDA is signed; null if it was not, or never had to be.
    Column("signed_at", Float),
    Column("reason", CleanText, nullable=False, default=""),
    # Why its access was revoked. `reason` is why it was rejected, or the note that came with the approval.
    Column("revoke_reason", CleanText, nullable=False, default=""),
    Column("revoker_id", String(30), nullable=False, default=""),
    Column("revoker_name", CleanText, nullable=False, default=""),
    Column("revoker_email", CleanText, nullable=False, default=""),
    Column("revoked_at", Float),
    # A second thought while it is carried out: who has it, and the groups that were chosen; the groups that
    # they saw as granted, or the note to an approval after all. Empty and null at any other time.
    Column("changer_id", String(30), nullable=False, default=""),
    Column("changer_name", CleanText, nullable=False, default=""),
    Column("changer_email", CleanText, nullable=False, default=""),
    Column("wanted", JSON(none_as_null=True)),
    Column("basis", JSON(none_as_null=True)),
    Column("note", CleanText, nullable=False, default=""),
    # The last change of the groups (rows.Past): who made it and when, and which groups it replaced.
    Column("changed", JSON(none_as_null=True)),
    # How it had been rejected (rows.Past) before it was approved after all.
    Column("rejection", JSON(none_as_null=True)),
    Column("claimed_at", Float),
    Column("claimed_since", Float),
    # When the last write was about to be sent, and since when reads have said that it did not take effect.
    Column("sent_at", Float),
    Column("open_since", Float),
    # Conveyor's words when it refused a write although an earlier one may have landed; null if it did not.
    Column("refusal", CleanText),
    Column("settled_at", Float),
    Column("settled_since", Float),
    Column("decide_at", Float, index=True),
    Column("decide_failures", Integer, nullable=False, default=0),
    # Why the decision is not carried out yet: empty, "unavailable", "key" or "unconfirmed".
    Column("problem", String(30), nullable=False, default=""),
    # Whether the reviewer was told that Conveyor has not confirmed the decision for long.
    Column("told_late", Boolean, nullable=False, default=False),
    # Whether the ledger that knew this decision was lost: it was read back from its card.
    Column("adopted", Boolean, nullable=False, default=False),
    # What reading the request itself said while it was missing from the queue.
    Column("read_at", Float),
    Column("not_found", Integer, nullable=False, default=0),
)

TRAIL = Table(
    "trail",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("event", String(30), nullable=False),
    Column("request_id", CleanText, nullable=False, index=True),
    Column("round", Integer, nullable=False),
    Column("person_id", CleanText, nullable=False),
    Column("person_email", CleanText, nullable=False),
    Column("detail", CleanText, nullable=False),
    Column("trigger_id", CleanText, unique=True),
    # For how many seconds the customer had waited; null in lines that do not say how it ended first.
    Column("waited", Float),
)

NOTES = Table(
    "notes",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("request_id", CleanText, nullable=False),
    Column("kind", String(30), nullable=False),
    Column("person_id", String(30), nullable=False),
    Column("detail", CleanText, nullable=False),
    Column("send_at", Float, nullable=False),
    Column("failures", Integer, nullable=False, default=0),
)

# Who wants to be told when a request is decided.
WATCHERS = Table(
    "watchers",
    METADATA,
    Column("request_id", CleanText, primary_key=True),
    Column("person_id", String(30), primary_key=True),
    Column("at", Float, nullable=False),
)

# Who wants to be told when the customer, once let in, opens a document. The connection, in which Conveyor
# lists that, is empty until it is known.
FOLLOWERS = Table(
    "followers",
    METADATA,
    Column("request_id", CleanText, primary_key=True),
    Column("person_id", String(30), primary_key=True),
    Column("at", Float, nullable=False),
    Column("connection_id", CleanText, nullable=False, default=""),
)

ACCESS_GROUPS = Table(
    "access_groups",
    METADATA,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("id", CleanText, nullable=False),
    Column("name", CleanText, nullable=False),
    Column("dataroom_id", CleanText, nullable=False),
)

# The names of all groups that were ever listed: people may have chosen one that is not offered anymore.
GROUP_NAMES = Table(
    "group_names",
    METADATA,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
)

# Who is in the user groups that REVIEWERS names, and when Slack was asked, by the database's clock.
USER_GROUPS = Table(
    "user_groups",
    METADATA,
    Column("id", CleanText, primary_key=True),
    Column("members", JSON, nullable=False),
    Column("read_at", Float, nullable=False),
)

# Channels whose id has changed, by the id that they had before.
MOVED_CHANNELS = Table(
    "moved_channels",
    METADATA,
    Column("former", String(30), primary_key=True),
    Column("current", String(30), nullable=False),
)

# One row: which process works, and what every process has to know about its polls and about the channel.
LEASE = Table(
    "lease",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(80), nullable=False),
    # Counts the renewals: an owner whose heartbeat stands still is gone.
    Column("heartbeat", Integer, nullable=False, default=0),
    # The ledger's own clock (see clock.py) at the last heartbeat.
    Column("clock", Float, nullable=False),
    Column("adopted_at", Float),
    # When the last complete poll ended, and what kept the last one from being complete; empty if nothing did.
    Column("polled_at", Float),
    # When a poll last ended, or went on to another page, by the ledger's clock.
    Column("polled_since", Float),
    Column("poll_problem", Text, nullable=False, default=""),
    # What the operator should know of the last complete poll all the same; empty if there is nothing.
    Column("poll_note", CleanText, nullable=False, default=""),
    # When words to a person could last be said nowhere in Slack.
    Column("untold_at", Float),
    # What keeps it from posting or reading cards, a line each, and how many messages of the channel it has
    # read back so far; 0 while it does not.
    Column("channel_problems", Text, nullable=False, default=""),
    Column("messages_read", Integer, nullable=False, default=0),
    # Whether somebody wants a poll before it is due.
    Column("poll_wanted", Boolean, nullable=False, default=False),
    # The setting WEEKLY of the process that works, and since when it has been that.
    Column("weekly", String(80), nullable=False, default=""),
    Column("weekly_since", Float),
)

Index("requests_by_card", REQUESTS.c.card_ts)
# Every card that is posted is compared with all customers' domains.
Index("requests_by_state", REQUESTS.c.state, REQUESTS.c.domain)
