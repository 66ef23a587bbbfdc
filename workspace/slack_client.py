"""Slack's Web API by way of Slack's own library, with calls that end in time."""

import json
from collections.abc import Callable
from typing import Any
from urllib.request import Request

from slack_sdk import WebClient

from deadline import CallFailed, Calls


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
        super().__init__(token, base_url, retry_handlers=[])
        self._calls = calls or Calls("Slack", 32)
        self._seconds = seconds
        self._may_send = may_send

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        answer = self._calls.request(
            self._seconds, "POST", url, self._may_send, data=req.data, headers=dict(req.header_items())
        )
        text = answer.body.decode("utf-8", "replace")
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            parsed = {"ok": False, "error": "<no JSON object>"}
        return {"status": answer.status, "headers": answer.headers, "body": text, "parsed_body": parsed}


def slack_error(error: Exception) -> str:
    """Return Slack's own name of an error, or the kind of error where Slack gave no answer."""
    if isinstance(error, CallFailed):
        return str(error)
    answer = getattr(error, "response", None)
    return str(answer.get("error")) if answer is not None else type(error).__name__
