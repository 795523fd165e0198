"""What an agent must be able to do to be trained between the rounds of a loop."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ..agents import Agent
from .progress import TrainingProgress
from .reward_models import Comparison, Prompt, Reply

__all__ = ["TrainableLearner"]


class TrainableLearner(Agent):
    """An agent that can be trained on right answers and on preferences; training gives another agent.

    Both methods write the weights to ``path``, whole or not at all; where that file is there already they read it.
    """

    @abstractmethod
    def begun(self, seeds: Sequence[tuple[Prompt, Reply]], path: Path, seed: int, progress: TrainingProgress) -> Self:
        """The agent as it is before the first round: trained on the seed questions with their right answers."""

    @abstractmethod
    def tuned(
        self,
        comparisons: Sequence[Comparison],
        seeds: Sequence[tuple[Prompt, Reply]],
        path: Path,
        seed: int,
        progress: TrainingProgress,
    ) -> Self:
        """The agent trained further on comparisons of answers, the seeds among them so that they are not forgotten."""
