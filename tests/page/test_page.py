"""The sandbox in real browser windows: what a newcomer sees, and the main job from end to end."""

import ctypes
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, Locator, Route, expect

import blocks
from blocks import APPROVE, REJECT
from ledger.states import State
from sandbox.workspace import ANN, BOB, EVE, GUS
from tests.page.browser import (
    Sandbox,
    Windows,
    card,
    expect_state,
    named,
    pane,
    press,
    private,
    reject,
    submit,
)
from tests.requirements import needs
from tests.support.world import ROOT, eventually

pytestmark = needs("chromium")


# The main job


def test_approving_with_groups(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN)
    window.get_by_label("Email address").fill("groups@acme.example")
    window.get_by_label("Message", exact=True).fill("May I?")
    window.get_by_role("button", name="Request access").click()
    card(window, "groups@acme.example").get_by_label("Penetration test").check()
    press(window, "groups@acme.example", APPROVE)
    shown = card(window, "groups@acme.example")
    expect_state(shown, State.APPROVED, "@ann", "Penetration test")
    pane(window, "Conveyor")
    grant = window.locator("#grants li").filter(has_text="groups@acme.example")
    expect(grant).to_contain_text("basic access, Penetration test")


def test_a_rejection_needs_a_reason(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("reason@acme.example")
    window = windows.open(ANN)
    press(window, "reason@acme.example", REJECT)
    dialog = window.get_by_role("dialog")
    why = named(dialog, blocks.REASON)
    submit(window).click()
    expect(why).to_be_focused()
    why.fill("   ")
    submit(window).click()
    expect(dialog).to_contain_text(blocks.REASON_MISSING)
    expect(why).to_be_focused()
    expect(why).to_have_value("   ")
    why.fill("They are a competitor.")
    submit(window).click()
    expect(dialog).to_be_hidden()
    expect_state(card(window, "reason@acme.example"), State.REJECTED, "@ann")
    expect(card(window, "reason@acme.example").locator("blockquote")).to_have_text(
        ["They are a competitor.", "Hello"]  # the reason, then what the customer wrote
    )


def test_two_reviewers_race(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("race@race.example")
    ann, bob = windows.open(ANN), windows.open(BOB)
    press(bob, "race@race.example", REJECT)
    named(bob.get_by_role("dialog"), blocks.REASON).fill("No.")
    approve = named(card(ann, "race@race.example"), APPROVE)
    soon = "(button, at) => { setTimeout(() => button.click(), at - Date.now()) }"
    at = time.time() * 1000 + 500
    for button in (approve, submit(bob)):
        button.evaluate(soon, at)
    approved, rejected = (blocks.DECIDED[state][0] for state in (State.APPROVED, State.REJECTED))
    for window in (ann, bob):
        expect(card(window, "race@race.example").first).to_contain_text(
            re.compile(f"({approved}|{rejected})")
        )
    if approved in card(ann, "race@race.example").first.inner_text():
        expect(bob.get_by_role("dialog")).to_contain_text("@ann")
        bob.keyboard.press("Escape")
        expect(bob.get_by_role("dialog")).to_be_hidden()
    else:
        expect(private(ann, "@bob")).to_contain_text("Only visible to you")
    outcome = card(ann, "race@race.example").first.inner_text()
    expect(card(bob, "race@race.example").first).to_have_text(outcome, use_inner_text=True)


@pytest.mark.parametrize("person", [GUS, EVE])
def test_others_are_told_privately_that_they_may_not(sandbox: Sandbox, windows: Windows, person: str) -> None:
    email = f"{person.lower()}@acme.example"
    sandbox.ask(email)
    guest, ann = windows.open(person), windows.open(ANN)
    press(guest, email, APPROVE)
    private = card(guest, blocks.NOT_A_MEMBER).last
    expect(private).to_contain_text("Only visible to you")
    expect(guest.locator("#live")).to_contain_text(blocks.NOT_A_MEMBER)
    expect_state(card(ann, email), State.PENDING)
    expect(card(ann, blocks.NOT_A_MEMBER)).to_have_count(0)
    private.get_by_role("button", name="Dismiss message").click()
    expect(card(guest, blocks.NOT_A_MEMBER)).to_have_count(0)


def test_a_hostile_message_has_no_effect(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN)
    window.get_by_role("button", name="Hostile message").click()
    shown = card(window, "mallory@evil.example")
    for words in ("<!channel> <@U0ANN>", "<https://evil.example|your bank>", "<script>alert(2)</script>"):
        expect(shown).to_contain_text(words)
    expect(shown.get_by_role("link")).to_have_text([blocks.OPEN_IN_CONVEYOR])
    expect(shown.locator("blockquote")).to_have_count(1)
    expect(shown.locator(".mention, blockquote *")).to_have_count(0)
    reject(window, "mallory@evil.example", "<!here> <b>*no*</b> <https://evil.example|x>")
    reason = shown.locator("blockquote").first
    expect(reason).to_have_text("<!here> <b>*no*</b> <https://evil.example|x>")
    expect(shown.locator("blockquote")).to_have_count(2)
    expect(shown.locator("blockquote *")).to_have_count(0)
    expect(shown.get_by_role("link")).to_have_text([blocks.OPEN_IN_CONVEYOR, blocks.MAIL])
    window.get_by_role("searchbox").fill("mallory@evil.example")
    expect(window.locator("#found a")).to_contain_text("<!here> <b>no</b> <https://evil.example|x>")
    expect(window.locator("#found a :not(span, time)")).to_have_count(0)


def test_a_long_message_says_where_the_rest_is(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN)
    window.get_by_role("button", name="20,000 characters").click()
    shown = card(window, "verbose@longwinded.example")
    expect(shown.get_by_role("button", name=blocks.SHOW_MESSAGE)).to_be_visible()


def test_a_request_that_is_handled_in_conveyor(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("approved@acme.example")
    sandbox.ask("ignored@acme.example")
    window = windows.open(ANN)
    for email in ("approved@acme.example", "ignored@acme.example"):
        expect_state(card(window, email), State.PENDING)
    card(window, "approved@acme.example").get_by_role("link", name=blocks.OPEN_IN_CONVEYOR).click()
    expect(window.locator("#requests li:focus")).to_contain_text("approved@acme.example")
    window.get_by_role("button", name="Approve in Conveyor: approved@acme.example").click()
    window.get_by_role("button", name="Ignore in Conveyor: ignored@acme.example").click()
    expect(card(window, "approved@acme.example")).to_contain_text(blocks.DECIDED[State.APPROVED_ELSEWHERE][0])
    expect(card(window, "ignored@acme.example")).to_contain_text(blocks.DECIDED[State.IGNORED_ELSEWHERE][0])


def test_more_than_ten_groups_are_found_by_typing(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("many@acme.example")
    window = windows.open(ANN)
    pane(window, "Conveyor")
    window.get_by_role("button", name="Add 12 more").click()
    box = card(window, "many@acme.example").get_by_role("combobox")
    for typed, name in (("europe: ro", "Europe: roadmap"), ("SOC", "SOC 2 report")):
        box.fill(typed)
        expect(window.get_by_role("listbox").get_by_role("option")).to_have_text([name])
        box.press("Enter")
        expect(card(window, "many@acme.example").get_by_label("Chosen")).to_contain_text(name)
    press(window, "many@acme.example", APPROVE)
    expect(card(window, "many@acme.example")).to_contain_text(re.compile("Europe: roadmap.*SOC 2 report"))
    for number in range(12):
        name = window.locator("#groups input").first.input_value()
        assert ":" in name, number
        window.get_by_role("button", name=f"Delete the access group {name}").click()
        expect(window.get_by_role("button", name=f"Delete the access group {name}")).to_have_count(0)


def test_a_click_sends_what_the_window_shows(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("shown@acme.example")
    window = windows.open(ANN)
    card(window, "shown@acme.example").get_by_label("SOC 2 report").check()
    press(window, "shown@acme.example", REJECT)
    expect(window.get_by_role("dialog")).to_be_visible()
    window.keyboard.press("Escape")
    window.reload()
    expect(card(window, "shown@acme.example").get_by_label("SOC 2 report")).not_to_be_checked()
    press(window, "shown@acme.example", APPROVE)
    expect_state(card(window, "shown@acme.example"), State.APPROVED, blocks.BASIC)


def test_search_finds_address_reviewer_and_reason(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("finder@lookup.example")
    window = windows.open(BOB)
    reject(window, "finder@lookup.example", "Their hovercraft, at AT&T, is full of eels.")
    sales = windows.open("U0SAM")
    search = sales.get_by_role("searchbox")
    for query in ("finder@lookup", "bob brown lookup.example", "hovercraft eels", "AT&T"):
        search.fill(query)
        expect(sales.locator("#found")).to_contain_text(f"1 message with “{query}”")
        for words in (blocks.DECIDED[State.REJECTED][0], "Bob Brown", "finder@lookup.example"):
            expect(sales.locator("#found a")).to_contain_text(words)
    sales.locator("#found a").click()
    expect(sales.locator("article:focus")).to_contain_text("finder@lookup.example")
    search.fill("nothing like that")
    expect(sales.locator("#found")).to_contain_text("No messages")


def tab_to(wanted: Locator) -> None:
    """Press Tab until this element has the focus."""
    for _ in range(300):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        wanted.page.keyboard.press("Tab")
    expect(wanted).to_be_focused()


def test_a_rejection_by_keyboard_alone(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("keys@acme.example")
    window = windows.open(BOB)
    expect(card(window, "keys@acme.example")).to_be_visible()
    reject_button = named(card(window, "keys@acme.example"), REJECT)
    tab_to(reject_button)
    window.keyboard.press("Enter")
    expect(window.locator("#modal [autofocus]")).to_be_focused()
    tab_to(named(window.locator("#modal"), blocks.REASON))
    window.keyboard.type("by keyboard")
    window.keyboard.press("Escape")
    expect(window.get_by_role("dialog")).to_be_hidden()
    expect(reject_button).to_be_focused()
    window.keyboard.press("Enter")
    tab_to(named(window.locator("#modal"), blocks.REASON))
    window.keyboard.type("by keyboard alone")
    tab_to(submit(window))
    window.keyboard.press("Enter")
    expect_state(card(window, "keys@acme.example"), State.REJECTED, "@bob")
    expect(window.locator("article:focus-within")).to_contain_text("by keyboard alone")


# The page itself


def test_other_blocks_and_kinds_of_messages_are_shown(sandbox: Sandbox, windows: Windows) -> None:
    def plain(text: str) -> dict[str, str]:
        return {"type": "plain_text", "text": text}

    options = [{"text": plain(name), "value": name} for name in ("Red", "Blue")]
    words = {"title": "Sure?", "text": "Really?", "confirm": "Do it", "deny": "No"}
    confirm = {key: plain(word) for key, word in words.items()}
    elements = [
        {"type": "button", "action_id": "sure", "text": plain("Press"), "confirm": confirm},
        {"type": "overflow", "action_id": "unheard_of", "options": options},
        {"type": "static_select", "action_id": "pick", "options": options, "placeholder": plain("Pick")},
        {"type": "radio_buttons", "action_id": "radio", "options": options},
        {"type": "datepicker", "action_id": "day"},
        {"type": "users_select", "action_id": "user"},
    ]
    mrkdwn = "*b* _i_ ~s~ `c` &lt;b&gt; :constructor: <@U0BOB> <!date^0|odd> <!date^0^{date}|x>"
    links = (
        "https://a.example/x?y=1&amp;z=2, jane@a.example, <https://b.example|there>\n&gt; said\n```a\nb```"
    )
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": mrkdwn}},
        {"type": "section", "text": {"type": "mrkdwn", "text": links}},
        {"type": "section", "text": plain("word " * 300)},
        {"type": "divider"},
        {"type": "actions", "elements": elements},
        {"type": "image", "image_url": "https://x.example/x.png", "alt_text": "x"},
    ]
    window, slack = windows.open(ANN), sandbox.slack()
    slack.chat_postEphemeral(channel="C0REQUESTS", user=ANN, text="an odd one", blocks=blocks)
    shown = window.locator("article.private").last
    expect(shown.locator(".not-drawn")).to_have_text(
        ["not drawn here: users_select", "not drawn here: image"]
    )
    drawn = re.compile(r"^b i s c <b> :constructor: @bob odd (January|December) \d+, ")
    expect(shown.locator(".section").first).to_have_text(drawn)
    section = shown.locator(".section").nth(1)
    expect(section.get_by_role("link")).to_have_text(
        ["https://a.example/x?y=1&z=2", "jane@a.example", "there"]
    )
    hrefs = section.get_by_role("link").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert hrefs == ["https://a.example/x?y=1&z=2", "mailto:jane@a.example", "https://b.example"]
    expect(section.locator("blockquote")).to_have_text("said")
    expect(section.locator("code.lines")).to_have_text("a\nb", use_inner_text=True)
    shown.get_by_role("button", name="See more").click()
    expect(shown.get_by_role("button", name="See less")).to_be_visible()
    shown.get_by_role("button", name="Press").click()
    dialog = window.get_by_role("dialog", name="Sure?")
    dialog.get_by_role("button", name="No").click()
    expect(shown.locator("> .problem")).to_be_hidden()
    shown.get_by_role("button", name="Press").click()
    dialog.get_by_role("button", name="Do it").click()
    # The app does not know this button, and Slack says that the click failed.
    expect(shown.locator("> .problem")).to_have_text("⚠️ Slack says: the app responded with status 404.")
    shown.get_by_role("button", name="More actions").press("Enter")
    expect(window.get_by_role("menuitem", name="Red")).to_be_focused()
    window.keyboard.press("ArrowDown")
    window.keyboard.press("Enter")
    expect(shown.get_by_role("button", name="More actions")).to_be_focused()
    pane(window, "HTTP traffic")
    expect(window.locator("#exchanges li").filter(has_text="click unheard_of").first).to_contain_text("404")
    window.locator("#exchanges summary").filter(has_text="click unheard_of").first.click()
    expect(window.locator("#exchanges pre").first).to_contain_text('"value": "Blue"')

    expect(window.locator("#direct")).to_have_text("None yet")
    slack.chat_postMessage(channel=ANN, text="just for you")
    window.locator("#direct").get_by_role("link", name="1 new").click()
    expect(card(window, "just for you")).to_be_visible()
    expect(card(windows.open(BOB), "just for you")).to_have_count(0)


def test_what_is_typed_in_the_message_box_is_posted(sandbox: Sandbox, windows: Windows) -> None:
    window, other = windows.open(ANN), windows.open("U0SAM")
    box = window.locator("#composer input")
    box.fill("anyone & <@U0BOB> there?")
    box.press("Enter")
    expect(card(other, "anyone & <@U0BOB> there?")).to_contain_text("Ann Abbot")
    box.fill("/nothing at all")
    box.press("Enter")
    expect(window.locator("#composer .problem")).to_contain_text("/nothing is not a valid command")
    expect(box).to_have_value("/nothing at all")


def test_what_is_typed_while_a_message_is_on_its_way_stays(windows: Windows) -> None:
    window = windows.open(ANN)
    held: list[Route] = []
    window.route("**/act/say", lambda route: held.append(route))
    box = window.locator("#composer input")
    box.fill("the first")
    with window.expect_request("**/act/say"):
        box.press("Enter")
    box.fill("the second")
    with window.expect_response("**/act/say"):
        held[0].continue_()
    expect(card(window, "the first")).to_be_visible()
    window.evaluate("async () => (await fetch('/')).text()")  # whatever the answer causes has happened by now
    expect(box).to_have_value("the second")


def test_the_switcher_changes_who_acts(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN)
    window.get_by_label("Acting as").select_option("Gus Guest (guest)")
    expect(window).to_have_url(re.compile("as=U0GUS"))
    sandbox.ask("switch@acme.example")
    press(window, "switch@acme.example", APPROVE)
    expect(card(window, blocks.NOT_A_MEMBER)).to_be_visible()


def test_other_websites_cannot_use_the_sandbox(sandbox: Sandbox) -> None:
    def status(**headers: str) -> int:
        body = {"name": "ordinary"}
        return requests.post(f"{sandbox.url}/act/example", json=body, headers=headers, timeout=5).status_code

    assert status(Origin="https://evil.example") == 403
    assert status(Origin="null") == 403
    assert status() == 403
    assert status(Origin=sandbox.url, Host="evil.example") == 403
    as_form = requests.post(
        f"{sandbox.url}/act/example", {"name": "ordinary"}, headers={"Origin": sandbox.url}, timeout=5
    )
    assert as_form.status_code == 403
    for port in (sandbox.port + 2, sandbox.port + 3):
        for header in ({"Origin": "https://evil.example"}, {"Host": f"evil.example:{port}"}):
            answer = requests.post(f"http://127.0.0.1:{port}/api/api.test", headers=header, timeout=5)
            assert answer.status_code == 403
    assert requests.get(sandbox.url, headers={"Host": "evil.example"}, timeout=5).status_code == 403
    assert "default-src 'none'" in requests.get(sandbox.url, timeout=5).headers["Content-Security-Policy"]


# Starting and stopping


def test_an_edit_of_the_words_shows_on_the_next_card(browser: Browser, copy: Path, tmp_path: Path) -> None:
    with (
        closing(Sandbox(tmp_path / "log", copy)) as sandbox,
        closing(Windows(browser, sandbox.url)) as windows,
    ):
        window = windows.open(ANN)
        words = (copy / "blocks.py").read_text()
        (copy / "blocks.py").write_text(words.replace(repr(blocks.ASKS)[1:-1], " knocks at the door."))
        eventually(lambda: "blocks.py changed. Restarting the app…" in sandbox.log())
        sandbox.ask("edited@acme.example")
        expect(card(window, "knocks at the door.").filter(has_text="edited@acme.example")).to_be_visible()


def test_real_settings_are_not_used(copy: Path, tmp_path: Path) -> None:
    (copy / ".env").write_text("SLACK_APP_TOKEN=xapp-real\nLOG_LEVEL=INFO\n")
    with closing(Sandbox(tmp_path / "log", copy)) as sandbox:
        assert "apps.connections.open" not in sandbox.log()


def test_ctrl_c_works_whichever_thread_gets_it(tmp_path: Path) -> None:
    with closing(Sandbox(tmp_path / "log")) as sandbox:
        threads = {int(entry.name) for entry in Path(f"/proc/{sandbox.process.pid}/task").iterdir()}
        other = min(threads - {sandbox.process.pid})
        assert ctypes.CDLL(None).tgkill(sandbox.process.pid, other, signal.SIGINT) == 0
        assert sandbox.process.wait(20) == 0


def test_a_port_in_use_is_a_clear_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "sandbox", "--port", str(port)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Port {port} is in use.")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
