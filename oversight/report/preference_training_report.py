"""Trainings on preferences for people: the table of accuracies, and where the weights are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from .terminal import safe

if TYPE_CHECKING:
    from ..training.preference_training import Measured, PreferenceTraining

__all__ = ["accuracies_table", "print_preference_training"]


def print_preference_training(result: PreferenceTraining, out: Console) -> None:
    """The table and what there is to say about it."""
    out.print(accuracies_table(result.rows, result.by_margin))
    lines = [
        "right: held-out pairs whose chosen reply is given more, in %; a tie is half",
        f"held out: {result.test:,} pairs of {result.test_sources:,} sources; trained on {result.train:,} pairs of "
        f"{result.train_sources:,} others",
        "95 % intervals by source; loss is -log P(chosen), .693 where nothing is known",
    ]
    if result.parameters is not None:
        lines.append(f"{result.parameters:,} weights were trained")
    lines.append(f"weights: {result.weights}")
    if result.model:
        lines.append(f"in a run: {result.model}")
    for line in lines:
        out.print(safe(line), soft_wrap=True)


def accuracies_table(rows: Sequence[Measured], parts: Sequence[Measured] = ()) -> Table:
    """A row for each of what is compared, and below the last for parts of its pairs."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("what prefers", min_width=20, overflow="fold")
    unscored = any(one.accuracy.unscored for one in rows)
    for name in ("right", "95 %", "loss", "pairs", *(["no number"] if unscored else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for one, indent in [*((row, "") for row in rows), *((part, "  ") for part in parts)]:
        found = one.accuracy
        table.add_row(
            safe(f"{indent}{one.name}"),
            f"{100 * found.mean:.1f}" if found.n else "—",
            f"{100 * found.low:.1f} to {100 * found.high:.1f}" if found.n else "—",
            "" if one.loss is None else f"{one.loss:.3f}",
            f"{found.n:,}",
            *([str(found.unscored)] if unscored else []),
        )
    return table
