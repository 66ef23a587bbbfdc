"""Small parts of Block Kit, within Slack's limits: what the messages in blocks.py are made of.

No word that a person reads is written here.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict
from urllib.parse import quote as quote_url

import addresses

# Slack's limits: https://docs.slack.dev/reference/block-kit
SECTION_CHARS = 3000
TEXT_CHARS = 3000  # of the top-level text, which Slack cuts from about 4,000 characters on
OPTION_CHARS = 75
LABEL_CHARS = 75
CHECKBOXES = 10
OPTIONS = 100
Block = dict[str, Any]


class Message(TypedDict):
    """The blocks that are shown, and the text that notifications, searches and screen readers use."""

    text: str
    blocks: list[Block]


def cut(text: str, most: int, ending: str = "…") -> str:
    """Return at most so many characters of the text; what is cut off is replaced by the ending.

    Slack may count UTF-16 units, of which an emoji has two, so this does.
    """
    if length(text) <= most:
        return text
    keep = 2 * (most - length(ending))
    return text.encode("utf-16-le")[:keep].decode("utf-16-le", "ignore") + ending


def excerpt(text: str, most: int, lines: int) -> str:
    """Return the beginning of a text: so many lines and, in them, so many characters, cut between words."""
    kept = "\n".join(text.split("\n")[:lines])
    if length(kept) > most:
        kept = pieces(kept, most - 1)[0]
    return text if kept == text else kept.rstrip() + "…"


def pieces(text: str, most: int) -> list[str]:
    """Return the text in pieces of so many characters at most, none of which begins inside a word.

    A word that is longer than a piece is cut.
    """
    found = []
    while length(text) > most:
        piece = cut(text, most, "")
        if not text[len(piece)].isspace() and (blank := re.match(r".*\s", piece, re.DOTALL)):
            piece = blank[0]
        found.append(piece.rstrip())
        text = text[len(piece) :].lstrip()
    return [*filter(None, found), text]


def inert(text: str) -> str:
    """Return the text without control characters and marks that turn the direction of what is around them.

    Tabs and line feeds stay.
    """
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", text)


def one_line(text: str) -> str:
    """Return the text on one line, with one space between its words."""
    return " ".join(inert(text).split())


def domain(email: str) -> str:
    """Return the part after the last @ as it is shown: letters outside ASCII are spelled out (`xn--…`)."""
    return cut(one_line(addresses.domain(email)), addresses.ADDRESS_CHARS)


def length(text: str) -> int:
    """Return how many characters the text has as Slack may count them, in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def escaped(text: str) -> str:
    """Return the text with `&`, `<` and `>` escaped, which begin and end markup in Slack's mrkdwn."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def message_of(text: str, blocks: list[Block]) -> Message:
    """Return a message with this text, escaped and cut to TEXT_CHARS, and these blocks."""
    text = escaped(text.strip())
    if length(text) > TEXT_CHARS:
        text = re.sub(r"&\w*$", "", cut(text, TEXT_CHARS - 1, "")) + "…"
    return {"text": text, "blocks": blocks}


def plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": True}}


def context(text: str) -> Block:
    return {"type": "context", "elements": [plain(text)]}


def quiet(parts: Sequence[str]) -> Block:
    """Return a line in small gray letters, of parts in mrkdwn, which must hold no words of outsiders."""
    texts = [*(f"{part} ·" for part in parts[:-1]), parts[-1]]
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text} for text in texts]}


def rich(elements: list[Block]) -> Block:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}


def quote(label: str, text: str) -> Block:
    """Return a label and, behind a bar on every line, words that are not the app's."""
    parts = []
    while text:
        parts.append(cut(text, SECTION_CHARS, ""))
        text = text[len(parts[-1]) :]
    said = {"type": "rich_text_section", "elements": [words(label)]}
    return {
        "type": "rich_text",
        "elements": [said, {"type": "rich_text_quote", "elements": list(map(words, parts))}],
    }


def words(text: str, bold: bool = False) -> Block:
    return {"type": "text", "text": text, **({"style": {"bold": True}} if bold else {})}


def mention(who: str) -> Block:
    """Return the mention of a person (U…, W…) or of a user group (S…), who are notified of the message."""
    if who.startswith("S"):
        return {"type": "usergroup", "usergroup_id": who}
    return {"type": "user", "user_id": who}


def mrkdwn_mention(who: str) -> str:
    """Return the same for a text in mrkdwn."""
    return f"<!subteam^{who}>" if who.startswith("S") else f"<@{who}>"


def link(url: str, text: str) -> Block:
    return {"type": "link", "url": url, "text": text}


def mrkdwn_link(url: str, text: str) -> str:
    """Return a link for a text in mrkdwn. In its address, what could end the link is percent-encoded."""
    safe = re.sub(r"[^!-~]|[<>|]", lambda odd: quote_url(odd[0]), url)
    return f"<{escaped(safe)}|{text}>"


def date(at: float | None, format: str = "{date_pretty} at {time}") -> Block:
    """Return a time, which Slack shows in the reader's own zone."""
    return {"type": "date", "timestamp": int(at or 0), "format": format, "fallback": utc(at)}


def mrkdwn_date(at: float | None, format: str = "{date_pretty} at {time}") -> str:
    """Return the same for a text in mrkdwn."""
    return f"<!date^{int(at or 0)}^{format}|{utc(at)}>"


def utc(at: float | None) -> str:
    """Return a time for readers whose Slack cannot show dates."""
    found = datetime.fromtimestamp(int(at or 0), UTC)
    return f"{found:%B} {found.day}, {found.year} at {found:%H:%M} UTC"


def button(action_id: str, label: str, value: str, style: str, description: str) -> Block:
    """Return a button; `style` is "primary", "danger" or empty, and screen readers read the description."""
    return {
        "type": "button",
        "action_id": action_id,
        "text": plain(label),
        "value": value,
        **({"style": style} if style else {}),
        "accessibility_label": cut(description, LABEL_CHARS),
    }
