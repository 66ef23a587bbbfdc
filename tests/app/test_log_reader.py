"""Whoever reads the log may stop reading, or go away: clicks count all the same."""

import fcntl
import os
import re
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sandbox.workspace import ANN, SAM
from tests.support.steps import posted, request_of
from tests.support.world import COMMAND, World, eventually

PIPE_BYTES = 4096  # the smallest that a pipe can be


class Reader:
    """The reading end of a pipe, from which nothing is read until `begin` is called."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self.end, True)
        self.said = b""

    def begin(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while part := os.read(self.end, 65_536):
            self.said += part

    def close(self) -> None:
        with suppress(OSError):  # a test closed it
            os.close(self.end)


@pytest.fixture
def reader(world: World) -> Iterator[Reader]:
    """The reader of the log of a world whose app has started, and has filled the pipe with what it logs."""
    with closing(Reader(world.folder / "pipe")) as reader:
        world.command = COMMAND
        own, world.log_file = world.log_file, world.folder / "pipe"
        world.launch()
        world.log_file = own
        eventually(world.serves, 30)
        card = posted(world)
        for _ in range(2 * PIPE_BYTES // 100):
            assert world.slack.click(SAM, card.ts, "approve").status == 200
        works(world)
        yield reader
        world.kill()


def works(world: World) -> None:
    card = posted(world)
    answer = world.slack.click(ANN, card.ts, "approve")
    assert (answer.status, answer.seconds < 3) == (200, True)
    world.shows(request_of(card), "Approved by")
    assert world.readiness()[0] == 200


def test_lines_that_nobody_read_are_counted(world: World, reader: Reader) -> None:
    reader.begin()
    works(world)
    eventually(lambda: re.search(rb"lost=\d+ nobody read the log for a while\n", reader.said))
    lines = reader.said.decode().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d .* level=", line) for line in lines)


def test_a_reader_that_went_away_stops_nothing(world: World, reader: Reader) -> None:
    reader.close()
    works(world)
