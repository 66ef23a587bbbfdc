"""How the app logs: one line a record to standard error, and nothing that a library says about customers."""

import logging

from text import printable

FORMAT = "%(asctime)s level=%(levelname)s at=%(name)s %(message)s"
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


class OneLine(logging.Formatter):
    """Puts each record on one line of visible characters, so that no text can pass for another record."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(FORMAT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty, least in CHATTY.items():
        logging.getLogger(chatty).setLevel(least)
