"""Options, revocation, /rooms and "tell me", as people do them in a browser."""

import re

from playwright.sync_api import Page, expect

from sandbox.workspace import ANN, BOB, SAM
from tests.browser import Sandbox, Windows, card, reject
from tests.requirements import needs

pytest_plugins = ["tests.page_fixtures"]
pytestmark = needs("chromium")


def type_command(window: Page, text: str) -> None:
    window.locator("#composer input").fill(text)
    window.keyboard.press("Enter")


def test_approve_with_every_option_and_revoke(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("opt@options.example")
    window = windows.open(ANN)
    request = card(window, "opt@options.example")
    request.get_by_label("Penetration test").check()
    request.get_by_role("button", name="Options for opt@options.example").click()
    modal = window.locator("#modal")
    expect(modal.get_by_label("Penetration test")).to_be_checked()
    modal.get_by_label("Skip the NDA").check()
    modal.get_by_label("Access ends").select_option(label="On a date")
    modal.get_by_label("Last day").fill("2020-01-01")
    modal.get_by_role("button", name="Approve").click()
    expect(modal).to_contain_text("This day is past. Please choose a later one.")
    modal.get_by_label("Last day").fill("2099-12-31")
    modal.get_by_label("Note").fill("Big deal")
    modal.get_by_role("button", name="Approve").click()
    expect(request).to_contain_text("The NDA was skipped. Access ends on 2099-12-31.")
    expect(request).to_contain_text("Big deal")
    letter = request.get_by_role("link", name="E-mail the customer")
    expect(letter).to_have_attribute("href", re.compile(r"^mailto:opt@options\.example\?subject="))

    other = windows.open(BOB)
    request = card(other, "opt@options.example")
    request.get_by_role("button", name="More actions").click()
    other.get_by_role("menuitem", name="Revoke access…").click()
    expect(other.locator("#confirm")).to_contain_text("Conveyor does not tell the customer.")
    other.locator("#confirm").get_by_role("button", name="Keep it").click()
    expect(request).to_contain_text("Approved by")
    request.get_by_role("button", name="More actions").click()
    other.get_by_role("menuitem", name="Revoke access…").click()
    other.locator("#confirm").get_by_role("button", name="Revoke access").click()
    expect(request).to_contain_text("Revoked by")
    expect(card(window, "opt@options.example")).to_contain_text("Revoked by")


def test_a_sales_rep_asks_and_is_told(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("tell@story.example")
    window = windows.open(SAM)
    expect(card(window, "tell@story.example")).to_be_visible()
    type_command(window, "/rooms story.example")
    answer = card(window, "1 request of story.example")
    expect(answer).to_contain_text("It has been waiting for")
    answer.get_by_role("button", name="Tell me when tell@story.example is decided").click()
    expect(card(window, "I will tell you when this request is decided")).to_be_visible()

    reviewer = windows.open(BOB)
    reject(reviewer, "tell@story.example", "No contract")
    window.locator("#direct").get_by_role("link", name="1 new").click()
    expect(card(window, "reason: No contract")).to_be_visible()


def test_the_command_helps(windows: Windows) -> None:
    window = windows.open(SAM)
    type_command(window, "/rooms what?")
    expect(card(window, "I did not understand “what?”")).to_be_visible()
    type_command(window, "/rooms watching")
    expect(card(window, "watching")).not_to_have_count(0)
