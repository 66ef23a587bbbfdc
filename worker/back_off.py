"""How long to wait after failures in a row."""

LONGEST_PAUSE = 300.0


def pause(failures: int) -> float:
    """Return the seconds to wait after so many failures: one, doubling, up to LONGEST_PAUSE."""
    return float(min(2 ** min(failures, 20), LONGEST_PAUSE))
