"""Nobody who may not decide gets through with a signed click, whatever a client could change in it."""

import json
import resource
import socket
from contextlib import ExitStack
from typing import Any

import pytest

import blocks
from sandbox.workspace import ANN, BOB, DAN, EVE, GIL, GUS, NOEL, ROBOT, SAM, TEAM, UNA, Message, View
from tests.support.steps import is_refusal, posted, request_of, writes
from tests.support.world import COMMAND, World, eventually

OUTSIDERS = [SAM, GUS, GIL, EVE, ROBOT, DAN, NOEL, UNA, "U0NOBODY", "USLACKBOT"]


def pending(world: World, *cards: Message) -> None:
    """Check that these requests are undecided and that nothing about them was sent to Conveyor."""
    for card in cards:
        assert world.ledger(f"SELECT state FROM requests WHERE card_ts = '{card.ts}'") == [("pending",)]
        assert writes(world, request_of(card)) == []


def opened(world: World, who: str, card: Message) -> View:
    """Click "Reject" until the window is open, which may fail on a busy machine; return the window."""

    def click() -> View | None:
        world.slack.click(who, card.ts, "reject")
        return world.slack.open_view(who)

    return eventually(click)


@pytest.fixture(scope="module")
def mine(town: World) -> Message:
    """A card with groups to choose from, which no test here may change."""
    town.conveyor.add_group("Mine", "room-1", group_id="mine")
    town.conveyor.add_group("Theirs", "room-2", group_id="theirs")
    query = "SELECT id FROM access_groups WHERE id IN ('mine', 'theirs')"
    eventually(lambda: len(town.ledger(query)) == 2)
    return posted(town)


@pytest.fixture(scope="module")
def theirs(town: World) -> Message:
    """Another card, which no test here may change."""
    return posted(town, "joe@rival.example")


# What people who may not decide could claim to be, in a payload that Slack would sign.
DISGUISES: list[dict[str, Any]] = [
    {},
    {"user": {"username": "ann", "name": "Ann Abbot", "team_id": TEAM, "is_admin": True, "is_owner": True}},
    {"user": {"team_id": "T0ELSEWHERE"}},
    {"user_id": ANN, "username": "ann"},
    {"authorizations": [{"user_id": ANN, "team_id": TEAM, "is_bot": False}]},
    {"message": {"user": ANN, "bot_id": "B0APP"}},
    {"is_enterprise_install": True, "enterprise": {"id": "E0", "name": "x"}},
]


@pytest.mark.parametrize("disguise", DISGUISES, ids=str)
@pytest.mark.parametrize("who", OUTSIDERS)
def test_no_disguise_lets_somebody_decide(
    town: World, mine: Message, who: str, disguise: dict[str, Any]
) -> None:
    for button in ("approve", "reject"):
        payload = town.slack.click_payload(ANN, mine.ts, button)
        named = {**disguise.get("user", {"username": "x"}), "id": who}
        answer = town.slack.send_payload({**payload, **disguise, "user": named})
        assert answer.status in (200, 401)
    assert town.slack.open_view(who) is None
    pending(town, mine)


@pytest.mark.parametrize("who", OUTSIDERS)
def test_nobody_else_can_submit_a_reviewers_window(
    town: World, mine: Message, theirs: Message, who: str
) -> None:
    """Ann opened it for one request; somebody else submits it, for this request or another."""
    view = opened(town, ANN, mine)
    kept = json.loads(view.view["private_metadata"])
    other = {**kept, "request": request_of(theirs), "ts": theirs.ts}
    changes: list[dict[str, Any]] = [{}, other, {**kept, "user": ANN}, {**kept, "reviewer": ANN}]
    for change in changes:
        payload = town.slack.submit_payload(ANN, view.id, values={"reason": "me"})
        payload["user"] = {"id": who, "username": "ann", "name": "ann", "team_id": TEAM}
        payload["view"]["private_metadata"] = json.dumps({**kept, **change})
        answer = town.slack.send_payload(payload)
        assert answer.status == 200
        assert is_refusal(answer)
    pending(town, mine, theirs)
    town.slack.close(ANN)


def test_the_id_of_one_request_with_the_card_of_another_decides_nothing(
    town: World, mine: Message, theirs: Message
) -> None:
    """This goes for windows and for buttons, also if a reviewer sends them."""
    view = opened(town, BOB, mine)
    kept = json.loads(view.view["private_metadata"])
    for change in ({"request": request_of(theirs)}, {"ts": theirs.ts}, {"ts": ""}, {"channel": ""}):
        payload = town.slack.submit_payload(BOB, view.id, values={"reason": "x"})
        payload["view"]["private_metadata"] = json.dumps({**kept, **change})
        assert is_refusal(town.slack.send_payload(payload))
    town.slack.close(BOB)
    for value in (f"1 {request_of(theirs)}", f"2 {request_of(mine)}", f"01 {request_of(mine)} ", "1 "):
        payload = town.slack.click_payload(ANN, mine.ts, "approve")
        payload["actions"][0]["value"] = value
        assert town.slack.send_payload(payload).status == 200
    pending(town, mine, theirs)


@pytest.mark.parametrize(
    "groups",
    [["theirs"], ["mine", "theirs"], ["mine", "no-such-group"], ["*"], ["MINE"], ["mine "], ["x" * 150] * 90],
    ids=str,
)
@pytest.mark.parametrize("kind", ["checkboxes", "multi_external_select", "made-up"])
def test_groups_that_the_card_did_not_offer_are_not_granted(
    town: World, mine: Message, groups: list[str], kind: str
) -> None:
    payload = town.slack.click_payload(ANN, mine.ts, "approve")
    options = [{"text": {"type": "plain_text", "text": "Mine"}, "value": group} for group in groups]
    payload["state"]["values"] = {"made-up": {"groups": {"type": kind, "selected_options": options}}}
    town.slack.private.clear()
    assert town.slack.send_payload(payload).status == 200
    town.told(ANN, blocks.NOTHING_GRANTED)
    pending(town, mine)


def test_a_copy_of_a_click_does_nothing_and_tells_nobody(town: World, mine: Message) -> None:
    """Copied are a click that came too late, one that chose too much, and one that opened a window."""
    card = posted(town)
    town.slack.private.clear()
    strange = town.slack.click_payload(ANN, card.ts, "approve")
    option = {"text": {"type": "plain_text", "text": "T"}, "value": "theirs"}
    strange["state"]["values"] = {"x": {"groups": {"selected_options": [option]}}}
    answers = [town.slack.send_payload(strange), town.slack.click(BOB, card.ts, "reject")]
    town.told(ANN, blocks.NOTHING_GRANTED)
    late = town.slack.click_payload(BOB, card.ts, "approve")
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved")
    answers.append(town.slack.send_payload(late))
    town.told(BOB, blocks.already_decided(town.row(request_of(card)), BOB))
    quiet = f"SELECT revision, show_at FROM requests WHERE card_ts = '{card.ts}'"
    eventually(lambda: town.ledger(quiet)[0][1] is None, what="all is drawn")
    revision, told, windows = town.ledger(quiet), len(town.slack.private), len(town.slack.views)
    for answer in answers * 3:
        assert town.slack.replay(answer).status == 200
    assert town.ledger(quiet) == revision
    assert len(town.slack.views) == windows
    town.slack.click(SAM, mine.ts, "reject")  # it is answered after whatever the copies caused
    town.told(SAM, blocks.NOT_A_REVIEWER)
    assert len(town.slack.private) == told + 1
    town.slack.close(BOB)


def test_private_sentences_are_sent_only_to_slack(town: World, mine: Message) -> None:
    inner = type(town.conveyor)()
    inner.serve()
    port = town.slack.port
    for address in (f"{inner.url}/actions/x", f"http://127.0.0.1:{port}@127.0.0.1:{inner.port}/", inner.url):
        payload = town.slack.click_payload(SAM, mine.ts, "approve")
        town.slack.private.clear()
        town.slack.send_payload({**payload, "response_url": address})
        town.told(SAM, blocks.NOT_A_REVIEWER)  # by the other way, chat.postEphemeral
    assert inner.exchanges == []
    inner.stop()


BEGUN = (
    b"P",
    b"POST /slack/events HTTP/1.1\r\nHost: x\r\nX-Slack-Signature: v0=",
    b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\npayload=",
    b"POST /slack/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\npayload=",
)


def test_slow_clients_occupy_no_threads(world: World) -> None:
    """A hundred and fifty clients at once begin a request and never finish it, in different places."""
    world.start()
    card = posted(world)
    slow = [socket.create_connection(("127.0.0.1", world.port)) for _ in range(150)]
    for number, connection in enumerate(slow):
        connection.sendall(BEGUN[number % len(BEGUN)])
    eventually(lambda: world.slack.click(ANN, card.ts, "approve").status == 200, seconds=20)
    world.shows(request_of(card), "approved")
    for connection in slow:
        connection.close()


def test_connections_without_a_request_hold_up_no_click(world: World) -> None:
    """1,200 send nothing; then 200 get an answer, and do not hang up. The app may have 1,024 files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000), hard))
    world.command = ["/bin/bash", "-c", f"ulimit -n 1024 && exec {' '.join(COMMAND)}"]
    world.start()
    for count, begin in ((1_200, b""), (200, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")):
        card = posted(world)
        with ExitStack() as connections:
            for _ in range(count):
                connection = socket.create_connection(("127.0.0.1", world.port))
                connections.enter_context(connection).sendall(begin)
            assert world.slack.click(ANN, card.ts, "approve").status == 200  # in time for Slack
            world.shows(request_of(card), "approved")


def test_an_endless_body_is_cut_off(town: World, mine: Message) -> None:
    with socket.create_connection(("127.0.0.1", town.port), timeout=10) as connection:
        connection.sendall(b"POST /slack/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(200):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            answer = connection.recv(100)
        except OSError:
            answer = b""
    assert answer == b"" or b" 413 " in answer
    pending(town, mine)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 900\r\n\r\npayload=",
        b"Transfer-Encoding: chunked\r\n\r\nff\r\npayload=",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\npayload=\r\n0\r\n\r\n",
    ],
    ids=["too short", "chunk too short", "no chunk"],
)
def test_a_body_that_is_not_whole_is_not_called_unsigned(town: World, mine: Message, rest: bytes) -> None:
    before = town.log()
    with socket.create_connection(("127.0.0.1", town.port), timeout=10) as connection:
        connection.sendall(b"POST /slack/events HTTP/1.1\r\nHost: x\r\n" + rest)
        answer = connection.recv(100)
    assert answer.split()[1] in (b"400", b"408"), answer
    assert "unsigned" not in town.log().removeprefix(before)
    assert "level=ERROR" not in town.log().removeprefix(before)
    pending(town, mine)
