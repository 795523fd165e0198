"""What a person sees while something is trained: a bar with the loss and the time left, or lines."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

__all__ = ["TrainingBar", "TrainingLines", "TrainingProgress", "training_progress"]


class TrainingProgress:
    """Told what happens in a training; does nothing with it.  A context: it has ended at the end of the block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def note(self, message: str) -> None:
        """Something worth a line."""

    def start(self, what: str, owed: int, finished: int = 0) -> None:
        """``owed`` pieces of work begin, called ``what``; ``finished`` were done by an earlier start."""

    def loss(self, value: float) -> None:
        """The loss of the piece under way."""

    def done(self, count: int = 1) -> None:
        """So many more pieces are done."""

    def stop(self) -> None:
        """Nothing goes on, for whatever reason."""


class TrainingLines(TrainingProgress):
    """A line now and then, for logs and pipes.

    Parameters
    ----------
    console : where to.
    every : seconds between lines.
    """

    def __init__(self, console: Console, every: float = 10.0) -> None:
        self.console, self.every = console, every
        self._what, self._owed, self._done, self._loss = "", 0, 0, ""
        self._begin = self._last = time.monotonic()

    def note(self, message: str) -> None:
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def start(self, what: str, owed: int, finished: int = 0) -> None:
        self._what, self._owed, self._done, self._loss = what, owed, 0, ""
        self._begin = self._last = time.monotonic()
        self.note(f"{owed} {what}" + (f", {finished} finished before" if finished else ""))

    def loss(self, value: float) -> None:
        self._loss = f", loss {value:.4f}"

    def done(self, count: int = 1) -> None:
        self._done += count
        now = time.monotonic()
        if now - self._last >= self.every or self._done >= self._owed:
            self._last = now
            left = (self._owed - self._done) * (now - self._begin) / max(self._done, 1)
            self.note(f"{self._done}/{self._owed} {self._what}{self._loss}, {left:.0f} s left")


class TrainingBar(TrainingProgress):
    """A bar with the loss and the time left.

    Parameters
    ----------
    console : a terminal.
    """

    def __init__(self, console: Console) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            expand=True,
        )
        self._task: TaskID | None = None

    def note(self, message: str) -> None:
        self._bar.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def start(self, what: str, owed: int, finished: int = 0) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        # Time left is told from what this start does: an earlier one's work is no part of the bar.
        if finished:
            self.note(f"{finished} {what} finished before, {owed} owed")
        self._task = self._bar.add_task(what, total=owed, loss="")
        self._bar.start()

    def loss(self, value: float) -> None:
        if self._task is not None:
            self._bar.update(self._task, loss=f"loss {value:.4f}")

    def done(self, count: int = 1) -> None:
        if self._task is not None:
            self._bar.advance(self._task, count)

    def stop(self) -> None:
        self._bar.stop()


def training_progress(console: Console) -> TrainingProgress:
    """A bar on a terminal, plain lines elsewhere."""
    return TrainingBar(console) if console.is_terminal else TrainingLines(console)
