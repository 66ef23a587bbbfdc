"""What people were promised: whoever asked is told how a request ends, and a card gets few reminders."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from itertools import pairwise

import addresses
import blocks
from ledger.states import State
from sandbox.limits import blocks_text
from sandbox.stand_in import Exchange
from settings import Settings
from tests.proofs.invariants import BESIDE, DECIDED, STATUS_OF, WAITING, deciders, payload_of, question_posts
from tests.proofs.mortal import DECISIONS, REMINDER, STOP_TELLING, TELL_ME, TELL_MORE, Deed, MortalWorld
from workspace.block_kit import cut, one_line

SECOND_THOUGHTS = ("revoking", "changing", "approving after all")
SENDING_SECONDS = 3.0  # a message that is being sent cannot be stopped anymore
DECIDING_SECONDS = 0.5  # the same for a reminder


def promises_broken(world: MortalWorld) -> list[str]:
    """Return every promise that is broken in a world at rest, each as a sentence."""
    return [
        *watchers_are_told(world),
        *watchers_hear_of_signatures(world),
        *reminders_are_few(world),
        *questions_are_few(world),
    ]


def watchers_are_told(world: MortalWorld) -> list[str]:
    """Whoever was promised the outcome is told it once, or again after a death or a lost answer.

    A lost ledger has forgotten who watches, so promises from before it was lost do not count.
    """
    found = []
    trail = {
        str(trigger): (int(str(number)), str(event))
        for trigger, number, event in world.ledger(
            "SELECT trigger_id, number, event FROM trail WHERE trigger_id IS NOT NULL"
        )
    }
    ends: dict[str, tuple[int, float]] = {}
    for number, at, request_id, event in world.ledger("SELECT number, at, request_id, event FROM trail"):
        if event in DECIDED:
            ends[str(request_id)] = int(str(number)), float(str(at))
    watching = world.ledger("SELECT person_id, request_id FROM watchers")
    following = world.ledger("SELECT person_id, request_id FROM followers")
    for (user, request_id), deeds in _watchers(world).items():
        name = f"{user}, who wants to be told of {request_id},"
        tells = [deed for deed in deeds if deed.what == TELL_ME]
        more = [deed for deed in deeds if deed.what == TELL_MORE]
        mine = [said for said in _direct_messages(world, user) if _names(said[1], deeds[0])]
        opened = [at for at, text in mine if blocks.OPENED_A_DOCUMENT in text]
        told = [at for at, _ in mine if at not in opened]
        closed = sum(world.closings(request_id, status) for status in ("approved", "ignored", None))
        revoked = sum((deed.request_id, deed.what) == (request_id, "revoke") for deed in world.deeds)
        # Where the customer has to sign the NDA, they are told once more.
        gated = [each for each in world.approvals(request_id) if not each.nda_bypass]
        signatures = sum(addresses.same(deeds[0].about, email) for email in world.signers())
        due = closed + revoked + signatures
        again = _repeats(world, told, [user], deeds[0].about)
        most = (due if more else min(len(tells) + len(gated), due)) + again
        if len(told) > most:
            found.append(f"{name} was told {len(told)} times, at most {most} are due")
        most = len(more) + _repeats(world, opened, [user], blocks.OPENED_A_DOCUMENT)
        if len(opened) > most:
            found.append(f"{name} was told of {len(opened)} documents, at most {most} are due")
        last, end = deeds[-1], ends.get(request_id, (0, 0.0))
        if last.what == STOP_TELLING and _heard(last, blocks.UNWATCHED):
            undecided = end[1] > last.ended
            late = last.ended + SENDING_SECONDS
            if any(at > (last.ended if undecided else late) for at in told) or any(
                at > late for at in opened
            ):
                found.append(f"{name} was told after they had stopped it")
        number, event = trail.get(last.trigger_id, (0, ""))
        if event not in ("watching", "following") or not _is_promise(last):
            continue
        if end[0] > number:
            if not any(at > last.begun for at in [*told, *_private_outcomes(world, user, deeds[0])]):
                found.append(f"{name} was not told that it is decided")
        elif (user, request_id) not in (watching if event == "watching" else following) and not any(
            at > last.begun for at in [*opened, *_private_openings(world, user, deeds[0])]
        ):
            found.append(f"{name} is forgotten")
    return found


def watchers_hear_of_signatures(world: MortalWorld) -> list[str]:
    """Whoever was promised to be told of the signature is told of it, unless the customer asks once more."""
    signed = world.ledger("SELECT request_id, at FROM trail WHERE event = 'signed'")
    asked_again = [request_id for request_id, _ in world.asked_again]
    found = []
    for (user, request_id), deeds in _watchers(world).items():
        at = max((float(str(at)) for signed_id, at in signed if signed_id == request_id), default=0.0)
        mine = [said for said in _direct_messages(world, user) if _names(said[1], deeds[0])]
        is_promised = any(sent < at and blocks.UNTIL_SIGNED in text for sent, text in mine)
        is_told = any(sent >= at and blocks.SIGNED_THE_NDA in text for sent, text in mine)
        has_stopped = deeds[-1].what == STOP_TELLING
        if is_promised and not (is_told or has_stopped or request_id in asked_again):
            found.append(f"{user} was not told that the NDA of {request_id} is signed")
    return found


def _watchers(world: MortalWorld) -> dict[tuple[str, str], list[Deed]]:
    """Return, for each person and request, when they asked to be told of it, or not to be told anymore."""
    found: dict[tuple[str, str], list[Deed]] = defaultdict(list)
    for deed in list(world.deeds):
        if deed.what in (TELL_ME, TELL_MORE, STOP_TELLING):
            found[deed.user, deed.request_id].append(deed)
    return found


def _direct_messages(world: MortalWorld, user: str) -> list[tuple[float, str]]:
    """Return when somebody got direct messages, and their texts."""
    with world.slack.lock:
        mine = [message for message in world.slack.messages if message.channel == f"D{user[1:]}"]
    return [(float(message.ts), message.text) for message in mine]


def _private_outcomes(world: MortalWorld, user: str, deed: Deed) -> list[float]:
    """Return when somebody was told the outcome in the channel, as where Slack refuses the direct message."""
    return [at for at, text in _private(world, user) if _outcome(text) and _names(text, deed)]


def _private_openings(world: MortalWorld, user: str, deed: Deed) -> list[float]:
    """Return when somebody was told in the channel that this customer opened a document."""
    mine = _private(world, user)
    return [at for at, text in mine if blocks.OPENED_A_DOCUMENT in text and _names(text, deed)]


def _private(world: MortalWorld, user: str) -> list[tuple[float, str]]:
    """Return when somebody was told something privately in the channel, and the texts."""
    with world.slack.lock:
        return [(float(each.ts), each.text) for each in world.slack.private if each.user == user]


def _outcome(text: str) -> str | None:
    """Return the state that a text says a request ended in: its first words are those of DECIDED."""
    if blocks.SIGNED_THE_NDA in text:
        return str(State.APPROVED)
    found = [(len(word), str(state)) for state, (word, _) in blocks.DECIDED.items() if text.startswith(word)]
    return max(found)[1] if found else None


def _names(text: str, deed: Deed) -> bool:
    """Return whether the text names this customer, in whatever case."""
    return deed.about.casefold() in text.casefold()


def _heard(deed: Deed, words: str) -> bool:
    """Return whether the answer had these words."""
    return any(words in said.text for said in deed.said)


def _is_promise(deed: Deed) -> bool:
    """Return whether the answer to somebody who counts as watching is neither a failure nor the outcome."""
    others = (blocks.LEDGER_BUSY, blocks.DOCUMENTS_UNSEEN, *(word for word, _ in blocks.DECIDED.values()))
    return bool(deed.said) and not any(_heard(deed, words) for words in others)


def _repeats(world: MortalWorld, sent: Iterable[float], places: Collection[str], words: str) -> int:
    """Return how many messages may be sent again: those after which the app died or whose answer was bad."""
    starts = world.every_start()
    deaths = sum(any(one < start < other for start in starts) for one, other in pairwise(sent))
    posts = [post for post in world.slack.calls("chat.postMessage") if _place(post) in places]
    doubtful = [post.request["text"] for post in posts if post.fault or world.is_slow(post.at)]
    return deaths + sum(words.casefold() in text.casefold() for text in doubtful)


def _place(post: Exchange) -> str:
    """Return the thread of a post, or the card of a reminder in the channel, or else its channel."""
    card = _linked(post.request.get("blocks")) if REMINDER in post.request["text"] else ""
    return str(post.request.get("thread_ts") or card or post.request["channel"])


def _linked(drawn: object) -> str:
    """Return the ts of the message that a reminder links to where Slack took it in no thread."""
    found = re.search(r"/p(\d+)(\d{6})\b", str(drawn))
    return f"{found[1]}.{found[2]}" if found else ""


def reminders_are_few(world: MortalWorld) -> list[str]:
    """A card gets as many reminders as promised, only while it waits, and again only after a death.

    A lost answer counts as a death. A lost ledger has forgotten how many reminders it sent, and starts over.
    """
    with world.slack.lock:
        messages = list(world.slack.messages)
    posts = [post for post in world.slack.calls("chat.postMessage") if REMINDER in post.request["text"]]
    cards: dict[tuple[str, int], list[str]] = defaultdict(list)  # somebody may have deleted one of them
    for message in messages:
        if card := payload_of(message):
            cards[card["id"], card["round"]].append(message.ts)
    every = [ts for threads in cards.values() for ts in threads]
    found = [f"a reminder of no card, in {_place(post)}" for post in posts if _place(post) not in every]
    for (request_id, round), threads in cards.items():
        name = f"{request_id}, round {round}"
        reminders = [message for message in messages if REMINDER in message.text]
        theirs = [each for each in reminders if (each.thread_ts or _linked(each.blocks)) in threads]
        times = [float(reminder.ts) for reminder in theirs]
        most = Settings.remind_times * (2 if world.ledger_lost_at else 1)
        most += _repeats(world, times, threads, REMINDER)
        if len(times) > most:
            found.append(f"{name}: {len(times)} reminders, at most {most} are due")
        beside = ", ".join(map(repr, BESIDE))
        query = f"SELECT at, event FROM trail WHERE request_id = '{request_id}' AND round = {round}"
        steps = world.ledger(f"{query} AND event NOT IN ({beside}) ORDER BY number")
        for at in [post.at for post in posts if _place(post) in threads]:
            before = [str(event) for then, event in steps if float(str(then)) <= at]
            since = [str(event) for then, event in steps if at - DECIDING_SECONDS <= float(str(then)) <= at]
            # A request is decided whose revocation, or another second thought, was given back.
            still = before[-1 - len(since) :]
            if before and (set(WAITING).isdisjoint(still) or before[-2:][0] in SECOND_THOUGHTS):
                found.append(f"{name}: a reminder after “{before[-1]}”")
    return found


def questions_are_few(world: MortalWorld) -> list[str]:
    """Whoever approved is asked once about colleagues, or again after a death or a lost answer.

    They are asked after Conveyor had the approval, and nobody is approved who was not named.
    """
    found = []
    asked: dict[tuple[str, str], list[Exchange]] = defaultdict(list)
    for post in question_posts(world):
        _, _, first = re.findall(r'"value": ?"(\d+) (\S+) ([^"]+)"', json.dumps(_blocks_of(post)))[0]
        asked[str(post.request["user"]), first].append(post)
    starts = world.every_start()
    for (user, first), posts in asked.items():
        if user not in deciders(world.deeds, first) or not world.closings(first, "approved"):
            found.append(f"{user} is asked about the colleagues of {first}, whom they did not approve")
        deaths = sum(any(one.at < start < other.at for start in starts) for one, other in pairwise(posts))
        doubtful = sum(bool(post.fault) or world.is_slow(post.at) for post in posts)
        if len(posts) > len(world.approvals(first)) + deaths + doubtful:
            found.append(f"{user} is asked {len(posts)} times about the colleagues of {first}")
    claims = "SELECT request_id, trigger_id FROM trail WHERE event = 'approving' AND trigger_id LIKE '% %'"
    named = {(deed.request_id, deed.trigger_id) for deed in world.deeds if deed.answer}
    for request_id, trigger in world.ledger(claims):
        if (request_id, str(trigger).partition(" ")[0]) not in named:
            found.append(f"{request_id} was approved with colleagues by a click that did not name it")
    return found


def _blocks_of(post: Exchange) -> object:
    drawn = post.request["blocks"]
    return json.loads(drawn) if isinstance(drawn, str) else drawn


def watch_what_is_told(world: MortalWorld, found: list[str]) -> None:
    """Check every direct message as it is sent: its person asked for it, and it is true already."""

    def check(exchange: Exchange) -> None:
        if exchange.call != "chat.postMessage" or exchange.request.get("channel") not in world.slack.users:
            return
        user, text = exchange.request["channel"], exchange.request["text"]
        deeds = [deed for deed in list(world.deeds) if deed.user == user]
        tells = [deed for deed in deeds if deed.what in (TELL_ME, TELL_MORE)]
        request_id = next((deed.request_id for deed in tells if _names(text, deed)), "")
        if not request_id:
            found.append(f"{user} is told what they did not ask: {text}")
            return
        if blocks.OPENED_A_DOCUMENT in text:
            more = [deed for deed in tells if deed.what == TELL_MORE and _names(text, deed)]
            if not any(world.is_opened(deed.about) for deed in more):
                found.append(f"{user} is told of a document that was not opened or not asked for: {text}")
            return
        is_signed = any(world.is_signed(deed.about) for deed in tells if _names(text, deed))
        if blocks.SIGNED_THE_NDA in text and not is_signed:
            found.append(f"{user} is told too early that the NDA is signed: {text}")
        state = _outcome(text)
        if state is None:
            found.append(f"{user} is told no outcome: {text}")
        elif not sum(world.closings(request_id, status) for status in STATUS_OF[state]):
            found.append(f"{user} is told too early: {text}")
        drawn = exchange.request["blocks"]
        said = blocks_text(json.loads(drawn) if isinstance(drawn, str) else drawn)
        if strangers := set(re.findall(r"<@(\w+)>", said)) - deciders(world.deeds, request_id):
            found.append(f"{user} is told that {strangers} decided {request_id}")
        reasons = [deed.reason for deed in list(world.deeds) if deed.what == DECISIONS[1]]
        if state == "rejected" and not any(_reason_in(said, reason) for reason in reasons):
            found.append(f"{user} is told a reason that nobody gave: {said}")

    world.slack.on_exchange.append(check)


def _reason_in(said: str, reason: str) -> bool:
    """Return whether a message shows this reason, cut as messages cut it."""
    return cut(one_line(reason), blocks.PAST_CHARS) in said
