"""Where does this customer stand? What the slash command, its buttons and the message shortcut answer."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import blocks
from sandbox.workspace import ANN, BOB, SAM, Channel, Private
from tests.support.steps import answer_to, approved, posted, request_of, revoke
from tests.support.world import World, eventually

GRANTS, COMPANIES = "GET /exchange/authorizations", "GET /exchange/connections"


def said(world: World, typed: str) -> str:
    return world.slack.text_of(answer_to(world, SAM, typed))


def leads(world: World, typed: str) -> str:
    """Return the line with which the answer begins."""
    return said(world, typed).partition("\n")[0]


def offered(answer: Private) -> list[str]:
    """Return the customers that an answer offers, each by a button."""
    buttons = [
        element for block in answer.blocks if block["type"] == "actions" for element in block["elements"]
    ]
    assert all(button["accessibility_label"].count(button["value"]) for button in buttons)
    return [button["value"] for button in buttons if button["action_id"].startswith(blocks.ASK_ABOUT)]


def private_to(world: World, who: str, act: Callable[[], Any]) -> Private:
    """Return the private message that somebody gets when they do this."""
    before = len(world.slack.private)
    act()
    return eventually(lambda: [each for each in world.slack.private[before:] if each.user == who])[0]


def rejected(world: World, email: str, reason: str = "wrong company") -> None:
    card = posted(world, email)
    world.slack.click(BOB, card.ts, "reject")
    world.slack.submit(BOB, values={"reason": reason})
    eventually(lambda: world.ledger(f"SELECT 1 FROM requests WHERE email = '{email}' AND state = 'rejected'"))


def add_channel(world: World, channel_id: str, members: list[str]) -> str:
    world.slack.channels[channel_id] = Channel(channel_id, "general", members)
    return channel_id


def signed(world: World, email: str) -> None:
    grants = world.conveyor.authorizations.values()
    world.conveyor.sign_nda(next(grant["id"] for grant in grants if grant["email"] == email))


# The first line


def test_a_person_with_access_is_said_to_have_it(town: World) -> None:
    approved(town, "ann@one.example")
    assert leads(town, "ann@one.example").startswith(
        f"{blocks.UNSIGNED} ann@one.example {blocks.NOT_SIGNED}."
    )
    signed(town, "ann@one.example")
    line = leads(town, "ann@one.example")
    assert line.startswith(f"{blocks.HAS} ann@one.example {blocks.HAS_ACCESS}.")
    assert blocks.GIVEN_IN_CONVEYOR not in line


def test_a_last_day_that_conveyor_names_is_said_first(town: World) -> None:
    card = posted(town, "ann@until.example")
    town.conveyor.approve_here(request_of(card))
    for grant in town.conveyor.authorizations.values():
        if grant["email"] == "ann@until.example":
            grant.update(status="authorized", expires_at="2031-02-03")
    assert blocks.HAS_ACCESS + blocks.UNTIL.format("February 3, 2031") + "." in leads(
        town, "ann@until.example"
    )


def test_a_rejected_person_has_no_access_and_the_reason_follows(town: World) -> None:
    rejected(town, "bob@two.example")
    line = leads(town, "bob@two.example")
    assert line.startswith(f"{blocks.HAS_NOT} bob@two.example {blocks.NO_ACCESS}.")
    assert "wrong company" in line
    assert f"<@{BOB}>" in line


def test_access_given_in_conveyor_after_a_rejection_leads(town: World) -> None:
    rejected(town, "eve@three.example")
    town.conveyor.approve_here(town.conveyor.ask("eve@three.example", status="approved"))
    signed(town, "eve@three.example")
    line = leads(town, "eve@three.example")
    assert line.startswith(f"{blocks.HAS} eve@three.example {blocks.HAS_ACCESS}. {blocks.GIVEN_IN_CONVEYOR}")
    assert "wrong company" in line


def test_whoever_waits_is_said_to_wait_and_reviewers_are_named(town: World) -> None:
    posted(town, "cat@four.example", requested_at="2026-01-01T00:00:00Z")
    for typed in ("cat@four.example", "four.example"):
        line = leads(town, typed)
        assert line.startswith(f"{blocks.WAITS} ")
        assert blocks.WAITED.format("") in line
        assert f"{blocks.REVIEWERS_ARE} <@{ANN}> and <@{BOB}>" in said(town, typed).splitlines()
    posted(town, "new@five.example")
    assert blocks.JUST_ASKED in leads(town, "new@five.example")


def test_access_that_was_revoked_is_said_to_be_none(town: World) -> None:
    card = approved(town, "gone@six.example")
    revoke(town, BOB, card)
    eventually(lambda: town.ledger("SELECT 1 FROM requests WHERE state = 'revoked'"))
    line = leads(town, "gone@six.example")
    assert line.startswith(f"{blocks.HAS_NOT} gone@six.example {blocks.NO_ACCESS}.")
    assert f"<@{BOB}>" in line
    assert f"<@{ANN}>" in line


def test_without_conveyor_the_ledger_leads_and_says_no_more_than_it_knows(town: World) -> None:
    approved(town, "ann@down.example")
    rejected(town, "bob@down.example")
    posted(town, "cat@down.example")
    town.conveyor.fail(GRANTS, times=None, status=503)
    town.conveyor.fail(COMPANIES, times=None, status=503)
    asked = [
        "ann@down.example",
        "bob@down.example",
        "cat@down.example",
        "nobody@down.example",
        "down.example",
    ]
    lines = {typed: leads(town, typed) for typed in asked}
    town.conveyor.clear_faults()
    for typed, line in lines.items():
        assert line[0] in blocks.UNCERTAIN + blocks.WAITS, line
        assert blocks.COULD_NOT_ASK in line
        assert f" {blocks.HAS_ACCESS}." not in line
        assert f" {blocks.NO_ACCESS}" not in line, typed


def test_conveyor_is_waited_for_two_seconds_in_all(town: World) -> None:
    for number in range(3):
        posted(town, f"p{number}@slow.example")
    town.conveyor.fail(COMPANIES, times=None, delay=0.9)
    town.conveyor.fail(GRANTS, times=None, delay=0.9)
    began = time.monotonic()
    line = leads(town, "slow.example")
    took = time.monotonic() - began
    town.conveyor.clear_faults()
    assert took < 3.0
    assert line.startswith(blocks.WAITS)


# Companies


def test_a_company_leads_with_whether_anybody_has_access(town: World) -> None:
    assert leads(town, "seven.example").endswith(blocks.NO_REQUEST)
    rejected(town, "bob@seven.example")
    assert leads(town, "seven.example").startswith(blocks.HAS_NOT)
    approved(town, "ann@seven.example")
    assert leads(town, "seven.example").startswith(blocks.UNSIGNED)
    signed(town, "ann@seven.example")
    first, *others = said(town, "seven.example").splitlines()
    assert first.startswith(f"{blocks.HAS} seven.example {blocks.HAS_ACCESS}.")
    assert [line.split()[:2] for line in others] == [
        [blocks.HAS, "ann@seven.example"],
        [blocks.HAS_NOT, "bob@seven.example"],
    ]


def test_access_given_to_colleagues_in_conveyor_is_counted(town: World) -> None:
    approved(town, "ann@eight.example")
    for name in ("joe", "kim"):
        town.conveyor.approve_here(town.conveyor.ask(f"{name}@eight.example", status="approved"))
    line = leads(town, "eight.example")
    assert line.startswith(blocks.HAS)
    assert blocks.PEOPLE.format(3) in line
    assert blocks.AT_LEAST.format(2) in line


def test_requests_that_wait_come_first(town: World) -> None:
    posted(town, "first@nine.example")
    for number in range(5):
        rejected(town, f"p{number}@nine.example")
    lines = said(town, "nine.example").splitlines()
    assert lines[1].startswith(blocks.REVIEWERS_ARE)
    assert lines[2].startswith(f"{blocks.WAITS} first@nine.example")
    assert blocks.ONE_OLDER in lines[-1]


def test_a_personal_email_provider_is_no_company(town: World) -> None:
    posted(town, "jane.roe@gmail.com")
    town.conveyor.exchanges.clear()
    answer = said(town, "gmail.com")
    assert answer.startswith(f"{blocks.RISK} gmail.com ")
    assert "jane.roe@gmail.com" in answer
    assert town.conveyor.calls(COMPANIES) == []


# A part of a name


@pytest.fixture(scope="module")
def firms(town: World) -> World:
    """A world with several companies whose names are alike."""
    for email in ("al@acmeco.example", "bo@acmeco.example", "cy@big-acmeco.example", "acmeco.fan@gmail.com"):
        posted(town, email)
    for number in range(7):
        posted(town, f"x@many{number}.example")
    posted(town, "lea@bücherei.example")
    posted(town, "under_score@odd.example")
    posted(town, "ed@hp.example")
    return town


@pytest.mark.parametrize(
    ("typed", "customers"),
    [
        ("acmeco", ["acmeco.example", "big-acmeco.example", "acmeco.fan@gmail.com"]),
        ("ACMECO?", ["acmeco.example", "big-acmeco.example", "acmeco.fan@gmail.com"]),
        ("“acm”", ["acmeco.example", "big-acmeco.example", "acmeco.fan@gmail.com"]),
        ("many", [f"many{number}.example" for number in range(5)]),
    ],
)
def test_several_companies_are_offered(firms: World, typed: str, customers: list[str]) -> None:
    answer = answer_to(firms, SAM, typed)
    assert offered(answer) == customers
    assert (blocks.MORE_CALLED in firms.slack.text_of(answer)) == (typed == "many")


@pytest.mark.parametrize(
    ("typed", "who"),
    [
        ("big-ac", "big-acmeco.example"),
        ("many3", "many3.example"),
        ("@many4", "many4.example"),
        ("fan", "acmeco.fan@gmail.com"),
        ("bücher", "bücherei.example"),
        ("Bücherei", "bücherei.example"),
        ("under_", "under_score@odd.example"),
        ("hp", "hp.example"),
    ],
)
def test_one_company_is_answered_about_at_once(firms: World, typed: str, who: str) -> None:
    assert who in leads(firms, typed)


@pytest.mark.parametrize("typed", ["zzzz", "m_ny", "acm--", "co", "gmail", "a'b"])
def test_a_part_that_nobody_has_gets_help(firms: World, typed: str) -> None:
    answer = said(firms, typed)
    assert answer.startswith(blocks.NOTHING_CALLED.format(typed))
    assert "/rooms jane@acme.com" in answer


def test_a_click_on_a_company_answers_as_the_command_does(firms: World) -> None:
    answer = answer_to(firms, SAM, "acmeco")
    button = f"{blocks.ASK_ABOUT}-0"
    told = private_to(firms, SAM, lambda: firms.slack.click(SAM, answer.ts, button, via=answer))
    assert firms.slack.text_of(told) == said(firms, "acmeco.example")


@pytest.mark.parametrize("value", ["nobody@nowhere.example", "", "'; DROP TABLE requests", "%", "x" * 1999])
def test_a_made_up_button_is_answered_about_nobody(firms: World, value: str) -> None:
    answer = answer_to(firms, SAM, "acmeco")
    payload = firms.slack.click_payload(SAM, answer.ts, f"{blocks.ASK_ABOUT}-0", via=answer)
    payload["actions"][0]["value"] = value
    firms.conveyor.exchanges.clear()
    told = private_to(firms, SAM, lambda: firms.slack.send_payload(payload))
    assert told.text == blocks.NOT_ASKED
    assert [call for call in firms.conveyor.calls(GRANTS) if "email" in call.request] == []


def test_whoever_left_the_channel_gets_no_answer_from_a_button(world: World) -> None:
    world.start()
    for email in ("al@acme-one.example", "bo@acme-two.example"):
        posted(world, email)
    answer = answer_to(world, SAM, "acme")
    world.stop()
    world.slack.channels[world.slack.channel_id].members.remove(SAM)
    world.start()
    click = world.slack.click_payload(SAM, answer.ts, f"{blocks.ASK_ABOUT}-0", via=answer)
    told = private_to(world, SAM, lambda: world.slack.send_payload(click))
    assert told.text == blocks.not_in_channel(world.slack.channel_id)


# The message shortcut


def shortcut(world: World, text: str, who: str = SAM, **how: Any) -> Private:
    """Let somebody use the shortcut on a message with this text; return the private answer."""
    message = world.slack.post_as(ANN, text, **how)
    return private_to(world, who, lambda: used(world, who, message.ts))


def used(world: World, who: str, ts: str) -> None:
    assert world.slack.shortcut(who, ts, blocks.WHERE_IS).status == 200


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("Any news from al@acmeco.example?", "al@acmeco.example"),
        ("<mailto:al@acmeco.example|Al> asked (al@acmeco.example).", "al@acmeco.example"),
        ("what about <http://acmeco.example|acmeco.example> — see e.g. report.pdf", "acmeco.example"),
        ("is acmeco.example in yet", "acmeco.example"),
        ("nobody@nowhere.example and al@acmeco.example, <@U0BOB|bob>", "al@acmeco.example"),
        ("does nobody@nowhere.example have access", "nobody@nowhere.example"),
        ("“https://www.nowhere.example/about?x=1” have access?", "nowhere.example"),
        ("Al &lt;al@acmeco.example&gt;; " + "x" * 3000, "al@acmeco.example"),
    ],
)
def test_a_message_is_answered_about_its_customer(firms: World, text: str, typed: str) -> None:
    assert firms.slack.text_of(shortcut(firms, text)) == said(firms, typed)


@pytest.mark.parametrize(
    "text",
    [
        "Hello everybody",
        "see report.pdf, e.g. version 1.2.3",
        "<@U0ANN> <#C0REQUESTS|trust-requests> <!here>",
        "me@gmail",
        "mail them on gmail.com",
        "jane@@acme..example @ a.b",
        "(" * 3000,
    ],
)
def test_a_message_without_a_customer_gets_a_sentence(firms: World, text: str) -> None:
    assert shortcut(firms, text).text == blocks.NO_CUSTOMER


def test_of_several_customers_those_with_requests_are_offered(firms: World) -> None:
    text = "al@acmeco.example, bo@acmeco.example, ed@hp.example, no@no.example and many1.example"
    answer = shortcut(firms, text)
    people = ["al@acmeco.example", "bo@acmeco.example", "ed@hp.example"]
    assert offered(answer) == [*people, "many1.example"]
    told = private_to(
        firms, SAM, lambda: firms.slack.click(SAM, answer.ts, f"{blocks.ASK_ABOUT}-2", via=answer)
    )
    assert firms.slack.text_of(told) == said(firms, "ed@hp.example")
    assert shortcut(firms, "no@no.example or on@on.example").text == blocks.NO_KNOWN_CUSTOMER


def test_a_card_is_answered_about_its_customer_and_so_is_its_thread(firms: World) -> None:
    card = posted(firms, "kay@card.example", "ask al@acmeco.example, too")
    on_card = private_to(firms, SAM, lambda: used(firms, SAM, card.ts))
    assert firms.slack.text_of(on_card).splitlines()[0].startswith(f"{blocks.WAITS} kay@card.example")
    in_thread = shortcut(firms, "where is this?", thread_ts=card.ts)
    assert firms.slack.text_of(in_thread) == firms.slack.text_of(on_card)
    assert (on_card.thread_ts, in_thread.thread_ts) == (None, card.ts)  # where the person is


def test_rich_text_and_attachments_are_read(firms: World) -> None:
    link = {"type": "link", "url": "mailto:al@acmeco.example", "text": "Al"}
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": "Is "}, link]}
    for part in (
        {"blocks": [{"type": "rich_text", "elements": [section]}]},
        {"attachments": [{"fallback": "mail", "text": "From: Al <al@acmeco.example>"}]},
        {"files": [{"plain_text": "Hello", "from": [{"address": "al@acmeco.example"}]}]},
    ):
        message = firms.slack.post_as(ANN, "see below")
        payload = firms.slack.shortcut_payload(SAM, message.ts, blocks.WHERE_IS)
        payload["message"] |= part
        told = private_to(firms, SAM, partial(firms.slack.send_payload, payload))
        assert firms.slack.text_of(told) == said(firms, "al@acmeco.example")


@pytest.mark.parametrize(
    "message",
    [
        None,
        "al@acmeco.example",
        {"text": 7, "blocks": "x"},
        {"blocks": [[[[["al@acmeco.example"]]]], None, {"elements": {"elements": []}}]},
        {"text": "a.b@" * 100_000},
        {"blocks": [{"text": {"text": "x" * 100}}] * 5_000},
        {"text": "\ud800 \0"},
    ],
    ids=range(7),
)
def test_odd_messages_get_a_sentence(firms: World, message: Any) -> None:
    asked = firms.slack.post_as(ANN, "x")
    payload = firms.slack.shortcut_payload(SAM, asked.ts, blocks.WHERE_IS)
    payload["message"] = message
    began = time.monotonic()
    told = private_to(firms, SAM, lambda: firms.slack.send_payload(payload))
    assert told.text == blocks.NO_CUSTOMER
    assert time.monotonic() - began < 3.0


def test_the_shortcut_is_for_members_of_the_channel_wherever_they_use_it(world: World) -> None:
    other = add_channel(world, "C0GENERAL", [ANN, BOB, SAM])
    world.slack.channels[world.slack.channel_id].members.remove(SAM)
    world.start()
    posted(world, "secret@acme.example")
    message = world.slack.post_as(SAM, "secret@acme.example", channel=other)
    told = private_to(world, SAM, lambda: used(world, SAM, message.ts))
    assert told.text == blocks.not_in_channel(world.slack.channel_id)
    told = private_to(world, ANN, lambda: used(world, ANN, message.ts))
    assert told.channel == other
    assert "secret@acme.example" in told.text


# Direct messages


def test_a_command_from_elsewhere_is_answered_where_the_person_is(town: World) -> None:
    posted(town, "ann@elsewhere-asked.example")
    other = add_channel(town, "C0ELSEWHERE", [ANN, SAM])
    town.slack.command(SAM, "ann@elsewhere-asked.example", channel=other)
    told = eventually(lambda: [each for each in town.slack.private if each.channel == other])[0]
    assert told.text.startswith(blocks.WAITS)
