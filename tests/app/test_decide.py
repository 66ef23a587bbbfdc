"""How the worker carries out one decision: mark, read, write and read again, with a clock that we move."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from conveyor_client import AccessGroup, ConveyorClient
from ledger.rows import Reviewer, Row
from ledger.states import APPROVE, REJECT, REVOKE, Decision
from sandbox.conveyor import ConveyorStandIn
from tests.support.ledgers import new_ledger
from worker.decide import Decide

BOB = Reviewer("U0BOB", "Bob", "bob@harbor.example")
ANN = Reviewer("U0ANN", "Ann", "ann@harbor.example")
POST = "POST /exchange/authorizations"
READ = "GET /exchange/authorization_requests/*"


class Scene:
    """One request in the ledger, and the loop that carries out decisions, on a clock that the test moves."""

    def __init__(self, conveyor: ConveyorStandIn, folder: Path) -> None:
        self.now = 1_000_000.0
        self.held = True
        self.conveyor = conveyor
        self.ledger = new_ledger(f"sqlite:///{folder}/ledger.db")
        client = ConveyorClient(conveyor.api_url, conveyor.api_key)
        self.decide = Decide(client, self.ledger.decisions, lambda: self.held, lambda: self.now)
        self.group = conveyor.add_group("Group")
        self.request_id = conveyor.ask("jane@acme.com", "hi")
        self.ledger.queue.record([client.request(self.request_id)], self.now)
        self.ledger.cards.posted(self.row, "C0", "1.2")

    @property
    def row(self) -> Row:
        found = self.ledger.decisions.find(self.request_id)
        assert found
        return found

    def claim(self, decision: Decision = APPROVE, trigger: str = "t1", **more: Any) -> None:
        """Record a decision of Ann's in the ledger."""
        groups = [AccessGroup(self.group, "Group")] if decision is APPROVE else []
        assert self.ledger.decisions.claim(
            self.row, decision, ANN, trigger, self.now, groups=groups, reason="why", **more
        )

    def approve(self) -> str:
        """Approve the request and carry it out; return the id of the grant."""
        self.claim()
        assert self.step().state == "approved"
        return next(iter(self.conveyor.authorizations))

    def revoke(self, trigger: str = "t2") -> None:
        """Record in the ledger that Bob revokes the access."""
        assert self.ledger.decisions.claim(self.row, REVOKE, BOB, trigger, self.now)

    def step(self) -> Row:
        """Move the clock to when the row is due, do one step and return the row."""
        self.now = max(self.now, self.row.decide_at or self.now)
        self.decide.carry_out(self.row)
        return self.row

    def notes(self) -> list[str]:
        """Return the kinds of the notes to reviewers that are not sent yet, and take them as sent."""
        found = []
        while note := self.ledger.cards.next_reply(self.now + 1e6):
            found.append(note.kind)
            self.ledger.cards.note_sent(note)
        return found

    def effects(self) -> int:
        """Return how many writes took effect in Conveyor."""
        return sum(decision.effective for decision in self.conveyor.decisions)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    conveyor = ConveyorStandIn()
    conveyor.serve()
    made = Scene(conveyor, tmp_path)
    yield made
    made.decide.stop()
    made.ledger.database.close()
    conveyor.stop()


def test_the_mark_comes_before_the_read_and_the_read_before_the_write(scene: Scene) -> None:
    scene.claim()
    seen: list[tuple[str, bool]] = []
    scene.conveyor.on_exchange.append(
        lambda exchange: seen.append((exchange.call.split()[0], scene.row.sent_at is not None))
    )
    assert scene.step().state == "approved"
    assert seen[0] == ("GET", True)
    assert ("POST", True) in seen
    assert [call for call, _ in dict.fromkeys(seen)] == ["GET", "POST"]


def test_nothing_is_given_back_while_a_landed_write_is_unconfirmed(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail(POST, drop="after")
    scene.step()
    scene.conveyor.fail("GET *", times=None, status=503)
    for _ in range(20):
        scene.now += 100
        assert scene.step().state == "approving"
    assert scene.row.problem == "unconfirmed"
    assert scene.notes() == ["unconfirmed"]  # only one note in half an hour
    scene.conveyor.clear_faults()
    assert scene.step().state == "approved"
    assert scene.effects() == 1
    assert len(scene.conveyor.calls(POST)) == 1


def test_what_was_never_sent_is_given_back_after_fifteen_minutes(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail("*", times=None, status=503)
    started = scene.now
    while scene.step().state == "approving":
        assert scene.row.sent_at is None
        assert scene.row.decide_at is not None
        assert scene.row.decide_at - scene.now <= 300
    assert scene.now - started >= 900
    assert scene.row.state == "pending"
    assert scene.notes() == ["never sent"]
    assert not scene.conveyor.calls(POST)


def test_what_is_still_open_after_fifteen_minutes_is_given_back(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail(POST, times=None, drop="before")
    while scene.step().state == "approving":
        scene.now += 60
    assert scene.row.state == "pending"
    assert scene.notes() == ["still open"]
    assert scene.effects() == 0


@pytest.mark.parametrize(
    ("fault", "posts"),
    [
        ({"status": 500}, 2),
        ({"status": 503, "after": True}, 1),
        ({"status": 302, "headers": {"Location": "http://127.0.0.1:9/elsewhere"}}, 2),
        ({"status": 429, "headers": {"Retry-After": "1"}}, 2),
        ({"status": 200, "body": "<html>sign in</html>"}, 2),
        ({"status": 200, "body": {"id": "another", "email": "someone@else.example"}, "after": True}, 1),
        ({"drop": "before"}, 2),
        ({"drop": "after"}, 1),
    ],
    ids=str,
)
def test_whatever_makes_a_write_doubtful_it_takes_effect_once(
    scene: Scene, fault: dict[str, Any], posts: int
) -> None:
    scene.claim()
    scene.conveyor.fail(POST, **fault)
    assert scene.step().state == "approving"
    assert scene.row.problem == "unavailable"
    while scene.row.state == "approving":
        scene.step()
    assert scene.row.state == "approved"
    assert scene.effects() == 1
    assert len(scene.conveyor.calls(POST)) == posts


def test_a_second_write_needs_two_reads_ten_seconds_apart(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail(POST, drop="before")
    scene.step()
    scene.conveyor.exchanges.clear()
    scene.step()
    first_read = scene.now
    scene.decide.carry_out(scene.row)  # too early: it reads again and does not write
    assert not scene.conveyor.calls(POST)
    assert scene.step().state == "approved"
    assert scene.now - first_read >= 10
    assert scene.effects() == 1


# Writes that Conveyor did not confirm


@pytest.mark.parametrize("hours", [0, 5])
def test_what_somebody_else_granted_is_not_called_the_reviewers(scene: Scene, hours: int) -> None:
    other = scene.conveyor.add_group("Other")
    scene.claim()
    scene.conveyor.fail(POST, drop="before")
    scene.step()
    if hours:
        scene.conveyor.fail("GET *", times=None, status=503)
        scene.step()
        scene.now += hours * 3600
        scene.conveyor.clear_faults()
    scene.conveyor.approve_here(scene.request_id, [other])
    row = scene.step()
    assert row.state == "approved elsewhere"
    assert scene.notes() == ["differs"]


@pytest.mark.parametrize("groups", ["same", "unlisted"])
def test_what_was_granted_as_decided_is_called_the_reviewers(scene: Scene, groups: str) -> None:
    scene.conveyor.approve_returns_groups = groups == "same"
    scene.claim()
    scene.conveyor.fail(POST, drop="after")
    scene.step()
    if groups == "unlisted":
        for granted in scene.conveyor.authorizations.values():
            del granted["_embedded"]
    assert scene.step().state == "approved"
    assert scene.notes() == []


@pytest.mark.parametrize(
    ("asked", "listed", "is_ours"),
    [
        ({"nda_bypass": True}, {"status": "gated"}, False),
        ({"nda_bypass": True}, {"status": "authorized"}, True),
        ({"expires_at": "2030-01-31"}, {"expires_at": "2030-01-31"}, True),
        ({"expires_at": "2030-01-31"}, {"expires_at": None}, False),
        ({"expires_at": "2030-01-31"}, {}, True),
        ({}, {"expires_at": "2030-01-31"}, False),
        ({}, {"status": "revoked"}, False),
    ],
    ids=str,
)
def test_nda_and_end_are_compared_where_conveyor_lists_them(
    scene: Scene, asked: dict[str, Any], listed: dict[str, Any], is_ours: bool
) -> None:
    scene.claim(**asked)
    scene.conveyor.fail(POST, drop="after")
    scene.step()
    next(iter(scene.conveyor.authorizations.values())).update(listed)
    while scene.step().state == "approving":
        assert listed == {"status": "revoked"}  # which may be an older grant, until some time has passed
    assert scene.row.state == ("approved" if is_ours else "approved elsewhere")


def test_a_lagging_list_of_grants_is_read_again(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail(POST, drop="after")
    scene.step()
    nothing = {"authorizations": [], "page": 1, "per_page": 100, "total_pages": 1}
    scene.conveyor.fail("GET /exchange/authorizations", times=3, body=nothing)
    for _ in range(3):
        assert scene.step().state == "approving"
        assert scene.row.problem == "unconfirmed"
    assert scene.step().state == "approved"
    assert scene.row.groups


def test_the_row_keeps_what_conveyor_said_about_the_access(scene: Scene) -> None:
    scene.conveyor.returns_expires_at = True
    scene.claim(expires_at="2999-12-31", nda_bypass=True)
    row = scene.step()
    assert (row.access_status, row.access_ends) == ("authorized", "2999-12-31")
    scene.revoke()
    assert scene.step().access_ends == "2999-12-31"


# A click decides only what the reviewer saw


CHANGES = [{"email": "mallory@evil.example"}, {"dataroom_id": "room-2"}]


@pytest.mark.parametrize("decision", [APPROVE, REJECT])
@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_request_that_changed_before_the_write_is_decided_again(
    scene: Scene, decision: Decision, change: dict[str, str]
) -> None:
    scene.claim(decision)
    scene.conveyor.requests[scene.request_id].update(change)
    row = scene.step()
    assert row.state == "pending"
    assert scene.notes() == ["changed"]
    assert not scene.conveyor.decisions
    assert (row.email, row.dataroom_id) == (
        change.get("email", "jane@acme.com"),
        change.get("dataroom_id", "room-1"),
    )
    assert row.show_at is not None  # the card is drawn again


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_request_that_changed_during_a_write_is_not_called_the_reviewers(
    scene: Scene, change: dict[str, str]
) -> None:
    scene.claim()
    scene.conveyor.fail(POST, drop="after")
    scene.step()
    scene.conveyor.requests[scene.request_id].update(change)
    row = scene.step()
    assert row.state == "approved elsewhere"
    assert scene.notes() == ["changed elsewhere"]
    assert row.email == change.get("email", "jane@acme.com")


def test_a_request_that_changed_after_a_lost_write_is_not_written_again(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail(POST, drop="before")
    scene.step()
    scene.conveyor.requests[scene.request_id].update(email="mallory@evil.example")
    started = scene.now
    while scene.step().state == "approving":
        pass
    assert 180 <= scene.now - started <= 500
    assert scene.notes() == ["changed"]
    assert len(scene.conveyor.calls(POST)) == 1
    assert scene.row.email == "mallory@evil.example"


def test_a_missing_data_room_is_no_change(scene: Scene) -> None:
    scene.claim(REJECT)
    scene.conveyor.requests[scene.request_id]["dataroom_id"] = None
    assert scene.step().state == "rejected"


@pytest.mark.parametrize(
    "odd",
    [
        {"email": "mallory@evil.example"},
        {"dataroom_id": "room-2"},
        {"request_id": "another"},
        {"status": "revoked"},
    ],
    ids=str,
)
def test_an_answer_about_something_else_confirms_nothing(scene: Scene, odd: dict[str, str]) -> None:
    scene.claim()
    answer = {"id": "a9", "email": "jane@acme.com", "status": "gated", "dataroom_id": "room-1"}
    scene.conveyor.fail(POST, body=answer | odd)
    assert scene.step().state == "approving"
    assert scene.step().state == "approving"  # it is still open, so nothing was granted
    assert scene.step().state == "approved"
    assert scene.effects() == 1


@pytest.mark.parametrize("odd", [*CHANGES, {"id": "another"}, {"status": "requested"}], ids=str)
def test_a_rejection_of_something_else_confirms_nothing(scene: Scene, odd: dict[str, str]) -> None:
    scene.claim(REJECT)
    asked = scene.conveyor.requests[scene.request_id]
    scene.conveyor.fail("PATCH *", body={**asked, "status": "ignored"} | odd)
    assert scene.step().state == "rejecting"
    assert scene.step().state == "rejecting"
    assert scene.step().state == "rejected"
    assert scene.effects() == 1


# A decision whose write may have landed is never given back


def lag(scene: Scene, reads: int | None) -> None:
    """Make the next reads of the request answer as before any decision."""
    stale = {**scene.conveyor.requests[scene.request_id], "status": "requested"}
    scene.conveyor.fail(READ, times=reads, body=stale)


@pytest.mark.parametrize("refusal", [409, 422, 404, 403])
def test_a_refused_second_write_is_no_reason_to_give_back(scene: Scene, refusal: int) -> None:
    scene.claim()
    scene.conveyor.fail(POST, drop="after")
    scene.step()
    lag(scene, 6)
    body = "" if refusal == 403 else {"error": "This request has already been approved"}
    scene.conveyor.fail(POST, status=refusal, body=body)
    steps = 0
    while scene.step().state == "approving":
        steps += 1
        assert scene.row.problem in ("unavailable", "unconfirmed")
        assert steps < 20
    assert scene.row.state == "approved"
    assert scene.notes() == []
    assert len(scene.conveyor.calls(POST)) == 2
    assert scene.effects() == 1


def test_a_refused_second_write_is_given_back_when_reads_agree_for_minutes(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail(POST, drop="before")
    scene.step()
    scene.conveyor.fail(POST, status=422, body={"error": "No seats left"})
    while scene.row.refusal is None:
        scene.step()
    refused_at = scene.now
    while scene.step().state == "approving":
        assert scene.row.decide_at is not None
        assert scene.row.decide_at - scene.now <= 300
    assert scene.now - refused_at >= 180
    assert scene.notes() == ["refused"]
    assert scene.row.refusal is None
    assert len(scene.conveyor.calls(POST)) == 2


@pytest.mark.parametrize("lagging", [0, 4])
def test_a_first_write_is_answered_that_it_is_decided_already(scene: Scene, lagging: int) -> None:
    scene.claim()
    # Somebody approves it in Conveyor right after the app's read.
    scene.conveyor.fail(POST, status=409, when=lambda _: bool(scene.conveyor.approve_here(scene.request_id)))
    scene.step()
    lag(scene, lagging)
    while scene.step().state == "approving":
        assert scene.row.sent_at is None
    assert scene.row.state == "approved elsewhere"
    assert scene.notes() == ["elsewhere"]
    assert len(scene.conveyor.calls(POST)) == 1


def test_a_late_write_is_not_given_back_by_reads_of_the_same_minute(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail(POST, times=None, drop="after")
    lag(scene, None)
    while scene.now < (scene.row.claimed_since or 0) + 900:
        scene.step()
    last = scene.conveyor.calls(POST)[-1].at
    for _ in range(4):
        assert scene.step().state == "approving"
    assert scene.conveyor.calls(POST)[-1].at == last  # no more writes
    scene.conveyor.clear_faults()
    assert scene.step().state == "approved"


def test_a_request_that_is_gone_after_a_write_may_have_been_decided(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail(POST, drop="after")
    scene.step()
    scene.conveyor.remove(scene.request_id)
    scene.step()
    assert scene.step().state == "gone"
    assert scene.notes() == ["gone unconfirmed"]


def test_damaged_groups_of_a_row_are_not_taken_for_no_groups(scene: Scene) -> None:
    scene.claim()
    with scene.ledger.database.write() as db:
        db.execute(text("UPDATE requests SET groups = '[[7'"))
    with pytest.raises(ValueError, match="which groups"):
        scene.step()
    assert not scene.conveyor.calls(POST)
    scene.conveyor.approve_here(scene.request_id)  # and the request comes to an end all the same
    assert scene.step().state == "approved elsewhere"


def test_after_an_answer_without_groups_the_grants_are_read(scene: Scene) -> None:
    scene.conveyor.approve_returns_groups = False
    scene.claim()
    scene.conveyor.fail("GET /exchange/authorizations", status=500)
    assert scene.step().state == "approving"
    row = scene.step()
    assert row.state == "approved"
    assert [group.id for group in row.groups or []] == [scene.group]
    assert scene.effects() == 1
    assert len(scene.conveyor.calls(POST)) == 1


@pytest.mark.parametrize(("decision", "elsewhere"), [(APPROVE, "ignored"), (REJECT, "approved")])
def test_the_reviewer_is_told_when_conveyor_closed_it_otherwise(
    scene: Scene, decision: Decision, elsewhere: str
) -> None:
    scene.claim(decision)
    (scene.conveyor.ignore_here if elsewhere == "ignored" else scene.conveyor.approve_here)(scene.request_id)
    assert scene.step().state == f"{elsewhere} elsewhere"
    assert scene.notes() == ["elsewhere"]
    assert not scene.conveyor.decisions


def test_what_was_approved_in_conveyor_before_the_write_is_not_called_the_reviewers(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.approve_here(scene.request_id)
    assert scene.step().state == "approved elsewhere"
    assert scene.notes() == ["elsewhere"]


def test_a_request_is_gone_after_two_404s_and_not_after_one(scene: Scene) -> None:
    scene.claim(REJECT)
    scene.conveyor.fail(READ, status=404)
    row = scene.step()
    assert row.state == "rejecting"
    assert row.sent_at is None
    assert scene.step().state == "rejected"
    scene.conveyor.remove(scene.request_id)


def test_a_request_that_is_removed_while_it_is_rejected_is_gone(scene: Scene) -> None:
    scene.claim(REJECT)
    scene.conveyor.remove(scene.request_id)
    scene.step()
    assert scene.step().state == "gone"
    assert scene.notes() == ["gone"]


@pytest.mark.parametrize("status", [409, 422, 200])
def test_after_a_write_to_a_closed_request_its_status_counts(scene: Scene, status: int) -> None:
    scene.conveyor.already_decided_status = status
    scene.claim(REJECT)
    scene.conveyor.fail(
        "PATCH *", delay=0.0, when=lambda _: bool(scene.conveyor.approve_here(scene.request_id))
    )
    assert scene.step().state in ("approved elsewhere", "rejecting")
    assert scene.step().state == "approved elsewhere"


def test_with_an_unknown_status_nothing_is_written(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.requests[scene.request_id]["status"] = "paused"
    assert scene.step().state == "approving"
    assert not scene.conveyor.calls(POST)
    scene.conveyor.requests[scene.request_id]["status"] = "requested"
    assert scene.step().state == "approved"


def test_without_the_lease_nothing_is_written(scene: Scene) -> None:
    scene.claim()
    scene.held = False
    scene.conveyor.exchanges.clear()
    assert scene.step().sent_at is None
    assert not scene.conveyor.exchanges


def test_losing_the_lease_between_read_and_write_writes_nothing(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.on_exchange.append(lambda _: setattr(scene, "held", False))
    assert scene.step().state == "approving"
    assert not scene.conveyor.calls(POST)


def test_a_replayed_click_decides_nothing_after_a_give_back(scene: Scene) -> None:
    scene.claim(trigger="the click")
    scene.conveyor.fail(POST, status=422, body={"error": "no"})
    assert scene.step().state == "pending"
    assert not scene.ledger.decisions.claim(scene.row, APPROVE, ANN, "the click", scene.now)
    assert scene.row.state == "pending"
    scene.claim(trigger="a new click")
    assert scene.step().state == "approved"


def test_a_slow_decision_holds_up_nobody_else(scene: Scene) -> None:
    scene.conveyor.fail(f"GET /exchange/authorization_requests/{scene.request_id}", delay=60)
    scene.claim()
    scene.decide.round()
    quick = scene.conveyor.ask("joe@acme.com", "hi")
    client = ConveyorClient(scene.conveyor.api_url, scene.conveyor.api_key)
    scene.ledger.queue.record([client.request(quick)], scene.now)
    row = scene.ledger.decisions.find(quick)
    assert row
    scene.ledger.cards.posted(row, "C0", "1.3")
    row = scene.ledger.decisions.find(quick)
    assert row
    assert scene.ledger.decisions.claim(row, APPROVE, ANN, "t2", scene.now)
    scene.decide.round()
    scene.conveyor.wait_for(lambda: scene.conveyor.decisions)
    assert scene.conveyor.decisions[0].request_id == quick
    scene.conveyor.stop()  # the other request does not wait for the slow one


# Revocation follows the same rules


PATCH = "PATCH /exchange/authorizations/*"


@pytest.mark.parametrize(
    ("fault", "patches"),
    [
        ({"status": 500}, 2),
        ({"status": 503, "after": True}, 1),
        ({"drop": "before"}, 2),
        ({"drop": "after"}, 1),
        ({"status": 200, "body": {"id": "another", "status": "revoked"}}, 2),
    ],
    ids=str,
)
def test_a_doubtful_revocation_is_read_before_it_is_repeated(
    scene: Scene, fault: dict[str, Any], patches: int
) -> None:
    granted = scene.approve()
    scene.revoke()
    scene.conveyor.fail(PATCH, **fault)
    assert scene.step().problem == "unavailable"
    while scene.row.state == "revoking":
        scene.step()
    assert scene.row.state == "revoked"
    assert scene.conveyor.authorizations[granted]["status"] == "revoked"
    assert len(scene.conveyor.calls(PATCH)) == patches
    assert scene.row.reviewer.name == "Ann"
    assert scene.row.revoker.name == "Bob"
    assert scene.row.revoked_at
    assert scene.row.settled_at
    assert scene.row.settled_at < scene.row.revoked_at + 1


def test_a_revocation_that_was_never_sent_is_given_back(scene: Scene) -> None:
    scene.approve()
    scene.revoke()
    scene.conveyor.fail("*", times=None, status=503)
    while scene.step().state == "revoking":
        pass
    assert scene.row.state == "approved"
    assert scene.notes() == ["revoke never sent"]
    assert scene.row.reviewer.name == "Ann"
    assert scene.row.revoker.id == ""
    scene.conveyor.clear_faults()
    scene.revoke("t3")  # and Bob can revoke it again
    assert scene.step().state == "revoked"


def test_a_revocation_that_may_have_landed_is_not_given_back(scene: Scene) -> None:
    scene.approve()
    scene.revoke()
    scene.conveyor.fail(PATCH, drop="after")
    scene.step()
    scene.conveyor.fail("GET *", times=None, status=503)
    for _ in range(20):
        scene.now += 100
        assert scene.step().state == "revoking"
    assert scene.notes() == ["revoke unconfirmed"]
    scene.conveyor.clear_faults()
    assert scene.step().state == "revoked"


def test_access_that_conveyor_does_not_list_is_not_called_revoked(scene: Scene) -> None:
    scene.approve()
    scene.revoke()
    scene.conveyor.authorizations.clear()
    started = scene.now
    while scene.step().state == "revoking":
        pass
    assert scene.row.state == "approved"
    assert scene.now - started >= 180  # the list may have lagged
    assert scene.notes() == ["revoke gone"]


@pytest.mark.parametrize("listed", ["nothing", "an older grant"])
def test_access_that_is_listed_late_is_still_revoked(scene: Scene, listed: str) -> None:
    scene.approve()
    scene.revoke()
    grants = [{"id": "old", "email": "jane@acme.com", "status": "revoked"}] if listed != "nothing" else []
    lagging = scene.now + 100
    scene.conveyor.fail(
        "GET /exchange/authorizations",
        times=None,
        body={"authorizations": grants},
        when=lambda _: scene.now < lagging,
    )
    while scene.step().state == "revoking":
        pass
    assert scene.row.state == "revoked"
    assert scene.row.revoker.name == "Bob"
    assert scene.notes() == []
    assert scene.effects() == 2


def test_access_that_was_revoked_in_conveyor_is_not_called_the_reviewers(scene: Scene) -> None:
    granted = scene.approve()
    scene.now += 300
    scene.conveyor.authorizations[granted]["status"] = "revoked"
    scene.revoke()
    assert scene.step().state == "revoked"
    assert scene.row.revoker.id == ""
    assert scene.notes() == ["revoke elsewhere"]


def listed(scene: Scene) -> dict[str, Any]:
    """Return the list of grants as Conveyor answers it now."""
    return {"authorizations": [dict(granted) for granted in scene.conveyor.authorizations.values()]}


def other_grant(scene: Scene, **request: Any) -> str:
    """Give the same customer more access in Conveyor; return the grant's id."""
    return scene.conveyor.approve_here(scene.conveyor.ask("jane@acme.com", **request))


def test_a_list_that_lags_hides_no_access_from_a_revocation(scene: Scene) -> None:
    other_grant(scene)
    old = listed(scene)
    scene.approve()
    scene.revoke()
    scene.conveyor.fail("GET /exchange/authorizations", times=2, body=old)
    while scene.step().state == "revoking":
        pass
    assert scene.row.state == "revoked"
    assert scene.notes() == []
    assert {granted["status"] for granted in scene.conveyor.authorizations.values()} == {"revoked"}


@pytest.mark.parametrize("status", [422, 409, 404])
def test_a_revocation_that_lands_in_part_is_not_called_never_sent(scene: Scene, status: int) -> None:
    scene.approve()
    other = other_grant(scene)
    scene.now += 300
    scene.revoke()
    scene.conveyor.fail(f"PATCH /exchange/authorizations/{other}", times=None, status=status)
    started = scene.now
    while scene.step().state == "revoking":
        assert scene.row.refusal is not None
    assert scene.now - started >= 180
    assert scene.notes() == ["revoke refused"]
    active = [key for key, granted in scene.conveyor.authorizations.items() if granted["status"] != "revoked"]
    assert active == [other]


def test_a_sent_revocation_whose_access_is_not_listed_any_more_is_not_given_back(scene: Scene) -> None:
    scene.approve()
    scene.now += 300
    scene.revoke()
    scene.conveyor.fail(PATCH, drop="after")
    scene.step()
    scene.conveyor.authorizations.clear()
    started = scene.now
    while scene.step().state == "revoking":
        pass
    assert scene.now - started >= 180
    assert scene.row.state == "gone"
    assert scene.notes() == ["revoke gone unconfirmed"]


def test_an_older_grant_is_not_taken_for_the_one_that_was_asked_for(scene: Scene) -> None:
    more = scene.conveyor.add_group("More")
    other = other_grant(scene)
    scene.conveyor.authorizations[other]["_embedded"] = {
        "access_groups": [{"id": scene.group, "name": "Group"}]
    }
    scene.conveyor.change_here(scene.request_id)
    scene.ledger.queue.record([scene.decide.conveyor.request(scene.request_id)], scene.now)
    scene.claim()
    scene.conveyor.fail(POST, drop="before")
    scene.step()
    scene.conveyor.approve_here(scene.request_id, [scene.group, more])
    assert scene.step().state == "approved elsewhere"
    assert scene.notes() == ["differs"]


def test_our_own_approval_is_not_called_somebody_elses_by_a_list_that_lags(scene: Scene) -> None:
    scene.approve()
    scene.revoke()
    assert scene.step().state == "revoked"
    old = listed(scene)
    scene.conveyor.ask_again(scene.request_id)
    request = scene.decide.conveyor.request(scene.request_id)
    assert scene.ledger.queue.reopen(scene.row, request, scene.now)
    scene.ledger.cards.posted(scene.row, "C0", "1.3")
    scene.claim(trigger="t3")
    scene.conveyor.fail(POST, drop="after")
    scene.conveyor.fail("GET /exchange/authorizations", times=3, body=old)
    while scene.step().state == "approving":
        pass
    assert scene.row.state == "approved"
    assert scene.notes() == []


def test_a_revocation_stays_within_its_trust_center(scene: Scene) -> None:
    other = other_grant(scene, dataroom_id="room-2")
    scene.conveyor.requests[scene.request_id]["dataroom_id"] = None
    scene.ledger.queue.record([scene.decide.conveyor.request(scene.request_id)], scene.now)
    assert scene.row.dataroom_id == ""
    scene.conveyor.requests[scene.request_id]["dataroom_id"] = "room-1"
    scene.claim()
    assert scene.step().state == "approved"
    assert scene.row.dataroom_id == "room-1"
    scene.revoke()
    assert scene.step().state == "revoked"
    assert scene.conveyor.authorizations[other]["status"] == "gated"


def test_a_revocation_of_a_request_without_a_trust_center_stays_where_access_was_given(scene: Scene) -> None:
    other = other_grant(scene, dataroom_id="room-2")
    scene.conveyor.requests[scene.request_id]["dataroom_id"] = None
    scene.ledger.queue.record([scene.decide.conveyor.request(scene.request_id)], scene.now)
    assert scene.ledger.decisions.claim(scene.row, APPROVE, ANN, "t1", scene.now, groups=[], reason="")
    assert scene.step().state == "approved"
    assert scene.row.dataroom_id == ""
    own = scene.row.authorization_id
    scene.conveyor.authorizations[own]["dataroom_id"] = "room-1"
    scene.revoke()
    assert scene.step().state == "revoked"
    assert scene.conveyor.authorizations[own]["status"] == "revoked"
    assert scene.conveyor.authorizations[other]["status"] == "gated"


def test_two_404s_count_only_one_right_after_the_other(scene: Scene) -> None:
    scene.claim()
    scene.conveyor.fail(READ, status=404)
    scene.step()
    scene.conveyor.fail(POST, drop="after")
    scene.step()
    scene.conveyor.fail(READ, status=404)
    assert scene.step().state == "approving"
    assert scene.step().state == "approved"


def test_a_row_read_before_the_mark_writes_nothing(scene: Scene) -> None:
    scene.claim()
    stale = scene.row
    scene.conveyor.fail(POST, drop="before")
    scene.step()
    scene.decide.carry_out(stale)
    assert len(scene.conveyor.calls(POST)) == 1


def test_one_click_revokes_once_and_an_older_one_not_at_all(scene: Scene) -> None:
    scene.approve()
    before = scene.row
    scene.revoke()
    assert not scene.ledger.decisions.claim(before, REVOKE, ANN, "t3", scene.now)
    assert scene.step().state == "revoked"
    assert not scene.ledger.decisions.claim(before, REVOKE, ANN, "t4", scene.now)
