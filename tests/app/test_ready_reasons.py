"""Ready reasons in the windows that ask why: what is kept, what is refused, and what the email says.

These tests read the lists in blocks.py. They pass with any entries, and with none.
"""

import re
from urllib.parse import unquote

import pytest

import blocks
from ledger.states import State
from sandbox.workspace import BOB, SAM, Answer, Json
from tests.support.steps import answer_to, approved, asked_before, posted, request_of, writes
from tests.support.world import World, eventually
from workspace.block_kit import escaped

READY = [each for each in blocks.REJECT_REASONS if not each.needs_text]
REVOKING = [each for each in blocks.REVOKE_REASONS if not each.needs_text]
TYPED = [each for each in blocks.REJECT_REASONS if each.needs_text]
SECRET = "Sam's secret: & <so>"


def asked_why(world: World, email: str) -> str:
    """Open the window that asks Bob why he rejects a new request, and return the request's id."""
    card = posted(world, email)
    world.slack.click(BOB, card.ts, "reject")
    return request_of(card)


def kept(world: World, request_id: str, column: str = "reason") -> str:
    """Return the reason that the ledger has."""
    [(reason,)] = world.ledger(f"SELECT {column} FROM requests WHERE id = '{request_id}'")
    return str(reason)


def sent(world: World, value: object) -> Answer:
    """Submit Bob's window with this value of a ready reason, whether the window offers it or not."""
    payload = world.slack.submit_payload(BOB, values={"reason": SECRET}, enforce=False)
    chosen = {"type": "radio_buttons", "selected_option": {"value": value} if value else None}
    payload["view"]["state"]["values"][blocks.READY] = {blocks.READY: chosen}
    return world.slack.send_payload(payload)


def email_of(card_text: str) -> str:
    """Return what the email to the customer says."""
    (url,) = re.findall(r"<(mailto:[^|]*)\|", card_text)
    return unquote(url.replace("&amp;", "&"))


@pytest.mark.parametrize("text", ["", SECRET])
@pytest.mark.parametrize("ready", READY, ids=[each.words for each in READY])
def test_a_ready_reason_is_kept_and_found_and_fits_the_email(
    town: World, ready: blocks.Ready, text: str
) -> None:
    place = f"{ready.value[:9]}{'-more' if text else ''}.example"
    request_id = asked_why(town, f"joe@{place}")
    town.slack.submit(BOB, values={blocks.READY: ready.value, "reason": text})
    reason = ready.kept(text)
    assert reason.startswith(ready.words)
    card = town.shows(request_id, "rejected", "<@U0BOB>")
    assert blocks.reason_on_card(card.blocks, blocks.REASON) == reason == kept(town, request_id)
    assert escaped(ready.words) in card.text  # where searching finds it
    assert reason in town.slack.text_of(answer_to(town, SAM, f"joe@{place}"))
    shown = town.slack.text_of(posted(town, f"colleague@{place}"))
    assert asked_before(f"joe@{place}", State.REJECTED) in shown
    assert reason in shown

    said = email_of(town.slack.text_of(card))
    assert (ready.mail.format(where=blocks.MAIL_WHERE) or blocks.MAIL_NEUTRAL) in said
    assert ready.words not in said
    assert SECRET not in said


@pytest.mark.parametrize("ready", REVOKING, ids=[each.words for each in REVOKING])
def test_a_ready_reason_for_revoking_is_kept(town: World, ready: blocks.Ready) -> None:
    card = approved(town, f"joe@{ready.value[:9]}.example")
    town.slack.click(BOB, card.ts, "more", value="revoke")
    town.slack.submit(BOB, values={blocks.READY: ready.value})
    card = town.shows(request_of(card), "revoked", ready.words)
    assert kept(town, request_of(card), "revoke_reason") == ready.words
    assert blocks.reason_on_card(card.blocks, blocks.REVOKE_REASON) == ready.words


@pytest.mark.parametrize("ready", TYPED, ids=[each.words for each in TYPED])
def test_what_needs_a_text_is_refused_without_and_keeps_the_text_alone(
    town: World, ready: blocks.Ready
) -> None:
    request_id = asked_why(town, "joe@typed.example")
    view = town.slack.open_view(BOB)
    assert view
    town.slack.submit(BOB, values={blocks.READY: ready.value, "reason": " \u200b "})
    assert view.errors == {blocks.REASON: blocks.REASON_MISSING}
    town.slack.submit(BOB, values={"reason": SECRET})
    said = email_of(town.slack.text_of(town.shows(request_id, "rejected")))
    assert kept(town, request_id) == SECRET
    assert blocks.MAIL_NEUTRAL in said
    assert SECRET not in said


def test_a_reason_that_is_not_offered_is_refused_in_place(town: World) -> None:
    request_id = asked_why(town, "joe@hostile.example")
    others = {each.value for each in blocks.REVOKE_REASONS} - {each.value for each in blocks.REJECT_REASONS}
    for odd in (*others, "0", "x" * 9000, blocks.Ready("What this said before").value):
        answer = sent(town, odd)
        assert answer.body == {"response_action": "errors", "errors": {blocks.READY: blocks.READY_GONE}}
    assert writes(town, request_id) == []
    assert kept(town, request_id) == ""
    sent(town, None)  # as from a window that was opened before there was a list
    town.shows(request_id, "rejected")
    assert kept(town, request_id) == SECRET


@pytest.mark.parametrize("ready", READY[:1], ids=["the first"])
def test_both_together_are_as_long_as_a_reason_may_be(town: World, ready: blocks.Ready) -> None:
    request_id = asked_why(town, "joe@long.example")
    view = town.slack.open_view(BOB)
    assert view
    room = blocks.REASON_CHARS - len(ready.kept("x")) + 1
    town.slack.submit(BOB, values={blocks.READY: ready.value, "reason": "x" * (room + 1)})
    assert view.errors == {blocks.REASON: blocks.REASON_TOO_LONG.format(room)}
    town.slack.submit(BOB, values={"reason": "x" * room})
    card = town.shows(request_id, "rejected")
    assert blocks.reason_on_card(card.blocks, blocks.REASON) == kept(town, request_id)
    assert len(kept(town, request_id)) == blocks.REASON_CHARS


def test_nothing_has_to_be_chosen_where_no_reason_is_required(world: World) -> None:
    world.start(REJECTION_REASON="optional")
    values: list[Json] = [{}, *({blocks.READY: each.value} for each in blocks.REJECT_REASONS)]
    for number, chosen in enumerate(values):
        request_id = asked_why(world, f"joe@{number}.example")
        world.slack.submit(BOB, values=chosen)
        world.shows(request_id, "rejected")
        words = [each.kept("") for each in blocks.REJECT_REASONS if each.value == chosen.get(blocks.READY)]
        assert [kept(world, request_id)] == (words or [""])


@pytest.mark.parametrize("ready", REVOKING[:1], ids=["the first"])
def test_a_ready_reason_survives_a_lost_ledger(world: World, ready: blocks.Ready) -> None:
    world.start()
    card = approved(world, "joe@lost.example")
    world.conveyor.fail("PATCH /exchange/authorizations/*", times=None, status=503)
    world.slack.click(BOB, card.ts, "more", value="revoke")
    world.slack.submit(BOB, values={blocks.READY: ready.value, "reason": SECRET})
    world.shows(request_of(card), "revoking", SECRET)
    world.kill()
    for more in ("", "-wal", "-shm"):
        world.database.with_name(world.database.name + more).unlink(missing_ok=True)
    world.start()
    query = "SELECT revoke_reason FROM requests WHERE state != 'closed'"
    assert eventually(lambda: world.ledger(query)) == [(ready.kept(SECRET),)]
