"""The two learners of iterated amplification: X, who answers, and H', who imitates the overseer.

Both know a permutation only as the facts "point i goes to point j", and read them by attention: a round asks which
point a state is like and receives where that point goes.  What is built in, and what is learned, is in
``docs/amplification.md``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Acts", "Imitator", "Learner", "Questions"]

STAGES = 3
"""What an overseer does for one question: two sub-questions and the answer."""


class Questions(NamedTuple):
    """Several questions about each of several permutations: where does a point get to in so many applications?

    Parameters
    ----------
    images : where each point goes, whole numbers from 0; permutations × points.
    powers : how often the permutation is applied, from 1; permutations × questions.
    starts : from which point; permutations × questions.
    """

    images: Tensor
    powers: Tensor
    starts: Tensor


class Acts(NamedTuple):
    """What an overseer does with several questions at one stage.

    Parameters
    ----------
    powers : of the sub-questions; 0 for none, and at the last stage.
    points : from which the sub-questions start; at the last stage the answers.
    """

    powers: Tensor
    points: Tensor


class LookUp(nn.Module):
    """Asks which point a state is like, and finds what belongs to that point; how to ask is learned."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.query.weight)  # a state that is a point's embedding asks for that point from the beginning

    def forward(self, state: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What was found; ``state`` is permutations × states × width, ``values`` permutations × points × width."""
        scores = self.query(state) @ keys.T / math.sqrt(keys.shape[1])
        return functional.softmax(scores, dim=-1) @ values


class Learner(nn.Module):
    """X: answers a question at once, in a few rounds of look-ups.

    In each round the state of the question looks up a point, and goes over to what it finds as far as a gate, learned
    for each power and round, lets it.  Between rounds the state of each point does the same without a gate, so that
    what there is to be found lies further ahead from round to round.

    Parameters
    ----------
    points : how many there are.
    largest : the largest power.
    width : features of a state.
    """

    def __init__(self, points: int, largest: int, width: int) -> None:
        super().__init__()
        rounds = largest.bit_length()
        self.points = nn.Embedding(points, width)
        self.powers = nn.Embedding(largest + 1, width)
        self.normal = nn.LayerNorm(width)
        self.of_points = nn.ModuleList(LookUp(width) for _ in range(rounds - 1))
        self.of_questions = nn.ModuleList(LookUp(width) for _ in range(rounds))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(rounds))

    def forward(self, questions: Questions) -> Tensor:
        """Logits of the answers: permutations × questions × points."""
        keys = self.normal(self.points.weight)
        values, state, powers = keys[questions.images], keys[questions.starts], self.powers(questions.powers)
        for number, (look_up, gate) in enumerate(zip(self.of_questions, self.gates, strict=True)):
            if number > 0:
                values = self.of_points[number - 1](values, keys, values)
            state = torch.lerp(state, look_up(state, keys, values), torch.sigmoid(gate(powers)))
        return state @ keys.T / math.sqrt(keys.shape[1])  # type: ignore[no-any-return]

    @torch.no_grad()
    def answers(self, questions: Questions, generator: torch.Generator | None = None) -> Tensor:
        """The likeliest answer to each question, or one drawn with its probability squared: permutations × questions.

        Squared, for what it is mostly sure of is then drawn nearly always: else doubts about small powers add up in
        large ones, and X learns them again.
        """
        logits = self(questions)
        if generator is None:
            return logits.argmax(-1)  # type: ignore[no-any-return]
        drawn = torch.rand(logits.shape, generator=generator).clamp(min=1e-9)
        return (2 * logits - torch.log(-torch.log(drawn))).argmax(-1)  # type: ignore[no-any-return]


class Imitator(nn.Module):
    """H': does what the overseer would do with a question and the answers to its sub-questions so far.

    It chooses among the points that stand before it (the question's and those two answers), may look one up, and says
    a power and a point.

    Parameters
    ----------
    points, largest, width : as for X.
    """

    def __init__(self, points: int, largest: int, width: int) -> None:
        super().__init__()
        self.points = nn.Embedding(points, width)
        self.powers = nn.Embedding(largest + 1, width)
        self.stages = nn.Embedding(STAGES, width)
        self.normal = nn.LayerNorm(width)
        self.reading = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.GELU())
        self.choosing = nn.Linear(2 * width, STAGES)
        self.asking = nn.Linear(2 * width, largest + 1)
        self.look_up = LookUp(width)
        self.gate = nn.Sequential(nn.Linear(4 * width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, questions: Questions, answers: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        """Logits of powers and of points: permutations × questions × (powers or points).

        ``answers`` to the two sub-questions are permutations × questions × 2; the number of points where there is none.
        """
        keys = self.normal(self.points.weight)
        powers = self.powers(questions.powers)
        read = self.reading(torch.cat([powers, self.stages.weight[stage].expand_as(powers)], dim=-1))
        before = torch.cat([questions.starts.unsqueeze(-1), answers], dim=-1)
        missing = before == len(keys)
        weights = functional.softmax(self.choosing(read).masked_fill(missing, -math.inf), dim=-1)
        chosen = (weights.unsqueeze(-1) * keys[before.masked_fill(missing, 0)]).sum(-2)
        found = self.look_up(chosen, keys, keys[questions.images])
        gate = self.gate(torch.cat([read, chosen, found], dim=-1))
        state = torch.lerp(chosen, found, torch.sigmoid(gate))
        return self.asking(read), state @ keys.T / math.sqrt(keys.shape[1])

    @torch.no_grad()
    def act(self, questions: Questions, answers: Tensor, stage: int) -> Acts:
        """The likeliest thing that the overseer would do."""
        powers, points = self(questions, answers, stage)
        return Acts(powers.argmax(-1), points.argmax(-1))
