"""A lock that goes to those who wait in the order in which they came."""

import threading
from collections import deque


class FairLock:
    """Python's own lock goes to whoever asks at the right moment, so that under load some wait far longer."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self.waiting: deque[threading.Event] = deque()

    def acquire(self, timeout: float) -> bool:
        """Whether it was our turn within so many seconds."""
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            turn = threading.Event()
            self.waiting.append(turn)
        if turn.wait(timeout):
            return True
        with self._guard:
            if turn in self.waiting:
                self.waiting.remove(turn)
                return False
        return True  # it was handed over in the last moment

    def release(self) -> None:
        with self._guard:
            if self.waiting:
                self.waiting.popleft().set()
            else:
                self._taken = False
