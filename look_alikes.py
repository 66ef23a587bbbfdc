"""Tells which known domain another one may be taken for: acrne.com, acmee.com, or acme.co for acme.com.

`look_alike` is pure. The lists of public suffixes and of confusable letters come with packages and never from
the network. Each is read when it is first needed.
"""

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple
from unicodedata import combining, normalize

from publicsuffixlist import PublicSuffixList

import addresses

DOMAIN_CHARS = 253  # RFC 1035: a longer one is no domain
REMEMBERED = 50_000  # domains whose names are kept, so that each is taken apart once
# Too many of the shorter names differ by one letter. `python -m bench.look_alikes` counts the false alarms.
LONG_CHARS = 4
# What looks alike in many fonts, and the hyphen, which is easily missed.
ALIKE = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"), ("1", "l"), ("i", "l"), ("-", ""))
NUMBER = re.compile(r"\d+")


class _Name(NamedTuple):
    """A name that somebody registered. Its ending is a public suffix, such as co.uk.

    Labels that look alike have the same skeleton.
    """

    label: str
    ending: str
    skeleton: str


def look_alike(domain: str, known: Iterable[str]) -> str | None:
    """Return the known domain that this one may be taken for, the closest if there are several, or None.

    All are written as addresses.domain returns them. A known domain is taken for no other, and neither is a
    domain that belongs to the same registered name, such as a subdomain.
    """
    asks = _name(domain)
    if asks is None:
        return None
    found = []
    for other in known:
        name = _name(other)
        if name == asks:
            return None
        if name and (likeness := _likeness(asks, name)):
            found.append((-likeness, other))
    return min(found)[1] if found else None


def _likeness(one: _Name, other: _Name) -> int:
    """Return how alike two names are, from 0 for not at all to 3."""
    if one.skeleton != other.skeleton:
        return int(one.ending == other.ending and _is_one_edit(one.label, other.label))
    if one.ending == other.ending:
        return 3
    is_long = min(len(one.label), len(other.label)) >= LONG_CHARS
    return 2 if is_long or one.label == other.label else 0


def _is_one_edit(one: str, other: str) -> bool:
    """Return whether two long labels differ by one letter, or by two neighbors that changed places.

    Different numbers do not count: people tell studio12 and studio13 apart.
    """
    shorter = min(len(one), len(other))
    if shorter < LONG_CHARS or abs(len(one) - len(other)) > 1:
        return False
    half = (shorter - 1) // 2
    if one[:half] != other[:half] and one[-half:] != other[-half:]:
        return False  # quickly: an edit leaves the beginning or the end as it is
    start = next((place for place in range(shorter) if one[place] != other[place]), shorter)
    a, b = one[start:], other[start:]
    is_edit = a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return is_edit and NUMBER.sub("0", one) != NUMBER.sub("0", other)


@lru_cache(REMEMBERED)
def _name(domain: str) -> _Name | None:
    """Return the registered name that the domain belongs to, or None if it has none."""
    if len(domain) > DOMAIN_CHARS:
        return None
    # Some companies' domains are public suffixes themselves, such as github.io.
    registered = _suffixes().privatesuffix(domain) or domain
    if not registered.isascii() or "xn--" in registered:
        registered = addresses.domain_unfolded(registered)
    label, _, ending = registered.partition(".")
    return _Name(label, ending, _skeleton(label)) if label and ending else None


def _skeleton(label: str) -> str:
    plain = label if label.isascii() else "".join(map(_latin, normalize("NFKD", label).casefold()))
    for seen, taken_for in ALIKE:
        plain = plain.replace(seen, taken_for)
    return plain


@lru_cache(REMEMBERED)
def _latin(char: str) -> str:
    """Return the Latin letters that this character may be taken for, or itself; nothing for an accent."""
    if char.isascii():
        return char
    if combining(char):
        return ""
    # Imported here because it takes 6 MB, and few companies have a domain with such letters.
    from confusable_homoglyphs.confusables import confusables_data

    for each in (char, char.upper()):  # the list has no small Cyrillic letters whose capitals are Latin ones
        for glyph in confusables_data.get(each, ()):
            plain = "".join(part for part in normalize("NFKD", glyph["c"]) if not combining(part))
            if plain.isascii() and plain.isalnum():
                return plain.lower()
    return char


@cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()
