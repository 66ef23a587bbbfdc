"""The part of `check` that asks Slack: token, scopes, clock, channel, and the socket."""

import time
from collections.abc import Generator, Iterable, Iterator
from email.utils import parsedate_to_datetime

from operations.check_people import PeopleCheck
from operations.check_words import WordsCheck
from operations.findings import BAD, GOOD, ODD, Finding
from operations.slack_questions import INSTALL_AGAIN, NotSlack, Refused, SlackQuestions, mapping
from settings import Settings
from workspace.channel import ORG_WIDE, is_org_wide
from workspace.reviewers import groups_in
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
# Whoever installs the app may decline these. The scopes for a kind of channel begin with its key here.
KINDS = {"channels": "public", "groups": "private"}
OPTIONAL = {scope for scope in SCOPES if scope.partition(":")[0] in (*KINDS, "usergroups")}


class SlackCheck:
    """Asks Slack about everything but people, and lets PeopleCheck ask about those."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slack = SlackQuestions(settings)
        self._enterprise_id = ""

    def findings(self) -> Iterator[Finding]:
        try:
            if team := (yield from self._token()):
                yield from self._channel(self._settings.slack_channel_id)
                people = PeopleCheck(self._settings, self._slack, team, self._enterprise_id)
                yield from people.findings()
            if self._settings.slack_app_token:
                yield from self._socket()
            if team:
                yield from WordsCheck(self._slack).findings()
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
            answer = self._slack.ask(self._slack.client.auth_test)
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
        self._slack.missing = SCOPES.keys() - granted
        yield from self._lacks(self._slack.missing - OPTIONAL)
        for scope in sorted(granted - SCOPES.keys()):
            yield ODD, f"Slack: the app doesn't need the scope {scope}."
        if not self._slack.missing:
            yield GOOD, "Slack: all scopes are there."
        elif self._slack.missing <= OPTIONAL:
            yield GOOD, "Slack: the scopes that every installation needs are there."
        if "usergroups:read" in self._slack.missing:
            yield from self._without_user_groups()

    def _lacks(self, scopes: Iterable[str]) -> Iterator[Finding]:
        """Yield a line for each of these scopes, which the app needs here."""
        for scope in sorted(scopes):
            use = SCOPES[scope]
            yield BAD, f"Slack: the scope {scope} is missing; the app needs it to {use}. {INSTALL_AGAIN}"

    def _without_user_groups(self) -> Iterator[Finding]:
        """Say what it costs that the scope usergroups:read is missing."""
        if groups_in(self._settings.reviewers):
            yield from self._lacks(["usergroups:read"])
        elif groups_in(self._settings.remind):
            lost = "this check can't tell whether anybody is in the user groups in REMIND"
            yield ODD, f"Slack: usergroups:read isn't granted, so {lost}."
        else:
            yield GOOD, "Slack: usergroups:read isn't granted, so REVIEWERS can't name user groups."

    def _without_channels(self, kind: str) -> Iterator[Finding]:
        """Say what it costs that scopes for channels are missing; the channel is of this kind."""
        for each, name in KINDS.items():
            missing = sorted(scope for scope in self._slack.missing if scope.startswith(f"{each}:"))
            if each == kind:
                yield from self._lacks(missing)
            elif missing:
                aren = "aren't" if len(missing) > 1 else "isn't"
                lost = f"the cards can't be in a {name} channel"
                yield GOOD, f"Slack: {' and '.join(missing)} {aren} granted, so {lost}."

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
            channel = mapping(
                self._slack.ask(self._slack.client.conversations_info, channel=channel_id), "channel"
            )
        except Refused as error:
            hint = "Check SLACK_CHANNEL_ID, and invite the app to the channel."
            kinds = [kind for kind in KINDS if f"{kind}:read" in self._slack.missing]
            for kind in kinds:
                scopes = f"{kind}:history and {kind}:read"
                hint += f" If it's {KINDS[kind]}, reinstall your Slack app and grant {scopes}."
            said = f"Channel: Slack says {error} about {channel_id}. {hint}"
            needed = [kind for kind in kinds if f"{kind}:read" in error.needed]
            if len(needed) == 1:
                yield from self._without_channels(needed[0])
            elif needed:
                yield BAD, said
            else:
                yield from self._slack.refused(error, said)
            return
        yield from self._without_channels("groups" if channel.get("is_private") else "channels")
        name = f"#{channel.get('name') or channel_id}"
        if channel.get("is_archived"):
            yield BAD, f"Channel: {name} is archived. Unarchive it, or choose another channel."
        elif not channel.get("is_member"):
            yield BAD, f"Channel: the app is not in {name}. Type /invite @Conveyor there."
        elif channel.get("is_read_only") or channel.get("is_thread_only"):
            yield BAD, f"Channel: the app may not post in {name}. Allow it in the channel's settings."
        else:
            yield GOOD, f"Channel: the app is in {name}."
            if mapping(mapping(channel, "properties"), "posting_restricted_to"):
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

    def _socket(self) -> Iterator[Finding]:
        """Open a socket and close it at once: Slack might send it a click that the running app should get."""
        try:
            open_socket(self._slack.client, self._settings.slack_app_token or "").close()
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
