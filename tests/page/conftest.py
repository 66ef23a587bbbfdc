"""A browser, a running sandbox and windows on it, shared by the tests of the page."""

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
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with closing(Sandbox(tmp_path_factory.mktemp("sandbox") / "log")) as sandbox:
        yield sandbox


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The app and the sandbox, to be changed."""
    made = tmp_path / "copy"
    made.mkdir()
    for file in [*app_files(), ROOT / "manifest.yaml"]:
        (made / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, made / file.relative_to(ROOT))
    shutil.copytree(ROOT / "sandbox", made / "sandbox")
    return made


@pytest.fixture
def windows(browser: Browser, sandbox: Sandbox) -> Iterator[Windows]:
    with closing(Windows(browser, sandbox.url)) as windows:
        yield windows
