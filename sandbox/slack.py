"""The people in the stand-in for Slack: what they click, type and open arrives at the app, signed."""

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

from sandbox.limits import option_problems, view_problems
from sandbox.slack_api import ApiError, WebApi, content_of
from sandbox.stand_in import KEPT_EXCHANGES, Exchange
from sandbox.workspace import (
    STATE,
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
VIEWS_STACKED_MOST = 3


class Refused(Exception):
    """Slack's client would not let a person do that."""


class SlackStandIn(WebApi):
    """A workspace with people in it. What they do arrives at the app signed, as from Slack."""

    def click(self, user_id: str, ts: str, action_id: str, **how: Any) -> Answer:
        """Somebody clicks; `how` is explained at `click_payload`."""
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
        """What Slack sends for a click on a message, after making the choices (`{action_id: values}`).

        `value` is what is picked in a menu that acts by itself, `via` the private message that the button
        is in, `behind` by how many updates the person's screen is late. Raises Refused if it is not there.
        """
        with self.lock:
            message = via or self.find(ts)
            if message is None:
                raise Refused("there is no such message")
            blocks = message.blocks
            if behind and isinstance(message, Message):
                blocks = message.history[-behind][1]
            for name, wanted in (choose or {}).items():
                self._select(user_id, message.ts, blocks, name, wanted)
            block, element = _find(blocks, action_id, block_id)
            if element["type"] in STATE and value is not None:
                self._select(user_id, message.ts, blocks, action_id, value)
            values = self._values(user_id, message.ts, blocks)
            action = self._action(block, element, value, values)
            return self._click_json(user_id, message, blocks, action, values)

    def select(self, user_id: str, ts: str, action_id: str, values: Any) -> None:
        """Somebody ticks, picks or types something in a message, which by itself sends nothing."""
        with self.lock:
            message = self.find(ts)
            if message is None:
                raise Refused("there is no such message")
            self._select(user_id, ts, message.blocks, action_id, values)

    def forget_choices(self, user_id: str, place: str) -> None:
        """Nothing is chosen any more in this message (its ts) or modal (its id), as this person sees it."""
        with self.lock:
            self._selections.pop((user_id, place), None)
            if view := self.views.get(place):
                view.state.clear()

    def suggest(
        self, user_id: str, action_id: str, value: str, *, ts: str | None = None, view_id: str | None = None
    ) -> Answer:
        """Somebody types in an external select; the options are in the answer's body."""
        with self.lock:
            place = self.find(ts) if ts else self._view(user_id, view_id)
            if place is None:
                raise Refused("there is no such message")
            block, element = _find(place.blocks, action_id, None)
            payload = {
                **self._head("block_suggestion", user_id),
                "action_id": action_id,
                "block_id": block["block_id"],
                "value": value,
                **(self._place(place) if isinstance(place, Message) else {"view": self._view_json(place)}),
            }
        if len(value) < element.get("min_query_length", 3):
            raise Refused("too short to be looked up")
        answer = self.send_payload(payload)
        self._learn_options(action_id, answer)
        return answer

    def submit(
        self,
        user_id: str,
        view_id: str | None = None,
        values: Mapping[str, Any] | None = None,
        *,
        enforce: bool = True,
    ) -> Answer:
        """Somebody fills in a modal (`{action_id: value}`) and submits it; the modal obeys the answer."""
        view = self._view(user_id, view_id)
        answer = self.send_payload(self.submit_payload(user_id, view.id, values, enforce=enforce))
        with self.lock:
            self._after_submit(view, answer)
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
        """What Slack sends for a modal. Raises Refused for what its client checks, unless told not to."""
        with self.lock:
            view = self._view(user_id, view_id)
            for name, wanted in (values or {}).items():
                block, element = _find(view.blocks, name, None)
                view.state[block["block_id"], name] = self._picked(element, wanted)
            shown = self._view_json(view)
            if enforce:
                _enforce(view.blocks, shown["state"]["values"])
            return {**self._head("view_submission", user_id), "view": shown, "response_urls": []}

    def close(self, user_id: str, view_id: str | None = None) -> Answer | None:
        """Somebody closes a modal; the answer, if the app wanted to hear of it."""
        with self.lock:
            view = self._view(user_id, view_id)
            del self.views[view.id]
            head = self._head("view_closed", user_id)
            payload = {**head, "view": self._view_json(view), "is_cleared": False}
        self.touch()
        return self.send_payload(payload) if view.view.get("notify_on_close") else None

    def command(self, user_id: str, text: str, command: str = "/rooms", channel: str | None = None) -> Answer:
        """Somebody uses a slash command; what the app answers at once is shown to them."""
        with self.lock:
            channel = channel or self.channel_id
            target = ResponseUrl(user_id, channel, None, None, self.now())
            form = {
                "token": "made-up-verification-token",
                "team_id": self.team_id,
                "team_domain": "sandbox",
                "channel_id": channel,
                "channel_name": self._channel_json(channel)["name"],
                "user_id": user_id,
                "user_name": self.users[user_id].name,
                "command": command,
                "text": text,
                "api_app_id": self.app_id,
                "is_enterprise_install": "false",
                "response_url": self._response_url(target),
                "trigger_id": self._trigger(user_id),
            }
        body = urlencode(form).encode()
        answer = self._send(body, self.sign(body), f"→ app: command {command}", form)
        self._show_command_answer(target, answer)
        return answer

    def sign(self, body: bytes, timestamp: int | None = None) -> dict[str, str]:
        """The headers that Slack sends with this body. The time is the real one, since the app's is."""
        moment = int(time.time()) if timestamp is None else timestamp
        signed = b"v0:%d:%s" % (moment, body)
        digest = hmac.new(self.signing_secret.encode(), signed, hashlib.sha256).hexdigest()
        return {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": str(moment),
            "X-Slack-Signature": f"v0={digest}",
        }

    def send_payload(self, payload: Json) -> Answer:
        """Send an interaction, signed."""
        body = urlencode({"payload": json.dumps(payload)}).encode()
        return self._send(body, self.sign(body), f"→ app: {_name_of(payload)}", payload)

    def send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send any bytes with any headers, as from the Internet."""
        return self._send(body, headers, "→ app: send", body)

    def replay(self, answer: Answer | None = None) -> Answer:
        """Send again, byte for byte, what got this answer, or what was sent last."""
        body, headers = (answer or self.answers[-1]).sent
        return self._send(body, headers, "→ app: replay", parse_qs(body.decode(errors="replace")))

    def stop(self) -> None:
        super().stop()
        self.link.stop()

    def _send_by_socket(self, call: str, request: Json) -> Answer:
        exchange = self.record_arrival("WS", "/link", call, request)
        started = time.monotonic()
        kind = "slash_commands" if "command" in request else "interactive"
        answered = self.link.send(kind, request, ACK_SECONDS)
        seconds = time.monotonic() - started
        status, error = (None, "no answer") if answered is None else (200, "")
        return self._answered(exchange, Answer(status, answered or "", seconds, error))

    def _send(self, body: bytes, headers: Mapping[str, str], call: str, request: Any) -> Answer:
        if not self.app_url:
            return self._send_by_socket(call, request)
        exchange = self.record_arrival("POST", "/slack/events", call, request)
        started = time.monotonic()
        try:
            # The environment may name a proxy, which has no business on loopback.
            with requests.Session() as session:
                session.trust_env = False
                response = session.post(
                    self.app_url + "/slack/events",
                    data=body,
                    headers=dict(headers),
                    timeout=ACK_SECONDS,
                    allow_redirects=False,
                )
            answer = Answer(response.status_code, _body_of(response), time.monotonic() - started)
            if answer.seconds > ACK_SECONDS:  # the timeout above is for each read
                answer = Answer(None, None, answer.seconds, "too late")
        except requests.RequestException as error:
            answer = Answer(None, None, time.monotonic() - started, type(error).__name__)
        answer.sent = (body, headers)
        return self._answered(exchange, answer)

    def _answered(self, exchange: Exchange, answer: Answer) -> Answer:
        with self.lock:
            self.answers.append(answer)
            del self.answers[:-KEPT_EXCHANGES]
        self.record_answer(exchange, answer.status, answer.body or answer.error, answer.seconds)
        return answer

    def _head(self, kind: str, user_id: str) -> Json:
        """What every interaction starts with."""
        person = self.users[user_id]
        return {
            "type": kind,
            "user": {
                "id": person.id,
                "username": person.name,
                "name": person.name,
                "team_id": person.team_id,
            },
            "team": {"id": self.team_id, "domain": "sandbox"},
            "enterprise": None,
            "is_enterprise_install": False,
            "api_app_id": self.app_id,
            "token": "made-up-verification-token",
            "trigger_id": self._trigger(user_id),
        }

    def _click_json(
        self, user_id: str, message: Message | Private, blocks: Blocks, action: Json, values: Json
    ) -> Json:
        target = ResponseUrl(user_id, message.channel, message.ts, message.thread_ts, self.now())
        payload = {
            **self._head("block_actions", user_id),
            **self._place(message),
            "state": {"values": values},
            "response_url": self._response_url(target),
            "actions": [action],
        }
        if "message" in payload:
            payload["message"]["blocks"] = deepcopy(blocks)
        return payload

    def _place(self, message: Message | Private) -> Json:
        """Where in Slack it happened. Of a private message Slack does not send the content."""
        private = isinstance(message, Private)
        container: Json = {"type": "message", "message_ts": message.ts, "channel_id": message.channel}
        container["is_ephemeral"] = private
        if message.thread_ts:
            container["thread_ts"] = message.thread_ts
        place: Json = {"container": container, "channel": self._channel_json(message.channel)}
        if isinstance(message, Message):
            place["message"] = self._message_json(message)
        return place

    def _channel_json(self, channel: str) -> Json:
        found = self.channels[channel]
        hidden = found.is_private and not found.is_im
        return {"id": channel, "name": "privategroup" if hidden else found.name}

    def _trigger(self, user_id: str) -> str:
        trigger_id = f"{secrets.randbelow(10**12)}.{secrets.randbelow(10**12)}.{secrets.token_hex(16)}"
        self.trigger_ids[trigger_id] = Trigger(user_id, self.now())
        return trigger_id

    def _response_url(self, target: ResponseUrl) -> str:
        secret = secrets.token_hex(12)
        self.response_urls[secret] = target
        return f"{self.url}/actions/{secret}"

    def _view(self, user_id: str, view_id: str | None) -> View:
        view = self.views.get(view_id) if view_id else self.open_view(user_id)
        if view is None or view.user != user_id:
            raise Refused("there is no such modal open")
        return view

    def _select(self, user_id: str, ts: str, blocks: Blocks, action_id: str, wanted: Any) -> None:
        block, element = _find(blocks, action_id, None)
        chosen = self._selections.setdefault((user_id, ts), {})
        chosen[block["block_id"], action_id] = self._picked(element, wanted)

    def _values(self, user_id: str, ts: str, blocks: Blocks) -> Json:
        chosen = self._selections.get((user_id, ts), {})
        stale = [block_id for stale_ts, block_id in self._stale if stale_ts == ts]
        return state_of(blocks, chosen, stale)

    def _picked(self, element: Json, wanted: Any) -> Any:
        """What stands in the state after this choice: options for values, None for an empty text."""
        if element["type"] not in STATE:
            raise Refused(f"nothing can be chosen in a {element['type']}")
        key, _, empty = STATE[element["type"]]
        listed = wanted if isinstance(wanted, list) else [wanted] if wanted else []
        if "option" in key:
            listed = [self._option(element, value) for value in listed]
        return listed if empty == [] else next(iter(listed), None)

    def _option(self, element: Json, value: str) -> Json:
        offered = [*element.get("options", []), *self._suggested.get(element["action_id"], {}).values()]
        offered += [option for group in element.get("option_groups", []) for option in group["options"]]
        offered += element.get("initial_options", [])
        for option in offered:
            if option["value"] == value:
                return dict(option)
        if "external" in element["type"] and self.allow_made_up_options:
            return {"text": {"type": "plain_text", "text": value}, "value": value}
        raise Refused(f"“{value}” is not among the options")

    def _action(self, block: Json, element: Json, value: Any, values: Json) -> Json:
        kept = ("type", "action_id", "text", "value", "style", "url", "placeholder")
        action = {key: deepcopy(element[key]) for key in kept if key in element}
        action |= {"block_id": block["block_id"], "action_ts": self._new_ts()}
        if element["type"] == "overflow":
            action["selected_option"] = self._option(element, value)
        elif element["type"] in STATE:
            action |= values[block["block_id"]][element["action_id"]]
        return action

    def _learn_options(self, action_id: str, answer: Answer) -> None:
        problems = option_problems(answer.body) if answer.status == 200 else [f"status {answer.status}"]
        with self.lock:
            self.problems += [f"suggestions for {action_id}: {problem}" for problem in problems]
            if not problems:
                groups = answer.body.get("option_groups") or [answer.body]
                options = {option["value"]: option for group in groups for option in group["options"]}
                self._suggested.setdefault(action_id, {}).update(options)

    def _after_submit(self, view: View, answer: Answer) -> None:
        """Do with the modal what the app says."""
        view.errors, view.problem = {}, ""
        body = answer.body if isinstance(answer.body, dict) else {}
        action = body.get("response_action")
        problems = view_problems(body.get("view")) if action in ("update", "push") else []
        if answer.status != 200 or problems or (answer.body and not action):
            view.problem = "We had some trouble connecting. Try again?"
            self.problems += problems
        elif action is None:
            self.views.pop(view.id, None)
        elif action == "errors":
            self._show_errors(view, body.get("errors"))
        elif action == "update":
            self._redraw_view(view, body["view"])
        elif action == "push":
            self._push(view, body["view"])
        elif action == "clear":
            self.views = {key: each for key, each in self.views.items() if each.root != view.root}
        else:
            self.problems.append(f"response_action: {action} is not known")

    def _push(self, view: View, pushed: Json) -> None:
        if sum(each.root == view.root for each in self.views.values()) >= VIEWS_STACKED_MOST:
            self.problems.append(f"response_action push: more than {VIEWS_STACKED_MOST} modals")
        else:
            self._new_view(view.user, pushed, view.trigger_id, below=view)

    def _show_errors(self, view: View, errors: Any) -> None:
        inputs = {block["block_id"] for block in view.blocks if block["type"] == "input"}
        if not isinstance(errors, dict) or not errors or not set(errors) <= inputs:
            self.problems.append("response_action errors: not keyed by the block_ids of inputs")
            view.problem = "We had some trouble connecting. Try again?"
        else:
            view.errors = {key: str(sentence) for key, sentence in errors.items()}

    def _show_command_answer(self, target: ResponseUrl, answer: Answer) -> None:
        content = answer.body if isinstance(answer.body, dict) else {"text": answer.body}
        if answer.status != 200 or not (content.get("text") or content.get("blocks")):
            return
        with self.lock:
            try:
                text, blocks, _ = content_of(content)
                self._respond(target, content, text, blocks)
            except ApiError as error:
                self.problems.append(f"answer to a command: {error.reply.body}")
        self.touch()


def _find(blocks: Blocks, action_id: str, block_id: str | None) -> tuple[Json, Json]:
    for block, element in elements_in(blocks):
        if element.get("action_id") == action_id and block_id in (None, block["block_id"]):
            return block, element
    raise Refused(f"there is no “{action_id}” to be seen")


def _enforce(blocks: Blocks, values: Json) -> None:
    """What Slack's client checks before it sends a modal; white space counts as text there."""
    for block, element in elements_in(blocks):
        if block["type"] != "input":
            continue
        value = values[block["block_id"]][element["action_id"]][STATE[element["type"]][0]]
        if not value and not block.get("optional"):
            raise Refused(f"{element['action_id']} is required")
        if value and isinstance(value, str):
            if len(value) > element.get("max_length", 3000):
                raise Refused(f"{element['action_id']} is too long")
            if len(value) < element.get("min_length", 0):
                raise Refused(f"{element['action_id']} is too short")
        if isinstance(value, list) and len(value) > element.get("max_selected_items", len(value)):
            raise Refused(f"{element['action_id']}: too many are selected")


def _name_of(payload: Json) -> str:
    """What a person did, for the log."""
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
        case kind:
            return str(kind)


def _body_of(response: requests.Response) -> Any:
    if "json" in response.headers.get("Content-Type", ""):
        try:
            return response.json()
        except ValueError:
            pass
    return response.text
