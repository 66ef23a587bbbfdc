"""The page's switches for what can go wrong in Slack and Conveyor: what is seen while one is on, and then."""

import re
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import blocks
from ledger.states import State
from sandbox.faults import SWITCHES
from sandbox.workspace import ANN, SAM
from tests.page.browser import Sandbox, Windows, card, expect_state, pane, press
from tests.requirements import needs

pytestmark = needs("chromium")

# What a card shows while the switch is on and somebody approves, and what the wire lists then.
CARD = {
    "conveyor-slow": (
        blocks.DOING[State.APPROVING],
        r"GET /exchange/authorization_requests/req-\d+ *200 *3\d\d\d ms",
    ),
    "conveyor-failing": (blocks.PROBLEMS["unavailable"], r"503.*\(made to fail: status 503\)"),
    "conveyor-refusing": (blocks.NOTES["refused"], "POST /exchange/authorizations *422"),
    "conveyor-key": (blocks.PROBLEMS["key"], r"GET /exchange/.* *403"),
    "conveyor-down": (blocks.PROBLEMS["unavailable"], "POST /exchange/authorizations *200"),
    "slack-limiting": ("", r"chat\.update *429 ratelimited"),
    "slack-down": ("", "click approve *200"),
}


def switch(window: Page, name: str, on: bool) -> None:
    side, label = name.partition("-")[0].title(), SWITCHES[name].partition(":")[0]
    window.get_by_role("switch", name=f"{side} {label}").set_checked(on)


@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_has_an_effect_and_everything_recovers(
    sandbox: Sandbox, windows: Windows, name: str
) -> None:
    words, listed = CARD[name]
    email = f"{name}@acme.example"
    sandbox.ask(email)
    window = windows.open(ANN)
    request = window.locator("#messages > li").filter(has_text=email)
    ts = request.get_attribute("data-ts")
    request = window.locator(f'[data-ts="{ts}"]')
    pane(window, "What can go wrong")
    switch(window, name, True)
    with window.expect_response("**/act/click") as answer:
        press(window, email, blocks.APPROVE)
    if words:
        expect(request).to_contain_text(words)
    else:
        expect_state(request, State.PENDING)
    failed = answer.value.json().get("problem", "")
    expect(request.locator("article > .problem").first).to_have_text(failed)
    if name == "slack-limiting":
        expect(card(window, blocks.SAVED)).to_contain_text("Only visible to you")
    switch(window, name, False)
    if failed or name == "conveyor-refusing":
        expect_state(request, State.PENDING)
        press(window, email, blocks.APPROVE)
    expect_state(request, State.APPROVED, "@ann")
    pane(window, "HTTP traffic")
    expect(window.locator("#exchanges li").filter(has_text=re.compile(listed)).first).to_be_attached()


def test_a_switch_may_be_clicked_very_quickly(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN)
    pane(window, "What can go wrong")
    for name in ("conveyor-down", "slack-down"):
        # All at once, so that the last click is not known.
        statuses = window.evaluate(
            """async name => {
                const turn = (on) => fetch("/act/fault", {
                    method: "POST",
                    headers: { "Content-Type": "application/json" },
                    body: JSON.stringify({ name, on }),
                });
                const answers = await Promise.all([true, false, true, false, true, false].map(turn));
                return answers.map(answer => answer.status);
            }""",
            name,
        )
        assert statuses == [200] * 6
        switch(window, name, True)
        switch(window, name, False)
    sandbox.ask("quick@acme.example")
    press(window, "quick@acme.example", blocks.APPROVE)
    expect_state(card(window, "quick@acme.example"), State.APPROVED, "@ann")


def test_two_clicks_in_conveyors_own_pane_are_one_decision(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN)
    pane(window, "Conveyor")
    sandbox.ask("twice@acme.example")
    button = window.get_by_role("button", name="Approve in Conveyor: twice@acme.example")
    button.evaluate("button => { button.click(); button.click() }")
    grants = window.locator("#grants li").filter(has_text="twice@acme.example")
    expect(grants).to_have_count(1)
    window.get_by_role("button", name="Ask again: twice@acme.example").click()
    expect(button).to_be_visible()
    expect(grants).to_have_count(1)


def test_a_group_that_is_renamed_has_its_name_everywhere(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.act("add_groups", names=["Old name", "  "])
    sandbox.ask("renamed@acme.example")
    window = windows.open(ANN)
    pane(window, "Conveyor")
    expect(window.locator("#groups input")).to_have_count(5)  # a blank name is not accepted
    box = window.get_by_role("textbox", name="Name of the access group Old name")
    card(window, "renamed@acme.example").get_by_label("Old name").check()
    press(window, "renamed@acme.example", blocks.APPROVE)
    grant = window.locator("#grants li").filter(has_text="renamed@acme.example")
    expect(grant).to_contain_text("Old name")
    box.fill("New name")
    box.press("Enter")
    expect(grant).to_contain_text("New name")
    expect(window.get_by_role("textbox", name="Name of the access group New name")).to_be_focused()
    window.get_by_role("button", name="Delete the access group New name").click()
    expect(grant).to_have_text(re.compile("basic access(Sign the NDA)?$"))


def test_an_app_that_has_ended_and_a_sandbox_that_has_stopped(
    browser: Browser, copy: Path, tmp_path: Path
) -> None:
    words = (copy / "blocks.py").read_text()
    with (
        closing(Sandbox(tmp_path / "log", copy)) as sandbox,
        closing(Windows(browser, sandbox.url)) as windows,
    ):
        window = windows.open(SAM)
        notice = window.locator("#notice")
        expect(notice).to_be_hidden()
        (copy / "blocks.py").write_text("raise SystemExit('a slip')")
        expect(notice).to_contain_text("The app stopped with status 1. It restarts when you change a file.")
        expect(notice.locator("pre")).to_have_text("a slip")
        window.locator("#composer input").fill("/rooms help")
        window.keyboard.press("Enter")
        expect(window.locator("#composer .problem")).to_have_text(
            "/rooms failed with the error “dispatch_failed”."
        )
        (copy / "blocks.py").write_text(words)
        expect(notice).to_be_hidden()
        sandbox.ask("back@acme.example")
        expect(card(window, "back@acme.example")).to_be_visible()
        window.keyboard.press("Enter")
        expect(card(window, "Only visible to you")).to_contain_text("/rooms")
        sandbox.close()
        expect(notice).to_have_text("The sandbox isn't responding. Is it still running?")
        window.get_by_label("Message", exact=True).fill("a long letter")
        window.get_by_label("Email address").fill("late@acme.example")
        window.get_by_role("button", name="Request access").click()
        expect(window.locator("#customer [role=status]")).to_contain_text("The sandbox isn't responding.")
        expect(window.get_by_label("Message", exact=True)).to_have_value("a long letter")
        window.get_by_role("searchbox").fill("jane")
        pane(window, "HTTP traffic")
        window.locator("#exchanges summary:visible").first.click()
        expect(window.locator("#exchanges details div").first).to_have_text(
            "The sandbox isn't responding. Is it still running?"
        )
        window.close()  # so that it does not try to connect again
        # The console has an error for every refused connection, and no other error.
        assert all("net::ERR_" in error for error in windows.errors), windows.errors
        windows.errors.clear()
