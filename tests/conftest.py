"""Fixtures for all tests, the order in which tests run, and a last line about tests that were left out."""

import fcntl
import gc
import os
import pickle
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.requirements import PACKAGES, left_out, needs
from tests.support.container import Container, build_image
from tests.support.image import Image
from tests.support.postgres import Postgres
from tests.support.world import World

# Whoever starts the tests in the background may ignore Ctrl-C, and so would the commands that they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world of its own for one test, with the WAITS of its module, if any. Its app is not started yet."""
    made = World(tmp_path)
    made.waits = dict(getattr(request.module, "WAITS", made.waits))
    yield made
    made.close()
    assert made.leaks() == []


@pytest.fixture(scope="module")
def town(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running world that the tests of a module share; each test leaves it as it found it."""
    with closing(World(tmp_path_factory.mktemp("town"))) as made:
        made.waits = dict(getattr(request.module, "WAITS", made.waits))
        yield made.start()
    assert made.leaks() == []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that the tests share. Tests that use it are marked with `needs("initdb")`."""
    made = Postgres()
    yield made
    made.close()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The container's image, made once for all processes. Tests that use it are marked with `needs_image`."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    made = shared / "image.pickle"
    with (shared / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            context, root = shared / "image-context", shared / "image-root"
            context.mkdir()
            root.mkdir()
            made.write_bytes(pickle.dumps(build_image(context, root)))
    found = pickle.loads(made.read_bytes())  # noqa: S301 - this test run wrote it
    assert isinstance(found, Image)
    return found


@pytest.fixture
def container(world: World, image: Image) -> Container:
    """A world whose app runs in the container's image."""
    return Container(world, image)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=needs("initdb"))])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/folder/ledger.db"
    url: str = request.getfixturevalue("postgres").new_database()
    return url


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long tests first in the share of each process: xdist gives each an equal part of the list."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    ordered: list[pytest.Item] = []
    for process in range(processes):
        first = long[process::processes]
        rest = (len(items) - len(ordered)) // (processes - process) - len(first)
        ordered += first + others[:rest]
        del others[:rest]
    items[:] = ordered


def pytest_collection_finish() -> None:
    gc.freeze()  # the garbage collector need not search what was imported again and again


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if missing := left_out():
        packages = " ".join(PACKAGES[program] for program in missing)
        terminalreporter.section("LEFT OUT", sep="!", red=True)
        terminalreporter.line(f"Tests that need {', '.join(missing)} did not run. To run them as well:")
        terminalreporter.line(f"    sudo apt-get install {packages}")
    if os.geteuid() != 0:
        terminalreporter.line("Tests that make the container's image did not run: they take root.")
