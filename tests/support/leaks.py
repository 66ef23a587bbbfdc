"""What may stand in no log line and in no answer to a person, whatever happens."""

import re
from collections.abc import Iterable

# The stand-ins' own, all of them made up; response addresses are secrets too, since they let one speak.
SECRETS = ("xoxb-made-up-token", "made-up-signing-secret", "made-up-conveyor-key")
RESPONSE_URL = re.compile(r"/actions/\w+|hooks\.slack(?:-gov)?\.com/\S+")


def secrets_in(text: str, more: Iterable[str] = ()) -> list[str]:
    """The secrets that stand in this text, with what is around them."""
    found = [match.span() for match in RESPONSE_URL.finditer(text)]
    found += [(text.index(secret), text.index(secret)) for secret in (*SECRETS, *more) if secret in text]
    return [text[max(0, start - 200) : end + 50] for start, end in found]
