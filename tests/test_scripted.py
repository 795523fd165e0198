"""Scripted agents: exact, and the same every time."""

from __future__ import annotations

import asyncio
import json

import pytest

from oversight.agents import ScriptedAgent
from oversight.errors import ConfigurationError, TurnFailed, UnknownName
from oversight.models.openai_compatible import ModelOptions
from oversight.models.scripted import scripted
from oversight.requests import Choice, Choose, Speak, Speech
from oversight.views import Answer, View, VisibleTurn


def view(**changes):
    values = {
        "role": "debater",
        "speaker": "Debater B",
        "instructions": "",
        "rules": "",
        "question": "Who?",
        "answers": (Answer("A", "The tall cook"), Answer("B", "The old maid"), Answer("C", "Nobody")),
        "options": ("C", "A", "B"),
        "position": "B",
        "positions": (),
    }
    return View(**{**values, **changes})


TURNS = (
    VisibleTurn("Debater A", "A", "xxx"),
    VisibleTurn("Debater B", "B", "y", own=True),
    VisibleTurn("Judge", None, "much to say"),
)


def speak(agent, **changes):
    return asyncio.run(agent.respond(Speak(view(**changes))))


def choose(agent, **changes):
    return asyncio.run(agent.respond(Choose(view(**changes))))


def find(name):
    return scripted(name, ModelOptions())


def test_speeches_follow_the_speakers_own_turns():
    agent = ScriptedAgent("b", ["first", "second"])
    assert speak(agent) == Speech("first")
    assert speak(agent, turns=TURNS) == Speech("second")
    assert speak(agent, turns=TURNS) == Speech("second")
    with pytest.raises(TurnFailed, match="b has 2 speeches and is asked for number 3"):
        speak(agent, turns=(*TURNS, TURNS[1]))
    assert speak(ScriptedAgent("b", lambda seen: seen.question)) == Speech("Who?")


def test_choices():
    assert choose(ScriptedAgent("j", choices={"A": 1})) == Choice({"A": 1.0, "B": 0.0, "C": 0.0}, "script")
    agent = ScriptedAgent("j", choices=lambda seen: {seen.options[0]: 0.25, "A": 0.75})
    assert choose(agent) == Choice({"A": 0.75, "B": 0.0, "C": 0.25}, "script")


@pytest.mark.parametrize(
    "choices", [{"A": 0.5}, {"A": 1.5, "B": -0.5}, {"D": 1.0}, {"A": 1.0, "D": 0.0}, {"A": float("nan")}]
)
def test_choices_that_are_no_distribution(choices):
    with pytest.raises(TurnFailed, match="no distribution over A, B, C"):
        choose(ScriptedAgent("j", choices=choices))


def test_what_is_not_scripted_cannot_be_done():
    with pytest.raises(TurnFailed, match="cannot speak"):
        speak(ScriptedAgent("j", choices={"A": 1}))
    with pytest.raises(TurnFailed, match="cannot choose"):
        choose(ScriptedAgent("j", ["said"]))
    with pytest.raises(ConfigurationError, match="one string"):
        ScriptedAgent("j", "said")


def test_another_script_is_another_agent():
    def saying(words):
        return lambda seen: words

    scripts = [["a"], ["b"], saying("a"), saying("b"), lambda seen: "a", lambda seen: "b", None]
    described = [json.dumps(ScriptedAgent("x", script).describe()) for script in scripts]
    assert len(set(described)) == len(scripts)
    assert ScriptedAgent("x", saying("a")).describe() == ScriptedAgent("x", saying("a")).describe()
    assert not ScriptedAgent("x").journals_calls


def test_first():
    assert choose(find("first")).probabilities == pytest.approx({"A": 0.05, "B": 0.05, "C": 0.9})
    assert find("first").name == "scripted/first"
    assert find("first").describe() == {
        "agent": "scripted/first",
        "speeches": "oversight.models.scripted._ask",
        "choices": "oversight.models.scripted._first",
    }


def test_uniform():
    assert choose(find("uniform")).probabilities == pytest.approx({"A": 1 / 3, "B": 1 / 3, "C": 1 / 3})


def test_longest():
    assert choose(find("longest"), turns=TURNS).probabilities == {"A": 0.75, "B": 0.25, "C": 0.0}
    assert choose(find("longest")) == choose(find("uniform"))


@pytest.mark.parametrize("name", ["first", "longest", "uniform"])
def test_judges_can_ask_and_cannot_argue(name):
    assert speak(find(name), position=None, role="judge", turns=TURNS) == Speech(
        "What is the best evidence for your answer?"
    )
    with pytest.raises(TurnFailed, match="cannot argue for an answer: cast it in a role that judges"):
        speak(find(name))


def test_echo():
    assert speak(find("echo")).text == "I argue for B: The old maid"
    assert choose(find("echo")) == choose(find("uniform"))
    with pytest.raises(TurnFailed, match="no answer to argue for"):
        speak(find("echo"), position=None)


def test_quoter():
    story = {"passage": "A maid came. The cook, old and tired, ran!\nThe OLD maid slept. The old maid woke."}
    assert (
        speak(find("quoter"), material=story).text == "I argue for B: The old maid <quote>The OLD maid slept.</quote>"
    )
    assert speak(find("quoter")).text == "I argue for B: The old maid"


def test_an_unknown_script():
    with pytest.raises(UnknownName, match=r"unknown script 'frist': did you mean 'first'\?"):
        find("frist")
