"""What is asked: questions, and the arenas that supply them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from .errors import ConfigurationError
from .identity import digest, seed_from, source_digest

if TYPE_CHECKING:
    from .agents import Agent
    from .composed import ComposedTasks
    from .views import View

__all__ = ["Arena", "Pairing", "Part", "Question", "take_answers"]


NEITHER = "neither is right"
"""Group of questions of which no answer is right; which one is called correct was drawn, and means nothing."""


@dataclass(frozen=True)
class Question:
    """A task item with a known correct answer and material that only some roles may see.

    No agent ever receives this object.  A role's :class:`~oversight.views.View` is projected from it,
    and ``correct`` has no way into a view.

    Parameters
    ----------
    id : unique within the arena.
    text : the question, seen by every role.
    answers : the answers, two or more, each seen by every role.
    correct : index into ``answers`` of the correct one.
    source : what the question was made from (a story, a position); standard errors are clustered on it.
    hidden : hidden material by name (``{"passage": ...}``), seen by roles with ``sees_material=True`` only.
    structure : the same public content as ``text``, as JSON values for agents that cannot read (a game
        engine).  Public: never truth, never hidden material.
    by_answer : the same for ``answers``: by name, a list with one JSON value an answer.
    group : what questions are told apart by in reports (``depth 3``); empty for nothing.  No role sees it.
    """

    id: str
    text: str
    answers: tuple[str, ...]
    correct: int
    source: str
    hidden: Mapping[str, str] = field(default_factory=dict)
    structure: Mapping[str, Any] = field(default_factory=dict)
    by_answer: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    group: str = ""

    def __post_init__(self) -> None:
        if len(self.answers) < 2:
            raise ConfigurationError(f"question {self.id!r} has {len(self.answers)} answers: two or more are needed")
        if not 0 <= self.correct < len(self.answers):
            raise ConfigurationError(
                f"question {self.id!r}: the correct answer is number {self.correct} of {len(self.answers)} answers"
            )

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the whole content, truth included: a changed question is another question."""
        return digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The question as JSON values; :meth:`from_dict` gives it back."""
        return {
            "id": self.id,
            "text": self.text,
            "answers": list(self.answers),
            "correct": self.correct,
            "source": self.source,
            "hidden": dict(self.hidden),
            "structure": dict(self.structure),
            "by_answer": {name: list(values) for name, values in self.by_answer.items()},
            **({"group": self.group} if self.group else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Question:
        """The question that :meth:`to_dict` wrote."""
        return cls(**{**values, "answers": tuple(values["answers"])})


def take_answers(question: Question, count: int, seed: int) -> Question:
    """The question with its correct answer and ``count - 1`` of the others, drawn under ``seed``.

    The answers kept stay in their original order, so their positions say nothing new.  This is the stated
    pairing for debates that want two debaters where a question has more answers.

    Raises
    ------
    ConfigurationError
        if ``count`` is below two.
    """
    if count < 2:
        raise ConfigurationError(f"--answers {count}: a question needs at least two answers")
    if len(question.answers) <= count:
        return question
    others = [index for index in range(len(question.answers)) if index != question.correct]
    drawn = sorted(others, key=lambda index: seed_from(seed, question.id, "distractor", index))[: count - 1]
    kept = sorted([question.correct, *drawn])
    return replace(
        question,
        answers=tuple(question.answers[index] for index in kept),
        correct=kept.index(question.correct),
        by_answer={name: [values[index] for index in kept] for name, values in question.by_answer.items()},
    )


@dataclass(frozen=True)
class Part:
    """A question that is a part of another, as an arena reads it.

    Parameters
    ----------
    structure : its public structure, as in :class:`Question`.
    truth : the right answer, in the form in which answers are compared; for those who look at what came out.
    """

    structure: Mapping[str, Any]
    truth: str


@dataclass(frozen=True)
class Pairing:
    """Games between two of an arena's agents, half of them with each side first.

    Parameters
    ----------
    player_a, player_b : names of the agents.
    games : how many games.
    seed : seed of the openings and of the players' chance moves.
    """

    player_a: str
    player_b: str
    games: int
    seed: int


class Arena(BaseModel, ABC):
    """A supply of questions, of what each role may see in them, and sometimes of agents.

    Subclass it in one file, give its options as pydantic fields, and implement :meth:`questions`.
    The other methods have defaults that suit a plain set of questions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    """The word on the command line."""

    agents_help: ClassVar[str] = ""
    """One line on the agents the arena supplies, for ``oversight list arenas``."""

    default_debaters: ClassVar[tuple[str, ...]] = ()
    """Agents a tournament uses on the debating side when none are named."""

    default_judges: ClassVar[tuple[str, ...]] = ()
    """Agents a tournament uses as judges when none are named."""

    default_protocols: ClassVar[tuple[str, ...]] = ("direct", "consultancy", "debate")
    """Protocols a tournament compares when none are named."""

    default_limit: ClassVar[int | None] = None
    """How many questions are asked when no limit is given; None asks them all."""

    generated: ClassVar[bool] = False
    """Whether questions follow from the options and the seed alone, so that a resumed run need not make them again."""

    # ---- override these -------------------------------------------------------------------------

    @abstractmethod
    def questions(self, limit: int | None, seed: int) -> Sequence[Question]:
        """The first ``limit`` questions (all, where None) under ``seed``; the same call gives the same list."""

    def rules(self) -> str:
        """What every role is told about the arena, in a few sentences."""
        return ""

    def speech_rules(self) -> str:
        """What a speaking role is told about the form of its speech."""
        return ""

    def exhibit(self, view: View) -> str:
        """Text that follows from what the view shows, shown with its turns (the boards that named moves lead to)."""
        return ""

    def part(self, text: str) -> Part | None:
        """What a question that somebody has made up means here, where the arena can read it exactly; None elsewhere."""
        return None

    def admits(self, part: Part) -> bool:
        """Whether a question that somebody has made up is no larger than the arena's own can be."""
        return True

    def query_rules(self) -> str:
        """How such a question is written and what it keeps to, for whoever makes questions up."""
        return ""

    def composed(self) -> ComposedTasks | None:
        """Its tasks as operations on the values of two halves, where they are that: for recursive reward modelling."""
        return None

    def verifies_quotes(self) -> bool:
        """Whether quotes can be checked against hidden material here."""
        return False

    def agent(self, name: str) -> Agent | None:
        """The arena's own agent called ``name``; None where the arena has no such family of agents.

        Raises
        ------
        UnknownName, ConfigurationError
            if the family is the arena's but the name is not well formed.
        """
        return None

    def pairings(self, agents: Sequence[str], seed: int) -> Sequence[Pairing] | None:
        """Matches that measure these agents alone, by direct play; None: by solo accuracy on the questions."""
        return None

    async def play(self, pairing: Pairing) -> tuple[int, int, int]:
        """Play a pairing; gives wins of the first player, ties, and wins of the second."""
        raise NotImplementedError(f"{type(self).__name__} names pairings but cannot play them")

    # ---- machinery ------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """The arena, its options and its code, as they stand in a run's configuration."""
        return {"arena": self.name, **self.model_dump(mode="json"), "source": source_digest(type(self))}
