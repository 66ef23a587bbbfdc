"""Finds secrets that must never be in a log line or in anything that a person is told."""

import re
from collections.abc import Iterable

# The made-up secrets of the stand-ins. Response URLs are secrets too: whoever knows one can post with it.
SECRETS = ("xoxb-made-up-token", "made-up-signing-secret", "made-up-conveyor-key")
RESPONSE_URL = re.compile(r"/actions/\w+|hooks\.slack(?:-gov)?\.com/\S+")


def secrets_in(text: str, more: Iterable[str] = ()) -> list[str]:
    """Return the secrets in this text, each with the text around it."""
    found = [match.span() for match in RESPONSE_URL.finditer(text)]
    found += [(text.index(secret), text.index(secret)) for secret in (*SECRETS, *more) if secret in text]
    return [text[max(0, start - 200) : end + 50] for start, end in found]
