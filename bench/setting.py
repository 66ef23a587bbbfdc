"""What every experiment works with: how often to repeat, a folder for ledgers, both services and a client.

It must not measure anything itself.
"""

import sqlite3
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import load, servers
from bench.checkout import HERE, Checkout
from bench.services import Services

QUIET_SECONDS = 900.0
# Without reminders: the made-up requests are so old that all of them would get one.
APP_SETTINGS = {"LOG_LEVEL": "WARNING", "REMIND_AFTER_HOURS": "0"}


@dataclass(frozen=True)
class Setting:
    """What an experiment works with. `client` is the one process that sends requests to the servers."""

    runs: int  # how often an experiment is repeated
    quick: bool  # measure less, for a first look
    folder: Path
    services: Services
    client: ProcessPoolExecutor
    against: Checkout | None = None  # an older checkout, which is measured beside this one

    @property
    def log(self) -> Path:
        return self.folder / "servers.log"

    @property
    def apps(self) -> list[Checkout]:
        """This checkout, and the older one if there is one."""
        return [HERE, self.against] if self.against else [HERE]

    def new_ledger(self, waiting: int, decided: int = 0, of: Checkout = HERE) -> str:
        """Make a ledger with this many requests, replacing the previous one, and return its URL.

        The ledger is that of a checkout. Its open requests are open in Conveyor as well.
        """
        for file in self.folder.glob("ledger.db*"):
            file.unlink()
        url = f"sqlite:///{self.folder}/ledger.db"
        of.fill(url, waiting, decided)
        self.services.set(waiting=[0, waiting])
        return url

    def app(self, database_url: str, of: Checkout = HERE, **settings: str) -> servers.Server:
        return servers.app(database_url, self.services.url, self.log, of, **{**APP_SETTINGS, **settings})

    def fire(self, port: int, at_once: int, requests: Sequence[bytes]) -> load.LoadResult:
        """Send requests from the client's own process, `at_once` at a time."""
        return self.client.submit(load.fire, port, at_once, list(requests)).result()

    def clicks(self, first: int, count: int, people: int = 1_000_000, of: Checkout = HERE) -> list[bytes]:
        """Return HTTP requests that approve `count` requests, beginning with number `first`.

        `people` different people click in turn; by default, every click is by somebody else.
        """
        address = self.services.url + "/respond"
        numbers = range(first, first + count)
        return of.clicks([(number, f"U0N{number % people}", address) for number in numbers])

    def ledger(self, query: str) -> int:
        """Run a query on the ledger while the app uses it, and return the number that it answers."""
        with sqlite3.connect(self.folder / "ledger.db") as db:
            found = db.execute(query).fetchone()[0]
        db.close()
        return int(found)

    def wait_until_quiet(self) -> None:
        """Wait until every decision is carried out and every card is drawn."""
        busy = "SELECT count(*) FROM requests WHERE decide_at >= 0 OR show_at >= 0"
        servers.wait_until(lambda: self.ledger(busy) == 0, QUIET_SECONDS)
