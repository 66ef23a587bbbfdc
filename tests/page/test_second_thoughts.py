"""Second thoughts in a browser: other groups, or an approval of somebody who was rejected."""

from playwright.sync_api import Page, expect

import blocks
from ledger.states import State
from sandbox.workspace import ANN, BOB
from tests.page.browser import Sandbox, Windows, card, expect_state, press, reject, submit
from tests.requirements import needs
from tests.support.steps import access_of

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
    expect(changed).to_contain_text(blocks.GROUPS_CHANGED)
    expect(changed).to_contain_text("@bob")
    expect(changed).to_contain_text(blocks.BEFORE + access_of("Penetration test"))
    expect_state(request, State.APPROVED, "SOC 2")


def test_somebody_who_was_rejected_is_approved_after_all(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("after@second.example")
    window = windows.open(BOB)
    reject(window, "after@second.example", "Not a customer yet.")
    other = windows.open(ANN)
    request = card(other, "after@second.example")
    expect_state(request, State.REJECTED)
    choose(other, "after@second.example", blocks.AFTER_ALL)
    modal = other.locator("#modal")
    expect(modal).to_contain_text("Not a customer yet.")
    modal.get_by_label("Penetration test").check()
    submit(other).click()
    expect_state(request, State.APPROVED, "@ann")
    expect(request).to_contain_text("Penetration test")
    expect(request).to_contain_text("Not a customer yet.")
    expect(request).to_contain_text("@bob")
