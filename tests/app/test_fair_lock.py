"""Writers of the ledger get the lock in the order in which they came, and none waits forever."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from ledger.fair_lock import FairLock
from tests.support.world import eventually


def test_the_lock_is_given_in_the_order_of_arrival() -> None:
    lock = FairLock()
    order: list[int] = []

    def take(number: int) -> None:
        assert lock.acquire(timeout=10)
        order.append(number)
        lock.release()

    def wait(number: int) -> bool:
        return len(lock.waiting) == number

    assert lock.acquire(timeout=0)
    threads = [threading.Thread(target=take, args=(number,)) for number in range(5)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        eventually(partial(wait, number))
    lock.release()
    for thread in threads:
        thread.join(timeout=10)
    assert order == [0, 1, 2, 3, 4]


def test_a_writer_that_gives_up_leaves_the_queue() -> None:
    lock = FairLock()
    assert lock.acquire(timeout=0)
    assert not lock.acquire(timeout=0.05)
    lock.release()
    assert lock.acquire(timeout=0)


def test_one_writer_at_a_time_and_none_is_forgotten() -> None:
    lock, inside, most = FairLock(), [0], [0]

    def take(_: int) -> bool:
        # Some give up just as they are given the lock.
        if not lock.acquire(timeout=0.001):
            return False
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        inside[0] -= 1
        lock.release()
        return True

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(1000)))
    assert most == [1]
    assert any(taken)
    assert lock.acquire(timeout=0)
    assert not lock.waiting
