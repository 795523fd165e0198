"""Cascades: the first judge that is sure enough decides, a person gets the rest, and nobody decides uncalibrated."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from oversight.agents import CascadeAgent, LanguageModelAgent, ScriptedAgent
from oversight.agents.proxies import Negligent, Noisy
from oversight.analysis.escalation import calibrate, calibration_items, escalation
from oversight.errors import Abstained, CannotSpeak, ConfigurationError, TurnFailed
from oversight.models.base import Completion, Model
from oversight.protocols.direct import Direct
from oversight.requests import Choice, Choose, Speak, Speech
from oversight.runs.journal import Journal
from oversight.runs.moderator import play_episode
from oversight.runs.plan import Episode
from oversight.transcript import Consulted, Reading, Usage
from oversight.views import Answer, View

HERE = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"cascade_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


helpers, tiny = _load("helpers"), _load("tiny")


def view(count=2, **changes):
    answers = tuple(Answer("ABCD"[place], f"answer {place}") for place in range(count))
    values = {
        "role": "judge",
        "speaker": "Judge",
        "instructions": "",
        "rules": "",
        "question": "Which?",
        "answers": answers,
        "options": tuple(answer.label for answer in answers)[::-1],
        "position": None,
        "positions": (),
    }
    return View(**{**values, **changes})


def judge(name, share, speeches=None):
    """A judge that gives A this share of two."""
    return ScriptedAgent(name, speeches, {"A": share, "B": 1 - share})


class Person(ScriptedAgent):
    """Somebody at a terminal who is always for B."""

    asks_people = True

    def __init__(self, name="human"):
        super().__init__(name, ["I would like to know."], {"B": 1.0})
        self.times = 0

    async def choose(self, request):
        self.times += 1
        return Choice({"A": 0.0, "B": 1.0}, "person", "because", seconds=4.0, stops=True, by="human/ada")


def cascade(*members, thresholds=(), **options):
    name = f"cascade({','.join(member.name for member in members)})"
    made = CascadeAgent(name, members, **options)
    return made.with_thresholds(thresholds) if thresholds else made


def choose(agent, **changes):
    return asyncio.run(agent.respond(Choose(view(**changes), seed=7)))


# ---- who decides ----------------------------------------------------------------------------------------


def test_the_first_that_is_sure_enough_decides():
    """Whoever comes later is not asked; the record says who was and from when on each decides."""
    person = Person()
    agent = cascade(judge("a", 0.8), judge("b", 0.25), judge("c", 1.0), person, thresholds=(0.9, 0.75, 0.5))
    choice = choose(agent)
    assert choice.probabilities == {"A": 0.25, "B": 0.75}
    assert choice.elicitation == "script"
    assert choice.consulted == (Consulted("a", (0.8, 1 - 0.8), 0.9, False), Consulted("b", (0.25, 0.75), 0.75, True))
    assert choice.notes == ("decided by b (0.75, from 0.75 on)",)
    assert person.times == 0


def test_what_no_judge_decides_goes_to_the_person():
    """The person's own verdict, with all that belongs to it; a judge without a threshold decides nothing."""
    agent = cascade(judge("a", 1.0), judge("b", 0.6), Person(), thresholds=(None, 0.7))
    choice = choose(agent)
    assert choice.probabilities == {"A": 0.0, "B": 1.0}
    assert (choice.elicitation, choice.reasoning, choice.seconds, choice.stops) == ("person", "because", 4.0, True)
    assert choice.by == "human/ada"
    assert [(one.agent, one.threshold, one.decided) for one in choice.consulted] == [
        ("a", None, False), ("b", 0.7, False), ("human", None, True)
    ]  # fmt: skip
    assert choice.notes == ("escalated to human",)


def test_a_stand_in_is_the_person_too():
    stand_in = Noisy(judge=judge("key", 0.9), rate=1.0)
    agent = cascade(judge("a", 0.6), stand_in, thresholds=(0.9,))
    assert agent.person is stand_in
    assert not agent.asks_people
    choice = choose(agent)
    assert choice.elicitation == "proxy"
    assert choice.notes == ("proxy erred: flipped", f"escalated to {stand_in.name}")


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        ((0.88, None), "abstained: a gave 0.61 (needs 0.88), b 0.58 (no threshold is feasible)"),
        ((0.611, 0.99), "abstained: a gave 0.610 (needs 0.611), b 0.58 (needs 0.99)"),
    ],
)
def test_without_a_person_it_abstains(thresholds, said):
    with pytest.raises(Abstained) as caught:
        choose(cascade(judge("a", 0.61), judge("b", 0.42), thresholds=thresholds))
    assert str(caught.value) == said
    assert isinstance(caught.value, TurnFailed)


def test_a_person_is_asked_where_they_may_be():
    """The permit is asked with the request and with what the judges gave; without it nobody is asked."""
    seen, person = [], Person()

    async def permit(request, consulted):
        seen.append((request, consulted))
        return len(seen) == 1

    agent = cascade(judge("a", 0.6), person, thresholds=(0.9,)).with_permit(permit)
    assert choose(agent).elicitation == "person"
    with pytest.raises(Abstained, match=r"^abstained: a gave 0.60 \(needs 0.90\): beyond the human budget$"):
        choose(agent)
    assert person.times == 1
    assert seen[0] == (Choose(view(), seed=7), (Consulted("a", (0.6, 0.4), 0.9, False),))
    assert agent.with_members(agent.members).permit is permit
    assert choose(cascade(judge("a", 0.95), person, thresholds=(0.9,)).with_permit(permit)).elicitation == "script"


def test_an_uncalibrated_cascade_decides_nothing():
    with pytest.raises(ConfigurationError, match=r"cascade\(a,human\) is not calibrated") as caught:
        choose(cascade(judge("a", 1.0), Person()))
    assert "\n" not in str(caught.value)


def test_for_calibration_every_judge_is_asked_and_no_person():
    person = Person()
    agent = cascade(judge("a", 1.0), judge("b", 0.6), person, thresholds=(0.5, 0.5))
    choice = choose(agent.for_calibration())
    assert [(one.agent, one.probabilities, one.decided) for one in choice.consulted] == [
        ("a", (1.0, 0.0), False), ("b", (0.6, 0.4), False)
    ]  # fmt: skip
    assert choice.probabilities == {"A": 0.6, "B": 0.4}
    assert person.times == 0
    again = agent.for_calibration().with_thresholds((0.5, 0.5))
    assert choose(again).probabilities == {"A": 1.0, "B": 0.0}


shares = st.lists(st.floats(0, 1), min_size=1, max_size=4)
limits = st.lists(st.none() | st.floats(0.5, 1), min_size=4, max_size=4)


@given(shares, limits)
def test_exactly_one_decides_or_nobody_does(given_shares, thresholds):
    """The first whose confidence reaches its threshold; everybody before it was asked, nobody after it."""
    members = [judge(f"judge {place}", share) for place, share in enumerate(given_shares)]
    agent = cascade(*members, thresholds=thresholds[: len(members)])
    sure = [
        limit is not None and max(share, 1 - share) >= limit
        for share, limit in zip(given_shares, thresholds, strict=False)
    ]
    if not any(sure):
        with pytest.raises(Abstained):
            choose(agent)
        return
    choice = choose(agent)
    assert [one.decided for one in choice.consulted] == [*[False] * sure.index(True), True]
    assert choice.probabilities["A"] == given_shares[sure.index(True)]


# ---- several draws ----------------------------------------------------------------------------------------


class Drawn(ScriptedAgent):
    """Gives A a share that depends on the draw alone."""

    def __init__(self, name, *given):
        super().__init__(name)
        self.given, self.draws = given, []

    async def choose(self, request):
        self.draws.append(request.draw)
        share = self.given[request.draw[-1]]
        return Choice(
            {"A": share, "B": 1 - share}, "votes", f"draw {request.draw[-1]}", Usage(1, 10, 2, 0.5), ("a note",)
        )


def test_confidence_is_the_largest_mean_over_the_draws():
    """The mean of 1, 1 and 0.1 is 0.7, where two of three draws were certain; each draw stays in the record."""
    drawn = Drawn("a", 1.0, 1.0, 0.1)
    agent = cascade(drawn, thresholds=(0.7,), annotators=3)
    choice = asyncio.run(agent.respond(Choose(view(), draw=(4,))))
    assert drawn.draws == [(4, 0), (4, 1), (4, 2)]
    assert choice.probabilities == pytest.approx({"A": 0.7, "B": 0.3})
    assert choice.usage == Usage(3, 30, 6, 1.5)
    assert choice.notes == ("a note", "decided by a (0.70, from 0.70 on)")
    assert choice.readings[2] == Reading(("B", "A"), (0.9, 0.1), "votes", "draw 2")


def test_what_every_judge_cost_is_in_the_choice():
    agent = cascade(Drawn("a", 0.6), Drawn("b", 0.6), Person(), thresholds=(0.9, 0.9))
    choice = asyncio.run(agent.respond(Choose(view(), draw=(0,))))
    assert choice.usage == Usage(2, 20, 4, 1.0)


# ---- speaking -----------------------------------------------------------------------------------------------


def test_the_first_judge_that_can_speak_does():
    """A person is asked for verdicts alone."""
    mute = judge("mute", 1.0)
    agent = cascade(mute, judge("asks", 1.0, ["Why?"]), Person(), thresholds=(0.9, 0.9))
    assert asyncio.run(agent.respond(Speak(view()))) == Speech("Why?")
    with pytest.raises(CannotSpeak, match="mute cannot speak"):
        asyncio.run(cascade(mute, Person(), thresholds=(0.9,)).respond(Speak(view())))


# ---- what it is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], "needs a judge before the person"),
        ([Person()], "needs a judge before the person"),
        ([Person(), judge("a", 1.0)], "human stands for a person, who comes last"),
        ([Negligent(), judge("a", 1.0)], "stands for a person, who comes last"),
        ([judge("a", 1.0), Person(), Person("other")], "human stands for a person, who comes last"),
        ([judge("a", 1.0), judge("a", 0.5)], "a is named twice"),
        ([cascade(judge("a", 1.0)), judge("b", 0.5)], "is a cascade itself"),
    ],
)
def test_cascades_that_cannot_be(members, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        cascade(*members)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"risk": 0}, {"risk": 1.0}, {"delta": 0}, {"annotators": 0}, {"held_out": 1.0}])
def test_options_out_of_their_range(options):
    with pytest.raises(ValidationError):
        cascade(judge("a", 1.0), **options)


@pytest.mark.parametrize("thresholds", [(0.9,), (0.9, 0.8, 0.7), (0.9, 1.2), (0.9, math.nan)])
def test_thresholds_that_cannot_be(thresholds):
    with pytest.raises(ConfigurationError, match=r"a threshold for each|is not between 0 and 1"):
        cascade(judge("a", 1.0), judge("b", 1.0), thresholds=thresholds)


def test_it_is_described_by_members_options_and_thresholds():
    """Another threshold makes another agent; the original is as it was."""
    agent = cascade(judge("a", 1.0), Person(), risk=0.2)
    described = agent.describe()
    assert described["cascade"]["risk"] == 0.2
    assert [one["agent"] for one in described["members"]] == ["a", "human"]
    assert "thresholds" not in described
    assert agent.with_thresholds([0.7]).describe() == {**described, "thresholds": [0.7]}
    assert agent.describe() == described
    assert agent.for_calibration().describe() != described


class Unsure(Model):
    """Gives A the same share each time."""

    def __init__(self):
        super().__init__("unsure")

    async def complete(self, call):
        return Completion("Answer: A\nConfidence: 80%", Usage(1, 5, 5, 0.01))


def test_a_language_model_reads_both_orders_and_its_members_can_be_wrapped():
    model = LanguageModelAgent(Unsure())
    agent = cascade(model, Person(), thresholds=(0.75,))
    choice = choose(agent)
    assert choice.consulted[0].probabilities == pytest.approx((0.8, 0.2))
    assert choice.usage.calls == 2
    wrapped = agent.with_members([model.with_model(Unsure()), agent.members[1]])
    assert wrapped.thresholds == (0.75,)
    assert wrapped.judges[0] is not model


# ---- in episodes -----------------------------------------------------------------------------------------------


class Guessing(ScriptedAgent):
    """Is right as often as it is confident: gives the lower sum, which is right, a drawn share."""

    def __init__(self, name, least):
        super().__init__(name)
        self.least = least

    def describe(self):
        return {"agent": self.name, "least": self.least}

    async def choose(self, request):
        chance = random.Random(f"{self.name} {request.seed}")
        confidence = chance.uniform(self.least, 1)
        low, high = sorted(request.view.answers, key=lambda answer: int(answer.text))
        right = chance.random() < confidence
        return Choice({low.label: confidence if right else 1 - confidence,
                       high.label: 1 - confidence if right else confidence}, "script")  # fmt: skip


def episodes(folder, agent, numbers, seed=0):
    """Records of an arena's questions, each alone before the agent, one journal for all."""
    arena, protocol = tiny.Sums(), Direct()
    questions = [arena.questions(number + 1, seed)[number] for number in numbers]

    async def play():
        journal = Journal(folder / "journal.sqlite")
        try:
            played = []
            for question in questions:
                episode = Episode(question.id, protocol, question, {"judge": (agent.name,)}, helpers.seating(), 0)
                graph = helpers.compiled(protocol, 2)
                played.append(await play_episode(episode, graph, arena, {agent.name: agent}, journal, seed))
            return played, journal.made
        finally:
            await journal.close()

    return asyncio.run(play())


def test_a_cascade_through_episodes(tmp_path):
    """Calibrated on some questions, it decides others: judges what they are sure of, the stand-in the rest."""
    stand_in = Noisy(judge=Guessing("careful", 0.97), rate=0.0)
    agent = cascade(Guessing("quick", 0.5), Guessing("slow", 0.6), stand_in, risk=0.2)
    played, _ = episodes(tmp_path, agent.for_calibration(), range(300))
    judges = [one.name for one in agent.judges]
    found = calibrate(calibration_items(played), judges, agent.options.risk, agent.options.delta)
    assert (found.given, found.items) == (300, 150)  # two sums a page
    assert found.holds
    calibrated = agent.with_thresholds(found.thresholds)
    records, made = episodes(tmp_path, calibrated, range(300, 500))
    assert made > 200
    came = escalation(records)
    assert came.cascade == agent.name
    assert [one.agent for one in came.members] == ["quick", "slow", stand_in.name]
    assert sum(one.decided for one in came.members) == came.answered == 200
    assert came.by_judges.mean > 1 - agent.options.risk
    assert came.escalated.n
    assert came.bought.mean == pytest.approx(came.escalated.mean - came.machine.mean)
    # Once more, nobody is asked who has answered: calls are served from the journal.
    again, made = episodes(tmp_path, calibrated, range(300, 500))
    assert made == 0
    assert escalation(again) == came


def test_a_cascade_without_a_person_abstains_in_an_episode(tmp_path):
    """The episode is unscored with the reason; the report counts it apart from failures."""
    records, _ = episodes(tmp_path, cascade(Guessing("quick", 0.5), thresholds=(0.8,)), range(60))
    reasons = [record["reason"] for record in records if record["status"] != "scored"]
    assert reasons
    assert all(reason.startswith("abstained: quick gave 0.") for reason in reasons)
    came = escalation(records)
    assert (came.abstained, came.failed, came.answered) == (len(reasons), 0, len(records) - len(reasons))
    assert came.coverage == came.answered / len(records)
