"""How much memory a run takes as its finished episodes grow, and what reads them afterwards.

    python tests/benchmark_memory.py --episodes 100000

Plays that many verdicts of a scripted judge (or, with --models, of a model in this process, through journal and
account), goes on with the finished folder, with a tenth of it torn off, and shows, exports and analyses it; each in a
process of its own.  ``begins`` is the resident memory once libraries and questions are there, so that ``most`` minus
``begins`` is what the episodes have cost.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import oversight
from oversight.agents import Agent, LanguageModelAgent
from oversight.models import Completion, Model, ModelCall
from oversight.questions import Arena, Question
from oversight.runs.progress import Progress
from oversight.transcript import Usage

LOOK = 0.05
"""Seconds between samples of the resident memory."""


class Many(Arena):
    """Questions that differ in their number."""

    name = "many"

    def questions(self, limit: int | None, seed: int) -> Sequence[Question]:
        return [Question(f"q{n}", f"Is {n} the one?", ("yes", "no"), n % 2, f"s{n}") for n in range(limit or 8)]


class Here(Model):
    """Answers at once, in this process."""

    async def complete(self, call: ModelCall) -> Completion:
        return Completion("It stands to reason.\nAnswer: A\nConfidence: 80%", usage=Usage(1, 400, 20, 0.0001))


def megabytes() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watching(Progress):
    """Notes the resident memory when episodes begin, and at each tenth of them."""

    def __init__(self) -> None:
        self.begins = 0.0
        self._owed = self._done = 0

    def start(self, owed: int, finished: int) -> None:
        self.begins, self._owed = megabytes(), owed

    def finished(self, record: Mapping[str, Any], spent: float, usage: Usage, unknown: int) -> None:
        self._done += 1
        if self._done % max(self._owed // 10, 1) == 0:
            print(f"  {self._done:>9,} of {self._owed:,} played  {megabytes():6.0f} MB", flush=True)


def play(folder: Path, episodes: int, models: bool) -> float:
    """Play what is missing in a folder; gives the memory that it began with."""
    judge: str | Agent = LanguageModelAgent(Here("here"), name="here") if models else "scripted/first"
    watching = Watching()
    oversight.run("direct", Many(), judge=judge, limit=episodes // 2, log_dir=folder, progress=watching)
    return watching.begins


def tear(folder: Path) -> None:
    """Leave nine tenths of the finished episodes, as a crash might."""
    path = folder / "episodes.jsonl"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 9 // 10)


def command(*words: str) -> float:
    """A command of the library, without what it prints; gives the memory that it began with."""
    from contextlib import redirect_stdout

    import oversight.analysis.gap
    import oversight.report.terminal
    import oversight.runs.api  # noqa: F401  # libraries are no part of what is measured
    from oversight.cli import main

    before = megabytes()
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
        assert main(words) == 0
    return before


def measured(work: Callable[[], float]) -> None:
    """Carry something out, and print what it took."""
    most, over = [megabytes()], threading.Event()

    def sample() -> None:
        while not over.wait(LOOK):
            most[0] = max(most[0], megabytes())

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    began = time.monotonic()
    begins = work()
    seconds = time.monotonic() - began
    over.set()
    watcher.join()
    print(f"begins {begins:5.0f} MB   most {most[0]:5.0f} MB   more {most[0] - begins:5.0f} MB   {seconds:6.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of a run, sampled, by how many of its episodes are finished")
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--models", action="store_true", help="verdicts of a model, with journal and account")
    parser.add_argument("--folder", type=Path, help="keep the run here (default: in a folder that is removed)")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only is not None:
        folder = arguments.folder
        work: dict[str, Callable[[], float]] = {
            "play": lambda: play(folder, arguments.episodes, arguments.models),
            "show": lambda: command("show", str(folder)),
            "gap": lambda: command("gap", str(folder), "--json"),
            "export": lambda: command("export", str(folder)),
        }
        measured(work[arguments.only])
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "run"
        words = [sys.executable, __file__, "--episodes", str(arguments.episodes), "--folder", str(folder)]
        words += ["--models"] if arguments.models else []
        for title, only in (
            ("played", "play"),
            ("nothing owed", "play"),
            ("a tenth owed", "play"),
            ("oversight show", "show"),
            ("oversight gap", "gap"),
            ("oversight export", "export"),
        ):
            if title == "a tenth owed":
                tear(folder)
            print(title, flush=True)
            subprocess.run([*words, "--only", only], check=True)


if __name__ == "__main__":
    main()
