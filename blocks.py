"""Every word that a person sees in Slack, and its layout: pure functions from data to Block Kit.

Change the words here; nothing else depends on them. These functions make no call and read no clock. What
outsiders wrote (addresses, messages, group names, Conveyor's sentences) goes into plain_text and rich_text
only, where nothing pings, links or formats.
"""

import datetime
import json
import math
import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, NamedTuple

import addresses
from addresses import ADDRESS_CHARS
from conveyor_client import GATED, LATEST, AccessGroup, Authorization
from conveyor_client import MESSAGE_CHARS as KEPT_CHARS
from ledger.gated import FOLLOWED_SECONDS
from ledger.numbers import Numbers
from ledger.rows import Past, Reviewer, Row
from ledger.same import Given
from ledger.states import IN_FLIGHT, LET_IN, UNDECIDED, State
from workspace.block_kit import (
    CHECKBOXES,
    LABEL_CHARS,
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
APPROVE_SAME = "approve_same"
APPROVE_COLLEAGUES = "approve_colleagues"
OPTIONS_BUTTON = "options"
REJECT = "reject"
MORE = "more"
REVOKE = "revoke"
CHANGE_GROUPS = "change_groups"
AFTER_ALL = "after_all"
TELL_ME = "tell_me"
STOP_TELLING = "stop_telling"
TELL_MORE = "tell_more"
ASK_ABOUT = "ask_about"
WHERE_IS = "where_is"
GROUPS = "groups"
APPROVE_MODAL = "approve_modal"
REJECT_MODAL = "reject_modal"
REVOKE_MODAL = "revoke_modal"
CHANGE_MODAL = "change_modal"
AFTER_ALL_MODAL = "after_all_modal"
SHOW_WHOLE = "show_message"
MESSAGE_MODAL = "message_modal"
PAGE_BACK, PAGE_NEXT = "page_back", "page_next"
REASON = "reason"
READY = "ready"
REVOKE_REASON = "revoke_reason"
REJECTION = "rejection"
NOTE_OF_APPROVAL = "note"
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
LINK_CHARS = 1200  # a longer link is left out, so that three of them leave room for the rest of the card
CONFIRM_CHARS = 300  # Slack's limit
ENDS_YEARS = 5
EXCERPT_CHARS = 300
ROOMS_MOST = 5
WAITING_MOST = 10
MISSING_MOST = 10
COLLEAGUES_MOST = 5  # whom one question names
VALUE_CHARS = 2000  # Slack's limit for the value of a button


# Cards

DOING = {
    State.APPROVING: "Approving…",
    State.REJECTING: "Rejecting…",
    State.REVOKING: "Revoking…",
    State.CHANGING: "Changing groups…",
    State.APPROVING_AFTER_ALL: "Approving after all…",
}
# The same inside a sentence, about a customer or what they asked for.
DOING_TO = {
    State.APPROVING: "approving {}",
    State.REJECTING: "rejecting {}",
    State.REVOKING: "revoking {}",
    State.CHANGING: "changing the groups of {}",
    State.APPROVING_AFTER_ALL: "approving {} after all",
}
# Each outcome has an icon of its own, and a word beside it.
DECIDED: dict[State | None, tuple[str, str]] = {
    State.APPROVED: ("Approved", ":white_check_mark:"),
    State.REJECTED: ("Rejected", ":no_entry_sign:"),
    State.REVOKED: ("Revoked", ":lock:"),
    State.APPROVED_ELSEWHERE: ("Approved in Conveyor", ":ballot_box_with_check:"),
    State.IGNORED_ELSEWHERE: ("Ignored in Conveyor", ":heavy_minus_sign:"),
    State.GONE: ("No longer in Conveyor", ":grey_question:"),
}
# What follows "Approved" until the customer has signed the NDA, and afterward.
UNTIL_SIGNED = ", NDA not signed yet"
NOW_SIGNED = ", NDA signed"
# Why a decision is not carried out yet, by the value of the column `problem`.
PROBLEMS = {
    "": "",
    "unavailable": "Conveyor isn't responding; I'll keep trying.",
    "key": ("Conveyor rejected this app's API key. Please tell whoever runs this app. I'll keep trying."),
    "unconfirmed": "Sent to Conveyor, not confirmed yet. This card updates as soon as it is.",
}
WHY, NOTE = "Reason:", "Note:"  # in front of what a reviewer typed
WHY_REJECTED = "Why it was rejected:"
NO_ACCESS_GIVEN = "This request gave no access."
NOT_IN_SLACK = "in Conveyor, not in Slack"
BASIC = "basic"  # Conveyor's name for access without groups
APPROVING_GIVES = f"Approving gives {BASIC} access."
NDA_MAY_FOLLOW = "They may have to sign the NDA first."
NDA_FIRST = "They'll be asked to sign the NDA first."
NDA_SIGNED = "The NDA is signed."
NDA_SKIPPED = "No NDA required."
NDA_ASKED = "Asked for: no NDA."
ENDS_ASKED = "Asked for: access ends {}."
ENDS_ON = "Access ends {}."
GROUPS_UNKNOWN = "Conveyor didn't list the groups. Open the request there to see them."
GROUPS_CHANGED, BEFORE = "Groups changed", "Before: "
TO_BE = "Is to become: "
SEE_EARLIER = "see the earlier card for the outcome."
IF_THEY_SIGN = "I'll update this card if they sign by "
ASKS, ASKED = " would like access.", " asked for access."
OPEN_IN_CONVEYOR, OPEN_IN_CRM, MAIL = "Open in Conveyor", "Open in the CRM", "Email the customer"
NO_MESSAGE = "No message."
MESSAGE_REFUSED = "The message is too long to show, or Slack can't display it. Please read it in Conveyor."
SHOW_MESSAGE = "Show the whole message"
KEPT_NO_MORE = "This is as much as I keep. Read the rest in Conveyor."
PERSONAL = "{} is a personal email provider."
LOOKS_LIKE = {
    "like_own": "{} looks like {}, your own domain.",
    "like_customer": "{} looks like {}, whose people were given access.",
}
NOBODY_HAS_ACCESS = "Nobody at {} had access when this came in."
HAVE_ACCESS = "{} at {} already had access"
PEOPLE = "{:,} people"
LAST_ACTIVE = " (last active "
ASKED_BEFORE = "asked before: "
SAME = "Approve the same"
GAVE = " gave "
THAT_ENDS = " That access ends {}."
REJECTED_BEFORE, REVOKED_BEFORE = "Rejected before", "Access revoked before"
MAIL_SUBJECT = "Your request for access to our security documents"
MAIL_BODIES = {
    State.APPROVED: (
        "Hi,\n\nThanks for your interest in our security documents. Your request is approved: sign in at "
        "{where} with this email address{nda}. If anything's missing, just reply.\n\nBest,\n{reviewer}"
    ),
    State.REJECTED: (
        "Hi,\n\nThanks for your interest in our security documents. {answer} "
        "If you have any questions, just reply.\n\nBest,\n{reviewer}"
    ),
}
MAIL_NEUTRAL = "We can't give you access right now."
MAIL_WHERE = "our Trust Center"
MAIL_NDA = "; you'll be asked to sign our NDA first"


def card(
    row: Row,
    groups: Sequence[AccessGroup] = (),
    past: Sequence[Past] = (),
    trust_center: str = "",
    given: Given | None = None,
) -> Message:
    """Return the card of a request.

    While it waits, the card offers `groups`, which can be granted in its Trust Center, and tells of `past`,
    the earlier requests of the same person or company. It offers to give the same as was `given` to a
    colleague. `trust_center` is the address at which customers sign in, or empty.
    """
    if row.state == State.PENDING:
        return _pending(row, groups, past, given)
    if row.state in IN_FLIGHT:
        return _in_progress(row)
    if row.state in (State.OUTAGE, State.OUTAGE_OVER):
        return _outage(row)
    if row.state == State.NUMBERS:
        return _weekly(row)
    return _decided(row, trust_center)


def shorter_card(row: Row, past: Sequence[Past] = ()) -> Message:
    """Return the card of a request whose whole card Slack refused: without all that may be long or odd.

    What stays is who asks, where it stands, the warnings without their reasons, the buttons and, after the
    first refusal, the link to Conveyor.
    """
    reason, revoke_reason = (cut(inert(text).strip(), PAST_CHARS) for text in (row.reason, row.revoke_reason))
    risky = [replace(before, reason="") for before in _earlier(row, past) if before.state in RISKY]
    company = {key: known for key, known in (row.company or {}).items() if key in ("personal", *LOOKS_LIKE)}
    note = cut(inert(row.note).strip(), PAST_CHARS)
    rejection = row.rejection and replace(row.rejection, reason=cut(row.rejection.reason, PAST_CHARS))
    shorter = replace(row, previous=None, company=company, reason=reason, revoke_reason=revoke_reason)
    shorter = replace(shorter, note=note, rejection=rejection)
    return card(shorter, past=risky)


def _pending(row: Row, groups: Sequence[AccessGroup], past: Sequence[Past], given: Given | None) -> Message:
    risks = _risks(row, past)
    blocks = [
        header(":sparkles: Access request"),
        _about(row, ASKS),
        *_links(row),
        *(rich(risk.line) for risk in risks),
        *(rich(line) for line in _asked_before(row, past, given)),
        *_company(row),
        *_message(row),
    ]
    if groups:
        # A menu takes less room, so that beside a long message the buttons stay on a phone's first screen.
        is_long = _is_shortened(row)
        blocks.append(_group_choice(groups, as_menu=is_long, block_id=_block_id(GROUPS, row)))
    blocks.append(_gives(groups))
    value, who = _value(row), _address(row.email)
    approvals = [button(APPROVE, "Approve", value, "primary", f"Approve the request from {who}")]
    if given:
        blocks.append(rich(_gave(given)))
        approvals.append(button(APPROVE_SAME, SAME, value, "", f"{SAME} for {who}"))
    if risks:
        approvals = [{**each, "confirm": _approve_anyway(row, risks)} for each in approvals]
    blocks.append(
        {
            "type": "actions",
            "block_id": _block_id(_decide_id(given), row),
            "elements": [
                *approvals,
                button(OPTIONS_BUTTON, "Options…", value, "", f"Approve with options: {who}"),
                button(REJECT, "Reject", value, "danger", f"Reject the request from {who}"),
            ],
        }
    )
    warnings = "".join(f" {risk.sentence}" for risk in risks)
    return message_of(f"Access request: {_who(row)}{ASKS}{warnings}", blocks)


def _gave(given: Given) -> list[Block]:
    """Return the sentence that says who gave what to the colleague whose access the card offers."""
    row = given.row
    what = f"{GAVE}{_address(row.email)} {_names(given.groups, TEXT_GROUPS_CHARS)} on "
    elements = [*_person(row.reviewer), words(what), date(row.settled_at, "{date}")]
    return [*elements, words(f".{THAT_ENDS.format(_day(given.ends))}" if given.ends else ".")]


def _decide_id(given: Given | None) -> str:
    """Return how the id of the block with the buttons begins: it is bound to what they offer."""
    return f"decide-{given.digest}" if given else "decide"


def offers(block_id: str, given: Given) -> bool:
    """Return whether the buttons in this block offer exactly that."""
    return block_id.startswith(f"{_decide_id(given)}-")


class _Risk(NamedTuple):
    """A warning: the line on the card, and the sentence without markup in the question that Approve asks."""

    line: list[Block]
    sentence: str


def _risks(row: Row, past: Sequence[Past]) -> list[_Risk]:
    """Return the warnings about this request, which the reviewer has to see before approving it."""
    personal = PERSONAL.format(domain(row.email)) if (row.company or {}).get("personal") else ""
    found = [
        _Risk([words(f"⚠️ {sentence}", bold=True), words(CHECK_WHO)], sentence + CHECK_WHO)
        for sentence in (personal, _looks_like(row))
        if sentence
    ]
    return found + [_risk_of(row, before) for before in _earlier(row, past) if before.state in RISKY]


def _looks_like(row: Row) -> str:
    """Return which known domain the customer's looked like when the card was posted; empty if it did not."""
    for key, sentence in LOOKS_LIKE.items():
        known = (row.company or {}).get(key)
        # A damaged value says nothing.
        if isinstance(known, str) and re.fullmatch(r"[\w-]+(\.[\w-]+)+", known, re.ASCII):
            shown = (_named(addresses.domain_unfolded(each)) for each in (domain(row.email), known))
            return sentence.format(*shown)
    return ""


CHECK_WHO = " Check who this is before you approve."
# Outcomes that are warnings, and their words: about the same person, about a colleague, and in the question.
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
    said = _because(ending.reason)
    by = [words(" by "), *_person(ending.by)] if ending.by else [words(" in Conveyor")]
    line = [words(f"⚠️ {lead}", bold=True), *by, words(" on "), date(ending.at, "{date}"), words(said)]
    who = _name(ending.by) if ending.by else "Somebody in Conveyor"
    return _Risk(line, f"{who} {did} {'them' if is_same else _address(before.email)} before{said}")


def _earlier(row: Row, past: Sequence[Past]) -> list[Past]:
    """Return the last earlier request of each person, the newest first: a later decision replaces another."""
    last: dict[str, Past] = {}
    for before in sorted(filter(None, [row.previous, *past]), key=lambda before: -before.at):
        last.setdefault(addresses.folded(before.email), before)
    return list(last.values())


def has_warnings(row: Row, past: Sequence[Past]) -> bool:
    """Return whether the card of this request warns of anything. `past` is the same as for the card."""
    return bool(_risks(row, past))


def _gives(groups: Sequence[AccessGroup]) -> Block:
    """Return the line that says what approving gives, and that groups give more if there are any."""
    more = " Choose groups to share more." if groups else ""
    return context(f"{APPROVING_GIVES}{more} {NDA_MAY_FOLLOW}")


def _asked_before(row: Row, past: Sequence[Past], given: Given | None) -> list[list[Block]]:
    """Return a line for each earlier request that is no warning, but for what the card says of `given`."""
    lines = []
    for before in _earlier(row, past):
        if before.state not in RISKY and not (given and before == given.row.past):
            is_same = addresses.same(before.email, row.email) or not before.email
            lead = ASKED_BEFORE.capitalize() if is_same else f"{_address(before.email)} {ASKED_BEFORE}"
            lines.append([words(lead), *_ended(before)])
    return lines


def _approve_anyway(row: Row, risks: Sequence[_Risk]) -> Block:
    """Return the question that Slack asks before it sends a click on Approve."""
    return {
        "title": plain(f"Approve {cut(_address(row.email), 80)}?"),
        "text": plain(cut("\n".join(risk.sentence for risk in risks), CONFIRM_CHARS)),
        "confirm": plain("Approve"),
        "deny": plain("Not yet"),
    }


def _company(row: Row) -> list[Block]:
    """Return what Conveyor said about the customer's company when the request came, if it said anything."""
    known = row.company or {}
    if "with_access" not in known:
        return []
    name, count = domain(row.email), known.get("with_access")
    if not isinstance(count, int) or not count:
        return [rich([words(NOBODY_HAS_ACCESS.format(name))])]
    people = "1 person" if count == 1 else PEOPLE.format(count)
    elements, latest = [words(HAVE_ACCESS.format(people, name))], known.get("latest_activity_at")
    if isinstance(latest, float) and 0 < latest < LATEST:
        elements += [words(LAST_ACTIVE), date(latest, "{date}"), words(")")]
    return [rich([*elements, words(".")])]


def _in_progress(row: Row) -> Message:
    doing, waiting = DOING[row.state], PROBLEMS[row.problem]
    has_access = row.state in (State.REVOKING, State.CHANGING)
    who, what = row.decider, "this access" if has_access else "this"
    blocks = [
        header(f":hourglass_flowing_sand: {doing}"),
        _about(row, ASKED),
        *_links(row),
        rich([*_person(who), words(f" is {DOING_TO[row.state].format(what)}. {waiting}".rstrip())]),
    ]
    if has_access:
        blocks += [_ended_line(_before_revocation(row)), rich([words(_granted(row))]), *_changed(row)]
    if row.state == State.CHANGING and row.wanted is not None:
        blocks.append(rich([words(f"{TO_BE}{access_of(row.wanted, TEXT_GROUPS_CHARS)}")]))
    if row.rejected:
        blocks.append(_rejected_line(row.rejected))
    blocks += [*_reasons(row), *_message(row)]
    return message_of(f"{doing} by {_name(who)}: {_who(row)}. {waiting}{_said_of_rejection(row)}", blocks)


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
    if row.state == State.REJECTED:
        blocks.append(_with_menu(row, NO_ACCESS_GIVEN, AFTER_ALL))
    elif row.state == State.APPROVED:
        blocks += [_with_menu(row, _granted(row), CHANGE_GROUPS, REVOKE), *_changed(row)]
        if row.is_gated:
            blocks.append(rich([words(IF_THEY_SIGN), *_last_day(row)]))
    elif row.state == State.REVOKED:
        blocks += [_ended_line(_before_revocation(row)), rich([words(_granted(row))]), *_changed(row)]
    if row.rejected:
        blocks.append(_rejected_line(row.rejected))
    blocks += [*_reasons(row), *_message(row)]
    by = f" by {_name(ending.by)}" if ending.by else ""
    access = f" {_granted(row, TEXT_GROUPS_CHARS)}" if row.state in (State.APPROVED, State.REVOKED) else ""
    if row.changed:
        before = access_of(row.changed.groups, TEXT_GROUPS_CHARS)
        access += f" {GROUPS_CHANGED} by {_name(row.changed.reviewer)}. {BEFORE}{before}"
    return message_of(
        f"{word}{by}: {_who(row)}{_until_signed(row)}.{access}{_said_of_rejection(row)}{_said_reasons(row)}",
        blocks,
    )


def _said_reasons(row: Row) -> str:
    return "".join(f" {label} {one_line(reason)}" for _, label, reason in _typed_reasons(row))


def _said_of_rejection(row: Row) -> str:
    """Return who rejected a request that was, or is to be, approved after all."""
    if not row.rejected:
        return ""
    return f" {REJECTED_BEFORE} by {_name(row.rejected.reviewer)}."


def _rejected_line(past: Past) -> Block:
    """Return the line of a card that says who had rejected the request before it was approved after all."""
    at = date(past.at)
    return rich([words(f"{REJECTED_BEFORE} by "), *_person(past.reviewer), words(", "), at, words(".")])


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
    return [quiet([part for part in parts if length(part) < LINK_CHARS])]


def _mail(row: Row, trust_center: str) -> str:
    """Return a link that starts an email to the customer, without what a reviewer typed, which is internal.

    Return an empty string if the request is not decided, or if its address is no plain one.
    """
    body = MAIL_BODIES.get(row.state)
    if body is None or not re.fullmatch(r"[^\s<>@\"]+@[^\s<>@\"]+", _address(row.email)):
        return ""
    where = trust_center or MAIL_WHERE
    written = body.format(
        where=where,
        answer=_mail_answer(row.reason).format(where=where),
        nda=MAIL_NDA if row.access_status == GATED or not (row.access_status or row.nda_bypass) else "",
        reviewer=cut(one_line(row.reviewer.name), NAME_CHARS),
    )
    mailbox = urllib.parse.quote(_address(row.email), safe="@")
    fields = {"subject": MAIL_SUBJECT, "body": written.rstrip()}
    query = urllib.parse.urlencode(fields, quote_via=urllib.parse.quote)
    return mrkdwn_link(f"mailto:{mailbox}?{query}", MAIL)


def _mail_answer(reason: str) -> str:
    """Return what the email to a rejected customer says where this reason was kept.

    It is neutral unless the reason begins with the words of a ready one that has its own sentence.
    """
    fitting = [each for each in REJECT_REASONS if f"{reason}: ".startswith(f"{each.words}: ")]
    return max(fitting, key=lambda each: len(each.words), default=Ready("")).mail or MAIL_NEUTRAL


def _with_menu(row: Row, text: str, *entries: str) -> Block:
    """Return this text, with a menu beside it that has these entries."""
    return {
        "type": "section",
        "block_id": _block_id(MORE, row),
        "text": plain(text),
        "accessory": {
            "type": "overflow",
            "action_id": MORE,
            "options": [{"text": plain(MENU[entry]), "value": entry} for entry in entries],
        },
    }


MENU = {
    CHANGE_GROUPS: "Change groups…",
    REVOKE: "Revoke access…",
    AFTER_ALL: "Approve after all…",
}


def _changed(row: Row) -> list[Block]:
    """Return the line that says who changed the groups last, when, and which ones they replaced."""
    most = PAST_CHARS if row.revoke_reason else TEXT_GROUPS_CHARS
    return [rich(_who_changed(row.changed, most))] if row.changed else []


def _granted(row: Row, most: int = GROUPS_CHARS) -> str:
    """Return what was granted: the groups in `most` characters, the NDA, and when access ends."""
    label = "Access was: " if row.state == State.REVOKED else "Access: "
    return label + access_of(row.groups, most) + _nda(row) + _end(row)


def access_of(groups: Sequence[AccessGroup] | None, most: int) -> str:
    """Return what these groups amount to, in about `most` characters; None if nobody knows them."""
    if groups is None:
        return GROUPS_UNKNOWN
    return f"{BASIC}, plus {_names(groups, most)}." if groups else f"{BASIC}."


def _typed_reasons(row: Row) -> list[tuple[str, str, str]]:
    """Return the reasons and notes that reviewers typed: the block's id, a label, and the text."""
    if row.state == State.PENDING:
        return []
    labels = {State.REJECTING: WHY, State.REJECTED: WHY, State.APPROVING_AFTER_ALL: WHY_REJECTED}
    why_rejected = row.rejection.reason if row.rejection else ""
    # The whole of all of them would be too long for a card.
    is_last = not row.revoke_reason and row.state != State.CHANGING
    most = max(REASON_CHARS - length(row.reason), PAST_CHARS) if is_last else PAST_CHARS
    why_rejected = cut(inert(why_rejected), most)
    typed = [
        (REVOKE_REASON, WHY, row.revoke_reason),
        (NOTE_OF_APPROVAL, NOTE, row.note),
        (REASON, labels.get(row.state, NOTE), row.reason),
        (REJECTION, WHY_REJECTED, why_rejected),
    ]
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
REASON_TOO_LONG = "Keep it to {:,} characters."
READY_GONE = "This reason isn't offered anymore. Choose another, or close this window and open it again."


class Ready(NamedTuple):
    """A reason that a reviewer chooses with one tap. A text may be added to it.

    `mail` is what the email to a rejected customer then says in place of MAIL_NEUTRAL; it should not give the
    reason away. `needs_text` marks an entry that is no reason by itself: the text is kept alone.
    """

    words: str
    mail: str = ""
    needs_text: bool = False

    @property
    def value(self) -> str:
        """Return what Slack sends back. It changes with the words: nobody chooses words they did not see."""
        return sha256(self.words.encode()).hexdigest()[:16]

    def kept(self, typed: str) -> str:
        """Return the reason that is kept if this was chosen, and this text was typed. It may be empty."""
        if self.needs_text:
            return typed
        return f"{self.words}: {typed}" if typed else self.words


# Any number of entries, in the order in which the window shows them. Without any, reviewers only type.
REJECT_REASONS: tuple[Ready, ...] = (
    Ready("Use your work address", mail="Please ask again from your work email address."),
    Ready("Not a customer yet"),
    Ready("Competitor"),
    Ready("Already has access", mail="You already have access: sign in at {where}."),
    Ready("Something else…", needs_text=True),
)
REVOKE_REASONS: tuple[Ready, ...] = (
    Ready("No longer a customer"),
    Ready("Left the company"),
    Ready("Given by mistake"),
    Ready("Something else…", needs_text=True),
)


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
        _gives(groups),
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


def after_all_modal(
    row: Row, private_metadata: str, groups: Sequence[AccessGroup], past: Sequence[Past] = ()
) -> Block:
    """Return the modal that approves a rejected request, and says who rejected it, when, and why."""
    view = approve_modal(row, private_metadata, groups, (), past)
    about, *rest = view["blocks"]
    blocks = [about, _ended_line(row.past), *_reasons(row), *rest]
    return _modal(AFTER_ALL_MODAL, private_metadata, "Approve after all", "Approve", blocks)


def reject_modal(row: Row, private_metadata: str, reason_required: bool) -> Block:
    """Return the modal that asks why, and shows who is about to be rejected."""
    why = _why(REJECT_REASONS, reason_required)
    blocks = [_about(row, ASKS), *_links(row), *why, *_message(row, in_modal=True)]
    return _modal(REJECT_MODAL, private_metadata, "Reject this request", "Reject", blocks)


def revoke_modal(row: Row, private_metadata: str, reason_required: bool) -> Block:
    """Return the modal that asks why access is revoked, and says whose, and what becomes of it."""
    loses = " won't get in, even if they sign the NDA." if row.is_gated else " loses access right away."
    blocks = [
        rich([words(_address(row.email), bold=True), words(loses)]),
        context("Conveyor won't notify them."),
        rich([words(_granted(row))]),
        *_why(REVOKE_REASONS, reason_required),
    ]
    return _modal(REVOKE_MODAL, private_metadata, "Revoke access", "Revoke", blocks)


SAME_GROUPS = "That's what they have now."


def change_modal(
    row: Row, private_metadata: str, groups: Sequence[AccessGroup], granted: Authorization
) -> Block:
    """Return the modal that changes the groups of an access. `granted` is what Conveyor says about it now."""
    chosen = [group.id for group in granted.groups or ()]
    unsigned = f" {NDA_FIRST}" if granted.status == GATED else ""
    blocks = [
        rich(
            [
                words(_named(row.email), bold=True),
                words(f" has {BASIC} access and what is ticked here.{unsigned}"),
            ]
        ),
        _group_choice(groups, chosen),
        context("The end date can't be changed from here. To end their access now, revoke it."),
    ]
    return _modal(CHANGE_MODAL, private_metadata, "Change groups", "Change", blocks)


def _why(ready: Sequence[Ready], is_required: bool) -> list[Block]:
    """Return the inputs for a reason: the ready ones, if there are any, and a text."""
    if not ready:
        field = {**REASON_FIELD, "focus_on_load": True}
        return [_input(REASON, "Why?", field, hint=REASON_HINT, optional=not is_required)]
    options = [{"text": plain(cut(each.words, OPTION_CHARS)), "value": each.value} for each in ready]
    menu: Block = {
        # A radio button takes one tap on a phone, a menu takes two. Slack shows ten radio buttons at most.
        "type": "radio_buttons" if len(ready) <= CHECKBOXES else "static_select",
        "options": options,
        "focus_on_load": True,
    }
    hint = REASON_HINT
    typing = next((each for each in ready if is_required and each.needs_text), None)
    if typing:
        # It is chosen in advance, so that one can type at once. Without a text it can't be submitted.
        menu["initial_option"] = options[ready.index(typing)]
        hint = f"Needed only if you chose “{typing.words}”. {hint}"
    return [
        _input(READY, "Why?", menu, optional=not typing),
        _input(REASON, "Details", REASON_FIELD, hint=hint, optional=True),
    ]


def message_modal(row: Row, private_metadata: str, page: int = 0) -> Block:
    """Return the modal that shows the customer's whole message, or a page of it."""
    texts = pieces(inert(row.message).strip() or NO_MESSAGE, SECTION_CHARS)
    pages = [texts[start : start + PAGE_SECTIONS] for start in range(0, len(texts), PAGE_SECTIONS)]
    page = min(max(page, 0), len(pages) - 1)
    # The address stands right above the message, so that the two read as one.
    blocks = [*_links(row), _about(row, " wrote:")]
    blocks += [{"type": "section", "text": plain(text), "expand": True} for text in pages[page]]
    is_last = page == len(pages) - 1
    if is_last and len(row.message) >= KEPT_CHARS:
        blocks.append(context(KEPT_NO_MORE))
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
SAVED = "Got it,"  # how an answer begins to a decision that is recorded
CARD_UNKNOWN = f"{SAVED} your decision is saved. If the card doesn't show it yet, it will catch up shortly."
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
NOT_CURRENT = "This card is out of date. Use the newest card for this customer, or do it in Conveyor."
FORGOTTEN = "I no longer have this request. Please do this in Conveyor."
MESSAGE_GONE = "I no longer have this message. Please read it in Conveyor."
WENT_WRONG = "Something went wrong on my side. Check the card to see if it worked."
ODD_CLICK = "That click didn't come through properly. Reload Slack and try again."


def unexpected(reference: str) -> str:
    """Return the sentence for an error that nobody foresaw; the log has its cause under the reference."""
    return f"{WENT_WRONG} Reference for whoever runs this app: `{reference}`."


def not_a_reviewer(who: WhoDecides) -> str:
    """Return the sentence for somebody who can't decide. It names people who can, if any are known."""
    names = _deciders(who)
    listed = f"; {names} can" if names else ""
    return f"{NOT_A_REVIEWER}{listed}. To become a reviewer, ask whoever runs this app."


def _deciders(who: WhoDecides) -> str:
    """Return who can decide, in mrkdwn: up to three people, groups or domains. Empty if none is known."""
    names = [*map(mrkdwn_mention, who.ids), *(f"anybody at `{escaped(name)}`" for name in who.domains)]
    return _listed([*names, "others"] if who.more and names else names)


def card_late(row: Row) -> str:
    """Return the sentence for a decision that is recorded, and that the card doesn't show yet."""
    return f"{SAVED} your decision about {_code(row)} is saved. The card will catch up shortly."


def no_window(row: Row) -> str:
    """Return the sentence for a form that Slack didn't open."""
    return f"Slack couldn't open the form for {_code(row)}. Please click again."


def nothing_to_change(row: Row) -> str:
    """Return the sentence for a change or a revocation of access that nobody has."""
    return f"{_code(row)} has no access from this card, so there's nothing to change or revoke."


# Why the groups of a customer cannot be changed.
CANNOT_CHANGE = {
    "unread": "I couldn't ask Conveyor what {} has now, so I didn't open the form. Try again in a minute.",
    "no access": "Conveyor lists no access for {} right now, so there are no groups to change.",
    "several": "{} has access from more than one approval. Please change the groups in Conveyor.",
    "unlisted": "Conveyor doesn't list all groups of {}. Please change them in Conveyor.",
    "no groups": "There are no access groups to choose for {}. You can add some in Conveyor.",
    "changed": "The groups of {} changed since you opened the form. Open it again to see what they have now.",
}


def cannot_change(row: Row, why: str) -> str:
    """Return the sentence that says why the groups of this customer can't be changed."""
    return CANNOT_CHANGE[why].format(_code(row))


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
        doing = DOING_TO[row.state].format(customer)
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


def same_changed(row: Row) -> str:
    """Return the sentence for a click that would give something else than the card said."""
    return f"What {_code(row)} would get isn't what you saw on the card anymore, {NOTHING_GRANTED}"


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
    "change refused": "Conveyor refused this change, so the groups are as they were.",
    "change not allowed": (
        "This app's API key isn't allowed to change access in Conveyor, so the groups are as they were. "
        "Please change them in Conveyor, and tell whoever runs this app."
    ),
    "change key": (
        "The groups aren't changed yet: Conveyor rejected this app's API key. Please tell whoever runs this "
        "app. I'll keep trying."
    ),
    "change never sent": (
        "I couldn't reach Conveyor for 15 minutes, so the groups are as they were. Please change them again."
    ),
    "change still open": (
        "I tried for 15 minutes, and the groups are still as they were in Conveyor. Please change them again."
    ),
    "change unconfirmed": (
        "I sent your change of groups to Conveyor, and it hasn't confirmed it for 15 minutes. I'll keep "
        "checking and update the card. If it's urgent, look in Conveyor."
    ),
    "change changed": (
        "Their access changed in Conveyor in the meantime, so it doesn't have the groups you chose. Please "
        "look at the card and, if you still need to, change the groups again."
    ),
    "change elsewhere": (
        "Somebody changed this in Conveyor first, so I didn't send your change. The card shows what they "
        "have now."
    ),
    "change gone": (
        "Conveyor no longer lists any access for this customer, so I couldn't change the groups. Please "
        "check in Conveyor."
    ),
    "change lost": (
        "I lost track of your change before Conveyor confirmed it. The card shows the groups that they have "
        "now. If these aren't the ones you chose, please change them again."
    ),
    "after all refused": "Conveyor refused this approval, so the request stays rejected.",
    "after all ambiguous": (
        "Conveyor has closed this request for good, and you have several Trust Centers, so I can't tell it "
        "which one to open. Choose at least one access group, or approve the customer in Conveyor."
    ),
    "after all not allowed": (
        "This app's API key isn't allowed to do this in Conveyor, so the request stays rejected. "
        "Please tell whoever runs this app."
    ),
    "after all key": (
        "The approval is on hold: Conveyor rejected this app's API key. Please tell whoever runs this app. "
        "I'll keep trying."
    ),
    "after all never sent": (
        "I couldn't reach Conveyor for 15 minutes, so the request stays rejected. Please approve it again."
    ),
    "after all still open": (
        "I tried for 15 minutes, and Conveyor still lists no access for this customer. The request stays "
        "rejected. Please approve it again."
    ),
    "after all unconfirmed": (
        "I sent your approval to Conveyor, and it hasn't confirmed it for 15 minutes. I'll keep checking and "
        "update the card. If it's urgent, look in Conveyor."
    ),
    "after all elsewhere": (
        "This customer already has access in Conveyor, so your approval wasn't used. Please check there what "
        "they have."
    ),
    "after all changed": (
        "The customer asked again, or the request changed in Conveyor, before your approval got there. So I "
        "didn't use it. If they asked again, decide on the new card."
    ),
    "after all differs": (
        "Conveyor never confirmed your approval, and the access that it lists isn't what you chose. Please "
        "check in Conveyor what this customer has."
    ),
    "after all gone": (
        "This request is no longer in Conveyor, which lists no access for this customer either. Please "
        "approve them in Conveyor."
    ),
    "after all lost": (
        "I lost track of your approval before Conveyor confirmed it, and Conveyor lists no access for this "
        "customer. Please approve it again."
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
WORKING_HOUR = "working hour"


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
        return f"less than a {WORKING_HOUR}"
    return f"{hours:,} {WORKING_HOUR}{'' if hours == 1 else 's'}"


# The question about colleagues who wait as well, and the answer to it

WAIT_TOO = (" is waiting too.", " are waiting too.")
MORE_WAIT = (" 1 more is waiting.", " {} more are waiting.")
WITH_THE_SAME, WITH_BASIC = "with the same groups", f"with {BASIC} access"
OUTDATED = "has changed since I asked, so I approved nobody else. Please decide on the cards."


def colleagues_question(
    given: Given, waiting: Sequence[Row], more: int, permalink: Callable[[Row], str]
) -> Message | None:
    """Return the question whether these colleagues get what was given; `more` of them wait besides.

    The button is bound to those whom it names. Return None if their ids have no room there.
    """
    names = [_address(each.email) for each in waiting]
    if length(value := _colleagues_value(given, waiting)) > VALUE_CHARS:
        return colleagues_question(given, waiting[:-1], more + 1, permalink) if waiting[1:] else None
    whom = "them" if len(names) == 1 else "both" if len(names) == 2 else f"all {len(names)}"
    question = f"Approve {whom} {_with(given)}?"
    ends = f" {ENDS_ON.format(_day(given.ends))}" if given.ends else ""
    what = f"with {_names(given.groups, TEXT_GROUPS_CHARS)}" if given.groups else WITH_BASIC
    rest = MORE_WAIT[more > 1].format(f"{more:,}") if more else ""
    listed: list[Block] = []
    for number, each in enumerate(waiting):
        listed += [words(" and " if each is waiting[-1] else ", ")] if number else []
        listed.append(link(permalink(each), names[number]))
    approved = [
        words("You approved "),
        words(_address(given.row.email), bold=True),
        words(f" {what}.{ends} "),
    ]
    then = [words(f"{WAIT_TOO[len(names) > 1]}{rest} "), words(question, bold=True)]
    label = f"Approve {whom}"
    blocks = [
        rich([*approved, *listed, *then]),
        context(NDA_MAY_FOLLOW),
        {
            "type": "actions",
            "block_id": APPROVE_COLLEAGUES,
            "elements": [button(APPROVE_COLLEAGUES, label, value, "primary", f"{label} {_with(given)}")],
        },
    ]
    return message_of(f"{_listed(names)}{WAIT_TOO[len(names) > 1]}{rest} {question}", blocks)


def _with(given: Given) -> str:
    return WITH_THE_SAME if given.groups else WITH_BASIC


def _colleagues_value(given: Given, waiting: Sequence[Row]) -> str:
    """Return the value of the button: what was given to which request, and the requests that it names."""
    named = json.dumps([[each.id, each.round, each.subject] for each in waiting], separators=(",", ":"))
    # As one word: the value has the same three as the value of a card's button.
    subject = given.digest + urllib.parse.quote(named)
    return f"{given.row.round} {subject} {given.row.id}"


def colleagues_answer(given: Given, approved: Sequence[Row], others: Sequence[str]) -> str:
    """Return the answer to a click on that button; `others` are the sentences about those left out."""
    names = _listed([_code(row) for row in approved])
    said = f"You're approving {names} {_with(given)}, like {_code(given.row)}. The cards show the outcome."
    return "\n".join([*([said] if approved else []), *others])


def outdated(row: Row | None) -> str:
    """Return the answer if the access of this request, which the question was about, is another by now."""
    return f"What {_code(row) if row else 'this customer'} was given {OUTDATED}"


def left_out(row: Row | None) -> str:
    """Return the sentence about a colleague whose request is not as it was when the question was asked."""
    who = _code(row) if row else "one of them"
    return f"I didn't approve {who}: the request has changed since I asked. Please decide on its card."


def not_saved(row: Row | None) -> str:
    """Return the sentence about a colleague whose approval could not be recorded."""
    who = _code(row) if row else "one of them"
    return f"I couldn't save the approval of {who}. Please decide on the card."


# Answers to the slash command, and what follows from them


class Access(NamedTuple):
    """What Conveyor says about somebody's access: its status, empty for none, and its last day.

    `ends` is empty if access does not end, and None if Conveyor names no day.
    """

    status: str
    ends: str | None = None


class Customer(NamedTuple):
    """What is known about the customer that somebody asked about: an address, or the domain of a company.

    `rows` are some of `total` requests: those that wait come first, then the newest. `access` has what
    Conveyor says about the customer of each row in its Trust Center, by the request's id, and about an
    address in any Trust Center, by the address; None where it did not answer in time. What follows is about a
    company: how many people Conveyor counts with access, None if it did not say, how many requests here may
    have given it to them, and whether it is no company but a personal email provider.
    """

    who: str
    rows: Sequence[Row]
    total: int
    access: Mapping[str, Access | None]
    with_access: int | None = None
    approvals: int = 0
    is_personal: bool = False


MEMBERS_UNKNOWN = (
    "Slack didn't tell me who is in the channel, so I can't answer. Please try again in a minute."
)
NOT_ASKED = "I don't know this customer anymore."
UNWATCHED = "OK, I won't message you about"
FOLLOWED = "`/rooms watching` lists the requests you follow."
NOT_FOLLOWING = "You aren't following any requests."
NOTHING_WAITS = "Nothing is waiting. 🎉"
NOT_UNDERSTOOD = "I don't understand “{}”. "
NOTHING_CALLED = "I don't know any company or person called “{}”. "
WHICH_CUSTOMER = "Which customer do you mean?"
MORE_CALLED = "There are more. Type more of the name to narrow it down."
MORE_IN_MESSAGE = "There are more in that message. To ask about those, use /rooms."
NO_CUSTOMER = "I found no customer in that message."
NO_KNOWN_CUSTOMER = (
    "I have no request from any of the customers in that message. Ask about one with `/rooms`."
)
COULD_NOT_ASK = "I couldn't ask Conveyor"
MAY_BE_UNSIGNED = "That may include people who haven't signed it."
NO_REQUEST = "I have no request from them."
REVIEWERS_ARE = "Reviewers:"
GIVEN_IN_CONVEYOR = "As far as I know, it was given in Conveyor, not here."
ALREADY_ENDED = "There's already a decision about"
ALSO_MORE = "Also when they sign and open a document"
WHEN_SIGNED = "Notify me when they sign and open a document"
WHEN_OPENED = "Notify me when they open a document"
DOCUMENTS_UNSEEN = (
    "I can't see when documents are opened: this app's API key isn't allowed to read that in Conveyor. "
    "Please tell whoever runs this app."
)
SIGNED_THE_NDA, OPENED_A_DOCUMENT = " signed the NDA. They're in.", " opened a document"

HAS, UNSIGNED, WAITS, HAS_NOT, UNCERTAIN, RISK = "🟢", "🟡", "⏳", "🔴", "❔", "⚠️"
HAS_ACCESS, NO_ACCESS, UNTIL = "has access", "has no access", " until {}"
NOT_SIGNED = "doesn't have access yet: the NDA isn't signed"
JUST_ASKED, JUST_CAME, WAITED = "just asked", "just came in", "has been waiting for {}"
EARLIER, ASKED_SINCE = " Before that: ", " They've asked again since."
ONE_OLDER, OLDER = "1 older request.", "{:,} older requests."
AT_LEAST, OR_MORE = ", at least {:,} of them", " or more"
BEING = {
    State.APPROVING: "is being approved",
    State.REJECTING: "is being rejected",
    State.REVOKING: "is losing access",
    State.CHANGING: "is being given other groups",
    State.APPROVING_AFTER_ALL: "is being approved after all",
}
# What the ledger alone knows, said where Conveyor does not answer.
LAST_KNOWN = {
    State.APPROVED: "was approved here",
    State.REJECTED: "was rejected here",
    State.REVOKED: "had access, which was revoked",
    State.APPROVED_ELSEWHERE: "was approved in Conveyor",
    State.IGNORED_ELSEWHERE: "was ignored in Conveyor",
    State.GONE: "asked, but the request isn't in Conveyor anymore",
}


def not_in_channel(channel_id: str) -> str:
    """Return the answer to somebody who is not in the channel that holds the cards."""
    return f"Only members of <#{channel_id}> can ask: answers include internal notes."


def rooms_help(command: str, typed: str = "", *, searched: bool = False) -> Message:
    """Return what can be asked.

    It begins with what was typed if that was not understood, or if it was `searched` for and not found.
    """
    reason = NOTHING_CALLED if searched else NOT_UNDERSTOOD
    start = reason.format(cut(one_line(typed), 100)) if typed else ""
    lines = {
        command: "requests waiting for a decision",
        f"{command} acme.com": "a company's requests and who has access",
        f"{command} jane@acme.com": "does Jane have access?",
        f"{command} acme": "find a company or a person by part of the name",
        f"{command} watching": "requests you follow",
        f"{command} numbers": "how many requests came in, and how long decisions took",
    }
    items = [
        {"type": "rich_text_section", "elements": [words(typed, bold=True), words(f"  {about}")]}
        for typed, about in lines.items()
    ]
    block = rich([words(f"{start}You can ask:")])
    block["elements"].append({"type": "rich_text_list", "style": "bullet", "elements": items})
    said = "; ".join(f"{typed}: {about}" for typed, about in lines.items())
    return message_of(f"{start}You can ask: {said}.", [block])


def customers_offered(customers: Sequence[str], note: str = "") -> Message:
    """Return a button for each of these addresses and domains, and below them what else there is to say."""
    buttons = []
    for number, each in enumerate(customers):
        name = _named(each) or "?"
        buttons.append(button(f"{ASK_ABOUT}-{number}", cut(name, LABEL_CHARS), each, "", f"Ask about {name}"))
    blocks = [
        rich([words(WHICH_CUSTOMER, bold=True)]),
        {"type": "actions", "block_id": ASK_ABOUT, "elements": buttons},
    ]
    if note:
        blocks.append(context(note))
    return message_of(f"{WHICH_CUSTOMER} {', '.join(map(one_line, customers))}", blocks)


def rooms_answer(
    customer: Customer, now: float, permalink: Callable[[Row], str], deciders: WhoDecides
) -> Message:
    """Return the answer about a person or a company: do they have access? What led to that follows.

    `deciders` are those whom it names if a request waits.
    """
    rows = customer.rows
    is_person = "@" in customer.who
    lead = _person_standing(customer, now) if is_person else _company_standing(customer, now)
    elements = _lead(*lead)
    if is_person and rows:
        elements += _history(rows[0], now, customer.access.get(rows[0].id), permalink, led=True)
    blocks = [rich(elements)]
    if rows and rows[0].state == State.PENDING and (warning := _looks_like(rows[0])):
        blocks.append(rich(_lead(RISK, warning, "")))
    if (names := _deciders(deciders)) and any(row.state == State.PENDING for row in rows):
        blocks.append(quiet([f"{REVIEWERS_ARE} {names}"]))
    for number, row in enumerate(rows):
        if not is_person:
            access = customer.access.get(row.id)
            symbol, said, more = _standing(_address(row.email), row, access, now)
            begins = _lead(symbol, said, "" if not access and COULD_NOT_ASK in lead[2] else more)
            blocks.append(rich([*begins, *_history(row, now, access, permalink, led=True)]))
        elif number:
            another = [words("Another request.", bold=True), *_history(row, now, None, permalink, led=False)]
            blocks.append(rich(another))
        if row.state in UNDECIDED:
            notify = button(TELL_ME, "Notify me", row.id, "", f"Notify me about {_address(row.email)}")
            blocks.append({"type": "actions", "block_id": f"{TELL_ME}-{number}", "elements": [notify]})
        elif is_person and not number and _may_be_in(row, customer.access.get(row.id)):
            blocks.append(_tell_more(row, now))
    if rest := customer.total - len(rows):
        older = ONE_OLDER if rest == 1 else OLDER.format(rest)
        blocks.append(context(older if is_person else f"{older} Ask about one person to narrow it down."))
    return message_of(" ".join(lead), blocks)


def _lead(symbol: str, said: str, more: str) -> list[Block]:
    """Return the line that people came for: whether the customer has access."""
    return [words(f"{symbol} "), words(said, bold=True), *([words(f" {more}")] if more else [])]


def _person_standing(customer: Customer, now: float) -> tuple[str, str, str]:
    """Return a symbol, whether this person has access, and what has to be added to that."""
    row = customer.rows[0] if customer.rows else None
    name = _named(row.email if row else customer.who)
    return _standing(name, row, customer.access.get(customer.who), now)


def _standing(name: str, row: Row | None, access: Access | None, now: float) -> tuple[str, str, str]:
    """Return a symbol, whether somebody has access, and what has to be added to that.

    What Conveyor says comes first. Without its answer, `access` is None, and nothing is said about access.
    """
    status = access.status if access else ""
    if access and status == "authorized":
        until = UNTIL.format(_day(access.ends)) if access.ends else ""
        given = "" if row and _may_be_given_here(row) else GIVEN_IN_CONVEYOR
        return HAS, f"{name} {HAS_ACCESS}{until}.", given
    if status == GATED:
        return UNSIGNED, f"{name} {NOT_SIGNED}.", ""
    if status not in ("", "revoked"):
        return UNCERTAIN, f"{name}: Conveyor calls their access “{one_line(status)}”.", ""
    unknown = "" if access else f"{COULD_NOT_ASK} whether they have access now."
    if row is None:
        if access:
            return HAS_NOT, f"{name} {NO_ACCESS}.", NO_REQUEST
        return UNCERTAIN, f"I have no request from {name}.", unknown
    if row.state == State.PENDING:
        return WAITS, f"{name} {_waited(row, now)}.", unknown
    if row.state in BEING:
        return WAITS, f"{name} {BEING[row.state]}.", unknown
    if access is None:
        signed = ", and hadn't signed the NDA yet" if row.is_gated else ""
        return UNCERTAIN, f"{name} {LAST_KNOWN.get(row.state, 'asked before')}{signed}.", unknown
    return HAS_NOT, f"{name} {NO_ACCESS}.", ""


def _may_be_given_here(row: Row) -> bool:
    """Return whether a decision of this request, or of its earlier rounds, may have given access."""
    gave = row.state in (State.APPROVED, State.CLOSED, *IN_FLIGHT) and row.state not in UNDECIDED
    return row.previous is not None or gave


def _company_standing(customer: Customer, now: float) -> tuple[str, str, str]:
    """Return a symbol, whether anybody at this company has access, and what has to be added to that."""
    name, rows, counted = _named(customer.who), customer.rows, customer.with_access
    if customer.is_personal:
        return RISK, f"{name} is a personal email provider, not a company.", "Ask about one address."
    statuses = [access.status for access in customer.access.values() if access]
    unsigned = statuses.count(GATED)
    count = _counted(counted, customer.approvals)
    # Whether Conveyor also counts people who have not signed the NDA is not known.
    maybe_unsigned = unsigned + sum(row.is_gated and not customer.access.get(row.id) for row in rows)
    if "authorized" in statuses or (counted or 0) > maybe_unsigned:
        return HAS, f"{name} {HAS_ACCESS}.", count
    if unsigned:
        return (
            UNSIGNED,
            f"{name}: the NDA isn't signed yet.",
            f"{count} {MAY_BE_UNSIGNED}" if counted else count,
        )
    if counted:
        return UNCERTAIN, f"{name}: {count}", MAY_BE_UNSIGNED
    unknown = f"{COULD_NOT_ASK} who has access now." if counted is None else ""
    if waiting := [row for row in rows if row.state == State.PENDING]:
        more = OR_MORE if len(waiting) == len(rows) < customer.total else ""
        oldest = min(waiting, key=lambda row: row.received_at)
        said = f"A request from {name} {_waited(oldest, now, JUST_CAME)}."
        if len(waiting) > 1:
            longest = _span(now - oldest.received_at)
            said = f"{len(waiting)}{more} requests from {name} are waiting, the oldest for {longest}."
        return WAITS, said, unknown or "Nobody there has access yet."
    if unknown:
        asked = (
            "no request"
            if not rows
            else "1 request"
            if customer.total == 1
            else f"{customer.total:,} requests"
        )
        return UNCERTAIN, f"I have {asked} from {name}.", unknown
    return HAS_NOT, f"Nobody at {name} {HAS_ACCESS}.", "" if rows else NO_REQUEST


def _counted(with_access: int | None, approvals: int) -> str:
    """Return how many people Conveyor counts with access, and how many of them were not approved here."""
    if with_access is None:
        return f"{COULD_NOT_ASK} how many people have access."
    if not with_access:
        return ""
    said = f"Conveyor counts {'1 person' if with_access == 1 else PEOPLE.format(with_access)} with access"
    if with_access <= approvals:
        return f"{said}."
    given = AT_LEAST.format(with_access - approvals) if approvals else ""
    return f"{said}{given}, given in Conveyor as far as I know."


def _history(
    row: Row, now: float, access: Access | None, permalink: Callable[[Row], str], *, led: bool
) -> list[Block]:
    """Return what became of a request, when it was made unless it waits, and a link to its card.

    `led` says whether the line has already said where the request stands.
    """
    elements: list[Block] = []
    if row.state == State.PENDING:
        # Somebody with access may ask again.
        if not led or (access and access.status not in ("", "revoked")):
            elements.append(words(f" Their request {_waited(row, now, JUST_CAME)}."))
    elif row.state in IN_FLIGHT:
        elements += [words(f" {DOING[row.state]} by "), *_person(row.decider), words(".")]
        elements += _rejected_before(row)
    elif row.state in DECIDED:
        elements += _outcome(row, access)
    else:
        elements.append(words(" The card shows how that request ended."))
    if row.previous:
        elements += [words(EARLIER), *_ended(row.previous)]
    if row.state != State.PENDING:
        elements += [words(" Asked "), date(row.received_at), words(".")]
    return [*elements, *_see_card(row, permalink)]


def _see_card(row: Row, permalink: Callable[[Row], str]) -> list[Block]:
    return [words(" "), link(permalink(row), "See card")] if row.card_ts else []


def _outcome(row: Row, access: Access | None = None) -> list[Block]:
    """Return the sentences that say how a request was decided, and what became of the access.

    `access` is what Conveyor says about it now, if that was just said.
    """
    elements = [words(" "), *_capitalized(_ended(_before_revocation(row)))]
    if row.state == State.APPROVED:
        nda = "" if row.is_gated and not row.nda_bypass else _nda(row)
        is_said = access is not None and access.status == "authorized" and bool(access.ends)
        end = "" if is_said else _end(row)
        if terms := nda + end:
            elements.append(words(terms))
    if row.changed:
        elements += [words(" "), *_who_changed(row.changed, PAST_CHARS, "{date}")]
    elements += _rejected_before(row)
    if row.state == State.REVOKED:
        revoked = [words(" "), *_capitalized(_ended(row.past))]
        elements = [*revoked, *elements] if row.reviewer.id else revoked
    return elements


def _rejected_before(row: Row) -> list[Block]:
    """Return how the request had been rejected before it was, or is to be, approved after all."""
    return [words(" "), *_capitalized(_ended(row.rejected))] if row.rejected else []


def _capitalized(elements: list[Block]) -> list[Block]:
    """Return the end of a sentence as a sentence of its own."""
    first, *others = elements
    text = first.get("text", "")
    return [{**first, "text": text[:1].upper() + text[1:]} if text else first, *others]


def waiting_answer(rows: Sequence[Row], total: int, now: float, permalink: Callable[[Row], str]) -> Message:
    """Return the answer about the requests that wait: the oldest `rows` of `total`."""
    if not rows:
        return message_of(NOTHING_WAITS, [rich([words(NOTHING_WAITS)])])
    count = _are_waiting(total)
    blocks = [rich([words(f"{WAITS} "), words(count, bold=True)])]
    for row in rows:
        said = BEING.get(row.state) or _waited(row, now)
        by = [words(" by "), *_person(row.decider)] if row.state in BEING else []
        asked = [words(_address(row.email), bold=True), words(f" {said}"), *by, words(".")]
        blocks.append(rich([*asked, *_see_card(row, permalink)]))
    if more := total - len(rows):
        blocks.append(context(f"{more:,} newer. To see them, ask about a company."))
    return message_of(f"{WAITS} {count}", blocks)


def _are_waiting(total: int) -> str:
    return "1 request is waiting." if total == 1 else f"{total:,} requests are waiting."


QUIET_WEEK, NO_NEW = "A quiet week: no new requests.", "No new requests in the past {}."
NEW = "The past {}: {}."
DECISIONS, REVOCATIONS = "{:,} approved, {:,} rejected", "{:,} revoked"
IN_CONVEYOR = "{:,} handled in Conveyor"
TIME, TIMES = "Decided in Slack within {}.", "Decided in Slack: half within {}, 9 of 10 within {}."
LONGEST = "The longest:"
RECORDS_BEGIN = "My records begin on "
NUMBERS_GONE = "I no longer have the numbers of that week."
NOT_A_PERIOD = "“{}” isn't a number of days or weeks. Try {command} numbers 30d, or {command} numbers 2w."


def _weekly(row: Row) -> Message:
    """Return the weekly message; if Slack refused it before, without the customers who wait."""
    found = Numbers.of(row.numbers)
    if found is None:
        return message_of(NUMBERS_GONE, [rich([words(NUMBERS_GONE)])])
    return numbers(replace(found, longest=()) if row.refusals else found)


def numbers(found: Numbers) -> Message:
    """Return the numbers of a period: requests, decisions, how long those took, and what is still waiting."""
    period = {1: "day", 7: "week"}.get(found.days, f"{found.days:,} days")
    decided = found.approved + found.rejected
    parts = [DECISIONS.format(found.approved, found.rejected)] if decided else []
    parts += [REVOCATIONS.format(found.revoked)] if found.revoked else []
    parts += [IN_CONVEYOR.format(found.elsewhere)] if found.elsewhere else []
    said = [f"{', '.join(parts)}."] if parts else []
    lead = QUIET_WEEK if found.days == 7 and not parts else NO_NEW.format(period)
    if found.asked:
        lead = NEW.format(period, _some(found.asked, "new request"))
    if found.half is not None and found.most is not None:
        within = [_within(seconds, found.working) for seconds in (found.half, found.most)]
        said.append((TIME if decided == 1 else TIMES).format(*within))
    waiting = _are_waiting(found.waiting) if found.waiting else NOTHING_WAITS
    said.append(waiting + (f" {LONGEST}" if found.longest and found.waiting > len(found.longest) else ""))
    section = rich([words("📊 "), words(lead, bold=True), *(words(f"\n{each}") for each in said)])
    items = [
        {
            "type": "rich_text_section",
            "elements": [
                words(_address(each.email), bold=True),
                words(f", {_span(each.seconds)}."),
                *([words(" "), link(each.card, "See card")] if each.card else []),
            ],
        }
        for each in found.longest
    ]
    if items:
        section["elements"].append({"type": "rich_text_list", "style": "bullet", "elements": items})
    blocks = [section]
    if found.begins:
        blocks.append(rich([words(RECORDS_BEGIN), date(found.begins, "{date}"), words(".")]))
    return message_of(" ".join([lead, *said]), blocks)


def _some(count: int, what: str) -> str:
    """Return a count with its noun, such as "2 requests"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _within(seconds: float, working: bool) -> str:
    """Return a length of time that is no shorter than this one, such as "3 hours" or "3 working hours"."""
    if working:
        return _some(max(1, math.ceil(seconds / 3600)), WORKING_HOUR)
    unit, length_of = next((each for each in UNITS if seconds > 2 * each[1]), UNITS[-1])
    return _some(max(1, math.ceil(seconds / length_of)), unit)


def period_not_understood(command: str, typed: str) -> Message:
    """Return the answer to a period that is none."""
    said = NOT_A_PERIOD.format(cut(one_line(typed), 100), command=command)
    return message_of(said, [rich([words(said)])])


def watching_answer(
    rows: Sequence[Row],
    total: int,
    permalink: Callable[[Row], str],
    documents_until: Mapping[str, float],
) -> Message:
    """Return the requests that a person follows, each with a button to stop following it.

    `documents_until` says about which they are told when a document is opened, and until when.
    """
    if not rows:
        return message_of(NOT_FOLLOWING, [rich([words(NOT_FOLLOWING)])])
    count = f"You're following {'1 request' if total == 1 else f'{total:,} requests'}."
    blocks = [rich([words(count, bold=True)])]
    for number, row in enumerate(rows):
        promises = _promises(row, documents_until.get(row.id))
        promise = [words(": "), *promises] if promises else []
        stop = button(STOP_TELLING, "Stop", row.id, "", f"Stop following {_address(row.email)}")
        blocks.append(rich([words(_who(row)), *promise, *_see_card(row, permalink)]))
        blocks.append({"type": "actions", "block_id": f"{STOP_TELLING}-{number}", "elements": [stop]})
    if more := total - len(rows):
        blocks.append(context(f"{more:,} more. Stop following some of these to see them."))
    return message_of(count, blocks)


def watched(row: Row, *, new: bool) -> str:
    """Return the answer to a person who follows a request; `new` says whether they did not do so before."""
    about = f"the request from {_code(row)}"
    if not new:
        return f"You're already following {about}. {FOLLOWED}"
    return f"I'll message you when {about} is decided. {FOLLOWED}"


def more_offered(said: str, row: Row, now: float) -> Message:
    """Return this answer with a button to be told of more about the request."""
    return {
        "text": said,
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": said}}, _tell_more(row, now)],
    }


def _tell_more(row: Row, now: float) -> Block:
    label = ALSO_MORE if row.state not in LET_IN else WHEN_SIGNED if _may_sign(row, now) else WHEN_OPENED
    more = button(TELL_MORE, label, row.id, "", f"{label}: {_address(row.email)}")
    return {"type": "actions", "block_id": TELL_MORE, "elements": [more]}


def _may_be_in(row: Row, access: Access | None) -> bool:
    """Return whether the customer was let in, and may still be: Conveyor does not say otherwise."""
    return row.state in LET_IN and (access is None or access.status in (GATED, "authorized"))


def _may_sign(row: Row, now: float) -> bool:
    """Return whether the app hears of it when the customer signs the NDA."""
    return row.is_gated and now <= (row.settled_at or 0.0) + FOLLOWED_SECONDS


def followed(row: Row, until: float, now: float) -> str:
    """Return the answer to a person who is told of more about a request: of documents until this time."""
    who = _code(row)
    if row.state not in LET_IN:
        days = round(FOLLOWED_SECONDS / 86400)
        when = f"signs the NDA and when they first open a document, up to {days} days after the approval"
        return f"I'll also message you when {who} {when}. {FOLLOWED}"
    last = mrkdwn_date(until, "{date}")
    if _may_sign(row, now):
        signing = mrkdwn_date((row.settled_at or 0.0) + FOLLOWED_SECONDS, "{date}")
        when = f"if {who} signs the NDA by {signing}, and when they first open a document, until {last}"
    else:
        when = f"when {who} next opens a document, until {last}"
    return f"I'll message you {when}. {FOLLOWED}"


def documents_unseen(row: Row, now: float) -> str:
    """Return the answer to a person who cannot be told of documents, but perhaps of the signature."""
    if row.state in LET_IN and not _may_sign(row, now):
        return DOCUMENTS_UNSEEN
    return f"{DOCUMENTS_UNSEEN} I'll still message you when {_code(row)} signs the NDA."


def opened(email: str, title: str, at: float, permalink: str) -> Message:
    """Return the direct message to a person who wanted to know when the customer opens a document."""
    title = cut(one_line(title), PAST_CHARS)
    document = f": “{title}”" if title else ""
    line = [words("📄 "), words(_address(email), bold=True), words(f"{OPENED_A_DOCUMENT}{document}, ")]
    card = [words(" "), link(permalink, "See card")] if permalink else []
    text = f"{_address(email)}{OPENED_A_DOCUMENT}{document}."
    return message_of(text, [rich([*line, date(at), words("."), *card])])


def unwatched(row: Row) -> str:
    """Return the answer to a person who does not follow a request anymore."""
    return f"{UNWATCHED} {_code(row)}."


def already_ended(row: Row) -> str:
    """Return the answer to a person who wants to follow a request that is decided already."""
    how = DECIDED.get(row.state, ("See its card", ""))[0]
    return f"{ALREADY_ENDED} {_code(row)}. {how}{UNTIL_SIGNED if row.is_gated else ''}."


def outcome(row: Row, permalink: str) -> Message:
    """Return the direct message to a person who followed a request that was decided.

    By the time it is sent the request may have been revoked, or the customer may have asked again.
    """
    is_signed = _is_signed(row)
    if row.state in (State.REVOKING, State.CHANGING):
        row = replace(row, state=State.APPROVED)
    elif row.state == State.APPROVING_AFTER_ALL:
        row = replace(row, state=State.REJECTED)
    if is_signed:  # which the message begins with
        row = replace(row, signed_at=None, nda_bypass=False)
    state: State | None = row.state
    if state not in DECIDED and row.previous:
        state = row.previous.state
        how = [words(" "), *_capitalized(_ended(row.previous)), words(ASKED_SINCE)]
    elif state in DECIDED:
        how = _outcome(row)
    else:
        how = [words(" The card shows how that request ended.")]
    symbol = words(UNSIGNED) if row.is_gated else _icon(state)
    signing = " hasn't signed the NDA yet." if row.is_gated else SIGNED_THE_NDA if is_signed else " ·"
    line = [symbol, words(" "), words(_address(row.email), bold=True), words(signing), *how]
    if permalink:
        line += [words(" "), link(permalink, "See card")]
    lines = [rich(line), rich(_promise(row))] if row.is_gated else [rich(line)]
    if is_signed:
        return message_of(f"{_who(row)}{SIGNED_THE_NDA}", lines)
    said = DECIDED.get(state, ("See the card", ""))[0]
    return message_of(f"{said}: {_who(row)}{_until_signed(row)}.", lines)


def _icon(state: State | None) -> Block:
    """Return the icon of an outcome, which is the same as on the card."""
    name = DECIDED.get(state, ("", ":grey_question:"))[1]
    return {"type": "emoji", "name": name.strip(":")}


def outcome_withheld(row: Row) -> Message:
    """Return the direct message to a person who followed a request, and has left the channel since."""
    said = (
        f"The request from {_address(row.email)} was decided. You've left the channel for access requests, "
        "so I can't say how. Please ask somebody there."
    )
    return message_of(said, [rich([words(said)])])


def _promise(row: Row) -> list[Block]:
    """Return what somebody who follows a request is still told once it is approved."""
    return [words("I'll tell you if they sign by "), *_last_day(row)]


def _promises(row: Row, documents_until: float | None) -> list[Block]:
    """Return what somebody is still told of a request; None says that it is nothing about documents."""
    signing = _promise(row) if row.is_gated else []
    if documents_until is None:
        return signing
    if row.state not in LET_IN:
        return [words("I'll also tell you when they sign the NDA and open a document.")]
    also = "I'll also" if signing else "I'll"
    opening = words(f"{also} tell you if they open a document by ")
    between = [words(" ")] if signing else []
    return [*signing, *between, opening, date(documents_until, "{date}"), words(".")]


def _waited(row: Row, now: float, new: str = JUST_ASKED) -> str:
    """Return how long this request has waited, as the end of a sentence; `new` is for one that just came."""
    seconds = now - row.received_at
    return new if seconds < 60 else WAITED.format(_span(seconds))


UNITS = (("day", 86400), ("hour", 3600), ("minute", 60))


def _span(seconds: float) -> str:
    """Return a length of time as a number and a unit, such as "3 days"."""
    for name, length_of in UNITS:
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


def _who_changed(changed: Past, most: int, format: str = "{date_pretty} at {time}") -> list[Block]:
    """Return the sentences that say who changed the groups, when, and which groups were replaced."""
    before = f". {BEFORE}{access_of(changed.groups, most)}"
    by = [words(f"{GROUPS_CHANGED} by "), *_person(changed.reviewer)]
    return [*by, words(", "), date(changed.at, format), words(before)]


def _before_revocation(row: Row) -> Past:
    """Return how the request ended, leaving aside what has become of its access since."""
    was_approved = row.state in (State.REVOKING, State.REVOKED, State.CHANGING)
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
    return [*elements, words(groups + _because(ending.reason))]


def _because(reason: str) -> str:
    """Return the end of a sentence: a reason in quotes, if one was typed, and a full stop."""
    said = cut(one_line(reason), PAST_CHARS)
    stop = "" if said.endswith((".", "!", "?", "…")) else "."
    return f": “{said}{stop}”" if said else "."


def _lower(word: str) -> str:
    """Return a word that began a sentence as it is inside one; "Conveyor" keeps its capital."""
    return word[0].lower() + word[1:]


def _about(row: Row, what: str) -> Block:
    """Return the line that says who asks."""
    return rich([words(_named(row.email), bold=True), words(what)])


def _is_shortened(row: Row) -> bool:
    """Return whether the card shows only the beginning of the customer's message."""
    message = inert(row.message).strip()
    return not row.refusals and excerpt(message, MESSAGE_CHARS, MESSAGE_LINES) != message


def _message(row: Row, in_modal: bool = False) -> list[Block]:
    """Return the customer's message, in a quote so that nobody takes it for the app's own words.

    A long one is shortened. On a card a button beside it shows the whole.
    """
    message = inert(row.message).strip()
    if not message:
        return [context(NO_MESSAGE)]
    if row.refusals:
        return [context(MESSAGE_REFUSED)]
    blocks = [quote("They wrote:", excerpt(message, MESSAGE_CHARS, MESSAGE_LINES))]
    if _is_shortened(row) and not in_modal:
        label = f"{SHOW_MESSAGE} from {_address(row.email)}"
        show = button(SHOW_WHOLE, SHOW_MESSAGE, _value(row), "", label)
        blocks.append({"type": "actions", "block_id": _block_id(SHOW_WHOLE, row), "elements": [show]})
    return blocks


def _nda(row: Row) -> str:
    """Return what Conveyor says about the NDA, and what was asked for if that is not confirmed."""
    if _is_signed(row):
        return f" {NDA_SIGNED}"
    if row.state == State.REVOKED:
        return ""
    if row.access_status == GATED:
        return f" {NDA_ASKED} {NDA_FIRST}" if row.nda_bypass else f" {NDA_FIRST}"
    if not row.nda_bypass:
        return ""
    if row.access_status == "authorized":
        return f" {NDA_SKIPPED}"
    return f" {NDA_ASKED} Conveyor didn't confirm it."


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


def _group_choice(
    groups: Sequence[AccessGroup], chosen: Collection[str] = (), as_menu: bool = False, **more: Any
) -> Block:
    """Return the input for access groups: checkboxes, or a menu to search in, which takes any number."""
    element: Block = {"type": "checkboxes", "options": group_options(groups)}
    initial = [option for option in element["options"] if option["value"] in chosen]
    if as_menu or len(groups) > CHECKBOXES:
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


def _named(who: str) -> str:
    """Return an address or a domain as it is shown. A domain that could deceive is spelled out behind it."""
    name, at = _address(who), domain(who if "@" in who else f"@{who}")
    return name if at in name.lower() else f"{name} ({at})"


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
