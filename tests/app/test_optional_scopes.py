"""The scopes that whoever installs the app may decline: the app works without them, and `check` says so."""

import pytest

import blocks
from sandbox.workspace import ANN, BOB, SAM, manifest_scopes
from tests.support.steps import answer_to, approved, posted, request_of, revoke, run
from tests.support.world import World, eventually

OF_CHANNELS = {kind: [f"{kind}:history", f"{kind}:read"] for kind in ("channels", "groups")}
BOTH_KINDS = pytest.mark.parametrize("is_private", [False, True], ids=["public", "private"])


def install(world: World, is_private: bool) -> None:
    """Make the channel public or private, and install the app with no more than it needs there."""
    world.slack.channels[world.slack.channel_id].is_private = is_private
    world.slack.install("usergroups:read", *OF_CHANNELS["channels" if is_private else "groups"])


def about_slack(said: str, mark: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith(f"{mark} Slack: ")]


@BOTH_KINDS
def test_the_main_job_needs_no_optional_scope(world: World, is_private: bool) -> None:
    install(world, is_private)
    world.start()
    card = approved(world)
    revoke(world, BOB, card)
    world.shows(request_of(card), "revoked")
    card = posted(world, "raj@acme.com")
    answer = answer_to(world, SAM, "raj@acme.com")
    world.slack.click(SAM, answer.ts, blocks.TELL_ME, via=answer)
    world.slack.click(ANN, card.ts, "reject")
    world.slack.submit(ANN, values={"reason": "Not a customer"})
    world.shows(request_of(card), "rejected")
    eventually(lambda: [said for said in world.slack.messages if said.channel == f"D{SAM[1:]}"])
    open_card = posted(world, "li@acme.com")
    assert world.readiness()[0] == 200

    world.stop()
    world.database.unlink()  # the cards are found again in the channel
    world.start()
    eventually(lambda: world.ledger(f"SELECT 1 FROM requests WHERE card_ts = '{open_card.ts}'"))
    world.slack.click(ANN, open_card.ts, "approve")
    world.shows(request_of(open_card), "approved")
    assert len(world.cards(request_of(open_card))) == 1
    refused = [call.call for call in world.slack.calls("*") if "missing_scope" in str(call.response)]
    assert refused == []


@BOTH_KINDS
def test_check_says_what_declined_scopes_cost(world: World, is_private: bool) -> None:
    install(world, is_private)
    status, said = run(world, "check", REVIEWERS=ANN)
    assert status == 0, said
    assert about_slack(said, "✗") == about_slack(said, "!") == []
    told = "\n".join(about_slack(said, "✓"))
    for scope in set(manifest_scopes()) - world.slack.scopes:
        assert told.split().count(scope) == 1, said
    assert ("public" if is_private else "private") in told


@BOTH_KINDS
def test_check_finds_the_scopes_of_the_other_kind_of_channel(world: World, is_private: bool) -> None:
    install(world, is_private)
    world.slack.channels[world.slack.channel_id].is_private = not is_private
    status, said = run(world, "check", REVIEWERS=ANN)
    needed = OF_CHANNELS["channels" if is_private else "groups"]
    problems = about_slack(said, "✗")
    assert [
        scope for scope in needed for line in problems if f"the scope {scope} is missing" in line
    ] == needed
    assert len(problems) == len(needed)
    assert status == 1


def test_a_private_channel_that_slack_hides_is_one_problem(world: World) -> None:
    """Slack may say that it knows no such channel, where the scopes for private ones are missing."""
    world.slack.install(*OF_CHANNELS["groups"])
    body = {"ok": False, "error": "channel_not_found"}
    world.slack.fail("conversations.info", body=body)
    (line,) = [line for line in run(world, "check")[1].splitlines() if line.startswith("✗")]
    assert line.startswith("✗ Channel: ")
    assert all(scope in line for scope in OF_CHANNELS["groups"])
    assert not any(scope in line for scope in OF_CHANNELS["channels"])


def test_without_the_scopes_for_any_channel_both_kinds_are_named(world: World) -> None:
    scopes = [scope for pair in OF_CHANNELS.values() for scope in pair]
    world.slack.install(*scopes)
    body = {"ok": False, "error": "missing_scope", "needed": "channels:read,groups:read,mpim:read,im:read"}
    world.slack.fail("conversations.info", body=body)
    (line,) = [line for line in run(world, "check")[1].splitlines() if line.startswith("✗")]
    assert all(scope in line for scope in scopes)


def test_user_groups_in_remind_need_no_scope(world: World) -> None:
    world.slack.user_groups["S0SEC"] = {"handle": "security", "users": [BOB]}
    world.slack.install("usergroups:read")
    status, said = run(world, "check", REVIEWERS=ANN, REMIND="S0SEC")
    (line,) = about_slack(said, "!")
    assert "usergroups:read" in line
    assert "REMIND" in line
    assert status == 0, said


def test_required_scopes_cannot_be_declined(world: World) -> None:
    with pytest.raises(ValueError, match="chat:write"):
        world.slack.install("chat:write")
