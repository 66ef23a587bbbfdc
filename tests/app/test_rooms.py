"""What people type after /rooms: it is understood as they mean it, or said not to be understood."""

import pytest

import blocks
from sandbox.limits import blocks_text
from sandbox.workspace import SAM
from tests.support.steps import answer_to, posted
from tests.support.world import World

FIRM, EVA = "globex.example", "eva@globex.example"
GRANTS = "GET /exchange/authorizations"
INVISIBLE = "xn--" + "a\u200b".encode("punycode").decode() + ".example"
NFD = "mu\N{COMBINING DIAERESIS}hle.example"


def said(world: World, typed: str) -> str:
    return world.slack.text_of(answer_to(world, SAM, typed))


def asked_of(world: World) -> list[str]:
    """Return the addresses that Conveyor was asked about, in whatever spelling."""
    return [str(call.request.get("email")) for call in world.conveyor.calls(GRANTS)]


UNDERSTOOD = [
    ("“globex.example”", FIRM),
    ('"globex.example"', FIRM),
    ("'eva@globex.example'", EVA),
    ("‘eva@globex.example’", EVA),
    ("«globex.example»", FIRM),
    ("`globex.example`", FIRM),
    ("```eva@globex.example```", EVA),
    ("*globex.example*", FIRM),
    ("_eva@globex.example_", EVA),
    ("~globex.example~", FIRM),
    ("*_“globex.example”_*.", FIRM),
    ("mailto:eva@globex.example", EVA),
    ("MAILTO:eva@globex.example?subject=Access%20please", EVA),
    ("<mailto:eva@globex.example>", EVA),
    ("<mailto:eva@globex.example|eva@globex.example>", EVA),
    ("<mailto:eva@globex.example|Eva>", EVA),
    ("https://globex.example?y=2", FIRM),
    ("https://globex.example:8443/a?y=2#z", FIRM),
    ("<https://globex.example|Globex>", FIRM),
    ("eva@globex.example?", EVA),
    ("eva@globex.example.", EVA),
    ("(eva@globex.example)", EVA),
    ("eva@globex.example)", EVA),
    ("globex.example!", FIRM),
    ("globex.example…", FIRM),
    ("\u200bglobex.example", FIRM),
    ("globex\u00ad.example\u200f", FIRM),
    ("eva@globex.example\ufeff", EVA),
    ("Eva Evers <eva@globex.example>", EVA),
    ("Evers, Eva &lt;eva@globex.example&gt;", EVA),
    ("“Eva” <mailto:eva@globex.example|eva@globex.example>", EVA),
    ("eva@globex.example <eva@globex.example>", EVA),
]


@pytest.mark.parametrize(("typed", "who"), UNDERSTOOD)
def test_what_is_around_an_address_is_left_out(town: World, typed: str, who: str) -> None:
    if not town.ledger(f"SELECT 1 FROM requests WHERE email = '{EVA}'"):
        posted(town, EVA)
    answer = said(town, typed)
    assert answer.startswith(f"{blocks.WAITS} ")
    assert who in answer.partition("\n")[0]
    assert EVA in answer


@pytest.mark.parametrize("around", ["“{}”", "'{}'?", "<mailto:{}>", "Nobody <{}>", "\u200b{}."])
def test_somebody_without_a_request_is_asked_about_as_meant(town: World, around: str) -> None:
    town.conveyor.exchanges.clear()
    answer = said(town, around.format("nobody@initech.example"))
    assert answer.startswith(f"{blocks.HAS_NOT} nobody@initech.example {blocks.NO_ACCESS}.")
    assert answer.endswith(blocks.NO_REQUEST)
    assert set(asked_of(town)) == {"nobody@initech.example"}


NOT_UNDERSTOOD_OR_UNKNOWN = tuple(
    said.partition("{")[0] for said in (blocks.NOT_UNDERSTOOD, blocks.NOTHING_CALLED)
)
NOT_UNDERSTOOD = [
    "eva@globex.example joe@globex.example",
    "eva@globex.example, joe@globex.example",
    "joe@globex.example <eva@globex.example>",
    "globex.example please",
    "globex.example\u00a0please",
    "globex.example\u3164please",
    "globex.example or initech.example",
    "is eva@globex.example in?",
    "'eva@globex.example",
    "*eva@globex.example",
    "eva@globex.example (Eva)",
    "✅globex.example",
    "– globex.example",
    "•eva@globex.example",
    "https://eva@globex.example/",
    "eva@@globex.example",
    "eva@globex..example",
    ".globex.example",
    "globex。example",
    "globex\x07.example",
    "<@U0ANN|ann>",
    "<#C0REQUESTS|trust-requests>",
    "<!here>",
    "version 1.2",
    "1.2",
    "e.g.",
    "?",
    "…",
    "x" * 2500 + ".example",
    "(" * 200_000,
]


@pytest.mark.parametrize("typed", NOT_UNDERSTOOD, ids=lambda typed: typed[:30])
def test_what_may_mean_something_else_is_not_understood(town: World, typed: str) -> None:
    town.conveyor.exchanges.clear()
    answer = said(town, typed)
    assert answer.startswith(NOT_UNDERSTOOD_OR_UNKNOWN)
    assert asked_of(town) == []


@pytest.mark.parametrize("typed", ["“watching”", "Watching.", "`watching`"])
def test_the_words_of_the_command_are_understood_in_quotes_too(town: World, typed: str) -> None:
    assert said(town, typed) == blocks.NOT_FOLLOWING


@pytest.mark.parametrize("typed", ["Help!", "“help”", "\u200bhelp"])
def test_help_is_given_to_whoever_asks_for_it(town: World, typed: str) -> None:
    assert said(town, typed) == blocks_text(blocks.rooms_help("/rooms")["blocks"])


@pytest.mark.parametrize("typed", ["\u200b", "\ufe0f", " \u00ad "])
def test_what_cannot_be_seen_is_nothing(town: World, typed: str) -> None:
    answer = said(town, typed)
    assert answer == said(town, "")


# Letters


@pytest.mark.parametrize("typed", ["xn--bcher-kva.example", "XN--BCHER-KVA.example", "bücher.example"])
def test_a_domain_is_shown_in_its_letters_and_as_the_card_shows_it(town: World, typed: str) -> None:
    if not town.ledger("SELECT 1 FROM requests WHERE domain = 'xn--bcher-kva.example'"):
        assert "lea@bücher.example (xn--bcher-kva.example)" in town.slack.text_of(
            posted(town, "lea@bücher.example")
        )
    answer = said(town, typed)
    assert "bücher.example (xn--bcher-kva.example)" in answer.partition("\n")[0]
    assert "lea@bücher.example" in answer


def test_a_domain_that_nobody_can_read_is_shown_as_it_was_typed(town: World) -> None:
    for name in ("xn--zzzz--.example", INVISIBLE, "xn--.example", f"xn--{'a' * 80}.example"):
        assert f" {name} " in said(town, name)


@pytest.mark.parametrize(("kept", "typed"), [("mühle.example", NFD), (NFD, "mühle.example"), (NFD, NFD)])
def test_accents_are_the_same_joined_or_apart(town: World, kept: str, typed: str) -> None:
    name = f"u{len(kept)}{len(typed)}"
    posted(town, f"{name}@{kept}")
    answer = said(town, f"{name}@{typed}")
    assert f"{name}@{kept}" in answer
    assert answer.startswith(blocks.WAITS)


@pytest.mark.parametrize(
    ("known", "alike"), [("cto@park.com", "cto@par\N{KELVIN SIGN}.com"), ("cto@grosz.de", "cto@groß.de")]
)
def test_a_letter_that_looks_like_another_is_none(town: World, known: str, alike: str) -> None:
    posted(town, known)
    for typed in (alike, alike.partition("@")[2]):
        answer = said(town, f"“{typed}”")
        assert answer.endswith(blocks.NO_REQUEST)
        assert "(xn--" in answer
        assert known not in answer


def test_whoever_hides_a_character_in_an_address_is_somebody_else(town: World) -> None:
    posted(town, "cfo@vandelay.example")
    posted(town, "cfo\u200b@vandelay.example")
    for typed in ("cfo\u200b@vandelay.example", "cfo\\u200b@vandelay.example"):
        answer = said(town, typed)
        assert "cfo\\u200b@vandelay.example" in answer
        assert "cfo@vandelay.example" not in answer
    assert "cfo@vandelay.example" in said(town, "cfo@vandelay.example\u200b")


def test_access_is_found_in_whatever_letters_conveyor_keeps_the_address(town: World) -> None:
    town.conveyor.approve_here(town.conveyor.ask("kim@stark.example", status="approved"))
    assert said(town, "Kim@Stark.example").startswith(blocks.UNSIGNED)
