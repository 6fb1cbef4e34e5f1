"""Write findings as tables in Markdown: on the screen, and into docs/performance.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local.system import ROOT

PAGE = ROOT / "docs" / "performance.md"


@dataclass(frozen=True)
class Goal:
    """What was wanted, what was found, and whether that is enough."""

    what: str
    wanted: str
    found: str
    is_met: bool


@dataclass(frozen=True)
class Finding:
    """The result of one benchmark: a table and goals."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal]

    def tables(self) -> str:
        """Write the table and the goals."""
        goals = [
            [goal.what, goal.wanted, goal.found, "met" if goal.is_met else "**missed**"]
            for goal in self.goals
        ]
        return f"{table(self.head, self.rows)}\n\n{table(['goal', 'wanted', 'found', ''], goals)}"


def at_most(what: str, limit: float, found: float, unit: str = "") -> Goal:
    """Want no more than the limit."""
    return Goal(what, f"≤ {_figure(limit)}{unit}", f"{_figure(found)}{unit}", found <= limit)


def at_least(what: str, limit: float, found: float) -> Goal:
    """Want no less than the limit."""
    return Goal(what, f"≥ {_figure(limit)}", _figure(found), found >= limit)


def write(findings: Mapping[str, Finding], environment: Mapping[str, str]) -> None:
    """Write the findings into the page; leave the other benchmarks' alone."""
    measured = "Measured: " + ", ".join(f"{key} {value}" for key, value in environment.items())
    page = PAGE.read_text(encoding="utf-8")
    for name, finding in findings.items():
        page = with_block(page, name, f"{finding.tables()}\n\n{measured}")
    PAGE.write_text(page, encoding="utf-8")


def with_block(page: str, name: str, text: str) -> str:
    """Replace the text between a benchmark's marks; raise `LookupError` without the marks."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise LookupError(f"docs/performance.md has no {begin} … {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table whose columns are aligned, so that it reads well as text, too."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    padded = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in padded)


def _figure(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
