"""A stand-in for Conveyor's API v2, as far as the app uses it or might."""

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from itertools import count
from typing import Any

from sandbox.stand_in import Incoming, Reply, StandIn

Item = dict[str, Any]

ROOT = "/api/v2"
OPEN = ("initial", "requested")
PER_PAGE_MOST = 100


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.reply = Reply({"error": sentence}, status)


@dataclass
class Decision:
    """A write that arrived, and whether it took effect."""

    at: float
    call: str
    request_id: str
    reviewer_email: str
    groups: list[str]
    nda_bypass: bool
    expires_at: str
    effective: bool = False


class ConveyorStandIn(StandIn):
    """An account with one key. What people do in Conveyor itself are methods; the app comes by HTTP."""

    def __init__(self, api_key: str = "made-up-conveyor-key") -> None:
        super().__init__([api_key])
        self.api_key = api_key
        self.requests: dict[str, Item] = {}
        self.authorizations: dict[str, Item] = {}
        self.groups: dict[str, Item] = {}
        self.connections: list[Item] = []
        self.interactions: list[Item] = []
        self.decisions: list[Decision] = []
        self.key_revoked = False
        self.key_forbids: set[str] = set()
        self.refuse_reviewers = False
        self.honours_page = True
        self.approve_answers_groups = True
        self.lists_ends = False  # no answer of the real one was seen to
        self.handled_status = 409
        self.lag = 0.0  # seconds by which what is read is behind what was written
        self._numbers = count(1)
        self._copies: list[tuple[float, dict[str, Item], dict[str, Item]]] = []

    @property
    def api_url(self) -> str:
        """The app's CONVEYOR_API_URL."""
        return self.url + ROOT

    # What people do in Conveyor.

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
        """A customer asks for access; the request's id. `overrides` replaces any field."""
        with self.lock:
            request_id = request_id or self._new_id("req")
            now = self._stamp()
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
        """The customer of a closed request asks again, and Conveyor opens it under the same id."""
        self._change(self.requests, request_id, status="requested", requested_at=self._stamp())

    def approve_here(self, request_id: str, groups: Iterable[str] = ()) -> str:
        """Somebody approves in Conveyor's own pages; the id of the authorization."""
        with self.lock:
            self._change(self.requests, request_id, status="approved")
            granted = self._grant(self.requests[request_id], list(groups), "gated", "")
        return str(granted["id"])

    def change_here(self, request_id: str, **changes: Any) -> None:
        """Something about the request becomes another, such as its address."""
        self._change(self.requests, request_id, **changes)

    def ignore_here(self, request_id: str) -> None:
        """Somebody ignores the request in Conveyor's own pages."""
        self._change(self.requests, request_id, status="ignored")

    def remove(self, request_id: str) -> None:
        """The request is gone: 404 from now on."""
        with self.lock:
            self._keep_copy()
            del self.requests[request_id]
        self.touch()

    def add_group(self, name: str, dataroom_id: str = "room-1", group_id: str | None = None) -> str:
        """A new access group; its id."""
        with self.lock:
            group_id = group_id or self._new_id("grp")
            now = self._stamp()
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
        """The group is called something else, in every authorization too."""
        with self.lock:
            self._change(self.groups, group_id, name=name)
            for listed in self._listed_groups():
                for group in listed:
                    if group["id"] == group_id:
                        group["name"] = name

    def delete_group(self, group_id: str) -> None:
        """The group is gone, from every authorization too."""
        with self.lock:
            del self.groups[group_id]
            for listed in self._listed_groups():
                listed[:] = [group for group in listed if group["id"] != group_id]
        self.touch()

    def _listed_groups(self) -> list[list[Item]]:
        return [grant["_embedded"]["access_groups"] for grant in self.authorizations.values()]

    def sign_nda(self, authorization_id: str) -> None:
        """The customer signs, and gets in."""
        self._change(self.authorizations, authorization_id, status="authorized")

    def revoke_here(self, authorization_id: str) -> None:
        """Somebody takes the access back in Conveyor's own pages."""
        with self.lock:
            self._revoke(self.authorizations[authorization_id])
        self.touch()

    def _revoke(self, authorization: Item) -> None:
        if authorization["status"] != "revoked":
            connection = next(
                item for item in self.connections if item["id"] == authorization["connection_id"]
            )
            connection["authorizations_with_access_count"] -= 1
            connection["authorizations_removed_count"] += 1
        authorization.update(status="revoked", updated_at=self._stamp())

    # What arrives by HTTP.

    def call_name(self, incoming: Incoming) -> str:
        return f"{incoming.method} {incoming.path.removeprefix(ROOT)}"

    def work(self, incoming: Incoming) -> Reply:
        call = self.call_name(incoming)
        if self.key_revoked or incoming.headers.get("X-Api-Key") != self.api_key:
            return Reply(None, 403)
        if any(fnmatchcase(call, forbidden) for forbidden in self.key_forbids):
            return Reply({"error": "This API key does not have permission to do that"}, 403)
        try:
            # A copy, since it is sent after the lock is released.
            return Reply(deepcopy(self._answer(incoming, call)))
        except Refusal as refusal:
            return refusal.reply

    def _answer(self, incoming: Incoming, call: str) -> Item:
        if not incoming.path.startswith(ROOT + "/"):
            raise Refusal(404, "Not found")
        arguments = incoming.arguments
        requests, authorizations = self._read()
        for start, one in self._single_calls(requests, authorizations):
            if call.startswith(start):
                return one(call.removeprefix(start), arguments)
        match call:
            case "GET /exchange/authorization_request_queue":
                waiting = [request for request in requests.values() if request["status"] in OPEN]
                return self._page("authorization_requests", waiting, arguments)
            case "GET /exchange/authorization_requests":
                return self._list("authorization_requests", requests, arguments, "status", "email")
            case "GET /exchange/authorizations":
                return self._list("authorizations", authorizations, arguments, "status", "email")
            case "GET /exchange/access_groups":
                return self._list("access_groups", self.groups, arguments)
            case "GET /exchange/connections":
                connections = {item["id"]: item for item in self.connections}
                return self._list("connections", connections, arguments, "domain")
            case "POST /exchange/authorizations":
                return self._approve(arguments)
        raise Refusal(404, "Not found")

    def _read(self) -> tuple[dict[str, Item], dict[str, Item]]:
        """Requests and authorizations as a reader sees them: as they were a while ago, if reads lag."""
        then = self.now() - self.lag
        # Each copy holds what was true until then; what came since was there from its beginning.
        for until, requests, authorizations in self._copies if self.lag else []:
            if until > then:
                return {**self.requests, **requests}, authorizations
        return self.requests, self.authorizations

    def _keep_copy(self) -> None:
        """Remember everything as it is right before a change, for readers that lag behind."""
        if self.lag:
            self._copies.append((self.now(), deepcopy(self.requests), deepcopy(self.authorizations)))

    def _single_calls(
        self, requests: dict[str, Item], authorizations: dict[str, Item]
    ) -> list[tuple[str, Callable[[str, Item], Item]]]:
        """The calls that end with an id."""
        return [
            ("GET /exchange/authorization_requests/", lambda key, _: _found(requests, key)),
            ("PATCH /exchange/authorization_requests/", self._ignore),
            ("GET /exchange/authorizations/", lambda key, _: _found(authorizations, key)),
            ("PATCH /exchange/authorizations/", self._edit),
            ("GET /interactions/connections/", self._interactions_of),
        ]

    def _approve(self, arguments: Item) -> Item:
        decision = self._decision("POST /exchange/authorizations", arguments.get("request_id"), arguments)
        self._check_reviewer()
        request = self._request_to_approve(arguments)
        self._check_groups(decision.groups, request["dataroom_id"])
        _check_expiry(arguments.get("expires_at"), self.now())
        if request.get("status", "requested") not in OPEN:
            return self._handled_already(request, self._latest_grant(request))
        status = "authorized" if decision.nda_bypass else "gated"
        granted = self._grant(request, decision.groups, status, decision.expires_at)
        if request.get("id"):
            self._change(self.requests, request["id"], status="approved")
        decision.effective = True
        return self._without_groups(granted)

    def _ignore(self, request_id: str, arguments: Item) -> Item:
        call = f"PATCH /exchange/authorization_requests/{request_id}"
        decision = self._decision(call, request_id, arguments)
        request = _found(self.requests, request_id)
        if arguments.get("status") != "ignored":
            raise Refusal(422, "status must be ignored")
        if not decision.reviewer_email:
            raise Refusal(422, "reviewer_email is required")
        self._check_reviewer()
        if request["status"] not in OPEN:
            return self._handled_already(request, request)
        self._change(self.requests, request_id, status="ignored")
        decision.effective = True
        return request

    def _edit(self, authorization_id: str, arguments: Item) -> Item:
        """Replace the groups of an authorization, or revoke it."""
        call = f"PATCH /exchange/authorizations/{authorization_id}"
        decision = self._decision(call, "", arguments)
        authorization = _found(self.authorizations, authorization_id)
        if arguments.get("status") not in (None, "revoked"):
            raise Refusal(422, "status must be revoked")
        changes: Item = {}
        if "access_group_ids" in arguments or "access_group_ids[]" in arguments:
            self._check_groups(decision.groups, authorization["dataroom_id"])
            changes["_embedded"] = self._embedded(decision.groups)
        revokes = bool(arguments.get("status")) and authorization["status"] != "revoked"
        decision.effective = revokes or any(authorization[key] != value for key, value in changes.items())
        if revokes:
            self._revoke(authorization)
        self._change(self.authorizations, authorization_id, **changes)
        return authorization

    def _interactions_of(self, connection_id: str, arguments: Item) -> Item:
        start = str(arguments.get("created_at_start", ""))
        known = {connection["id"]: connection for connection in self.connections}
        _found(known, connection_id)
        mine = [
            item
            for item in self.interactions
            if item["connection"]["id"] == connection_id and item["created_at"][: len(start)] >= start
        ]
        return self._page("interactions", mine, arguments)

    def _decision(self, call: str, request_id: Any, arguments: Item) -> Decision:
        groups = arguments.get("access_group_ids", arguments.get("access_group_ids[]", []))
        if not isinstance(groups, list):
            groups = [groups]
        decision = Decision(
            at=self.now(),
            call=call,
            request_id=str(request_id or ""),
            reviewer_email=str(arguments.get("reviewer_email") or ""),
            groups=[str(group) for group in groups],
            nda_bypass=str(arguments.get("nda_bypass", False)).lower() in ("true", "1"),
            expires_at=str(arguments.get("expires_at") or ""),
        )
        self.decisions.append(decision)
        return decision

    def _request_to_approve(self, arguments: Item) -> Item:
        """The request that is meant; for an e-mail address without one, what a grant needs."""
        if arguments.get("request_id"):
            return _found(self.requests, str(arguments["request_id"]))
        email = arguments.get("email")
        if not email:
            raise Refusal(422, "request_id or email is required")
        asked = [item for item in self.requests.values() if item["email"] == email and item["status"] in OPEN]
        return asked[-1] if asked else {"email": email, "dataroom_id": "room-1"}

    def _check_reviewer(self) -> None:
        if self.refuse_reviewers:
            raise Refusal(422, "reviewer_email may not review this request")

    def _check_groups(self, group_ids: list[str], dataroom_id: str) -> None:
        for group_id in group_ids:
            group = self.groups.get(group_id)
            if group is None or group["dataroom_id"] not in (None, "", dataroom_id):
                raise Refusal(422, f"Access group {group_id} not found in this data room")

    def _handled_already(self, request: Item, answer: Item | None) -> Item:
        """The refusal for a decided request, or a harmless answer: which one Conveyor gives is unknown."""
        if self.handled_status == 200 and answer is not None:
            return answer
        raise Refusal(max(self.handled_status, 400), f"This request has already been {request['status']}")

    def _grant(self, request: Item, group_ids: list[str], status: str, ends: str) -> Item:
        now = self._stamp()
        authorization = {
            "id": self._new_id("auth"),
            "_type": "Authorization",
            "created_at": now,
            "updated_at": now,
            "email": request["email"],
            "status": status,
            "dataroom_id": request["dataroom_id"],
            "connection_id": self._connection(request["email"])["id"],
            "_embedded": self._embedded(group_ids),
            **({"expires_at": ends or None} if self.lists_ends else {}),
        }
        self._keep_copy()
        self.authorizations[authorization["id"]] = authorization
        return authorization

    def _latest_grant(self, request: Item) -> Item | None:
        grants = [item for item in self.authorizations.values() if item["email"] == request["email"]]
        return self._without_groups(grants[-1]) if grants else None

    def _without_groups(self, authorization: Item) -> Item:
        if self.approve_answers_groups:
            return authorization
        return {key: value for key, value in authorization.items() if key != "_embedded"}

    def _embedded(self, group_ids: list[str]) -> Item:
        listed = [{"id": group_id, "name": self.groups[group_id]["name"]} for group_id in group_ids]
        return {"access_groups": listed}

    def _connection(self, email: str) -> Item:
        """The connection of the address's company, with one more authorization."""
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
        connection["latest_activity_at"] = self._stamp()
        return connection

    def _change(self, items: dict[str, Item], key: str, **changes: Any) -> None:
        with self.lock:
            self._keep_copy()
            items[key].update(changes, updated_at=self._stamp())
        self.touch()

    def _list(self, name: str, items: dict[str, Item], arguments: Item, *filters: str) -> Item:
        wanted = {key: arguments[key] for key in filters if key in arguments}
        found = [item for item in items.values() if all(item[key] == wanted[key] for key in wanted)]
        return self._page(name, found, arguments)

    def _page(self, name: str, items: list[Item], arguments: Item) -> Item:
        page, per_page = _number(arguments, "page", 1), _number(arguments, "per_page", PER_PAGE_MOST)
        if page < 1 or not 1 <= per_page <= PER_PAGE_MOST:
            raise Refusal(422, "page starts at 1, per_page is 1 to 100")
        if not self.honours_page:
            page = 1
        start = (page - 1) * per_page
        total = max(1, math.ceil(len(items) / per_page))
        shown = items[start : start + per_page]
        return {name: shown, "page": page, "per_page": per_page, "total_pages": total}

    def _new_id(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"

    def _stamp(self) -> str:
        moment = datetime.fromtimestamp(self.now(), UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _found(items: dict[str, Item], key: str) -> Item:
    if key not in items:
        raise Refusal(404, "Not found")
    return items[key]


def _number(arguments: Item, key: str, default: int) -> int:
    try:
        return int(arguments.get(key, default))
    except (TypeError, ValueError):
        raise Refusal(422, f"{key} must be a number") from None


def _check_expiry(expires_at: Any, now: float) -> None:
    if expires_at is None:
        return
    try:
        day = datetime.strptime(str(expires_at), "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError:
        raise Refusal(422, "expires_at must be YYYY-MM-DD") from None
    if day < _today(now):
        raise Refusal(422, "expires_at must not be in the past")


def _today(now: float) -> date:
    return datetime.fromtimestamp(now, UTC).date()
