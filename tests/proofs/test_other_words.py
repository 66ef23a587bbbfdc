"""Other words break nothing: the main job runs on a copy of the project whose blocks.py has no word it had.

Each letter becomes the one 13 places further on, so that every text is as long as it was: Slack has limits.
"""

import ast
import codecs
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import blocks
from tests.support.world import ROOT

# The main job and what is on the cards: tests that wait for states, and take what people read from blocks.py.
TESTS = (
    "tests/app/test_main_job.py",
    "tests/app/test_cards.py",
    "tests/app/test_ready_reasons.py",
    "tests/proofs/test_blocks.py",
)
# A test that spells out a sentence, to see that this would be noticed.
SPELLED_OUT = """
from tests.support.steps import posted
from tests.support.world import World


def test_a_sentence_that_is_spelled_out(town: World) -> None:
    assert {phrase!r} in town.slack.text_of(posted(town))
"""
# What is no word: fields of formats, emoji, addresses, commands, what is in code, and Slack's own marks.
KEPT = re.compile(r"(\{\w*\}|:\w+:|\b\w+://[^\s|>]*|mailto:|\B/\w+|`[\w/][\w:./ -]*`|<!\w+)")
# Keys whose values are no words, and calls whose first argument is none.
KEYS = ("type", "style", "value", "action_id", "block_id", "callback_id")
CALLS = (
    "get",
    "startswith",
    "endswith",
    "replace",
    "split",
    "fullmatch",
    "match",
    "search",
    "sub",
    "_block_id",
)
IDS = "# Ids that Slack sends back\n"
PHRASE = re.compile(r"[A-Za-z]{2} [A-Za-z]{2}|[A-Z][a-z]{2}")


class OtherWords(ast.NodeTransformer):
    """Replaces every text that a person reads, and leaves the names by which programs know something."""

    def __init__(self, ids: set[str]) -> None:
        self._ids = ids

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            parts = KEPT.split(node.value)
            parts[::2] = [codecs.encode(part, "rot13") for part in parts[::2]]
            node.value = "".join(parts)
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        names = {each.id for each in ast.walk(node.targets[0]) if isinstance(each, ast.Name)}
        return node if names <= self._ids else self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return node if isinstance(node.value, ast.Constant) else self.generic_visit(node)  # a docstring

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        for number, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            if not (isinstance(key, ast.Constant) and key.value in KEYS):
                node.values[number] = self.visit(value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = ast.unparse(node.func).rpartition(".")[2]
        for number, argument in enumerate(node.args):
            is_style = (name, number) == ("button", 3)
            if not is_style and not (name in CALLS and number == 0):
                node.args[number] = self.visit(argument)
        node.func = self.visit(node.func)
        node.keywords = [each if each.arg in KEYS else self.visit(each) for each in node.keywords]
        return node

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        node.value = self.visit(node.value)  # and not its format
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        node.value = self.visit(node.value)  # and not the key
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        return node


def other_words(source: str) -> str:
    """Return the source with other words."""
    ids = set(re.findall(r"\b[A-Z_]+\b", source.partition(IDS)[2].partition("\n\n")[0]))
    return ast.unparse(OtherWords(ids).visit(ast.parse(source)))


def phrases(source: str) -> set[str]:
    """Return every text in this source that looks like words, wherever it is: no docstrings, and no keys."""
    every = list(ast.walk(ast.parse(source)))
    unseen: list[ast.AST | None] = [node.value for node in every if isinstance(node, ast.Expr)]
    unseen += [key for node in every if isinstance(node, ast.Dict) for key in node.keys]
    texts = [node.value for node in every if isinstance(node, ast.Constant) and node not in unseen]
    return {text for text in texts if isinstance(text, str) and PHRASE.search(text)}


@pytest.mark.long
def test_other_words_break_nothing(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    private = shutil.ignore_patterns(".git", ".venv", ".env", "data", "__pycache__", ".*_cache", ".hypo*")
    shutil.copytree(ROOT, copy, ignore=private)
    source = (ROOT / "blocks.py").read_text()
    rewritten = other_words(source)
    assert len(phrases(source)) > 200
    assert phrases(source) & phrases(rewritten) == set()
    (copy / "blocks.py").write_text(rewritten)
    (copy / "tests" / "test_spelled_out.py").write_text(SPELLED_OUT.format(phrase=blocks.ASKS))

    # In one process, since it has the ports of this one.
    options = ["-q", "-rfE", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/run", "-k", "not socket"]
    command = [sys.executable, "-m", "pytest", *options, *TESTS, "tests/test_spelled_out.py"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    assert failed == ["tests/test_spelled_out.py::test_a_sentence_that_is_spelled_out"], done.stdout
