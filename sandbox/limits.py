"""Slack's limits for messages, modals and options: which keys an object may have, and how long a text may be.

Everything here is a pure function: it keeps no state, does no I/O and changes none of its arguments.

A rule is a function that takes a value and the path to that value ("blocks[0].text") and yields the problems
it finds. Each problem is a short sentence that starts with the path.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import chain
from typing import Any

Rule = Callable[[Any, str], Iterable[str]]

MAX_TEXT = 3000
MAX_SECTION_FIELDS = 10
MAX_SECTION_FIELD = 2000
MAX_HEADER = 150
MAX_CONTEXT_ELEMENTS = 10
MAX_ACTIONS_ELEMENTS = 25
MAX_MESSAGE_BLOCKS = 50
MAX_MODAL_BLOCKS = 100
MAX_ID = 255
MAX_BUTTON_TEXT = 75
MAX_BUTTON_VALUE = 2000
MAX_URL = 3000
MAX_ACCESSIBILITY_LABEL = 75
MAX_OPTION_TEXT = 75
MAX_OPTION_VALUE = 150
MAX_OPTION_DESCRIPTION = 75
MAX_BOX_OPTIONS = 10  # in a group of checkboxes or radio buttons
MAX_SELECT_OPTIONS = 100
MAX_OPTION_GROUPS = 100
MAX_OPTION_GROUP_LABEL = 75
MAX_OVERFLOW_OPTIONS = 5
MAX_PLACEHOLDER = 150
MAX_CONFIRM_TITLE = 100
MAX_CONFIRM_TEXT = 300
MAX_CONFIRM_BUTTON = 30
MAX_INPUT_LABEL = 2000
MAX_INPUT_HINT = 2000
MAX_INPUT_TEXT = 3000
MAX_MODAL_TITLE = 24
MAX_PRIVATE_METADATA = 3000
MAX_ALT_TEXT = 2000
MAX_METADATA_BYTES = 1000
TEXT_BUDGET = 3500  # characters that the top-level text of a message should stay under
MAX_MESSAGE_TEXT = 4000  # Slack refuses a longer top-level text
BLOCK_TEXT_BUDGET = 9000  # characters that all blocks of one message together should stay under
MAX_BLOCK_TEXT = 11000  # Slack refuses a message with more text in its blocks
INITIAL_KEYS = ("initial_option", "initial_options")


def message_problems(text: Any, blocks: Any, metadata: Any = None) -> list[str]:
    """Return the reasons why Slack would refuse this message, or an empty list."""
    problems = [] if text is None else list(string(MAX_MESSAGE_TEXT, 0)(text, "text"))
    if blocks is not None:
        problems += block_problems(blocks)
        if not problems and (length := block_text_length(blocks)) > MAX_BLOCK_TEXT:
            problems.append(f"blocks: {length} characters of text, at most {MAX_BLOCK_TEXT}")
    return problems + metadata_problems(metadata)


def block_problems(blocks: Any) -> list[str]:
    """Return the reasons why Slack would refuse these blocks in a message, or an empty list."""
    return [*MESSAGE_BLOCKS(blocks, "blocks"), *_id_problems(blocks)]


def metadata_problems(metadata: Any) -> list[str]:
    """Return the reasons why Slack would refuse this metadata, or an empty list."""
    if metadata is None:
        return []
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_payload", {}), dict):
        return ["metadata: not an object with an event_type and an event_payload"]
    size = len(json.dumps(metadata.get("event_payload", {})).encode())
    return [f"metadata: {size} bytes, at most {MAX_METADATA_BYTES}"] if size > MAX_METADATA_BYTES else []


def metadata_is_kept(metadata: Mapping[str, Any]) -> bool:
    """Return whether Slack stores this metadata.

    When the event_type contains a dot or a dash, Slack drops the metadata without an error.
    """
    return bool(re.fullmatch(r"\w+", str(metadata.get("event_type", "")), re.ASCII))


def view_problems(view: Any) -> list[str]:
    """Return the reasons why Slack would refuse this modal, or an empty list."""
    problems = list(VIEW(view, "view"))
    if not isinstance(view, dict):
        return problems
    blocks = view.get("blocks")
    problems += _id_problems(blocks)
    if "submit" not in view and any(block.get("type") == "input" for block in _dicts_in(blocks)):
        problems.append("view: inputs need a submit button")
    elements = chain.from_iterable(map(elements_of, _dicts_in(blocks)))
    if sum(element.get("focus_on_load") is True for element in elements) > 1:
        problems.append("view: focus_on_load is set more than once")
    return problems


def option_problems(answer: Any) -> list[str]:
    """Return the reasons why Slack would refuse this answer to a block_suggestion, or an empty list."""
    fields = answer if isinstance(answer, dict) else {}
    if "option_groups" in fields:
        return list(list_of(OPTION_GROUP, MAX_OPTION_GROUPS, 0)(fields["option_groups"], "option_groups"))
    return list(list_of(PLAIN_OPTION, MAX_SELECT_OPTIONS, 0)(fields.get("options"), "options"))


def block_text_length(blocks: Any) -> int:
    """Return the number of characters of text in the blocks, not counting the texts of options."""
    return sum(map(len, _paragraphs(blocks, with_options=False)))


def blocks_text(blocks: Any) -> str:
    """Return all text in the blocks, with each paragraph on a line of its own."""
    return "\n".join(_paragraphs(blocks, with_options=True))


def _paragraphs(value: Any, with_options: bool) -> Iterator[str]:
    """Yield every text in a block, an element or a list of them, in the order in which Slack shows them.

    Initial options are skipped, since in most menus each of them repeats one of the options.
    """
    if isinstance(value, list):
        yield from chain.from_iterable(_paragraphs(part, with_options) for part in value)
    elif not isinstance(value, dict):
        return
    elif value.get("type") in RICH_TEXT_PARAGRAPHS:
        yield "".join(_inline_text(element) for element in _dicts_in(value.get("elements")))
    elif isinstance(value.get("text"), str):
        yield value["text"]
    else:
        hidden = INITIAL_KEYS if with_options else (*INITIAL_KEYS, "options", "option_groups")
        shown = (part for key, part in value.items() if key not in hidden)
        yield from chain.from_iterable(_paragraphs(part, with_options) for part in shown)


def _inline_text(element: dict[str, Any]) -> str:
    """Return roughly what Slack shows for this element of a rich text."""
    match element.get("type"):
        case "user" | "usergroup" | "channel" | "broadcast" as kind:
            prefix = {"user": "@", "usergroup": "!subteam^", "channel": "#"}.get(kind, "!")
            return f"<{prefix}{element.get('range') or element.get(f'{kind}_id')}>"
        case "emoji":
            return f":{element.get('name')}:"
        case _:
            texts = (element.get(key) for key in ("text", "fallback", "url", "format"))
            return str(next(filter(None, texts), ""))


def _dicts_in(value: Any) -> list[dict[str, Any]]:
    """Return the dicts in this list, or an empty list if it is not a list: the app may send anything."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def elements_of(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the buttons, menus and inputs of one block."""
    if block.get("type") not in ("section", "actions", "input"):
        return []
    return _dicts_in([block.get("accessory"), block.get("element")]) + _dicts_in(block.get("elements"))


def _id_problems(blocks: Any) -> Iterator[str]:
    block_dicts = _dicts_in(blocks)
    yield from _duplicates(block_dicts, "block_id", "blocks")
    for number, block in enumerate(block_dicts):
        yield from _duplicates(elements_of(block), "action_id", f"blocks[{number}]")


def _duplicates(objects: list[dict[str, Any]], key: str, path: str) -> Iterator[str]:
    ids = [str(item[key]) for item in objects if key in item]
    duplicates = sorted({name for name in ids if ids.count(name) > 1})
    yield from (f"{path}: the {key} “{name}” is there twice" for name in duplicates)


# Functions that return a rule.


def string(most: int, least: int = 1) -> Rule:
    """Return a rule for a string of `least` to `most` characters."""

    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{path}: not a string"
        elif not least <= len(value) <= most:
            yield f"{path}: {len(value)} characters, {least} to {most} allowed"

    return check


def integer(least: int, most: int) -> Rule:
    """Return a rule for an integer from `least` to `most`; a boolean is not an integer here."""

    def check(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            yield f"{path}: not a whole number from {least} to {most}"

    return check


def one_of(*allowed: object) -> Rule:
    """Return a rule for one of these strings or booleans. 1 does not pass for True, as it would with `in`."""

    def check(value: Any, path: str) -> Iterator[str]:
        if not any(value is each or (isinstance(value, str) and value == each) for each in allowed):
            yield f"{path}: not one of {', '.join(map(str, allowed))}"

    return check


def iso_date(value: Any, path: str) -> Iterator[str]:
    """Check that the value is a date like 2024-12-31; Python's own parser also accepts other forms."""
    try:
        if date.fromisoformat(value).isoformat() == value:
            return
    except (TypeError, ValueError):
        pass
    yield f"{path}: not a date like 2024-12-31"


def list_of(rule: Rule, most: int, least: int = 1) -> Rule:
    """Return a rule for a list of `least` to `most` items, each of which must pass `rule`."""

    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path}: not a list"
            return
        if not least <= len(value) <= most:
            yield f"{path}: {len(value)} of them, {least} to {most} allowed"
        for number, item in enumerate(value):
            yield from rule(item, f"{path}[{number}]")

    return check


def shape(required: Mapping[str, Rule], **optional: Rule) -> Rule:
    """Return a rule for an object with these keys and no others.

    `type` is allowed and not checked: `typed` has already used it to choose this shape.
    """
    rules = {**required, **optional}

    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path}: not an object"
            return
        yield from (f"{path}: {key} is missing" for key in required if key not in value)
        for key, part in value.items():
            if key in rules:
                yield from rules[key](part, f"{path}.{key}")
            elif key != "type":
                yield f"{path}: the key “{key}” does not belong here"

    return check


def typed(shapes: Mapping[str, Rule]) -> Rule:
    """Return a rule for an object whose `type` is a key of `shapes`, and which must pass the rule there."""

    def check(value: Any, path: str) -> Iterator[str]:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in shapes:
            yield f"{path}: the type {kind!r} does not belong here"
        else:
            yield from shapes[kind](value, path)

    return check


def then(rule: Rule, further: Rule) -> Rule:
    """Return a rule that checks `rule`, and then `further` only if `rule` found no problem."""

    def check(value: Any, path: str) -> Iterator[str]:
        problems = list(rule(value, path))
        yield from problems or further(value, path)

    return check


def text(most: int, *, plain: bool = False) -> Rule:
    """Return a rule for a text object of at most `most` characters, which must be plain_text if `plain`."""
    required = {"text": string(most)}
    shapes = {"plain_text": shape(required, emoji=BOOLEAN)}
    return typed(shapes if plain else {**shapes, "mrkdwn": shape(required, verbatim=BOOLEAN)})


def _initial_options_exist(value: Any, path: str) -> Iterator[str]:
    groups = [group["options"] for group in value.get("option_groups", ())]
    options = value.get("options") or list(chain.from_iterable(groups))
    initial = value.get("initial_options") or ([value["initial_option"]] if "initial_option" in value else [])
    if not options:
        yield f"{path}: options are missing"
    if not all(option in options for option in initial):
        yield f"{path}: initial options are not among the options, exactly as they stand there"


def _section_has_content(value: Any, path: str) -> Iterator[str]:
    if "text" not in value and "fields" not in value:
        yield f"{path}: neither text nor fields"


def _min_length_fits(value: Any, path: str) -> Iterator[str]:
    if value.get("min_length", 0) > value.get("max_length", MAX_INPUT_TEXT):
        yield f"{path}: min_length is more than max_length"


# The rules for Block Kit, from the smallest parts up to whole messages and modals.

BOOLEAN = one_of(True, False)
ID = string(MAX_ID)
URL = string(MAX_URL)
CONFIRM = shape(
    {
        "title": text(MAX_CONFIRM_TITLE, plain=True),
        "text": text(MAX_CONFIRM_TEXT),
        "confirm": text(MAX_CONFIRM_BUTTON, plain=True),
        "deny": text(MAX_CONFIRM_BUTTON, plain=True),
    },
    style=one_of("primary", "danger"),
)


def _option(*, plain: bool, **optional: Rule) -> Rule:
    required = {"text": text(MAX_OPTION_TEXT, plain=plain), "value": string(MAX_OPTION_VALUE)}
    return shape(required, description=text(MAX_OPTION_DESCRIPTION, plain=plain), **optional)


PLAIN_OPTION = _option(plain=True)
BOX_OPTION = _option(plain=False)
OPTION_GROUP = shape(
    {
        "label": text(MAX_OPTION_GROUP_LABEL, plain=True),
        "options": list_of(PLAIN_OPTION, MAX_SELECT_OPTIONS),
    }
)
ELEMENT_KEYS: dict[str, Rule] = {"action_id": ID, "confirm": CONFIRM, "focus_on_load": BOOLEAN}
MENU_KEYS: dict[str, Rule] = {**ELEMENT_KEYS, "placeholder": text(MAX_PLACEHOLDER, plain=True)}
SINGLE_SELECT: dict[str, Rule] = {"initial_option": PLAIN_OPTION}
MULTI_SELECT: dict[str, Rule] = {
    "initial_options": list_of(PLAIN_OPTION, MAX_SELECT_OPTIONS),
    "max_selected_items": integer(1, 1_000_000),
}
STATIC_OPTIONS: dict[str, Rule] = {
    "options": list_of(PLAIN_OPTION, MAX_SELECT_OPTIONS),
    "option_groups": list_of(OPTION_GROUP, MAX_OPTION_GROUPS),
}
EXTERNAL_OPTIONS: dict[str, Rule] = {"min_query_length": integer(0, 1_000_000)}
BOX_OPTIONS: dict[str, Rule] = {"options": list_of(BOX_OPTION, MAX_BOX_OPTIONS)}

ELEMENTS: dict[str, Rule] = {
    "button": shape(
        {"text": text(MAX_BUTTON_TEXT, plain=True)},
        action_id=ID,
        confirm=CONFIRM,
        value=string(MAX_BUTTON_VALUE),
        url=URL,
        style=one_of("primary", "danger"),
        accessibility_label=string(MAX_ACCESSIBILITY_LABEL),
    ),
    "checkboxes": then(
        shape(BOX_OPTIONS, **ELEMENT_KEYS, initial_options=list_of(BOX_OPTION, MAX_BOX_OPTIONS)),
        _initial_options_exist,
    ),
    "radio_buttons": then(
        shape(BOX_OPTIONS, **ELEMENT_KEYS, initial_option=BOX_OPTION), _initial_options_exist
    ),
    "overflow": shape(
        {"options": list_of(_option(plain=True, url=URL), MAX_OVERFLOW_OPTIONS)},
        action_id=ID,
        confirm=CONFIRM,
    ),
    "static_select": then(shape({}, **MENU_KEYS, **STATIC_OPTIONS, **SINGLE_SELECT), _initial_options_exist),
    "multi_static_select": then(
        shape({}, **MENU_KEYS, **STATIC_OPTIONS, **MULTI_SELECT), _initial_options_exist
    ),
    "external_select": shape({}, **MENU_KEYS, **EXTERNAL_OPTIONS, **SINGLE_SELECT),
    "multi_external_select": shape({}, **MENU_KEYS, **EXTERNAL_OPTIONS, **MULTI_SELECT),
    "users_select": shape({}, **MENU_KEYS, initial_user=ID),
    "multi_users_select": shape(
        {}, **MENU_KEYS, initial_users=list_of(ID, 100), max_selected_items=integer(1, 1_000_000)
    ),
    "datepicker": shape({}, **MENU_KEYS, initial_date=iso_date),
    "plain_text_input": then(
        shape(
            {},
            action_id=ID,
            focus_on_load=BOOLEAN,
            placeholder=text(MAX_PLACEHOLDER, plain=True),
            multiline=BOOLEAN,
            initial_value=string(MAX_INPUT_TEXT, 0),
            min_length=integer(0, MAX_INPUT_TEXT),
            max_length=integer(1, MAX_INPUT_TEXT),
            dispatch_action_config=shape({}, trigger_actions_on=list_of(string(50), 2)),
        ),
        _min_length_fits,
    ),
    "image": shape({"image_url": URL, "alt_text": string(MAX_ALT_TEXT)}),
}


def _elements_except(*kinds: str) -> Rule:
    return typed({kind: rule for kind, rule in ELEMENTS.items() if kind not in kinds})


MULTI_SELECTS = ("multi_static_select", "multi_external_select", "multi_users_select")
ACCESSORY = _elements_except("plain_text_input")
ACTION = _elements_except("plain_text_input", "image", *MULTI_SELECTS)
INPUT = _elements_except("button", "overflow", "image")

STYLE = shape({}, bold=BOOLEAN, italic=BOOLEAN, strike=BOOLEAN, code=BOOLEAN, underline=BOOLEAN)
RICH_TEXT_ELEMENT = typed(
    {
        "text": shape({"text": string(MAX_TEXT)}, style=STYLE),
        "link": shape({"url": URL}, text=string(MAX_TEXT), style=STYLE, unsafe=BOOLEAN),
        "user": shape({"user_id": ID}, style=STYLE),
        "usergroup": shape({"usergroup_id": ID}, style=STYLE),
        "channel": shape({"channel_id": ID}, style=STYLE),
        "broadcast": shape({"range": one_of("here", "channel", "everyone")}, style=STYLE),
        "emoji": shape({"name": ID}, unicode=ID, style=STYLE),
        "date": shape(
            {"timestamp": integer(0, 10**11), "format": string(MAX_TEXT)},
            url=URL,
            fallback=string(MAX_TEXT),
            style=STYLE,
        ),
    }
)
INLINE_ELEMENTS = {"elements": list_of(RICH_TEXT_ELEMENT, 1_000)}
BORDER = integer(0, 1)
RICH_TEXT_PARAGRAPHS: dict[str, Rule] = {
    "rich_text_section": shape(INLINE_ELEMENTS),
    "rich_text_quote": shape(INLINE_ELEMENTS, border=BORDER),
    "rich_text_preformatted": shape(INLINE_ELEMENTS, border=BORDER),
}
RICH_TEXT_LIST = shape(
    {
        "style": one_of("bullet", "ordered"),
        "elements": list_of(typed({"rich_text_section": RICH_TEXT_PARAGRAPHS["rich_text_section"]}), 1_000),
    },
    indent=integer(0, 8),
    offset=integer(0, 1_000_000),
    border=BORDER,
)

CONTEXT_ELEMENT = typed(
    {
        "plain_text": text(MAX_TEXT),
        "mrkdwn": text(MAX_TEXT),
        "image": ELEMENTS["image"],
    }
)
BLOCK = typed(
    {
        "header": shape({"text": text(MAX_HEADER, plain=True)}, block_id=ID),
        "divider": shape({}, block_id=ID),
        "section": then(
            shape(
                {},
                block_id=ID,
                text=text(MAX_TEXT),
                fields=list_of(text(MAX_SECTION_FIELD), MAX_SECTION_FIELDS),
                accessory=ACCESSORY,
                expand=BOOLEAN,
            ),
            _section_has_content,
        ),
        "context": shape({"elements": list_of(CONTEXT_ELEMENT, MAX_CONTEXT_ELEMENTS)}, block_id=ID),
        "actions": shape({"elements": list_of(ACTION, MAX_ACTIONS_ELEMENTS)}, block_id=ID),
        "input": shape(
            {"label": text(MAX_INPUT_LABEL, plain=True), "element": INPUT},
            block_id=ID,
            hint=text(MAX_INPUT_HINT, plain=True),
            optional=BOOLEAN,
            dispatch_action=BOOLEAN,
        ),
        "image": shape(
            {"image_url": URL, "alt_text": string(MAX_ALT_TEXT)},
            block_id=ID,
            title=text(MAX_ALT_TEXT, plain=True),
        ),
        "rich_text": shape(
            {"elements": list_of(typed({**RICH_TEXT_PARAGRAPHS, "rich_text_list": RICH_TEXT_LIST}), 1_000)},
            block_id=ID,
        ),
    }
)
MESSAGE_BLOCKS = list_of(BLOCK, MAX_MESSAGE_BLOCKS)
VIEW = typed(
    {
        "modal": shape(
            {"title": text(MAX_MODAL_TITLE, plain=True), "blocks": list_of(BLOCK, MAX_MODAL_BLOCKS)},
            submit=text(MAX_MODAL_TITLE, plain=True),
            close=text(MAX_MODAL_TITLE, plain=True),
            private_metadata=string(MAX_PRIVATE_METADATA, 0),
            callback_id=string(MAX_ID, 0),
            external_id=string(MAX_ID, 0),
            clear_on_close=BOOLEAN,
            notify_on_close=BOOLEAN,
        )
    }
)
