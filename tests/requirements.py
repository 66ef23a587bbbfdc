"""What some tests need and not every machine has: run where it is installed, and told where it is not."""

import glob
import os
import shutil

import pytest

# Program → Debian's package that has it. .ci/run reads this list.
PACKAGES = {
    "bwrap": "bubblewrap",
    "chromium": "chromium",
    "docker-compose": "docker-compose",
    "initdb": "postgresql",
    "nginx": "nginx-light",
}
# Where Debian puts a server's programs, outside a person's PATH.
PLACES = [os.environ["PATH"], "/usr/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]


def find(program: str) -> str | None:
    """Where a program is."""
    return shutil.which(program, path=os.pathsep.join(PLACES))


def needs(program: str) -> pytest.MarkDecorator:
    """Leaves tests out where the program is missing, unless REQUIRE_ALL is set: then they fail."""
    missing = find(program) is None and not os.environ.get("REQUIRE_ALL")
    return pytest.mark.skipif(missing, reason=f"{program} is not installed")


def left_out() -> list[str]:
    """The programs whose tests did not run."""
    return [program for program in PACKAGES if find(program) is None]
