"""Every word that a person sees, and its layout: pure functions from data to Block Kit.

Change the words here; nothing else depends on them. What outsiders wrote (addresses, messages, group
names, Conveyor's sentences) goes into plain_text and rich_text only, where nothing pings, links or formats.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypedDict

from conveyor_client import AccessGroup
from tables import (
    APPROVED,
    APPROVED_ELSEWHERE,
    APPROVING,
    GONE,
    IGNORED_ELSEWHERE,
    IN_FLIGHT,
    PENDING,
    REJECTED,
    REJECTING,
    Row,
)

# Ids that Slack sends back.
APPROVE = "approve"
REJECT = "reject"
GROUPS = "groups"
REJECT_MODAL = "reject_modal"
REASON = "reason"

# Slack's limits, and what we leave of them. https://docs.slack.dev/reference/block-kit
SECTION_CHARS = 3000
TEXT_CHARS = 3000  # of the top-level text; Slack shortens from about 4,000
OPTION_CHARS = 75
LABEL_CHARS = 75
CHECKBOXES = 10
OPTIONS = 100
REASON_CHARS = 2000
MESSAGE_CHARS = 4000
MODAL_MESSAGE_CHARS = 500
GROUPS_CHARS = 1500
ADDRESS_CHARS = 254

Block = dict[str, Any]


class Message(TypedDict):
    text: str
    blocks: list[Block]


# Cards


def card(row: Row, groups: Sequence[AccessGroup]) -> Message:
    """The picture of a request; `groups` are those that can be granted in its data room."""
    if row.state == PENDING:
        return _pending(row, groups)
    if row.state in IN_FLIGHT:
        return _in_progress(row)
    return _decided(row)


def _pending(row: Row, groups: Sequence[AccessGroup]) -> Message:
    blocks = [
        _header(":sparkles: Access request"),
        _about(row, " asks for access."),
        _rich([_text("Received "), _date(row.received_at), _text(".")]),
    ]
    if row.previous:
        blocks.append(_rich(_asked_again(json.loads(row.previous))))
    blocks += _message(row)
    if groups:
        blocks.append(_group_choice(row, groups))
        blocks.append(_context("Everyone you approve gets standard access. Choose groups to add more."))
    else:
        blocks.append(_context("Approving gives standard access."))
    value = f"{row.round} {row.id}"
    blocks.append(
        {
            "type": "actions",
            "block_id": _block_id("decide", row),
            "elements": [
                _button(APPROVE, "Approve", value, "primary", f"Approve access for {_address(row)}"),
                _button(REJECT, "Reject", value, "danger", f"Reject access for {_address(row)}"),
            ],
        }
    )
    return _message_of(f"Access request: {_who(row)} asks for access.", blocks)


def _in_progress(row: Row) -> Message:
    doing = {APPROVING: "Approving…", REJECTING: "Rejecting…"}[row.state]
    waiting = {
        "": "",
        "unavailable": "Conveyor does not answer yet. I keep trying.",
        "key": "Conveyor does not accept this app's API key. I keep trying; please tell who runs this app.",
        "unconfirmed": (
            "This was sent to Conveyor and is not confirmed yet. I keep asking, and this card will say so."
        ),
    }[row.trouble]
    blocks = [
        _header(f":hourglass_flowing_sand: {doing}"),
        _about(row, " asked for access."),
        _rich([_text(f"{doing} by "), *_person(row), _text(f". {waiting}" if waiting else ".")]),
        *_reason(row),
        *_message(row),
    ]
    return _message_of(f"{doing} by {_name(row)}: {_who(row)}. {waiting}", blocks)


def _decided(row: Row) -> Message:
    word, symbol = DECIDED[row.state]
    blocks = [_header(f"{symbol} {word}"), _about(row, " asked for access.")]
    if row.state in (APPROVED, REJECTED):
        blocks.append(
            _rich([_text(f"{word} by "), *_person(row), _text(", "), _date(row.settled_at), _text(".")])
        )
    else:
        blocks.append(_rich([_text("Seen "), _date(row.settled_at), _text("; it was not decided here.")]))
    if row.state == APPROVED:
        blocks.append(_rich([_text(_granted(row))]))
    blocks += [*_reason(row), *_message(row)]
    by = f" by {_name(row)}" if row.state in (APPROVED, REJECTED) else ""
    reason = f" Reason: {one_line(row.reason)}" if row.reason and row.state == REJECTED else ""
    return _message_of(f"{word}{by}: {_who(row)}.{reason}", blocks)


DECIDED = {
    APPROVED: ("Approved", ":white_check_mark:"),
    REJECTED: ("Rejected", ":no_entry_sign:"),
    APPROVED_ELSEWHERE: ("Approved in Conveyor", ":white_check_mark:"),
    IGNORED_ELSEWHERE: ("Ignored in Conveyor", ":no_entry_sign:"),
    GONE: ("No longer in Conveyor", ":grey_question:"),
}


def _asked_again(previous: dict[str, Any]) -> list[Block]:
    word = DECIDED.get(previous.get("state", ""), ("decided", ""))[0]
    elements = [_text(f"Asked again; {word[0].lower() + word[1:]} on "), _date(previous.get("at"), "{date}")]
    if previous.get("state") in (APPROVED, REJECTED) and previous.get("reviewer_id"):
        elements += [_text(" by "), {"type": "user", "user_id": previous["reviewer_id"]}]
        if previous.get("reviewer_name"):
            elements.append(_text(f" ({one_line(previous['reviewer_name'])})"))
    return [*elements, _text(".")]


def _granted(row: Row) -> str:
    groups = row.group_list
    if groups is None:
        return "Granted: see the request in Conveyor, which did not list the groups."
    if not groups:
        return "Granted: standard access."
    names = [one_line(group.name) or "(group without a name)" for group in groups]
    shown: list[str] = []
    for name in names:
        if _length(", ".join([*shown, cut(name, 300)])) > GROUPS_CHARS:
            break
        shown.append(cut(name, 300))
    rest = len(names) - len(shown)
    more = f", and {rest} more (see Conveyor)" if rest else ""
    return f"Granted: standard access and {', '.join(shown)}{more}."


def _about(row: Row, what: str) -> Block:
    elements = [_text(_address(row), bold=True)]
    if domain(row.email):
        elements.append(_text(f" ({cut(domain(row.email), ADDRESS_CHARS)})"))
    elements.append(_text(what))
    if row.link:
        elements += [_text(" "), {"type": "link", "url": row.link, "text": "Open in Conveyor"}]
    return _rich(elements)


def _message(row: Row) -> list[Block]:
    """The customer's words, up to a length, in a quote: nobody may take them for the app's own."""
    words = inert(row.message).strip()
    if not words:
        return [_context("There is no message.")]
    shown = cut(words, MESSAGE_CHARS, "")
    blocks = [_quote("They wrote:", shown)]
    if len(words) > len(shown):
        blocks.append(_context(f"{len(words) - len(shown):,} more characters: read them in Conveyor."))
    return blocks


def _reason(row: Row) -> list[Block]:
    reason = cut(inert(row.reason).strip(), REASON_CHARS)
    if not reason or row.state not in (REJECTING, REJECTED):
        return []
    return [{**_quote("Reason:", reason), "block_id": _block_id(REASON, row)}]


def reason_on_card(blocks: Any) -> str:
    """The reason that a card of ours shows, for a ledger that lost it."""
    for block in blocks:
        if block.get("type") == "rich_text" and block.get("block_id", "").startswith(f"{REASON}-"):
            return str(block["elements"][1]["elements"][0]["text"])
    return ""


def _group_choice(row: Row, groups: Sequence[AccessGroup]) -> Block:
    if len(groups) > CHECKBOXES:
        element: Block = {
            "type": "multi_external_select",
            "action_id": GROUPS,
            "min_query_length": 0,
            "placeholder": _plain("Type to find a group"),
        }
    else:
        element = {"type": "checkboxes", "action_id": GROUPS, "options": group_options(groups)}
    return {
        "type": "input",
        "block_id": _block_id(GROUPS, row),
        "optional": True,
        "label": _plain("Access groups"),
        "element": element,
    }


def offer(groups: Sequence[AccessGroup]) -> object:
    """What an open card shows of these groups: when it changes, the card is to be drawn again."""
    return group_options(groups) if len(groups) <= CHECKBOXES else "too many to list"


def group_options(groups: Sequence[AccessGroup], typed: str = "") -> list[Block]:
    """The groups whose name contains what was typed, as options; equal names get the end of their id."""
    names = {group.id: one_line(group.name) or "(group without a name)" for group in groups}
    labels = {group_id: cut(name, OPTION_CHARS) for group_id, name in names.items()}
    times = Counter(labels.values())
    wanted = one_line(typed).casefold()
    options: list[Block] = []
    for group_id, label in labels.items():
        if wanted in names[group_id].casefold() and len(options) < OPTIONS:
            if times[label] > 1:
                ending = f" ({group_id[-12:]})"
                label = cut(label, OPTION_CHARS - _length(ending)) + ending
            options.append({"text": _plain(label), "value": group_id})
    return options


# The rejection modal


def reject_modal(row: Row, private_metadata: str, reason_required: bool) -> Block:
    """Asks why, and shows whom one is about to reject."""
    return {
        "type": "modal",
        "callback_id": REJECT_MODAL,
        "private_metadata": private_metadata,
        "title": _plain("Reject this request"),
        "submit": _plain("Reject"),
        "close": _plain("Cancel"),
        "blocks": [
            _about(row, " asked for access."),
            *_message(replace(row, message=cut(row.message, MODAL_MESSAGE_CHARS))),
            {
                "type": "input",
                "block_id": REASON,
                "optional": not reason_required,
                "label": _plain("Why?"),
                "hint": _plain("Your colleagues will find this by searching. The customer does not see it."),
                "element": {
                    "type": "plain_text_input",
                    "action_id": REASON,
                    "multiline": True,
                    "max_length": REASON_CHARS,
                    "focus_on_load": True,
                },
            },
        ],
    }


def sentence_modal(sentence: str) -> Block:
    """A modal that says one thing, in place of the one that was submitted."""
    return {
        "type": "modal",
        "title": _plain("Nothing was changed"),
        "close": _plain("Close"),
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": sentence}}],
    }


REASON_MISSING = "Please say why, in a few words that a colleague will understand."
REASON_TOO_LONG = f"Please keep it to {REASON_CHARS:,} characters."

# Private sentences (mrkdwn). They hold no words of outsiders, except in code.

STILL_STARTING = "I am still starting: Slack has not told me who I am yet. Please try again in a minute."
READING_THE_CHANNEL = (
    "I do not know this card yet; I may be reading the channel again. Please try again in a minute."
)
WHO_UNKNOWN = "Slack did not tell me who you are, so nothing was changed. Please click again."
LEDGER_BUSY = "I could not write this down just now, so nothing was changed. Please click again."
NO_WINDOW = "Slack did not open the window, so nothing was changed. Please click again."
NOT_A_MEMBER = "Only full members of this workspace may decide access requests. Nothing was changed."
NOT_A_REVIEWER = (
    "You are not on the list of reviewers, so nothing was changed. "
    "Whoever runs this app can add you to its setting REVIEWERS."
)
NO_ADDRESS = (
    "Conveyor wants the e-mail address of whoever decides, and Slack does not show me a confirmed one for "
    "you. Nothing was changed. Please add or confirm your address in your Slack profile, then try again."
)
ODD_CLICK = "I did not understand this click, so nothing was changed. Please reload Slack and try again."


def unexpected(reference: str) -> str:
    return (
        "Something went wrong on my side. Look at the card to see whether anything was changed. "
        f"Whoever runs this app finds the cause in its log under `{reference}`."
    )


def groups_not_offered(names: Sequence[str]) -> str:
    # In code nothing formats, and no address becomes a link.
    plain = (cut(one_line(name.replace("`", "")), 80) or "?" for name in names[:10])
    listed = ", ".join(f"`{_escaped(name)}`" for name in plain)
    return (
        f"Nothing was granted: {listed} cannot be chosen for this request any more. "
        "The card has the current groups now; please choose again."
    )


def already_decided(row: Row, user_id: str) -> str:
    """Tells who was first."""
    mine = row.reviewer_id == user_id
    who = f"<@{row.reviewer_id}>" if row.reviewer_id else "somebody"
    who = "You" if mine else f"You were not first: {who}"
    if row.state in IN_FLIGHT:
        doing = "approving" if row.state == APPROVING else "rejecting"
        has = "have" if mine else "has"
        since = _mrkdwn_date(row.claimed_at)
        return f"{who} {has} been {doing} this since {since}. This click changed nothing."
    if row.state in (APPROVED, REJECTED):
        word = DECIDED[row.state][0].lower()
        return f"{who} {word} this, {_mrkdwn_date(row.settled_at)}. This click changed nothing."
    if row.state in DECIDED:
        word = DECIDED[row.state][0]
        return f"{word}: seen {_mrkdwn_date(row.settled_at)}. It was not decided here. Nothing was changed."
    return "This request is decided already; its card says how. Nothing was changed."


def old_card(permalink: str) -> str:
    return f"This is an old card, so nothing was changed. The current one is <{permalink}|here>."


# Replies in the thread of a card

NOTES = {
    "refused": "Conveyor did not accept this decision, so the request is open again. Please decide again.",
    "not allowed": (
        "Conveyor says that this app's API key may not do this, so the request is open again. "
        "Please tell who runs this app."
    ),
    "key": (
        "Conveyor does not accept this app's API key, so your decision waits. I keep trying; "
        "please tell who runs this app."
    ),
    "never sent": (
        "Conveyor did not answer for 15 minutes and your decision was not sent, so the request is open "
        "again. Please decide again."
    ),
    "still open": (
        "After 15 minutes of trying, Conveyor says that this request is still open. Please decide again."
    ),
    "unconfirmed": (
        "Your decision was sent, and Conveyor has not confirmed it for 15 minutes. I keep asking, and the "
        "card will say so. If it is urgent, look at the request in Conveyor."
    ),
    "elsewhere": (
        "This request was closed in Conveyor before your decision got there. The card says how; "
        "your decision was not carried out."
    ),
    "gone": "This request is no longer in Conveyor, so your decision could not be carried out.",
    "lost": (
        "My records were lost while your decision was on its way, and Conveyor says that the request is "
        "open. Please decide again."
    ),
}


def note(kind: str, person_id: str, detail: str) -> Message:
    """A reply that names the reviewer; `detail` is Conveyor's own sentence, if it gave one."""
    mention = [{"type": "user", "user_id": person_id}, _text(": ")] if person_id else []
    blocks = [_rich([*mention, _text(NOTES[kind])])]
    said = inert(detail).strip()
    if said:
        blocks.append({"type": "section", "text": _plain(cut(f"Conveyor said: {said}", SECTION_CHARS))})
    return {"text": f"{f'<@{person_id}>: ' if person_id else ''}{NOTES[kind]}", "blocks": blocks}


# Small parts


def cut(text: str, most: int, ending: str = "…") -> str:
    """At most so many characters as Slack counts them, which may be UTF-16 units: an emoji counts twice."""
    if _length(text) <= most:
        return text
    keep = 2 * (most - _length(ending))
    return text.encode("utf-16-le")[:keep].decode("utf-16-le", "ignore") + ending


def inert(text: str) -> str:
    """Without control characters, and without the marks that turn the direction of the text around them."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", text)


def one_line(text: str) -> str:
    return " ".join(inert(text).split())


def domain(email: str) -> str:
    """The part after the last @, in lower case; what only looks like another one is spelled out in ASCII."""
    found = cut(one_line(email).rpartition("@")[2], ADDRESS_CHARS, "") if "@" in email else ""
    return ".".join(
        label.lower() if label.isascii() else "xn--" + label.encode("punycode").decode()
        for label in found.split(".")
    )


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _message_of(text: str, blocks: list[Block]) -> Message:
    text = _escaped(text.strip())
    if _length(text) > TEXT_CHARS:
        text = re.sub(r"&\w*$", "", cut(text, TEXT_CHARS - 1, "")) + "…"
    return {"text": text, "blocks": blocks}


def _address(row: Row) -> str:
    return cut(one_line(row.email), ADDRESS_CHARS) or "(no address)"


def _who(row: Row) -> str:
    address = _address(row)
    return f"{address} ({cut(domain(row.email), ADDRESS_CHARS)})" if domain(row.email) else address


def _name(row: Row) -> str:
    return cut(one_line(row.reviewer_name), 80) or row.reviewer_id or "somebody"


def _person(row: Row) -> list[Block]:
    """Mention and name: a mention alone says nothing to somebody who reads it years later."""
    if not row.reviewer_id:
        return [_text("somebody")]
    mention = {"type": "user", "user_id": row.reviewer_id}
    name = cut(one_line(row.reviewer_name), 80)
    return [mention, _text(f" ({name})")] if name else [mention]


def _block_id(name: str, row: Row) -> str:
    """New for every picture: with the same id Slack keeps stale choices on the screen."""
    return f"{name}-{row.round}-{row.revision}"


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}


def _header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": text, "emoji": True}}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [_plain(text)]}


def _rich(elements: list[Block]) -> Block:
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}


def _quote(label: str, text: str) -> Block:
    """Words that are not the app's, behind a bar on every line."""
    parts = []
    while text:
        parts.append(cut(text, SECTION_CHARS, ""))
        text = text[len(parts[-1]) :]
    said = {"type": "rich_text_section", "elements": [_text(label)]}
    return {
        "type": "rich_text",
        "elements": [said, {"type": "rich_text_quote", "elements": list(map(_text, parts))}],
    }


def _text(text: str, bold: bool = False) -> Block:
    return {"type": "text", "text": text, **({"style": {"bold": True}} if bold else {})}


def _date(at: float | None, format: str = "{date_short_pretty} at {time}") -> Block:
    """A time in the reader's own zone."""
    return {"type": "date", "timestamp": int(at or 0), "format": format, "fallback": _utc(at)}


def _mrkdwn_date(at: float | None) -> str:
    return f"<!date^{int(at or 0)}^{{date_short_pretty}} at {{time}}|{_utc(at)}>"


def _utc(at: float | None) -> str:
    return datetime.fromtimestamp(int(at or 0), UTC).strftime("%Y-%m-%d %H:%M UTC")


def _button(action_id: str, label: str, value: str, style: str, description: str) -> Block:
    return {
        "type": "button",
        "action_id": action_id,
        "text": _plain(label),
        "value": value,
        "style": style,
        "accessibility_label": cut(description, LABEL_CHARS),
    }
