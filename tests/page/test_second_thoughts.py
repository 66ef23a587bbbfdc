"""Second thoughts in a browser: other groups for somebody who was approved."""

from playwright.sync_api import Page, expect

import blocks
from ledger.states import State
from sandbox.workspace import ANN, BOB
from tests.page.browser import Sandbox, Windows, card, expect_state, press, submit
from tests.requirements import needs

pytestmark = needs("chromium")


def choose(window: Page, email: str, entry: str) -> None:
    """Choose an entry in the menu of a decided card."""
    card(window, email).get_by_role("button", name="More actions").click()
    window.get_by_role("menuitem", name=blocks.MENU[entry]).click()


def test_the_groups_of_a_customer_are_changed(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("change@second.example")
    window = windows.open(ANN)
    request = card(window, "change@second.example")
    request.get_by_label("Penetration test").check()
    press(window, "change@second.example", blocks.APPROVE)
    expect_state(request, State.APPROVED)
    other = windows.open(BOB)
    choose(other, "change@second.example", blocks.CHANGE_GROUPS)
    modal = other.locator("#modal")
    expect(modal).to_contain_text("change@second.example")
    expect(modal.get_by_label("Penetration test")).to_be_checked()
    submit(other).click()
    expect(modal).to_contain_text(blocks.SAME_GROUPS)
    modal.get_by_label("Penetration test").uncheck()
    modal.get_by_label("SOC 2").check()
    submit(other).click()
    changed = card(other, "change@second.example")
    expect(changed).to_contain_text(f"{blocks.GROUPS_CHANGED} by @bob")
    expect(changed).to_contain_text(f"{blocks.BEFORE}{blocks.BASIC}, plus Penetration test.")
    expect_state(request, State.APPROVED, "SOC 2")
