"""Agents made of others: their members are journaled, waited for and described, they themselves are not."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
from pathlib import Path

import pytest

from oversight.agents import Agent, CompositeAgent, ScriptedAgent
from oversight.agents.composite import asked_to_choose, distribution
from oversight.errors import CannotSpeak, ConfigurationError, TurnFailed
from oversight.requests import Choice, Choose, Speak, Speech
from oversight.runs.calls import respond
from oversight.runs.journal import Journal
from oversight.transcript import Belief, Consulted, Reading, Usage
from oversight.views import Answer, View


def _load(name):
    specification = importlib.util.spec_from_file_location(f"composite_{name}", Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


helpers = _load("helpers")


def view(texts=("yes", "no"), **changes):
    """What a judge sees of a question with these answers."""
    answers = tuple(Answer("ABCDEFGH"[place], text) for place, text in enumerate(texts))
    values = {
        "role": "judge",
        "speaker": "Judge",
        "instructions": "",
        "rules": "",
        "question": "Is it?",
        "answers": answers,
        "options": tuple(answer.label for answer in answers),
        "position": None,
        "positions": (),
    }
    return View(**{**values, **changes})


class Counting(ScriptedAgent):
    """A scripted agent that counts what it is asked; its count is no part of what it is."""

    def __init__(self, name, speeches=None, choices=None):
        super().__init__(name, speeches, choices)
        self.times = 0

    async def respond(self, request):
        self.times += 1
        return await super().respond(request)


class Mean(CompositeAgent):
    """The mean of its members' choices; the first one speaks."""

    async def consult(self, request, ask):
        if isinstance(request, Speak):
            return await ask(self.members[0], request)
        given = [await asked_to_choose(ask, member, request) for member in self.members]
        labels = [answer.label for answer in request.view.answers]
        shares = {label: sum(one.probabilities[label] for one in given) / len(given) for label in labels}
        return Choice(shares, "script", usage=sum((one.usage for one in given), Usage()))


class Person(Counting):
    """Asks somebody."""

    asks_people = True


def asked(agent, request, folder, times=1):
    """The replies to a request that is made so often, with one journal for all."""

    async def ask():
        journal = Journal(Path(folder) / "journal.sqlite")
        try:
            return [await respond(agent, request, journal) for _ in range(times)], journal.made
        finally:
            await journal.close()

    return asyncio.run(ask())


def test_its_members_are_journaled_and_not_the_whole(tmp_path):
    """What a member has answered is not asked for again, by whomever; composites in composites are no exception."""
    sure, unsure = Counting("sure", choices={"A": 1.0}), Counting("unsure", ["Why?"], {"A": 0.5, "B": 0.5})
    inner = Mean("inner", [unsure, sure])
    outer = Mean("outer", [inner, sure])
    (first, second), made = asked(outer, Choose(view(), seed=3), tmp_path, times=2)
    assert first.probabilities == second.probabilities == {"A": 0.875, "B": 0.125}
    assert (sure.times, unsure.times, made) == (1, 1, 2)
    (speech,), _ = asked(outer, Speak(view()), tmp_path)
    assert speech == Speech("Why?")


def test_without_a_journal_it_asks_directly():
    agent = Mean("mean", [ScriptedAgent("a", ["Hm."], {"A": 1.0}), ScriptedAgent("b", choices={"B": 1.0})])
    assert asyncio.run(agent.respond(Choose(view()))).probabilities == {"A": 0.5, "B": 0.5}
    assert asyncio.run(agent.respond(Speak(view()))) == Speech("Hm.")


def test_a_person_is_asked_each_time_and_in_the_same_task(tmp_path):
    """LangGraph's interrupt is known by the task's context, and a person's answer is no constant."""
    tasks = []

    class Here(Person):
        async def choose(self, request):
            tasks.append(asyncio.current_task())
            return await super().choose(request)

    person, judge = Here("person", choices={"A": 1.0}), Counting("judge", choices={"B": 1.0})
    agent = Mean("mean", [judge, person])
    assert agent.asks_people
    assert not agent.with_members([judge, judge]).asks_people

    async def ask():
        journal = Journal(tmp_path / "journal.sqlite")
        try:
            for _ in range(2):
                await respond(agent, Choose(view()), journal)
            return asyncio.current_task()
        finally:
            await journal.close()

    task = asyncio.run(ask())
    assert tasks == [task, task]
    assert (person.times, judge.times) == (2, 1)


def test_members_are_described_told_required_and_closed():
    """Everything that is done to an agent is done to its members, recursively."""
    done = []

    class Open(Agent):
        def learn(self, questions):
            done.append(("learn", self.name, len(questions)))

        def require(self):
            done.append(("require", self.name))

        async def close(self):
            done.append(("close", self.name))

    agent = Mean("outer", [Mean("inner", [Open("a")]), Open("b")])
    agent.learn([helpers.question()])
    agent.require()
    asyncio.run(agent.close())
    assert done == [
        (what, name, *([1] if what == "learn" else [])) for what in ("learn", "require", "close") for name in "ab"
    ]
    inner = {"agent": "inner", "members": [{"agent": "a"}]}
    assert agent.describe() == {"agent": "outer", "members": [inner, {"agent": "b"}]}


def test_other_members_in_the_same_places():
    """A copy; the original is as it was."""
    a, b = ScriptedAgent("a", choices={"A": 1.0}), ScriptedAgent("b", choices={"B": 1.0})
    agent = Mean("mean", [a, a])
    changed = agent.with_members([b, b])
    assert (agent.members, changed.members, type(changed)) == ((a, a), (b, b), Mean)
    with pytest.raises(ConfigurationError, match="mean has 2 members, and 1 were given"):
        agent.with_members([b])


@pytest.mark.parametrize(
    "shares", [{"A": 0.7}, {"A": 0.7, "B": 0.7}, {"A": 1.5, "B": -0.5}, {"A": float("nan"), "B": 1.0}]
)
def test_what_a_member_gives_is_a_distribution(shares):
    """Probabilities that sum to something else fail the turn; a little rounding does not."""
    with pytest.raises(TurnFailed, match="no distribution over A, B"):
        distribution(Agent("odd"), Choice(shares, "script"), ["A", "B"])
    assert distribution(Agent("fine"), Choice({"B": 0.3334, "A": 0.6668}, "script"), ["A", "B"])["A"] < 0.6668


def test_a_journaled_choice_comes_back_whole(tmp_path):
    """Readings, beliefs and what was consulted are what they were, and not lists."""
    whole = Choice(
        {"A": 0.75, "B": 0.25},
        "votes",
        readings=(Reading(("A", "B"), (0.75, 0.25), "votes", "hm"),),
        beliefs=(Belief(1, (0.5, 0.5), 2.0),),
        consulted=(Consulted("a", (0.75, 0.25), 0.7, True),),
        seconds=3.0,
        stops=True,
        by="somebody",
    )

    class Whole(Agent):
        async def choose(self, request):
            return whole

    (first, second), made = asked(Whole("whole"), Choose(view()), tmp_path, times=2)
    assert made == 1
    assert dataclasses.asdict(first) == dataclasses.asdict(whole)
    assert (first, second) == (whole, whole)


def test_an_agent_that_only_decides_says_so():
    """By an error of its own: whoever asks on its behalf can tell it from a failure."""
    for agent in (Agent("bare"), ScriptedAgent("judge", choices={"A": 1.0})):
        with pytest.raises(CannotSpeak, match="cannot speak"):
            asyncio.run(agent.respond(Speak(view())))
