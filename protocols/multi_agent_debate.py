"""Multi-agent debate: several copies that read each other's answers and vote."""

from pydantic import Field

from oversight.protocol import Graph, Judge, Protocol, repeat, together


class MultiAgentDebate(Protocol):
    """Agents answer, read what the others answered, word for word, answer again, and vote.

    Nobody is told what to argue for, and there is no judge apart: it is a baseline of what models gain from each
    other without opposition.  Later work finds no gain over a majority of as many independent answers, so run
    ``self_consistency`` beside it.

    Rules: ``agents`` agents give an answer with their reasons at the same time, ``rounds`` times; from the second
    time on each has read the last answers of the others.  The majority of the last answers is the verdict.
    Sees: every agent the question, its own answers and what the others answered in earlier rounds.
    Source: Du et al. 2023 (3 agents, 2 rounds).
    """

    name = "multi_agent_debate"
    combines = "majority"

    agents: int = Field(default=3, ge=2, description="how many agents answer")
    rounds: int = Field(default=2, ge=1, description="how often each answers")

    agent = Judge(
        instructions="""You are one of several who answer the same question, and nobody was told what to say. Give
your reasons and your answer. Where you have read the answers of the others, use them as advice, and correct your own
where they are right."""
    )

    def graph(self, answers: int) -> Graph:
        seats = tuple(self.agent.seat(number) for number in range(self.agents))
        return repeat(
            together(*(seat.decides(heard_by=seats).but(votes=1, thinks=True, explains=True) for seat in seats)),
            self.rounds,
        )
