"""The container's image and the files that start it: the Dockerfile is run, the others are parsed."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import hcl2
import yaml
from hcl2.utils import SerializationOptions
from sqlalchemy.engine import make_url

from sandbox.app_process import app_files
from sandbox.workspace import ANN
from settings import REQUIRED, Settings, load
from tests.requirements import needs
from tests.support.container import Container, needs_image
from tests.support.image import Image, instructions
from tests.support.steps import posted, request_of
from tests.support.world import GOOD, ROOT, eventually

BIN = str(Path(sys.executable).parent)
NOMAD = ROOT / "deploy" / "conveyor-for-slack.nomad.hcl"


@needs_image
def test_the_image_has_the_app_and_nothing_private(image: Image) -> None:
    inside = {str(path.relative_to(image.path("."))) for path in image.path(".").rglob("*") if path.is_file()}
    assert inside == {str(path.relative_to(ROOT)) for path in app_files()} | {"requirements.txt"}
    assert list(image.path("data").iterdir()) == []
    assert (image.volumes, image.ports, image.user) == (["/app/data"], [8080], "10001")


@needs_image
def test_the_image_does_the_main_job_and_writes_only_to_its_volume(container: Container) -> None:
    world = container.world
    world.start()
    card = posted(world)
    nowhere = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    assert container.execute(*container.image.health_check, environment=nowhere).returncode == 0
    assert world.slack.click(ANN, card.ts, "approve").status == 200
    world.shows(request_of(card), "approved")
    assert {path.stat().st_uid for path in container.volume.iterdir()} == {10001}
    assert (container.volume / "ledger.db").stat().st_mode & 0o777 == 0o600
    begun = time.monotonic()
    assert container.stop() == 0
    assert time.monotonic() - begun < 10, "Docker itself waits for ten seconds"
    assert container.execute(*container.image.health_check).returncode != 0
    world.start()
    world.shows(request_of(card), "approved")
    assert len(world.cards(request_of(card))) == 1


@needs_image
def test_only_the_volume_can_be_written(container: Container) -> None:
    folders = ["/", "/app", "/etc", "/venv", "/tmp", "/var/tmp", "/usr"]  # noqa: S108 - nothing can be written there
    script = f"""
import os, pathlib
print(os.getuid(), os.getpid())
for folder in {folders!r} + ["/app/data"]:
    try:
        pathlib.Path(folder, "made-up").write_text("")
        print(folder)
    except OSError:
        pass
"""
    done = container.execute("python", "-c", script)
    assert done.stdout.decode().splitlines() == ["10001 1", "/app/data"], done.stderr


@needs_image
def test_a_volume_of_root_is_told_with_the_command(container: Container) -> None:
    os.chown(container.volume, 0, 0)
    assert container.world.launch().wait(timeout=60) == 1
    assert "run this as root: chown 10001 /app/data\n" in container.world.log()
    assert "DATABASE_URL" not in container.world.log()
    os.chown(container.volume, 10001, 10001)
    container.world.start()


@needs_image
def test_a_long_queue_needs_no_temporary_files(container: Container) -> None:
    world = container.world
    for number in range(300):
        world.conveyor.ask(f"p{number}@acme.com", "x" * 20_000)
    world.start(POLL_SECONDS="0.2")
    eventually(lambda: world.ledger("SELECT count(*) FROM requests") == [(300,)], 60)
    group = world.conveyor.add_group("SOC 2 report")
    eventually(lambda: world.ledger("SELECT count(*) FROM access_groups") == [(1,)], 60)
    world.conveyor.rename_group(group, "SOC 2 report 2026")
    eventually(lambda: world.ledger("SELECT name FROM access_groups") == [("SOC 2 report 2026",)], 60)
    eventually(world.slack.cards)
    assert "level=ERROR" not in world.log()


@needs_image
def test_the_image_is_labeled(image: Image) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image.labels.items()}
    assert set(labels) == {"title", "description", "version", "licenses", "base.name"}
    base = dict(instructions((ROOT / "Dockerfile").read_text()))["FROM"].partition("@")[0]
    assert labels["base.name"] == f"docker.io/library/{base}"
    assert (ROOT / "LICENSE").read_text().startswith(labels["licenses"])


def test_every_file_in_deploy_runs_the_newest_release() -> None:
    newest = re.findall(r"^## (\d\S*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    files = [path.read_text() for path in (ROOT / "Dockerfile", *(ROOT / "deploy").iterdir())]
    images = re.findall(r"conveyor-for-slack:([^\s\"]+)|image.version=\"(.+?)\"", "".join(files))
    assert len(images) == 3
    assert {tag or label for tag, label in images} == {newest}


def test_the_dockerfile_is_linted() -> None:
    linted = subprocess.run([f"{BIN}/hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr


# Compose


def services() -> dict[str, Any]:
    """Return the services of compose.yaml, each with the part that they share."""
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"])


def test_compose_follows_its_schema() -> None:
    check = [f"{BIN}/check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    checked = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@needs("docker-compose")
def test_docker_compose_reads_the_file(tmp_path: Path) -> None:
    for name in ("compose.yaml", "Dockerfile"):
        shutil.copy(ROOT / name, tmp_path)
    (replicas,) = re.findall(r"^```ini\n(.*?)^```", (ROOT / "docs/operating.md").read_text(), re.M | re.S)
    filled = "".join(f"{name}={value}\n" for name, value in GOOD.items())
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text() + filled + replicas)
    command = ["docker-compose", "-f", "compose.yaml", "--profile", "replicas", "config"]
    read = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert read.returncode == 0, read.stderr
    found = yaml.safe_load(read.stdout)["services"]
    given = {"username": "POSTGRES_USER", "password": "POSTGRES_PASSWORD", "database": "POSTGRES_DB"}
    for name in ("app", "replica"):
        settings = load(found[name]["environment"])
        assert settings.port == 8080
        address = make_url(settings.database_url)
        assert address.host == "postgres"
        server = found["postgres"]["environment"]
        assert {part: getattr(address, part) for part in given} == {p: server[n] for p, n in given.items()}


def test_compose_runs_one_container_or_replicas() -> None:
    app, replica, postgres = (services()[name] for name in ("app", "replica", "postgres"))
    assert "profiles" not in app
    assert (replica["profiles"], postgres["profiles"]) == (["replicas"], ["replicas"])
    assert replica["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for one in (app, replica):
        assert one["read_only"]
        assert one["cap_drop"] == ["ALL"]
        # Both use the same ledger even without PostgreSQL, so that no request ever gets two cards.
        assert one["volumes"] == ["ledger:/app/data"]
        assert one["env_file"] == ".env"
    # Published on loopback only, since a proxy in front of them terminates TLS.
    assert [app["ports"], replica["ports"]] == [["127.0.0.1:8080:8080"], ["127.0.0.1:8081:8080"]]


# Nomad


def test_the_nomad_job_gives_the_app_what_it_needs() -> None:
    plain = SerializationOptions(strip_string_quotes=True, with_comments=False, explicit_blocks=False)
    job = hcl2.loads(NOMAD.read_text(), serialization_options=plain)
    (group,) = job["job"][0]["conveyor-for-slack"]["group"]
    group = group["app"]
    (task,) = group["task"]
    task = task["app"]
    (service,) = group["service"]
    (check,) = service["check"]
    (config,) = task["config"]
    assert (service["provider"], service["port"]) == ("consul", "http")
    assert (check["type"], check["path"]) == ("http", "/healthz")
    assert group["network"][0]["port"] == [{"http": {"to": 8080}}]
    assert config["ports"] == ["http"]
    assert config["image"] == "${var.image}"
    assert config["readonly_rootfs"] is True
    assert task["volume_mount"] == [{"volume": "ledger", "destination": "/app/data"}]
    assert group["volume"][0]["ledger"]["type"] == "host"
    template = task["template"][0]["data"]
    required = re.findall(r"^\s*(\w+)=\{\{ \.(\w+) \}\}$", template, re.MULTILINE)
    optional = re.findall(r"\{\{ with \.(\w+) \}\}(\w+)=\{\{ \. \}\}\{\{ end \}\}$", template, re.MULTILINE)
    assert all(name == key for name, key in required + optional)
    secrets = {name for name, _ in required + optional}
    # All secrets are there and nowhere else: those settings that no repr shows.
    assert secrets == {field.name.upper() for field in fields(Settings) if not field.repr}
    assert {name for name, _ in required} == {name for name in REQUIRED if name in secrets} - {
        "SLACK_SIGNING_SECRET"  # not needed with SLACK_APP_TOKEN
    }
    given = dict.fromkeys(secrets) | task["env"][0]
    # Besides the secrets the settings without a default, who may decide, and the port.
    assert set(task["env"][0]) == {*GOOD, "REVIEWERS", "PORT"} - secrets
    explained = re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert set(given) <= set(explained)
    variables = {name for variable in job["variable"] for name in variable}
    used = set(re.findall(r"var\.(\w+)", json.dumps(job)))
    assert used == variables
