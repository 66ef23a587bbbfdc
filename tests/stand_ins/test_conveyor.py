"""The stand-in for Conveyor behaves like Conveyor's API, as far as that is known, over real sockets."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from sandbox.conveyor import ConveyorStandIn

QUEUE = "/exchange/authorization_request_queue"
REQUESTS = "/exchange/authorization_requests"
GRANTS = "/exchange/authorizations"
GROUPS = "/exchange/access_groups"
REVIEWER = "ann@harbor.example"

Json = dict[str, Any]
Setup = Callable[[ConveyorStandIn], Any]


@pytest.fixture
def conveyor() -> Iterator[ConveyorStandIn]:
    conveyor = ConveyorStandIn()
    conveyor.serve()
    yield conveyor
    conveyor.stop()


def call(conveyor: ConveyorStandIn, method: str, path: str, **more: Any) -> requests.Response:
    """Call the API with the right key; return the answer."""
    headers = {"X-API-KEY": conveyor.api_key}
    url = conveyor.api_url + path
    return requests.request(method, url, headers=headers, timeout=5, allow_redirects=False, **more)


def get(conveyor: ConveyorStandIn, path: str, **params: Any) -> Json:
    """Read something that must be there."""
    response = call(conveyor, "GET", path, params=params)
    assert response.status_code == 200
    answer: Json = response.json()
    return answer


def approve(conveyor: ConveyorStandIn, request_id: str, /, *groups: str, **more: Any) -> requests.Response:
    """Approve a request with these groups; return the answer."""
    body = {
        "request_id": request_id,
        "access_group_ids": list(groups),
        "reviewer_email": REVIEWER,
        **more,
    }
    return call(conveyor, "POST", GRANTS, json=body)


def ignore(conveyor: ConveyorStandIn, request_id: str) -> requests.Response:
    """Reject a request; return the answer."""
    body = {"status": "ignored", "reviewer_email": REVIEWER}
    return call(conveyor, "PATCH", f"{REQUESTS}/{request_id}", json=body)


def effects(conveyor: ConveyorStandIn) -> list[tuple[str, bool]]:
    """Return each decision's request, and whether the decision took effect."""
    return [(decision.request_id, decision.effective) for decision in conveyor.decisions]


def test_the_queue_has_requests_as_conveyor_writes_them(conveyor: ConveyorStandIn) -> None:
    conveyor.now = lambda: 1_700_000_000.0
    request_id = conveyor.ask("jane@acme.com", "Hello", request_id="req/1")
    answer = get(conveyor, QUEUE)
    assert (answer["page"], answer["per_page"], answer["total_pages"]) == (1, 100, 1)
    assert answer["authorization_requests"] == [
        {
            "id": "req/1",
            "created_at": "2023-11-14T22:13:20.000Z",
            "updated_at": "2023-11-14T22:13:20.000Z",
            "_type": "AuthorizationRequest",
            "dataroom_id": "room-1",
            "email": "jane@acme.com",
            "message": "Hello",
            "status": "requested",
            "requested_at": "2023-11-14T22:13:20.000Z",
            "_links": {"self": {"href": "https://conveyor.example/requests/req/1"}},
            "crm_link": None,
        }
    ]
    assert get(conveyor, f"{REQUESTS}/{request_id.replace('/', '%2F')}")["email"] == "jane@acme.com"


def test_any_field_of_a_request_can_be_set_or_missing(conveyor: ConveyorStandIn) -> None:
    request_id = conveyor.ask("jane@acme.com", None, links=False, requested_at=None, status="initial")
    request = get(conveyor, f"{REQUESTS}/{request_id}")
    assert (request["message"], request["requested_at"], request["status"]) == (None, None, "initial")
    assert "_links" not in request


@pytest.mark.parametrize("per_page", [1, 2, 3, 100])
def test_lists_are_paged(conveyor: ConveyorStandIn, per_page: int) -> None:
    ids = [conveyor.ask(f"{number}@acme.com") for number in range(5)]
    seen, page, total = [], 1, 1
    while page <= total:
        answer = get(conveyor, QUEUE, page=page, per_page=per_page)
        seen += [request["id"] for request in answer["authorization_requests"]]
        page, total = answer["page"] + 1, answer["total_pages"]
    assert seen == ids


def test_the_queue_can_have_any_order(conveyor: ConveyorStandIn) -> None:
    ids = [conveyor.ask(f"{number}@acme.com") for number in range(3)]
    conveyor.queue_order = lambda item: -ids.index(item["id"])
    pages = [get(conveyor, QUEUE, page=page, per_page=2) for page in (1, 2)]
    assert [item["id"] for page in pages for item in page["authorization_requests"]] == ids[::-1]


def test_page_numbers_are_checked_and_can_be_ignored(conveyor: ConveyorStandIn) -> None:
    conveyor.ask("jane@acme.com")
    conveyor.ask("john@acme.com")
    for params in ({"page": "x"}, {"page": 0}, {"per_page": 101}):
        assert call(conveyor, "GET", QUEUE, params=params).status_code == 422
    conveyor.honors_page = False
    assert get(conveyor, QUEUE, page=2, per_page=1) == get(conveyor, QUEUE, page=1, per_page=1)


def test_lists_can_be_filtered(conveyor: ConveyorStandIn) -> None:
    jane, john = conveyor.ask("jane@acme.com"), conveyor.ask("john@acme.com")
    conveyor.ignore_here(john)
    conveyor.approve_here(jane)
    ignored = get(conveyor, REQUESTS, status="ignored")["authorization_requests"]
    assert [request["id"] for request in ignored] == [john]
    [grant] = get(conveyor, GRANTS, email="jane@acme.com", status="gated")["authorizations"]
    assert get(conveyor, f"{GRANTS}/{grant['id']}") == grant
    assert get(conveyor, GRANTS, email="john@acme.com")["authorizations"] == []
    assert get(conveyor, QUEUE)["authorization_requests"] == []


def test_the_nda_is_signed_and_a_list_may_ignore_the_status(conveyor: ConveyorStandIn) -> None:
    grant = conveyor.approve_here(conveyor.ask("jane@acme.com"))
    assert [each["id"] for each in get(conveyor, GRANTS, status="gated")["authorizations"]] == [grant]
    conveyor.sign_nda(grant)
    assert get(conveyor, GRANTS, status="gated")["authorizations"] == []
    assert get(conveyor, f"{GRANTS}/{grant}")["status"] == "authorized"
    conveyor.honors_status = False
    assert [each["id"] for each in get(conveyor, GRANTS, status="gated")["authorizations"]] == [grant]


def test_a_begun_request_waits_too_and_a_group_may_be_for_every_data_room(conveyor: ConveyorStandIn) -> None:
    begun = conveyor.ask("jane@acme.com", status="initial")
    assert [request["id"] for request in get(conveyor, QUEUE)["authorization_requests"]] == [begun]
    everywhere = [conveyor.add_group("A", "", "grp-a"), conveyor.add_group("B", "room-1", "grp-b")]
    assert approve(conveyor, begun, *everywhere).status_code == 200


def test_access_may_end_today_and_not_earlier(conveyor: ConveyorStandIn) -> None:
    conveyor.now = lambda: 1_700_000_000.0  # 2023-11-14, 22:13 UTC
    request_id = conveyor.ask("jane@acme.com")
    assert approve(conveyor, request_id, expires_at="2023-11-13").status_code == 422
    assert approve(conveyor, request_id, expires_at="2023-11-14").status_code == 200


def test_each_change_is_dated_and_a_revocation_is_counted_once(conveyor: ConveyorStandIn) -> None:
    clock = 1_700_000_000.0
    conveyor.now = lambda: clock
    request_id = conveyor.ask("jane@acme.com")
    clock += 60
    grant = approve(conveyor, request_id).json()["id"]
    asked = get(conveyor, f"{REQUESTS}/{request_id}")
    assert (asked["created_at"][11:19], asked["updated_at"][11:19]) == ("22:13:20", "22:14:20")

    def counts() -> list[int]:
        [found] = get(conveyor, "/exchange/connections")["connections"]
        kinds = ("count", "with_access_count", "removed_count")
        return [found[f"authorizations_{kind}"] for kind in kinds]

    assert counts() == [1, 1, 0]
    clock += 60
    for _ in range(2):  # the second time changes nothing
        call(conveyor, "PATCH", f"{GRANTS}/{grant}", json={"status": "revoked"})
    assert counts() == [1, 0, 1]
    assert get(conveyor, f"{GRANTS}/{grant}")["updated_at"][11:19] == "22:15:20"


def test_groups_may_be_sent_as_in_a_form(conveyor: ConveyorStandIn) -> None:
    request_id, group = conveyor.ask("jane@acme.com"), conveyor.add_group("SOC 2")
    body = {"request_id": request_id, "access_group_ids[]": [group]}
    granted = call(conveyor, "POST", GRANTS, data=body).json()
    assert [each["id"] for each in granted["_embedded"]["access_groups"]] == [group]


@pytest.mark.parametrize("send_as", ["json", "params", "data"])
def test_an_approval_grants_the_groups(conveyor: ConveyorStandIn, send_as: str) -> None:
    request_id = conveyor.ask("jane@acme.com")
    groups = [conveyor.add_group("SOC 2"), conveyor.add_group("Pen test")]
    content = {"request_id": request_id, "access_group_ids": groups, "reviewer_email": REVIEWER}
    response = call(conveyor, "POST", GRANTS, **{send_as: content})
    assert response.status_code == 200
    granted = response.json()
    assert (granted["email"], granted["status"], granted["dataroom_id"]) == (
        "jane@acme.com",
        "gated",
        "room-1",
    )
    assert [group["name"] for group in granted["_embedded"]["access_groups"]] == ["SOC 2", "Pen test"]
    assert conveyor.requests[request_id]["status"] == "approved"
    [decision] = conveyor.decisions
    assert (decision.groups, decision.reviewer_email, decision.effective) == (groups, REVIEWER, True)


@pytest.mark.parametrize(
    ("sent", "skips"), [("false", False), ("0", False), ("False", True), ("true", True), ("no", True)]
)
def test_a_query_says_false_only_in_the_words_of_rails(
    conveyor: ConveyorStandIn, sent: str, skips: bool
) -> None:
    content = {"request_id": conveyor.ask("jane@acme.com"), "nda_bypass": sent}
    granted = call(conveyor, "POST", GRANTS, params=content).json()
    assert granted["status"] == ("authorized" if skips else "gated")


def test_an_approval_may_have_options_or_name_only_an_address(conveyor: ConveyorStandIn) -> None:
    request_id = conveyor.ask("jane@acme.com")
    conveyor.approve_returns_groups = False
    granted = approve(conveyor, request_id, nda_bypass=True, expires_at="2999-12-31").json()
    assert granted["status"] == "authorized"
    assert "_embedded" not in granted
    assert "expires_at" not in granted
    assert conveyor.decisions[0].expires_at == "2999-12-31"
    by_email = conveyor.ask("john@acme.com")
    assert call(conveyor, "POST", GRANTS, json={"email": "john@acme.com"}).status_code == 200
    assert conveyor.requests[by_email]["status"] == "approved"
    assert call(conveyor, "POST", GRANTS, json={"email": "new@acme.com"}).status_code == 200
    assert [decision.effective for decision in conveyor.decisions] == [True] * 3


def test_a_rejection_ignores_the_request(conveyor: ConveyorStandIn) -> None:
    request_id = conveyor.ask("jane@acme.com")
    assert ignore(conveyor, request_id).json()["status"] == "ignored"
    assert effects(conveyor) == [(request_id, True)]
    conveyor.ask_again(request_id)
    assert [request["id"] for request in get(conveyor, QUEUE)["authorization_requests"]] == [request_id]


def other_group(conveyor: ConveyorStandIn) -> None:
    conveyor.add_group("Elsewhere", "room-2", "grp-other")


REFUSALS: dict[str, tuple[Setup, Json, int, str]] = {
    "unknown group": (lambda conveyor: None, {"access_group_ids": ["grp-x"]}, 422, "grp-x"),
    "group of another room": (other_group, {"access_group_ids": ["grp-other"]}, 422, "grp-other"),
    "expired": (lambda conveyor: None, {"expires_at": "2020-01-01"}, 422, "past"),
    "no date": (lambda conveyor: None, {"expires_at": "01/01/2999"}, 422, "YYYY-MM-DD"),
    "unknown request": (lambda conveyor: conveyor.remove("req"), {}, 404, "Not found"),
    "no request": (lambda conveyor: None, {"request_id": None}, 422, "request_id"),
    "reviewer": (lambda conveyor: setattr(conveyor, "refuse_reviewers", True), {}, 422, "reviewer_email"),
    "approved already": (lambda conveyor: conveyor.approve_here("req"), {}, 409, "approved"),
    "ignored already": (lambda conveyor: conveyor.ignore_here("req"), {}, 409, "ignored"),
}


@pytest.mark.parametrize(("setup", "more", "status", "says"), REFUSALS.values(), ids=REFUSALS)
def test_an_approval_is_refused(
    conveyor: ConveyorStandIn, setup: Setup, more: Json, status: int, says: str
) -> None:
    conveyor.ask("jane@acme.com", request_id="req")
    setup(conveyor)
    grants = len(conveyor.authorizations)
    response = approve(conveyor, "req", **more)
    assert response.status_code == status
    assert says in response.json()["error"]
    assert [decision.effective for decision in conveyor.decisions] == [False]
    assert len(conveyor.authorizations) == grants


@pytest.mark.parametrize(
    "content", [{"status": "ignored"}, {"status": "approved", "reviewer_email": REVIEWER}]
)
def test_a_rejection_needs_a_reviewer_and_cannot_approve(conveyor: ConveyorStandIn, content: Json) -> None:
    request_id = conveyor.ask("jane@acme.com")
    response = call(conveyor, "PATCH", f"{REQUESTS}/{request_id}", json=content)
    assert response.status_code == 422
    assert conveyor.requests[request_id]["status"] == "requested"
    assert effects(conveyor) == [(request_id, False)]


@pytest.mark.parametrize("status", [200, 409, 422])
def test_the_answer_for_a_decided_request_can_be_chosen(conveyor: ConveyorStandIn, status: int) -> None:
    conveyor.already_decided_status = status
    request_id = conveyor.ask("jane@acme.com")
    assert approve(conveyor, request_id).status_code == 200
    assert approve(conveyor, request_id).status_code == status
    assert ignore(conveyor, request_id).status_code == status
    assert conveyor.requests[request_id]["status"] == "approved"
    assert [effective for _, effective in effects(conveyor)] == [True, False, False]


def test_only_one_of_many_decisions_at_once_takes_effect(conveyor: ConveyorStandIn) -> None:
    request_id = conveyor.ask("jane@acme.com")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: (approve, ignore)[number % 2](conveyor, request_id), range(16)))
    assert len(conveyor.decisions) == 16
    assert sum(decision.effective for decision in conveyor.decisions) == 1


def test_a_grant_can_be_edited_and_revoked(conveyor: ConveyorStandIn) -> None:
    first, second = conveyor.add_group("SOC 2"), conveyor.add_group("Pen test")
    grant = approve(conveyor, conveyor.ask("jane@acme.com"), first).json()["id"]
    path = f"{GRANTS}/{grant}"
    replaced = call(conveyor, "PATCH", path, json={"access_group_ids": [second]}).json()
    assert [group["id"] for group in replaced["_embedded"]["access_groups"]] == [second]
    assert call(conveyor, "PATCH", path, json={"access_group_ids": ["grp-x"]}).status_code == 422
    assert call(conveyor, "PATCH", path, json={"status": "authorized"}).status_code == 422
    conveyor.sign_nda(grant)
    assert get(conveyor, path)["status"] == "authorized"
    assert call(conveyor, "PATCH", path, json={"status": "revoked"}).json()["status"] == "revoked"
    assert [decision.effective for decision in conveyor.decisions[1:]] == [True, False, False, True]


def test_groups_can_be_added_renamed_and_deleted(conveyor: ConveyorStandIn) -> None:
    group = conveyor.add_group("SOC 2")
    grant = conveyor.approve_here(conveyor.ask("jane@acme.com"), [group])
    conveyor.rename_group(group, "SOC 2 report")
    assert [each["name"] for each in get(conveyor, GROUPS)["access_groups"]] == ["SOC 2 report"]
    conveyor.delete_group(group)
    assert get(conveyor, GROUPS)["access_groups"] == []
    assert get(conveyor, f"{GRANTS}/{grant}")["_embedded"] == {"access_groups": []}
    conveyor.revoke_here(grant)
    assert get(conveyor, f"{GRANTS}/{grant}")["status"] == "revoked"


def test_a_connection_counts_access_and_lists_what_customers_did(conveyor: ConveyorStandIn) -> None:
    jane = conveyor.approve_here(conveyor.ask("jane@acme.com"))
    conveyor.approve_here(conveyor.ask("john@ACME.com"))
    conveyor.approve_here(conveyor.ask("jim@other.com"))
    [connection] = get(conveyor, "/exchange/connections", domain="acme.com")["connections"]
    assert connection["authorizations_count"] == 2
    for day in ("2024-01-01", "2024-02-01"):
        event = {"created_at": f"{day}T10:00:00.000Z", "type": "Document", "connection": connection}
        conveyor.interactions.append(event)
    path = f"/interactions/connections/{connection['id']}"
    assert len(get(conveyor, path)["interactions"]) == 2
    assert len(get(conveyor, path, created_at_start="2024-02-01")["interactions"]) == 1
    conveyor.open_document(jane, "SOC 2 report")
    (opened,) = get(conveyor, path, created_at_start="2024-02-02")["interactions"]
    assert (opened["email"], opened["content"]) == ("jane@acme.com", "SOC 2 report")
    conveyor.lag = 60.0
    assert len(get(conveyor, path)["interactions"]) == 2
    assert call(conveyor, "GET", "/interactions/connections/conn-x").status_code == 404


def test_a_removed_or_unknown_request_is_not_found(conveyor: ConveyorStandIn) -> None:
    request_id = conveyor.ask("jane@acme.com")
    conveyor.remove(request_id)
    paths = (f"{REQUESTS}/{request_id}", f"{GRANTS}/auth-x", "/exchange/nothing", "/../v1/x")
    assert [call(conveyor, "GET", path).status_code for path in paths] == [404] * 4
    assert requests.get(conveyor.url, headers={"X-API-KEY": conveyor.api_key}, timeout=5).status_code == 404


def test_a_bad_key_gets_an_empty_403(conveyor: ConveyorStandIn) -> None:
    for headers in ({}, {"X-API-KEY": "wrong"}, {"Authorization": f"Bearer {conveyor.api_key}"}):
        response = requests.get(conveyor.api_url + QUEUE, headers=headers, timeout=5)
        assert (response.status_code, response.content) == (403, b"")
    conveyor.key_revoked = True
    response = call(conveyor, "GET", QUEUE)
    assert (response.status_code, response.content) == (403, b"")


def test_a_key_can_be_forbidden_some_calls(conveyor: ConveyorStandIn) -> None:
    conveyor.key_forbids = {f"POST {GRANTS}", f"PATCH {REQUESTS}/*"}
    request_id = conveyor.ask("jane@acme.com")
    for response in (approve(conveyor, request_id), ignore(conveyor, request_id)):
        assert response.status_code == 403
        assert "permission" in response.json()["error"]
    assert conveyor.decisions == []
    assert get(conveyor, QUEUE)["authorization_requests"]


def test_a_write_can_take_effect_although_its_answer_is_lost(conveyor: ConveyorStandIn) -> None:
    request_id = conveyor.ask("jane@acme.com")
    conveyor.fail(f"POST {GRANTS}", drop="after")
    with pytest.raises(requests.ConnectionError):
        approve(conveyor, request_id)
    assert conveyor.requests[request_id]["status"] == "approved"
    second = conveyor.ask("john@acme.com")
    conveyor.fail(f"PATCH {REQUESTS}/*", status=502, body="<html>Bad gateway</html>")
    response = ignore(conveyor, second)
    assert (response.status_code, response.text) == (502, "<html>Bad gateway</html>")
    assert effects(conveyor) == [(request_id, True)]


def test_the_log_names_calls_and_has_no_key(conveyor: ConveyorStandIn) -> None:
    request_id = conveyor.ask(f"{conveyor.api_key}@acme.com")
    get(conveyor, f"{REQUESTS}/{request_id}")
    [exchange] = conveyor.calls(f"GET {REQUESTS}/*")
    assert exchange.call == f"GET {REQUESTS}/{request_id}"
    assert (exchange.status, exchange.response["email"]) == (200, "***@acme.com")
    assert conveyor.api_key not in repr(conveyor.exchanges)
