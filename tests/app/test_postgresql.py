"""PostgreSQL that falls silent, stands behind a pooler, takes no writes, or is not what the app needs."""

import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import requests
from sqlalchemy.engine import make_url

import blocks
from sandbox.workspace import ANN
from tests.requirements import needs
from tests.support.pgbouncer import Pgbouncer
from tests.support.postgres import Postgres, program
from tests.support.relay import Relay
from tests.support.steps import clickable, posted, request_of, run
from tests.support.world import COMMAND, World, eventually

pytestmark = needs("initdb")
CLICK_SECONDS = 3.0  # Slack waits no longer


def by_way_of(port: int, database_url: str) -> str:
    """Return the address of this database on another port of this machine."""
    url = make_url(database_url).set(port=port)
    return url.render_as_string(hide_password=False).replace("+psycopg", "")


def in_database(database_url: str, *statements: str) -> None:
    """Run these statements in this database as the server's administrator."""
    address = database_url.replace("+psycopg", "")
    for statement in statements:
        subprocess.run([program("psql"), "-q", "-v", "ON_ERROR_STOP=1", address, "-c", statement], check=True)


def reasons(world: World) -> list[str]:
    found: list[str] = requests.get(world.url + "/readyz", timeout=10).json()["reasons"]
    return found


def refused(world: World, seconds: float = 40) -> str:
    """Check that the app does not start and that `check` says the same; return the sentence."""
    (finding,) = [line for line in run(world, "check")[1].splitlines() if line[2:].startswith("Ledger")]
    assert finding.startswith("✗"), finding
    assert world.launch().wait(timeout=seconds) == 1
    assert "Traceback" not in world.log()
    (said,) = [line for line in world.log().splitlines() if "The app cannot start: " in line]
    cause = said.partition("The app cannot start: ")[2].removeprefix("the ledger failed: ")
    assert cause in finding
    return cause


@pytest.fixture
def relay(postgres: Postgres) -> Iterator[Relay]:
    made = Relay(postgres.port)
    yield made
    made.stop()


def threads_of(world: World) -> int:
    """Return how many threads the app's processes have."""
    assert world.process
    group = str(world.process.pid)
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat")]
    # What follows the name in brackets: state, parent, process group, and as the 18th the threads.
    rest = [stat.rpartition(")")[2].split() for stat in stats]
    return sum(int(fields[17]) for fields in rest if fields[2] == group)


# Silence


@pytest.mark.long
@pytest.mark.parametrize("is_silent", [False, True], ids=["another server answers", "nobody answers"])
def test_a_server_that_falls_silent_holds_up_no_click_and_the_work_goes_on(
    world: World, postgres: Postgres, relay: Relay, is_silent: bool
) -> None:
    """This uses the real waits. What is sent over the old connections is received, and never answered."""
    world.settings["DATABASE_URL"] = by_way_of(relay.port, postgres.new_database())
    world.waits = {}
    world.start()
    card = posted(world)
    threads = threads_of(world)
    relay.is_silent = is_silent
    relay.freeze()
    frozen_at = time.monotonic()
    while is_silent and time.monotonic() < frozen_at + 12:
        began = time.monotonic()
        assert world.slack.click(ANN, card.ts, "approve").status == 200
        assert time.monotonic() - began < CLICK_SECONDS
        for _ in range(3):
            world.slack.click(ANN, card.ts, "approve")
        if eventually(lambda: "ledger=failing" in world.log()):
            assert [reason[:8] for reason in reasons(world)] == ["Ledger: "]
    # What was given up ends as well, and leaves neither a thread nor a socket behind.
    eventually(lambda: threads_of(world) < threads + 15, 8)
    relay.is_silent = False
    back_at = time.monotonic()
    began = time.monotonic()
    assert world.slack.click(ANN, card.ts, "approve").status == 200
    assert time.monotonic() - began < CLICK_SECONDS
    late = world.conveyor.ask("late@acme.com")
    world.shows(late, "pending", seconds=30)
    assert time.monotonic() - back_at < 30
    if world.ledger("SELECT state FROM requests WHERE id != '" + late + "'") == [("pending",)]:
        world.told(ANN, blocks.LEDGER_BUSY)
        world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")
    eventually(lambda: world.readiness()[0] == 200)
    assert world.log().count("ledger=failing") == world.log().count("ledger=well") <= 2
    assert requests.get(world.url + "/healthz", timeout=5).status_code == 200


def test_a_start_and_a_check_end_where_a_server_says_nothing(world: World) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        world.settings["DATABASE_URL"] = f"postgresql://app@127.0.0.1:{silent.getsockname()[1]}/ledger"
        began = time.monotonic()
        assert refused(world) == "its host does not answer. Check DATABASE_URL."
        assert time.monotonic() - began < 30


# Poolers


@needs("pgbouncer")
@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_the_app_works_behind_pgbouncer(world: World, postgres: Postgres, mode: str) -> None:
    with closing(Pgbouncer(postgres, mode)) as pooler:
        world.settings["DATABASE_URL"] = by_way_of(pooler.port, postgres.new_database())
        said = run(world, "check")[1]
        assert "✓ Ledger: PostgreSQL can be read and written." in said
        for _ in range(2):
            world.start()
            ids = [world.conveyor.ask(f"jane{number}@acme.com") for number in range(8)]
            cards = [clickable(world, request_id) for request_id in ids]
            with ThreadPoolExecutor(len(cards)) as pool:
                list(pool.map(lambda card: world.slack.click(ANN, card.ts, "approve"), cards))
            for request_id in ids:
                world.shows(request_id, "approved", seconds=40)
            assert world.stop() == 0
        assert "level=ERROR" not in world.log()
        # Newer ones pass on a few options, and this is none of them.
        world.settings["DATABASE_URL"] += "?options=-cwork_mem%3D9999"
        assert refused(world).startswith("pgbouncer does not take what stands after `options=`")


# What does not fit


def test_without_libpq_sqlite_works_and_postgresql_is_refused(world: World, postgres: Postgres) -> None:
    (world.folder / "psycopg_binary.py").write_text("raise ImportError")
    without = {"PYTHONPATH": str(world.folder), "PSYCOPG_IMPL": "binary"}
    world.command = COMMAND
    world.start(**without)
    clickable(world, world.conveyor.ask("jane@acme.com", "x"))
    world.stop()
    world.settings |= {"DATABASE_URL": postgres.new_database().replace("+psycopg", ""), **without}
    assert world.launch().wait(timeout=40) == 1
    said = "PostgreSQL's library libpq is not installed. On Debian: apt-get install libpq5."
    assert world.log().endswith(f"The app cannot start: the ledger failed: {said}\n")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_an_encoding_that_cannot_hold_every_script_is_refused(
    world: World, postgres: Postgres, encoding: str
) -> None:
    name = f"in_{encoding.lower()}"
    postgres.run(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0")
    world.settings["DATABASE_URL"] = f"postgresql://app@127.0.0.1:{postgres.port}/{name}"
    assert refused(world).startswith(f"the database has the encoding {encoding}, which cannot hold what")


def test_rights_are_asked_for_at_the_start_as_in_check(world: World, postgres: Postgres) -> None:
    database = postgres.new_database()
    postgres.run("CREATE ROLE weak LOGIN")
    owners = database.replace("+psycopg", "")
    world.settings["DATABASE_URL"] = owners.replace("app@", "weak@")
    assert refused(world).startswith("its user may not make and write tables there.")
    world.start(DATABASE_URL=owners)
    world.stop()
    most = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO weak"
    for grant, lacking in (
        ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO weak", "the table access_groups"),
        (most, "the table notes"),  # their numbers come from a sequence
    ):
        in_database(database, grant)
        world.log_file.unlink()
        assert f"may not do all that is needed with {lacking}" in refused(world)
    in_database(database, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO weak")
    world.start()


def test_what_the_operator_wrote_is_kept(world: World, postgres: Postgres) -> None:
    database = postgres.new_database()
    in_database(database, "CREATE SCHEMA mine")
    options = (
        "?options=-csearch_path%3Dmine%20-cstatement_timeout%3D1234&application_name=trust&connect_timeout=4"
    )
    world.settings["DATABASE_URL"] = database.replace("+psycopg", "") + options
    world.start()
    posted(world)
    tables = "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name = 'requests'"
    assert world.ledger(tables) == [("mine",)]
    assert postgres.run("SELECT 1 FROM pg_stat_activity WHERE application_name = 'trust'")


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("hidden", "knows no such database or user"),
        ("postgres?user=hidden", "knows no such database or user"),
        ("postgres?hidden=hidden", "unknown or has a wrong value"),
        ("postgres?sslmode=hidden", "unknown or has a wrong value"),
        ("postgres?options=-chidden%3D1", "unknown or has a wrong value"),
        ("postgres?host=hidden.invalid", "its host was not found"),
        ("postgres?connect_timeout=hidden", "unknown or has a wrong value"),
        ("postgres?connect_timeout=3&connect_timeout=hidden", "unknown or has a wrong value"),
        ("postgres?port=hidden", "cannot be read"),
    ],
)
def test_no_part_of_the_address_is_printed(world: World, postgres: Postgres, rest: str, words: str) -> None:
    world.settings["DATABASE_URL"] = f"postgresql://app@127.0.0.1:{postgres.port}/{rest}"
    assert words in refused(world)
    assert "hidden" not in world.log() + run(world, "check")[1]


# Without writes


def test_a_server_that_takes_no_writes_is_a_reason_at_once(world: World, postgres: Postgres) -> None:
    database = postgres.new_database()
    world.settings["DATABASE_URL"] = database.replace("+psycopg", "")
    world.start()
    card = posted(world)
    name = database.rpartition("/")[2]
    postgres.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    eventually(lambda: reasons(world) == ["Ledger: the ledger failed: the server takes no writes."], 8)
    world.slack.click(ANN, card.ts, "approve")
    world.told(ANN, blocks.LEDGER_BUSY)
    postgres.run(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    eventually(lambda: reasons(world) == [], 20)
    world.slack.click(ANN, card.ts, "approve")
    world.shows(request_of(card), "approved")
