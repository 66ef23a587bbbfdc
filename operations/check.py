"""`python app.py check`: looks at everything that the app needs, and says how to fix what is wrong.

It changes nothing: not in the ledger, not in Slack, not in Conveyor.
"""

import os
import stat
import time
from collections.abc import Callable, Generator, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TextIO

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from conveyor_client import ConveyorClient, ConveyorError, NotAllowed, NotFound, Refused
from operations.health import EVERYBODY_MAY_DECIDE
from settings import Settings, SettingsError, load
from text import printable
from workspace.reviewers import Bar, barred
from workspace.slack_client import SlackClient, slack_error

CLOCK_SECONDS = 300  # Slack: how old a signed request may be
CLOCK_WARN_SECONDS = 30
SCOPES = {
    "chat:write": "post and update cards",
    "commands": "answer /rooms",
    "channels:history": "find cards again in a public channel",
    "groups:history": "find cards again in a private channel",
    "channels:read": "know who is in a public channel",
    "groups:read": "know who is in a private channel",
    "users:read": "know who clicks",
    "users:read.email": "know the reviewers' addresses",
    "usergroups:read": "know who is in a user group of REVIEWERS",
}
COMPANIES = "/exchange/connections"
NOTHING = "/00000000-0000-0000-0000-000000000000"
CONVEYOR_CALLS = (
    ("GET", "/exchange/authorization_request_queue", "read the queue"),
    ("GET", "/exchange/authorization_requests" + NOTHING, "read a request"),
    ("GET", "/exchange/access_groups", "read the access groups"),
    ("GET", "/exchange/authorizations", "read what was granted"),
    ("GET", COMPANIES, "read what is known of companies"),
    # These name nothing that exists and no change, so that nothing happens even where the key may make them.
    ("POST", "/exchange/authorizations", "approve"),
    ("PATCH", "/exchange/authorization_requests" + NOTHING, "reject"),
    ("PATCH", "/exchange/authorizations" + NOTHING, "revoke"),
)
# What is said of a person whom REVIEWERS names and who may not decide.
BARS = {
    Bar.DEACTIVATED: "is deactivated",
    Bar.BOT: "is a bot, which may never decide",
    Bar.GUEST: "is a guest, who may never decide",
    Bar.OTHER_WORKSPACE: "is of another workspace",
    Bar.NO_ADDRESS: "has no confirmed e-mail address, which Conveyor wants",
}
GOOD, ODD, BAD = "✓", "!", "✗"

Finding = tuple[str, str]  # a mark and a sentence


class Unreachable(Exception):
    """What answered was not Slack, or nothing did; the text is the kind of error."""


def run(out: TextIO) -> int:
    """Write a line for each finding, and return the exit status: 1 if one of them is ✗, else 0."""
    status = 0
    for mark, line in _findings():
        print(f"{mark} {printable(line)}", file=out, flush=True)
        status = max(status, int(mark == BAD))
    return status


def _findings() -> Iterator[Finding]:
    try:
        settings = load()
    except SettingsError as error:
        yield from ((BAD, f"Settings: {problem}") for problem in error.problems)
        return
    yield GOOD, "Settings: all that is needed is there."
    yield from _ledger(settings.database_url)
    client = SlackClient(settings.slack_bot_token, settings.slack_api_url)
    try:
        team = yield from _slack(client)
        if team:
            yield from _channel(client, settings.slack_channel_id)
            yield from _reviewers(client, settings.reviewers, team)
        if settings.slack_app_token:
            yield from _socket(client, settings.slack_app_token)
    except Unreachable as error:
        yield BAD, f"Slack: no answer from {settings.slack_api_url} ({error}). Can this machine reach it?"
    yield from _conveyor(settings)


def _ledger(database_url: str) -> Iterator[Finding]:
    url = make_url(database_url)
    # A transaction that begins as a writer's does, and is rolled back, proves enough.
    trial = ["BEGIN", "CREATE TEMPORARY TABLE trial (number integer)", "ROLLBACK"]
    if url.get_backend_name() == "sqlite":
        path = Path(url.database or "").absolute()
        if not path.exists():
            folder = next(parent for parent in path.parents if parent.exists())
            if folder.is_dir() and os.access(folder, os.W_OK):
                yield GOOD, f"Ledger: {path} will be made at the first start."
            else:
                yield BAD, f"Ledger: this user cannot write to {folder}. Please let it."
            return
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield BAD, f"Ledger: other users can read {path}. Please run: chmod 600 {path}"
        url = url.set(database=f"file:{path}", query={"mode": "rw", "uri": "true"})
        trial = ["BEGIN IMMEDIATE", "ROLLBACK"]
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as db:
            for statement in trial:
                db.execute(text(statement))
        yield GOOD, f"Ledger: {url.get_backend_name()} can be read and written."
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or type(error).__name__
        yield BAD, f"Ledger: {cause}. Please look at DATABASE_URL."
    finally:
        engine.dispose()


def _slack(client: WebClient) -> Generator[Finding, None, str]:
    """Yield what is found about the token, and return the workspace's id, which is empty if it is unknown."""
    answer, problem = _ask(client.auth_test)
    if answer is None:
        yield BAD, f"Slack: auth.test says {problem}. Please look at SLACK_BOT_TOKEN."
        return ""
    yield GOOD, f"Slack: the token is that of {answer.get('user')} in the workspace {answer.get('team')}."
    headers = {name.lower(): str(value) for name, value in answer.headers.items()}
    granted = {scope.strip() for scope in headers.get("x-oauth-scopes", "").split(",")} - {""}
    for scope in sorted(SCOPES.keys() - granted):
        yield (
            BAD,
            f"Slack: the scope {scope} is missing, to {SCOPES[scope]}. Add it, install the app again.",
        )
    for scope in sorted(granted - SCOPES.keys()):
        yield ODD, f"Slack: the scope {scope} is more than the app needs."
    if granted >= SCOPES.keys():
        yield GOOD, "Slack: every scope is there."
    yield from _clock(headers.get("date", ""))
    return str(answer.get("team_id") or "")


def _clock(date: str) -> Iterator[Finding]:
    try:
        off = time.time() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        yield ODD, "Clock: Slack did not say what time it is."
        return
    if abs(off) > CLOCK_SECONDS:
        yield BAD, f"Clock: it is {off:+.0f} s off Slack's, so that every click is refused. Please set it."
    elif abs(off) > CLOCK_WARN_SECONDS:
        yield ODD, f"Clock: it is {off:+.0f} s off Slack's; beyond {CLOCK_SECONDS} s every click is refused."
    else:
        yield GOOD, "Clock: it agrees with Slack's."


def _channel(client: WebClient, channel_id: str) -> Iterator[Finding]:
    answer, problem = _ask(client.conversations_info, channel=channel_id)
    if answer is None:
        yield BAD, f"Channel: Slack says {problem} of {channel_id}. Look at SLACK_CHANNEL_ID; invite the app."
        return
    channel = answer.get("channel") or {}
    name = f"#{channel.get('name')}"
    if channel.get("is_archived"):
        yield BAD, f"Channel: {name} is archived. Unarchive it, or choose another."
    elif not channel.get("is_member"):
        yield BAD, f"Channel: the app is not in {name}. Type /invite @Conveyor there."
    else:
        yield GOOD, f"Channel: the app is in {name}."
    if not channel.get("is_private"):
        yield ODD, f"Channel: {name} is public, so that all members can read the requests and the reasons."
    if channel.get("is_ext_shared") or channel.get("is_shared"):
        yield ODD, f"Channel: {name} is shared with another company, whose people can read everything in it."


def _reviewers(client: WebClient, reviewers: tuple[str, ...], team: str) -> Iterator[Finding]:
    if not reviewers:
        yield ODD, f"Reviewers: {EVERYBODY_MAY_DECIDE} Name them in REVIEWERS."
    for part in reviewers:
        if part.startswith("@"):
            yield GOOD, f"Reviewers: every full member with a confirmed address at {part[1:]}."
        elif "@" in part:
            yield from _person(part, _ask(client.users_lookupByEmail, email=part), team)
        elif part.startswith("S"):
            yield from _group(client, part, team)
        else:
            yield from _person(part, _ask(client.users_info, user=part), team)


def _group(client: WebClient, group_id: str, team: str) -> Iterator[Finding]:
    answer, problem = _ask(client.usergroups_users_list, usergroup=group_id)
    if answer is None:
        yield BAD, f"Reviewers: Slack says {problem} of the user group {group_id}."
        return
    members = [str(member) for member in answer.get("users") or []]
    if not members:
        yield BAD, f"Reviewers: nobody is in the user group {group_id}."
    for member in members:
        yield from _person(f"{member} of {group_id}", _ask(client.users_info, user=member), team)


def _person(part: str, asked: tuple[Any, str], team: str) -> Iterator[Finding]:
    answer, problem = asked
    user = (answer.get("user") or {}) if answer is not None else {}
    if not user:
        yield BAD, f"Reviewers: Slack does not find {part} ({problem or 'no user'})."
    elif bar := barred(user, team):
        yield BAD, f"Reviewers: {part} {BARS[bar]}."
    else:
        profile = user.get("profile") or {}
        yield GOOD, f"Reviewers: {part} is {profile.get('real_name') or user.get('name')}."


def _socket(client: WebClient, app_token: str) -> Iterator[Finding]:
    answer, problem = _ask(client.apps_connections_open, app_token=app_token)
    if answer is None:
        yield BAD, f"Socket: Slack says {problem}. Look at SLACK_APP_TOKEN, and switch Socket Mode on."
    else:
        yield GOOD, "Socket: Slack lets the app open one."


def _conveyor(settings: Settings) -> Iterator[Finding]:
    conveyor = ConveyorClient(settings.conveyor_api_url, settings.conveyor_key)
    for method, path, what in CONVEYOR_CALLS:
        try:
            conveyor.try_call(method, path, path.endswith(NOTHING) or method != "GET")
        except NotFound:
            yield BAD, f"Conveyor: there is nothing to {what} at CONVEYOR_API_URL. Is it right?"
        except (NotAllowed, Refused):
            # Without this right cards lack what is known about companies, and nothing else.
            mark = ODD if path == COMPANIES else BAD
            yield mark, f"Conveyor: the key may not {what}. Give it that right, or look at CONVEYOR_KEY."
        except ConveyorError as error:
            yield BAD, f"Conveyor: it could not be asked to {what}: {error}. Can this machine reach it?"
            if path == CONVEYOR_CALLS[0][1]:
                return  # the other calls would not be answered either
        else:
            yield GOOD, f"Conveyor: the key may {what}."


def _ask(method: Callable[..., Any], **arguments: Any) -> tuple[Any, str]:
    """Return Slack's answer and no problem, or None and Slack's name of the problem. Raises Unreachable."""
    try:
        return method(**arguments), ""
    except SlackApiError as error:
        return None, str(error.response.get("error") or error.response.status_code)
    except Exception as error:
        # Slack's library raises many kinds of errors when no answer comes.
        raise Unreachable(slack_error(error)) from error
