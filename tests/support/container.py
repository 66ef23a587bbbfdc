"""A world whose app runs in the container's image."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sandbox.app_process import app_files
from tests.requirements import needs
from tests.support.image import Image, build
from tests.support.world import ROOT, World


def needs_image(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that runs in the image, so that it is skipped where no image can be made."""
    root_only = pytest.mark.skipif(os.geteuid() != 0, reason="making an image takes root")
    for mark in (root_only, needs("bwrap")):
        test = mark(test)
    return test


def build_image(context: Path, root: Path) -> Image:
    """Build the image from a folder that also holds files that must not get into it; return the image."""
    for name in ("Dockerfile", ".dockerignore", "requirements.txt", "manifest.yaml"):
        shutil.copy(ROOT / name, context)
    for module in app_files():
        (context / module.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(module, context / module.relative_to(ROOT))
    for private in (".env", "data/ledger.db", "tests/made_up.py", "ledger/__pycache__/tables.pyc"):
        (context / private).parent.mkdir(exist_ok=True)
        (context / private).write_text("private")
    return build(context, root)


class Container:
    """The app in a read-only image, with a new volume that is filled as a container engine would fill it."""

    def __init__(self, world: World, image: Image) -> None:
        self.world, self.image = world, image
        self.volume = world.folder / "volume"
        fresh = image.path(image.volumes[0])
        shutil.copytree(fresh, self.volume)
        os.chown(self.volume, fresh.stat().st_uid, fresh.stat().st_gid)
        for outside in ("DATABASE_URL", "GUNICORN_CMD_ARGS"):
            del world.settings[outside]
        world.command = image.run(image.command, world.settings, self.volume)
        # Outside of the container the ledger has another address.
        world.settings["DATABASE_URL"] = f"sqlite:///{self.volume}/ledger.db"

    def execute(
        self, *command: str, given: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command as `docker exec` would, but with a process table of its own."""
        inside = self.image.run(
            list(command), {"PORT": str(self.world.port), **(environment or {})}, self.volume
        )
        return subprocess.run(inside, capture_output=True, input=given, timeout=60)

    def stop(self) -> int:
        """Send SIGTERM to process 1, as an engine does, and return the exit status."""
        assert self.world.process
        outer = self.world.process.pid
        first = int(Path(f"/proc/{outer}/task/{outer}/children").read_text())
        os.kill(first, signal.SIGTERM)
        status = self.world.process.wait(timeout=45)
        self.world.process = None
        return status
