"""Tasks that are made of two halves of the same kind, to any depth."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .views import View
    from .working import Working

__all__ = ["ComposedTasks", "Task"]

Task = int | list[Any]
"""A value that is given, or ``[operator, half, half]``."""


class ComposedTasks(ABC):
    """An arena's tasks as operations on the values of two halves, which are tasks themselves.

    To evaluate an answer to one takes the values of its halves and one operation: this is what recursive reward
    modelling needs in order to hand on evaluation to agents of the level below.
    """

    operators: str
    """The operators, a character each."""

    values: int
    """How many values there are: 0, 1, ... and so on."""

    @abstractmethod
    def value(self, task: Task) -> int:
        """The right answer."""

    @abstractmethod
    def text(self, task: Task) -> str:
        """The task as a question."""

    @abstractmethod
    def statement(self, task: Task, value: int) -> str:
        """The statement that a task has a value, as the arena's judges read it."""

    @abstractmethod
    def structure(self, task: Task) -> dict[str, Any]:
        """The task as the public structure of a question."""

    @abstractmethod
    def task(self, structure: Mapping[str, Any]) -> Task:
        """The task that has a public structure."""

    @abstractmethod
    def working(self, view: View) -> Working:
        """The steps of the question in a view."""

    def draw(self, depth: int, chance: random.Random) -> Task:
        """A task of so many levels of halves, its operators and given values drawn evenly."""
        if depth == 0:
            return chance.randrange(self.values)
        return [chance.choice(self.operators), self.draw(depth - 1, chance), self.draw(depth - 1, chance)]
