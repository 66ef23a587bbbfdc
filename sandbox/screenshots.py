"""`python -m sandbox.screenshots`: takes the README's pictures and its animation from a running sandbox.

It needs chromium, and a color emoji font (Debian: fonts-noto-color-emoji) so that the emoji look as in Slack.
It must not depend on the words of blocks.py, so that the pictures can be made again after a change of them.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, FloatRect, Locator, Page, ViewportSize, sync_playwright

import blocks
from ledger.states import State
from sandbox.app_process import ROOT
from sandbox.workspace import ANN, BOB, SAM

FOLDER = ROOT / "docs" / "images"
PORT = 8840
URL = f"http://127.0.0.1:{PORT}/"
DESKTOP = ViewportSize(width=1240, height=1000)
PHONE = ViewportSize(width=390, height=800)
FILM = ViewportSize(width=1240, height=760)
COLORS = 128  # of a frame
MAX_BYTES, MAX_FILM_BYTES = 250_000, 1_500_000
JANE, LI = "jane.doe@acme.example", "li.wei@northwind.example"
QUIET, SOFIA = "quiet@hooli.example", "sofia@globex.example"


@contextmanager
def sandbox() -> Iterator[None]:
    command = [sys.executable, "-m", "sandbox", "--port", str(PORT)]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if not any(line.startswith("Open") for line in process.stdout or ()):
                raise SystemExit("The sandbox does not start.")
            yield
        finally:
            process.terminate()


def card(page: Page, email: str, state: str = "") -> Locator:
    """Return the card of this customer. If a state is given, only once the card is in that state."""
    wanted = f'[data-state="{state}"]' if state else ""
    return page.locator(f"#messages > li > article{wanted}").filter(has_text=email)


def press(place: Locator, action_id: str) -> None:
    place.locator(f"[data-name={action_id}]").click()


def area_between(first: Locator, last: Locator, margin: int) -> FloatRect:
    """Return the part of the page from the top of one element to the bottom of another."""
    first.evaluate("element => element.scrollIntoView()")
    top, end = first.bounding_box(), last.bounding_box()
    if not top or not end:
        raise SystemExit("There is nothing to see.")
    return FloatRect(
        x=top["x"] - margin,
        y=top["y"] - margin,
        width=top["width"] + 2 * margin,
        height=end["y"] + end["height"] - top["y"] + 2 * margin,
    )


def check_size(path: Path, most: int) -> None:
    """Print the size of this file. Exit if it is too large for a README."""
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size / 1000:.0f} kB")
    if size > most:
        raise SystemExit(f"That is more than {most / 1000:.0f} kB.")


def save(page: Page, name: str, clip: FloatRect | None = None) -> None:
    """Save a picture of the page, or of a part of it."""
    path = FOLDER / f"{name}.png"
    page.mouse.move(0, 0)
    page.screenshot(path=path, clip=clip, animations="disabled")
    check_size(path, MAX_BYTES)


def take_screenshots(browser: Browser) -> None:
    page, sales, phone = (
        browser.new_page(viewport=size, device_scale_factor=2) for size in (DESKTOP, DESKTOP, PHONE)
    )
    page.goto(URL + f"#as={ANN}")
    for number in range(2):
        card(page, JANE).get_by_role("checkbox").nth(number).check()
    page.evaluate("document.activeElement.blur()")
    save(page, "pending", area_between(card(page, JANE), card(page, JANE), 0))
    press(card(page, LI), blocks.REJECT)
    dialog = page.locator("#modal")
    for ready in dialog.get_by_role("radio").all()[2:3]:
        ready.check()
    dialog.locator(f"[data-name={blocks.REASON}]").fill("Sam knows them.")
    save(page, "modal", area_between(dialog, dialog, 24))
    dialog.locator("[type=submit]").click()
    press(card(page, JANE), blocks.APPROVE)
    sales.goto(URL + f"#as={SAM}")
    card(sales, JANE, State.APPROVED).wait_for()
    card(sales, LI, State.REJECTED).wait_for()
    save(sales, "decided", area_between(card(sales, JANE), card(sales, LI), 0))
    phone.goto(URL + f"#as={BOB}")
    phone.locator("#hide-intro").click()
    card(phone, QUIET).evaluate("card => card.scrollIntoView()")
    save(phone, "phone")
    press(card(page, QUIET), blocks.APPROVE)
    card(page, QUIET, State.APPROVED).wait_for()


def film(browser: Browser) -> None:
    """Save an animation of one request's life: it arrives, is approved, and is found by searching."""
    page = browser.new_page(viewport=FILM, device_scale_factor=1.5)
    page.goto(URL + f"#as={ANN}")
    page.locator("#hide-intro").click()
    # Only the channel is filmed, and what is beside the search box would be cut in half.
    page.locator("h1, .acting").evaluate_all(
        "parts => parts.forEach(each => each.style.visibility = 'hidden')"
    )
    card(page, QUIET, State.APPROVED).scroll_into_view_if_needed()
    side = page.locator("#channel").bounding_box()
    if not side:
        raise SystemExit("There is nothing to see.")
    clip = FloatRect(x=side["x"], y=0, width=side["width"], height=FILM["height"])
    frames: list[tuple[Image.Image, int]] = []

    def take(milliseconds: int) -> None:
        shot = Image.open(BytesIO(page.screenshot(clip=clip, animations="disabled", caret="initial")))
        frames.append((shot.convert("RGB").quantize(COLORS), milliseconds))

    take(1500)
    page.locator("[data-example=ordinary]").click()
    card(page, SOFIA).wait_for()
    page.mouse.move(0, 0)
    take(2500)
    card(page, SOFIA).get_by_role("checkbox").first.check()
    take(1200)
    card(page, SOFIA).locator(f"[data-name={blocks.APPROVE}]").hover()
    take(1000)
    press(card(page, SOFIA), blocks.APPROVE)
    card(page, SOFIA, State.APPROVED).wait_for()
    page.mouse.move(0, 0)
    take(3000)
    search = page.get_by_role("searchbox")
    search.click()
    for letter in "globex":
        search.press(letter)
        take(150)
    page.locator("#found a").first.wait_for()
    take(3500)
    path = FOLDER / "life.gif"
    (first, *others), durations = zip(*frames, strict=True)
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0)
    check_size(path, MAX_FILM_BYTES)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sandbox(), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        take_screenshots(browser)
        film(browser)
        browser.close()


if __name__ == "__main__":
    main()
