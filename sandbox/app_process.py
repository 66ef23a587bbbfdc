"""Runs the real app in a process of its own, and starts it again whenever one of its files changes.

The app must get nothing from this process's environment but `KEPT_VARIABLES`, so that no real settings or
secrets reach the sandbox.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ledger", "listeners", "operations", "worker", "workspace")
WATCH_SECONDS = 0.5
POLL_SECONDS = 0.05
STOP_SECONDS = 5.0
# A restart waits longer: an app that is killed keeps its lease, and the next one has to wait until it ends.
RESTART_SECONDS = 30.0
KEPT_LINES = 12  # of what the app prints, for the page to show when the app has ended
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ")


class AppProcess:
    """A process that runs `python app.py` with these settings as its environment.

    `tell` is called with a sentence whenever the app is started again or has ended by itself. In the latter
    case, `problem` holds that sentence until the app is started again, and `last_lines` the last lines that
    the app printed. `restarts` counts how often a change of a file has started the app again.
    """

    def __init__(self, settings: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self.problem = ""
        self.last_lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.restarts = 0
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        self._environment = {**kept, **settings}
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._launch()
        self._watcher.start()

    def stop(self) -> None:
        """Stop the app for good, and the watcher of its files."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._end()

    def _launch(self) -> None:
        # In a session of its own: Ctrl-C in the terminal then reaches only the sandbox, which stops the app.
        self._process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=self._environment,
            start_new_session=True,
            stderr=subprocess.PIPE,
        )
        self.last_lines.clear()
        self._reader = threading.Thread(target=self._pass_on, args=(self._process.stderr,), daemon=True)
        self._reader.start()

    def _pass_on(self, output: IO[bytes]) -> None:
        """Print what the app prints, and keep the last lines."""
        for line in output:
            words = line.decode(errors="replace").rstrip()
            self.last_lines.append(words)
            with suppress(OSError, ValueError):  # nobody reads the output anymore
                print(words, file=sys.stderr, flush=True)

    def _end(self) -> None:
        """Stop the app's process, and kill it if that takes too long."""
        process, asked_at = self._process, time.monotonic()
        if process is None:
            return
        process.terminate()
        while process.poll() is None:
            allowed = STOP_SECONDS if self._stopping.is_set() else RESTART_SECONDS
            if time.monotonic() - asked_at > allowed:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            time.sleep(POLL_SECONDS)
        self._process = None

    def _watch(self) -> None:
        """Start the app again when a file changes, and notice when it ends by itself.

        gunicorn's --reload is not enough: its master process has already loaded the modules, and every new
        worker inherits them.
        """
        before = _modification_times()
        while not self._stopping.wait(WATCH_SECONDS):
            now = _modification_times()
            if now != before:
                names = ", ".join(sorted({path.name for path, _ in now.items() ^ before.items()}))
                before, self.problem = now, ""
                self._end()
                self.restarts += 1
                self._tell(f"{names} changed. Restarting the app…")
                if not self._stopping.is_set():
                    self._launch()
            elif self._process and (status := self._process.poll()) is not None:
                self._process = None
                self._reader.join(1.0)  # so that the last lines are there
                self.problem = f"The app stopped with status {status}. It restarts when you change a file."
                self._tell(self.problem)


def app_files() -> list[Path]:
    """Return the path of every Python file of the app."""
    return sorted([*ROOT.glob("*.py"), *(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))])


def _modification_times() -> dict[Path, int]:
    """Return the time of the last change of each file of the app, in nanoseconds."""
    found = {}
    for path in app_files():
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # an editor is replacing it at this moment
            continue
    return found
