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

import addresses
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
    excerpt,
    header,
    inert,
    length,
    link,
    mention,
    message_of,
    mrkdwn_date,
    mrkdwn_link,
    mrkdwn_mention,
    one_line,
    pieces,
    plain,
    quiet,
    quote,
    rich,
    words,
)
from workspace.reviewers import WhoDecides

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
REVOKE_MODAL = "revoke_modal"
SHOW_WHOLE = "show_message"
MESSAGE_MODAL = "message_modal"
PAGE_BACK, PAGE_NEXT = "page_back", "page_next"
REASON = "reason"
REVOKE_REASON = "revoke_reason"
NDA = "nda"
ENDS = "ends"
NEVER = "never"
DAY = "day"

REASON_CHARS = 2000
# What a card shows of a message, so that the buttons stay on the first screen of a phone.
MESSAGE_CHARS, MESSAGE_LINES = 600, 12
PAGE_SECTIONS = 8  # of the whole message
GROUPS_CHARS = 1500
TEXT_GROUPS_CHARS = 500  # in the top-level text, which has to hold the reason as well
NAME_CHARS = 80
PAST_CHARS = 200
CONFIRM_CHARS = 300  # Slack's limit
ENDS_YEARS = 5
EXCERPT_CHARS = 300
ROOMS_MOST = 5
WAITING_MOST = 10
MISSING_MOST = 10


# Cards

DOING = {State.APPROVING: "Approving…", State.REJECTING: "Rejecting…", State.REVOKING: "Revoking…"}
# Each outcome has an icon of its own, and a word beside it.
DECIDED: dict[State | None, tuple[str, str]] = {
    State.APPROVED: ("Approved", ":white_check_mark:"),
    State.REJECTED: ("Rejected", ":no_entry_sign:"),
    State.REVOKED: ("Revoked", ":lock:"),
    State.APPROVED_ELSEWHERE: ("Approved in Conveyor", ":ballot_box_with_check:"),
    State.IGNORED_ELSEWHERE: ("Ignored in Conveyor", ":heavy_minus_sign:"),
    State.GONE: ("No longer in Conveyor", ":grey_question:"),
}
# How an approval goes on that lets nobody in yet.
UNTIL_SIGNED = ", NDA not signed yet"
NOW_SIGNED = ", NDA signed"
# Why a decision takes longer, by what the ledger calls it.
PROBLEMS = {
    "": "",
    "unavailable": "Conveyor isn't responding; I'll keep trying.",
    "key": ("Conveyor rejected this app's API key. Please tell whoever runs this app. I'll keep trying."),
    "unconfirmed": "Sent to Conveyor, not confirmed yet. This card updates as soon as it is.",
}
WHY, NOTE = "Reason:", "Note:"  # in front of what a reviewer typed
NOT_IN_SLACK = "in Conveyor, not in Slack"
BASIC = "basic"  # Conveyor's name for access without groups
APPROVING_GIVES = f"Approving gives {BASIC} access."
NDA_MAY_FOLLOW = "They may have to sign the NDA first."
NDA_FIRST = "They'll be asked to sign the NDA first."
NDA_SIGNED = "The NDA is signed."
NDA_SKIPPED = "No NDA required."
ENDS_ASKED = "Asked for: access ends {}."
ENDS_ON = "Access ends {}."
GROUPS_UNKNOWN = "Conveyor didn't list the groups. Open the request there to see them."
SEE_EARLIER = "see the earlier card for the outcome."
IF_THEY_SIGN = "I'll update this card if they sign by "
ASKS, ASKED = " would like access.", " asked for access."
OPEN_IN_CONVEYOR, OPEN_IN_CRM, MAIL = "Open in Conveyor", "Open in the CRM", "Email the customer"
NO_MESSAGE = "No message."
MESSAGE_REFUSED = "The message is too long to show, or Slack can't display it. Please read it in Conveyor."
SHOW_MESSAGE = "Show the whole message"
REJECTED_BEFORE, REVOKED_BEFORE = "Rejected before", "Access revoked before"
MAIL_SUBJECT = "Your request for access to our security documents"
MAIL_BODIES = {
    State.APPROVED: (
        "Hi,\n\nThanks for your interest in our security documents. Your request is approved: sign in at "
        "{where} with this email address{nda}. If anything's missing, just reply.\n\nBest,\n{reviewer}"
    ),
    State.REJECTED: (
        "Hi,\n\nThanks for your interest in our security documents. We can't give you access right now. "
        "If you have any questions, just reply.\n\nBest,\n{reviewer}"
    ),
}
MAIL_WHERE = "our Trust Center"
MAIL_NDA = "; you'll be asked to sign our NDA first"


def card(
    row: Row, groups: Sequence[AccessGroup] = (), past: Sequence[Past] = (), trust_center: str = ""
) -> Message:
    """Return the card of a request.

    While it waits, the card offers `groups`, which can be granted in its Trust Center, and tells of `past`,
    the earlier requests of the same person or company. `trust_center` is the address at which customers sign
    in, or empty.
    """
    if row.state == State.PENDING:
        return _pending(row, groups, past)
    if row.state in IN_FLIGHT:
        return _in_progress(row)
    if row.state in (State.OUTAGE, State.OUTAGE_OVER):
        return _outage(row)
    return _decided(row, trust_center)


def shorter_card(row: Row) -> Message:
    """Return the card of a request whose whole card Slack refused: without all that may be long or odd.

    What stays is who asks, where it stands, the buttons and, after the first refusal, the link to Conveyor.
    """
    reason, revoke_reason = (cut(inert(text).strip(), PAST_CHARS) for text in (row.reason, row.revoke_reason))
    return card(replace(row, previous=None, company=None, reason=reason, revoke_reason=revoke_reason))


def _pending(row: Row, groups: Sequence[AccessGroup], past: Sequence[Past]) -> Message:
    risks = _risks(row, past)
    blocks = [
        header(":sparkles: Access request"),
        _about(row, ASKS),
        *_links(row),
        *(rich(risk.line) for risk in risks),
        *(rich(line) for line in _asked_before(row, past)),
        *_company(row),
        *_message(row),
    ]
    if groups:
        blocks.append(_group_choice(groups, block_id=_block_id(GROUPS, row)))
    more = " Tick groups to share more." if groups else ""
    blocks.append(context(f"{APPROVING_GIVES}{more} {NDA_MAY_FOLLOW}"))
    value, who = _value(row), _address(row.email)
    approve = button(APPROVE, "Approve", value, "primary", f"Approve the request from {who}")
    if risks:
        approve["confirm"] = _approve_anyway(row, risks)
    blocks.append(
        {
            "type": "actions",
            "block_id": _block_id("decide", row),
            "elements": [
                approve,
                button(OPTIONS_BUTTON, "Options…", value, "", f"Approve with options: {who}"),
                button(REJECT, "Reject", value, "danger", f"Reject the request from {who}"),
            ],
        }
    )
    warnings = "".join(f" {risk.sentence}" for risk in risks)
    return message_of(f"Access request: {_who(row)}{ASKS}{warnings}", blocks)


class _Risk(NamedTuple):
    """What a reviewer has to notice before approving: a line for the card, and a sentence without markup."""

    line: list[Block]
    sentence: str


def _risks(row: Row, past: Sequence[Past]) -> list[_Risk]:
    """Return what speaks against approving this request without a second look."""
    found = []
    if (row.company or {}).get("personal"):
        sentence = f"{domain(row.email)} is a personal email provider."
        found.append(_Risk([words(f"⚠️ {sentence}", bold=True), words(CHECK_WHO)], sentence + CHECK_WHO))
    return found + [_risk_of(row, before) for before in _earlier(row, past) if before.state in RISKY]


CHECK_WHO = " Check who this is before you approve."
# What an earlier request ended with, and what that says of the person who asks again.
RISKY: dict[State | None, tuple[str, str, str]] = {
    State.REJECTED: (REJECTED_BEFORE, "was rejected", "rejected"),
    State.REVOKED: (REVOKED_BEFORE, "had access revoked", "revoked the access of"),
    State.IGNORED_ELSEWHERE: (REJECTED_BEFORE, "was rejected", "rejected"),
}


def _risk_of(row: Row, before: Past) -> _Risk:
    """Return the warning that an earlier request of the same person or company ended badly."""
    themselves, colleague, did = RISKY[before.state]
    ending = _ending(before)
    is_same = addresses.same(before.email, row.email)
    lead = themselves if is_same else f"{_address(before.email)} {colleague}"
    reason = cut(one_line(ending.reason), PAST_CHARS)
    said = f": “{reason}”" if reason else "."
    by = [words(" by "), *_person(ending.by)] if ending.by else [words(" in Conveyor")]
    line = [words(f"⚠️ {lead}", bold=True), *by, words(" on "), date(ending.at, "{date}"), words(said)]
    who = _name(ending.by) if ending.by else "Somebody in Conveyor"
    return _Risk(line, f"{who} {did} {'them' if is_same else _address(before.email)} before{said}")


def _earlier(row: Row, past: Sequence[Past]) -> list[Past]:
    """Return how the earlier requests ended, the last of each person: a later decision replaces another."""
    last: dict[str, Past] = {}
    for before in sorted(filter(None, [row.previous, *past]), key=lambda before: -before.at):
        last.setdefault(addresses.folded(before.email), before)
    return list(last.values())


def _asked_before(row: Row, past: Sequence[Past]) -> list[list[Block]]:
    """Return a line for each earlier request that is no warning."""
    lines = []
    for before in _earlier(row, past):
        if before.state not in RISKY:
            is_same = addresses.same(before.email, row.email) or not before.email
            lead = "Asked before: " if is_same else f"{_address(before.email)} asked before: "
            lines.append([words(lead), *_ended(before)])
    return lines


def _approve_anyway(row: Row, risks: Sequence[_Risk]) -> Block:
    """Return what Slack asks once more before it sends a click on Approve."""
    return {
        "title": plain(f"Approve {cut(_address(row.email), 80)}?"),
        "text": plain(cut("\n".join(risk.sentence for risk in risks), CONFIRM_CHARS)),
        "confirm": plain("Approve"),
        "deny": plain("Not yet"),
    }


def _company(row: Row) -> list[Block]:
    """Return what Conveyor said about the customer's company when the request came, if it said anything."""
    known = row.company or {}
    if not known or known.get("personal"):
        return []
    name, count = domain(row.email), known.get("with_access")
    if not isinstance(count, int) or not count:
        return [rich([words(f"Nobody at {name} had access when this came in.")])]
    people = "1 person" if count == 1 else f"{count:,} people"
    elements, latest = [words(f"{people} at {name} already had access")], known.get("latest_activity_at")
    if isinstance(latest, float) and 0 < latest < LATEST:
        elements += [words(" (last active "), date(latest, "{date}"), words(")")]
    return [rich([*elements, words(".")])]


def _in_progress(row: Row) -> Message:
    doing, waiting = DOING[row.state], PROBLEMS[row.problem]
    who, what = row.decider, "this access" if row.state == State.REVOKING else "this"
    blocks = [
        header(f":hourglass_flowing_sand: {doing}"),
        _about(row, ASKED),
        *_links(row),
        rich([*_person(who), words(f" is {_doing(row)} {what}. {waiting}".rstrip())]),
    ]
    if row.state == State.REVOKING:
        blocks += [_ended_line(_before_revocation(row)), rich([words(_granted(row))])]
    blocks += [*_reasons(row), *_message(row)]
    return message_of(f"{doing} by {_name(who)}: {_who(row)}. {waiting}", blocks)


def _doing(row: Row) -> str:
    """Return the verb of what is being done: "approving", "rejecting" or "revoking"."""
    return DOING[row.state].rstrip("…").lower()


def _decided(row: Row, trust_center: str) -> Message:
    word, symbol = DECIDED[row.state]
    title = f":large_yellow_circle: {word}{UNTIL_SIGNED}" if row.is_gated else f"{symbol} {word}"
    ending = _ending(row.past)
    blocks = [
        header(title),
        _about(row, ASKED),
        *_links(row, _mail(row, trust_center)),
        _ended_line(row.past),
    ]
    if row.state == State.APPROVED:
        blocks.append(_granted_with_menu(row))
        if row.is_gated:
            blocks.append(rich([words(IF_THEY_SIGN), *_last_day(row)]))
    elif row.state == State.REVOKED:
        blocks += [_ended_line(_before_revocation(row)), rich([words(_granted(row))])]
    blocks += [*_reasons(row), *_message(row)]
    by = f" by {_name(ending.by)}" if ending.by else ""
    access = f" {_granted(row, TEXT_GROUPS_CHARS)}" if row.state in (State.APPROVED, State.REVOKED) else ""
    reasons = "".join(f" {label} {one_line(reason)}" for _, label, reason in _typed_reasons(row))
    return message_of(f"{word}{by}: {_who(row)}{_until_signed(row)}.{access}{reasons}", blocks)


def _ended_line(past: Past) -> Block:
    """Return the line of a card that says how the request ended."""
    ending = _ending(past)
    if ending.by is None:
        did = "Revoked" if past.state == State.REVOKED else "Decided"
        said = f"{ending.word}." if past.state == State.GONE else f"{did} {NOT_IN_SLACK}."
        return rich([words(f"{said} Noticed "), date(ending.at), words(".")])
    return rich([words(f"{ending.word} by "), *_person(ending.by), words(", "), date(ending.at), words(".")])


def _until_signed(row: Row) -> str:
    """Return how the sentence about an approved customer goes on where the NDA matters."""
    if row.is_gated:
        return UNTIL_SIGNED
    return NOW_SIGNED if _is_signed(row) else ""


def _is_signed(row: Row) -> bool:
    return row.state == State.APPROVED and row.signed_at is not None


def _last_day(row: Row) -> list[Block]:
    """Return the end of a sentence that says until when a signature is looked for."""
    return [date((row.settled_at or 0.0) + FOLLOWED_SECONDS, "{date}"), words(".")]


def _links(row: Row, more: str = "") -> list[Block]:
    """Return the quiet line under the customer's address: when they asked, and where to read more.

    `more` is another link, or empty. A company has no place in the CRM before somebody there has access, but
    the request may.
    """
    parts = [f"Asked {mrkdwn_date(row.received_at)}"]
    if row.refusals <= 1 and row.link:  # Slack refuses a whole message for one odd link
        parts.append(mrkdwn_link(row.link, OPEN_IN_CONVEYOR))
    if not row.refusals:
        crm = (row.company or {}).get("crm_link") or row.crm_link
        parts += [mrkdwn_link(crm, OPEN_IN_CRM)] if isinstance(crm, str) and crm else []
        parts += [more] if more else []
    return [quiet([part for part in parts if length(part) < SECTION_CHARS])]


def _mail(row: Row, trust_center: str) -> str:
    """Return a link that starts an email to the customer, without the reason, which is internal.

    Return an empty string if the request is not decided, or if its address is no plain one.
    """
    body = MAIL_BODIES.get(row.state)
    if body is None or not re.fullmatch(r"[^\s<>@\"]+@[^\s<>@\"]+", _address(row.email)):
        return ""
    written = body.format(
        where=trust_center or MAIL_WHERE,
        nda=MAIL_NDA if row.access_status == GATED or not (row.access_status or row.nda_bypass) else "",
        reviewer=cut(one_line(row.reviewer.name), NAME_CHARS),
    )
    mailbox = urllib.parse.quote(_address(row.email), safe="@")
    fields = {"subject": MAIL_SUBJECT, "body": written.rstrip()}
    query = urllib.parse.urlencode(fields, quote_via=urllib.parse.quote)
    return mrkdwn_link(f"mailto:{mailbox}?{query}", MAIL)


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
        },
    }


def _granted(row: Row, most: int = GROUPS_CHARS) -> str:
    """Return what was granted: the groups in `most` characters, the NDA, and when access ends."""
    label = "Access was: " if row.state == State.REVOKED else "Access: "
    if row.groups is None:
        granted = GROUPS_UNKNOWN
    elif not row.groups:
        granted = f"{BASIC}."
    else:
        granted = f"{BASIC}, plus {_names(row.groups, most)}."
    return label + granted + _nda(row) + _end(row)


def _typed_reasons(row: Row) -> list[tuple[str, str, str]]:
    """Return the reasons and notes that reviewers typed: the block's id, a label, and the text."""
    if row.state == State.PENDING:
        return []
    label = WHY if row.state in (State.REJECTING, State.REJECTED) else NOTE
    typed = [(REVOKE_REASON, WHY, row.revoke_reason), (REASON, label, row.reason)]
    shown = [(name, label, cut(inert(text).strip(), REASON_CHARS)) for name, label, text in typed]
    return [each for each in shown if each[2]]


def _reasons(row: Row) -> list[Block]:
    """Return each reason or note that a reviewer typed, in a quote."""
    return [
        {**quote(label, text), "block_id": _block_id(name, row)} for name, label, text in _typed_reasons(row)
    ]


def reason_on_card(blocks: Any, name: str) -> str:
    """Return the reason or note that these blocks show; `name` says which. Empty if there is none."""
    for block in blocks:
        if block.get("type") == "rich_text" and block.get("block_id", "").startswith(f"{name}-"):
            return str(block["elements"][1]["elements"][0]["text"])
    return ""


def _outage(row: Row) -> Message:
    """Return the message that new requests aren't coming through or, once they do, that they are again."""
    began = date(row.received_at)
    if row.state == State.OUTAGE:
        title = "New requests aren't coming through"
        symbol, said = ":warning:", [words("I haven't been able to reach Conveyor since "), began]
        then = "I'll update this message when I can. (For whoever runs this app: see /readyz and the log.)"
    else:
        title = "New requests are coming through again"
        said = [words("I couldn't reach Conveyor from "), began, words(" to "), date(row.settled_at)]
        symbol, then = ":white_check_mark:", "I'm posting the requests you missed."
    return message_of(f"{title}. {then}", [header(f"{symbol} {title}"), rich([*said, words(f". {then}")])])


def offer(groups: Sequence[AccessGroup]) -> object:
    """Return a value that changes whenever a waiting card has to be drawn again because of its groups."""
    return group_options(groups) if len(groups) <= CHECKBOXES else "too many to list"


def group_options(groups: Sequence[AccessGroup], typed: str = "") -> list[Block]:
    """Return the groups whose name contains what was typed, as options.

    Names that look the same get the end of their group's id.
    """
    names = {group.id: one_line(group.name) or NO_NAME for group in groups}
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


NO_NAME = "(group without a name)"

# Modals

# The days after which access ends, as Slack sends them back.
ENDINGS = {NEVER: "Never", "30": "In 30 days", "90": "In 90 days", "365": "In 365 days", DAY: "On a date"}
ENDS_MISSING = "Choose when access ends."
DAY_MISSING = "Pick an end date, or another option above."
DAY_UNUSED = f"To use this date, choose “{ENDINGS[DAY]}” above."
DAY_PAST = "That date has passed. Pick a later one."
DAY_TOO_FAR = f"That's more than {ENDS_YEARS} years away. Pick an earlier date, or “{ENDINGS[NEVER]}” above."
REASON_FIELD = {"type": "plain_text_input", "multiline": True, "max_length": REASON_CHARS}
REASON_HINT = "Your team can search for this. The customer won't see it."
REASON_MISSING = "Add a short reason your team will understand."
REASON_TOO_LONG = f"Keep it to {REASON_CHARS:,} characters."


def approve_modal(
    row: Row,
    private_metadata: str,
    groups: Sequence[AccessGroup],
    chosen: Collection[str],
    past: Sequence[Past] = (),
) -> Block:
    """Return the modal that asks for all that an approval can say, and shows who asks and what they wrote.

    `chosen` has the ids of the groups that were chosen on the card; `past` is the same as for the card.
    """
    ends = [{"text": plain(label), "value": value} for value, label in ENDINGS.items()]
    skip_nda = {"text": plain("Let them in without signing"), "value": NDA}
    blocks = [
        _about(row, ASKS),
        *_links(row),
        *(rich(risk.line) for risk in _risks(row, past)),
        *_message(row, in_modal=True),
        *([_group_choice(groups, chosen)] if groups else []),
        # Slack writes "(optional)" behind this label, so it names what is optional.
        _input(NDA, "Skip the NDA", {"type": "checkboxes", "options": [skip_nda]}, optional=True),
        _input(ENDS, "Access ends", {"type": "static_select", "options": ends, "initial_option": ends[0]}),
        _input(
            DAY,
            "End date",
            {"type": "datepicker"},
            hint=f"Needed only if you chose “{ENDINGS[DAY]}”.",
            optional=True,
        ),
        _input(REASON, "Note", REASON_FIELD, hint=REASON_HINT, optional=True),
    ]
    return _modal(APPROVE_MODAL, private_metadata, "Approve with options", "Approve", blocks)


def reject_modal(row: Row, private_metadata: str, reason_required: bool) -> Block:
    """Return the modal that asks why, and shows who is about to be rejected."""
    blocks = [_about(row, ASKS), *_links(row), *_message(row, in_modal=True), _why(reason_required)]
    return _modal(REJECT_MODAL, private_metadata, "Reject this request", "Reject", blocks)


def revoke_modal(row: Row, private_metadata: str, reason_required: bool) -> Block:
    """Return the modal that asks why access is revoked, and says whose, and what becomes of it."""
    blocks = [
        rich([words(_address(row.email), bold=True), words(" loses access right away.")]),
        context("Conveyor won't notify them."),
        rich([words(_granted(row))]),
        _why(reason_required),
    ]
    return _modal(REVOKE_MODAL, private_metadata, "Revoke access", "Revoke", blocks)


def _why(is_required: bool) -> Block:
    """Return the input for a reason."""
    field = {**REASON_FIELD, "focus_on_load": True}
    return _input(REASON, "Why?", field, hint=REASON_HINT, optional=not is_required)


def message_modal(row: Row, private_metadata: str, page: int = 0) -> Block:
    """Return the modal that shows the customer's whole message, or a page of it."""
    texts = pieces(inert(row.message).strip() or NO_MESSAGE, SECTION_CHARS)
    pages = [texts[start : start + PAGE_SECTIONS] for start in range(0, len(texts), PAGE_SECTIONS)]
    page = min(max(page, 0), len(pages) - 1)
    blocks = [_about(row, " wrote:"), *_links(row)]
    blocks += [{"type": "section", "text": plain(text)} for text in pages[page]]
    is_last = page == len(pages) - 1
    if is_last and len(row.message) >= KEPT_CHARS:
        blocks.append(context("This is as much as I keep. Read the rest in Conveyor."))
    if len(pages) > 1:
        blocks.append(context(f"Page {page + 1} of {len(pages)}"))
        turns = [button(PAGE_BACK, "Back", str(page - 1), "", "Back to the page before")] if page else []
        turns += [] if is_last else [button(PAGE_NEXT, "Next", str(page + 1), "", "On to the next page")]
        blocks.append({"type": "actions", "elements": turns})
    return _modal(MESSAGE_MODAL, private_metadata, "Whole message", "", blocks)


def sentence_modal(sentence: str) -> Block:
    """Return the modal that says one thing, in place of the one that was submitted."""
    return {
        "type": "modal",
        "title": plain("Please note"),
        "close": plain("Close"),
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": sentence}}],
    }


def _modal(callback_id: str, private_metadata: str, title: str, submit: str, blocks: list[Block]) -> Block:
    """Return a modal; without `submit` there is nothing to send."""
    return {
        "type": "modal",
        "callback_id": callback_id,
        "private_metadata": private_metadata,
        "title": plain(title),
        **({"submit": plain(submit)} if submit else {}),
        "close": plain("Cancel" if submit else "Close"),
        "blocks": blocks,
    }


# Private sentences (mrkdwn). They hold no words of outsiders, except in code.

STILL_STARTING = "I'm still starting up. Try again in a minute."
ORG_WIDE = (
    "I'm installed for a whole organization, and I only work when I'm installed in one workspace. "
    "Please tell whoever runs this app."
)
OTHER_WORKSPACE = "Only full members of the workspace that I'm installed in can use me."
READING_THE_CHANNEL = "I'm still catching up and don't know this card yet. Try again in a minute."
WHO_UNKNOWN = (
    "I couldn't check that you're a reviewer. Please click again; if it keeps happening, tell whoever runs "
    "this app."
)
CARD_UNKNOWN = "Got it, your decision is saved. If the card doesn't show it yet, it will catch up shortly."
LEDGER_BUSY = "I couldn't save that. If the card doesn't change, click again."
NOT_A_MEMBER = "Only full members of this workspace can decide access requests."
NO_ADDRESS = (
    "Conveyor needs your email, and Slack hasn't confirmed one for you. Confirm it in your Slack profile, "
    "then try again. If Slack can't confirm it, ask whoever runs this app to add you as a reviewer by your "
    "Slack user ID."
)
NO_SCOPE = (
    "Conveyor needs your email, and I'm not allowed to see anybody's. It's nothing in your profile: please "
    "tell whoever runs this app that its Slack app lacks the scope `users:read.email`."
)
NOT_A_REVIEWER = "You can't decide requests"
NOT_CURRENT = "This card is out of date. Use the newest card for this customer, or revoke in Conveyor."
FORGOTTEN = "I no longer have this request. Please revoke it in Conveyor."
MESSAGE_GONE = "I no longer have this message. Please read it in Conveyor."
WENT_WRONG = "Something went wrong on my side. Check the card to see if it worked."
ODD_CLICK = "That click didn't come through properly. Reload Slack and try again."


def unexpected(reference: str) -> str:
    """Return the sentence for an error that nobody foresaw; the log has its cause under the reference."""
    return f"{WENT_WRONG} Reference for whoever runs this app: `{reference}`."


def not_a_reviewer(who: WhoDecides) -> str:
    """Return the sentence for somebody who can't decide. It names people who can, if any are known."""
    names = [*map(mrkdwn_mention, who.ids), *(f"anybody at `{escaped(name)}`" for name in who.domains)]
    names += ["others"] if who.more and names else []
    listed = f"; {_listed(names)} can" if names else ""
    return f"{NOT_A_REVIEWER}{listed}. To become a reviewer, ask whoever runs this app."


def card_late(row: Row) -> str:
    """Return the sentence for a decision that is recorded, and that the card doesn't show yet."""
    return f"Got it, your decision about {_code(row)} is saved. The card will catch up shortly."


def no_window(row: Row) -> str:
    """Return the sentence for a form that Slack didn't open."""
    return f"Slack couldn't open the form for {_code(row)}. Please click again."


def nothing_to_revoke(row: Row) -> str:
    """Return the sentence for a revocation of access that nobody has."""
    return f"{_code(row)} has no access from this card, so there's nothing to revoke."


NOTHING_GRANTED = "so nothing was granted. I've updated the card; please choose again."


def groups_not_offered(row: Row, names: Sequence[str]) -> str:
    """Return the sentence for an approval with groups, of these names, that cannot be granted anymore."""
    # In code nothing formats, and no address becomes a link.
    shown = (cut(one_line(name.replace("`", "")), 80) or "?" for name in names[:MISSING_MOST])
    listed = ", ".join(f"`{escaped(name)}`" for name in shown)
    are = "isn't" if len(names) == 1 else "aren't"
    return f"{listed} {are} available for {_code(row)} anymore, {NOTHING_GRANTED}"


def already_decided(row: Row, user_id: str) -> str:
    """Return the sentence that tells this person who was first."""
    decider, customer = row.decider.id, _code(row)
    mine = decider == user_id
    who = "You" if mine else f"<@{decider}>" if decider else "Somebody"
    if row.state in IN_FLIGHT:
        doing = f"{_doing(row)} {customer}"
        return f"You're already on it: {doing}." if mine else f"{who} is already {doing}."
    if row.state not in DECIDED:
        return f"The request from {customer} is already decided; its card says how."
    ending = _ending(row.past)
    when = mrkdwn_date(ending.at)
    if ending.by:
        what = f"revoked the access of {customer}" if row.state == State.REVOKED else None
        return f"{who} already {what or f'{ending.word.lower()} {customer}'} ({when})."
    if row.state == State.REVOKED:
        return f"The access of {customer} was already revoked in Conveyor (noticed {when})."
    if row.state == State.GONE:
        return f"The request from {customer} is no longer in Conveyor (noticed {when})."
    return f"{customer} was already {_lower(ending.word)} (noticed {when})."


def changed(row: Row) -> str:
    """Return the sentence for a click on a card that showed another address or another Trust Center."""
    return (
        f"The request from {_code(row)} changed in Conveyor: its address or its Trust Center isn't what you "
        "saw. I've updated the card. Please check it and decide again."
    )


OPEN_CURRENT = "Open the current one."


def old_card(row: Row, permalink: str) -> str:
    """Return the sentence for a click on a card that has been replaced by the one at this permalink."""
    return f"This card for {_code(row)} is out of date. <{permalink}|{OPEN_CURRENT}>"


# Replies in the thread of a card

NOTES = {
    "refused": (
        "Conveyor refused this, so the request is open again. You may need a Conveyor account under your "
        "Slack email; ask your Conveyor admin, then decide again."
    ),
    "not allowed": (
        "This app's API key isn't allowed to do this in Conveyor, so the request is open again. "
        "Please tell whoever runs this app."
    ),
    "key": (
        "Your decision is on hold: Conveyor rejected this app's API key. Please tell whoever runs this app. "
        "I'll keep trying."
    ),
    "never sent": ("I couldn't reach Conveyor for 15 minutes, so this is open again. Please decide again."),
    "still open": ("I tried for 15 minutes, and Conveyor still has this request open. Please decide again."),
    "unconfirmed": (
        "I sent your decision to Conveyor, and it hasn't confirmed it for 15 minutes. I'll keep checking and "
        "update the card. If it's urgent, open the request in Conveyor."
    ),
    "elsewhere": (
        "Somebody handled this in Conveyor first, so your decision wasn't used. The card shows the outcome."
    ),
    "changed": (
        "This request changed in Conveyor before your decision got there, so I didn't send it. I've updated "
        "the card. Please check it and decide again."
    ),
    "changed elsewhere": (
        "This request changed in Conveyor while your decision was on its way, and it's closed there now. "
        "Please check in Conveyor who got access."
    ),
    "differs": (
        "Conveyor never confirmed your approval, and the access it lists isn't what you chose. So the card "
        "says this was approved in Conveyor. Please check it there."
    ),
    "gone unconfirmed": (
        "This request is no longer in Conveyor. I sent your decision, but I can't tell whether it took "
        "effect. Please check in Conveyor."
    ),
    "gone": "This request is no longer in Conveyor, so your decision wasn't used.",
    "lost": (
        "I lost track of your decision before Conveyor confirmed it, and the request is still open. "
        "Please decide again."
    ),
    "revoke refused": (
        "Conveyor refused to revoke this, or a part of it, so the customer still has access. "
        "Please revoke it in Conveyor."
    ),
    "revoke gone unconfirmed": (
        "Conveyor no longer lists any access for this customer. I sent your revocation, but I can't tell "
        "whether it took effect. Please check in Conveyor."
    ),
    "revoke not allowed": (
        "This app's API key isn't allowed to revoke access in Conveyor, so the customer still has it. Please "
        "revoke it in Conveyor, and tell whoever runs this app."
    ),
    "revoke key": (
        "The customer still has access: Conveyor rejected this app's API key. Please tell whoever runs this "
        "app. I'll keep trying."
    ),
    "revoke never sent": (
        "I couldn't reach Conveyor for 15 minutes, so the customer still has access. Please revoke it again."
    ),
    "revoke still open": (
        "I tried for 15 minutes, and the customer still has access in Conveyor. Please revoke it again."
    ),
    "revoke unconfirmed": (
        "I sent your revocation to Conveyor, and it hasn't confirmed it for 15 minutes. I'll keep checking "
        "and update the card. If it's urgent, look in Conveyor."
    ),
    "revoke elsewhere": "Access was already revoked in Conveyor.",
    "revoke gone": (
        "Conveyor lists no access for this customer, so there was nothing to revoke. Please check in "
        "Conveyor."
    ),
    "revoke lost": (
        "I lost track of your revocation before Conveyor confirmed it, and the customer still has access. "
        "Please revoke it again."
    ),
}

CONVEYOR_SAID = "Conveyor said:"


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
        blocks.append({"type": "section", "text": plain(cut(f"{CONVEYOR_SAID} {said}", SECTION_CHARS))})
    mention = f"<@{person_id}>" if person_id else ""
    return {"text": f"{mention}{before}{escaped(about)}{after}{NOTES[kind]}", "blocks": blocks}


STILL_WAITING = "Still waiting: "


def reminder(
    email: str, waited: float, mentions: Sequence[str], by_working_hours: bool, permalink: str
) -> Message:
    """Return the reminder of a card that has waited for so many seconds; it mentions these ids.

    `email` is empty if it was forgotten. `permalink` is empty if this is a reply in the card's thread.
    """
    about = _address(email) if email else "a request"
    ending = f", {_working_span(waited) if by_working_hours else _span(waited)}."
    to = [element for who in mentions for element in (mention(who), words(" "))]
    card = [words(" "), link(permalink, "See card")] if permalink else []
    text = "".join(f"{mrkdwn_mention(who)} " for who in mentions) + STILL_WAITING + escaped(about) + ending
    said = [*to, words(STILL_WAITING), words(about, bold=True), words(ending), *card]
    return {"text": text, "blocks": [rich(said)]}


def _working_span(seconds: float) -> str:
    """Return a length of working time, such as "9 working hours"."""
    hours = int(max(seconds, 0.0) // 3600)
    if not hours:
        return "less than a working hour"
    return f"{hours:,} working hour{'' if hours == 1 else 's'}"


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
        return [words(SEE_EARLIER)]
    ending = _ending(past)
    if not (ending.by and ending.by.id):
        where = " in Conveyor" if past.state == State.REVOKED else ""
        noticed = [date(ending.at, "{date}"), words(").")]
        return [words(f"{_lower(ending.word)}{where} (noticed "), *noticed]
    elements = [words(f"{_lower(ending.word)} by "), *_person(ending.by), words(" on ")]
    elements.append(date(ending.at, "{date}"))
    groups = f" ({_names(past.groups, PAST_CHARS)})" if past.state == State.APPROVED and past.groups else ""
    reason = cut(one_line(ending.reason), PAST_CHARS)
    return [*elements, words(f"{groups}: “{reason}”" if reason else f"{groups}.")]


def _lower(word: str) -> str:
    """Return a word that began a sentence as it is inside one; "Conveyor" keeps its capital."""
    return word[0].lower() + word[1:]


def _about(row: Row, what: str) -> Block:
    """Return the line that says who asks. The domain is added where it says more than the address does."""
    elements, at = [words(_address(row.email), bold=True)], domain(row.email)
    if at and not _address(row.email).lower().endswith(at):
        elements.append(words(f" ({at})"))
    return rich([*elements, words(what)])


def _message(row: Row, in_modal: bool = False) -> list[Block]:
    """Return the customer's message, in a quote so that nobody takes it for the app's own words.

    A long one is shortened. On a card a button beside it shows the whole.
    """
    message = inert(row.message).strip()
    if not message:
        return [context(NO_MESSAGE)]
    if row.refusals:
        return [context(MESSAGE_REFUSED)]
    shown = excerpt(message, MESSAGE_CHARS, MESSAGE_LINES)
    blocks = [quote("They wrote:", shown)]
    if shown != message and not in_modal:
        who = _address(row.email)
        blocks.append(
            {
                "type": "section",
                "block_id": _block_id(SHOW_WHOLE, row),
                "text": plain("Message shortened."),
                "accessory": button(SHOW_WHOLE, SHOW_MESSAGE, _value(row), "", f"{SHOW_MESSAGE} from {who}"),
            }
        )
    return blocks


def _nda(row: Row) -> str:
    """Return what Conveyor says about the NDA, and what was asked for if that is not confirmed."""
    if _is_signed(row):
        return f" {NDA_SIGNED}"
    if row.state == State.REVOKED:
        return ""
    if row.access_status == GATED:
        return f" Asked for: no NDA. {NDA_FIRST}" if row.nda_bypass else f" {NDA_FIRST}"
    if not row.nda_bypass:
        return ""
    if row.access_status == "authorized":
        return f" {NDA_SKIPPED}"
    return " Asked for: no NDA. Conveyor didn't confirm it."


def _end(row: Row) -> str:
    """Return when access ends by what Conveyor says, or what was asked for if Conveyor names no day."""
    if row.access_ends:
        return f" {ENDS_ON.format(_day(row.access_ends))}"
    if not row.expires_at:
        return ""
    said = "doesn't list an end date" if row.access_ends is None else "lists no end"
    return f" {ENDS_ASKED.format(_day(row.expires_at))} Conveyor {said}."


def _day(day: str) -> str:
    """Return a day (YYYY-MM-DD) as people write it. Anything else is returned as it is."""
    try:
        found = datetime.date.fromisoformat(day)
    except ValueError:
        return day
    return f"{found:%B} {found.day}, {found.year}"


def _names(groups: Sequence[AccessGroup], most: int) -> str:
    """Return the names of the groups, in about `most` characters, and how many others there are."""
    names = [cut(one_line(group.name), 300) or NO_NAME for group in groups]
    shown: list[str] = []
    for name in names:
        if length(", ".join([*shown, name])) > most:
            break
        shown.append(name)
    rest = len(names) - len(shown)
    shown += [f"{rest} more (see Conveyor)"] if rest else []
    return _listed(shown)


def _listed(names: Sequence[str]) -> str:
    """Return the names as people list them: "A", "A and B", or "A, B and C"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


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
    return cut(one_line(person.name), NAME_CHARS) or person.id or "somebody"


def _person(person: Reviewer) -> list[Block]:
    """Return a mention, which Slack shows as the person's name. The top-level text has the name itself."""
    return [{"type": "user", "user_id": person.id}] if person.id else [words(_name(person))]


def _code(row: Row) -> str:
    """Return the customer's address for a sentence in mrkdwn: in code nothing formats, pings or links."""
    address = escaped(_address(row.email).replace("`", "")) if row.email else ""
    return f"`{address}`" if address else "this customer"


def _value(row: Row) -> str:
    """Return the value of a card's button: the round, whom the card is about, and the request's id."""
    return f"{row.round} {row.subject} {row.id}"


def _block_id(name: str, row: Row) -> str:
    """Return an id that is new whenever the card is drawn: with the same one Slack keeps stale choices."""
    return f"{name}-{row.round}-{row.revision}"
