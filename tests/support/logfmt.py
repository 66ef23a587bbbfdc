"""Reads a line of the log as strictly as any reader of logfmt does."""

import json
import re

FIELD = r'(?:^| )([^\s"=]+)=([^\s"=]+|"(?:[^"\\]|\\.)*")'


def parsed(line: str) -> dict[str, str]:
    """Return the fields of a line, or fail: each key must be there once."""
    assert re.fullmatch(f"(?:{FIELD})+", line), line
    pairs: list[tuple[str, str]] = re.findall(FIELD, line)
    assert len(dict(pairs)) == len(pairs), line
    return {key: json.loads(value) if value.startswith('"') else value for key, value in pairs}
