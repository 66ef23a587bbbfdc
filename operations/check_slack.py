"""The part of `check` that asks Slack: token, scopes, clock, channel, reviewers, and the socket."""

import re
import time
from collections.abc import Callable, Container, Generator, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from slack_sdk.errors import SlackApiError

from deadline import CallFailed, retry_after
from operations.findings import BAD, GOOD, ODD, Finding, no_answer
from operations.health import EVERYBODY_MAY_DECIDE
from settings import Settings
from workspace.channel import ORG_WIDE, is_org_wide
from workspace.mentions import mentionable
from workspace.reviewers import GROUPS_MOST, Bar, address_of, barred, confirmed_address_of, groups_in
from workspace.slack_client import SlackClient
from workspace.web_socket import SocketFailed, open_socket

CLOCK_SECONDS = 300  # Slack: how old a signed request may be
CLOCK_WARN_SECONDS = 30
SCOPES = {
    "chat:write": "post and update cards",
    "commands": "answer /rooms",
    "channels:history": "find cards in a public channel",
    "groups:history": "find cards in a private channel",
    "channels:read": "see who is in a public channel",
    "groups:read": "see who is in a private channel",
    "users:read": "see who clicked",
    "users:read.email": "see the reviewers' email addresses",
    "usergroups:read": "see who is in the user groups in REVIEWERS",
}
INSTALL_AGAIN = "Add it on your Slack app's OAuth & Permissions page, then reinstall the app."
# What keeps a person whom REVIEWERS names from deciding.
BARS = {
    Bar.DEACTIVATED: "is deactivated",
    Bar.BOT: "is a bot, and bots can't decide",
    Bar.GUEST: "is a guest, and guests can't decide",
    Bar.OTHER_WORKSPACE: "belongs to another workspace",
}
# Errors of Slack that say nothing about what was asked.
BUSY = {"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}


class Refused(Exception):
    """Slack refused. The text is Slack's error code; `needed` holds the scopes that it asked for, if any."""

    def __init__(self, error: str, needed: set[str]) -> None:
        super().__init__(error)
        self.needed = needed


class NotSlack(Exception):
    """Nothing answered, or something that isn't Slack. The text is a sentence."""


class SlackCheck:
    """Asks Slack, and remembers which scopes are missing so as not to report what follows from that."""

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
                yield from self._reminders()
            if self._settings.slack_app_token:
                yield from self._socket()
        except NotSlack as error:
            yield BAD, f"Slack: {error}"
        if not self._settings.slack_app_token:
            yield (
                ODD,
                "Clicks: SLACK_SIGNING_SECRET can't be tried from here. Once the app runs, click a button on "
                "a card: /readyz counts calls that aren't signed with this secret.",
            )

    def _token(self) -> Generator[Finding, None, str]:
        """Return the workspace's ID, or "" if channel and reviewers cannot be checked."""
        try:
            answer = self._ask(self._client.auth_test)
        except Refused as error:
            hint = "Copy SLACK_BOT_TOKEN again from your Slack app's OAuth & Permissions page."
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
                f"Slack: the token belongs to {answer.get('user')} in the workspace {answer.get('team')}.",
            )
        headers = {name.lower(): str(value) for name, value in answer.headers.items()}
        yield from self._scopes(headers.get("x-oauth-scopes"))
        yield from self._clock(headers.get("date", ""))
        return team

    def _scopes(self, header: str | None) -> Iterator[Finding]:
        if header is None:
            yield ODD, "Slack: the answer doesn't list the token's scopes."
            return
        granted = {scope.strip() for scope in header.split(",")} - {""}
        self._missing = SCOPES.keys() - granted
        for scope in sorted(self._missing):
            yield (
                BAD,
                f"Slack: the scope {scope} is missing; the app needs it to {SCOPES[scope]}. {INSTALL_AGAIN}",
            )
        for scope in sorted(granted - SCOPES.keys()):
            yield ODD, f"Slack: the app doesn't need the scope {scope}."
        if not self._missing:
            yield GOOD, "Slack: all scopes are there."

    def _clock(self, date: str) -> Iterator[Finding]:
        try:
            off = time.time() - parsedate_to_datetime(date).timestamp()
        except (TypeError, ValueError):
            yield ODD, "Clock: Slack didn't say what time it is."
            return
        if abs(off) <= CLOCK_WARN_SECONDS:
            yield GOOD, "Clock: it agrees with Slack's."
        elif self._settings.slack_app_token:  # nothing is signed over a socket
            yield (
                ODD,
                f"Clock: it is {off:+.0f} s off Slack's, and so are the times in the log. Set the clock.",
            )
        elif abs(off) <= CLOCK_SECONDS:
            yield (
                ODD,
                f"Clock: it is {off:+.0f} s off Slack's. Beyond {CLOCK_SECONDS} s, every click is refused.",
            )
        else:
            yield (
                BAD,
                f"Clock: it is {off:+.0f} s off Slack's, so every click is refused. Set the clock.",
            )

    def _channel(self, channel_id: str) -> Iterator[Finding]:
        try:
            channel = _mapping(self._ask(self._client.conversations_info, channel=channel_id), "channel")
        except Refused as error:
            # Without groups:read, Slack may say this of a private channel that does exist.
            if str(error) != "channel_not_found" or "groups:read" not in self._missing:
                hint = "Check SLACK_CHANNEL_ID, and invite the app to the channel."
                yield from self._refused(error, f"Channel: Slack says {error} about {channel_id}. {hint}")
            return
        name = f"#{channel.get('name') or channel_id}"
        if channel.get("is_archived"):
            yield BAD, f"Channel: {name} is archived. Unarchive it, or choose another channel."
        elif not channel.get("is_member"):
            yield BAD, f"Channel: the app is not in {name}. Type /invite @Conveyor there."
        elif channel.get("is_read_only") or channel.get("is_thread_only"):
            yield BAD, f"Channel: the app may not post in {name}. Allow it in the channel's settings."
        else:
            yield GOOD, f"Channel: the app is in {name}."
            if _mapping(_mapping(channel, "properties"), "posting_restricted_to"):
                yield (
                    ODD,
                    f"Channel: only some people may post in {name}. Make sure that the app is one of them.",
                )
        if channel.get("id", channel_id) != channel_id:
            yield ODD, f"Channel: its ID is {channel.get('id')} now. Put that into SLACK_CHANNEL_ID."
        if not channel.get("is_private"):
            yield (
                ODD,
                f"Channel: {name} is public, so every member can read requests and reasons.",
            )
        if channel.get("is_ext_shared") or channel.get("is_shared"):
            yield (
                ODD,
                f"Channel: {name} is shared with another company, whose members can read everything in it.",
            )

    def _reviewers(self, team: str) -> Iterator[Finding]:
        client, reviewers = self._client, self._settings.reviewers
        if not reviewers:
            yield ODD, f"Reviewers: {EVERYBODY_MAY_DECIDE}"
        if len(groups_in(reviewers)) > GROUPS_MOST:
            yield (
                ODD,
                f"Reviewers: Slack takes too long to list more than {GROUPS_MOST} user groups, so members "
                "can't always decide. Name fewer groups.",
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
            not_found = f"Reviewers: Slack can't find the user group {group_id} ({error})."
            yield from self._refused(error, not_found)
            return
        if not isinstance(members, list) or not members:
            yield BAD, f"Reviewers: the user group {group_id} is empty."
            return
        for member in map(str, members):
            yield from self._person(f"{member} in {group_id}", team, self._client.users_info, user=member)

    def _person(self, part: str, team: str, method: Callable[..., Any], **asked: str) -> Iterator[Finding]:
        try:
            user = _mapping(self._ask(method, **asked), "user")
        except Refused as error:
            yield from self._refused(error, f"Reviewers: Slack can't find {part} ({error}).")
            return
        if bar := barred(user, team, self._enterprise_id):
            yield BAD, f"Reviewers: {part} {BARS[bar]}."
        elif not address_of(user):
            if "users:read.email" not in self._missing:
                yield BAD, f"Reviewers: {part} has no email address in Slack, and Conveyor needs one."
        elif "@" in part and not confirmed_address_of(user):
            yield (
                BAD,
                f"Reviewers: Slack hasn't confirmed the address {part}. Use the person's Slack ID instead.",
            )
        else:
            name = _mapping(user, "profile").get("real_name") or user.get("name")
            yield GOOD, f"Reviewers: {part} is {name}."

    def _reminders(self) -> Iterator[Finding]:
        """Say which part of REMIND mentions nobody. Those of REVIEWERS were looked at before."""
        settings = self._settings
        if settings.remind_after_hours and not mentionable(settings.remind or settings.reviewers):
            yield ODD, "Reminders: they mention nobody, so few will see them. Name people in REMIND."
        members = self._members() if settings.remind else set()
        for part in settings.remind:
            if "@" in part and self._missing & {"users:read", "users:read.email"}:
                continue  # nobody's address is known
            try:
                yield self._mention(part, members)
            except Refused as error:
                yield from self._refused(error, f"Reminders: {part} mentions nobody (Slack: {error}).")

    def _mention(self, part: str, members: Container[str]) -> Finding:
        """Say whom this part of REMIND mentions; `members` may read the channel. Raises Refused."""
        if "@" not in part and part.startswith("S"):
            if self._ask(self._client.usergroups_users_list, usergroup=part).get("users"):
                return GOOD, f"Reminders: they mention the user group {part}."
            return BAD, f"Reminders: {part} in REMIND mentions nobody: this user group is empty."
        client, asked = self._client, {"email" if "@" in part else "user": part}
        method = client.users_lookupByEmail if "@" in part else client.users_info
        user = _mapping(self._ask(method, **asked), "user")
        if user.get("deleted"):
            return BAD, f"Reminders: {part} in REMIND mentions nobody: this person is deactivated."
        name = _mapping(user, "profile").get("real_name") or user.get("name")
        if members and user.get("id") not in members:
            return (
                ODD,
                f"Reminders: {part}, {name}, is not in the channel and may not see them. Invite {name}.",
            )
        return GOOD, f"Reminders: they mention {name} ({part})."

    def _members(self) -> set[str]:
        """Return who is in the channel; nobody if Slack does not say, or does not name all at once."""
        channel = {"channel": self._settings.slack_channel_id, "limit": "1000"}
        try:
            listed = self._ask(self._client.conversations_members, **channel)
        except Refused:
            return set()  # what is wrong was said before
        is_all = not _mapping(listed, "response_metadata").get("next_cursor")
        return set(map(str, listed.get("members") or [])) if is_all else set()

    def _socket(self) -> Iterator[Finding]:
        """Open a socket and close it at once: Slack might send it a click that the running app should get."""
        try:
            open_socket(self._client, self._settings.slack_app_token or "").close()
        except SocketFailed as error:
            if str(error).startswith("apps.connections.open says"):
                hint = "Check SLACK_APP_TOKEN and its scope connections:write, and turn on Socket Mode."
            else:
                hint = (
                    "This machine must be able to reach wss://*.slack.com, through its proxy if it has one."
                )
            yield BAD, f"Socket: {error}. {hint}"
        else:
            yield GOOD, "Socket: it opens, and Slack says hello."

    def _refused(self, error: Refused, otherwise: str) -> Iterator[Finding]:
        """Report a missing scope once, and any other refusal with this sentence."""
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
                hint = "Try again in a minute. Check status.slack.com and, if you set it, SLACK_API_URL."
                raise NotSlack(
                    f"{name} answered {answer.status_code}, without a usable answer. {hint}"
                ) from error
            scopes = str(answer.get("needed") or "unknown") if said == "missing_scope" else ""
            raise Refused(said, set(filter(None, scopes.split(",")))) from error
        except Exception as error:
            # Slack's library raises many kinds of errors when there is no answer.
            failed = error if isinstance(error, CallFailed) else Exception(type(error).__name__)
            raise NotSlack(no_answer(self._settings.slack_api_url, failed)) from error


def _patiently(method: Callable[..., Any], **arguments: str) -> Any:
    """Return Slack's answer. At Slack's rate limit, wait for as long as it says, and ask once more."""
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
