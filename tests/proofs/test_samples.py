"""operations/samples.py has everything that the app can send, and Slack's limits allow all of it."""

import re
from inspect import isfunction
from typing import get_type_hints

import blocks
from ledger.states import State
from operations.samples import samples
from sandbox import limits
from tests.support.world import ROOT
from workspace.block_kit import Block, Message

# Functions of blocks.py whose results never go to Slack by themselves.
NOT_SENT = {"access_of", "has_warnings", "offer", "offers", "reason_on_card"}

KINDS = (Message, Message | None, Block, list[Block], str)


def test_each_function_of_blocks_has_a_sample() -> None:
    """Whoever adds a card, window, or answer to blocks.py adds it to operations/samples.py as well."""
    functions = {name: value for name, value in vars(blocks).items() if isfunction(value)}
    public = {name for name, value in functions.items() if value.__module__ == "blocks" and name[0] != "_"}
    sampled = {name.partition(" ")[0] for name, _ in samples()}
    assert sorted(public - NOT_SENT - sampled) == [], "Add these to operations/samples.py."
    made = {name: get_type_hints(functions[name])["return"] for name in public & sampled}
    assert {name: kind for name, kind in made.items() if kind not in KINDS} == {}


def test_each_private_sentence_has_a_sample() -> None:
    """The listeners answer with these constants of blocks.py; what is wrong in a field is no message."""
    files = [file for file in (ROOT / "listeners").glob("*.py") if file.name != "forms.py"]
    used = {name for file in files for name in re.findall(r"\bblocks\.([A-Z_]+)\b", file.read_text())}
    texts = {name: getattr(blocks, name) for name in used}
    sentences = {name for name, text in texts.items() if isinstance(text, str) and " " in text}
    assert sorted(sentences - dict(samples()).keys()) == [], (
        "Add these to SENTENCES in operations/samples.py."
    )


def test_each_state_and_note_has_a_sample() -> None:
    names = [name for name, _ in samples()]
    assert len(set(names)) == len(names)
    drawn = set(State) - {State.CLOSED}
    wanted = {f"{kind} ({state}, long)" for kind in ("card", "shorter_card") for state in drawn}
    wanted |= {f"note ({kind})" for kind in blocks.NOTES}
    assert wanted - set(names) == set()


def test_each_sample_is_within_slacks_limits() -> None:
    for name, sample in samples():
        if "type" in sample:
            assert limits.view_problems(sample) == [], name
        else:
            assert limits.message_problems(sample["text"], sample["blocks"]) == [], name
            assert limits.block_text_length(sample["blocks"]) <= limits.BLOCK_TEXT_BUDGET, name
            assert len(sample["text"]) <= limits.TEXT_BUDGET, name
