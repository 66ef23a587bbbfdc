"""The stand-in for Slack behaves like Slack, as far as that is known, for Slack's own SDK."""

import base64
import http.client
import json
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier

from sandbox.slack import Refused, SlackStandIn
from sandbox.slack_api import SCOPE_OF
from sandbox.stand_in import Exchange, Incoming, Reply, StandIn
from sandbox.workspace import (
    ANN,
    BOB,
    DAN,
    EVE,
    GIL,
    GUS,
    NOEL,
    ROBOT,
    SAM,
    UNA,
    Answer,
    Channel,
    manifest_shortcuts,
)
from tests.support.world import free_port

Json = dict[str, Any]

CHANNEL = "C0REQUESTS"


class App(StandIn):
    """An app that gives the answer that a test sets."""

    def __init__(self) -> None:
        super().__init__([])
        self.reply = Reply()

    def call_name(self, incoming: Incoming) -> str:
        return incoming.path

    def work(self, incoming: Incoming) -> Reply:
        return self.reply


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    app = App()
    app.serve()
    yield app
    app.stop()


@pytest.fixture
def slack(app: App) -> Iterator[SlackStandIn]:
    app.reply = Reply()
    slack = SlackStandIn()
    slack.serve(free_port())
    slack.app_url = app.url
    yield slack
    slack.stop()


@pytest.fixture
def client(slack: SlackStandIn) -> WebClient:
    return WebClient(token=slack.bot_token, base_url=slack.api_url, retry_handlers=[], timeout=5)


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def option(name: str) -> Json:
    return {"text": plain(name.title()), "value": name}


def button(action_id: str = "approve", block_id: str = "buttons") -> Json:
    element = {"type": "button", "action_id": action_id, "text": plain("Go"), "value": "7"}
    return {"type": "actions", "block_id": block_id, "elements": [element]}


def ticks(block_id: str, *initial: str, names: tuple[str, ...] = ("one", "two")) -> Json:
    """Return an input with checkboxes, of which the initial ones are ticked."""
    element: Json = {"type": "checkboxes", "action_id": "groups", "options": [option(name) for name in names]}
    if initial:
        element["initial_options"] = [option(name) for name in initial]
    return {"type": "input", "block_id": block_id, "label": plain("Groups"), "element": element}


def search_box() -> Json:
    element = {"type": "multi_external_select", "action_id": "more", "min_query_length": 1}
    return {"type": "input", "block_id": "more", "label": plain("More"), "element": element, "optional": True}


def reason(**more: Any) -> Json:
    element = {"type": "plain_text_input", "action_id": "reason", "max_length": 10, **more}
    return {"type": "input", "block_id": "why", "label": plain("Why"), "element": element}


def modal(*blocks: Json, **more: Any) -> Json:
    return {
        "type": "modal",
        "callback_id": "reject",
        "title": plain("Reject"),
        "submit": plain("Reject"),
        "private_metadata": "request 1",
        "blocks": list(blocks) or [reason()],
        **more,
    }


def post(client: WebClient, text: str = "hello", **more: Any) -> str:
    return str(client.chat_postMessage(channel=CHANNEL, text=text, **more)["ts"])


def error_of(call: Callable[[], Any]) -> str:
    """Make a call that Slack refuses; return Slack's error."""
    with pytest.raises(SlackApiError) as caught:
        call()
    return str(caught.value.response["error"])


def payload_of(answer: Answer) -> Json:
    """Return the payload that was sent to the app to get this answer."""
    payload: Json = json.loads(parse_qs(answer.sent[0].decode())["payload"][0])
    return payload


def selected(payload: Json, block_id: str) -> list[str]:
    """Return the values that are chosen in an input of a payload."""
    options = payload["state"]["values"][block_id]["groups"]["selected_options"]
    return [option["value"] for option in options]


# Errors of the Web API. Each entry has the error, a change of the workspace, and the call that then fails.

Change = Callable[[SlackStandIn], Any]
Call = Callable[[WebClient], Any]


def shut(**changes: Any) -> Change:
    """Return a change of the channel."""
    return lambda slack: vars(slack.channels[CHANNEL]).update(changes)


def without(scope: str) -> Change:
    """Return the change that takes a scope away from the app."""
    return lambda slack: slack.scopes.discard(scope)


def unchanged(slack: SlackStandIn) -> None:
    """Change nothing."""
    pass


def history(client: WebClient, **more: Any) -> list[Json]:
    """Return the channel's messages, newest first."""
    found: list[Json] = client.conversations_history(channel=CHANNEL, **more)["messages"]
    return found


def test_blocks_are_validated_without_a_token_and_nothing_is_posted(slack: SlackStandIn) -> None:
    def refusal(**asked: Any) -> list[Any]:
        with pytest.raises(SlackApiError) as caught:
            anybody.blocks_validate(**asked)
        answer = caught.value.response
        return [answer["error"], *(error["pointer"] for error in answer.get("errors", []))]

    anybody = WebClient(base_url=slack.api_url)
    good: Json = {"type": "header", "text": {"type": "plain_text", "text": "Hello"}}
    bad = {**good, "text": {"type": "plain_text", "text": "x" * 151}}
    window: Json = {"type": "modal", "title": good["text"], "blocks": [good]}
    for asked in ({"blocks": [good]}, {"message": {"blocks": [good]}}, {"view": window}):
        assert anybody.blocks_validate(**asked)["ok"]
    assert refusal(blocks=[good, bad]) == ["invalid_blocks", "/1/text/text"]
    assert refusal(message={"blocks": [bad]}) == ["invalid_message", "/blocks/0/text/text"]
    assert refusal(message={"text": "Hello", "blocks": [good]}) == ["invalid_message", "/text"]
    assert refusal(view={**window, "title": bad["text"]}) == ["invalid_view", "/title/text"]
    assert refusal(view=window, blocks=[good]) == refusal() == ["invalid_arguments"]
    assert not slack.messages


ERRORS: list[tuple[str, Change, Call]] = [
    (
        "invalid_auth",
        lambda slack: setattr(slack, "bot_token", "xoxb-other"),
        lambda client: client.auth_test(),
    ),
    ("not_authed", unchanged, lambda client: WebClient(base_url=client.base_url).auth_test()),
    ("unknown_method", unchanged, lambda client: client.api_call("chat.shout")),
    ("missing_scope", without("channels:history"), history),
    (
        "missing_scope",
        without("channels:read"),
        lambda client: client.conversations_info(channel=CHANNEL),
    ),
    ("channel_not_found", unchanged, lambda client: client.chat_postMessage(channel="C1", text="x")),
    ("channel_not_found", shut(is_private=True, is_member=False), post),
    ("not_in_channel", shut(is_member=False), post),
    ("not_in_channel", shut(is_member=False), history),
    ("is_archived", shut(is_archived=True), post),
    ("no_text", unchanged, lambda client: client.api_call("chat.postMessage", json={"channel": CHANNEL})),
    ("msg_too_long", unchanged, lambda client: post(client, "x" * 4001)),
    ("invalid_blocks", unchanged, lambda client: post(client, blocks=[{"type": "section"}])),
    ("metadata_too_large", unchanged, lambda client: post(client, metadata=note("x" * 1000))),
    ("thread_not_found", unchanged, lambda client: post(client, thread_ts="1.000001")),
    (
        "message_not_found",
        unchanged,
        lambda client: client.chat_update(channel=CHANNEL, ts="1.000001", text="x"),
    ),
    (
        "cant_update_message",
        lambda slack: slack.post_as(ANN, "hi"),
        lambda client: client.chat_update(channel=CHANNEL, ts=history(client)[0]["ts"], text="x"),
    ),
    (
        "is_inactive",
        shut(is_archived=True),
        lambda client: client.chat_update(channel=CHANNEL, ts="1.000001", text="x"),
    ),
    (
        "user_not_in_channel",
        unchanged,
        lambda client: client.chat_postEphemeral(channel=CHANNEL, user=DAN, text="x"),
    ),
    ("user_not_found", unchanged, lambda client: client.users_info(user="U1")),
    ("users_not_found", unchanged, lambda client: client.users_lookupByEmail(email="nobody@harbor.example")),
    ("users_not_found", unchanged, lambda client: client.users_lookupByEmail(email="dan@harbor.example")),
    ("no_such_subteam", unchanged, lambda client: client.usergroups_users_list(usergroup="S1")),
    ("invalid_limit", unchanged, lambda client: history(client, limit=1000)),
    ("invalid_cursor", unchanged, lambda client: history(client, cursor="!")),
    (
        "invalid_cursor",
        unchanged,
        lambda client: client.conversations_members(channel=CHANNEL, cursor="bmV4dDp4"),  # next:x
    ),
    (
        "not_in_channel",
        shut(is_member=False),
        lambda client: client.conversations_members(channel=CHANNEL),
    ),
    *(
        ("missing_scope", without(scope), lambda client, call=call: client.api_call(call))
        for call, scope in SCOPE_OF.items()
    ),
    ("invalid_ts_oldest", unchanged, lambda client: history(client, oldest="monday")),
    ("invalid_trigger_id", unchanged, lambda client: client.views_open(trigger_id="1.2.3", view=modal())),
    # Slack reads JSON bodies only in methods that write.
    (
        "channel_not_found",
        unchanged,
        lambda client: client.api_call("conversations.history", json={"channel": CHANNEL}),
    ),
]


def note(text: str) -> Json:
    return {"event_type": "access_card", "event_payload": {"id": text}}


@pytest.mark.parametrize(
    ("error", "change", "call"), ERRORS, ids=[f"{number}-{each[0]}" for number, each in enumerate(ERRORS)]
)
def test_the_web_api_refuses_as_slack_does(
    slack: SlackStandIn, client: WebClient, error: str, change: Change, call: Call
) -> None:
    change(slack)
    before = len(slack.messages)
    assert error_of(lambda: call(client)) == error
    assert len(slack.messages) == before


def test_refusals_say_what_is_wrong(slack: SlackStandIn, client: WebClient) -> None:
    with pytest.raises(SlackApiError) as caught:
        post(client, blocks=[{"type": "header", "text": plain("x" * 151)}])
    messages = caught.value.response["response_metadata"]["messages"]
    assert messages == ["blocks[0].text.text: 151 characters, 1 to 150 allowed"]
    slack.scopes.clear()
    with pytest.raises(SlackApiError) as caught:
        post(client)
    assert caught.value.response["needed"] == "chat:write"


def test_auth_test_says_who_the_app_is_and_what_it_may(slack: SlackStandIn, client: WebClient) -> None:
    answer = client.auth_test()
    assert (answer["team_id"], answer["bot_id"]) == ("T0SANDBOX", slack.bot_id)
    assert "enterprise_id" not in answer.data
    assert set(answer.headers["x-oauth-scopes"].split(",")) == slack.scopes


def test_an_update_keeps_metadata_and_drops_blocks_unless_they_are_sent(
    slack: SlackStandIn, client: WebClient
) -> None:
    ts = post(client, blocks=[button()], metadata=note("1"))
    client.chat_update(channel=CHANNEL, ts=ts, text="bye")
    [card] = slack.cards()
    assert (card.text, card.blocks, card.metadata, card.edited) == ("bye", [], note("1"), 1)
    assert card.history == [("hello", [button()], note("1"))]
    client.chat_update(channel=CHANNEL, ts=ts, text="again", blocks=[button()], metadata=note("2"))
    assert (card.blocks, card.metadata, card.edited) == ([button()], note("2"), 2)


def test_metadata_with_a_dot_in_its_name_is_lost_silently(slack: SlackStandIn, client: WebClient) -> None:
    post(client, metadata={"event_type": "access.card", "event_payload": {}})
    assert slack.cards()[0].metadata is None


def test_history_is_paged_newest_first_without_replies(slack: SlackStandIn, client: WebClient) -> None:
    stamps = [post(client, str(number), metadata=note(str(number))) for number in range(5)]
    post(client, "a reply", thread_ts=stamps[0])
    first = client.conversations_history(channel=CHANNEL, limit=3)
    post(client, "meanwhile")
    cursor = first["response_metadata"]["next_cursor"]
    second = client.conversations_history(channel=CHANNEL, limit=3, cursor=cursor)
    assert [message["text"] for message in [*first["messages"], *second["messages"]]] == list("43210")
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert "metadata" not in first["messages"][0]
    assert history(client, include_all_metadata=True, latest=stamps[1])[0]["metadata"] == note("0")
    between = {"oldest": stamps[1], "latest": stamps[3]}
    assert [message["text"] for message in history(client, **between)] == ["2"]
    assert [message["text"] for message in history(client, **between, inclusive=True)] == ["3", "2", "1"]
    assert [message.text for message in slack.replies(stamps[0])] == ["a reply"]


def test_a_deleted_message_is_gone_and_leaves_a_mark_where_it_had_replies(
    slack: SlackStandIn, client: WebClient
) -> None:
    lone, parent = post(client), post(client)
    post(client, "a reply", thread_ts=parent)
    slack.delete(lone)
    slack.delete(parent)
    assert [(message["ts"], message["subtype"]) for message in history(client)] == [(parent, "tombstone")]
    assert slack.cards() == []
    assert error_of(lambda: client.chat_update(channel=CHANNEL, ts=lone, text="x")) == "message_not_found"


def test_a_reply_to_a_deleted_message_is_in_the_channel_itself(
    slack: SlackStandIn, client: WebClient
) -> None:
    lone, parent = post(client), post(client)
    post(client, "a reply", thread_ts=parent)
    slack.delete(lone)
    slack.delete(parent)
    beside = client.chat_postMessage(channel=CHANNEL, text="beside", thread_ts=lone)
    below = client.chat_postMessage(channel=CHANNEL, text="below the mark", thread_ts=parent)
    assert "thread_ts" not in beside["message"]
    assert below["message"]["thread_ts"] == parent
    assert [message.text for message in slack.cards()] == ["beside"]


def test_a_locked_thread_and_a_messages_tab_that_is_off_take_nothing(
    slack: SlackStandIn, client: WebClient
) -> None:
    ts = post(client)
    slack.locked_threads.add(ts)
    locked = error_of(lambda: post(client, "a reply", thread_ts=ts))
    assert locked == "restricted_action_thread_locked"
    client.chat_postMessage(channel=SAM, text="hello")
    slack.messages_tab = False
    assert error_of(lambda: client.chat_postMessage(channel=SAM, text="x")) == "messages_tab_disabled"


def test_a_private_channel_needs_a_scope_of_its_own(slack: SlackStandIn, client: WebClient) -> None:
    slack.channels[CHANNEL].is_private = True
    assert history(client) == []
    slack.scopes.discard("groups:history")
    assert error_of(lambda: history(client)) == "missing_scope"


def test_lists_are_paged(slack: SlackStandIn, client: WebClient) -> None:
    first = client.conversations_members(channel=CHANNEL, limit=6)
    cursor = first["response_metadata"]["next_cursor"]
    second = client.conversations_members(channel=CHANNEL, limit=6, cursor=cursor)
    assert first["members"] + second["members"] == slack.channels[CHANNEL].members
    assert second["response_metadata"]["next_cursor"] == ""
    assert client.conversations_info(channel=CHANNEL)["channel"]["is_archived"] is False


PEOPLE: dict[str, Json] = {
    ANN: {"is_restricted": False, "is_ultra_restricted": False, "deleted": False, "is_email_confirmed": True},
    GUS: {"is_restricted": True, "is_ultra_restricted": False},
    GIL: {"is_restricted": True, "is_ultra_restricted": True},
    EVE: {"is_stranger": True, "team_id": "T0ELSEWHERE"},
    ROBOT: {"is_bot": True},
    DAN: {"deleted": True},
    UNA: {"is_email_confirmed": False},
}


@pytest.mark.parametrize(("user_id", "expected"), PEOPLE.items())
def test_each_person_has_the_fields_of_their_kind(client: WebClient, user_id: str, expected: Json) -> None:
    user = client.users_info(user=user_id)["user"]
    assert {key: user[key] for key in expected} == expected


def test_email_addresses_are_shown_only_with_the_scope(slack: SlackStandIn, client: WebClient) -> None:
    def profile(user_id: str) -> Json:
        found: Json = client.users_info(user=user_id)["user"]["profile"]
        return found

    assert profile(ANN)["email"] == "ann@harbor.example"
    assert "email" not in profile(NOEL)
    assert client.users_lookupByEmail(email="Ann@Harbor.example")["user"]["id"] == ANN
    assert "is_stranger" not in client.users_info(user=ANN)["user"]
    slack.scopes.discard("users:read.email")
    assert "email" not in profile(ANN)


def test_user_groups_have_members(slack: SlackStandIn, client: WebClient) -> None:
    slack.user_groups["S0SEC"] = {"handle": "security", "users": [ANN, BOB]}
    assert client.usergroups_users_list(usergroup="S0SEC")["users"] == [ANN, BOB]
    assert client.usergroups_list()["usergroups"][0]["handle"] == "security"


def test_private_and_direct_messages_are_sent_to_one_person(slack: SlackStandIn, client: WebClient) -> None:
    client.chat_postEphemeral(channel=CHANNEL, user=ANN, text="psst")
    assert [(private.user, private.text) for private in slack.private] == [(ANN, "psst")]
    direct = client.chat_postMessage(channel=SAM, text="you")["channel"]
    assert direct == client.chat_postMessage(channel=SAM, text="you again")["channel"]
    assert slack.channels[direct].is_im
    assert slack.cards() == []


def test_posts_are_limited_to_one_a_second(slack: SlackStandIn, client: WebClient) -> None:
    slack.limit_rates = True
    clock = 1_700_000_000.0
    slack.now = lambda: clock
    slack.channels["C2"] = Channel("C2", "other")
    first = post(client)
    with pytest.raises(SlackApiError) as caught:
        post(client)
    assert (caught.value.response.status_code, caught.value.response["error"]) == (429, "ratelimited")
    assert caught.value.response.headers["Retry-After"] == "1"
    clock += 0.9
    assert error_of(lambda: post(client)) == "ratelimited"
    client.chat_update(channel=CHANNEL, ts=first, text="updates are not")
    client.chat_postMessage(channel="C2", text="other channels are not")
    direct = client.chat_postMessage(channel=SAM, text="nor are people")["channel"]
    client.chat_postMessage(channel=ANN, text="and each by themselves")
    assert error_of(lambda: client.chat_postMessage(channel=direct, text="twice")) == "ratelimited"
    clock += 0.1
    assert post(client) > first


def click_trigger(slack: SlackStandIn) -> str:
    return str(slack.click_payload(ANN, slack.cards()[0].ts, "approve")["trigger_id"])


def view_of(slack: SlackStandIn, client: WebClient) -> str:
    """Return the id of the modal that Ann has open, after opening one if there is none."""
    if view := slack.open_view(ANN):
        return view.id
    return str(client.views_open(trigger_id=click_trigger(slack), view=modal())["view"]["id"])


A_MINUTE: list[tuple[int, Callable[[SlackStandIn, WebClient], Any]]] = [
    (50, lambda slack, client: client.chat_update(channel=CHANNEL, ts=slack.cards()[0].ts, text="x")),
    (50, lambda slack, client: history(client)),
    (50, lambda slack, client: client.users_lookupByEmail(email="ann@harbor.example")),
    (50, lambda slack, client: client.conversations_info(channel=CHANNEL)),
    (20, lambda slack, client: client.usergroups_list()),
    (20, lambda slack, client: client.usergroups_users_list(usergroup="S0SEC")),
    (100, lambda slack, client: client.conversations_members(channel=CHANNEL)),
    (100, lambda slack, client: client.users_info(user=ANN)),
    (100, lambda slack, client: client.chat_postEphemeral(channel=CHANNEL, user=ANN, text="x")),
    (100, lambda slack, client: client.views_open(trigger_id=click_trigger(slack), view=modal())),
    (100, lambda slack, client: client.views_update(view_id=view_of(slack, client), view=modal())),
]


@pytest.mark.parametrize(("times", "call"), A_MINUTE)
def test_other_calls_are_limited_by_the_minute(
    slack: SlackStandIn, client: WebClient, times: int, call: Callable[[SlackStandIn, WebClient], Any]
) -> None:
    clock = 1_700_000_000.0
    slack.now = lambda: clock
    slack.limit_rates = True
    slack.user_groups["S0SEC"] = {"handle": "security", "users": [ANN]}
    post(client, blocks=[button()])
    for _ in range(times):
        call(slack, client)
    assert error_of(lambda: call(slack, client)) == "ratelimited"
    clock += 60.0
    call(slack, client)


def test_a_workspace_may_limit_one_method_and_the_page_of_a_history(
    slack: SlackStandIn, client: WebClient
) -> None:
    made = [post(client) for _ in range(3)]
    slack.history_page = 2
    slack.rate_limits["conversations.history"] = 2, 60.0
    first = client.conversations_history(channel=CHANNEL, limit=999)
    second = client.conversations_history(
        channel=CHANNEL, limit=999, cursor=first["response_metadata"]["next_cursor"]
    )
    assert [each["ts"] for each in (*first["messages"], *second["messages"])] == made[::-1]
    assert error_of(lambda: history(client)) == "ratelimited"
    assert client.conversations_info(channel=CHANNEL)["ok"]


@pytest.mark.parametrize("takes_former", [True, False])
def test_a_channel_gets_another_id(slack: SlackStandIn, client: WebClient, takes_former: bool) -> None:
    ts = post(client, blocks=[button()])
    slack.move_channel("C0SHARED", takes_former)
    if takes_former:
        assert client.conversations_info(channel=CHANNEL)["channel"]["id"] == "C0SHARED"
        assert client.chat_update(channel=CHANNEL, ts=ts, text="x")["channel"] == "C0SHARED"
    else:
        assert error_of(lambda: history(client)) == "channel_not_found"
    assert client.conversations_history(channel="C0SHARED")["messages"][0]["ts"] == ts
    assert [card.ts for card in slack.cards()] == [ts]


def test_timestamps_differ_even_if_the_clock_stands_still(slack: SlackStandIn, client: WebClient) -> None:
    slack.now = lambda: 1_700_000_000.000123
    assert [post(client) for _ in range(2)] == ["1700000000.000123", "1700000000.000124"]


def test_the_log_has_no_secret(slack: SlackStandIn, client: WebClient) -> None:
    ts = post(client, f"my token is {slack.bot_token}", blocks=[button()])
    answer = slack.click(ANN, ts, "approve")
    requests.post(payload_of(answer)["response_url"], json={"text": "x"}, timeout=5)
    client.api_call("auth.test", params={"token": slack.bot_token})
    log = repr(slack.exchanges)
    assert slack.bot_token not in log
    assert next(iter(slack.response_urls)) not in log
    assert [exchange.call for exchange in slack.exchanges[-3:]] == [
        "→ app: click approve",
        "response_url",
        "auth.test",
    ]


# Clicks


def test_a_click_is_signed_and_written_as_slack_does(slack: SlackStandIn, client: WebClient) -> None:
    ts = post(client, blocks=[ticks("groups.1"), button()], metadata=note("1"))
    answer = slack.click(ANN, ts, "approve", choose={"groups": ["two"]})
    body, headers = answer.sent
    assert SignatureVerifier(slack.signing_secret).is_valid_request(body, dict(headers))
    assert not SignatureVerifier("another secret").is_valid_request(body, dict(headers))
    payload = payload_of(answer)
    assert payload["user"] == {"id": ANN, "username": "ann", "name": "ann", "team_id": "T0SANDBOX"}
    assert payload["container"] == {
        "type": "message",
        "message_ts": ts,
        "channel_id": CHANNEL,
        "is_ephemeral": False,
    }
    assert payload["message"]["blocks"] == [ticks("groups.1"), button()]
    assert "metadata" not in payload["message"]
    [action] = payload["actions"]
    assert (action["action_id"], action["block_id"], action["value"]) == ("approve", "buttons", "7")
    state = {"type": "checkboxes", "selected_options": [option("two")]}
    assert payload["state"]["values"] == {"groups.1": {"groups": state}}
    assert (answer.status, answer.body) == (200, "")


ONE, TWO = option("one"), option("two")
CHOICE = {"options": [ONE, TWO]}
MENU = {**CHOICE, "placeholder": plain("Choose")}
TYPING = {"placeholder": plain("Type"), "min_query_length": 1}
# Each kind of input: what it needs; its initial value; its key in the state; and the value of that key
# while the input is untouched, and when it is empty.
INPUTS: dict[str, tuple[Json, Json, str, Any, Any]] = {
    "checkboxes": (CHOICE, {"initial_options": [TWO]}, "selected_options", [TWO], []),
    "radio_buttons": (CHOICE, {"initial_option": TWO}, "selected_option", TWO, None),
    "static_select": (MENU, {"initial_option": TWO}, "selected_option", TWO, None),
    "external_select": (TYPING, {"initial_option": TWO}, "selected_option", TWO, None),
    "multi_static_select": (MENU, {"initial_options": [TWO]}, "selected_options", [TWO], []),
    "multi_external_select": (TYPING, {"initial_options": [TWO]}, "selected_options", [TWO], []),
    "users_select": ({}, {"initial_user": BOB}, "selected_user", BOB, None),
    "multi_users_select": ({}, {"initial_users": [BOB]}, "selected_users", [BOB], []),
    "datepicker": ({}, {"initial_date": "2026-01-31"}, "selected_date", "2026-01-31", None),
    "plain_text_input": ({}, {"initial_value": "x"}, "value", "x", None),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_untouched_inputs_arrive_with_their_initial_values(
    slack: SlackStandIn, client: WebClient, kind: str
) -> None:
    more, initial, key, untouched, empty = INPUTS[kind]
    inputs = [
        {
            "type": "input",
            "block_id": block_id,
            "label": plain("x"),
            "optional": True,
            "element": {"type": kind, "action_id": "in", **more, **values},
        }
        for block_id, values in (("set", initial), ("bare", {}))
    ]
    expected = {
        "set": {"in": {"type": kind, key: untouched}},
        "bare": {"in": {"type": kind, key: empty}},
    }
    ts = post(client, blocks=[*inputs, button()])
    payload = slack.click_payload(ANN, ts, "approve")
    assert payload["state"]["values"] == expected
    client.views_open(trigger_id=payload["trigger_id"], view=modal(*inputs))
    assert slack.submit_payload(ANN)["view"]["state"]["values"] == expected
    client.chat_update(channel=CHANNEL, ts=ts, text="x", blocks=[*inputs, button()])
    stale = slack.click_payload(ANN, ts, "approve")["state"]["values"]
    assert stale["set"]["in"][key] == empty, "the same ids again: Slack leaves initial values out"


def test_choices_are_forgotten_after_a_reload(slack: SlackStandIn, client: WebClient) -> None:
    ts = post(client, blocks=[ticks("a", "one"), button()])
    chosen = slack.click_payload(ANN, ts, "approve", choose={"groups": ["two"]})
    assert selected(chosen, "a") == ["two"]
    slack.forget_choices(BOB, ts)
    assert selected(slack.click_payload(ANN, ts, "approve"), "a") == ["two"]
    slack.forget_choices(ANN, ts)
    assert selected(slack.click_payload(ANN, ts, "approve"), "a") == ["one"]


def test_a_block_that_is_drawn_again_under_its_old_id_is_stale(
    slack: SlackStandIn, client: WebClient
) -> None:
    ts = post(client, blocks=[ticks("same", "one"), button()])
    slack.select(ANN, ts, "groups", ["two"])
    new = ticks("same", "three", names=("two", "three"))
    client.chat_update(channel=CHANNEL, ts=ts, text="x", blocks=[new, button()])
    assert selected(slack.click_payload(ANN, ts, "approve"), "same") == ["two"], "Ann's old choice stays"
    assert selected(slack.click_payload(BOB, ts, "approve"), "same") == [], (
        "Bob sees three, and sends nothing"
    )
    fresh = ticks("fresh", "three", names=("two", "three"))
    client.chat_update(channel=CHANNEL, ts=ts, text="x", blocks=[fresh, button()])
    assert selected(slack.click_payload(ANN, ts, "approve"), "fresh") == ["three"]


def test_what_is_not_on_the_screen_cannot_be_clicked(slack: SlackStandIn, client: WebClient) -> None:
    ts = post(client, blocks=[ticks("a"), button()])
    with pytest.raises(Refused):
        slack.click(ANN, ts, "reject")
    with pytest.raises(Refused):
        slack.click(ANN, ts, "approve", choose={"groups": ["three"]})
    client.chat_update(channel=CHANNEL, ts=ts, text="done")
    with pytest.raises(Refused):
        slack.click(ANN, ts, "approve")
    assert slack.click(ANN, ts, "approve", behind=1).status == 200, "a screen that has not caught up"
    slack.delete(ts)
    with pytest.raises(Refused):
        slack.click(ANN, ts, "approve")


def test_choosing_from_a_menu_is_a_click(slack: SlackStandIn, client: WebClient) -> None:
    overflow = {"type": "overflow", "action_id": "menu", "options": [option("one"), option("two")]}
    section = {"type": "section", "block_id": "s", "text": plain("x"), "accessory": overflow}
    ts = post(client, blocks=[section])
    [action] = slack.click_payload(ANN, ts, "menu", value="two")["actions"]
    assert (action["type"], action["selected_option"]) == ("overflow", option("two"))


def test_a_button_in_a_private_message_can_be_clicked(slack: SlackStandIn, client: WebClient) -> None:
    client.chat_postEphemeral(channel=CHANNEL, user=ANN, text="x", blocks=[button()])
    payload = slack.click_payload(ANN, "", "approve", via=slack.private[0])
    assert payload["container"]["is_ephemeral"] is True
    assert "message" not in payload
    requests.post(payload["response_url"], json={"delete_original": True}, timeout=5)
    assert slack.private == []


def test_a_click_on_a_late_screen_has_the_blocks_of_that_screen(
    slack: SlackStandIn, client: WebClient
) -> None:
    parent = post(client)
    ts = post(client, thread_ts=parent, blocks=[button()])
    client.chat_update(channel=CHANNEL, ts=ts, text="x", blocks=[button("other")])
    payload = slack.click_payload(ANN, ts, "approve", behind=1)
    assert payload["message"]["blocks"] == [button()]
    assert payload["container"]["thread_ts"] == parent


def test_suggestions_are_asked_for_and_can_be_chosen(
    app: App, slack: SlackStandIn, client: WebClient
) -> None:
    ts = post(client, blocks=[search_box(), button()])
    app.reply = Reply({"options": [option("three")]})
    payload = payload_of(slack.suggest(ANN, "more", "th", ts=ts))
    assert (payload["type"], payload["value"], payload["block_id"]) == ("block_suggestion", "th", "more")
    clicked = slack.click_payload(ANN, ts, "approve", choose={"more": ["three", "made up"]})
    chosen = clicked["state"]["values"]["more"]["more"]["selected_options"]
    assert chosen == [option("three"), {"text": plain("made up"), "value": "made up"}]
    app.reply = Reply({"option_groups": [{"label": plain("Later"), "options": [option("four")]}]})
    slack.suggest(ANN, "more", "f", ts=ts)
    slack.allow_made_up_options = False
    slack.select(ANN, ts, "more", ["three", "four"])
    with pytest.raises(Refused):
        slack.suggest(ANN, "more", "", ts=ts)
    with pytest.raises(Refused):
        slack.select(ANN, ts, "more", ["made up again"])
    assert slack.problems == []
    app.reply = Reply({"options": [option("x")] * 101})
    slack.suggest(ANN, "more", "th", ts=ts)
    assert slack.problems


def test_tampered_and_repeated_payloads_can_be_sent(slack: SlackStandIn, client: WebClient) -> None:
    ts = post(client, blocks=[button()])
    payload = slack.click_payload(ANN, ts, "approve")
    payload["user"]["id"] = BOB
    answer = slack.send_payload(payload)
    assert payload_of(answer)["user"]["id"] == BOB
    assert slack.replay(answer).sent == answer.sent
    assert slack.send(b"nonsense", slack.sign(b"nonsense", timestamp=1)).status == 200
    assert len(slack.answers) == 3


def test_an_app_that_is_slow_or_down_has_no_status(
    app: App, slack: SlackStandIn, client: WebClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ts = post(client, blocks=[button()])
    app.fail(drop="before")
    assert slack.click(ANN, ts, "approve").status is None
    monkeypatch.setattr("sandbox.slack.ACK_SECONDS", 1.0)
    app.fail(delay_after=1.4)
    assert slack.click(ANN, ts, "approve").error == "ReadTimeout"
    app.reply = Reply({"text": "in drops"})
    app.fail(trickle=0.1)
    assert slack.click(ANN, ts, "approve").error == "too late"
    slack.app_url = "http://127.0.0.1:9"
    answer = slack.click(ANN, ts, "approve")
    assert (answer.status, answer.error) == (None, "ConnectionError")


# Modals


def test_a_trigger_works_once_and_for_three_seconds(slack: SlackStandIn, client: WebClient) -> None:
    clock = 1_700_000_000.0
    slack.now = lambda: clock
    ts = post(client, blocks=[button()])
    late, once = (slack.click_payload(ANN, ts, "approve")["trigger_id"] for _ in range(2))
    clock += 3.0
    assert (
        error_of(lambda: client.views_open(trigger_id=once, view=modal(title=plain(""))))
        == "invalid_arguments"
    )
    assert client.views_open(trigger_id=once, view=modal())["view"]["callback_id"] == "reject"
    assert error_of(lambda: client.views_open(trigger_id=once, view=modal())) == "exchanged_trigger_id"
    clock += 0.1
    assert error_of(lambda: client.views_open(trigger_id=late, view=modal())) == "expired_trigger_id"


@pytest.fixture
def opened(slack: SlackStandIn, client: WebClient) -> str:
    """The id of a modal that Ann has open."""
    ts = post(client, blocks=[button()])
    trigger_id = slack.click_payload(ANN, ts, "approve")["trigger_id"]
    return str(client.views_open(trigger_id=trigger_id, view=modal())["view"]["id"])


def test_a_submission_has_what_was_entered_and_closes_the_modal(slack: SlackStandIn, opened: str) -> None:
    payload = payload_of(slack.submit(ANN, values={"reason": "too vague"}))
    view = payload["view"]
    assert (payload["type"], view["id"], view["private_metadata"]) == ("view_submission", opened, "request 1")
    assert view["state"]["values"] == {"why": {"reason": {"type": "plain_text_input", "value": "too vague"}}}
    assert slack.open_view(ANN) is None
    with pytest.raises(Refused):
        slack.submit(ANN)


def test_the_client_checks_before_it_sends(slack: SlackStandIn, opened: str) -> None:
    for refused in ("", "x" * 11):
        with pytest.raises(Refused):
            slack.submit(ANN, values={"reason": refused})
    with pytest.raises(Refused):
        slack.submit(BOB, opened, {"reason": "fine"})
    assert slack.answers == []
    assert slack.submit(ANN, values={"reason": "x" * 11}, enforce=False).status == 200


@pytest.mark.parametrize(
    ("block", "refused", "allowed"),
    [
        (reason(min_length=3), "xx", "xxx"),
        (reason(min_length=3) | {"optional": True}, "xx", ""),
        (reason() | {"optional": True}, "x" * 11, ""),
        (ticks("t") | {"optional": False}, [], ["one"]),
        (ticks("t") | {"optional": True}, None, []),
    ],
)
def test_the_client_checks_lengths_and_required_inputs(
    slack: SlackStandIn, client: WebClient, block: Json, refused: Any, allowed: Any
) -> None:
    trigger_id = slack.click_payload(ANN, post(client, blocks=[button()]), "approve")["trigger_id"]
    client.views_open(trigger_id=trigger_id, view=modal(block))
    name = block["element"]["action_id"]
    if refused is not None:
        with pytest.raises(Refused):
            slack.submit(ANN, values={name: refused})
    assert slack.submit(ANN, values={name: allowed}).status == 200


def test_no_more_are_selected_than_the_menu_allows(slack: SlackStandIn, client: WebClient) -> None:
    trigger_id = slack.click_payload(ANN, post(client, blocks=[button()]), "approve")["trigger_id"]
    menu = {"type": "multi_static_select", "action_id": "menu", **MENU, "max_selected_items": 1}
    view = modal({"type": "input", "block_id": "m", "label": plain("x"), "element": menu})
    client.views_open(trigger_id=trigger_id, view=view)
    with pytest.raises(Refused):
        slack.submit(ANN, values={"menu": ["one", "two"]})
    assert slack.submit(ANN, values={"menu": ["two"]}).status == 200


def test_at_most_three_modals_are_stacked(app: App, slack: SlackStandIn, opened: str) -> None:
    app.reply = Reply({"response_action": "push", "view": modal()})
    for _ in range(3):
        slack.submit(ANN, values={"reason": "x"})
    assert len(slack.views) == 3
    assert slack.problems == ["response_action push: more than 3 modals"]
    assert {view.trigger_id for view in slack.views.values()} == {slack.views[opened].trigger_id}


def test_the_client_takes_white_space_for_text(slack: SlackStandIn, opened: str) -> None:
    assert slack.submit(ANN, values={"reason": "  "}).status == 200


def test_a_modal_does_what_the_answer_says(app: App, slack: SlackStandIn, opened: str) -> None:
    def submit(answer: Any, status: int = 200) -> None:
        app.reply = Reply(answer, status)
        slack.submit(ANN, values={"reason": "x"})

    view = slack.views[opened]
    submit({"response_action": "errors", "errors": {"why": "Say more."}})
    assert view.errors == {"why": "Say more."}
    submit({"response_action": "errors", "errors": {"nowhere": "Say more."}})
    assert slack.problems == ["response_action errors: not keyed by the block_ids of inputs"]
    submit(None, 500)
    assert (view.errors, bool(view.problem)) == ({}, True)
    submit({"response_action": "update", "view": modal(reason(max_length=5000))})
    assert len(slack.problems) == 2
    submit({"response_action": "update", "view": modal(reason(), title=plain("Sure?"))})
    assert slack.text_of(view) == "Sure?\nReject\nWhy"
    assert view.state == {("why", "reason"): "x"}
    submit({"response_action": "push", "view": modal(title=plain("Really?"))})
    pushed = slack.open_view(ANN)
    assert pushed is not None
    assert (pushed.previous, len(slack.views)) == (opened, 2)
    submit({"response_action": "clear"})
    assert slack.views == {}


def test_an_app_with_notify_on_close_is_told_of_a_closed_modal(
    app: App, slack: SlackStandIn, opened: str
) -> None:
    app.reply = Reply({"response_action": "update", "view": modal(notify_on_close=True)})
    slack.submit(ANN, values={"reason": "x"})
    answer = slack.close(ANN)
    assert answer is not None
    assert payload_of(answer)["type"] == "view_closed"
    assert slack.views == {}


def test_a_modal_closes_silently_by_default(slack: SlackStandIn, opened: str) -> None:
    assert slack.close(ANN) is None


def dispatching(name: str = "when") -> Json:
    """Return an input of a modal whose choice is sent at once."""
    element = {"type": "static_select", "action_id": name, **MENU}
    block = {"type": "input", "block_id": name, "label": plain("When"), "element": element}
    return {**block, "dispatch_action": True, "optional": True}


def test_a_choice_in_a_modal_is_sent_at_once_if_the_input_says_so(
    slack: SlackStandIn, client: WebClient, opened: str
) -> None:
    menu = {"type": "overflow", "action_id": "menu", "options": [option("one"), option("two")]}
    actions = {"type": "actions", "block_id": "menus", "elements": [menu]}
    client.views_update(view_id=opened, view=modal(reason(), dispatching(), actions, button()))
    payload = payload_of(slack.click_in_view(ANN, "when", values={"reason": "vague"}, value="two"))
    assert (payload["type"], payload["container"]) == ("block_actions", {"type": "view", "view_id": opened})
    assert not {"response_url", "message", "channel", "state"} & payload.keys()
    [action] = payload["actions"]
    assert (action["block_id"], action["type"]) == ("when", "static_select")
    assert action["selected_option"] == option("two")
    values = payload["view"]["state"]["values"]
    assert values["why"]["reason"]["value"] == "vague"
    assert values["when"]["when"]["selected_option"] == option("two")
    [action] = slack.view_click_payload(ANN, "menu", value="one")["actions"]
    assert action["selected_option"] == option("one")
    assert slack.view_click_payload(ANN, "approve", view_id=opened)["actions"][0]["value"] == "7"
    for person, action_id in ((ANN, "reason"), (ANN, "nothing"), (BOB, "approve")):
        with pytest.raises(Refused):
            slack.click_in_view(person, action_id, view_id=opened)


def test_an_open_modal_is_updated_and_keeps_what_was_entered(
    slack: SlackStandIn, client: WebClient, opened: str
) -> None:
    view = slack.views[opened]
    before = view.hash
    set_before = {**reason(initial_value="as it was"), "block_id": "set"}
    answer = client.views_update(view_id=opened, hash=before, view=modal(dispatching(), set_before))
    assert (answer["view"]["id"], answer["view"]["hash"]) == (opened, view.hash)
    slack.view_click_payload(ANN, "when", value="one")
    other = {**reason(initial_value="another"), "block_id": "set"}
    added = {**reason(initial_value="new"), "block_id": "added"}
    client.views_update(view_id=opened, view=modal(dispatching(), other, added))
    values = slack.submit_payload(ANN, enforce=False)["view"]["state"]["values"]
    assert values["when"]["when"]["selected_option"] == option("one")
    assert values["set"]["reason"]["value"] == "as it was", "the same ids: Slack ignores the initial value"
    assert values["added"]["reason"]["value"] == "new"

    def update(**how: Any) -> Callable[[], Any]:
        return lambda: client.views_update(**{"view_id": opened, "view": modal(), **how})

    assert error_of(update(hash=before)) == "hash_conflict"
    assert error_of(update(view=modal(title=plain("")))) == "invalid_arguments"
    assert error_of(update(view_id="V0NONE")) == "not_found"
    slack.close(ANN)
    assert error_of(update()) == "not_found"


def test_a_click_in_a_modal_puts_another_modal_on_top(
    slack: SlackStandIn, client: WebClient, opened: str
) -> None:
    client.views_update(view_id=opened, view=modal(button()))

    def push(trigger_id: str) -> Any:
        return client.views_push(trigger_id=trigger_id, view=modal(button(), title=plain("More")))

    def click() -> str:
        return str(slack.view_click_payload(ANN, "approve")["trigger_id"])

    pushed = push(click())["view"]
    assert (pushed["previous_view_id"], pushed["root_view_id"]) == (opened, opened)
    once = click()
    push(once)
    assert error_of(lambda: push(click())) == "push_limit_reached"
    slack.close(ANN)
    assert error_of(lambda: push(once)) == "exchanged_trigger_id"
    assert error_of(lambda: push("1.2.3")) == "invalid_trigger_id"
    in_a_message = slack.click_payload(ANN, slack.cards()[0].ts, "approve")["trigger_id"]
    assert error_of(lambda: push(in_a_message)) == "not_found"
    slack.close(ANN)
    assert slack.open_view(ANN) is slack.views[opened]


# Message shortcuts, replies that the channel shows


def test_a_message_shortcut_arrives_with_the_message(slack: SlackStandIn, client: WebClient) -> None:
    slack.shortcuts["ask"] = "Ask"
    parent = post(client)
    reply = slack.post_as(SAM, "and jane@acme.com?", parent)
    payload = payload_of(slack.shortcut(SAM, reply.ts, "ask"))
    assert (payload["type"], payload["callback_id"], payload["user"]["id"]) == ("message_action", "ask", SAM)
    assert (payload["team"]["id"], payload["channel"]["id"]) == (slack.team_id, CHANNEL)
    assert payload["message_ts"] == payload["message"]["ts"] == reply.ts
    assert (payload["message"]["text"], payload["message"]["thread_ts"]) == ("and jane@acme.com?", parent)
    assert client.views_open(trigger_id=payload["trigger_id"], view=modal())["ok"]
    requests.post(payload["response_url"], json={"text": "No.", "thread_ts": parent}, timeout=5)
    assert [(private.user, private.text, private.thread_ts) for private in slack.private] == [
        (SAM, "No.", parent)
    ]
    requests.post(payload["response_url"], json={"text": "x", "replace_original": True}, timeout=5)
    assert reply.text == "and jane@acme.com?", "the message belongs to somebody else"


def test_a_message_shortcut_is_offered_only_where_it_exists(slack: SlackStandIn, client: WebClient) -> None:
    slack.shortcuts = {"ask": "Ask"}
    ts = post(client)
    for person, message, callback_id in ((DAN, ts, "ask"), (SAM, "1.000001", "ask"), (SAM, ts, "other")):
        with pytest.raises(Refused):
            slack.shortcut(person, message, callback_id)
    assert slack.answers == []


def test_the_shortcuts_are_those_of_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "manifest.yaml"
    monkeypatch.setattr("sandbox.workspace.MANIFEST", manifest)
    manifest.write_text("features:\n  bot_user:\n    display_name: x\n")
    assert manifest_shortcuts() == {}
    manifest.write_text(
        "features:\n  shortcuts:\n"
        '    - name: "Where is this?"\n      type: message\n      callback_id: where\n'
        "      description: x\n"
        "    - name: Anywhere\n      type: global\n      callback_id: anywhere\n"
        "    - callback_id: who\n      type: message\n      name: Who is this?\n"
        "oauth_config:\n"
    )
    assert manifest_shortcuts() == {"where": "Where is this?", "who": "Who is this?"}


def test_a_reply_can_be_shown_in_the_channel_as_well(slack: SlackStandIn, client: WebClient) -> None:
    parent = post(client, "the card")
    quiet = post(client, "a reply", thread_ts=parent)
    loud = post(client, "the last reply", thread_ts=parent, reply_broadcast=True)
    shown = history(client)
    assert [message["ts"] for message in shown] == [loud, parent]
    assert (shown[0]["subtype"], shown[0]["thread_ts"]) == ("thread_broadcast", parent)
    assert shown[0]["root"]["text"] == "the card"
    assert shown[1]["reply_count"] == 2
    assert [message.text for message in slack.cards()] == ["the card"]
    client.chat_update(channel=CHANNEL, ts=quiet, text="louder", reply_broadcast=True)
    assert [message["text"] for message in history(client)] == ["the last reply", "louder", "the card"]
    alone = client.chat_postMessage(channel=CHANNEL, text="x", reply_broadcast=True)
    assert "subtype" not in alone["message"]


# Commands, response URLs, search


def test_a_command_arrives_as_a_form_and_its_answer_is_private(app: App, slack: SlackStandIn) -> None:
    app.reply = Reply({"text": "Two rooms."})
    answer = slack.command(SAM, "payload acme & co")
    form = parse_qs(answer.sent[0].decode())
    assert (form["command"], form["text"], form["user_id"]) == (["/rooms"], ["payload acme & co"], [SAM])
    assert [(private.user, private.text) for private in slack.private] == [(SAM, "Two rooms.")]
    app.reply = Reply("plain words")
    slack.command(SAM, "")
    assert slack.private[-1].text == "plain words"
    app.reply = Reply()
    slack.command(SAM, "")
    assert len(slack.private) == 2
    app.reply = Reply({"text": "x", "blocks": [{"type": "section"}]})
    slack.command(SAM, "")
    assert len(slack.problems) == 1


def test_a_response_url_works_five_times_within_half_an_hour(slack: SlackStandIn, client: WebClient) -> None:
    clock = 1_700_000_000.0
    slack.now = lambda: clock
    ts = post(client, blocks=[button()])

    def use(url: str, **content: Any) -> int:
        return requests.post(url, json=content, timeout=5).status_code

    url = slack.click_payload(ANN, ts, "approve")["response_url"]
    assert use(url, text="x", blocks=[{"type": "section"}]) == 400
    assert use(url, text="only Ann") == 200
    assert use(url, text="instead", replace_original=True) == 200
    assert use(url, text="for all", response_type="in_channel") == 200
    assert use(url, delete_original=True) == 200
    assert use(url, text="once more") == 404
    assert [(private.user, private.text) for private in slack.private] == [(ANN, "only Ann")]
    assert [(message.text, message.deleted) for message in slack.messages] == [
        ("instead", True),
        ("for all", False),
    ]
    late = slack.click_payload(ANN, post(client, blocks=[button()]), "approve")["response_url"]
    clock += 1801
    assert use(late, text="late") == 404
    assert use(f"{slack.url}/actions/guessed", text="x") == 404


def test_search_finds_words_in_the_top_level_text_only(slack: SlackStandIn, client: WebClient) -> None:
    ts = post(client, "Approved: jane@acme.com by Ann", blocks=[{"type": "section", "text": plain("hidden")}])
    slack.post_as(SAM, "who is Jane?")
    assert [message.ts for message in slack.search("ACME ann")] == [ts]
    assert slack.search("hidden") == []
    assert slack.text_of(slack.messages[0]) == "hidden"
    assert [message.text for message in slack.replies(ts)] == []


# Faults


def test_a_fault_replaces_the_answer_for_as_many_calls_as_said(
    slack: SlackStandIn, client: WebClient
) -> None:
    slack.fail("chat.*", 2, status=503, body={"ok": False, "error": "down"})
    assert [error_of(lambda: post(client)) for _ in range(2)] == ["down", "down"]
    assert slack.messages == []
    assert client.auth_test()["ok"]
    post(client)
    assert slack.calls("chat.postMessage")[0].fault == "status 503"


def test_an_answer_can_be_lost_after_the_work(slack: SlackStandIn, client: WebClient) -> None:
    slack.fail("chat.postMessage", drop="after")
    with pytest.raises(http.client.RemoteDisconnected):
        post(client)
    slack.fail("chat.postMessage", status=500, after=True)
    with pytest.raises(SlackApiError):
        post(client)
    assert len(slack.messages) == 2
    slack.fail("chat.postMessage", drop="before")
    with pytest.raises(http.client.RemoteDisconnected):
        post(client)
    assert len(slack.messages) == 2


def test_a_fault_may_depend_on_the_request_and_be_cleared(slack: SlackStandIn, client: WebClient) -> None:
    slack.fail(times=None, status=500, when=lambda arguments: arguments.get("text") == "bad")
    post(client, "good")
    for _ in range(3):
        with pytest.raises(SlackApiError):
            post(client, "bad")
    slack.clear_faults()
    post(client, "bad")


def test_delays_come_before_or_after_the_work(slack: SlackStandIn, client: WebClient) -> None:
    # The SDK's annotation asks for whole seconds, but urllib, which uses the number, accepts fractions.
    slow = WebClient(client.token, client.base_url, timeout=0.05, retry_handlers=[])  # type: ignore[arg-type]
    slack.fail("chat.postMessage", delay=0.4)
    with pytest.raises(TimeoutError):
        post(slow, "later")
    assert slack.messages == []
    assert slack.wait_for(slack.cards)[0].text == "later", "the work is done though nobody waits anymore"
    slack.fail("chat.postMessage", delay_after=0.4)
    with pytest.raises(TimeoutError):
        post(slow, "at once")
    assert slack.wait_for(lambda: slack.search("at once"), seconds=0.2), "done long before the answer"


def test_an_answer_can_drip(slack: SlackStandIn) -> None:
    slack.fail("api.test", trickle=0.01)
    started = time.monotonic()
    # Each single read is quick enough for the timeout, and the whole answer is not.
    response = requests.post(slack.api_url + "api.test", timeout=1.0)
    assert response.json() == {"ok": True, "args": {}}
    assert time.monotonic() - started > 0.01 * len(response.content)


def test_a_fault_can_be_a_redirect(slack: SlackStandIn) -> None:
    slack.fail(status=302, headers={"Location": "http://127.0.0.1:9/"})
    response = requests.post(slack.api_url + "auth.test", timeout=5, allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (302, "http://127.0.0.1:9/")


def test_slack_can_be_down_and_come_back(slack: SlackStandIn, client: WebClient) -> None:
    slack.fail(delay=30.0)
    dropped: list[Exception] = []

    def wait() -> None:
        try:
            client.auth_test()
        except http.client.RemoteDisconnected as error:
            dropped.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    slack.wait_for(lambda: slack.calls("auth.test"))
    slack.stop()
    waiting.join(5)
    assert dropped, "what was under way is dropped"
    with pytest.raises(urllib.error.URLError):
        client.auth_test()
    slack.serve(slack.port)
    assert client.auth_test()["ok"]


def test_observers_see_each_exchange_and_waiting_ends_with_it(slack: SlackStandIn, client: WebClient) -> None:
    heard: list[Exchange] = []
    slack.on_exchange.append(heard.append)
    threading.Thread(target=post, args=(client, "hello")).start()
    assert slack.wait_for(lambda: slack.search("hello"))
    slack.wait_for(lambda: heard)
    assert [(exchange.call, exchange.status, exchange.done) for exchange in heard] == [
        ("chat.postMessage", 200, True)
    ]
    with pytest.raises(TimeoutError, match=r"chat\.postMessage → 200"):
        slack.wait_for(lambda: slack.search("never"), seconds=0.01)


def test_cursors_are_base64_as_slack_makes_them(slack: SlackStandIn, client: WebClient) -> None:
    for _ in range(2):
        post(client)
    cursor = client.conversations_history(channel=CHANNEL, limit=1)["response_metadata"]["next_cursor"]
    assert base64.b64decode(cursor, validate=True)
