"""Judging step by step: a verdict after every round instead of one after all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..graph import unroll
from ..protocol import Graph, Protocol, Repeat, Step, Together
from ..protocol import Sequence as InSequence
from ..transcript import Transcript, Turn

__all__ = ["STEPPED", "Stepped", "judging_roles", "relabelled"]

STEPPED = {"verdicts": "after every round"}
"""What the description of a protocol says besides its own where it is judged step by step."""


class Stepped(Protocol):
    """A protocol whose verdict after a loop is given after each of its rounds instead.

    The last verdict decides; what the judge is shown for each is the transcript up to then.
    """

    name = "stepped"

    original: Protocol

    def graph(self, answers: int) -> Graph:
        own = getattr(self.original, "stepped_graph", None)
        made: Graph = own(answers) if own is not None else _stepped(self.original.graph(answers))
        return made

    def judge_score(self, transcript: Transcript, probability: float) -> float | None:
        return self.original.judge_score(transcript, probability)

    def describe(self) -> dict[str, Any]:
        return {**self.original.describe(), **STEPPED}

    @property
    def course(self) -> Any:
        """That of the original, where it has one."""
        return getattr(self.original, "course", None)

    @property
    def title(self) -> str:
        return self.original.title


def _stepped(graph: Graph) -> Graph:
    match graph:
        case InSequence(parts):
            made: list[Graph] = []
            for part in parts:
                last = made[-1] if made else None
                if isinstance(part, Step) and part.kind == "verdict" and isinstance(last, Repeat):
                    opening = None if last.first is None else last.first >> part
                    made[-1] = replace(last, part=last.part >> part, first=opening)
                else:
                    made.append(_stepped(part))
            return made[0] if len(made) == 1 else InSequence(tuple(made))
        case Together(parts):
            return Together(tuple(_stepped(part) for part in parts))
        case _:
            return graph


def judging_roles(protocol: Protocol, answers: int) -> frozenset[str]:
    """Names of the roles that give verdicts and are not of the side that is overseen."""
    steps = protocol.graph(answers).steps()
    return frozenset(
        step.seat.role.name for step in steps if step.kind == "verdict" and not step.seat.role.is_supervised
    )


def relabelled(turns: Sequence[Turn], old: Protocol, new: Protocol, answers: int) -> tuple[Turn, ...]:
    """Turns of one protocol under the names of another's steps, which differs only in when the judge decides."""
    judges = judging_roles(old, answers)

    def others(protocol: Protocol) -> list[str]:
        instances = unroll(protocol.graph(answers)).instances
        return [
            name
            for name, one in instances.items()
            if not (one.step.kind == "verdict" and one.step.seat.role.name in judges)
        ]

    name_of = dict(zip(others(old), others(new), strict=True))
    return tuple(replace(turn, step=name_of.get(turn.step, turn.step)) for turn in turns)
