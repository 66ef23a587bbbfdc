"""Which email addresses are the same: the one rule, wherever two of them are compared."""

from hashlib import sha256

from text import printable

ADDRESS_CHARS = 320  # RFC 3696: 64 before the @ and 255 after it
LABEL_CHARS = 63  # RFC 1035: a longer one is in no domain


def bounded(email: str) -> str:
    """The address as the app keeps it: what cannot be seen in it is spelled out, such as `\\u200b`.

    One that is longer than any real one is cut, and says so; its end tells it from others that begin alike.
    """
    email = email.strip()
    spelled = printable(email)
    if len(spelled) <= ADDRESS_CHARS:
        return spelled
    ending = f"… ({len(email)} characters, {sha256(spelled.encode()).hexdigest()[:8]})"
    return spelled[: ADDRESS_CHARS - len(ending)] + ending


def folded(email: str) -> str:
    """The address as it is compared.

    ASCII letters become small. A domain with other letters becomes what the DNS knows it by (`xn--…`). No
    other letter becomes one of ASCII, so an address that only looks like another is another.
    """
    local, at, _ = email.rpartition("@")
    return _small(local) + at + domain(email) if at else _small(email)


def domain(email: str) -> str:
    """The part after the last @, as it is compared; empty if there is no @."""
    _, at, found = email.rpartition("@")
    return domain_folded(found) if at else ""


def domain_folded(name: str) -> str:
    """A domain as it is compared: each label in small letters, or as IDNA writes it.

    One that is too long for the DNS stays as it is: to encode 20,000 letters takes Python a minute.
    """
    return ".".join(
        label if label.isascii() or len(label) > LABEL_CHARS else "xn--" + label.encode("punycode").decode()
        for label in _small(name).split(".")
    )


def same(one: str, other: str) -> bool:
    """Whether both are the address of the same person."""
    return folded(one) == folded(other)


def _small(text: str) -> str:
    return "".join(char.lower() if char.isascii() else char for char in text)
