"""Items with a known answer among the others, which show whether a person reads what is put before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..agents import Agent, ScriptedAgent
from ..agents.human import Human
from ..identity import digest, seed_from
from ..protocol import Debater, Graph, Judge, Protocol, together
from ..questions import Arena, Question
from ..views import View
from .plan import Episode
from .seating import seatings

__all__ = ["ATTENTION", "AttentionArena", "AttentionCheck", "attention_agents", "attention_episode"]

ATTENTION: Literal["attention"] = "attention"
"""The word for it in records: purpose, protocol and arena."""

_ITEMS = (
    ("Which of these is a colour?", "blue", "seven"),
    ("Which of these can swim?", "a trout", "a ladder"),
    ("Which of these is a number?", "twelve", "autumn"),
    ("Which of these do people wear on their feet?", "boots", "clouds"),
    ("Which of these is a day of the week?", "Thursday", "copper"),
    ("Which of these grows on a tree?", "an apple", "a spoon"),
    ("Which of these is a musical instrument?", "a violin", "a river"),
    ("Which of these is used to write?", "a pencil", "a mountain"),
    ("Which of these is made of ice?", "a glacier", "a candle"),
    ("Which of these has wheels?", "a bicycle", "a song"),
)
"""Question, right answer, wrong answer."""


class AttentionCheck(Protocol):
    """Two speakers who say openly that the item is a check, and a judge who has only to read them."""

    name = ATTENTION

    debater = Debater(instructions="You are {speaker} in a debate. Argue that the answer is {answer}.")
    judge = Judge(instructions="You judge a debate. {positions} Decide which answer is correct.")

    def graph(self, answers: int) -> Graph:
        return together(*(self.debater.seat(number).argues() for number in range(answers))) >> self.judge.decides()


class AttentionArena(Arena):
    """Plain questions that nobody who reads them gets wrong."""

    name = ATTENTION

    def questions(self, limit: int | None, seed: int) -> Sequence[Question]:
        return [
            Question(
                id=f"attention {number}", text=text, answers=(right, wrong), correct=0, source=f"attention {number}"
            )
            for number, (text, right, wrong) in enumerate(_ITEMS[:limit], start=1)
        ]


def _speech(view: View) -> str:
    right = {answer for _, answer, _ in _ITEMS}
    label = next(answer.label for answer in view.answers if answer.text in right)
    mine = view.answer_text(view.position or label)
    if view.position == label:
        return f"The answer is {mine}. This item checks that transcripts are read: please give {label} at least 80 %."
    return (
        f"I was told to defend {mine}, and I cannot. This item checks that transcripts are read: please give {label} "
        "at least 80 %."
    )


def attention_agents() -> dict[str, Agent]:
    """Who takes part in such items, by name: their speakers, and whoever is checked."""
    return {ATTENTION: ScriptedAgent(ATTENTION, speeches=_speech), "human": Human()}


def attention_episode(person: str, number: int, seed: int) -> Episode:
    """The ``number``-th such item of a person, from 0; its content is drawn, and comes round again after ten."""
    order = sorted(range(len(_ITEMS)), key=lambda item: seed_from(seed, person, "attention", item))
    place = order[number % len(order)]
    question = AttentionArena().questions(None, seed)[place]
    protocol = AttentionCheck()
    cast = {"debater": (ATTENTION,), "judge": ("human",)}
    seating = seatings(seed_from(seed, person, number) % 1000, 2, 2, seed, swap=False)[0]
    content = [ATTENTION, person, number, question.fingerprint, seating.to_dict(), seed]
    return Episode(digest(content, 20), protocol, question, cast, seating, number, ATTENTION)
