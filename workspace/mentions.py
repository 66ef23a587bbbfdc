"""Whom reminders mention, and who has the email addresses that REMIND and REVIEWERS name.

Slack is asked in the background, and its answers are remembered. Nothing here is asked within a click.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slack_sdk import WebClient

import addresses
from settings import MENTIONS_MOST
from workspace.channel import Identity
from workspace.reviewers import barred, confirmed_address_of
from workspace.slack_errors import ChannelError, SlackDown, SlackSilent, call

log = logging.getLogger(__name__)

REMEMBERED_SECONDS = 3600.0


@dataclass(frozen=True)
class _Found:
    """Who has an address, if anybody does. `may_decide` says whether the address makes them a reviewer."""

    until: float
    user_id: str = ""
    may_decide: bool = False


class Mentions:
    """Remembers for REMEMBERED_SECONDS which people have the addresses in `remind` and `reviewers`.

    These are the settings REMIND and REVIEWERS. If the first is empty, the second says whom to remind.
    """

    def __init__(
        self,
        client: WebClient,
        remind: Sequence[str],
        reviewers: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._clock = clock
        self._remind = mentionable(remind or reviewers)
        named = dict.fromkeys([*self._remind, *mentionable(reviewers)])
        self._addresses = [part for part in named if "@" in part]
        self._found: dict[str, _Found] = {}
        self._problems: dict[str, str] = {}

    def ids(self) -> tuple[str, ...]:
        """Return the ids of the people and user groups that a reminder mentions, as far as they are known."""
        ids = (self._user_id(part) if "@" in part else part for part in self._remind)
        return tuple(dict.fromkeys(filter(None, ids)))

    def reviewer_id(self, address: str) -> str:
        """Return the id of whoever may decide by this address of REVIEWERS; empty if that is not known."""
        found = self._found.get(address)
        return found.user_id if found and found.may_decide else ""

    def refresh(self, identity: Identity) -> None:
        """Ask Slack who has those addresses whose answers are missing or old.

        Slack's silence and its refusal to answer anything end the round, and leave what was known before.
        """
        problems: dict[str, str] = {}
        is_answering = True
        for address in self._addresses:
            known = self._found.get(address)
            if known and known.until > self._clock():
                if not known.user_id:
                    problems[address] = self._problems.get(address, "")
                continue
            if not is_answering:
                continue
            try:
                self._found[address] = self._look_up(address, identity)
            except (SlackDown, SlackSilent) as error:
                problems[address] = str(error)
                is_answering = False
            except ChannelError as error:
                self._found[address] = _Found(self._clock() + REMEMBERED_SECONDS)
                problems[address] = str(error)
        self._report(problems)

    def _look_up(self, address: str, identity: Identity) -> _Found:
        """Return who has this address. Raises ChannelError."""
        user = call(self._client.users_lookupByEmail, email=address).get("user")
        user = user if isinstance(user, Mapping) else {}
        user_id = str(user.get("id"))
        if not re.fullmatch("[UW][A-Z0-9]{1,29}", user_id):
            raise SlackSilent("users_lookupByEmail: an answer without the user", maybe_done=False)
        may_decide = not barred(user, identity.team_id, identity.enterprise_id)
        may_decide &= addresses.same(confirmed_address_of(user), address)
        return _Found(self._clock() + REMEMBERED_SECONDS, user_id, may_decide)

    def _user_id(self, address: str) -> str:
        found = self._found.get(address)
        return found.user_id if found else ""

    def _report(self, problems: dict[str, str]) -> None:
        """Log whom Slack doesn't find, and why, once each time that this changes."""
        if problems and problems != self._problems:
            log.warning("mentions=missing of=%r", str(problems))
        elif self._problems and not problems:
            log.info("mentions=complete")
        self._problems = problems


def mentionable(parts: Sequence[str]) -> list[str]:
    """Return the parts of REMIND or REVIEWERS that can be mentioned, MENTIONS_MOST of them: no domains.

    Users and user groups come first, since they need not be looked up.
    """
    named = [part for part in dict.fromkeys(parts) if not part.startswith("@")]
    return sorted(named, key=lambda part: "@" in part)[:MENTIONS_MOST]
