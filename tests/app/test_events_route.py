"""Bad input to the one route that Slack calls is answered at once; nothing is done and nothing logged."""

import json
import time
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

import blocks
from sandbox.workspace import ANN, Message
from tests.support.steps import clickable, is_refusal, posted, request_of, writes
from tests.support.world import World, eventually


@pytest.fixture(scope="module")
def card(town: World) -> Message:
    """A card that no test here may change."""
    return posted(town)


def click(town: World, card: Message) -> bytes:
    """Return the body of a click as Slack sends it."""
    payload = town.slack.click_payload(ANN, card.ts, "approve")
    return urlencode({"payload": json.dumps(payload)}).encode()


def send(town: World, body: bytes, headers: dict[str, str]) -> int:
    """Send this to the route; return the status of the answer."""
    return requests.post(town.url + "/slack/events", data=body, headers=headers, timeout=5).status_code


def unchanged(town: World, card: Message) -> None:
    """Check that nothing was decided about this card."""
    assert writes(town, request_of(card)) == []
    assert town.ledger(f"SELECT state FROM requests WHERE card_ts = '{card.ts}'") == [("pending",)]


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: {},
        lambda headers: {**headers, "X-Slack-Signature": "v0=" + "0" * 64},
        lambda headers: {**headers, "X-Slack-Signature": ""},
        lambda headers: {**headers, "X-Slack-Signature": "v0=é".encode().decode("latin-1")},
        lambda headers: {**headers, "X-Slack-Request-Timestamp": ""},
        lambda headers: {**headers, "X-Slack-Request-Timestamp": "soon"},
        lambda headers: {**headers, "X-Slack-Request-Timestamp": "-1"},
        lambda headers: {**headers, "X-Slack-Request-Timestamp": "1e9"},
        lambda headers: {**headers, "X-Slack-Request-Timestamp": "9" * 400},
    ],
)
def test_a_bad_signature_is_refused(town: World, card: Message, change: object) -> None:
    body = click(town, card)
    assert callable(change)
    assert send(town, body, change(town.slack.sign(body))) == 401
    unchanged(town, card)


@pytest.mark.parametrize("age", [301, -330])
def test_an_old_or_future_timestamp_is_refused(town: World, card: Message, age: int) -> None:
    body = click(town, card)
    assert send(town, body, town.slack.sign(body, int(time.time()) - age)) == 401
    unchanged(town, card)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"payload=",
        b"payload={",
        b"payload=%FF",
        b"payload=[]",
        b"payload=7",
        b"payload=null",
        b"payload=" + b"[" * 100_000,
        b"\xff\xfe",
        b"&".join(b"a=%d" % number for number in range(2000)),
        b'{"type": "block_actions"}',
    ],
)
def test_a_signed_but_malformed_body_is_refused(town: World, body: bytes) -> None:
    assert send(town, body, town.slack.sign(body)) in (400, 404)


def test_a_huge_body_is_refused(town: World) -> None:
    body = b"payload=" + b"x" * 1_000_001
    assert send(town, body, town.slack.sign(body)) == 413
    assert send(town, body, {}) == 413


def test_a_click_from_another_workspace_is_refused(town: World, card: Message) -> None:
    payload = town.slack.click_payload(ANN, card.ts, "approve")
    payload["team"]["id"] = "T0OTHER"
    assert town.slack.send_payload(payload).status == 401
    unchanged(town, card)


ODD = [
    {"message": None},
    {"state": None},
    {"state": {"values": []}},
    {"state": {"values": {"groups-1-1": None}}},
    {"state": {"values": {"x": {"groups": {"selected_options": [None, 7, {"value": 7}]}}}}},
    {"user": None},
    {"user": "U0ANN"},
    {"user": {}},
    {"team": None},
    {"team": "T"},
    {"channel": None},
    {"container": None},
    {"actions": []},
    {"actions": None},
    {"actions": {}},
    {"actions": [None]},
    {"actions": [{}]},
    {"actions": [{"action_id": "unknown", "type": "button"}]},
    {"actions": [{"action_id": "approve", "type": "button", "value": None}]},
    {"actions": [{"action_id": "approve", "type": "button", "value": "1"}]},
    {"actions": [{"action_id": "approve", "type": "button", "value": "1 no-such-request"}]},
    {"actions": [{"action_id": "approve", "type": "button", "value": "99999999999999999999 r"}]},
    {"trigger_id": None},
    {"trigger_id": ""},
    {"response_url": None},
    {"response_url": "not an address"},
    {"type": "unknown"},
    {"type": None},
    {"type": "view_submission"},
    {"type": "view_submission", "view": {"callback_id": "reject_modal", "private_metadata": "{"}},
    {"type": "block_suggestion", "action_id": "groups", "value": None, "container": 7},
    {"authorizations": 7},
    {"is_enterprise_install": {}},
    {"enterprise": []},
]


@pytest.mark.parametrize("change", ODD, ids=json.dumps)
def test_a_signed_but_odd_payload_is_answered(town: World, change: dict[str, object]) -> None:
    card = posted(town)
    payload = {**town.slack.click_payload(ANN, card.ts, "approve"), **change}
    answer = town.slack.send_payload(payload)
    assert answer.status in (200, 400, 401, 404), answer
    assert "Traceback" not in town.log()


def test_a_window_with_metadata_of_nothing_decides_nothing(town: World, card: Message) -> None:
    town.slack.click(ANN, card.ts, "reject")
    view = town.slack.open_view(ANN)
    assert view
    good = json.loads(view.view["private_metadata"])
    kept: Any
    for kept in (
        {**good, "request": "no-such-request"},
        {**good, "round": "2"},
        {**good, "ts": "1.1"},
        {**good, "channel": "C0OTHER"},
        {},
        [],
        {"request": {}, "round": [], "channel": 7, "ts": None},
    ):
        payload = town.slack.submit_payload(ANN, view.id, values={"reason": "x"})
        payload["view"]["private_metadata"] = json.dumps(kept)
        answer = town.slack.send_payload(payload)
        assert answer.status == 200
        assert is_refusal(answer)
    unchanged(town, card)
    town.slack.close(ANN)


def test_a_replay_changes_nothing(town: World) -> None:
    card = posted(town)
    town.conveyor.fail("POST /exchange/authorizations", status=422, body={"error": "no"})
    answer = town.slack.click(ANN, card.ts, "approve")
    eventually(lambda: town.slack.replies(card.ts))
    card = clickable(town, request_of(card))
    told = len(town.slack.private)
    for _ in range(3):
        assert town.slack.replay(answer).status == 200
    assert town.ledger(f"SELECT state FROM requests WHERE card_ts = '{card.ts}'") == [("pending",)]
    assert writes(town, request_of(card)) == []
    # A new click is not taken for a replay, and is answered after whatever the replays caused.
    town.slack.click("U0SAM", card.ts, "approve")
    town.told("U0SAM", blocks.NOT_A_REVIEWER)
    assert len(town.slack.private) == told + 1


def test_a_command_that_contains_the_word_payload_is_read_as_a_form(town: World) -> None:
    assert town.slack.command(ANN, "what is a payload?").status == 200
    town.told(ANN, blocks.NOT_UNDERSTOOD.format("what is a payload?"))


def test_nothing_secret_and_no_customers_words_are_logged(town: World) -> None:
    posted(town, "private@person.example", "The customer's words\nlevel=ERROR forged=yes")
    log = town.log()
    secrets = (town.slack.bot_token, town.slack.signing_secret, town.conveyor.api_key, "/actions/")
    for secret in (*secrets, "private@person.example", "customer's words", "forged=yes"):
        assert secret not in log
