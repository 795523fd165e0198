"""The settings of published experiments, by name.

A preset is a list of protocols with their options; the agents, the arena and the number of questions are yours.
What a paper leaves open, or what a person decides in it, is said in ``differs``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import UnknownName
from .limits import Limits

__all__ = ["OF_ONE", "PRESETS", "Preset", "find_preset"]

OF_ONE = ("label", "prompts")
"""Options that are never given to all protocols of a preset: they are about the roles and the name of one."""


@dataclass(frozen=True)
class Preset:
    """A published experiment.

    Parameters
    ----------
    name : the word on the command line.
    source : the paper.
    protocols : name, what tells it from others of its name, and options.
    answers : answers a question keeps; None for all of them.
    differs : what is not as in the paper.
    """

    name: str
    source: str
    protocols: tuple[tuple[str, str, Mapping[str, Any]], ...]
    answers: int | None
    differs: tuple[str, ...]


_KHAN = {"private_reasoning": True, "judge_reasoning": True, "rounds": 3}
_KHAN_SPEECH = Limits(words=100, least_words=70, most_words=150, least_quotes=1)
_KHAN_DEBATE = {**_KHAN, "egocentric": True, "limits": _KHAN_SPEECH}
_KHAN_CONSULTANCY = {**_KHAN, "limits": _KHAN_SPEECH.times(2)}
_KENTON = {"rounds": 3, "judge_reasoning": False, "limits": Limits(words=150), "candidates": 4}
_MICHAEL = {"rounds": 8, "interactive": True, "prior": True, "stop": "sure", "sure": 0.95, "penalty": 0.05}
_MICHAEL_SPEECH = Limits(most_characters=750, most_quoted_characters=250)

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "khan2024",
            "Khan et al. 2024, Debating with More Persuasive LLMs Leads to More Truthful Answers",
            (
                ("direct", "naive", {"judge_reasoning": True}),
                ("direct", "expert", {"judge_reasoning": True, "expert": True}),
                ("consultancy", "static", _KHAN_CONSULTANCY),
                ("consultancy", "interactive", {**_KHAN_CONSULTANCY, "interactive": True}),
                ("debate", "static", _KHAN_DEBATE),
                ("debate", "interactive", {**_KHAN_DEBATE, "interactive": True}),
            ),
            2,
            (
                "one speech is written for each turn: add --candidates N for best-of-N, --refinements 1 for "
                "critique-and-refine",
                "the judge itself asks the questions of the interactive forms",
                "which distractor is kept is drawn, where the paper takes the best one",
                "each question is debated in both seatings, and each verdict read with its options in both orders",
            ),
        ),
        Preset(
            "kenton2024",
            "Kenton et al. 2024, On scalable oversight with weak LLMs judging strong LLMs",
            (
                ("direct", "naive", {"judge_reasoning": False}),
                ("direct", "expert", {"judge_reasoning": False, "expert": True}),
                ("consultancy", "assigned", _KENTON),
                ("consultancy", "open", {**_KENTON, "positions": "open"}),
                ("debate", "assigned", _KENTON),
                ("debate", "open", {**_KENTON, "positions": "open"}),
            ),
            2,
            (
                "the judge's probability of the speaker's answer picks the best of four speeches",
                "the open forms are really run; oversight open keeps the runs of assigned ones as the paper does",
            ),
        ),
        Preset(
            "michael2023",
            "Michael et al. 2023, Debate Helps Supervise Unreliable Experts",
            (
                (
                    "debate",
                    "",
                    {
                        **_MICHAEL,
                        "style": "opening",
                        "limits": _MICHAEL_SPEECH,
                    },
                ),
                (
                    "consultancy",
                    "",
                    {**_MICHAEL, "limits": _MICHAEL_SPEECH.times(2)},
                ),
            ),
            2,
            (
                "a person decides when to stop in the paper; here the judge stops once it gives an answer 0.95, and "
                "after 8 rounds at the latest",
            ),
        ),
    )
}


def find_preset(name: str) -> Preset:
    """The preset of that name; raises UnknownName, with the nearest match."""
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    return PRESETS[name]
