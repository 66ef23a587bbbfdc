"""What Conveyor's client takes for an answer, for a refusal, and for no answer at all."""

from typing import Any

import pytest
import requests
import responses

from conveyor_client import (
    AccessGroup,
    AuthorizationRequest,
    ConveyorClient,
    ConveyorError,
    NotAllowed,
    NotFound,
    Refused,
    Unavailable,
)

API = "https://conveyor.example/api/v2"
REQUEST = {
    "id": "r1",
    "email": "Jane@acme.com",
    "status": "requested",
    "message": "hi",
    "dataroom_id": "room-1",
}
GRANT = {
    "id": "a1",
    "email": "jane@ACME.com",
    "status": "gated",
    "_embedded": {"access_groups": [{"id": "g", "name": "G"}]},
}
ASKED = AuthorizationRequest("r1", "requested", "jane@acme.com", "hi", "room-1", "", 0.0)


@pytest.fixture
def client() -> ConveyorClient:
    return ConveyorClient(API, "made-up-key")


def queue(*items: Any, **more: Any) -> dict[str, Any]:
    """Return a page of the queue as Conveyor answers it."""
    return {"authorization_requests": list(items), "page": 1, "per_page": 100, "total_pages": 1, **more}


@pytest.mark.parametrize(
    ("status", "body", "headers", "error"),
    [
        (403, "", {}, NotAllowed),
        (403, " \n", {}, NotAllowed),
        (403, '{"error": "not yours"}', {}, Refused),
        (404, "", {}, NotFound),
        (401, "{}", {}, Refused),
        (409, "{}", {}, Refused),
        (422, "<html>", {}, Refused),
        (408, "", {}, Unavailable),
        (429, "", {"Retry-After": "7"}, Unavailable),
        (500, "{}", {}, Unavailable),
        (301, "", {"Location": "https://elsewhere.example/"}, Unavailable),
        (304, "", {}, Unavailable),
        (200, "", {}, Unavailable),
        (200, "<html>", {}, Unavailable),
        (200, "[]", {}, Unavailable),
        (200, '"text"', {}, Unavailable),
        (200, "[" * 100_000, {}, Unavailable),
        (200, "{}", {}, Unavailable),
        (200, '{"id": "another", "email": "x@y.z"}', {}, Unavailable),
    ],
)
@responses.activate
def test_each_bad_answer_raises_its_own_error(
    client: ConveyorClient, status: int, body: str, headers: dict[str, str], error: type[ConveyorError]
) -> None:
    responses.get(f"{API}/exchange/authorization_requests/r1", body=body, status=status, headers=headers)
    with pytest.raises(ConveyorError) as caught:
        client.request("r1")
    assert type(caught.value) is error
    assert len(responses.calls) == 1  # no redirect is followed and no call is repeated
    assert "made-up-key" not in str(caught.value)


@responses.activate
def test_the_error_has_the_pause_that_conveyor_asks_for(client: ConveyorClient) -> None:
    responses.get(f"{API}/exchange/authorization_requests/r1", status=429, headers={"Retry-After": "7"})
    with pytest.raises(Unavailable) as caught:
        client.request("r1")
    assert caught.value.retry_after == 7.0


@responses.activate
def test_a_dropped_connection_and_an_endless_answer_are_no_answer(client: ConveyorClient) -> None:
    address = f"{API}/exchange/authorization_requests/r1"
    responses.get(address, body=requests.ConnectionError("gone"))
    responses.get(address, body=b" " * 10_000_001)
    for _ in range(2):
        with pytest.raises(Unavailable):
            client.request("r1")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": "No seat\nleft"}, "No seat left"),
        ({"errors": ["One.", "Two."]}, "One.; Two."),
        ({"error": {"message": "Deep"}}, "Deep"),
        ({"message": "x" * 400}, "x" * 300),
        ({"error": "<b>bold</b>"}, ""),
        ({"error": 7}, ""),
        ({"errors": [7, {}]}, ""),
        ([], ""),
        ({}, ""),
    ],
)
@responses.activate
def test_a_refusal_has_the_reason_if_a_person_can_read_it(
    client: ConveyorClient, body: Any, reason: str
) -> None:
    responses.patch(f"{API}/exchange/authorization_requests/r1", json=body, status=422)
    with pytest.raises(Refused) as caught:
        client.ignore(ASKED, "ann@acme.com")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "item",
    [
        {**REQUEST, "message": None, "requested_at": None, "_links": None},
        {**REQUEST, "_links": {"self": "x"}, "crm_link": [], "requested_at": "yesterday"},
        {
            **REQUEST,
            "_links": {"self": {"href": "javascript:alert(1)"}},
            "requested_at": "0001-01-01T00:00:00",
        },
        {**REQUEST, "message": ["x"], "dataroom_id": 7, "status": None, "_links": []},
    ],
)
@responses.activate
def test_missing_and_odd_fields_crash_nothing(client: ConveyorClient, item: dict[str, Any]) -> None:
    responses.get(f"{API}/exchange/authorization_request_queue", json=queue(item))
    (page,) = client.queue()
    (request,) = page.requests
    assert (request.id, request.link, request.received_at, page.malformed) == ("r1", "", 0.0, 0)


@responses.activate
def test_surrogates_and_nul_are_removed_from_text(client: ConveyorClient) -> None:
    item = '{"id": "r1", "email": "a@b.c", "message": "\\ud800x\\u0000y"}'
    body = f'{{"authorization_requests": [{item}], "total_pages": 1}}'
    responses.get(f"{API}/exchange/authorization_request_queue", body=body)
    assert [page.requests[0].message for page in client.queue()] == ["?xy"]


@pytest.mark.parametrize(
    "item", [None, 7, "x", {}, {"id": "r"}, {"email": "a@b.c"}, {"id": "x" * 201, "email": "a@b.c"}]
)
@responses.activate
def test_an_unreadable_entry_is_counted(client: ConveyorClient, item: Any) -> None:
    responses.get(f"{API}/exchange/authorization_request_queue", json=queue(item, REQUEST))
    (page,) = client.queue()
    assert page.malformed == 1
    assert [request.id for request in page.requests] == ["r1"]


@pytest.mark.parametrize(
    ("pages", "read"),
    [
        ([queue(REQUEST, total_pages=0)], 1),
        ([queue(REQUEST, total_pages=2), queue({**REQUEST, "id": "r2"}, page=2, total_pages=2)], 2),
    ],
)
@responses.activate
def test_all_pages_are_read(client: ConveyorClient, pages: list[dict[str, Any]], read: int) -> None:
    for page in pages:
        responses.get(f"{API}/exchange/authorization_request_queue", json=page)
    assert len(list(client.queue())) == read


@pytest.mark.parametrize(
    "pages",
    [
        [{"authorization_requests": None}],
        [{"requests": []}],
        [queue(total_pages="2")],
        [queue(REQUEST, total_pages=9), queue(REQUEST, page=2, total_pages=9)],
    ],
)
@responses.activate
def test_a_queue_that_cannot_be_trusted_is_no_answer(
    client: ConveyorClient, pages: list[dict[str, Any]]
) -> None:
    for page in pages:
        responses.get(f"{API}/exchange/authorization_request_queue", json=page)
    with pytest.raises(Unavailable):
        list(client.queue())


@responses.activate
def test_groups_without_a_usable_id_are_left_out(client: ConveyorClient) -> None:
    groups = [
        {"id": "g", "name": "G"},
        {"id": "g", "name": "again"},
        {"id": "x" * 151, "name": "long"},
        {"name": "none"},
    ]
    responses.get(f"{API}/exchange/access_groups", json={"access_groups": groups})
    assert client.access_groups() == [AccessGroup("g", "G", "")]


@responses.activate
def test_an_approval_says_what_was_granted(client: ConveyorClient) -> None:
    responses.get(f"{API}/exchange/authorization_requests/r1", json=REQUEST)
    responses.post(f"{API}/exchange/authorizations", json=GRANT, status=201)
    granted = client.approve(client.request("r1"), "ann@acme.com", ["g"])
    assert granted.groups == (AccessGroup("g", "G"),)
    sent = responses.calls[1].request
    assert sent.headers["X-API-KEY"] == "made-up-key"
    assert sent.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "answer", [{}, {**GRANT, "email": "other@acme.com"}, {**GRANT, "id": None}, REQUEST | {"id": ""}]
)
@responses.activate
def test_a_grant_to_somebody_else_is_no_answer(client: ConveyorClient, answer: dict[str, Any]) -> None:
    responses.get(f"{API}/exchange/authorization_requests/r1", json=REQUEST)
    responses.post(f"{API}/exchange/authorizations", json=answer)
    with pytest.raises(Unavailable):
        client.approve(client.request("r1"), "ann@acme.com", [])


@responses.activate
def test_an_ignored_request_has_to_say_that_it_is_ignored(client: ConveyorClient) -> None:
    responses.patch(f"{API}/exchange/authorization_requests/r1", json=REQUEST)
    with pytest.raises(Unavailable):
        client.ignore(ASKED, "ann@acme.com")


@responses.activate
def test_an_id_cannot_change_the_path_of_a_call(client: ConveyorClient) -> None:
    responses.get(
        f"{API}/exchange/authorization_requests/..%2F..%2Fx%3Fy%3D1", json={**REQUEST, "id": "../../x?y=1"}
    )
    assert client.request("../../x?y=1").email == "Jane@acme.com"


@responses.activate
def test_only_the_grants_of_the_address_are_returned_latest_first(client: ConveyorClient) -> None:
    listed = [
        {**GRANT, "updated_at": "2026-01-01T00:00:00Z"},
        {**GRANT, "id": "a2", "updated_at": "2026-02-01T00:00:00Z"},
        {**GRANT, "id": "a3", "email": "other@acme.com"},
    ]
    responses.get(f"{API}/exchange/authorizations", json={"authorizations": listed, "total_pages": 1})
    assert [granted.id for granted in client.authorizations("jane@acme.com")] == ["a2", "a1"]
