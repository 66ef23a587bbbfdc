"""Odd bodies for the one route that Slack calls; FUZZ_BODIES says how many, and `make fuzz` sends 10,000."""

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.states import State
from sandbox.workspace import ANN, BOB, EVE, GUS, SAM, TEAM
from tests.proofs.inside import Inside
from tests.support.world import REVIEWERS

BODIES = int(os.environ.get("FUZZ_BODIES", "500"))
FINE = (200, 400, 401, 404, 413)
UNANSWERED = 503  # the answer to a click that decided nothing, if the person cannot be told
Path = tuple[Any, ...]


def fuzz(share: float) -> settings:
    """Return Hypothesis's settings for this share of the bodies."""
    bodies = int(BODIES * share)
    return settings(max_examples=bodies, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    made = Inside(tmp_path_factory.mktemp("inside"))
    payload = made.slack.click_payload(ANN, made.cards()[0].ts, "reject")
    made.slack.app_url = ""  # only `post` sends anything
    body = urlencode({"payload": json.dumps(payload)}).encode()
    assert made.post(body, made.slack.sign(body)).status_code == 200
    yield made
    made.close()
    assert made.told_twice() == []
    assert made.log.errors == []
    assert made.log.leaks == []


def real(inside: Inside, kind: str, user_id: str) -> dict[str, Any]:
    """Return a payload of this kind, as Slack sends it."""
    slack = inside.slack
    first, second = inside.cards()
    if kind == "submit":
        view = slack.open_view(ANN)
        assert view
        payload = slack.submit_payload(ANN, view.id, values={"reason": "no"})
        return {**payload, "user": {"id": user_id, "team_id": TEAM}}
    if kind == "suggest":
        payload = slack.click_payload(user_id, first.ts, "approve")
        block_id = next(iter(payload["state"]["values"]))
        typed = {"type": "block_suggestion", "action_id": "groups", "block_id": block_id, "value": "mi"}
        return {**payload, **typed}
    if kind == "event":
        message = {"type": "message", "channel": slack.channel_id, "user": user_id, "text": "<!channel>"}
        return {"type": "event_callback", "team_id": TEAM, "event": message, "event_id": "Ev1"}
    if kind == "shortcut":
        payload = slack.click_payload(user_id, second.ts, "approve")
        return {**payload, "type": "message_action", "callback_id": "approve"}
    if kind == "closed":
        return {**real(inside, "submit", user_id), "type": "view_closed", "is_cleared": False}
    if kind == "command":
        payload = slack.click_payload(user_id, first.ts, "approve")
        form = {"command": "/rooms", "text": "a payload", "user_id": user_id, "team_id": TEAM}
        return {**form, "channel_id": slack.channel_id, "trigger_id": payload["trigger_id"]}
    return slack.click_payload(user_id, first.ts, kind, choose={"groups": ["mine"]})


KINDS = ["approve", "reject", "submit", "suggest", "event", "shortcut", "closed", "command"]
NESTED: Any = {}
for _ in range(200):
    NESTED = {"actions": [NESTED]}
ODD = st.one_of(
    st.sampled_from(
        [
            *(None, True, 0, -1, 10**400, 1e308, float("nan"), "", [], {}, NESTED, "x" * 5000),
            *("\ud800", "\0", "approve", "reject", "groups", "reason", "reject_modal", "button"),
            *("block_actions", "view_submission", "block_suggestion", "shortcut", "interactive_message"),
            *("url_verification", "workflow_step_edit", "dialog_submission", "app_rate_limited"),
            *(ANN, BOB, SAM, GUS, EVE, "U0NOBODY", TEAM, "T0ELSEWHERE", "C0OTHER", "theirs", "also-mine"),
            *("<!channel>", "a\nlevel=ERROR forged=yes", "\u202e\u2028\x1b[31m", "https://evil.example/"),
            *("1 x", "1 req-1", "1 req-2", "2 req-1", "http://127.0.0.1:9/actions/x", "http://[", "٣ req-1"),
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
        max_leaves=6,
    ),
)


PLACES = st.integers(0, 999)


def paths(found: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path to every value inside."""
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from paths(value, (*path, key))


def mutated(payload: Any, data: st.DataObject) -> Any:
    """Return a copy in which one value is replaced, removed or put somewhere else."""
    payload = json.loads(json.dumps(payload))
    ways = list(paths(payload))
    if not ways:
        return payload
    path = ways[data.draw(PLACES) % len(ways)]
    parent = payload
    for key in path[:-1]:
        parent = parent[key]
    match data.draw(st.sampled_from(["odd", "gone", "other", "listed", "added", "text"])):
        case "odd":
            parent[path[-1]] = data.draw(ODD)
        case "gone":
            del parent[path[-1]]
        case "other":
            other = payload
            for key in ways[data.draw(PLACES) % len(ways)]:
                other = other[key]
            parent[path[-1]] = json.loads(json.dumps(other))
        case "listed":
            parent[path[-1]] = [parent[path[-1]]]
        case "added" if isinstance(parent, dict):
            parent[data.draw(st.text(max_size=8))] = data.draw(ODD)
        case _:
            parent[path[-1]] = str(parent[path[-1]])
    return payload


def check_decisions(inside: Inside, payload: Any) -> None:
    """Check that a reviewer decided what was decided, on the request's own card, with groups of its room."""
    for row in inside.rows():
        if row.state != State.PENDING:
            assert row.reviewer.id == payload["user"]["id"]
            assert row.reviewer.id in REVIEWERS.split(",")
            assert {group.id for group in row.groups or []} <= {"mine", "also-mine"}
            assert row.card_ts in json.dumps(payload)
            assert row.id in json.dumps(payload)


@fuzz(0.8)
@given(st.data())
def test_real_payloads_with_something_odd_in_them(inside: Inside, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    payload: Any = real(inside, kind, data.draw(st.sampled_from([ANN, BOB, SAM, GUS, EVE])))
    answer_at = payload.get("response_url")
    for _ in range(data.draw(st.integers(0, 4))):
        payload = mutated(payload, data)
    may_be_told = isinstance(payload, dict) and payload.get("response_url") == answer_at
    fine = FINE if may_be_told else (*FINE, UNANSWERED)
    fields = payload if kind == "command" else {"payload": json.dumps(payload)}
    body = urlencode(fields, errors="surrogatepass").encode()
    signed = inside.slack.sign(body)

    before, asked = inside.state(), inside.asked()
    unsigned = data.draw(st.sampled_from(["nothing", "another", "old", "changed"]))
    forged, headers = body, signed
    if unsigned == "nothing":
        headers = {}
    elif unsigned == "another":
        headers = inside.slack.sign(body + b" ")
    elif unsigned == "old":
        headers = inside.slack.sign(body, 1_600_000_000)
    else:
        forged = body.replace(b"e", b"f", 1) if b"e" in body else body + b"e"
    assert inside.post(forged, headers).status_code in (400, 401)
    assert (inside.state(), inside.asked()) == (before, asked)

    assert inside.post(body, signed).status_code in fine
    check_decisions(inside, payload)
    after = inside.calm_state()  # questions, and what is refused, are answered after the acknowledgment
    assert inside.post(body, signed).status_code in fine
    assert inside.calm_state() == after
    inside.open_again()
    assert inside.log.errors == []


@fuzz(0.2)
@given(st.data())
def test_bodies_of_any_kind(inside: Inside, data: st.DataObject) -> None:
    words = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
    body = data.draw(
        st.one_of(
            st.binary(max_size=300),
            words.map(str.encode),
            st.dictionaries(words, words, max_size=5).map(lambda form: urlencode(form).encode()),
            ODD.map(lambda odd: urlencode({"payload": json.dumps(odd)}).encode()),
            ODD.map(lambda odd: json.dumps(odd).encode()),
            st.binary(max_size=100).map(lambda raw: b"payload=" + raw),
            st.sampled_from([b"payload=" + b"[" * 9000, b"%", b"payload=" + b"9" * 5000, b"=" * 5000]),
        )
    )
    signed = inside.slack.sign(body)
    before = inside.state()
    ascii_text = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=30)
    headers = {**signed, data.draw(st.sampled_from(sorted(signed))): data.draw(ascii_text)}
    if headers != signed and headers["Content-Type"] == signed["Content-Type"]:
        assert inside.post(body, headers).status_code in (400, 401)
        assert inside.state() == before
    assert inside.post(body, signed).status_code in FINE
    assert inside.state() == before
    assert inside.log.errors == []
