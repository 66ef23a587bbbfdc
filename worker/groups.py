"""Reads who is in the user groups that REVIEWERS names.

One process does so for all: Slack counts their calls together.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

from slack_sdk import WebClient

from ledger.user_groups import LIST_SECONDS, UserGroups
from workspace.slack_errors import ChannelError, SlackDown, SlackSilent, call

log = logging.getLogger(__name__)

READ_SECONDS = 30.0  # between two readings of a group
CALL_SECONDS = 3.2  # between the beginnings of two calls: Slack takes 20 a minute
AT_ONCE = 5  # calls after the start that need not wait, so that a few groups are known at once
AWAY_SECONDS = 60.0  # without a round: another process may have read the groups meanwhile


@dataclass
class Groups:
    """Reads one group after another. May raise LedgerError.

    After a failure, what was read before counts until it is LIST_SECONDS old. This goes by `monotonic` here,
    and by the database's clock where people are checked, which somebody may set.
    """

    client: WebClient
    record: UserGroups
    group_ids: Sequence[str]
    monotonic: Callable[[], float] = time.monotonic
    _asked_at: dict[str, float] = field(default_factory=dict)
    _read_at: dict[str, float] = field(default_factory=dict)
    _problems: dict[str, str] = field(default_factory=dict)
    _calls: int = 0
    _round_at: float = -inf

    def round(self) -> float:
        """Read the group whose turn it is, if it is due; return the seconds until the next."""
        if not self.group_ids:
            return READ_SECONDS
        now = self.monotonic()
        if now - self._round_at > AWAY_SECONDS:
            # What is not known goes first, and then the oldest.
            self._asked_at = {group_id: place - 1e9 for place, group_id in enumerate(self.record.members())}
            self._read_at.clear()
        self._round_at = now
        for group_id in [each for each, at in self._read_at.items() if now - at > LIST_SECONDS]:
            self.record.forget(group_id)
            del self._read_at[group_id]
        group_id = min(self.group_ids, key=lambda each: self._asked_at.get(each, -inf))
        wait = self._asked_at.get(group_id, -inf) + READ_SECONDS - now
        return wait if wait > 0 else self._read(group_id, now)

    def _read(self, group_id: str, now: float) -> float:
        try:
            users = call(self.client.usergroups_users_list, usergroup=group_id).get("users")
            if not isinstance(users, list):
                raise SlackSilent("usergroups_users_list: an answer without users", maybe_done=False)
        except ChannelError as error:
            self._report(group_id, str(error))
            if isinstance(error, SlackDown) and error.retry_after:
                return error.retry_after
        else:
            self.record.keep(group_id, map(str, users), self.monotonic() - now)
            self._read_at[group_id] = now
            self._report(group_id, "")
        self._asked_at[group_id] = now
        self._calls += 1
        return 0.0 if self._calls < AT_ONCE else max(0.0, now + CALL_SECONDS - self.monotonic())

    def _report(self, group_id: str, problem: str) -> None:
        """Log what keeps a group from being read, once each time that it changes."""
        before = self._problems.get(group_id, "")
        self._problems[group_id] = problem
        if problem and problem != before:
            log.warning("user_group=%s cause=%r", group_id, problem)
        elif before and not problem:
            log.info("user_group=%s read=again", group_id)
