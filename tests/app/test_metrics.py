"""GET /metrics and the alert rules: what Prometheus can read, that it is true, and that it names nobody."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ledger.ledger import Ledger
from ledger.states import State
from ledger.tables import TRAIL
from ledger.totals import BOUNDS, Total
from ledger.trail import line, log_event
from operations.metrics import PREFIX
from sandbox.workspace import ANN
from tests.proofs.replicas import Replicas
from tests.requirements import find, needs
from tests.support.launcher import BRISK
from tests.support.leaks import secrets_in
from tests.support.ledgers import new_ledger
from tests.support.steps import approved, posted, request_of, revoke
from tests.support.world import ROOT, World, eventually

RULES = ROOT / "deploy" / "alerts.yml"
Figures = dict[tuple[str, ...], float]


def read(world: World, accept: str = "") -> str:
    answer = requests.get(world.url + "/metrics", headers={"Accept": accept}, timeout=5)
    assert answer.status_code == 200
    return answer.text


def figures(world: World) -> Figures:
    """Return the figures by their name, without its prefix, and the values of their labels."""
    return {
        (sample.name.removeprefix(f"{PREFIX}_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(read(world))
        for sample in family.samples
    }


def reject(world: World, email: str) -> None:
    card = posted(world, email)
    world.slack.click(ANN, card.ts, "reject")
    world.slack.submit(ANN, values={"reason": "A competitor"})
    world.shows(request_of(card), "rejected")


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with closing(World(tmp_path_factory.mktemp("town"))) as made:
        yield made.start(METRICS="on")


def test_without_the_setting_there_is_no_such_page(world: World) -> None:
    world.start()
    assert requests.get(world.url + "/metrics", timeout=5).status_code == 404


def test_the_figures_say_what_happened(town: World) -> None:
    eventually(lambda: figures(town)["ready",])
    before = figures(town)
    revoke(town, ANN, approved(town))
    reject(town, "joe@rival.example")
    town.conveyor.fail("POST /exchange/authorizations", status=429)
    approved(town, "ann@late.example")
    waiting = posted(town, "kim@waiting.example")
    secret, town.slack.signing_secret = town.slack.signing_secret, "0" * 32
    assert town.slack.click(ANN, waiting.ts, "approve").status == 401
    town.slack.signing_secret = secret
    found = figures(town)
    added = {name: value - before[name] for name, value in found.items()}
    assert [added["decisions_total", end] for end in ("approved", "rejected", "revoked", "gone")] == [
        *(2, 1, 1, 0)
    ]
    assert [added["decision_seconds_count", end] for end in ("approved", "rejected")] == [2, 1]
    assert added["decision_seconds_bucket", "60", "approved"] == 2
    assert (found["requests_waiting",], found["decisions_under_way",]) == (1, 0)
    assert 0 < found["oldest_waiting_seconds",] < 60
    assert added["card_seconds_count",] == 4
    assert added["calls_total", "rate_limited", "Conveyor"] == 1
    assert added["refused_requests_total", "unsigned"] == 1
    assert (found["ready",], found["lease_held",]) == (1, 1)
    assert added["last_complete_poll_timestamp_seconds",] > 0
    assert added["calls_total", "ok", "Slack"] > 4
    assert added["process_cpu_seconds_total",] > 0


def test_calls_are_counted_as_they_ended(town: World) -> None:
    before = figures(town)
    town.slack.fail("chat.postMessage", status=503)
    town.slack.fail("chat.postMessage", body={"ok": False, "error": "msg_blocks_too_long"})
    town.conveyor.fail("GET /exchange/authorization_request_queue", drop="before")
    posted(town, "max@refused.example")
    kinds = ("failed", "Slack"), ("refused", "Slack"), ("failed", "Conveyor")
    eventually(
        lambda: all(figures(town)["calls_total", *kind] > before["calls_total", *kind] for kind in kinds)
    )


def test_a_card_that_was_hard_to_post_counts_once(town: World) -> None:
    before = figures(town)["card_seconds_count",]
    town.slack.fail("chat.postMessage", status=503)
    posted(town, "uma@later.example")
    assert figures(town)["card_seconds_count",] == before + 1
    town.slack.fail("chat.postMessage", drop="after")  # it is there, and found in the channel
    posted(town, "ida@found.example")
    eventually(lambda: figures(town)["card_seconds_count",] == before + 2)


def test_nothing_names_a_person_or_holds_a_secret(town: World) -> None:
    request_id = request_of(posted(town, "zoe@private.example", "Confidential words"))
    said = read(town)
    hidden = ("zoe", "private", "@", "Confidential", ANN, request_id, town.slack.channel_id)
    assert [word for word in hidden if word in said] + secrets_in(said) == []
    labels = {label for label in re.findall(r'="([^"]*)"', said) if not re.fullmatch(r"[\d.]+|\+Inf", label)}
    assert all(re.fullmatch("[a-z_]+|Slack|Slack for clicks|Conveyor", label) for label in labels), labels


def test_prometheus_may_ask_for_another_format(town: World) -> None:
    said = read(town, "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert said.endswith("# EOF\n")
    assert requests.post(town.url + "/metrics", timeout=5).status_code == 405


def test_without_the_ledger_the_process_still_says_how_it_is(world: World) -> None:
    world.start(METRICS="on")
    eventually(lambda: figures(world)["ready",])
    world.ledger("ALTER TABLE lease RENAME TO hidden")
    found = figures(world)
    assert found["ready",] == 0
    assert ("requests_waiting",) not in found
    assert ("calls_total", "ok", "Slack") in found
    world.ledger("ALTER TABLE hidden RENAME TO lease")
    eventually(lambda: figures(world).get(("requests_waiting",)) == 0)


def test_a_socket_that_is_not_open_is_seen(tmp_path: Path) -> None:
    with closing(World(tmp_path, by_socket=True)) as world:
        world.start(METRICS="on")
        assert figures(world)["socket_open",] == 1
        world.slack.fail("apps.connections.open", times=None, status=503)
        world.slack.link.drop()
        eventually(lambda: figures(world)["socket_open",] == 0)


def test_every_process_says_the_same_about_the_service(tmp_path: Path) -> None:
    replicas = Replicas(tmp_path, f"sqlite:///{tmp_path}/ledger/ledger.db", 2, BRISK)
    with closing(replicas):
        for each in replicas.each:
            each.settings["METRICS"] = "on"
        replicas.start()
        world = replicas.world
        eventually(replicas.owner)
        reject(world, "joe@rival.example")
        approved(world)
        posted(world, "kim@waiting.example")

        def service(replica: World) -> Figures:
            about = ("requests_waiting", "decisions_under_way", "decisions_total", "decision_seconds")
            return {name: value for name, value in figures(replica).items() if name[0].startswith(about)}

        one, other = (service(replica) for replica in replicas.each)
        assert one == other
        assert (one["decisions_total", "approved"], one["decisions_total", "rejected"]) == (1, 1)
        assert sum(figures(replica)["lease_held",] for replica in replicas.each) == 1
        assert sum(figures(replica)["card_seconds_count",] for replica in replicas.each) == 3
        replicas.each[0].kill()
        replicas.each[0].launch()
        eventually(replicas.each[0].serves, 40)
        assert service(replicas.each[0]) == service(replicas.each[1]) == one


# The ledger


def test_the_totals_count_each_line_once_also_one_that_comes_late(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.totals.RECENT", 3)
    monkeypatch.setattr("ledger.totals.AT_ONCE", 2)
    ledger = new_ledger(database_url)
    totals = ledger.totals
    assert totals.since_the_start()[State.GONE] == Total(0, 0, [0] * (len(BOUNDS) + 1))
    for number in range(10):
        with ledger.database.write() as db:
            log_event(db, 1.0, State.APPROVED, f"r{number}", waited=59.6 + number * 3600)
            log_event(db, 1.0, State.APPROVING, f"r{number}")
        assert totals.since_the_start()[State.APPROVED].count == number + 1
    with ledger.database.write() as db:  # as a transaction of PostgreSQL that ends after a later one
        db.execute(TRAIL.insert().values(**line(1.0, State.REJECTED, "r", 1), number=30))
    assert totals.since_the_start()[State.REJECTED].count == 1
    with ledger.database.write() as db:
        db.execute(TRAIL.insert().values(**line(1.0, State.REJECTED, "q", 1, waited=5.0), number=29))
    found = totals.since_the_start()
    assert (found[State.REJECTED].count, found[State.REJECTED].waited) == (2, 5)
    assert found[State.APPROVED].waited == sum(60 + number * 3600 for number in range(10))
    assert found[State.APPROVED].within[0] == 1
    assert found[State.APPROVED].within[-1] == 10
    ledger.database.close()
    again = Ledger(database_url)
    assert again.totals.since_the_start() == found
    again.database.close()


# The alert rules and the docs


def test_the_docs_list_every_figure_and_every_alert(town: World) -> None:
    (page,) = re.findall(
        r"^## Metrics and alerts\n(.*?)^## ",
        (ROOT / "docs/operating.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    listed = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    given = set(re.findall(rf"^# TYPE {PREFIX}_(\w+)", read(town), re.MULTILINE)) | {"socket_open"}
    names = {alert["alert"].removeprefix("ConveyorForSlack") for alert in alerts()}
    assert listed == given | names
    for alert in alerts():
        row = f"| `{alert['alert'].removeprefix('ConveyorForSlack')}` | {alert['labels']['severity']} |"
        assert row in page
        used = set(re.findall(rf"{PREFIX}_(\w+)", alert["expr"]))
        assert {re.sub("_(bucket|sum|count)$", "", name) for name in used} <= given


def promtool(*arguments: str, given: str = "") -> str:
    program = find("promtool")
    assert program, "promtool is not installed: see tests/requirements.py"
    done = subprocess.run([program, *arguments], input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs("promtool")
def test_prometheus_accepts_the_rules_and_the_figures(town: World) -> None:
    assert f"SUCCESS: {len(alerts())} rules found" in promtool("check", "rules", str(RULES))
    assert promtool("check", "metrics", given=read(town)) == ""


@needs("promtool")
@pytest.mark.parametrize("is_well", [True, False])
def test_each_alert_fires_only_if_something_is_wrong(is_well: bool, tmp_path: Path) -> None:
    """The figures of four hours, a minute apart: the first value, and by how much each next one is higher."""
    series = {
        "up{}": ("1+0", "0+0"),
        "ready{}": ("1+0", "0+0"),
        "lease_held{}": ("1+0", "0+0"),
        "last_complete_poll_timestamp_seconds{}": ("0+60", "0+0"),
        "decisions_under_way{}": ("0 1 0+0", "1+0"),
        "process_start_time_seconds{}": ("5+0", "0+60"),
        "oldest_waiting_seconds{}": ("86400+60", "300000+60"),
        'card_seconds_bucket{le="300.0"}': ("0+9", "0+5"),
        'card_seconds_bucket{le="900.0"}': ("0+9", "0+9"),
        'card_seconds_bucket{le="+Inf"}': ("0+9", "0+9"),
        'calls_total{service="Slack",outcome="ok"}': ("0+90", "0+5"),
        'calls_total{service="Slack",outcome="failed"}': ("0+1", "0+5"),
        'calls_total{service="Slack",outcome="rate_limited"}': ("0+0", "0+5"),
        'refused_requests_total{why="unsigned"}': ("0+0", "0+5"),
    }
    labeled = {
        (name if name.startswith(("up", "process")) else f"{PREFIX}_{name}").replace(
            "{", '{job="conveyor-for-slack",instance="a:8080",'
        ): values[0 if is_well else 1] + "x240"
        for name, values in series.items()
    }
    firing = [{"labels": f'{{alertname="{each["alert"]}"}}', "value": 1} for each in alerts()]
    expected = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": "4h",
        "exp_samples": [] if is_well else firing,
    }
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in labeled.items()],
        "promql_expr_test": [expected],
    }
    written = tmp_path / "alerts.test.yml"
    written.write_text(
        yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]})
    )
    promtool("test", "rules", str(written))
