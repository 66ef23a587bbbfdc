"""A few of the random schedules; `make chaos SEEDS=1-200` tries more."""

from pathlib import Path

import pytest

from tests.chaos import perform


@pytest.mark.long
@pytest.mark.parametrize("seed", [3, 11])
def test_chaos_does_no_harm(seed: int, tmp_path: Path) -> None:
    assert perform(seed, tmp_path) == [], f"again: make chaos SEEDS={seed}"
