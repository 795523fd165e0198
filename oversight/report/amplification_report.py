"""Iterated amplification for people: accuracy by size of the question, and how it grew."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table

from ..training.amplification_experiment import ARMS, PLAYERS, sizes
from .pictures import picture
from .terminal import safe

if TYPE_CHECKING:
    from ..analysis.accuracy import Estimate
    from ..training.amplification_experiment import Amplification

__all__ = ["accuracy_table", "plot_amplification", "print_amplification"]

TITLES = {"amplified": "H' with X", "learner": "X", "supervised": "supervised", "alone": "H alone"}
"""Heads of the columns, by player."""


def print_amplification(result: Amplification, out: Console) -> None:
    """The table of accuracies by power, and what there is to say about it."""
    settings = result.settings
    out.print(accuracy_table(result))
    final = result.last("amplification")
    lines = []
    if len(final) > 1:
        largest = settings.power
        for name, arm, player in PLAYERS:
            by_seed = ", ".join(f"{100 * row[player][largest - 1]:.1f}" for row in result.last(arm))
            lines.append(f"{TITLES[name]}, power {largest}, by seed: {by_seed}")
    shown = " and ".join(dict.fromkeys(f"{row['demonstrations']:,}" for row in final))
    agreed = ", ".join(f"{100 * row['agreement']:.1f}" for row in final)
    lines += [
        f"H gave {shown} demonstrations{_flaw(result)}",
        f"H' does all that H would in {agreed} % of the test's questions" + (" (by seed)" if len(final) > 1 else ""),
        "X: trained on the answers of H' with X alone, never on true ones",
        "supervised: the same network, steps and questions, on true answers (ceiling)",
        "H alone: the same network and steps, on H's answers without X (floor)",
        f"chance is {100 / settings.points:.1f} %; powers evenly drawn, {settings.steps:,} steps of "
        f"{settings.permutations * settings.questions} questions each",
        f"test: {settings.test:,} permutations of {settings.points} points that no training has",
        "95 % intervals clustered by permutation",
        f"every measurement: {result.folder}/results.jsonl",
    ]
    for line in lines:
        out.print(safe(line), soft_wrap=True)


def _flaw(result: Amplification) -> str:
    settings = result.settings
    if not settings.human_error:
        return ", none of them wrong"
    if settings.mistakes == "slips":
        return f", a share of {settings.human_error:g} with a slip"
    forgotten = round(settings.human_error * settings.points)
    return f"; it always forgets to apply sigma to {forgotten} of {settings.points} points"


def accuracy_table(result: Amplification) -> Table:
    """A row for each size of power, a column for each player; in %, with intervals."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("power", justify="right", no_wrap=True)
    for name, _, _ in PLAYERS:
        table.add_column(TITLES[name], justify="right", no_wrap=True)
    for size in sizes(result.settings.power):
        cells = (_cell(result.accuracy(arm, player, size)) for _, arm, player in PLAYERS)
        table.add_row(_size(size), *cells)
    return table


def _size(size: tuple[int, int]) -> str:
    low, high = size
    return str(low) if low == high else f"{low}–{high}"


def _cell(estimate: Estimate) -> str:
    # Rounded outwards, so that no mean stands outside its interval.
    low, high = math.floor(100 * estimate.low), math.ceil(100 * estimate.high)
    return f"{100 * estimate.mean:.1f} ({low}–{high})"


def plot_amplification(result: Amplification, path: str | Path) -> None:
    """Accuracy over the training by size of the power, a panel for each way of training; means over seeds.

    Raises
    ------
    ConfigurationError
        if the suffix is neither .png nor .svg, or the file cannot be written; MissingExtra without matplotlib.
    """
    groups = sizes(result.settings.power)
    titles = {
        "amplification": "X by amplification\n(no true answer)",
        "supervised": "ceiling: the same network\non true answers",
        "alone": "floor: the same network on\nH's answers without X",
    }
    with picture(path) as figure:
        figure.set_size_inches(9.5, 3.9)
        panels = figure.subplots(1, len(ARMS), sharey=True)
        for axes, arm in zip(panels, ARMS, strict=True):
            steps, curves = _curves([row for row in result.curves if row["arm"] == arm], groups)
            for place, (size, curve) in enumerate(zip(groups, curves, strict=True)):
                colour = _colour(place, len(groups))
                label = f"power {_size(size)}"
                axes.plot(steps, curve, color=colour, label=label, linewidth=1.8, zorder=2 + len(groups) - place)
            axes.axhline(100 / result.settings.points, color="0.6", linewidth=0.8, linestyle=":")
            axes.set_title(titles[arm], fontsize=9)
            axes.set_xlabel("steps", fontsize=9)
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylabel("accuracy on unseen permutations, %", fontsize=9)
        panels[0].set_ylim(-2, 103)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.tight_layout(rect=(0, 0.09, 1, 1))
        figure.legend(handles, labels, ncols=len(groups), fontsize=8, loc="lower center", frameon=False)


def _curves(
    rows: Sequence[Mapping[str, Any]], groups: Sequence[tuple[int, int]]
) -> tuple[list[int], list[list[float]]]:
    """Steps, and for each size of power the mean accuracy at each of them in %."""
    steps = sorted({row["step"] for row in rows})
    curves: list[list[float]] = [[] for _ in groups]
    for step in steps:
        there = [row["learner"] for row in rows if row["step"] == step]
        for curve, (low, high) in zip(curves, groups, strict=True):
            values = [accuracy for learner in there for accuracy in learner[low - 1 : high]]
            curve.append(100 * math.fsum(values) / len(values))
    return steps, curves


def _colour(place: int, count: int) -> tuple[float, float, float]:
    """From light for small powers to dark for large ones."""
    share = place / max(1, count - 1)
    light, dark = (0.98, 0.69, 0.25), (0.20, 0.11, 0.42)
    return tuple(one + share * (other - one) for one, other in zip(light, dark, strict=True))  # type: ignore[return-value]
