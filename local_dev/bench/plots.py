"""One picture of each group, for a README."""

import statistics
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from .figures import Figure, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

Panel = list[Figure]
"""Rows of one unit, which share an axis."""

INCHES = 9.0
"""Wide; with DPI twice the pixels that a README shows, for sharp letters."""

DPI = 200

ROW = 0.5
"""Inches that one figure takes."""

FRAME = 0.85
"""Inches above and below the rows of a panel."""

BESIDE = 24
"""Letters of the longest name with which two panels have place side by side."""

PROJECT, REFERENCE, INK = "#1f6feb", "#b1bac4", "#24292f"

ORDERS = 30
"""The largest by the smallest value from which on a linear axis would hide the latter."""

TIMES = "\N{MULTIPLICATION SIGN} "

LEFT_OUT = (", p95", ", p99")
"""How rows end that only the table shows."""


def plot(figures: Sequence[Figure], file: Path) -> None:
    """Draw what a group has measured, a panel for each part of it and each unit."""
    from matplotlib.figure import Figure as Canvas

    rows = _rows([each for each in figures if not each.name.endswith(LEFT_OUT)])
    heights = [FRAME + ROW * max(map(len, panels)) for panels in rows]
    canvas = Canvas(figsize=(INCHES, sum(heights)), dpi=DPI, layout="constrained")
    parts = canvas.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    titles = [panels[0][0].group for panels in rows]
    for at, (part, panels) in enumerate(zip(parts, rows, strict=True)):
        if titles[at] not in titles[:at]:
            part.suptitle(titles[at], x=0.01, ha="left", weight="bold", color=INK, fontsize=11)
        for axes, panel in zip(
            part.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _draw(axes, panel)
            axes.set_ylim(max(map(len, panels)) - 0.45, -0.55)
    if any(each.reference for each in figures):
        _explain(parts[0])
    canvas.savefig(file, facecolor="white")


def _rows(figures: Sequence[Figure]) -> list[list[Panel]]:
    """The panels, those that are side by side together."""
    rows: list[list[Panel]] = []
    for _, part in groupby(figures, key=lambda figure: figure.group):
        units: dict[str, Panel] = {}
        for figure in part:
            units.setdefault(figure.unit, []).append(figure)
        panels = list(units.values())
        beside = max(len(figure.name) for panel in panels for figure in panel) <= BESIDE
        rows += [panels] if beside else [[panel] for panel in panels]
    return rows


def _explain(part: "SubFigure") -> None:
    """Say which colour is whose."""
    from matplotlib.patches import Patch

    handles = [Patch(color=PROJECT), Patch(color=REFERENCE)]
    labels = ["dbos-functions, with its ratio", "what it is compared with"]
    part.legend(handles, labels, loc="upper right", ncols=2, frameon=False, labelcolor=INK)


def _draw(axes: "Axes", panel: Panel) -> None:
    """Two bars for each figure, the project's above that of what it is compared with."""
    for at, figure in enumerate(panel):
        ratio = f"{TIMES}{number(statistics.median(figure.ratios))}" if figure.ratios else ""
        _bar(axes, at - 0.2 * bool(figure.reference), figure.project, PROJECT, ratio)
        if figure.reference:
            _bar(axes, at + 0.2, figure.reference, REFERENCE, figure.against)
    axes.set_yticks(range(len(panel)), [each.name for each in panel], fontsize=9, color=INK)
    axes.set_xlabel(panel[0].unit or "number", color=INK, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", left=False)
    axes.tick_params(axis="x", colors=INK, labelsize=8)
    _scale(axes, [value for each in panel for value in (*each.project, *each.reference)])


def _scale(axes: "Axes", values: Sequence[float]) -> None:
    """Leave place for what is written at the ends of the bars."""
    from matplotlib.ticker import StrMethodFormatter

    least, most = min(values), max(values) or 1
    if least > 0 and most > ORDERS * least:
        axes.set_xscale("log")
        axes.set_xlim(least / 3, most * (3 * most / least) ** 0.55)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    else:
        axes.set_xlim(0, most * 1.6)


def _bar(axes: "Axes", at: float, values: Sequence[float], color: str, said: str) -> None:
    """The median as a bar, the smallest and the largest value as a line over its end."""
    middle = statistics.median(values)
    axes.barh(at, middle, height=0.36, color=color)
    axes.plot([min(values), max(values)], [at, at], color=INK, linewidth=1)
    axes.annotate(
        f"{number(middle)}   {said}",
        (max(values), at),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=INK,
        fontsize=8,
    )
