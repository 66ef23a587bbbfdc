"""How the app connects to PostgreSQL.

PostgreSQL can fall silent without a goodbye: its host loses power, a firewall forgets the connection, or a
pooler holds a query until its server is back. Neither TCP nor PostgreSQL's own limits end such a wait in
time, so each wait has an end on this side too. Nothing here needs a session of its own on the server, so
that a pgbouncer in transaction mode may stand between.
"""

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from math import ceil
from typing import Any

import psycopg
from psycopg.errors import _WaitTimeout
from sqlalchemy import URL, Engine, create_engine, event

# A click, which has to be answered within Slack's three seconds, waits for a statement, and for a connection
# that has to be tried out and made anew.
STATEMENT_SECONDS = 2.0
PING_SECONDS = 0.7
CONNECT_SECONDS = 1.3
NEXT_HOST_SECONDS = 2.0  # psycopg gives each host of several at least this time
PATIENT_SECONDS = 5.0  # for a connection that nobody in Slack waits for
# What the operator may write in DATABASE_URL in place of these. With them the system notices by itself that
# the other side of an idle connection is gone.
POSTGRESQL_DEFAULTS = {
    "application_name": "conveyor-for-slack",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
}


def postgresql(url: URL, patience: float, **more: Any) -> Engine:
    """Return an engine; `more` is what SQLAlchemy takes."""
    written = {name: value for name, value in POSTGRESQL_DEFAULTS.items() if name not in url.query}
    engine = create_engine(
        url,
        client_encoding="utf8",
        use_native_hstore=False,
        pool_pre_ping=True,
        # A statement that is prepared on one server of a pooler is unknown on the next.
        connect_args={"prepare_threshold": None, **written},
        **more,
    )
    seconds = patience or STATEMENT_SECONDS
    event.listen(engine, "do_connect", partial(_connect_in_time, url, patience))
    event.listen(engine, "checkin", _expect_ping)
    event.listen(engine, "checkout", lambda connection, *_: connection.wait_at_most(seconds))
    limits = _limits(seconds, str(url.query.get("options", "")))
    event.listen(engine, "begin", lambda db: db.exec_driver_sql(limits))
    return engine


def _expect_ping(connection: "_Connection | None", _: object) -> None:
    """The next thing that is sent over a connection of the pool only asks whether it still works."""
    if connection:
        connection.wait_at_most(PING_SECONDS)


def _limits(seconds: float, options: str) -> str:
    """Return what sets the server's limits for one transaction, but for those that the operator has set.

    The last one frees the rows that a process holds which was stopped in the middle of a transaction.
    """
    limits = {"statement_timeout": 0.9 * seconds, "idle_in_transaction_session_timeout": 5.0}
    ours = {name: limit for name, limit in limits.items() if name not in options}
    return "; ".join(f"SET LOCAL {name} = {1000 * limit:.0f}" for name, limit in ours.items()) or "SELECT 1"


class _Connection(psycopg.Connection[Any]):
    """A connection that is closed when an answer does not come in time."""

    _seconds = STATEMENT_SECONDS

    def wait_at_most(self, seconds: float) -> None:
        self._seconds = seconds

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self._seconds)
        except _WaitTimeout:
            self.close()
            raise psycopg.OperationalError("no answer in time") from None


def _connect_in_time(
    url: URL, patience: float, dialect: object, record: object, args: Any, params: dict[str, Any]
) -> _Connection:
    """Return a connection. It is made in a thread of its own: to look up its host may take long as well."""
    hosts = 1 + str(params.get("host", "")).count(",")
    most = PATIENT_SECONDS if patience else CONNECT_SECONDS
    try:
        seconds = float(params.get("connect_timeout", 0)) or most + NEXT_HOST_SECONDS * (hosts - 1)
    except (TypeError, ValueError):
        raise psycopg.OperationalError("bad value") from None
    # An attempt that was given up ends soon as well, or each click would leave a thread and a socket behind.
    params = {"connect_timeout": max(2, ceil(most)), **params}
    made: Future[_Connection] = Future()

    def connect() -> None:
        try:
            connection = _Connection.connect(*args, **params)
            connection.wait_at_most(patience or STATEMENT_SECONDS)
            made.set_result(connection)
        except Exception as error:
            made.set_exception(error)

    threading.Thread(target=connect, name="connect", daemon=True).start()
    try:
        return made.result(seconds)
    except FutureTimeout:
        made.add_done_callback(_close)
        raise psycopg.OperationalError("timeout expired") from None


def _close(late: Future[_Connection]) -> None:
    if not late.exception():
        late.result().close()
