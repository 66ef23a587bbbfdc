"""What some tests need and not every machine has: run where it is installed, and told where it is not."""

import os
import shutil

import pytest

# Program → Debian's package that has it.
PACKAGES = {"chromium": "chromium"}


def needs(program: str) -> pytest.MarkDecorator:
    """Leaves tests out where the program is missing, unless REQUIRE_ALL is set: then they fail."""
    missing = shutil.which(program) is None and not os.environ.get("REQUIRE_ALL")
    return pytest.mark.skipif(missing, reason=f"{program} is not installed")


def left_out() -> list[str]:
    """The programs whose tests did not run."""
    return [program for program in PACKAGES if shutil.which(program) is None]
