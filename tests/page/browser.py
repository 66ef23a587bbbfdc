"""Starts the sandbox as a newcomer does, and opens real browser windows on its page."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from slack_sdk import WebClient
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

from blocks import APPROVE, DECIDED, DOING, REASON, REJECT
from ledger.states import State
from sandbox.slack import SlackStandIn
from tests.support.world import ROOT, eventually, free_port

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 20_000  # milliseconds: the machine may be busy with other tests
expect.set_options(timeout=PATIENCE)


class Sandbox:
    """A running sandbox. What is not the point of a test is done by HTTP instead of in the page."""

    def __init__(self, log: Path, root: Path = ROOT, *, remind_after: float = 0) -> None:
        self.port = four_free_ports()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        command = [sys.executable, "-X", "faulthandler", "-m", "sandbox", "--port", str(self.port)]
        command += ["--remind-after", str(remind_after)]
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=root, stdout=output, stderr=output)
        eventually(self._is_ready, 60, "the sandbox is ready")

    def log(self) -> str:
        return self._log.read_text()

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        return "Ready after" in self.log()

    def act(self, name: str, /, **arguments: Any) -> None:
        """Do what the page can do, such as flipping a switch; the answer must be empty."""
        assert self.answer(name, **arguments) == {}

    def answer(self, name: str, /, **arguments: Any) -> Any:
        """Do what the page can do, and return the answer."""
        answer = requests.post(
            f"{self.url}/act/{name}", json=arguments, headers={"Origin": self.url}, timeout=10
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def slack(self) -> WebClient:
        """Return a client of the stand-in for Slack, to show in the page what the app does not send."""
        url = f"http://127.0.0.1:{self.port + 2}/api/"
        return WebClient(
            SlackStandIn().bot_token, base_url=url, retry_handlers=[RateLimitErrorRetryHandler(9)]
        )

    def first_event(self, person: str) -> str:
        """Return the first server-sent event that a new window of this person gets."""
        query = {"person": person, "window": "another", "since": "0"}
        with requests.get(f"{self.url}/events", query, stream=True, timeout=10) as answer:
            return f"{next(answer.iter_lines(decode_unicode=True))}\n\n"

    def ask(self, email: str, message: str = "Hello") -> None:
        """Make a new request in Conveyor."""
        self.act("ask", email=email, message=message)

    def close(self) -> None:
        """End the sandbox as Ctrl-C does, and check that everything ends soon and without a traceback."""
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # makes faulthandler show where each thread is
            self.process.wait()
            raise AssertionError(f"it does not end\n{self.log()}") from None
        assert status == 0, self.log()
        assert "Traceback" not in self.log(), self.log()
        assert all(is_free(port) for port in range(self.port, self.port + 4))


class Windows:
    """Browser windows, each in a browser profile of its own. `errors` has the errors of their consoles."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser, self._url = browser, url
        self._contexts: list[Any] = []
        self.errors: list[str] = []

    def open(self, person: str = "U0ANN", **context: Any) -> Page:
        """Open a window as this person and wait until it shows messages."""
        made = self._browser.new_context(**{"viewport": {"width": 1300, "height": 1000}, **context})
        made.set_default_timeout(PATIENCE)
        self._contexts.append(made)
        page = made.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.goto(f"{self._url}/#as={person}")
        expect(page.locator("#messages article").first).to_be_visible()
        return page

    def close(self) -> None:
        """Close all windows and check that their consoles had no errors."""
        for context in self._contexts:
            context.close()
        assert self.errors == []


def card(window: Page, words: str) -> Locator:
    """Return the card that contains these words."""
    return window.locator("#messages > li > article").filter(has_text=words)


def pane(window: Page, name: str) -> None:
    """Show the pane of this name beside the messages."""
    window.locator("#tabs").get_by_role("button", name=name).click()


def private(window: Page, words: str) -> Locator:
    """Return what this person alone is told, if it contains these words."""
    return window.locator("#messages article.private").filter(has_text=words)


def named(place: Page | Locator, action_id: str) -> Locator:
    """Return the button or input with this action id: unlike its label, that is no word that may change."""
    return place.locator(f'[data-name="{action_id}"]')


def press(window: Page, email: str, action_id: str) -> None:
    """Click a button on a customer's card, and confirm the click if the card shows a risk."""
    named(card(window, email), action_id).click()
    if (dialog := window.locator("dialog#confirm[open]")).count():
        dialog.locator("button").last.click()


def submit(window: Page) -> Locator:
    """Return the button that submits the modal."""
    return window.locator("#modal [type=submit]")


def expect_state(shown: Locator, state: State, *phrases: str) -> None:
    """Wait until this card shows that it is in this state, and these phrases.

    What somebody is told privately about its customer does not count.
    """
    shown = shown.and_(shown.page.locator(":not(.private)"))
    if state == State.PENDING:
        expect(named(shown, APPROVE)).to_be_visible()
    else:
        expect(shown).to_contain_text(DOING.get(state) or DECIDED[state][0])
    for phrase in phrases:
        expect(shown).to_contain_text(phrase)


def reject(window: Page, email: str, reason: str) -> None:
    """Reject a customer's request for this reason."""
    press(window, email, REJECT)
    named(window.locator("#modal"), REASON).fill(reason)
    submit(window).click()
    expect_state(card(window, email), State.REJECTED)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def four_free_ports() -> int:
    """Return the first of four free ports in a row."""
    while True:
        first = free_port()
        if all(is_free(port) for port in range(first, first + 4)):
            return first


def is_free(port: int) -> bool:
    """Return whether nothing uses this port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
