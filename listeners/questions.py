"""Reads what somebody typed after the slash command: about which customer is it?

People paste addresses from emails, documents and browsers. What is around an address is left out. Whatever
could be read in two ways is not read at all: an answer about another customer is worse than none.
"""

import re
from itertools import groupby
from typing import Literal
from unicodedata import category, normalize
from urllib.parse import unquote

import addresses
from text import BLANK, QUOTES, printable

LINK = re.compile(r"<([^<>|]*)\|([^<>|]*)>")  # how Slack sends what it takes for a link, and what it shows
AROUND = QUOTES + "*_~<>()[]{}"
BRACKETS = ("<>", "()", "[]", "{}")
AFTER = ".,;:!?…"
TYPED_CHARS = 2000  # nothing longer is about one customer
HOST = r"([^\s@:/?#]+?)\.?(?::\d+)?(?:[/?#]\S*)?"
ADDRESS = re.compile(rf"([\w\\+-][^\s@,;:<>()\[\]\"]*)@{HOST}")
PERIOD = re.compile(r"([0-9]{1,4}) ?(d|days?|w|weeks?)")
PART = re.compile(r"@?([\w+'-]{1,64})")
# A domain may also be typed as a browser shows it: https://www.acme.com/about
DOMAIN = re.compile(rf"(?:https?://)?@?(?:www\.(?=[^.]+\.))?{HOST}", re.I)


def as_shown(typed: str) -> str:
    """Return what somebody typed as Slack showed it to them."""
    return unescaped(LINK.sub(r"\2", typed))


def word(typed: str) -> str:
    """Return what somebody typed as a word of the command, such as "watching"."""
    return _bare(_without_invisible(typed[:TYPED_CHARS])).casefold()


def part(typed: str) -> str:
    """Return the word without a dot that may be part of a customer's name, or an empty string."""
    found = PART.fullmatch(_accented(_bare(_without_invisible(as_shown(typed[:TYPED_CHARS]))), "NFC"))
    return found[1] if found else ""


def days(typed: str) -> int:
    """Return how many days a period such as "90d" or "2 weeks" has, or 0 if it is none."""
    found = PERIOD.fullmatch(typed)
    return int(found[1]) * (7 if found[2].startswith("w") else 1) if found else 0


def readings(typed: str) -> list[str]:
    """Return the email addresses or domains that may be meant, which differ in what cannot be seen.

    The most literal comes first, and the plainest last. There is none if no customer is named, or several.
    """
    if len(typed) > TYPED_CHARS:
        return []
    for link in (r"<\2>", r"<\1>"):
        text = unescaped(LINK.sub(link, typed))
        plain = _without_invisible(text)
        if customer := _customer(_accented(plain, "NFC")):
            # The card spells out what cannot be seen, and shows accents as Conveyor sent them.
            others = _customer(printable(text)), _customer(_accented(plain, "NFD"))
            return list(dict.fromkeys([*filter(None, others), customer]))
    return []


def _customer(text: str) -> str | None:
    """Return the email address or the domain that this is, or None if it is neither."""
    text = _bare(text)
    name, bracket, rest = text.rpartition("<")  # Jane Doe <jane@acme.com>
    if bracket:
        text = _bare(rest)
        if "@" not in text or ("@" in name and _bare(name) != text):
            return None
    if text[:7].lower() == "mailto:":
        text = _bare(_without_invisible(unquote(text[7:].partition("?")[0])))
    if found := ADDRESS.fullmatch(text):
        return f"{found[1]}@{found[2]}" if _has_no_signs(found[1]) and _is_host(found[2]) else None
    found = DOMAIN.fullmatch(text)
    return addresses.domain_unfolded(found[1]) if found and _is_company(found[1]) else None


def _is_company(host: str) -> bool:
    """Return whether this is a domain that a company may have. Version 1.2, or e.g., are none."""
    _, dot, ending = host.rpartition(".")
    return bool(dot) and len(ending) > 1 and not ending.isdigit() and _is_host(host)


def _is_host(name: str) -> bool:
    """Return whether a domain may be written so. A card spells out what cannot be seen with a backslash."""
    return all(
        label and all(char in "-_\\" or category(char)[0] in "LMN" for char in label)
        for label in name.split(".")
    )


def _has_no_signs(text: str) -> bool:
    """Return whether all that is not ASCII are letters, accents and digits."""
    return all(char.isascii() or category(char)[0] in "LMN" for char in text)


def _bare(text: str) -> str:
    """Return the text without what people put around it: quotes, brackets, formatting, a full stop."""
    before = None
    while text != before:
        before = text
        text = text.strip().rstrip(AFTER)
        if len(text) > 1 and _is_pair(text[0], text[-1]):
            text = text[1:-1]
        elif text.endswith(tuple(AROUND)):
            text = text[:-1]
    return text


def _is_pair(first: str, last: str) -> bool:
    both_quotes = first in QUOTES and last in QUOTES
    return both_quotes or first + last in BRACKETS or (first == last and first in AROUND)


def unescaped(text: str) -> str:
    """Return the text with what Slack escapes as it was typed."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _without_invisible(text: str) -> str:
    """Return the text without characters of no width, and with a space for all others that show nothing."""
    kept = (char for char in text if category(char) != "Cf")
    return "".join(char if char.isprintable() and not BLANK.match(char) else " " for char in kept)


def _accented(text: str, form: Literal["NFC", "NFD"]) -> str:
    """Return the text with each accent joined to its letter (NFC), or apart from it (NFD).

    No letter becomes another one: of the Kelvin sign, these forms would make a K.
    """
    parts = groupby(text, lambda char: normalize("NFC", char) == char)
    return "".join(normalize(form, "".join(part)) if is_same else "".join(part) for is_same, part in parts)
