"""``scripted/NAME``: agents that follow a script, on the command line; no model, no cost."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..agents.base import Agent
from ..agents.scripted import ScriptedAgent
from ..errors import TurnFailed, UnknownName
from ..views import View
from .openai_compatible import ModelOptions

__all__ = ["scripted"]


def scripted(name: str, options: ModelOptions) -> Agent:
    """``scripted/NAME``: agents that follow a script; no model, no cost.

    The options are those of every provider; nothing here needs them.

    ======== ==================================================================================
    first    believes the first option that it is offered, at 0.9; asks for the best evidence
    uniform  gives every answer the same probability; asks for the best evidence
    longest  believes answers in proportion to the characters that were said for them; asks for
             the best evidence
    echo     says "I argue for A: ..." with its answer's text; chooses like uniform
    quoter   quotes the sentence of the hidden material that shares most words with its answer;
             chooses like uniform
    ======== ==================================================================================

    Raises
    ------
    UnknownName
        if there is no such script; with the nearest match.
    """
    if name not in _SCRIPTS:
        raise UnknownName("script", name, _SCRIPTS)
    speech, choice = _SCRIPTS[name]
    return ScriptedAgent(f"scripted/{name}", speeches=speech, choices=choice)


def _first(view: View) -> dict[str, float]:
    rest = 0.1 / (len(view.options) - 1)
    return {label: 0.9 if label == view.options[0] else rest for label in view.options}


def _uniform(view: View) -> dict[str, float]:
    return {answer.label: 1 / len(view.answers) for answer in view.answers}


def _longest(view: View) -> dict[str, float]:
    said = {answer.label: 0 for answer in view.answers}
    for turn in view.turns:
        if turn.label in said:
            said[turn.label] += len(turn.text)
    total = sum(said.values())
    return {label: length / total for label, length in said.items()} if total else _uniform(view)


def _ask(view: View) -> str:
    if view.position is not None:
        raise TurnFailed("this script cannot argue for an answer: cast it in a role that judges")
    return "What is the best evidence for your answer?"


def _echo(view: View) -> str:
    if view.position is None:
        raise TurnFailed("this script has no answer to argue for here: cast it in a role that argues")
    return f"I argue for {view.position}: {view.answer_text(view.position)}"


def _quoter(view: View) -> str:
    said = _echo(view)
    assert view.position is not None
    wanted = _words(view.answer_text(view.position))
    sentences = [sentence for text in view.material.values() for sentence in _sentences(text)]
    if not sentences:
        return said
    best = max(sentences, key=lambda sentence: len(wanted & _words(sentence)))  # the first of equals
    return f"{said} <quote>{best}</quote>"


def _sentences(text: str) -> list[str]:
    return [sentence for line in text.splitlines() for sentence in re.split(r"(?<=[.!?])\s+", line.strip()) if sentence]


def _words(text: str) -> set[str]:
    return {word.casefold() for word in re.findall(r"\w+", text)}


_SCRIPTS: dict[str, tuple[Callable[[View], str], Callable[[View], dict[str, float]]]] = {
    "echo": (_echo, _uniform),
    "first": (_ask, _first),
    "longest": (_ask, _longest),
    "quoter": (_quoter, _uniform),
    "uniform": (_ask, _uniform),
}
