"""Text from outside: what Conveyor, Slack and the people who use them wrote, made safe to keep and to print.

Nothing here decides what a text means or how it is laid out: addresses.py and block_kit.py do.
"""

import re
import unicodedata

# Characters that show nothing although Unicode counts them among letters, symbols and marks, such as fillers
# and variation selectors. Spaces, controls and format characters are recognized by their categories.
BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U00013441\U00013442\U00016fe4\U0001d159\U000e0100-\U000e01ef]"
)

# What people and programs put around what they quote.
QUOTES = "\"'`“”„«»\u2018\u2019\u201a\u201b\u201f\u2039\u203a"


def clean(text: str) -> str:
    """Return the text without NUL, and with "?" for each lone surrogate.

    JSON can carry both, and neither HTTP nor the databases take them.
    """
    if text.isascii() and "\0" not in text:
        return text  # as nearly every text is
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def counted(number: int, what: str) -> str:
    """Return "1 card" or "2 cards"."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def printable(text: str) -> str:
    """Return the text with each character that cannot be seen spelled out, such as `\\u200b` or `\\n`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def is_readable(text: str) -> bool:
    """Return whether the text shows anything: a letter, a digit, a sign or an emoji."""
    return any(
        # Python may be older than an emoji, and then knows no category for it.
        unicodedata.category(char)[0] in "LNPS" or "\U0001f000" <= char <= "\U0001faff"
        for char in BLANK.sub("", text)
    )
