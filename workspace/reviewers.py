"""Who may decide: the setting REVIEWERS, applied to people as Slack describes them.

One person may have two ids, one in the workspace and one in the organization; they are compared by both.

MayNot          this person may not decide
├── NotAMember  a guest, a bot, somebody deactivated or from another workspace
├── NotListed   a member whom REVIEWERS does not name
├── NoAddress   a member without an email address that counts
├── NoScope     Slack shows this app nobody's email address, because a scope is missing
└── Unknown     Slack did not say who this is, or who is in a user group that may decide
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from slack_sdk import WebClient

import addresses
from ledger.rows import Reviewer
from ledger.user_groups import UserGroups
from workspace.people import FRESH_MOST, People
from workspace.slack_errors import ChannelError

log = logging.getLogger(__name__)

NAMED_MOST = 3  # reviewers whom a sentence names
GROUPS_MOST = 30  # user groups whose members can be read again before what is known of them gets too old
EMAIL_SCOPE = "users:read.email"


class Bar(Enum):
    """What keeps a person from deciding, whomever REVIEWERS names."""

    DEACTIVATED = auto()
    BOT = auto()
    GUEST = auto()
    OTHER_WORKSPACE = auto()


@dataclass(frozen=True)
class WhoDecides:
    """Whom a sentence can name as the people who may decide: NAMED_MOST parts of REVIEWERS at most.

    `ids` are of people (U…, W…) and of user groups (S…), in the order of REVIEWERS: block_kit.mention shows
    one of them. `domains` are those whose confirmed addresses may decide, such as "example.com". `more` says
    that others may decide too. If `everybody` may, nothing is named.
    """

    ids: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    more: bool = False
    everybody: bool = False


class MayNot(Exception):
    """This person may not decide."""


class NotAMember(MayNot):
    """A guest, a bot, somebody deactivated or from another workspace."""


class NotListed(MayNot):
    """A member whom the setting REVIEWERS does not name."""


class NoAddress(MayNot):
    """A member without an email address that counts.

    If REVIEWERS names the person or a user group, the address in their profile counts, and otherwise only one
    that Slack has confirmed: nobody may become a reviewer by typing an address.
    """


class NoScope(MayNot):
    """Slack shows this app nobody's email address, because a scope is missing."""


class Unknown(MayNot):
    """Slack did not say who this is, or who is in a user group that may decide."""


def barred(user: Mapping[str, Any], team_id: str, enterprise_id: str = "") -> Bar | None:
    """Return what keeps this person from deciding, or None. `user` is what Slack's users.info says.

    The ids are those of the app's workspace and of its organization, which is empty if it has none.
    """
    if user.get("deleted"):
        return Bar.DEACTIVATED
    if user.get("is_bot") or user.get("id") == "USLACKBOT":
        return Bar.BOT
    if any(user.get(flag) for flag in ("is_restricted", "is_ultra_restricted", "is_stranger")):
        return Bar.GUEST
    return None if _is_in(user, team_id, enterprise_id) else Bar.OTHER_WORKSPACE


def groups_in(allowed: Iterable[str]) -> list[str]:
    """Return the ids of the user groups that `allowed`, the setting REVIEWERS, names."""
    return [part for part in allowed if part.startswith("S") and "@" not in part]


def address_of(user: Mapping[str, Any]) -> str:
    """Return the email address that this person's profile shows; empty if there is none."""
    return str(_mapping(user, "profile").get("email") or "").strip()


def confirmed_address_of(user: Mapping[str, Any]) -> str:
    """Return the same address, unless Slack says that it is not confirmed."""
    return "" if user.get("is_email_confirmed") is False else address_of(user)


class Reviewers:
    """Tells who may decide."""

    def __init__(
        self,
        client: WebClient,
        groups: UserGroups,
        allowed: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
        user_id_of: Callable[[str], str] = lambda address: "",
    ) -> None:
        """Remember whom `allowed`, the setting REVIEWERS, names. `groups` says who is in user groups.

        `user_id_of` returns the id of whoever has an address, from memory; empty if it is not known.
        """
        self._allowed = tuple(dict.fromkeys(allowed))
        self._user_id_of = user_id_of
        self._groups = groups
        self._everybody = not allowed
        self._user_ids = {part for part in allowed if part[0] in "UW" and "@" not in part}
        self._group_ids = set(groups_in(allowed))
        self._domains = {addresses.domain_folded(part[1:]) for part in allowed if part.startswith("@")}
        self._addresses = {
            addresses.folded(part) for part in allowed if "@" in part and not part.startswith("@")
        }
        self._scopes = {"users:read", EMAIL_SCOPE, *(["usergroups:read"] if self._group_ids else [])}
        self._missing: list[str] = []
        self._people = People(client, self.learn_scopes, clock)
        self._decided: list[str] = []  # ids of people who were found to be reviewers, the last one first

    def check(self, user_id: str, team_id: str, enterprise_id: str = "") -> Reviewer:
        """Return the reviewer with this Slack user id. Raises MayNot if this person may not decide.

        Raises LedgerError if it depends on a user group and the ledger cannot be read.
        """
        user = self._user(user_id)
        ids = _ids(user, enterprise_id)
        if user_id not in ids:
            raise NotAMember  # the answer is about somebody else
        if barred(user, team_id, enterprise_id):
            raise NotAMember
        address = address_of(user)
        groups = self._groups.members() if self._group_ids else {}
        in_group = any(ids & groups[each] for each in self._group_ids & groups.keys())
        if not (ids & self._user_ids or in_group):
            address = confirmed_address_of(user)
            if not self._lists(addresses.folded(address)):
                if not groups.keys() >= self._group_ids:
                    raise Unknown
                if address:
                    raise NotListed
        if not address:
            raise NoScope if EMAIL_SCOPE in self._missing and not address_of(user) else NoAddress
        self._decided = [user_id, *(each for each in self._decided if each != user_id)][:FRESH_MOST]
        name = _mapping(user, "profile").get("real_name") or user.get("real_name") or user.get("name")
        return Reviewer(user_id, str(name or user_id), address)

    def refresh(self) -> float:
        """Ask Slack in time about those who may decide, so that their clicks need no call.

        Whoever decided last comes first. Return the seconds until this should be called again. Raises
        LedgerError.
        """
        return self._people.refresh(dict.fromkeys([*self._decided, *self._listed()]))

    def _listed(self) -> Iterator[str]:
        """Yield the ids of the people whom REVIEWERS names, and then of those in its user groups."""
        for part in self._allowed:
            if part in self._user_ids:
                yield part
            elif found := self._user_id_of(part):
                yield found
        groups = self._groups.members() if self._group_ids else {}
        for group_id in sorted(self._group_ids & groups.keys()):
            yield from sorted(groups[group_id])

    def who_decides(self) -> WhoDecides:
        """Return whom a sentence can name as the people who may decide, without any call."""
        if self._everybody:
            return WhoDecides(everybody=True)
        ids: dict[str, None] = {}
        domains: dict[str, None] = {}
        unknown = False
        for part in self._allowed:
            if part.startswith("@"):
                domains[part[1:].lower()] = None
            elif found := self._user_id_of(part) if "@" in part else part:
                ids[found] = None
            else:
                unknown = True
        named = tuple(ids)[:NAMED_MOST]
        named_domains = tuple(domains)[: NAMED_MOST - len(named)]
        more = unknown or len(ids) + len(domains) > len(named) + len(named_domains)
        return WhoDecides(named, named_domains, more)

    def is_member(self, user_id: str, team_id: str, enterprise_id: str) -> bool:
        """Return whether this is a full member of the app's workspace. Raises Unknown."""
        user = self._user(user_id)
        return user_id in _ids(user, enterprise_id) and barred(user, team_id, enterprise_id) is None

    def ids(self, user_id: str, enterprise_id: str) -> frozenset[str]:
        """Return the ids under which Slack may list this person. Raises Unknown."""
        ids = _ids(self._user(user_id), enterprise_id)
        return ids if user_id in ids else frozenset()

    def domains(self) -> set[str]:
        """Return the domains that REVIEWERS names, by themselves or in addresses."""
        return self._domains | {addresses.domain(address) for address in self._addresses}

    def learn_scopes(self, scopes: frozenset[str]) -> None:
        """Keep in `problem` which scopes are missing among these, by which people are known.

        An empty set means that Slack did not say which scopes the app has.
        """
        missing = sorted(self._scopes - scopes) if scopes else []
        if missing and missing != self._missing:
            log.warning("reviewers=unknown cause=missing_scope needed=%s", ",".join(missing))
        self._missing = missing

    @property
    def problem(self) -> str:
        """What keeps reviewers from being known, or an empty string."""
        if not self._missing:
            return ""
        return (
            f"the app can't tell who may decide without the scope {', '.join(self._missing)}. "
            "Add it to the Slack app, then reinstall the app"
        )

    def _lists(self, address: str) -> bool:
        """Return whether REVIEWERS names this address or its domain; the address is folded."""
        return self._everybody or address in self._addresses or addresses.domain(address) in self._domains

    def _user(self, user_id: str) -> dict[str, Any]:
        """Return what Slack says of this person. Raises Unknown."""
        try:
            return self._people.info(user_id)
        except ChannelError as error:
            # Slack's refusal, its silence and its nonsense all leave the same doubt.
            raise Unknown from error


def _is_in(user: Mapping[str, Any], team_id: str, enterprise_id: str) -> bool:
    """Return whether this person is of the workspace, which need not be their first one."""
    if not team_id:
        return False
    if user.get("team_id") == team_id:
        return True
    in_organization = _mapping(user, "enterprise_user")
    teams = in_organization.get("teams") or user.get("teams")
    is_ours = bool(enterprise_id) and in_organization.get("enterprise_id") == enterprise_id
    return is_ours and isinstance(teams, list) and team_id in teams


def _ids(user: Mapping[str, Any], enterprise_id: str) -> frozenset[str]:
    """Return the ids of this person, in the workspace and in the organization."""
    in_organization = _mapping(user, "enterprise_user")
    is_ours = bool(enterprise_id) and in_organization.get("enterprise_id") == enterprise_id
    ids = user.get("id"), in_organization.get("id") if is_ours else None
    return frozenset(each for each in ids if isinstance(each, str) and each)


def _mapping(user: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = user.get(key)
    return found if isinstance(found, Mapping) else {}
