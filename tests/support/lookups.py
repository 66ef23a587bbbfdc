"""Look-ups of names in the app's own process: they hang, or name dead addresses before the right one."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.world import World

FOLDER = "TEST_NAMES"  # the environment variable that says where the files are by which they are steered
LOOK_SECONDS = 0.02

_getaddrinfo = socket.getaddrinfo


def look_up(host: Any, port: Any, *args: Any, **more: Any) -> list[Any]:
    """What the app gets for getaddrinfo: the same, after whatever befalls this port."""
    folder = Path(os.environ[FOLDER])
    found = _getaddrinfo(host, port, *args, **more)
    hanging = [folder / f"every-{port}"]
    if _took(folder / f"next-{port}", one := folder / f"hanging-{port}"):
        hanging.append(one)
    while any(file.exists() for file in hanging):
        time.sleep(LOOK_SECONDS)
    if _took(folder / f"dead-{port}", taken := folder / f"taken-{port}"):
        dead = [(*found[0][:4], ("127.0.0.1", int(other))) for other in taken.read_text().split()]
        return [*dead, *found]
    return found


def _took(file: Path, taken: Path) -> bool:
    """Whether this look-up is the one that the file was meant for."""
    with suppress(FileNotFoundError):
        file.rename(taken)
        return True
    return False


class Names:
    """What befalls the look-ups of a world's app, by port, since every name is the same there."""

    def __init__(self, world: World) -> None:
        self._folder = world.folder / "names"
        self._folder.mkdir()
        world.settings[FOLDER] = str(self._folder)
        world.waits["socket.getaddrinfo"] = look_up

    def hang_next(self, port: int) -> None:
        """Let the next look-up hang until it is released."""
        (self._folder / f"next-{port}").touch()

    def hang(self, port: int) -> None:
        """Let every look-up hang until they are released."""
        (self._folder / f"every-{port}").touch()

    def mislead_next(self, port: int, *dead: int) -> None:
        """Let the next look-up name these ports before the right one."""
        written = self._folder / "dead"
        written.write_text(" ".join(map(str, dead)))
        written.rename(self._folder / f"dead-{port}")

    def befell(self) -> bool:
        """Whether what was meant for the next look-up has met one."""
        waiting = [*self._folder.glob("next-*"), *self._folder.glob("dead-*")]
        return not waiting and any(self._folder.iterdir())

    def release(self) -> None:
        """Let what hangs go on."""
        for file in self._folder.iterdir():
            file.unlink()
