"""Recursive reward modelling for people: the table of levels, the induction test, and the Goodhart curves."""

from __future__ import annotations

import itertools
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
    from ..training.reward_modeling import Growth, LevelRow, RewardModeling

__all__ = ["growth_table", "levels_table", "plot_reward_modeling", "print_reward_modeling"]


def print_reward_modeling(result: RewardModeling, out: Console) -> None:
    """The tables, and what there is to say about them; what is waited for, where people owe judgements."""
    waiting = result.waiting
    if waiting is not None:
        out.print(
            safe(
                f"level {waiting.level}: {waiting.done:,} of {waiting.asked:,} judgements are given; the same command "
                f"goes on with the next ({waiting.folder})"
            ),
            soft_wrap=True,
        )
        return
    settings = result.settings
    most, middle = settings.sizes[-1], settings.sizes[len(settings.sizes) // 2]
    out.print(levels_table(result.rows, middle, most))
    unscored = sum(row.unscored for row in result.rows)
    lines = [
        f"human: {result.human}; from level 1 on assisted by the agents of the level below",
        "in %: preferences that agree with the truth where a reply was right; pairs of a right and a wrong reply in "
        "which the reward model ranks the right one higher; right replies of the tuned agent and of the best of n",
        f"change: truth of the best of {most} less that of the best of {middle}; below 0 it is Goodhart's",
    ]
    if settings.inject:
        lines.append(
            f"injected: level {settings.inject_level} with the judgements about {100 * settings.inject:g} % of the "
            "operations reversed, and what came of it above"
        )
    lines += [
        f"{_count(settings.seeds, 'recursion')}, in each {settings.judgements:,} judgements and a test of "
        f"{settings.test} tasks a level",
        f"{100 * result.rows[0].seen:.0f} % of the tasks in level 0's test were judged too, and none of the others'",
        *([f"{unscored:,} judgements came to nothing, and count for nothing"] if unscored else []),
        "95 % intervals clustered by task within a recursion: of these models, not of others trained anew",
    ]
    for line in lines:
        out.print(safe(line))
    if result.growth:
        out.print()
        out.print(growth_table(result.growth))
        for line in _about_growth(result.growth, settings.seeds):
            out.print(safe(line))
    out.print(safe(f"every result: {result.folder}/results.jsonl"), soft_wrap=True)


def levels_table(rows: Sequence[LevelRow], middle: int, most: int) -> Table:
    """A row for each level."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("level", no_wrap=True)
    for name in ("asked", "even", "human", "reward model", "agent", f"of {middle}", f"of {most}", "change"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        best = {one.n: one.truth for one in row.best_of}
        table.add_row(
            f"{row.level} injected" if row.injected else str(row.level),
            f"{row.judgements}",
            f"{row.even}",
            "—" if row.human is None else f"{100 * row.human:.1f}",
            _within(row.reward_model),
            _within(row.agent),
            f"{100 * best[middle].mean:.1f}",
            f"{100 * best[most].mean:.1f}",
            f"{100 * row.fall.mean:+.1f}±{50 * (row.fall.high - row.fall.low):.1f}",
        )
    return table


def growth_table(growth: Sequence[Growth]) -> Table:
    """The induction test: a row for each level from that of the injection upwards."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("level", no_wrap=True)
    for name in ("error", "injected", "added", "over seeds", "growth", "over seeds"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in growth:
        bounds = "—"
        if one.ratio is not None:
            bounds = "no bound" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
        table.add_row(
            str(one.level),
            f"{100 * one.plain:.1f}",
            f"{100 * one.injected:.1f}",
            f"{100 * one.added.mean:+.1f}",
            f"{100 * one.added.low:+.1f} to {100 * one.added.high:+.1f}",
            "—" if one.ratio is None else f"{one.ratio:.2f}",
            bounds,
        )
    return table


def _about_growth(growth: Sequence[Growth], seeds: int) -> list[str]:
    lines = [
        "error: of the answers that the agent states as an assistant, in %; injected: with the error injected",
        "growth: added error over that of the level below, with Fieller's interval",
    ]
    for below, one in itertools.pairwise(growth):
        if one.ratio is None:
            lines.append(f"level {one.level}: no growth is stated: the error added at {below.level} may be 0")
    if seeds == 1:
        lines.append("one seed has no interval: give --seeds 2 or more")
    return lines


def plot_reward_modeling(result: RewardModeling, path: str | Path) -> None:
    """Goodhart curves: truth and reward of the best of n against the divergence from the base policy, a panel a level.

    Raises
    ------
    ConfigurationError
        if the suffix is neither .png nor .svg, or the file cannot be written; MissingExtra without matplotlib.
    """
    rows = [row for row in result.rows if not row.injected]
    with picture(path) as figure:
        figure.set_size_inches(max(4.6, 0.8 + 3.1 * len(rows)), 3.6)
        panels = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
        others = []
        for row, axes in zip(rows, panels, strict=True):
            at = [one.divergence for one in row.best_of]
            truth = [one.truth for one in row.best_of]
            means = [100 * one.mean for one in truth]
            spread = [[100 * (one.mean - one.low) for one in truth], [100 * (one.high - one.mean) for one in truth]]
            shown = axes.errorbar(at, means, yerr=spread, fmt="o-", color="#1f5fa8", capsize=2, markersize=4)
            other = axes.twinx()
            others.append(other)
            rewards = [one.reward for one in row.best_of]
            gained = [one.mean for one in rewards]
            bars = [[one.mean - one.low for one in rewards], [one.high - one.mean for one in rewards]]
            proxy = other.errorbar(at, gained, yerr=bars, fmt="s--", color="#b5482a", capsize=2, markersize=3)
            axes.set_title(f"level {row.level}", fontsize=10)
            axes.set_xlabel("KL of best-of-n, nats", fontsize=9)
            axes.set_ylim(0, 105)
            other.tick_params(colors="#b5482a", labelsize=8)
            axes.tick_params(labelsize=8)
            for one in (axes, other):
                one.spines["top"].set_visible(False)
        panels[0].set_ylabel("right, % (95 %, clustered by task)", fontsize=9)
        others[-1].set_ylabel("reward above one reply's", color="#b5482a", fontsize=9)
        top = max(one.get_ylim()[1] for one in others)
        for other in others:
            other.set_ylim(0, top)
        figure.legend(
            [shown, proxy], ["truth", "reward: the proxy"], loc="lower center", ncols=2, frameon=False, fontsize=9
        )
        figure.tight_layout(rect=(0, 0.07, 1, 1))


def _within(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:.1f}±{50 * (estimate.high - estimate.low):.1f}"


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"
