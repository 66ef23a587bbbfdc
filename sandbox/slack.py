"""The people in the stand-in for Slack: what they click, type and submit is sent to the app, signed.

A person can do only what Slack's client allows; anything else raises `Refused`. What Slack would not accept
in the app's answer is added to `problems`. This module must not judge whether an acceptable answer is right.
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from copy import deepcopy
from typing import Any
from urllib.parse import parse_qs, urlencode

import requests

from sandbox.limits import MAX_INPUT_TEXT, option_problems, view_problems
from sandbox.slack_api import MAX_STACKED_VIEWS, ApiError, WebApi, content_of
from sandbox.stand_in import KEPT_EXCHANGES, Exchange
from sandbox.workspace import (
    INPUT_STATE,
    Answer,
    Blocks,
    Json,
    Message,
    Private,
    ResponseUrl,
    Trigger,
    View,
    elements_in,
    state_of,
)

ACK_SECONDS = 3.0
CONNECTION_PROBLEM = "We had some trouble connecting. Try again?"  # Slack's own words


class Refused(Exception):
    """Slack's client would not let a person do this."""


class SlackStandIn(WebApi):
    """A workspace whose people can click, type and submit, which the app receives as from Slack."""

    def click(self, user_id: str, ts: str, action_id: str, **how: Any) -> Answer:
        """Click an element of a message. `how` are the keyword arguments of `click_payload`."""
        return self.send_payload(self.click_payload(user_id, ts, action_id, **how))

    def click_payload(
        self,
        user_id: str,
        ts: str,
        action_id: str,
        *,
        choose: Mapping[str, Any] | None = None,
        block_id: str | None = None,
        value: Any = None,
        via: Private | None = None,
        behind: int = 0,
    ) -> Json:
        """Return what Slack sends for a click in a message, after making the choices (`{action_id: values}`).

        `value` is what the person picks if the element is a menu. `via` is the ephemeral message with the
        element, instead of the message `ts`. `behind` is how many updates of the message the person's screen
        has not shown yet. Raise Refused if there is no such message or element.
        """
        with self.lock:
            message = via or self._message(ts)
            blocks = message.blocks
            if behind and isinstance(message, Message):
                blocks = message.history[-behind][1]
            for name, wanted in (choose or {}).items():
                self._choose(user_id, message.ts, blocks, name, wanted)
            block, element = _find_element(blocks, action_id, block_id)
            if element["type"] in INPUT_STATE and value is not None:
                self._choose(user_id, message.ts, blocks, action_id, value)
            values = self._state_values(user_id, message.ts, blocks)
            action = self._action_json(block, element, value, values)
            return self._click_json(user_id, message, blocks, action, values)

    def click_in_view(self, user_id: str, action_id: str, **how: Any) -> Answer:
        """Click or choose in a modal. `how` are the keyword arguments of `view_click_payload`."""
        return self.send_payload(self.view_click_payload(user_id, action_id, **how))

    def view_click_payload(
        self,
        user_id: str,
        action_id: str,
        *,
        view_id: str | None = None,
        values: Mapping[str, Any] | None = None,
        block_id: str | None = None,
        value: Any = None,
    ) -> Json:
        """Return what Slack sends for a click in a modal, after filling it in (`{action_id: value}`).

        `value` is what the person picks if the element is a menu. Raise Refused if there is no such element,
        or if Slack sends what it contains only when the modal is submitted.
        """
        with self.lock:
            view = self._view_of(user_id, view_id)
            self._fill_in(view, values or {})
            block, element = _find_element(view.blocks, action_id, block_id)
            if block["type"] == "input" and not block.get("dispatch_action"):
                raise Refused(f"{action_id} is sent only with the whole modal")
            if element["type"] in INPUT_STATE and value is not None:
                self._fill_in(view, {action_id: value})
            shown = self._view_json(view)
            action = self._action_json(block, element, value, shown["state"]["values"])
            return {
                **self._common_fields("block_actions", user_id, view.id),
                "container": {"type": "view", "view_id": view.id},
                "view": shown,
                "actions": [action],
            }

    def shortcut(self, user_id: str, ts: str, callback_id: str) -> Answer:
        """Use a message shortcut on a message, which may be a reply in a thread."""
        return self.send_payload(self.shortcut_payload(user_id, ts, callback_id))

    def shortcut_payload(self, user_id: str, ts: str, callback_id: str) -> Json:
        """Return what Slack sends for a message shortcut. Raise Refused if this message does not offer it."""
        with self.lock:
            message = self._message(ts)
            if callback_id not in self.shortcuts:
                raise Refused("there is no such shortcut")
            if user_id not in self.channels[message.channel].members:
                raise Refused("there is no such message")
            target = ResponseUrl(user_id, message.channel, None, message.thread_ts, self.now())
            return {
                **self._common_fields("message_action", user_id),
                "callback_id": callback_id,
                "action_ts": self._new_ts(),
                "response_url": self._new_response_url(target),
                "channel": self._channel_json(message.channel),
                "message_ts": message.ts,
                "message": self._message_json(message),
            }

    def select(self, user_id: str, ts: str, action_id: str, values: Any) -> None:
        """Choose or type something in a message, without sending anything to the app."""
        with self.lock:
            self._choose(user_id, ts, self._message(ts).blocks, action_id, values)

    def forget_choices(self, user_id: str, place: str) -> None:
        """Undo every choice that this person has made in a message (its ts) or a modal (its id)."""
        with self.lock:
            self._choices.pop((user_id, place), None)
            if view := self.views.get(place):
                view.state.clear()

    def suggest(
        self, user_id: str, action_id: str, value: str, *, ts: str | None = None, view_id: str | None = None
    ) -> Answer:
        """Type in an external select. The app's suggestions are in the body of the answer."""
        with self.lock:
            if ts:
                message = self._message(ts)
                blocks, source = message.blocks, self._message_fields(message)
            else:
                view = self._view_of(user_id, view_id)
                blocks, source = view.blocks, {"view": self._view_json(view)}
            block, element = _find_element(blocks, action_id, None)
            payload = {
                **self._common_fields("block_suggestion", user_id),
                "action_id": action_id,
                "block_id": block["block_id"],
                "value": value,
                **source,
            }
        if len(value) < element.get("min_query_length", 3):
            raise Refused("too short to be looked up")
        answer = self.send_payload(payload)
        self._remember_suggestions(action_id, answer)
        return answer

    def submit(
        self,
        user_id: str,
        view_id: str | None = None,
        values: Mapping[str, Any] | None = None,
        *,
        enforce: bool = True,
    ) -> Answer:
        """Fill in a modal (`{action_id: value}`), submit it, and change or close it as the answer says."""
        view = self._view_of(user_id, view_id)
        answer = self.send_payload(self.submit_payload(user_id, view.id, values, enforce=enforce))
        with self.lock:
            self._apply_submit_answer(view, answer)
        self.touch()
        return answer

    def submit_payload(
        self,
        user_id: str,
        view_id: str | None = None,
        values: Mapping[str, Any] | None = None,
        *,
        enforce: bool = True,
    ) -> Json:
        """Return what Slack sends for a submitted modal.

        Raise Refused if Slack's client would not send it, unless `enforce` is false.
        """
        with self.lock:
            view = self._view_of(user_id, view_id)
            self._fill_in(view, values or {})
            shown = self._view_json(view)
            if enforce:
                _check_inputs(view.blocks, shown["state"]["values"])
            return {**self._common_fields("view_submission", user_id), "view": shown, "response_urls": []}

    def close(self, user_id: str, view_id: str | None = None) -> Answer | None:
        """Close a modal, and return the app's answer, or None if the modal has no notify_on_close."""
        with self.lock:
            view = self._view_of(user_id, view_id)
            del self.views[view.id]
            head = self._common_fields("view_closed", user_id)
            payload = {**head, "view": self._view_json(view), "is_cleared": False}
        self.touch()
        return self.send_payload(payload) if view.view.get("notify_on_close") else None

    def command(self, user_id: str, text: str, command: str = "/rooms", channel: str | None = None) -> Answer:
        """Use a slash command, and post the text and blocks of the app's answer, if it has any."""
        with self.lock:
            channel = channel or self.channel_id
            target = ResponseUrl(user_id, channel, None, None, self.now())
            form = {
                "token": "made-up-verification-token",
                "team_id": self.sent_team or self.team_id,
                "team_domain": "sandbox",
                **({"enterprise_id": self.enterprise_id} if self.enterprise_id else {}),
                "channel_id": channel,
                "channel_name": self._channel_json(channel)["name"],
                "user_id": user_id,
                "user_name": self.users[user_id].name,
                "command": command,
                "text": text,
                "api_app_id": self.app_id,
                "is_enterprise_install": "false",
                "response_url": self._new_response_url(target),
                "trigger_id": self._new_trigger_id(user_id),
            }
        body = urlencode(form).encode()
        answer = self._send(body, self.sign(body), f"→ app: command {command}", form)
        self._show_command_answer(target, answer)
        return answer

    def sign(self, body: bytes, timestamp: int | None = None) -> dict[str, str]:
        """Return the headers that Slack sends with this body, at the real time unless another is given."""
        moment = int(time.time()) if timestamp is None else timestamp
        signed = b"v0:%d:%s" % (moment, body)
        digest = hmac.new(self.signing_secret.encode(), signed, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": str(moment),
            "X-Slack-Signature": f"v0={digest}",
        }

    def send_payload(self, payload: Json) -> Answer:
        """Send an interaction payload with Slack's signature."""
        body = urlencode({"payload": json.dumps(payload)}).encode()
        return self._send(body, self.sign(body), f"→ app: {_call_name_of(payload)}", payload)

    def send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send any bytes with any headers, as anybody on the Internet can."""
        return self._send(body, headers, "→ app: send", body)

    def replay(self, answer: Answer | None = None) -> Answer:
        """Send the bytes and headers that got this answer once more, or those that were sent last."""
        body, headers = (answer or self.answers[-1]).sent
        return self._send(body, headers, "→ app: replay", parse_qs(body.decode(errors="replace")))

    def stop(self) -> None:
        super().stop()
        self.link.stop()

    def _send_by_socket(self, call: str, request: Json) -> Answer:
        """Send a payload or a command to the app by Socket Mode, and record its answer."""
        exchange = self.record_arrival("WS", "/link", call, request)
        started = time.monotonic()
        kind = "slash_commands" if "command" in request else "interactive"
        answered = self.link.send(kind, request, ACK_SECONDS)
        seconds = time.monotonic() - started
        status, error = (None, "no answer") if answered is None else (200, "")
        return self._record_app_answer(exchange, Answer(status, answered or "", seconds, error))

    def _send(self, body: bytes, headers: Mapping[str, str], call: str, request: Any) -> Answer:
        """Send bytes to the app by HTTP, or `request` by Socket Mode if it uses that; record its answer."""
        if not self.app_url:
            return self._send_by_socket(call, request)
        exchange = self.record_arrival("POST", "/slack/events", call, request)
        started = time.monotonic()
        try:
            # Ignore a proxy that the environment may name: the app is on this computer.
            with requests.Session() as session:
                session.trust_env = False
                response = session.post(
                    self.app_url + "/slack/events",
                    data=body,
                    headers=dict(headers),
                    timeout=ACK_SECONDS,
                    allow_redirects=False,
                )
            answer = Answer(response.status_code, _response_body(response), time.monotonic() - started)
            if answer.seconds > ACK_SECONDS:  # the timeout above is for each single read
                answer = Answer(None, None, answer.seconds, "too late")
        except requests.RequestException as error:
            answer = Answer(None, None, time.monotonic() - started, type(error).__name__)
        answer.sent = (body, headers)
        return self._record_app_answer(exchange, answer)

    def _record_app_answer(self, exchange: Exchange, answer: Answer) -> Answer:
        with self.lock:
            self.answers.append(answer)
            del self.answers[:-KEPT_EXCHANGES]
        self.record_answer(exchange, answer.status, answer.body or answer.error, answer.seconds)
        return answer

    def _common_fields(self, kind: str, user_id: str, view_id: str = "") -> Json:
        """Return the fields that every interaction payload starts with. `view_id` is of the clicked modal."""
        person = self.users[user_id]
        return {
            "type": kind,
            "user": {
                "id": person.id,
                "username": person.name,
                "name": person.name,
                "team_id": person.team_id or self.sent_team or self.team_id,
            },
            "team": {"id": self.sent_team or self.team_id, "domain": "sandbox"},
            "enterprise": {"id": self.enterprise_id, "name": "Org"} if self.enterprise_id else None,
            "is_enterprise_install": False,
            "api_app_id": self.app_id,
            "token": "made-up-verification-token",
            "trigger_id": self._new_trigger_id(user_id, view_id),
        }

    def _click_json(
        self, user_id: str, message: Message | Private, blocks: Blocks, action: Json, values: Json
    ) -> Json:
        """Return the payload of a click in a message whose content on the person's screen is `blocks`."""
        target = ResponseUrl(user_id, message.channel, message.ts, message.thread_ts, self.now())
        payload = {
            **self._common_fields("block_actions", user_id),
            **self._message_fields(message),
            "state": {"values": values},
            "response_url": self._new_response_url(target),
            "actions": [action],
        }
        if "message" in payload:
            payload["message"]["blocks"] = deepcopy(blocks)
        return payload

    def _message_fields(self, message: Message | Private) -> Json:
        """Return the fields that say in which message a person clicked.

        Of an ephemeral message, Slack does not send the content.
        """
        container: Json = {"type": "message", "message_ts": message.ts, "channel_id": message.channel}
        container["is_ephemeral"] = isinstance(message, Private)
        if message.thread_ts:
            container["thread_ts"] = message.thread_ts
        fields: Json = {"container": container, "channel": self._channel_json(message.channel)}
        if isinstance(message, Message):
            fields["message"] = self._message_json(message)
        return fields

    def _channel_json(self, channel: str) -> Json:
        found = self.channels[channel]
        hides_name = found.is_private and not found.is_im
        return {"id": channel, "name": "privategroup" if hides_name else found.name}

    def _message(self, ts: str) -> Message:
        message = self.find(ts)
        if message is None:
            raise Refused("there is no such message")
        return message

    def _new_trigger_id(self, user_id: str, view_id: str = "") -> str:
        """Return a new trigger_id, which opens one modal for this person."""
        trigger_id = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self.trigger_ids[trigger_id] = Trigger(user_id, self.now(), view=view_id)
        return trigger_id

    def _new_response_url(self, target: ResponseUrl) -> str:
        """Return a new response_url for this target."""
        secret = secrets.token_hex(12)
        self.response_urls[secret] = target
        return f"{self.url}/actions/{secret}"

    def _view_of(self, user_id: str, view_id: str | None) -> View:
        view = self.views.get(view_id) if view_id else self.open_view(user_id)
        if view is None or view.user != user_id:
            raise Refused("there is no such modal open")
        return view

    def _fill_in(self, view: View, values: Mapping[str, Any]) -> None:
        for name, wanted in values.items():
            block, element = _find_element(view.blocks, name, None)
            view.state[block["block_id"], name] = self._state_value(element, wanted)

    def _choose(self, user_id: str, ts: str, blocks: Blocks, action_id: str, wanted: Any) -> None:
        block, element = _find_element(blocks, action_id, None)
        chosen = self._choices.setdefault((user_id, ts), {})
        chosen[block["block_id"], action_id] = self._state_value(element, wanted)

    def _state_values(self, user_id: str, ts: str, blocks: Blocks) -> Json:
        chosen = self._choices.get((user_id, ts), {})
        stale = [block_id for stale_ts, block_id in self._redrawn if stale_ts == ts]
        return state_of(blocks, chosen, stale)

    def _state_value(self, element: Json, wanted: Any) -> Any:
        """Return this choice as Slack puts it into the state.

        Values become whole options, and an empty text becomes None.
        """
        if element["type"] not in INPUT_STATE:
            raise Refused(f"nothing can be chosen in a {element['type']}")
        key, _, empty = INPUT_STATE[element["type"]]
        listed = wanted if isinstance(wanted, list) else [wanted] if wanted else []
        if "option" in key:
            listed = [self._offered_option(element, value) for value in listed]
        return listed if empty == [] else next(iter(listed), None)

    def _offered_option(self, element: Json, value: str) -> Json:
        """Return the option with this value. Raise Refused if neither the element nor the app offers it."""
        offered = [*element.get("options", []), *self._suggested.get(element["action_id"], {}).values()]
        offered += [option for group in element.get("option_groups", []) for option in group["options"]]
        offered += element.get("initial_options", [])
        for option in offered:
            if option["value"] == value:
                return dict(option)
        if "external" in element["type"] and self.allow_made_up_options:
            return {"text": {"type": "plain_text", "text": value}, "value": value}
        raise Refused(f"“{value}” is not among the options")

    def _action_json(self, block: Json, element: Json, value: Any, values: Json) -> Json:
        """Return the entry for `actions` in the payload of a click on this element."""
        kept = ("type", "action_id", "text", "value", "style", "url", "placeholder", "confirm")
        action = {key: deepcopy(element[key]) for key in kept if key in element}
        action |= {"block_id": block["block_id"], "action_ts": self._new_ts()}
        if element["type"] == "overflow":
            action["selected_option"] = self._offered_option(element, value)
        elif element["type"] in INPUT_STATE:
            action |= values[block["block_id"]][element["action_id"]]
        return action

    def _remember_suggestions(self, action_id: str, answer: Answer) -> None:
        """Remember the options that the app suggests, so that a person can pick them."""
        problems = option_problems(answer.body) if answer.status == 200 else [f"status {answer.status}"]
        with self.lock:
            self.problems += [f"suggestions for {action_id}: {problem}" for problem in problems]
            if not problems:
                groups = answer.body.get("option_groups") or [answer.body]
                options = {option["value"]: option for group in groups for option in group["options"]}
                self._suggested.setdefault(action_id, {}).update(options)

    def _apply_submit_answer(self, view: View, answer: Answer) -> None:
        """Close the modal, show errors, update it, push another or clear the stack, as the answer says."""
        view.errors, view.problem = {}, ""
        body = answer.body if isinstance(answer.body, dict) else {}
        action = body.get("response_action")
        problems = view_problems(body.get("view")) if action in ("update", "push") else []
        if answer.status != 200 or problems or (answer.body and not action):
            view.problem = CONNECTION_PROBLEM
            self.problems += problems
        elif action is None:
            self.views.pop(view.id, None)
        elif action == "errors":
            self._show_errors(view, body.get("errors"))
        elif action == "update":
            self._redraw_view(view, body["view"])
        elif action == "push":
            self._push_view(view, body["view"])
        elif action == "clear":
            self.views = {key: each for key, each in self.views.items() if each.root != view.root}
        else:
            self.problems.append(f"response_action: {action} is not known")

    def _push_view(self, view: View, pushed: Json) -> None:
        """Open a modal above this one, unless the stack is full."""
        if sum(each.root == view.root for each in self.views.values()) >= MAX_STACKED_VIEWS:
            self.problems.append(f"response_action push: more than {MAX_STACKED_VIEWS} modals")
        else:
            self._new_view(view.user, pushed, view.trigger_id, below=view)

    def _show_errors(self, view: View, errors: Any) -> None:
        inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
        if not isinstance(errors, dict) or not errors or not set(errors) <= inputs:
            self.problems.append("response_action errors: not keyed by the block_ids of inputs")
            view.problem = CONNECTION_PROBLEM
        else:
            view.errors = {key: str(sentence) for key, sentence in errors.items()}

    def _show_command_answer(self, target: ResponseUrl, answer: Answer) -> None:
        """Post the answer to a slash command if it has text or blocks."""
        content = answer.body if isinstance(answer.body, dict) else {"text": answer.body}
        if answer.status != 200 or not (content.get("text") or content.get("blocks")):
            return
        with self.lock:
            try:
                text, blocks, _ = content_of(content)
                self._post_response(target, content, text, blocks)
            except ApiError as error:
                self.problems.append(f"answer to a command: {error.reply.body}")
        self.touch()


def _find_element(blocks: Blocks, action_id: str, block_id: str | None) -> tuple[Json, Json]:
    """Return the block and the element with these ids, in any block if block_id is None."""
    for block, element in elements_in(blocks):
        if element.get("action_id") == action_id and block_id in (None, block["block_id"]):
            return block, element
    raise Refused(f"there is no “{action_id}” to be seen")


def _check_inputs(blocks: Blocks, values: Json) -> None:
    """Raise Refused if Slack's client would not send these values of a modal.

    As in Slack's client, white space is enough for a required text.
    """
    for block, element in elements_in(blocks):
        if block["type"] != "input":
            continue
        value = values[block["block_id"]][element["action_id"]][INPUT_STATE[element["type"]][0]]
        if not value and not block.get("optional"):
            raise Refused(f"{element['action_id']} is required")
        if value and isinstance(value, str):
            if len(value) > element.get("max_length", MAX_INPUT_TEXT):
                raise Refused(f"{element['action_id']} is too long")
            if len(value) < element.get("min_length", 0):
                raise Refused(f"{element['action_id']} is too short")
        if isinstance(value, list) and len(value) > element.get("max_selected_items", len(value)):
            raise Refused(f"{element['action_id']}: too many are selected")


def _call_name_of(payload: Json) -> str:
    """Return what a person did, in a few words for the log of exchanges."""
    match payload.get("type"):
        case "block_actions":
            match payload.get("actions"):
                case [{"action_id": action_id}, *_]:
                    return f"click {action_id}"
            return "click"
        case "block_suggestion":
            return f"suggest {payload.get('action_id')}"
        case "view_submission":
            return f"submit {payload.get('view', {}).get('callback_id')}"
        case "view_closed":
            return f"close {payload.get('view', {}).get('callback_id')}"
        case "message_action":
            return f"shortcut {payload.get('callback_id')}"
        case kind:
            return str(kind)


def _response_body(response: requests.Response) -> Any:
    if "json" in response.headers.get("Content-Type", ""):
        try:
            return response.json()
        except ValueError:
            pass
    return response.text
