"""Ready reasons in a browser, on a desktop and on a phone: one tap and a submit."""

import re

import pytest
from playwright.sync_api import Page, expect

import blocks
from ledger.states import State
from sandbox.workspace import ANN, BOB
from tests.page.browser import Sandbox, Windows, card, expect_state, named, press, submit
from tests.page.test_access import barriers
from tests.requirements import needs
from workspace.block_kit import CHECKBOXES

READY = [each for each in blocks.REJECT_REASONS if not each.needs_text]
TYPED = [each for each in blocks.REJECT_REASONS if each.needs_text]
REVOKING = [each for each in blocks.REVOKE_REASONS if not each.needs_text]
pytestmark = [
    needs("chromium"),
    # A fork may have other lists, whose windows look different.
    pytest.mark.skipif(
        not (READY and TYPED and len(READY + TYPED) <= CHECKBOXES), reason="blocks.py has other lists"
    ),
]
SIZES = {"desktop": (1300, 900), "phone": (390, 844)}


def opened(sandbox: Sandbox, windows: Windows, email: str, size: str, **context: str) -> Page:
    """Open a window of this size, and in it the modal that asks why a new request is rejected."""
    sandbox.ask(email, "Hello\n" * 12)
    width, height = SIZES[size]
    window = windows.open(BOB, viewport={"width": width, "height": height}, **context)
    press(window, email, blocks.REJECT)
    expect(window.get_by_role("dialog")).to_be_visible()
    return window


@pytest.mark.parametrize("size", SIZES)
def test_one_tap_and_a_submit_reject(sandbox: Sandbox, windows: Windows, size: str) -> None:
    email = f"tap@{size}.example"
    window = opened(sandbox, windows, email, size)
    expect(window.get_by_role("radiogroup")).to_have_count(1)
    expect(window.get_by_label(READY[0].words, exact=True)).to_be_in_viewport(ratio=1)
    expect(submit(window)).to_be_in_viewport(ratio=1)
    window.get_by_label(READY[-1].words, exact=True).click()
    submit(window).click()
    expect_state(card(window, email), State.REJECTED, "@bob", READY[-1].words)


@pytest.mark.parametrize("size", SIZES)
def test_something_else_without_a_text_is_refused_in_place(
    sandbox: Sandbox, windows: Windows, size: str
) -> None:
    email = f"typed@{size}.example"
    window = opened(sandbox, windows, email, size)
    why = named(window.locator("#modal"), blocks.REASON)
    expect(window.get_by_label(TYPED[0].words, exact=True)).to_be_checked()
    submit(window).click()
    expect(why).to_be_focused()
    expect(why).to_have_accessible_description(re.compile(re.escape(blocks.REASON_MISSING)))
    expect(window.get_by_label(TYPED[0].words, exact=True)).to_be_checked()
    why.fill("They asked for a friend.")
    submit(window).click()
    expect_state(card(window, email), State.REJECTED, "They asked for a friend.")


def test_a_ready_reason_by_keyboard_alone(sandbox: Sandbox, windows: Windows) -> None:
    window = opened(sandbox, windows, "keys@ready.example", "desktop")
    expect(window.get_by_label(TYPED[0].words, exact=True)).to_be_focused()
    window.keyboard.press("ArrowUp")
    for _ in blocks.REJECT_REASONS:
        if window.get_by_label(READY[0].words, exact=True).is_checked():
            break
        window.keyboard.press("ArrowUp")
    expect(window.get_by_label(READY[0].words, exact=True)).to_be_checked()
    window.keyboard.press("Tab")
    expect(named(window.locator("#modal"), blocks.REASON)).to_be_focused()
    window.keyboard.type("by keyboard")
    window.keyboard.press("Control+Enter")
    shown = card(window, "keys@ready.example")
    expect_state(shown, State.REJECTED, READY[0].kept("by keyboard"))


@pytest.mark.parametrize("ready", REVOKING[:1], ids=["the first"])
def test_a_reason_for_revoking(sandbox: Sandbox, windows: Windows, ready: blocks.Ready) -> None:
    sandbox.ask("left@ready.example")
    window = windows.open(ANN)
    press(window, "left@ready.example", blocks.APPROVE)
    shown = card(window, "left@ready.example")
    expect_state(shown, State.APPROVED)
    shown.get_by_role("button", name="More actions").click()
    window.get_by_role("menuitem").last.click()
    window.get_by_label(ready.words, exact=True).click()
    submit(window).click()
    expect_state(shown, State.REVOKED, ready.words)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_no_problem(sandbox: Sandbox, windows: Windows, size: str, scheme: str) -> None:
    window = opened(sandbox, windows, f"axe@{size}-{scheme}.example", size, color_scheme=scheme)
    assert barriers(window) == []
    submit(window).click()
    expect(window.locator("#modal [aria-invalid]")).to_be_focused()
    assert barriers(window) == []
