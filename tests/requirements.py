"""What some tests need and not every machine has: run where it is installed, and told where it is not."""

import os
import shutil
from pathlib import Path

import pytest

# Program → Debian's package that has it.
PACKAGES = {"chromium": "chromium", "initdb": "postgresql"}


def find(program: str) -> str | None:
    """Where the program is. Debian keeps PostgreSQL's own out of the PATH, one folder a version."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    return shutil.which(program) or shutil.which(program, path=versions[-1] if versions else "")


def needs(program: str) -> pytest.MarkDecorator:
    """Leaves tests out where the program is missing, unless REQUIRE_ALL is set: then they fail."""
    missing = find(program) is None and not os.environ.get("REQUIRE_ALL")
    return pytest.mark.skipif(missing, reason=f"{program} is not installed")


def left_out() -> list[str]:
    """The programs whose tests did not run."""
    return [program for program in PACKAGES if find(program) is None]
