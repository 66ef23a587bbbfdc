"""What /metrics says to Prometheus. docs/operating.md lists the figures, deploy/alerts.yml what to page on.

What is about the whole service is read from the ledger at that moment, so that every replica says the same.
The rest is about this process. Nothing here names a customer, a reviewer, or a request.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from flask import Response, request
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from deadline import Calls
from ledger.database import LedgerError
from ledger.ledger import Ledger
from ledger.rows import Row
from ledger.states import OPEN, State
from ledger.totals import BOUNDS
from operations.health import Health

PREFIX = "conveyor_for_slack"
CARD_SECONDS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)


class Metrics:
    """The figures, which are collected when Prometheus asks for them.

    `refused` counts requests that were refused, by cause. `socket_problem` is None without Socket Mode.
    `holds_lease` says whether this process does the background work.
    """

    def __init__(
        self,
        ledger: Ledger,
        calls: Sequence[Calls],
        refused: Mapping[str, int],
        socket_problem: Callable[[], str] | None,
        holds_lease: Callable[[], bool],
        health: Health,
    ) -> None:
        self._ledger = ledger
        self._calls = calls
        self._refused = refused
        self._socket_problem = socket_problem
        self._holds_lease = holds_lease
        self._health = health
        disable_created_metrics()  # when a histogram began says nothing here
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._card_seconds = Histogram(
            "card_seconds",
            "From a request to its card.",
            namespace=PREFIX,
            buckets=CARD_SECONDS,
            registry=self._registry,
        )

    def posted(self, row: Row, at: float) -> None:
        """Count the seconds that a request has waited for its card, which it has at this time of day."""
        if row.state in OPEN:  # not a message about something else
            self._card_seconds.observe(max(0.0, at - row.received_at))

    def response(self) -> Response:
        """Return all figures, in the format that Prometheus asks for."""
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(self._registry), content_type=content_type)

    def collect(self) -> Iterator[Metric]:
        """Yield the figures, without those from the ledger if that cannot be read."""
        yield _gauge("ready", "Whether /readyz has no reasons.", not self._health.found().reasons)
        yield _gauge("lease_held", "Whether this process does the background work.", self._holds_lease())
        if self._socket_problem:
            yield _gauge("socket_open", "Whether clicks can arrive.", not self._socket_problem())
        calls = CounterMetricFamily(f"{PREFIX}_calls", "HTTP calls.", labels=("service", "outcome"))
        for each in self._calls:
            for outcome, count in each.outcomes.items():
                calls.add_metric((each.name, outcome), count)
        yield calls
        refused = CounterMetricFamily(
            f"{PREFIX}_refused_requests", "Requests that were refused.", labels=("why",)
        )
        for why, count in self._refused.items():
            refused.add_metric((why,), count)
        yield refused
        with suppress(LedgerError):  # /readyz and the log say it
            yield from list(self._from_the_ledger())

    def _from_the_ledger(self) -> Iterator[Metric]:
        totals, time_of_day = self._ledger.totals, self._ledger.database.clock.time_of_day
        now = totals.now()
        age = 0.0 if now.oldest_at is None else max(0.0, time_of_day() - now.oldest_at)
        yield _gauge("requests_waiting", "Requests that nobody has decided.", now.waiting)
        yield _gauge("oldest_waiting_seconds", "For how long the oldest of them has waited.", age)
        yield _gauge("decisions_under_way", "Decisions that Conveyor has not confirmed.", now.under_way)
        polled_at = self._ledger.polls.status().polled_at or 0.0
        yield _gauge("last_complete_poll_timestamp_seconds", "When Conveyor was last read.", polled_at)
        found = totals.since_the_start()
        decisions = CounterMetricFamily(
            f"{PREFIX}_decisions", "Outcomes since the records began.", labels=("outcome",)
        )
        for outcome, total in found.items():
            decisions.add_metric((outcome.replace(" ", "_"),), total.count)
        yield decisions
        seconds = HistogramMetricFamily(
            f"{PREFIX}_decision_seconds", "From a request to its first decision here.", labels=("outcome",)
        )
        for outcome in (State.APPROVED, State.REJECTED):
            within = zip([*map(str, BOUNDS), "+Inf"], found[outcome].within, strict=True)
            seconds.add_metric((outcome,), list(within), found[outcome].waited)
        yield seconds


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", what, value)
