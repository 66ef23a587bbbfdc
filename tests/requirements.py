"""Programs that some tests need and not every machine has; without them those tests are left out."""

import os
import shutil
from pathlib import Path

import pytest

# Each program, and the Debian package that has it. .ci/run reads this list.
PACKAGES = {
    "bwrap": "bubblewrap",
    "caddy": "caddy",
    "chromium": "chromium",
    "docker-compose": "docker-compose",
    "haproxy": "haproxy",
    "initdb": "postgresql",
    "nginx": "nginx-light",
    "openssl": "openssl",
    "pgbouncer": "pgbouncer",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
}


def find(program: str) -> str | None:
    """Return the path of a program, or None; Debian keeps PostgreSQL's programs outside of PATH."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    places = [os.environ["PATH"], "/usr/sbin", *map(str, reversed(versions))]
    return shutil.which(program, path=os.pathsep.join(places))


def needs(program: str) -> pytest.MarkDecorator:
    """Mark a test that needs this program: without it the test is skipped, or fails with REQUIRE_ALL set."""
    missing = find(program) is None and not os.environ.get("REQUIRE_ALL")
    return pytest.mark.skipif(missing, reason=f"{program} is not installed")


def left_out() -> list[str]:
    """Return the programs that are missing, whose tests did not run."""
    return [program for program in PACKAGES if find(program) is None]
