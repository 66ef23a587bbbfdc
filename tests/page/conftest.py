"""Fixtures of the tests of the page: a browser, a running sandbox and windows on its page."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from sandbox.app_process import app_files
from tests.page.browser import Sandbox, Windows, chromium
from tests.support.world import ROOT


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running browser that the tests of a module share."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A running sandbox that the tests of a module share."""
    with closing(Sandbox(tmp_path_factory.mktemp("sandbox") / "log")) as sandbox:
        yield sandbox


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the app and the sandbox that a test may change; return its folder."""
    made = tmp_path / "copy"
    made.mkdir()
    for file in [*app_files(), ROOT / "manifest.yaml"]:
        (made / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, made / file.relative_to(ROOT))
    shutil.copytree(ROOT / "sandbox", made / "sandbox")
    return made


@pytest.fixture
def windows(browser: Browser, sandbox: Sandbox) -> Iterator[Windows]:
    """Windows on the sandbox's page, which may not have errors in their consoles."""
    with closing(Windows(browser, sandbox.url)) as windows:
        yield windows
