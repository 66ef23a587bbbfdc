"""A world for each test that wants one, and a last word about what was left out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.requirements import PACKAGES, left_out
from tests.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()
    assert made.leaks() == []


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One running app for the tests of a module that leave it as they found it."""
    made = World(tmp_path_factory.mktemp("town"))
    made.start()
    yield made
    made.close()
    assert made.leaks() == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if missing := left_out():
        packages = " ".join(PACKAGES[program] for program in missing)
        terminalreporter.section("LEFT OUT", sep="!", red=True)
        terminalreporter.line(f"Tests that need {', '.join(missing)} did not run. To run them as well:")
        terminalreporter.line(f"    sudo apt-get install {packages}")
