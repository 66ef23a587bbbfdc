"""The app may die at any moment: nothing is lost, nothing is done twice, and no card says anything untrue.

These are the worst moments of every scenario; `make kill` tries every moment.
"""

from pathlib import Path

import pytest

from tests.proofs.kill import Run, perform_until_hit
from tests.support.launcher import Kill

WRITE = "PATCH /exchange/authorization_requests/req-4"
SOME = [
    Run("post", "kept", Kill("POST chat.postMessage", 1, "after")),
    Run("post", "lost", Kill("POST chat.postMessage", 1, "after")),
    Run("approve", "kept", Kill("commit claim", 1, "after")),
    Run("approve", "kept", Kill("POST /exchange/authorizations", 1, "after")),
    Run("approve", "lost", Kill("POST /exchange/authorizations", 1, "after")),
    Run("reject", "kept", Kill(WRITE, 1, "after")),
    Run("reject", "lost", Kill(WRITE, 1, "before")),
    Run("rivals", "lost", Kill("commit settle", 1, "before")),
    Run("options", "lost", Kill("POST /exchange/authorizations", 1, "after")),
    Run("revoke", "kept", Kill("PATCH /exchange/authorizations/auth-5", 1, "after")),
    Run("revoke", "lost", Kill("PATCH /exchange/authorizations/auth-5", 1, "after")),
    Run("change", "kept", Kill("commit claim", 2, "after")),
    Run("change", "kept", Kill("PATCH /exchange/authorizations/auth-5", 1, "after")),
    Run("change", "lost", Kill("PATCH /exchange/authorizations/auth-5", 1, "after")),
    Run("after all", "kept", Kill("POST /exchange/authorizations", 1, "after")),
    Run("after all", "lost", Kill("POST /exchange/authorizations", 1, "after")),
    Run("by address", "kept", Kill("POST /exchange/authorizations", 2, "before")),
    Run("by address", "kept", Kill("POST /exchange/authorizations", 2, "after")),
    Run("tell me", "kept", Kill("POST chat.postMessage", 2, "after")),
    Run("reminders", "kept", Kill("POST chat.postMessage", 2, "after")),
    Run("nda", "kept", Kill("commit signed", 1, "before")),
    Run("nda", "kept", Kill("commit signed", 1, "after")),
    Run("nda", "lost", Kill("GET /exchange/authorizations", 1, "after")),
    Run("week", "kept", Kill("commit post", 1, "after")),
    Run("week", "kept", Kill("POST chat.postMessage", 1, "after")),
    Run("week", "lost", Kill("POST chat.postMessage", 2, "after")),
    Run("same", "kept", Kill("commit claim", 2, "after")),
    Run("colleagues", "kept", Kill("POST chat.postEphemeral", 1, "before")),
    Run("colleagues", "kept", Kill("commit claim", 2, "after")),
    Run("three clicks", "kept", Kill("commit record_click", 1, "after")),
]


@pytest.mark.parametrize("run", SOME, ids=str)
def test_a_kill_does_no_harm(run: Run, tmp_path: Path) -> None:
    assert perform_until_hit(run, tmp_path) == []
