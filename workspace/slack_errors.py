"""What Slack's errors mean for all messages and for one. A call to Slack raises one of these errors:

ChannelError               Slack did not do what was asked
├── SlackDown              no message would get through now: there were too many, or the token is wrong
│   ├── ChannelClosed      no message gets through to this channel, but perhaps to others
│   └── PostingRestricted  no new message gets through, but perhaps changes of old ones
├── SlackSilent            no usable answer came, and what was asked may have been done
├── CardRefused            Slack takes other messages, but not this one
│   └── CardUnfit          it is too long, or Slack does not take its layout
└── CardLost               the message is not there anymore, or this app may not change it
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import SlackResponse

from deadline import CallFailed, retry_after

# Slack's errors that are no fault of the message: every other call would fail with them as well.
NOT_THE_MESSAGE = {
    "access_denied",
    "accesslimited",
    "account_inactive",
    "deprecated_endpoint",
    "ekm_access_denied",
    "enterprise_is_restricted",
    "invalid_auth",
    "method_deprecated",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "org_login_required",
    "ratelimited",
    "rate_limited",
    "team_access_not_granted",
    "team_added_to_org",
    "team_not_found",
    "token_expired",
    "token_revoked",
    "two_factor_setup_required",
}
# The same for the calls about one channel: it is archived, or the app is not in it.
CLOSED_TO_US = {
    "channel_not_found",
    "external_channel_migrating",
    "is_archived",
    "is_inactive",
    "not_in_channel",
}
# The errors that begin with `restricted_action` are about all messages, but for these two if it is a reply.
ABOUT_ONE_THREAD = {"restricted_action_non_threadable_channel", "restricted_action_thread_locked"}
# Slack's errors after which what was asked may have been done.
MAYBE_DONE = {"fatal_error", "internal_error", "request_timeout", "service_unavailable"}
# Slack's errors for what a message says: a shorter or plainer one gets through.
UNFIT = {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text"}
# Slack's errors for a card that cannot be changed anymore, so that another has to take its place.
LOST = {"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed"}

# What is wrong where Slack answers with one of these errors, and what to do: for /readyz and the log.
ARCHIVED = "the channel is archived. Unarchive it, or set SLACK_CHANNEL_ID to another one and restart"
PROBLEMS = {
    "channel_not_found": (
        "the app can't find the channel SLACK_CHANNEL_ID. Copy the ID again; if the channel is private, "
        "type /invite @Conveyor there"
    ),
    "is_archived": ARCHIVED,
    "is_inactive": ARCHIVED,
    "message_limit_exceeded": (
        "the workspace has reached its message limit (message_limit_exceeded). Ask a workspace admin"
    ),
    "not_in_channel": "the app is not in the channel. Type /invite @Conveyor there",
}
NO_SCOPE = (
    "the scope {} is missing. Reinstall your Slack app and grant it; if Slack doesn't offer it, first add it "
    "on the app's OAuth & Permissions page"
)
RESTRICTED = (
    "the app may not post in the channel ({}). Ask whoever manages the channel to allow it in the channel's "
    "posting permissions"
)
OTHERWISE = "{} fails with {}. Slack's page about that method explains the error"


class ChannelError(Exception):
    """Slack did not do what was asked; the text is for the log."""


class SlackDown(ChannelError):
    """No message would get through now: there were too many, or the token is wrong.

    `retry_after` is the seconds that Slack asked to wait before `method` is called again, or 0.0 if it is not
    about too many calls. Then `problem` says in a sentence what is wrong, and what to do.
    """

    def __init__(self, text: str, retry_after: float = 0.0, problem: str = "", method: str = "") -> None:
        super().__init__(text)
        self.retry_after = retry_after
        self.problem = problem
        self.method = method


class ChannelClosed(SlackDown):
    """No message gets through to this channel, but perhaps to others."""


class PostingRestricted(SlackDown):
    """No new message gets through, but perhaps changes of old ones."""


class SlackSilent(ChannelError):
    """No usable answer came. `maybe_done` says whether what was asked may have been done."""

    def __init__(self, text: str, *, maybe_done: bool) -> None:
        super().__init__(text)
        self.maybe_done = maybe_done


class CardRefused(ChannelError):
    """Slack takes other messages, but not this one."""


class CardUnfit(CardRefused):
    """The message is too long, or Slack does not take its layout."""


class CardLost(ChannelError):
    """The message is not there anymore, or this app may not change it."""


def call(method: Callable[..., SlackResponse], **arguments: Any) -> SlackResponse:
    """Return Slack's answer, or raise the ChannelError that says what went wrong."""
    name = method.__name__
    try:
        return method(**arguments)
    except SlackApiError as error:
        raise _error(name, error.response, is_reply="thread_ts" in arguments) from error
    except CallFailed as error:
        raise SlackSilent(f"{name}: {error}", maybe_done=error.sent) from error
    except (SlackClientError, OSError, ValueError) as error:
        raise SlackSilent(f"{name}: {type(error).__name__}", maybe_done=True) from error


def _error(name: str, answer: Any, *, is_reply: bool) -> ChannelError:
    """Return the error for an answer in which Slack says that a call failed; `name` is that of the call."""
    status = getattr(answer, "status_code", 0)
    data = answer.data if isinstance(getattr(answer, "data", None), dict) else {}
    error = str(data.get("error") or "")
    metadata = data.get("response_metadata")
    messages = metadata.get("messages") if isinstance(metadata, dict) else None
    details = "; ".join(map(str, messages)) if isinstance(messages, list) else ""
    needed = f" needed={_scope_in(data)}" if error == "missing_scope" else ""
    text = f"{name}: {status} {error}{needed}{f' ({details})' if details else ''}"
    if status == 429 or error in ("ratelimited", "rate_limited"):
        wait = retry_after(getattr(answer, "headers", None) or {}, 1.0)
        return SlackDown(text, max(wait, 1.0), method=name)
    # What is not one of Slack's names (the SDK puts a page that is no JSON there) doesn't say what was done.
    if not error.replace("_", "").isalnum() or status >= 500 or error in MAYBE_DONE:
        return SlackSilent(text, maybe_done=True)
    problem = PROBLEMS.get(error) or OTHERWISE.format(name.replace("_", ".", 1), error)
    if error in CLOSED_TO_US:
        return ChannelClosed(text, problem=problem)
    if error == "missing_scope":
        return SlackDown(text, problem=NO_SCOPE.format(_scope_in(data)))
    if error in NOT_THE_MESSAGE:
        return SlackDown(text, problem=problem)
    if error == "message_limit_exceeded":
        return PostingRestricted(text, problem=problem)
    if error.startswith("restricted_action") and not (is_reply and error in ABOUT_ONE_THREAD):
        return PostingRestricted(text, problem=RESTRICTED.format(error))
    if error in LOST:
        return CardLost(text)
    return CardUnfit(text) if error in UNFIT else CardRefused(text)


def _scope_in(data: Mapping[str, Any]) -> str:
    """Return the scope that Slack says is needed."""
    needed = str(data.get("needed") or "")
    return needed if re.fullmatch(r"[a-z_.:,]{1,200}", needed) else "that Slack does not name"
