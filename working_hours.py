"""The hours in which people work, and the moment of the week at which the channel is told its numbers.

This module knows no clock: it is told the time of day, in seconds since 1970.
"""

import re
import zoneinfo
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cached_property
from itertools import accumulate

EXAMPLE = "Mon-Fri 09:00-17:00 Europe/Berlin"
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LONGEST_WORD = 20  # that is shown to whoever wrote it
MINUTE, DAY = 60, 86400
THURSDAY = 3  # the first day of 1970, as a place in DAYS
MOMENT_EXAMPLE = "Mon 09:00 Europe/Berlin"
MOMENT = re.compile(r"([a-z]+) (\d{1,2}):(\d\d)(?: (\S+))?", re.ASCII | re.IGNORECASE)
PART = re.compile(r"([a-z]+)(?:-([a-z]+))?\s+(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)", re.ASCII)

Span = tuple[float, float]  # when working time begins and ends: the seconds of a day, or of all time


class NotUnderstood(Exception):
    """These are no working hours; the text is a sentence that says what to write instead."""


@dataclass(frozen=True)
class WorkingHours:
    """Working time by the clocks of one time zone: for each day of the week, Monday first, when it is."""

    week: tuple[tuple[Span, ...], ...]
    zone: str

    def is_open(self, at: float) -> bool:
        """Return whether this time is within working hours."""
        day, second = divmod(at + self._ahead(at), DAY)
        return any(begin <= second < end for begin, end in self._spans(int(day)))

    def between(self, start: float, end: float) -> float:
        """Return how many seconds of working time there are from one time to another."""
        return sum(finish - begin for begin, finish in self._stretches(start, end))

    def worked(self, start: float, end: float) -> Callable[[float], float]:
        """Return a function that says how much working time lies between `start` and a time before `end`.

        It is for whoever asks thousands of times, and takes much less time than `between`.
        """
        stretches = list(self._stretches(start, end))
        begins = [begin for begin, _ in stretches]
        before = [0.0, *accumulate(finish - begin for begin, finish in stretches)]

        def until(at: float) -> float:
            place = bisect_right(begins, at)
            return before[place] - max(0.0, stretches[place - 1][1] - at) if place else 0.0

        return until

    def _stretches(self, start: float, end: float) -> Iterator[Span]:
        """Yield when working time begins and ends between two times, in order."""
        for first, last in self._pieces(start, end):
            ahead = self._ahead(first)
            for day in range(int((first + ahead) // DAY), int((last + ahead) // DAY) + 1):
                for begin, finish in self._spans(day):
                    began = max(first, day * DAY + begin - ahead)
                    ended = min(last, day * DAY + finish - ahead)
                    if began < ended:
                        yield began, ended

    def _spans(self, day: int) -> Sequence[Span]:
        """Return the working time of a day, which is counted from the first day of 1970."""
        return self.week[(day + THURSDAY) % 7]

    def _pieces(self, start: float, end: float) -> Iterator[tuple[float, float]]:
        """Cut the time from `start` to `end` where the clocks are set, and at least once a day."""
        while start < end:
            until = min(start + DAY, end)
            if self._ahead(until) != self._ahead(start):
                until = self._change(start, until)
            yield start, until
            start = until

    def _change(self, start: float, end: float) -> float:
        """Return when between these times the clocks are set, to the second."""
        before, after = int(start // 1), -int(-end // 1)
        while after - before > 1:
            middle = (before + after) // 2
            if self._ahead(middle) == self._ahead(start):
                before = middle
            else:
                after = middle
        return min(float(after), end)

    @cached_property
    def _zone(self) -> zoneinfo.ZoneInfo:
        return zoneinfo.ZoneInfo(self.zone)

    def _ahead(self, at: float) -> float:
        """Return by how many seconds the clocks of the zone are ahead of UTC at this time."""
        offset = datetime.fromtimestamp(at, self._zone).utcoffset()
        return offset.total_seconds() if offset is not None else 0.0


@dataclass(frozen=True)
class WeeklyMoment:
    """A moment of each week by the clocks of one time zone: the day, 0 for Monday, and its second."""

    day: int
    second: int
    zone: str

    def __str__(self) -> str:
        minutes = self.second // MINUTE
        return f"{DAYS[self.day][:3].capitalize()} {minutes // 60:02}:{minutes % 60:02} {self.zone}"

    def last(self, at: float) -> tuple[float, str]:
        """Return when it was last, at this time or before, and the name of its week, such as "2026-W49".

        A time that clocks skip comes when they have been set. One that they show twice comes only once.
        """
        zone = zoneinfo.ZoneInfo(self.zone)
        today = datetime.fromtimestamp(at, zone).date()
        newest = today - timedelta(days=(today.weekday() - self.day) % 7)
        for date in (newest, newest - timedelta(days=7)):
            moment = (datetime.combine(date, time(), zone) + timedelta(seconds=self.second)).timestamp()
            if moment <= at:
                break
        year, week, _ = date.isocalendar()
        return moment, f"{year}-W{week:02}"


def parse_moment(text: str, zone: str) -> WeeklyMoment:
    """Return the moment in a text such as MOMENT_EXAMPLE; if it names no time zone, in this one.

    Raises NotUnderstood.
    """
    found = MOMENT.fullmatch(" ".join(text.split()))
    if not found:
        raise NotUnderstood(f"{_quoted(text)} isn't a day and a time. Write it like {MOMENT_EXAMPLE}.")
    day, hour, minute, named = found.groups()
    return WeeklyMoment(_day(day.casefold()), _second(hour, minute), _zone_named(named) if named else zone)


def parse(text: str) -> WorkingHours:
    """Return the working hours in a text such as EXAMPLE, in which capital letters make no difference.

    It has one part or more, separated by commas, each with a day or a range of days and a range of times, and
    then a time zone. Raises NotUnderstood.
    """
    said = re.sub("[\u2010-\u2015\u2212]", "-", text)  # the dashes that editors write
    said = re.sub(r"\s*-\s*", "-", " ".join(said.split()))
    *parts, last = [part.strip() for part in said.split(",")]
    hours, _, zone = last.rpartition(" ")
    if not re.search("[0-9]:[0-9]", last):
        raise NotUnderstood(f"{_quoted(last or text)} has no times. Write it like {EXAMPLE}.")
    if zone[0].isdigit():
        raise NotUnderstood(f"it must end with a time zone. Write it like {EXAMPLE}.")
    week: list[list[Span]] = [[] for _ in DAYS]
    for part in (*parts, hours):
        days, span = _part(part)
        for day in days:
            week[day].append(span)
    return WorkingHours(tuple(map(_merged, week)), _zone_named(zone))


def _part(part: str) -> tuple[list[int], Span]:
    """Return the days and the times of one part, such as "Mon-Fri 09:00-17:00"."""
    found = PART.fullmatch(part.casefold())
    if not found:
        raise NotUnderstood(f"{_quoted(part)} isn't a day and times. Write it like Mon-Fri 09:00-17:00.")
    first, last = (_day(name) for name in (found[1], found[2] or found[1]))
    begin, end = (_second(*found.group(group, group + 1)) for group in (3, 5))
    times = part.rpartition(" ")[2]
    if begin == end:
        raise NotUnderstood(f"{_quoted(times)} begins and ends at the same time. A whole day is 00:00-24:00.")
    if begin > end:
        raise NotUnderstood(
            f"{_quoted(times)} ends before it begins. Write a night as two parts, "
            "such as Mon-Fri 22:00-24:00, Tue-Sat 00:00-06:00."
        )
    # Days go round: Sat-Thu is six of them.
    return [(first + more) % 7 for more in range((last - first) % 7 + 1)], (begin, end)


def _day(name: str) -> int:
    for place, day in enumerate(DAYS):
        if day.startswith(name) and len(name) >= 3:
            return place
    raise NotUnderstood(f"{_quoted(name)} isn't a day. Write Mon, Tue, Wed, Thu, Fri, Sat or Sun.")


def _second(hour: str, minute: str) -> int:
    """Return the second of the day at this time, which is from 00:00 to 24:00."""
    second = (int(hour) * MINUTE + int(minute)) * MINUTE
    if int(minute) >= MINUTE or second > DAY:
        shown = _quoted(f"{hour}:{minute}")
        raise NotUnderstood(f"{shown} isn't a time. Write 00:00 to 24:00, such as 17:00.")
    return second


def _merged(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the spans in order, those that overlap as one."""
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return tuple(merged)


def _zone_named(name: str) -> str:
    """Return the name of a time zone as the database of zones spells it."""
    known = {each.casefold(): each for each in zoneinfo.available_timezones()}
    if not known:
        raise NotUnderstood("this machine has no time zones. Install its package tzdata.")
    if name.casefold() not in known:
        raise NotUnderstood(
            f"{_quoted(name)} isn't a time zone. Write one like Europe/Berlin or America/New_York."
        )
    return known[name.casefold()]


def _quoted(part: str) -> str:
    """Return this part in quotes, unless it may be a secret that was put in the wrong place."""
    is_secret = "://" in part or any(len(word) > LONGEST_WORD for word in part.split())
    shown = part if part.isprintable() else ascii(part)[1:-1]
    return "a part of it" if is_secret or len(shown) > 2 * LONGEST_WORD else f"“{shown}”"
