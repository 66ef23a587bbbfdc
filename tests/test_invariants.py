"""The random schedules must know what is broken, and what is only unlucky."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import blocks
from sandbox.workspace import ANN, SAM
from tests.invariants import TOO_LATE, life_cycle
from tests.mortal import QUESTION, TELL_ME, Deed, MortalWorld
from tests.world import eventually


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[MortalWorld]:
    """A running app at rest, with a card that waits."""
    with closing(MortalWorld(tmp_path)) as made:
        made.conveyor.ask("jane@acme.com", "Hello")
        made.begin()
        made.rest()
        yield made


def test_a_wish_to_be_told_may_come_when_it_is_decided(mortal: MortalWorld) -> None:
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
