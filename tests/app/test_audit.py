"""The audit trail as an auditor reads it, as a log shipper follows it, and as a nightly alarm compares it."""

import csv
import io
import json
import os
import signal
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from sandbox.workspace import ANN, BOB
from tests.requirements import needs
from tests.support.postgres import Postgres
from tests.support.steps import approved, clickable, day, offered, posted, request_of, revoke, run
from tests.support.world import COMMAND, ROOT, World, eventually

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()


def exported(world: World, request_id: str, format: str = "json") -> dict[str, dict[str, Any]]:
    """Return the lines of the trail about this request, by event."""
    status, said = run(world, "audit", "export", "--format", format)
    assert status == 0
    lines = json.loads(said) if format == "json" else list(csv.DictReader(io.StringIO(said)))
    return {line["event"]: line for line in lines if line["request"] == request_id}


class Follower:
    """`audit follow` in a process of its own."""

    def __init__(self, world: World, *options: str) -> None:
        self._said, self._told = world.folder / "followed", world.folder / "told"
        command = [*COMMAND, "audit", "follow", "--format", "json", *options]
        with self._said.open("wb") as said, self._told.open("wb") as told:
            self.process = subprocess.Popen(
                command, env=world.environment(), cwd=ROOT, stdout=said, stderr=told
            )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._said.read_text().splitlines()]

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send a signal; return the exit status and what was told on standard error."""
        self.process.send_signal(number)
        return self.process.wait(30), self._told.read_text()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(30)


def test_each_line_of_a_decision_says_everything(world: World) -> None:
    world.start()
    groups = offered(world, "room-1", ["SOC 2 report", "Penetration test"])
    card = posted(world)
    request_id = request_of(card)
    world.slack.click(ANN, card.ts, "options", choose={"groups": groups})
    world.slack.submit(ANN, values={"groups": groups, "nda": ["nda"], "ends": "90", "reason": "=1+1"})
    card = world.shows(request_id, "approved")
    revoke(world, BOB, card, "Left the company")
    world.shows(request_id, "revoked")
    lines = exported(world, request_id)
    for event in ("approving", "approved"):
        line = lines[event]
        assert {group["name"] for group in line["groups"]} == {"SOC 2 report", "Penetration test"}
        assert (line["decision"], line["person"], line["reason"]) == ("approve", ANN, "=1+1")
        assert (line["nda_skipped"], line["access_ends"]) == (True, day(90))
    assert lines["approved"]["waited_seconds"] > 0
    revoked = lines["revoked"]
    assert (revoked["decision"], revoked["person"], revoked["reason"]) == ("revoke", BOB, "Left the company")
    assert (revoked["groups"], revoked["nda_skipped"], revoked["note"]) == (None, None, "")
    cells = exported(world, request_id, "csv")["approved"]
    assert set(cells["groups"].split("; ")) == {"SOC 2 report", "Penetration test"}
    assert (cells["reason"], cells["nda_skipped"], cells["access_ends"]) == ("'=1+1", "yes", day(90))
    assert not any("[" in cell or "{" in cell for cell in cells.values())


def test_basic_access_is_not_nothing(world: World) -> None:
    world.start()
    request_id = request_of(approved(world))
    assert exported(world, request_id)["approved"]["groups"] == []
    line = exported(world, request_id, "csv")["approved"]
    assert (line["groups"], line["nda_skipped"]) == ("basic access only", "no")


def test_a_follower_gets_each_new_line_and_goes_on_where_it_stopped(world: World) -> None:
    world.start()
    first = request_of(posted(world, "jürgen@мир.example"))
    with closing(Follower(world, "--after", "0")) as follower:
        eventually(lambda: first in [line["request"] for line in follower.lines()], 60)
        second = request_of(approved(world))
        eventually(lambda: [line for line in follower.lines() if line["event"] == "approved"])
        lines = follower.lines()
        assert [line["number"] for line in lines] == list(range(1, len(lines) + 1))
        assert lines[-1]["request"] == second
        status, told = follower.stop()
        assert (status, told) == (0, f"To continue, use --after {lines[-1]['number']}\n")
    third = request_of(posted(world, "third@acme.com"))
    with closing(Follower(world, "--after", str(lines[-1]["number"]))) as follower:
        eventually(lambda: third in [line["request"] for line in follower.lines()], 60)
        assert follower.lines()[0]["number"] == lines[-1]["number"] + 1
        assert follower.stop(signal.SIGTERM)[0] == 0
    status, told = run(world, "audit", "follow", "--after", "999999")
    assert status == 1
    assert "before 999999" in told


@pytest.mark.parametrize("out", ["gone", "full"])
def test_a_follower_whose_output_ends_says_how_to_go_on(world: World, out: str) -> None:
    world.start()
    posted(world)
    end, given = os.pipe()
    os.close(end)
    if out == "full":
        os.close(given)
        given = os.open("/dev/full", os.O_WRONLY)
    command = [*COMMAND, "audit", "follow", "--after", "0"]
    done = subprocess.run(
        command, env=world.environment(), cwd=ROOT, stdout=given, stderr=subprocess.PIPE, timeout=60
    )
    os.close(given)
    told = done.stderr.decode()
    assert done.returncode == 1
    assert told.startswith("To continue, use --after 0\n")
    assert ("No space left" in told) == (out == "full")
    assert "Traceback" not in told
    assert "Exception" not in told


@needs("initdb")
def test_a_line_that_is_committed_late_is_not_passed_over(world: World, postgres: Postgres) -> None:
    world.settings["DATABASE_URL"] = postgres.new_database().replace("+psycopg", "")
    world.start()
    posted(world)
    add = text(
        "INSERT INTO trail (at, event, request_id, round, person_id, person_email, detail) "
        "VALUES (0, :event, '', 0, '', '', '')"
    )
    engine = create_engine(world.settings["DATABASE_URL"].replace("postgresql", "postgresql+psycopg"))
    with (
        closing(Follower(world, "--after", "0")) as follower,
        engine.connect() as slow,
        engine.connect() as quick,
    ):
        slow.execute(add, {"event": "slow"})
        quick.execute(add, {"event": "quick"})
        quick.commit()
        eventually(lambda: [line for line in follower.lines() if line["event"] == "asked"], 60)
        assert "quick" not in [line["event"] for line in follower.lines()]
        slow.commit()
        eventually(lambda: [line for line in follower.lines() if line["event"] == "quick"])
        events = [line["event"] for line in follower.lines()]
        assert events.index("slow") + 1 == events.index("quick")
        slow.execute(add, {"event": "never"})
        slow.rollback()
        quick.execute(add, {"event": "later"})
        quick.commit()
        eventually(lambda: [line for line in follower.lines() if line["event"] == "later"], 30)
    engine.dispose()


def test_what_is_older_than_the_baseline_raises_no_alarm(world: World) -> None:
    world.start()
    let_in, turned_down = request_of(approved(world)), request_of(posted(world, "joe@rival.example"))
    world.slack.click(BOB, clickable(world, turned_down).ts, "reject")
    world.slack.submit(BOB, values={"reason": "A rival"})
    world.shows(turned_down, "rejected")
    world.stop()
    world.conveyor.approve_here(world.conveyor.ask("eve@elsewhere.example", "x"))
    world.conveyor.ask_again(turned_down)
    grant = next(g for g in world.conveyor.authorizations.values() if g["email"] == "jane@acme.com")
    world.conveyor.revoke_here(grant["id"])
    assert run(world, "audit", "reconcile")[1].endswith("3 differences.\n")
    assert run(world, "audit", "reconcile", "--since", "2020-01-01")[1].endswith("3 differences.\n")
    said = f"Not compared: 3 customers whose access or decision is from before {TOMORROW}.\n"
    agree = "Conveyor and the ledger agree.\n"
    assert run(world, "audit", "reconcile", "--since", TOMORROW) == (0, said + agree)
    grant["updated_at"] = f"{day(2)}T00:00:00Z"  # somebody took the access back after the baseline
    status, said = run(world, "audit", "reconcile", "--since", TOMORROW)
    assert status == 1
    assert f"jane@acme.com was approved here ({let_in}), but has no access in Conveyor.\n" in said
    assert said.endswith("1 difference.\n")
