"""Plots as SVG: the same figures give the same bytes, so a plot changes when its figures do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIZE_INCHES = (6.4, 3.2)
COLORS = ["#1f5fa8", "#d9822b", "#3a8a4d", "#8a4fa3", "#777777", "#b5383b"]
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "syncpoint",  # ids in the file would be random otherwise
    "svg.fonttype": "none",  # letters stay letters: smaller than their outlines
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
}


def lines(
    path: Path,
    title: str,
    x_label: str,
    y_label: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> None:
    """A line for each series of points (x, y).

    The y axis of a plot that is not logarithmic begins at 0: what is flat shall look flat.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(title, y_label)
        axes.set_xlabel(x_label)
        for color, (name, points) in zip(_colors(len(series)), series.items(), strict=True):
            xs, ys = [x for x, _ in points], [y for _, y in points]
            axes.plot(xs, ys, marker="o", markersize=4, label=name, color=color)
        if log_x:
            axes.set_xscale("log")
            places = sorted({x for points in series.values() for x, _ in points})
            axes.set_xticks(places, [f"{place:,g}" for place in places], minor=False)
            axes.xaxis.set_minor_formatter("")
        if log_y:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        _save(path, figure, axes, len(series))


def bars(path: Path, title: str, y_label: str, groups: Mapping[str, Mapping[str, float]]) -> None:
    """Groups of bars: ``{group: {bar: value}}``; a bar that a group lacks is left out."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    width = 0.8 / max(1, len(names))
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(title, y_label)
        axes.grid(visible=False, axis="x")
        for place, (color, name) in enumerate(zip(_colors(len(names)), names, strict=True)):
            shift = (place - (len(names) - 1) / 2) * width
            held = [
                (at + shift, group[name])
                for at, group in enumerate(groups.values())
                if name in group
            ]
            axes.bar([x for x, _ in held], [y for _, y in held], width, label=name, color=color)
        axes.set_xticks(range(len(groups)), list(groups))
        _save(path, figure, axes, len(names))


def _axes(title: str, y_label: str) -> tuple[Figure, Axes]:
    # A figure without pyplot: no window system is looked for, and nothing global is kept.
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_ylabel(y_label)
    return figure, axes


def _colors(count: int) -> list[str]:
    return [COLORS[number % len(COLORS)] for number in range(count)]


def _save(path: Path, figure: Figure, axes: Axes, series: int) -> None:
    if series > 1:
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
