"""The features beside the main job: options, past requests, revoking, /rooms and "tell me"."""

import re
from typing import Any
from urllib.parse import quote

import pytest

import blocks
from ledger.rows import Row
from ledger.states import State
from sandbox.limits import blocks_text
from sandbox.workspace import ANN, BOB, EVE, GUS, SAM, Message
from tests.support.steps import (
    answer_to,
    approved,
    asked_before,
    change,
    day,
    ended,
    is_refusal,
    offered,
    posted,
    request_of,
    revoke,
    writes,
    written,
)
from tests.support.world import World, eventually, state_of

POST = "POST /exchange/authorizations"


# Approve with options


@pytest.mark.parametrize(
    ("values", "block", "words"),
    [
        ({"ends": "day"}, "day", blocks.DAY_MISSING),
        ({"ends": "day", "day": day(-1)}, "day", blocks.DAY_PAST),
        ({"ends": "30", "day": day(10)}, "day", blocks.DAY_UNUSED),
    ],
    ids=str,
)
def test_a_wrong_day_is_refused_in_place(town: World, values: dict[str, str], block: str, words: str) -> None:
    card = posted(town)
    town.slack.click(ANN, card.ts, "options")
    town.slack.submit(ANN, values=values)
    view = town.slack.open_view(ANN)
    assert view
    assert view.errors == {block: words}
    town.slack.submit(ANN, values={"ends": "day", "day": day(1)})
    town.shows(request_of(card), "approved", blocks.ENDS_ASKED.format(written(1)))
    assert writes(town, request_of(card)) == [("POST", True)]


def test_a_note_of_invisible_characters_is_no_note(town: World) -> None:
    card = posted(town)
    town.slack.click(ANN, card.ts, "options")
    town.slack.submit(ANN, values={"reason": "\u200b \u2800\ufe0f"})
    assert blocks.reason_on_card(town.shows(request_of(card), "approved").blocks, blocks.REASON) == ""
    assert town.ledger(f"SELECT reason FROM requests WHERE id = '{request_of(card)}'") == [("",)]


def test_an_approval_without_an_end_is_refused(town: World) -> None:
    card = posted(town)
    town.slack.click(ANN, card.ts, "options")
    payload = town.slack.submit_payload(ANN)
    del payload["view"]["state"]["values"]["ends"]
    assert town.slack.send_payload(payload).body["errors"] == {"ends": blocks.ENDS_MISSING}
    assert writes(town, request_of(card)) == []
    town.slack.close(ANN)


def test_many_groups_are_found_by_typing_in_the_window(town: World) -> None:
    ids = offered(town, "room-of-many", [f"Set {number}" for number in range(12)])
    card = posted(town, dataroom_id="room-of-many")
    town.slack.click(BOB, card.ts, "options", choose={"groups": [ids[3]]})
    view = town.slack.open_view(BOB)
    assert view
    (menu,) = [each["element"] for each in view.blocks if each["block_id"] == blocks.GROUPS]
    assert [option["value"] for option in menu["initial_options"]] == [ids[3]]
    found = town.slack.suggest(BOB, "groups", "set 11", view_id=view.id)
    assert [option["value"] for option in found.body["options"]] == [ids[11]]
    town.slack.submit(BOB, values={"groups": [ids[3], ids[11]]})
    town.shows(request_of(card), "approved", "Set 3", "Set 11")


@pytest.mark.parametrize(
    ("who", "words"), [(SAM, blocks.NOT_A_REVIEWER), (GUS, blocks.NOT_A_MEMBER), (EVE, blocks.NOT_A_MEMBER)]
)
def test_nobody_else_can_decide_in_the_window_with_options(town: World, who: str, words: str) -> None:
    card = posted(town)
    town.slack.click(who, card.ts, "options")
    town.told(who, words)
    assert town.slack.open_view(who) is None
    town.slack.click(ANN, card.ts, "options")
    payload = town.slack.submit_payload(ANN)
    payload["user"]["id"] = who
    answer = town.slack.send_payload(payload)
    assert is_refusal(answer)
    assert words in str(answer.body["view"])
    assert writes(town, request_of(card)) == []
    town.slack.close(ANN)


# Past requests on a card


def company_line(card: Message, domain: str) -> list[str]:
    """Return what a card says about a company: that anybody has access, or that nobody has."""
    phrases = (blocks.NOBODY_HAS_ACCESS, blocks.HAVE_ACCESS.partition("{}")[2].lstrip())
    return [phrase for phrase in phrases if phrase.format(domain) in blocks_text(card.blocks)]


def test_a_card_shows_the_company_and_its_past_requests(world: World) -> None:
    world.start(POLL_SECONDS="0.5")
    group = world.conveyor.add_group("Reports")
    eventually(lambda: world.ledger("SELECT 1 FROM access_groups"))
    first = posted(world, "jane@acme.com")
    assert blocks.NOBODY_HAS_ACCESS.format("acme.com") in world.slack.text_of(first)
    world.slack.click(ANN, first.ts, "approve", choose={"groups": [group]})
    world.shows(request_of(first), "approved")
    second = posted(world, "joe@acme.com")
    world.slack.click(BOB, second.ts, "reject")
    world.slack.submit(BOB, values={"reason": "not a customer"})
    world.shows(request_of(second), "rejected")
    third = world.slack.text_of(posted(world, "Jane@acme.com"))
    assert blocks.ASKED_BEFORE.capitalize() + ended(State.APPROVED) in third  # it is Jane again
    assert "Reports" in third
    assert asked_before("joe@acme.com", State.REJECTED) in third
    assert "not a customer" in third
    assert "<@U0BOB>" in third
    posted(world, "kim@acme.com")
    calls = world.conveyor.calls("GET /exchange/connections")
    # Once for the company, and again after each decision.
    assert [call.request["domain"] for call in calls] == 3 * ["acme.com"]


def test_a_card_counts_who_has_access_and_links_to_the_crm(town: World) -> None:
    town.conveyor.connections.append(
        {
            "id": "conn-crm",
            "domain": "initech.example",
            "crm_id": "1",
            "crm_link": "https://crm.example/accounts/1",
            "authorizations_count": 4,
            "authorizations_with_access_count": 3,
            "authorizations_removed_count": 1,
            "latest_activity_at": "2026-11-01T12:00:00Z",
        }
    )
    card = posted(town, "bill@initech.example")
    said = blocks.HAVE_ACCESS.format(blocks.PEOPLE.format(3), "initech.example") + blocks.LAST_ACTIVE
    assert said in town.slack.text_of(card)
    assert "https://crm.example/accounts/1" in str(card.blocks)


CRM = "https://crm.example/opportunities/7"


def test_a_first_request_links_to_the_crm_by_itself(town: World) -> None:
    card = posted(town, "ceo@umbrella.example", crm_link=CRM)
    assert blocks.OPEN_IN_CRM in town.slack.text_of(card)
    assert CRM in str(card.blocks)
    change(town, request_of(card), crm_link=CRM + "1")
    eventually(lambda: CRM + "1" in str(card.blocks))


@pytest.mark.parametrize("known", ["https://crm.example/accounts/2", None])
def test_the_link_of_the_company_goes_before_that_of_the_request(town: World, known: str | None) -> None:
    name = "known.example" if known else "without.example"
    approved(town, f"first@{name}")
    company = next(item for item in town.conveyor.connections if item["domain"] == name)
    company["crm_link"] = known
    shown = str(posted(town, f"second@{name}", crm_link=CRM).blocks)
    assert (CRM in shown, str(known) in shown) == (not known, bool(known))


def test_a_request_links_to_the_crm_although_nothing_is_known_of_its_company(town: World) -> None:
    town.conveyor.fail("GET /exchange/connections", status=503)
    unknown, personal = (
        posted(town, "x@silent.example", crm_link=CRM),
        posted(town, "y@gmail.com", crm_link=CRM),
    )
    for card in (unknown, personal):
        assert CRM in str(card.blocks)
    assert company_line(unknown, "silent.example") == []


@pytest.mark.parametrize("odd", ["http://crm.example/", "javascript:x", 7, {}, "https://" + "x" * 2000])
def test_no_other_address_becomes_a_link_to_the_crm(town: World, odd: Any) -> None:
    card = posted(town, "z@odd.example", crm_link=odd)
    assert blocks.OPEN_IN_CRM not in town.slack.text_of(card)


def test_a_personal_email_provider_is_named_and_not_treated_as_a_company(town: World) -> None:
    one, other = posted(town, "someone@gmail.com"), posted(town, "other@gmail.com")
    for card in (one, other):
        assert blocks.PERSONAL.format("gmail.com") in town.slack.text_of(card)
    assert "someone@gmail.com" not in town.slack.text_of(other)  # they only share a provider
    asked = [call.request["domain"] for call in town.conveyor.calls("GET /exchange/connections")]
    assert "gmail.com" not in asked


@pytest.mark.parametrize("fault", [{"status": 500}, {"delay": 30.0}, {"status": 200, "body": []}], ids=str)
def test_a_card_does_not_wait_for_details_of_the_company(world: World, fault: dict[str, Any]) -> None:
    world.start()
    world.conveyor.fail("GET /exchange/connections", times=None, **fault)
    started = world.slack.now()
    card = posted(world, "jane@acme.com")
    assert float(card.ts) - started < 4
    assert company_line(card, "acme.com") == []
    posted(world, "joe@other.example")
    assert len(world.conveyor.calls("GET /exchange/connections")) == 1  # and the next card does not ask again
    world.conveyor.clear_faults()


# Revoke


def test_access_is_revoked_once_and_the_card_says_who_revoked_it(town: World) -> None:
    card = approved(town, "rita@revoked.example")
    town.slack.click(BOB, card.ts, "more", value="revoke")
    assert "rita@revoked.example" in str(town.slack.open_view(BOB))
    payload = town.slack.submit_payload(BOB, values={"reason": "Not a customer anymore"})
    assert town.slack.send_payload(payload).status == 200
    town.slack.close(BOB)
    shown = town.slack.text_of(town.shows(request_of(card), "revoked", "<@U0BOB>"))
    assert blocks.DECIDED[State.APPROVED][0] in shown
    assert "<@U0ANN>" in shown
    assert blocks.BASIC in shown
    grants = [g for g in town.conveyor.authorizations.values() if g["email"] == "rita@revoked.example"]
    assert [grant["status"] for grant in grants] == ["revoked"]
    assert not any(block.get("accessory") for block in card.blocks)
    for words in (blocks.DECIDED[State.REVOKED][0], "Bob Brown", "rita@revoked.example"):
        assert words in card.text
    town.slack.private.clear()
    late = town.slack.send_payload({**payload, "trigger_id": "1.2.later"})
    said = blocks.already_decided(town.row(request_of(card)), BOB)
    assert late.body["view"] == blocks.sentence_modal(said)
    patches = town.conveyor.calls("PATCH /exchange/authorizations/*")
    assert len([call for call in patches if grants[0]["id"] in call.path]) == 1


@pytest.mark.parametrize("who", [SAM, GUS, EVE])
def test_only_reviewers_can_revoke(town: World, who: str) -> None:
    card = approved(town, "kept@revoked.example")
    town.slack.private.clear()
    town.slack.click(who, card.ts, "more", value="revoke")
    eventually(lambda: [said for said in town.slack.private if said.user == who])
    assert state_of(card) == "approved"
    grants = [g for g in town.conveyor.authorizations.values() if g["email"] == "kept@revoked.example"]
    assert all(grant["status"] == "gated" for grant in grants)
    trail = town.ledger(f"SELECT request_id FROM trail WHERE event = 'refused' AND person_id = '{who}'")
    assert (request_of(card),) in trail


def test_a_refused_revocation_leaves_the_access_and_says_so(town: World) -> None:
    card = approved(town)
    town.conveyor.fail("PATCH /exchange/authorizations/*", status=422, body={"error": "Not today"})
    revoke(town, BOB, card)
    reply = eventually(lambda: town.slack.replies(card.ts))[0]
    assert reply.text == blocks.note("revoke refused", BOB, "", "jane@acme.com")["text"]
    assert "<@U0BOB>" in reply.text
    assert f"{blocks.CONVEYOR_SAID} Not today" in town.slack.text_of(reply)
    town.shows(request_of(card), "approved", "<@U0ANN>")
    assert any(block.get("accessory") for block in card.blocks)


def test_the_card_says_that_access_was_revoked_in_conveyor_before(town: World) -> None:
    card = approved(town, "gone@revoked.example")
    grant = next(g for g in town.conveyor.authorizations.values() if g["email"] == "gone@revoked.example")
    town.conveyor.revoke_here(grant["id"])
    revoke(town, BOB, card)
    shown = town.slack.text_of(town.shows(request_of(card), "revoked", blocks.NOT_IN_SLACK))
    assert "<@U0BOB>" not in shown
    reply = eventually(lambda: town.slack.replies(card.ts))[0]
    assert blocks.NOTES["revoke elsewhere"] in reply.text


def test_nobody_is_named_for_a_revocation_in_conveyor(town: World) -> None:
    card = approved(town, "first@nobody.example")
    grant = next(g for g in town.conveyor.authorizations.values() if g["email"] == "first@nobody.example")
    late = town.slack.click_payload(ANN, card.ts, "more", value="revoke")
    town.conveyor.revoke_here(grant["id"])
    revoke(town, BOB, card)
    town.shows(request_of(card), "revoked", blocks.NOT_IN_SLACK)
    town.slack.send_payload(late)
    said = town.told(ANN, blocks.already_decided(town.row(request_of(card)), ANN))
    assert "<@" not in said
    shown = town.slack.text_of(posted(town, "second@nobody.example"))
    assert asked_before("first@nobody.example", State.REVOKED) in shown
    assert "<@" not in shown


def test_an_email_to_the_customer_leaves_the_reason_out(town: World) -> None:
    card = posted(town, "o'neil+x@acme.com")
    town.slack.click(BOB, card.ts, "reject")
    town.slack.submit(BOB, values={"reason": "internal secret"})
    card = town.shows(request_of(card), "rejected")
    (url,) = re.findall(r"<(mailto:[^|]*)\|", town.slack.text_of(card))
    url = url.replace("&amp;", "&")
    assert url.startswith(f"mailto:o%27neil%2Bx@acme.com?subject={quote(blocks.MAIL_SUBJECT)}&")
    assert "secret" not in url
    assert "+" not in url


# /rooms


def test_rooms_tells_the_access_of_a_customer_who_asked_again(town: World) -> None:
    card = approved(town, "ann@again.example")
    town.conveyor.ask_again(request_of(card))
    town.shows(request_of(card), "pending", round=2)
    said = town.slack.text_of(answer_to(town, SAM, "again.example"))
    assert f"ann@again.example {blocks.NOT_SIGNED}." in said
    assert blocks.JUST_CAME in said
    assert f"{blocks.EARLIER}{ended(State.APPROVED)}" in said
    town.slack.click(ANN, card.ts, "more", value="revoke")
    town.told(ANN, blocks.NOT_CURRENT)


@pytest.mark.parametrize(
    "typed",
    [
        "https://www.web.example/about?x=1",
        "<https://web.example/>",
        "<http://web.example|web.example>",
        "web.example:8080",
        "@web.example",
        "Web.example.",
    ],
)
def test_a_web_address_is_taken_for_its_company(town: World, typed: str) -> None:
    if not town.ledger("SELECT 1 FROM requests WHERE domain = 'web.example'"):
        posted(town, "jane@web.example")
    assert f"jane@web.example {blocks.JUST_ASKED}" in town.slack.text_of(answer_to(town, SAM, typed))


def test_rooms_finds_access_that_was_given_in_conveyor(town: World) -> None:
    town.conveyor.approve_here(town.conveyor.ask("old@before.example", status="approved"))
    said = town.slack.text_of(answer_to(town, SAM, "old@before.example"))
    assert said == f"{blocks.UNSIGNED} old@before.example {blocks.NOT_SIGNED}."
    said = town.slack.text_of(answer_to(town, SAM, "before.example"))
    assert said.startswith(f"{blocks.HAS} before.example {blocks.HAS_ACCESS}.")


def test_rooms_without_words_lists_waiting_requests_oldest_first(world: World) -> None:
    world.start()
    for number in (3, 1, 2):
        posted(world, f"p{number}@acme.com", requested_at=f"2026-01-0{number}T00:00:00Z")
    said = world.slack.text_of(answer_to(world, SAM, ""))
    assert said.startswith(f"{blocks.WAITS} 3 ")
    assert said.index("p1@") < said.index("p2@") < said.index("p3@")


@pytest.mark.parametrize(
    "typed", ["help", "what?", "payload", "acmee", "<!channel> *x*", "a@b@c d", "acme.com,a.example"]
)
def test_words_that_are_not_understood_get_help(town: World, typed: str) -> None:
    said = town.slack.text_of(answer_to(town, SAM, typed))
    assert "/rooms acme.com" in said
    assert said.startswith(blocks.rooms_help("/rooms")["text"][:9]) == (typed == "help")


def test_a_long_answer_says_how_many_more_there_are(town: World) -> None:
    for number in range(7):
        town.conveyor.ask(f"p{number}@long.example", "x")
    eventually(lambda: town.ledger("SELECT count(*) FROM requests WHERE domain = 'long.example'") == [(7,)])
    said = town.slack.text_of(answer_to(town, SAM, "long.example"))
    assert f"5{blocks.OR_MORE}" in said
    assert blocks.OLDER.format(2) in said


def test_while_conveyor_is_down_only_the_line_about_access_is_missing(town: World) -> None:
    approved(town, "down@down.example")
    town.conveyor.fail("GET /exchange/authorizations", times=None, status=503)
    said = town.slack.text_of(answer_to(town, SAM, "down.example"))
    town.conveyor.clear_faults()
    assert blocks.LAST_KNOWN[State.APPROVED] in said
    assert blocks.COULD_NOT_ASK in said


def test_only_members_of_the_channel_are_answered(world: World) -> None:
    world.slack.channels[world.slack.channel_id].members.remove(SAM)
    world.start()
    posted(world, "secret@acme.com")
    said = world.slack.text_of(answer_to(world, SAM, "acme.com"))
    assert said == blocks.not_in_channel(world.slack.channel_id)
    assert "secret@" not in said
    world.slack.fail("conversations.members", times=None, status=500)
    world.stop()
    world.start()
    assert world.slack.text_of(answer_to(world, ANN, "acme.com")) == blocks.MEMBERS_UNKNOWN


# Tell me


def sam_watches(world: World) -> Message:
    """Let Sam ask to be told how a new request ends; return its card."""
    card = posted(world, "jane@acme.com")
    answer = answer_to(world, SAM, "acme.com")
    world.slack.click(SAM, answer.ts, "tell_me", via=answer)
    world.told(SAM, blocks.FOLLOWED)
    return card


def told_directly(world: World) -> list[Message]:
    """Return the direct messages to Sam."""
    return [said for said in world.slack.messages if said.channel == f"D{SAM[1:]}"]


def test_a_watcher_is_told_of_the_decision_also_after_a_restart(world: World) -> None:
    world.start()
    card = posted(world, "jane@acme.com")
    answer = answer_to(world, SAM, "acme.com")
    for new in (True, False):
        world.slack.private.clear()
        world.slack.click(SAM, answer.ts, "tell_me", via=answer)
        world.told(SAM, blocks.watched(Row("", 1, State.PENDING, "jane@acme.com", "", "", "", 0.0), new=new))
    listed = answer_to(world, SAM, "watching")
    assert "jane@acme.com" in world.slack.text_of(listed)
    other = posted(world, "joe@acme.com")
    answer = answer_to(world, SAM, "joe@acme.com")
    world.slack.private.clear()
    world.slack.click(SAM, answer.ts, "tell_me", via=answer)
    world.told(SAM, blocks.FOLLOWED)
    listed = answer_to(world, SAM, "watching")
    stop = [block["block_id"] for block in listed.blocks if block["type"] == "actions"]
    world.slack.click(SAM, listed.ts, "stop_telling", via=listed, block_id=stop[1])
    world.told(SAM, blocks.UNWATCHED)
    assert world.stop() == 0
    world.start()
    for decided in (card, other):
        world.slack.click(BOB, decided.ts, "reject")
        world.slack.submit(BOB, values={"reason": "not now"})
        world.shows(request_of(decided), "rejected")
    told = eventually(lambda: told_directly(world))
    said = world.slack.text_of(told[0])
    assert "jane@acme.com" in said
    assert said.startswith(blocks.DECIDED[State.REJECTED][1])
    assert "not now" in said
    assert card.ts.replace(".", "") in str(told[0].blocks)
    eventually(lambda: world.ledger("SELECT * FROM notes") == [])
    assert len(told_directly(world)) == 1
    assert world.ledger("SELECT * FROM watchers") == []


@pytest.mark.long
def test_a_kill_forgets_no_watcher_and_tells_at_most_twice(world: World) -> None:
    world.start()
    card = sam_watches(world)
    world.kill()
    world.start()
    # Slack posts the message, and the app dies before it gets the answer.
    world.slack.fail("chat.postMessage", delay_after=4, when=lambda request: request.get("channel") == SAM)
    world.slack.click(ANN, card.ts, "approve")
    eventually(lambda: told_directly(world))
    world.kill()
    world.start()
    eventually(lambda: world.ledger("SELECT * FROM notes") == [], seconds=20)
    assert 1 <= len(told_directly(world)) <= 2


def test_a_watcher_is_told_however_long_slack_fails(world: World) -> None:
    world.waits["worker.back_off.LONGEST_PAUSE"] = 0.05
    world.start()
    card = sam_watches(world)
    fault = world.slack.fail(
        "chat.postMessage", times=None, status=500, when=lambda request: request.get("channel") == SAM
    )
    world.slack.click(ANN, card.ts, "approve")
    eventually(lambda: fault.used > 7)
    world.slack.clear_faults()
    told = eventually(lambda: told_directly(world))[0]
    assert told.text.startswith(f"{blocks.DECIDED[State.APPROVED][0]}: jane@acme.com")


def test_a_late_message_tells_the_outcome_although_the_request_was_repeated(world: World) -> None:
    world.start(POLL_SECONDS="0.1")
    card = sam_watches(world)
    world.slack.fail("chat.postMessage", status=429, headers={"Retry-After": "3"})
    world.slack.click(BOB, card.ts, "reject")
    world.slack.submit(BOB, values={"reason": "not now"})
    world.shows(request_of(card), "rejected")
    world.conveyor.ask_again(request_of(card))
    eventually(lambda: world.ledger("SELECT state FROM requests") == [("pending",)])
    told = eventually(lambda: told_directly(world))[0]
    assert told.text == f"{blocks.DECIDED[State.REJECTED][0]}: jane@acme.com (acme.com)."
    said = world.slack.text_of(told)
    assert "not now" in said
    assert blocks.ASKED_SINCE in said
    assert "waiting" not in said


def test_a_watcher_who_stops_in_the_last_moment_is_not_told(world: World) -> None:
    world.start()
    card = sam_watches(world)
    listed = answer_to(world, SAM, "watching")
    fault = world.slack.fail("chat.postMessage", status=429, headers={"Retry-After": "3"})
    world.slack.click(ANN, card.ts, "approve")
    eventually(lambda: fault.used)
    world.slack.click(SAM, listed.ts, "stop_telling", via=listed)
    world.told(SAM, blocks.UNWATCHED)
    eventually(lambda: world.ledger("SELECT 1 FROM notes") == [])
    posted(world, "joe@acme.com")
    assert told_directly(world) == []
