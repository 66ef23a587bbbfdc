"""What Slack refuses: the numbers and shapes of Block Kit, checked by pure functions.

A rule takes a value and the path to it and yields the problems, short sentences that start with the path.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import chain
from typing import Any

Rule = Callable[[Any, str], Iterable[str]]

TEXT_MOST = 3000
SECTION_FIELDS_MOST = 10
SECTION_FIELD_MOST = 2000
HEADER_MOST = 150
CONTEXT_ELEMENTS_MOST = 10
ACTIONS_ELEMENTS_MOST = 25
MESSAGE_BLOCKS_MOST = 50
MODAL_BLOCKS_MOST = 100
ID_MOST = 255
BUTTON_TEXT_MOST = 75
BUTTON_VALUE_MOST = 2000
URL_MOST = 3000
ACCESSIBILITY_LABEL_MOST = 75
OPTION_TEXT_MOST = 75
OPTION_VALUE_MOST = 150
OPTION_DESCRIPTION_MOST = 75
CHOICES_MOST = 10  # checkboxes and radio buttons
SELECT_OPTIONS_MOST = 100
OPTION_GROUPS_MOST = 100
OPTION_GROUP_LABEL_MOST = 75
OVERFLOW_MOST = 5
PLACEHOLDER_MOST = 150
CONFIRM_TITLE_MOST = 100
CONFIRM_TEXT_MOST = 300
CONFIRM_BUTTON_MOST = 30
INPUT_LABEL_MOST = 2000
INPUT_HINT_MOST = 2000
INPUT_MOST = 3000
MODAL_TITLE_MOST = 24
PRIVATE_METADATA_MOST = 3000
ALT_TEXT_MOST = 2000
METADATA_BYTES_MOST = 1000
TEXT_BUDGET = 3500  # of the top-level text: what one should stay under
MESSAGE_TEXT_MOST = 4000  # ... and what is refused
BLOCK_TEXT_BUDGET = 9000  # of all text in one message's blocks: what one should stay under
BLOCK_TEXT_MOST = 11000  # ... and what is refused
INITIAL = ("initial_option", "initial_options")


def message_problems(text: Any, blocks: Any, metadata: Any = None) -> list[str]:
    """Why Slack would refuse this message; nothing if it would not."""
    problems = [] if text is None else list(string(MESSAGE_TEXT_MOST, 0)(text, "text"))
    if blocks is not None:
        problems += MESSAGE_BLOCKS(blocks, "blocks")
        problems += _id_problems(blocks)
        if not problems and (length := block_text_length(blocks)) > BLOCK_TEXT_MOST:
            problems.append(f"blocks: {length} characters of text, at most {BLOCK_TEXT_MOST}")
    return problems + metadata_problems(metadata)


def metadata_problems(metadata: Any) -> list[str]:
    """Why Slack would refuse this metadata."""
    if metadata is None:
        return []
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_payload", {}), dict):
        return ["metadata: not an object with an event_type and an event_payload"]
    size = len(json.dumps(metadata.get("event_payload", {})).encode())
    return [f"metadata: {size} bytes, at most {METADATA_BYTES_MOST}"] if size > METADATA_BYTES_MOST else []


def metadata_is_kept(metadata: Mapping[str, Any]) -> bool:
    """Whether Slack keeps it: it loses metadata silently for a dot or a dash in the event_type."""
    return bool(re.fullmatch(r"\w+", str(metadata.get("event_type", "")), re.ASCII))


def view_problems(view: Any) -> list[str]:
    """Why Slack would refuse this modal; nothing if it would not."""
    problems = list(VIEW(view, "view"))
    if not isinstance(view, dict):
        return problems
    blocks = view.get("blocks")
    problems += _id_problems(blocks)
    if "submit" not in view and any(block.get("type") == "input" for block in _objects(blocks)):
        problems.append("view: inputs need a submit button")
    return problems


def option_problems(answer: Any) -> list[str]:
    """Why Slack would refuse this answer to a block_suggestion."""
    found = answer if isinstance(answer, dict) else {}
    if "option_groups" in found:
        return list(items(OPTION_GROUP, OPTION_GROUPS_MOST, 0)(found["option_groups"], "option_groups"))
    return list(items(PLAIN_OPTION, SELECT_OPTIONS_MOST, 0)(found.get("options"), "options"))


def block_text_length(blocks: Any) -> int:
    """How much text there is in the blocks, in characters; the texts of options do not count."""
    return sum(map(len, _texts(blocks, with_options=False)))


def blocks_text(blocks: Any) -> str:
    """All text in the blocks, one paragraph a line."""
    return "\n".join(_texts(blocks, with_options=True))


def _texts(value: Any, with_options: bool) -> Iterator[str]:
    if isinstance(value, list):
        yield from chain.from_iterable(_texts(part, with_options) for part in value)
    elif not isinstance(value, dict):
        return
    elif value.get("type") in RICH_PARAGRAPHS:
        yield "".join(_inline(element) for element in _objects(value.get("elements")))
    elif isinstance(value.get("text"), str):
        yield value["text"]
    else:
        hidden = INITIAL if with_options else (*INITIAL, "options", "option_groups")
        shown = (part for key, part in value.items() if key not in hidden)
        yield from chain.from_iterable(_texts(part, with_options) for part in shown)


def _inline(element: dict[str, Any]) -> str:
    """What a rich text element shows, more or less."""
    match element.get("type"):
        case "user" | "usergroup" | "channel" | "broadcast" as kind:
            mark = {"user": "@", "usergroup": "!subteam^", "channel": "#"}.get(kind, "!")
            return f"<{mark}{element.get('range') or element.get(f'{kind}_id')}>"
        case "emoji":
            return f":{element.get('name')}:"
        case _:
            found = (element.get(key) for key in ("text", "fallback", "url", "format"))
            return str(next(filter(None, found), ""))


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def elements_of(block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The buttons, menus and inputs of one block."""
    if block.get("type") not in ("section", "actions", "input"):
        return []
    return _objects([block.get("accessory"), block.get("element")]) + _objects(block.get("elements"))


def _id_problems(blocks: Any) -> Iterator[str]:
    found = _objects(blocks)
    yield from _repeated(found, "block_id", "blocks")
    for number, block in enumerate(found):
        yield from _repeated(elements_of(block), "action_id", f"blocks[{number}]")


def _repeated(objects: list[dict[str, Any]], key: str, path: str) -> Iterator[str]:
    ids = [str(item[key]) for item in objects if key in item]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    yield from (f"{path}: the {key} “{name}” is there twice" for name in twice)


# The rules that rules are made of.


def string(most: int, least: int = 1) -> Rule:
    def check(value: Any, path: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield f"{path}: not a string"
        elif not least <= len(value) <= most:
            yield f"{path}: {len(value)} characters, {least} to {most} allowed"

    return check


def integer(least: int, most: int) -> Rule:
    def check(value: Any, path: str) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            yield f"{path}: not a whole number from {least} to {most}"

    return check


def one_of(*allowed: object) -> Rule:
    def check(value: Any, path: str) -> Iterator[str]:
        if not any(value is each or (isinstance(value, str) and value == each) for each in allowed):
            yield f"{path}: not one of {', '.join(map(str, allowed))}"

    return check


def iso_date(value: Any, path: str) -> Iterator[str]:
    try:
        if date.fromisoformat(value).isoformat() == value:
            return
    except (TypeError, ValueError):
        pass
    yield f"{path}: not a date like 2024-12-31"


def items(rule: Rule, most: int, least: int = 1) -> Rule:
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
    """An object with these keys and no others; `type` is left to whoever chose this shape."""
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
    """An object whose `type` is one of these, in the shape of that type."""

    def check(value: Any, path: str) -> Iterator[str]:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in shapes:
            yield f"{path}: the type {kind!r} does not belong here"
        else:
            yield from shapes[kind](value, path)

    return check


def also(rule: Rule, further: Rule) -> Rule:
    """Both rules; the second may rely on the first."""

    def check(value: Any, path: str) -> Iterator[str]:
        problems = list(rule(value, path))
        yield from problems or further(value, path)

    return check


def text(most: int, *, plain: bool = False) -> Rule:
    words = {"text": string(most)}
    shapes = {"plain_text": shape(words, emoji=FLAG)}
    return typed(shapes if plain else {**shapes, "mrkdwn": shape(words, verbatim=FLAG)})


def _initial_are_options(value: Any, path: str) -> Iterator[str]:
    groups = [group["options"] for group in value.get("option_groups", ())]
    options = value.get("options") or list(chain.from_iterable(groups))
    initial = value.get("initial_options") or [value[key] for key in ("initial_option",) if key in value]
    if not options:
        yield f"{path}: options are missing"
    if not all(option in options for option in initial):
        yield f"{path}: initial options are not among the options, exactly as they stand there"


def _section_says_something(value: Any, path: str) -> Iterator[str]:
    if "text" not in value and "fields" not in value:
        yield f"{path}: neither text nor fields"


def _lengths_fit(value: Any, path: str) -> Iterator[str]:
    if value.get("min_length", 0) > value.get("max_length", INPUT_MOST):
        yield f"{path}: min_length is more than max_length"


# Block Kit, from the inside out.

FLAG = one_of(True, False)
ID = string(ID_MOST)
URL = string(URL_MOST)
CONFIRM = shape(
    {
        "title": text(CONFIRM_TITLE_MOST, plain=True),
        "text": text(CONFIRM_TEXT_MOST),
        "confirm": text(CONFIRM_BUTTON_MOST, plain=True),
        "deny": text(CONFIRM_BUTTON_MOST, plain=True),
    },
    style=one_of("primary", "danger"),
)


def _option(*, plain: bool, **more: Rule) -> Rule:
    words = text(OPTION_TEXT_MOST, plain=plain)
    described = text(OPTION_DESCRIPTION_MOST, plain=plain)
    return shape({"text": words, "value": string(OPTION_VALUE_MOST)}, description=described, **more)


PLAIN_OPTION = _option(plain=True)
CHOICE = _option(plain=False)
OPTION_GROUP = shape(
    {
        "label": text(OPTION_GROUP_LABEL_MOST, plain=True),
        "options": items(PLAIN_OPTION, SELECT_OPTIONS_MOST),
    }
)
COMMON: dict[str, Rule] = {"action_id": ID, "confirm": CONFIRM, "focus_on_load": FLAG}
MENU: dict[str, Rule] = {**COMMON, "placeholder": text(PLACEHOLDER_MOST, plain=True)}
ONE_OPTION: dict[str, Rule] = {"initial_option": PLAIN_OPTION}
MANY_OPTIONS: dict[str, Rule] = {
    "initial_options": items(PLAIN_OPTION, SELECT_OPTIONS_MOST),
    "max_selected_items": integer(1, 1_000_000),
}
STATIC: dict[str, Rule] = {
    "options": items(PLAIN_OPTION, SELECT_OPTIONS_MOST),
    "option_groups": items(OPTION_GROUP, OPTION_GROUPS_MOST),
}
EXTERNAL: dict[str, Rule] = {"min_query_length": integer(0, 1_000_000)}
CHOICES: dict[str, Rule] = {"options": items(CHOICE, CHOICES_MOST)}

ELEMENTS: dict[str, Rule] = {
    "button": shape(
        {"text": text(BUTTON_TEXT_MOST, plain=True)},
        action_id=ID,
        confirm=CONFIRM,
        value=string(BUTTON_VALUE_MOST),
        url=URL,
        style=one_of("primary", "danger"),
        accessibility_label=string(ACCESSIBILITY_LABEL_MOST),
    ),
    "checkboxes": also(
        shape(CHOICES, **COMMON, initial_options=items(CHOICE, CHOICES_MOST)), _initial_are_options
    ),
    "radio_buttons": also(shape(CHOICES, **COMMON, initial_option=CHOICE), _initial_are_options),
    "overflow": shape(
        {"options": items(_option(plain=True, url=URL), OVERFLOW_MOST)}, action_id=ID, confirm=CONFIRM
    ),
    "static_select": also(shape({}, **MENU, **STATIC, **ONE_OPTION), _initial_are_options),
    "multi_static_select": also(shape({}, **MENU, **STATIC, **MANY_OPTIONS), _initial_are_options),
    "external_select": shape({}, **MENU, **EXTERNAL, **ONE_OPTION),
    "multi_external_select": shape({}, **MENU, **EXTERNAL, **MANY_OPTIONS),
    "users_select": shape({}, **MENU, initial_user=ID),
    "multi_users_select": shape(
        {}, **MENU, initial_users=items(ID, 100), max_selected_items=integer(1, 1_000_000)
    ),
    "datepicker": shape({}, **MENU, initial_date=iso_date),
    "plain_text_input": also(
        shape(
            {},
            action_id=ID,
            focus_on_load=FLAG,
            placeholder=text(PLACEHOLDER_MOST, plain=True),
            multiline=FLAG,
            initial_value=string(INPUT_MOST, 0),
            min_length=integer(0, INPUT_MOST),
            max_length=integer(1, INPUT_MOST),
            dispatch_action_config=shape({}, trigger_actions_on=items(string(50), 2)),
        ),
        _lengths_fit,
    ),
    "image": shape({"image_url": URL, "alt_text": string(ALT_TEXT_MOST)}),
}


def _elements(*left_out: str) -> Rule:
    return typed({kind: rule for kind, rule in ELEMENTS.items() if kind not in left_out})


MULTI_SELECTS = ("multi_static_select", "multi_external_select", "multi_users_select")
ACCESSORY = _elements("plain_text_input")
ACTION = _elements("plain_text_input", "image", *MULTI_SELECTS)
INPUT = _elements("button", "overflow", "image")

STYLE = shape({}, bold=FLAG, italic=FLAG, strike=FLAG, code=FLAG, underline=FLAG)
RICH_TEXT_ELEMENT = typed(
    {
        "text": shape({"text": string(TEXT_MOST)}, style=STYLE),
        "link": shape({"url": URL}, text=string(TEXT_MOST), style=STYLE, unsafe=FLAG),
        "user": shape({"user_id": ID}, style=STYLE),
        "usergroup": shape({"usergroup_id": ID}, style=STYLE),
        "channel": shape({"channel_id": ID}, style=STYLE),
        "broadcast": shape({"range": one_of("here", "channel", "everyone")}, style=STYLE),
        "emoji": shape({"name": ID}, unicode=ID, style=STYLE),
        "date": shape(
            {"timestamp": integer(0, 10**11), "format": string(TEXT_MOST)},
            url=URL,
            fallback=string(TEXT_MOST),
            style=STYLE,
        ),
    }
)
INLINE = {"elements": items(RICH_TEXT_ELEMENT, 1_000)}
BORDER = integer(0, 1)
RICH_PARAGRAPHS: dict[str, Rule] = {
    "rich_text_section": shape(INLINE),
    "rich_text_quote": shape(INLINE, border=BORDER),
    "rich_text_preformatted": shape(INLINE, border=BORDER),
}
RICH_TEXT_LIST = shape(
    {
        "style": one_of("bullet", "ordered"),
        "elements": items(typed({"rich_text_section": RICH_PARAGRAPHS["rich_text_section"]}), 1_000),
    },
    indent=integer(0, 8),
    offset=integer(0, 1_000_000),
    border=BORDER,
)

CONTEXT_ELEMENT = typed(
    {
        "plain_text": text(TEXT_MOST),
        "mrkdwn": text(TEXT_MOST),
        "image": ELEMENTS["image"],
    }
)
BLOCK = typed(
    {
        "header": shape({"text": text(HEADER_MOST, plain=True)}, block_id=ID),
        "divider": shape({}, block_id=ID),
        "section": also(
            shape(
                {},
                block_id=ID,
                text=text(TEXT_MOST),
                fields=items(text(SECTION_FIELD_MOST), SECTION_FIELDS_MOST),
                accessory=ACCESSORY,
                expand=FLAG,
            ),
            _section_says_something,
        ),
        "context": shape({"elements": items(CONTEXT_ELEMENT, CONTEXT_ELEMENTS_MOST)}, block_id=ID),
        "actions": shape({"elements": items(ACTION, ACTIONS_ELEMENTS_MOST)}, block_id=ID),
        "input": shape(
            {"label": text(INPUT_LABEL_MOST, plain=True), "element": INPUT},
            block_id=ID,
            hint=text(INPUT_HINT_MOST, plain=True),
            optional=FLAG,
            dispatch_action=FLAG,
        ),
        "image": shape(
            {"image_url": URL, "alt_text": string(ALT_TEXT_MOST)},
            block_id=ID,
            title=text(ALT_TEXT_MOST, plain=True),
        ),
        "rich_text": shape(
            {"elements": items(typed({**RICH_PARAGRAPHS, "rich_text_list": RICH_TEXT_LIST}), 1_000)},
            block_id=ID,
        ),
    }
)
MESSAGE_BLOCKS = items(BLOCK, MESSAGE_BLOCKS_MOST)
VIEW = typed(
    {
        "modal": shape(
            {"title": text(MODAL_TITLE_MOST, plain=True), "blocks": items(BLOCK, MODAL_BLOCKS_MOST)},
            submit=text(MODAL_TITLE_MOST, plain=True),
            close=text(MODAL_TITLE_MOST, plain=True),
            private_metadata=string(PRIVATE_METADATA_MOST, 0),
            callback_id=string(ID_MOST, 0),
            external_id=string(ID_MOST, 0),
            clear_on_close=FLAG,
            notify_on_close=FLAG,
        )
    }
)
