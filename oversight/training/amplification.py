"""Iterated amplification (Christiano, Shlegeris and Amodei 2018): four processes, and a learner that nobody grades.

The overseer H can answer a question about a permutation only with the help of answers to easier ones:
sigma^n(x) follows from a = sigma^(n//2)(x) and b = sigma^(n//2)(a), in that order: it is b, or sigma(b) for an odd n.
Alone, H does one application.  X answers questions at once, by its weights.  A step of the training is

1. *record*: now and then H answers questions, X its sub-questions; what H does is kept;
2. *imitate*: H' is trained to do what H did;
3. *amplify*: H' answers new questions, X its sub-questions;
4. *distil*: X is trained to give these answers at once.

Nothing here knows what is right: H makes single applications, and whatever else X learns it was told by H' and X.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from ..identity import seed_from
from .amplification_networks import STAGES, Acts, Imitator, Learner, Questions

__all__ = [
    "Consultation",
    "Demonstrator",
    "Forgetful",
    "Overseer",
    "Slipping",
    "amplify",
    "distil",
    "drawn_permutations",
    "drawn_questions",
    "follow",
    "imitate",
]


HELD_OUT = 5
"""One in so many permutations is kept for the test, whatever the seed."""


class Overseer(Protocol):
    """Whoever asks sub-questions and answers: H or H'."""

    def act(self, questions: Questions, answers: Tensor, stage: int) -> Acts:
        """What to do next, given the answers to the sub-questions so far."""


class Demonstrator:
    """H: asks for two half powers in turn, and makes the one application that an odd power leaves.

    A single application is H's own: then there are no sub-questions.
    """

    def act(self, questions: Questions, answers: Tensor, stage: int) -> Acts:
        images, powers, starts = questions
        if stage == 0:
            return Acts(powers // 2, starts)
        none = images.shape[1]
        if stage == 1:
            return Acts(powers // 2, torch.where(powers == 1, starts, answers[..., 0].clamp(max=none - 1)))
        reached = torch.where(powers == 1, starts, answers[..., 1].clamp(max=none - 1))
        return Acts(torch.zeros_like(powers), torch.where(powers % 2 == 1, self.applied(images, reached), reached))

    def applied(self, images: Tensor, points: Tensor) -> Tensor:
        """A single application, looked up."""
        return images.gather(1, points)


class Forgetful(Demonstrator):
    """An H that always forgets to apply the permutation to certain points: the first so many.

    An imitator can learn this, and X with it.
    """

    def __init__(self, forgotten: int) -> None:
        self.forgotten = forgotten

    def applied(self, images: Tensor, points: Tensor) -> Tensor:
        return torch.where(points < self.forgotten, points, super().applied(images, points))


class Slipping:
    """An H that makes a slip in a share of its answers: one of the points it says is another one, drawn evenly.

    Parameters
    ----------
    overseer : who slips.
    rate : share of the questions in which it does, in [0, 1].
    generator : of the draws.
    """

    def __init__(self, overseer: Overseer, rate: float, generator: Generator) -> None:
        self.overseer, self.rate, self.generator = overseer, rate, generator
        self._stage: Tensor | None = None

    def act(self, questions: Questions, answers: Tensor, stage: int) -> Acts:
        powers, points = self.overseer.act(questions, answers, stage)
        shape, none = points.shape, questions.images.shape[1]
        if stage == 0:  # where each question's slip will be; nowhere in most
            slips = torch.rand(shape, generator=self.generator) < self.rate
            where = torch.randint(0, STAGES, shape, generator=self.generator)
            where = torch.where(questions.powers == 1, STAGES - 1, where)
            self._stage = torch.where(slips, where, -1)
        assert self._stage is not None
        shift = torch.randint(1, none, shape, generator=self.generator)
        return Acts(powers, torch.where(self._stage == stage, (points + shift) % none, points))


class Consultation(NamedTuple):
    """Questions, what an overseer did with them, and what it was told.

    Parameters
    ----------
    questions : asked of the overseer.
    powers, points : of its acts; permutations × questions × 3, the last point being its answer.
    answers : to its two sub-questions; permutations × questions × 2, the number of points where it asked none.
    """

    questions: Questions
    powers: Tensor
    points: Tensor
    answers: Tensor

    @property
    def concluded(self) -> Tensor:
        """The overseer's answers: permutations × questions."""
        return self.points[..., -1]


def amplify(
    overseer: Overseer, learner: Learner, questions: Questions, generator: Generator | None = None
) -> Consultation:
    """Amplify^overseer(learner): the overseer answers, the learner its sub-questions, one after the other.

    With a generator the learner's answers are drawn by what it holds likely, so that in training what it does not know
    yet makes noise, and no answer that it could grow sure of; without one they are the likeliest.
    """
    none = questions.images.shape[1]
    answers = torch.full((*questions.powers.shape, STAGES - 1), none)
    acts = []
    for stage in range(STAGES):
        act = overseer.act(questions, answers, stage)
        acts.append(act)
        if stage < STAGES - 1:
            told = learner.answers(Questions(questions.images, act.powers, act.points), generator)
            answers[..., stage] = torch.where(act.powers > 0, told, none)
    powers, points = (torch.stack(parts, dim=-1) for parts in zip(*acts, strict=True))
    return Consultation(questions, powers, points, answers)


def imitate(imitator: Imitator, optimiser: torch.optim.Optimizer, shown: Consultation) -> float:
    """One step of training H' to do what H did; the mean loss of its acts, in nats."""
    losses = []
    for stage in range(STAGES):
        known = torch.full_like(shown.answers, shown.questions.images.shape[1])
        known[..., :stage] = shown.answers[..., :stage]
        powers, points = imitator(shown.questions, known, stage)
        losses.append(functional.cross_entropy(powers.flatten(0, 1), shown.powers[..., stage].flatten()))
        losses.append(functional.cross_entropy(points.flatten(0, 1), shown.points[..., stage].flatten()))
    return _descend(optimiser, torch.stack(losses).sum() / STAGES)


def distil(learner: Learner, optimiser: torch.optim.Optimizer, questions: Questions, answers: Tensor) -> float:
    """One step of training X to give these answers at once; the mean loss, in nats."""
    logits = learner(questions)
    return _descend(optimiser, functional.cross_entropy(logits.flatten(0, 1), answers.flatten()))


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor) -> float:
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(loss.detach())


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, share: float) -> None:
    """Move a running average of weights by a share of the way towards the weights."""
    for averaged, weights in zip(slow.parameters(), fast.parameters(), strict=True):
        averaged.lerp_(weights, share)


def drawn_questions(generator: Generator, permutations: int, each: int, points: int, largest: int) -> Questions:
    """Questions of all sizes for training: powers evenly from 1 to the largest, about permutations that no test has."""
    images = drawn_permutations(generator, permutations, points, held_out=False)
    powers = torch.randint(1, largest + 1, (permutations, each), generator=generator)
    return Questions(images, powers, torch.randint(points, (permutations, each), generator=generator))


def drawn_permutations(generator: Generator, count: int, points: int, *, held_out: bool) -> Tensor:
    """Permutations of one cycle through all points, held out for the test or not: count × points."""
    found: list[Tensor] = []
    while sum(map(len, found)) < count:
        order = torch.rand(2 * count, points, generator=generator).argsort(-1)
        images = torch.empty_like(order).scatter_(1, order, order.roll(-1, 1))
        found.append(images[_held_out(images) == held_out])
    return torch.cat(found)[:count]


def _held_out(images: Tensor) -> Tensor:
    """Whether each permutation is one of the test's, by a hash of it."""
    points = images.shape[1]
    factors = torch.tensor([seed_from("held out", points, place) for place in range(points)])
    return (images * factors).sum(-1) % 1_000_003 % HELD_OUT == 0
