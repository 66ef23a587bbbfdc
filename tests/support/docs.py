"""The commands that README.md and docs/ tell people to type."""

import re
from dataclasses import dataclass

from tests.support.world import ROOT

PAGES = ["README.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The kinds of blocks that show something; nobody types them.
SHOWN = ("text", "ini")
# Commands that cannot be run here, and why. A test checks what they name all the same.
NOT_RUN = {
    "docker": "it needs an engine; tests/app/test_containers.py runs the Dockerfile and parses compose.yaml",
    "nomad": "it needs a cluster; tests/app/test_containers.py parses the job",
    "systemctl": "it needs a machine that systemd runs; tests/app/test_docs.py verifies the unit",
    "kubectl": "it needs a cluster; tests/app/test_kubernetes.py checks the manifest against its schema",
    "make test": "it is what runs these tests",
}


@dataclass(frozen=True)
class Place:
    page: str
    heading: str


def commands() -> dict[Place, list[str]]:
    """Return the lines to type under each heading, in their order."""
    found: dict[Place, list[str]] = {}
    for page in PAGES:
        text = (ROOT / page).read_text()
        for section in re.split(r"^(?=##? )", text, flags=re.MULTILINE):
            heading = section.partition("\n")[0].lstrip("# ")
            for kind, block in FENCE.findall(section):
                assert kind in ("sh", *SHOWN), f"{page}, {heading}: what is typed is a block of kind sh"
                if kind == "sh":
                    found.setdefault(Place(page, heading), []).extend(block.splitlines())
    return found


def is_run(line: str) -> bool:
    """Return whether the tests run this line."""
    return not any(line.startswith(f"{program} ") or line == program for program in NOT_RUN)


def script(page: str, heading: str) -> str:
    """Return those commands under a heading that can be run here, as a script for a shell."""
    return "\n".join(filter(is_run, commands()[Place(page, heading)]))
