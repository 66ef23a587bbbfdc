"""Text from outsiders goes into every message, window and sentence, and has no effect in any of them."""

import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

import blocks
from operations.logs import Logfmt
from sandbox.workspace import ANN, BOB, SAM
from tests.support.world import World, eventually
from workspace import block_kit as elements

EVIL = (
    "<!channel> <!here|x> <@U0BOB> <#C0REQUESTS> <https://evil.example/|your bank> https://evil.example/ "
    "*bold* _it_ ~no~ `code` :tada: & &lt;!channel&gt; \u202e\u2066\u061c\x1b[31m\x07"
)
# Markup that the app makes itself: its links, whose addresses end nothing early, and mentions of two people.
LINKS = r"<((?:https|mailto):[!-;=?-{}~]*)\|[^|<>]*>"
TO_JOE = "mailto:joe@rival.example?"
OTHERS = r"<(?!@U0ANN>|@U0BOB>|!date\^)"
FORGED = "\ntime=2026-01-01T00:00Z level=ERROR at=app forged=yes\r\u2028level=ERROR forged=yes\x85forged=yes"
PLAIN = {
    "rich_text",
    "rich_text_section",
    "rich_text_quote",
    "text",
    "date",
    "plain_text",
    "header",
    "context",
}
OURS = {
    "section",
    "input",
    "actions",
    "button",
    "overflow",
    "checkboxes",
    "radio_buttons",
    "plain_text_input",
    "modal",
    "mrkdwn",
}


@pytest.fixture
def evil(world: World) -> World:
    """A running world in which people and groups have hostile names, and the log has everything."""
    world.conveyor.add_group(EVIL + FORGED, group_id="evil")
    world.slack.users[ANN].real_name = EVIL + FORGED
    world.slack.users[BOB].name = EVIL + FORGED
    return world.start(LOG_LEVEL="DEBUG")


def parts_of(found: Any) -> Iterator[dict[str, Any]]:
    """Yield every dictionary in blocks, however deep."""
    for inner in found.values() if isinstance(found, dict) else found if isinstance(found, list) else ():
        yield from parts_of(inner)
    if isinstance(found, dict):
        yield found


def check_sent(request: dict[str, Any], ours: set[str]) -> None:
    """Check one call to Slack: all markup, mentions and links in it are the app's own."""
    assert not request.get("link_names")
    assert request.get("parse", "none") == "none"
    view = request.get("view") or {}
    blocks = request.get("blocks") or view.get("blocks") or []
    for part in parts_of(blocks):
        assert part.get("type", "text") in PLAIN | OURS | {"user", "link"}, part
        if part.get("type") == "user":
            assert part["user_id"] in (ANN, BOB)
        if part.get("type") == "link":
            assert part["url"] in ours
        if part.get("type") == "text" and "evil" in str(part):
            assert set(part.get("style", {})) <= {"bold"}
        if part.get("type") == "mrkdwn":
            urls = re.findall(LINKS, part["text"])
            assert all(unquote(url) in ours or url.startswith(TO_JOE) for url in urls), urls
            check_markup(re.sub(LINKS, "", part["text"]))
        if part.get("type") == "plain_text" and "evil" in part["text"]:
            assert part["emoji"] is False
    if request.get("text"):
        assert not re.search(OTHERS, request["text"]), request["text"]
        if not blocks:  # then Slack shows this text
            check_markup(request["text"])


def check_markup(text: str) -> None:
    """Check that outsiders' words are only in code, and that all mentions are the app's own."""
    outside = re.sub(r"`[^`]*`", "", text)
    assert "evil" not in outside, text
    assert "bold" not in outside, text
    assert not re.search(OTHERS, text), text


def test_text_from_outsiders_never_pings_links_or_formats(evil: World) -> None:
    address = f'"{EVIL}"@evil.example'
    evil.conveyor.fail(
        "POST /exchange/authorizations", status=422, body={"error": EVIL.replace("<", "") + FORGED}
    )
    request_id = evil.conveyor.ask(address, EVIL + FORGED, request_id="req\u2028level=ERROR forged=yes\u202e")
    card = evil.shows(request_id, "pending")
    ours = {evil.conveyor.requests[request_id]["_links"]["self"]["href"]}
    eventually(lambda: evil.ledger("SELECT 1 FROM requests WHERE card_ts != ''"))

    evil.slack.click(BOB, card.ts, "reject")  # the window with the customer's address
    assert evil.slack.open_view(BOB)
    # Conveyor refuses this, and its words are quoted.
    evil.slack.click(ANN, card.ts, "approve", choose={"groups": ["evil"]})
    reply = eventually(lambda: evil.slack.replies(card.ts))[0]
    assert blocks.CONVEYOR_SAID in evil.slack.text_of(reply)
    evil.shows(request_id, "pending")

    strange = evil.slack.click_payload(SAM, card.ts, "approve")  # Sam may not decide
    evil.slack.send_payload(strange)
    evil.told(SAM, blocks.NOT_A_REVIEWER)
    strange = evil.slack.click_payload(ANN, card.ts, "approve")  # a group that cannot be chosen
    option = {"text": {"type": "plain_text", "text": EVIL + FORGED}, "value": EVIL + FORGED}
    strange["state"]["values"] = {"x": {"groups": {"selected_options": [option]}}}
    evil.slack.send_payload(strange)
    evil.told(ANN, blocks.NOTHING_GRANTED)

    eventually(lambda: evil.ledger("SELECT 1 FROM requests WHERE show_at IS NULL"))
    evil.slack.click(ANN, card.ts, "approve", choose={"groups": ["evil"]})
    evil.shows(request_id, "approved")
    answer = evil.slack.submit(BOB, values={"reason": EVIL + FORGED})  # too late: a window that says so
    assert answer.body["view"] == blocks.sentence_modal(blocks.already_decided(evil.row(request_id), BOB))
    check_sent(answer.body, ours)
    evil.slack.close(BOB)

    # A reason goes into the card, and into the text that search finds.
    asked = evil.conveyor.ask("joe@rival.example", "Hi")
    card = evil.shows(asked, "pending")
    eventually(lambda: not evil.ledger("SELECT 1 FROM requests WHERE card_ts = ''"))
    ours.add(evil.conveyor.requests[asked]["_links"]["self"]["href"])
    evil.slack.click(BOB, card.ts, "reject")
    evil.slack.submit(BOB, values={"reason": EVIL})
    evil.shows(asked, "rejected")

    calls = [
        call for call in evil.slack.exchanges if call.call.startswith(("chat.", "views.", "response_url"))
    ]
    assert len({call.call for call in calls}) >= 4
    for call in calls:
        check_sent(call.request, ours)
    assert evil.slack.problems == []

    for line in evil.log().splitlines():  # splitlines knows more line ends than newlines
        assert re.match(r"time=\S+Z level=\w+ at=|\[\d{4}-", line), line
        assert not line.startswith("time=2026-01-01")
        assert "evil.example" not in line
        assert "bold" not in line
        assert all(char.isprintable() for char in line)


def test_a_log_record_is_one_line_of_visible_characters() -> None:
    record = logging.makeLogRecord({"msg": "%s", "args": (EVIL + FORGED,), "levelname": "INFO"})
    line = Logfmt().format(record)
    assert line.splitlines() == [line]
    assert line.isprintable()
    assert r"\ntime=2026-01-01" in line
    assert r"\u2028level" in line
    assert r"\u001b[31m" in line


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("jane@Acme.com", "acme.com"),
        ("ceo@\u0430cme.com", "xn--cme-5cd.com"),  # a Cyrillic a
        ("ceo@ac\u200bme.com", "xn--acme-w76a.com"),  # a space without width
        ("x@gro\u00df.example", "xn--gro-7ka.example"),
        ("no address", ""),
    ],
)
def test_a_domain_that_only_looks_like_another_is_spelled_out(address: str, shown: str) -> None:
    assert elements.domain(address) == shown
