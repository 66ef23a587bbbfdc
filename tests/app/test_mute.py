"""Ways in which cards cannot be posted or found, each brought about and ended while the app runs."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import requests

from sandbox.workspace import ANN, BOB
from tests.support.launcher import BRISK
from tests.support.steps import clickable, posted, request_of, revoke
from tests.support.world import World, eventually, state_of

OFTEN = BRISK | {"worker.refresh.REFRESH_SECONDS": 0.5, "worker.show.LONGEST_OUTAGE_PAUSE": 1.0}
HISTORY = "conversations.history"
# Slack's errors to chat.postMessage that are no fault of the card, and what /readyz says.
FOR_ALL = {
    "is_archived": "the channel is archived",
    "not_in_channel": "/invite",
    "channel_not_found": "SLACK_CHANNEL_ID",
    "restricted_action": "may not post",
    "restricted_action_read_only_channel": "may not post",
    "restricted_action_thread_only_channel": "may not post",
    "restricted_action_non_threadable_channel": "may not post",
    "message_limit_exceeded": "message limit",
    "missing_scope": "the scope chat:write is missing",
    "account_inactive": "fails with account_inactive",
    "accesslimited": "fails with accesslimited",
    "team_access_not_granted": "fails with team_access_not_granted",
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with closing(World(tmp_path_factory.mktemp("town"))) as made:
        made.waits = dict(OFTEN)
        yield made.start()
    assert made.leaks() == []


@pytest.fixture
def town(running: World) -> Iterator[World]:
    """A running app, and a Slack that is well again afterwards."""
    yield running
    running.slack.clear_faults()
    eventually(lambda: running.readiness()[0] == 200)


def reason(world: World, words: str) -> bool:
    try:
        status, found = world.readiness()
    except requests.RequestException:
        return False  # it does not serve yet
    return status == 503 and any(each.startswith("Slack: ") and words in each for each in found["reasons"])


def warnings(log: str) -> list[str]:
    return [line for line in log.splitlines() if "level=WARNING" in line or "level=ERROR" in line]


@pytest.mark.parametrize(("error", "words"), FOR_ALL.items())
def test_what_concerns_all_messages_is_a_reason_until_one_gets_through(
    town: World, error: str, words: str
) -> None:
    before = len(town.log())
    body = {"ok": False, "error": error, "needed": "chat:write", "provided": "commands"}
    refusal = town.slack.fail("chat.postMessage", None, body=body)
    request_id = town.conveyor.ask(f"{error.replace('_', '-')}@acme.com")
    eventually(lambda: reason(town, words))
    eventually(lambda: refusal.used > 2)
    assert reason(town, words)
    assert len(warnings(town.log()[before:])) == 1, town.log()[before:]
    town.slack.clear_faults()
    clickable(town, request_id)
    eventually(lambda: town.readiness()[0] == 200)
    assert town.ledger(f"SELECT show_failures FROM requests WHERE id = '{request_id}'") == [(0,)]


def test_what_concerns_one_message_holds_up_no_other(town: World) -> None:
    body = {"ok": False, "error": "msg_blocks_too_long"}
    long = town.slack.fail("chat.postMessage", 1, body=body, when=lambda sent: "long@acme" in str(sent))
    first, second = town.conveyor.ask("long@acme.com"), town.conveyor.ask("short@acme.com")
    clickable(town, second)
    assert town.readiness()[0] == 200
    clickable(town, first)
    assert long.used == 1


def test_decisions_are_shown_while_posting_is_restricted(town: World) -> None:
    card = posted(town)
    town.slack.fail("chat.postMessage", None, body={"ok": False, "error": "restricted_action"})
    town.conveyor.ask("late@acme.com")
    eventually(lambda: reason(town, "may not post"))
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved")


@pytest.mark.parametrize("state", ["is_archived", "is_member"])
def test_a_channel_that_is_closed_is_noticed_without_a_message(town: World, state: str) -> None:
    channel, before = town.slack.channels[town.slack.channel_id], len(town.log())
    setattr(channel, state, not getattr(channel, state))
    eventually(lambda: reason(town, "archived" if state == "is_archived" else "/invite"))
    assert len(warnings(town.log()[before:])) == 1
    setattr(channel, state, not getattr(channel, state))
    eventually(lambda: town.readiness()[0] == 200)
    assert "channel=usable" in town.log()[before:]


@pytest.mark.parametrize(
    ("scope", "is_private", "is_needed"),
    [
        ("chat:write", False, True),
        ("commands", False, True),
        ("users:read", False, True),
        ("users:read.email", False, True),
        ("channels:history", False, True),
        ("channels:read", False, True),
        ("groups:history", False, False),
        ("groups:history", True, True),
        ("groups:read", True, True),
        ("channels:read", True, False),
        ("usergroups:read", False, False),
    ],
)
def test_a_missing_scope_is_named(town: World, scope: str, is_private: bool, is_needed: bool) -> None:
    channel = town.slack.channels[town.slack.channel_id]
    channel.is_private = is_private
    town.slack.scopes.discard(scope)
    try:
        asked = len(town.slack.calls("conversations.info"))
        if is_needed:
            of_people = scope.startswith("users:")
            words = f"without the scope {scope}." if of_people else f"the scope {scope} is missing"
            eventually(lambda: reason(town, words))
        eventually(lambda: len(town.slack.calls("conversations.info")) > asked + 2)
        assert (town.readiness()[0] == 503) is is_needed
    finally:
        town.slack.scopes.add(scope)
        channel.is_private = False


# Reading the channel back


def cursors(world: World) -> list[str | None]:
    """Return where each page began that Slack gave."""
    return [call.request.get("cursor") for call in world.slack.calls(HISTORY) if call.status == 200]


def lose_ledger(world: World) -> None:
    world.kill()
    for file in world.database.parent.iterdir():
        file.unlink()
    world.slack.exchanges.clear()


@pytest.mark.parametrize(("pages", "page", "limit"), [(8, 2, (5, 3.0)), (8, 1, (1, 1.0))])
def test_the_channel_is_read_to_its_end_however_little_slack_gives_at_once(
    world: World, pages: int, page: int, limit: tuple[int, float]
) -> None:
    world.start()
    cards = [posted(world, f"c{number}@acme.com") for number in range(6)]
    for number in range(pages * page - len(cards)):
        world.slack.post_as(BOB, f"Something else, {number}")
    lose_ledger(world)
    world.slack.history_page = page
    world.slack.rate_limits[HISTORY] = limit
    late = world.conveyor.ask("late@acme.com")
    world.launch()
    eventually(lambda: reason(world, "Reading the channel back: "), 30)
    assert len(world.slack.cards()) == len(cards)
    eventually(lambda: world.card(late), 60)
    eventually(lambda: world.readiness()[0] == 200)
    assert len(set(cursors(world)[:pages])) == pages  # each was read once
    assert {call.request["limit"] for call in world.slack.calls(HISTORY)} == {"999"}
    assert any(call.status == 429 for call in world.slack.calls(HISTORY))
    assert [len(world.cards(request_of(card))) for card in cards] == [1] * len(cards)
    world.slack.click(ANN, cards[0].ts, "approve")
    world.shows(request_of(cards[0]), "approved")


def test_a_page_that_is_too_large_and_a_cursor_that_expires_do_not_start_it_over(world: World) -> None:
    world.start()
    cards = [posted(world, f"c{number}@acme.com") for number in range(4)]
    lose_ledger(world)
    world.slack.history_page = 1
    world.slack.fail(HISTORY, None, status=503, when=lambda sent: int(sent["limit"]) > 100)
    world.slack.fail(
        HISTORY, 1, body={"ok": False, "error": "invalid_cursor"}, when=lambda sent: sent.get("cursor")
    )
    world.start()
    eventually(lambda: world.ledger("SELECT count(*) FROM requests WHERE card_ts != ''") == [(4,)])
    first = [
        call for call in world.slack.calls(HISTORY) if call.status == 200 and "messages" in call.response
    ]
    seen = [message["ts"] for call in first for message in call.response["messages"]]
    assert seen[:4] == [card.ts for card in reversed(cards)]


def test_new_cards_do_not_wait_for_the_search_for_deleted_ones(world: World) -> None:
    world.waits |= {"worker.show.SWEEP_SECONDS": 4.0, "worker.sweep.ASK_SECONDS": 0.5}
    world.start()
    cards = [posted(world, f"c{number}@acme.com") for number in range(4)]
    world.slack.history_page = 1
    world.slack.rate_limits[HISTORY] = 1, 4.0
    asked = len(world.slack.calls(HISTORY))
    eventually(lambda: any(call.status == 429 for call in world.slack.calls(HISTORY)[asked:]), 30)
    world.slack.delete(cards[1].ts)
    reads = len(cursors(world))
    late = posted(world, "late@acme.com")
    assert len(cursors(world)) <= reads + 1
    again = eventually(
        lambda: (found := world.card(request_of(cards[1]))) and found.ts > late.ts and found, 40
    )
    assert len(world.cards(request_of(again))) == 1
    questions = [call.request for call in world.slack.calls(HISTORY)[asked:]]
    assert cards[1].ts in {question["latest"] for question in questions}
    assert all(question["latest"] == question["oldest"] for question in questions)


def test_a_card_whose_posting_is_in_doubt_is_found_across_rate_limits(world: World) -> None:
    world.start()
    world.slack.history_page = 1
    world.slack.rate_limits[HISTORY] = 1, 1.0
    world.slack.fail("chat.postMessage", drop="after")
    request_id = world.conveyor.ask("jane@acme.com")
    eventually(lambda: world.card(request_id))
    for number in range(4):
        world.slack.post_as(BOB, f"Something else, {number}")
    after = world.conveyor.ask("joe@acme.com")
    clickable(world, after)
    clickable(world, request_id)
    assert len(world.cards(request_id)) == 1


# Another id


def test_a_click_counts_while_the_channel_gets_another_id(world: World) -> None:
    slack = world.slack
    slack.move_channel("G0REQUESTS", takes_former=False)
    slack.channels["G0REQUESTS"].is_private = True
    world.settings["SLACK_CHANNEL_ID"] = "G0REQUESTS"
    world.waits["worker.refresh.REFRESH_SECONDS"] = 600.0
    world.start()
    card = posted(world)
    slack.move_channel("C0OTHERWISE", True)
    # The click asks Slack for the id, and meanwhile another thread writes the answer that it got before.
    slack.fail("conversations.info", times=None, delay=0.7)
    with ThreadPoolExecutor(1) as pool:
        click = pool.submit(slack.click, ANN, card.ts, "approve")
        eventually(lambda: any(call.status is None for call in slack.calls("conversations.info")))
        world.ledger("UPDATE requests SET channel = 'C0OTHERWISE'")
        assert click.result().status == 200
    world.shows(request_of(card), "approved", "<@U0ANN>")


@pytest.mark.parametrize(
    ("shared_as", "takes_former"), [("C0REQUESTS", True), ("C0REQUESTS", False), ("C0OTHERWISE", True)]
)
def test_the_cards_of_a_private_channel_stay_current_when_it_is_shared(
    world: World, shared_as: str, takes_former: bool
) -> None:
    slack = world.slack
    slack.move_channel("G0REQUESTS", takes_former=False)
    slack.channels["G0REQUESTS"].is_private = True
    world.settings["SLACK_CHANNEL_ID"] = "G0REQUESTS"
    world.waits["worker.refresh.REFRESH_SECONDS"] = 3.0
    world.waits["worker.show.SWEEP_SECONDS"] = 3.0
    world.start()
    cards = [posted(world, f"jane@company-{number}.example") for number in range(3)]
    ids = [request_of(card) for card in cards]
    slack.click(BOB, cards[1].ts, "reject")
    slack.move_channel(shared_as, takes_former)
    slack.click(ANN, cards[0].ts, "approve")
    world.shows(ids[0], "approved")
    slack.submit(BOB, values={"reason": "no"})
    world.shows(ids[1], "rejected")
    eventually(lambda: world.ledger("SELECT DISTINCT channel FROM requests") == [(shared_as,)])
    revoke(world, ANN, cards[0])
    world.shows(ids[0], "revoked", "<@U0ANN>")
    swept = len(slack.calls(HISTORY))
    eventually(lambda: len(slack.calls(HISTORY)) > swept + 1)
    assert world.readiness()[0] == 200
    assert f"SLACK_CHANNEL_ID should be {shared_as} now" in str(world.readiness()[1]["notes"])
    # And after a restart, when Slack may not take the id in the settings anymore.
    world.stop()
    slack.former_ids.clear()
    world.start()
    clickable(world, world.conveyor.ask("late@acme.com"))
    slack.click(BOB, cards[2].ts, "approve")
    world.shows(ids[2], "approved")
    assert [len(world.cards(request_id)) for request_id in ids] == [1, 1, 1]
    assert not slack.private
    assert len([line for line in warnings(world.log()) if "channel=moved" in line]) == 2


def test_no_sentence_links_to_the_card_that_was_clicked(world: World) -> None:
    world.start()
    card = posted(world)
    payload = world.slack.click_payload(ANN, card.ts, "approve")
    payload["channel"]["id"] = payload["container"]["channel_id"] = "C0OTHER"
    world.slack.send_payload(payload)
    said = eventually(lambda: [each for each in world.slack.private if each.user == ANN])
    assert "/archives/" not in world.slack.text_of(said[0])
    assert state_of(card) == "pending"
