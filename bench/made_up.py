"""Made-up access requests, as Conveyor returns them and the ledger keeps them, and the clicks on their cards.

The same number always gives the same request, so that all sides agree on it.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Table, create_engine, update

import blocks
from conveyor_client import AccessGroup
from ledger.ledger import Ledger
from ledger.rows import Row
from ledger.states import State
from ledger.tables import ACCESS_GROUPS, LEASE, REQUESTS, TRAIL

CHANNEL, TEAM, ASKER = "C0BENCH", "T0BENCH", "U0ASKER"
BOT_TOKEN, API_KEY, SIGNING_SECRET = "xoxb-bench", "bench-key", "0123456789abcdef0123456789abcdef"
GROUPS = [AccessGroup(f"grp-{number}", f"Documents, part {number}", "room-1") for number in range(4)]
MESSAGE = "Hello, we are evaluating your product and would like to read your security documents. " * 3
BATCH = 5_000
STARTED = 1_700_000_000.0


def conveyor_request(number: int) -> dict[str, Any]:
    """Return an open request as Conveyor's API returns it."""
    return {
        "id": f"req-{number}",
        "_type": "AuthorizationRequest",
        "_links": {"self": {"href": f"https://app.conveyor.com/requests/req-{number}"}},
        "created_at": "2026-01-02T03:04:05.678Z",
        "updated_at": "2026-01-02T03:04:05.678Z",
        "requested_at": "2026-01-02T03:04:05.678Z",
        "dataroom_id": "room-1",
        "email": f"person{number}@customer{number % 5000}.com",
        "message": MESSAGE,
        "status": "requested",
        "crm_link": None,
    }


def row(number: int, state: str = State.PENDING) -> dict[str, Any]:
    """Return the same request as a row of the ledger, whose card is posted and up to date."""
    at = STARTED + number
    values: dict[str, Any] = {
        "id": f"req-{number}",
        "round": 1,
        "state": state,
        "email": f"person{number}@customer{number % 5000}.com",
        "message": MESSAGE,
        "dataroom_id": "room-1",
        "link": f"https://app.conveyor.com/requests/req-{number}",
        "address": f"person{number}@customer{number % 5000}.com",
        "domain": f"customer{number % 5000}.com",
        "waiting_since": at,
        "received_at": at,
        "channel": CHANNEL,
        "card_ts": f"{at:.0f}.{number:06d}",
        "show_at": None,
    }
    if state != State.PENDING:
        values |= {
            "reviewer_id": f"U0R{number % 20}",
            "reviewer_name": f"Reviewer {number % 20}",
            "reviewer_email": f"reviewer{number % 20}@example.com",
            "groups": [["grp-1", "Documents, part 1"]] if state == State.APPROVED else None,
            "reason": "They compete with us." if state == State.REJECTED else "",
            "claimed_at": at + 60,
            "sent_at": at + 61,
            "settled_at": at + 62,
        }
    return values


def fill(database_url: str, waiting: int, decided: int) -> None:
    """Make a ledger with `waiting` open requests from number 0 on, then `decided` decided ones."""
    ledger = Ledger(database_url)
    ledger.database.prepare()
    ledger.database.close()
    engine = create_engine(database_url)
    with engine.begin() as db:
        groups = [
            {"position": position, "id": group.id, "name": group.name, "dataroom_id": group.dataroom_id}
            for position, group in enumerate(GROUPS)
        ]
        db.execute(ACCESS_GROUPS.insert(), groups)
        db.execute(update(LEASE).values(adopted_at=STARTED))

        def insert(table: Table, rows: list[dict[str, Any]]) -> None:
            if rows:
                db.execute(table.insert(), rows)

        for start in range(0, waiting, BATCH):
            numbers = range(start, min(start + BATCH, waiting))
            insert(REQUESTS, [row(number) for number in numbers])
            insert(TRAIL, [_event(number, "asked") for number in numbers])
        for start in range(waiting, waiting + decided, BATCH):
            numbers = range(start, min(start + BATCH, waiting + decided))
            insert(
                REQUESTS, [row(number, (State.APPROVED, State.REJECTED)[number % 2]) for number in numbers]
            )
            insert(TRAIL, [_event(number, what) for number in numbers for what in _story(number)])
    engine.dispose()


def _story(number: int) -> Sequence[str]:
    return (
        ("asked", State.REJECTING, State.REJECTED)
        if number % 2
        else ("asked", State.APPROVING, State.APPROVED)
    )


def _event(number: int, what: str) -> dict[str, Any]:
    by = "" if what == "asked" else f"U0R{number % 20}"
    return {
        "at": STARTED + number,
        "event": what,
        "request_id": f"req-{number}",
        "round": 1,
        "person_id": by,
        "person_email": by and f"reviewer{number % 20}@example.com",
        "detail": "",
        "trigger_id": f"{number}.trigger" if what in (State.APPROVING, State.REJECTING) else None,
        "waited": number * 7919 % 1_000_003 if what in (State.APPROVED, State.REJECTED) else None,
    }


def click(number: int, user_id: str, response_url: str) -> bytes:
    """Return the HTTP request that Slack sends when this person approves, signed with the current time."""
    found_by = ("address", "domain")  # columns for searching, which a card does not need
    shown = Row(**{name: value for name, value in row(number).items() if name not in found_by})
    value = f"1 {shown.subject} req-{number}"
    message = blocks.card(shown, GROUPS)
    payload = {
        "type": "block_actions",
        "user": {"id": user_id, "username": "bench", "name": "bench", "team_id": TEAM},
        "team": {"id": TEAM, "domain": "bench"},
        "api_app_id": "A0BENCH",
        "token": "made-up",
        "trigger_id": f"{number}.{secrets.token_hex(16)}",
        "container": {"type": "message", "message_ts": shown.card_ts, "channel_id": CHANNEL},
        "channel": {"id": CHANNEL, "name": "requests"},
        "message": {"ts": shown.card_ts, "text": message["text"], "blocks": message["blocks"]},
        "state": {"values": {}},
        "response_url": response_url,
        "actions": [{"type": "button", "action_id": blocks.APPROVE, "value": value}],
    }
    return signed({"payload": json.dumps(payload)})


def signed(form: dict[str, str]) -> bytes:
    """Return an HTTP request from Slack with this form. Its signature is good for five minutes from now."""
    body = urlencode(form).encode()
    moment = int(time.time())
    text = b"v0:%d:%s" % (moment, body)
    digest = hmac.new(SIGNING_SECRET.encode(), text, hashlib.sha256).hexdigest()
    head = (
        "POST /slack/events HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        f"X-Slack-Request-Timestamp: {moment}\r\nX-Slack-Signature: v0={digest}\r\n\r\n"
    )
    return head.encode() + body
