"""Which addresses count as the same, and how long an address may be."""

import string
import time
from collections.abc import Callable
from unicodedata import normalize

import idna
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from addresses import ADDRESS_CHARS, bounded, domain, domain_folded, folded, same

KELVIN = "\N{KELVIN SIGN}"
# Letters that some ways of comparing take for other letters.
TRICKY = f"{KELVIN}\N{LATIN SMALL LETTER LONG S}\N{LATIN SMALL LIGATURE FI}ßẞİıǅÅｂＢ①²ⅷ\u0301\u200d。．｡"
LETTERS = st.one_of(
    st.sampled_from(string.ascii_letters + string.digits + "-._" + TRICKY),
    st.characters(exclude_categories=["Cs"]),
)
LABELS = st.text(LETTERS, min_size=1, max_size=20)
DOMAINS = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
# Letters that an internationalized domain may have, in several scripts.
VALID = st.one_of(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789äöüßéøł", min_size=1, max_size=20),
    st.text("абвгдежзийклмнопрстуфхцчшщъыьэюя", min_size=1, max_size=20),
    st.text("αβγδεζηθικλμνξοπρσςτυφχψω", min_size=1, max_size=20),
    st.text("日本語中文字漢平仮名例え", min_size=1, max_size=12),
)
# Ways to rewrite a domain; some keep it the same, some make it another.
WAYS: list[Callable[[str], str]] = [
    str,
    lambda name: "".join(char.upper() if char.isascii() else char for char in name),
    lambda name: (known_to_the_dns(name) or b"").decode(),
    str.upper,
    str.lower,
    str.casefold,
    lambda name: normalize("NFKD", name),
    lambda name: normalize("NFKC", name),
    lambda name: normalize("NFKD", name).encode("ascii", "ignore").decode(),
    lambda name: name[::-1],
]


def known_to_the_dns(name: str) -> bytes | None:
    """Return the domain as the DNS writes it, in lowercase, or None if it cannot be in the DNS."""
    try:
        return idna.encode(name).lower()
    except (idna.IDNAError, UnicodeError):
        return None


@settings(deadline=None)
@given(st.one_of(st.text(LETTERS), st.tuples(LABELS, DOMAINS).map("@".join)))
@example(f"CEO@BAN{KELVIN}.com")
def test_folding_twice_changes_nothing_more(address: str) -> None:
    assert folded(folded(address)) == folded(address)
    assert domain(folded(address)) == domain(address)


@settings(deadline=None)
@given(st.text(LETTERS), st.text(LETTERS))
@example("jane@müller.example", "jane@xn--mller-kva.example")
def test_addresses_are_the_same_if_their_folded_forms_are_equal(one: str, other: str) -> None:
    assert same(one, one)
    assert same(one, one.swapcase() if one.isascii() else one)
    assert same(one, other) == same(other, one) == (folded(one) == folded(other))


@settings(deadline=None)
@given(st.lists(VALID, min_size=1, max_size=3).map(".".join), st.sampled_from(WAYS))
def test_domains_are_the_same_if_they_are_the_same_in_the_dns(one: str, way: Callable[[str], str]) -> None:
    other = way(one)
    first, second = known_to_the_dns(one), known_to_the_dns(other)
    assume(first is not None and second is not None)
    assert same(f"jane@{one}", f"jane@{other}") == (first == second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ceo@bank.com", f"ceo@ban{KELVIN}.com"),
        ("ceo@bank.com", f"{KELVIN}ceo@bank.com"),
        ("kim@acme.com", f"{KELVIN}im@acme.com"),
        ("sam@acme.com", "\N{LATIN SMALL LETTER LONG S}am@acme.com"),
        ("ceo@strasse.de", "ceo@straße.de"),
        ("ceo@bank.com", "ceo@ｂａｎｋ.com"),
        ("ceo@bank.com", "ceo@bank。com"),
        ("ceo@bank.com", "ceo＠bank.com"),
        ("ceo@bank.com", "ceo@bаnk.com"),  # a Cyrillic letter
        ("ceo@ix.com", "ceo@ⅸ.com"),
    ],
)
def test_an_address_that_only_looks_alike_is_another(one: str, other: str) -> None:
    assert not same(one, other)
    assert not same(other, one.upper())


@settings(deadline=None)
@given(VALID)
def test_a_domain_is_compared_as_the_dns_writes_it(label: str) -> None:
    assume(known_to_the_dns(label) is not None)
    assert domain_folded(label) == idna.encode(label).decode()
    assert same(f"jane@{label}.example", f"JANE@{idna.encode(label).decode().upper()}.EXAMPLE")


@settings(deadline=None)
@given(st.characters(min_codepoint=128, exclude_categories=["Cs"]), *[st.text("abk", max_size=3)] * 2)
@example(KELVIN, "ban", "")
def test_no_letter_outside_of_ascii_becomes_one_of_ascii(char: str, before: str, after: str) -> None:
    name = before + char + after
    assert folded(f"{name}@acme.com") == f"{name}@acme.com"
    assert folded(name) == name
    label = domain(f"jane@{name}.com").removesuffix(".com")
    assert label.startswith("xn--")
    assert label.removeprefix("xn--").encode().decode("punycode") == name


@settings(deadline=None)
@given(st.text(LETTERS, max_size=5), st.integers(0, 400))
def test_a_longer_address_is_cut_and_says_how_long_it_was(start: str, rest: int) -> None:
    address = f"{start}{'x' * rest}@acme.com"
    kept = bounded(address)
    assert kept.isprintable()
    assert len(kept) <= ADDRESS_CHARS
    assert bounded(kept) == kept
    spelled = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in address.strip())
    if len(spelled) <= ADDRESS_CHARS:
        assert kept == spelled
    else:
        assert len(kept) == ADDRESS_CHARS
        assert f"… ({len(address.strip())} characters, " in kept


@pytest.mark.parametrize(
    ("count", "said"), [(320, "x@acme.com"), (321, "… (321 characters, "), (3000, "… (3000 characters, ")]
)
def test_the_longest_address_is_kept_whole(count: int, said: str) -> None:
    address = "x" * (count - len("@acme.com")) + "@acme.com"
    assert len(bounded(address)) == 320
    assert said in bounded(address)
    assert (bounded(address) == address) == (count == 320)
    assert count == 320 or bounded(address) != bounded(address.replace("acme", "evil"))


def test_invisible_characters_of_an_address_are_shown() -> None:
    assert bounded(" jane\u200b@acme.com\u202e\x00 ") == "jane\\u200b@acme.com\\u202e\\x00"
    assert not same(bounded("jane\u200b@acme.com"), bounded("jane\u2060@acme.com"))


@pytest.mark.parametrize("letters", ["字" * 50_000, "".join(map(chr, range(0x4E00, 0x9FA5)))])
def test_long_names_are_compared_quickly(letters: str) -> None:
    began = time.monotonic()
    assert not same(f"jane@{letters}.com", f"jane@{letters[:-1]}.com")
    assert time.monotonic() - began < 2
