"""`python -m sandbox`: the whole product on this computer, with no Slack and no Conveyor account.

It starts both stand-ins, the page and the app, prints what they send to each other, and stops all of them on
a signal. It must not read anybody's real settings, nor listen on another address than 127.0.0.1.
"""

import argparse
import io
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from sandbox.app_process import AppProcess
from sandbox.conveyor import ConveyorStandIn
from sandbox.page import EXAMPLES, Page, is_routine, outcome, sender_and_receiver
from sandbox.page_server import PageServer
from sandbox.slack import SlackStandIn
from sandbox.stand_in import Exchange
from sandbox.workspace import ANN, BOB

DESCRIPTION = (
    "`python -m sandbox`: the whole product on this computer, without a Slack or a Conveyor account."
)
FIRST_CARDS_SECONDS = 60.0
FIRST_EXAMPLES = ("ordinary", "ordinary", "silent")
POLL_SECONDS = 0.02
QUIET_SECONDS = 0.5  # without a call, until what happens at the start is over
# Short, so that somebody who tries the app sees a reminder, but not so short that they see several in a row.
REMIND_SECONDS = 60.0
GROUPS = ("SOC 2 report", "Penetration test", "ISO 27001 certificate", "Architecture overview")
COLLEAGUES = ("raj@acme.example", "mia@acme.example")  # have access already; their company is in the CRM


def main() -> int:
    """Run until a signal arrives, and return the exit status."""
    started = time.monotonic()
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")  # not every terminal can show every character
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=DESCRIPTION)
    parser.add_argument(
        "--port",
        type=int,
        default=8800,
        help="port of the page; the app, Slack and Conveyor use the next three (default 8800)",
    )
    parser.add_argument(
        "--remind-after",
        type=float,
        default=REMIND_SECONDS,
        metavar="SECONDS",
        help=f"until a waiting request gets a reminder (default {REMIND_SECONDS:.0f}; 0 means never)",
    )
    arguments = parser.parse_args()
    port = arguments.port
    if not 1024 <= port <= 65532:
        print("--port must be from 1024 to 65532.", file=sys.stderr)
        return 1
    for taken in filter(_is_taken, range(port, port + 4)):
        print(
            f"Port {taken} is in use. Stop whatever uses it, or pick another: make demo PORT={port + 10}",
            file=sys.stderr,
        )
        return 1
    # The main thread polls a list instead of waiting for an Event. The system may deliver a signal to any
    # thread without waking the main thread, which alone runs the handler; and the handler may run while the
    # main thread holds the Event's lock.
    signals: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        signals.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    with tempfile.TemporaryDirectory(prefix="conveyor-sandbox-") as folder:
        run(port, arguments.remind_after, Path(folder), started, signals)
    return 0


def run(port: int, remind_after: float, folder: Path, started: float, signals: list[int]) -> None:
    """Start everything, print the page's address last, wait for a signal, and stop everything."""
    slack, conveyor = SlackStandIn(limit_rates=True), ConveyorStandIn()
    slack.app_url = f"http://127.0.0.1:{port + 1}"
    slack.serve(port + 2)
    conveyor.serve(port + 3)
    slack.on_exchange.append(exchange_printer("Slack"))
    conveyor.on_exchange.append(exchange_printer("Conveyor"))
    for name in GROUPS:
        conveyor.add_group(name)
    for email in COLLEAGUES:
        conveyor.sign_nda(conveyor.approve_here(conveyor.ask(email)))
    conveyor.connections[0]["crm_link"] = "https://crm.example/accounts/acme"
    for example in FIRST_EXAMPLES:
        conveyor.ask(*EXAMPLES[example]())

    def print_and_show(sentence: str) -> None:
        print_line(sentence)
        slack.touch()  # so that the page shows it as well

    app = AppProcess(app_settings(port, remind_after, folder, slack, conveyor), print_and_show)
    server = PageServer(Page(slack, conveyor, app))
    server.serve(port)
    app.start()
    try:
        deadline = started + FIRST_CARDS_SECONDS
        while not is_settled(slack) and time.monotonic() < deadline and not signals:
            time.sleep(POLL_SECONDS)
        if slack.cards():
            seconds = time.monotonic() - started
            print_line(f"Ready after {seconds:.1f} s. Press Ctrl-C to stop.\nOpen {server.url}")
        elif not signals:
            print_line(f"No card has arrived yet. The lines above may say why.\nOpen {server.url}")
        while not signals:
            time.sleep(POLL_SECONDS)
        print_line("Stopping.")
    finally:
        app.stop()
        server.stop()
        slack.stop()
        conveyor.stop()


def is_settled(slack: SlackStandIn) -> bool:
    """Return whether the first cards are there and the app is quiet, so that the address is printed last."""
    if len(slack.cards()) < len(FIRST_EXAMPLES):
        return False
    with slack.lock:
        latest = slack.exchanges[-1]
    return latest.done and time.time() - latest.at > QUIET_SECONDS


def app_settings(
    port: int, remind_after: float, folder: Path, slack: SlackStandIn, conveyor: ConveyorStandIn
) -> dict[str, str]:
    """Return the app's environment: where the stand-ins are, who may decide, and to listen on 127.0.0.1."""
    return {
        "ENV_FILE": os.devnull,  # do not read a real .env file
        "CONVEYOR_KEY": conveyor.api_key,
        "CONVEYOR_API_URL": conveyor.api_url,
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_SIGNING_SECRET": slack.signing_secret,
        "SLACK_CHANNEL_ID": slack.channel_id,
        "SLACK_API_URL": slack.api_url,
        "DATABASE_URL": f"sqlite:///{folder}/ledger.db",
        "PORT": str(port + 1),
        "POLL_SECONDS": "1",
        "REVIEWERS": f"{ANN},{BOB}",
        "REJECTION_REASON": "required",
        "REMIND_AFTER_HOURS": str(remind_after / 3600),
        "REMIND_TIMES": "1",
        "RETENTION_DAYS": "0",
        "LOG_LEVEL": "WARNING",
        "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{port + 1}",
    }


def print_line(sentence: str) -> None:
    with suppress(OSError):  # nobody reads the output anymore
        print(f"{sentence}\n", end="", flush=True)  # in one write, because several threads print


def exchange_printer(side: str) -> Callable[[Exchange], None]:
    """Return a function that prints an exchange of this stand-in, but each routine call only once."""
    printed: set[str] = set()

    def print_exchange(exchange: Exchange) -> None:
        note = ""
        if is_routine(exchange):
            if exchange.call in printed:
                return
            printed.add(exchange.call)
            note = "  (repeats hidden)"
        sender, receiver = sender_and_receiver(side, exchange)
        at = time.strftime("%H:%M:%S", time.localtime(exchange.at))
        call = exchange.call.removeprefix("→ app: ")
        print_line(f"{at}  {sender:>8} → {receiver:<8}  {call}  {outcome(exchange)}{note}")

    return print_exchange


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do, so that a port with connections that are just closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
