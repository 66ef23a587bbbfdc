"""The rooms of the house: who may import whom, and what the README says about each room."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from ledger.states import DECISIONS, ELSEWHERE, State
from sandbox.app_process import PACKAGES, app_files
from tests.support.world import ROOT

# From top to bottom: a module may import from the rooms of lower floors, and from its own room.
FLOORS = [
    {"gunicorn.conf"},
    {"app"},
    {"listeners", "worker", "operations"},
    {"blocks"},
    {"workspace"},
    {"ledger"},
    {"settings", "conveyor_client"},
    {"deadline", "look_alikes"},
    {"connections"},
    {"addresses", "named_people", "working_hours"},
    {"text", "version"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# What Slack and HTTP are reached by: the ledger knows none of it.
OUTSIDE = {"requests", "urllib3", "http", "flask", "slack_sdk", "slack_bolt", "socket"}


def room_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[0]


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(file: Path) -> set[str]:
    """Return the full names of the modules that a file imports, also within functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def arrows() -> dict[str, set[str]]:
    """Return, for each module of the app, those of the app that it imports."""
    modules = {module_of(file): file for file in app_files()}
    return {name: {other for other in imported(file) if other in modules} for name, file in modules.items()}


def test_arrows_run_one_way() -> None:
    against = [
        f"{name} imports {other}"
        for name, others in arrows().items()
        for other in others
        if (here := name if name in FLOOR else name.partition(".")[0]) != (there := other.partition(".")[0])
        and FLOOR[here] >= FLOOR[there]
    ]
    assert against == []


def test_there_is_no_circle() -> None:
    left = arrows()
    while leaves := [name for name, others in left.items() if not others & left.keys()]:
        for name in leaves:
            del left[name]
    assert sorted(left) == []


def test_the_ledger_knows_neither_slack_nor_http() -> None:
    for file in (ROOT / "ledger").rglob("*.py"):
        assert {name.partition(".")[0] for name in imported(file)} & OUTSIDE == set(), file


def test_no_part_of_the_ledger_is_long() -> None:
    lines = {file.name: len(file.read_text().splitlines()) for file in (ROOT / "ledger").glob("*.py")}
    assert {name: count for name, count in lines.items() if count > 250} == {}


# What the pages say


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/changing-the-words.md"])
def test_every_path_that_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"`([\w./-]+\.(?:py|md|yaml|txt|toml)|[\w./-]+/)`", text))
    named |= set(re.findall(r"\]\(([\w./-]+)(?:#[\w-]*)?\)", text))
    made = {"data/", ".venv/"}  # by the app and by make
    assert [path for path in sorted(named - made) if not (ROOT / path).exists()] == []


def test_the_readme_says_what_each_module_is_for() -> None:
    (tree,) = re.findall(r"```text\n(gunicorn\.conf\.py .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    said: dict[str, set[str]] = defaultdict(set)
    room = ""
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            room = name
        if name.endswith(".py"):
            said[room if line.startswith(" ") else ""].add(name)
    there: dict[str, set[str]] = defaultdict(set)
    for file in app_files():
        if file.name != "__init__.py" and "versions" not in file.parts and file.name != "env.py":
            folder = f"{room_of(file)}/" if room_of(file) in PACKAGES else ""
            there[folder].add(file.name)
    assert said == there


def test_the_life_of_a_request_is_drawn_as_the_table_of_decisions_has_it() -> None:
    import ledger.states

    steps = re.findall(r"^    ([a-z ]+?) → ([a-z ]+?) {2,}", ledger.states.__doc__ or "", re.MULTILINE)
    drawn = {(State(before), State(after)) for before, after in steps}
    told = {
        step
        for each in DECISIONS
        for step in (
            (each.comes_from, each.runs_as),
            (each.runs_as, each.ends_as),
            (each.runs_as, each.comes_from),
        )
    }
    told |= {(State.PENDING, state) for state in (*ELSEWHERE.values(), State.GONE)}
    told.add((State.APPROVED, State.REVOKED))  # in Conveyor, while the NDA is not signed
    told.add((State.CHANGING, State.REVOKED))  # in Conveyor, before the groups were changed
    told.add((State.APPROVING_AFTER_ALL, State.APPROVED_ELSEWHERE))
    assert drawn == told
