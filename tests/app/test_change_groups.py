"""Changing the access groups of a customer from their card: one write of the whole list."""

from typing import Any

import pytest

import blocks
from conveyor_client import AccessGroup
from ledger.states import CHANGE, REVOKE, State
from sandbox.workspace import ANN, BOB, EVE, GUS, SAM, Answer, Message
from tests.app.test_decide import ANN as ANN_REVIEWS
from tests.app.test_decide import BOB as BOB_REVIEWS
from tests.app.test_decide import Scene, scene
from tests.support.steps import (
    access_of,
    answer_to,
    approved,
    is_refusal,
    offered,
    posted,
    request_of,
    revoke,
    run,
)
from tests.support.world import World, eventually, state_of

__all__ = ["scene"]  # a fixture

PATCH = "PATCH /exchange/authorizations/*"
LIST = "GET /exchange/authorizations"


def granted_to(world: World, email: str) -> list[tuple[str, set[str]]]:
    """Return the id and the groups of each active access of this address in Conveyor."""
    return [
        (item["id"], {group["id"] for group in item["_embedded"]["access_groups"]})
        for item in world.conveyor.authorizations.values()
        if item["email"] == email and item["status"] != "revoked"
    ]


def opened(world: World, who: str, card: Message) -> set[str]:
    """Open the window and return the ids of the groups that are ticked in it."""
    world.slack.click(who, card.ts, "more", value=blocks.CHANGE_GROUPS)
    view = world.slack.open_view(who)
    assert view, world.slack.private
    (choice,) = [each["element"] for each in view.blocks if each.get("block_id") == blocks.GROUPS]
    return {option["value"] for option in choice.get("initial_options", [])}


def change(world: World, who: str, card: Message, *groups: str) -> Answer:
    opened(world, who, card)
    return world.slack.submit(who, values={"groups": list(groups)})


def told(world: World, who: str, card: Message, why: str) -> None:
    world.told(who, blocks.cannot_change(world.row(request_of(card)), why))


def events(world: World, request_id: str) -> list[str]:
    """Return what the trail says became of the request, without clicks that decided nothing."""
    found = world.ledger(f"SELECT event FROM trail WHERE request_id = '{request_id}' ORDER BY number")
    return [str(event) for (event,) in found if event not in ("opened", "refused")]


@pytest.fixture(scope="module")
def groups(town: World) -> list[str]:
    return offered(town, "room-1", ["SOC 2 report", "Pen test", "Source code"])


def test_the_card_says_who_changed_the_groups_and_what_they_were(town: World, groups: list[str]) -> None:
    soc, pen, source = groups
    card = approved(town, "ada@change.example")
    request_id = request_of(card)
    assert opened(town, BOB, card) == set()
    view = town.slack.open_view(BOB)
    assert view
    assert "ada@change.example" in town.slack.text_of(view)
    assert blocks.NDA_FIRST in town.slack.text_of(view)  # it is gated, and stays so
    town.slack.submit(BOB, values={"groups": [soc, pen]})
    town.shows(request_id, "approved", blocks.GROUPS_CHANGED, "<@U0BOB>", blocks.BEFORE + access_of())
    ((access_id, has),) = granted_to(town, "ada@change.example")
    assert has == {soc, pen}
    assert town.conveyor.authorizations[access_id]["status"] == "gated"
    (patch,) = town.conveyor.calls(PATCH)
    assert patch.request == {"access_group_ids": [soc, pen]}

    assert change(town, ANN, card, pen, source).status == 200
    before = blocks.BEFORE + access_of("SOC 2 report", "Pen test")
    card = town.shows(request_id, "approved", blocks.GROUPS_CHANGED, before)
    shown = town.slack.text_of(card)
    assert access_of("Pen test", "Source code") in shown
    assert shown.count(blocks.GROUPS_CHANGED) == 1  # the last; the trail has all
    assert blocks.DECIDED[State.APPROVED][0] in shown
    for words in (blocks.GROUPS_CHANGED, "Ann Abbot", before, access_of("Pen test", "Source code")):
        assert words in card.text
    answer = town.slack.text_of(answer_to(town, SAM, "ada@change.example"))
    assert blocks.GROUPS_CHANGED in answer
    assert before in answer
    changes = ["changing", "groups changed"]
    assert events(town, request_id) == ["asked", "approving", "approved", *changes, *changes]
    _, trail = run(town, "audit", "export")
    assert "Source code" in trail
    said = run(town, "audit", "reconcile")[1]
    assert "ada@change.example" not in said, said
    revoke(town, BOB, card)
    town.shows(request_id, "revoked", blocks.GROUPS_CHANGED, before)


def test_groups_that_somebody_gave_in_conveyor_are_ticked_and_kept(town: World, groups: list[str]) -> None:
    soc, pen, _ = groups
    card = approved(town, "bea@change.example")
    ((access_id, _),) = granted_to(town, "bea@change.example")
    town.conveyor.edit_here(access_id, [soc])
    assert opened(town, ANN, card) == {soc}
    town.slack.submit(ANN, values={"groups": [soc, pen]})
    town.shows(request_of(card), "approved", blocks.BEFORE + access_of("SOC 2 report"))
    assert granted_to(town, "bea@change.example") == [(access_id, {soc, pen})]


def test_a_submit_without_a_change_is_told_beside_the_field(town: World, groups: list[str]) -> None:
    card = approved(town, "cy@change.example", message="Hi")
    opened(town, ANN, card)
    town.slack.submit(ANN)
    view = town.slack.open_view(ANN)
    assert view
    assert view.errors == {blocks.GROUPS: blocks.SAME_GROUPS}
    town.slack.close(ANN)
    assert state_of(card) == "approved"


def test_what_conveyor_does_not_say_is_not_ticked(town: World, groups: list[str]) -> None:
    card = approved(town, "dan@change.example")
    ((access_id, _),) = granted_to(town, "dan@change.example")

    def click() -> None:
        town.slack.private.clear()
        assert town.slack.click(ANN, card.ts, "more", value=blocks.CHANGE_GROUPS).seconds < 2.9
        assert town.slack.open_view(ANN) is None

    for fault in ({"status": 503}, {"delay": 30.0}, {"status": 403, "body": ""}, {"status": 200, "body": []}):
        town.conveyor.fail(LIST, **fault)
        click()
        told(town, ANN, card, "unread")
    town.conveyor.clear_faults()
    unlisted = {key: value for key, value in town.conveyor.authorizations[access_id].items() if key[0] != "_"}
    town.conveyor.fail(LIST, body={"authorizations": [unlisted]})
    click()
    told(town, ANN, card, "unlisted")
    request_id = town.conveyor.ask("dan@change.example", status="approved")
    other = town.conveyor.approve_here(request_id, groups[:1])
    click()
    told(town, ANN, card, "several")
    for each in (other, access_id):
        town.conveyor.revoke_here(each)
    click()
    told(town, ANN, card, "no access")


@pytest.mark.parametrize(
    ("who", "words"), [(SAM, blocks.NOT_A_REVIEWER), (GUS, blocks.NOT_A_MEMBER), (EVE, blocks.NOT_A_MEMBER)]
)
def test_only_reviewers_change_groups(town: World, groups: list[str], who: str, words: str) -> None:
    card = approved(town, f"{who.lower()}@change.example")
    before = len(town.conveyor.calls(PATCH))
    town.slack.click(who, card.ts, "more", value=blocks.CHANGE_GROUPS)
    town.told(who, words)
    assert town.slack.open_view(who) is None
    opened(town, ANN, card)
    payload = town.slack.submit_payload(ANN, values={"groups": groups[:1]})
    payload["user"]["id"] = who
    assert words in str(town.slack.send_payload(payload).body["view"])
    town.slack.close(ANN)
    assert len(town.conveyor.calls(PATCH)) == before


def test_one_of_several_wins(town: World, groups: list[str]) -> None:
    card = approved(town, "flo@change.example")
    request_id = request_of(card)
    opened(town, ANN, card)
    change_it = town.slack.submit_payload(ANN, values={"groups": groups[:1]})
    town.slack.click(BOB, card.ts, "more", value="revoke")
    revoke_it = town.slack.submit_payload(BOB, values={"reason": "No"})
    town.conveyor.fail(LIST, delay=1.0)
    assert town.slack.send_payload(change_it).body in ("", {})
    answer = town.slack.send_payload(revoke_it)
    assert blocks.DOING_TO[State.CHANGING].format("`flo@change.example`") in str(answer.body)
    assert town.slack.send_payload(change_it).status == 200  # a copy changes nothing
    town.shows(request_id, "approved", blocks.GROUPS_CHANGED)
    # The basis of this window has changed in the ledger meanwhile.
    late = {**change_it, "trigger_id": "1.2.late"}
    answer = town.slack.send_payload(late)
    assert is_refusal(answer)
    assert blocks.cannot_change(town.row(request_id), "changed") in str(answer.body["view"])
    assert events(town, request_id)[-2:] == ["changing", "groups changed"]
    for who in (ANN, BOB):
        town.slack.close(who)


def test_a_change_in_conveyor_since_the_window_opened_is_not_undone(world: World) -> None:
    world.waits["worker.evidence.AGREE_SECONDS"] = 0.2
    world.start()
    soc, pen, source = offered(world, "room-1", ["SOC 2 report", "Pen test", "Source code"])
    card = approved(world)
    ((access_id, _),) = granted_to(world, "jane@acme.com")
    opened(world, ANN, card)
    world.conveyor.edit_here(access_id, [source])
    world.slack.submit(ANN, values={"groups": [soc, pen]})
    request_id = request_of(card)
    note = blocks.NOTES["change changed"]
    eventually(lambda: [reply for reply in world.slack.replies(card.ts) if note in reply.text])
    card = world.shows(request_id, "approved", access_of("Source code"))
    assert blocks.GROUPS_CHANGED not in world.slack.text_of(card)
    assert granted_to(world, "jane@acme.com") == [(access_id, {source})]
    assert world.conveyor.calls(PATCH) == []


def test_a_group_that_cannot_be_granted_anymore_is_named(town: World, groups: list[str]) -> None:
    gone, _ = offered(town, "room-of-one", ["Old report", "New report"])
    card = approved(town, "gil@change.example", dataroom_id="room-of-one")
    opened(town, ANN, card)
    town.conveyor.delete_group(gone)
    eventually(lambda: not town.ledger(f"SELECT 1 FROM access_groups WHERE id = '{gone}'"))
    answer = town.slack.submit(ANN, values={"groups": [gone]})
    assert is_refusal(answer)
    assert "Old report" in str(answer.body["view"])
    assert blocks.NOTHING_GRANTED in str(answer.body["view"])
    town.slack.close(ANN)


def test_many_groups_are_chosen_from_a_menu(town: World) -> None:
    ids = offered(town, "room-of-many", [f"Set {number}" for number in range(12)])
    card = approved(town, "hal@change.example", dataroom_id="room-of-many")
    ((access_id, _),) = granted_to(town, "hal@change.example")
    town.conveyor.edit_here(access_id, ids[:11])
    assert opened(town, ANN, card) == set(ids[:11])
    view = town.slack.open_view(ANN)
    assert view
    town.slack.suggest(ANN, "groups", "set 11", view_id=view.id)
    town.slack.submit(ANN, values={"groups": [ids[0], ids[11]]})
    town.shows(request_of(card), "approved", blocks.GROUPS_CHANGED, access_of("Set 0", "Set 11"))


def test_a_change_survives_a_lost_ledger_and_is_told_honestly(world: World) -> None:
    world.start()
    soc, pen = offered(world, "room-1", ["SOC 2 report", "Pen test"])
    card = approved(world)
    opened(world, BOB, card)
    world.conveyor.fail(LIST, times=None, status=503)
    world.slack.submit(BOB, values={"groups": [soc, pen]})
    request_id = request_of(card)
    world.shows(
        request_id, "changing", "<@U0BOB>", "<@U0ANN>", blocks.TO_BE + access_of("SOC 2 report", "Pen test")
    )
    world.kill()
    for file in world.database.parent.iterdir():
        file.unlink()
    ((access_id, _),) = granted_to(world, "jane@acme.com")
    world.conveyor.edit_here(access_id, [soc])
    world.conveyor.clear_faults()
    world.start()
    card = world.shows(request_id, "approved", access_of("SOC 2 report"), seconds=30)
    shown = world.slack.text_of(card)
    assert "<@U0ANN>" in shown  # who approved it
    note = blocks.NOTES["change lost"]
    eventually(lambda: [reply for reply in world.slack.replies(card.ts) if note in reply.text])
    assert world.conveyor.calls(PATCH) == []
    assert opened(world, BOB, card) == {soc}  # and now it can be changed again


# The protocol, with a clock that the test moves


def begin(scene: Scene, *, after: float = 200.0) -> tuple[str, str]:
    """Approve with no group but the first, and let Bob change that to another; return the grant and that."""
    access = scene.approve()
    other = scene.conveyor.add_group("Other")
    scene.now += after  # reads do not lag anymore
    claim(scene, other)
    return access, other


def claim(scene: Scene, *groups: str, trigger: str = "t2") -> None:
    basis = scene.row.groups or ()
    wanted = [AccessGroup(group, group) for group in groups]
    assert scene.ledger.decisions.claim(
        scene.row, CHANGE, BOB_REVIEWS, trigger, scene.now, groups=wanted, basis=basis
    )


def groups_of(scene: Scene, access: str) -> list[str]:
    return [group["id"] for group in scene.conveyor.authorizations[access]["_embedded"]["access_groups"]]


def patches(scene: Scene) -> int:
    return len(scene.conveyor.calls(PATCH))


def test_the_change_costs_a_read_and_a_write(scene: Scene) -> None:
    access, other = begin(scene)
    before = len(scene.conveyor.exchanges)
    assert scene.step().state == "approved"
    assert [each.call.split()[0] for each in scene.conveyor.exchanges[before:]] == ["GET", "PATCH"]
    assert groups_of(scene, access) == [other]
    changed = scene.row.changed
    assert changed
    assert changed.reviewer.id == "U0BOB"
    assert [group.id for group in changed.groups or ()] == [scene.group]
    assert scene.row.reviewer == ANN_REVIEWS
    assert scene.notes() == []


ODD: list[dict[str, Any]] = [
    {"drop": "after"},
    {"status": 500, "after": True},
    {"status": 200, "body": {}, "after": True},
    {"status": 200, "body": {"id": "auth-x", "email": "jane@acme.com", "status": "gated"}, "after": True},
    {"status": 302, "after": True},
]


@pytest.mark.parametrize("fault", ODD, ids=str)
def test_after_a_lost_answer_a_read_decides(scene: Scene, fault: dict[str, Any]) -> None:
    access, other = begin(scene)
    scene.conveyor.fail(PATCH, **fault)
    assert scene.step().state == "changing"
    assert scene.step().state == "approved"
    assert [group.id for group in scene.row.groups or ()] == [other]
    assert scene.row.changed
    assert patches(scene) == 1
    assert groups_of(scene, access) == [other]


def test_a_second_write_needs_two_reads_ten_seconds_apart(scene: Scene) -> None:
    access, other = begin(scene)
    scene.conveyor.fail(PATCH, drop="before")
    scene.step()
    begun = scene.now
    while scene.step().state == "changing":
        assert patches(scene) == 1
    assert scene.now - begun >= 10
    assert patches(scene) == 2
    assert groups_of(scene, access) == [other]


def test_a_refused_change_is_given_back(scene: Scene) -> None:
    access, _ = begin(scene)
    scene.conveyor.fail(PATCH, status=422, body={"error": "No"})
    row = scene.step()
    assert (row.state, row.changed, row.changer.id, row.wanted) == ("approved", None, "", None)
    assert [group.id for group in row.groups or ()] == [scene.group]
    assert scene.notes() == ["change refused"]
    assert groups_of(scene, access) == [scene.group]


def test_a_change_that_was_never_sent_is_given_back(scene: Scene) -> None:
    begin(scene)
    scene.conveyor.fail("*", times=None, status=503)
    while scene.step().state == "changing":
        assert scene.row.sent_at is None
    assert scene.row.state == "approved"
    assert scene.notes() == ["change never sent"]


def test_a_second_change_that_is_given_back_leaves_the_first_one_shown(scene: Scene) -> None:
    _, other = begin(scene)
    assert scene.step().state == "approved"
    first = scene.row.changed
    scene.now += 200
    claim(scene, scene.group, other, trigger="t3")
    scene.conveyor.fail(PATCH, status=422, body={"error": "No"})
    assert scene.step().changed == first
    assert first


@pytest.mark.parametrize("sent", [False, True])
def test_access_that_was_revoked_meanwhile_is_called_revoked(scene: Scene, sent: bool) -> None:
    access, _ = begin(scene)
    if sent:
        scene.conveyor.fail(PATCH, drop="after")
        scene.step()
    scene.conveyor.revoke_here(access)
    row = scene.step()
    assert (row.state, row.revoker.id, row.changer.id) == ("revoked", "", "")
    assert scene.notes() == ["change elsewhere"]
    assert patches(scene) == sent


def test_access_that_is_not_listed_anymore_is_not_called_revoked(scene: Scene) -> None:
    begin(scene)
    scene.conveyor.fail(LIST, times=None, body={"authorizations": []})
    assert scene.step().state == "changing"
    assert scene.step().state == "approved"
    assert scene.notes() == ["change gone"]


def test_the_same_change_in_conveyor_is_not_called_the_reviewers(scene: Scene) -> None:
    access, other = begin(scene)
    scene.conveyor.edit_here(access, [other])
    row = scene.step()
    assert (row.state, row.changed) == ("approved", None)
    assert [group.id for group in row.groups or ()] == [other]
    assert scene.notes() == ["change elsewhere"]
    assert patches(scene) == 0


def test_another_change_in_conveyor_after_a_lost_answer_is_not_overwritten(scene: Scene) -> None:
    access, _ = begin(scene)
    third = scene.conveyor.add_group("Third")
    scene.conveyor.fail(PATCH, drop="before")
    scene.step()
    scene.conveyor.edit_here(access, [third])
    begun = scene.now
    while scene.step().state == "changing":
        pass
    assert scene.now - begun >= 180
    assert patches(scene) == 1
    assert [group.id for group in scene.row.groups or ()] == [third]
    assert scene.notes() == ["change changed"]


def test_a_list_that_lags_behind_the_last_change_undoes_nothing(scene: Scene) -> None:
    """The second window showed what the first change replaced, since reads lagged behind."""
    access, other = begin(scene)
    assert scene.step().state == "approved"
    old = {**scene.conveyor.authorizations[access], "_embedded": {"access_groups": [{"id": scene.group}]}}
    third = scene.conveyor.add_group("Third")
    assert scene.ledger.decisions.claim(
        scene.row,
        CHANGE,
        ANN_REVIEWS,
        "t3",
        scene.now,
        groups=[AccessGroup(third, "")],
        basis=[AccessGroup(scene.group, "")],
    )
    scene.conveyor.fail(LIST, body={"authorizations": [old]})
    assert scene.step().state == "changing"  # the lagging list is not believed
    assert scene.step().state == "approved"
    assert groups_of(scene, access) == [other]
    assert scene.notes() == ["change changed"]


def test_one_click_changes_once(scene: Scene) -> None:
    begin(scene)
    claimed = scene.ledger.decisions.claim
    for decision in (REVOKE, CHANGE):
        assert not claimed(scene.row, decision, ANN_REVIEWS, f"another {decision.notes}", scene.now)
    assert scene.step().state == "approved"
    assert not claimed(scene.row, CHANGE, BOB_REVIEWS, "t2", scene.now)  # a copy
    assert patches(scene) == 1


def test_several_grants_are_not_changed(scene: Scene) -> None:
    begin(scene)
    request_id = scene.conveyor.ask("jane@acme.com", status="approved")
    scene.conveyor.approve_here(request_id)
    assert scene.step().state == "approved"
    assert scene.notes() == ["change changed"]
    assert patches(scene) == 0


def test_a_watcher_who_waits_for_the_signature_is_not_told_of_a_change(world: World) -> None:
    world.start()
    (soc,) = offered(world, "room-1", ["SOC 2 report"])
    card = posted(world)
    request_id = request_of(card)
    answer = answer_to(world, SAM, "jane@acme.com")
    world.slack.click(SAM, answer.ts, blocks.TELL_ME, via=answer)
    eventually(lambda: world.ledger("SELECT 1 FROM watchers"))
    world.slack.click(ANN, card.ts, "approve")

    def told_directly() -> list[str]:
        return [message.text for message in world.slack.messages if message.channel == f"D{SAM[1:]}"]

    eventually(told_directly)
    change(world, ANN, world.shows(request_id, "approved"), soc)
    world.shows(request_id, "approved", blocks.GROUPS_CHANGED)
    ((access_id, _),) = granted_to(world, "jane@acme.com")
    world.conveyor.sign_nda(access_id)
    world.shows(request_id, "approved", blocks.NDA_SIGNED, blocks.GROUPS_CHANGED)
    eventually(lambda: len(told_directly()) == 2)
    assert blocks.SIGNED_THE_NDA in told_directly()[1]
