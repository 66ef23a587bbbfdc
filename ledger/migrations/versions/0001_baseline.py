"""The tables of version 1.0.0, and the triggers that let the audit trail only grow."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# SQLite's REPLACE removes the lines in its way without firing a trigger for that, so an INSERT that meets a
# line is refused before it begins. The error is an IntegrityError, like that of the unique trigger_id when a
# click is repeated. There SQLite gives -1 as the number that it has yet to choose, so no line may really have
# such a number.
SQLITE_TRIGGERS = {
    "update": "BEFORE UPDATE ON trail",
    "delete": "BEFORE DELETE ON trail",
    "replace": "BEFORE INSERT ON trail WHEN EXISTS "
    "(SELECT 1 FROM trail WHERE number = NEW.number OR trigger_id = NEW.trigger_id)",
    "number_below_1": "AFTER INSERT ON trail WHEN NEW.number < 1",
}
POSTGRESQL_TRIGGER = """
CREATE FUNCTION trail_can_only_grow() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the trail can only grow'; END $$;
CREATE TRIGGER trail_can_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON trail
FOR EACH STATEMENT EXECUTE FUNCTION trail_can_only_grow();
"""


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("dataroom_id", sa.Text, nullable=False),
        sa.Column("link", sa.Text, nullable=False),
        sa.Column("crm_link", sa.Text, nullable=False),
        sa.Column("received_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("previous", sa.JSON),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("domain", sa.Text, nullable=False),
        sa.Column("company", sa.JSON),
        sa.Column("numbers", sa.JSON),
        sa.Column("waiting_since", sa.Float),
        sa.Column("reminded_at", sa.Float),
        sa.Column("reminders", sa.Integer, nullable=False),
        sa.Column("counted_from", sa.Float),
        sa.Column("channel", sa.String(30), nullable=False),
        sa.Column("card_ts", sa.String(30), nullable=False),
        sa.Column("posting_at", sa.Float),
        sa.Column("card_state", sa.String(20), nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("show_at", sa.Float),
        sa.Column("show_failures", sa.Integer, nullable=False),
        sa.Column("refusals", sa.Integer, nullable=False),
        sa.Column("reviewer_id", sa.String(30), nullable=False),
        sa.Column("reviewer_name", sa.Text, nullable=False),
        sa.Column("reviewer_email", sa.Text, nullable=False),
        sa.Column("groups", sa.JSON),
        sa.Column("nda_bypass", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.String(10), nullable=False),
        sa.Column("authorization_id", sa.Text, nullable=False),
        sa.Column("access_status", sa.Text, nullable=False),
        sa.Column("access_ends", sa.String(10)),
        sa.Column("signed_at", sa.Float),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("revoke_reason", sa.Text, nullable=False),
        sa.Column("revoker_id", sa.String(30), nullable=False),
        sa.Column("revoker_name", sa.Text, nullable=False),
        sa.Column("revoker_email", sa.Text, nullable=False),
        sa.Column("revoked_at", sa.Float),
        sa.Column("changer_id", sa.String(30), nullable=False),
        sa.Column("changer_name", sa.Text, nullable=False),
        sa.Column("changer_email", sa.Text, nullable=False),
        sa.Column("wanted", sa.JSON),
        sa.Column("basis", sa.JSON),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("changed", sa.JSON),
        sa.Column("rejection", sa.JSON),
        sa.Column("claimed_at", sa.Float),
        sa.Column("claimed_since", sa.Float),
        sa.Column("sent_at", sa.Float),
        sa.Column("open_since", sa.Float),
        sa.Column("refusal", sa.Text),
        sa.Column("settled_at", sa.Float),
        sa.Column("settled_since", sa.Float),
        sa.Column("decide_at", sa.Float),
        sa.Column("decide_failures", sa.Integer, nullable=False),
        sa.Column("problem", sa.String(30), nullable=False),
        sa.Column("told_late", sa.Boolean, nullable=False),
        sa.Column("adopted", sa.Boolean, nullable=False),
        sa.Column("read_at", sa.Float),
        sa.Column("not_found", sa.Integer, nullable=False),
    )
    op.create_table(
        "trail",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("event", sa.String(30), nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("person_id", sa.Text, nullable=False),
        sa.Column("person_email", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("trigger_id", sa.Text, unique=True),
        sa.Column("waited", sa.Float),
    )
    op.create_table(
        "notes",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("person_id", sa.String(30), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("send_at", sa.Float, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
    )
    op.create_table(
        "watchers",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("person_id", sa.String(30), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
    )
    op.create_table(
        "followers",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("person_id", sa.String(30), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("connection_id", sa.Text, nullable=False),
    )
    op.create_table(
        "access_groups",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("dataroom_id", sa.Text, nullable=False),
    )
    op.create_table(
        "group_names",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
    )
    op.create_table(
        "user_groups",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("members", sa.JSON, nullable=False),
        sa.Column("read_at", sa.Float, nullable=False),
    )
    op.create_table(
        "moved_channels",
        sa.Column("former", sa.String(30), primary_key=True),
        sa.Column("current", sa.String(30), nullable=False),
    )
    op.create_table(
        "lease",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("owner", sa.String(80), nullable=False),
        sa.Column("heartbeat", sa.Integer, nullable=False),
        sa.Column("clock", sa.Float, nullable=False),
        sa.Column("adopted_at", sa.Float),
        sa.Column("polled_at", sa.Float),
        sa.Column("polled_since", sa.Float),
        sa.Column("poll_problem", sa.Text, nullable=False),
        sa.Column("poll_note", sa.Text, nullable=False),
        sa.Column("untold_at", sa.Float),
        sa.Column("channel_problems", sa.Text, nullable=False),
        sa.Column("messages_read", sa.Integer, nullable=False),
        sa.Column("poll_wanted", sa.Boolean, nullable=False),
        sa.Column("weekly", sa.String(80), nullable=False),
        sa.Column("weekly_since", sa.Float),
    )
    op.create_index("ix_requests_address", "requests", ["address"])
    op.create_index("ix_requests_domain", "requests", ["domain"])
    op.create_index("ix_requests_show_at", "requests", ["show_at"])
    op.create_index("ix_requests_refusals", "requests", ["refusals"])
    op.create_index("ix_requests_decide_at", "requests", ["decide_at"])
    op.create_index("ix_trail_request_id", "trail", ["request_id"])
    op.create_index("requests_by_card", "requests", ["card_ts"])
    op.create_index("requests_by_state", "requests", ["state", "domain"])
    lease = sa.text(
        "INSERT INTO lease (number, owner, heartbeat, clock, poll_problem, poll_note, channel_problems, "
        "messages_read, poll_wanted, weekly) VALUES (1, '', 0, :clock, '', '', '', 0, false, '')"
    )
    op.execute(lease.bindparams(clock=time.time()))
    if op.get_bind().dialect.name == "sqlite":
        for name, event in SQLITE_TRIGGERS.items():
            raised = "BEGIN SELECT RAISE(ABORT, 'the trail can only grow'); END"
            op.execute(f"CREATE TRIGGER trail_no_{name} {event} {raised}")
    else:
        op.execute(POSTGRESQL_TRIGGER)
