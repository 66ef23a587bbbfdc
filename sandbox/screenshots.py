"""`python -m sandbox.screenshots`: the pictures of the README, taken from the running sandbox.

Needs chromium, and a colour emoji font (Debian: fonts-noto-color-emoji) for the pictures to look as in Slack.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Locator, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "images"
PORT = 8840
URL = f"http://127.0.0.1:{PORT}/"
DESKTOP = ViewportSize(width=1240, height=1000)
PHONE = ViewportSize(width=390, height=800)
MOST_BYTES = 200_000


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


def press(page: Page, email: str, button: str) -> None:
    card(page, email).get_by_role("button", name=f"{button} access").click()


def around(first: Locator, last: Locator, margin: int) -> FloatRect:
    """The part of the page from one card to another."""
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
    """A picture of the page, or of a part of it."""
    path = FOLDER / f"{name}.png"
    page.mouse.move(0, 0)
    page.screenshot(path=path, clip=clip, animations="disabled")
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"That is more than {MOST_BYTES / 1000:.0f} kB.")


def take(browser: Browser) -> None:
    page, sales, phone = (
        browser.new_page(viewport=size, device_scale_factor=2) for size in (DESKTOP, DESKTOP, PHONE)
    )
    page.goto(URL + "#as=U0ANN")
    jane, li = "jane.doe@acme.example", "li.wei@northwind.example"
    for group in ("SOC 2 report", "Penetration test"):
        card(page, jane).get_by_label(group).check()
    card(page, li).wait_for()
    page.evaluate("document.activeElement.blur()")
    save(page, "pending", around(card(page, jane), card(page, jane), 0))
    press(page, li, "Reject")
    page.get_by_label("Why?").fill("Northwind is a competitor. Sam knows.")
    dialog = page.get_by_role("dialog")
    save(page, "modal", around(dialog, dialog, 24))
    dialog.get_by_role("button", name="Reject").click()
    press(page, jane, "Approve")
    sales.goto(URL + "#as=U0SAM")
    for email, words in ((jane, "Approved by"), (li, "Rejected by")):
        card(sales, email).filter(has_text=words).wait_for()
    save(sales, "decided", around(card(sales, jane), card(sales, li), 0))
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
        take(browser)
        browser.close()


if __name__ == "__main__":
    main()
