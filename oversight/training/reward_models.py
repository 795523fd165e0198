"""What is learned from preferences, and the interfaces of those who learn: reward models and agents tuned by them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .progress import TrainingProgress

__all__ = ["Comparison", "Prompt", "Reply", "RewardModel", "TunedAgent"]


@dataclass(frozen=True)
class Prompt:
    """What is asked.

    Parameters
    ----------
    text : as a person or a language model reads it.
    structure : the same as JSON values, for learners that cannot read.
    source : what it was made from; intervals are clustered on it, and no source is on both sides of a split.
    """

    text: str
    structure: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Reply:
    """What an agent does when it is asked.

    Parameters
    ----------
    text : as a person or a language model reads it.
    structure : the same as JSON values, for learners that cannot read.
    """

    text: str
    structure: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Two replies to one prompt, of which one was preferred."""

    prompt: Prompt
    chosen: Reply
    rejected: Reply


class RewardModel(ABC):
    """Learns from comparisons which reply is preferred (Christiano et al. 2017; Leike et al. 2018)."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Everything that makes it learn as it does, as JSON values."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """How many weights are trained."""

    @abstractmethod
    def fit(self, comparisons: Sequence[Comparison], folder: Path, seed: int, progress: TrainingProgress) -> None:
        """Train it from its beginning, telling ``progress`` the loss of each step.

        ``folder`` holds its checkpoints while it is trained and its weights in the end: the same call goes on where it
        was stopped, does nothing but read the weights where it had finished, and gives the same model either way.
        """

    @abstractmethod
    def rewards(self, prompt: Prompt, replies: Sequence[Reply]) -> NDArray[np.float64]:
        """The reward of each reply; differences are log-odds of being preferred (Bradley and Terry 1952)."""

    def agreement(self, comparisons: Sequence[Comparison]) -> NDArray[np.float64]:
        """For each comparison 1 where the chosen reply has the higher reward, 0 where the lower, ½ where the same."""
        found = []
        for one in comparisons:
            chosen, rejected = self.rewards(one.prompt, [one.chosen, one.rejected])
            found.append(0.5 + 0.5 * float(np.sign(chosen - rejected)))
        return np.array(found)


class TunedAgent(ABC):
    """Replies to prompts, and can be trained on which of its replies are preferred."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Everything that makes it learn and reply as it does, as JSON values."""

    @abstractmethod
    def replies(self, prompt: Prompt, count: int, seed: int) -> list[Reply]:
        """So many replies, drawn under the seed; the first ones are the same whatever the count."""

    @abstractmethod
    def tune(self, comparisons: Sequence[Comparison], folder: Path, seed: int, progress: TrainingProgress) -> None:
        """Train it to prefer what was chosen; ``folder`` as in :meth:`RewardModel.fit`."""
