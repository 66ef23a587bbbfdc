"""What a row holds once a decision has been thought over: values for the statements in decisions.py."""

from typing import Any

from conveyor_client import Authorization
from ledger.changes import NOT_BEGUN, NOT_CHANGING
from ledger.rows import Past, Row, pairs, person
from ledger.states import AFTER_ALL, CHANGE

# A rejected request that was not approved after all.
STILL_REJECTED: dict[str, Any] = {
    **NOT_BEGUN,
    **NOT_CHANGING,
    "nda_bypass": False,
    "expires_at": "",
    "state": AFTER_ALL.comes_from,
}
CHANGED = "groups changed"  # what the trail says when a change of groups is confirmed


def changed(row: Row, granted: Authorization | None, at: float) -> dict[str, Any]:
    """Return the values of an approved request whose groups were changed at this time of day.

    `granted` is what Conveyor says about the access now. When it was approved stays as it is.
    """
    before = Past("", CHANGE.runs_as, at, row.changer, groups=row.basis)
    return {
        **NOT_CHANGING,
        "groups": pairs(granted.groups if granted else row.wanted),
        "changed": before.kept(),
        "settled_at": row.settled_at,
    }


def approved(row: Row) -> dict[str, Any]:
    """Return the values of a request that was approved after all, besides those of any approval."""
    rejection = row.rejected.kept() if row.rejected else None
    return {**NOT_CHANGING, **person("reviewer", row.changer), "reason": row.note, "rejection": rejection}


def not_changed(granted: Authorization | None) -> dict[str, Any]:
    """Return the values of an approved request whose groups were not changed.

    `granted` is what Conveyor says about the access now, if it was just read: the card then shows that.
    """
    values = {**NOT_BEGUN, **NOT_CHANGING, "state": CHANGE.comes_from}
    if granted and granted.groups is not None:
        values["groups"] = pairs(granted.groups)
    return values
