"""The numbers, asked for in a browser: as one of the things to try, and on a phone."""

from playwright.sync_api import expect

import blocks
from ledger.states import State
from sandbox.workspace import ANN, SAM
from tests.page.browser import Sandbox, Windows, card, expect_state, press, private
from tests.requirements import needs

pytestmark = needs("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}}


def test_a_sales_rep_asks_for_the_numbers(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("early@globex.example")
    window = windows.open(ANN)
    press(window, "early@globex.example", blocks.APPROVE)
    expect_state(card(window, "early@globex.example"), State.APPROVED)
    window.locator("[data-try=numbers]").click()
    box = window.locator("#composer input")
    expect(box).to_have_value("/rooms numbers")
    expect(card(window, "lee@wayne.example").first).to_be_visible()
    box.press("Enter")
    answer = private(window, blocks.DECISIONS.format(1, 0))
    expect(answer).to_contain_text(blocks.LONGEST)
    expect(answer.get_by_role("link")).to_have_count(3)
    expect(window.locator("#tries li.done").filter(has=window.locator("[data-try=numbers]"))).to_be_visible()
    phone = windows.open(SAM, **PHONE)
    phone.locator("#composer input").fill("/rooms numbers 2w")
    phone.keyboard.press("Enter")
    box_on_phone = private(phone, blocks.DECISIONS.format(1, 0)).last.bounding_box()
    assert box_on_phone
    assert box_on_phone["x"] + box_on_phone["width"] <= 390
    assert box_on_phone["height"] < 500  # of 844
