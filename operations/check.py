"""`python app.py check`: looks at everything that the app needs, and says how to fix what is wrong.

It changes nothing: not in the ledger, not in Slack, not in Conveyor. What follows from something that is
already reported is not reported, and no line holds a secret.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TextIO

from conveyor_client import ConveyorClient, ConveyorError, NotAllowed, Refused
from deadline import CallFailed
from operations.check_ledger import ledger_findings
from operations.check_slack import SlackCheck
from operations.findings import BAD, GOOD, ODD, Finding, no_answer
from settings import Settings, SettingsError, load
from text import counted, printable

QUEUE, COMPANIES = "read the queue", "read what is known about companies"
NOTHING = "00000000-0000-0000-0000-000000000000"


def run(out: TextIO) -> int:
    """Write a line for each finding, and one that counts them. Return 1 if there is a problem, else 0."""
    counts: Counter[str] = Counter()
    for mark, line in _findings():
        print(f"{mark} {printable(line)}", file=out, flush=True)
        counts[mark] += 1
    warnings, problems = counted(counts[ODD], "warning"), counted(counts[BAD], "problem")
    print(f"{counts[GOOD]} fine, {warnings}, {problems}", file=out, flush=True)
    return int(counts[BAD] > 0)


def _findings() -> Iterator[Finding]:
    try:
        settings = load()
    except SettingsError as error:
        yield from ((BAD, f"Settings: {problem}") for problem in error.problems)
        return
    yield GOOD, "Settings: all that is needed is there."
    yield from ledger_findings(settings.database_url)
    yield from SlackCheck(settings).findings()
    yield from _conveyor(settings)


def _conveyor(settings: Settings) -> Iterator[Finding]:
    """Make every call that the app makes. The writes name nothing that exists, so that nothing happens."""
    conveyor = ConveyorClient(settings.conveyor_api_url, settings.conveyor_key)
    calls: list[tuple[str, Callable[[], object]]] = [
        (QUEUE, lambda: next(conveyor.queue())),
        ("read a request", lambda: conveyor.try_call("GET", f"/exchange/authorization_requests/{NOTHING}")),
        ("read the access groups", conveyor.access_groups),
        ("read what was granted", lambda: conveyor.authorizations("nobody@example.com")),
        (COMPANIES, lambda: conveyor.company("example.com")),
        ("approve", lambda: conveyor.try_call("POST", "/exchange/authorizations")),
        ("reject", lambda: conveyor.try_call("PATCH", f"/exchange/authorization_requests/{NOTHING}")),
        ("revoke", lambda: conveyor.try_call("PATCH", f"/exchange/authorizations/{NOTHING}")),
    ]
    found: list[Finding] = []
    refused = 0
    for what, call in calls:
        try:
            call()
        except ConveyorError as error:
            if isinstance(error.__cause__, CallFailed):
                why = no_answer(settings.conveyor_api_url, error.__cause__)
                found.append((BAD, f"it could not be asked to {what}, nor anything after that: {why}"))
                break
            if isinstance(error, NotAllowed) or (isinstance(error, Refused) and error.status in (401, 403)):
                refused += 1
                # Without this right cards lack what is known about companies, and nothing else.
                mark = ODD if what == COMPANIES else BAD
                found.append((mark, f"the key may not {what}. Give it that right in Conveyor."))
            elif what == QUEUE:
                hint = "Look at CONVEYOR_API_URL; if it is right, try again later."
                found.append((BAD, f"none of the calls can be made: the first one fails ({error}). {hint}"))
                break
            else:
                found.append((BAD, f"it could not be asked to {what} ({error})."))
        else:
            found.append((GOOD, f"the key may {what}."))
    if refused == len(calls):
        hint = "Copy it again, or make another; if you set CONVEYOR_API_URL, look at that too."
        found = [(BAD, f"CONVEYOR_KEY is not accepted for any call. {hint}")]
    yield from ((mark, f"Conveyor: {line}") for mark, line in found)
