"""What a person sees while a run runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from ..transcript import Usage
from .spending import Spend, Spending, in_all

__all__ = ["Lines", "Live", "Progress", "Silent", "progress_for"]


class Progress:
    """Told what happens in a run; does nothing with it.

    Attributes
    ----------
    spending : what this start of the run has spent so far.
    """

    spending = Spending()

    def note(self, message: str) -> None:
        """Something worth a line."""

    def measured(self, games: int, total: int) -> None:
        """So many more of ``total`` games that measure capability were played."""

    def start(self, owed: int, finished: int) -> None:
        """Episodes are about to be played: how many are owed, how many were finished before."""

    def finished(self, record: Mapping[str, Any], spent: float, usage: Usage, unknown: int) -> None:
        """An episode is recorded.  ``spent`` dollars so far; ``unknown`` calls had no known price."""

    def account(self, spending: Spending) -> None:
        """Calls are about to be made: where what they cost is counted, by role and model, as it happens."""
        self.spending = spending

    def retried(self, tries: int) -> None:
        """One more try of a call failed and is made again; how many there were in all."""

    def prepared(self, waits: bool) -> None:
        """The machines' turns of one more episode are played; whether it waits for a person now."""

    def stop(self) -> None:
        """The run has ended, for whatever reason."""


Silent = Progress


MOST_LINES = 6
"""Roles and models that are shown one by one while a run runs; of the others the sum is."""


def _retried(tries: int) -> str:
    return "1 try repeated" if tries == 1 else f"{tries:,} tries repeated"


def _price(spend: Spend) -> str:
    return f"${spend.dollars:,.4f}" + (" + ?" if spend.unknown else "")


def _tokens(spend: Spend) -> str:
    count = spend.input_tokens + spend.output_tokens
    return f"{count:,} tokens" if count < 100_000 else f"{count / 1000:,.0f}k tokens"


def _spend(lines: list[Spend]) -> str:
    """``1,200 tokens, $0.0300 (debater $0.0200, judge $0.0100)``: all calls, and each role where there are several."""
    if not lines:
        return ""
    text = f"{_tokens(in_all(lines))}, {_price(in_all(lines))}"
    roles: dict[str, list[Spend]] = {}
    for line in lines:
        roles.setdefault(line.role or "other calls", []).append(line)
    listed = [f"{role} {_price(in_all(found))}" for role, found in roles.items()]
    return text if len(roles) < 2 else f"{text} ({', '.join(listed)})"


class Lines(Progress):
    """A line now and then, for logs and pipes.

    Parameters
    ----------
    console : where to.
    every : seconds between lines.
    """

    def __init__(self, console: Console, every: float = 10.0) -> None:
        self.console, self.every = console, every
        self._total = self._done = self._unscored = self._retries = 0
        self._begin = self._last = time.monotonic()

    def note(self, message: str) -> None:
        self.console.print(message, highlight=False, markup=False)

    def start(self, owed: int, finished: int) -> None:
        self._total, self._done = owed, 0
        self._begin = self._last = time.monotonic()
        resumed = f", {finished} finished before" if finished else ""
        self.note(f"{owed} episodes to play{resumed}")

    def finished(self, record: Mapping[str, Any], spent: float, usage: Usage, unknown: int) -> None:
        self._done += 1
        self._unscored += record["status"] != "scored"
        self._line_if_due()

    def retried(self, tries: int) -> None:
        self._retries = tries
        if self._total:
            self._line_if_due()

    def _line_if_due(self) -> None:
        if time.monotonic() - self._last >= self.every:
            self._last = time.monotonic()
            self._line()

    def _line(self) -> None:
        seconds = max(time.monotonic() - self._begin, 1e-9)
        rate = self._done / seconds
        parts = [f"{self._done}/{self._total} episodes"]
        if rate:  # before the first there is nothing to go by
            parts += [f"{rate:.1f}/s", f"{(self._total - self._done) / rate:.0f} s left"]
        if self._unscored:
            parts.append(f"{self._unscored} unscored")
        if self._retries:
            parts.append(_retried(self._retries))
        self.note(", ".join(filter(None, [*parts, _spend(self.spending.lines)])))

    def prepared(self, waits: bool) -> None:
        self._done += 1

    def stop(self) -> None:
        if self._total:
            self._line()
            self._total = 0


class _BarWithAccount(Bar):
    """A bar, and below it what calls cost by role and model."""

    spending = Spending()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if lines := self.spending.lines:
            yield _account(lines)


def _account(lines: list[Spend]) -> Table:
    """The dearest roles and models, each on a line; the sum of the others, and of all where there are several."""
    shown = lines
    if len(lines) > MOST_LINES:  # in the order of their first calls all the same, so that nothing jumps about
        dearest = sorted(lines, key=lambda line: (line.dollars, line.input_tokens + line.output_tokens), reverse=True)
        kept = {id(line) for line in dearest[: MOST_LINES - 1]}
        shown = [line for line in lines if id(line) in kept]
    rows = [(line.role or "—", line.model, line) for line in shown]
    if len(shown) < len(lines):
        others = in_all(line for line in lines if id(line) not in kept)
        rows.append((f"{len(lines) - len(shown)} others", "", others))
    if len(lines) > 1:
        rows.append(("in all", "", in_all(lines)))
    models = _shortened(dict.fromkeys(model for _, model, _ in rows))
    table = Table.grid(padding=(0, 2, 0, 0))
    for place in range(6):
        table.add_column(justify="left" if place < 2 else "right", no_wrap=True)
    for role, model, line in rows:
        calls = "1 call" if line.calls == 1 else f"{line.calls:,} calls"
        repeated = f"{line.retries:,} repeated" if line.retries else ""
        table.add_row(Text(role), Text(models[model]), calls, _tokens(line), _price(line), repeated, style="dim")
    return table


def _shortened(names: Iterable[str], most: int = 24) -> dict[str, str]:
    """Long names without what is in their middle; as much is left of each as tells it from the others."""
    names = list(names)
    while True:
        short = {one: one if len(one) <= most else f"{one[: most // 2]}…{one[-((most - 1) // 2) :]}" for one in names}
        if len(set(short.values())) == len(short):
            return short
        most += 4


class Live(Progress):
    """A bar with rate and time left, and below it the spend by role and model.

    Parameters
    ----------
    console : a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = _BarWithAccount(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[extra]}"),
            console=console,
            expand=True,
        )
        self._task: TaskID | None = None
        self._games: TaskID | None = None
        self._unscored = 0
        self._begin = 0.0
        self._done = 0

    def note(self, message: str) -> None:
        self._bar.console.print(message, highlight=False, markup=False)

    def account(self, spending: Spending) -> None:
        super().account(spending)
        self._bar.spending = spending

    def measured(self, games: int, total: int) -> None:
        if self._games is None:
            self._games = self._bar.add_task("games", total=total, rate="", extra="")
            self._bar.start()
        self._bar.update(self._games, advance=games)
        if self._bar.finished:
            self._bar.stop()

    def start(self, owed: int, finished: int) -> None:
        if not owed:
            return
        self._begin, self._done = time.monotonic(), 0
        if finished:
            self.note(f"{finished} episodes finished before; {owed} owed")
        if self._games is not None:
            self._bar.remove_task(self._games)
            self._games = None
        if self._task is not None:  # an earlier part of the run
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task("episodes", total=owed, rate="", extra="")
        self._bar.start()

    def finished(self, record: Mapping[str, Any], spent: float, usage: Usage, unknown: int) -> None:
        self._unscored += record["status"] != "scored"
        self._done += 1
        if self._task is not None:
            rate = self._done / max(time.monotonic() - self._begin, 1e-9)
            unscored = f"{self._unscored} unscored" if self._unscored else ""
            self._bar.update(self._task, advance=1, rate=f"{rate:.1f}/s", extra=unscored)

    def prepared(self, waits: bool) -> None:
        self._done += 1
        if self._task is not None:
            rate = self._done / max(time.monotonic() - self._begin, 1e-9)
            self._bar.update(self._task, advance=1, rate=f"{rate:.1f}/s")

    def stop(self) -> None:
        self._bar.stop()


def progress_for(console: Console) -> Progress:
    """A bar on a terminal, plain lines elsewhere."""
    return Live(console) if console.is_terminal else Lines(console)
