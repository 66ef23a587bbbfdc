"""A look-alike address, in a browser: the thing to try, the warning, and the question before the approval."""

from playwright.sync_api import expect

import blocks
from ledger.states import State
from sandbox.tries import CUSTOMER, LOOK_ALIKE
from sandbox.workspace import ANN
from tests.page.browser import Sandbox, Windows, card, expect_state, named, press
from tests.requirements import needs

pytestmark = needs("chromium")


def test_a_look_alike_of_a_customer_is_a_warning_and_is_asked_about(
    sandbox: Sandbox, windows: Windows
) -> None:
    window = windows.open(ANN)
    window.locator("[data-try=look-alike]").click()
    expect_state(card(window, CUSTOMER), State.PENDING)
    assert window.locator("#messages > li > article").filter(has_text=LOOK_ALIKE).count() == 0
    press(window, CUSTOMER, blocks.APPROVE)
    asked = card(window, LOOK_ALIKE)
    domains = (email.partition("@")[2] for email in (LOOK_ALIKE, CUSTOMER))
    warning = blocks.LOOKS_LIKE["like_customer"].format(*domains)
    expect(asked).to_contain_text(warning)
    named(asked, blocks.APPROVE).click()
    question = window.locator("dialog#confirm[open]")
    expect(question).to_contain_text(warning)
    question.locator("button").last.click()
    expect_state(asked, State.APPROVED)
    done = window.locator("#tries li.done").filter(has=window.locator("[data-try=look-alike]"))
    expect(done).to_be_visible()
