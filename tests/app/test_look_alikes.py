"""Which domains look alike, and what a card, a window, and an answer say about one that does."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import addresses
import blocks
from ledger.rows import Row
from ledger.states import State
from look_alikes import look_alike
from sandbox.limits import elements_of
from sandbox.workspace import ANN, BOB, SAM, Message
from tests.support.steps import answer_to, approved, clickable, posted, request_of, revoke
from tests.support.world import World

LOOK_ALIKE = {
    "a letter more, less, or another": """
        acne.com acme.com, acmee.com acme.com, ecme.com.au acme.com.au, globx.com globex.com,
        glabex.com globex.com, umbrela.io umbrella.io, umbrellla.io umbrella.io, northwimd.de northwind.de,
        northwinds.de northwind.de, stark.co.uk starck.co.uk, initech7.com initech.com,
        zinitech.com initech.com, hooli.xyz hoolie.xyz, strip.com stripe.com, paypa.com paypal.com
    """,
    "two neighbors changed places": """
        amce.com acme.com, acem.com acme.com, came.com acme.com, golbex.com globex.com, globxe.com globex.com,
        gihtub.com github.com, micorsoft.com microsoft.com, strak.co.uk stark.co.uk, cisoc.com cisco.com
    """,
    "rn for m, vv for w, cl for d": """
        acrne.com acme.com, rnicrosoft.com microsoft.com, arnazon.com amazon.com, ibrn.com ibm.com,
        vvayne.com wayne.com, vvestvvorld.com westworld.com, clropbox.com dropbox.com, aclobe.com adobe.com,
        clata-clog.io datadog.io, kingclom.com kingdom.com, vvrn.com wm.com
    """,
    "digits for letters": """
        0kta.com okta.com, g00gle.com google.com, dropb0x.com dropbox.com, paypa1.com paypal.com,
        1bm.com ibm.com, app1e.com apple.com, micros0ft.co.uk microsoft.co.uk, hoo1i.com hooli.com,
        a0l.com aol.com
    """,
    "l for i": """
        paypai.com paypal.com, lbm.com ibm.com, appie.com apple.com, hooll.com hooli.com, ui.com ul.com
    """,
    "another ending": """
        acme.co acme.com, acme.com acme.co.uk, acme.io acme.com, acme.com.co acme.com, acme.net acme.org,
        acme.github.io acme.com, acme.cm acme.com, acme.xyz acme.example, ibm.co ibm.com, hp.net hp.com
    """,
    "a hyphen more or less": """
        north-wind.de northwind.de, northwind.de north-wind.de, a-c-m-e.com acme.com, acme-.com acme.com
    """,
    "other scripts and accents": """
        аcme.com acme.com, acmе.com acme.com, асме.com acme.com, аррӏе.com apple.com, gοοgle.com google.com,
        pаypal.com paypal.com, mіcrоsоft.com microsoft.com, ѕtripe.com stripe.com, acmé.com acme.com,
        stríре.com stripe.com, ｗｉｄｅ.com wide.com, øre.no ore.no, straße.de strasse.de,
        acme.соm acme.com, банк.рф бaнк.рф, кнмт.com khmt.com, oﬃce.com office.com,
        ɑcme.com acme.com
    """,
    "both": "acrne.co acme.com, g00gle.net google.com, north-wind.com northwind.de, аcme.co acme.com",
    "subdomains": "mail.acrne.com acme.com, acrne.com eu.acme.com, a.b.amce.co.uk mx.acme.co.uk",
}
TOLD_APART = """
    acme.com acme.com, eu.acme.com acme.com, eu.acme.com us.acme.com, one.github.io two.github.io,
    ibn.com ibm.com, ups.com usps.com, ge.com gm.com, hp.com hpe.com, sap.com sas.com, aws.com asw.com,
    acm.com acme.com, dal.ca dai.ly, acl.gov ad.nl, ibm.com lbn.com, globex.com acme.com, acne.org acme.com,
    acmeee.com acme.com, aemc.com acme.com, ecma.com acme.com, acmecorp.com acme.com,
    acme-security.com acme.com, globalex.com globex.com, banana.com bandana.org, stripe.com strife.io,
    gitbuh.com github.com,
    northwind.de southwind.de, studio12.com studio13.com, web1.io web12.io, fox21.com fox12.com,
    area51.org area52.org, acme.com com, acme.com co.uk, тест.рф проба.рф
"""
BROKEN = [
    ".",
    "..",
    "a",
    ".com",
    "acme.",
    "acme..com",
    "xn--.com",
    "xn--a.com",
    "xn--ｘ.com",
    "@",
    "acme.com.",
]
BROKEN += ["xn--99999999.com", "рф", "\ud800.com", "a.\0", "-.-"]
# Whatever an outsider may write, and what is nearly the name of a customer.
LABELS = st.one_of(
    st.text(max_size=8), st.text("acmernl1i0o-аё", max_size=8), st.sampled_from(["acme", "a" * 70])
)
DOMAINS = st.one_of(
    st.tuples(LABELS, st.sampled_from(["com", "co.uk", "рф", "", "xn--p1ai"])).map(".".join),
    st.sampled_from(BROKEN),
    st.text(max_size=300),
).map(addresses.domain_folded)


def pairs(written: str) -> list[tuple[str, str]]:
    """Return the pairs of domains in this text, as the ledger has them."""
    pairs = [pair.split() for pair in written.split(",")]
    return [(addresses.domain_folded(one), addresses.domain_folded(other)) for one, other in pairs]


# The function


@pytest.mark.parametrize("kind", LOOK_ALIKE)
def test_look_alikes_are_found_both_ways(kind: str) -> None:
    for one, other in pairs(LOOK_ALIKE[kind]):
        assert look_alike(one, ["unlike.example", other]) == other
        assert look_alike(other, ["unlike.example", one]) == one


def test_there_are_many_pairs() -> None:
    assert len(pairs(",".join(LOOK_ALIKE.values()))) >= 60
    assert len(pairs(TOLD_APART)) >= 30


def test_near_misses_are_told_apart() -> None:
    for one, other in pairs(TOLD_APART):
        assert (one, other, look_alike(one, [other])) == (one, other, None)
        assert (other, one, look_alike(other, [one])) == (other, one, None)


def test_a_known_domain_looks_like_no_other_and_the_closest_is_named() -> None:
    known = ["acme.co", "acne.com", "acme.com"]
    assert look_alike("acrne.com", known) == look_alike("acrne.com", known[::-1]) == "acme.com"
    assert look_alike("acme.org", known) == "acme.co"
    assert [look_alike(each, known) for each in [*known, "mail.acme.co"]] == [None] * 4


@settings(deadline=None)
@given(DOMAINS, DOMAINS)
def test_any_two_domains_can_be_compared_and_neither_comes_first(one: str, other: str) -> None:
    assert (look_alike(one, [other]) is None) == (look_alike(other, [one]) is None)
    assert look_alike(one, [one]) is None


@settings(deadline=None)
@given(st.lists(DOMAINS, max_size=5), DOMAINS)
def test_only_a_known_domain_is_named_and_the_order_does_not_matter(known: list[str], one: str) -> None:
    found = look_alike(one, known)
    assert found is None or found in known
    assert look_alike(one, known[::-1]) == found


# What people see


def question(card: Message) -> str:
    """Return the question that Approve asks, or an empty string."""
    buttons = [each for block in card.blocks for each in elements_of(block)]
    return str(next(each for each in buttons if each["action_id"] == "approve").get("confirm", ""))


def warning(domain: str, known: str, key: str = "like_customer") -> str:
    return blocks.LOOKS_LIKE[key].format(domain, known)


def test_a_look_alike_of_a_customer_is_a_warning_until_it_is_approved(town: World) -> None:
    approved(town, "jane@thing.example")
    calls = len(town.conveyor.calls("GET /exchange/connections"))
    card = posted(town, "jane@tihng.example")
    assert len(town.conveyor.calls("GET /exchange/connections")) == calls + 1  # as for every new company
    said = warning("tihng.example", "thing.example")
    assert said in town.slack.text_of(card)
    assert said in card.text
    assert said + blocks.CHECK_WHO in question(card)
    town.slack.click(ANN, card.ts, "options")
    view = town.slack.open_view(ANN)
    assert view
    assert said in town.slack.text_of(view)
    for asked in ("tihng.example", "jane@tihng.example"):
        assert said in str(answer_to(town, SAM, asked).blocks)
    assert said not in str(answer_to(town, SAM, "thing.example").blocks)
    # It blocks nothing, and once somebody has approved it, nobody is warned of either.
    town.slack.click(BOB, card.ts, "approve")
    town.shows(request_of(card), "approved")
    for name in ("tihng", "thing"):
        assert question(posted(town, f"joe@{name}.example")) == ""
    assert said not in str(answer_to(town, SAM, "jane@tihng.example").blocks)


def test_letters_of_another_script_are_spelled_out(town: World) -> None:
    approved(town, "jane@script.example")
    domain = "s\N{CYRILLIC SMALL LETTER ES}ript.example"
    card = posted(town, f"jane@{domain}")
    spelled = f"{domain} ({addresses.domain_folded(domain)})"
    assert warning(spelled, "script.example") in town.slack.text_of(card)


def test_who_lost_access_is_no_longer_looked_like_but_who_asks_again_is(town: World) -> None:
    card = approved(town, "jane@former.example")
    revoke(town, ANN, card)
    town.shows(request_of(card), "revoked")
    assert question(posted(town, "jane@forrner.example")) == ""
    card = approved(town, "jane@repeats.example")
    town.conveyor.ask_again(request_of(card))
    clickable(town, request_of(card), round=2)
    assert warning("repeat.example", "repeats.example") in question(posted(town, "jane@repeat.example"))


def test_approved_in_conveyor_is_a_customer_too_but_a_personal_provider_is_none(town: World) -> None:
    for email in ("jane@elsewhere.example", "jane@gmail.com"):
        card = posted(town, email)
        town.conveyor.approve_here(request_of(card))
        town.shows(request_of(card), "approved elsewhere")
    assert question(posted(town, "jane@gmai1.com")) == ""
    like = posted(town, "jane@e1sewhere.example")
    assert warning("e1sewhere.example", "elsewhere.example") in question(like)


def test_the_shorter_card_keeps_the_warning(town: World) -> None:
    approved(town, "jane@shorter.example")
    refused = {"ok": False, "error": "invalid_blocks"}
    town.slack.fail("chat.*", None, when=lambda call: "too odd" in str(call.get("blocks")), body=refused)
    card = posted(town, "jane@sh0rter.example", "too odd")
    assert blocks.MESSAGE_REFUSED in town.slack.text_of(card)
    assert warning("sh0rter.example", "shorter.example") in question(card)


def test_the_own_domain_is_known_from_the_setting_and_from_whoever_decided(world: World) -> None:
    world.start(REVIEWERS=f"{ANN},@first.example,bob@second.example")
    for own in ("first", "second"):
        card = posted(world, f"jane@{own}s.example")
        assert warning(f"{own}s.example", f"{own}.example", "like_own") in question(card)
    own = "harbor.example"  # Ann's, which nobody knows before she decides
    assert question(posted(world, f"jane@x{own}")) == ""
    approved(world, "jane@customer.example")
    assert warning(f"y{own}", own, "like_own") in question(posted(world, f"jane@y{own}"))
    assert question(posted(world, f"jane@{own}")) == ""


@pytest.mark.parametrize(
    "odd", [7, {}, None, True, "", "<!channel>", "acme.com\u202e", "a b.example", "acme"], ids=str
)
def test_a_damaged_value_says_nothing(odd: Any) -> None:
    row = Row("r1", 1, State.PENDING, "jane@acrne.com", "Hello", "", "", 1.0)
    plain = blocks.card(replace(row, company={}))
    for key in blocks.LOOKS_LIKE:
        assert blocks.card(replace(row, company={key: odd})) == plain
