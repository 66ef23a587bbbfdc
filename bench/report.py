"""The results of the experiments, and how they are printed as Markdown. Nothing is measured here."""

from collections.abc import Sequence
from dataclasses import dataclass, field

NOISE_PERCENT = 5  # by which two runs of the same app differ


@dataclass(frozen=True)
class Target:
    """A promise: its limit, and the figure that was measured, in the same unit."""

    promise: str
    figure: float
    limit: float
    unit: str

    @property
    def is_met(self) -> bool:
        return self.figure <= self.limit


def beside(promise: str, figure: float, before: float, unit: str) -> Target:
    """Return the promise that a figure is no worse than that of the older checkout, but for noise."""
    return Target(
        f"{promise}: the app before + {NOISE_PERCENT} %", figure, before * (1 + NOISE_PERCENT / 100), unit
    )


@dataclass
class Section:
    """The result of one experiment: a table, remarks below it, and the promises that it tests."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", *table(self.columns, self.rows), ""]
        return "\n".join([*lines, *(f"- {remark}" for remark in self.remarks), ""])


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table whose columns also line up in a terminal."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [line(columns), line(rule), *map(line, rows)]


def targets_table(sections: Sequence[Section]) -> str:
    """Return a Markdown table of every promise."""
    rows = [
        (
            target.promise,
            f"{_number(target.figure)} {target.unit}".strip(),
            f"{_number(target.limit)} {target.unit}".strip(),
            "yes" if target.is_met else "**NO**",
        )
        for section in sections
        for target in section.targets
    ]
    lines = ["## Promises", "", *table(("promise", "measured", "limit", "kept"), rows), ""]
    return "\n".join(lines)


def _number(figure: float) -> str:
    return f"{figure:.3g}" if figure < 1000 else f"{figure:,.0f}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
