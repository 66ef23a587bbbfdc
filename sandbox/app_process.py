"""The real app in a process of its own, started again whenever one of its files changes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("ledger", "listeners", "operations", "worker", "workspace")
LOOK_SECONDS = 0.5
POLL_SECONDS = 0.05
STOP_SECONDS = 5.0
HAND_OVER_SECONDS = 30.0  # an app that is killed hands over nothing, and the next one waits for its lease
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "TZ")


class AppProcess:
    """`python app.py` with these settings and nothing else of our environment; `tell` hears its fate.

    `problem` tells that it has ended by itself, until it starts again.
    """

    def __init__(self, settings: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self.problem = ""
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
        """Ask it to stop, and insist after a few seconds."""
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._end()

    def _launch(self) -> None:
        # A session of its own: Ctrl-C in the terminal is for us, and we pass it on.
        self._process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=self._environment, start_new_session=True
        )

    def _end(self) -> None:
        process, asked = self._process, time.monotonic()
        if process is None:
            return
        process.terminate()
        while process.poll() is None:
            patience = STOP_SECONDS if self._stopping.is_set() else HAND_OVER_SECONDS
            if time.monotonic() - asked > patience:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            time.sleep(POLL_SECONDS)
        self._process = None

    def _watch(self) -> None:
        """gunicorn's --reload would not do: its master has the modules loaded, and workers get those."""
        before = _stamps()
        while not self._stopping.wait(LOOK_SECONDS):
            now = _stamps()
            if now != before:
                names = ", ".join(sorted({path.name for path, _ in now.items() ^ before.items()}))
                before, self.problem = now, ""
                self._end()
                self._tell(f"Changed: {names}. The app starts again.")
                if not self._stopping.is_set():
                    self._launch()
            elif self._process and (status := self._process.poll()) is not None:
                self._process = None
                self.problem = f"The app has ended with status {status}. It starts again when a file changes."
                self._tell(self.problem)


def app_files() -> list[Path]:
    """Every file of Python that the app consists of."""
    return sorted([*ROOT.glob("*.py"), *(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))])


def _stamps() -> dict[Path, int]:
    """When each file of the app was changed last."""
    found = {}
    for path in app_files():
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # an editor is just replacing it
            continue
    return found
