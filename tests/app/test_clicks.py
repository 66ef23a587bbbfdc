"""Clicks go before background work, which goes on all the same."""

import threading

import pytest

from listeners import clicks
from listeners.clicks import Clicks


def test_the_background_waits_for_the_click_to_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clicks, "LET_PASS_SECONDS", 60.0)
    some = Clicks()
    background = threading.Thread(target=some.let_pass)
    with some.answering():
        with some.answering():
            background.start()
        assert background.is_alive()
    background.join(timeout=10)
    assert not background.is_alive()


def test_the_background_goes_on_although_clicks_never_end() -> None:
    some = Clicks()
    background = [threading.Thread(target=some.let_pass) for _ in range(5)]
    with some.answering():
        for thread in background:
            thread.start()
        for thread in background:
            thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in background)


def test_a_click_that_failed_holds_up_nothing() -> None:
    some = Clicks()
    with pytest.raises(ValueError, match="odd"), some.answering():
        raise ValueError("odd")
    some.let_pass()
