"""The few Conveyor calls that the app makes, with typed answers and four kinds of error.

Everything that is not certain about Conveyor's API stands in this module alone.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests

from deadline import DeadlineExceeded, call_within

CALL_SECONDS = 10.0  # for a whole call
READ_SECONDS = 5.0  # for each read within it
MAX_ANSWER_BYTES = 10_000_000
PER_PAGE = 100  # Conveyor: 1 to 100
MAX_PAGES = 1000
REASON_CHARS = 300
OPEN_STATUSES = ("initial", "requested")
CLOSED_STATUSES = ("approved", "ignored")

# A choice whose answer is not certain: the public reference shows query parameters, a working client of 2021
# sent JSON. Either "json" or "params".
WRITE_AS = "json"


class ConveyorError(Exception):
    """Something other than the answer that was asked for; the text is for the log."""


class Refused(ConveyorError):
    """Conveyor said no (4xx). `reason` is its own sentence, plain and short, or empty."""

    def __init__(self, text: str, reason: str = "", status: int = 0) -> None:
        super().__init__(text)
        self.reason = reason
        self.status = status


class NotFound(Refused):
    """Conveyor has nothing under this id."""


class NotAllowed(ConveyorError):
    """403 with nothing in it: the key is wrong or inactive, or may not make this call."""


class Unavailable(ConveyorError):
    """No usable answer. A write that ends like this may have happened."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


@dataclass(frozen=True)
class AuthorizationRequest:
    """A customer's request for access; `received_at` in seconds since 1970."""

    id: str
    status: str
    email: str
    message: str
    dataroom_id: str
    link: str
    received_at: float

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES


@dataclass(frozen=True)
class AccessGroup:
    """A set of documents that can be granted in one data room, or in all of them if it names none."""

    id: str
    name: str
    dataroom_id: str = ""

    def is_in(self, dataroom_id: str) -> bool:
        return self.dataroom_id in ("", dataroom_id)


@dataclass(frozen=True)
class Authorization:
    """What a customer was granted. `groups` is None where the answer does not list them."""

    id: str
    email: str
    status: str
    dataroom_id: str
    groups: tuple[AccessGroup, ...] | None
    updated_at: float


@dataclass(frozen=True)
class Company:
    """What Conveyor knows of a domain: how many of its people have access, and when they were last active."""

    with_access: int
    latest_activity_at: float
    crm_link: str


@dataclass(frozen=True)
class Page:
    """One page of the open queue; `malformed` counts entries that could not be read."""

    requests: tuple[AuthorizationRequest, ...]
    number: int
    total: int
    malformed: int


class ConveyorClient:
    """Conveyor's API v2 for one key. Safe to share between threads."""

    def __init__(self, api_url: str, key: str) -> None:
        self._api_url = api_url
        self._key = key

    def queue(self) -> Iterator[Page]:
        """All pages of the open requests. Raises ConveyorError when one of them cannot be had whole."""
        for number, answer in self._pages("/exchange/authorization_request_queue"):
            items = _objects(answer, "authorization_requests")
            read = [request for request in map(_request, items) if request]
            yield Page(tuple(read), number, _total_pages(answer), len(items) - len(read))

    def access_groups(self) -> list[AccessGroup]:
        """Every access group of the account, in Conveyor's order."""
        groups: dict[str, AccessGroup] = {}
        for _, answer in self._pages("/exchange/access_groups"):
            for group in filter(None, map(_group, _objects(answer, "access_groups"))):
                groups.setdefault(group.id, group)
        return list(groups.values())

    def request(self, request_id: str) -> AuthorizationRequest:
        """The request as it is now. Raises NotFound."""
        path = f"/exchange/authorization_requests/{quote(request_id, safe='')}"
        answer = self._call("GET", path)
        request = _request(answer.get("authorization_request", answer))
        if request is None or request.id != request_id:
            raise Unavailable(f"GET {path}: the answer is not this request")
        return request

    def approve(
        self,
        request: AuthorizationRequest,
        reviewer_email: str,
        group_ids: Sequence[str],
        nda_bypass: bool = False,
        expires_at: str = "",
    ) -> Authorization:
        """Grant access, until a day (YYYY-MM-DD) if one is given, and say what was granted.

        Raises Unavailable if that is not certain.
        """
        body: dict[str, object] = {
            "request_id": request.id,
            "reviewer_email": reviewer_email,
            "access_group_ids": list(group_ids),
            "nda_bypass": nda_bypass,
        }
        if expires_at:
            body["expires_at"] = expires_at
        answer = self._call("POST", "/exchange/authorizations", write=body)
        granted = _authorization(answer.get("authorization", answer))
        if granted is None or granted.email.casefold() != request.email.casefold():
            raise Unavailable("POST /exchange/authorizations: the answer is not a grant to this address")
        return granted

    def ignore(self, request_id: str, reviewer_email: str) -> None:
        """Reject the request. Raises Unavailable if that is not certain."""
        path = f"/exchange/authorization_requests/{quote(request_id, safe='')}"
        answer = self._call("PATCH", path, write={"status": "ignored", "reviewer_email": reviewer_email})
        request = _request(answer.get("authorization_request", answer))
        if request is None or request.id != request_id or request.status != "ignored":
            raise Unavailable(f"PATCH {path}: the answer does not say that it is ignored")

    def revoke(self, authorization_id: str) -> None:
        """Take access back. Raises Unavailable if it is not certain that it is."""
        path = f"/exchange/authorizations/{quote(authorization_id, safe='')}"
        answer = self._call("PATCH", path, write={"status": "revoked"})
        granted = _authorization(answer.get("authorization", answer))
        if granted is None or granted.id != authorization_id or granted.status != "revoked":
            raise Unavailable(f"PATCH {path}: the answer does not say that it is revoked")

    def company(self, domain: str) -> Company | None:
        """What is known of the people of this domain; None if Conveyor knows nobody there."""
        answer = self._call("GET", "/exchange/connections", {"domain": domain})
        for item in _objects(answer, "connections"):
            if _text(item.get("domain")).casefold() == domain.casefold():
                return _company(item)
        return None

    def authorizations(self, email: str) -> list[Authorization]:
        """What this address was granted, latest change first."""
        found: dict[str, Authorization] = {}
        for _, answer in self._pages("/exchange/authorizations", {"email": email}):
            for granted in filter(None, map(_authorization, _objects(answer, "authorizations"))):
                if granted.email.casefold() == email.casefold():
                    found.setdefault(granted.id, granted)
        return sorted(found.values(), key=lambda granted: granted.updated_at, reverse=True)

    def try_call(self, method: str, path: str, is_about_nothing: bool) -> None:
        """Find out whether the key may make a call. Raises ConveyorError if not.

        Of a call that is about nothing that exists, any refusal but that of the key is the answer wanted.
        """
        try:
            self._call(method, path, write=None if method == "GET" else {})
        except Refused as error:
            if not is_about_nothing or error.status in (401, 403):
                raise

    def every_authorization(self) -> Iterator[Authorization]:
        """What was ever granted to anybody."""
        for _, answer in self._pages("/exchange/authorizations"):
            yield from filter(None, map(_authorization, _objects(answer, "authorizations")))

    def ignored_requests(self) -> Iterator[AuthorizationRequest]:
        """Every request that is ignored."""
        for _, answer in self._pages("/exchange/authorization_requests", {"status": "ignored"}):
            yield from filter(None, map(_request, _objects(answer, "authorization_requests")))

    def _pages(
        self, path: str, params: Mapping[str, str] | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each page with its number. Raises Unavailable when one repeats: then paging is not honoured."""
        previous: object = None
        for number in range(1, MAX_PAGES + 1):
            page = {"page": str(number), "per_page": str(PER_PAGE)}
            answer = self._call("GET", path, {**(params or {}), **page})
            content = {key: value for key, value in answer.items() if key != "page"}
            if content == previous:
                raise Unavailable(f"GET {path}: page {number} repeats the one before")
            yield number, answer
            if number >= _total_pages(answer):
                return
            previous = content
        raise Unavailable(f"GET {path}: more than {MAX_PAGES} pages")

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        write: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """The JSON object that Conveyor answers, or a ConveyorError."""
        name = f"{method} {path}"
        try:
            response, body = call_within(CALL_SECONDS, self._send, method, path, params, write)
        except DeadlineExceeded as error:
            raise Unavailable(f"{name}: no whole answer in {CALL_SECONDS:.0f} s") from error
        except requests.RequestException as error:
            raise Unavailable(f"{name}: {type(error).__name__}") from error
        status = response.status_code
        if status == 403 and not body.strip():
            raise NotAllowed(f"{name}: 403 with an empty body, the key is not accepted")
        if status == 404:
            raise NotFound(f"{name}: 404", status=status)
        if 400 <= status < 500 and status not in (408, 425, 429):
            raise Refused(f"{name}: {status}", _reason(response, body), status)
        if not 200 <= status < 300:
            raise Unavailable(f"{name}: {status}", _retry_after(response))
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"{name}: {status} without JSON") from error
        if not isinstance(answer, dict):
            raise Unavailable(f"{name}: {status} without a JSON object")
        return answer

    def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        write: Mapping[str, object] | None,
    ) -> tuple[requests.Response, bytes]:
        deadline = time.monotonic() + CALL_SECONDS
        sent: dict[str, Any] = {"params": params} if write is None else {WRITE_AS: write}
        # Redirects are not followed: the next host would get the key, and its 200 would look like a grant.
        with requests.request(
            method,
            self._api_url + path,
            **sent,
            headers={"X-API-KEY": self._key, "Accept": "application/json"},
            timeout=READ_SECONDS,
            allow_redirects=False,
            stream=True,
        ) as response:
            body = bytearray()
            for chunk in response.iter_content(65536):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise requests.exceptions.ContentDecodingError("too large an answer")
                if time.monotonic() > deadline:
                    raise requests.exceptions.ReadTimeout("too slow an answer")
            return response, bytes(body)


def clean(text: str) -> str:
    """Text without NUL and lone surrogates, which JSON can carry and neither HTTP nor databases take."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _text(value: object) -> str:
    """A string of theirs, or an empty one; ids may arrive as numbers."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return clean(str(value))


def _objects(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    items = answer.get(key)
    if not isinstance(items, list):
        raise Unavailable(f"an answer without the list “{key}”")
    return [item if isinstance(item, dict) else {} for item in items]


def _total_pages(answer: Mapping[str, Any]) -> int:
    total = answer.get("total_pages", 1)
    if isinstance(total, bool) or not isinstance(total, int):
        raise Unavailable("an answer whose total_pages is not a number")
    return total


def _timestamp(value: object) -> float:
    """Seconds since 1970, or 0.0 for what is no ISO 8601 time."""
    try:
        return max(0.0, datetime.fromisoformat(_text(value)).timestamp())
    except (ValueError, OverflowError, OSError):
        return 0.0


def _request(item: object) -> AuthorizationRequest | None:
    if not isinstance(item, dict):
        return None
    request_id, email = _text(item.get("id")), _text(item.get("email")).strip()
    if not 0 < len(request_id) <= 200 or not email:
        return None
    links = item.get("_links")
    target = links.get("self") if isinstance(links, dict) else None
    link = _text(target.get("href")) if isinstance(target, dict) else ""
    return AuthorizationRequest(
        id=request_id,
        status=_text(item.get("status")),
        email=email,
        message=_text(item.get("message")),
        dataroom_id=_text(item.get("dataroom_id")),
        link=_web_address(link),
        received_at=_timestamp(item.get("requested_at")) or _timestamp(item.get("created_at")),
    )


def _group(item: object) -> AccessGroup | None:
    if not isinstance(item, dict):
        return None
    group_id = _text(item.get("id"))
    # Slack: an option's value has at most 150 characters.
    if not 0 < len(group_id) <= 150:
        return None
    return AccessGroup(group_id, _text(item.get("name")), _text(item.get("dataroom_id")))


def _authorization(item: object) -> Authorization | None:
    if not isinstance(item, dict) or not _text(item.get("id")):
        return None
    embedded = item.get("_embedded")
    listed = embedded.get("access_groups") if isinstance(embedded, dict) else None
    return Authorization(
        id=_text(item.get("id")),
        email=_text(item.get("email")),
        status=_text(item.get("status")),
        dataroom_id=_text(item.get("dataroom_id")),
        groups=tuple(filter(None, map(_group, listed))) if isinstance(listed, list) else None,
        updated_at=_timestamp(item.get("updated_at")),
    )


def _company(item: Mapping[str, Any]) -> Company:
    count = item.get("authorizations_with_access_count")
    link = _text(item.get("crm_link"))
    return Company(
        with_access=count if isinstance(count, int) and 0 < count < 10**9 else 0,
        latest_activity_at=_timestamp(item.get("latest_activity_at")),
        crm_link=_web_address(link),
    )


def _web_address(link: str) -> str:
    return link if link.startswith("https://") and len(link) <= 2000 else ""


def _reason(response: requests.Response, body: bytes) -> str:
    """Conveyor's own words about a refusal, if it gives any that a person can read."""
    if "json" not in response.headers.get("Content-Type", ""):
        return ""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    found = answer
    for key in ("error", "errors", "message"):
        if isinstance(found, dict) and found.get(key):
            found = found[key]
            break
    if isinstance(found, list):
        found = "; ".join(item for item in found if isinstance(item, str))
    if isinstance(found, dict):
        found = found.get("message")
    if not isinstance(found, str) or "<" in found:
        return ""
    return " ".join(found.split())[:REASON_CHARS]


def _retry_after(response: requests.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), 300.0) if text.isascii() and text.isdigit() else 0.0
