"""What a person sees while a run runs: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ..transcript import Usage

__all__ = ["Lines", "Live", "Progress", "Silent", "progress_for"]


class Progress:
    """Told what happens in a run; does nothing with it."""

    def note(self, message: str) -> None:
        """Something worth a line."""

    def measured(self, games: int, total: int) -> None:
        """So many more of ``total`` games that measure capability were played."""

    def start(self, owed: int, finished: int) -> None:
        """Episodes are about to be played: how many are owed, how many were finished before."""

    def finished(self, record: Mapping[str, Any], spent: float, usage: Usage, unknown: int) -> None:
        """An episode is recorded.  ``spent`` dollars so far; ``unknown`` calls had no known price."""

    def retried(self, tries: int) -> None:
        """One more try of a call failed and is made again; how many there were in all."""

    def prepared(self, waits: bool) -> None:
        """The machines' turns of one more episode are played; whether it waits for a person now."""

    def stop(self) -> None:
        """The run has ended, for whatever reason."""


Silent = Progress


def _retried(tries: int) -> str:
    return "1 try repeated" if tries == 1 else f"{tries:,} tries repeated"


def _spend(spent: float, usage: Usage, unknown: int) -> str:
    tokens = usage.input_tokens + usage.output_tokens
    if not tokens and not spent:
        return ""
    price = f"${spent:.4f}" + (" and calls of unknown price" if unknown else "")
    return f"{tokens:,} tokens, {price}"


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
        self._text = ""

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
        self._text = _spend(spent, usage, unknown)
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
        left = (self._total - self._done) / rate if rate else 0.0
        parts = [f"{self._done}/{self._total} episodes", f"{rate:.1f}/s", f"{left:.0f} s left"]
        if self._unscored:
            parts.append(f"{self._unscored} unscored")
        if self._retries:
            parts.append(_retried(self._retries))
        self.note(", ".join([*parts, *([self._text] if self._text else [])]))

    def prepared(self, waits: bool) -> None:
        self._done += 1

    def stop(self) -> None:
        if self._total:
            self._line()
            self._total = 0


class Live(Progress):
    """A bar with rate, time left and spend.

    Parameters
    ----------
    console : a terminal.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Bar(
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
        self._retries = 0
        self._spend = ""

    def note(self, message: str) -> None:
        self._bar.console.print(message, highlight=False, markup=False)

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
        self._spend = _spend(spent, usage, unknown)
        if self._task is not None:
            rate = self._done / max(time.monotonic() - self._begin, 1e-9)
            self._bar.update(self._task, advance=1, rate=f"{rate:.1f}/s", extra=self._extra())

    def retried(self, tries: int) -> None:
        self._retries = tries
        if self._task is not None:
            self._bar.update(self._task, extra=self._extra())

    def _extra(self) -> str:
        unscored = f"{self._unscored} unscored" if self._unscored else ""
        retried = _retried(self._retries) if self._retries else ""
        return ", ".join(filter(None, [unscored, retried, self._spend]))

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
