"""The features beside the main job, in a browser: options, past requests, revoking, /rooms, reminders."""

import re
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

import blocks
from sandbox.workspace import ANN, BOB, SAM
from tests.page.browser import Sandbox, Windows, card, pane, press, reject
from tests.requirements import needs

pytestmark = needs("chromium")


def type_command(window: Page, text: str) -> None:
    window.locator("#composer input").fill(text)
    window.keyboard.press("Enter")


def test_approve_with_every_option_and_revoke(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("opt@options.example")
    window = windows.open(ANN)
    request = card(window, "opt@options.example")
    request.get_by_label("Penetration test").check()
    request.get_by_role("button", name="Approve with options for opt@options.example").click()
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
    expect(request).to_contain_text("No NDA required. Asked for: access ends December 31, 2099.")
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


def test_the_card_follows_when_the_customer_signs_the_nda(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("signs@nda.example")
    window = windows.open(ANN)
    request = card(window, "signs@nda.example")
    press(window, "signs@nda.example", "Approve")
    expect(request).to_contain_text("🟡 Approved, waiting for them to sign the NDA")
    expect(request).to_contain_text("I'll update this card if they sign by")
    pane(window, "Conveyor")
    grant = window.locator("#grants li").filter(has_text="signs@nda.example")
    expect(grant).to_contain_text("NDA to sign")
    grant.get_by_role("button", name="Sign the NDA as signs@nda.example").click()
    expect(grant).to_contain_text("authorized")
    expect(grant.get_by_role("button")).to_have_count(0)
    expect(request).to_contain_text("The NDA is signed.")
    expect(request).not_to_contain_text("waiting for them to sign")


def test_a_sales_rep_asks_and_is_told(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("tell@story.example")
    window = windows.open(SAM)
    expect(card(window, "tell@story.example")).to_be_visible()
    type_command(window, "/rooms story.example")
    answer = card(window, f"from story.example {blocks.JUST_CAME}")
    notify = answer.get_by_role("button", name="Notify me about tell@story.example")
    notify.click()
    told = card(window, "I'll message you when")
    expect(told).to_be_visible()
    type_command(window, "/rooms watching")
    watching = card(window, "You're following 1 request.")
    expect(watching).to_contain_text("tell@story.example")
    watching.get_by_role("button", name="Stop following tell@story.example").click()
    expect(card(window, blocks.UNWATCHED)).to_be_visible()
    type_command(window, "/rooms watching")
    expect(card(window, blocks.NOT_FOLLOWING)).to_be_visible()
    notify.click()
    expect(told).to_have_count(2)

    reviewer = windows.open(BOB)
    reject(reviewer, "tell@story.example", "No contract")
    window.locator("#direct").get_by_role("link", name="1 new").click()
    direct = card(window, "No contract")
    expect(direct).to_have_count(1)
    expect(direct).to_contain_text(re.compile(r"🚫 tell@story\.example .* by @bob"))
    direct.get_by_role("link", name="See card").click()
    expect(window.locator("article:focus")).to_contain_text("Rejected by @bob")


def test_the_command_helps(windows: Windows) -> None:
    window = windows.open(SAM)
    type_command(window, "/rooms what?")
    expect(card(window, blocks.NOTHING_CALLED.format("what"))).to_be_visible()


def test_a_card_shows_past_requests(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("first@acme.example")
    window = windows.open(BOB)
    first = card(window, "first@acme.example")
    expect(first).to_contain_text("When this came, 2 people at acme.example had access; last active on ")
    crm = first.get_by_role("link", name="Open in the CRM")
    expect(crm).to_have_attribute("href", "https://crm.example/accounts/acme")
    reject(window, "first@acme.example", "Wrong company.")
    sandbox.ask("second@acme.example")
    second = card(window, "second@acme.example")
    second.get_by_label("Penetration test").check()
    press(window, "second@acme.example", "Approve")
    expect(second).to_contain_text("Approved by")

    sandbox.ask("third@acme.example", "May I?")
    day = r"\w+ \d+, \d{4}"
    remembered = (
        r"They wrote:May I\?"
        r"When this came, 3 people at acme\.example had access; last active on DAY\."
        r"Open in the CRM"
        r"second@acme\.example asked before; approved on DAY by @bob \(Bob Brown\), with Penetration test\."
        r"first@acme\.example asked before; rejected on DAY by @bob \(Bob Brown\); reason: Wrong company\."
        r"Access groups"
    )
    expect(card(window, "third@acme.example")).to_contain_text(re.compile(remembered.replace("DAY", day)))

    sandbox.ask("someone@gmail.com")
    personal = card(window, "someone@gmail.com")
    expect(personal).to_contain_text("gmail.com is a personal mail provider.")
    expect(personal).not_to_contain_text("asked before")


def test_a_waiting_card_gets_a_reminder_in_its_thread(browser: Browser, tmp_path: Path) -> None:
    with (
        closing(Sandbox(tmp_path / "log", remind_after=1)) as sandbox,
        closing(Windows(browser, sandbox.url)) as windows,
    ):
        waiting = windows.open(SAM).locator("#messages > li").filter(has_text="jane.doe@acme.example")
        waiting.locator(".replies").click()
        thread = waiting.get_by_role("list", name="Thread")
        expect(thread).to_contain_text(blocks.STILL_WAITING.strip())
