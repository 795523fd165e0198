"""Self-consistency: the judge's own majority, at equal compute."""

from typing import Any

from pydantic import Field

from oversight.protocol import Graph, Judge, Protocol
from oversight.registry import find_protocol


class SelfConsistency(Protocol):
    """A judge answers alone, many times; the share of its draws is the verdict.

    What a protocol gains beyond this it has not gained by calling models more often.

    Rules: one verdict by ``samples`` votes, or, with ``equal_to``, by as many as that protocol takes turns on the
    same question.
    Sees: the judge the question alone.
    Source: self-consistency (Wang et al. 2022), as the baseline at equal compute that later work asks of debate.
    """

    name = "self_consistency"

    samples: int = Field(default=7, ge=1, description="votes of the judge")
    equal_to: str = Field(default="", description="a protocol, as on the command line, whose number of turns is taken")
    judge_reasoning: bool | None = Field(
        default=True, description="whether the judge reasons before each vote; none leaves it to the agent"
    )

    judge = Judge(instructions="Decide which answer to the question is correct.")

    def describe(self) -> dict[str, Any]:
        # Its number of turns may change while its name stays.
        other = {"equal_to_protocol": find_protocol(self.equal_to).describe()} if self.equal_to else {}
        return {**super().describe(), **other}

    def graph(self, answers: int) -> Graph:
        samples = self.samples
        if self.equal_to:
            samples = find_protocol(self.equal_to).most_turns(answers)
        return self.judge.decides().but(votes=samples, thinks=self.judge_reasoning)
