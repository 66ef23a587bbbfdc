"""`check` asks Slack whether it accepts every card, window, and answer, and names what Slack refuses."""

import subprocess
import sys
from typing import Any

import pytest

import blocks
from operations.samples import samples
from tests.support.steps import run
from tests.support.world import ROOT, World

METHOD = "blocks.validate"
CALLS_MOST = 50  # as often as most methods may be called in a minute
# Words that are too long or missing in a header, a window, a question, a note, and a sentence.
TOO_LONG = """
from ledger.states import State
blocks.DECIDED[State.REJECTED] = ("R" * 150, ":no_entry_sign:")
blocks.REASON_HINT = "h" * 2001
blocks.CONFIRM_CHARS = 400
blocks.NOTES |= {"gone": "g" * 3001, "refused": ""}
blocks.STILL_STARTING = ""
"""


def about_words(said: str) -> list[str]:
    """Return the lines about words."""
    assert "Traceback" not in said
    return [line for line in said.splitlines() if line[2:].startswith("Words: ")]


def run_with(world: World, change: str) -> tuple[int, list[str]]:
    """Run `check` after this change of blocks.py; return its status, and what it says about words."""
    code = f"import sys, blocks\n{change}\nfrom operations.check import run\nsys.exit(run(sys.stdout))"
    command = [sys.executable, "-c", code]
    environment = world.environment()
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, about_words(done.stdout + done.stderr)


def test_slack_is_asked_about_everything_and_nothing_is_posted(world: World) -> None:
    world.slack.scopes.clear()
    (line,) = about_words(run(world, "check")[1])
    assert line.startswith(f"✓ Words: Slack accepts all {len(samples())} ")
    calls = world.slack.calls(METHOD)
    assert len(calls) < CALLS_MOST
    windows = [sample for _, sample in samples() if "type" in sample]
    assert len([call for call in calls if "view" in call.request]) == len(windows)
    for posted in (world.slack.messages, world.slack.private, world.slack.views):
        assert not posted


def test_words_that_slack_refuses_are_named_with_their_place(world: World) -> None:
    status, lines = run_with(world, TOO_LONG)
    assert status == 1
    assert all(line.startswith("✗ Words: Slack refuses ") for line in lines)
    assert all(" allowed at /blocks/" in line and line.endswith(" in blocks.py.") for line in lines)
    windows = {"after_all_modal", "approve_modal", "reject_modal", "revoke_modal"}
    named = {line.split()[4].rstrip(":") for line in lines}
    assert named == {"card", "shorter_card", "note", "STILL_STARTING", *windows}
    for case in ("rejected, empty) and 1 more like it: ", "pending, before that rejected) and "):
        assert any(case in line for line in lines), lines


def test_a_mistake_in_blocks_is_told(world: World) -> None:
    status, (line,) = run_with(world, "blocks.WAITED = '{days}'")
    assert status == 1
    assert line.startswith("✗ Words: blocks.py fails (KeyError: 'days')")


@pytest.mark.parametrize(
    "said",
    [
        {"errors": ["must be less than 3001 characters"]},
        {"errors": {}, "response_metadata": {"messages": ["[ERROR] must be less than 3001 characters"]}},
        {"errors": [{"pointer": 7, "message": None}, None, {"pointer": "/99/text"}]},
    ],
    ids=str,
)
def test_what_slack_refuses_is_found_without_a_pointer(world: World, said: dict[str, Any]) -> None:
    def is_refused(asked: Any) -> bool:
        return blocks.STILL_STARTING in str(asked.get("message"))

    body = {"ok": False, "error": "invalid_message", **said}
    world.slack.fail(METHOD, None, body=body, when=is_refused)
    status, output = run(world, "check")
    (line,) = about_words(output)
    assert line.startswith("✗ Words: Slack refuses STILL_STARTING: ")
    assert status == 1
    assert len(world.slack.calls(METHOD)) < CALLS_MOST + 10


@pytest.mark.parametrize(
    "answer",
    [
        {"body": {"ok": False, "error": "unknown_method"}},
        {"body": {"ok": False, "error": "invalid_arguments"}},
        {"status": 404, "body": "<html>Not found</html>"},
        {"status": 200, "body": "<html>Welcome</html>"},
    ],
    ids=str,
)
def test_a_slack_that_does_not_know_the_method_is_a_warning(world: World, answer: dict[str, Any]) -> None:
    world.slack.fail(METHOD, None, **answer)
    status, said = run(world, "check")
    (line,) = about_words(said)
    assert line.startswith(f"! Words: Slack checked 0 of {len(samples())} ")
    assert status == 0
    assert len(world.slack.calls(METHOD)) == 1


def test_no_answer_is_the_problem_that_it_is_elsewhere(world: World) -> None:
    world.slack.fail(METHOD, None, drop="before")
    status, said = run(world, "check")
    assert about_words(said) == []
    (problem,) = [line for line in said.splitlines() if line.startswith("✗")]
    assert problem.startswith("✗ Slack: no answer from http")
    assert status == 1


def test_a_rate_limit_is_waited_for(world: World) -> None:
    refusal = {"ok": False, "error": "ratelimited"}
    world.slack.fail(METHOD, 2, status=429, body=refusal, headers={"Retry-After": "1"})
    (line,) = about_words(run(world, "check")[1])
    assert line.startswith("✓")
    assert [call.status for call in world.slack.calls(METHOD)][:3] == [429, 429, 200]


def test_what_a_long_rate_limit_leaves_unchecked_is_counted(world: World) -> None:
    world.slack.rate_limits[METHOD] = 20, 3600.0
    status, said = run(world, "check")
    (line,) = about_words(said)
    assert line.startswith("! Words: Slack checked ")
    assert 0 < int(line.split()[4]) < len(samples())
    assert status == 0
