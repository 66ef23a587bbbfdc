"""The environment, read once, checked, and explained when it is wrong."""

import math
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dotenv.parser import parse_stream
from sqlalchemy.engine import make_url
from standardwebhooks import Webhook

from named_people import entry_problem
from working_hours import NotUnderstood, WeeklyMoment, WorkingHours, parse, parse_moment

DEFAULT_DATABASE_URL = "sqlite:///data/ledger.db"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.01, 3600.0
MAX_HOURS = 8760.0
MAX_DAYS = 36500.0
MENTIONS_MOST = 20  # people and user groups that one reminder mentions


class SettingsError(Exception):
    """Everything that is wrong with the settings: one sentence for each problem in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Settings:
    """The settings of this process. Secrets stay out of its repr."""

    conveyor_key: str = field(repr=False)
    slack_bot_token: str = field(repr=False)
    slack_signing_secret: str = field(repr=False)
    slack_channel_id: str
    slack_app_token: str = field(default="", repr=False)
    conveyor_webhook_secret: str = field(default="", repr=False)
    host: str = ""  # every address of this machine
    port: int = 8080
    poll_seconds: float = 30.0
    database_url: str = field(default=DEFAULT_DATABASE_URL, repr=False)
    reviewers: tuple[str, ...] = ()
    reason_required: bool = True
    remind_after_hours: float = 24.0
    remind_times: int = 3
    remind: tuple[str, ...] = ()  # empty: those whom REVIEWERS names
    working_hours: WorkingHours | None = None  # None: always
    weekly: WeeklyMoment | None = None  # None: no weekly message
    retention_days: float = 0.0
    trust_center_url: str = ""
    conveyor_api_url: str = "https://api.conveyor.com/api/v2"
    slack_api_url: str = "https://slack.com/api/"
    log_level: str = "INFO"
    metrics: bool = False


REQUIRED = {
    "CONVEYOR_KEY": "Make an API key in Conveyor: Settings → Integrations → Add Integration → Conveyor API.",
    "SLACK_BOT_TOKEN": "Copy the Bot User OAuth Token (xoxb-…) from your Slack app's OAuth & Permissions "
    "page.",
    "SLACK_SIGNING_SECRET": "Copy the Signing Secret from your Slack app's Basic Information page.",
    "SLACK_CHANNEL_ID": "In Slack, choose Copy link in the channel's menu. The link ends with the ID "
    "(C… or G…).",
}


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings: from the environment, then from the file that ENV_FILE names, or `.env`.

    Raises SettingsError with every problem at once. A blank value counts as missing.
    """
    if environment is None:
        from_file = _read_file(Path(os.environ.get("ENV_FILE") or ".env"))
        environment = {**from_file, **{name: value for name, value in os.environ.items() if value.strip()}}
    read = _Reader(environment)
    read.required()
    read.secrets()
    working_hours = read.working_hours()
    settings = Settings(
        conveyor_key=read.get("CONVEYOR_KEY"),
        slack_bot_token=read.get("SLACK_BOT_TOKEN"),
        slack_signing_secret=read.get("SLACK_SIGNING_SECRET"),
        slack_channel_id=read.channel_id(),
        host=read.host(),
        port=read.port(),
        poll_seconds=read.number(
            "POLL_SECONDS", 30, MIN_POLL_SECONDS, MAX_POLL_SECONDS, "seconds", "such as 30"
        ),
        log_level=read.choice("LOG_LEVEL", "INFO", LOG_LEVELS, "DEBUG, INFO, WARNING, or ERROR"),
        metrics=read.choice("METRICS", "OFF", ("ON", "OFF"), "“on” or “off”") == "ON",
        reason_required=read.choice(
            "REJECTION_REASON", "REQUIRED", ("REQUIRED", "OPTIONAL"), "“required” or “optional”"
        )
        == "REQUIRED",
        remind_after_hours=read.number("REMIND_AFTER_HOURS", 24, 0, MAX_HOURS, "hours", "0 means never"),
        remind_times=int(read.number("REMIND_TIMES", 3, 1, 20, "reminders", "such as 3")),
        remind=read.people("REMIND", "whom reminders mention", "mention the reviewers"),
        working_hours=working_hours,
        weekly=read.weekly(working_hours.zone if working_hours else "UTC"),
        retention_days=read.number("RETENTION_DAYS", 0, 0, MAX_DAYS, "days", "0 means forever"),
        reviewers=read.people("REVIEWERS", "who may decide", "let every full member of the workspace decide"),
        database_url=read.database_url(),
        slack_app_token=read.get("SLACK_APP_TOKEN"),
        conveyor_webhook_secret=read.get("CONVEYOR_WEBHOOK_SECRET"),
        trust_center_url=read.web_address("TRUST_CENTER_URL", ""),
        conveyor_api_url=read.web_address("CONVEYOR_API_URL", Settings.conveyor_api_url),
        slack_api_url=read.web_address("SLACK_API_URL", Settings.slack_api_url) + "/",
    )
    if read.problems:
        raise SettingsError(read.problems)
    return settings


def _read_file(file: Path) -> dict[str, str]:
    """Return the settings in this file, or none if there is no such file. Raises SettingsError."""
    try:
        text = file.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise SettingsError(
            [f"This user cannot read {file}. As root, run: chown {os.geteuid()} {file}"]
        ) from None
    except OSError as error:
        raise SettingsError([f"{file} could not be read: {error.strerror}."]) from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise SettingsError([f"{file} isn't UTF-8. Save it as UTF-8 in your editor."])
    lines = list(parse_stream(StringIO(text)))
    if wrong := [f"line {each.original.line}" for each in lines if each.error]:
        # A line left out could be REVIEWERS, and then everybody could decide.
        raise SettingsError([f"{file} could not be read at {wrong[0]}. Is a closing quote missing?"])
    return {each.key: each.value or "" for each in lines if each.key}


class _Reader:
    """Reads one setting after another, and collects a sentence for each one that is wrong.

    These sentences repeat no value that could be a secret, not even one pasted into the wrong setting.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._values = {name: value.strip() for name, value in environment.items()}
        self.problems: list[str] = []

    def get(self, name: str, default: str = "") -> str:
        return self._values.get(name) or default

    def check(self, is_right: bool, problem: str) -> None:
        if not is_right:
            self.problems.append(problem)

    def required(self) -> None:
        for name, where in REQUIRED.items():
            # Socket Mode needs no signatures.
            is_needed = name != "SLACK_SIGNING_SECRET" or not self.get("SLACK_APP_TOKEN")
            self.check(bool(self.get(name)) or not is_needed, f"{name} is missing. {where}")

    def secrets(self) -> None:
        for name in ("CONVEYOR_KEY", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET"):
            value = self.get(name)
            self.check(
                value.isascii() and value.isprintable(),
                f"{name} contains characters that no key has, such as curly quotes. Copy it again.",
            )
        self.check(
            self.get("SLACK_BOT_TOKEN", "xoxb-").startswith("xoxb-"),
            f"SLACK_BOT_TOKEN isn't a bot token. {REQUIRED['SLACK_BOT_TOKEN']}",
        )
        self.check(
            self.get("SLACK_APP_TOKEN", "xapp-").startswith("xapp-"),
            "SLACK_APP_TOKEN isn't an app-level token. Copy one (xapp-…) from your Slack app's Basic "
            "Information page.",
        )
        try:
            secret = self.get("CONVEYOR_WEBHOOK_SECRET")
            is_secret = not secret or (secret.startswith("whsec_") and bool(Webhook(secret)))
        except Exception:
            is_secret = False  # the library fails in several ways, with the secret in some of their texts
        problem = (
            "CONVEYOR_WEBHOOK_SECRET isn't a webhook secret. Copy it (whsec_…) from "
            "app.conveyor.com/webhook-preferences."
        )
        self.check(is_secret, problem)

    def channel_id(self) -> str:
        name = "SLACK_CHANNEL_ID"
        found = self.get(name)
        is_id = not found or bool(re.fullmatch(r"[CG][A-Z0-9]{2,}", found))
        self.check(is_id, f"{name} isn't a channel ID. {REQUIRED[name]}")
        return found

    def host(self) -> str:
        found = self.get("HOST").strip("[]")
        problem = "HOST must be an IP address of this machine, such as 127.0.0.1 or ::1."
        self.check(not found or _is_own_address(found), problem)
        return found

    def port(self) -> int:
        text = self.get("PORT", "8080")
        is_port = text.isascii() and text.isdigit() and 0 < int(text) < 65536
        self.check(is_port, "PORT must be a whole number from 1 to 65535, such as 8080.")
        return int(text) if is_port else 0

    def number(self, name: str, default: float, least: float, most: float, unit: str, hint: str) -> float:
        try:
            found = float(self.get(name, str(default)))
        except ValueError:
            found = math.nan
        separator = ", " if hint.startswith("such") else "; "
        problem = f"{name} must be a number of {unit} from {least:g} to {most:g}{separator}{hint}."
        self.check(least <= found <= most, problem)
        return found

    def choice(self, name: str, default: str, choices: Sequence[str], wanted: str) -> str:
        found = self.get(name, default).upper()
        self.check(found in choices, f"{name} must be {wanted}.")
        return found

    def people(self, name: str, whom: str, blank: str) -> tuple[str, ...]:
        """Return the entries of REVIEWERS or REMIND."""
        parts = tuple(part for part in re.split(r"[\s,;]+", self.get(name)) if part)
        self.check(
            # Perhaps two empty variables joined by a comma. An empty list would let everybody decide.
            bool(parts) or not self.get(name),
            f"{name} contains separators but names nobody. Write {whom}, such as ann@example.com, "
            f"or leave it blank to {blank}.",
        )
        self.check(
            name != "REMIND" or len(parts) <= MENTIONS_MOST,
            f"REMIND names {len(parts)}, but a reminder mentions at most {MENTIONS_MOST}. "
            "Write a user group ID (S…) instead.",
        )
        self.problems.extend(filter(None, (entry_problem(name, part) for part in parts)))
        return parts

    def working_hours(self) -> WorkingHours | None:
        text = self.get("WORKING_HOURS")
        try:
            return parse(text) if text else None
        except NotUnderstood as error:
            self.problems.append(f"WORKING_HOURS: {error}")
            return None

    def weekly(self, zone: str) -> WeeklyMoment | None:
        """Return the moment of the weekly message, in this time zone if it names none."""
        text = self.get("WEEKLY")
        try:
            return parse_moment(text, zone) if text else None
        except NotUnderstood as error:
            self.problems.append(f"WEEKLY: {error}")
            return None

    def database_url(self) -> str:
        found = _database_url(self.get("DATABASE_URL", DEFAULT_DATABASE_URL))
        problem = (
            "DATABASE_URL must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME. "
            "In a user name or password, write %40 for @ and %25 for %."
        )
        self.check(found is not None, problem)
        return found or ""

    def web_address(self, name: str, default: str) -> str:
        found = self.get(name, default).rstrip("/")
        is_right = not found or _is_web_address(found)
        self.check(is_right, f"{name} must be a web address starting with https:// or http://.")
        return found


def _database_url(text: str) -> str | None:
    """Return the address as SQLAlchemy spells it, or None if the ledger does not support this kind."""
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite":
        # In memory, each connection would have its own ledger.
        path = unquote(rest.removeprefix("/"))
        return text if rest.startswith("/") and path not in ("", ":memory:") and "\0" not in path else None
    if not rest or scheme not in ("postgres", "postgresql"):
        return None
    text = f"postgresql+psycopg://{rest}"
    try:
        url = make_url(text)
    except Exception:
        return None  # it fails in several ways, with the password in some of their texts
    # Whatever follows an unencoded @ in a password would be taken for the host.
    is_clear = not set("@[") & set(f"{url.host}{url.database}") and 0 < (url.port or 5432) < 65536
    return text if is_clear and url.database != "" else None


def _is_own_address(text: str) -> bool:
    """Return whether this machine can listen on an IP address."""
    try:
        with socket.socket(socket.AF_INET6 if ip_address(text).version == 6 else socket.AF_INET) as probe:
            probe.bind((text, 0))
    except (ValueError, OSError):
        return False
    return True


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    # A password ends at its first / or #, and what comes before that would be taken for the host.
    return (
        parts.scheme in ("http", "https") and is_host and "@" not in parts.path + parts.query + parts.fragment
    )
