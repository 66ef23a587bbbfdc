"""`python app.py check`: what it finds, what it keeps to itself, and that it changes nothing."""

import os
import re
import socket
import ssl
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import POSTGRESQL_SAYS
from operations import check_slack
from operations.check import COMPANIES, DOCUMENTS, QUEUE
from operations.check_ledger import AS_ROOT
from operations.check_people import BARS
from operations.health import EVERYBODY_MAY_DECIDE
from sandbox.stand_in import QuietHandler
from sandbox.workspace import ANN, BOB, GUS, manifest_scopes
from tests.requirements import needs
from tests.support.certificates import certify, server_context
from tests.support.container import Container, needs_image
from tests.support.postgres import Postgres
from tests.support.raw_peer import RawPeer, saying
from tests.support.steps import posted, run
from tests.support.world import COMMAND, ROOT, World
from workspace.channel import ORG_WIDE
from workspace.reviewers import Bar

EVERY_KIND = f"{ANN},bob@harbor.example,@harbor.example,S0SEC"
BOUND = ["bwrap", "--dev-bind", "/", "/"]
# The user 10001, to whom the files of root seem to be its own, and those of others to be nobody's. Slack's
# library wants a home.
AS_10001 = [*BOUND, "--unshare-user", "--uid", "10001", "--gid", "10001", "--setenv", "HOME", "/"]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="it gives files to other users")


def lines_of(said: str, part: str = "") -> list[str]:
    """The findings about this part, without the line that counts them."""
    return [line for line in said.splitlines()[:-1] if line[2:].startswith(part)]


def problems(said: str) -> list[str]:
    return [line for line in lines_of(said) if line.startswith("✗")]


def test_a_sound_world_is_found_sound_and_left_as_it_is(world: World) -> None:
    world.slack.channels[world.slack.channel_id].is_private = True
    world.slack.user_groups["S0SEC"] = {"handle": "security", "users": [BOB]}
    reviewers = f"{ANN},bob@harbor.example,@harbor.example,S0SEC"
    status, said = run(world, "check", REVIEWERS=reviewers, SLACK_APP_TOKEN=world.slack.app_token)
    assert status == 0, said
    *lines, last = said.splitlines()
    assert {line[0] for line in lines} == {"✓"}
    assert [int(number) for number in re.findall(r"\d+", last)] == [len(lines), 0, 0]
    parts = ("Settings", "Ledger", "Slack", "Clock", "Channel", "Reviewers", "Socket", "Words", "Conveyor")
    assert list(dict.fromkeys(line[2:].partition(":")[0] for line in lines)) == list(parts)
    for data in (str(world.database), "#trust-requests", "Bob Brown", "approve", "reject", "revoke"):
        assert data in said, said
    assert not world.database.exists()
    assert not world.slack.messages
    assert not any(decision.effective for decision in world.conveyor.decisions)


def lock_out(world: World) -> None:
    world.slack.channels[world.slack.channel_id].is_member = False


def archive(world: World) -> None:
    world.slack.channels[world.slack.channel_id].is_archived = True


def share(world: World) -> None:
    world.slack.channels[world.slack.channel_id].is_ext_shared = True


def open_ledger(world: World) -> None:
    world.start()
    assert stat.S_IMODE(world.database.stat().st_mode) == 0o600
    world.database.chmod(0o644)


@pytest.mark.parametrize(
    ("change", "settings", "mark", "words"),
    [
        (None, {"CONVEYOR_KEY": "", "PORT": "x"}, "✗", "Settings: PORT "),
        (open_ledger, {}, "✗", "chmod 600"),
        (None, {"DATABASE_URL": "sqlite:////etc/hostname/ledger.db"}, "✗", "/etc/hostname"),
        (None, {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}, "✗", "DATABASE_URL"),
        (None, {"SLACK_BOT_TOKEN": "xoxb-wrong"}, "✗", "invalid_auth"),
        (lambda world: world.slack.scopes.discard("commands"), {}, "✗", "scope commands"),
        (lambda world: world.slack.scopes.add("files:write"), {}, "!", "files:write"),
        (lambda world: world.slack.fail("*", times=None, status=503), {}, "✗", "Slack: auth.test"),
        (None, {"SLACK_CHANNEL_ID": "C0NOWHERE"}, "✗", "channel_not_found"),
        (lock_out, {}, "✗", "/invite @Conveyor"),
        (archive, {}, "✗", "archived"),
        (None, {}, "!", "public"),
        (share, {}, "!", "shared"),
        (None, {"REVIEWERS": ""}, "!", EVERYBODY_MAY_DECIDE),
        (None, {"REVIEWERS": GUS}, "✗", BARS[Bar.GUEST]),
        (None, {"REVIEWERS": "nobody@harbor.example"}, "✗", "nobody@harbor.example (users_not_found)"),
        (None, {"REVIEWERS": "S0NONE"}, "✗", "S0NONE (no_such_subteam)"),
        (None, {"SLACK_APP_TOKEN": "xapp-wrong"}, "✗", "SLACK_APP_TOKEN"),
        (None, {"CONVEYOR_KEY": "wrong"}, "✗", "Conveyor: CONVEYOR_KEY"),
        (lambda world: world.conveyor.key_forbids.add("PATCH *"), {}, "✗", "revoke"),
        (lambda world: world.slack.stop(), {}, "✗", "Slack: no answer from http"),
        (lambda world: world.conveyor.stop(), {}, "✗", QUEUE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_with_how_to_fix_it(
    world: World, change: Any, settings: dict[str, str], mark: str, words: str
) -> None:
    if change:
        change(world)
    status, said = run(world, "check", **settings)
    assert any(line.startswith(mark) and words in line for line in said.splitlines()), said
    assert status == (1 if "✗" in {line[0] for line in said.splitlines()} else 0)
    assert "Traceback" not in said
    secrets = (world.conveyor.api_key, world.slack.bot_token, world.slack.signing_secret)
    assert not any(secret in said for secret in secrets)


@pytest.mark.parametrize(("off", "mark", "words"), [(3600, "✗", "+360"), (60, "!", "+6")])
def test_a_wrong_clock_is_seen(
    world: World, monkeypatch: pytest.MonkeyPatch, off: int, mark: str, words: str
) -> None:
    def date(handler: QuietHandler, timestamp: float | None = None) -> str:
        return formatdate(time.time() - off, usegmt=True)

    monkeypatch.setattr(QuietHandler, "date_time_string", date)
    said = run(world, "check")[1]
    assert any(line.startswith(f"{mark} Clock: ") and words in line for line in said.splitlines()), said


def test_check_knows_the_scopes_of_the_manifest() -> None:
    assert set(check_slack.SCOPES) == set(manifest_scopes())
    assert set(manifest_scopes("bot_optional")) == check_slack.OPTIONAL


def test_a_password_in_a_wrong_place_is_not_repeated(world: World) -> None:
    status, said = run(world, "check", DATABASE_URL="postgres://conveyor:secret-word/ledger")
    assert status == 1
    assert "DATABASE_URL" in said
    assert "secret-word" not in said
    assert "Traceback" not in said


def test_the_last_line_counts(world: World) -> None:
    world.slack.scopes.discard("commands")
    said = run(world, "check")[1]
    *lines, last = said.splitlines()
    marks = [line[0] for line in lines]
    assert (marks.count("!"), marks.count("✗")) == (2, 1)  # the signing secret; the channel is public
    assert [int(number) for number in re.findall(r"\d+", last)] == [marks.count("✓"), 2, 1]


# The ledger


def check_as(world: World, *entered: str) -> str:
    """What check says as this child process."""
    command = [*entered, *COMMAND, "check"]
    done = subprocess.run(
        command, env=world.environment(), cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_every_line_is_said_in_any_terminal(world: World, encoding: str) -> None:
    world.slack.users[BOB].name = "Бо́б"
    environment = world.environment(PYTHONIOENCODING=encoding)
    whole = run(world, "check")[1]
    done = subprocess.run(
        [*COMMAND, "check"], env=environment, cwd=ROOT, capture_output=True, encoding=encoding, timeout=60
    )
    assert "Traceback" not in done.stderr
    assert done.stdout == whole.encode(encoding, "backslashreplace").decode(encoding)


@pytest.fixture
def used(world: World) -> World:
    """A world whose app ran, so that there is a ledger."""
    world.start()
    posted(world)
    world.stop()
    return world


def files_of(world: World) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in world.database.parent.iterdir()}


def test_a_ledger_in_use_is_found_sound_and_left_as_it_is(world: World) -> None:
    world.start()
    posted(world)
    before = world.ledger("SELECT * FROM requests")
    status, said = run(world, "check")
    assert status == 0, said
    (line,) = lines_of(said, "Ledger")
    assert line.startswith(f"✓ Ledger: {world.database} ")
    assert world.ledger("SELECT * FROM requests") == before
    world.stop()
    kept = files_of(world)
    assert lines_of(run(world, "check")[1], "Ledger")[0].startswith("✓")
    assert files_of(world) == kept


@pytest.mark.parametrize("mode", [0o400, 0o200])
def test_a_ledger_that_its_owner_cannot_write_is_found(used: World, mode: int) -> None:
    used.database.chmod(mode)
    (line,) = lines_of(run(used, "check")[1], "Ledger")
    assert line.startswith("✗")
    assert line.endswith(f": chmod 600 {used.database}")


@needs("bwrap")
def test_a_ledger_on_a_read_only_mount_is_found(used: World) -> None:
    folder = str(used.database.parent)
    (line,) = lines_of(check_as(used, *BOUND, "--ro-bind", folder, folder), "Ledger")
    assert line.startswith(f"✗ Ledger: {used.database} ")
    assert "read-only" in line
    used.database.unlink()
    (line,) = lines_of(check_as(used, *BOUND, "--ro-bind", folder, folder), "Ledger")
    assert line.startswith(f"✗ Ledger: {folder} ")
    assert "read-only" in line


@root_only
@needs("bwrap")
def test_a_ledger_of_somebody_else_is_found(used: World) -> None:
    assert lines_of(check_as(used, *AS_10001), "Ledger")[0].startswith("✓")
    os.chown(used.database, 4711, 4711)
    (line,) = lines_of(check_as(used, *AS_10001), "Ledger")
    assert line.startswith("✗")
    assert line.endswith(f"{AS_ROOT}chown 10001 {used.database}")
    (line,) = lines_of(run(used, "check")[1], "Ledger")  # as root, who can write it all the same
    assert re.search(r"\b4711\b.*\b0\b", line)
    assert line.endswith(f"{AS_ROOT}chown 0 {used.database}")


@root_only
@needs("bwrap")
def test_a_file_of_settings_of_somebody_else_is_found(world: World, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("")
    file.chmod(0o600)
    os.chown(file, 4711, 4711)
    world.settings["ENV_FILE"] = str(file)
    (line,) = lines_of(check_as(world, *AS_10001))
    assert line.startswith("✗ Settings: ")
    assert line.endswith(f": chown 10001 {file}")


@root_only
@needs("bwrap")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_a_folder_of_somebody_else_is_found(used: World, mode: int) -> None:
    folder = used.database.parent
    folder.chmod(mode)
    os.chown(folder, 4711, 4711)
    for _ in range(2):
        (line,) = lines_of(check_as(used, *AS_10001), "Ledger")
        assert line.startswith("✗")
        assert line.endswith(f" {folder}. {AS_ROOT}chown 10001 {folder}")
        used.database.unlink(missing_ok=True)
    used.settings["DATABASE_URL"] = f"sqlite:///{folder}/deeper/ledger.db"
    (line,) = lines_of(check_as(used, *AS_10001), "Ledger")
    assert line.endswith(f"{AS_ROOT}mkdir -p {folder}/deeper && chown 10001 {folder}/deeper")


@needs_image
def test_in_the_image_a_volume_of_root_is_found(container: Container) -> None:
    os.chown(container.volume, 0, 0)
    inside = container.image.run(
        ["python", "app.py", "check"],
        {**container.world.settings, "DATABASE_URL": ""},
        container.volume,
    )
    done = subprocess.run(inside, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = lines_of(done.stdout, "Ledger")
    assert line.endswith(f" /app/data. {AS_ROOT}chown 10001 /app/data"), done


def test_a_ledger_that_is_damaged_or_none_is_found(used: World) -> None:
    used.database.write_bytes(b"somebody's letters " * 1000)
    (line,) = lines_of(run(used, "check")[1], "Ledger")
    assert line.startswith("✗")
    assert line.endswith(f" {used.database}: file is not a database.")
    used.database.unlink()
    used.database.mkdir()
    (line,) = lines_of(run(used, "check")[1], "Ledger")
    assert line.startswith(f"✗ Ledger: {used.database} ")
    assert "DATABASE_URL" in line


def test_a_ledger_of_a_newer_version_is_found(used: World) -> None:
    used.ledger("UPDATE alembic_version SET version_num = '9999'")
    (line,) = lines_of(run(used, "check")[1], "Ledger")
    assert line.startswith("✗ Ledger: a newer version of this app made the ledger")


@needs("initdb")
def test_postgresql_is_tried_without_a_trace_and_its_address_is_not_printed(
    world: World, postgres: Postgres
) -> None:
    url = postgres.new_database()
    world.settings["DATABASE_URL"] = url.replace("+psycopg", "")
    (line,) = lines_of(run(world, "check")[1], "Ledger")
    assert line.startswith("✓ Ledger: PostgreSQL ")
    tables = "SELECT * FROM information_schema.tables WHERE table_schema = 'public'"
    assert world.ledger(tables) == []
    for change, words in (
        ("/hidden-name", POSTGRESQL_SAYS["does not exist"]),
        ("/ledger?user=hidden-name", POSTGRESQL_SAYS["does not exist"]),
    ):
        wrong = world.settings["DATABASE_URL"].rpartition("/")[0] + change
        said = run(world, "check", DATABASE_URL=wrong)[1]
        (line,) = lines_of(said, "Ledger")
        assert line.startswith("✗")
        assert words in line
        assert not re.search(f"hidden-name|127.0.0.1:{postgres.port}", said)
    postgres.run(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
    (line,) = lines_of(run(world, "check")[1], "Ledger")
    assert line.startswith("✗ Ledger: PostgreSQL ")
    assert POSTGRESQL_SAYS["read-only transaction"] in line


# Conveyor


@pytest.fixture
def peer() -> Iterator[RawPeer]:
    made = RawPeer()
    yield made
    made.stop()


@pytest.mark.parametrize(
    "answer", [None, b"<html>Welcome</html>", b'{"ok": true}', b"[]"], ids=["404", "page", "object", "list"]
)
def test_a_wrong_address_of_conveyor_is_one_problem(
    world: World, peer: RawPeer, answer: bytes | None
) -> None:
    peer.say = saying(answer or b"")
    url = peer.url if answer else world.conveyor.url + "/elsewhere"
    status, said = run(world, "check", CONVEYOR_API_URL=url)
    assert status == 1
    (line,) = lines_of(said, "Conveyor")
    assert line.startswith("✗")
    assert "CONVEYOR_API_URL" in line


def test_a_wrong_key_is_one_problem(world: World) -> None:
    for key, revoked in (("wrong", False), (world.conveyor.api_key, True)):
        world.conveyor.key_revoked = revoked
        (line,) = lines_of(run(world, "check", CONVEYOR_KEY=key)[1], "Conveyor")
        assert line.startswith("✗ Conveyor: CONVEYOR_KEY")


def test_a_right_that_a_key_lacks_is_told_as_that(world: World) -> None:
    world.conveyor.key_forbids = {"GET /exchange/connections", "GET /interactions/*", "POST *"}
    lines = lines_of(run(world, "check")[1], "Conveyor")
    assert len(lines) == 9
    lacking = [(line[0], line) for line in lines if line[0] != "✓"]
    for mark, what in (("!", COMPANIES), ("!", DOCUMENTS), ("✗", "approve")):
        assert [each for each, line in lacking if what in line] == [mark]


# Slack


@pytest.mark.parametrize("scope", check_slack.SCOPES)
def test_a_missing_scope_is_told_as_that_and_nothing_that_follows_from_it(world: World, scope: str) -> None:
    world.slack.scopes.discard(scope)
    world.slack.channels[world.slack.channel_id].is_private = not scope.startswith("channels:")
    world.slack.user_groups["S0SEC"] = {"handle": "security", "users": [BOB]}
    said = run(world, "check", REVIEWERS=EVERY_KIND)[1]
    (problem,) = problems(said)
    assert problem.startswith("✗ Slack: ")
    assert f"scope {scope} " in problem
    reviewers = len(lines_of(said, "Reviewers"))
    assert reviewers == {"users:read": 0, "users:read.email": 0, "usergroups:read": 3}.get(scope, 4)


def test_many_user_groups_are_looked_up_within_slacks_limit(world: World) -> None:
    world.slack.user_groups = {f"S0G{number}": {"handle": "g", "users": [BOB]} for number in range(31)}
    world.slack.rate_limits["usergroups.users.list"] = 20, 3.0
    said = run(world, "check", REVIEWERS=",".join(world.slack.user_groups))[1]
    assert problems(said) == []
    assert len([line for line in lines_of(said, "Reviewers") if line.startswith("✓")]) == 31
    assert any("30" in line for line in lines_of(said, "Reviewers") if line.startswith("!"))


def test_a_scope_that_slack_did_not_list_is_told_once(world: World) -> None:
    """A proxy may take away the header that lists them."""
    body = {"ok": True, "user": "conveyor", "team": "Sandbox", "team_id": world.slack.team_id}
    world.slack.fail("auth.test", body=body)
    world.slack.scopes -= {"users:read", "channels:read"}
    said = run(world, "check", REVIEWERS=f"{ANN},{BOB}")[1]
    assert [re.findall(r"scope (\S+)", line) for line in problems(said)] == [
        ["channels:read"],
        ["users:read"],
    ]


def test_without_a_token_nothing_else_is_asked_of_slack(world: World) -> None:
    status, said = run(world, "check", SLACK_BOT_TOKEN="xoxb-wrong", REVIEWERS=EVERY_KIND)
    assert status == 1
    assert len(problems(said)) == 1
    assert not any(lines_of(said, part) for part in ("Channel", "Reviewers", "Clock"))
    said = run(world, "check", SLACK_BOT_TOKEN="xoxb-wrong", SLACK_APP_TOKEN=world.slack.app_token)[1]
    assert lines_of(said, "Socket")[0].startswith("✓")  # this takes a token of its own


@pytest.mark.parametrize("status", [200, 404, 503])
def test_what_is_not_slack_is_one_problem(world: World, status: int) -> None:
    world.slack.fail("*", times=None, status=status, body="<html>Hello xoxb-made-up-token</html>")
    said = run(world, "check", SLACK_APP_TOKEN=world.slack.app_token)[1]
    (line,) = problems(said)
    assert line.startswith("✗ Slack: auth.test ")
    assert str(status) in line


def test_an_installation_for_a_whole_organization_is_found(world: World) -> None:
    world.slack.team_id = "E0GRID"
    said = run(world, "check", REVIEWERS=EVERY_KIND)[1]
    (line,) = problems(said)
    assert line == f"✗ Slack: {ORG_WIDE}."
    assert not lines_of(said, "Reviewers")


@pytest.mark.parametrize(
    ("changes", "mark", "words"),
    [
        ({"is_read_only": True}, "✗", "#trust-requests"),
        ({"is_thread_only": True}, "✗", "#trust-requests"),
        ({"properties": {"posting_restricted_to": {"type": ["admin"]}}}, "!", "only some people"),
        ({"id": "C0MOVED"}, "!", "C0MOVED"),
        ({"properties": None, "name": None}, "✓", "#C0REQUESTS"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_slack_says_about_posting_is_told(
    world: World, changes: dict[str, Any], mark: str, words: str
) -> None:
    channel = {"id": world.slack.channel_id, "name": "trust-requests", "is_member": True, "is_private": True}
    world.slack.fail("conversations.info", body={"ok": True, "channel": channel | changes})
    said = run(world, "check")[1]
    assert any(line.startswith(mark) and words in line for line in lines_of(said, "Channel")), said


def test_with_http_the_signing_secret_is_said_to_be_untried(world: World) -> None:
    (line,) = lines_of(run(world, "check")[1], "Clicks")
    assert line.startswith("! Clicks: SLACK_SIGNING_SECRET")
    assert not lines_of(run(world, "check", SLACK_APP_TOKEN=world.slack.app_token)[1], "Clicks")


# The socket


def test_a_socket_is_opened_for_real_and_closed_again(world: World) -> None:
    (line,) = lines_of(run(world, "check", SLACK_APP_TOKEN=world.slack.app_token)[1], "Socket")
    assert line.startswith("✓")
    assert len(world.slack.calls("apps.connections.open")) == 1
    world.slack.wait_for(lambda: not world.slack.link.is_open())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ws://127.0.0.1:9/link", "the connection was refused"),
        ("ws://nobody.invalid/link", "the host of the WebSocket was not found"),
        ("{slack}/", "the server answered 400 instead of opening a WebSocket"),
        ("{link}-wrong", "Slack accepted the connection and said no hello"),
        ("https://elsewhere.example/", "apps.connections.open gave no address"),
    ],
)
def test_a_socket_that_does_not_open_is_found_with_its_cause(world: World, url: str, words: str) -> None:
    slack = world.slack.url.replace("http:", "ws:")
    body = {"ok": True, "url": url.format(slack=slack, link=world.slack.link.open())}
    world.slack.fail("apps.connections.open", body=body)
    status, said = run(world, "check", SLACK_APP_TOKEN=world.slack.app_token)
    (line,) = lines_of(said, "Socket")
    assert status == 1
    assert line.startswith(f"✗ Socket: {words}. ")


# Secrets


def secrets_of(world: World) -> tuple[str, ...]:
    slack = world.slack
    return (world.conveyor.api_key, slack.bot_token, slack.signing_secret, slack.app_token, "proxy-word")


def test_a_proxy_that_refuses_is_named_without_its_password(world: World, peer: RawPeer) -> None:
    peer.say = lambda _: [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"]
    proxy = peer.url.replace("//", "//operator:proxy-word@")
    settings = {"HTTPS_PROXY": proxy, "SLACK_APP_TOKEN": world.slack.app_token}
    said = run(world, "check", **settings)[1]
    (line,) = problems(said)  # the stand-ins themselves are reached by http
    assert line.startswith("✗ Socket: the proxy did not let the connection through.")
    settings |= {"SLACK_API_URL": "https://operator:proxy-word@slack.example/api/"}
    settings |= {"CONVEYOR_API_URL": "https://conveyor.example/api/v2"}
    said += run(world, "check", **settings)[1]
    slack, conveyor = problems(said)[-2:]
    assert slack.startswith("✗ Slack: no answer from https://slack.example: the proxy did not let")
    assert "no answer from https://conveyor.example: the proxy did not let" in conveyor
    said += run(world, "check", HTTP_PROXY=proxy)[1]
    said += run(world, "check", HTTP_PROXY="http://operator:proxy-word", HTTPS_PROXY="socks9://proxy-word")[1]
    assert "operator" not in said
    assert not [secret for secret in secrets_of(world) if secret in said]


@needs("openssl")
def test_a_certificate_that_is_not_trusted_is_named_as_one(world: World, tmp_path: Path) -> None:
    context = server_context(*certify(tmp_path, "localhost"))
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def shake_hands() -> None:
            with suppress(OSError):  # refused by the other side, or closed from here
                while True:
                    with suppress(ssl.SSLError):
                        context.wrap_socket(listener.accept()[0], server_side=True).close()

        thread = threading.Thread(target=shake_hands, daemon=True)
        thread.start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        world.slack.fail("apps.connections.open", body={"ok": True, "url": url.replace("https", "wss")})
        said = run(world, "check", CONVEYOR_API_URL=url, SLACK_APP_TOKEN=world.slack.app_token)[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    of_socket, of_conveyor = problems(said)
    assert of_socket.startswith("✗ Socket: the certificate was not accepted.")
    assert f"no answer from {url}: the certificate was not accepted." in of_conveyor
    assert "REQUESTS_CA_BUNDLE" in of_conveyor


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_trusted_certificates_that_cannot_be_read_are_named(
    world: World, tmp_path: Path, content: str | None
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    settings = {"REQUESTS_CA_BUNDLE": str(bundle), "SLACK_APP_TOKEN": world.slack.app_token}
    world.slack.fail("apps.connections.open", body={"ok": True, "url": "wss://localhost:1/"})
    said = run(world, "check", CONVEYOR_API_URL="https://localhost:1/", **settings)[1]
    of_socket, of_conveyor = problems(said)
    for line in (of_socket, of_conveyor):
        assert "what REQUESTS_CA_BUNDLE names cannot be read as certificates" in line
