"""An address that only looks like a customer's is another customer; the same customer is always found."""

from typing import Any

import pytest

import blocks
from ledger.states import State
from sandbox.workspace import ANN, BOB, SAM
from tests.support.steps import answer_to, approved, asked_before, posted, request_of, revoke, run
from tests.support.world import World

KELVIN = "\N{KELVIN SIGN}"
LONG_S = "\N{LATIN SMALL LETTER LONG S}"
CRM = "https://crm.example/accounts/"
# An address that is known, and one that looks like it to people or to a function that folds case.
PAIRS = [
    pytest.param("ceo@bank.com", f"ceo@ban{KELVIN}.com", id="Kelvin sign"),
    pytest.param("ceo@strasse.de", "ceo@straße.de", id="sharp s"),
    pytest.param("ceo@wide.com", "ceo@ｗｉｄｅ.com", id="full width"),
    pytest.param("ceo@office.com", "ceo@o\N{LATIN SMALL LIGATURE FFI}ce.com", id="ligature"),
]


def grants(world: World, *addresses: str) -> dict[str, str]:
    """Return the status of each address's access in Conveyor."""
    listed = world.conveyor.authorizations.values()
    return {grant["email"]: grant["status"] for grant in listed if grant["email"] in addresses}


def listing(name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the answer of a Conveyor that does not filter: all items, whoever was asked for."""
    return {name: items, "page": 1, "per_page": 100, "total_pages": 1}


@pytest.mark.parametrize(("known", "alike"), PAIRS)
def test_no_card_and_no_answer_has_anything_of_somebody_else(town: World, known: str, alike: str) -> None:
    name = known.rpartition("@")[2]
    company = {
        "id": f"conn-{name}",
        "domain": name,
        "crm_id": "1",
        "crm_link": CRM + name,
        "authorizations_count": 7,
        "authorizations_with_access_count": 7,
        "authorizations_removed_count": 0,
        "latest_activity_at": "2026-11-01T12:00:00Z",
    }
    town.conveyor.connections.append(company)
    card = approved(town, known)
    town.conveyor.fail(
        "GET /exchange/connections", times=None, body=listing("connections", town.conveyor.connections)
    )
    shown = posted(town, alike)
    # The card of the next person at the known company has all of it.
    colleague = posted(town, f"joe@{name}")
    town.conveyor.clear_faults()
    assert known not in town.slack.text_of(shown)
    assert blocks.NOBODY_HAS_ACCESS.partition("{}")[0] + "xn--" in town.slack.text_of(shown)
    assert CRM not in str(shown.blocks)
    assert asked_before(known, State.APPROVED) in town.slack.text_of(colleague)
    assert blocks.HAVE_ACCESS.partition("{}")[2].format(name) in town.slack.text_of(colleague)
    assert CRM + name in str(colleague.blocks)

    for typed in (name, known, alike.rpartition("@")[2], alike):
        said = town.slack.text_of(answer_to(town, SAM, typed))
        wanted, other = (known, alike) if typed in (name, known) else (alike, known)
        assert wanted in said, said
        assert other not in said, said
    assert town.slack.text_of(card)


def test_two_people_at_one_email_provider_are_kept_apart(town: World) -> None:
    approved(town, "sam.kim@gmail.com")
    for alike in (f"{LONG_S}am.kim@gmail.com", f"sam.{KELVIN}im@gmail.com"):
        assert blocks.ASKED_BEFORE.capitalize() not in town.slack.text_of(card := posted(town, alike))
        assert "sam.kim@gmail.com" not in town.slack.text_of(card)
        assert str(answer_to(town, SAM, alike).blocks).count("/archives/") == 1  # a link to that card
    assert blocks.ASKED_BEFORE.capitalize() in town.slack.text_of(posted(town, "Sam.Kim@Gmail.com"))


@pytest.mark.parametrize(("known", "alike"), PAIRS)
def test_revoking_one_persons_access_leaves_the_others(town: World, known: str, alike: str) -> None:
    known, alike = f"revoked-{known}", f"revoked-{alike}"
    approved(town, known)
    card = approved(town, alike)
    assert grants(town, known, alike) == {known: "gated", alike: "gated"}
    town.conveyor.fail(
        "GET /exchange/authorizations",
        times=None,
        body=listing("authorizations", list(town.conveyor.authorizations.values())),
    )
    revoke(town, BOB, card)
    town.shows(request_of(card), "revoked", "<@U0BOB>")
    said = town.slack.text_of(answer_to(town, SAM, known))
    town.conveyor.clear_faults()
    assert grants(town, known, alike) == {known: "gated", alike: "revoked"}
    assert blocks.NOT_SIGNED in said  # nobody has revoked theirs


def test_an_answer_about_a_lookalike_confirms_nothing(town: World) -> None:
    card = posted(town, "cfo@bank.com")
    answer = {"id": "auth-other", "email": f"cfo@ban{KELVIN}.com", "status": "gated", "dataroom_id": "room-1"}
    town.conveyor.fail("POST /exchange/authorizations", after=True, body=answer)
    town.slack.click(ANN, card.ts, "approve")
    town.shows(request_of(card), "approved", "<@U0ANN>")
    # It is confirmed by a second read of the request and of the grants.
    calls = [exchange.call for exchange in town.conveyor.exchanges]
    after = calls[len(calls) - calls[::-1].index("POST /exchange/authorizations") :]
    assert f"GET /exchange/authorization_requests/{request_of(card)}" in after
    assert "GET /exchange/authorizations" in after


@pytest.mark.parametrize(("known", "alike"), PAIRS)
def test_reconciling_keeps_lookalikes_apart(town: World, known: str, alike: str) -> None:
    known, alike = f"audited-{known}", f"audited-{alike}"
    approved(town, known)
    asked = town.conveyor.ask(alike, status="approved")
    grant = town.conveyor.approve_here(asked)
    status, said = run(town, "audit", "reconcile")
    assert status == 1
    assert f"{alike} has access in Conveyor ({grant}), but this ledger has no approval of it." in said
    # The access that one of them lost is still missed, although the other one has access.
    mine = next(item for item in town.conveyor.authorizations.values() if item["email"] == known)
    town.conveyor.revoke_here(mine["id"])
    assert f"{known} was approved here" in run(town, "audit", "reconcile")[1]
    town.conveyor.revoke_here(grant)


# The same customer


def test_a_company_is_found_by_either_name_of_its_domain(town: World) -> None:
    approved(town, "eva@müller.example")
    second = posted(town, "max@xn--mller-kva.example")
    assert asked_before("eva@müller.example", State.APPROVED) in town.slack.text_of(second)
    answers = [
        town.slack.text_of(answer_to(town, SAM, typed))
        for typed in ("müller.example", "xn--mller-kva.example", "XN--MLLER-KVA.Example", "Müller.EXAMPLE")
    ]
    for said in answers:
        rest = said.partition("\n")[2]
        assert rest == answers[0].partition("\n")[2]
        assert "eva@müller.example" in rest
        assert "max@xn--mller-kva.example" in rest
    assert "eva@müller.example" in town.slack.text_of(answer_to(town, SAM, "EVA@xn--mller-kva.example"))


def test_a_person_is_found_in_whatever_case(town: World) -> None:
    for address in ("jane@person.com", "JANE@PERSON.com"):
        approved(town, address)
    for typed in ("jane@person.com", "JANE@PERSON.com", "Jane@person.COM"):
        assert str(answer_to(town, SAM, typed).blocks).count("/archives/") == 2  # a link to each card
    assert blocks.ASKED_BEFORE.capitalize() in town.slack.text_of(posted(town, "jAnE@pErSoN.cOm"))
