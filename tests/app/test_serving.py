"""What happens to the process from outside: SIGHUP, a terminal that is closed, a folder that is missing."""

import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sandbox.workspace import ANN
from tests.requirements import find, needs
from tests.support.steps import posted, request_of
from tests.support.world import COMMAND, ROOT, World, eventually


@pytest.fixture
def file(world: World) -> Path:
    """The `.env` of a world whose app is started with `python app.py`."""
    file = world.folder / ".env"
    world.command = COMMAND
    file.write_text("".join(f"{name}={value}\n" for name, value in world.settings.items()))
    world.settings = {"ENV_FILE": str(file), "GUNICORN_CMD_ARGS": world.settings["GUNICORN_CMD_ARGS"]}
    return file


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def worker_of(world: World) -> str:
    """Return the process that does the background work, as the ledger names it."""
    return str(world.ledger("SELECT detail FROM trail WHERE event = 'start' ORDER BY number DESC")[0][0])


def works(world: World) -> None:
    card = posted(world)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved", seconds=30)


def database(world: World, file: Path) -> None:
    """Let the world find its ledger, which is named in the file."""
    found = re.search("DATABASE_URL=(.*)", file.read_text())
    assert found
    world.settings["DATABASE_URL"] = found[1]


def children(process: int) -> list[str]:
    """Return the processes that this one has started and not waited for."""
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


@pytest.mark.long
def test_sighup_reads_the_settings_again(world: World, file: Path) -> None:
    database(world, file)
    process = world.start().process
    assert process
    before = worker_of(world)
    change(file, "REVIEWERS=", "REVIEWERS=U0SAM,")
    os.kill(process.pid, signal.SIGHUP)
    eventually(lambda: worker_of(world) != before, 30)
    works(world)
    eventually(lambda: len(children(process.pid)) == 1)

    # What the app logs stays as it is, and no line comes twice.
    lines = world.log().splitlines()
    assert all(re.match(r"time=\S+Z level=", line) for line in lines)
    assert len(set(lines)) == len(lines)


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("REVIEWERS=nobody in particular", "- REVIEWERS"),
        ("REVIEWERS='U0ANN", "at line"),
        ("HOST=127.0.0.1", "HOST and PORT"),
    ],
)
def test_sighup_with_a_mistake_in_the_settings_changes_nothing(
    world: World, file: Path, line: str, words: str
) -> None:
    database(world, file)
    process = world.start().process
    assert process
    before = worker_of(world)
    file.write_text(f"{file.read_text()}{line}\n")
    os.kill(process.pid, signal.SIGHUP)
    eventually(lambda: "keeps its current settings" in world.log())
    assert words in world.log()
    works(world)
    assert worker_of(world) == before
    assert process.poll() is None


@pytest.mark.long
def test_a_closed_terminal_ends_the_app_in_order(world: World) -> None:
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [shutil.which("setsid") or "setsid", "--ctty", "--wait", *COMMAND],
        env=world.environment(),
        cwd=ROOT,
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    try:
        world.process = process
        eventually(world.serves, 30)
        held = "SELECT owner FROM lease WHERE owner <> ''"
        assert eventually(lambda: world.ledger(held))
        os.close(terminal)
        assert process.wait(20) is not None
        assert world.ledger(held) == []
    finally:
        world.process = None
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("argument", ["--preload"])
def test_what_gunicorn_cannot_do_here_is_said(world: World, argument: str) -> None:
    world.settings["GUNICORN_CMD_ARGS"] += f" {argument}"
    assert start_fails(world, COMMAND).startswith(f"The app cannot start with {argument}: ")


def test_the_main_process_stays_small(world: World) -> None:
    """What prepares the ledger has ended, and its libraries take no memory in the main process."""
    world.command = COMMAND
    process = world.start().process
    assert process
    (worker,) = children(process.pid)
    assert "sqlite" in Path(f"/proc/{worker}/maps").read_text()
    assert "sqlite" not in Path(f"/proc/{process.pid}/maps").read_text()


def test_what_only_some_installations_need_is_imported_by_them() -> None:
    script = "import sys, app; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    unneeded = "alembic", "psycopg", "sqlalchemy.dialects.postgresql", "websockets", "prometheus_client"
    assert [name for name in unneeded if name in done.stdout.split()] == []


def test_a_start_that_cannot_check_anything_says_so(world: World) -> None:
    world.waits["ledger.preparing.PREPARE_SECONDS"] = "no number"
    process = world.launch()
    assert process.wait(30) == 1
    assert "TypeError" in world.log()
    assert world.log().splitlines()[-1].startswith("The app cannot start: its settings and ledger")


@needs("bwrap")
def test_a_machine_without_a_place_for_small_files_is_named(world: World) -> None:
    folder, memory = str(world.folder), "/dev/shm"  # noqa: S108 - it is made read-only
    read_only = ["--ro-bind", "/", "/", "--dev", "/dev", "--bind", folder, folder]
    program = find("bwrap") or "bwrap"
    said = start_fails(world, [program, *read_only, "--tmpfs", memory, "--remount-ro", memory, *COMMAND])
    assert re.fullmatch("The app cannot start: .* /dev/shm or /tmp[.]\n", said)


def test_a_worker_that_begins_while_the_ledger_is_locked_serves_afterward(world: World) -> None:
    world.command = COMMAND
    process = world.start().process
    assert process
    (worker,) = children(process.pid)
    with closing(sqlite3.connect(world.database, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        os.kill(int(worker), signal.SIGKILL)
        eventually(lambda: "start=not_recorded" in world.log())
        assert eventually(lambda: children(process.pid)) != [worker]
        db.execute("ROLLBACK")
    eventually(world.serves, 40)
    request_id = world.conveyor.ask("late@acme.com")
    world.shows(request_id, "pending", seconds=40)  # the killed worker held the lease
    works(world)


def start_fails(world: World, command: list[str]) -> str:
    """Start the app, which has to end by itself; return what it says."""
    done = subprocess.run(
        command, env=world.environment(), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr
