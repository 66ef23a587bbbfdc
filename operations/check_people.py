"""The part of `check` that asks Slack about the people and user groups in REVIEWERS and REMIND."""

from collections.abc import Callable, Container, Iterator
from typing import Any

from operations.findings import BAD, GOOD, ODD, Finding
from operations.health import EVERYBODY_MAY_DECIDE
from operations.slack_questions import Refused, SlackQuestions, mapping
from settings import Settings
from workspace.mentions import mentionable
from workspace.reviewers import GROUPS_MOST, Bar, address_of, barred, confirmed_address_of, groups_in

# What keeps a person whom REVIEWERS names from deciding.
BARS = {
    Bar.DEACTIVATED: "is deactivated",
    Bar.BOT: "is a bot, and bots can't decide",
    Bar.GUEST: "is a guest, and guests can't decide",
    Bar.OTHER_WORKSPACE: "belongs to another workspace",
}


class PeopleCheck:
    """Asks who these people are. `enterprise_id` is of the app's organization, or empty if it has none."""

    def __init__(self, settings: Settings, slack: SlackQuestions, team: str, enterprise_id: str) -> None:
        self._settings = settings
        self._slack = slack
        self._team = team
        self._enterprise_id = enterprise_id

    def findings(self) -> Iterator[Finding]:
        yield from self._reviewers()
        yield from self._reminders()

    def _reviewers(self) -> Iterator[Finding]:
        client, reviewers = self._slack.client, self._settings.reviewers
        if not reviewers:
            yield ODD, f"Reviewers: {EVERYBODY_MAY_DECIDE}"
        if len(groups_in(reviewers)) > GROUPS_MOST:
            yield (
                ODD,
                f"Reviewers: Slack takes too long to list more than {GROUPS_MOST} user groups, so members "
                "can't always decide. Name fewer groups.",
            )
        for part in reviewers:
            if "@" in part and self._slack.missing & {"users:read", "users:read.email"}:
                continue  # nobody's address is known
            if part.startswith("@"):
                yield GOOD, f"Reviewers: every full member with a confirmed address at {part[1:]}."
            elif "@" in part:
                yield from self._person(part, client.users_lookupByEmail, email=part)
            elif part.startswith("S"):
                yield from self._group(part)
            else:
                yield from self._person(part, client.users_info, user=part)

    def _group(self, group_id: str) -> Iterator[Finding]:
        try:
            members = self._slack.ask(self._slack.client.usergroups_users_list, usergroup=group_id).get(
                "users"
            )
        except Refused as error:
            not_found = f"Reviewers: Slack can't find the user group {group_id} ({error})."
            yield from self._slack.refused(error, not_found)
            return
        if not isinstance(members, list) or not members:
            yield BAD, f"Reviewers: the user group {group_id} is empty."
            return
        for member in map(str, members):
            yield from self._person(f"{member} in {group_id}", self._slack.client.users_info, user=member)

    def _person(self, part: str, method: Callable[..., Any], **asked: str) -> Iterator[Finding]:
        try:
            user = mapping(self._slack.ask(method, **asked), "user")
        except Refused as error:
            yield from self._slack.refused(error, f"Reviewers: Slack can't find {part} ({error}).")
            return
        if bar := barred(user, self._team, self._enterprise_id):
            yield BAD, f"Reviewers: {part} {BARS[bar]}."
        elif not address_of(user):
            if "users:read.email" not in self._slack.missing:
                yield BAD, f"Reviewers: {part} has no email address in Slack, and Conveyor needs one."
        elif "@" in part and not confirmed_address_of(user):
            yield (
                BAD,
                f"Reviewers: Slack hasn't confirmed the address {part}. Use the person's Slack ID instead.",
            )
        else:
            name = mapping(user, "profile").get("real_name") or user.get("name")
            yield GOOD, f"Reviewers: {part} is {name}."

    def _reminders(self) -> Iterator[Finding]:
        """Say which part of REMIND mentions nobody. Those of REVIEWERS were looked at before."""
        settings = self._settings
        if settings.remind_after_hours and not mentionable(settings.remind or settings.reviewers):
            yield ODD, "Reminders: they mention nobody, so few will see them. Name people in REMIND."
        members = self._members() if settings.remind else set()
        for part in settings.remind:
            if "@" in part and self._slack.missing & {"users:read", "users:read.email"}:
                continue  # nobody's address is known
            try:
                yield self._mention(part, members)
            except Refused as error:
                yield from self._slack.refused(error, f"Reminders: {part} mentions nobody (Slack: {error}).")

    def _mention(self, part: str, members: Container[str]) -> Finding:
        """Say whom this part of REMIND mentions; `members` may read the channel. Raises Refused."""
        if "@" not in part and part.startswith("S"):
            if self._slack.ask(self._slack.client.usergroups_users_list, usergroup=part).get("users"):
                return GOOD, f"Reminders: they mention the user group {part}."
            return BAD, f"Reminders: {part} in REMIND mentions nobody: this user group is empty."
        client, asked = self._slack.client, {"email" if "@" in part else "user": part}
        method = client.users_lookupByEmail if "@" in part else client.users_info
        user = mapping(self._slack.ask(method, **asked), "user")
        if user.get("deleted"):
            return BAD, f"Reminders: {part} in REMIND mentions nobody: this person is deactivated."
        name = mapping(user, "profile").get("real_name") or user.get("name")
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
            listed = self._slack.ask(self._slack.client.conversations_members, **channel)
        except Refused:
            return set()  # what is wrong was said before
        is_all = not mapping(listed, "response_metadata").get("next_cursor")
        return set(map(str, listed.get("members") or [])) if is_all else set()
