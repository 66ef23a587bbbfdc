"""The calls to Conveyor that the app makes: each returns a typed value or raises one of these errors.

ConveyorError     Conveyor did not give the answer that was asked for
├── Refused       Conveyor said no (4xx)
│   └── NotFound  Conveyor has nothing under this id
├── NotAllowed    the key is wrong or inactive, or may not make this call
└── Unavailable   no usable answer came, and what was asked may have been done

Whatever is not certain about Conveyor's API is decided in this module alone, and no other module reads JSON
from Conveyor.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

import addresses
from deadline import FAILED, Answer, CallFailed, Calls, outcome_of, retry_after
from text import clean
from version import USER_AGENT

CALL_SECONDS = 10.0  # for a whole call
PER_PAGE = 100  # Conveyor: 1 to 100
MAX_PAGES = 1000
# So many characters of Conveyor's texts are kept. An id that is longer is not taken for one.
REASON_CHARS = 300
ID_CHARS = 200
STATUS_CHARS = 50
NAME_CHARS = 300
MESSAGE_CHARS = 100_000
LINK_CHARS = 2000
OPTION_VALUE_CHARS = 150  # Slack: of the value of an option, which is a group's id here
LATEST = 4_102_444_800.0  # the year 2100: a later time is a mistake, and not every calendar has it
QUEUE = "/exchange/authorization_request_queue"
OPEN_STATUSES = ("initial", "requested")
CLOSED_STATUSES = ("approved", "ignored")
NOTHING = "00000000-0000-0000-0000-000000000000"  # the id of nothing that exists
GATED = "gated"  # the status of access that begins only when the customer has signed the NDA


class ConveyorError(Exception):
    """Conveyor did not give the answer that was asked for; the text is for the log."""


class Refused(ConveyorError):
    """Conveyor said no (4xx). `reason` is Conveyor's own short sentence, or empty."""

    def __init__(self, text: str, reason: str = "", status: int = 0) -> None:
        super().__init__(text)
        self.reason = reason
        self.status = status


class NotFound(Refused):
    """Conveyor has nothing under this id."""


class NotAllowed(ConveyorError):
    """The key is wrong or inactive, or may not make this call: a 403 with an empty body."""


class Unavailable(ConveyorError):
    """No usable answer came, and what was asked may have been done.

    `retry_after` is the seconds that Conveyor asked to wait, or 0.0.
    """

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


@dataclass(frozen=True)
class AuthorizationRequest:
    """A customer's request for access. Times are in seconds since 1970, or 0.0 if Conveyor gives none."""

    id: str
    status: str
    email: str
    message: str
    dataroom_id: str
    link: str
    received_at: float
    updated_at: float = 0.0
    crm_link: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it waits for a decision. One whose status is not known does: nobody may be missed."""
        return self.status not in CLOSED_STATUSES

    @property
    def is_known(self) -> bool:
        """Whether its status is one of those that this app knows."""
        return self.status in OPEN_STATUSES + CLOSED_STATUSES

    def is_about(self, email: str, dataroom_id: str) -> bool:
        """Return whether it is from this address and may be for this Trust Center."""
        return addresses.same(self.email, email) and _may_be_same_id(self.dataroom_id, dataroom_id)


@dataclass(frozen=True)
class AccessGroup:
    """A set of documents that can be granted in one Trust Center, or in each if `dataroom_id` is empty."""

    id: str
    name: str
    dataroom_id: str = ""

    def is_in(self, dataroom_id: str) -> bool:
        """Return whether it can be granted in this Trust Center."""
        return self.dataroom_id in ("", dataroom_id)


@dataclass(frozen=True)
class Authorization:
    """What a customer was granted.

    `groups` is None if the answer does not list them. `ends` is the last day (YYYY-MM-DD), empty if access
    does not end, or None if the answer does not say. `request_id` and `connection_id` are empty if the answer
    names none.
    Times are in seconds since 1970, or 0.0 if Conveyor gives none.
    """

    id: str
    email: str
    status: str
    dataroom_id: str
    groups: tuple[AccessGroup, ...] | None
    updated_at: float
    ends: str | None = None
    request_id: str = ""
    created_at: float = 0.0
    connection_id: str = ""

    def is_in(self, dataroom_id: str) -> bool:
        """Return whether it may be for this Trust Center: one that is not known may be the same."""
        return _may_be_same_id(self.dataroom_id, dataroom_id)


@dataclass(frozen=True)
class Company:
    """How many people of a domain have access, and when they were last active (0.0 if that is unknown)."""

    with_access: int
    latest_activity_at: float
    crm_link: str
    connection_id: str = ""


@dataclass(frozen=True)
class Opened:
    """A document that somebody opened, and when; 0.0 if Conveyor gives no time. `title` may be empty."""

    email: str
    at: float
    title: str


@dataclass(frozen=True)
class Page:
    """One page of the open queue.

    `malformed` counts entries that could not be read, and `total` is how many pages there are.
    """

    requests: tuple[AuthorizationRequest, ...]
    malformed: int
    total: int


class ConveyorClient:
    """Conveyor's API v2 for one key. Threads may share it, and every call may raise ConveyorError."""

    def __init__(
        self,
        api_url: str,
        key: str,
        calls: Calls | None = None,
        may_write: Callable[[], bool] | None = None,
        ends_at: float | None = None,
    ) -> None:
        """Make a client that asks `may_write` right before it sends a write.

        It sends nothing after `ends_at`, a time of the monotonic clock.
        """
        self._api_url = api_url
        self._key = key
        self._calls = calls or Calls("Conveyor", 32)
        self._may_write = may_write
        self._ends_at = ends_at

    def within(self, seconds: float) -> "ConveyorClient":
        """Return the same client, whose calls all end within so many seconds from now."""
        ends_at = time.monotonic() + seconds
        return ConveyorClient(self._api_url, self._key, self._calls, self._may_write, ends_at)

    def queue(self) -> Iterator[Page]:
        """Yield the pages of the open requests. Raises Unavailable when one of them is not whole."""
        return map(_read_page, self._pages(QUEUE))

    def queue_page(self, number: int) -> Page:
        """Return one page of the open requests as it is now.

        Conveyor documents no order of the queue, no filter by time, and no ETag: there is no way to ask only
        for what is new.
        """
        return _read_page(self._call("GET", QUEUE, _page_params(number)))

    def access_groups(self) -> list[AccessGroup]:
        """Return every access group of the account, in Conveyor's order."""
        groups: dict[str, AccessGroup] = {}
        for answer in self._pages("/exchange/access_groups"):
            for group in filter(None, map(_read_group, _objects_in(answer, "access_groups"))):
                groups.setdefault(group.id, group)
        return list(groups.values())

    def request(self, request_id: str) -> AuthorizationRequest:
        """Return the request as it is now. Raises NotFound."""
        path = f"/exchange/authorization_requests/{quote(request_id, safe='')}"
        answer = self._call("GET", path)
        request = _read_request(answer.get("authorization_request", answer))
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
        *,
        by_address: bool = False,
    ) -> Authorization:
        """Grant access, and return what was granted. `expires_at` is the last day (YYYY-MM-DD), or empty.

        With `by_address` it is granted to the address alone, since the request is closed for good; only the
        groups then say in which Trust Center. Raises Unavailable if it is not certain that it was granted.
        """
        body: dict[str, object] = {
            **({"email": request.email} if by_address else {"request_id": request.id}),
            "reviewer_email": reviewer_email,
            "access_group_ids": list(group_ids),
            "nda_bypass": nda_bypass,
        }
        if expires_at:
            body["expires_at"] = expires_at
        answer = self._call("POST", "/exchange/authorizations", write=body)
        granted = _read_authorization(answer.get("authorization", answer))
        if (
            granted is None
            or not addresses.same(granted.email, request.email)
            or not granted.is_in(request.dataroom_id)
            or not _may_be_same_id(granted.request_id, request.id)
            or granted.status == "revoked"
        ):
            raise Unavailable("POST /exchange/authorizations: the answer is not what this request is granted")
        return granted

    def ignore(self, request: AuthorizationRequest, reviewer_email: str) -> None:
        """Reject the request. Raises Unavailable if it is not certain that it is rejected."""
        path = f"/exchange/authorization_requests/{quote(request.id, safe='')}"
        answer = self._call("PATCH", path, write={"status": "ignored", "reviewer_email": reviewer_email})
        ignored = _read_request(answer.get("authorization_request", answer))
        if (
            ignored is None
            or ignored.id != request.id
            or ignored.status != "ignored"
            or not ignored.is_about(request.email, request.dataroom_id)
        ):
            raise Unavailable(f"PATCH {path}: the answer does not say that this request is ignored")

    def revoke(self, authorization_id: str) -> None:
        """Take access back. Raises Unavailable if it is not certain that it is taken back."""
        path = f"/exchange/authorizations/{quote(authorization_id, safe='')}"
        answer = self._call("PATCH", path, write={"status": "revoked"})
        granted = _read_authorization(answer.get("authorization", answer))
        if granted is None or granted.id != authorization_id or granted.status != "revoked":
            raise Unavailable(f"PATCH {path}: the answer does not say that it is revoked")

    def change_groups(self, granted: Authorization, group_ids: Sequence[str]) -> Authorization:
        """Replace all groups of an access by these, and return the access as it is then.

        Raises Unavailable if it is not certain that it has exactly these groups.
        """
        path = f"/exchange/authorizations/{quote(granted.id, safe='')}"
        answer = self._call("PATCH", path, write={"access_group_ids": list(group_ids)})
        changed = _read_authorization(answer.get("authorization", answer))
        if (
            changed is None
            or changed.id != granted.id
            or not addresses.same(changed.email, granted.email)
            or changed.status == "revoked"
            or changed.groups is None
            or {group.id for group in changed.groups} != set(group_ids)
        ):
            raise Unavailable(f"PATCH {path}: the answer does not say that it has these groups")
        return changed

    def company(self, domain: str) -> Company | None:
        """Return what is known about the people of this domain, or None if Conveyor knows nobody there."""
        answer = self._call("GET", "/exchange/connections", {"domain": domain})
        wanted = addresses.domain_folded(domain)
        for item in _objects_in(answer, "connections"):
            if addresses.domain_folded(_text_of(item.get("domain"))) == wanted:
                return _read_company(item)
        return None

    def authorizations(self, email: str) -> list[Authorization]:
        """Return what this address was granted, latest change first."""
        found: dict[str, Authorization] = {}
        for answer in self._pages("/exchange/authorizations", {"email": email}):
            for granted in filter(None, map(_read_authorization, _objects_in(answer, "authorizations"))):
                if addresses.same(granted.email, email):
                    found.setdefault(granted.id, granted)
        return sorted(found.values(), key=lambda granted: granted.updated_at, reverse=True)

    def gated(self) -> Iterator[list[str]]:
        """Yield, page by page, the ids of the access that waits for an NDA to be signed.

        Whether Conveyor honors `status` in this call is not certain, so other access is left out here.
        """
        for answer in self._pages("/exchange/authorizations", {"status": GATED}):
            listed = map(_read_authorization, _objects_in(answer, "authorizations"))
            yield [granted.id for granted in listed if granted and granted.status == GATED]

    def documents_opened(self, connection_id: str, since: float) -> Iterator[list[Opened]]:
        """Yield, page by page, the documents that people of a connection have opened.

        Those from before the day of `since` are left out by Conveyor. Raises NotFound.
        """
        # A day earlier, since it is not known in which time zone Conveyor's days begin.
        day = datetime.fromtimestamp(max(since - 86400.0, 0.0), UTC).date().isoformat()
        path = f"/interactions/connections/{quote(connection_id, safe='')}"
        for answer in self._pages(path, {"created_at_start": day}):
            yield list(filter(None, map(_read_opened, _objects_in(answer, "interactions"))))

    def try_documents_opened(self) -> None:
        """Find out whether the key may read which documents people open. Raises as `try_call` does."""
        self.try_call("GET", f"/interactions/connections/{NOTHING}")

    def try_call(self, method: str, path: str) -> None:
        """Make a call about nothing that exists, to find out whether the key may make it.

        Raises ConveyorError if it may not. For any other reason Conveyor may well refuse it.
        """
        try:
            self._call(method, path, write=None if method == "GET" else {})
        except Refused as error:
            if error.status in (401, 403):
                raise

    def every_authorization(self) -> Iterator[Authorization]:
        """Yield what was ever granted to anybody."""
        for answer in self._pages("/exchange/authorizations"):
            yield from filter(None, map(_read_authorization, _objects_in(answer, "authorizations")))

    def ignored_requests(self) -> Iterator[AuthorizationRequest]:
        """Yield every request that is ignored."""
        for answer in self._pages("/exchange/authorization_requests", {"status": "ignored"}):
            yield from filter(None, map(_read_request, _objects_in(answer, "authorization_requests")))

    def _pages(self, path: str, params: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield each page. Raises Unavailable when one repeats: then Conveyor does not honor `page`."""
        previous: object = None
        for number in range(1, MAX_PAGES + 1):
            answer = self._call("GET", path, {**(params or {}), **_page_params(number)})
            content = {key: value for key, value in answer.items() if key != "page"}
            if content == previous:
                raise Unavailable(f"GET {path}: page {number} repeats the one before")
            total = _total_pages(answer)
            yield answer
            if number >= total:
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
        """Return the JSON object that Conveyor answers. Raises ConveyorError."""
        name = f"{method} {path}"
        seconds = CALL_SECONDS
        if self._ends_at is not None:
            seconds = min(seconds, max(0.0, self._ends_at - time.monotonic()))
        # The public reference shows query parameters also for writes; a client that worked in 2021 sent JSON.
        # JSON says what is a list and what is false: in a query, Conveyor would read `False` as true.
        sent: dict[str, Any] = {"params": params} if write is None else {"json": write}
        headers = {"X-API-KEY": self._key, "Accept": "application/json", "User-Agent": USER_AGENT}
        may_send = None if write is None else self._may_write
        try:
            response = self._calls.request(
                seconds, method, self._api_url + path, may_send, headers=headers, **sent
            )
        except CallFailed as error:
            self._calls.count(FAILED)
            raise Unavailable(f"{name}: {error}") from error
        body = response.body
        status = response.status
        self._calls.count(outcome_of(status))
        if status == 403 and not body.strip():
            raise NotAllowed(f"{name}: 403 with an empty body, the key is not accepted")
        if status == 404:
            raise NotFound(f"{name}: 404", status=status)
        if 400 <= status < 500 and status not in (408, 425, 429):
            raise Refused(f"{name}: {status}", _reason_given(response), status)
        if not 200 <= status < 300:
            raise Unavailable(f"{name}: {status}", retry_after(response.headers, 0.0))
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"{name}: {status} without JSON") from error
        if not isinstance(answer, dict):
            raise Unavailable(f"{name}: {status} without a JSON object")
        return answer


def _text_of(value: object) -> str:
    """Return a string from Conveyor, or an empty one for anything else. A number is taken as its digits."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    return clean(str(value))


def _id_of(value: object) -> str | None:
    """Return an id from Conveyor, which is empty if there is none; None if it is too long to be an id."""
    text = _text_of(value)
    return text if len(text) <= ID_CHARS else None


def _may_be_same_id(one: str, other: str) -> bool:
    """Return whether two ids are equal, or one of them is not known."""
    return one == other or not (one and other)


def _objects_in(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the list under this key, with an empty object for each item that is none. Raises Unavailable."""
    items = answer.get(key)
    if not isinstance(items, list):
        raise Unavailable(f"an answer without the list “{key}”")
    return [item if isinstance(item, dict) else {} for item in items]


def _page_params(number: int) -> dict[str, str]:
    return {"page": str(number), "per_page": str(PER_PAGE)}


def _total_pages(answer: Mapping[str, Any]) -> int:
    total = answer.get("total_pages", 1)
    if isinstance(total, bool) or not isinstance(total, int):
        raise Unavailable("an answer whose total_pages is not a number")
    return total


def _seconds(value: object) -> float:
    """Return an ISO 8601 time as seconds since 1970; 0.0 if it is none, or is not between then and 2100."""
    try:
        at = datetime.fromisoformat(_text_of(value)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0
    return at if 0.0 < at < LATEST else 0.0


def _last_day_of(item: Mapping[str, Any]) -> str | None:
    """Return the day (YYYY-MM-DD) in `expires_at`; empty if it is null, None if it is missing or no day."""
    if "expires_at" not in item or item["expires_at"] is None:
        return "" if "expires_at" in item else None
    try:
        return date.fromisoformat(_text_of(item["expires_at"])[:10]).isoformat()
    except ValueError:
        return None


def _read_page(answer: Mapping[str, Any]) -> Page:
    items = _objects_in(answer, "authorization_requests")
    read = tuple(filter(None, map(_read_request, items)))
    return Page(read, len(items) - len(read), _total_pages(answer))


def _read_request(item: object) -> AuthorizationRequest | None:
    if not isinstance(item, dict):
        return None
    request_id, email = _id_of(item.get("id")), addresses.bounded(_text_of(item.get("email")))
    if not request_id or not email:
        return None
    links = item.get("_links")
    target = links.get("self") if isinstance(links, dict) else None
    link = _text_of(target.get("href")) if isinstance(target, dict) else ""
    return AuthorizationRequest(
        id=request_id,
        status=_text_of(item.get("status"))[:STATUS_CHARS],
        email=email,
        message=_text_of(item.get("message"))[:MESSAGE_CHARS],
        dataroom_id=_id_of(item.get("dataroom_id")) or "",
        link=_https_link(link),
        received_at=_seconds(item.get("requested_at")) or _seconds(item.get("created_at")),
        updated_at=_seconds(item.get("updated_at")),
        crm_link=_https_link(_text_of(item.get("crm_link"))),
    )


def _read_group(item: object) -> AccessGroup | None:
    if not isinstance(item, dict):
        return None
    group_id, dataroom_id = _text_of(item.get("id")), _id_of(item.get("dataroom_id"))
    if not 0 < len(group_id) <= OPTION_VALUE_CHARS or dataroom_id is None:
        return None
    return AccessGroup(group_id, _text_of(item.get("name"))[:NAME_CHARS], dataroom_id)


def _read_authorization(item: object) -> Authorization | None:
    if not isinstance(item, dict):
        return None
    authorization_id, dataroom_id = _id_of(item.get("id")), _id_of(item.get("dataroom_id"))
    if not authorization_id or dataroom_id is None:
        return None
    embedded = item.get("_embedded")
    listed = embedded.get("access_groups") if isinstance(embedded, dict) else None
    return Authorization(
        id=authorization_id,
        email=addresses.bounded(_text_of(item.get("email"))),
        status=_text_of(item.get("status"))[:STATUS_CHARS],
        dataroom_id=dataroom_id,
        groups=tuple(filter(None, map(_read_group, listed))) if isinstance(listed, list) else None,
        updated_at=_seconds(item.get("updated_at")),
        ends=_last_day_of(item),
        request_id=_text_of(item.get("request_id")),
        created_at=_seconds(item.get("created_at")),
        connection_id=_id_of(item.get("connection_id")) or "",
    )


def _read_company(item: Mapping[str, Any]) -> Company:
    count = item.get("authorizations_with_access_count")
    link = _text_of(item.get("crm_link"))
    return Company(
        with_access=count if isinstance(count, int) and 0 < count < 10**9 else 0,
        latest_activity_at=_seconds(item.get("latest_activity_at")),
        crm_link=_https_link(link),
        connection_id=_id_of(item.get("id")) or "",
    )


def _read_opened(item: Mapping[str, Any]) -> Opened | None:
    """Return the document that was opened, or None if this is another kind of interaction."""
    if item.get("type") != "Document":
        return None
    email, title = addresses.bounded(_text_of(item.get("email"))), _text_of(item.get("content"))
    return Opened(email, _seconds(item.get("created_at")), title[:NAME_CHARS])


def _https_link(link: str) -> str:
    return link if link.startswith("https://") and len(link) <= LINK_CHARS else ""


def _reason_given(response: Answer) -> str:
    """Return Conveyor's own words about a refusal; empty if a person could not read them."""
    if "json" not in response.headers.get("Content-Type", ""):
        return ""
    try:
        answer = json.loads(response.body)
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
