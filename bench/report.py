"""What was found, as tables: on the screen, and between their marks in docs/performance.md."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.measure import Spread
from chalicelib.domain.documents import JsonDict
from local.system import ROOT

PAGE = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "plots"
RESULTS = ROOT / "bench" / "results.json"


@dataclass(frozen=True)
class Goal:
    """What was wanted, what came of it, and whether that is enough."""

    what: str
    wanted: str
    found: str
    is_met: bool


@dataclass(frozen=True)
class Finding:
    """What one item found.

    Attributes
    ----------
    head, rows
        The table.
    plots : mapping
        What draws each plot into a file, by the file's name.
    figures : dict
        All that was measured, to be kept as JSON.
    notes : list of str
        What has to be known to read the table.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal]
    plots: Mapping[str, Callable[[Path], None]]
    figures: JsonDict
    notes: Sequence[str] = field(default_factory=list)


def write(findings: Mapping[str, Finding], environment: Mapping[str, str]) -> None:
    """Put the findings into the page, the plots and the kept figures; leave other items' alone."""
    page = PAGE.read_text(encoding="utf-8")
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name, finding in findings.items():
        page = with_block(page, name, block(finding, environment))
        kept[name] = {"environment": dict(environment), **finding.figures}
        for file_name, draw in finding.plots.items():
            draw(PLOTS / file_name)
    PAGE.write_text(page, encoding="utf-8")
    RESULTS.write_text(json.dumps(rounded(kept), sort_keys=True, indent=1) + "\n", encoding="utf-8")


def with_block(page: str, name: str, text: str) -> str:
    """The page with other text between an item's marks.

    Raises
    ------
    LookupError
        If the page has no such marks.
    """
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    marks = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not marks.search(page):
        raise LookupError(f"docs/performance.md has no {begin} … {end}")
    return marks.sub(lambda _: f"{begin}\n{text}\n{end}", page, count=1)


def block(finding: Finding, environment: Mapping[str, str]) -> str:
    """An item's table, goals, notes and plots in Markdown."""
    parts = [table(finding.head, finding.rows), goals_table(finding.goals)]
    parts += [f"{note}" for note in finding.notes]
    parts += [f"![{Path(name).stem}](plots/{name})" for name in finding.plots]
    parts += ["Measured: " + ", ".join(f"{key} {value}" for key, value in environment.items())]
    return "\n\n".join(part for part in parts if part)


def goals_table(goals: Sequence[Goal]) -> str:
    """What was wanted beside what was found."""
    rows = [
        [goal.what, goal.wanted, goal.found, "met" if goal.is_met else "**missed**"]
        for goal in goals
    ]
    return table(["goal", "wanted", "found", ""], rows) if rows else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned so that it reads well as text, too."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    padded = [
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in padded)


def shown(spread: Spread, digits: int = 0) -> str:
    """A median and its quartiles: ``9,800 (9,500–10,100)``."""
    low, median, high = (
        f"{value:,.{digits}f}" for value in (spread.low, spread.median, spread.high)
    )
    return f"{median} ({low}–{high})"


def rounded(value: object) -> object:
    """The same with four significant digits: no more is known, and no more is kept."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return value
