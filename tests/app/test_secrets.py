"""No secret and no word of a customer's gets into the log, whatever comes over the socket and its proxy."""

import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.workspace import ANN
from tests.support.leaks import secrets_in
from tests.support.raw_peer import RawPeer
from tests.support.steps import posted, request_of
from tests.support.world import World, eventually

WORDS = "what-the-customer-wrote"
TRIGGER = "13345224609.738474920.8088930838d88f008e0"
USER, PASSWORD = "operator", "proxy-word"
PROXY_SECRETS = (USER, PASSWORD, b64encode(f"{USER}:{PASSWORD}".encode()).decode())
REFUSED = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
# As in a payload of Slack's: each part alone would be a leak.
PAYLOAD = {
    "type": "block_actions",
    "trigger_id": TRIGGER,
    "response_url": "https://hooks.slack.com/actions/T0/1/made-up",
    "message": {"text": WORDS},
}


def envelope(payload: Any, **more: Any) -> str:
    return json.dumps({"type": "interactive", "envelope_id": WORDS, "payload": payload, **more})


ODD_FRAMES: dict[str, tuple[str | bytes, ...]] = {
    "of an unknown type": (json.dumps({**PAYLOAD, "type": WORDS}),),
    "an envelope of an unknown type": (envelope(PAYLOAD, type=WORDS),),
    "without a type": (json.dumps({"payload": PAYLOAD}),),
    "no JSON": (WORDS,),
    "half of JSON": (envelope(PAYLOAD)[:-9],),
    "a list": (json.dumps([PAYLOAD]),),
    "deep": ("[" * 100_000 + WORDS,),
    "bytes": (WORDS.encode() + b"\xff\xfe",),
    "JSON in bytes": (envelope(PAYLOAD).encode(),),
    "unknown, in parts": (f'{{"type": "{WORDS}", ', f'"trigger_id": "{TRIGGER}"', "}"),
    "no JSON, in parts": (WORDS, "", WORDS),
    "a payload for nobody": (envelope({**PAYLOAD, "actions": [{"action_id": WORDS, "block_id": WORDS}]}),),
    "a command for nobody": (envelope({"command": f"/{WORDS}", "text": WORDS, "trigger_id": TRIGGER}),),
    "an event for nobody": (
        envelope({"type": "event_callback", "event": {"type": "message", "text": WORDS}}),
    ),
    "another workspace": (envelope({**PAYLOAD, "team": {"id": WORDS}}),),
    "a payload that is text": (envelope(WORDS),),
    "a payload that is a list": (envelope([PAYLOAD]),),
    "no payload": (envelope(None),),
    "odd ids": (envelope({**PAYLOAD, "user": WORDS, "team": [], "actions": WORDS}, envelope_id=[WORDS]),),
    "a warning": (json.dumps({"type": "disconnect", "reason": WORDS, "debug_info": {"host": WORDS}}),),
    "too long": (envelope({**PAYLOAD, "filler": "x" * 1_100_000}),),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with closing(World(tmp_path, by_socket=True)) as made:
        yield made
    assert found(made) == []


@pytest.fixture
def proxy() -> Iterator[RawPeer]:
    """A proxy that refuses everything."""
    made = RawPeer(lambda _: [REFUSED])
    yield made
    made.stop()


def found(world: World) -> list[str]:
    """What must not be in the log."""
    more = (WORDS, TRIGGER, *PROXY_SECRETS, "hooks.slack.com", "ws://", "wss://", world.slack.app_token)
    return secrets_in(world.log(), more)


def test_odd_frames_leave_no_trace_and_the_next_click_counts(world: World) -> None:
    world.start(LOG_LEVEL="DEBUG")
    for name, parts in ODD_FRAMES.items():
        eventually(world.slack.link.is_open, what=name)
        world.slack.link.send_raw(*parts)
    card = posted(world, "jane@acme.com", WORDS)
    # The long frame has cut the socket, and another may not be open yet.
    eventually(lambda: world.slack.click(ANN, card.ts, "approve").status == 200)
    world.shows(request_of(card), "approved")
    assert "Traceback" not in world.log()
    assert "level=ERROR" not in world.log()


def test_a_click_in_several_frames_is_carried_out_and_not_logged(world: World) -> None:
    world.start(LOG_LEVEL="DEBUG")
    card = posted(world)
    text = envelope({**world.slack.click_payload(ANN, card.ts, "approve"), "state": {"values": {}}})
    third = len(text) // 3
    world.slack.link.send_raw(text[:third], text[third : 2 * third], text[2 * third :])
    world.shows(request_of(card), "approved")


@pytest.mark.parametrize(
    ("scheme", "names"),
    [
        (
            "http",
            ("HTTPS_PROXY",),
        ),  # Slack's methods are reached by http here, and the socket through CONNECT
        ("http", ("HTTPS_PROXY", "HTTP_PROXY")),
        ("https", ("https_proxy",)),
        ("socks5h", ("ALL_PROXY",)),
        ("nonsense", ("WS_PROXY",)),
    ],
)
def test_a_proxy_that_refuses_is_told_without_its_address(
    world: World, proxy: RawPeer, scheme: str, names: tuple[str, ...]
) -> None:
    address = f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"
    world.launch(LOG_LEVEL="DEBUG", **dict.fromkeys(names, address))
    told(world, "Slack: the socket does not open")
    eventually(lambda: "socket=closed cause=" in world.log())
    said = str(world.readiness()) + world.log()
    assert not any(part in said for part in (*PROXY_SECRETS, str(proxy.port)))


def test_a_proxy_that_refuses_every_method_is_told_without_its_address(world: World, proxy: RawPeer) -> None:
    address = f"http://{USER}:{PASSWORD}@127.0.0.1:{proxy.port}"
    world.launch(SLACK_API_URL="https://slack.example/api/", HTTPS_PROXY=address, LOG_LEVEL="DEBUG")
    told(world, "Slack: auth_test: ")
    said = str(world.readiness()) + world.log()
    assert not any(part in said for part in (*PROXY_SECRETS, str(proxy.port)))
    assert b"CONNECT slack.example:443 " in b"".join(proxy.heard)


def told(world: World, start: str) -> None:
    """Wait until /readyz has a reason that starts like this."""

    def look() -> bool:
        try:
            return any(reason.startswith(start) for reason in world.readiness()[1]["reasons"])
        except requests.RequestException:
            return False

    eventually(look, what=start)
