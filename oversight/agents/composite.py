"""Agents that are made of others: whoever asks them asks one agent, and they ask their members."""

from __future__ import annotations

import copy
import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from ..errors import ConfigurationError, TurnFailed
from ..requests import Choice, Choose, Speak, Speech
from .base import Agent

if TYPE_CHECKING:
    from ..questions import Question

__all__ = ["Ask", "CompositeAgent", "asked_to_choose", "asked_to_speak", "distribution", "everybody_asked"]

Ask = Callable[[Agent, Speak | Choose], Awaitable[Speech | Choice]]
"""Gives a member's reply: its own, or the journal's."""


class CompositeAgent(Agent):
    """An agent that answers by asking others; what it costs is what they cost.

    Nothing of it is journaled but the replies of its members, so that a repeated request asks again nobody who has
    answered before, and a person among the members can be waited for.

    Parameters
    ----------
    name : the agent as it is named on the command line and in records.
    members : the agents that it asks.
    """

    members: tuple[Agent, ...]
    is_composite = True

    def __init__(self, name: str, members: Sequence[Agent]) -> None:
        super().__init__(name)
        self.members = tuple(members)
        self.asks_people = any(member.asks_people for member in self.members)

    # ---- override this --------------------------------------------------------------------------

    async def consult(self, request: Speak | Choose, ask: Ask) -> Speech | Choice:
        """The reply to a request: a Speech to a Speak, a Choice to a Choose.

        Parameters
        ----------
        ask : gives a member's reply; a member is never asked in another way.
        """
        raise TurnFailed(f"{self.name} does not know the request {type(request).__name__}")

    # ---- machinery ------------------------------------------------------------------------------

    def with_members(self, members: Sequence[Agent]) -> Self:
        """The same agent with other members in the places of its own: members whose calls are journaled.

        Raises
        ------
        ConfigurationError
            if there are not as many of them.
        """
        if len(members) != len(self.members):
            raise ConfigurationError(f"{self.name} has {len(self.members)} members, and {len(members)} were given")
        changed = copy.copy(self)
        changed.members = tuple(members)
        changed.asks_people = any(member.asks_people for member in changed.members)
        return changed

    async def speak(self, request: Speak) -> Speech:
        reply = await self.consult(request, _directly)
        assert isinstance(reply, Speech)
        return reply

    async def choose(self, request: Choose) -> Choice:
        reply = await self.consult(request, _directly)
        assert isinstance(reply, Choice)
        return reply

    def describe(self) -> dict[str, Any]:
        return {"agent": self.name, "members": [member.describe() for member in self.members]}

    def learn(self, questions: Sequence[Question]) -> None:
        for member in self.members:
            member.learn(questions)

    def require(self) -> None:
        for member in self.members:
            member.require()

    async def close(self) -> None:
        for member in self.members:
            await member.close()


async def _directly(member: Agent, request: Speak | Choose) -> Speech | Choice:
    """A reply that no journal keeps."""
    return await member.respond(request)


async def asked_to_speak(ask: Ask, member: Agent, request: Speak) -> Speech:
    """What a member says."""
    reply = await ask(member, request)
    assert isinstance(reply, Speech)
    return reply


async def asked_to_choose(ask: Ask, member: Agent, request: Choose) -> Choice:
    """What a member chooses, its probabilities summing to 1; raises TurnFailed where they are no distribution."""
    reply = await ask(member, request)
    assert isinstance(reply, Choice)
    given = distribution(member, reply, [answer.label for answer in request.view.answers])
    return replace(reply, probabilities=given)


def distribution(agent: Agent, choice: Choice, labels: Sequence[str]) -> dict[str, float]:
    """The probabilities of a choice in the order of the labels; raises TurnFailed where they are no distribution."""
    given = {label: float(choice.probabilities.get(label, math.nan)) for label in labels}
    total = math.fsum(given.values())
    in_range = all(0 <= value <= 1 + 1e-6 for value in given.values())  # never true of a NaN
    if set(choice.probabilities) != set(labels) or not in_range or abs(total - 1) > 1e-3:
        raise TurnFailed(
            f"{agent.name} gave {dict(choice.probabilities)}, which is no distribution over {', '.join(labels)}"
        )
    # Rounding is left as it is: a threshold is met by the number that it was made of.
    return given if abs(total - 1) <= 1e-6 else {label: value / total for label, value in given.items()}


def everybody_asked(agents: Iterable[Agent]) -> Iterator[Agent]:
    """The agents, each followed by those that it asks."""
    for agent in agents:
        yield agent
        if isinstance(agent, CompositeAgent):
            yield from everybody_asked(agent.members)
