"""An attacker and a learner for nested expressions, small enough to be trained in seconds on one core.

Both see what any agent sees: the question's public structure and what was said.  Neither knows an operator's meaning:
the attacker only writes expressions, and the learner has to be taught.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..agents import Agent
from ..errors import ConfigurationError, TurnFailed, UnknownName
from ..identity import seed_from
from ..requests import Speak, Speech
from ..specification import parse_specification
from ..views import View
from ..working import Working
from .learners import TrainableLearner
from .progress import TrainingProgress
from .reward_models import Comparison, Prompt, Reply
from .students import require_training

if TYPE_CHECKING:
    import torch

__all__ = ["NetworkLearner", "NetworkOptions", "SearchAttacker", "SearchOptions", "expression_agent"]

Expression = Any
"""An operand, or ``[operator, left, right]``."""


class SearchOptions(BaseModel):
    """What stands in the parentheses of ``attacker/search``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exploration: float = Field(default=0.2, ge=0, le=1, description="share of queries that are drawn anew, evenly")


class NetworkOptions(BaseModel):
    """What stands in the parentheses of ``learner/network``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    units: int = Field(default=24, ge=1, le=512, description="product units of each operator")
    steps: int = Field(default=300, ge=1, description="steps of gradient descent a round")
    rate: float = Field(default=0.01, gt=0, allow_inf_nan=False, description="learning rate of Adam, falling to 0")


def expression_agent(
    name: str,
    working: Callable[[View], Working],
    render: Callable[[Expression], str],
    depth: int,
    largest: int,
    operators: str,
) -> Agent | None:
    """``attacker/search(exploration=0.2)`` or ``learner/network(units=24)``; None for every other family.

    Parameters
    ----------
    working : the steps of the question in a view, each an operation.
    render : an expression as text.
    depth, largest, operators : bounds of what the attacker writes.

    Raises
    ------
    ConfigurationError
        if the family is one of these and the rest of the name is not well formed.
    """
    family = name.partition("/")[0]
    if family not in ("attacker", "learner"):
        return None
    read = parse_specification(name)
    kind: type[SearchOptions] | type[NetworkOptions] = SearchOptions if family == "attacker" else NetworkOptions
    known = {"attacker": "attacker/search", "learner": "learner/network"}[family]
    if read.name != known:
        raise UnknownName("agent", read.name, [known])
    for option in read.options:
        if option not in kind.model_fields:
            raise UnknownName(f"option of {known}", option, kind.model_fields)
    try:
        options = kind(**read.options)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"{name}: {first['loc'][0]}: {first['msg']}") from None
    if isinstance(options, SearchOptions):
        return SearchAttacker(name, options, render, depth, largest, operators)
    return NetworkLearner(name, options, working)


# ---- the attacker -------------------------------------------------------------------------------------


class SearchAttacker(Agent):
    """Mutates questions that the learner failed on, and keeps exploring.

    Each query is drawn anew with probability ``exploration``, evenly over depths, operators and operands.  Else a form
    (a question with its operands left out) is chosen by Thompson sampling: of each form that was asked, a draw from
    the Beta distribution of its rate of failures, the largest wins.  A question of that form, one that the learner
    failed on if there is any, is changed in one operand.  So new forms come from exploration alone: without it the
    attacker never leaves the forms that it began with.
    """

    def __init__(
        self,
        name: str,
        options: SearchOptions,
        render: Callable[[Expression], str],
        depth: int,
        largest: int,
        operators: str,
    ) -> None:
        super().__init__(name)
        self.options, self.render = options, render
        self.depth, self.largest, self.operators = depth, largest, operators

    def describe(self) -> dict[str, Any]:
        bounds = {"depth": self.depth, "largest": self.largest, "operators": self.operators}
        return {"agent": "attacker/search", "version": 1, **self.options.model_dump(), **bounds}

    async def speak(self, request: Speak) -> Speech:
        """Numbered lines with questions, each with the number of the earlier one that it was made from."""
        structure = request.view.structure
        if request.form != "queries" or "questions" not in structure:
            raise TurnFailed(f"{self.name} only attacks learners: oversight train attacker_learner_critic casts it")
        known = [one for one in structure["questions"] if "expression" in one["structure"]]
        written = {one["text"] for one in known}
        lines = []
        for number in range(1, structure["wanted"] + 1):
            chance = random.Random(seed_from(request.seed, "query", number))
            text, parent = self._query(known, chance)
            for _ in range(20):  # what was asked before counts for nothing
                if text not in written:
                    break
                text, parent = self._query(known, chance)
            written.add(text)
            lines.append(f"{number}. {text}" + (f" (from {parent})" if parent is not None else ""))
        return Speech("\n".join(lines))

    def _query(self, known: Sequence[Mapping[str, Any]], chance: random.Random) -> tuple[str, int | None]:
        if not known or chance.random() < self.options.exploration:
            return self._asked(self._drawn(chance, chance.randint(1, self.depth))), None
        by_form: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for one in known:
            by_form[_form(one["text"])].append(one)
        rates = {}
        for form in sorted(by_form):
            outcomes = [one["outcome"] for one in by_form[form]]
            rates[form] = chance.betavariate(1 + outcomes.count("wrong"), 1 + outcomes.count("right"))
        best = by_form[max(rates, key=lambda form: rates[form])]
        parent = chance.choice([one for one in best if one["outcome"] == "wrong"] or best)
        return self._asked(self._mutated(parent["structure"]["expression"], chance)), int(parent["number"])

    def _asked(self, expression: Expression) -> str:
        return f"What is {self.render(expression)}?"

    def _drawn(self, chance: random.Random, depth: int) -> Expression:
        if depth == 0:
            return chance.randint(1, self.largest)
        depths = [depth - 1, chance.randrange(depth)]
        chance.shuffle(depths)
        return [chance.choice(self.operators), *(self._drawn(chance, one) for one in depths)]

    def _mutated(self, expression: Expression, chance: random.Random) -> Expression:
        place = chance.choice(_operands(expression))
        others = [one for one in range(1, self.largest + 1) if one != _at(expression, place)]
        return _with(expression, place, chance.choice(others))


def _form(text: str) -> str:
    return re.sub("[0-9]+", "#", text)


Place = tuple[int, ...]


def _operands(expression: Expression, at: Place = ()) -> list[Place]:
    """Where operands stand."""
    if isinstance(expression, int):
        return [at]
    return [place for side in (1, 2) for place in _operands(expression[side], (*at, side))]


def _at(expression: Expression, place: Place) -> Any:
    for step in place:
        expression = expression[step]
    return expression


def _with(expression: Expression, place: Place, value: Any) -> Expression:
    if not place:
        return value
    changed = list(expression)
    changed[place[0]] = _with(expression[place[0]], place[1:], value)
    return changed


# ---- the learner --------------------------------------------------------------------------------------

_OPERATORS = "+-*"
_SCALE = 10.0
"""Operands and values are divided by this inside the network."""
_STEP = re.compile(r"^[ \t]*step[ \t]*[0-9]{0,6}[ \t]*:(.+)=[ \t]*([-−]?[0-9]{1,12})[ \t]*\.?[ \t]*$", re.I | re.M)
_ANSWER = re.compile(r"^Answer:[ \t]*([-−]?[0-9]{1,12})[ \t]*$", re.M)


class NetworkLearner(TrainableLearner):
    """A small recursive network: each operator is a sum of products of two learned linear forms of its two sides.

    It is taught the values of whole expressions by gradient descent through their parts, and nothing about operators.
    It answers step by step: the value of each part, rounded, goes into the next.  In context it does one thing: where
    somebody else has stated the value of a part (a critique, or one of another question), it takes that over.

    Training on a comparison pulls its value towards the chosen answer (Huber's loss), and away from the rejected one
    until it is nearer to the chosen one: the logistic loss of Bradley and Terry with minus the distance as reward.
    """

    def __init__(self, name: str, options: NetworkOptions, working: Callable[[View], Working]) -> None:
        super().__init__(name)
        self.options, self.working = options, working
        self._weights: dict[str, torch.Tensor] = {}
        self._digest = ""

    def describe(self) -> dict[str, Any]:
        weights = {"weights": self._digest} if self._digest else {}
        return {"agent": "learner/network", "version": 1, **self.options.model_dump(), **weights}

    def require(self) -> None:
        require_training("torch", "safetensors")

    async def speak(self, request: Speak) -> Speech:
        """A step for each part, then its answer."""
        view = request.view
        if request.form != "answer" or not view.structure or not self._weights:
            raise TurnFailed(f"{self.name} only answers expressions it was trained for, in a training")
        working = self.working(view)
        told = {}
        for turn in view.turns:
            if not turn.own:
                for about, value in _STEP.findall(turn.text):
                    part = working.recognised(about)
                    if part is not None:
                        told[part] = int(value.replace("−", "-"))
        values: dict[str, int] = {}
        lines = []
        for number, (about, _) in enumerate(working.worked_out(working.units), start=1):
            if about not in values:
                task = working.task(about, values)
                assert task is not None
                values[about] = told[about] if about in told else self._operation(*task)
            lines.append(f"Step {number}: {about} = {values[about]}")
        return Speech("\n".join([*lines, f"Answer: {values[working.goal]}"]))

    def _operation(self, operator: str, left: int, right: int) -> int:
        import torch

        with torch.inference_mode():
            sides = torch.tensor([[left / _SCALE, right / _SCALE]])
            value = float(_apply(self._weights, sides[:, :1], sides[:, 1:])[0, 0, _OPERATORS.index(operator)])
        return round(max(-1e9, min(1e9, value * _SCALE)))

    def begun(self, seeds: Sequence[tuple[Prompt, Reply]], path: Path, seed: int, progress: TrainingProgress) -> Self:
        import torch

        generator = torch.Generator().manual_seed(seed_from(seed, "weights"))
        shape = (len(_OPERATORS), self.options.units, 3)
        made = {side: 0.3 * torch.randn(shape, generator=generator) for side in ("first", "second")}
        return self._trained(made, seeds, [], path, progress)

    def tuned(
        self,
        comparisons: Sequence[Comparison],
        seeds: Sequence[tuple[Prompt, Reply]],
        path: Path,
        seed: int,
        progress: TrainingProgress,
    ) -> Self:
        return self._trained(self._weights, seeds, comparisons, path, progress)

    def _trained(
        self,
        weights: Mapping[str, torch.Tensor],
        seeds: Sequence[tuple[Prompt, Reply]],
        comparisons: Sequence[Comparison],
        path: Path,
        progress: TrainingProgress,
    ) -> Self:
        """All examples at once in every step, so nothing is drawn: the same call gives the same weights."""
        from safetensors.torch import load, save

        if not path.exists():
            examples: list[Example] = [(prompt, reply, None) for prompt, reply in seeds]
            examples += [(one.prompt, one.chosen, one.rejected) for one in comparisons]
            with _one_thread():
                data = save(_descended(weights, examples, self.options, progress))
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        data = path.read_bytes()
        learner = type(self)(self.name, self.options, self.working)
        learner._weights, learner._digest = load(data), hashlib.sha256(data).hexdigest()[:16]
        return learner


@contextmanager
def _one_thread() -> Iterator[None]:
    """Two threads are slower than one for so small a network, and far slower on cores that others use too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


Example = tuple[Prompt, Reply, Reply | None]
"""A question, the answer to learn, and one to keep away from."""


def _descended(
    weights: Mapping[str, torch.Tensor],
    examples: Sequence[Example],
    options: NetworkOptions,
    progress: TrainingProgress,
) -> dict[str, torch.Tensor]:
    import torch

    read = [
        (prompt.structure["expression"], value, None if rejected is None else _answer(rejected))
        for prompt, chosen, rejected in examples
        if (value := _answer(chosen)) is not None and "expression" in prompt.structure
    ]
    # In double precision, and rounded in the end: the last bits of a sum depend on where its numbers stand in memory.
    free = {name: value.double().requires_grad_() for name, value in weights.items()}
    if not read:
        return {name: value.clone() for name, value in weights.items()}
    operands, operators = _tensors([expression for expression, _, _ in read])
    operands = operands.double()
    wanted = torch.tensor([float(value) for _, value, _ in read], dtype=torch.float64)
    compared = torch.tensor([float(rejected is not None) for _, _, rejected in read], dtype=torch.float64)
    avoided = torch.tensor([float(rejected or 0) for _, _, rejected in read], dtype=torch.float64)
    optimiser = torch.optim.Adam(list(free.values()), lr=options.rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
    for step in range(options.steps):
        optimiser.zero_grad()
        values = _values(free, operands, operators)
        loss = torch.nn.functional.smooth_l1_loss(values, wanted)
        if compared.any():
            reward = (values - avoided).abs() - (values - wanted).abs()
            loss = loss + (torch.nn.functional.softplus(-reward) * compared).sum() / compared.sum()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(free.values()), 1.0)
        optimiser.step()
        falling.step()
        if step % 50 == 0 or step + 1 == options.steps:
            progress.loss(float(loss.detach()))
    return {name: value.detach().float() for name, value in free.items()}


def _answer(reply: Reply) -> int | None:
    found = _ANSWER.findall(reply.text)
    return int(found[-1].replace("−", "-")) if found else None


def _tensors(expressions: Sequence[Expression]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Operands (expressions × places), and by level, innermost first, operators (expressions × places).

    Shallower sides are filled up with an operator that hands on its left side.
    """
    import torch

    depth = max(_depth(one) for one in expressions)
    filled = [_filled(one, depth) for one in expressions]
    operators = [torch.tensor([levels[level] for _, levels in filled]) for level in range(depth)]
    return torch.tensor([[float(one) for one in operands] for operands, _ in filled]), operators


def _depth(expression: Expression) -> int:
    return 0 if isinstance(expression, int) else 1 + max(_depth(expression[1]), _depth(expression[2]))


def _filled(expression: Expression, depth: int) -> tuple[list[int], list[list[int]]]:
    if depth == 0:
        return [expression], []
    whole = not isinstance(expression, int)
    sides = (expression[1], expression[2]) if whole else (expression, 0)
    (left, left_levels), (right, right_levels) = (_filled(side, depth - 1) for side in sides)
    operator = _OPERATORS.index(expression[0]) if whole else len(_OPERATORS)
    levels = [one + other for one, other in zip(left_levels, right_levels, strict=True)]
    return left + right, [*levels, [operator]]


def _apply(weights: Mapping[str, torch.Tensor], left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Value of every operator on two sides: the shape of a side with one dimension more, operators, at its end."""
    import torch

    sides = torch.stack([left, right, torch.ones_like(left)], dim=-1)
    forms = [torch.einsum("npi,oui->npou", sides, weights[name]) for name in ("first", "second")]
    return 8.0 * (forms[0] * forms[1]).mean(dim=-1)


def _values(
    weights: Mapping[str, torch.Tensor], operands: torch.Tensor, operators: Sequence[torch.Tensor]
) -> torch.Tensor:
    import torch

    values = operands / _SCALE
    for level in operators:
        left, right = values[:, 0::2], values[:, 1::2]
        choices = torch.cat([_apply(weights, left, right), left[..., None]], dim=-1)
        values = torch.gather(choices, 2, level[..., None])[..., 0]
    return values[:, 0] * _SCALE
