"""Finished episodes take next to no memory: what is kept of one while a run goes on is counted, byte by byte.

What is measured is what Python has allocated, and not what the system has given the process: tracemalloc counts the
same on every machine.  How it is with 100,000 episodes: ``python tests/benchmark_memory.py``.
"""

from __future__ import annotations

import gc
import importlib.util
import tracemalloc
from pathlib import Path

import pytest

import oversight
from oversight.agents import LanguageModelAgent
from oversight.models import Completion, Model
from oversight.runs.directory import read_episodes
from oversight.runs.progress import Progress
from oversight.transcript import Usage

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers_memory", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)

FEW, MANY = 300, 1500
MOST = 1024
"""Bytes that an episode may leave behind: its id and status need about 200; its record alone would take several
thousand."""


class Here(Model):
    """Answers at once, and never the same: so that nothing is shared between what would be kept."""

    def __init__(self):
        super().__init__("here")
        self.calls = 0

    async def complete(self, call):
        self.calls += 1
        said = f"{self.calls} reasons. " * 100
        return Completion(f"{said}\nAnswer: A\nConfidence: 80%", usage=Usage(1, 400, 20, 0.0001))


class Looking(Progress):
    """Notes what is allocated at the start, and after so many episodes."""

    def __init__(self, *at):
        self.at, self.done, self.found = at, 0, {}

    def look(self):
        gc.collect()
        self.found[self.done] = tracemalloc.get_traced_memory()[0]

    def start(self, owed, finished):
        self.owed = owed
        self.look()

    def finished(self, record, spent, usage, unknown):
        self.done += 1
        if self.done in self.at:
            self.look()


def play(folder, epochs, looking, **changes):
    """One question, both orders, so many samples of each: what grows is no part of the plan."""
    agent = LanguageModelAgent(Here(), name="here")
    settings = {"judge": agent, "epochs": epochs, "progress": looking, "log_dir": folder, "connections": 4}
    return oversight.run("direct", helpers.Plain(), **settings, **changes)


@pytest.fixture
def traced():
    """Allocations are counted meanwhile."""
    tracemalloc.start(1)
    try:
        yield
    finally:
        tracemalloc.stop()


def test_finished_episodes_take_next_to_no_memory(tmp_path, traced):
    """Between the 300th and the 1,500th, and in a start that finds them all finished."""
    looking = Looking(FEW, MANY)
    play(tmp_path / "run", MANY // 2, looking)
    assert looking.done == MANY
    assert (looking.found[MANY] - looking.found[FEW]) / (MANY - FEW) < MOST
    few, many = Looking(), Looking()
    play(tmp_path / "few", FEW // 2, Looking())
    play(tmp_path / "few", FEW // 2, few)
    play(tmp_path / "run", MANY // 2, many)
    assert few.owed == many.owed == 0
    assert (many.found[0] - few.found[0]) / (MANY - FEW) < MOST
    # What only reads them holds one at a time, and their ids.
    gc.collect()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    assert sum(1 for _ in read_episodes(tmp_path / "run")) == MANY
    assert (tracemalloc.get_traced_memory()[1] - before) / MANY < MOST
