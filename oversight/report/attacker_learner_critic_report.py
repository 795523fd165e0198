"""Attacker, learner and critic for people: a table of rounds for each critic, what criticism predicts, the picture."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from .pictures import picture
from .terminal import safe

if TYPE_CHECKING:
    from ..analysis.accuracy import Estimate
    from ..analysis.attack import ArmReport, Prediction
    from ..training.attacker_learner_critic import AttackerLearnerCritic

__all__ = ["plot_loops", "predictions_table", "print_loops", "rounds_table"]


def print_loops(result: AttackerLearnerCritic, out: Console) -> None:
    """The tables and what there is to say about them."""
    settings = result.settings
    names = {role: ", ".join(several) for role, several in result.agents.items()}
    out.print(safe(f"attacker {names['attacker']}, learner {names['learner']}"), soft_wrap=True)
    for arm in result.arms:
        out.print()
        out.print(safe(f"critic {arm.critic}", "bold"), soft_wrap=True)
        out.print(rounds_table(arm))
        for warning in arm.warnings:
            out.print(safe(f"! {warning}", "yellow"))
        out.print(safe(_counted(arm)))
    out.print()
    out.print(predictions_table(result.predictions))
    for one in result.predictions:
        if one.effect is None:
            out.print(safe(f"{one.what}: not stated: {one.reason}"))
    loops = "1 loop" if settings.seeds == 1 else f"{settings.seeds} loops"
    lines = [
        f"in %, {loops} a critic, 95 % intervals: attack and own by lineage (the question a query goes back to), "
        "held-out by question",
        "attack: valid queries answered wrongly; own: accuracy after the round on queries, of this and earlier ones, "
        "that were kept from critic and training",
        "forms: equally frequent ones of the queries' entropy; dist-2: different word pairs a pair; new: not asked "
        "before; critic: balanced accuracy of its verdicts; fixed: wrong answers put right by reading the critique",
        f"the learner was {'trained after each round' if result.trained else 'not trained: lessons in context alone'}; "
        f"pairs told apart by {'the critic' if settings.labels == 'critic' else 'truth'}",
    ]
    for line in lines:
        out.print(safe(line))
    out.print(safe(f"pairs in TRL's columns: {result.folder}/preferences"), soft_wrap=True)
    out.print(safe(f"every item: {result.folder}/results.jsonl"), soft_wrap=True)


def rounds_table(arm: ArmReport) -> Table:
    """A row for each round."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("", "valid", "attack", "held-out", "own", "forms", "dist-2", "new", "critic", "fixed"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in arm.rounds:
        valid = one.queries - sum(one.invalid.values())
        found = one.diversity
        table.add_row(
            str(one.round),
            f"{100 * valid / one.queries:.0f}" if one.queries else "—",
            _with_interval(one.success),
            _with_interval(one.held_out),
            _with_interval(one.earlier),
            "—" if found is None else f"{found.effective:.1f}",
            "—" if found is None or found.distinct_2 is None else f"{found.distinct_2:.2f}".lstrip("0"),
            _percent(one.fresh),
            _percent(one.balanced),
            _percent(None if math.isnan(one.fixed.mean) else one.fixed.mean),
        )
    return table


def predictions_table(found: tuple[Prediction, ...]) -> Table:
    """What goes with criticism that is right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("does criticism predict improvement?", overflow="fold")
    for name in ("effect", "95 %", "n", "units"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        stated = one.effect is not None and one.low is not None and one.high is not None
        table.add_row(
            safe(one.what),
            f"{one.effect:+.2f}" if stated else "—",
            f"{one.low:+.2f} to {one.high:+.2f}" if stated else "—",
            str(one.n),
            str(one.units),
        )
    return table


def _counted(arm: ArmReport) -> str:
    invalid: Counter[str] = Counter()
    for one in arm.rounds:
        invalid.update(one.invalid)
    listed = ", ".join(f"{count} {reason}" for reason, count in invalid.most_common()) or "none"
    pairs = sum(one.pairs for one in arm.rounds)
    right = sum(one.pairs_right for one in arm.rounds)
    unscored = sum(one.success.unscored for one in arm.rounds)
    parts = [f"invalid: {listed}", f"pairs: {pairs}, {right} of them for a right answer against a wrong one"]
    if unscored:
        parts.append(f"{unscored} answers unscored")
    if failed := sum(one.failed for one in arm.rounds):
        parts.append(f"{failed} calls failed")
    return "; ".join(parts)


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.0f}"


def _with_interval(one: Estimate) -> str:
    if math.isnan(one.mean):
        return "—"
    return f"{100 * one.mean:.0f} {100 * one.low:.0f}–{100 * one.high:.0f}"


def plot_loops(result: AttackerLearnerCritic, path: str | Path) -> None:
    """Success of attacks, held-out accuracy, diversity and the critic's accuracy by round, a colour for each critic.

    Raises
    ------
    ConfigurationError
        if the suffix is neither .png nor .svg, or the file cannot be written; MissingExtra without matplotlib.
    """
    colours = ("#1f5fa8", "#b5482a", "#2a7e43", "#7a4fa3", "#8a6d1d", "#3b3b3b")
    with picture(path) as figure:
        figure.set_size_inches(8.4, 5.6)
        panels = figure.subplots(2, 2, sharex=True)
        titles = ("attack success, %", "held-out accuracy, %", "effective forms of queries", "critic, balanced, %")
        for axes, title in zip(panels.flat, titles, strict=True):
            axes.set_title(title, fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
        for place, arm in enumerate(result.arms):
            colour = colours[place % len(colours)]
            shift = 0.08 * (place - (len(result.arms) - 1) / 2)
            for axes, name in ((panels[0, 0], "success"), (panels[0, 1], "held_out")):
                shown = [(one.round, getattr(one, name)) for one in arm.rounds]
                shown = [(number, one) for number, one in shown if not math.isnan(one.mean)]
                axes.errorbar(
                    [number + shift for number, _ in shown],
                    [100 * one.mean for _, one in shown],
                    yerr=[
                        [100 * (one.mean - one.low) for _, one in shown],
                        [100 * (one.high - one.mean) for _, one in shown],
                    ],
                    color=colour,
                    marker="o",
                    markersize=4,
                    capsize=2,
                    linewidth=1.2,
                    label=f"critic {arm.critic}",
                )
                axes.set_ylim(-3, 103)
            forms = [(one.round, one.diversity.effective) for one in arm.rounds if one.diversity is not None]
            if forms:
                panels[1, 0].plot(*zip(*forms, strict=True), color=colour, marker="o", markersize=4, linewidth=1.2)
            judged = [(one.round, 100 * one.balanced) for one in arm.rounds if one.balanced is not None]
            if judged:
                panels[1, 1].plot(*zip(*judged, strict=True), color=colour, marker="o", markersize=4, linewidth=1.2)
        panels[1, 0].set_ylim(bottom=0)
        panels[1, 1].set_ylim(-3, 103)
        for axes in panels[1]:
            axes.set_xlabel("round")
        panels[0, 0].xaxis.get_major_locator().set_params(integer=True)
        handles, labels = panels[0, 1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=min(4, len(labels)), frameon=False, fontsize=9)
        figure.tight_layout(rect=(0, 0.05, 1, 1))
