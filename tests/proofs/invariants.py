"""What must be true when everything is at rest, and at every step on the way there."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import addresses
import blocks
from conveyor_client import AccessGroup
from ledger.ledger import Ledger
from ledger.rows import Row
from ledger.states import State
from sandbox.conveyor import OPEN, Decision
from sandbox.limits import blocks_text
from sandbox.slack import ACK_SECONDS
from sandbox.stand_in import Exchange
from sandbox.workspace import Message
from tests.proofs.mortal import DECISIONS, STOP_TELLING, TELL_ME, TELL_MORE, Deed, MortalWorld
from tests.support.launcher import SHORT
from tests.support.world import eventually
from workspace.block_kit import Block

# The life of a request in the trail: which events may come before each event. "" is the beginning.
DECIDED = ("approved", "rejected", "revoked", "approved elsewhere", "ignored elsewhere", "gone")
WAITING = ("asked", "adopted as pending", "asked again", "given back")
ANYWHERE = (*WAITING, "approving", "rejecting", "adopted as approving", "adopted as rejecting")
STANDING = ("approved", "signed", "groups changed", "given back")
ADOPTED = (
    "pending",
    "approving",
    "rejecting",
    "revoking",
    "changing",
    "approving after all",
    "closed",
    "numbers",
)
AFTER_ALL = ("approving after all", "adopted as approving after all")
MAY_FOLLOW: dict[str, tuple[str, ...]] = {
    "asked": ("",),
    "approving": WAITING,
    "rejecting": WAITING,
    "approved": ("approving", "adopted as approving", *AFTER_ALL),
    "approving after all": ("rejected", "given back"),
    "rejected": ("rejecting", "adopted as rejecting"),
    "signed": ("approved", "given back", "groups changed"),
    "revoking": STANDING,
    "revoked": ("revoking", "changing", "adopted as revoking", "adopted as changing"),
    "changing": STANDING,
    "groups changed": ("changing",),
    "given back": (
        *("approving", "rejecting", "revoking", "changing", *AFTER_ALL),
        *("adopted as approving", "adopted as rejecting", "adopted as revoking", "adopted as changing"),
    ),
    "approved elsewhere": (*ANYWHERE, *AFTER_ALL),
    "ignored elsewhere": ANYWHERE,
    "gone": ANYWHERE,
    "asked again": (*DECIDED, "signed", "groups changed", "given back", "adopted as closed"),
    **{f"adopted as {state}": ("",) for state in ADOPTED},
}
CLAIMS = ("approving", "rejecting", "revoking", "changing", "approving after all")
BESIDE = (
    "refused",
    "opened",
    "colleagues",
    "reminder",
    "watching",
    "following",
    "not watching",
    "changed in Conveyor",
)
TOO_LATE = "too late to watch"
# After these events it is too late to watch. What is adopted as revoking was approved, and may be again.
ENDED = (*DECIDED, "adopted as closed", "adopted as revoking", "adopted as changing", *AFTER_ALL)

# The statuses that Conveyor may have for a request whose row is in this state; None: it does not exist.
STATUS_OF = {
    "pending": OPEN,
    "approved": ("approved",),
    "revoked": ("approved",),
    "approved elsewhere": ("approved",),
    "rejected": ("ignored",),
    "ignored elsewhere": ("ignored",),
    "gone": (None,),
    "closed": ("approved", "ignored", None),
}
OUTCOME_OF = {"approved": "approved", "rejected": "ignored", "revoked": "approved"}
VERB_OF = {"approved": "POST", "rejected": "PATCH"}
CLEAR_REFUSALS = range(400, 500)
NOT_CLEAR = (408, 425, 429)
UNANSWERED = 503  # Slack shows a warning beside the button
# The two ways in which a click is answered; the second is used if the first fails.
WAYS = ("response_url", "chat.postEphemeral")


def broken(world: MortalWorld) -> list[str]:
    """Return every invariant that is broken in a world at rest, each as a sentence."""
    ledger = Ledger(world.settings["DATABASE_URL"])
    try:
        rows = {
            row_id: ledger.decisions.find(str(row_id))
            for (row_id,) in world.ledger("SELECT id FROM requests")
        }
        found = [
            *one_card_each(world),
            *writes_are_earned(world),
            *life_cycle(world),
            *_after_a_while(lambda: clicks_are_answered(world)),
            *reviewers_are_told(world),
            *(f"Slack would refuse: {problem}" for problem in world.slack.problems),
        ]
        for row in filter(None, rows.values()):
            found += agreement(world, ledger, row)
    finally:
        ledger.database.close()
    return found


def _after_a_while(check: Callable[[], list[str]]) -> list[str]:
    """Return what a check still finds when private answers have had time to arrive."""
    try:
        eventually(lambda: not check(), 5)
    except AssertionError:
        return check()
    return []


def payload_of(card: Message) -> dict[str, Any]:
    """Return the payload of a card's metadata, or an empty dictionary."""
    return dict((card.metadata or {}).get("event_payload") or {})


def one_card_each(world: MortalWorld) -> list[str]:
    """Every round of a request has at most one card, and every open request has one."""
    # A reply to a card that somebody deleted is in the channel as well, and is no card.
    payloads = filter(None, map(payload_of, world.slack.cards()))
    cards = Counter((payload.get("id"), payload.get("round")) for payload in payloads)
    found = [f"{number} cards of {card}" for card, number in cards.items() if number > 1]
    with_card = {request_id for request_id, _ in cards}
    return found + [
        f"{request_id} is open and has no card"
        for request_id, item in world.conveyor.requests.items()
        if item["status"] in OPEN and request_id not in with_card
    ]


def agreement(world: MortalWorld, ledger: Ledger, row: Row) -> list[str]:
    """The ledger, Conveyor and the card say the same, and the card shows exactly its row."""
    if row.state == State.NUMBERS:
        return _of_the_week(world, row)
    name = f"{row.id}, round {row.round}"
    item = world.conveyor.requests.get(row.id)
    status = item["status"] if item else None
    found = []
    # A request that was opened and closed again between two polls leaves the row as it was.
    by_address = row.state == State.APPROVED and row.rejection is not None and status == "ignored"
    unseen = status not in OPEN and any(world.closings(row.id, was) for was in STATUS_OF.get(row.state, ()))
    if (
        status not in STATUS_OF.get(row.state, ())
        and not (unseen and row.id in [asked for asked, _ in world.asked_again])
        and not by_address
    ):
        found.append(f"{name} is {row.state} in the ledger, {status} in Conveyor")
    card = world.slack.find(row.card_ts)
    if card is None:
        # A deleted card is posted again only while its request is open.
        return [*found, f"{name} has no card"] if row.state == State.PENDING or not row.card_ts else found
    if row.state == State.CLOSED:
        return found
    if payload_of(card)["state"] != row.state:
        found.append(f"{name} is {row.state} in the ledger, {payload_of(card)['state']} on the card")
    offered = ledger.polls.access_groups(row.dataroom_id) if row.state == State.PENDING else []
    if not _is_picture(world, card, row, offered):
        found.append(f"{name}: the card is not the picture of its row")
    if row.state in OUTCOME_OF:
        found += _credit(world, row, card) + _signature(world, row)
    return found


def _of_the_week(world: MortalWorld, row: Row) -> list[str]:
    """The message of a week was posted, and says what its row says unless the ledger was lost."""
    if not row.card_ts:
        return [f"{row.id} has no message"]
    card = world.slack.find(row.card_ts)
    if card is None or row.numbers is None:  # if somebody deleted it, it is not posted again
        return []
    return [] if _is_picture(world, card, row, []) else [f"{row.id} says something else"]


def _is_picture(world: MortalWorld, card: Message, row: Row, offered: list[AccessGroup]) -> bool:
    """Return whether a card shows its row.

    What it says about the requests of others is left aside, with the warnings that follow from it: that is as
    it was when the card was drawn.
    """
    picture = blocks.shorter_card(row) if row.refusals else blocks.card(row, offered)
    if row.state != State.PENDING:
        return (card.text, world.slack.text_of(card)) == (picture["text"], blocks_text(picture["blocks"]))
    with world.slack.lock:  # somebody may have deleted one of them
        cards = [payload_of(message) for message in world.slack.messages]
    others = {str(each["email"]).casefold() for each in cards if each.get("email") and each["id"] != row.id}
    shown, drawn = (
        [
            line
            for line in _lines(found)
            if line != blocks.SAME and not any(other in line.casefold() for other in others)
        ]
        for found in (card.blocks, picture["blocks"])
    )
    alone = blocks.card(replace(row, previous=None), offered)["text"]
    return shown == drawn and card.text.startswith(alone)


def _lines(found: list[Block]) -> list[str]:
    """Return the text in these blocks, without what Slack asks before it sends a click."""

    def unasked(each: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in each.items() if key != "confirm"}

    return blocks_text(json.loads(json.dumps(found), object_hook=unasked)).split("\n")


def _signature(world: MortalWorld, row: Row) -> list[str]:
    """The NDA is signed in the ledger where the customer has signed it, and only there."""
    is_signed = row.authorization_id in world.signed
    if is_signed and row.is_gated:
        return [f"{row.id} waits for the NDA in the ledger, and it is signed"]
    return [f"{row.id}: nobody has signed the NDA"] if row.signed_at is not None and not is_signed else []


def _credit(world: MortalWorld, row: Row, card: Message) -> list[str]:
    """Whoever is named has decided, for this customer, with these groups or this whole reason."""
    found = []
    deeds = [deed for deed in world.deeds if (deed.user, deed.request_id) == (row.reviewer.id, row.id)]
    if row.reviewer.id not in deciders(world.deeds, row.id):
        found.append(f"{row.id} was {row.state} by {row.reviewer.id}, who did nothing of the kind")
    seen = {addresses.folded(address) for deed in deeds for address in deed.shown}
    if addresses.folded(row.email) not in seen:
        found.append(f"{row.id} was {row.state} for {row.email}, and {row.reviewer.id} saw {seen}")
    if row.state == "rejected":
        if row.reason not in [deed.reason for deed in deeds if deed.what == "reject"]:
            found.append(f"{row.id}: the ledger's reason is nobody's: {row.reason!r}")
        if not row.reason or not _is_whole(row, card, blocks.REASON, row.reason):
            found.append(f"{row.id}: the reason is not on the card in full")
    found += _revocation(world, row, card) + _change(world, row) + _rejection(world, row, card)
    if row.state == "approved":
        grants = _grants(world, row)
        if grants and all(grant["status"] == "revoked" for grant in grants):
            found.append(f"{row.id} is approved in the ledger, and revoked in Conveyor")
        # Only grants until then count: the request may have been repeated and approved in Conveyor since.
        then = datetime.fromtimestamp(row.settled_at or 0.0, UTC)
        by_then = [grant for grant in grants if datetime.fromisoformat(grant["created_at"]) <= then]
        granted = {group["id"] for group in by_then[-1]["_embedded"]["access_groups"]} if by_then else None
        listed = None if row.groups is None else {group.id for group in row.groups}
        gone = (listed or set()) - set(world.conveyor.groups)
        if granted is None or (listed is not None and listed - gone != granted):
            found.append(f"{row.id}: granted {granted} in Conveyor, {listed} in the ledger")
    return found


def _revocation(world: MortalWorld, row: Row, card: Message) -> list[str]:
    """Whoever is named has revoked the access, for this whole reason; a refused try leaves nothing."""
    found = []
    if not _is_whole(row, card, blocks.REVOKE_REASON, row.revoke_reason):
        found.append(f"{row.id}: the reason for revoking is not on the card in full")
    if row.state != "revoked" and row.revoke_reason:
        found.append(f"{row.id} is {row.state} and has a reason for revoking: {row.revoke_reason!r}")
    if row.state == "revoked":
        revoked = [deed for deed in world.deeds if (deed.what, deed.request_id) == ("revoke", row.id)]
        # Nobody is named if Conveyor refused and then says that the access is revoked.
        typed = [deed.reason for deed in revoked if deed.user == row.revoker.id] if row.revoker.id else [""]
        if not typed:
            found.append(f"{row.id} was revoked by {row.revoker.id}, who did nothing of the kind")
        elif row.revoke_reason not in typed:
            found.append(f"{row.id}: the ledger's reason for revoking is nobody's: {row.revoke_reason!r}")
        if any(grant["status"] != "revoked" for grant in _grants(world, row)):
            found.append(f"{row.id} is revoked in the ledger, and there is access in Conveyor")
    return found


def _change(world: MortalWorld, row: Row) -> list[str]:
    """Whoever is named has changed the groups, and nothing is left of a change that is over."""
    changers = {deed.user for deed in world.deeds if (deed.what, deed.request_id) == ("change", row.id)}
    if row.changed and row.changed.reviewer.id not in changers:
        return [f"{row.id}: {row.changed.reviewer.id} changed no groups"]
    left = row.changer.id or row.wanted is not None or row.basis is not None
    return [f"{row.id} is {row.state}, and a change of its groups is left over"] if left else []


def _rejection(world: MortalWorld, row: Row, card: Message) -> list[str]:
    """What was approved after all still says who rejected it, and why."""
    if row.rejection is None:
        return []
    typed = [deed for deed in world.deeds if (deed.what, deed.request_id) == ("reject", row.id)]
    mine = [deed.reason for deed in typed if deed.user == row.rejection.reviewer.id]
    found = (
        [] if row.rejection.reason in mine else [f"{row.id}: nobody rejected it for {row.rejection.reason!r}"]
    )
    if not row.revoke_reason and not _is_whole(row, card, blocks.REJECTION, row.rejection.reason):
        found.append(f"{row.id}: why it was rejected is not on the card in full")
    return found


def _is_whole(row: Row, card: Message, name: str, reason: str) -> bool:
    """Return whether the card shows this reason in full, or is the shorter one that Slack made necessary."""
    return row.refusals > 0 or blocks.reason_on_card(card.blocks, name) == reason


def _grants(world: MortalWorld, row: Row) -> list[dict[str, Any]]:
    """Return what Conveyor granted to this address."""
    return [grant for grant in world.conveyor.authorizations.values() if grant["email"] == row.email]


def writes_are_earned(world: MortalWorld) -> list[str]:
    """Each write follows a read that said “open”; after a doubtful write, two such reads some time apart."""
    found = []
    with world.conveyor.lock:
        exchanges = list(world.conveyor.exchanges)
    reads: dict[str, list[float]] = defaultdict(list)
    doubtful: dict[str, float] = {}
    rejections: dict[str, float] = {}
    for exchange in exchanges:
        verb, path = exchange.call.split(" ", 1)
        if verb == "GET":
            for open_id in _read_as_open(exchange):
                reads[open_id].append(exchange.at)
            continue
        email = exchange.request.get("email")
        named = exchange.request.get("request_id") or path.rpartition("/")[2]
        request_id = world.request_from(email) if email else named
        opened = reads.pop(request_id, [])
        if verb == "POST" and _after_all(world, request_id):
            rejected = reads.pop(f"rejected {request_id}", [])
            opened += rejected
            if rejected and rejections.get(request_id) == doubtful.get(request_id):
                doubtful.pop(request_id, None)  # that read said that the rejection took effect
        # Of an access, another change is another decision.
        what = f"{request_id} {exchange.request}" if named in world.conveyor.authorizations else request_id
        if not opened:
            found.append(f"{exchange.call} for {request_id} was sent without a read that said “open”")
        elif (
            what in doubtful
            and not world.was_asked_again(request_id, doubtful[what], exchange.at)
            and opened[-1] - opened[0] < SHORT["worker.decide.CONFIRM_SECONDS"] * 0.95
        ):
            found.append(f"{exchange.call} for {request_id} followed a doubtful one too soon")
        if _is_refusal(exchange):
            doubtful.pop(what, None)
        elif what != request_id and exchange.status == 200 and not exchange.fault:
            doubtful = {each: at for each, at in doubtful.items() if not each.startswith(f"{request_id} ")}
        else:
            doubtful[what] = exchange.at
            rejections |= {request_id: exchange.at} if verb == "PATCH" else {}
    return found + _effects(world)


def _is_refusal(exchange: Exchange) -> bool:
    """Return whether Conveyor clearly said no."""
    status = exchange.status or 0
    return status in CLEAR_REFUSALS and status not in NOT_CLEAR


def _effects(world: MortalWorld) -> list[str]:
    """Each round of a request has one decision that takes effect, and one more for each second thought."""
    found = []
    asked_again = Counter(asked for asked, _ in world.asked_again)
    effective = Counter(world.request_of(d) for d in _decisions(world) if d.effective)
    for request_id, number in effective.items():
        rounds = 1 + asked_again[request_id] + _after_all(world, request_id)
        if number > rounds:
            found.append(f"{number} decisions took effect for {request_id} in {rounds} rounds")
    return found


def _after_all(world: MortalWorld, request_id: str) -> int:
    """Return how often somebody tried to approve this request after all."""
    return sum((deed.what, deed.request_id) == ("after all", request_id) for deed in list(world.deeds))


def _read_as_open(exchange: Exchange) -> list[str]:
    """Return the requests and the grants that this answer of Conveyor calls open."""
    answer = exchange.response
    path = exchange.call.partition(" ")[2]
    if not isinstance(answer, dict) or "status" in exchange.request:
        return []  # the list of who has to sign is no look at a decision
    if path == "/exchange/authorizations":
        return [grant["id"] for grant in answer.get("authorizations") or [] if grant["status"] != "revoked"]
    if not path.startswith("/exchange/authorization_requests/"):
        return []
    request_id = path.rpartition("/")[2]
    named = {"ignored": f"rejected {request_id}", **dict.fromkeys(OPEN, request_id)}
    return [named[answer["status"]]] if answer.get("status") in named else []


def _decisions(world: MortalWorld) -> list[Decision]:
    """Return the decisions on requests; a revocation names neither a request nor a reviewer."""
    every = list(world.conveyor.decisions)
    return [decision for decision in every if not decision.call.startswith("PATCH /exchange/authorizations/")]


def life_cycle(world: MortalWorld) -> list[str]:
    """The trail has only steps that a request may take, and there is no write without a claim."""
    found = []
    last: dict[str, str] = defaultdict(str)
    claims: set[tuple[str, str]] = set()
    ended: set[str] = set()
    # The other events are about clicks, questions, reminders and starts.
    of_life = f"request_id != '' AND event NOT IN ({', '.join(map(repr, BESIDE))})"
    query = f"SELECT event, request_id, person_email FROM trail WHERE {of_life} ORDER BY number"
    for event, request_id, email in world.ledger(query):
        if event == TOO_LATE:
            if str(request_id) not in ended:
                found.append(f"{request_id}: “{TOO_LATE}” before it ended")
            continue
        if event in ENDED:
            ended.add(str(request_id))
        if last[str(request_id)] not in MAY_FOLLOW.get(str(event), ()):
            found.append(f"{request_id}: “{event}” after “{last[str(request_id)]}”")
        last[str(request_id)] = str(event)
        if event in ("approving", "rejecting", "approving after all"):
            claims.add((str(request_id), str(email)))
    if world.ledger_lost_at == 0.0:
        found += [
            f"{decision.call} by {decision.reviewer_email} without a claim"
            for decision in _decisions(world)
            if (world.request_of(decision), decision.reviewer_email) not in claims
        ]
    return found


def clicks_are_answered(world: MortalWorld) -> list[str]:
    """After every click its person could see something."""
    found = []
    # A click for several colleagues has a line for each, whose trigger_id begins with its own.
    trail = {
        str(trigger).partition(" ")[0]: (str(event), int(str(number)))
        for trigger, event, number in world.ledger(
            "SELECT trigger_id, event, number FROM trail WHERE trigger_id IS NOT NULL ORDER BY number"
        )
    }
    answers = [said.ts for deed in world.deeds for said in deed.said] + question_ids(world)
    silent: Counter[str] = Counter()
    for deed in world.deeds:
        name = f"{deed.user}'s “{deed.what}” on {deed.request_id}"
        answer = deed.answer
        assert answer
        if answer.status is None:
            # If an answer is late, Slack itself shows a warning.
            if answer.seconds < ACK_SECONDS and not world.was_down(deed.begun, deed.ended):
                found.append(f"{name} was not answered ({answer.error}, {answer.seconds:.1f} s)")
            continue
        event, _ = trail.get(deed.trigger_id, ("", 0))
        if answer.status == UNANSWERED and _reached_nobody(world, deed):
            if event in CLAIMS:
                found.append(f"{name} was answered {answer.status} and counts: “{event}”")
            # So that it is not taken for an answer to another click.
            answers += [said.ts for said in world.said_about(deed)]
            continue
        if answer.status != 200:
            found.append(f"{name} was answered {answer.status}: {answer.body}")
            continue
        if deed.seen or deed.said or deed.begun < world.ledger_lost_at:
            continue  # a window or an answer shows it; after a lost ledger the card does, see `agreement`
        if event in CLAIMS:
            continue  # the card shows it, see `agreement` and `life_cycle`
        if not world.was_down(deed.begun, deed.ended, starting=0.0):  # the app serves, since it answered
            silent[deed.user] += 1
    told = Counter(private.user for private in world.slack.private if private.ts not in answers)
    for user, number in silent.items():
        if told[user] < number:
            found.append(f"{user} clicked {number} times without effect and was told {told[user]} times")
    return found


def question_posts(world: MortalWorld) -> list[Exchange]:
    """Return the calls that asked somebody about colleagues."""
    posts = world.slack.calls("chat.postEphemeral")
    return [post for post in posts if blocks.APPROVE_COLLEAGUES in str(post.request.get("blocks"))]


def question_ids(world: MortalWorld) -> list[str]:
    """Return the ts of each question about colleagues; it stays when an answer takes its place."""
    asked = [post.response for post in question_posts(world) if isinstance(post.response, dict)]
    return [str(response.get("message_ts")) for response in asked]


def _reached_nobody(world: MortalWorld, deed: Deed) -> bool:
    """Return whether Slack accepted the answer to this click in neither way, as far as the app can know."""
    if deed.what in (TELL_ME, TELL_MORE, STOP_TELLING) or deed.sent.get("type") != "block_actions":
        return False  # commands are answered later, and windows in the answer itself
    with world.slack.lock:
        during = [each for each in world.slack.exchanges if deed.begun <= each.at <= deed.ended]
    mine = [each for each in during if each.call in WAYS and each.request.get("user", deed.user) == deed.user]
    failed = {each.call for each in mine if not _is_taken(each)}
    if world.said_about(deed) and "response_url" not in failed:
        return False
    out = [(begun, ended) for service, begun, ended in world.outages if service is world.slack]
    return failed == set(WAYS) or any(deed.begun <= end and begin <= deed.ended for begin, end in out)


def _is_taken(exchange: Exchange) -> bool:
    """Return whether the app certainly got an answer of Slack's that says that it worked."""
    words = exchange.response if isinstance(exchange.response, dict) else {}
    good = exchange.call == "response_url" or words.get("ok") is True
    return exchange.status == 200 and good and "trickle" not in exchange.fault


def reviewers_are_told(world: MortalWorld) -> list[str]:
    """Whoever's decision was given back is named in the thread of the card or, with the customer, beside it.

    The latter is so if the card was deleted, or if Slack did not take the reply.
    """
    query = "SELECT request_id, person_id FROM trail WHERE event = 'given back' AND person_id != ''"
    given_back = Counter((str(request_id), str(person)) for request_id, person in world.ledger(query))
    with world.slack.lock:
        messages = list(world.slack.messages)
    card_of = {message.ts: payload_of(message).get("id") for message in messages}
    named = Counter(
        (card_of.get(reply.thread_ts), person)
        for reply in messages
        for person in world.slack.users
        if reply.thread_ts and f"<@{person}>" in reply.text
    )
    # The customer's address may have changed since it was said, so what tells is the log.
    beside = r"request=(\S+) note=.* user=(\S+) (?:told=privately|card=missing)"
    named.update(re.findall(beside, world.log()))
    return [
        f"{person} got {named[request_id, person]} notes, {number} decisions on {request_id} came back"
        for (request_id, person), number in given_back.items()
        if named[request_id, person] < number
    ]


def watch_each_step(world: MortalWorld, found: list[str]) -> None:
    """Check every message about a card as it is sent: what it says must be true already."""
    shown: dict[tuple[str, str], set[int]] = defaultdict(set)

    def check(exchange: Exchange) -> None:
        if exchange.call not in ("chat.postMessage", "chat.update") or not isinstance(exchange.request, dict):
            return
        metadata = exchange.request.get("metadata")
        metadata = json.loads(metadata) if isinstance(metadata, str) else metadata
        if not metadata:
            return
        said = metadata["event_payload"]
        request_id, state = said["id"], said["state"]
        statuses = [status for status in STATUS_OF.get(state, ()) if status not in OPEN]
        if statuses:
            shown[request_id, state].add(said["round"])
            times = sum(world.closings(request_id, status) for status in statuses)
            if times < len(shown[request_id, state]):
                found.append(f"a card of {request_id} says {state} before Conveyor does")
        says_signed = any(words in _all_text(exchange) for words in (blocks.NOW_SIGNED, blocks.NDA_SIGNED))
        if says_signed and not world.is_signed(said["email"]):
            found.append(f"a card of {request_id} says that the NDA is signed before Conveyor does")
        named = {said.get(f"{by}_id", "") for by in ("reviewer", "revoker", "changer")} - {""}
        if state != "pending" and (strangers := named - deciders(world.deeds, request_id)):
            found.append(f"a card of {request_id} says {state} by {strangers}, who did not click")

    world.slack.on_exchange.append(check)


def _all_text(exchange: Exchange) -> str:
    """What a message shows, and what searching finds of it."""
    drawn = exchange.request["blocks"]
    return f"{exchange.request['text']} {blocks_text(json.loads(drawn) if isinstance(drawn, str) else drawn)}"


def deciders(deeds: list[Deed], request_id: str) -> set[str]:
    """Return the people who tried to decide this request."""
    return {deed.user for deed in list(deeds) if deed.request_id == request_id and deed.what in DECISIONS}
