"""Which email addresses are the same. Every module that compares two of them does so by this rule."""

from hashlib import sha256

from text import printable

ADDRESS_CHARS = 320  # RFC 3696: 64 before the @ and 255 after it
LABEL_CHARS = 63  # RFC 1035: a longer one is in no domain


def bounded(email: str) -> str:
    """Return the address as the app keeps it: what cannot be seen in it is spelled out, such as `\\u200b`.

    An address that is longer than any real one is cut. It ends with its length and a digest, which tell it
    from others that begin alike.
    """
    email = email.strip()
    spelled = printable(email)
    if len(spelled) <= ADDRESS_CHARS:
        return spelled
    ending = f"… ({len(email)} characters, {sha256(spelled.encode()).hexdigest()[:8]})"
    return spelled[: ADDRESS_CHARS - len(ending)] + ending


def folded(email: str) -> str:
    """Return the address as it is compared.

    ASCII letters become lowercase. A domain with other letters becomes what the DNS knows it by (`xn--…`). No
    other letter becomes an ASCII letter, so an address that only looks like another one differs from it.
    """
    local, at, _ = email.rpartition("@")
    return _lowercase(local) + at + domain(email) if at else _lowercase(email)


def domain(email: str) -> str:
    """Return the part after the last @ as it is compared; empty if there is no @."""
    _, at, found = email.rpartition("@")
    return domain_folded(found) if at else ""


def domain_folded(name: str) -> str:
    """Return a domain as it is compared: each label in lowercase, and as IDNA writes it if it is not ASCII.

    A label that is too long for the DNS is not encoded: for 20,000 letters this would take Python a minute.
    """
    return ".".join(
        label if label.isascii() or len(label) > LABEL_CHARS else "xn--" + label.encode("punycode").decode()
        for label in _lowercase(name).split(".")
    )


def domain_unfolded(name: str) -> str:
    """Return a domain as people write it, with the letters that IDNA spells as `xn--…`.

    It stays as it is if these letters could not all be seen.
    """
    labels = domain_folded(name).split(".")
    try:
        shown = ".".join(
            label[4:].encode().decode("punycode") if label.startswith("xn--") else label for label in labels
        )
    except ValueError:
        return name
    is_same = shown.isprintable() and domain_folded(shown) == ".".join(labels)
    return shown if is_same and not shown.isascii() else name


def same(one: str, other: str) -> bool:
    """Return whether both are the address of the same person."""
    return folded(one) == folded(other)


def _lowercase(text: str) -> str:
    """Return the text with its ASCII letters in lowercase, and every other letter as it is."""
    return "".join(char.lower() if char.isascii() else char for char in text)
