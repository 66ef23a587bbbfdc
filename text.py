"""Text from outside: what Conveyor, Slack and the people who use them wrote, made safe to keep and to print.

Nothing here decides what a text means or how it is laid out: addresses.py and block_kit.py do.
"""


def clean(text: str) -> str:
    """Return the text without NUL, and with "?" for each lone surrogate.

    JSON can carry both, and neither HTTP nor the databases take them.
    """
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def printable(text: str) -> str:
    """Return the text with each character that cannot be seen spelled out, such as `\\u200b` or `\\n`."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
