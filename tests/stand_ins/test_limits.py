"""The limits of Block Kit: what is exactly at a limit is accepted, and what is one over it is a problem."""

from typing import Any

import pytest

from sandbox.limits import (
    BLOCK_TEXT_BUDGET,
    MAX_BLOCK_TEXT,
    block_text_length,
    blocks_text,
    message_problems,
    metadata_is_kept,
    option_problems,
    view_problems,
)

Json = dict[str, Any]


def plain(length: int = 1) -> Json:
    return {"type": "plain_text", "text": "x" * length}


def mrkdwn(length: int = 1) -> Json:
    return {"type": "mrkdwn", "text": "x" * length}


def option(number: int = 0, **more: Any) -> Json:
    return {"text": plain(), "value": str(number), **more}


def options(count: int) -> list[Json]:
    return [option(number) for number in range(count)]


def button(**more: Any) -> Json:
    return {"type": "button", "text": plain(), **more}


def confirm(**more: Any) -> Json:
    return {"title": plain(), "text": plain(), "confirm": plain(), "deny": plain(), **more}


def section(**more: Any) -> Json:
    return {"type": "section", "text": mrkdwn(), **more}


def accessory(kind: str, **more: Any) -> Json:
    return section(accessory={"type": kind, **more})


def actions(*elements: Json) -> Json:
    return {"type": "actions", "elements": list(elements)}


def entry(element: Json | None = None, **more: Any) -> Json:
    return {"type": "input", "label": plain(), "element": element or {"type": "plain_text_input"}, **more}


def text_entry(**more: Any) -> Json:
    return entry({"type": "plain_text_input", **more})


def rich(*elements: Json, kind: str = "rich_text_section") -> Json:
    return {"type": "rich_text", "elements": [{"type": kind, "elements": list(elements)}]}


def rich_list(**more: Any) -> Json:
    item = {"type": "rich_text_section", "elements": [{"type": "text", "text": "x"}]}
    return {
        "type": "rich_text",
        "elements": [{"type": "rich_text_list", "style": "bullet", "elements": [item], **more}],
    }


def grouped(groups: int, size: int = 1) -> Json:
    found = [{"label": plain(), "options": options(size)} for _ in range(groups)]
    return accessory("static_select", option_groups=found)


def link(length: int) -> Json:
    return {"type": "link", "url": "h" * length}


BLOCKS: dict[str, tuple[Json, Json]] = {
    "text 3000": (section(text=mrkdwn(3000)), section(text=mrkdwn(3001))),
    "text not empty": (section(text=plain(1)), section(text=plain(0))),
    "fields 10": (section(fields=[plain()] * 10), section(fields=[plain()] * 11)),
    "fields not empty": (section(fields=[plain()]), section(fields=[])),
    "field 2000": (section(fields=[plain(2000)]), section(fields=[plain(2001)])),
    "section without anything": ({"type": "section", "fields": [plain()]}, {"type": "section"}),
    "expand": (section(expand=True), section(expand="yes")),
    "header 150": ({"type": "header", "text": plain(150)}, {"type": "header", "text": plain(151)}),
    "header plain": ({"type": "header", "text": plain()}, {"type": "header", "text": mrkdwn()}),
    "context 10": (
        {"type": "context", "elements": [plain()] * 10},
        {"type": "context", "elements": [plain()] * 11},
    ),
    "context without buttons": (
        {"type": "context", "elements": [mrkdwn()]},
        {"type": "context", "elements": [button()]},
    ),
    "actions 25": (actions(*[button()] * 25), actions(*[button()] * 26)),
    "actions not empty": (actions(button()), actions()),
    "actions without texts": (actions(button()), actions({"type": "plain_text_input"})),
    "actions without multi selects": (
        actions({"type": "external_select"}),
        actions({"type": "multi_external_select"}),
    ),
    "block_id 255": (section(block_id="x" * 255), section(block_id="x" * 256)),
    "action_id 255": (actions(button(action_id="x" * 255)), actions(button(action_id="x" * 256))),
    "action_ids differ": (
        actions(button(action_id="a"), button(action_id="b")),
        actions(button(action_id="a"), button(action_id="a")),
    ),
    "button text 75": (actions(button(text=plain(75))), actions(button(text=plain(76)))),
    "button plain": (actions(button(text=plain())), actions(button(text=mrkdwn()))),
    "button value 2000": (actions(button(value="x" * 2000)), actions(button(value="x" * 2001))),
    "button value not empty": (actions(button(value="x")), actions(button(value=""))),
    "button url 3000": (actions(button(url="x" * 3000)), actions(button(url="x" * 3001))),
    "button label 75": (
        actions(button(accessibility_label="x" * 75)),
        actions(button(accessibility_label="x" * 76)),
    ),
    "button style": (actions(button(style="danger")), actions(button(style="default"))),
    "confirm title 100": (
        actions(button(confirm=confirm(title=plain(100)))),
        actions(button(confirm=confirm(title=plain(101)))),
    ),
    "confirm text 300": (
        actions(button(confirm=confirm(text=mrkdwn(300)))),
        actions(button(confirm=confirm(text=mrkdwn(301)))),
    ),
    "confirm confirm 30": (
        actions(button(confirm=confirm(confirm=plain(30)))),
        actions(button(confirm=confirm(confirm=plain(31)))),
    ),
    "confirm deny 30": (
        actions(button(confirm=confirm(deny=plain(30)))),
        actions(button(confirm=confirm(deny=plain(31)))),
    ),
    "option text 75": (
        accessory("checkboxes", options=[option(text=mrkdwn(75))]),
        accessory("checkboxes", options=[option(text=mrkdwn(76))]),
    ),
    "option value 150": (
        accessory("checkboxes", options=[option(value="x" * 150)]),
        accessory("checkboxes", options=[option(value="x" * 151)]),
    ),
    "option value not empty": (
        accessory("checkboxes", options=[option(value="x")]),
        accessory("checkboxes", options=[option(value="")]),
    ),
    "option description 75": (
        accessory("radio_buttons", options=[option(description=plain(75))]),
        accessory("radio_buttons", options=[option(description=plain(76))]),
    ),
    "option of a select plain": (
        accessory("static_select", options=[option(text=plain())]),
        accessory("static_select", options=[option(text=mrkdwn())]),
    ),
    "checkboxes 10": (
        accessory("checkboxes", options=options(10)),
        accessory("checkboxes", options=options(11)),
    ),
    "checkboxes not empty": (
        accessory("checkboxes", options=options(1)),
        accessory("checkboxes", options=[]),
    ),
    "radio buttons 10": (
        accessory("radio_buttons", options=options(10)),
        accessory("radio_buttons", options=options(11)),
    ),
    "static select 100": (
        accessory("static_select", options=options(100)),
        accessory("static_select", options=options(101)),
    ),
    "static select not empty": (
        accessory("static_select", options=options(1)),
        accessory("static_select"),
    ),
    "multi select 100": (
        accessory("multi_static_select", options=options(100)),
        accessory("multi_static_select", options=options(101)),
    ),
    "option groups 100": (grouped(100), grouped(101)),
    "options of a group 100": (grouped(1, 100), grouped(1, 101)),
    "overflow 5": (accessory("overflow", options=options(5)), accessory("overflow", options=options(6))),
    "overflow url 3000": (
        accessory("overflow", options=[option(url="x" * 3000)]),
        accessory("overflow", options=[option(url="x" * 3001)]),
    ),
    "url only in overflow": (
        accessory("overflow", options=[option(url="x")]),
        accessory("checkboxes", options=[option(url="x")]),
    ),
    "placeholder 150": (
        accessory("external_select", placeholder=plain(150)),
        accessory("external_select", placeholder=plain(151)),
    ),
    "min_query_length": (
        accessory("multi_external_select", min_query_length=0),
        accessory("multi_external_select", min_query_length="0"),
    ),
    "initial options exactly": (
        accessory("checkboxes", options=options(2), initial_options=[option(1)]),
        accessory("checkboxes", options=options(2), initial_options=[option(1, description=plain())]),
    ),
    "initial option exactly": (
        accessory("static_select", options=options(2), initial_option=option(1)),
        accessory("static_select", options=options(2), initial_option=option(2)),
    ),
    "initial options not empty": (
        accessory("checkboxes", options=options(2), initial_options=options(2)),
        accessory("checkboxes", options=options(2), initial_options=[]),
    ),
    "initial date": (
        accessory("datepicker", initial_date="2024-02-29"),
        accessory("datepicker", initial_date="2023-02-29"),
    ),
    "initial date in full": (
        accessory("datepicker", initial_date="2024-02-09"),
        accessory("datepicker", initial_date="20240209"),
    ),
    "no text entry beside a section": (entry(), accessory("plain_text_input")),
    "no button in an input": (entry(), entry(button())),
    "label 2000": (entry(label=plain(2000)), entry(label=plain(2001))),
    "label plain": (entry(label=plain()), entry(label=mrkdwn())),
    "hint 2000": (entry(hint=plain(2000)), entry(hint=plain(2001))),
    "max_length 3000": (text_entry(max_length=3000), text_entry(max_length=3001)),
    "max_length 1": (text_entry(max_length=1), text_entry(max_length=0)),
    "min_length 3000": (text_entry(min_length=3000), text_entry(min_length=3001)),
    "min_length below max_length": (
        text_entry(min_length=5, max_length=5),
        text_entry(min_length=6, max_length=5),
    ),
    "divider": ({"type": "divider"}, {"type": "divider", "text": plain()}),
    "known blocks": ({"type": "divider"}, {"type": "separator"}),
    "known elements": (actions(button()), actions({"type": "slider"})),
    "known keys": (actions(button(value="x")), actions(button(values="x"))),
    "nothing but objects": (section(), section(accessory="x")),
    "emoji is for plain text": (
        section(text={**plain(), "emoji": False}),
        section(text={**mrkdwn(), "emoji": False}),
    ),
    "verbatim is for mrkdwn": (
        section(text={**mrkdwn(), "verbatim": True}),
        section(text={**plain(), "verbatim": True}),
    ),
    "rich text not empty": (rich({"type": "text", "text": "x"}), rich({"type": "text", "text": ""})),
    "rich text has elements": (rich({"type": "user", "user_id": "U1"}), rich()),
    "rich text styles": (
        rich({"type": "text", "text": "x", "style": {"bold": True}}),
        rich({"type": "text", "text": "x", "style": {"blink": True}}),
    ),
    "rich text quotes": (
        rich({"type": "text", "text": "x"}, kind="rich_text_quote"),
        rich({"type": "text", "text": "x"}, kind="rich_text_poem"),
    ),
    "rich text code": (
        rich({"type": "text", "text": "x"}, kind="rich_text_preformatted"),
        rich({"type": "mrkdwn", "text": "x"}, kind="rich_text_preformatted"),
    ),
    "rich text lists": (rich_list(indent=1), rich_list(style="stars")),
    "rich text link 3000": (rich(link(3000)), rich(link(3001))),
    "rich text date": (
        rich({"type": "date", "timestamp": 1700000000, "format": "{date_num}", "fallback": "then"}),
        rich({"type": "date", "timestamp": "1700000000", "format": "{date_num}"}),
    ),
    "rich text emoji": (rich({"type": "emoji", "name": "sparkles"}), rich({"type": "emoji"})),
    "rich text broadcast": (
        rich({"type": "broadcast", "range": "here"}),
        rich({"type": "broadcast", "range": "moon"}),
    ),
    "image in a section": (
        accessory("image", image_url="https://x", alt_text="x"),
        accessory("image", image_url="https://x"),
    ),
}


@pytest.mark.parametrize(("taken", "refused"), BLOCKS.values(), ids=BLOCKS)
def test_a_block_is_accepted_up_to_the_limit(taken: Json, refused: Json) -> None:
    assert message_problems("text", [taken]) == []
    problems = message_problems("text", [refused])
    assert problems
    assert all(problem.startswith("blocks") for problem in problems)


def numbered(count: int) -> list[Json]:
    return [{"type": "divider", "block_id": f"b{number}"} for number in range(count)]


def texts(total: int) -> list[Json]:
    whole, rest = divmod(total, 3000)
    return [section(text=plain(length)) for length in [3000] * whole + [rest] * bool(rest)]


MESSAGES: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "blocks 50": (("x", numbered(50)), ("x", numbered(51))),
    "blocks not empty": (("x", numbered(1)), ("x", [])),
    "block_ids differ": (("x", numbered(2)), ("x", numbered(1) * 2)),
    "text 4000": (("x" * 4000, None), ("x" * 4001, None)),
    "all text": ((None, texts(MAX_BLOCK_TEXT)), (None, texts(MAX_BLOCK_TEXT + 1))),
    "metadata 1000": (
        ("x", None, {"event_type": "card", "event_payload": {"k": "x" * 991}}),
        ("x", None, {"event_type": "card", "event_payload": {"k": "x" * 992}}),
    ),
    "metadata objects": (("x", None, {"event_payload": {}}), ("x", None, {"event_payload": []})),
}


@pytest.mark.parametrize(("taken", "refused"), MESSAGES.values(), ids=MESSAGES)
def test_a_message_is_accepted_up_to_the_limit(taken: tuple[Any, ...], refused: tuple[Any, ...]) -> None:
    assert message_problems(*taken) == []
    assert message_problems(*refused)


def view(**more: Any) -> Json:
    return {"type": "modal", "title": plain(), "blocks": [section()], **more}


def focused(number: int) -> Json:
    return accessory("radio_buttons", options=options(1), action_id=f"a{number}", focus_on_load=True)


VIEWS: dict[str, tuple[Json, Json]] = {
    "title 24": (view(title=plain(24)), view(title=plain(25))),
    "title not empty": (view(title=plain(1)), view(title=plain(0))),
    "title plain": (view(title=plain()), view(title=mrkdwn())),
    "submit 24": (view(submit=plain(24)), view(submit=plain(25))),
    "close 24": (view(close=plain(24)), view(close=plain(25))),
    "blocks 100": (view(blocks=numbered(100)), view(blocks=numbered(101))),
    "block_ids differ": (view(blocks=numbered(2)), view(blocks=numbered(1) * 2)),
    "private_metadata 3000": (view(private_metadata="x" * 3000), view(private_metadata="x" * 3001)),
    "callback_id 255": (view(callback_id="x" * 255), view(callback_id="x" * 256)),
    "inputs need submit": (view(blocks=[entry()], submit=plain()), view(blocks=[entry()])),
    "one focus_on_load": (view(blocks=[focused(1)]), view(blocks=[focused(1), focused(2)])),
    "known keys": (view(notify_on_close=True), view(notify=True)),
    "type": (view(), view(type="dialog")),
}


@pytest.mark.parametrize(("taken", "refused"), VIEWS.values(), ids=VIEWS)
def test_a_modal_is_accepted_up_to_the_limit(taken: Json, refused: Json) -> None:
    assert view_problems(taken) == []
    assert all(problem.startswith(("view", "blocks")) for problem in view_problems(refused))
    assert view_problems(refused)


@pytest.mark.parametrize("nonsense", [None, [], "x", 1])
def test_nonsense_is_a_problem_and_does_not_crash(nonsense: object) -> None:
    assert view_problems(nonsense)
    assert message_problems("x", [nonsense])
    assert option_problems(nonsense)


def test_there_may_be_up_to_100_suggestions_or_none() -> None:
    assert option_problems({"options": options(100)}) == []
    assert option_problems({"options": []}) == []
    assert option_problems({"options": options(101)})
    assert option_problems({"option_groups": [{"label": plain(), "options": options(100)}]}) == []
    assert option_problems({"option_groups": [{"label": plain(), "options": options(101)}]})


@pytest.mark.parametrize(
    ("event_type", "kept"),
    [("access_card_1", True), ("access.card", False), ("access-card", False), ("", False)],
)
def test_metadata_with_a_bad_event_type_is_dropped(event_type: str, kept: bool) -> None:
    assert metadata_is_kept({"event_type": event_type, "event_payload": {}}) is kept


def test_all_text_counts_except_that_of_options() -> None:
    blocks = [
        section(text=plain(5), fields=[plain(7)], accessory={"type": "checkboxes", "options": options(3)}),
        actions(button(text=plain(11))),
        rich({"type": "text", "text": "x" * 13}, {"type": "link", "url": "x" * 17}),
    ]
    assert block_text_length(blocks) == 5 + 7 + 11 + 13 + 17
    assert block_text_length(texts(BLOCK_TEXT_BUDGET)) == BLOCK_TEXT_BUDGET


def test_blocks_are_read_as_they_are_on_the_screen() -> None:
    blocks = [
        rich(
            {"type": "text", "text": "By "},
            {"type": "user", "user_id": "U1"},
            {"type": "text", "text": " on "},
            {"type": "date", "timestamp": 0, "format": "{date}", "fallback": "Monday"},
        ),
        section(accessory={"type": "checkboxes", "options": [option(text=plain(3))]}),
    ]
    assert blocks_text(blocks) == "By <@U1> on Monday\nx\nxxx"
