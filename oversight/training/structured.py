"""Small reward models and policies for composed tasks, a fresh cell of weights at each level.

The cell of level k reads an operator and what the frozen cells below make of the two halves, and gives each value a
log-probability.  What a level does not learn from its own judgements it therefore has from the levels below, with
their errors: this is the recursion that is measured.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agents import Agent
from ..composed import ComposedTasks, Task
from ..errors import ConfigurationError, RunDirectoryError
from ..identity import digest, seed_from
from ..requests import Speak, Speech
from .preferences import FEWEST_WORDS, MEDIAN_WORDS, SPREAD, reply_of, words_drawn
from .progress import TrainingProgress
from .reward_models import Comparison, Prompt, Reply, RewardModel, TunedAgent
from .students import require_training

__all__ = ["Assistant", "StructuredAgent", "StructuredRewardModel", "require_structured"]

Tensors = dict[str, Any]
"""Weights by name, as torch tensors."""

CHECKPOINT_EVERY = 50
"""Steps between checkpoints."""

STEPS = 300
RATE = 0.1
DECAY = 0.5
"""Penalty on the squared weights of a table, in examples, which keeps what nobody judged at even odds."""

WORDS = 10.0
"""Words that count as one unit of presentation."""


def require_structured() -> None:
    """Raise MissingExtra where torch or safetensors is missing; imports neither."""
    require_training("torch", "safetensors")


# ---- cells --------------------------------------------------------------------------------------------


def _fresh(tasks: ComposedTasks) -> Tensors:
    import torch

    size = tasks.values
    return {
        "table": torch.zeros(len(tasks.operators), size, size, size, dtype=torch.float64),
        "sharpness": torch.tensor(1.5, dtype=torch.float64),
    }


def _applied(cell: Tensors, operators: Any, left: Any, right: Any) -> Any:
    """Log-probabilities of the values, items × values, from those of the halves; one-hot rows of a given value stay."""
    import torch

    sharpness = torch.nn.functional.softplus(cell["sharpness"]) * 2.0
    weights = [torch.softmax(sharpness * half, dim=-1) for half in (left, right)]
    chances = torch.softmax(cell["table"], dim=-1)[operators]
    return torch.log(torch.einsum("ni,nj,nijv->nv", *weights, chances) + 1e-12)


def _parts(tasks: ComposedTasks, items: Sequence[Task]) -> tuple[Any, list[Task], list[Task]]:
    """Operators as numbers, left halves and right halves."""
    import torch

    places = {operator: number for number, operator in enumerate(tasks.operators)}
    lists = [item for item in items if isinstance(item, list)]
    if len(lists) < len(items):
        raise ConfigurationError("a given value has no halves: the levels' tasks are not as deep as they should be")
    return torch.tensor([places[one[0]] for one in lists]), [one[1] for one in lists], [one[2] for one in lists]


def _log_values(tasks: ComposedTasks, cells: Sequence[Tensors], items: Sequence[Task]) -> Any:
    """Log-probabilities of the values of items that are as deep as there are cells; a given value is certain."""
    import torch

    if not cells:
        given = torch.full((len(items), tasks.values), -30.0, dtype=torch.float64)
        given[range(len(items)), list(items)] = 0.0
        return given
    operators, left, right = _parts(tasks, items)
    halves = _log_values(tasks, cells[:-1], [*left, *right])
    return _applied(cells[-1], operators, halves[: len(items)], halves[len(items) :])


def _saved(path: Path, tensors: Tensors, about: dict[str, Any]) -> None:
    """Write weights whole or not at all, and on the disk."""
    from safetensors.torch import save

    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    written = save({name: one.detach().clone() for name, one in tensors.items()}, {"about": json.dumps(about)})
    try:
        with part.open("wb") as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise RunDirectoryError(
            f"{path}: cannot be written: {error.strerror}; repeat the command to go on from the last checkpoint"
        ) from None


def _loaded(path: Path, identity: str) -> tuple[Tensors, dict[str, Any]] | None:
    """The weights in a file and what stands with them; None where there is no file.

    Raises
    ------
    RunDirectoryError
        if it cannot be read, or holds the weights of another training.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}; delete it, and it is trained again") from None
    if about.get("identity") != identity:
        raise RunDirectoryError(f"{path}: holds the weights of another training: choose another folder")
    return tensors, about


def _fitted(
    weights: Tensors,
    loss: Callable[[Tensors], Any],
    folder: Path,
    identity: str,
    progress: TrainingProgress,
    what: str,
) -> Tensors:
    """The weights after all steps of Adam on all examples at once: nothing is drawn, so a stop changes nothing."""
    import torch

    finished = _loaded(folder / "weights.safetensors", identity)
    if finished is not None:
        return finished[0]
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: one.clone().requires_grad_() for name, one in weights.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=RATE)
    first = 0
    kept = _loaded(folder / "checkpoint.safetensors", identity)
    if kept is not None:
        tensors, about = kept
        first = int(about["step"])
        for name, one in weights.items():
            one.data.copy_(tensors[name])
            optimizer.state[one] = {part: tensors[f"{name}.{part}"] for part in ("step", "exp_avg", "exp_avg_sq")}
    progress.start(what, STEPS - first, first)
    for step in range(first, STEPS):
        optimizer.zero_grad()
        value = loss(weights)
        value.backward()
        optimizer.step()
        progress.loss(value.item())
        progress.done()
        if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < STEPS:
            state = {
                f"{name}.{part}": tensor
                for name, one in weights.items()
                for part, tensor in optimizer.state[one].items()
            }
            _saved(folder / "checkpoint.safetensors", {**weights, **state}, {"identity": identity, "step": step + 1})
    _saved(folder / "weights.safetensors", weights, {"identity": identity, "step": STEPS})
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return {name: one.detach() for name, one in weights.items()}


class _Composed:
    """Cells, of which the last is trained and those below are frozen.

    Parameters
    ----------
    tasks : what is judged and answered.
    below : what was trained on the level below; None at level 0.
    """

    def __init__(self, tasks: ComposedTasks, below: _Composed | None) -> None:
        require_structured()
        self.tasks = tasks
        self.frozen: list[Tensors] = [] if below is None else [*below.frozen, below.cell]
        self.below: dict[str, Any] | None = None if below is None else below.describe()
        self.cell: Tensors = {**_fresh(tasks), **self._presentation()}

    def describe(self) -> dict[str, Any]:
        """What it is and the digest of its weights, JSON values."""
        return {
            "kind": type(self).__name__,
            "values": self.tasks.values,
            "operators": self.tasks.operators,
            "steps": [STEPS, RATE, DECAY],
            "weights": digest({name: one.tolist() for name, one in self.cell.items()}, 16),
            "below": self.below,
        }

    @property
    def parameters(self) -> int:
        """How many weights are trained."""
        return sum(int(one.numel()) for one in self.cell.values())

    def log_values(self, items: Sequence[Task]) -> NDArray[np.float64]:
        """Log-probabilities of the values, items × values."""
        import torch

        with torch.inference_mode():
            found = _log_values(self.tasks, [*self.frozen, self.cell], items)
        return np.asarray(found.numpy(), dtype=np.float64)

    def _presentation(self) -> Tensors:
        """The weights that have to do with how long a reply is."""
        raise NotImplementedError

    def _halves(self, items: Sequence[Task]) -> tuple[Any, Any, Any]:
        """What the cell reads: operators, and what the frozen cells make of the halves; each different item once."""
        operators, left, right = _parts(self.tasks, items)
        different = {digest(half): half for half in (*left, *right)}
        place = {name: number for number, name in enumerate(different)}
        made = _log_values(self.tasks, self.frozen, list(different.values())).detach()
        return operators, made[[place[digest(half)] for half in left]], made[[place[digest(half)] for half in right]]

    def _identity(self, comparisons: Sequence[Comparison], seed: int) -> str:
        said = [[one.prompt.text, dict(one.chosen.structure), dict(one.rejected.structure)] for one in comparisons]
        start = {**self.describe(), "weights": "fresh"}
        return digest([start, said, seed])

    def _tasks_of(self, prompts: Iterable[Prompt]) -> list[Task]:
        return [self.tasks.task(one.structure) for one in prompts]


class StructuredRewardModel(_Composed, RewardModel):
    """A reward for each value, and one for each word of the presentation; Bradley-Terry on preferences."""

    def _presentation(self) -> Tensors:
        import torch

        return {"words": torch.tensor(0.0, dtype=torch.float64)}

    @property
    def reward_of_ten_words(self) -> float:
        """What ten more words are worth to it, in log-odds of being preferred."""
        return float(self.cell["words"])

    def fit(self, comparisons: Sequence[Comparison], folder: Path, seed: int, progress: TrainingProgress) -> None:
        import torch

        identity = self._identity(comparisons, seed)
        if not comparisons:
            raise ConfigurationError(f"{folder}: nobody preferred one reply to another: raise --judgements")
        operators, left, right = self._halves(self._tasks_of(one.prompt for one in comparisons))
        replies = [[one.chosen.structure, one.rejected.structure] for one in comparisons]
        values = torch.tensor([[one["value"] for one in pair] for pair in replies])
        words = torch.tensor([[one["words"] / WORDS for one in pair] for pair in replies], dtype=torch.float64)

        def loss(cell: Tensors) -> Any:
            rewards = _applied(cell, operators, left, right).gather(1, values) + cell["words"] * words
            fit = -torch.nn.functional.logsigmoid(rewards[:, 0] - rewards[:, 1]).mean()
            return fit + DECAY * cell["table"].square().sum() / len(comparisons)

        self.cell = _fitted(self.cell, loss, folder, identity, progress, "steps of the reward model")

    def rewards(self, prompt: Prompt, replies: Sequence[Reply]) -> NDArray[np.float64]:
        (values,) = self.log_values([self.tasks.task(prompt.structure)])
        words = np.asarray([one.structure["words"] for one in replies], dtype=np.float64)
        found: NDArray[np.float64] = values[[one.structure["value"] for one in replies]]
        return found + self.reward_of_ten_words * words / WORDS


class StructuredAgent(_Composed, TunedAgent):
    """A policy that draws a value and the length of its presentation; untrained, it is the base policy.

    Notes
    -----
    Training maximises the likelihood of the replies that were chosen.  Where these are drawn from its own with weights
    exp(reward / temperature), that is reward-weighted regression (Peters and Schaal 2007).
    """

    def _presentation(self) -> Tensors:
        import torch

        return {"location": torch.tensor(0.0, dtype=torch.float64)}

    @property
    def times_longer(self) -> float:
        """How many times more words of reassurance it writes than the base policy, in the median."""
        return float(np.exp(float(self.cell["location"])))

    def chances(self, items: Sequence[Task]) -> NDArray[np.float64]:
        """Probabilities of the values, items × values, summing to 1 up to rounding."""
        return np.exp(self.log_values(items))

    def answers(self, items: Sequence[Task]) -> list[int]:
        """The value that it holds likeliest, of each item; the smallest of equals."""
        return [int(one) for one in np.argmax(self.log_values(items), axis=1)]

    def replies(self, prompt: Prompt, count: int, seed: int) -> list[Reply]:
        (chances,) = self.chances([self.tasks.task(prompt.structure)])
        of = [np.random.default_rng(seed_from(seed, what, prompt.text)) for what in ("values", "words")]
        values = np.searchsorted(np.cumsum(chances)[:-1] / chances.sum(), of[0].random(count), side="right")
        words = words_drawn(of[1], count, float(self.cell["location"]))
        return [reply_of(int(value), more) for value, more in zip(values, words, strict=True)]

    def tune(self, comparisons: Sequence[Comparison], folder: Path, seed: int, progress: TrainingProgress) -> None:
        import torch

        identity = self._identity(comparisons, seed)
        operators, left, right = self._halves(self._tasks_of(one.prompt for one in comparisons))
        chosen = [one.chosen.structure for one in comparisons]
        values = torch.tensor([[one["value"]] for one in chosen])
        # A reply without reassurance has no logarithm: half a word stands for it.
        added = torch.tensor([max(one["words"] - FEWEST_WORDS, 0.5) for one in chosen], dtype=torch.float64)
        longer = torch.log(added / MEDIAN_WORDS)

        def loss(cell: Tensors) -> Any:
            likelihood = _applied(cell, operators, left, right).gather(1, values).mean()
            length = ((longer - cell["location"]) / SPREAD).square().mean() / 2
            return length - likelihood + DECAY * cell["table"].square().sum() / len(comparisons)

        self.cell = _fitted(self.cell, loss, folder, identity, progress, "steps of the policy")


class Assistant(Agent):
    """A policy of the level below, which states the values of a task's halves."""

    def __init__(self, policy: StructuredAgent) -> None:
        super().__init__("assistant")
        self.policy = policy

    def describe(self) -> dict[str, Any]:
        return {"agent": self.name, "policy": self.policy.describe()}

    async def speak(self, request: Speak) -> Speech:
        tasks = self.policy.tasks
        task = tasks.task(request.view.structure)
        halves = [] if isinstance(task, int) else task[1:]
        lines = [
            f"Step {number}: {tasks.statement(half, value)}"
            for number, (half, value) in enumerate(zip(halves, self.policy.answers(halves), strict=True), start=1)
        ]
        return Speech("\n".join(lines))
