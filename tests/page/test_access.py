"""The sandbox's page can be used by keyboard, by screen reader, in light and dark, and on a phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

import blocks
from sandbox.workspace import ANN, BOB
from tests.page.browser import Sandbox, Windows, card, named, pane, press, submit
from tests.requirements import needs

pytestmark = needs("chromium")

WIDE, PHONE = 1300, 390


def barriers(window: Page) -> list[str]:
    """Return the problems of accessibility that axe finds on the screen, and in which elements."""
    found = Axe().run(window).response["violations"]
    return [f"{each['help']}: {[node['html'] for node in each['nodes']]}" for each in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_axe_finds_no_problem(sandbox: Sandbox, windows: Windows, width: int, scheme: str) -> None:
    # So high that nothing is scrolled out of sight, since axe cannot know the contrast of what is not seen.
    window = windows.open(ANN, viewport={"width": width, "height": 3000}, color_scheme=scheme)
    for name in ("Try it", "Conveyor", "What can go wrong", "HTTP traffic"):
        pane(window, name)
        if name == "HTTP traffic":
            window.locator("#exchanges summary:visible").first.click()
            expect(window.locator("#exchanges pre").first).to_be_visible()
        assert barriers(window) == [], name
    if width == PHONE:
        pane(window, "Slack")
    window.locator("#composer input").fill("/rooms acme.example")
    window.keyboard.press("Enter")
    expect(named(window.locator("#messages"), blocks.TELL_ME).first).to_be_visible()
    window.get_by_role("searchbox").fill("acme")
    expect(window.locator("#found")).to_be_visible()
    assert barriers(window) == []
    window.keyboard.press("Escape")
    for button in (blocks.REJECT, blocks.OPTIONS_BUTTON):
        press(window, "jane.doe@acme.example", button)
        dialog = window.get_by_role("dialog")
        expect(dialog).to_be_visible()
        if button == blocks.REJECT:
            submit(window).click()
            expect(dialog.locator("[aria-invalid]")).to_be_focused()
        assert barriers(window) == [], button
        window.keyboard.press("Escape")
        expect(dialog).to_be_hidden()


def test_skipping_to_the_messages_keeps_the_person(windows: Windows) -> None:
    window = windows.open(BOB)
    window.keyboard.press("Tab")
    expect(window.get_by_role("link", name="Skip to the messages")).to_be_focused()
    window.keyboard.press("Enter")
    expect(window.locator("#messages")).to_be_focused()
    expect(window.get_by_label("Acting as")).to_have_value(BOB)
    window.keyboard.press("Tab")
    expect(window.locator("#messages :focus")).to_have_count(1)


def test_the_page_fits_on_a_phone(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("phone@acme.example", "word " * 50)
    window = windows.open(ANN, viewport={"width": PHONE, "height": 800})
    expect(card(window, "phone@acme.example")).to_be_visible()
    for name in ("Slack", "Try it", "Conveyor", "What can go wrong", "HTTP traffic"):
        pane(window, name)
        assert window.evaluate("document.documentElement.scrollWidth") <= PHONE, name


def test_on_a_phone_a_found_message_is_scrolled_into_sight(sandbox: Sandbox, windows: Windows) -> None:
    sandbox.ask("found@phone.example")
    window = windows.open(ANN, viewport={"width": PHONE, "height": 800})
    expect(card(window, "found@phone.example")).to_be_visible()
    pane(window, "HTTP traffic")
    expect(card(window, "found@phone.example")).to_be_hidden()
    window.get_by_role("searchbox").fill("found@phone.example")
    window.locator("#found a").click()
    expect(window.locator("article:focus")).to_contain_text("found@phone.example")
