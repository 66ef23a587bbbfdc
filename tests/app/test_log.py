"""Each line of the log is logfmt, whatever is in it, and says which decision it belongs to."""

import ast
import logging
import re
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rows import decision_id
from operations.logs import FIELDS, Logfmt
from sandbox.app_process import app_files
from sandbox.workspace import ANN, BOB
from tests.support.logfmt import parsed
from tests.support.steps import posted, request_of, revoke
from tests.support.world import ROOT, World, eventually


def line(message: str, *args: object, failed: bool = False) -> dict[str, str]:
    """Log this, and return the fields of the line that comes out."""
    info = sys.exc_info() if failed else None
    written = Logfmt().format(logging.LogRecord("app", logging.INFO, "", 0, message, args, info))
    assert written.isprintable()
    return parsed(written)


@given(st.text(), st.text())
def test_any_text_comes_back_as_it_was(one: str, other: str) -> None:
    found = line("request=%s number=%d cause=%r", one, 7, other)
    assert (found["request"], found["number"], found["cause"]) == (one, "7", other)
    assert line("%s and %r", one, other)["msg"] == f"{one} and {other!r}"


def test_a_plain_word_needs_no_quotes_and_anything_else_has_them() -> None:
    record = logging.LogRecord("app", logging.INFO, "", 0, "a=%s b=%s c=%r", ("req-1", "x y=z", "w"), None)
    assert Logfmt().format(record).endswith('level=INFO at=app a=req-1 b="x y=z" c="w"')


def test_a_traceback_is_one_field() -> None:
    try:
        raise ValueError('no "such"\nlevel=ERROR')
    except ValueError:
        found = line("card=failed", failed=True)
    assert found["card"] == "failed"
    assert found["exception"].endswith('ValueError: no "such"\nlevel=ERROR')


@pytest.mark.parametrize("message", ["100%", "a=%s", "a=%d b=%(c)s", "", "x=1 and more"])
def test_a_message_without_values_is_taken_as_it_is(message: str) -> None:
    assert message in (*line(message).values(), "a=%s")


def test_every_message_of_the_app_is_made_of_fields_or_is_a_sentence() -> None:
    for file in app_files():
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Call(ast.Attribute(ast.Name("log"), _), [ast.Constant(str(said)), *_]):
                    assert FIELDS.fullmatch(said) or re.fullmatch(r"[A-Z][^=]*\.", said), f"{file}: {said}"


def test_the_example_in_the_docs_is_what_the_app_writes() -> None:
    section = (ROOT / "docs" / "operating.md").read_text().partition("## The log\n")[2]
    examples = section.split("```")[1].removeprefix("text\n").splitlines()
    assert [parsed(example)["at"] for example in examples][-1] == "worker.watch"
    assert len({parsed(example)["decision"] for example in examples[:3]}) == 1


def test_an_id_leads_from_the_click_to_the_decision_and_its_card(world: World) -> None:
    world.start()
    approved, rejected = posted(world, "jane@acme.com"), posted(world, "joe@rival.example")
    request_id = request_of(approved)
    world.slack.click(ANN, approved.ts, "approve")
    world.slack.click(BOB, rejected.ts, "reject")
    world.slack.submit(BOB, values={"reason": "No"})
    world.shows(request_id, "approved")
    world.shows(request_of(rejected), "rejected")
    revoke(world, BOB, approved)
    world.shows(request_id, "revoked")

    def lines() -> list[dict[str, str]]:
        """Return the lines of decisions, once each has a card."""
        found = [parsed(each) for each in world.log().splitlines() if " at=gunicorn" not in each]
        cards = [each for each in found if each.get("state") in ("approved", "rejected", "revoked")]
        return [each for each in found if "decision" in each] if len(cards) >= 3 else []

    found = eventually(lines)
    for each in found:
        at = datetime.fromisoformat(each["time"])
        assert abs((datetime.now(UTC) - at).total_seconds()) < 120
        assert each["time"].endswith("Z")
    claims = [each for each in found if "claim" in each]
    assert [each["claim"] for each in claims] == ["approving", "rejecting", "revoking"]
    for claim in claims:
        same = [each for each in found if each["decision"] == claim["decision"]]
        assert {each["request"] for each in same} == {claim["request"]}
        assert [each["done"] for each in same if "done" in each] == [claim["claim"]]
        assert same[-1]["card"] == "updated"
    in_trail = world.ledger("SELECT request_id, round, at FROM trail WHERE event LIKE '%ing' ORDER BY number")
    ids = [decision_id(str(row[0]), int(str(row[1])), float(str(row[2]))) for row in in_trail]
    assert [each["decision"] for each in claims] == ids
