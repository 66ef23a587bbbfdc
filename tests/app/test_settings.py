"""Settings are checked before anything starts, and all mistakes are listed at once, in sentences."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from sqlalchemy.engine import make_url

from named_people import ANY_REVIEWER, ANYBODY_TO_REMIND, JUST, NOT_A_HANDLE, TYPE_IT
from settings import REQUIRED, SettingsError, load
from tests.support.world import COMMAND, GOOD, ROOT
from working_hours import EXAMPLE, parse

NO_FILE = {"ENV_FILE": os.devnull}


def problems(**settings: str) -> list[str]:
    """Return the mistakes in these settings, added to good ones."""
    with pytest.raises(SettingsError) as caught:
        load({**GOOD, **settings})
    return caught.value.problems


def test_defaults_need_only_the_required_four() -> None:
    settings = load(GOOD)
    assert (settings.port, settings.poll_seconds, settings.reviewers) == (8080, 30.0, ())
    assert settings.host == ""
    assert settings.database_url == "sqlite:///data/ledger.db"
    assert settings.slack_api_url == "https://slack.com/api/"
    assert settings.conveyor_api_url == "https://api.conveyor.com/api/v2"
    assert settings.reason_required


def test_all_mistakes_are_listed_at_once_and_blank_means_missing() -> None:
    found = problems(CONVEYOR_KEY=" ", SLACK_BOT_TOKEN="", PORT="eighty", POLL_SECONDS="0", LOG_LEVEL="loud")
    assert len(found) == 5
    assert found[0].startswith("CONVEYOR_KEY")
    assert found[0].endswith(REQUIRED["CONVEYOR_KEY"])
    assert all(problem.endswith(".") for problem in found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOST", "localhost"),
        ("HOST", "127.0.0.1:8080"),
        ("HOST", "192.0.2.1"),  # not an address of this machine
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "８０"),
        ("POLL_SECONDS", "nan"),
        ("POLL_SECONDS", "inf"),
        ("POLL_SECONDS", "-1"),
        ("SLACK_BOT_TOKEN", "xoxp-a-person's"),
        ("SLACK_CHANNEL_ID", "#requests"),
        ("REVIEWERS", "ann"),
        ("REVIEWERS", "ann@acme.com, bob"),
        ("REMIND", "@channel"),
        ("REMIND", "<!here>"),
        ("REMIND", "ann@acme.com, @acme.com"),
        ("REMIND", ","),
        ("REMIND", " ".join(f"U{number:02}" for number in range(21))),
        ("WORKING_HOURS", "Mon-Fri 09:00-17:00"),
        ("WORKING_HOURS", "Mon-Fri 22:00-06:00 UTC"),
        ("WEEKLY", "Mon"),
        ("REJECTION_REASON", "sometimes"),
        ("METRICS", "8081"),
        ("DATABASE_URL", "mysql://x/y"),
        ("DATABASE_URL", "postgres://"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("CONVEYOR_KEY", "“pasted”"),
        ("CONVEYOR_WEBHOOK_SECRET", "bm90IGEgc2VjcmV0"),
        ("CONVEYOR_WEBHOOK_SECRET", "whsec_?"),
        ("SLACK_APP_TOKEN", "xapp-…"),
        ("SLACK_SIGNING_SECRET", "two\nlines"),
        ("CONVEYOR_API_URL", "api.conveyor.com"),
        ("SLACK_API_URL", "ftp://slack.com"),
        ("SLACK_API_URL", "http://[bad"),
    ],
)
def test_a_wrong_value_is_explained(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(name)


def test_no_secret_is_shown() -> None:
    shown = str(problems(SLACK_BOT_TOKEN="secret-one", SLACK_CHANNEL_ID="secret-two"))
    assert "secret-" not in shown
    settings = load({**GOOD, "DATABASE_URL": "postgres://user:hidden@host/db"})
    assert settings.database_url == "postgresql+psycopg://user:hidden@host/db"
    assert not any(value in repr(settings) for value in ("made-up", "hidden"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "postgres://app:hid@den@db.example/ledger"),
        ("DATABASE_URL", "postgres://app:hid@den/more@db.example:5432/ledger"),
        ("DATABASE_URL", "postgres://hid/den:hidden@db.example/ledger"),
        ("DATABASE_URL", "postgres://app:hidden@db.example:99999/ledger"),
        ("DATABASE_URL", "postgres://app:hidden@[db.example/ledger"),
        ("DATABASE_URL", "hidden"),
        ("DATABASE_URL", "sqlite://hidden"),
        ("DATABASE_URL", "sqlite:///hidden%00"),
        ("CONVEYOR_API_URL", "https://app:1/hidden@api.example"),
        ("SLACK_API_URL", "https://app:hid/den@slack.example"),
        ("SLACK_API_URL", "https://app:1#hidden@slack.example"),
        ("REVIEWERS", "postgres://app:hidden@db.example/ledger"),
        ("REVIEWERS", "xoxb-1234567890123-hidden"),
        ("REMIND", "xoxb-1234567890123-hidden"),
        ("WORKING_HOURS", "xoxb-1234567890123-hidden"),
        ("WORKING_HOURS", "postgres://app:hidden@db"),
        ("WEEKLY", "postgres://app:hidden@db"),
        ("SLACK_CHANNEL_ID", "hidden"),
        ("CONVEYOR_KEY", "hidden“"),
        ("CONVEYOR_WEBHOOK_SECRET", "hidden"),
        *((name, "hidden") for name in ("PORT", "POLL_SECONDS", "RETENTION_DAYS", "REMIND_AFTER_HOURS")),
        *(
            (name, "hidden")
            for name in ("LOG_LEVEL", "METRICS", "REJECTION_REASON", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN")
        ),
    ],
)
def test_no_part_of_a_wrong_value_is_shown(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem.startswith(name)
    assert not re.search("hid|den|example(?!\\.com)|5432|app:", problem.lower().replace("identity", ""))


@pytest.mark.parametrize("password", ["a/b", "a?b", "a#b", "a:b", "a%40b", "a%25b"])
def test_a_password_may_have_any_other_character(password: str) -> None:
    settings = load({**GOOD, "DATABASE_URL": f"postgres://app:{password}@db.example/ledger"})
    url = make_url(settings.database_url)
    assert (url.password, url.host, url.database) == (unquote(password), "db.example", "ledger")


def test_reviewers_may_be_separated_by_commas_or_spaces() -> None:
    settings = load({**GOOD, "REVIEWERS": "Ann@acme.com,@acme.com  U123ABC;S456DEF\n"})
    assert settings.reviewers == ("Ann@acme.com", "@acme.com", "U123ABC", "S456DEF")


@pytest.mark.parametrize(
    "value",
    [
        "ann@corp.example",
        "Ann.O'Neil+x@mail.corp.example",
        "@corp.example",
        "U0ANN",
        "W0ANN",
        "S0GROUP",
        " ,U0ANN,; @corp.example ;\n ann@corp.example\tS0GROUP , ",
    ],
)
def test_every_valid_form_of_a_reviewer_is_accepted(value: str) -> None:
    assert set(load({**GOOD, "REVIEWERS": value}).reviewers) == set(re.findall(r"[^\s,;]+", value))


@pytest.mark.parametrize("value", [",", ";", " , ; ", ",\n,"])
def test_a_list_of_reviewers_that_names_nobody_does_not_let_everybody_decide(value: str) -> None:
    (problem,) = problems(REVIEWERS=value)
    assert problem.startswith("REVIEWERS")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ('"ann@corp.example"', JUST.format("ann@corp.example")),
        ("'ann@corp.example", JUST.format("ann@corp.example")),
        ("“ann@corp.example”", JUST.format("ann@corp.example")),
        ("‘U0ANN’", JUST.format("U0ANN")),
        ("„@corp.example“", JUST.format("@corp.example")),
        ("<ann@corp.example>", JUST.format("ann@corp.example")),
        ("mailto:ann@corp.example", JUST.format("ann@corp.example")),
        ("<mailto:ann@corp.example|ann@corp.example>", JUST.format("ann@corp.example")),
        ("*@corp.example", JUST.format("@corp.example")),
        ("<@U123>", JUST.format("U123")),
        ("<@U123|ann>", JUST.format("U123")),
        ("@U123", JUST.format("U123")),
        ("@ann", NOT_A_HANDLE),
        ("<@ann>", NOT_A_HANDLE),
        ("ann", ANY_REVIEWER),
        ("@*.corp.example", ANY_REVIEWER),
        ("@corp.example.", ANY_REVIEWER),
        ("ann@corp.example@corp.example", ANY_REVIEWER),
    ],
)
def test_an_invalid_reviewer_is_explained_with_what_to_write_instead(value: str, advice: str) -> None:
    first, second = problems(REVIEWERS=f"{value},bob@corp.example {value}")
    assert first == second
    assert first.startswith("REVIEWERS")
    assert first.endswith(f"“{value}”. {advice}")


def test_a_domain_cannot_be_reminded() -> None:
    (problem,) = problems(REMIND="@corp.example")
    assert problem == (f"REMIND contains “@corp.example”. {ANYBODY_TO_REMIND}")
    assert "domain" not in problems(REMIND="@here")[0]


def test_whom_and_when_to_remind() -> None:
    settings = load({**GOOD, "REMIND": "U0ANN, S0SEC;bob@corp.example", "WORKING_HOURS": EXAMPLE.lower()})
    assert settings.remind == ("U0ANN", "S0SEC", "bob@corp.example")
    assert settings.working_hours == parse(EXAMPLE)
    settings = load(GOOD)
    assert (settings.remind, settings.working_hours) == ((), None)


@pytest.mark.parametrize("unseen", list("\u200b\ufeff\xad\u2060\u200e\x1b\u034f\u3164\u2800\ufe0f"))
def test_characters_of_a_reviewer_that_cannot_be_seen_are_shown(unseen: str) -> None:
    shown = ascii(unseen)[1:-1]
    for value in (f"ann@corp.example{unseen}", f"{unseen}U0ANN", f"@corp{unseen}.example", unseen):
        (problem,) = problems(REVIEWERS=value)
        assert f"“{value.replace(unseen, shown)}”" in problem
        assert problem.endswith(TYPE_IT)
        assert problem.isprintable()


@pytest.mark.parametrize(
    ("encoding", "is_right"),
    [("utf-8", True), ("utf-8-sig", True), ("utf-16", False), ("utf-16-le", False), ("cp1252", False)],
)
def test_a_file_of_settings_is_written_in_utf_8(tmp_path: Path, encoding: str, is_right: bool) -> None:
    lines = [f"{name}={value}" for name, value in {**GOOD, "PORT": "nonsense"}.items()]
    said = start_with(tmp_path, "\n".join([*lines, "# Überprüft"]).encode(encoding))
    problem = "PORT " if is_right else f"{tmp_path}/.env "
    assert said.splitlines()[1].startswith(f"- {problem}")
    assert ("UTF-8" in said) is not is_right
    assert said.count("\n") == 2


def test_a_line_that_cannot_be_read_is_no_line_left_out(tmp_path: Path) -> None:
    said = start_with(tmp_path, b"PORT=8080\nREVIEWERS='ann@harbor.example\n")
    assert re.search(rf"^- {tmp_path}/.env .*line 2\b", said, re.MULTILINE)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert re.search(rf"^- {tmp_path}/.env .*: Is a directory[.]$", start_with(tmp_path), re.MULTILINE)


def start_with(folder: Path, content: bytes | None = None) -> str:
    """Start the app, which has to end at once, with this file of settings; return what it says."""
    file = folder / ".env"
    if content is not None:
        file.write_bytes(content)
    environment = {"PATH": os.environ["PATH"], "ENV_FILE": str(file)}
    done = subprocess.run(COMMAND, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(
        'CONVEYOR_KEY="from the file $HOME"\nSLACK_BOT_TOKEN=xoxb-file\nSLACK_SIGNING_SECRET=x\nPORT=1\n'
    )
    monkeypatch.chdir(tmp_path)
    for name in (*GOOD, "PORT", "REVIEWERS", "ENV_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLACK_CHANNEL_ID", "C123")
    monkeypatch.setenv("PORT", "2")
    monkeypatch.setenv("SLACK_BOT_TOKEN", " ")
    settings = load()
    assert settings.conveyor_key == "from the file $HOME"
    assert (settings.slack_bot_token, settings.port) == ("xoxb-file", 2)
    monkeypatch.setenv("ENV_FILE", os.devnull)
    with pytest.raises(SettingsError, match="CONVEYOR_KEY"):
        load()


@pytest.mark.parametrize(
    "command",
    [["app.py"], ["-m", "gunicorn", "-c", "gunicorn.conf.py", "app:create_app()"]],
    ids=["python app.py", "gunicorn"],
)
def test_a_start_with_mistakes_ends_at_once_and_lists_them(command: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**NO_FILE, "SLACK_BOT_TOKEN": "wrong", "CONVEYOR_KEY": " ", "DATABASE_URL": "oracle://"},
        capture_output=True,
        text=True,
        timeout=30,  # a second on an idle machine; never a loop of respawns
    )
    assert ended.returncode == 1
    for name in (
        "SLACK_BOT_TOKEN",
        "CONVEYOR_KEY",
        "SLACK_SIGNING_SECRET",
        "SLACK_CHANNEL_ID",
        "DATABASE_URL",
    ):
        assert f"- {name}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_start_with_reviewers_that_name_nobody_ends_at_once(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**NO_FILE, **GOOD, "REVIEWERS": ",", "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"},
        capture_output=True,
        text=True,
        timeout=30,  # a second on an idle machine; never a loop of respawns
    )
    assert ended.returncode == 1
    assert "\n- REVIEWERS " in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "ledger.db").exists()


def test_a_start_with_a_ledger_that_cannot_be_made_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**NO_FILE, **GOOD, "DATABASE_URL": f"sqlite:///{tmp_path}/file/ledger.db"},
        capture_output=True,
        text=True,
        timeout=30,  # a second on an idle machine; never a loop of respawns
    )
    assert ended.returncode == 1
    assert "DATABASE_URL" in ended.stderr
    assert "Traceback" not in ended.stderr
