"""The Makefile with a Python that is too old, and afterward with the right one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import ROOT

OLD = """#!/bin/sh
case "$1" in --version) echo Python 3.10.13;; *) exit 1;; esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the Makefile, in which there is nothing to install."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "requirements-dev.txt"):
        (tmp_path / name).touch()
    old = tmp_path / "old-python"
    old.write_text(OLD)
    old.chmod(0o755)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # As from a shell, even if these tests run inside of make.
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = [shutil.which("make") or "make", *arguments]
    return subprocess.run(command, cwd=folder, env=outside, capture_output=True, text=True, timeout=120)


def test_a_python_that_is_too_old_is_named_and_leaves_nothing_behind(folder: Path) -> None:
    done = make(folder, "demo", "PYTHON=./old-python")
    assert done.returncode != 0
    assert "./old-python is Python 3.10.13" in done.stdout
    assert "make demo PYTHON=" in done.stdout
    assert not (folder / ".venv").exists()


def test_what_an_old_python_left_behind_is_replaced(folder: Path) -> None:
    left = folder / ".venv" / "bin" / "python"
    left.parent.mkdir(parents=True)
    left.symlink_to(folder / "old-python")
    done = make(folder, ".venv/installed", f"PYTHON={sys.executable}")
    assert done.returncode == 0, done.stderr
    said = subprocess.run([str(left), "-c", "print('it works')"], capture_output=True, text=True, check=True)
    assert said.stdout == "it works\n"


def test_help_lists_every_command(folder: Path) -> None:
    listed = {line.split()[0] for line in make(folder, "help").stdout.splitlines()}
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (folder / "Makefile").read_text(), re.MULTILINE)
    assert listed == set(phony.split())


def test_the_demo_installs_only_the_app_and_takes_a_port(folder: Path) -> None:
    demo = make(folder, "--dry-run", "demo", "PORT=8950").stdout
    assert "-r requirements.txt" in demo
    assert "requirements-dev.txt" not in demo
    assert demo.rstrip().endswith("-m sandbox --port 8950")
    for target in ("test-fast", "screenshots"):
        assert "-r requirements-dev.txt" in make(folder, "--dry-run", target).stdout
