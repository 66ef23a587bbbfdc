"""One page in many windows: what belongs to one window, what all share, and what a reload keeps."""

import json
import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Locator, Page, expect
from slack_sdk.errors import SlackApiError

from blocks import APPROVE, ENDS, OPTIONS_BUTTON, REASON, REASON_CHARS, REJECT
from ledger.states import State
from sandbox.workspace import ANN, BOB, GUS, SAM
from tests.page.browser import Sandbox, Windows, card, expect_state, named, pane, press, private, submit
from tests.requirements import needs
from tests.support.leaks import secrets_in

pytestmark = needs("chromium")

CHANNEL = "C0REQUESTS"
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


def box(**more: Any) -> dict[str, Any]:
    options = [{"text": plain(name), "value": name.lower()} for name in ("Red", "Blue")]
    return {"type": "checkboxes", "action_id": "boxes", "options": options, **more}


def sent(window: Page, call: str) -> str:
    """Return the body of the latest exchange of this name, as the wire shows it."""
    pane(window, "HTTP traffic")
    latest = window.locator("#exchanges > li").filter(has_text=call).first
    latest.locator("summary").click()
    shown = latest.locator("pre").first
    expect(shown).to_be_visible()
    return shown.inner_text()


def on_screen(window: Page, element: Locator) -> bool:
    found, size = element.bounding_box(), window.viewport_size
    assert found
    assert size
    return found["y"] >= 0 and found["y"] + found["height"] <= size["height"]


def test_a_modal_belongs_to_the_window_that_was_clicked(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("modal@apart.example")
    window, other = windows.open(ANN), windows.open(ANN)
    press(window, "modal@apart.example", REJECT)
    expect(window.locator("#modal [autofocus]")).to_be_focused()
    press(other, "modal@apart.example", APPROVE)
    expect_state(card(other, "modal@apart.example"), State.APPROVED)
    expect(other.get_by_role("dialog")).to_have_count(0)
    expect(window.get_by_role("dialog")).to_be_visible()
    window.reload()
    expect(card(window, "modal@apart.example")).to_be_visible()
    expect(window.get_by_role("dialog")).to_have_count(0)


def test_private_messages_are_gone_after_a_reload(sandbox: Sandbox, windows: Windows) -> None:
    window, other = windows.open(GUS), windows.open(GUS)
    sandbox.slack().chat_postEphemeral(channel=CHANNEL, user=GUS, text="psst")
    expect(card(other, "psst")).to_contain_text("Only visible to you")
    card(window, "psst").get_by_role("button", name="Dismiss message").click()
    expect(card(window, "psst")).to_have_count(0)
    expect(card(other, "psst")).to_be_visible()
    other.reload()
    expect(other.locator("#messages article").first).to_be_visible()
    expect(card(other, "psst")).to_have_count(0)


def test_after_a_reload_only_new_choices_count(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN)
    chosen = [{"text": plain("Red"), "value": "red"}]
    blocks: list[dict[str, Any]] = [
        {"type": "input", "label": plain("Colours"), "element": box(initial_options=chosen)},
        {"type": "actions", "elements": [{"type": "button", "action_id": "go", "text": plain("Go")}]},
    ]
    sandbox.slack().chat_postMessage(channel=CHANNEL, text="colours", blocks=blocks)
    message = card(window, "Colours")
    message.get_by_label("Red").uncheck()
    message.get_by_label("Blue").check()
    message.get_by_role("button", name="Go").click()
    expect(message.locator("> .problem")).to_contain_text("responded with status 404")
    state = json.loads(sent(window, "click go"))["state"]["values"]
    assert '"blue"' in json.dumps(state)
    assert '"red"' not in json.dumps(state)
    window.reload()
    expect(message.get_by_label("Red")).to_be_checked()
    expect(message.get_by_label("Blue")).not_to_be_checked()
    message.get_by_role("button", name="Go").click()
    expect(message.locator("> .problem")).to_contain_text("responded with status 404")
    state = json.loads(sent(window, "click go"))["state"]["values"]
    assert '"red"' in json.dumps(state)
    assert '"blue"' not in json.dumps(state)


def test_a_choice_outside_of_an_input_block_is_sent_at_once(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN)
    title = {"type": "section", "text": plain("Now or never")}
    boxes = {"type": "actions", "elements": [box(action_id="at_once")]}
    sandbox.slack().chat_postMessage(channel=CHANNEL, text="x", blocks=[title, boxes])
    card(window, "Now or never").get_by_label("Blue").check()
    [action] = json.loads(sent(window, "click at_once"))["actions"]
    assert [option["value"] for option in action["selected_options"]] == ["blue"]


def test_another_person_in_the_same_window_has_no_choices_yet(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("afresh@acme.example")
    window = windows.open(ANN)
    tick = card(window, "afresh@acme.example").get_by_label("SOC 2 report")
    tick.check()
    window.get_by_label("Acting as").select_option("Bob Brown (reviewer)")
    expect(window).to_have_url(re.compile("as=U0BOB"))
    expect(tick).not_to_be_checked()


def test_two_quick_clicks_are_one(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("double@twice.example")
    window = windows.open(ANN)
    clicks: list[str] = []
    window.on("request", lambda request: clicks.append(request.url) if "/act/" in request.url else None)
    approve = named(card(window, "double@twice.example"), APPROVE)
    approve.evaluate("button => { button.click(); button.click() }")
    expect_state(card(window, "double@twice.example"), State.APPROVED)
    assert clicks == [f"{sandbox.url}/act/click"]


def test_a_late_window_sends_the_click_on_what_it_shows(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("late@astray.example")
    ann, bob, late = windows.open(ANN), windows.open(BOB), windows.open(BOB)
    expect(card(ann, "late@astray.example")).to_be_visible()
    old = sandbox.first_event(BOB)
    late.route("**/events*", lambda route: route.fulfill(body=old, content_type="text/event-stream"))
    late.reload()
    press(ann, "late@astray.example", APPROVE)
    expect_state(card(ann, "late@astray.example"), State.APPROVED)
    press(late, "late@astray.example", APPROVE)
    expect(private(bob, "@ann")).to_contain_text("Only visible to you")


def test_many_windows_get_news_while_they_are_in_sight(sandbox: Sandbox, windows: Windows) -> None:
    """A browser opens at most six connections to one server, and each window that gets news takes one."""
    for number in range(4):
        sandbox.ask(f"many{number}@acme.example", "Hello\n" * 20)
    first = windows.open(SAM)
    expect(card(first, "many3@acme.example")).to_be_visible()
    first.locator("#messages").evaluate("messages => { messages.scrollTop = 40 }")
    others = [first.context.new_page() for _ in range(6)]
    for before, window in zip([first, *others], others, strict=False):
        before.evaluate(HIDE, True)
        window.goto(first.url)
        expect(card(window, "many3@acme.example")).to_be_visible()
    sandbox.ask("news@acme.example")
    expect(card(others[-1], "news@acme.example")).to_be_visible()
    expect(card(first, "news@acme.example")).to_have_count(0)
    others[-1].evaluate(HIDE, True)
    first.evaluate(HIDE, False)
    expect(card(first, "news@acme.example")).to_be_attached()
    assert first.locator("#messages").evaluate("messages => messages.scrollTop") == 40


@pytest.mark.parametrize("address", [f"as={ANN}&in=C0NOWHERE", "as=U0NOBODY", f"as={ANN}&in=D0SAM"])
def test_an_odd_address_leads_to_the_channel(sandbox: Sandbox, windows: Windows, address: str) -> None:
    window = windows.open(ANN)
    sandbox.slack().chat_postMessage(channel=SAM, text="for Sam alone")
    window.goto(f"{sandbox.url}/#{address}")
    expect(window).to_have_url(f"{sandbox.url}/#as={ANN}&in={CHANNEL}")
    expect(window.locator("#messages article").first).to_be_visible()


def test_nobody_else_finds_or_writes_to_what_is_for_one_person(sandbox: Sandbox, windows: Windows) -> None:
    sam, ann = windows.open(SAM), windows.open(ANN)
    sandbox.slack().chat_postMessage(channel=SAM, text="the tortoise wins")
    for window, count in ((sam, "1 message"), (ann, "No messages")):
        window.get_by_role("searchbox").fill("tortoise")
        expect(window.locator("#found")).to_contain_text(f"{count} with “tortoise”")
    query = {"person": ANN, "query": "tortoise"}
    assert requests.get(f"{sandbox.url}/search", query, timeout=5).json() == []
    ann.locator("#messages").click(position={"x": 5, "y": 5})
    expect(ann.locator("#found")).to_be_hidden()
    psst = {"person": ANN, "channel": "D0SAM", "text": "psst"}
    assert sandbox.answer("say", **psst) == {"problem": "You are not in this channel."}


def test_news_does_not_move_the_focus(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN)
    link = window.locator("#channels a")
    link.focus()
    posted = sandbox.slack().chat_postMessage(channel=CHANNEL, text="news of the day")
    expect(card(window, "news of the day")).to_be_visible()
    expect(link).to_be_focused()
    long = {"type": "section", "text": plain("word " * 300)}
    ask = {
        "type": "input",
        "label": plain("Say"),
        "element": {"type": "plain_text_input", "action_id": "say"},
    }
    window.get_by_label("Email address").focus()
    for text in ("first", "second"):
        title = {"type": "section", "text": plain(f"The {text} picture")}
        blocks = [title, long, ask]
        sandbox.slack().chat_update(channel=CHANNEL, ts=posted["ts"], text=text, blocks=blocks)
        shown = card(window, f"The {text} picture")
        if text == "first":
            shown.get_by_role("button", name="See more").click()
            shown.get_by_label("Say").focus()
    expect(shown.get_by_role("button", name="See less")).to_be_visible()
    expect(shown.get_by_label("Say")).to_be_focused()


def test_the_wire_names_refusals_and_shows_no_secret(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("wire@alone.example")
    window = windows.open(ANN)
    press(window, "wire@alone.example", APPROVE)
    expect_state(card(window, "wire@alone.example"), State.APPROVED)
    with pytest.raises(SlackApiError, match="channel_not_found"):
        sandbox.slack().chat_postMessage(channel="C1", text="x")
    pane(window, "HTTP traffic")
    refused = window.locator("#exchanges > li").filter(has_text="channel_not_found")
    expect(refused.locator(".status.bad")).to_have_text("200 channel_not_found")
    clicked = sent(window, "click approve")
    assert '"token": "***"' in clicked
    assert "/actions/***" in clicked
    bodies = window.evaluate(
        """async keys => {
            const body = async (key) => (await fetch(`/exchange/${encodeURIComponent(key)}`)).text();
            return (await Promise.all(keys.map(body))).join("");
        }""",
        [
            key.removeprefix("exchange/")
            for key in json.loads(sandbox.first_event(ANN)[6:])["changed"]
            if key.startswith("exchange/")
        ],
    )
    assert "wire@alone.example" in bodies
    assert secrets_in(bodies) == []


def test_lengths_are_checked_before_anything_is_sent(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("length@acme.example")
    window = windows.open(ANN)
    press(window, "length@acme.example", REJECT)
    why = named(window.locator("#modal"), REASON)
    why.fill("x" * (REASON_CHARS - 10))
    expect(window.get_by_role("dialog").locator(".left")).to_have_text("10")
    why.fill("x" * (REASON_CHARS + 1))
    sends: list[str] = []
    window.on("request", lambda request: sends.append(request.url) if "/act/" in request.url else None)
    submit(window).click()
    expect(window.get_by_role("dialog")).to_contain_text(f"Please keep it to {REASON_CHARS} characters.")
    assert sends == []


def test_a_required_field_is_checked_before_anything_is_sent(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("required@acme.example")
    window = windows.open(ANN)
    press(window, "required@acme.example", OPTIONS_BUTTON)
    named(window.locator("#modal"), ENDS).select_option("")
    sends: list[str] = []
    window.on("request", lambda request: sends.append(request.url) if "/act/" in request.url else None)
    submit(window).click()
    expect(window.get_by_role("dialog")).to_contain_text("Please complete this required field.")
    assert sends == []


def test_on_a_phone_the_buttons_of_a_long_modal_are_in_sight(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("tall@acme.example")
    window = windows.open(ANN, viewport={"width": 390, "height": 700})
    press(window, "tall@acme.example", OPTIONS_BUTTON)
    buttons = window.locator("#modal footer button")
    expect(buttons).to_have_count(2)  # the one that closes the modal and the one that submits it
    for button in buttons.all():
        expect(button).to_be_visible()
        assert on_screen(window, button)


def test_options_found_by_typing_on_the_lowest_card_are_in_sight(sandbox: Sandbox, windows: Windows) -> None:
    names = [f"Group {number:02}" for number in range(12)]
    sandbox.act("add_groups", names=names)
    sandbox.ask("lowest@acme.example")
    window = windows.open(ANN, viewport={"width": 1300, "height": 700})
    card(window, "lowest@acme.example").get_by_role("combobox").fill("group")
    found = window.get_by_role("listbox")
    expect(found.get_by_role("option")).to_have_text(names)
    assert on_screen(window, found)
