"""Approving a rejected request after all: by the request if Conveyor takes that, or else by the address."""

from typing import Any

import pytest

import blocks
from conveyor_client import AccessGroup
from ledger.states import AFTER_ALL, REJECT, State
from sandbox.workspace import ANN, BOB, EVE, GUS, SAM, Message
from tests.app.test_decide import ANN as ANN_REVIEWS
from tests.app.test_decide import BOB as BOB_REVIEWS
from tests.app.test_decide import Scene, scene
from tests.support.steps import answer_to, clickable, day, is_refusal, offered, posted, request_of, run
from tests.support.world import World, eventually

__all__ = ["scene"]  # a fixture

POST = "POST /exchange/authorizations"
LIST = "GET /exchange/authorizations"
REASON = "Northwind is a competitor"


def rejected(world: World, email: str, **more: Any) -> Message:
    """Make a new request, let Bob reject it, and return its card."""
    card = posted(world, email, **more)
    world.slack.click(BOB, card.ts, "reject")
    world.slack.submit(BOB, values={"reason": REASON})
    return world.shows(request_of(card), "rejected")


def open_window(world: World, who: str, card: Message) -> None:
    world.slack.click(who, card.ts, "more", value=blocks.AFTER_ALL)
    assert world.slack.open_view(who), world.slack.private


def approve(world: World, who: str, card: Message, **values: Any) -> None:
    open_window(world, who, card)
    world.slack.submit(who, values=values)


def posts(world: World, email: str, request_id: str) -> list[str]:
    """Return how each approval of this customer that Conveyor got names them: by "request_id" or "email"."""
    sent = [call.request for call in world.conveyor.calls(POST)]
    mine = [body for body in sent if request_id == body.get("request_id") or email == body.get("email")]
    return ["request_id" if "request_id" in body else "email" for body in mine]


def access(world: World, email: str) -> list[set[str]]:
    return [
        {group["id"] for group in item["_embedded"]["access_groups"]}
        for item in world.conveyor.authorizations.values()
        if item["email"] == email and item["status"] != "revoked"
    ]


@pytest.fixture(scope="module")
def group(town: World) -> str:
    (made,) = offered(town, "room-1", ["SOC 2 report"])
    return made


@pytest.mark.parametrize(
    ("takes_it", "status", "ways"),
    [
        (True, 409, ["request_id"]),
        (False, 422, ["request_id", "email"]),
        (False, 409, ["request_id", "email"]),
        (False, 404, ["request_id", "email"]),
    ],
)
def test_a_rejected_request_is_approved_and_its_rejection_stays(
    town: World, group: str, takes_it: bool, status: int, ways: list[str]
) -> None:
    email = f"kim{takes_it:d}{status}@after.example"
    card = rejected(town, email)
    request_id = request_of(card)
    town.conveyor.approves_ignored, town.conveyor.already_decided_status = takes_it, status
    open_window(town, ANN, card)
    view = town.slack.open_view(ANN)
    assert view
    for words in (email, REASON, "<@U0BOB>"):
        assert words in town.slack.text_of(view)
    town.slack.submit(ANN, values={"groups": [group], "ends": "30", "nda": ["nda"], "reason": "They pay now"})
    card = town.shows(request_id, "approved", "<@U0ANN>", "<@U0BOB>", REASON, "They pay now", "SOC 2 report")
    assert posts(town, email, request_id) == ways
    assert access(town, email) == [{group}]
    decision = town.conveyor.decisions[-1]
    assert (decision.nda_bypass, decision.expires_at) == (True, day(30))
    assert decision.reviewer_email == "ann@harbor.example"
    for words in (blocks.DECIDED[State.APPROVED][0], "Bob Brown", "Ann Abbot", REASON, "They pay now"):
        assert words in card.text
    said = town.slack.text_of(answer_to(town, SAM, email))
    for words in ("<@U0ANN>", "<@U0BOB>", REASON):
        assert words in said
    found = town.ledger(
        f"SELECT event, person_id FROM trail WHERE request_id = '{request_id}' ORDER BY number"
    )
    life = [(event, person) for event, person in found if event not in ("opened", "refused", "asked")]
    assert life == [
        *(("rejecting", BOB), ("rejected", BOB)),
        *(("approving after all", ANN), ("approved", ANN)),
    ]
    assert email not in run(town, "audit", "reconcile")[1]
    # It is like any approved card now.
    town.slack.click(BOB, card.ts, "more", value=blocks.REVOKE)
    town.slack.submit(BOB, values={"reason": "No"})
    town.shows(request_id, "revoked", REASON, "They pay now")


@pytest.mark.parametrize(
    ("who", "words"), [(SAM, blocks.NOT_A_REVIEWER), (GUS, blocks.NOT_A_MEMBER), (EVE, blocks.NOT_A_MEMBER)]
)
def test_only_reviewers_approve_after_all(town: World, group: str, who: str, words: str) -> None:
    card = rejected(town, f"{who.lower()}@after.example")
    town.slack.click(who, card.ts, "more", value=blocks.AFTER_ALL)
    town.told(who, words)
    open_window(town, ANN, card)
    payload = town.slack.submit_payload(ANN)
    payload["user"]["id"] = who
    assert words in str(town.slack.send_payload(payload).body["view"])
    town.slack.close(ANN)
    assert posts(town, f"{who.lower()}@after.example", request_of(card)) == []


def test_two_people_approve_it_once(town: World, group: str) -> None:
    card = rejected(town, "lee@after.example")
    for who in (ANN, BOB):
        open_window(town, who, card)
    first, second = (town.slack.submit_payload(who) for who in (ANN, BOB))
    town.slack.send_payload(first)
    answer = town.slack.send_payload(second)
    assert is_refusal(answer)
    assert f"<@{ANN}>" in str(answer.body)
    town.shows(request_of(card), "approved", "<@U0ANN>")
    town.slack.send_payload(first)  # a copy
    assert len(access(town, "lee@after.example")) == 1
    for who in (ANN, BOB):
        town.slack.close(who)


def test_a_refused_approval_leaves_the_rejection_as_it_was(town: World, group: str) -> None:
    card = rejected(town, "mo@after.example")
    before = card.text
    town.conveyor.fail(POST, times=2, status=422, body={"error": "No seats left"})
    approve(town, ANN, card, reason="They pay now")
    note = blocks.NOTES["after all refused"]
    eventually(lambda: [reply for reply in town.slack.replies(card.ts) if note in reply.text])
    assert town.shows(request_of(card), "rejected").text == before
    assert town.row(request_of(card)).note == ""


def test_a_customer_who_asks_again_gets_another_card(world: World) -> None:
    world.waits["worker.evidence.AGREE_SECONDS"] = 0.2
    world.start(POLL_SECONDS="1.5")
    card = rejected(world, "jane@acme.com")
    request_id = request_of(card)
    open_window(world, ANN, card)
    world.conveyor.ask_again(request_id)
    world.slack.submit(ANN)
    clickable(world, request_id, round=2)
    note = blocks.NOTES["after all changed"]
    eventually(lambda: [message for message in world.slack.messages if note in message.text])
    assert access(world, "jane@acme.com") == []


def test_it_survives_a_lost_ledger(world: World) -> None:
    world.start()
    lost, landed = rejected(world, "lost@acme.com"), rejected(world, "landed@acme.com")
    for card in (lost, landed):
        world.conveyor.fail("GET *", times=None, status=503)
        approve(world, ANN, card, reason="They pay now")
        world.shows(request_of(card), "approving after all", "<@U0ANN>", "<@U0BOB>", REASON, "They pay now")
    world.kill()
    for file in world.database.parent.iterdir():
        file.unlink()
    world.conveyor.clear_faults()
    world.conveyor.approve_here(request_of(landed))
    world.start()
    world.shows(request_of(landed), "approved", "<@U0ANN>", "<@U0BOB>", REASON, "They pay now", seconds=30)
    card = world.shows(request_of(lost), "rejected", "<@U0BOB>", REASON, seconds=30)
    assert "They pay now" not in world.slack.text_of(card)
    note = blocks.NOTES["after all lost"]
    eventually(lambda: [reply for reply in world.slack.replies(card.ts) if note in reply.text])
    assert world.conveyor.calls(POST) == []


# The protocol, with a clock that the test moves


def begin(scene: Scene, *, groups: bool = True, after: float = 200.0, **more: Any) -> None:
    """Let Ann reject the request, and Bob approve it after all."""
    scene.claim(REJECT)
    assert scene.step().state == "rejected"
    scene.now += after  # reads do not lag anymore
    again(scene, groups=groups, **more)


def again(scene: Scene, *, groups: bool = True, trigger: str = "t2", **more: Any) -> None:
    chosen = [AccessGroup(scene.group, "Group")] if groups else []
    assert scene.ledger.decisions.claim(
        scene.row, AFTER_ALL, BOB_REVIEWS, trigger, scene.now, groups=chosen, reason="after all", **more
    )


def is_rejected(scene: Scene) -> bool:
    """Return whether the request is rejected as it was."""
    row = scene.row
    left = (row.changer.id, row.wanted, row.note, row.rejection, row.nda_bypass, row.expires_at)
    same = row.state == "rejected" and row.reviewer == ANN_REVIEWS and row.reason == "why"
    return same and left == ("", None, "", None, False, "")


def grants(scene: Scene) -> int:
    return sum(item["status"] != "revoked" for item in scene.conveyor.authorizations.values())


@pytest.mark.parametrize("takes_it", [True, False])
def test_reads_come_before_each_write(scene: Scene, takes_it: bool) -> None:
    scene.conveyor.approves_ignored = takes_it
    begin(scene)
    before = len(scene.conveyor.exchanges)
    assert scene.step().state == "approved"
    calls = [each.call.split()[0] for each in scene.conveyor.exchanges[before:]]
    assert calls == ["GET", "GET", "POST"] * (1 if takes_it else 2)
    row = scene.row
    assert row.reviewer == BOB_REVIEWS
    assert row.reason == "after all"
    assert row.rejection
    assert (row.rejection.reviewer.id, row.rejection.reason) == ("U0ANN", "why")
    assert scene.effects() == 2  # the rejection, and one approval


@pytest.mark.parametrize("takes_it", [True, False])
@pytest.mark.parametrize(
    "fault",
    [
        {"drop": "after"},
        {"status": 500, "after": True},
        {"status": 200, "body": {}, "after": True},
        {
            "status": 200,
            "body": {"id": "x", "email": "mallory@evil.example", "status": "gated"},
            "after": True,
        },
    ],
    ids=str,
)
def test_after_a_lost_answer_the_access_itself_settles_it(
    scene: Scene, takes_it: bool, fault: dict[str, Any]
) -> None:
    scene.conveyor.approves_ignored = takes_it
    begin(scene)
    named = "request_id" if takes_it else "email"
    scene.conveyor.fail(POST, when=lambda body: named in body, **fault)
    assert scene.step().state == "approving after all"
    assert scene.step().state == "approved"
    assert scene.row.authorization_id in scene.conveyor.authorizations
    assert grants(scene) == 1


def test_a_second_write_needs_two_reads_ten_seconds_apart(scene: Scene) -> None:
    begin(scene)
    scene.conveyor.fail(POST, drop="before")
    scene.step()
    begun = scene.now
    while scene.step().state == "approving after all":
        assert grants(scene) == 0
    assert scene.now - begun >= 10
    assert grants(scene) == 1


def test_access_from_elsewhere_is_not_called_the_reviewers(scene: Scene) -> None:
    begin(scene)
    other = scene.conveyor.ask("jane@acme.com", status="approved")
    scene.conveyor.approve_here(other)
    scene.step()
    assert is_rejected(scene)
    assert scene.notes() == ["after all elsewhere"]
    assert scene.conveyor.calls(POST) == []


def test_what_was_approved_in_conveyor_meanwhile_is_called_so(scene: Scene) -> None:
    begin(scene)
    scene.conveyor.approve_here(scene.request_id)
    row = scene.step()
    assert row.state == "approved elsewhere"
    assert row.rejection
    assert row.rejection.reason == "why"
    assert scene.notes() == ["after all elsewhere"]
    assert scene.conveyor.calls(POST) == []


@pytest.mark.parametrize("change", [{"email": "mallory@evil.example"}, {"dataroom_id": "room-2"}], ids=str)
def test_nobody_but_the_customer_on_the_card_gets_in(scene: Scene, change: dict[str, str]) -> None:
    begin(scene)
    scene.conveyor.change_here(scene.request_id, **change)
    scene.step()
    assert is_rejected(scene)
    assert scene.notes() == ["after all changed"]
    assert grants(scene) == 0


def test_a_request_that_is_open_again_is_left_to_its_next_round(scene: Scene) -> None:
    begin(scene)
    scene.conveyor.ask_again(scene.request_id)
    scene.step()
    assert is_rejected(scene)
    assert scene.notes() == ["after all changed"]
    assert scene.conveyor.calls(POST) == []


def test_an_old_copy_of_the_request_is_not_taken_for_a_new_one(scene: Scene) -> None:
    old = dict(scene.conveyor.requests[scene.request_id])
    begin(scene, after=5.0)
    scene.conveyor.fail("GET /exchange/authorization_requests/*", body=old)
    assert scene.step().state == "approving after all"
    assert scene.step().state == "approved"


def test_a_request_that_is_gone_stays_rejected(scene: Scene) -> None:
    begin(scene)
    scene.conveyor.remove(scene.request_id)
    assert scene.step().state == "approving after all"
    scene.step()
    assert is_rejected(scene)
    assert scene.notes() == ["after all gone"]


@pytest.mark.parametrize("groups", [True, False])
def test_basic_access_by_address_is_refused_with_several_trust_centers(scene: Scene, groups: bool) -> None:
    scene.conveyor.ask("joe@other.com", dataroom_id="room-2")
    known = [request for page in scene.decide.conveyor.queue() for request in page.requests]
    scene.ledger.queue.record(known, scene.now)
    scene.ledger.polls.replace_access_groups(scene.decide.conveyor.access_groups(), [], scene.now)
    begin(scene, groups=groups)
    scene.step()
    if groups:
        assert scene.row.state == "approved"
        return
    assert is_rejected(scene)
    assert scene.notes() == ["after all ambiguous"]
    assert [call.request.get("email") for call in scene.conveyor.calls(POST)] == [None]


def test_basic_access_is_no_question_if_conveyor_takes_the_request(scene: Scene) -> None:
    scene.conveyor.ask("joe@other.com", dataroom_id="room-2")
    scene.conveyor.approves_ignored = True
    begin(scene, groups=False)
    assert scene.step().state == "approved"


def test_a_key_that_may_not_do_it_gives_back(scene: Scene) -> None:
    begin(scene)
    scene.conveyor.fail(POST, status=403, body="")
    scene.step()
    assert is_rejected(scene)
    assert scene.notes() == ["after all not allowed"]
    assert len(scene.conveyor.calls(POST)) == 1


def test_what_was_never_sent_is_given_back_after_fifteen_minutes(scene: Scene) -> None:
    begin(scene, nda_bypass=True, expires_at="2030-01-01")
    scene.conveyor.fail("*", times=None, status=503)
    while scene.step().state == "approving after all":
        pass
    assert is_rejected(scene)
    assert scene.notes() == ["after all never sent"]


def test_older_access_is_not_taken_for_what_was_approved(scene: Scene) -> None:
    """The process died after the mark, and there was access before the claim."""
    other = scene.conveyor.ask("jane@acme.com", status="approved")
    access_id = scene.conveyor.approve_here(other, [scene.group])
    scene.conveyor.authorizations[access_id]["updated_at"] = "2020-01-01T00:00:00Z"
    begin(scene)
    assert scene.ledger.decisions.mark_sent(scene.row, scene.now)
    while scene.step().state == "approving after all":
        pass
    assert is_rejected(scene)
    assert scene.conveyor.calls(POST) == []
