"""Direct judgement: no help at all."""

from pydantic import Field

from oversight.protocol import Graph, Judge, Protocol


class Direct(Protocol):
    """A judge answers alone: the floor of every comparison, or with ``expert`` its ceiling.

    Rules: one verdict, no turns before it.
    Sees: the naive judge the question alone; the expert judge the hidden material too.
    Source: the naive and expert judges of Khan et al. 2024.
    """

    name = "direct"

    expert: bool = Field(default=False, description="whether the judge sees the hidden material")

    judge_reasoning: bool | None = Field(
        default=None, description="whether the judge reasons before it decides; none leaves it to the agent"
    )

    judge = Judge(instructions="Decide which answer to the question is correct.")

    def graph(self, answers: int) -> Graph:
        judge = self.judge.as_expert() if self.expert else self.judge
        return judge.decides().but(thinks=self.judge_reasoning)
