"""What people do with a card besides deciding, in a browser: read all of it, think twice, ask about it."""

import re

from playwright.sync_api import expect

import blocks
from ledger.states import State
from sandbox.workspace import ANN, SAM
from tests.page.browser import Sandbox, Windows, card, expect_state, named, reject
from tests.requirements import needs

pytestmark = needs("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}}
LONG = " ".join(f"word{number}" for number in range(4000))


def test_a_long_message_is_read_in_pages_on_a_phone(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("long@message.example", LONG)
    phone = windows.open(SAM, **PHONE)
    request = card(phone, "long@message.example")
    box = request.bounding_box()
    assert box is not None
    assert box["height"] < 844  # its buttons are on the same screen as its beginning
    named(request, blocks.SHOW_WHOLE).click()
    window = phone.locator("#modal")
    expect(window).to_contain_text("word0 word1 ")
    named(window, blocks.PAGE_NEXT).click()
    expect(window).not_to_contain_text("word0 ")
    expect(window).to_contain_text("word3999")
    named(window, blocks.PAGE_BACK).click()
    expect(window).not_to_contain_text("word3999")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_risk_is_asked_about_before_it_is_approved(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("mia@gmail.com")
    window = windows.open(ANN)
    request = card(window, "mia@gmail.com")
    warning = request.get_by_text(blocks.PERSONAL.format("gmail.com"))
    approve = named(request, blocks.APPROVE)
    above, below = warning.bounding_box(), approve.bounding_box()
    assert above is not None
    assert below is not None
    assert above["y"] < below["y"]
    dialog = window.locator("#confirm")
    approve.click()
    expect(dialog).to_contain_text(blocks.PERSONAL.format("gmail.com"))
    dialog.locator("button").first.click()
    expect(dialog).to_be_hidden()
    expect_state(request, State.PENDING)
    approve.click()
    dialog.locator("button").last.click()
    expect_state(request, State.APPROVED, "@ann")


def test_who_was_rejected_before_is_asked_about_with_the_reason(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("lou@before.example")
    window = windows.open(ANN)
    reject(window, "lou@before.example", "Works for a rival.")
    sandbox.ask("max@before.example")
    request = card(window, "max@before.example")
    expect(request).to_contain_text(re.compile(r"⚠️ lou@before\.example .*Works for a rival\."))
    named(request, blocks.APPROVE).click()
    expect(window.locator("#confirm")).to_contain_text("Works for a rival.")


def test_a_rep_asks_about_a_message_in_a_thread(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("kai@thread.example")
    window = windows.open(SAM)
    request = window.locator("#messages > li").filter(has_text="kai@thread.example").first
    request.get_by_role("button", name="Message actions").click()
    window.get_by_role("menuitem", name="Reply in thread").click()
    request.locator(".reply input").fill("Any news about kai@thread.example?")
    window.keyboard.press("Enter")
    reply = request.locator(".thread article").filter(has_text="Any news")
    reply.get_by_role("button", name="Message actions").click()
    window.get_by_role("menuitem").last.click()  # the app's own entry comes last
    answer = request.locator(".thread article.private")
    expect(answer).to_contain_text(f"{blocks.WAITS} kai@thread.example {blocks.JUST_ASKED}")
    expect(named(answer, blocks.TELL_ME)).to_be_visible()
