"""The demo as a newcomer meets it: the opening, the things to try, threads, and what Slack can show."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from playwright.sync_api import Browser, Locator, Page, expect

from blocks import TELL_ME
from sandbox.workspace import ANN, BOB, GUS, SAM
from tests.page.browser import Sandbox, Windows, card, pane
from tests.requirements import needs

pytestmark = needs("chromium")

CHANNEL = "C0REQUESTS"
SHORTCUT = """
  shortcuts:
    - name: What is this?
      type: message
      callback_id: what_is_this
      description: Nothing answers this one
"""


def plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox to which nobody has done anything yet."""
    with closing(Sandbox(tmp_path_factory.mktemp("demo") / "log")) as demo:
        yield demo


@pytest.fixture
def window(browser: Browser, demo: Sandbox) -> Iterator[Page]:
    with closing(Windows(browser, demo.url)) as windows:
        yield windows.open(ANN)


def ticked(window: Page, name: str) -> Locator:
    """Return the mark that this thing was done."""
    return window.locator("#tries li.done").filter(has=window.locator(f"[data-try={name}]"))


def set_up(window: Page, name: str) -> Locator:
    """Click on a thing to try; return the card to which the window leads."""
    expect(ticked(window, name)).to_have_count(0)
    window.locator(f"[data-try={name}]").click()
    return window.locator("#messages article:focus-within")


def ts_of(message: Locator) -> str:
    return str(message.locator("xpath=..").get_attribute("data-ts"))


def test_the_page_starts_at_the_first_card_and_says_what_it_is(demo: Sandbox, window: Page) -> None:
    expect(window.locator("#messages > li")).to_have_count(3)
    assert window.locator("#messages").evaluate("messages => messages.scrollTop") == 0
    intro = window.get_by_role("complementary", name="About this page")
    expect(intro).to_contain_text("nothing leaves this computer")
    intro.get_by_role("button").click()
    expect(intro).to_be_hidden()
    window.reload()
    expect(window.locator("#messages > li")).to_have_count(3)
    expect(intro).to_be_hidden()


def test_the_address_is_printed_last(demo: Sandbox) -> None:
    lines = demo.log().splitlines()
    assert f"Open {demo.url}" in lines
    before = lines[: lines.index(f"Open {demo.url}")]
    assert sum("chat.postMessage  200" in line for line in before) == 3


def test_things_to_try_lead_to_a_card_and_tick_themselves_off(window: Page) -> None:
    shown = set_up(window, "approve")
    shown.get_by_role("checkbox").first.check()
    expect(ticked(window, "approve")).to_have_count(0)
    shown.locator("[data-name=approve]").click()
    expect(ticked(window, "approve")).to_be_visible()
    set_up(window, "reject").locator("[data-name=reject]").click()
    window.locator("#modal textarea").fill("A competitor.")
    window.locator("#modal [type=submit]").click()
    expect(ticked(window, "reject")).to_be_visible()
    window.locator("[data-try=search]").click()
    window.keyboard.type("competitor")
    expect(ticked(window, "search")).to_be_visible()
    window.keyboard.press("Escape")
    set_up(window, "guest").locator("[data-name=reject]").click()
    expect(window.get_by_label("Acting as")).to_have_value(GUS)
    expect(ticked(window, "guest")).to_be_visible()
    expect(window.locator("article.private")).to_be_in_viewport()
    done, offered = (window.locator(f"#tries {which}").count() for which in ("li.done", "[data-try]"))
    expect(window.locator("#tried")).to_have_text(f"{done} of {offered} done")


def test_a_race_opens_the_other_window(window: Page) -> None:
    with window.context.expect_page() as opened:
        shown = set_up(window, "race")
        window.wait_for_load_state()
    other = opened.value
    expect(other.get_by_label("Acting as")).to_have_value(BOB)
    same = other.locator(f'[data-ts="{ts_of(shown)}"]')
    same.locator("[data-name=reject]").click()
    shown.locator("[data-name=approve]").click()
    expect(ticked(window, "race")).to_be_visible()


def test_deciding_while_conveyor_is_down_counts_when_it_is_up_again(demo: Sandbox, window: Page) -> None:
    demo.ask("patient@outage.example")
    expect(card(window, "patient@outage.example")).to_be_visible()
    shown = set_up(window, "down")
    tab = window.get_by_role("button", name="What can go wrong")
    expect(tab).to_have_attribute("aria-pressed", "true")
    expect(tab).to_contain_text("1 on")
    shown.locator("[data-name=approve]").click()
    pane(window, "HTTP traffic")
    expect(window.locator("#exchanges li").filter(has_text="click approve").first).to_be_visible()
    expect(ticked(window, "down")).to_have_count(0)
    pane(window, "What can go wrong")
    window.get_by_role("switch", checked=True).uncheck()
    pane(window, "Try it")
    expect(ticked(window, "down")).to_be_visible()
    expect(tab).not_to_contain_text("1 on")


def test_a_sales_rep_asks_and_gets_a_message(demo: Sandbox, window: Page) -> None:
    box = window.locator("#composer input")
    set_up(window, "rooms")
    expect(window.get_by_label("Acting as")).to_have_value(SAM)
    expect(box).to_be_focused()
    box.press("Enter")
    expect(ticked(window, "rooms")).to_be_visible()
    set_up(window, "notify")
    waiting = card(window, "dana@umbrella.example")
    expect(waiting).to_be_in_viewport()
    answer = window.locator("article.private").filter(has_text="dana@umbrella.example")
    expect(box).to_have_value("/rooms umbrella.example")
    box.press("Enter")
    answer.locator(f"[data-name={TELL_ME}]").click()
    expect(window.locator("article.private")).to_have_count(3)
    window.goto(f"{demo.url}/#as={ANN}")
    waiting.locator("[data-name=approve]").click()
    expect(ticked(window, "notify")).to_be_visible()
    window.goto(f"{demo.url}/#as={SAM}")
    window.locator("#direct a").click()
    expect(window.locator("#messages article")).to_have_count(1)
    expect(card(window, "dana@umbrella.example")).to_be_visible()
    # The manifest makes the tab read-only, so that there is no box to type in.
    expect(box).to_be_hidden()
    expect(window.locator("#read-only")).to_be_visible()
    refused = demo.answer("say", person=SAM, channel="D0SAM", text="hello")
    assert refused == {"problem": "Sending messages to this app has been turned off."}


def test_threads_are_folded(demo: Sandbox, window: Page) -> None:
    slack = demo.slack()
    parent = str(slack.chat_postMessage(channel=CHANNEL, text="the parent")["ts"])
    for text in ("one", "two"):
        slack.chat_postMessage(channel=CHANNEL, thread_ts=parent, text=f"reply {text}")
    item = window.locator(f'#messages > [data-ts="{parent}"]')
    replies = item.get_by_role("button", name="2 replies")
    expect(replies).to_have_attribute("aria-expanded", "false")
    expect(item.get_by_text("reply one")).to_be_hidden()
    replies.click()
    expect(item.get_by_text("reply one")).to_be_visible()
    box = item.get_by_label("Reply in the thread")
    box.fill("/rooms acme.example")
    box.press("Enter")
    expect(item.locator(".reply .problem")).to_have_text("/rooms is not supported in threads. Sorry!")
    box.fill("and mine")
    box.press("Enter")
    expect(item.locator(".thread article").last).to_contain_text("and mine")
    item.get_by_role("button", name="3 replies").click()
    expect(item.get_by_text("and mine")).to_be_hidden()
    lone = card(window, "jane.doe@acme.example")
    lone.get_by_role("button", name="Message actions").click()
    window.get_by_role("menuitem", name="Reply in thread").click()
    expect(window.locator(".reply input:focus")).to_be_visible()
    # A reply that is found by searching is unfolded.
    window.get_by_role("searchbox").fill("reply two")
    window.locator("#found a").click()
    expect(item.get_by_text("reply two")).to_be_visible()


def test_a_reply_can_be_shown_in_the_channel(demo: Sandbox, window: Page) -> None:
    slack = demo.slack()
    parent = str(slack.chat_postMessage(channel=CHANNEL, text="a question to all")["ts"])
    slack.chat_postMessage(channel=CHANNEL, thread_ts=parent, text="heard by all", reply_broadcast=True)
    shown = window.locator("#messages > li.broadcast").filter(has_text="heard by all")
    expect(shown).to_contain_text("replied to a thread: a question to all")
    reply = window.locator(f'[data-ts="{parent}"] .thread').get_by_text("heard by all")
    expect(reply).to_be_hidden()
    shown.get_by_role("button", name="a question to all").click()
    expect(reply).to_be_visible()


def test_a_message_offers_the_shortcuts_of_the_manifest(browser: Browser, copy: Path, tmp_path: Path) -> None:
    manifest = copy / "manifest.yaml"
    manifest.write_text(re.sub(r"^  shortcuts:\n( {4}.*\n)+", "", manifest.read_text(), flags=re.MULTILINE))
    manifest.write_text(manifest.read_text().replace("features:", f"features:{SHORTCUT.rstrip()}", 1))
    with (
        closing(Sandbox(tmp_path / "log", copy)) as sandbox,
        closing(Windows(browser, sandbox.url)) as windows,
    ):
        window = windows.open(ANN)
        set_up(window, "thread")
        expect(window.get_by_label("Acting as")).to_have_value(SAM)
        reply = window.locator(".thread article:focus")
        expect(reply).to_contain_text("Bob Brown")
        reply.get_by_role("button", name="Message actions").click()
        window.get_by_role("menuitem", name="What is this?").click()
        expect(ticked(window, "thread")).to_be_visible()
        # The app does not know this shortcut, and Slack says that it failed.
        expect(window.locator(".thread article > .problem")).to_contain_text("404")


def opened_view(demo: Sandbox) -> str:
    """Return the id of the modal that the app opened last."""
    shown = json.loads(demo.first_event(ANN)[6:])["changed"]
    keys = [each["key"] for each in shown.values() if each and each.get("call") == "views.open"]
    answer = requests.get(f"{demo.url}/exchange/{quote(keys[-1])}", timeout=10).json()["response"]
    return str(answer["view"]["id"])


def test_a_modal_sends_a_choice_at_once_and_keeps_what_was_entered(demo: Sandbox, window: Page) -> None:
    demo.ask("modal@dispatch.example")
    card(window, "modal@dispatch.example").locator("[data-name=reject]").click()
    modal = window.locator("#modal")
    expect(modal).to_be_visible()
    words = {"title": "Sure?", "text": "Really?", "confirm": "Do it", "deny": "No"}
    select = {
        "type": "static_select",
        "action_id": "when",
        "options": [{"text": plain(name), "value": name} for name in ("Never", "Then")],
        "confirm": {key: plain(word) for key, word in words.items()},
    }
    say = {"type": "plain_text_input", "action_id": "say", "initial_value": "as it was"}
    when = {"type": "input", "block_id": "w", "label": plain("When"), "element": select, "optional": True}
    blocks = [
        {**when, "dispatch_action": True},
        {"type": "input", "block_id": "s", "label": plain("Say"), "element": say},
    ]
    view: dict[str, Any] = {"type": "modal", "title": plain("Ends"), "submit": plain("Go"), "blocks": blocks}
    view_id = opened_view(demo)
    demo.slack().views_update(view_id=view_id, view=view)
    modal.get_by_label("When").focus()
    modal.get_by_label("When").select_option("Then")
    window.locator("#confirm").get_by_role("button", name="Do it").click()
    # The app does not know this choice, and Slack says that it failed.
    expect(modal.get_by_role("alert")).to_contain_text("404")
    say["initial_value"] = "another"
    day = {"type": "input", "block_id": "d", "label": plain("Day"), "element": {"type": "datepicker"}}
    demo.slack().views_update(view_id=view_id, view={**view, "blocks": [*blocks, day]})
    expect(modal.get_by_label("Day")).to_be_visible()
    expect(modal.get_by_label("When")).to_have_value("Then")
    expect(modal.get_by_label("When")).to_be_focused()
    expect(modal.get_by_label("Say")).to_have_value("as it was")
