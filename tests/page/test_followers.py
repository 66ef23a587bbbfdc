"""Who asks for more hears of the signature and of the first document, in a browser."""

from playwright.sync_api import expect

import blocks
from sandbox.workspace import ANN, SAM
from tests.page.browser import Sandbox, Windows, card, named, pane, press
from tests.requirements import needs

pytestmark = needs("chromium")


def test_a_sales_rep_hears_that_a_document_is_opened(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(SAM)
    window.locator("[data-try=more]").click()
    composer = window.locator("#composer input")
    expect(composer).to_have_value("/rooms tyrell.example")
    reviewer = windows.open(ANN)
    expect(card(reviewer, "kim@tyrell.example")).to_be_visible()
    composer.press("Enter")
    named(window.locator("#messages"), blocks.TELL_ME).click()
    named(window.locator("#messages"), blocks.TELL_MORE).click()
    expect(card(window, blocks.FOLLOWED.partition("`")[2].rpartition("`")[2].strip())).to_have_count(2)
    press(reviewer, "kim@tyrell.example", blocks.APPROVE)
    pane(window, "Conveyor")
    grant = window.locator("#grants li").filter(has_text="kim@tyrell.example")
    grant.get_by_role("button", name="Sign the NDA as kim@tyrell.example").click()
    window.locator("#direct a").first.click()
    expect(card(window, blocks.SIGNED_THE_NDA.strip())).to_be_visible(timeout=20_000)
    grant.get_by_role("button", name="Open a document as kim@tyrell.example").click()
    opened = card(window, blocks.OPENED_A_DOCUMENT.strip())
    expect(opened).to_be_visible(timeout=40_000)
    expect(opened).to_contain_text("SOC 2 report")
    pane(window, "Try it")
    expect(window.locator("#tries li.done").filter(has=window.locator("[data-try=more]"))).to_be_visible()
    opened.get_by_role("link", name="See card").click()
    expect(window.locator("article:focus")).to_contain_text("kim@tyrell.example")
