"""Tells whether somebody may read the answers, which contain internal reasons, as the cards do."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import blocks
from listeners.answers import identity_of
from listeners.errors import Refusal
from listeners.payloads import user_of
from workspace.channel import Channel
from workspace.reviewers import Reviewers, Unknown
from workspace.slack_errors import ChannelError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Members:
    """The members of the channel that holds the cards, among them people who can't decide requests."""

    _channel: Channel
    _reviewers: Reviewers

    def check(self, body: Mapping[str, Any]) -> str:
        """Return the id under which the channel lists whoever asks. Raises Refusal if it does not list them.

        In an organization the channel may list a person under another id than the one that the payload has.
        """
        organization = identity_of(self._channel).enterprise_id
        ids = frozenset([user_of(body)])
        try:
            members = self._channel.members()
            if organization and not ids & members:
                ids = self._reviewers.ids(user_of(body), organization)
        except (ChannelError, Unknown) as error:
            log.warning("members=unknown cause=%r", str(error))
            raise Refusal(blocks.MEMBERS_UNKNOWN, "members unknown") from error
        if not ids & members:
            raise Refusal(blocks.not_in_channel(self._channel.id), "not in the channel")
        return min(ids & members)
