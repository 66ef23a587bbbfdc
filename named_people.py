"""How the settings REVIEWERS and REMIND name people and user groups, and how to fix what is wrong there."""

import re

from text import BLANK, QUOTES

# One entry of REVIEWERS or REMIND: an email address, an @domain, or the ID of a user or a user group.
REVIEWER = re.compile(r'[^@\s"<>*:]+@[^@\s"<>*:]+|@[^@\s"<>*:.]+(\.[^@\s"<>*:.]+)+|[UWS][A-Z0-9]{2,}')
# What surrounds such an entry when it was copied from Slack, a mail program or another setting.
DECORATION = re.compile(r"^mailto:|^\*(?=@)|^@(?=[UW][A-Z0-9]{2,}(\||$))|\|.*", re.DOTALL)


# What to write instead of an entry of REVIEWERS that is wrong.
JUST = "Write just {}."
TYPE_IT = "Type it by hand."
NOT_A_HANDLE = (
    "Write that person's email address or Slack user ID (U…), or a whole domain such as @example.com."
)
ANYBODY_TO_REMIND = "Write an email address, a Slack user ID (U…), or a user group ID (S…)."
ANY_REVIEWER = "Write an email address, an @domain, a Slack user ID (U…), or a user group ID (S…)."


def entry_problem(name: str, part: str) -> str:
    """Return a sentence about what to write instead of this entry, or "" if it is right.

    `name` is REVIEWERS or REMIND. Slack can't mention everybody at a domain.
    """
    if not part.isprintable() or BLANK.search(part):
        shown = _quoted(ascii(part)[1:-1])
        return f"{name} contains {shown}, with characters that can't be seen. {TYPE_IT}"
    bare = DECORATION.sub("", part.strip(QUOTES + "<>"))
    if REVIEWER.fullmatch(bare) and (name == "REVIEWERS" or not bare.startswith("@")):
        return "" if bare == part else f"{name} contains {_quoted(part)}. {JUST.format(bare)}"
    if name == "REMIND":
        return f"{name} contains {_quoted(part)}. {ANYBODY_TO_REMIND}"
    is_handle = re.fullmatch(r"@[^@.]+", bare)
    return f"{name} contains {_quoted(part)}. {NOT_A_HANDLE if is_handle else ANY_REVIEWER}"


def _quoted(part: str) -> str:
    """Return this entry in quotes, unless it may be a secret pasted into the wrong setting."""
    is_secret = "://" in part or ("@" not in part and len(part) > 20)
    return "something that isn't a reviewer" if is_secret else f"“{part}”"
