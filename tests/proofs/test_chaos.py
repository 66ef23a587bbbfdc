"""Two of the random schedules; `make chaos SEEDS=1-200` tries more."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.proofs.chaos import Chaos, perform


@pytest.mark.long
@pytest.mark.parametrize("seed", [3, 11])
def test_chaos_does_no_harm(seed: int, tmp_path: Path) -> None:
    assert perform(seed, tmp_path) == [], f"again: make chaos SEEDS={seed}"


def test_an_app_that_ends_by_itself_is_not_at_rest(tmp_path: Path) -> None:
    with closing(Chaos(tmp_path)) as chaos:
        chaos.settings["POLL_SECONDS"] = "never"
        with pytest.raises(AssertionError, match="ended by itself"):
            chaos.live([])
