"""What a colleague was given, offered in a browser that is as wide as a phone."""

from playwright.sync_api import Page, expect

import blocks
from ledger.states import State
from sandbox.workspace import ANN
from tests.page.browser import Sandbox, Windows, card, expect_state, named, press, private
from tests.requirements import needs

pytestmark = needs("chromium")
PHONE = {"viewport": {"width": 390, "height": 844}}
REPORTS = ("SOC 2 report", "Penetration test")


def approve_with_reports(window: Page, email: str) -> None:
    for name in REPORTS:
        card(window, email).get_by_label(name).check()
    press(window, email, blocks.APPROVE)
    expect_state(card(window, email), State.APPROVED)


def try_it(window: Page, name: str) -> None:
    window.locator("#tabs").get_by_role("button", name="Try it").click()
    window.locator(f"[data-try={name}]").click()
    window.locator("#tabs").get_by_role("button", name="Slack").click()


def company_of(window: Page, name: str) -> str:
    """Wait until this person asks; return the domain of the company."""
    shown = window.locator("#messages article").filter(has_text=f"{name}@").last
    expect(shown).to_be_visible()
    return shown.inner_text().partition(f"{name}@")[2].split()[0]


def test_a_colleague_gets_the_same_on_a_phone(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN, **PHONE)
    try_it(window, "same")
    company = company_of(window, "kai")
    approve_with_reports(window, f"kai@{company}")
    lena = card(window, f"lena@{company}{blocks.ASKS}")
    same = named(lena, blocks.APPROVE_SAME)
    expect(lena).to_contain_text(f"{blocks.GAVE}kai@{company} {' and '.join(REPORTS)} on ")
    buttons = [
        named(lena, each).bounding_box() for each in (blocks.APPROVE, blocks.APPROVE_SAME, blocks.REJECT)
    ]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in buttons), buttons
    assert window.evaluate("document.documentElement.scrollWidth") <= 390
    same.click()
    lena = card(window, f"lena@{company}")
    expect_state(lena, State.APPROVED)
    for name in REPORTS:
        expect(lena).to_contain_text(name)
    expect(window.locator("#tries li.done").filter(has=window.locator("[data-try=same]"))).to_have_count(1)


def test_those_who_wait_too_are_approved_on_a_phone(sandbox: Sandbox, windows: Windows) -> None:
    window = windows.open(ANN, **PHONE)
    try_it(window, "colleagues")
    company = company_of(window, "pia")
    for name in ("bo", "max"):
        expect(card(window, f"{name}@{company}{blocks.ASKS}")).to_be_visible()
    approve_with_reports(window, f"pia@{company}")
    question = private(window, blocks.WAIT_TOO[1].strip())
    expect(question).to_contain_text(f"bo@{company} and max@{company}")
    assert window.evaluate("document.documentElement.scrollWidth") <= 390
    named(question, blocks.APPROVE_COLLEAGUES).click()
    expect(named(window, blocks.APPROVE_COLLEAGUES)).to_have_count(0)
    for name in ("bo", "max"):
        expect_state(card(window, f"{name}@{company}").first, State.APPROVED, *REPORTS)
    expect(
        window.locator("#tries li.done").filter(has=window.locator("[data-try=colleagues]"))
    ).to_have_count(1)
