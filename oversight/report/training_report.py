"""Weak-to-strong for people: the table of students, why a share is not stated, and the picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from .pictures import picture
from .terminal import safe

if TYPE_CHECKING:
    from ..analysis.accuracy import Estimate
    from ..training.weak_to_strong import StudentRow, WeakToStrong

__all__ = ["plot_weak_to_strong", "print_weak_to_strong", "students_table"]


def print_weak_to_strong(result: WeakToStrong, out: Console) -> None:
    """The table of students and what there is to say about it."""
    settings = result.settings
    out.print(students_table(result.rows))
    lines = list(result.remarks)
    if any(row.flip for row in result.rows):
        lines.append("labels: how many of the labels that a student was trained on are right, after flipping, in %")
    for row in result.rows:
        if row.share is None:
            lines.append(f"{_called(row, result.rows)}: no PGR is stated: {row.reason}")
    number = "1 split" if settings.seeds == 1 else f"{settings.seeds} splits"
    lines += [
        "PGR = (student - weak)/(ceiling - weak), stated only where the interval of ceiling - weak lies above 0",
        f"{number}, in each {settings.train:,} weak labels ({settings.targets}) and a test of {result.test:,}; no "
        "source in two parts",
    ]
    how = "by source: bootstrap that draws sources again, splits together"
    if settings.seeds > 1:
        how += "; by split: Fieller's, over the splits' means, whose tests overlap"
    lines += [f"95 % intervals {how}", f"every result: {result.folder}/results.jsonl"]
    for line in lines:
        out.print(safe(line), soft_wrap=True)


def students_table(rows: Sequence[StudentRow]) -> Table:
    """A row for each student, share of flipped labels and loss."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=0)
    table.add_column("student", min_width=14, overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    flips = len({row.flip for row in rows}) > 1 or any(row.flip for row in rows)
    for name in (*(["labels"] if flips else []), "weak", "student", "ceiling", "PGR", "by source", "by split"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        share, seeds = row.share, row.over_seeds
        means = [row.weak.mean, row.trained.mean, row.ceiling.mean]
        intervals = ["—", "—"]
        if share is not None:
            intervals[0] = _interval(row.low, row.high)
            if seeds is not None:
                intervals[1] = _interval(seeds.low, seeds.high)
        table.add_row(
            safe(_called(row, rows)),
            _size(row.parameters),
            *(f"{100 * one:.1f}" for one in ([row.labels, *means] if flips else means)),
            "—" if share is None else _share(share),
            *intervals,
        )
    return table


def plot_weak_to_strong(result: WeakToStrong, path: str | Path) -> None:
    """Accuracy of weak supervisor, students and ceilings, the smallest student first, with the shares recovered.

    Raises
    ------
    ConfigurationError
        if the suffix is neither .png nor .svg, or the file cannot be written; MissingExtra without matplotlib.
    """
    rows = result.rows
    with picture(path) as figure:
        figure.set_size_inches(max(4.5, 1.5 + 1.1 * len(rows)), 4.2)
        axes = figure.add_subplot()
        for place, row in enumerate(rows):
            axes.plot(
                [place, place], [100 * row.weak.mean, 100 * row.ceiling.mean], color="0.85", linewidth=6, zorder=1
            )
        groups: tuple[tuple[str, str, str, list[Estimate]], ...] = (
            ("ceiling: true labels", "^", "#2a7e43", [row.ceiling for row in rows]),
            ("student: weak labels", "o", "#1f5fa8", [row.trained for row in rows]),
            ("weak supervisor", "v", "#b5482a", [row.weak for row in rows]),
        )
        for title, marker, colour, estimates in groups:
            means = [100 * one.mean for one in estimates]
            below = [100 * (one.mean - one.low) for one in estimates]
            above = [100 * (one.high - one.mean) for one in estimates]
            axes.errorbar(
                range(len(rows)),
                means,
                yerr=[below, above],
                fmt=marker,
                color=colour,
                capsize=3,
                label=title,
                linestyle="none",
            )
        axes.set_xticks(range(len(rows)), [_tick(row, rows) for row in rows], fontsize=8)
        top = max(100 * max(row.ceiling.high, row.trained.high) for row in rows)
        for place, row in enumerate(rows):
            text = "no gap" if row.share is None else f"PGR {_share(row.share)}"
            axes.annotate(text, (place, top), xytext=(0, 8), textcoords="offset points", ha="center", fontsize=8)
        axes.set_xlim(-0.6, len(rows) - 0.4)
        axes.margins(y=0.12)
        axes.set_ylabel("accuracy, % (95 %, clustered by source)")
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=3, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()


def _called(row: StudentRow, rows: Sequence[StudentRow]) -> str:
    parts = [row.student]
    if len({one.flip for one in rows}) > 1:
        parts.append(f"flip {row.flip:g}")
    if len({one.confidence for one in rows}) > 1:
        parts.append(f"conf {row.confidence:g}")
    return ", ".join(parts)


def _tick(row: StudentRow, rows: Sequence[StudentRow]) -> str:
    return "\n".join([*_called(row, rows).split(", "), _size(row.parameters)])


def _size(parameters: int) -> str:
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{name}"
    return str(parameters)


def _share(share: float) -> str:
    """Two digits, without the nought before the point: ``.61``, ``-.08``, ``1.02``."""
    return f"{share:.2f}".replace("-0.00", "0.00").replace("0.", ".", 1 if abs(share) < 0.995 else 0)


def _interval(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "no bound"
    return f"{'-∞' if low is None else _share(low)}–{'∞' if high is None else _share(high)}"
