"""The files that GitHub reads: their form, and what the workflows may do."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.world import ROOT

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.dependabot": [GITHUB / "dependabot.yml"],
    "vendor.github-issue-forms": sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")),
}
BIN = Path(sys.executable).parent


def jobs(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((GITHUB / "workflows" / name).read_text())["jobs"])


def run(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("schema", SCHEMAS)
def test_github_understands_the_files(schema: str) -> None:
    assert SCHEMAS[schema]
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *SCHEMAS[schema])


def test_the_workflows_are_linted() -> None:
    run(BIN / "zizmor", "--offline", "--no-progress", "--min-severity", "medium", GITHUB)


def test_every_action_is_pinned_to_a_commit() -> None:
    for workflow in WORKFLOWS:
        for used in re.findall(r"uses: (?!\./)(.*)", workflow.read_text()):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used)


def test_the_tests_run_on_every_python_that_the_app_supports() -> None:
    found = re.search(r"Python \(3\.(\d+) to 3\.(\d+)\)", (ROOT / "CONTRIBUTING.md").read_text())
    assert found
    supported = [f"3.{minor}" for minor in range(int(found[1]), int(found[2]) + 1)]
    assert f'requires-python = ">={supported[0]}"' in (ROOT / "pyproject.toml").read_text()
    tests = jobs("test.yml")["tests"]
    assert tests["strategy"]["matrix"]["python"] == supported
    assert tests["steps"][-1] == {"run": ".ci/run"}


def test_only_a_tag_whose_tests_pass_publishes_the_image_that_the_tests_built() -> None:
    publish = yaml.safe_load((GITHUB / "workflows" / "publish.yml").read_text())
    assert publish[True] == {"push": {"tags": ["v*.*.*"]}}  # YAML 1.1 takes the key "on" for true
    assert publish["jobs"]["test"]["uses"] == "./.github/workflows/test.yml"
    assert publish["jobs"]["publish"]["needs"] == "test"
    built = jobs("test.yml")["image"]["steps"][-1]
    published = publish["jobs"]["publish"]["steps"][-1]
    assert published["uses"] == built["uses"]
    assert published["with"].items() > built["with"].items()
    assert built["with"] == {"context": ".", "platforms": "linux/amd64,linux/arm64"}


def test_only_the_job_that_publishes_may_write() -> None:
    may: dict[str, Any] = {}
    for workflow in WORKFLOWS:
        assert yaml.safe_load(workflow.read_text())["permissions"] == {}
        may |= {f"{workflow.stem} {name}": job["permissions"] for name, job in jobs(workflow.name).items()}
    assert may.pop("publish publish") == {"contents": "read", "packages": "write"}
    assert all(permissions == {"contents": "read"} for permissions in may.values())


def test_dependabot_keeps_everything_that_is_pinned_up_to_date() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    assert {update["package-ecosystem"] for update in updates} == {"pip", "docker", "github-actions"}
