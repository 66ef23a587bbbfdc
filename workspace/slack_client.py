"""Slack's Web API by way of Slack's own library, with calls that end in time."""

import json
from collections.abc import Callable
from typing import Any
from urllib.request import Request

from slack_sdk import WebClient

from deadline import FAILED, OK, REFUSED, CallFailed, Calls, outcome_of
from version import USER_AGENT


class SlackClient(WebClient):
    """Slack's library as it is, but for the HTTP call itself.

    A call takes `seconds` at most, follows no redirect, which would take the token along, and is not
    repeated: a post whose answer was lost may have been made. Methods raise SlackApiError, or CallFailed when
    no answer came.
    """

    def __init__(
        self,
        token: str,
        base_url: str,
        calls: Calls | None = None,
        seconds: float = 10.0,
        may_send: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(token, base_url, retry_handlers=[], user_agent_prefix=USER_AGENT)
        # Bolt makes a client for each click that shares this one's headers and overwrites the agent in them.
        self._user_agent = {"User-agent": self.headers["User-Agent"]}
        self._calls = calls or Calls("Slack", 32)
        self._seconds = seconds
        self._may_send = may_send

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        headers = {**dict(req.header_items()), **self._user_agent}
        try:
            answer = self._calls.request(
                self._seconds, "POST", url, self._may_send, data=req.data, headers=headers
            )
        except CallFailed:
            self._calls.count(FAILED)
            raise
        text = answer.body.decode("utf-8", "replace")
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        outcome = outcome_of(answer.status)
        if not isinstance(parsed, dict):
            parsed = {"ok": False, "error": "<no JSON object>"}
            outcome = FAILED if outcome == OK else outcome
        elif outcome == OK and not parsed.get("ok"):
            outcome = REFUSED  # Slack says no with the status 200
        self._calls.count(outcome)
        return {"status": answer.status, "headers": answer.headers, "body": text, "parsed_body": parsed}


def scopes_of(answer: Any) -> frozenset[str]:
    """Return the scopes that the app has, as each answer of Slack says; empty if this one does not."""
    headers = {name.lower(): str(value) for name, value in dict(answer.headers).items()}
    return frozenset(filter(None, map(str.strip, headers.get("x-oauth-scopes", "").split(","))))


def slack_error(error: Exception) -> str:
    """Return Slack's own name of an error, or the kind of error where Slack gave no answer.

    If a scope is missing, its name follows.
    """
    if isinstance(error, CallFailed):
        return str(error)
    answer = getattr(error, "response", None)
    if answer is None:
        return type(error).__name__
    needed = answer.get("needed")
    return f"{answer.get('error')} needed={needed}" if needed else str(answer.get("error"))
