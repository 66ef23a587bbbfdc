"""The invariants find what is broken, and accept what may happen."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import blocks
from sandbox.workspace import ANN, SAM
from tests.proofs.invariants import TOO_LATE, UNANSWERED, WAYS, clicks_are_answered, life_cycle
from tests.proofs.mortal import QUESTION, TELL_ME, Deed, MortalWorld
from tests.support.world import eventually


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[MortalWorld]:
    """A running app at rest, with one card that waits for a decision."""
    with closing(MortalWorld(tmp_path)) as made:
        made.conveyor.ask("jane@acme.com", "Hello")
        made.begin()
        made.rest()
        yield made


def test_somebody_may_ask_to_be_told_when_it_is_decided_already(mortal: MortalWorld) -> None:
    (request_id,) = mortal.conveyor.requests
    question = Deed(SAM, request_id, QUESTION)
    told = mortal.ask(question, lambda: mortal.slack.command(SAM, "jane@acme.com"))
    assert told
    mortal.does(ANN, request_id, "approve")
    mortal.rest()
    mortal.ask(
        Deed(SAM, request_id, TELL_ME), lambda: mortal.slack.click(SAM, told.ts, blocks.TELL_ME, via=told)
    )
    late = f"event = '{TOO_LATE}'"
    assert eventually(lambda: mortal.ledger(f"SELECT request_id FROM trail WHERE {late}")) == [(request_id,)]
    assert life_cycle(mortal) == []
    mortal.ledger(
        "INSERT INTO trail (at, event, request_id, round, person_id, person_email, detail)"
        f" VALUES (0, '{TOO_LATE}', 'another', 0, '', '', '')"
    )
    assert life_cycle(mortal) == [f"another: “{TOO_LATE}” before it ended"]


def refused(mortal: MortalWorld) -> Deed:
    """Let Sam click while he cannot be answered; return what he did."""
    (card,) = mortal.slack.cards()
    (request_id,) = mortal.conveyor.requests
    deed = Deed(SAM, request_id, "approve")
    mortal.attempt(deed, lambda: mortal.slack.click(SAM, card.ts, "approve"))
    assert deed.answer
    assert deed.answer.status == UNANSWERED
    return deed


def test_a_click_may_fail_when_both_ways_to_answer_it_do(mortal: MortalWorld) -> None:
    for way in WAYS:
        mortal.slack.fail(way, drop="before")
    refused(mortal)
    assert clicks_are_answered(mortal) == []
    (failed,) = mortal.slack.calls(WAYS[1])
    failed.status, failed.response = 200, {"ok": True}
    (found,) = clicks_are_answered(mortal)
    assert "was answered 503: Slack took no answer" in found


def test_a_click_that_fails_must_not_count(mortal: MortalWorld) -> None:
    for way in WAYS:
        mortal.slack.fail(way, drop="before")
    deed = refused(mortal)
    mortal.does(ANN, deed.request_id, "approve")
    claimed = mortal.deeds[-1].answer
    assert deed.answer
    assert claimed
    deed.answer = replace(deed.answer, sent=claimed.sent)
    (found,) = clicks_are_answered(mortal)
    assert "was answered 503 and counts: “approving”" in found


def test_a_click_may_fail_while_slack_is_out(mortal: MortalWorld) -> None:
    begun = time.time()
    mortal.slack.stop()
    refused(mortal)
    mortal.slack.serve(mortal.slack.port)
    mortal.outages.append((mortal.conveyor, begun, time.time()))
    (found,) = clicks_are_answered(mortal)
    assert "was answered 503: Slack took no answer" in found
    mortal.outages.append((mortal.slack, begun, time.time()))
    assert clicks_are_answered(mortal) == []
