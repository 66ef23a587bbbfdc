"""Who may decide: the setting REVIEWERS, applied to people as Slack describes them.

MayNot          this person may not decide
├── NotAMember  a guest, a bot, somebody deactivated or from another workspace
├── NotListed   a member whom REVIEWERS does not name
├── NoAddress   a member without a confirmed email address that the app can see
└── Unknown     Slack did not say who this is, or who is in a user group that may decide
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from typing import Any

from slack_sdk import WebClient

import addresses
from ledger.rows import Reviewer
from workspace.slack_client import slack_error

log = logging.getLogger(__name__)

CACHED_SECONDS = 60.0
PEOPLE_MOST = 1000  # so many are remembered at once


class Bar(Enum):
    """What keeps a person from deciding, whomever REVIEWERS names."""

    DEACTIVATED = auto()
    BOT = auto()
    GUEST = auto()
    OTHER_WORKSPACE = auto()
    NO_ADDRESS = auto()


class MayNot(Exception):
    """This person may not decide."""


class NotAMember(MayNot):
    """A guest, a bot, somebody deactivated or from another workspace."""


class NotListed(MayNot):
    """A member whom the setting REVIEWERS does not name."""


class NoAddress(MayNot):
    """A member without a confirmed email address that the app can see."""


class Unknown(MayNot):
    """Slack did not say who this is, or who is in a user group that may decide."""


def barred(user: Mapping[str, Any], team_id: str) -> Bar | None:
    """Return what keeps this person from deciding, or None. `user` is what Slack's users.info says."""
    if user.get("deleted"):
        return Bar.DEACTIVATED
    if user.get("is_bot") or user.get("id") == "USLACKBOT":
        return Bar.BOT
    if any(user.get(flag) for flag in ("is_restricted", "is_ultra_restricted", "is_stranger")):
        return Bar.GUEST
    if not team_id or user.get("team_id") != team_id:
        return Bar.OTHER_WORKSPACE
    return None if _confirmed_address(user) else Bar.NO_ADDRESS


class Reviewers:
    """Tells who may decide. What Slack says of a person is remembered for CACHED_SECONDS."""

    def __init__(
        self,
        client: WebClient,
        patient: WebClient,
        allowed: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember whom `allowed`, the setting REVIEWERS, names.

        `client` is for calls that a person waits for, `patient` for lists that take longer.
        """
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

    @property
    def scopes(self) -> set[str]:
        """The scopes without which nobody can be checked."""
        return {"users:read", "users:read.email"} | ({"usergroups:read"} if self._group_ids else set())

    def check(self, user_id: str, team_id: str) -> Reviewer:
        """Return the reviewer with this Slack user id. Raises MayNot if this person may not decide."""
        user = self._user(user_id)
        if user.get("id") != user_id:
            raise NotAMember  # the answer is about somebody else
        if bar := barred(user, team_id):
            raise NoAddress if bar is Bar.NO_ADDRESS else NotAMember
        address = _confirmed_address(user)
        if not self._is_listed(user_id, addresses.folded(address)):
            raise NotListed if self._fresh_groups().keys() >= self._group_ids else Unknown
        name = _profile(user).get("real_name") or user.get("real_name") or user.get("name") or user_id
        return Reviewer(user_id, str(name), address)

    def refresh(self) -> None:
        """Read who is in the user groups that REVIEWERS names. This is too slow to be done during a click."""
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
        """Return whether REVIEWERS names this person; the address is folded (see addresses.py)."""
        if self._everybody or user_id in self._user_ids:
            return True
        if address in self._addresses or addresses.domain(address) in self._domains:
            return True
        return any(user_id in members for members in self._fresh_groups().values())

    def _fresh_groups(self) -> dict[str, frozenset[str]]:
        """Return the members of each user group that was read within CACHED_SECONDS."""
        oldest = self._clock() - CACHED_SECONDS
        return {group: members for group, (read_at, members) in self._members.items() if read_at >= oldest}

    def _user(self, user_id: str) -> dict[str, Any]:
        """Return what Slack says of this person. Raises Unknown."""
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
        if len(self._people) > PEOPLE_MOST:
            self._people.clear()
        self._people[user_id] = (now, user)
        return user


def _confirmed_address(user: Mapping[str, Any]) -> str:
    """Return the email address that Slack has confirmed for this person; empty if there is none."""
    if user.get("is_email_confirmed") is False:
        return ""
    return str(_profile(user).get("email") or "").strip()


def _profile(user: Mapping[str, Any]) -> Mapping[str, Any]:
    profile = user.get("profile")
    return profile if isinstance(profile, Mapping) else {}
