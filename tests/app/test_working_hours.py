"""WORKING_HOURS: what can be written, what each mistake is told, and how working time is counted."""

from contextlib import suppress
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from working_hours import DAYS, EXAMPLE, NotUnderstood, WorkingHours, parse

MINUTE = 60
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",  # sets its clocks by half an hour
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Pacific/Apia",  # had no December 30 in 2011
    "UTC",
)


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def slowly(hours: WorkingHours, start: int, end: int) -> int:
    """Return the minutes of working time, each minute asked by the clock on the wall."""
    count = 0
    for second in range(start, end, MINUTE):
        wall = datetime.fromtimestamp(second, ZoneInfo(hours.zone))
        passed = (wall.hour * 60 + wall.minute) * MINUTE
        count += any(begin <= passed < finish for begin, finish in hours.week[wall.weekday()])
    return count


@st.composite
def texts(draw: st.DrawFn) -> str:
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        days = draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=2))
        begin, end = sorted(draw(st.lists(st.integers(0, 96), min_size=2, max_size=2, unique=True)))
        clock = [f"{quarters // 4:02}:{quarters % 4 * 15:02}" for quarters in (begin, end)]
        parts.append(f"{'-'.join(day[:3] for day in days)} {'-'.join(clock)}")
    return f"{', '.join(parts)} {draw(st.sampled_from(ZONES))}"


@settings(deadline=None)
@given(texts(), st.integers(20_000_000, 31_500_000), st.integers(0, 3000))
@example("Sun 02:30-04:00 Europe/Berlin", int(at("2026-03-28")) // MINUTE, 2880)
@example("Sun 02:30-04:00 Europe/Berlin", int(at("2026-10-24")) // MINUTE, 2880)
@example("Sun 01:45-02:15 Australia/Lord_Howe", int(at("2026-04-04", "Australia/Lord_Howe")) // MINUTE, 2880)
@example("Sat-Thu 00:00-24:00 Pacific/Apia", int(at("2011-12-28", "Pacific/Apia")) // MINUTE, 4000)
def test_working_time_is_that_of_the_clock_on_the_wall(text: str, first: int, minutes: int) -> None:
    hours = parse(text)
    start, end = first * MINUTE, (first + minutes) * MINUTE
    assert hours.between(start, end) == slowly(hours, start, end) * MINUTE
    assert hours.is_open(start) == (slowly(hours, start, start + MINUTE) == 1)


@settings(deadline=None)
@given(texts(), st.lists(st.floats(1e9, 1.9e9), min_size=3, max_size=3))
def test_working_time_adds_up(text: str, times: list[float]) -> None:
    first, middle, last = sorted(times)
    hours = parse(text)
    middle = min(middle, first + 9e6)
    last = min(last, middle + 9e6)
    whole, parts = hours.between(first, last), hours.between(first, middle) + hours.between(middle, last)
    assert abs(whole - parts) < 0.01
    assert 0.0 <= whole <= last - first + 0.01
    assert hours.between(last, first) == 0.0 or first == last


@pytest.mark.parametrize(
    ("text", "start", "end", "hours"),
    [
        (EXAMPLE, "2026-11-27 08:00", "2026-11-27 10:30", 1.5),
        (EXAMPLE, "2026-11-27 16:00", "2026-11-30 10:00", 2),  # over a weekend
        (EXAMPLE, "2026-11-28 10:00", "2026-11-29 23:00", 0),
        ("Sat-Thu 08:00-10:00 Europe/Berlin", "2026-11-23", "2026-11-30", 12),
        ("Mon-Thu 09:00-17:00, Fri 09:00-14:00 Europe/Berlin", "2026-11-23", "2026-11-30", 37),
        ("Mon 09:00-12:00, Mon 11:00-13:00, Mon 14:00-15:00 Europe/Berlin", "2026-11-23", "2026-11-30", 5),
        ("Mon-Sun 00:00-24:00 Europe/Berlin", "2026-03-29", "2026-03-30", 23),
        ("Mon-Sun 00:00-24:00 Europe/Berlin", "2026-10-25", "2026-10-26", 25),
        (" MONDAY \u2013 fri  9:00 - 17:00   europe/BERLIN ", "2026-11-27 08:00", "2026-11-27 10:30", 1.5),
    ],
)
def test_what_is_counted(text: str, start: str, end: str, hours: float) -> None:
    assert parse(text).between(at(start), at(end)) == hours * 3600


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("always", "always"),
        ("Mon-Fri Europe/Berlin", "Mon-Fri Europe/Berlin"),
        ("Mon-Fri 9-17 Europe/Berlin", EXAMPLE),
        ("Mon-Fri 09:00-17:00", "time zone"),
        ("Mon-Fri 09:00-17:00,", EXAMPLE),
        ("09:00-17:00 Europe/Berlin", "“09:00-17:00”"),
        ("Mon-Fri 09:00-17:00 Berlin", "“Berlin”"),
        ("Mon-Fri 09:00-17:00 ../../etc/passwd", "America/New_York"),
        ("Mon-Fri 09:00-17:00 PST", "“PST”"),
        ("Mo-Fr 09:00-17:00 UTC", "“mo”"),
        ("Mon, Wed 09:00-17:00 UTC", "“Mon”"),
        ("Mon-Fri 09:00-24:01 UTC", "“24:01”"),
        ("Mon-Fri 09:60-17:00 UTC", "“09:60”"),
        ("Mon-Fri 22:00-06:00 UTC", "Mon-Fri 22:00-24:00, Tue-Sat 00:00-06:00"),
        ("Mon-Fri 09:00-09:00 UTC", "00:00-24:00"),
        ("Mon-Fri 09:00am-05:00pm UTC", "“Mon-Fri 09:00am-05:00pm”"),
        ("Mon \u0661\u0662:00-\u0661\u0663:00 UTC", EXAMPLE),
    ],
)
def test_each_mistake_is_told_with_an_example(text: str, named: str) -> None:
    with pytest.raises(NotUnderstood) as raised:
        parse(text)
    assert named in str(raised.value)
    assert str(raised.value).endswith(".")


def test_a_machine_without_time_zones_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    with pytest.raises(NotUnderstood, match="tzdata"):
        parse(EXAMPLE)


@settings(deadline=None)
@given(st.text(alphabet="Mon-Fri 0123456789:,/UTC\0\u2013", max_size=30) | st.text(max_size=30))
def test_any_other_text_is_not_understood(text: str) -> None:
    with suppress(NotUnderstood):
        assert any(parse(text).week)
