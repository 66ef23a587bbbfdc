"""`python app.py check` tries everything that the app needs, and says how to fix what is wrong.

It changes nothing in the ledger, in Slack, or in Conveyor. It reports causes and not what follows from them,
and no line contains a secret.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TextIO

from conveyor_client import NOTHING, ConveyorClient, ConveyorError, NotAllowed, Refused
from deadline import CallFailed
from operations.check_ledger import ledger_findings
from operations.check_slack import SlackCheck
from operations.findings import BAD, GOOD, ODD, Finding, no_answer
from settings import Settings, SettingsError, load
from text import counted, printable

QUEUE, COMPANIES, DOCUMENTS = "read the request queue", "read connections", "read interactions"


def run(out: TextIO) -> int:
    """Write a line for each finding, and a last one that counts them. Return 1 if any is a problem."""
    counts: Counter[str] = Counter()
    for mark, line in _findings():
        print(f"{mark} {printable(line)}", file=out, flush=True)
        counts[mark] += 1
    warnings, problems = counted(counts[ODD], "warning"), counted(counts[BAD], "problem")
    print(f"{counts[GOOD]} OK, {warnings}, {problems}", file=out, flush=True)
    return int(counts[BAD] > 0)


def _findings() -> Iterator[Finding]:
    try:
        settings = load()
    except SettingsError as error:
        yield from ((BAD, f"Settings: {problem}") for problem in error.problems)
        return
    yield GOOD, "Settings: complete."
    yield from ledger_findings(settings.database_url)
    yield from SlackCheck(settings).findings()
    yield from _conveyor(settings)


def _conveyor(settings: Settings) -> Iterator[Finding]:
    """Try every call that the app makes. The writes name nothing that exists, so they change nothing."""
    conveyor = ConveyorClient(settings.conveyor_api_url, settings.conveyor_key)
    calls: list[tuple[str, Callable[[], object]]] = [
        (QUEUE, lambda: next(conveyor.queue())),
        ("read a request", lambda: conveyor.try_call("GET", f"/exchange/authorization_requests/{NOTHING}")),
        ("read access groups", conveyor.access_groups),
        ("read authorizations", lambda: conveyor.authorizations("nobody@example.com")),
        (COMPANIES, lambda: conveyor.company("example.com")),
        (DOCUMENTS, conveyor.try_documents_opened),
        ("approve requests", lambda: conveyor.try_call("POST", "/exchange/authorizations")),
        (
            "reject requests",
            lambda: conveyor.try_call("PATCH", f"/exchange/authorization_requests/{NOTHING}"),
        ),
        ("revoke access", lambda: conveyor.try_call("PATCH", f"/exchange/authorizations/{NOTHING}")),
    ]
    found: list[Finding] = []
    refused = 0
    for what, call in calls:
        try:
            call()
        except ConveyorError as error:
            if isinstance(error.__cause__, CallFailed):
                why = no_answer(settings.conveyor_api_url, error.__cause__)
                found.append((BAD, f"the app couldn't try to {what}, or anything after that: {why}"))
                break
            if isinstance(error, NotAllowed) or (isinstance(error, Refused) and error.status in (401, 403)):
                refused += 1
                # Without these rights, cards only lack the line about the customer's company, and nobody is
                # told that a customer opened a document.
                mark = ODD if what in (COMPANIES, DOCUMENTS) else BAD
                found.append(
                    (
                        mark,
                        f"the key can't {what}. Add that permission in Conveyor → Settings → Integrations.",
                    )
                )
            elif what == QUEUE:
                hint = "Check CONVEYOR_API_URL. If it's right, try again later."
                found.append((BAD, f"the first call failed, so no other was tried ({error}). {hint}"))
                break
            else:
                found.append((BAD, f"the app couldn't try to {what} ({error})."))
        else:
            found.append((GOOD, f"the key can {what}."))
    if refused == len(calls):
        hint = "Copy it again, or make a new one. If you set CONVEYOR_API_URL, check that too."
        found = [(BAD, f"CONVEYOR_KEY was rejected for every call. {hint}")]
    yield from ((mark, f"Conveyor: {line}") for mark, line in found)
