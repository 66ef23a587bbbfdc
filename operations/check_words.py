"""The part of `check` that asks Slack whether it accepts every card, window, and answer. It posts nothing.

Slack checks the blocks of messages, and whole windows. It doesn't check the text that notifications show, or
how much text all blocks of a message have together.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from slack_sdk.errors import SlackApiError

from deadline import retry_after
from operations.findings import BAD, GOOD, ODD, Finding
from operations.samples import Sample, samples
from operations.slack_questions import SlackQuestions, mapping

BLOCKS_MOST = 50  # Slack: in one message
WAIT_SECONDS = 60.0  # in all, when Slack asks for pauses
REFUSALS = ("invalid_blocks", "invalid_message", "invalid_view")
WHAT = "cards, windows, and answers"

Batch = dict[str, Sample]  # by name
Error = Mapping[str, Any]  # Slack's message about it, and the place as a JSON pointer


class Unchecked(Exception):
    """Slack didn't say whether it accepts something. The text says why."""


class WordsCheck:
    """Asks about many messages at once, since Slack doesn't tell how often it may be asked."""

    def __init__(self, slack: SlackQuestions) -> None:
        self._slack = slack
        self._patience = WAIT_SECONDS
        self._refused: dict[str, list[Error]] = {}  # by name: what Slack says

    def findings(self) -> Iterator[Finding]:
        """Yield a line for each refusal, or one that there is none. Raises NotSlack."""
        try:
            every = dict(samples())
        except Exception as error:  # whoever changed blocks.py may have made any mistake
            said = f"{type(error).__name__}: {error}"
            yield BAD, f"Words: blocks.py fails ({said}). `make test` shows where."
            return
        checked, why = 0, ""
        try:
            for batch in _batches(every):
                self._check(batch)
                checked += len(batch)
        except Unchecked as error:
            why = str(error)
        yield from self._refusals()
        if why:
            yield ODD, f"Words: Slack checked {checked:,} of {len(every):,} {WHAT}. {why}"
        elif not self._refused:
            yield GOOD, f"Words: Slack accepts all {len(every):,} {WHAT}."

    def _refusals(self) -> Iterator[Finding]:
        """Yield a line for each place in what one function makes: the same words may be in many cards."""
        alike: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name, errors in self._refused.items():
            alike[name.partition(" ")[0], str(errors[0].get("pointer"))].append(name)
        for name, *others in alike.values():
            more = f" and {len(others)} more like it" if others else ""
            said = _sentence(self._refused[name])
            yield BAD, f"Words: Slack refuses {name}{more}: {said}. Change its words or layout in blocks.py."

    def _check(self, batch: Batch) -> None:
        """Keep which of these Slack refuses. Raises Unchecked and NotSlack."""
        while batch and (errors := self._errors_in(batch)):
            blamed = _blamed(errors, batch)
            if not blamed:
                # Slack says only that something is wrong, maybe with all of it together.
                names = list(batch)
                for half in (names[: len(names) // 2], names[len(names) // 2 :]):
                    self._check({name: batch[name] for name in half})
                return
            self._refused |= blamed
            batch = {name: sample for name, sample in batch.items() if name not in blamed}

    def _errors_in(self, batch: Batch) -> list[Error]:
        """Return what Slack says is wrong with these. Raises Unchecked and NotSlack."""
        while True:
            try:
                self._slack.client.blocks_validate(**_question(batch))
                return []
            except SlackApiError as error:
                answer = error.response
            except Exception as error:
                raise self._slack.not_reached(error) from error
            said = str(answer.get("error"))
            if said in REFUSALS:
                return _errors_of(answer)
            if answer.status_code != 429:
                code = said if re.fullmatch(r"[a-z_]{1,60}", said) else answer.status_code
                raise Unchecked(f"blocks.validate answered {code}. The app doesn't need this method.")
            pause = max(retry_after(answer.headers, 1.0), 1.0)
            if pause > self._patience:
                raise Unchecked("Then it asked for a longer pause. Run this again later.")
            self._patience -= pause
            time.sleep(pause)


def _batches(every: Batch) -> Iterator[Batch]:
    """Yield windows one by one, and as many messages together as one message may have blocks."""
    messages: Batch = {}
    for name, sample in every.items():
        if "type" in sample:
            yield {name: sample}
            continue
        if sum(len(each["blocks"]) for each in [*messages.values(), sample]) > BLOCKS_MOST:
            yield messages
            messages = {}
        messages[name] = sample
    if messages:
        yield messages


def _question(batch: Batch) -> dict[str, Any]:
    """Return what Slack is asked: about a window, or about one message with all these blocks."""
    first, *_ = batch.values()
    if "type" in first:
        return {"view": first}
    # In one message, no two blocks may have the same ID. Slack takes a message without its text here.
    blocks = [
        {**block, **({"block_id": f"{number}-{block['block_id']}"} if "block_id" in block else {})}
        for number, sample in enumerate(batch.values())
        for block in sample["blocks"]
    ]
    return {"message": {"blocks": blocks}}


def _errors_of(answer: Any) -> list[Error]:
    """Return what Slack's answer says is wrong, in one error at least."""
    for listed in (answer.get("errors"), mapping(answer, "response_metadata").get("messages")):
        if isinstance(listed, list) and listed:
            return [each if isinstance(each, Mapping) else {"message": each} for each in listed]
    return [{"message": answer.get("error")}]


def _blamed(errors: list[Error], batch: Batch) -> dict[str, list[Error]]:
    """Return the errors by the name of what they are about; empty if Slack does not say that."""
    if len(batch) == 1:
        return dict.fromkeys(batch, errors)
    owners = [(name, number) for name, sample in batch.items() for number in range(len(sample["blocks"]))]
    blamed: dict[str, list[Error]] = defaultdict(list)
    for error in errors:
        place = re.match(r"(?:/blocks)?/(\d+)(.*)", str(error.get("pointer")))
        if place and int(place[1]) < len(owners):
            name, number = owners[int(place[1])]
            blamed[name].append({**error, "pointer": f"/blocks/{number}{place[2]}"})
    return blamed


def _sentence(errors: list[Error]) -> str:
    """Return the first few errors as the end of a sentence."""
    parts = [[str(error[key]) for key in ("message", "pointer") if error.get(key)] for error in errors]
    return "; ".join([*(" at ".join(part) for part in parts[:3]), *(["…"] if len(parts) > 3 else [])])
