"""Whoever reads the log may stop reading, or go away: clicks count all the same."""

import fcntl
import os
import pty
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from sandbox.workspace import ANN, SAM
from tests.support.steps import posted, request_of
from tests.support.world import COMMAND, ROOT, World, eventually

PIPE_BYTES = 4096  # the smallest that a pipe can be


class Reader:
    """The reading end of a pipe or a terminal, from which nothing is read until `begin` is called."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.said = b""

    def begin(self) -> None:
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):  # a terminal whose other side is gone
            while part := os.read(self.end, 65_536):
                self.said += part.replace(b"\r\n", b"\n")

    def close(self) -> None:
        end, self.end = self.end, -1
        if end >= 0:  # no test closed it; by now the number may be that of another file
            os.close(end)


@pytest.fixture(params=["pipe", "terminal"])
def reader(world: World, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """The reader of the log of a world whose app has started, and has logged more than anybody keeps."""
    if request.param == "pipe":
        end, given = os.pipe()
        fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    else:
        end, given = pty.openpty()
    with closing(Reader(end)) as reader:
        # It is no terminal that is in control of the app, so that its end sends no signal.
        world.process = subprocess.Popen(
            COMMAND, env=world.environment(), cwd=ROOT, stdout=given, stderr=given, start_new_session=True
        )
        os.close(given)
        eventually(world.serves, 30)
        card = posted(world)
        for _ in range(400):
            assert world.slack.click(SAM, card.ts, "approve").status == 200
        works(world)
        yield reader
        world.kill()


def works(world: World) -> None:
    card = posted(world)
    answer = world.slack.click(ANN, card.ts, "approve")
    assert (answer.status, answer.seconds < 3) == (200, True)
    world.shows(request_of(card), "approved")
    assert world.readiness()[0] == 200


def test_lines_that_nobody_read_are_counted(world: World, reader: Reader) -> None:
    reader.begin()
    works(world)
    eventually(lambda: re.search(rb'lost=\d+ cause="nobody read the log for a while"\n', reader.said))
    lines = reader.said.decode().splitlines()
    assert all(re.match(r"time=.* level=", line) for line in lines)


def test_a_reader_that_went_away_stops_nothing(world: World, reader: Reader) -> None:
    reader.close()
    works(world)
