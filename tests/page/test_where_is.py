"""Questions about customers, asked in a browser that is as wide as a phone."""

from playwright.sync_api import expect

import blocks
from sandbox.workspace import BOB, SAM
from tests.page.browser import Sandbox, Windows, card, press, reject
from tests.requirements import needs

pytestmark = needs("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}}


def test_a_sales_rep_asks_on_a_phone(sandbox: Sandbox, windows: Windows) -> None:
    for email in (
        "ann@globex.example",
        "bob@globex.example",
        "cat@globex.example",
        "dan@globex-labs.example",
    ):
        sandbox.ask(email)
    reviewer = windows.open(BOB)
    press(reviewer, "ann@globex.example", blocks.APPROVE)
    reject(reviewer, "bob@globex.example", "Works for a competitor.")
    phone = windows.open(SAM, **PHONE)
    phone.locator("#composer input").fill("/rooms globex")
    phone.keyboard.press("Enter")
    offered = card(phone, blocks.WHICH_CUSTOMER)
    expect(offered.get_by_role("button", name="Ask about ")).to_have_count(2)
    offered.get_by_role("button", name="Ask about globex.example").click()
    answer = card(phone, f"{blocks.UNSIGNED} globex.example")
    expect(answer).to_contain_text(f"cat@globex.example {blocks.JUST_ASKED}")
    expect(answer).to_contain_text("Works for a competitor.")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    box = answer.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert box["height"] < 844  # the answer is on one screen
