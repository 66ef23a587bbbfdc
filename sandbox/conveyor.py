"""A stand-in for Conveyor's API v2: every call the app makes or might make, and what people do in Conveyor.

It answers as Conveyor does, as far as that is known, and keeps everything in memory. Where the real behavior
is unknown, a test can choose between the possibilities. It must not accept what Conveyor would refuse.
"""

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from sandbox.stand_in import Incoming, Reply, StandIn

Item = dict[str, Any]

API_PATH = "/api/v2"
OPEN = ("initial", "requested")  # the statuses of a request that nobody has decided
CLOSED = ("approved", "ignored")  # any other status is one that Conveyor might have tomorrow: open, not known
MAX_PER_PAGE = 100
RAILS_FALSE = ("", None, False, 0, "0", "f", "F", "false", "FALSE", "off", "OFF")  # and "False" is true


class ApiError(Exception):
    """The call fails with this status and this sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.reply = Reply({"error": sentence}, status)


@dataclass
class Decision:
    """A call that was to change something in Conveyor. `effective` is true if it did."""

    at: float
    call: str
    request_id: str
    reviewer_email: str
    groups: list[str]
    nda_bypass: bool
    expires_at: str
    effective: bool = False
    email: str = ""  # of an approval that names no request


class ConveyorStandIn(StandIn):
    """A Conveyor account with one API key, which the app uses over HTTP.

    What people do in Conveyor's own pages, and not through the app, is a method such as `approve_here`.
    """

    def __init__(self, api_key: str = "made-up-conveyor-key") -> None:
        super().__init__([api_key])
        self.api_key = api_key
        self.requests: dict[str, Item] = {}
        self.removed: dict[str, Item] = {}
        self.authorizations: dict[str, Item] = {}
        self.groups: dict[str, Item] = {}
        self.connections: list[Item] = []
        self.interactions: list[Item] = []
        self.decisions: list[Decision] = []
        self.key_revoked = False
        self.key_forbids: set[str] = set()  # patterns for the names of calls that the key may not make
        self.refuse_reviewers = False  # as if no reviewer_email belonged to a user who may decide
        # What the queue is sorted by; None: oldest first. No public page says how Conveyor sorts it.
        self.queue_order: Callable[[Item], Any] | None = None
        self.honors_page = True  # False: every page of a list is the first one
        self.honors_status = True  # False: a list of authorizations has those of every status
        self.approve_returns_groups = True  # whether the answer to an approval names the access groups
        self.returns_expires_at = False  # of an authorization; no real answer was seen to contain it
        self.approves_ignored = False  # whether an ignored request can still be approved
        self.already_decided_status = 409  # the answer to a decision about a request that is already decided
        self.have_signed: set[str] = set()  # customers who have signed before, and get in at once
        self.lag = 0.0  # seconds until a reader sees what was written
        self._numbers = count(1)
        # Each entry is a moment and the requests and authorizations as they were until then.
        self._snapshots: list[tuple[float, dict[str, Item], dict[str, Item]]] = []

    @property
    def api_url(self) -> str:
        """The value for the app's setting CONVEYOR_API_URL."""
        return self.url + API_PATH

    # What customers do, and what people do in Conveyor's own pages.

    def ask(
        self,
        email: str,
        message: str | None = "",
        *,
        dataroom_id: str = "room-1",
        request_id: str | None = None,
        links: bool = True,
        **overrides: Any,
    ) -> str:
        """Create a customer's request for access and return its id. `overrides` sets any other field."""
        with self.lock:
            request_id = request_id or self._new_id("req")
            now = self._timestamp()
            link = {"self": {"href": f"https://conveyor.example/requests/{request_id}"}}
            self.requests[request_id] = {
                "id": request_id,
                "created_at": now,
                "updated_at": now,
                "_type": "AuthorizationRequest",
                "dataroom_id": dataroom_id,
                "email": email,
                "message": message,
                "status": "requested",
                "requested_at": now,
                "crm_link": None,
                **({"_links": link} if links else {}),
                **overrides,
            }
        self.touch()
        return request_id

    def ask_again(self, request_id: str) -> None:
        """Open a closed request again under the same id, as Conveyor does when the customer asks again."""
        self._update(self.requests, request_id, status="requested", requested_at=self._timestamp())

    def approve_here(self, request_id: str, groups: Iterable[str] = ()) -> str:
        """Approve a request in Conveyor's own pages, and return the id of the authorization."""
        with self.lock:
            self._update(self.requests, request_id, status="approved")
            granted = self._authorize(self.requests[request_id], list(groups), "gated", "")
        return str(granted["id"])

    def change_here(self, request_id: str, **changes: Any) -> None:
        """Change fields of a request, such as its email address."""
        self._update(self.requests, request_id, **changes)

    def ignore_here(self, request_id: str) -> None:
        """Ignore a request in Conveyor's own pages."""
        self._update(self.requests, request_id, status="ignored")

    def remove(self, request_id: str) -> None:
        """Delete a request, so that Conveyor answers 404 from now on."""
        with self.lock:
            self._save_snapshot()
            self.removed[request_id] = self.requests.pop(request_id)
        self.touch()

    def add_group(self, name: str, dataroom_id: str = "room-1", group_id: str | None = None) -> str:
        """Create an access group and return its id."""
        with self.lock:
            group_id = group_id or self._new_id("grp")
            now = self._timestamp()
            self.groups[group_id] = {
                "id": group_id,
                "name": name,
                "dataroom_id": dataroom_id,
                "created_at": now,
                "updated_at": now,
            }
        self.touch()
        return group_id

    def rename_group(self, group_id: str, name: str) -> None:
        """Rename an access group, also in every authorization that lists it."""
        with self.lock:
            self._update(self.groups, group_id, name=name)
            for listed in self._listed_groups():
                for group in listed:
                    if group["id"] == group_id:
                        group["name"] = name

    def delete_group(self, group_id: str) -> None:
        """Delete an access group, also from every authorization that lists it."""
        with self.lock:
            del self.groups[group_id]
            for listed in self._listed_groups():
                listed[:] = [group for group in listed if group["id"] != group_id]
        self.touch()

    def _listed_groups(self) -> list[list[Item]]:
        return [grant["_embedded"]["access_groups"] for grant in self.authorizations.values()]

    def sign_nda(self, authorization_id: str) -> None:
        """Sign the NDA as the customer, who has access from then on."""
        self._update(self.authorizations, authorization_id, status="authorized")

    def open_document(self, authorization_id: str, title: str = "SOC 2 report") -> None:
        """Open a document as the customer."""
        with self.lock:
            granted = self.authorizations[authorization_id]
            connection = next(item for item in self.connections if item["id"] == granted["connection_id"])
            self.interactions.append(
                {
                    "id": self._new_id("int"),
                    "created_at": self._timestamp(),
                    "type": "Document",
                    "email": granted["email"],
                    "content": title,
                    "connection": {"id": connection["id"], "domain": connection["domain"]},
                }
            )
            connection["latest_activity_at"] = self._timestamp()
        self.touch()

    def revoke_here(self, authorization_id: str) -> None:
        """Revoke an authorization in Conveyor's own pages."""
        with self.lock:
            self._revoke(self.authorizations[authorization_id])
        self.touch()

    def edit_here(self, authorization_id: str, groups: Iterable[str]) -> None:
        """Replace the access groups of an authorization in Conveyor's own pages."""
        with self.lock:
            embedded = self._embedded_groups(list(groups))
            self._update(self.authorizations, authorization_id, _embedded=embedded)

    def _revoke(self, authorization: Item) -> None:
        """Revoke an authorization, and count that for the connection unless it was revoked before."""
        if authorization["status"] != "revoked":
            connection = next(
                item for item in self.connections if item["id"] == authorization["connection_id"]
            )
            connection["authorizations_with_access_count"] -= 1
            connection["authorizations_removed_count"] += 1
        authorization.update(status="revoked", updated_at=self._timestamp())

    # What the app does over HTTP.

    def call_name(self, incoming: Incoming) -> str:
        return f"{incoming.method} {incoming.path.removeprefix(API_PATH)}"

    def work(self, incoming: Incoming) -> Reply:
        call = self.call_name(incoming)
        if self.key_revoked or incoming.headers.get("X-Api-Key") != self.api_key:
            return Reply(None, 403)
        if any(fnmatchcase(call, forbidden) for forbidden in self.key_forbids):
            return Reply({"error": "This API key does not have permission to do that"}, 403)
        try:
            # Copied, because the answer is sent after the lock is released.
            return Reply(deepcopy(self._answer(incoming, call)))
        except ApiError as error:
            return error.reply

    def _answer(self, incoming: Incoming, call: str) -> Item:
        """Do what this call asks, and return the JSON of the answer. Raise ApiError if it fails."""
        if not incoming.path.startswith(API_PATH + "/"):
            raise ApiError(404, "Not found")
        arguments = incoming.arguments
        requests, authorizations = self._readable_items()
        for prefix, handle in self._calls_with_id(requests, authorizations):
            if call.startswith(prefix):
                return handle(call.removeprefix(prefix), arguments)
        match call:
            case "GET /exchange/authorization_request_queue":
                waiting = [request for request in requests.values() if request["status"] not in CLOSED]
                if self.queue_order:
                    waiting.sort(key=self.queue_order)
                return self._page("authorization_requests", waiting, arguments)
            case "GET /exchange/authorization_requests":
                return self._list("authorization_requests", requests, arguments, "status", "email")
            case "GET /exchange/authorizations":
                filters = ("status", "email") if self.honors_status else ("email",)
                return self._list("authorizations", authorizations, arguments, *filters)
            case "GET /exchange/access_groups":
                return self._list("access_groups", self.groups, arguments)
            case "GET /exchange/connections":
                connections = {item["id"]: item for item in self.connections}
                return self._list("connections", connections, arguments, "domain")
            case "POST /exchange/authorizations":
                return self._approve(arguments)
        raise ApiError(404, "Not found")

    def _readable_items(self) -> tuple[dict[str, Item], dict[str, Item]]:
        """Return the requests and authorizations that a reader sees: those of `lag` seconds ago."""
        moment = self.now() - self.lag
        # A request that is missing in the snapshot is newer than it, and a reader sees new requests at once.
        for until, requests, authorizations in self._snapshots if self.lag else []:
            if until > moment:
                return {**self.requests, **requests}, authorizations
        return self.requests, self.authorizations

    def _save_snapshot(self) -> None:
        """Copy the requests and authorizations right before a change, for as long as readers lag behind."""
        if self.lag:
            self._snapshots.append((self.now(), deepcopy(self.requests), deepcopy(self.authorizations)))

    def _calls_with_id(
        self, requests: dict[str, Item], authorizations: dict[str, Item]
    ) -> list[tuple[str, Callable[[str, Item], Item]]]:
        """Return the calls whose path ends with an id: the start of the name, and what answers them."""
        return [
            ("GET /exchange/authorization_requests/", lambda key, _: _get_or_404(requests, key)),
            ("PATCH /exchange/authorization_requests/", self._ignore),
            ("GET /exchange/authorizations/", lambda key, _: _get_or_404(authorizations, key)),
            ("PATCH /exchange/authorizations/", self._edit_authorization),
            ("GET /interactions/connections/", self._interactions_of),
        ]

    def _approve(self, arguments: Item) -> Item:
        """Approve a request or an email address, and return the authorization."""
        decision = self._record("POST /exchange/authorizations", arguments.get("request_id"), arguments)
        self._check_reviewer()
        request = self._request_to_approve(arguments)
        self._check_groups(decision.groups, request["dataroom_id"])
        _check_expiry(arguments.get("expires_at"), self.now())
        closed = ("approved",) if self.approves_ignored else CLOSED
        if request.get("status", "requested") in closed:
            return self._answer_already_decided(request, self._latest_authorization(request))
        is_in = decision.nda_bypass or request["email"] in self.have_signed
        status = "authorized" if is_in else "gated"
        granted = self._authorize(request, decision.groups, status, decision.expires_at)
        if request.get("id"):
            self._update(self.requests, request["id"], status="approved")
        decision.effective = True
        return self._without_groups(granted)

    def _ignore(self, request_id: str, arguments: Item) -> Item:
        """Ignore a request, which is how Conveyor rejects, and return it."""
        call = f"PATCH /exchange/authorization_requests/{request_id}"
        decision = self._record(call, request_id, arguments)
        request = _get_or_404(self.requests, request_id)
        if arguments.get("status") != "ignored":
            raise ApiError(422, "status must be ignored")
        if not decision.reviewer_email:
            raise ApiError(422, "reviewer_email is required")
        self._check_reviewer()
        if request["status"] in CLOSED:
            return self._answer_already_decided(request, request)
        self._update(self.requests, request_id, status="ignored")
        decision.effective = True
        return request

    def _edit_authorization(self, authorization_id: str, arguments: Item) -> Item:
        """Replace the access groups of an authorization, revoke it, or both."""
        call = f"PATCH /exchange/authorizations/{authorization_id}"
        decision = self._record(call, "", arguments)
        authorization = _get_or_404(self.authorizations, authorization_id)
        if arguments.get("status") not in (None, "revoked"):
            raise ApiError(422, "status must be revoked")
        changes: Item = {}
        if "access_group_ids" in arguments or "access_group_ids[]" in arguments:
            self._check_groups(decision.groups, authorization["dataroom_id"])
            changes["_embedded"] = self._embedded_groups(decision.groups)
        revokes = bool(arguments.get("status")) and authorization["status"] != "revoked"
        decision.effective = revokes or any(authorization[key] != value for key, value in changes.items())
        if revokes:
            self._revoke(authorization)
        self._update(self.authorizations, authorization_id, **changes)
        return authorization

    def _interactions_of(self, connection_id: str, arguments: Item) -> Item:
        """Return a page of the interactions of one connection, from `created_at_start` on."""
        if not any(connection["id"] == connection_id for connection in self.connections):
            raise ApiError(404, "Not found")
        start = str(arguments.get("created_at_start", ""))
        seen = self._timestamp(self.lag)
        found = [
            item
            for item in self.interactions
            if item["connection"]["id"] == connection_id
            and item["created_at"][: len(start)] >= start
            and item["created_at"] <= seen
        ]
        return self._page("interactions", found, arguments)

    def _record(self, call: str, request_id: Any, arguments: Item) -> Decision:
        """Add a decision that has arrived to `decisions`, before anything is checked, and return it."""
        decision = Decision(
            at=self.now(),
            call=call,
            request_id=str(request_id or ""),
            reviewer_email=str(arguments.get("reviewer_email") or ""),
            groups=_group_ids(arguments),
            nda_bypass=arguments.get("nda_bypass") not in RAILS_FALSE,
            expires_at=str(arguments.get("expires_at") or ""),
            email=str(arguments.get("email") or ""),
        )
        self.decisions.append(decision)
        return decision

    def _request_to_approve(self, arguments: Item) -> Item:
        """Return the request to approve, or one made up from the email address if it has no open request."""
        if arguments.get("request_id"):
            return _get_or_404(self.requests, str(arguments["request_id"]))
        email = arguments.get("email")
        if not email:
            raise ApiError(422, "request_id or email is required")
        found = [item for item in self.requests.values() if item["email"] == email and item["status"] in OPEN]
        if found:
            return found[-1]
        chosen = [self.groups[group] for group in _group_ids(arguments) if group in self.groups]
        rooms = [group["dataroom_id"] for group in chosen if group["dataroom_id"]]
        return {"email": email, "dataroom_id": (rooms or ["room-1"])[0]}

    def _check_reviewer(self) -> None:
        if self.refuse_reviewers:
            raise ApiError(422, "reviewer_email may not review this request")

    def _check_groups(self, group_ids: list[str], dataroom_id: str) -> None:
        for group_id in group_ids:
            group = self.groups.get(group_id)
            if group is None or group["dataroom_id"] not in (None, "", dataroom_id):
                raise ApiError(422, f"Access group {group_id} not found in this data room")

    def _answer_already_decided(self, request: Item, answer: Item | None) -> Item:
        """Refuse a decision about a decided request, or return `answer` as if nothing were wrong.

        What Conveyor does is not known, so `already_decided_status` chooses.
        """
        if self.already_decided_status == 200 and answer is not None:
            return answer
        status = max(self.already_decided_status, 400)
        raise ApiError(status, f"This request has already been {request['status']}")

    def _authorize(self, request: Item, group_ids: list[str], status: str, expires_at: str) -> Item:
        now = self._timestamp()
        authorization = {
            "id": self._new_id("auth"),
            "_type": "Authorization",
            "created_at": now,
            "updated_at": now,
            "email": request["email"],
            "status": status,
            "dataroom_id": request["dataroom_id"],
            "connection_id": self._connection_for(request["email"])["id"],
            "_embedded": self._embedded_groups(group_ids),
            **({"expires_at": expires_at or None} if self.returns_expires_at else {}),
        }
        self._save_snapshot()
        self.authorizations[authorization["id"]] = authorization
        return authorization

    def _latest_authorization(self, request: Item) -> Item | None:
        grants = [item for item in self.authorizations.values() if item["email"] == request["email"]]
        return self._without_groups(grants[-1]) if grants else None

    def _without_groups(self, authorization: Item) -> Item:
        if self.approve_returns_groups:
            return authorization
        return {key: value for key, value in authorization.items() if key != "_embedded"}

    def _embedded_groups(self, group_ids: list[str]) -> Item:
        listed = [{"id": group_id, "name": self.groups[group_id]["name"]} for group_id in group_ids]
        return {"access_groups": listed}

    def _connection_for(self, email: str) -> Item:
        """Count one more authorization for the company of this address, and return its connection."""
        domain = email.rpartition("@")[2].lower()
        connection = next((item for item in self.connections if item["domain"] == domain), None)
        if connection is None:
            connection = {
                "id": self._new_id("conn"),
                "domain": domain,
                "crm_id": None,
                "crm_link": None,
                "authorizations_count": 0,
                "authorizations_with_access_count": 0,
                "authorizations_removed_count": 0,
            }
            self.connections.append(connection)
        connection["authorizations_count"] += 1
        connection["authorizations_with_access_count"] += 1
        connection["latest_activity_at"] = self._timestamp()
        return connection

    def _update(self, items: dict[str, Item], key: str, **changes: Any) -> None:
        with self.lock:
            self._save_snapshot()
            items[key].update(changes, updated_at=self._timestamp())
        self.touch()

    def _list(self, name: str, items: dict[str, Item], arguments: Item, *filters: str) -> Item:
        wanted = {key: arguments[key] for key in filters if key in arguments}
        found = [item for item in items.values() if all(item[key] == wanted[key] for key in wanted)]
        return self._page(name, found, arguments)

    def _page(self, name: str, items: list[Item], arguments: Item) -> Item:
        page, per_page = _number(arguments, "page", 1), _number(arguments, "per_page", MAX_PER_PAGE)
        if page < 1 or not 1 <= per_page <= MAX_PER_PAGE:
            raise ApiError(422, "page starts at 1, per_page is 1 to 100")
        if not self.honors_page:
            page = 1
        start = (page - 1) * per_page
        total = max(1, math.ceil(len(items) / per_page))
        shown = items[start : start + per_page]
        return {name: shown, "page": page, "per_page": per_page, "total_pages": total}

    def _new_id(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"

    def _timestamp(self, ago: float = 0.0) -> str:
        moment = datetime.fromtimestamp(self.now() - ago, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _get_or_404(items: dict[str, Item], key: str) -> Item:
    if key not in items:
        raise ApiError(404, "Not found")
    return items[key]


def _group_ids(arguments: Item) -> list[str]:
    groups = arguments.get("access_group_ids", arguments.get("access_group_ids[]", []))
    return [str(group) for group in (groups if isinstance(groups, list) else [groups])]


def _number(arguments: Item, key: str, default: int) -> int:
    try:
        return int(arguments.get(key, default))
    except (TypeError, ValueError):
        raise ApiError(422, f"{key} must be a number") from None


def _check_expiry(expires_at: Any, now: float) -> None:
    if expires_at is None:
        return
    try:
        day = datetime.strptime(str(expires_at), "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise ApiError(422, "expires_at must be YYYY-MM-DD") from None
    if day < datetime.fromtimestamp(now, UTC).date():
        raise ApiError(422, "expires_at must not be in the past")
