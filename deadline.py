"""Calls that end in time, even when the other side drips one byte a second."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# One thread for each request that the web server handles at once (see gunicorn.conf.py), and some for the
# worker. A thread is made only when it is needed.
_threads = ThreadPoolExecutor(max_workers=128, thread_name_prefix="call")


class DeadlineExceeded(Exception):
    """The call did not end in time. `started` says whether anything may have been sent."""

    def __init__(self, started: bool) -> None:
        super().__init__("no answer in time")
        self.started = started


def call_within(seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function returns or raises, or DeadlineExceeded after so many seconds.

    The time limits of HTTP libraries hold for each read, not for the whole call. A call that is given up
    goes on in its thread until its own limits end it; nobody looks at its answer.
    """
    future = _threads.submit(function, *args, **kwargs)
    try:
        return future.result(timeout=seconds)
    except FutureTimeout:
        if future.done():
            return future.result()
        raise DeadlineExceeded(started=not future.cancel()) from None
