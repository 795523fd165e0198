"""What one role may see at one moment.

A :class:`View` is made by the runtime and is all that an agent gets.  It holds labels instead of answer
indices, public text instead of turns, and hidden material only where the role declares it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .identity import digest
from .transcript import Quote

__all__ = ["Answer", "Position", "View", "VisibleTurn"]


@dataclass(frozen=True)
class Answer:
    """An answer under the label it bears in this episode (``A``, ``B``, ...)."""

    label: str
    text: str


@dataclass(frozen=True)
class Position:
    """A speaker and the label of the answer it argues for."""

    speaker: str
    label: str


@dataclass(frozen=True)
class VisibleTurn:
    """A turn as one role sees it.

    Parameters
    ----------
    speaker : display name (``Debater A``).
    label : label of the answer the speaker argues for; None for a speaker without one.
    text : public text.
    quotes : quotations in ``text``, with the result of their check.
    opposed : whether the speaker argues against others, who hear it and can answer.
    own : whether the viewer said it.
    reasoning : the viewer's own private reasoning; empty for other speakers, always.
    private : whether it is the viewer's own and nobody else sees it (a draft).
    """

    speaker: str
    label: str | None
    text: str
    quotes: tuple[Quote, ...] = ()
    opposed: bool = False
    own: bool = False
    reasoning: str = ""
    private: bool = False


@dataclass(frozen=True)
class View:
    """What one role may see at one moment of an episode.

    Parameters
    ----------
    role : the role's name in the protocol (``debater``).
    speaker : the viewer's display name (``Debater A``).
    instructions : the role's part in the protocol, addressed to it.
    rules : what every role is told about the arena, and about the form of a speech if it is to speak.
    question : the question.
    answers : the answers in label order.
    options : labels in the order in which a choice is offered.
    position : label of the answer the viewer argues for; None for a role without one.
    opposed : whether the viewer argues against others, who hear it and can answer.
    positions : who argues for what, as far as it is public.
    material : hidden material by name; empty for every role that may not see it.
    structure : the question's public structure.
    by_answer : the answers' public structure: by name, a list in label order.
    turns : the turns the viewer may see, oldest first.
    exhibit : what follows from those turns in this arena (boards reached).
    task : what is asked in this turn beyond the role's instructions; empty for nothing.
    omitted : how many of the oldest turns are left out because the prompt would not have fitted.
    """

    role: str
    speaker: str
    instructions: str
    rules: str
    question: str
    answers: tuple[Answer, ...]
    options: tuple[str, ...]
    position: str | None
    positions: tuple[Position, ...]
    material: Mapping[str, str] = field(default_factory=dict)
    structure: Mapping[str, Any] = field(default_factory=dict)
    by_answer: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    turns: tuple[VisibleTurn, ...] = ()
    exhibit: str = ""
    opposed: bool = False
    task: str = ""
    omitted: int = 0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> View:
        """The view that ``dataclasses.asdict`` made JSON values of."""
        turns = [
            VisibleTurn(**{**turn, "quotes": tuple(Quote(**quote) for quote in turn["quotes"])})
            for turn in values["turns"]
        ]
        return cls(
            **{
                **values,
                "answers": tuple(Answer(**one) for one in values["answers"]),
                "options": tuple(values["options"]),
                "positions": tuple(Position(**one) for one in values["positions"]),
                "turns": tuple(turns),
            }
        )

    def answer_text(self, label: str) -> str:
        """The text of the answer that bears ``label``."""
        return next(answer.text for answer in self.answers if answer.label == label)

    @cached_property
    def digest(self) -> str:
        """Digest of everything the view shows."""
        return digest(
            [
                self.role,
                self.speaker,
                self.instructions,
                self.rules,
                self.question,
                [(answer.label, answer.text) for answer in self.answers],
                self.options,
                self.position,
                [(position.speaker, position.label) for position in self.positions],
                dict(self.material),
                dict(self.structure),
                {name: list(values) for name, values in self.by_answer.items()},
                [
                    (
                        turn.speaker,
                        turn.label,
                        turn.text,
                        [(q.start, q.end, q.verified) for q in turn.quotes],
                        turn.opposed,
                        turn.own,
                        turn.reasoning,
                        turn.private,
                    )
                    for turn in self.turns
                ],
                self.exhibit,
                self.opposed,
                self.task,
                self.omitted,
            ]
        )
