"""A browser, a running sandbox and windows on it, shared by the tests of the page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser import Sandbox, Windows, chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox") / "log")
    yield sandbox
    sandbox.stop()


@pytest.fixture
def windows(browser: Browser, sandbox: Sandbox) -> Iterator[Windows]:
    windows = Windows(browser, sandbox.url)
    yield windows
    windows.close()
