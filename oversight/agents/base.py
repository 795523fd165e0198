"""The interface that every taker of turns has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from ..errors import CannotSpeak, TurnFailed
from ..requests import Choice, Choose, Request, Speak, Speech

if TYPE_CHECKING:
    from ..questions import Question

__all__ = ["Agent"]


class Agent:
    """Whatever takes a role's turn.

    One object serves many episodes at once, so it keeps nothing between requests: all it needs is in the
    request, and the same request gets the same reply.

    Parameters
    ----------
    name : the agent as it is named on the command line and in records.
    """

    journals_calls = False
    """Whether the agent's paid calls are journaled one by one (language models); else its reply is, whole."""

    asks_people = False
    """Whether a person answers, at once or later; such a reply is never taken from the journal."""

    is_composite = False
    """Whether the agent answers by asking others."""

    def __init__(self, name: str) -> None:
        self.name = name

    # ---- override these -------------------------------------------------------------------------

    async def speak(self, request: Speak) -> Speech:
        """A public contribution; raises TurnFailed where it cannot be made, CannotSpeak where it never can."""
        raise CannotSpeak(f"{self.name} cannot speak: cast it in a role that only decides")

    async def choose(self, request: Choose) -> Choice:
        """A probability for each answer; raises TurnFailed where it cannot be given."""
        raise TurnFailed(f"{self.name} cannot choose between answers: cast it in a role that only speaks")

    def describe(self) -> dict[str, Any]:
        """Everything that makes this agent answer as it does, as JSON values, without secrets."""
        return {"agent": self.name}

    def learn(self, questions: Sequence[Question]) -> None:
        """Be told the run's questions, truth included, before it begins: for stand-ins that are given the answers.

        Whatever judges by what it sees does nothing here.
        """

    def require(self) -> None:
        """Raise ConfigurationError where the agent cannot take turns as things stand (a key is missing)."""

    async def close(self) -> None:
        """Release connections."""

    # ---- machinery ------------------------------------------------------------------------------

    @overload
    async def respond(self, request: Speak) -> Speech: ...
    @overload
    async def respond(self, request: Choose) -> Choice: ...
    async def respond(self, request: Request) -> Speech | Choice:
        """Answer a typed request."""
        match request:
            case Speak():
                return await self.speak(request)
            case Choose():
                return await self.choose(request)
            case _:
                raise TurnFailed(f"{self.name} does not know the request {type(request).__name__}")
