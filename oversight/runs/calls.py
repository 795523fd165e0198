"""Between agents and what they cost: journal, budget and the limit on calls in flight."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import asdict, replace
from typing import Any, overload

from ..agents import Agent, CompositeAgent, LanguageModelAgent
from ..errors import BudgetExceeded, ConfigurationError, ContextTooLong, ModelError, TurnFailed
from ..identity import digest
from ..models import Completion, FailedTry, Model, ModelCall, ScoreCall, Scores
from ..requests import Choice, Choose, Speak, Speech
from ..transcript import Usage, belief_from_dict, consulted_from_dict, reading_from_dict
from .journal import Journal
from .places import MOST, Place, Places
from .progress import Progress, Silent
from .spending import acting_as

__all__ = ["Budget", "JournaledModel", "connected", "require_limit", "respond"]


IN_THIS_PROCESS = 64
"""Calls in flight to what is no endpoint, and episodes under way where there is none, if nothing else is said."""


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
        self.lost = 0.0
        """Dollars that tries whose reply was lost may have cost: they stay promised to the end."""
        self.in_flight = 0
        """Promised tries that are being made."""
        self._waiting: list[asyncio.Future[None]] = []

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
            advice = "repeat the command with a higher --cost-limit"
            if self.spent + dollars <= self.limit:  # so it is promises that leave no room
                advice = "repeat the command, as what lost tries may have cost counts only until it ends"
            raise BudgetExceeded(
                f"the next call to {what} could cost ${dollars:.4f} and cross the limit of ${self.limit:.2f} "
                f"(${self.spent:.4f} spent; not counted in that are calls under way, and tries whose reply was lost); "
                f"what is finished is kept: {advice}"
            )
        self.promised += dollars
        return dollars

    async def one_has_landed(self) -> None:
        """Wait until a try that is in flight ends: most cost far less than what was promised for them."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    @property
    def others_may_land(self) -> bool:
        """Whether calls of other processes are waited for where there is no room left."""
        return False

    async def others_have_moved(self) -> None:
        """Wait until it is worth looking for room again."""

    def landed(self) -> None:
        """A promised try has ended, and its promise is settled."""
        self.in_flight -= 1
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def take_back(self, promised: float, shared: list[int]) -> None:
        """The last try that was promised cost nothing."""
        self.promised -= promised
        if self.shared is not None and shared:
            self.shared.take_back([shared.pop()])

    def stored(self, shared: list[int]) -> None:
        """The call is in the journal, or will never be: its promises are taken back."""
        if self.shared is not None and shared:
            self.shared.take_back(shared)
            shared.clear()

    def settle(self, promised: float, usage: Usage | None) -> None:
        """Replace a promise by what the call cost; ``usage`` is None when it cost nothing."""
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
    progress : told of tries that are made again.
    """

    def __init__(
        self, model: Model, journal: Journal, budget: Budget, places: Places, progress: Progress | None = None
    ) -> None:
        super().__init__(model.name)
        self.model, self.journal, self.budget, self.places = model, journal, budget, places
        self.progress = progress or Silent()
        self.scores_options = model.scores_options
        self._identity = model.describe()

    def describe(self) -> dict[str, Any]:
        return self._identity

    def price(self, usage: Usage) -> float | None:
        return self.model.price(usage)

    async def complete(self, call: ModelCall) -> Completion:
        key = call.key(self._identity)
        making = _Making(self, call, key)
        # It ends with the call's own task: whoever asked first may have gone, and the call is made all the same.
        value = await self.journal.once(key, self.name, making.result, making.ended)
        if "failure" in value:
            raise ModelError(value["failure"])
        return Completion.from_dict(value["completion"])

    async def score(self, call: ScoreCall) -> Scores:
        key = call.key(self._identity)

        async def produce() -> dict[str, Any]:
            # Only local models score texts, and they cost nothing; the limit on calls in flight holds all the same.
            with self.journal.given_up_freely(key):
                place = await self.places.take()
            try:
                self.journal.spending.asked(self.name, call.messages)
                scores = await self.model.score(call)
            finally:
                self.places.give_back(place)
            self.budget.settle(0.0, scores.usage)
            self.journal.spending.paid(self.name, scores.usage)
            return {"scores": scores.to_dict(), "dollars": scores.usage.dollars}

        return Scores.from_dict((await self.journal.once(key, self.name, produce))["scores"])

    def require(self) -> None:
        self.model.require()

    async def refuse(self, call: ModelCall) -> None:
        await self.journal.refuse(call.key(self._identity))

    async def close(self) -> None:
        await self.model.close()


def connected(
    agents: Mapping[str, Agent],
    journal: Journal,
    budget: Budget,
    connections: int | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Agent], int]:
    """The agents by name, their models' calls journaled, budgeted and limited; and how many episodes go on at once.

    Parameters
    ----------
    agents : by name.
    journal, budget : see :class:`JournaledModel`.
    connections : calls in flight to an endpoint; None to find out.
    progress : told of tries that are made again.
    """
    endpoints: dict[str, Places] = {}
    here: dict[str, Places] = {}

    def connect(agent: Agent) -> Agent:
        if isinstance(agent, CompositeAgent):
            return agent.with_members([connect(member) for member in agent.members])
        if isinstance(agent, LanguageModelAgent):
            model = agent.model
            address = model.describe().get("base_url")
            if address is None:
                places = here.setdefault(model.name, Places(connections or IN_THIS_PROCESS))
            else:
                places = endpoints.setdefault(str(address), Places(connections))
            return agent.with_model(JournaledModel(model, journal, budget, places, progress))
        return agent

    made = {name: connect(agent) for name, agent in agents.items()}
    if not endpoints:
        return made, connections or IN_THIS_PROCESS
    # More than there are places: while one episode stores a reply or thinks of its next prompt, another calls.
    return made, MOST if connections is None else 2 * connections - 1


def _without(usage: Usage | None, earlier: Usage | None) -> Usage | None:
    """What is left of a call's usage when that of its earlier tries is settled."""
    if usage is None or earlier is None:
        return usage
    known = usage.dollars is not None and earlier.dollars is not None
    return replace(
        usage,
        input_tokens=usage.input_tokens - earlier.input_tokens,
        output_tokens=usage.output_tokens - earlier.output_tokens,
        dollars=(usage.dollars or 0.0) - (earlier.dollars or 0.0) if known else None,
    )


class _Making:
    """One call as it is made: its place, what is promised for it, and its tries.

    Each try is promised before it is made, and has a place while it is in flight; between tries the place is
    somebody else's.
    """

    def __init__(self, model: JournaledModel, call: ModelCall, key: str) -> None:
        self.model, self.call, self.key = model, call, key
        self.shared: list[int] = []
        """Its promises that other processes count too."""
        self.budget, self.places, self.spending = model.budget, model.places, model.journal.spending
        self.worst: float | None = 0.0
        if self.budget.limit is not None:
            # A token is at least a byte, so bytes are the worst case of a prompt.
            texts = [text for message in call.messages for text in message.values()]
            largest = sum(len(text.encode("utf-8", "surrogatepass")) + 8 for text in texts)
            self.worst = model.price(Usage(1, largest, call.max_tokens))
        self.promised = 0.0
        self.place: Place | None = None
        self.flies = self.lands_later = False
        self.paid: Usage | None = None
        """What replies that could not be used have cost so far; that is settled already."""

    async def result(self) -> dict[str, Any]:
        """What the journal is to keep of the call."""
        usage: Usage | None = None
        try:
            await self._begin()
            self.spending.asked(self.model.name, self.call.messages)
            completion = await self.model.model.complete(replace(self.call, between_tries=self._between))
            usage = completion.usage
            assert self.place is not None
            self.places.kept_up(self.place, self.model.name, None if usage.retries else usage.output_tokens)
        except (BudgetExceeded, ContextTooLong):  # of the latter a shorter prompt is made
            if self.paid is not None:
                self.spending.paid(self.model.name, self.paid, failed=True)
                await self.model.journal.keep_paid(self.key, self.model.name, self.paid.dollars)
            raise
        except ModelError as failure:
            # Stored like a reply: whoever else asks the same is told the same, and pays nothing.
            usage = failure.usage or self.paid
            if failure.failed is not None:
                self._failed(failure.failed)
            self.spending.paid(self.model.name, usage, failed=True)
            return {"failure": str(failure), "dollars": usage.dollars if usage else 0.0}
        finally:
            self.budget.settle(self.promised, _without(usage, self.paid))
            # Where processes share the limit, what it cost is seen once it is stored, and its promise stands till then.
            self.lands_later = self.flies and self.budget.shared is not None
            self._give_back()
        self.spending.paid(self.model.name, usage)
        return {"completion": completion.to_dict(), "dollars": usage.dollars}

    async def _begin(self) -> None:
        """Wait for a place, and promise the try; a call that has cost something is no longer given up."""
        while True:
            with self._given_up_freely():
                self.place = await self.places.take()
            try:
                self.promised += self.budget.reserve(self.worst, self.model.name, self.shared)
            except BudgetExceeded:
                self._give_back()
                alone = not self.budget.in_flight
                if alone and not self.budget.others_may_land:  # there is nothing that could turn out to be cheaper
                    raise
                with self._given_up_freely():
                    await (self.budget.others_have_moved() if alone else self.budget.one_has_landed())
            else:
                self.budget.in_flight += 1
                self.flies = True
                return

    @asynccontextmanager
    async def _between(self, failed: FailedTry) -> AsyncIterator[None]:
        self.spending.repeated(self.model.name, failed.reason)
        self.model.progress.retried(self.spending.retries)
        if failed.paid is not None:
            self.paid = (self.paid or Usage()) + failed.paid
            self.budget.settle(self.worst or 0.0, failed.paid)
            self.promised -= self.worst or 0.0
        self._failed(failed)
        self._give_back()
        with self._given_up_freely():
            yield
        await self._begin()

    def _failed(self, failed: FailedTry) -> None:
        """Take note of a try that failed, whose place the call has still."""
        assert self.place is not None
        if failed.crowded:
            self.places.crowded(self.place, failed.wait)
        if failed.paid is None:
            self.promised -= self.worst or 0.0
            # It may be billed though its reply never came: then what it could cost stays promised to the end.
            if failed.lost:
                self.budget.lost += self.worst or 0.0
            else:
                self.budget.take_back(self.worst or 0.0, self.shared)

    def _given_up_freely(self) -> AbstractContextManager[None]:
        return nullcontext() if self.paid is not None else self.model.journal.given_up_freely(self.key)

    def _give_back(self) -> None:
        if self.place is not None:
            place, self.place = self.place, None
            self.places.give_back(place)
        if self.flies:
            self.flies = False
            if not self.lands_later:
                self.budget.landed()

    def ended(self) -> None:
        """The call is in the journal, or will never be."""
        self.budget.stored(self.shared)
        if self.lands_later:
            self.lands_later = False
            self.budget.landed()


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
        with acting_as(request.view.role):
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
