"""Every word that a person sees in Slack, and its layout: pure functions from data to Block Kit.

Change the words here; nothing else depends on them. These functions make no call and read no clock. What
outsiders wrote (addresses, messages, group names, Conveyor's sentences) goes into plain_text and rich_text
only, where nothing pings, links or formats.
"""

import datetime
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from addresses import ADDRESS_CHARS
from conveyor_client import GATED, LATEST, AccessGroup
from conveyor_client import MESSAGE_CHARS as KEPT_CHARS
from ledger.gated import FOLLOWED_SECONDS
from ledger.rows import Past, Reviewer, Row
from ledger.states import IN_FLIGHT, State
from workspace.block_kit import (
    CHECKBOXES,
    OPTION_CHARS,
    OPTIONS,
    SECTION_CHARS,
    Block,
    Message,
    button,
    context,
    cut,
    date,
    domain,
    escaped,
    header,
    inert,
    length,
    link,
    message_of,
    mrkdwn_date,
    one_line,
    plain,
    quote,
    rich,
    words,
)

# Ids that Slack sends back
APPROVE = "approve"
OPTIONS_BUTTON = "options"
REJECT = "reject"
MORE = "more"
REVOKE = "revoke"
TELL_ME = "tell_me"
STOP_TELLING = "stop_telling"
GROUPS = "groups"
APPROVE_MODAL = "approve_modal"
REJECT_MODAL = "reject_modal"
REASON = "reason"
NDA = "nda"
ENDS = "ends"
DAY = "day"

REASON_CHARS = 2000
MESSAGE_CHARS = 4000
MODAL_MESSAGE_CHARS = 500
GROUPS_CHARS = 1500
PAST_CHARS = 200
EXCERPT_CHARS = 300
ROOMS_MOST = 5
WAITING_MOST = 10
MISSING_MOST = 10


# Cards

DOING = {State.APPROVING: "Approving…", State.REJECTING: "Rejecting…", State.REVOKING: "Revoking…"}
DECIDED: dict[State | None, tuple[str, str]] = {
    State.APPROVED: ("Approved", ":white_check_mark:"),
    State.REJECTED: ("Rejected", ":no_entry_sign:"),
    State.REVOKED: ("Revoked", ":no_entry_sign:"),
    State.APPROVED_ELSEWHERE: ("Approved in Conveyor", ":white_check_mark:"),
    State.IGNORED_ELSEWHERE: ("Ignored in Conveyor", ":no_entry_sign:"),
    State.GONE: ("No longer in Conveyor", ":grey_question:"),
}
MESSAGE_REFUSED = "The message is too long to show, or Slack can't display it. Please read it in Conveyor."
UNTIL_SIGNED = ", waiting for them to sign the NDA"
MAIL_SUBJECT = "Your request for access to our security documents"
MAIL_BODIES = {
    State.APPROVED: (
        "Hello,\n\nthank you for your interest in our security documents. Your request is approved. If you "
        "miss anything, just answer this e-mail.\n\nKind regards"
    ),
    State.REJECTED: (
        "Hello,\n\nthank you for your interest in our security documents. We cannot give you access at this "
        "time. If you have any questions, just answer this e-mail.\n\nKind regards"
    ),
}


def card(row: Row, groups: Sequence[AccessGroup] = (), past: Sequence[Past] = ()) -> Message:
    """Return the card of a request.

    While it waits, the card offers `groups`, which can be granted in its Trust Center, and tells of `past`,
    the earlier requests of the same person or company.
    """
    if row.state == State.PENDING:
        return _pending(row, groups, past)
    if row.state in IN_FLIGHT:
        return _in_progress(row)
    if row.state in (State.OUTAGE, State.OUTAGE_OVER):
        return _outage(row)
    return _decided(row)


def shorter_card(row: Row) -> Message:
    """Return the card of a request whose whole card Slack refused: without all that may be long or odd.

    What stays is who asks, where it stands, the buttons and, after the first refusal, the link to Conveyor.
    """
    return card(replace(row, previous=None, company=None, reason=cut(inert(row.reason).strip(), PAST_CHARS)))


def _pending(row: Row, groups: Sequence[AccessGroup], past: Sequence[Past]) -> Message:
    blocks = [
        header(":sparkles: Access request"),
        _about(row, " asks for access."),
        rich([words("Received "), date(row.received_at), words(".")]),
    ]
    if row.previous:
        blocks.append(rich([words("Asked again; "), *_ended(row.previous)]))
    blocks += _message(row)
    blocks += _company(row)
    blocks += [rich([words(f"{_address(before.email)} asked before; "), *_ended(before)]) for before in past]
    if groups:
        blocks.append(_group_choice(groups, block_id=_block_id(GROUPS, row)))
        blocks.append(context("Everyone you approve gets standard access. Choose groups to add more."))
    else:
        blocks.append(context("Approving gives standard access."))
    value, who = f"{row.round} {row.subject} {row.id}", _address(row.email)
    blocks.append(
        {
            "type": "actions",
            "block_id": _block_id("decide", row),
            "elements": [
                button(APPROVE, "Approve", value, "primary", f"Approve access for {who}"),
                button(OPTIONS_BUTTON, "Approve with options…", value, "", f"Approve with options for {who}"),
                button(REJECT, "Reject", value, "danger", f"Reject access for {who}"),
            ],
        }
    )
    return message_of(f"Access request: {_who(row)} asks for access.", blocks)


def _company(row: Row) -> list[Block]:
    """Return what Conveyor said about the customer's company when the request came, if it said anything."""
    known = row.company or {}
    name = domain(row.email)
    if known.get("personal"):
        return [context(f"{name} is a personal mail provider."), *_crm(row)]
    if not known:
        return _crm(row)
    count = known.get("with_access")
    if not isinstance(count, int) or not count:
        elements = [words(f"When this came, nobody at {name} had access.")]
    else:
        people = "1 person" if count == 1 else f"{count:,} people"
        elements = [words(f"When this came, {people} at {name} had access")]
        latest = known.get("latest_activity_at")
        if isinstance(latest, float) and 0 < latest < LATEST:
            elements += [words("; last active on "), date(latest, "{date}")]
        elements.append(words("."))
    return [rich(elements), *_crm(row)]


def _crm(row: Row) -> list[Block]:
    """Return the link to the customer in the CRM, if there is one.

    That of the company goes first. A company has none before somebody there has access, but the request may.
    """
    url = (row.company or {}).get("crm_link") or row.crm_link
    return [rich([link(url, "Open in the CRM")])] if isinstance(url, str) and url else []


def _in_progress(row: Row) -> Message:
    doing = DOING[row.state]
    waiting = {
        "": "",
        "unavailable": "Conveyor does not answer yet. I keep trying.",
        "key": "Conveyor does not accept this app's API key. I keep trying; please tell who runs this app.",
        "unconfirmed": (
            "This was sent to Conveyor and is not confirmed yet. I keep asking, and this card will say so."
        ),
    }[row.problem]
    who = row.decider
    blocks = [
        header(f":hourglass_flowing_sand: {doing}"),
        _about(row, " asked for access."),
        rich([words(f"{doing} by "), *_person(who), words(f". {waiting}" if waiting else ".")]),
    ]
    if row.state == State.REVOKING:
        blocks += [_ended_line(_before_revocation(row)), rich([words(_granted(row))])]
    blocks += [*_reason(row), *_message(row)]
    return message_of(f"{doing} by {_name(who)}: {_who(row)}. {waiting}", blocks)


def _decided(row: Row) -> Message:
    word, symbol = DECIDED[row.state]
    title = f":large_yellow_circle: {word}{UNTIL_SIGNED}" if row.is_gated else f"{symbol} {word}"
    ending = _ending(row.past)
    blocks = [
        header(title),
        _about(row, " asked for access.", _mail(row)),
        _ended_line(row.past),
    ]
    if row.state == State.APPROVED:
        blocks.append(_granted_with_menu(row))
        if row.is_gated:
            blocks.append(rich([words("I'll update this card if they sign by "), *_last_day(row)]))
    elif row.state == State.REVOKED:
        blocks += [_ended_line(_before_revocation(row)), rich([words(_granted(row))])]
    blocks += [*_reason(row), *_message(row)]
    by = f" by {_name(ending.by)}" if ending.by else ""
    reason = f" {_reason_label(row.state)}: {one_line(ending.reason)}" if ending.reason else ""
    return message_of(f"{word}{by}: {_who(row)}{_until_signed(row)}.{reason}", blocks)


def _ended_line(past: Past) -> Block:
    """Return the line of a card that says how the request ended."""
    ending = _ending(past)
    if ending.by is None:
        done = "revoked" if past.state == State.REVOKED else "decided"
        return rich([words("Seen "), date(ending.at), words(f"; it was not {done} here.")])
    return rich([words(f"{ending.word} by "), *_person(ending.by), words(", "), date(ending.at), words(".")])


def _until_signed(row: Row) -> str:
    """Return how the sentence about an approved customer goes on where the NDA matters."""
    if row.is_gated:
        return f" is approved{UNTIL_SIGNED}"
    return " is approved, and the NDA is signed" if _is_signed(row) else ""


def _is_signed(row: Row) -> bool:
    return row.state == State.APPROVED and row.signed_at is not None


def _last_day(row: Row) -> list[Block]:
    """Return the end of a sentence that says until when a signature is looked for."""
    return [date((row.settled_at or 0.0) + FOLLOWED_SECONDS, "{date}"), words(".")]


def _mail(row: Row) -> Block | None:
    """Return a link that starts an email to the customer, without the reason, which is internal.

    Return None if the request is not decided, or if its address is no plain one.
    """
    body = MAIL_BODIES.get(row.state)
    if body is None or not re.fullmatch(r"[^\s<>@\"]+@[^\s<>@\"]+", _address(row.email)):
        return None
    mailbox = urllib.parse.quote(_address(row.email), safe="@")
    fields = {"subject": MAIL_SUBJECT, "body": body}
    query = urllib.parse.urlencode(fields, quote_via=urllib.parse.quote)
    return link(f"mailto:{mailbox}?{query}", "E-mail the customer")


def _granted_with_menu(row: Row) -> Block:
    """Return what was granted, with a menu beside it that revokes it."""
    return {
        "type": "section",
        "block_id": _block_id(MORE, row),
        "text": plain(_granted(row)),
        "accessory": {
            "type": "overflow",
            "action_id": MORE,
            "options": [{"text": plain("Revoke access…"), "value": REVOKE}],
            "confirm": {
                "title": plain("Revoke access?"),
                "text": plain(
                    f"{cut(_address(row.email), 100)} will not get into this data room any more. "
                    "Conveyor does not tell the customer."
                ),
                "confirm": plain("Revoke access"),
                "deny": plain("Keep it"),
                "style": "danger",
            },
        },
    }


def _granted(row: Row) -> str:
    """Return what was granted: the groups, whether the NDA is needed, and when access ends."""
    groups = row.groups
    if groups is None:
        granted = "Granted: see the request in Conveyor, which did not list the groups."
    elif not groups:
        granted = "Granted: standard access."
    else:
        granted = f"Granted: standard access and {_names(groups, GROUPS_CHARS)}."
    return granted + _nda(row) + _end(row)


def _reason(row: Row) -> list[Block]:
    """Return the reason or note that the reviewer typed, if any, in a quote."""
    reason = cut(inert(row.reason).strip(), REASON_CHARS)
    if not reason or row.state == State.PENDING:
        return []
    return [{**quote(f"{_reason_label(row.state)}:", reason), "block_id": _block_id(REASON, row)}]


def reason_on_card(blocks: Any) -> str:
    """Return the reason or note that these blocks of a card show; empty if there is none."""
    for block in blocks:
        if block.get("type") == "rich_text" and block.get("block_id", "").startswith(f"{REASON}-"):
            return str(block["elements"][1]["elements"][0]["text"])
    return ""


def _outage(row: Row) -> Message:
    """Return the message that requests are not arriving or, once they do, that they are again."""
    began = date(row.received_at)
    if row.state == State.OUTAGE:
        title = "Requests are not arriving"
        symbol, said = ":warning:", [words("I have not been able to read Conveyor's queue since "), began]
        then = (
            "I keep trying, and this message will say when they arrive again. "
            "Whoever runs this app finds the cause at /readyz and in its log."
        )
    else:
        title = "Requests are arriving again"
        said = [words("I could not read Conveyor's queue from "), began, words(" to "), date(row.settled_at)]
        symbol, then = ":white_check_mark:", "The requests of that time get their cards now."
    return message_of(f"{title}. {then}", [header(f"{symbol} {title}"), rich([*said, words(f". {then}")])])


def offer(groups: Sequence[AccessGroup]) -> object:
    """Return a value that changes whenever a waiting card has to be drawn again because of its groups."""
    return group_options(groups) if len(groups) <= CHECKBOXES else "too many to list"


def group_options(groups: Sequence[AccessGroup], typed: str = "") -> list[Block]:
    """Return the groups whose name contains what was typed, as options.

    Names that look the same get the end of their group's id.
    """
    names = {group.id: one_line(group.name) or "(group without a name)" for group in groups}
    labels = {group_id: cut(name, OPTION_CHARS) for group_id, name in names.items()}
    times = Counter(labels.values())
    wanted = one_line(typed).casefold()
    options: list[Block] = []
    for group_id, label in labels.items():
        if wanted in names[group_id].casefold() and len(options) < OPTIONS:
            if times[label] > 1:
                ending = f" ({group_id[-12:]})"
                label = cut(label, OPTION_CHARS - length(ending)) + ending
            options.append({"text": plain(label), "value": group_id})
    return options


# Modals

# The days after which access ends, as Slack sends them back.
NEVER = "never"
ENDINGS = {NEVER: "Never", "30": "In 30 days", "90": "In 90 days", "365": "In 365 days", DAY: "On a date"}
ENDS_MISSING = "Please choose when access ends."
DAY_MISSING = f"Please choose a day, or something else than “{ENDINGS[DAY]}”."
DAY_UNUSED = f"Please choose “{ENDINGS[DAY]}” above, or clear this day."
DAY_PAST = "This day is past. Please choose a later one."
REASON_FIELD = {"type": "plain_text_input", "multiline": True, "max_length": REASON_CHARS}
REASON_MISSING = "Please say why, in a few words that a colleague will understand."
REASON_TOO_LONG = f"Please keep it to {REASON_CHARS:,} characters."


def approve_modal(
    row: Row, private_metadata: str, groups: Sequence[AccessGroup], chosen: Collection[str]
) -> Block:
    """Return the modal that asks for all that an approval can say.

    `chosen` has the ids of the groups that were chosen on the card.
    """
    ends = [{"text": plain(label), "value": value} for value, label in ENDINGS.items()]
    skip_nda = {"text": plain("Skip the NDA"), "value": NDA}
    blocks = [
        _about(row, " asked for access."),
        *([_group_choice(groups, chosen)] if groups else []),
        _input(NDA, "Non-disclosure agreement", {"type": "checkboxes", "options": [skip_nda]}, optional=True),
        _input(ENDS, "Access ends", {"type": "static_select", "options": ends, "initial_option": ends[0]}),
        _input(DAY, "Last day", {"type": "datepicker"}, hint=f"Only with “{ENDINGS[DAY]}”.", optional=True),
        _input(
            REASON,
            "Note",
            REASON_FIELD,
            hint="For your colleagues. The customer does not see it.",
            optional=True,
        ),
    ]
    return _modal(APPROVE_MODAL, private_metadata, "Approve with options", "Approve", blocks)


def reject_modal(row: Row, private_metadata: str, reason_required: bool) -> Block:
    """Return the modal that asks why, and shows who is about to be rejected."""
    blocks = [
        _about(row, " asked for access."),
        *_message(replace(row, message=cut(row.message, MODAL_MESSAGE_CHARS))),
        _input(
            REASON,
            "Why?",
            {**REASON_FIELD, "focus_on_load": True},
            hint="Your colleagues will find this by searching. The customer does not see it.",
            optional=not reason_required,
        ),
    ]
    return _modal(REJECT_MODAL, private_metadata, "Reject this request", "Reject", blocks)


def sentence_modal(sentence: str) -> Block:
    """Return the modal that says one thing, in place of the one that was submitted."""
    return {
        "type": "modal",
        "title": plain("Nothing was changed"),
        "close": plain("Close"),
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": sentence}}],
    }


def _modal(callback_id: str, private_metadata: str, title: str, submit: str, blocks: list[Block]) -> Block:
    return {
        "type": "modal",
        "callback_id": callback_id,
        "private_metadata": private_metadata,
        "title": plain(title),
        "submit": plain(submit),
        "close": plain("Cancel"),
        "blocks": blocks,
    }


# Private sentences (mrkdwn). They hold no words of outsiders, except in code.

STILL_STARTING = "I am still starting: Slack has not told me who I am yet. Please try again in a minute."
ORG_WIDE = (
    "I'm installed for a whole organization, and I only work when I'm installed in one workspace. "
    "Please tell whoever runs this app."
)
OTHER_WORKSPACE = "Only full members of the workspace that this app is installed in can use it."
READING_THE_CHANNEL = (
    "I do not know this card yet; I may be reading the channel again. Please try again in a minute."
)
WHO_UNKNOWN = (
    "Slack did not tell me whether you may decide, so nothing was changed. Please click again; "
    "if that does not help, tell who runs this app."
)
CARD_LATE = "I have noted your decision, and could not change the card yet. It will follow by itself."
CARD_UNKNOWN = "Got it, your decision is saved. If the card doesn't show it yet, it will catch up shortly."
LEDGER_BUSY = "I could not write this down just now. If the card does not change, please click again."
NO_WINDOW = "Slack did not open the window, so nothing was changed. Please click again."
NOT_A_MEMBER = "Only full members of this workspace may decide access requests. Nothing was changed."
NOT_A_REVIEWER = (
    "You are not on the list of reviewers, so nothing was changed. "
    "Whoever runs this app can add you to its setting REVIEWERS."
)
NO_ADDRESS = (
    "Conveyor wants the e-mail address of whoever decides, and Slack does not show me a confirmed one for "
    "you. Please add or confirm your address in your Slack profile, then try again. If Slack can't confirm "
    "it, ask whoever runs this app to name you as a reviewer by your Slack user id."
)
NO_SCOPE = (
    "Conveyor needs your email, and this app may not see anybody's. It's nothing in your profile: please "
    "tell whoever runs this app that its Slack app lacks the scope `users:read.email`."
)
NOT_CURRENT = (
    "This card is not the current one of its request, or I am still reading the channel. "
    "Nothing was changed. Please look for a newer card, try again in a minute, or revoke access in Conveyor."
)
FORGOTTEN = (
    "I have no record of this request any more, so I cannot revoke its access, and nothing was changed. "
    "Please revoke it in Conveyor."
)
NOTHING_TO_REVOKE = "There is no access to revoke on this card now. Nothing was changed."
ODD_CLICK = "I did not understand this click, so nothing was changed. Please reload Slack and try again."


def unexpected(reference: str) -> str:
    """Return the sentence for an error that nobody foresaw; the log has its cause under the reference."""
    return (
        "Something went wrong on my side. Look at the card to see whether anything was changed. "
        f"Whoever runs this app finds the cause in its log under `{reference}`."
    )


def groups_not_offered(names: Sequence[str]) -> str:
    """Return the sentence for an approval with groups, of these names, that cannot be granted anymore."""
    # In code nothing formats, and no address becomes a link.
    shown = (cut(one_line(name.replace("`", "")), 80) or "?" for name in names[:MISSING_MOST])
    listed = ", ".join(f"`{escaped(name)}`" for name in shown)
    return (
        f"Nothing was granted: {listed} cannot be chosen for this request any more. "
        "The card has the current groups now; please choose again."
    )


def already_decided(row: Row, user_id: str) -> str:
    """Return the sentence that tells this person who was first."""
    decider = row.decider.id
    mine = decider == user_id
    who = "You" if mine else f"You were not first: {f'<@{decider}>' if decider else 'somebody'}"
    if row.state in IN_FLIGHT:
        doing = DOING[row.state].rstrip("…").lower()
        has = "have" if mine else "has"
        since = mrkdwn_date(row.claimed_at)
        return f"{who} {has} been {doing} this since {since}. This click changed nothing."
    if row.state not in DECIDED:
        return "This request is decided already; its card says how. Nothing was changed."
    ending = _ending(row.past)
    when = mrkdwn_date(ending.at)
    if ending.by:
        return f"{who} {ending.word.lower()} this, {when}. This click changed nothing."
    if row.state == State.REVOKED:
        return f"Access was revoked in Conveyor, seen {when}. This click changed nothing."
    return f"{ending.word}: seen {when}. It was not decided here. Nothing was changed."


def changed(row: Row) -> str:
    """Return the sentence for a click on a card that showed another address or another Trust Center."""
    # In code nothing formats, and no address becomes a link.
    now = escaped(_address(row.email).replace("`", "")) or "?"
    return (
        f"The request from `{now}` changed in Conveyor: its address or its Trust Center isn't what you saw. "
        "I've updated the card. Please check it and decide again."
    )


def old_card(permalink: str) -> str:
    """Return the sentence for a click on a card that has been replaced by the one at this permalink."""
    return f"This is an old card, so nothing was changed. The current one is <{permalink}|here>."


# Replies in the thread of a card

NOTES = {
    "refused": (
        "Conveyor did not accept this decision, so the request is open again. If Conveyor does not know you, "
        "ask for a user there with your e-mail address. Otherwise please decide again."
    ),
    "not allowed": (
        "Conveyor says that this app's API key may not do this, so the request is open again. "
        "Please tell who runs this app."
    ),
    "key": (
        "Conveyor does not accept this app's API key, so your decision waits. I keep trying; "
        "please tell who runs this app."
    ),
    "never sent": (
        "Your decision could not be sent to Conveyor for 15 minutes, so the request is open again. "
        "Please decide again."
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
    "changed": (
        "This request changed in Conveyor before your decision got there, so I didn't send it. "
        "The card shows what is true now. Please check it and decide again."
    ),
    "changed elsewhere": (
        "This request changed in Conveyor while your decision was on its way, and it is closed there now. "
        "Please check in Conveyor who got access."
    ),
    "differs": (
        "Conveyor never confirmed your approval, and the access that it lists isn't what you chose. So the "
        "card says that this was approved in Conveyor. Please check it there."
    ),
    "gone unconfirmed": (
        "This request is no longer in Conveyor. Your decision was sent, but I can't tell whether it took "
        "effect. Please check in Conveyor."
    ),
    "gone": "This request is no longer in Conveyor, so your decision could not be carried out.",
    "lost": (
        "My records were lost while your decision was on its way, and Conveyor says that the request is "
        "open. Please decide again."
    ),
    "revoke refused": (
        "Conveyor refused this, or a part of it, so the customer still has access. "
        "Please revoke it in Conveyor."
    ),
    "revoke gone unconfirmed": (
        "Conveyor no longer lists any access of this customer. Your revocation was sent, but I can't tell "
        "whether it took effect. Please check in Conveyor."
    ),
    "revoke not allowed": (
        "Conveyor says that this app's API key may not revoke access, so the customer still has it. "
        "Please tell who runs this app."
    ),
    "revoke key": (
        "Conveyor does not accept this app's API key, so the customer still has access. I keep trying; "
        "please tell who runs this app."
    ),
    "revoke never sent": (
        "Your revocation could not be sent to Conveyor for 15 minutes, so the customer still has access. "
        "Please revoke it again."
    ),
    "revoke still open": (
        "After 15 minutes of trying, Conveyor says that the customer still has access. Please try again."
    ),
    "revoke unconfirmed": (
        "Your revocation was sent, and Conveyor has not confirmed it for 15 minutes. I keep asking, and the "
        "card will say so. If it is urgent, look in Conveyor."
    ),
    "revoke elsewhere": "Access had been revoked in Conveyor before.",
    "revoke gone": (
        "Conveyor lists no access of this customer, so there was nothing to revoke. Please look in Conveyor."
    ),
    "revoke lost": (
        "My records were lost while your revocation was on its way, and Conveyor says that the customer "
        "still has access. Please revoke it again."
    ),
    "reminder": "This request still waits for a decision.",
}


def note(kind: str, person_id: str, detail: str, email: str) -> Message:
    """Return a reply of this kind that mentions a person and names the customer: it may stand alone.

    `detail` is Conveyor's own sentence, or empty. `email` is empty if it was forgotten.
    """
    about = _address(email) if email else ""
    before = (", about " if person_id else "About ") if about else ""
    after = ": " if person_id or about else ""
    to = [{"type": "user", "user_id": person_id}] if person_id else []
    to += [words(before), words(about, bold=True)] if about else []
    blocks = [rich([*to, words(f"{after}{NOTES[kind]}")])]
    said = inert(detail).strip()
    if said:
        blocks.append({"type": "section", "text": plain(cut(f"Conveyor said: {said}", SECTION_CHARS))})
    mention = f"<@{person_id}>" if person_id else ""
    return {"text": f"{mention}{before}{escaped(about)}{after}{NOTES[kind]}", "blocks": blocks}


# Answers to the slash command, and what follows from them

NOT_IN_CHANNEL = (
    "This is for members of the channel that holds the access requests, since the answers contain internal "
    "reasons. Please ask to be invited there."
)
MEMBERS_UNKNOWN = (
    "Slack did not tell me who is in the channel, so I cannot answer. Please try again in a minute."
)
NOT_ASKED = "I do not know this request any more."
UNWATCHED = "I will not tell you of this request any more."
STANDINGS = {
    "gated": "the NDA is not signed yet",
    "authorized": "active",
    "revoked": "revoked",
    "": "none that I can see",
}


def rooms_help(command: str, typed: str = "") -> Message:
    """Return what can be asked. It begins with what was typed, if that was not understood."""
    start = f"I did not understand “{cut(one_line(typed), 100)}”. " if typed else ""
    lines = [
        f"{command}: what waits, oldest first",
        f"{command} acme.com: every request of a company",
        f"{command} jane@acme.com: every request of a person, and where the access stands",
        f"{command} watching: what you want to be told of",
        f"{command} help: this",
    ]
    items = [{"type": "rich_text_section", "elements": [words(line)]} for line in lines]
    listed = {"type": "rich_text_list", "style": "bullet", "elements": items}
    block = rich([words(f"{start}I know where each access request stands. Ask me:")])
    block["elements"].append(listed)
    return message_of(f"{start}Ask me: {'; '.join(lines)}.", [block])


def rooms_answer(
    who: str,
    rows: Sequence[Row],
    total: int,
    standings: Mapping[str, str | None],
    now: float,
    permalink: Callable[[Row], str],
) -> Message:
    """Return the answer about a person or a company: the newest `rows` of `total` requests.

    `standings` has, for each address, the status of its access in Conveyor now, or None if that is not known.
    """
    name = cut(one_line(who), ADDRESS_CHARS)
    at = domain(who if "@" in who else f"@{who}")
    if at not in name.lower():
        name = f"{name} ({at})"
    if not rows:
        unknown = f"I have no request of {name}."
        return message_of(unknown, [rich([words(unknown)]), *map(_standing, standings.values())])
    count = "1 request" if total == 1 else f"{total:,} requests"
    blocks = [rich([words(f"{count} of {name}, newest first:", bold=True)])]
    for row in rows:
        standing = standings.get(row.email)
        blocks.append(_time_line(row, now, permalink(row) if row.card_ts else "", standing))
        if row.email in standings:
            blocks.append(_standing(standings[row.email]))
        if row.state == State.PENDING or row.state in (State.APPROVING, State.REJECTING):
            label = f"Tell me when it is decided: {_address(row.email)}"
            tell = button(TELL_ME, "Tell me when it is decided", row.id, "", label)
            blocks.append({"type": "actions", "block_id": f"{TELL_ME}-{len(blocks)}", "elements": [tell]})
    if total > len(rows):
        narrow = " Ask for one address to see less of them." if "@" not in who else ""
        blocks.append(context(f"{total - len(rows):,} more, which are older.{narrow}"))
    return message_of(f"{count} of {name}.", blocks)


def _standing(standing: str | None) -> Block:
    """Return what Conveyor says about somebody's access now; None means that it did not answer."""
    said = "Conveyor does not answer, so I cannot say how the access stands now."
    if standing is not None:
        said = f"Access in Conveyor now: {STANDINGS.get(standing, one_line(standing))}."
    return context(cut(said, EXCERPT_CHARS))


def waiting_answer(rows: Sequence[Row], total: int, now: float, permalink: Callable[[Row], str]) -> Message:
    """Return the answer about the requests that wait: the oldest `rows` of `total`."""
    if not rows:
        return message_of("Nothing waits.", [rich([words("Nothing waits.")])])
    count = "1 request waits" if total == 1 else f"{total:,} requests wait"
    blocks = [rich([words(f"{count}, oldest first:", bold=True)])]
    blocks += [_time_line(row, now, permalink(row) if row.card_ts else "") for row in rows]
    if total > len(rows):
        blocks.append(context(f"{total - len(rows):,} more, which came later. Ask for a domain to see them."))
    return message_of(f"{count}.", blocks)


def watching_answer(rows: Sequence[Row], total: int, permalink: Callable[[Row], str]) -> Message:
    """Return the requests that a person follows, each with a button to stop following it."""
    if not rows:
        said = "You are not watching any request."
        return message_of(said, [rich([words(said)])])
    blocks = [rich([words("I will tell you when these are decided:", bold=True)])]
    for number, row in enumerate(rows):
        elements = [words(_who(row))]
        if row.is_gated:
            elements += [words(" "), *_promise(row)]
        if row.card_ts:
            elements += [words(" "), link(permalink(row), "Card")]
        stop = button(STOP_TELLING, "Stop", row.id, "", f"Stop telling me of {_address(row.email)}")
        blocks.append(rich(elements))
        blocks.append({"type": "actions", "block_id": f"{STOP_TELLING}-{number}", "elements": [stop]})
    if total > len(rows):
        blocks.append(context(f"{total - len(rows):,} more. End some of these to see them."))
    count = "1 request" if total == 1 else f"{total:,} requests"
    return message_of(f"You are watching {count}.", blocks)


def watched(row: Row, *, new: bool) -> str:
    """Return the answer to a person who follows a request; `new` says whether they did not do so before."""
    if not new:
        return "I was going to tell you already."
    return "I will tell you when this request is decided. To see all that you watch, send `/rooms watching`."


def already_ended(row: Row) -> str:
    """Return the answer to a person who wants to follow a request that is decided already."""
    how = DECIDED.get(row.state, ("Its card says how", ""))[0]
    return f"This request is decided already. {how}{UNTIL_SIGNED if row.is_gated else ''}."


def outcome(row: Row, permalink: str) -> Message:
    """Return the direct message to a person who followed a request that was decided.

    By the time it is sent the request may have been revoked, or the customer may have asked again.
    """
    if row.state == State.REVOKING:
        row = replace(row, state=State.APPROVED)
    state: State | None = row.state
    line = _time_line(row, row.settled_at or row.received_at, permalink)
    if state not in DECIDED and row.previous:
        asked = [words(_address(row.email), bold=True), words(" asked; "), *_ended(row.previous)]
        state, line = row.previous.state, rich([*asked, words(" The customer has asked again since.")])
    lines = [line, rich(_promise(row))] if row.is_gated else [line]
    said = DECIDED.get(state, ("See the card", ""))[0]
    return message_of(f"{said}: {_who(row)}{_until_signed(row)}.", lines)


def outcome_withheld(row: Row) -> Message:
    """Return the direct message to a person who followed a request, and has left the channel since."""
    said = (
        f"The request from {_address(row.email)} is decided. You left the channel of the access requests, "
        "so I can't say how. Please ask somebody there."
    )
    return message_of(said, [rich([words(said)])])


def _promise(row: Row) -> list[Block]:
    """Return what somebody who follows a request is still told once it is approved."""
    return [words("I'll tell you if they sign by "), *_last_day(row)]


def _time_line(row: Row, now: float, permalink: str, standing: str | None = None) -> Block:
    """Return one request's history in a line, from its beginning to where it stands.

    `standing` is the status of the customer's access in Conveyor now, where that was asked.
    """
    elements = [words(_address(row.email), bold=True), words(" asked "), date(row.received_at), words(". ")]
    if row.previous:
        elements += [words("Asked before; "), *_ended(row.previous), words(" ")]
    if row.state == State.PENDING:
        elements.append(words(f"It has been waiting for {_span(now - row.received_at)}."))
    elif row.state in IN_FLIGHT:
        elements += [words(f"{DOING[row.state]} by "), *_person(row.decider), words(".")]
    elif row.state in DECIDED:
        elements += _outcome_sentences(row, standing)
    else:
        elements.append(words("It was decided; its card says how."))
    if permalink:
        elements += [words(" "), link(permalink, "Card")]
    return rich(elements)


def _outcome_sentences(row: Row, standing: str | None) -> list[Block]:
    """Return the sentences that say how a request was decided, and what became of the access."""
    ending = _ending(row.past)
    if ending.by is None and row.state != State.REVOKED:
        return [words(f"{ending.word}, seen on "), date(ending.at, "{date}"), words(".")]
    elements = [words("It was "), *_ended(_before_revocation(row))]
    if row.is_gated and standing in (None, GATED):
        elements.insert(0, words(f"Approved{UNTIL_SIGNED}. "))
    nda = "" if row.is_gated and not row.nda_bypass else _nda(row)
    if row.state == State.APPROVED and (terms := nda + _end(row)):
        elements.append(words(terms))
    if row.state == State.REVOKED:
        by = [words(" by "), *_person(ending.by)] if ending.by else [words(" in Conveyor")]
        elements += [words(" Revoked "), date(ending.at), *by, words(".")]
    return elements


def _span(seconds: float) -> str:
    """Return a length of time as a number and a unit, such as "3 days"."""
    for name, length_of in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(max(seconds, 0.0) // length_of)
        if count:
            return f"{count:,} {name}{'' if count == 1 else 's'}"
    return "less than a minute"


# Small parts


class _Ending(NamedTuple):
    """How a request ended: what was done, by whom, when, and why.

    `by` is None if nobody did it here, but in Conveyor. `reason` is as it was typed, and may be empty.
    """

    word: str
    by: Reviewer | None
    at: float
    reason: str


def _ending(past: Past) -> _Ending:
    """Return how this request ended; its state is one of DECIDED."""
    word = DECIDED[past.state][0]
    if past.state not in (State.APPROVED, State.REJECTED, State.REVOKED):
        return _Ending(word, None, past.at, "")
    # Access may be revoked in Conveyor although it was given here.
    by = None if past.state == State.REVOKED and not past.reviewer.id else past.reviewer
    return _Ending(word, by, past.at, past.reason)


def _before_revocation(row: Row) -> Past:
    """Return how the request ended, leaving aside that its access was or is being revoked."""
    was_approved = row.state in (State.REVOKING, State.REVOKED)
    return replace(row, state=State.APPROVED).past if was_approved else row.past


def _ended(past: Past) -> list[Block]:
    """Return the end of a sentence that says how an earlier request ended."""
    if past.state not in DECIDED:  # the ledger was lost, or has forgotten it
        return [words("an earlier card says how that was decided.")]
    ending = _ending(past)
    elements = [words(f"{ending.word[0].lower() + ending.word[1:]} on "), date(ending.at, "{date}")]
    if ending.by and ending.by.id:
        elements += [words(" by "), *_person(ending.by)]
    elif past.state == State.REVOKED:
        elements.append(words(" in Conveyor"))
    if past.state == State.APPROVED and past.groups:
        elements.append(words(f", with {_names(past.groups, PAST_CHARS)}"))
    end, reason = ".", cut(one_line(ending.reason), PAST_CHARS)
    if reason:
        stop = "" if reason.endswith((".", "!", "?", "…")) else "."
        end = f"; {_reason_label(past.state).lower()}: {reason}{stop}"
    return [*elements, words(end)]


def _reason_label(state: State | None) -> str:
    return "Reason" if state in (State.REJECTING, State.REJECTED) else "Note"


def _about(row: Row, what: str, more: Block | None = None) -> Block:
    """Return the line that says who asks, with a link to the request; `more` is another link, if any."""
    elements = [words(_address(row.email), bold=True)]
    if at := domain(row.email):
        elements.append(words(f" ({at})"))
    elements.append(words(what))
    if row.refusals > 1:  # Slack refuses a whole message for one odd link
        return rich(elements)
    if row.link:
        elements += [words(" "), link(row.link, "Open in Conveyor")]
    if more:
        elements += [words(" · "), more]
    return rich(elements)


def _message(row: Row) -> list[Block]:
    """Return the customer's message, in a quote so that nobody takes it for the app's own words."""
    message = inert(row.message).strip()
    if not message:
        return [context("There is no message.")]
    if row.refusals:
        return [context(MESSAGE_REFUSED)]
    shown = cut(message, MESSAGE_CHARS, "")
    blocks = [quote("They wrote:", shown)]
    if len(message) > len(shown):
        more = f"{len(message) - len(shown):,} more characters: read them in Conveyor."
        # If it is as long as this, its end was not kept.
        blocks.append(context(f"At least {more}" if len(row.message) >= KEPT_CHARS else more))
    return blocks


def _nda(row: Row) -> str:
    """Return what Conveyor says about the NDA, and what was asked for if that is not confirmed."""
    if _is_signed(row):
        return " The NDA is signed."
    if row.state == State.REVOKED:
        return ""
    if row.access_status == GATED:
        asked = " Asked for: no NDA. But they" if row.nda_bypass else " They"
        return f"{asked}'ll be asked to sign the NDA first."
    if not row.nda_bypass:
        return ""
    if row.access_status == "authorized":
        return " No NDA required."
    return " Asked for: no NDA. Conveyor didn't confirm it."


def _end(row: Row) -> str:
    """Return when access ends by what Conveyor says, or what was asked for if Conveyor names no day."""
    if row.access_ends:
        return f" Access ends {_day(row.access_ends)}."
    if not row.expires_at:
        return ""
    said = "doesn't list an end date" if row.access_ends is None else "lists no end"
    return f" Asked for: access ends {_day(row.expires_at)}. Conveyor {said}."


def _day(day: str) -> str:
    """Return a day (YYYY-MM-DD) as people write it. Anything else is returned as it is."""
    try:
        found = datetime.date.fromisoformat(day)
    except ValueError:
        return day
    return f"{found:%B} {found.day}, {found.year}"


def _names(groups: Sequence[AccessGroup], most: int) -> str:
    """Return the names of the groups, in about `most` characters, and how many others there are."""
    names = [cut(one_line(group.name), 300) or "(group without a name)" for group in groups]
    shown: list[str] = []
    for name in names:
        if length(", ".join([*shown, name])) > most:
            break
        shown.append(name)
    rest = len(names) - len(shown)
    more = [f"{rest} more (see Conveyor)"] if rest else []
    return ", ".join([*shown, *more])


def _group_choice(groups: Sequence[AccessGroup], chosen: Collection[str] = (), **more: Any) -> Block:
    """Return the input for access groups: checkboxes or, if there are too many for that, a search field."""
    element: Block = {"type": "checkboxes", "options": group_options(groups)}
    initial = [option for option in element["options"] if option["value"] in chosen]
    if len(groups) > CHECKBOXES:
        element = {
            "type": "multi_external_select",
            "min_query_length": 0,
            "placeholder": plain("Type to find a group"),
        }
        # From the chosen groups alone: the options of all groups end at OPTIONS.
        initial = group_options([group for group in groups if group.id in chosen])
    if initial:
        element["initial_options"] = initial
    return _input(GROUPS, "Access groups", element, optional=True, **more)


def _input(name: str, label: str, element: Block, hint: str = "", **more: Any) -> Block:
    """Return an input whose block and action have the same id, unless `more` has another `block_id`."""
    return {
        "type": "input",
        "block_id": name,
        "label": plain(label),
        "element": {**element, "action_id": name},
        **({"hint": plain(hint)} if hint else {}),
        **more,
    }


def _address(email: str) -> str:
    """Return an email address as it is shown."""
    return cut(one_line(email), ADDRESS_CHARS) or "(no address)"


def _who(row: Row) -> str:
    """Return the customer's address and, in brackets, its domain if it has one."""
    address, at = _address(row.email), domain(row.email)
    return f"{address} ({at})" if at else address


def _name(person: Reviewer) -> str:
    """Return the name of a person in a text that mentions nobody."""
    return cut(one_line(person.name), 80) or person.id or "somebody"


def _person(person: Reviewer) -> list[Block]:
    """Return a mention and the name: a mention alone says nothing to somebody who reads it years later."""
    if not person.id:
        return [words("somebody")]
    mention = {"type": "user", "user_id": person.id}
    name = cut(one_line(person.name), 80)
    return [mention, words(f" ({name})")] if name else [mention]


def _block_id(name: str, row: Row) -> str:
    """Return an id that is new whenever the card is drawn: with the same one Slack keeps stale choices."""
    return f"{name}-{row.round}-{row.revision}"
