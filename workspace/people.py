"""What Slack says of people, asked again in time about those who decide: their clicks then need no call."""

import logging
from collections.abc import Callable, Iterable
from itertools import islice
from math import inf
from typing import Any

from slack_sdk import WebClient

from workspace.slack_client import scopes_of
from workspace.slack_errors import ChannelError, SlackDown, SlackSilent, call

log = logging.getLogger(__name__)

REMEMBERED_SECONDS = 60.0
REMEMBERED_MOST = 1000  # people
FRESH_SECONDS = 40.0  # after which somebody who decides is asked about again
FRESH_MOST = 20  # people: Slack takes 100 calls a minute, and so three processes make 90
PAUSE_SECONDS = 1.0  # between two calls that nobody waits for, or two looks whether one is due
FAILED_SECONDS = 10.0


class People:
    """Remembers for REMEMBERED_SECONDS what users.info says of a person."""

    def __init__(
        self, client: WebClient, learn_scopes: Callable[[frozenset[str]], object], clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._learn_scopes = learn_scopes
        self._clock = clock
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}
        self._refreshed_at: dict[str, float] = {}

    def info(self, user_id: str) -> dict[str, Any]:
        """Return what Slack says of this person; it is asked if that is not known. Raises ChannelError."""
        known = self._known.get(user_id)
        if known and known[0] > self._clock() - REMEMBERED_SECONDS:
            return known[1]
        try:
            return self._ask(user_id)
        except ChannelError as error:
            log.warning("users_info=failed user=%s cause=%r", user_id, str(error))
            raise

    def refresh(self, user_ids: Iterable[str]) -> float:
        """Ask about one of the first FRESH_MOST of these people, if that is due.

        Return the seconds until this should be called again.
        """
        now = self._clock()
        asked_at = {each: self._asked_at(each) for each in islice(user_ids, FRESH_MOST)}
        user_id = min(asked_at, key=lambda each: asked_at[each], default="")
        if not user_id or asked_at[user_id] > now - FRESH_SECONDS:
            return PAUSE_SECONDS
        self._refreshed_at = {each: at for each, at in self._refreshed_at.items() if each in asked_at}
        self._refreshed_at[user_id] = now  # also if there is no answer: it must not hold up the others
        try:
            self._ask(user_id)
        except SlackDown as error:
            return error.retry_after or FAILED_SECONDS
        except SlackSilent:
            return FAILED_SECONDS
        except ChannelError as error:  # about this person; a click asks again, and then the log says it
            log.debug("users_info=failed user=%s cause=%r", user_id, str(error))
        return PAUSE_SECONDS

    def _asked_at(self, user_id: str) -> float:
        return max(self._known.get(user_id, (-inf,))[0], self._refreshed_at.get(user_id, -inf))

    def _ask(self, user_id: str) -> dict[str, Any]:
        """Return what Slack says of this person now. Raises ChannelError."""
        now = self._clock()
        answer = call(self._client.users_info, user=user_id)
        self._learn_scopes(scopes_of(answer))
        user = answer.get("user")
        if not isinstance(user, dict):
            raise ChannelError("users_info: an answer without the user")
        if len(self._known) > REMEMBERED_MOST:
            self._known.clear()
        self._known[user_id] = (now, user)
        return user
