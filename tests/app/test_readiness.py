"""Every reason that /readyz gives is in the tables of docs/operating.md, and every row can be provoked."""

import re

import pytest
import requests

import blocks
from sandbox.workspace import ANN, SAM
from tests.support.steps import answer_to, posted
from tests.support.world import ROOT, World, eventually

OPERATING = (ROOT / "docs" / "operating.md").read_text()
ROWS: list[str] = re.findall(r"^\| `([A-Z][\w ]+(?::| …|,) [^`]*)` \|", OPERATING, re.MULTILINE)


def row_of(sentence: str) -> str:
    """Return the row of the tables that explains this sentence."""
    for row in ROWS:
        if re.fullmatch(re.escape(row).replace("…", ".+"), sentence):
            return row
    raise AssertionError(f"docs/operating.md does not explain: {sentence}")


@pytest.mark.long
def test_every_reason_is_explained_and_every_explained_reason_occurs(world: World) -> None:
    seen: set[str] = set()

    def says(words: str) -> None:
        def is_said() -> bool:
            try:
                found = world.readiness()[1]
            except requests.RequestException:
                return False
            sentences = found["reasons"] + found["notes"]
            seen.update(map(row_of, sentences))
            return any(words in sentence for sentence in sentences)

        eventually(is_said, 40, f"{words}\n{world.log()}")

    def no_longer_says(words: str) -> None:
        eventually(lambda: words not in str(world.readiness()[1]), 40, words)

    slack, conveyor = world.slack, world.conveyor
    slack.fail("auth.test", times=1, delay=2, body={"ok": False, "error": "invalid_auth"})
    slack.fail("auth.test", times=1, status=503)
    slack.fail("conversations.history", times=3, body={"ok": False, "error": "not_in_channel"})
    for words in ("Good morning", "Good afternoon", "Good night"):
        slack.post_as(ANN, words)
    slack.history_page = 1
    slack.rate_limits["conversations.history"] = 1, 3.0
    conveyor.fail("GET /exchange/authorization_request_queue", times=1, delay=3)
    slack.fail("apps.connections.open", times=3, status=503)
    slack.enterprise_id, slack.is_org_wide = "E0ORG", True
    world.waits |= {"app.CONVEYOR": 1, "operations.health.FULL_SECONDS": 0.5}
    world.waits |= {"worker.refresh.REFRESH_SECONDS": 1.0, "worker.show.LONGEST_OUTAGE_PAUSE": 1.0}
    world.waits["worker.interest.ASK_SECONDS"] = 0.5
    world.launch(REVIEWERS="", SLACK_APP_TOKEN=slack.app_token)
    says("no answer yet")
    says("the socket")
    says("invalid_auth")
    says("503")
    says("org-wide")
    slack.is_org_wide = False
    says("the channel hasn't been read yet")
    says("the app is not in the channel")
    says("been read yet. Reading the channel back: ")
    slack.history_page = 999
    slack.rate_limits.clear()
    says("no complete poll yet.")
    says("REVIEWERS is empty")
    no_longer_says("no complete poll")
    conveyor.key_revoked = True
    says("rejected CONVEYOR_KEY")
    conveyor.key_revoked = False
    no_longer_says("no complete poll")
    conveyor.fail("GET /exchange/access_groups", times=2, status=503)
    says("no complete poll since")
    no_longer_says("no complete poll")
    conveyor.fail("GET /exchange/access_groups", times=1, delay=3)
    says("have been stuck")
    no_longer_says("have been stuck")
    slack.scopes.discard("users:read.email")
    says("users:read.email")
    slack.scopes.add("users:read.email")
    no_longer_says("users:read.email")
    slack.click(ANN, posted(world).ts, "approve")
    conveyor.fail("GET /exchange/authorizations", times=1, status=422, when=lambda sent: "status" in sent)
    says("who has signed it")
    no_longer_says("who has signed it")
    conveyor.sign_nda(next(iter(conveyor.authorizations)))
    conveyor.fail("GET /interactions/*", times=None, status=503)
    answer = answer_to(world, SAM, "jane@acme.com")
    slack.click(SAM, answer.ts, blocks.TELL_MORE, via=answer)
    says("who has opened one")
    conveyor.clear_faults()
    no_longer_says("who has opened one")
    new = conveyor.ask("new@acme.com", "x", status="in_review")
    says("with a status")
    conveyor.change_here(new, status="ignored")
    no_longer_says("with a status")
    card = posted(world)
    slack.locked_threads.add(card.ts)
    slack.fail("chat.postEphemeral", body={"ok": False, "error": "user_not_in_channel"})
    conveyor.refuse_reviewers = True
    slack.click(ANN, card.ts, "approve")
    says("Not told")
    channel = slack.channels[slack.channel_id]
    channel.is_archived = True
    says("the channel is archived")
    channel.is_archived = False
    no_longer_says("the channel is archived")
    slack.scopes.discard("channels:history")
    says("the scope channels:history is missing")
    slack.scopes.add("channels:history")
    no_longer_says("channels:history")
    for error, words in (
        ("channel_not_found", "find the channel SLACK_CHANNEL_ID"),
        ("restricted_action_read_only_channel", "may not post"),
        ("message_limit_exceeded", "message limit"),
        ("ekm_access_denied", "chat.postMessage fails with ekm_access_denied"),
    ):
        slack.fail("chat.postMessage", times=None, body={"ok": False, "error": error})
        conveyor.ask(f"{error}@acme.com".replace("_", "-"))
        says(words)
        slack.clear_faults()
        no_longer_says(words)
    slack.move_channel("C0SHARED")
    says("SLACK_CHANNEL_ID should be C0SHARED now")
    slack.fail("chat.postMessage", times=None, body={"ok": False, "error": "invalid_blocks"})
    conveyor.ask("late@acme.com", "x")
    says("only a shorter card")
    says("keeps failing")
    world.stop()
    slack.fail("usergroups.users.list", times=None, status=503)
    world.launch(REVIEWERS="S0SEC", SLACK_APP_TOKEN=slack.app_token)
    says("the members of S0SEC are unknown")
    slack.clear_faults()
    world.kill()
    world.move_clock(7200.0)
    world.launch(REVIEWERS="")  # by HTTP, where clicks are signed
    says("this machine's clock is")
    world.move_clock(0.0)
    no_longer_says("this machine's clock is")
    world.database.write_bytes(b"damaged" * 100_000)
    says("Ledger: ")
    assert seen == set(ROWS)
