"""Replicas: several processes of the app on one ledger, behind one address."""

import copy
import os
import signal
import socket
import socketserver
import threading
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import flask

from sandbox.stand_in import Exchange
from tests.support.world import World, eventually, free_port


class RoundRobin(socketserver.ThreadingTCPServer):
    """Gives each connection to the next process that accepts it."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, ports: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self._ports, self._turns = len(ports), cycle(ports)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def finish_request(self, request: socket.socket | tuple[bytes, socket.socket], _: object) -> None:
        assert isinstance(request, socket.socket)
        for _ in range(self._ports):
            try:
                behind = socket.create_connection(("127.0.0.1", next(self._turns)))
            except OSError:
                continue
            with behind:
                threading.Thread(target=_copy, args=(request, behind), daemon=True).start()
                _copy(behind, request)
            return


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Send on whatever comes, until one side ends."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one side was killed, and the other side will notice


class Replicas:
    """Processes that share a world's stand-ins and ledger. `callers` has who made each call to Conveyor."""

    def __init__(self, folder: Path, database_url: str, count: int, waits: Mapping[str, float]) -> None:
        self.world = World(folder)
        self.world.stop_file = self.stop_file = folder / "stop"
        self.world.settings["DATABASE_URL"] = database_url.replace("+psycopg", "")
        self.world.waits = dict(waits)
        self.each = [self._replica(f"app{number}") for number in range(count)]
        self.proxy = RoundRobin([replica.port for replica in self.each])
        self.world.slack.app_url = self.proxy.url
        self.callers: list[str] = []
        self.world.conveyor.on_exchange.append(self._note_caller)

    def start(self) -> None:
        for replica in self.each:
            replica.launch()
        for replica in self.each:
            eventually(replica.serves, 40, replica.log_file.stem)

    def owner(self) -> World | None:
        """Return the process that holds the lease, or None."""
        ((owner,),) = self.world.ledger("SELECT owner FROM lease")
        taken = f"lease=taken owner={owner}\n"
        return next((replica for replica in self.each if replica.process and taken in replica.log()), None)

    def stop_at(self, what: str) -> None:
        """Make the next process that comes to this request or statement suspend itself."""
        written = self.stop_file.with_suffix(".new")
        written.write_text(what)
        written.rename(self.stop_file)  # in one step, since an empty file would match anything

    def wake(self) -> None:
        """Let every suspended process go on."""
        for replica in self.each:
            if replica.process:
                os.killpg(replica.process.pid, signal.SIGCONT)

    def logs(self) -> str:
        return "\n".join(replica.log() for replica in self.each)

    def close(self) -> None:
        for replica in self.each:
            if replica.process:
                replica.kill()
        self.proxy.shutdown()
        self.proxy.server_close()
        self.world.close()

    def _replica(self, name: str) -> World:
        replica = copy.copy(self.world)
        replica.port = free_port()
        replica.url = f"http://127.0.0.1:{replica.port}"
        replica.log_file = replica.folder / f"{name}.log"
        replica.settings = {
            **replica.settings,
            "PORT": str(replica.port),
            "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{replica.port}",
            # The process's name is sent with every call, as the user name of HTTP.
            "CONVEYOR_API_URL": replica.conveyor.api_url.replace("//", f"//{name}:x@"),
        }
        return replica

    def _note_caller(self, _: Exchange) -> None:
        assert flask.request.authorization
        self.callers.append(str(flask.request.authorization.username))
