"""A gap analysis for people: tables and a plot for the terminal, and a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from ..analysis.gap import Cell, GapAnalysis
from ..errors import ConfigurationError
from ..specification import split_list
from .pictures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

__all__ = ["fits_table", "forecasts_table", "gap_table", "gap_terminal_plot", "plot_gap", "thresholds_table"]

_MINUS = "\N{MINUS SIGN}"

_MARKS = "ox+*#@%&$=~^"
"""Marks of the terminal plot, one a protocol."""


def gap_table(analysis: GapAnalysis) -> Table:
    """Accuracy of every cell, with its interval; by protocol, judge and gap.

    Unscored episodes have a column where there are any.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title=f"Judge accuracy, {100 * analysis.level:g} % intervals",
    )
    table.add_column("protocol", overflow="fold")
    table.add_column("judge", overflow="fold")
    table.add_column("debater", overflow="fold")
    table.add_column(f"gap, {analysis.unit}", justify="right")
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("n", justify="right")
    unscored = any(cell.unscored for cell in analysis.cells)
    if unscored:
        table.add_column("unscored", justify="right")
    number = gap_format(analysis)
    accuracies = dict(zip(map(id, analysis.cells), _accuracies(analysis.cells), strict=True))
    for _, group in groupby(analysis.cells, key=lambda cell: cell.protocol_key):
        cells = list(group)
        _add_cells(table, cells, [accuracies[id(cell)] for cell in cells], number, unscored)
    return table


def _add_cells(table: Table, cells: Sequence[Cell], accuracies: Sequence[str], number: str, unscored: bool) -> None:
    """The rows of one protocol.  Its options stand under its name, beside the rows that follow."""
    title = title_lines(cells[0].protocol)
    last = len(cells) - 1
    table.add_section()
    for place, (cell, accuracy) in enumerate(zip(cells, accuracies, strict=True)):
        row = [
            "\n".join(title[place:] if place == last else title[place : place + 1]),
            cell.judge,
            "—" if cell.debater is None else cell.debater,
            "—" if cell.capability_gap is None else number.format(cell.capability_gap),
            accuracy,
            str(cell.n),
        ]
        if unscored:
            row.append(str(cell.unscored))
        table.add_row(*map(Text, row))


def title_lines(title: str) -> list[str]:
    """A protocol's name, and each of its options on a line of its own: narrow enough for a terminal."""
    name, opening, rest = title.partition("(")
    if not opening:
        return [title]
    options, _, mark = rest.rpartition(")")
    return [name + mark, *(f" {option}" for option in split_list(options))]


def fits_table(analysis: GapAnalysis) -> Table:
    """The slope of each protocol's accuracy in the capability gap, or why there is none."""
    title = f"Slope: log-odds of a correct verdict per {per_unit(analysis.unit)} of gap"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title)
    table.add_column("protocol", overflow="fold")
    table.add_column("slope", justify="right", no_wrap=True)
    table.add_column(f"{100 * analysis.level:g} % interval", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("at 0", justify="right", no_wrap=True)
    table.add_column("n (sources)", justify="right", no_wrap=True)
    for fit in (*analysis.fits, *([] if analysis.pooled is None else [analysis.pooled])):
        title = "\n".join(line.strip() for line in title_lines(fit.protocol))
        if fit.slope is None or fit.slope_low is None or fit.slope_high is None or fit.intercept is None:
            row = [title, "—", "—", "—", "—"]
        else:
            digits = digits_for(fit.slope_low, fit.slope_high)
            row = [
                title,
                f"{rounded(fit.slope, digits):+.{digits}f}",
                f"[{rounded(fit.slope_low, digits):+.{digits}f}, {rounded(fit.slope_high, digits):+.{digits}f}]",
                _p_value(fit.p_value),
                f"{100 * float(fit.curve(0.0)[0]):.1f} %",
            ]
        table.add_row(*map(Text, [*row, f"{fit.n} ({fit.sources})"]))
        within = next((one for one in analysis.within_judges if one.protocol == fit.protocol), None)
        if within is not None and None not in (within.slope, within.slope_low, within.slope_high):
            low, high = float(within.slope_low or 0.0), float(within.slope_high or 0.0)
            digits = digits_for(low, high)
            slope = f"{rounded(float(within.slope or 0.0), digits):+.{digits}f}"
            interval = f"[{rounded(low, digits):+.{digits}f}, {rounded(high, digits):+.{digits}f}]"
            table.add_row(*map(Text, [" within judges", slope, interval, _p_value(within.p_value), "", ""]))
    reasons = [f"{fit.protocol}: {fit.reason}" for fit in analysis.fits if fit.reason]
    if reasons:
        table.caption = Text("\n".join(reasons))
        table.caption_justify = "left"
    return table


def gap_terminal_plot(analysis: GapAnalysis, width: int = 100, height: int = 20) -> Text:
    """Accuracy against the capability gap in plain characters, one mark a protocol, all judges together.

    A mark that would cover another protocol's moves aside by up to two columns.  Protocols in which nobody
    argues have no gap; their accuracies stand below the plot.

    Parameters
    ----------
    width : columns in all, at least 40.
    height : lines of the plotting area, at least 5.
    """
    width, height = max(width, 40), max(height, 5)
    points = [cell for cell in analysis.cells if cell.capability_gap is not None and cell.accuracy is not None]
    lines: list[str] = []
    if points:
        lines += _terminal_panel(analysis, points, width, height)
    for title in dict.fromkeys(cell.protocol for cell in analysis.cells if cell.debater is None):
        alone = [
            f"{cell.judge} {100 * cell.accuracy:.0f} %"
            for judge in analysis.judges
            for cell in analysis.cells
            if cell.protocol == title and cell.judge == judge and cell.debater is None and cell.accuracy is not None
        ]
        if alone:
            lines += _wrap([f"nobody argues in {title}:", *(f"{part}," for part in alone[:-1]), alone[-1]], width, " ")
    if not lines:
        scored = any(cell.n for cell in analysis.cells)
        lines.append(f"nothing to plot: {'no capability is known' if scored else 'no episode was scored'}")
    return Text("\n".join(lines), no_wrap=True, overflow="ellipsis")


def plot_gap(analysis: GapAnalysis, path: str | Path, title: str | None = None) -> None:
    """Draw accuracy against the capability gap: one panel a judge, and one for all judges with the fits.

    The file is written whole or not at all.

    Parameters
    ----------
    path : where to; ``.png`` or ``.svg``.
    title : above the panels; by default what the picture shows.

    Raises
    ------
    ConfigurationError
        if the suffix is neither, there is nothing to draw, or the file cannot be written.
    MissingExtra
        if matplotlib is not installed.
    """
    scored = [cell for cell in analysis.cells if cell.accuracy is not None]
    with picture(path, SETTINGS) as figure:
        if not scored:
            raise ConfigurationError("nothing to draw: no episode was scored")
        if all(cell.debater is not None and cell.capability_gap is None for cell in scored):
            raise ConfigurationError("nothing to draw: a gap needs the capability of a debater and of its judge")
        _draw(figure, analysis, title)


def thresholds_table(analysis: GapAnalysis) -> Table:
    """The gap at which each protocol's fitted accuracy passes each threshold, or why there is none."""
    title = f"Gap at which the fit passes a threshold, {analysis.unit}"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title)
    table.add_column("protocol", overflow="fold")
    table.add_column("accuracy", no_wrap=True)
    table.add_column("gap", justify="right", no_wrap=True)
    table.add_column(f"{100 * analysis.level:g} % interval", justify="right", no_wrap=True)
    notes: dict[str, None] = {}
    digits = 0 if gap_format(analysis) == "{:+.0f}" else 2
    for threshold in analysis.thresholds:
        protocol = "\n".join(line.strip() for line in title_lines(threshold.protocol))
        percent = f"{100 * threshold.accuracy:g} %"
        if threshold.capability_gap is None:
            table.add_row(*map(Text, (protocol, percent, "—", "—")))
            notes[f"{threshold.protocol}: {threshold.reason}"] = None
            continue
        mark = ""
        if threshold.within is False and threshold.observed is not None:
            mark = "*"
            seen = " to ".join(f"{rounded(end, digits):+.{digits}f}" for end in threshold.observed)
            notes[f"* beyond the gaps observed, {seen}: the curve is drawn on past the data"] = None
        if threshold.interval == "bounded" and threshold.low is not None and threshold.high is not None:
            low, high = (f"{rounded(end, digits):+.{digits}f}" for end in (threshold.low, threshold.high))
            interval = f"[{low}, {high}]"
        elif threshold.excluded is not None:
            low, high = (f"{rounded(end, digits):+.{digits}f}" for end in threshold.excluded)
            interval = f"any but {low} to {high}"
        else:
            interval = "any gap"
        if threshold.interval == "unbounded":
            notes["the slope may be 0, so an interval has no end: the episodes do not say where the gap is"] = None
        gap = f"{rounded(threshold.capability_gap, digits):+.{digits}f}{mark or ' '}"
        table.add_row(*map(Text, (protocol, f"{threshold.direction} {percent}", gap, interval)))
    if notes:
        table.caption = Text("\n".join(notes))
        table.caption_justify = "left"
    return table


def forecasts_table(analysis: GapAnalysis) -> Table:
    """How well the smaller gaps foretell the largest, for each protocol, or why that cannot be said."""
    title = "Forecast of the cells with the largest gaps from the others"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title)
    table.add_column("protocol", overflow="fold")
    table.add_column("from", justify="right", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("mean error", justify="right", no_wrap=True)
    table.add_column("log score gained", justify="right", no_wrap=True)
    table.add_column("held", justify="right", no_wrap=True)
    number = gap_format(analysis)
    notes = []
    for one in analysis.forecasts:
        protocol = "\n".join(line.strip() for line in title_lines(one.protocol))
        start = "—" if one.from_gap is None else number.format(one.from_gap)
        if one.error is None or one.constant_error is None or one.log_score is None:
            table.add_row(*map(Text, (protocol, start, str(one.n), "—", "—", "—")))
            notes.append(f"{one.protocol}: {one.reason}")
            continue
        gain = f"{one.log_score:+.3f}"
        if one.log_score_low is not None and one.log_score_high is not None:
            digits = digits_for(one.log_score_low, one.log_score_high)
            mean, low, high = (
                f"{rounded(value, digits):+.{digits}f}"
                for value in (one.log_score, one.log_score_low, one.log_score_high)
            )
            gain = f"{mean} [{low}, {high}]"
        error = f"{100 * one.error:.1f} ({100 * one.constant_error:.1f}) %"
        table.add_row(*map(Text, (protocol, start, str(one.n), error, gain, f"{one.covered} of {one.held_out}")))
    if any(one.error is not None for one in analysis.forecasts):
        notes.append(
            "mean error of accuracy and log score (nats) against one that says the same everywhere (error in "
            "brackets), for cells from this gap on; held: cells whose interval holds the forecast"
        )
    if notes:
        table.caption = Text("\n".join(notes))
        table.caption_justify = "left"
    return table


# ---- numbers as text ----------------------------------------------------------------------------


def per_unit(unit: str) -> str:
    """The unit as it stands after *per*."""
    return "point" if unit == "points" else unit


def _accuracies(cells: Sequence[Cell]) -> list[str]:
    """Accuracy and interval of each cell, in columns no wider than they must be."""
    parts = [
        None
        if cell.accuracy is None or cell.low is None or cell.high is None
        else [f"{100 * value:.1f}" for value in (cell.accuracy, cell.low, cell.high)]
        for cell in cells
    ]
    widths = [max((len(part[place]) for part in parts if part), default=0) for place in range(3)]
    lines = []
    for part in parts:
        mean, low, high = (text.rjust(width) for text, width in zip(part or ["", "", ""], widths, strict=True))
        lines.append(f"{mean} %  [{low}, {high}]" if part else "—")
    return lines


def gap_format(analysis: GapAnalysis) -> str:
    """How to write a gap: whole points for ratings, two decimals for log-odds."""
    gaps = [abs(cell.capability_gap) for cell in analysis.cells if cell.capability_gap is not None]
    return "{:+.0f}" if max(gaps, default=0.0) >= 20.0 else "{:+.2f}"


def digits_for(low: float, high: float) -> int:
    """Decimals that show an interval with two significant digits of its width."""
    width = high - low
    return max(0, min(9, 1 - math.floor(math.log10(width)))) if width > 0 else 3


def rounded(value: float, digits: int) -> float:
    """Rounded, and never -0."""
    return round(value, digits) + 0.0


def _p_value(value: float | None) -> str:
    if value is None:
        return "—"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def span(numbers: Iterable[int], noun: str) -> str:
    """``100 questions``, or ``80 to 100 questions`` where they differ."""
    low, high = min(found := list(numbers)), max(found)
    return f"{low} {noun}" if low == high else f"{low} to {high} {noun}"


def argued_protocols(analysis: GapAnalysis) -> list[str]:
    """Titles of the protocols in which somebody argues, in order."""
    return list(dict.fromkeys(cell.protocol for cell in analysis.cells if cell.debater is not None))


# ---- in the terminal ----------------------------------------------------------------------------


def _terminal_panel(analysis: GapAnalysis, points: Sequence[Cell], width: int, height: int) -> list[str]:
    margin = len("100 % ┤")
    columns, rows = width - margin, height
    gaps = [cell.capability_gap for cell in points if cell.capability_gap is not None]
    left, right = min(0.0, *gaps), max(0.0, *gaps)
    if left == right:
        left, right = left - 1.0, right + 1.0
    room = 0.04 * (right - left)
    left, right = left - room, right + room

    def column(gap: float) -> int:
        return round((gap - left) / (right - left) * (columns - 1))

    def row(accuracy: float) -> int:
        return round((1.0 - accuracy) * (rows - 1))

    area = [[" "] * columns for _ in range(rows)]
    for line in area:
        line[column(0.0)] = "┊"
    if analysis.chance is not None:
        area[row(analysis.chance)] = list(("╌ " * columns)[:columns])
    marks = {title: _MARKS[place % len(_MARKS)] for place, title in enumerate(argued_protocols(analysis))}
    for cell in points:
        assert cell.capability_gap is not None
        assert cell.accuracy is not None
        mark, here = marks[cell.protocol], area[row(cell.accuracy)]
        places = [column(cell.capability_gap) + aside for aside in (0, 1, -1, 2, -2)]
        places = [place for place in places if 0 <= place < columns]
        free = [place for place in places if here[place] in (" ", "┊", "╌", mark)]
        here[(free or places)[0]] = mark

    ticks = {row(part / 4): f"{25 * part:3d} % ┤" for part in range(5)}
    lines = [ticks.get(number, "      │") + "".join(line).rstrip() for number, line in enumerate(area)]
    axis, labels, taken = ["─"] * columns, [" "] * columns, -1
    number = "{:+.0f}" if max(map(abs, gaps)) >= 20.0 else "{:+.2f}"
    for gap in _round_steps(left, right, max(2, columns // 14)):
        place = column(gap)
        text = "0" if gap == 0 else number.format(gap)
        start = min(max(place - len(text) // 2, 0), columns - len(text))
        if start > taken:
            axis[place] = "┬"
            labels[start : start + len(text)] = text
            taken = start + len(text)
    lines.append("      └" + "".join(axis))
    lines.append(" " * margin + "".join(labels).rstrip())
    lines.append(f"capability gap, {analysis.unit} (debater minus judge); accuracy of every judge, upward")
    legend = [f"{mark} {title}" for title, mark in marks.items()]
    if analysis.chance is not None:
        legend.append(f"╌ chance, {100 * analysis.chance:.0f} %")
    return lines + _wrap(legend, width, "   ")


def _wrap(parts: Sequence[str], width: int, between: str) -> list[str]:
    """The parts side by side, on as many lines as it takes."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(between) + len(part) <= width:
            lines[-1] += between + part
        else:
            lines.append(part)
    return lines


def _round_steps(low: float, high: float, at_most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``."""
    rough = (high - low) / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


# ---- as a picture -------------------------------------------------------------------------------

INK, GREY, FAINT = "#222222", "#5c5c5c", "#d9d9d9"

SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "text.color": INK,
    "text.parse_math": False,  # an agent's name may hold a dollar sign
    "svg.hashsalt": "oversight",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Look:
    """How one protocol is drawn: told apart by any one of colour, lightness, marker or line."""

    colour: str
    marker: str
    line: Any


_LOOKS = (
    Look("#17375e", "o", "-"),
    Look("#c85a0a", "s", (0, (5, 1.6))),
    Look("#58b3a9", "^", (0, (5, 1.5, 1, 1.5))),
    Look("#8e1f5c", "D", (0, (1, 1.2))),
    Look("#dcae1d", "v", (0, (8, 2, 1, 2, 1, 2))),
    Look("#6f8fd6", "P", (0, (3, 1, 3, 1, 1, 1))),
)
"""Of protocols in which somebody argues."""


def look_of(place: int) -> Look:
    """The look of protocol number ``place``; the second round of colours gets other markers."""
    look, turn = _LOOKS[place % len(_LOOKS)], place // len(_LOOKS)
    return replace(look, marker=_LOOKS[(place + turn) % len(_LOOKS)].marker)


_LEVELS = (
    Look("#555555", "", (0, (4, 3))),
    Look("#999999", "", (0, (1.2, 2.2))),
    Look("#000000", "", (0, (7, 3, 1.2, 3))),
    Look("#777777", "", (0, (10, 4))),
)
"""Of protocols in which nobody argues: horizontal lines."""


def _draw(figure: Figure, analysis: GapAnalysis, title: str | None) -> None:
    argued = argued_protocols(analysis)
    alone = list(dict.fromkeys(cell.protocol for cell in analysis.cells if cell.debater is None))
    looks = {name: look_of(place) for place, name in enumerate(argued)}
    looks |= {name: _LEVELS[place % len(_LEVELS)] for place, name in enumerate(alone) if name not in looks}
    gaps = [cell.capability_gap for cell in analysis.cells if cell.capability_gap is not None]
    panels = len(analysis.judges) + bool(gaps)
    columns = panels if panels <= 4 else 3 if panels in (5, 6, 9) else 4
    rows = math.ceil(panels / columns)

    # Sizes are in inches from here on, so that every figure has the same letters and the same air.
    width = max(0.85 + 3.05 * columns, 6.9)
    figure.set_size_inches(width, 1.0)
    legend = _legend(figure, analysis, looks, argued, alone)
    legend_height = legend.get_window_extent().height / figure.dpi
    top, bottom, between = 0.72 + legend_height + 0.36, 0.62 if gaps else 0.2, 0.5
    height = top + bottom + rows * 2.3 + (rows - 1) * between
    figure.set_size_inches(width, height)
    heading = _heading(title, bool(gaps))
    figure.text(0.14 / width, 1 - 0.16 / height, heading, fontsize=12.5, fontweight="bold", va="top")
    figure.text(0.14 / width, 1 - 0.47 / height, _note(analysis), fontsize=8.5, color=GREY, va="top")
    legend.set_bbox_to_anchor((0.04 / width, 1 - 0.68 / height), transform=figure.transFigure)
    if gaps:
        label = f"capability gap: debater minus judge, {analysis.unit}"
        figure.text(0.5, 0.12 / height, label, fontsize=9.5, ha="center", va="bottom")

    grid = figure.add_gridspec(
        rows,
        columns,
        left=0.78 / width,
        right=1 - 0.2 / width,
        top=1 - top / height,
        bottom=bottom / height,
        wspace=0.07,
        hspace=between / 2.3,
    )
    axes = list(grid.subplots(sharex=True, sharey=True, squeeze=False).flat)
    for spare in axes[panels:]:
        spare.remove()
    axes = axes[:panels]
    for place, panel in enumerate(axes):
        panel.tick_params(labelbottom=bool(gaps) and place + columns >= panels, labelleft=place % columns == 0)
        if place % columns == 0:
            panel.set_ylabel("judge accuracy", fontsize=9.5)
        if not gaps:
            panel.tick_params(bottom=False)

    low, high = (min(0.0, *gaps), max(0.0, *gaps)) if gaps else (-1.0, 1.0)
    room = 0.07 * (high - low) or 1.0
    low, high = low - room, high + room
    lowest = min([cell.low for cell in analysis.cells if cell.low is not None] + [analysis.chance or 1.0])
    floor = min(0.5, math.floor(4.0 * lowest) / 4.0)
    for panel, judge in zip(axes, analysis.judges, strict=False):
        _panel(panel, analysis, low, high, floor)
        _judge_panel(panel, analysis, judge, looks, 0.012 * (high - low))
    if gaps:
        _panel(axes[-1], analysis, low, high, floor)
        _pooled_panel(axes[-1], analysis, looks)


def _heading(title: str | None, gaps: bool) -> str:
    return title or ("Judge accuracy as the capability gap grows" if gaps else "Judge accuracy")


def _note(analysis: GapAnalysis) -> str:
    """Sample sizes, and what the bars are."""
    scored = [cell for cell in analysis.cells if cell.n]
    episodes = span((cell.n for cell in scored), "episodes")
    questions = span((cell.questions for cell in scored), "questions")
    intervals = f"bars and bands: {100 * analysis.level:g} % intervals, clustered by source"
    unseen = sum(cell.debater is not None and cell.capability_gap is None for cell in scored)
    missing = f"; not shown: {unseen} without a known gap" if unseen else ""
    return f"n = {episodes}, {questions} each cell; {intervals}{missing}"


def _panel(panel: Axes, analysis: GapAnalysis, low: float, high: float, floor: float) -> None:
    """Axes, grid and chance line."""
    panel.set_xlim(low, high)
    panel.set_ylim(floor - 0.03, 1.0 + 0.05 * (1.0 - floor))
    ticks = [quarter / 4 for quarter in range(5) if quarter / 4 >= floor]
    panel.set_yticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
    panel.grid(axis="y", color="#ececec", linewidth=0.8)
    if any(cell.capability_gap is not None for cell in analysis.cells):
        panel.axvline(0.0, color=FAINT, linewidth=1.0, zorder=0.6)
    panel.set_axisbelow(True)
    if analysis.chance is not None:
        panel.axhline(analysis.chance, color=GREY, linewidth=0.8, linestyle=(0, (1, 3)), zorder=0.8)


def _judge_panel(panel: Axes, analysis: GapAnalysis, judge: str, looks: Mapping[str, Look], dodge: float) -> None:
    cells = [cell for cell in analysis.cells if cell.judge == judge and cell.accuracy is not None]
    name = _judge_title(analysis, judge)
    panel.set_title(name, fontsize=9.5 * min(1.0, 42 / len(name)), loc="left")
    argued = [name for name in argued_protocols(analysis) if any(cell.protocol == name for cell in cells)]
    for cell in cells:
        if cell.debater is not None or cell.accuracy is None or cell.low is None or cell.high is None:
            continue
        look = looks[cell.protocol]
        panel.axhspan(cell.low, cell.high, color=look.colour, alpha=0.13, linewidth=0, zorder=0.7)
        panel.axhline(cell.accuracy, color=look.colour, linestyle=look.line, linewidth=1.3, zorder=1.5)
    for place, name in enumerate(argued):
        look, aside = looks[name], (place - (len(argued) - 1) / 2.0) * dodge
        row = [cell for cell in cells if cell.protocol == name and cell.capability_gap is not None]
        across = [(cell.capability_gap or 0.0) + aside for cell in row]
        up = [cell.accuracy or 0.0 for cell in row]
        below = [level - (cell.low or 0.0) for level, cell in zip(up, row, strict=True)]
        above = [(cell.high or 0.0) - level for level, cell in zip(up, row, strict=True)]
        panel.errorbar(
            across,
            up,
            yerr=[below, above],
            color=look.colour,
            marker=look.marker,
            linestyle=look.line,
            linewidth=1.4,
            elinewidth=1.1,
            markersize=5.0,
            markeredgecolor="white",
            markeredgewidth=0.6,
            capsize=0,
            zorder=3.0 + 0.1 * place,
            clip_on=False,
        )


def _pooled_panel(panel: Axes, analysis: GapAnalysis, looks: Mapping[str, Look]) -> None:
    import numpy as np

    panel.set_title("all judges, with logistic fits", fontsize=9.5, loc="left")
    panel.set_facecolor("#fafafa")
    for place, name in enumerate(argued_protocols(analysis)):
        look = looks[name]
        row = [cell for cell in analysis.cells if cell.protocol == name and cell.capability_gap is not None]
        row = [cell for cell in row if cell.accuracy is not None]
        across = [cell.capability_gap or 0.0 for cell in row]
        up = [cell.accuracy or 0.0 for cell in row]
        panel.plot(
            across,
            up,
            color=look.colour,
            marker=look.marker,
            linestyle="none",
            markersize=4.0,
            alpha=0.4,
            markeredgewidth=0,
            zorder=2.0,
            clip_on=False,
        )
        fit = next(fit for fit in analysis.fits if fit.protocol == name)
        if fit.slope is None:
            continue
        # The curve ends where the data end: what lies beyond is a forecast, and this is not one.
        grid = np.linspace(min(across), max(across), 200)
        mean, low, high = fit.curve(grid)
        panel.fill_between(grid, low, high, color=look.colour, alpha=0.18, linewidth=0, zorder=1.0 + 0.01 * place)
        panel.plot(grid, mean, color=look.colour, linestyle=look.line, linewidth=2.0, zorder=3.0 + 0.1 * place)


def _judge_title(analysis: GapAnalysis, judge: str) -> str:
    value, judge = analysis.capability.get(judge, math.nan), shortened(judge, 48)
    if not math.isfinite(value):
        return f"judge {judge}"
    if "elo" in analysis.unit.lower():
        return f"judge {judge} (rating {minus(f'{value:.0f}')})"
    return f"judge {judge} ({analysis.unit} {minus(f'{value:.4g}')})"


def shortened(name: str, length: int) -> str:
    """A long name without its middle: the ends are what tells versions apart."""
    return name if len(name) <= length else f"{name[: length // 2]}…{name[-(length // 2 - 1) :]}"


def minus(number: str) -> str:
    return number.replace("-", _MINUS)


def _legend(
    figure: Figure, analysis: GapAnalysis, looks: Mapping[str, Look], argued: Sequence[str], alone: Sequence[str]
) -> Legend:
    """One legend for all panels, in as many columns as the figure has room for."""
    from matplotlib.lines import Line2D

    handles = []
    for name in dict.fromkeys([*argued, *alone]):
        look = looks[name]
        handles.append(
            Line2D(
                [],
                [],
                color=look.colour,
                marker=look.marker,
                linestyle=look.line,
                linewidth=1.6,
                markersize=5.5,
                markeredgecolor="white",
                markeredgewidth=0.6,
                label=shortened(name, 72) if name in argued else f"{shortened(name, 56)} (nobody argues)",
            )
        )
    if analysis.chance is not None:
        label = f"chance, {100 * analysis.chance:.0f} %"
        handles.append(Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (1, 3)), label=label))
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(
            handles=handles, loc="upper left", ncols=columns, frameon=False, handlelength=3.6, fontsize=9.5
        )
        if columns == 1 or legend.get_window_extent().width <= 0.98 * figure.bbox.width:
            break
        legend.remove()
    return legend
