"""How the app logs: one line per record to standard error, without what libraries say about customers."""

import json
import logging
import os
import re
import select
import sys
from contextlib import suppress
from datetime import UTC, datetime

# A message that has fields of its own. Any other, such as a library's, becomes one field.
FIELDS = re.compile(r'(?:(?:^| )[a-z_]+=(?:%[+.\w]+|[\w.-]+|"[^"]*"))+')
PIPE_BYTES = 4096  # POSIX: what a pipe that takes anything takes whole, Linux's PIPE_BUF
PATIENCE_SECONDS = 0.2  # for whoever reads the log, before lines are lost
# Libraries that write bodies, whole frames and addresses, with customers and passwords in them, or what is
# logged here with its cause. The errors of databases and sockets reach this app as exceptions.
CHATTY = {
    "alembic": logging.WARNING,
    "psycopg": logging.CRITICAL,
    "slack_bolt": logging.WARNING,
    "slack_sdk": logging.WARNING,
    "slack_sdk.web": logging.CRITICAL,
    "sqlalchemy": logging.CRITICAL,
    "urllib3": logging.ERROR,
    "websockets": logging.CRITICAL,
    "werkzeug": logging.WARNING,
}


class Value(str):
    """The value of a field. `%s` puts it in quotes unless it is one plain word, and `%r` always does."""

    def __str__(self) -> str:
        is_word = self and self.isprintable() and not set(self) & set(' "=\\')
        return self[:] if is_word else repr(self)

    def __repr__(self) -> str:
        return f'"{"".join(map(_spelled, self))}"'


def _spelled(char: str) -> str:
    """Return the character as JSON spells it, if it cannot be seen or would end the value."""
    return char if char.isprintable() and char not in '"\\' else json.dumps(char)[1:-1]


class Logfmt(logging.Formatter):
    """Writes each record as one line of `key=value`, so that no text can pass for another field or record."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = f"time={at.removesuffix('+00:00')}Z level={record.levelname} at={record.name} "
        if isinstance(record.msg, str) and isinstance(record.args, tuple) and FIELDS.fullmatch(record.msg):
            values = tuple(each if isinstance(each, int | float) else Value(each) for each in record.args)
            line += record.msg % values if values else record.msg
        else:
            line += f"msg={Value(record.getMessage())!r}"
        if record.exc_info:
            line += f" exception={Value(self.formatException(record.exc_info))!r}"
        return line


class StandardError(logging.Handler):
    """Writes to standard error, and loses lines while nobody reads it.

    A pipe or terminal that is full would hold up every thread that logs, and with them every click.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lost = 0
        self._is_cut = False  # whether the last line ends in the middle
        self._out = _standard_error()
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        lines = [self.format(record)]
        if self._lost:
            said = 'lost=%d cause="nobody read the log for a while"'
            lost = logging.LogRecord(__name__, logging.WARNING, "", 0, said, (self._lost,), None)
            lines.insert(0, self.format(lost))
        text = "".join(f"{line}\n" for line in ([""] if self._is_cut else []) + lines)
        self._lost = 0 if self._write(text.encode("utf-8", "backslashreplace")) else self._lost + 1

    def _write(self, said: bytes) -> bool:
        """Return whether all of it was written."""
        # While lines are being lost, the next one does not wait again.
        patience = 0 if self._lost else int(PATIENCE_SECONDS * 1000)
        left = said
        try:
            while left and self._poll.poll(patience):
                left = left[os.write(self._out, left[:PIPE_BYTES]) :]
        except OSError:
            pass  # there is no reader anymore, no room on the disk, or too little in the terminal
        self._is_cut = 0 < len(left) < len(said) or (self._is_cut and left == said)
        return not left


def _standard_error() -> int:
    """Return where to write. A terminal that has some room takes too much, and waits, unless told not to."""
    out = sys.stderr.fileno()
    with suppress(OSError):  # it is no terminal, or may not be opened
        out = os.open(os.ttyname(out), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    return out


def log_to_stderr(level: str) -> None:
    handler = StandardError()
    handler.setFormatter(Logfmt())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty, least in CHATTY.items():
        logging.getLogger(chatty).setLevel(least)
