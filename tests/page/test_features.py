"""The features beside the main job, in a browser: options, past requests, revoking, /rooms, reminders."""

import re
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

import blocks
from ledger.states import State
from sandbox.workspace import ANN, BOB, SAM
from tests.page.browser import (
    Sandbox,
    Windows,
    card,
    expect_state,
    named,
    pane,
    press,
    reject,
    submit,
)
from tests.requirements import needs
from tests.support.steps import asked_before

pytestmark = needs("chromium")


def type_command(window: Page, text: str) -> None:
    window.locator("#composer input").fill(text)
    window.keyboard.press("Enter")


def test_approve_with_every_option_and_revoke(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("opt@options.example")
    window = windows.open(ANN)
    request = card(window, "opt@options.example")
    request.get_by_label("Penetration test").check()
    press(window, "opt@options.example", blocks.OPTIONS_BUTTON)
    modal = window.locator("#modal")
    expect(modal.get_by_label("Penetration test")).to_be_checked()
    named(modal, f"{blocks.NDA} {blocks.NDA}").check()
    named(modal, blocks.ENDS).select_option(blocks.DAY)
    named(modal, blocks.DAY).fill("2020-01-01")
    submit(window).click()
    expect(modal).to_contain_text(blocks.DAY_PAST)
    named(modal, blocks.DAY).fill("2030-12-31")
    named(modal, blocks.REASON).fill("Big deal")
    submit(window).click()
    expect(request).to_contain_text(f"{blocks.NDA_SKIPPED} {blocks.ENDS_ASKED.format('December 31, 2030')}")
    expect(request).to_contain_text("Big deal")
    letter = request.get_by_role("link", name=blocks.MAIL)
    expect(letter).to_have_attribute("href", re.compile(r"^mailto:opt@options\.example\?subject="))

    other = windows.open(BOB)
    request = card(other, "opt@options.example")
    request.get_by_role("button", name="More actions").click()
    other.get_by_role("menuitem", name=blocks.MENU[blocks.REVOKE]).click()
    expect(other.locator("#modal")).to_contain_text("opt@options.example")
    other.keyboard.press("Escape")
    expect_state(request, State.APPROVED)
    request.get_by_role("button", name="More actions").click()
    other.get_by_role("menuitem", name=blocks.MENU[blocks.REVOKE]).click()
    named(other.locator("#modal"), blocks.REASON).fill("Contract ended")
    submit(other).click()
    expect(request).to_contain_text("Contract ended")
    expect_state(request, State.REVOKED, "@bob")
    expect_state(card(window, "opt@options.example"), State.REVOKED, "@bob")


def test_the_card_follows_when_the_customer_signs_the_nda(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("signs@nda.example")
    window = windows.open(ANN)
    request = card(window, "signs@nda.example")
    press(window, "signs@nda.example", blocks.APPROVE)
    expect_state(request, State.APPROVED, "🟡", blocks.UNTIL_SIGNED, blocks.IF_THEY_SIGN.strip())
    pane(window, "Conveyor")
    grant = window.locator("#grants li").filter(has_text="signs@nda.example")
    expect(grant).to_contain_text("NDA to sign")
    grant.get_by_role("button", name="Sign the NDA as signs@nda.example").click()
    expect(grant).to_contain_text("authorized")
    expect(grant.get_by_role("button", name="Sign the NDA")).to_have_count(0)
    expect(request).to_contain_text(blocks.NDA_SIGNED)
    expect(request).not_to_contain_text(blocks.UNTIL_SIGNED)


def test_a_sales_rep_asks_and_is_told(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("tell@story.example")
    window = windows.open(SAM)
    expect(card(window, "tell@story.example")).to_be_visible()
    type_command(window, "/rooms story.example")
    answer = card(window, f"from story.example {blocks.JUST_CAME}")
    notify = named(answer, blocks.TELL_ME)
    notify.click()
    told = card(window, blocks.FOLLOWED.partition("`")[2].rpartition("`")[2].strip())
    expect(told).to_be_visible()
    type_command(window, "/rooms watching")
    stop = named(window.locator("#messages"), blocks.STOP_TELLING)
    expect(stop).to_have_count(1)
    stop.click()
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
    expect(window.locator("article:focus")).to_contain_text("@bob")


def test_the_command_helps(windows: Windows) -> None:
    window = windows.open(SAM)
    type_command(window, "/rooms what?")
    expect(card(window, blocks.NOTHING_CALLED.format("what"))).to_be_visible()


def test_a_card_shows_past_requests(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("first@acme.example")
    window = windows.open(BOB)
    first = card(window, "first@acme.example")
    known = [blocks.HAVE_ACCESS.format(blocks.PEOPLE.format(n), "acme.example") for n in (2, 3)]
    expect(first).to_contain_text(known[0] + blocks.LAST_ACTIVE)
    crm = first.get_by_role("link", name=blocks.OPEN_IN_CRM)
    expect(crm).to_have_attribute("href", "https://crm.example/accounts/acme")
    reject(window, "first@acme.example", "Wrong company.")
    sandbox.ask("second@acme.example")
    second = card(window, "second@acme.example")
    second.get_by_label("Penetration test").check()
    press(window, "second@acme.example", blocks.APPROVE)
    expect_state(second, State.APPROVED)

    sandbox.ask("third@acme.example", "May I?")
    day = r"\w+ \d+, \d{4}"
    remembered = [
        blocks.OPEN_IN_CRM,
        asked_before("first@acme.example", State.REJECTED),
        "@bob",
        day,
        "Wrong company.",
        asked_before("second@acme.example", State.APPROVED),
        "@bob",
        day,
        "Penetration test",
        known[1] + blocks.LAST_ACTIVE,
        day,
        "May I?",
    ]
    in_order = ".*".join(part if part == day else re.escape(part) for part in remembered)
    expect(card(window, "third@acme.example")).to_contain_text(re.compile(in_order, re.DOTALL))

    sandbox.ask("someone@gmail.com")
    personal = card(window, "someone@gmail.com")
    expect(personal).to_contain_text(blocks.PERSONAL.format("gmail.com"))
    expect(personal).not_to_contain_text(blocks.ASKED_BEFORE.strip())


def test_a_waiting_card_gets_a_reminder_in_its_thread(browser: Browser, tmp_path: Path) -> None:
    with (
        closing(Sandbox(tmp_path / "log", remind_after=1)) as sandbox,
        closing(Windows(browser, sandbox.url)) as windows,
    ):
        waiting = windows.open(SAM).locator("#messages > li").filter(has_text="jane.doe@acme.example")
        waiting.locator(".replies").click()
        thread = waiting.get_by_role("list", name="Thread")
        expect(thread).to_contain_text(blocks.STILL_WAITING.strip())
