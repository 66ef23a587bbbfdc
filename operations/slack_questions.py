"""How `check` asks Slack: its answers, its refusals, and which scopes are missing."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from slack_sdk.errors import SlackApiError

from deadline import CallFailed, retry_after
from operations.findings import BAD, Finding, no_answer
from settings import Settings
from workspace.slack_client import SlackClient

INSTALL_AGAIN = (
    "Reinstall your Slack app and grant it. If Slack doesn't offer it, first add it on the app's OAuth & "
    "Permissions page."
)
# Errors of Slack that say nothing about what was asked.
BUSY = {"ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}


class Refused(Exception):
    """Slack refused. The text is Slack's error code; `needed` holds the scopes that it asked for, if any."""

    def __init__(self, error: str, needed: set[str]) -> None:
        super().__init__(error)
        self.needed = needed


class NotSlack(Exception):
    """Nothing answered, or something that isn't Slack. The text is a sentence."""


class SlackQuestions:
    """Asks Slack, and remembers which scopes are missing so as not to report what follows from that."""

    def __init__(self, settings: Settings) -> None:
        self.client = SlackClient(settings.slack_bot_token, settings.slack_api_url)
        self.missing: set[str] = set()
        self._url = settings.slack_api_url

    def refused(self, error: Refused, otherwise: str) -> Iterator[Finding]:
        """Report a missing scope once, and any other refusal with this sentence."""
        if not error.needed:
            yield BAD, otherwise
        elif not error.needed & self.missing:
            self.missing |= error.needed
            yield BAD, f"Slack: the scope {' or '.join(sorted(error.needed))} is missing. {INSTALL_AGAIN}"

    def ask(self, method: Callable[..., Any], **arguments: str) -> Any:
        """Return Slack's answer. Raises Refused and NotSlack."""
        name = method.__name__.replace("_", ".")
        try:
            return _patiently(method, **arguments)
        except SlackApiError as error:
            answer = error.response
            said = str(answer.get("error"))
            if said in BUSY or not re.fullmatch(r"[a-z_]{1,60}", said):
                hint = "Try again in a minute. Check status.slack.com and, if you set it, SLACK_API_URL."
                raise NotSlack(
                    f"{name} answered {answer.status_code}, without a usable answer. {hint}"
                ) from error
            scopes = str(answer.get("needed") or "unknown") if said == "missing_scope" else ""
            raise Refused(said, set(filter(None, scopes.split(",")))) from error
        except Exception as error:
            raise self.not_reached(error) from error

    def not_reached(self, error: Exception) -> NotSlack:
        """Return this error as a NotSlack: Slack's library raises many kinds when there is no answer."""
        failed = error if isinstance(error, CallFailed) else Exception(type(error).__name__)
        return NotSlack(no_answer(self._url, failed))


def _patiently(method: Callable[..., Any], **arguments: str) -> Any:
    """Return Slack's answer. At Slack's rate limit, wait for as long as it says, and ask once more."""
    try:
        return method(**arguments)
    except SlackApiError as error:
        if error.response.status_code != 429:
            raise
        time.sleep(retry_after(error.response.headers, 1.0))
        return method(**arguments)


def mapping(answer: Any, key: str) -> Mapping[str, Any]:
    found = answer.get(key)
    return found if isinstance(found, Mapping) else {}
