"""Fast stand-ins for Slack and Conveyor, which answer every call after a pause and remember it.

The stand-ins in `sandbox/` check everything, which takes more time than the app itself needs. These must do
as little as possible for each call, and check nothing. `python -m bench.services` runs them in a process of
their own and prints their port.
"""

import asyncio
import json
import math
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit
from urllib.request import urlopen

from bench.made_up import ASKER, CHANNEL, GROUPS, TEAM, conveyor_request

CONVEYOR = "/api/v2/exchange"
KEPT_CALLS = 1_000


class FakeServices:
    """Both services: the requests that are open in Conveyor, and which calls came when."""

    def __init__(self) -> None:
        self.waiting: dict[int, dict[str, Any]] = {}  # the open requests in Conveyor, by number
        self.pauses: dict[str, float] = {}  # seconds before an answer, by call or by service
        self.counts: Counter[str] = Counter()
        self.calls: list[tuple[str, str, float, bool]] = []
        self._queue: list[dict[str, Any]] | None = None
        self._messages = 0
        self.is_closing = False  # whether each answer ends its connection

    def name(self, method: str, path: str) -> str:
        """Return the short name of a call, such as `users.info`, `GET queue` or `PATCH request`."""
        if not path.startswith(CONVEYOR):
            return path.rpartition("/")[2]
        collection, _, item_id = path.removeprefix(CONVEYOR + "/").partition("/")
        short = {"authorization_request_queue": "queue", "access_groups": "groups"}
        return f"{method} {'request' if item_id else short.get(collection, collection)}"

    def pause(self, name: str) -> float:
        """Return the seconds before the answer to this call: those set for the call, or for its service."""
        service = "Conveyor" if _is_conveyor(name) else "Slack"
        return self.pauses.get(name, self.pauses.get(service, 0.0))

    def answer(self, name: str, path: str, fields: dict[str, str]) -> Any:
        """Return the body of the answer to this call."""
        if _is_conveyor(name):
            return self._conveyor_answer(name, path, fields)
        return self._slack_answer(name, fields)

    def _slack_answer(self, name: str, fields: dict[str, str]) -> Any:
        match name:
            case "auth.test":
                return {"ok": True, "url": "https://x/", "team_id": TEAM, "user_id": "UBOT", "bot_id": "BBOT"}
            case "users.info":
                user_id = fields["user"]
                profile = {"real_name": f"Reviewer {user_id}", "email": f"{user_id.lower()}@example.com"}
                return {"ok": True, "user": {"id": user_id, "team_id": TEAM, "profile": profile}}
            case "conversations.members":
                return {"ok": True, "members": [ASKER]}
            case "conversations.history":
                return {"ok": True, "messages": [], "has_more": False}
            case "chat.postMessage" | "chat.update":
                self._messages += 1
                ts = fields.get("ts") or f"{time.time():.0f}.{self._messages % 1_000_000:06d}"
                return {"ok": True, "channel": CHANNEL, "ts": ts}
        return {"ok": True}

    def _conveyor_answer(self, name: str, path: str, fields: dict[str, str]) -> Any:
        match name:
            case "GET groups":
                groups = [vars(group) for group in GROUPS]
                return {"access_groups": groups, "page": 1, "per_page": 100, "total_pages": 1}
            case "GET connections":
                return {"connections": [], "page": 1, "per_page": 100, "total_pages": 1}
            case "GET authorizations":
                granted = {"id": "auth-1", "email": fields["email"], "status": "gated"}
                return {"authorizations": [granted], "page": 1, "per_page": 100, "total_pages": 1}
            case "GET queue":
                return self._page(int(fields["page"]), int(fields["per_page"]))
            case "GET request":
                return conveyor_request(_number(path.rpartition("/")[2]))
            case "PATCH request":
                request = conveyor_request(_number(path.rpartition("/")[2]))
                self._close(request["id"])
                return {**request, "status": "ignored"}
            case "POST authorizations":
                self._close(fields["request_id"])
                request = conveyor_request(_number(fields["request_id"]))
                granted = {"id": f"auth-{request['id']}", "email": request["email"], "status": "authorized"}
                return {**granted, "dataroom_id": "room-1", "_embedded": {"access_groups": []}}
        return {"ok": True}

    def set_waiting(self, numbers: Iterable[int]) -> None:
        self.waiting = {number: conveyor_request(number) for number in numbers}
        self._queue = None

    def ask(self, number: int) -> None:
        self.waiting[number] = conveyor_request(number)
        self._queue = None

    def _close(self, request_id: str) -> None:
        self.waiting.pop(_number(request_id), None)
        self._queue = None

    def _page(self, page: int, per_page: int) -> dict[str, Any]:
        if self._queue is None:
            self._queue = list(self.waiting.values())
        shown = self._queue[(page - 1) * per_page : page * per_page]
        total = max(1, math.ceil(len(self._queue) / per_page))
        return {"authorization_requests": shown, "page": page, "per_page": per_page, "total_pages": total}

    def control(self, fields: dict[str, Any]) -> Any:
        """Set what the bench asks for, and return the calls and their counts since it last said `forget`."""
        if "pauses" in fields:
            self.pauses = fields["pauses"]
        if "waiting" in fields:
            self.set_waiting(range(*fields["waiting"]))
        self.is_closing = fields.get("closing", self.is_closing)
        if "ask" in fields:
            self.ask(fields["ask"])
        seen = {"calls": self.calls, "counts": self.counts}
        if fields.get("forget"):
            self.calls, self.counts = [], Counter()
        return seen

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one HTTP request after another from a connection, until either side wants no more."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            is_new = True
            while await self._answer_next(reader, writer, is_new):
                is_new = False
        writer.close()

    async def _answer_next(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_new: bool
    ) -> bool:
        """Read a request and answer it. `is_new` says whether it is the first one of its connection.

        Return whether the connection stays open.
        """
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split(" ", 2)
        length = next(
            (line[15:] for line in head.lower().split("\r\n") if line.startswith("content-length:")), "0"
        )
        keep = not self.is_closing and "\r\nconnection: close\r\n" not in head.lower()
        body = await reader.readexactly(int(length))
        path = urlsplit(target).path
        fields = dict(parse_qsl(urlsplit(target).query)) | _fields(body)
        if path == "/bench":
            answer = self.control(fields)
        else:
            name = self.name(method, path)
            if pause := self.pause(name):
                await asyncio.sleep(pause)
            answer = self.answer(name, path, fields)
            self.counts[name] += 1
            self.calls.append((name, _card_state(fields), time.time(), is_new))
            del self.calls[:-KEPT_CALLS]
        content = json.dumps(answer).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b"
            % (b"" if keep else b"Connection: close\r\n", len(content), content)
        )
        await writer.drain()
        return keep


def _is_conveyor(name: str) -> bool:
    """Return whether this call is Conveyor's: only its names have an HTTP method, before a space."""
    return " " in name


def _number(request_id: str) -> int:
    return int(request_id.removeprefix("req-"))


def _card_state(fields: dict[str, Any]) -> str:
    """Return the state of the card that this call posts or updates, or an empty string."""
    metadata = fields.get("metadata")
    return str(metadata["event_payload"]["state"]) if isinstance(metadata, dict) else ""


def _fields(body: bytes) -> dict[str, Any]:
    if body.startswith(b"{"):
        fields: dict[str, Any] = json.loads(body)
        return fields
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


class Services:
    """The process of both services, which runs for as long as the `with` block lasts.

    With the files of a certificate and its key, the services also answer over TLS, at `tls_port`.
    """

    def __init__(self, *certificate: Path) -> None:
        self._command = [sys.executable, "-m", "bench.services", *map(str, certificate)]

    def __enter__(self) -> "Services":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout  # noqa: S101 - for the type checker
        plain, self.tls_port = map(int, self._process.stdout.readline().split())
        self.url = f"http://127.0.0.1:{plain}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def set(self, **fields: Any) -> dict[str, Any]:
        """Change what the services do, and return the calls and their counts since the last `forget`.

        `pauses` are the seconds before an answer, by call or by service. `waiting` is the first number of the
        open requests and the number after the last one, `ask` the number of one more open request. If
        `closing` is true, each answer ends its connection. `forget` drops the calls after they are returned.

        A call is its name, the state of the card in it, when it came, and whether it was the first one of its
        connection.
        """
        with urlopen(self.url + "/bench", json.dumps(fields).encode(), timeout=30) as answer:
            seen: dict[str, Any] = json.load(answer)
            return seen


async def _main(*certificate: str) -> None:
    """Serve, and print the port and the one for TLS, which is 0 without a certificate."""
    serve, ports = FakeServices().serve, [0, 0]
    for each, context in enumerate([None, _tls(*certificate)] if certificate else [None]):
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, backlog=1000)
        ports[each] = server.sockets[0].getsockname()[1]
    print(*ports, flush=True)
    await server.serve_forever()


def _tls(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
