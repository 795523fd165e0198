"""Between agents and what they cost: journal, budget and the limit on calls in flight."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, overload

from ..agents import Agent, CompositeAgent, LanguageModelAgent
from ..errors import BudgetExceeded, ConfigurationError, ContextTooLong, ModelError, TurnFailed
from ..identity import digest
from ..models import Completion, Model, ModelCall, ScoreCall, Scores
from ..requests import Choice, Choose, Speak, Speech
from ..transcript import Usage, belief_from_dict, consulted_from_dict, reading_from_dict
from .journal import Journal

__all__ = ["Budget", "JournaledModel", "connected", "require_limit", "respond"]


def require_limit(limit: float | None) -> None:
    """Raise ConfigurationError unless the cost limit is a number that spending can reach."""
    if limit is not None and not (math.isfinite(limit) and limit >= 0):
        raise ConfigurationError(f"--cost-limit {limit:g}: give a number of dollars, 0 or more")


class Budget:
    """Money spent, money promised to calls in flight, and the limit on both together.

    Parameters
    ----------
    limit : dollars; None for no limit.
    spent : dollars that earlier starts of the run have spent.
    shared : where promises stand that other processes count too; None where there are none.
    holder : who this process is there.
    """

    def __init__(
        self, limit: float | None, spent: float = 0.0, *, shared: Journal | None = None, holder: str = ""
    ) -> None:
        require_limit(limit)
        self.limit, self.spent, self.promised = limit, spent, 0.0
        self.shared, self.holder = shared, holder
        self.unknown = 0
        """Calls whose price is unknown."""
        self.usage = Usage()
        """Tokens of this start of the run."""

    def reserve(self, dollars: float | None, what: str, shared: list[int]) -> float:
        """Promise the worst case of a call; raises BudgetExceeded when that could cross the limit.

        ``shared``: the promises of the call that other processes count too, to be :meth:`stored` with it.
        """
        if self.limit is None:
            return 0.0
        if dollars is None:
            raise ConfigurationError(
                f"the price of {what} is unknown, so --cost-limit cannot hold: give --price {what}=IN,OUT"
            )
        if self.shared is not None:
            promise = self.shared.promise(self.holder, dollars, self.limit)
            self.spent = self.shared.spent()
            crosses = promise is None
            shared += [] if promise is None else [promise]
        else:
            crosses = self.spent + self.promised + dollars > self.limit
        if crosses:
            raise BudgetExceeded(
                f"the next call to {what} could cost ${dollars:.4f} and cross the limit of ${self.limit:.2f} "
                f"(${self.spent:.4f} spent, calls under way not counted in that); what is finished is kept: repeat the "
                "command with a higher --cost-limit"
            )
        self.promised += dollars
        return dollars

    def stored(self, shared: list[int]) -> None:
        """The call is in the journal, or will never be: its promises are taken back."""
        if self.shared is not None and shared:
            self.shared.take_back(shared)
            shared.clear()

    def settle(self, promised: float, usage: Usage | None) -> None:
        """Replace a promise by what the call cost; ``usage`` is None when it failed."""
        self.promised -= promised
        if usage is None:
            return
        self.usage = self.usage + usage
        if usage.dollars is None:
            self.unknown += 1
        else:
            self.spent += usage.dollars


class JournaledModel(Model):
    """A model whose calls are stored before they are used, counted, and limited in number at a time.

    Parameters
    ----------
    model : the model.
    journal : where its calls are kept.
    budget : what they count against.
    places : the limit on calls in flight to its endpoint.
    """

    def __init__(self, model: Model, journal: Journal, budget: Budget, places: asyncio.Semaphore) -> None:
        super().__init__(model.name)
        self.model, self.journal, self.budget, self.places = model, journal, budget, places
        self.scores_options = model.scores_options
        self._identity = model.describe()

    def describe(self) -> dict[str, Any]:
        return self._identity

    def price(self, usage: Usage) -> float | None:
        return self.model.price(usage)

    async def complete(self, call: ModelCall) -> Completion:
        shared: list[int] = []

        async def produce() -> dict[str, Any]:
            async with self.places:
                if self.journal.stopping:  # nobody waits for it any more, and it is not paid for yet
                    raise asyncio.CancelledError
                # A token is at least a byte, so bytes are the worst case of a prompt.
                texts = [text for message in call.messages for text in message.values()]
                largest = sum(len(text.encode("utf-8", "surrogatepass")) + 8 for text in texts)
                worst = self.price(Usage(1, largest, call.max_tokens)) if self.budget.limit is not None else 0.0
                promised, paid = self.budget.reserve(worst, self.name, shared), None

                def again(so_far: Usage) -> None:
                    nonlocal promised, paid
                    paid = so_far
                    promised += self.budget.reserve(worst, self.name, shared)

                try:
                    completion = await self.model.complete(replace(call, before_retry=again))
                    paid = completion.usage
                except ContextTooLong:  # cost nothing, and a shorter prompt is made of it
                    raise
                except ModelError as failure:
                    # Stored like a reply: whoever else asks the same is told the same, and pays nothing.
                    paid = failure.usage
                    return {"failure": str(failure), "dollars": paid.dollars if paid else 0.0}
                finally:
                    self.budget.settle(promised, paid)
            return {"completion": completion.to_dict(), "dollars": completion.usage.dollars}

        try:
            value = await self.journal.once(call.key(self._identity), self.name, produce)
        except Exception:  # not where it is given up: it may be made all the same, and is counted until the end
            self.budget.stored(shared)
            raise
        self.budget.stored(shared)
        if "failure" in value:
            raise ModelError(value["failure"])
        return Completion.from_dict(value["completion"])

    async def score(self, call: ScoreCall) -> Scores:
        async def produce() -> dict[str, Any]:
            # Only local models score texts, and they cost nothing; the limit on calls in flight holds all the same.
            async with self.places:
                if self.journal.stopping:
                    raise asyncio.CancelledError
                scores = await self.model.score(call)
                self.budget.settle(0.0, scores.usage)
            return {"scores": scores.to_dict(), "dollars": scores.usage.dollars}

        return Scores.from_dict((await self.journal.once(call.key(self._identity), self.name, produce))["scores"])

    def require(self) -> None:
        self.model.require()

    async def refuse(self, call: ModelCall) -> None:
        await self.journal.refuse(call.key(self._identity))

    async def close(self) -> None:
        await self.model.close()


def connected(agents: Mapping[str, Agent], journal: Journal, budget: Budget, connections: int) -> dict[str, Agent]:
    """The agents by name, their models' calls journaled, budgeted and limited by endpoint."""
    places: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(connections))

    def connect(agent: Agent) -> Agent:
        if isinstance(agent, CompositeAgent):
            return agent.with_members([connect(member) for member in agent.members])
        if isinstance(agent, LanguageModelAgent):
            endpoint = str(agent.model.describe().get("base_url", agent.model.name))
            return agent.with_model(JournaledModel(agent.model, journal, budget, places[endpoint]))
        return agent

    return {name: connect(agent) for name, agent in agents.items()}


@overload
async def respond(agent: Agent, request: Speak, journal: Journal) -> Speech: ...
@overload
async def respond(agent: Agent, request: Choose, journal: Journal) -> Choice: ...
async def respond(agent: Agent, request: Speak | Choose, journal: Journal) -> Speech | Choice:
    """The agent's reply; where its calls are not journaled one by one, the whole reply is.

    Of a composite agent the replies of its members are, each by this rule; a person's is kept with the episode that
    it was given in, and never taken from the journal.
    """
    if isinstance(agent, CompositeAgent):

        async def ask(member: Agent, asked: Speak | Choose) -> Speech | Choice:
            return await respond(member, asked, journal)

        return await agent.consult(request, ask)
    # A person is asked in the very task that the episode runs in: LangGraph's interrupt() knows it by its context.
    if agent.asks_people or agent.journals_calls:
        return await agent.respond(request)

    async def produce() -> dict[str, Any]:
        reply = await agent.respond(request)
        if isinstance(reply, Choice) and not all(map(math.isfinite, reply.probabilities.values())):
            raise TurnFailed(f"{agent.name} gave {dict(reply.probabilities)}: a probability is a finite number")
        return {"reply": asdict(reply), "dollars": 0.0}

    key = digest(["reply", agent.describe(), request.key])
    stored = (await journal.once(key, agent.name, produce))["reply"]
    reply = {**stored, "usage": Usage(**stored["usage"]), "notes": tuple(stored["notes"])}
    if isinstance(request, Speak):
        return Speech(**reply)
    for name, read in (
        ("readings", reading_from_dict),
        ("beliefs", belief_from_dict),
        ("consulted", consulted_from_dict),
    ):
        reply[name] = tuple(map(read, stored.get(name, ())))
    return Choice(**reply)
