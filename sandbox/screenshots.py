"""`python -m sandbox.screenshots`: takes the pictures for the README from a running sandbox.

It needs chromium, and a color emoji font (Debian: fonts-noto-color-emoji) so that the emoji look as in Slack.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, FloatRect, Locator, Page, ViewportSize, sync_playwright

from sandbox.app_process import ROOT

FOLDER = ROOT / "docs" / "images"
PORT = 8840
URL = f"http://127.0.0.1:{PORT}/"
DESKTOP = ViewportSize(width=1240, height=1000)
PHONE = ViewportSize(width=390, height=800)
MAX_BYTES = 200_000


@contextmanager
def sandbox() -> Iterator[None]:
    command = [sys.executable, "-m", "sandbox", "--port", str(PORT)]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if not any(line.startswith("Ready") for line in process.stdout or ()):
                raise SystemExit("The sandbox does not start.")
            yield
        finally:
            process.terminate()


def card(page: Page, words: str) -> Locator:
    return page.locator("#messages article").filter(has_text=words)


def click_button(page: Page, email: str, button: str) -> None:
    card(page, email).get_by_role("button", name=f"{button} access").click()


def area_between(first: Locator, last: Locator, margin: int) -> FloatRect:
    """Return the part of the page from the top of one element to the bottom of another."""
    first.evaluate("element => element.scrollIntoView()")
    top, end = first.bounding_box(), last.bounding_box()
    if not top or not end:
        raise SystemExit("There is nothing to be seen.")
    return FloatRect(
        x=top["x"] - margin,
        y=top["y"] - margin,
        width=top["width"] + 2 * margin,
        height=end["y"] + end["height"] - top["y"] + 2 * margin,
    )


def save(page: Page, name: str, clip: FloatRect | None = None) -> None:
    """Save a picture of the page, or of a part of it. Exit if the file is too large for a README."""
    path = FOLDER / f"{name}.png"
    page.mouse.move(0, 0)
    page.screenshot(path=path, clip=clip, animations="disabled")
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size / 1000:.0f} kB")
    if size > MAX_BYTES:
        raise SystemExit(f"That is more than {MAX_BYTES / 1000:.0f} kB.")


def take_screenshots(browser: Browser) -> None:
    page, sales, phone = (
        browser.new_page(viewport=size, device_scale_factor=2) for size in (DESKTOP, DESKTOP, PHONE)
    )
    page.goto(URL + "#as=U0ANN")
    jane, li = "jane.doe@acme.example", "li.wei@northwind.example"
    for group in ("SOC 2 report", "Penetration test"):
        card(page, jane).get_by_label(group).check()
    card(page, li).wait_for()
    page.evaluate("document.activeElement.blur()")
    save(page, "pending", area_between(card(page, jane), card(page, jane), 0))
    click_button(page, li, "Reject")
    page.get_by_label("Why?").fill("Northwind is a competitor. Sam knows.")
    dialog = page.get_by_role("dialog")
    save(page, "modal", area_between(dialog, dialog, 24))
    dialog.get_by_role("button", name="Reject").click()
    click_button(page, jane, "Approve")
    sales.goto(URL + "#as=U0SAM")
    for email, words in ((jane, "Approved by"), (li, "Rejected by")):
        card(sales, email).filter(has_text=words).wait_for()
    save(sales, "decided", area_between(card(sales, jane), card(sales, li), 0))
    page.locator("[data-example=ordinary]").click()
    phone.goto(URL + "#as=U0BOB")
    card(phone, "sofia@globex.example").wait_for()
    save(phone, "phone")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sandbox(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        take_screenshots(browser)
        browser.close()


if __name__ == "__main__":
    main()
