"""Starts the app or a floor behind gunicorn, and reads the memory and CPU time of its process.

All of them must run with the same gunicorn settings, or the comparison means nothing.
"""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.error import HTTPError
from urllib.request import urlopen

from bench.checkout import HERE, Checkout
from bench.made_up import API_KEY, BOT_TOKEN, CHANNEL, SIGNING_SECRET

POLL_SECONDS = 0.05
START_SECONDS = 60.0


class Server:
    """A gunicorn that runs for as long as the `with` block lasts.

    `started_in` is how many seconds passed from its start to its first answer.
    """

    def __init__(self, command: list[str], settings: dict[str, str], log: Path, of: Checkout = HERE) -> None:
        self.port = _free_port()
        self._folder = of.folder
        self._command = [of.python, "-m", "gunicorn", *command]
        bind = f"--bind 127.0.0.1:{self.port}"
        own = {"PATH": os.environ["PATH"], "GUNICORN_CMD_ARGS": bind, "PORT": str(self.port)}
        self._environment = {**own, "ENV_FILE": os.devnull, **settings}
        self._log = log
        self.started_in = 0.0

    def __enter__(self) -> "Server":
        started = time.perf_counter()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, every=0.005)
        self.started_in = time.perf_counter() - started
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        # Killed, not asked to stop: it would finish its calls first, and some of them hang.
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def resident(self) -> float:
        """The resident memory of the process that answers, in megabytes."""
        return _resident(self._worker)

    @property
    def resident_together(self) -> float:
        """The same for gunicorn's main process and the process that answers, added up."""
        return _resident(self._process.pid) + self.resident

    def cpu(self) -> float:
        """Return the CPU seconds that the process that answers has used."""
        fields = Path(f"/proc/{self._worker}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_ready(self) -> bool:
        """Return whether the app is ready: it has reached Slack and read Conveyor's queue."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5):
                return True
        except HTTPError:
            return False

    @property
    def _worker(self) -> int:
        master = self._process.pid
        return int(Path(f"/proc/{master}/task/{master}/children").read_text().split()[0])

    def _answers(self) -> bool:
        """Return whether the server answers at all, even with 404: a floor has no /healthz."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the server has ended, see {self._log}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status > 0
        except OSError:
            return False
        finally:
            connection.close()


def floor(name: str, log: Path) -> Server:
    """Return a server for this function of bench/floors.py."""
    secrets = {"SLACK_SIGNING_SECRET": SIGNING_SECRET, "SLACK_BOT_TOKEN": BOT_TOKEN}
    return Server(["-c", "bench/gunicorn_floor.py", f"bench.floors:{name}()"], secrets, log)


def app(database_url: str, services: str, log: Path, of: Checkout = HERE, **settings: str) -> Server:
    """Return a server for the app of a checkout, which uses the services at this address."""
    own = {
        "CONVEYOR_KEY": API_KEY,
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
        "SLACK_CHANNEL_ID": CHANNEL,
        "CONVEYOR_API_URL": services + "/api/v2",
        "SLACK_API_URL": services + "/api/",
        "DATABASE_URL": database_url,
        "REVIEWERS": "@example.com",
    }
    return Server(["-c", "gunicorn.conf.py", "app:create_app()"], {**own, **settings}, log, of)


def wait_until(
    check: Callable[[], bool], seconds: float = START_SECONDS, every: float = POLL_SECONDS
) -> None:
    """Wait until the check is true. Raise TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(every)


def _resident(pid: int) -> float:
    """Return the resident memory of a process in megabytes, as Linux counts it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("a process without memory")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
