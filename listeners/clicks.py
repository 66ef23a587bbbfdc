"""Clicks go first: a person waits for their answer, and nobody waits for the background."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

LET_PASS_SECONDS = 0.05  # however many clicks there are, the background goes on


class Clicks:
    """The clicks of this process that are being answered."""

    def __init__(self) -> None:
        self._one_by_one = threading.Lock()
        self._changed = threading.Condition()
        self._answering = 0

    @contextmanager
    def answering(self) -> Iterator[None]:
        with self._changed:
            self._answering += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering -= 1
                if not self._answering:
                    self._changed.notify_all()

    def wait_until_answered(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._answering, seconds)

    def let_pass(self) -> None:
        """Return when no click is being answered, or after a moment, and then one thread after another."""
        with self._one_by_one, self._changed:
            self._changed.wait_for(lambda: not self._answering, LET_PASS_SECONDS)
