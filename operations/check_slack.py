"""The part of `check` that asks Slack: token, scopes, clock, channel, reviewers and the socket."""

import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from slack_sdk.errors import SlackApiError

from deadline import CallFailed, retry_after
from operations.findings import BAD, GOOD, ODD, Finding, no_answer
from operations.health import EVERYBODY_MAY_DECIDE
from settings import Settings
from workspace.channel import ORG_WIDE, is_org_wide
from workspace.reviewers import GROUPS_MOST, Bar, address_of, barred, confirmed_address_of, groups_in
from workspace.slack_client import SlackClient
from workspace.web_socket import SocketFailed, open_socket

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
INSTALL_AGAIN = "Add it on the Slack app's page OAuth & Permissions, and install the app again."
# What is said about a person whom REVIEWERS names and who may not decide.
BARS = {
    Bar.DEACTIVATED: "is deactivated",
    Bar.BOT: "is a bot, which may never decide",
    Bar.GUEST: "is a guest, who may never decide",
    Bar.OTHER_WORKSPACE: "is of another workspace",
}
# Slack's errors that say nothing about what was asked.
BUSY = {"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}


class Refused(Exception):
    """Slack said no; the text is its own word for that. `needed` are the scopes that it asked for, if any."""

    def __init__(self, error: str, needed: set[str]) -> None:
        super().__init__(error)
        self.needed = needed


class NotSlack(Exception):
    """What answered was not Slack, or nothing did. The text is a sentence."""


class SlackCheck:
    """Asks Slack, and remembers which scopes are missing, so that no consequence of that is reported."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = SlackClient(settings.slack_bot_token, settings.slack_api_url)
        self._missing: set[str] = set()
        self._enterprise_id = ""

    def findings(self) -> Iterator[Finding]:
        try:
            if team := (yield from self._token()):
                yield from self._channel(self._settings.slack_channel_id)
                yield from self._reviewers(team)
            if self._settings.slack_app_token:
                yield from self._socket()
        except NotSlack as error:
            yield BAD, f"Slack: {error}"
        if not self._settings.slack_app_token:
            yield (
                ODD,
                "Clicks: whether SLACK_SIGNING_SECRET is right cannot be tried from here. When the app runs, "
                "click a button on a card: /readyz counts the calls that are not signed with this secret.",
            )

    def _token(self) -> Generator[Finding, None, str]:
        """Return the workspace's id, or "" if nothing can be asked about channel and reviewers."""
        try:
            answer = self._ask(self._client.auth_test)
        except Refused as error:
            hint = "Copy SLACK_BOT_TOKEN again from the Slack app's page OAuth & Permissions."
            yield BAD, f"Slack: auth.test says {error}. {hint}"
            return ""
        team = str(answer.get("team_id") or "")
        self._enterprise_id = str(answer.get("enterprise_id") or "")
        if is_org_wide(answer) or not team:
            yield BAD, f"Slack: {ORG_WIDE}."
            team = ""
        else:
            yield (
                GOOD,
                f"Slack: the token is that of {answer.get('user')} in the workspace {answer.get('team')}.",
            )
        headers = {name.lower(): str(value) for name, value in answer.headers.items()}
        yield from self._scopes(headers.get("x-oauth-scopes"))
        yield from self._clock(headers.get("date", ""))
        return team

    def _scopes(self, header: str | None) -> Iterator[Finding]:
        if header is None:
            yield ODD, "Slack: it did not say which scopes the token has."
            return
        granted = {scope.strip() for scope in header.split(",")} - {""}
        self._missing = SCOPES.keys() - granted
        for scope in sorted(self._missing):
            yield BAD, f"Slack: the scope {scope} is missing, to {SCOPES[scope]}. {INSTALL_AGAIN}"
        for scope in sorted(granted - SCOPES.keys()):
            yield ODD, f"Slack: the scope {scope} is more than the app needs."
        if not self._missing:
            yield GOOD, "Slack: every scope is there."

    def _clock(self, date: str) -> Iterator[Finding]:
        try:
            off = time.time() - parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError):
            yield ODD, "Clock: Slack did not say what time it is."
            return
        if abs(off) <= CLOCK_WARN_SECONDS:
            yield GOOD, "Clock: it agrees with Slack's."
        elif self._settings.slack_app_token:  # nothing is signed over a socket
            yield (
                ODD,
                f"Clock: it is {off:+.0f} s off Slack's, and so are the times in the log. Please set it.",
            )
        elif abs(off) <= CLOCK_SECONDS:
            yield (
                ODD,
                f"Clock: it is {off:+.0f} s off Slack's; beyond {CLOCK_SECONDS} s every click is refused.",
            )
        else:
            yield (
                BAD,
                f"Clock: it is {off:+.0f} s off Slack's, so that every click is refused. Please set it.",
            )

    def _channel(self, channel_id: str) -> Iterator[Finding]:
        try:
            channel = _mapping(self._ask(self._client.conversations_info, channel=channel_id), "channel")
        except Refused as error:
            # To an app that may not read private channels Slack may as well say that there is none.
            if str(error) != "channel_not_found" or "groups:read" not in self._missing:
                hint = "Look at SLACK_CHANNEL_ID, and invite the app to the channel."
                yield from self._refused(error, f"Channel: Slack says {error} about {channel_id}. {hint}")
            return
        name = f"#{channel.get('name') or channel_id}"
        if channel.get("id") not in (None, channel_id):
            yield ODD, f"Channel: Slack calls it {channel['id']} by now. Put that into SLACK_CHANNEL_ID."
        if channel.get("is_archived"):
            yield BAD, f"Channel: {name} is archived. Unarchive it, or choose another."
        elif not channel.get("is_member"):
            yield BAD, f"Channel: the app is not in {name}. Type /invite @Conveyor there."
        elif channel.get("is_read_only") or channel.get("is_thread_only"):
            yield BAD, f"Channel: the app may not post in {name}. Allow it in the channel's settings."
        else:
            yield GOOD, f"Channel: the app is in {name}."
            if _mapping(_mapping(channel, "properties"), "posting_restricted_to"):
                yield (
                    ODD,
                    f"Channel: only some people may post in {name}. See whether the app is one of them.",
                )
        if channel.get("id", channel_id) != channel_id:
            yield ODD, f"Channel: its id is {channel.get('id')} by now. Put that into SLACK_CHANNEL_ID."
        if not channel.get("is_private"):
            yield (
                ODD,
                f"Channel: {name} is public, so that all members can read the requests and the reasons.",
            )
        if channel.get("is_ext_shared") or channel.get("is_shared"):
            yield (
                ODD,
                f"Channel: {name} is shared with another company, whose people can read everything in it.",
            )

    def _reviewers(self, team: str) -> Iterator[Finding]:
        client, reviewers = self._client, self._settings.reviewers
        if not reviewers:
            yield ODD, f"Reviewers: {EVERYBODY_MAY_DECIDE} Name them in REVIEWERS."
        if len(groups_in(reviewers)) > GROUPS_MOST:
            yield (
                ODD,
                f"Reviewers: more than {GROUPS_MOST} user groups take Slack too long to list, so that their "
                "members can't decide at times. Name fewer.",
            )
        for part in reviewers:
            if "@" in part and self._missing & {"users:read", "users:read.email"}:
                continue  # nobody's address is known
            if part.startswith("@"):
                yield GOOD, f"Reviewers: every full member with a confirmed address at {part[1:]}."
            elif "@" in part:
                yield from self._person(part, team, client.users_lookupByEmail, email=part)
            elif part.startswith("S"):
                yield from self._group(part, team)
            else:
                yield from self._person(part, team, client.users_info, user=part)

    def _group(self, group_id: str, team: str) -> Iterator[Finding]:
        try:
            members = self._ask(self._client.usergroups_users_list, usergroup=group_id).get("users")
        except Refused as error:
            does_not_find = f"Reviewers: Slack does not find the user group {group_id} ({error})."
            yield from self._refused(error, does_not_find)
            return
        if not isinstance(members, list) or not members:
            yield BAD, f"Reviewers: nobody is in the user group {group_id}."
            return
        for member in map(str, members):
            yield from self._person(f"{member} of {group_id}", team, self._client.users_info, user=member)

    def _person(self, part: str, team: str, method: Callable[..., Any], **asked: str) -> Iterator[Finding]:
        try:
            user = _mapping(self._ask(method, **asked), "user")
        except Refused as error:
            yield from self._refused(error, f"Reviewers: Slack does not find {part} ({error}).")
            return
        if bar := barred(user, team, self._enterprise_id):
            yield BAD, f"Reviewers: {part} {BARS[bar]}."
        elif not address_of(user):
            if "users:read.email" not in self._missing:
                yield BAD, f"Reviewers: {part} shows no email address, which Conveyor needs."
        elif "@" in part and not confirmed_address_of(user):
            yield BAD, f"Reviewers: Slack has not confirmed the address {part}. Name this person by Slack id."
        else:
            name = _mapping(user, "profile").get("real_name") or user.get("name")
            yield GOOD, f"Reviewers: {part} is {name}."

    def _socket(self) -> Iterator[Finding]:
        """Open one and close it at once: Slack might send a click to it that is meant for the app."""
        try:
            open_socket(self._client, self._settings.slack_app_token or "").close()
        except SocketFailed as error:
            if str(error).startswith("apps.connections.open says"):
                hint = "Look at SLACK_APP_TOKEN and its scope connections:write, and switch Socket Mode on."
            else:
                hint = "This machine has to reach wss://*.slack.com, through its proxy if it has one."
            yield BAD, f"Socket: {error}. {hint}"
        else:
            yield GOOD, "Socket: it opens, and Slack says hello."

    def _refused(self, error: Refused, otherwise: str) -> Iterator[Finding]:
        """Report a missing scope as that, once, and any other refusal by this sentence."""
        if not error.needed:
            yield BAD, otherwise
        elif not error.needed & self._missing:
            self._missing |= error.needed
            yield BAD, f"Slack: the scope {' or '.join(sorted(error.needed))} is missing. {INSTALL_AGAIN}"

    def _ask(self, method: Callable[..., Any], **arguments: str) -> Any:
        """Return Slack's answer. Raises Refused and NotSlack."""
        name = method.__name__.replace("_", ".")
        try:
            return _patiently(method, **arguments)
        except SlackApiError as error:
            answer = error.response
            said = str(answer.get("error"))
            if said in BUSY or not re.fullmatch(r"[a-z_]{1,60}", said):
                hint = "Try again in a minute; look at status.slack.com and, if you set it, SLACK_API_URL."
                raise NotSlack(f"{name} says {answer.status_code} instead of an answer. {hint}") from error
            scopes = str(answer.get("needed") or "unknown") if said == "missing_scope" else ""
            raise Refused(said, set(filter(None, scopes.split(",")))) from error
        except Exception as error:
            # Slack's library raises many kinds of errors when no answer comes.
            failed = error if isinstance(error, CallFailed) else Exception(type(error).__name__)
            raise NotSlack(no_answer(self._settings.slack_api_url, failed)) from error


def _patiently(method: Callable[..., Any], **arguments: str) -> Any:
    """Return Slack's answer. If Slack was asked too often, wait for as long as it says, and ask once more."""
    try:
        return method(**arguments)
    except SlackApiError as error:
        if error.response.status_code != 429:
            raise
        time.sleep(retry_after(error.response.headers, 1.0))
        return method(**arguments)


def _mapping(answer: Any, key: str) -> Mapping[str, Any]:
    found = answer.get(key)
    return found if isinstance(found, Mapping) else {}
