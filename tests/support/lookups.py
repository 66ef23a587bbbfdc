"""Makes look-ups of names in the app's process hang, or name dead addresses before the right one."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.world import World

FOLDER = "TEST_LOOKUPS"  # the environment variable with the folder whose files say what is to happen
CHECK_SECONDS = 0.02

_getaddrinfo = socket.getaddrinfo


def look_up(host: Any, port: Any, *args: Any, **more: Any) -> list[Any]:
    """Stand in for getaddrinfo in the app: the same answer, after what is meant for this port."""
    folder = Path(os.environ[FOLDER])
    found = _getaddrinfo(host, port, *args, **more)
    hanging = [folder / f"every-{port}"]
    if _is_meant(folder / f"next-{port}", one := folder / f"hanging-{port}"):
        hanging.append(one)
    while any(file.exists() for file in hanging):
        time.sleep(CHECK_SECONDS)
    if _is_meant(folder / f"dead-{port}", taken := folder / f"taken-{port}"):
        dead = [(*found[0][:4], ("127.0.0.1", int(other))) for other in taken.read_text().split()]
        return [*dead, *found]
    return found


def _is_meant(file: Path, taken: Path) -> bool:
    """Return whether this look-up is the one that the file is meant for; it is for no other then."""
    with suppress(FileNotFoundError):
        file.rename(taken)
        return True
    return False


class Lookups:
    """Controls the look-ups of a world's app, by port, since every name is the same there."""

    def __init__(self, world: World) -> None:
        self._folder = world.folder / "lookups"
        self._folder.mkdir()
        world.settings[FOLDER] = str(self._folder)
        world.waits["socket.getaddrinfo"] = look_up

    def hang_next(self, port: int) -> None:
        """Make the next look-up for this port hang until `release`."""
        (self._folder / f"next-{port}").touch()

    def hang(self, port: int) -> None:
        """Make every look-up for this port hang until `release`."""
        (self._folder / f"every-{port}").touch()

    def mislead_next(self, port: int, *dead: int) -> None:
        """Make the next look-up for this port name these dead ports before the right one."""
        written = self._folder / "dead"
        written.write_text(" ".join(map(str, dead)))
        written.rename(self._folder / f"dead-{port}")

    def was_used(self) -> bool:
        """Return whether what was meant for the next look-up has met one."""
        waiting = [*self._folder.glob("next-*"), *self._folder.glob("dead-*")]
        return not waiting and any(self._folder.iterdir())

    def release(self) -> None:
        """Let every look-up that hangs go on."""
        for file in self._folder.iterdir():
            file.unlink()
