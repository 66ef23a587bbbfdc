"""What an operator asks: is the ledger private, who let whom in, and what of the original bot?"""

import csv
import io
import json
import re
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import pytest
import requests
from slack_sdk import WebClient
from standardwebhooks import Webhook

import blocks
from sandbox.workspace import ANN, BOB, SAM
from tests.support.steps import clickable, posted, request_of, revoke, run
from tests.support.world import COMMAND, ROOT, World, eventually

SECRET = "whsec_" + "bWFkZSB1cCBmb3IgdGhlc2UgdGVzdHM="


# The ledger's file


def test_a_ledger_that_others_can_read_is_made_private_at_the_start(world: World) -> None:
    world.database.parent.mkdir()
    world.database.touch()
    world.database.chmod(0o644)
    world.start()
    assert {stat.S_IMODE(file.stat().st_mode) for file in world.database.parent.iterdir()} == {0o600}
    (line,) = [line for line in world.log().splitlines() if "Other users" in line]
    warning = f'msg="Other users could read the ledger, so the mode of {world.database} is 600 now."'
    assert line.endswith(f"level=WARNING at=ledger.database {warning}")


# The webhook


def hook(world: World, body: bytes = b'{"type": "access.requested"}', **changes: str) -> requests.Response:
    """Call the webhook as Svix does, with these headers changed; return the answer."""
    now = datetime.now(UTC)
    signature = Webhook(SECRET).sign("msg-1", now.replace(tzinfo=None), body.decode("latin-1"))
    headers = {
        "svix-id": "msg-1",
        "svix-timestamp": str(int(now.timestamp())),
        "svix-signature": signature,
        **changes,
    }
    return requests.post(world.url + "/conveyor/webhook", data=body, headers=headers, timeout=5)


def test_a_webhook_makes_the_worker_poll_at_once(world: World) -> None:
    world.start(CONVEYOR_WEBHOOK_SECRET=SECRET, POLL_SECONDS="60")
    eventually(lambda: world.conveyor.calls("GET /exchange/authorization_request_queue"))
    time.sleep(1.2)  # there has just been a poll, and there is at most one a second
    request_id = world.conveyor.ask("jane@acme.com", "x")
    assert hook(world).status_code == 200
    world.shows(request_id, "pending")


def test_many_webhooks_make_one_poll_a_second(world: World) -> None:
    world.start(CONVEYOR_WEBHOOK_SECRET=SECRET, POLL_SECONDS="60")
    queue = "GET /exchange/authorization_request_queue"
    eventually(lambda: world.conveyor.calls(queue))
    before = len(world.conveyor.calls(queue))
    started = time.monotonic()
    while time.monotonic() - started < 3:
        assert hook(world).status_code == 200
    assert 1 <= len(world.conveyor.calls(queue)) - before <= 4


@pytest.fixture(scope="module")
def hearing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running world with a webhook, shared by tests that do not change it."""
    made = World(tmp_path_factory.mktemp("hearing"))
    made.start(CONVEYOR_WEBHOOK_SECRET=SECRET)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("body", "changes", "status"),
    [
        (b"{}", {"svix-signature": "v1,AAAA"}, 401),
        (b"{}", {"svix-signature": "nonsense"}, 400),
        (b"{}", {"svix-signature": "v1,***"}, (400, 401)),
        (b"{}", {"svix-id": ""}, 401),
        (b"{}", {"svix-timestamp": "1600000000"}, 401),
        (b"{}", {"svix-timestamp": "x"}, 401),
        (b"\xff\xfe", {"svix-signature": "v1,AAAA"}, 400),
        (b"x" * 1_100_000, {}, 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_webhook_is_refused(
    hearing: World, body: bytes, changes: dict[str, str], status: int | tuple[int, int]
) -> None:
    expected = status if isinstance(status, tuple) else (status,)
    assert hook(hearing, body, **changes).status_code in expected
    assert "level=ERROR" not in hearing.log()


def test_without_a_secret_there_is_no_webhook(world: World) -> None:
    world.start()
    assert hook(world).status_code == 404


# Audit


def decide_some(world: World) -> tuple[str, str]:
    """Approve one request and reject another; return their ids."""
    approved, rejected = posted(world, "jane@acme.com"), posted(world, "joe@rival.example")
    world.slack.click(ANN, approved.ts, "approve")
    world.slack.click(SAM, rejected.ts, "reject")
    world.told(SAM, blocks.NOT_A_REVIEWER)
    world.slack.click(BOB, rejected.ts, "reject")
    world.slack.submit(BOB, values={"reason": "=HYPERLINK(1)"})
    world.shows(request_of(approved), "approved")
    world.shows(request_of(rejected), "rejected")
    return request_of(approved), request_of(rejected)


def test_the_whole_trail_is_exported(world: World) -> None:
    world.start()
    approved, rejected = decide_some(world)
    status, said = run(world, "audit", "export", "--format", "json")
    lines = json.loads(said)
    assert status == 0
    assert [line["event"] for line in lines if line["request"] == approved] == [
        "asked",
        "approving",
        "approved",
    ]
    assert {"start", "refused"} <= {line["event"] for line in lines}
    claim = next(line for line in lines if line["event"] == "rejecting")
    assert (claim["request"], claim["person"], claim["person_email"]) == (rejected, BOB, "bob@harbor.example")
    assert claim["customer"] == "joe@rival.example"
    assert (claim["decision"], claim["reason"], claim["groups"]) == ("reject", "=HYPERLINK(1)", None)
    status, said = run(world, "audit", "export", "--since", "2020-01-01")
    rows = list(csv.DictReader(io.StringIO(said)))
    assert [row["number"] for row in rows] == [str(line["number"]) for line in lines]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert run(world, "audit", "export", "--format", "json", "--since", "2999-01-01") == (0, "[]\n")
    assert run(world, "audit", "export", "--since", "tomorrow")[0] == 2


@pytest.mark.parametrize("format", ["csv", "json"])
def test_the_trail_is_exported_in_utf_8_from_any_terminal(world: World, format: str) -> None:
    world.start()
    posted(world, "jürgen@мир.example")
    command = [*COMMAND, "audit", "export", "--format", format]
    environment = world.environment(PYTHONIOENCODING="ascii")
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, timeout=60)
    assert done.stderr == b""
    assert "jürgen@мир.example" in done.stdout.decode("utf-8")


def test_no_line_of_the_trail_can_be_changed_or_deleted(world: World) -> None:
    world.start()
    posted(world)
    for statement in ("UPDATE trail SET event = 'x'", "DELETE FROM trail"):
        with pytest.raises(Exception, match="the trail can only grow"):
            world.ledger(statement)


def test_reconciling_finds_what_was_not_decided_here(world: World) -> None:
    world.start()
    approved, rejected = decide_some(world)
    assert run(world, "audit", "reconcile") == (0, "Conveyor and the ledger agree.\n")
    world.stop()
    stranger = world.conveyor.ask("eve@elsewhere.example", "x")
    world.conveyor.approve_here(stranger)
    grant = next(g for g in world.conveyor.authorizations.values() if g["email"] == "jane@acme.com")
    world.conveyor.revoke_here(grant["id"])
    world.conveyor.ask_again(rejected)
    status, said = run(world, "audit", "reconcile")
    assert status == 1
    assert said.endswith("3 differences.\n")
    assert "eve@elsewhere.example has access in Conveyor" in said
    assert "this ledger has no approval of it" in said
    assert f"jane@acme.com was approved here ({approved}), but has no access in Conveyor." in said
    assert f"joe@rival.example was rejected here ({rejected}), but is not ignored in Conveyor." in said
    world.conveyor.stop()
    status, said = run(world, "audit", "reconcile")
    assert status == 1
    assert "Conveyor could not be read" in said
    assert "Traceback" not in said


def test_what_was_before_the_first_start_is_named_as_such(world: World) -> None:
    old = world.conveyor.ask("eve@elsewhere.example", "x")
    world.conveyor.approve_here(old)
    waiting = world.conveyor.ask("wendy@waiting.example", "x")
    world.start()
    clickable(world, waiting)
    approved, rejected = decide_some(world)
    status, said = run(world, "audit", "reconcile")
    assert (status, said.splitlines()[1:]) == (0, ["Conveyor and the ledger agree."])
    assert said.startswith("Not compared: 1 customer who had access before the app's first start on ")
    trail = world.ledger("SELECT request_id, detail FROM trail WHERE event = 'asked'")
    assert sorted(trail) == sorted([(waiting, "before the first start"), (approved, ""), (rejected, "")])
    world.slack.click(ANN, clickable(world, waiting).ts, "approve")
    card = world.shows(waiting, "approved")
    revoke(world, ANN, card)
    world.shows(waiting, "revoked")
    grant = next(g for g in world.conveyor.authorizations.values() if g["email"] == "wendy@waiting.example")
    grant["status"] = "authorized"
    grant["created_at"] = grant["updated_at"] = "2020-01-01T00:00:00Z"
    status, said = run(world, "audit", "reconcile")
    assert status == 1
    assert "but was revoked here." in said


def test_a_clock_that_was_wrong_at_the_first_start_hides_no_access(world: World) -> None:
    world.move_clock(365 * 86400.0)
    world.start()
    posted(world)
    world.stop()
    world.move_clock(0.0)
    world.start()
    posted(world)
    world.conveyor.approve_here(world.conveyor.ask("eve@elsewhere.example", "x"))
    status, said = run(world, "audit", "reconcile")
    assert status == 1
    assert "eve@elsewhere.example has access in Conveyor" in said


def test_access_from_before_any_start_is_no_difference(world: World) -> None:
    world.conveyor.approve_here(world.conveyor.ask("eve@elsewhere.example", "x"))
    status, said = run(world, "audit", "reconcile")
    assert (status, said.splitlines()[1:]) == (0, ["Conveyor and the ledger agree."])


def test_access_without_a_trust_center_may_be_what_was_approved_here(world: World) -> None:
    world.start()
    approved, _ = decide_some(world)
    grant = next(g for g in world.conveyor.authorizations.values() if g["email"] == "jane@acme.com")
    for unknown in (None, ""):
        grant["dataroom_id"] = unknown
        assert run(world, "audit", "reconcile") == (0, "Conveyor and the ledger agree.\n")
    grant["dataroom_id"] = "room-1"
    world.stop()
    world.ledger(f"UPDATE requests SET dataroom_id = '' WHERE id = '{approved}'")
    assert run(world, "audit", "reconcile") == (0, "Conveyor and the ledger agree.\n")


def test_access_to_another_trust_center_is_not_what_was_approved_here(world: World) -> None:
    world.start()
    approved, _ = decide_some(world)
    grant = next(g for g in world.conveyor.authorizations.values() if g["email"] == "jane@acme.com")
    grant["dataroom_id"] = "room-2"
    status, said = run(world, "audit", "reconcile")
    assert (status, said.splitlines()) == (
        1,
        [
            f"jane@acme.com has access in Conveyor ({grant['id']}), but this ledger has no approval of it.",
            f"jane@acme.com was approved here ({approved}), but has no access in Conveyor.",
            "2 differences.",
        ],
    )


def test_access_of_an_earlier_round_is_no_difference(world: World) -> None:
    world.start()
    approved, rejected = decide_some(world)
    for request_id in (approved, rejected):
        world.conveyor.ask_again(request_id)
        clickable(world, request_id, round=2)
    world.slack.click(BOB, clickable(world, approved, round=2).ts, "reject")
    world.slack.submit(BOB, values={"reason": "once is enough"})
    world.conveyor.ignore_here(rejected)
    world.shows(approved, "rejected", round=2)
    world.shows(rejected, "ignored elsewhere", round=2)
    assert run(world, "audit", "reconcile") == (0, "Conveyor and the ledger agree.\n")
    trail = world.ledger("SELECT event, person_id FROM trail ORDER BY number")
    assert {person for event, person in trail if event in ("asked again", "ignored elsewhere")} == {""}
    assert ("rejected", BOB) in trail
    assert ("approved", ANN) in trail


def test_old_customers_are_forgotten_and_their_cards_stay(world: World) -> None:
    world.start()
    approved, _ = decide_some(world)
    waiting = posted(world, "cat@wait.example", crm_link="https://crm.example/2")
    pictures = {card.ts: (card.text, card.edited) for card in world.slack.cards()}
    world.stop()
    world.ledger("UPDATE requests SET crm_link = 'https://crm.example/1' WHERE state != 'pending'")
    world.start(RETENTION_DAYS=str(0.5 / 86400))
    eventually(lambda: world.ledger("SELECT count(*) FROM requests WHERE email != ''") == [(1,)])
    kept = world.ledger("SELECT email, message, link, previous FROM requests")
    assert [row[0] for row in kept if row[0]] == ["cat@wait.example"]
    assert set(world.ledger("SELECT crm_link FROM requests")) == {("",), ("https://crm.example/2",)}
    assert {card.ts: (card.text, card.edited) for card in world.slack.cards()} == pictures
    assert world.ledger("SELECT count(*) FROM trail WHERE event = 'forgotten'") != [(0,)]
    world.slack.click(ANN, waiting.ts, "approve")
    world.shows(request_of(waiting), "approved")
    world.conveyor.ask_again(approved)  # and a repeated request has its address from Conveyor
    world.shows(approved, "pending", "jane@acme.com", round=2)


# The original bot


def test_the_settings_and_cards_of_the_original_bot_are_enough(world: World) -> None:
    """It had only four settings, and its cards have no metadata."""
    client = WebClient(world.slack.bot_token, world.slack.api_url)
    ts = client.chat_postMessage(channel=world.slack.channel_id, text="jane@acme.com requested access")["ts"]
    old = world.slack.find(ts)
    assert old
    request_id = world.conveyor.ask("jane@acme.com", "x")
    kept = ("CONVEYOR_KEY", "SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_CHANNEL_ID")
    sandbox = ("CONVEYOR_API_URL", "SLACK_API_URL", "DATABASE_URL", "PORT", "GUNICORN_CMD_ARGS")
    world.settings = {name: world.settings[name] for name in (*kept, *sandbox)}
    world.start()
    card = world.shows(request_id, "pending")
    assert card.ts != old.ts
    assert old.edited == 0
    eventually(lambda: world.ledger("SELECT 1 FROM requests WHERE card_ts != ''"))
    world.slack.click(SAM, card.ts, "approve")  # everybody may decide, as with the original bot
    world.shows(request_id, "approved", "<@U0SAM>")


# The log


def logged(world: World, wanted: re.Pattern[str]) -> bool:
    """Return whether the log has this."""
    return bool(wanted.search(world.log()))


def test_the_log_has_every_step_of_a_request_and_not_the_customer(world: World) -> None:
    world.start()
    approved, rejected = decide_some(world)
    for request_id in (approved, rejected):
        for step in ("card=posted", "claim=", "done=", "card=updated"):
            wanted = re.compile(rf"request={request_id} .*{step}")
            eventually(partial(logged, world, wanted), what=wanted.pattern)
    with socket.create_connection(("127.0.0.1", world.port), timeout=5) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
        assert b" 400 " in stranger.recv(1000)
    eventually(partial(logged, world, re.compile('level=WARNING at=gunicorn.error msg="Invalid')))
    for line in world.log().splitlines():
        assert "level=" in line, line
        assert " at=" in line, line
    for words in ("jane@acme.com", "joe@rival.example", "HYPERLINK", "Hello"):
        assert words not in world.log()
