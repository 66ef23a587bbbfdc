"""The main job of a running app: signed HTTP comes in, calls to Conveyor and cards go out.

Every test runs twice: by HTTP with the app's own waits, where the shared app is `python app.py` itself; and
over a socket that the app opened, where the longest waits are shorter. How the app starts, stops and is
killed is tested in test_start_stop.py.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

import blocks
from ledger.states import State
from sandbox.workspace import ANN, BOB, DAN, EVE, GIL, GUS, NOEL, ROBOT, SAM, UNA
from tests.support.steps import (
    answer_to,
    approved,
    clickable,
    day,
    offered,
    posted,
    request_of,
    writes,
    written,
)
from tests.support.world import COMMAND, MODES, World, eventually, state_of
from workspace.block_kit import escaped

POST = "POST /exchange/authorizations"


@pytest.fixture(params=MODES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world of its own for one test, once by HTTP and once over a socket."""
    made = World(tmp_path, by_socket=request.param == "socket")
    if request.param == "http":
        made.waits.clear()
    yield made
    made.close()
    assert made.leaks() == []


@pytest.fixture(scope="module", params=MODES)
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running world that the tests share, once by HTTP and once over a socket."""
    with closing(World(tmp_path_factory.mktemp("town"), by_socket=request.param == "socket")) as made:
        if request.param == "http":
            made.command = COMMAND
        yield made.start()
    assert made.leaks() == []


# 1. Watch


@pytest.mark.parametrize(
    ("message", "more"),
    [
        (None, {}),
        ("", {}),
        (" \n ", {}),
        ("x" * 20_000, {}),
        ("&<>" * 5_000, {}),
        ("😀" * 5_000, {}),
        ("<!channel> *bold* <https://evil.example|your bank> `code`\u202e\x00", {}),
        ("no time", {"requested_at": None}),
        ("no link", {"links": False}),
        ("odd fields", {"crm_link": 7, "surprise": {"a": [1]}, "_type": None}),
    ],
)
def test_every_request_gets_a_card(town: World, message: str | None, more: dict[str, Any]) -> None:
    card = posted(town, message=message, **more)
    assert "jane@acme.com" in town.slack.text_of(card)
    assert len(town.cards(request_of(card))) == 1


@pytest.mark.parametrize("count", [0, 1, 10, 11, 100, 101, 2000])
def test_any_number_of_groups_works(town: World, count: int) -> None:
    room = f"room-of-{count}"
    names = [f"Group {number} <b> & 😀" + "long " * (number % 40) for number in range(count)]
    ids = offered(town, room, names)
    card = posted(town, dataroom_id=room)
    shown = town.slack.text_of(card)
    if count == 0:
        assert blocks.APPROVING_GIVES in shown
        assert not any(block["type"] == "input" for block in card.blocks)
    else:
        if count > 10:
            answer = town.slack.suggest(ANN, "groups", f"group {count - 1} ", ts=card.ts)
            assert ids[-1] in [option["value"] for option in answer.body["options"]]
        town.slack.click(ANN, card.ts, "approve", choose={"groups": [ids[-1]]})
        card = town.shows(request_of(card), "approved")
        assert f"Group {count - 1} <b> & 😀" in town.slack.text_of(card)
        assert town.conveyor.decisions[-1].groups == [ids[-1]]
    for group_id in ids:
        town.conveyor.delete_group(group_id)


def test_equal_names_can_be_told_apart(town: World) -> None:
    for group_id in ("first-1", "other-2"):
        town.conveyor.add_group("Legal", "room-of-equals", group_id=group_id)
    shown = town.slack.text_of(
        town.shows(request_of(posted(town, dataroom_id="room-of-equals")), "pending", "other-2")
    )
    assert "Legal (first-1)" in shown
    assert "Legal (other-2)" in shown


def test_only_groups_of_the_requests_data_room_are_offered(town: World) -> None:
    offered(town, "room-mine", ["Mine"])
    offered(town, "room-theirs", ["Theirs"])
    shown = town.slack.text_of(posted(town, dataroom_id="room-mine"))
    assert "Mine" in shown
    assert "Theirs" not in shown


def test_open_cards_follow_the_list_of_groups(town: World) -> None:
    group = town.conveyor.add_group("Old name", "room-renamed")
    request_id = request_of(posted(town, dataroom_id="room-renamed"))
    town.shows(request_id, "pending", "Old name")
    town.conveyor.rename_group(group, "New name")
    town.shows(request_id, "pending", "New name")


def test_a_poll_costs_two_calls_however_many_requests_are_open(world: World) -> None:
    for number in range(100):
        world.conveyor.ask(f"p{number}@acme.com", "x")
        world.conveyor.add_group(f"Group {number}", group_id=f"g{number}")
    world.start(POLL_SECONDS="2")
    eventually(lambda: len(world.ledger("SELECT id FROM requests")) == 100)
    world.conveyor.exchanges.clear()
    eventually(lambda: len(world.conveyor.calls("GET /exchange/authorization_request_queue")) >= 2)
    # The calls about companies are made for the cards, one a second.
    every = [exchange.call for exchange in world.conveyor.exchanges]
    calls = [call for call in every if call != "GET /exchange/connections"]
    assert calls[:4] == ["GET /exchange/access_groups", "GET /exchange/authorization_request_queue"] * 2


def test_cards_come_oldest_first_one_a_second(world: World) -> None:
    world.slack.limit_rates = True
    world.waits.pop("worker.show.POST_SECONDS", None)
    asked = [
        world.conveyor.ask(f"p{number}@acme.com", "x", requested_at=f"2026-01-0{9 - number}T00:00:00Z")
        for number in range(4)
    ]
    world.start()
    cards = eventually(lambda: len(found := world.slack.cards()) == 4 and found)
    assert [request_of(card) for card in cards] == asked[::-1]
    eventually(lambda: all(post.done for post in world.slack.calls("chat.postMessage")))
    assert [post.status for post in world.slack.calls("chat.postMessage")] == [200] * 4


def test_a_429_is_obeyed_and_loses_nothing(world: World) -> None:
    world.slack.fail(
        "chat.postMessage",
        status=429,
        headers={"Retry-After": "2"},
        body={"ok": False, "error": "ratelimited"},
    )
    world.start()
    request_id = world.conveyor.ask("jane@acme.com", "x")
    world.shows(request_id, "pending")
    first, second = world.slack.calls("chat.postMessage")
    assert second.at - first.at >= 2
    assert len(world.cards(request_id)) == 1


# 2. Approve


def test_approving_grants_the_chosen_groups_and_says_so(town: World) -> None:
    chosen, _ = offered(town, "room-of-two", ["Penetration test", "Source code"])
    card = posted(town, dataroom_id="room-of-two")
    assert town.slack.click(ANN, card.ts, "approve", choose={"groups": [chosen]}).status == 200
    card = town.shows(request_of(card), "approved")
    call = town.conveyor.calls("POST /exchange/authorizations")[-1]
    assert call.request == {
        "request_id": request_of(card),
        "reviewer_email": town.slack.users[ANN].email,
        "access_group_ids": [chosen],
        "nda_bypass": False,
    }
    shown = town.slack.text_of(card)
    for words in ("<@U0ANN>", "Penetration test", "jane@acme.com", "Hello", blocks.OPEN_IN_CONVEYOR):
        assert words in shown
    for words in ("Ann Abbot", "jane@acme.com (acme.com)", "Penetration test"):
        assert words in card.text
    assert "approve" not in str(card.blocks[-1].get("elements", ""))


def test_without_chosen_groups_the_approval_gives_standard_access(town: World) -> None:
    card = posted(town)
    town.slack.click(ANN, card.ts, "approve")
    card = town.shows(request_of(card), "approved", blocks.BASIC)
    assert town.conveyor.calls("POST /exchange/authorizations")[-1].request["access_group_ids"] == []


def test_a_group_that_is_gone_grants_nothing(town: World) -> None:
    (group,) = offered(town, "room-gone", ["Gone soon"])
    card = posted(town, dataroom_id="room-gone")
    town.conveyor.delete_group(group)
    eventually(lambda: not town.ledger("SELECT id FROM access_groups WHERE dataroom_id = 'room-gone'"))
    payload = town.slack.click_payload(ANN, card.ts, "approve")
    payload["state"]["values"] = {
        "groups-1-1": {
            "groups": {
                "type": "checkboxes",
                "selected_options": [{"text": {"type": "plain_text", "text": "Gone soon"}, "value": group}],
            }
        }
    }
    assert town.slack.send_payload(payload).status == 200
    assert "`Gone soon`" in town.told(ANN, blocks.NOTHING_GRANTED)
    assert writes(town, request_of(card)) == []
    town.shows(request_of(card), "pending", blocks.APPROVING_GIVES)


@pytest.mark.parametrize("name", ["R&D <all>", "&lt;script&gt; & Söhne", "`Legal`"])
def test_a_group_that_is_gone_is_named_as_conveyor_named_it(town: World, name: str) -> None:
    room = f"room of {name}"
    (group,) = offered(town, room, [name])
    card = posted(town, dataroom_id=room)
    payload = town.slack.click_payload(ANN, card.ts, "approve", choose={"groups": [group]})
    town.conveyor.delete_group(group)
    eventually(lambda: not town.ledger(f"SELECT 1 FROM access_groups WHERE dataroom_id = '{room}'"))
    town.slack.private.clear()
    town.slack.send_payload(payload)
    shown = escaped(name.replace("`", ""))
    assert f"`{shown}`" in town.told(ANN, blocks.NOTHING_GRANTED)
    assert writes(town, request_of(card)) == []


def test_a_group_of_another_room_is_named_by_the_ledger(town: World) -> None:
    (mine,) = offered(town, "room-named-ours", ["Mine"])
    (theirs,) = offered(town, "room-named-theirs", ["Theirs & theirs alone"])
    card = posted(town, dataroom_id="room-named-ours")
    town.slack.private.clear()
    payload = town.slack.click_payload(ANN, card.ts, "approve", choose={"groups": [mine]})
    (values,) = payload["state"]["values"].values()
    values["groups"]["selected_options"][0]["value"] = theirs
    town.slack.send_payload(payload)
    assert "`Theirs &amp; theirs alone`" in town.told(ANN, blocks.NOTHING_GRANTED)


def test_a_group_of_another_room_grants_nothing(town: World) -> None:
    (mine,) = offered(town, "room-ours", ["Mine"])
    (theirs,) = offered(town, "room-not-ours", ["Theirs"])
    card = posted(town, dataroom_id="room-ours")
    payload = town.slack.click_payload(ANN, card.ts, "approve", choose={"groups": [mine]})
    (values,) = payload["state"]["values"].values()
    values["groups"]["selected_options"][0]["value"] = theirs
    town.slack.send_payload(payload)
    town.told(ANN, blocks.NOTHING_GRANTED)
    assert writes(town, request_of(card)) == []


def test_a_group_that_conveyor_refuses_gives_the_decision_back(world: World) -> None:
    group = world.conveyor.add_group("Refused")
    world.start(POLL_SECONDS="3")
    card = posted(world)
    del world.conveyor.groups[group]
    world.slack.click(ANN, card.ts, "approve", choose={"groups": [group]})
    reply = eventually(lambda: world.slack.replies(card.ts))[0]
    assert "<@U0ANN>" in reply.text
    assert blocks.NOTES["refused"] in reply.text
    assert blocks.CONVEYOR_SAID in world.slack.text_of(reply)
    assert group in world.slack.text_of(reply)
    world.shows(request_of(card), "pending")
    assert writes(world, request_of(card)) == [("POST", False)]


# 3. Reject


def test_rejecting_asks_for_a_reason_and_shows_it_whole(town: World) -> None:
    card = posted(town, "joe@rival.example", "Let me in")
    town.slack.click(BOB, card.ts, "reject")
    view = town.slack.open_view(BOB)
    assert view
    assert "joe@rival.example" in town.slack.text_of(view)
    for blank in ("", " \n\t ", "\u200b \u3164", "\u2800\ufe0f\n\U000e0020", "\xad" * 2001):
        town.slack.submit(BOB, values={"reason": blank}, enforce=False)
        assert view.errors == {"reason": blocks.REASON_MISSING}
    town.slack.submit(BOB, values={"reason": "x" * 2001}, enforce=False)
    assert view.errors == {"reason": blocks.REASON_TOO_LONG.format(blocks.REASON_CHARS)}
    assert writes(town, request_of(card)) == []
    reason = ("A competitor & <friends>. " * 80).strip()[:2000]
    town.slack.submit(BOB, values={"reason": reason})
    assert town.slack.open_view(BOB) is None
    card = town.shows(request_of(card), "rejected", "<@U0BOB>")
    assert reason in town.slack.text_of(card)
    call = town.conveyor.calls("PATCH /exchange/authorization_requests/*")[-1]
    assert call.request == {"status": "ignored", "reviewer_email": town.slack.users[BOB].email}
    assert town.slack.users[BOB].real_name in card.text
    assert "joe@rival.example (rival.example)" in card.text
    assert f"{blocks.WHY} A competitor &amp; &lt;friends&gt;." in card.text


def test_a_past_decision_is_found_by_searching(town: World) -> None:
    card = posted(town, "zoe@needle.example")
    town.slack.click(BOB, card.ts, "reject")
    town.slack.submit(BOB, values={"reason": "contract expired"})
    town.shows(request_of(card), "rejected")
    outcome = blocks.DECIDED[State.REJECTED][0]
    for words in (
        "zoe@needle.example",
        "needle.example",
        f"{outcome} zoe@needle.example",
        "contract expired",
    ):
        assert [found.ts for found in town.slack.search(words)] == [card.ts]
    assert card.ts in [found.ts for found in town.slack.search(town.slack.users[BOB].real_name)]


def test_closing_the_modal_changes_nothing(town: World) -> None:
    card = posted(town)
    town.slack.click(BOB, card.ts, "reject")
    town.slack.close(BOB)
    assert state_of(card) == "pending"
    assert town.ledger(f"SELECT state FROM requests WHERE id = '{request_of(card)}'") == [("pending",)]


def test_a_reason_can_be_made_optional(world: World) -> None:
    world.start(REJECTION_REASON="optional")
    for blank in ("", "\u2060 \u3164"):
        card = posted(world)
        world.slack.click(BOB, card.ts, "reject")
        world.slack.submit(BOB, values={"reason": blank})
        shown = world.slack.text_of(world.shows(request_of(card), "rejected"))
        assert blocks.WHY not in shown
    assert world.ledger("SELECT DISTINCT reason FROM requests") == [("",)]


# 4. Show it


def test_a_slow_decision_is_shown_in_progress_then_decided(town: World) -> None:
    card = posted(town)
    town.conveyor.fail("POST /exchange/authorizations", delay=2.5)
    town.slack.click(ANN, card.ts, "approve")
    card = town.shows(request_of(card), "approving", "<@U0ANN>", seconds=2)
    assert not any(block["type"] == "actions" for block in card.blocks)
    town.shows(request_of(card), "approved", seconds=4.5)


def test_a_quick_decision_costs_one_update(town: World) -> None:
    card = posted(town)
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved", seconds=2)
    assert card.edited == 1


# 5. Refusals and failures


def test_a_refusal_gives_back_with_conveyors_words(town: World) -> None:
    card = posted(town)
    town.conveyor.fail(
        "POST /exchange/authorizations", status=422, body={"error": "Seat <limit> " + "x" * 500}
    )
    town.conveyor.fail(
        "POST /exchange/authorizations", status=422, body={"error": "Limit *reached* " + "x" * 500}
    )
    for _ in range(2):
        town.shows(request_of(card), "pending")
        town.slack.click(ANN, card.ts, "approve")
        eventually(lambda: town.slack.replies(card.ts))
    replies = eventually(lambda: len(found := town.slack.replies(card.ts)) == 2 and found)
    assert blocks.CONVEYOR_SAID not in town.slack.text_of(replies[0])  # HTML is never shown
    said = town.slack.text_of(replies[1]).partition(f"{blocks.CONVEYOR_SAID} ")[2]
    assert said.startswith("Limit *reached* x")
    assert len(said) == 300
    town.shows(request_of(card), "pending")


def test_after_a_refusal_a_request_that_was_closed_in_conveyor_is_closed(town: World) -> None:
    card = posted(town)
    request_id = request_of(card)

    def ignored_meanwhile(_: object) -> bool:
        town.conveyor.ignore_here(request_id)
        return True

    town.conveyor.fail("POST /exchange/authorizations", when=ignored_meanwhile)
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_id, "ignored elsewhere")
    assert "<@U0ANN>" in eventually(lambda: town.slack.replies(card.ts))[0].text


@pytest.mark.long
def test_a_doubtful_write_is_read_twice_before_it_is_repeated(world: World) -> None:
    world.start()
    card = posted(world)
    request_id = request_of(card)
    world.conveyor.fail("POST /exchange/authorizations", drop="before")
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_id, "approved", "<@U0ANN>", seconds=20)
    first, second = world.conveyor.calls("POST /exchange/authorizations")
    reads = [
        exchange
        for exchange in world.conveyor.calls("GET /exchange/authorization_requests/*")
        if first.at < exchange.at < second.at
    ]
    apart = world.waits.get("worker.decide.CONFIRM_SECONDS", 10)
    assert len(reads) >= 2
    assert reads[-1].at - reads[0].at >= apart
    assert writes(world, request_id) == [("POST", True)]


def test_a_card_says_that_it_waits_for_conveyor(town: World) -> None:
    card = posted(town)
    town.conveyor.fail("*", times=None, status=503)
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approving", blocks.PROBLEMS["unavailable"])
    query = f"SELECT sent_at FROM requests WHERE id = '{request_of(card)}'"
    assert town.ledger(query) == [(None,)]  # nothing was sent, so the decision can be given back
    town.conveyor.clear_faults()
    town.shows(request_of(card), "approved")


def test_a_bad_key_is_called_a_bad_key(town: World) -> None:
    card = posted(town)
    town.conveyor.key_revoked = True
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approving", blocks.PROBLEMS["key"])
    assert blocks.NOTES["key"] in eventually(lambda: town.slack.replies(card.ts))[0].text
    _, found = eventually(lambda: (answer := town.readiness())[0] == 503 and answer)
    assert any("CONVEYOR_KEY" in reason for reason in found["reasons"])
    assert "rejected CONVEYOR_KEY" in town.log()
    assert requests.get(town.url + "/healthz", timeout=5).status_code == 200
    town.conveyor.key_revoked = False
    town.shows(request_of(card), "approved")


def test_a_key_that_may_not_write_gives_the_decision_back(town: World) -> None:
    card = posted(town)
    town.conveyor.fail("POST /exchange/authorizations", status=403, body="")
    town.slack.click(ANN, card.ts, "approve")
    assert blocks.NOTES["not allowed"] in eventually(lambda: town.slack.replies(card.ts))[0].text
    town.shows(request_of(card), "pending")


@pytest.mark.long
def test_the_key_is_not_sent_to_where_a_redirect_leads(world: World) -> None:
    other = type(world.conveyor)()
    other.serve()
    world.start()
    card = posted(world)
    location = {"Location": other.api_url + "/exchange/authorizations"}
    world.conveyor.fail("POST /exchange/authorizations", status=302, headers=location)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved", seconds=20)
    assert other.exchanges == []
    other.stop()


def test_an_unexpected_error_shows_a_reference_and_stops_nobody_else(town: World) -> None:
    card = posted(town, "odd@poisoned.example")
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved")
    # The app never writes such a row: its address is bytes.
    odd = "email = x'ff', show_at = 0, revision = revision + 1"
    town.ledger(f"UPDATE requests SET {odd} WHERE id = '{request_of(card)}'")
    town.slack.click(ANN, card.ts, "more", value="revoke")
    said = town.told(ANN, blocks.WENT_WRONG)
    (reference,) = re.findall(r"`(\w{8})`", said)
    (line,) = [line for line in town.log().splitlines() if f"reference={reference}" in line]
    assert "level=ERROR" in line
    assert "TypeError" in line
    posted(town, "next@acme.com")
    assert any(request_of(card) in note for note in eventually(lambda: town.readiness()[1]["notes"]))


# 6. Requests that are handled in Conveyor, that are repeated, and late clicks


def test_a_card_shows_what_was_done_in_conveyor(town: World) -> None:
    cards = {}
    for name in ("approved", "ignored", "gone"):
        cards[name] = request_of(posted(town, f"{name}@acme.com"))
    town.conveyor.approve_here(cards["approved"])
    town.conveyor.ignore_here(cards["ignored"])
    town.conveyor.remove(cards["gone"])
    for name, state in (
        ("approved", State.APPROVED_ELSEWHERE),
        ("ignored", State.IGNORED_ELSEWHERE),
        ("gone", State.GONE),
    ):
        card = town.shows(cards[name], state)
        assert not any(block["type"] == "actions" for block in card.blocks)
        assert f"{name}@acme.com" in town.slack.text_of(card)


def test_the_same_request_asked_again_gets_a_new_round(town: World) -> None:
    town.conveyor.now = lambda: time.time() - 30 * 86400
    card = posted(town)
    town.conveyor.now = time.time
    request_id = request_of(card)
    town.slack.click(BOB, card.ts, "reject")
    town.slack.submit(BOB, values={"reason": "too early"})
    town.shows(request_id, "rejected")
    asked_at = int(time.time())
    town.conveyor.ask_again(request_id)
    again = clickable(town, request_id, round=2)
    assert again.ts != card.ts
    shown = json.dumps(again.blocks)
    assert any(f'"timestamp": {asked_at + late}' in shown for late in range(3)), "when it was asked again"
    assert blocks.REJECTED_BEFORE in town.slack.text_of(again)
    assert "<@U0BOB>" in town.slack.text_of(again)
    assert "too early" in town.slack.text_of(town.shows(request_id, "rejected", round=1))
    town.slack.click(ANN, again.ts, "approve")
    town.shows(request_id, "approved", round=2)


@pytest.mark.long
def test_an_empty_or_broken_queue_closes_nothing(world: World) -> None:
    world.start()
    request_id = request_of(posted(world))
    empty = {"authorization_requests": [], "page": 1, "per_page": 100, "total_pages": 1}
    world.conveyor.fail("GET /exchange/authorization_request_queue", times=3, status=200, body=empty)
    world.conveyor.fail("GET /exchange/authorization_request_queue", times=2, status=500)
    eventually(lambda: len(world.conveyor.calls("GET /exchange/authorization_request_queue")) > 8)
    world.shows(request_id, "pending")
    assert world.ledger("SELECT state FROM requests") == [("pending",)]


def test_a_failing_second_page_closes_nothing_and_loses_nothing(world: World) -> None:
    for number in range(150):
        world.conveyor.ask(f"p{number}@acme.com", "x")
    second: dict[str, Any] = {"when": lambda request: request.get("page") == "2"}
    world.conveyor.fail("GET /exchange/authorization_request_queue", times=2, status=500, **second)
    world.start()
    eventually(lambda: len(world.ledger("SELECT id FROM requests")) == 150)
    assert world.ledger("SELECT DISTINCT state FROM requests") == [("pending",)]


def test_a_queue_that_ignores_page_numbers_closes_nothing(world: World) -> None:
    for number in range(150):
        world.conveyor.ask(f"p{number}@acme.com", "x")
    world.conveyor.honors_page = False
    world.start()
    eventually(lambda: world.ledger("SELECT id FROM requests"))
    eventually(lambda: "repeats" in str(world.readiness()[1]["reasons"]))
    assert world.ledger("SELECT DISTINCT state FROM requests") == [("pending",)]


def test_a_late_click_says_who_decided(town: World) -> None:
    card = posted(town)
    stale = town.slack.click_payload(BOB, card.ts, "approve")
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved")
    edits = card.edited
    assert town.slack.send_payload(stale).status == 200
    town.told(BOB, blocks.already_decided(town.row(request_of(card)), BOB))
    eventually(lambda: card.edited > edits, what="the card is drawn again")
    assert writes(town, request_of(card)) == [("POST", True)]


def test_a_modal_opened_before_somebody_else_decided(town: World) -> None:
    card = posted(town)
    town.slack.click(BOB, card.ts, "reject")
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved")
    town.slack.submit(BOB, values={"reason": "too late"})
    view = town.slack.open_view(BOB)
    assert view
    assert blocks.already_decided(town.row(request_of(card)), BOB) in town.slack.text_of(view)
    assert writes(town, request_of(card)) == [("POST", True)]
    town.slack.close(BOB)


def test_a_click_on_an_old_card_points_to_the_current_one(town: World) -> None:
    card = posted(town)
    request_id = request_of(card)
    old = town.slack.click_payload(ANN, card.ts, "approve")
    town.slack.click(BOB, card.ts, "reject")
    town.slack.submit(BOB, values={"reason": "no"})
    town.shows(request_id, "rejected")
    town.conveyor.ask_again(request_id)
    again = clickable(town, request_id, round=2)
    town.slack.send_payload(old)
    assert again.ts.replace(".", "") in town.told(ANN, blocks.OPEN_CURRENT)
    assert writes(town, request_id) == [("PATCH", True)]


# 7. Who may decide


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (SAM, blocks.NOT_A_REVIEWER),
        (GUS, blocks.NOT_A_MEMBER),
        (GIL, blocks.NOT_A_MEMBER),
        (EVE, blocks.NOT_A_MEMBER),
        (ROBOT, blocks.NOT_A_MEMBER),
        (DAN, blocks.NOT_A_MEMBER),
        (NOEL, blocks.NO_ADDRESS),
        (UNA, blocks.NO_ADDRESS),
    ],
)
def test_people_who_may_not_decide_are_told_privately(town: World, who: str, words: str) -> None:
    card = posted(town)
    for button in ("approve", "reject"):
        town.slack.private.clear()
        assert town.slack.click(who, card.ts, button).status == 200
        town.told(who, words)
        assert town.slack.open_view(who) is None
    assert writes(town, request_of(card)) == []
    assert state_of(card) == "pending"


@pytest.mark.parametrize("who", [SAM, GUS, GIL, EVE, ROBOT, DAN, NOEL, UNA])
def test_a_modal_that_a_reviewer_opened_does_not_let_others_decide(town: World, who: str) -> None:
    card = posted(town)
    town.slack.click(ANN, card.ts, "reject")
    view = town.slack.open_view(ANN)
    assert view
    payload = town.slack.submit_payload(ANN, view.id, values={"reason": "me"})
    payload["user"] = {"id": who, "name": "x", "team_id": "T0SANDBOX"}
    answer = town.slack.send_payload(payload)
    assert answer.body["response_action"] == "update"
    assert "submit" not in answer.body["view"]  # a sentence, and nothing to send
    assert writes(town, request_of(card)) == []
    town.slack.close(ANN)


def suggested(world: World, who: str, **place: str) -> list[str]:
    """Return the ids of the groups that somebody is offered as they begin to type."""
    answer = world.slack.suggest(who, "groups", "", **place)
    assert answer.status == 200
    return [option["value"] for option in answer.body["options"]]


def test_only_people_who_may_decide_are_shown_groups(town: World) -> None:
    ids = offered(town, "room-of-names", [f"Secret {number}" for number in range(11)])
    card = posted(town, dataroom_id="room-of-names")
    town.slack.click(ANN, card.ts, "options")
    view = town.slack.open_view(ANN)
    assert view
    assert suggested(town, ANN, ts=card.ts) == suggested(town, ANN, view_id=view.id) == ids
    for who in (SAM, GUS, GIL, EVE, ROBOT, DAN, NOEL, UNA):
        assert suggested(town, who, ts=card.ts) == []
    payload: dict[str, Any] = {**town.slack.submit_payload(ANN, view.id), "type": "block_suggestion"}
    payload |= {"action_id": "groups", "block_id": "groups", "value": ""}
    for user in ({"id": SAM}, {"id": "U0NOBODY"}, {"id": ""}, {}, None):
        assert town.slack.send_payload({**payload, "user": user}).body == {"options": []}
    assert len(town.slack.send_payload(payload).body["options"]) == len(ids)
    town.slack.close(ANN)


def test_no_groups_are_shown_while_slack_does_not_say_who_somebody_is(world: World) -> None:
    for number in range(11):
        world.conveyor.add_group(f"Group {number}")
    world.start(REVIEWERS="@harbor.example")
    card = posted(world)
    eventually(lambda: world.ledger("SELECT count(*) FROM access_groups") == [(11,)])
    world.slack.fail("users.info", times=1, status=503)
    assert suggested(world, ANN, ts=card.ts) == []
    assert len(suggested(world, ANN, ts=card.ts)) == 11
    asked = len(world.slack.calls("users.info"))
    assert len(suggested(world, ANN, ts=card.ts)) == 11
    assert len(world.slack.calls("users.info")) == asked  # Slack's answer is cached


def test_a_click_by_a_listed_reviewer_needs_no_call_to_slack_before_its_answer(world: World) -> None:
    world.start()
    card = posted(world)
    eventually(lambda: {call.request["user"] for call in world.slack.calls("users.info")} >= {ANN, BOB})
    world.conveyor.fail("*", None, delay=1.0)  # so that the card changes after the answer to the click
    world.slack.fail("users.info", None, status=503)
    world.slack.exchanges.clear()
    assert world.slack.click(ANN, card.ts, "approve").status == 200
    before = [call.call for call in world.slack.exchanges]
    assert [
        call for call in before if call != "auth.test" and not call.startswith(("→", "conversations"))
    ] == []
    world.shows(request_of(card), "approved")


def test_an_empty_list_lets_full_members_decide_and_says_so(world: World) -> None:
    world.start(REVIEWERS="")
    card = posted(world)
    world.slack.click(GUS, card.ts, "approve")
    world.told(GUS, blocks.NOT_A_MEMBER)
    world.slack.click(SAM, card.ts, "approve")
    world.shows(request_of(card), "approved", "<@U0SAM>")
    assert "REVIEWERS is empty" in world.log()
    assert any("REVIEWERS is empty" in note for note in world.readiness()[1]["notes"])


def test_a_user_group_may_decide(world: World) -> None:
    world.slack.user_groups["S0SEC"] = {"handle": "security", "users": [SAM]}
    world.start(REVIEWERS="S0SEC")
    eventually(lambda: world.slack.calls("usergroups.users.list"))
    card = posted(world)
    world.slack.click(ANN, card.ts, "approve")
    world.told(ANN, blocks.NOT_A_REVIEWER)
    world.slack.click(SAM, card.ts, "approve")
    world.shows(request_of(card), "approved", "<@U0SAM>")


# 8. Two at once


def test_double_clicks_and_two_reviewers_make_one_decision(town: World) -> None:
    from concurrent.futures import ThreadPoolExecutor

    card = posted(town)
    town.slack.click(BOB, card.ts, "reject")
    town.slack.private.clear()
    clicks = [town.slack.click_payload((ANN, BOB)[number % 2], card.ts, "approve") for number in range(7)]
    view = town.slack.open_view(BOB)
    assert view
    submission = town.slack.submit_payload(BOB, view.id, values={"reason": "no"})
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(town.slack.send_payload, [*clicks, submission]))
    assert all(answer.status == 200 for answer in answers)
    answered_in_place = bool(answers[-1].body)
    eventually(lambda: state_of(card) in ("approved", "rejected"))
    assert len(writes(town, request_of(card))) == 1
    eventually(lambda: len(town.slack.private) + answered_in_place == 7)
    town.slack.close(BOB)


# 9. Options, and the command


def test_an_approval_with_every_option(town: World) -> None:
    first, second = offered(town, "room-of-options", ["Audit report", "Source code"])
    card = posted(town, dataroom_id="room-of-options")
    town.slack.click(ANN, card.ts, "options", choose={"groups": [first]})
    view = town.slack.open_view(ANN)
    assert view
    assert "jane@acme.com" in town.slack.text_of(view)
    (chosen,) = [each["element"] for each in view.blocks if each.get("block_id") == blocks.GROUPS]
    assert chosen["initial_options"][0]["value"] == first  # as chosen on the card
    town.slack.submit(
        ANN, values={"groups": [first, second], "nda": ["nda"], "ends": "90", "reason": "Deal 42 & more"}
    )
    shown = town.slack.text_of(town.shows(request_of(card), "approved"))
    assert town.conveyor.calls(POST)[-1].request == {
        "request_id": request_of(card),
        "reviewer_email": town.slack.users[ANN].email,
        "access_group_ids": [first, second],
        "nda_bypass": True,
        "expires_at": day(90),
    }
    for phrase in ("Audit report", "Source code", blocks.NDA_SKIPPED, blocks.ENDS_ASKED.format(written(90))):
        assert phrase in shown
    assert blocks.NOTE in shown
    assert "Deal 42 & more" in shown
    assert [found.ts for found in town.slack.search("deal 42")] == [card.ts]


def test_rooms_tells_a_sales_rep_where_each_request_stands(town: World) -> None:
    card = approved(town, "ann@story.example")
    rejected = posted(town, "bob@story.example")
    town.slack.click(BOB, rejected.ts, "reject")
    town.slack.submit(BOB, values={"reason": "wrong company"})
    town.shows(request_of(rejected), "rejected")
    waiting = posted(town, "cat@story.example")
    said = town.slack.text_of(answer_to(town, SAM, "Story.example"))
    assert f"ann@story.example {blocks.NOT_SIGNED}." in said
    assert f"bob@story.example {blocks.NO_ACCESS}." in said
    assert "wrong company" in said
    assert "<@U0BOB>" in said
    assert f"cat@story.example {blocks.JUST_ASKED}." in said
    answer = answer_to(town, SAM, "<mailto:ann@story.example|ann@story.example>")
    assert "ann@story.example" in town.slack.text_of(answer)
    assert card.ts.replace(".", "") in str(answer.blocks)
    grant = next(g for g in town.conveyor.authorizations.values() if g["email"] == "ann@story.example")
    town.conveyor.sign_nda(grant["id"])
    said = town.slack.text_of(answer_to(town, SAM, "ann@story.example", "/zimmer"))
    assert said.startswith(f"{blocks.HAS} ann@story.example {blocks.HAS_ACCESS}.")
    assert "cat@story.example" in town.slack.text_of(answer_to(town, ANN, "story.example"))
    assert town.slack.text_of(waiting)
