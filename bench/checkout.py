"""A checkout of this project to measure: this one, or an older one beside it (`make bench AGAINST=path`).

An older one may keep its ledger in other tables and its clicks in other words, so it makes both by itself.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import made_up

ROOT = Path(__file__).resolve().parent.parent
MAKE = """
import json, sys
from bench import made_up
name, calls = json.load(sys.stdin)
made = [getattr(made_up, name)(*arguments) for arguments in calls]
print(json.dumps([each and each.decode("latin-1") for each in made]))
"""


@dataclass(frozen=True)
class Checkout:
    """A folder with the app and its bench. `name` is what the tables call the app in it."""

    name: str
    folder: Path

    @property
    def python(self) -> str:
        """The Python with the packages of this checkout: that of its .venv, or this one if it has none."""
        own = self.folder / ".venv/bin/python"
        return str(own) if self != HERE and own.exists() else sys.executable

    def fill(self, database_url: str, waiting: int, decided: int) -> None:
        """Make a ledger, as made_up.fill does."""
        self._make("fill", [(database_url, waiting, decided)])

    def clicks(self, clicks: Sequence[tuple[int, str, str]]) -> list[bytes]:
        """Return the HTTP requests of these clicks, as made_up.click does for each."""
        return [
            each.encode("latin-1") if isinstance(each, str) else each for each in self._make("click", clicks)
        ]

    def described(self) -> str:
        """Return which commit this is, or else which folder."""
        command = ["git", "-C", str(self.folder), "log", "-1", "--format=%h of %cs"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return f"commit {found.stdout.strip()}" if found.returncode == 0 else self.folder.name

    def _make(self, name: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        if self == HERE:
            return [getattr(made_up, name)(*arguments) for arguments in calls]
        told = json.dumps([name, calls])
        command = [self.python, "-c", MAKE]
        printed = subprocess.run(
            command, cwd=self.folder, input=told, stdout=subprocess.PIPE, text=True, check=True
        )
        made: list[Any] = json.loads(printed.stdout)
        return made


HERE = Checkout("the app", ROOT)


def older(path: str) -> Checkout:
    """Return the checkout in this folder. Raises ValueError if there is none."""
    folder = Path(path).resolve()
    if not (folder / "bench/made_up.py").exists():
        raise ValueError(f"AGAINST={path} names no folder with an older checkout of this project.")
    return Checkout("the app before", folder)
