"""Who may decide."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from slack_sdk import WebClient

import addresses
from ledger.rows import Reviewer
from workspace.slack_client import slack_error

log = logging.getLogger(__name__)

CACHED_SECONDS = 60.0


class MayNot(Exception):
    """This person may not decide."""


class NotAMember(MayNot):
    """A guest, a bot, somebody deactivated or from another workspace."""


class NotListed(MayNot):
    """A member whom the setting REVIEWERS does not name."""


class NoAddress(MayNot):
    """A member without a confirmed e-mail address that the app can see."""


class Unknown(MayNot):
    """Slack did not say who this is, or who is in a user group that may decide."""


class Reviewers:
    """The setting REVIEWERS, applied to people as Slack describes them."""

    def __init__(
        self,
        client: WebClient,
        patient: WebClient,
        allowed: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`client` is for a person who waits; `patient` for lists that are too long for that."""
        self._client = client
        self._patient = patient
        self._clock = clock
        self._everybody = not allowed
        self._user_ids = {part for part in allowed if part[0] in "UW" and "@" not in part}
        self._group_ids = {part for part in allowed if part[0] == "S" and "@" not in part}
        self._domains = {addresses.domain_folded(part[1:]) for part in allowed if part.startswith("@")}
        self._addresses = {
            addresses.folded(part) for part in allowed if "@" in part and not part.startswith("@")
        }
        self._people: dict[str, tuple[float, dict[str, Any]]] = {}
        self._members: dict[str, tuple[float, frozenset[str]]] = {}

    def check(self, user_id: str, team_id: str) -> Reviewer:
        """The reviewer behind a Slack user id, if it is a full member of our team. Raises MayNot."""
        user = self._user(user_id)
        profile = user.get("profile")
        if not isinstance(profile, dict):
            profile = {}
        barred = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger")
        if user.get("id") != user_id or any(user.get(flag) for flag in barred) or user_id == "USLACKBOT":
            raise NotAMember
        if not team_id or user.get("team_id") != team_id:
            raise NotAMember
        address = str(profile.get("email") or "").strip()
        if user.get("is_email_confirmed") is False:
            address = ""
        if not address:
            raise NoAddress
        if not self._is_listed(user_id, addresses.folded(address)):
            raise NotListed if self._fresh_groups().keys() >= self._group_ids else Unknown
        name = profile.get("real_name") or user.get("real_name") or user.get("name") or user_id
        return Reviewer(user_id, str(name), address)

    def refresh(self) -> None:
        """Read who is in the listed user groups: too slow to be asked during a click."""
        for group_id in self._group_ids:
            asked_at = self._clock()
            try:
                users = self._patient.usergroups_users_list(usergroup=group_id).get("users")
                if not isinstance(users, list):
                    raise TypeError("an answer without a list of users")
                members = frozenset(map(str, users))
            except Exception as error:
                # Whatever it was: an unknown membership means no, so a failure only has to be told.
                log.warning("user_group=%s cause=%r", group_id, slack_error(error))
                continue
            self._members[group_id] = (asked_at, members)

    def _is_listed(self, user_id: str, address: str) -> bool:
        if self._everybody or user_id in self._user_ids:
            return True
        if address in self._addresses or addresses.domain(address) in self._domains:
            return True
        return any(user_id in members for members in self._fresh_groups().values())

    def _fresh_groups(self) -> dict[str, frozenset[str]]:
        oldest = self._clock() - CACHED_SECONDS
        return {group: members for group, (read_at, members) in self._members.items() if read_at >= oldest}

    def _user(self, user_id: str) -> dict[str, Any]:
        now = self._clock()
        known = self._people.get(user_id)
        if known and known[0] > now - CACHED_SECONDS:
            return known[1]
        try:
            user = self._client.users_info(user=user_id).get("user")
        except Exception as error:
            # Slack's refusal, its silence and its nonsense all leave the same doubt.
            log.warning("users_info=failed user=%s cause=%r", user_id, slack_error(error))
            raise Unknown from error
        if not isinstance(user, dict):
            raise Unknown
        if len(self._people) > 1000:
            self._people.clear()
        self._people[user_id] = (now, user)
        return user
