"""The environment, read once, checked, and explained when it is wrong."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dotenv import dotenv_values
from sqlalchemy.engine import make_url
from standardwebhooks import Webhook

from workspace.block_kit import BLANK

DEFAULT_DATABASE_URL = "sqlite:///data/ledger.db"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.01, 3600.0
MAX_HOURS = 8760.0
MAX_DAYS = 36500.0
# One part of REVIEWERS: an email address, an @domain, or the id of a user or a user group.
REVIEWER = re.compile(r'[^@\s"<>*:]+@[^@\s"<>*:]+|@[^@\s"<>*:.]+(\.[^@\s"<>*:.]+)+|[UWS][A-Z0-9]{2,}')
# What is found around such a part when it was copied from Slack, a mail program or another setting.
QUOTES = "\"'`“”„«»\u2018\u2019\u201a\u201b\u201f\u2039\u203a"
DECORATION = re.compile(r"^mailto:|^\*(?=@)|^@(?=[UW][A-Z0-9]{2,}(\||$))|\|.*", re.DOTALL)


class SettingsError(Exception):
    """All that is wrong with the settings, one sentence each in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Settings:
    """What the operator decided. Secrets stay out of its repr."""

    conveyor_key: str = field(repr=False)
    slack_bot_token: str = field(repr=False)
    slack_signing_secret: str = field(repr=False)
    slack_channel_id: str
    slack_app_token: str = field(default="", repr=False)
    conveyor_webhook_secret: str = field(default="", repr=False)
    port: int = 8080
    poll_seconds: float = 30.0
    database_url: str = field(default=DEFAULT_DATABASE_URL, repr=False)
    reviewers: tuple[str, ...] = ()
    reason_required: bool = True
    remind_after_hours: float = 24.0
    retention_days: float = 0.0
    conveyor_api_url: str = "https://api.conveyor.com/api/v2"
    slack_api_url: str = "https://slack.com/api/"
    log_level: str = "INFO"


REQUIRED = {
    "CONVEYOR_KEY": "an API key that may decide requests, from Conveyor's integrations page",
    "SLACK_BOT_TOKEN": "it starts with xoxb-, from your Slack app's page “OAuth & Permissions”",
    "SLACK_SIGNING_SECRET": "32 letters and digits, from your Slack app's page “Basic Information”",
    "SLACK_CHANNEL_ID": "it starts with C or G, at the end of “Copy link” in the channel's menu",
}


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process: its environment first, then the file `.env` or that named by ENV_FILE.

    Raises SettingsError with every problem at once. Blank means missing.
    """
    if environment is None:
        file = os.environ.get("ENV_FILE") or ".env"
        from_file = {name: value or "" for name, value in dotenv_values(file, interpolate=False).items()}
        environment = {**from_file, **{name: value for name, value in os.environ.items() if value.strip()}}
    values = {name: value.strip() for name, value in environment.items()}
    problems: list[str] = []

    def get(name: str, default: str = "") -> str:
        return values.get(name) or default

    for name, where in REQUIRED.items():
        if name == "SLACK_SIGNING_SECRET" and get("SLACK_APP_TOKEN"):
            continue  # over its own socket nothing is signed
        if not get(name):
            problems.append(f"{name} is missing: {where}.")
    problems.extend(
        f"{name} has characters that no key has, such as typographic quotes: copy it again."
        for name in ("CONVEYOR_KEY", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET")
        if not (get(name).isascii() and get(name).isprintable())
    )
    # The values themselves are never repeated here: they may be secrets in the wrong place.
    if get("SLACK_BOT_TOKEN") and not get("SLACK_BOT_TOKEN").startswith("xoxb-"):
        problems.append(f"SLACK_BOT_TOKEN is not a bot token: {REQUIRED['SLACK_BOT_TOKEN']}.")
    if get("SLACK_APP_TOKEN") and not get("SLACK_APP_TOKEN").startswith("xapp-"):
        problems.append(
            "SLACK_APP_TOKEN is not an app-level token: it starts with xapp-, see Basic Information."
        )
    try:
        secret = get("CONVEYOR_WEBHOOK_SECRET")
        is_secret = not secret or (secret.startswith("whsec_") and bool(Webhook(secret)))
    except Exception:
        is_secret = False  # the library fails in several ways, with the secret in some of their texts
    if not is_secret:
        problems.append("CONVEYOR_WEBHOOK_SECRET is not a secret of Conveyor's: it starts with whsec_.")
    if get("SLACK_CHANNEL_ID") and not re.fullmatch(r"[CG][A-Z0-9]{2,}", get("SLACK_CHANNEL_ID")):
        problems.append(f"SLACK_CHANNEL_ID is not a channel's id: {REQUIRED['SLACK_CHANNEL_ID']}.")

    port = get("PORT", "8080")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        problems.append("PORT must be a whole number from 1 to 65535, such as 8080.")
    poll_seconds = _number(get("POLL_SECONDS", "30"), MIN_POLL_SECONDS, MAX_POLL_SECONDS)
    if poll_seconds is None:
        problems.append(f"POLL_SECONDS must be a number of seconds up to {MAX_POLL_SECONDS:.0f}, such as 30.")
    level = get("LOG_LEVEL", "INFO").upper()
    if level not in LOG_LEVELS:
        problems.append(f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}.")
    reason = get("REJECTION_REASON", "required").lower()
    if reason not in ("required", "optional"):
        problems.append("REJECTION_REASON must be “required” or “optional”.")
    hours = _number(get("REMIND_AFTER_HOURS", "24"), 0, MAX_HOURS)
    if hours is None:
        problems.append(f"REMIND_AFTER_HOURS must be a number of hours up to {MAX_HOURS:.0f}; 0 means never.")
    days = _number(get("RETENTION_DAYS", "0"), 0, MAX_DAYS)
    if days is None:
        problems.append(f"RETENTION_DAYS must be a number of days up to {MAX_DAYS:.0f}; 0 means for ever.")
    reviewers = tuple(part for part in re.split(r"[\s,;]+", get("REVIEWERS")) if part)
    if get("REVIEWERS") and not reviewers:
        # Two empty variables joined by a comma, perhaps. An empty list would let everybody decide.
        problems.append(
            "REVIEWERS has separators but names nobody: write who may decide, such as ann@example.com, "
            "or leave it blank to let every full member of the workspace decide."
        )
    problems.extend(filter(None, map(_reviewer_problem, reviewers)))
    database_url = _database_url(get("DATABASE_URL", DEFAULT_DATABASE_URL))
    if database_url is None:
        problems.append("DATABASE_URL must be sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME.")
    addresses = {
        "CONVEYOR_API_URL": get("CONVEYOR_API_URL", Settings.conveyor_api_url).rstrip("/"),
        "SLACK_API_URL": get("SLACK_API_URL", Settings.slack_api_url).rstrip("/") + "/",
    }
    for name, address in addresses.items():
        if not _is_web_address(address):
            problems.append(f"{name} must be a web address that starts with https:// or http://.")

    if problems or poll_seconds is None or hours is None or days is None or database_url is None:
        raise SettingsError(problems)
    return Settings(
        conveyor_key=get("CONVEYOR_KEY"),
        slack_bot_token=get("SLACK_BOT_TOKEN"),
        slack_signing_secret=get("SLACK_SIGNING_SECRET"),
        slack_channel_id=get("SLACK_CHANNEL_ID"),
        port=int(port),
        poll_seconds=poll_seconds,
        database_url=database_url,
        reviewers=reviewers,
        reason_required=reason == "required",
        remind_after_hours=hours,
        retention_days=days,
        slack_app_token=get("SLACK_APP_TOKEN"),
        conveyor_webhook_secret=get("CONVEYOR_WEBHOOK_SECRET"),
        conveyor_api_url=addresses["CONVEYOR_API_URL"],
        slack_api_url=addresses["SLACK_API_URL"],
        log_level=level,
    )


def _reviewer_problem(part: str) -> str:
    """Return a sentence that says what to write instead of this part of REVIEWERS; empty if it is right."""
    if not part.isprintable() or BLANK.search(part):
        shown = ascii(part)[1:-1]
        return f"REVIEWERS has “{shown}”, with characters that can't be seen: write it by hand."
    bare = DECORATION.sub("", part.strip(QUOTES + "<>"))
    if REVIEWER.fullmatch(bare):
        return "" if bare == part else f"REVIEWERS has “{part}”: write {bare} alone."
    if re.fullmatch(r"@[^@.]+", bare):
        return (
            f"REVIEWERS has “{part}”: write that person's email address or Slack user id (U…), "
            "or a whole domain, such as @example.com."
        )
    return (
        f"REVIEWERS has “{part}”: write an email address, an @domain, a Slack user id (U…) "
        "or a user-group id (S…)."
    )


def _number(text: str, least: float, most: float) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if least <= number <= most else None


def _database_url(text: str) -> str | None:
    """SQLAlchemy's spelling of a database address, or None if it is of no kind that the ledger knows."""
    scheme, separator, rest = text.partition("://")
    if separator and rest and scheme in ("postgres", "postgresql"):
        text = f"postgresql+psycopg://{rest}"
    elif not text.startswith("sqlite:///"):
        return None
    try:
        url = make_url(text)
    except Exception:
        return None  # it fails in several ways, with the password in some of their texts
    # In memory each connection would have a ledger of its own.
    return None if url.database in ("", ":memory:") else text


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
