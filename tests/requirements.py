"""What some tests need and not every machine has: run where it is installed, and told where it is not."""

import os
import shutil
from pathlib import Path

import pytest

# Program → Debian's package that has it. .ci/run reads this list.
PACKAGES = {
    "bwrap": "bubblewrap",
    "chromium": "chromium",
    "docker-compose": "docker-compose",
    "initdb": "postgresql",
    "nginx": "nginx-light",
}


def find(program: str) -> str | None:
    """Where the program is. Debian keeps PostgreSQL's own out of the PATH, one folder a version."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    places = [os.environ["PATH"], "/usr/sbin", *map(str, reversed(versions))]
    return shutil.which(program, path=os.pathsep.join(places))


def needs(program: str) -> pytest.MarkDecorator:
    """Leaves tests out where the program is missing, unless REQUIRE_ALL is set: then they fail."""
    missing = find(program) is None and not os.environ.get("REQUIRE_ALL")
    return pytest.mark.skipif(missing, reason=f"{program} is not installed")


def left_out() -> list[str]:
    """The programs whose tests did not run."""
    return [program for program in PACKAGES if find(program) is None]
