"""What Slack's answers must contain: one without it is no answer, and raises SlackSilent."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from slack_sdk.web import SlackResponse

from workspace.slack_errors import SlackSilent, call

PAGES_MOST = 1000


def listed(name: str, method: Callable[..., SlackResponse], **page: Any) -> Iterator[Any]:
    """Yield every item of a list that Slack gives in pages."""
    cursor = ""
    for _ in range(PAGES_MOST):
        items, following = page_of(name, method, call(method, **page, cursor=cursor or None))
        yield from items
        if not following or following == cursor:
            return
        cursor = following
    raise SlackSilent(f"{method.__name__}: more than {PAGES_MOST} pages", maybe_done=False)


def is_ts(value: object) -> bool:
    """Return whether this is a timestamp by which Slack names a message in its channel."""
    return isinstance(value, str) and re.fullmatch(r"\d{1,12}\.\d{1,9}", value) is not None


def page_of(name: str, method: Callable[..., SlackResponse], answer: SlackResponse) -> tuple[list[Any], str]:
    """Return the items of a page, and the cursor of the next. A page without its list is no answer."""
    items = answer.get(name)
    if not isinstance(items, list):
        raise SlackSilent(f"{method.__name__}: an answer without {name}", maybe_done=False)
    more = answer.get("response_metadata")
    return items, str((more.get("next_cursor") if isinstance(more, dict) else None) or "")


def ts_of(method: Callable[..., SlackResponse], answer: SlackResponse) -> str:
    """Return the ts of the message that was posted or changed. An answer without it is no answer."""
    ts = answer.get("ts")
    if not is_ts(ts):
        raise SlackSilent(f"{method.__name__}: an answer without the message", maybe_done=True)
    return str(ts)
