"""What attacker, learner and critic are told, and how their replies are read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..numbered import read_answer, values_of

__all__ = ["INSTRUCTIONS", "TASKS", "attackers_list", "read_verdict"]

INSTRUCTIONS = {
    "attacker": (
        "You write questions that the learner answers wrongly. You are shown earlier questions and whether it answered "
        "them right or wrong. Each of your questions must keep to the rules of the arena: a question that cannot be "
        "read, that is larger than these rules allow, or that was asked before, in whatever spelling, does not count. "
        "Find different weaknesses, not one again and again."
    ),
    "learner": (
        "You answer the question. Other questions that you got wrong may stand below, with what a critic said about "
        "them; a critic can err."
    ),
    "critic": (
        "You check the learner's answer. You are not told the right answer: work it out, as far as you can. Say "
        "whether the answer is wrong, and where."
    ),
}
TASKS = {
    "attacker": (
        "Write {count} questions, a line each, numbered: '1. ' and the question. Where you made it from one of those "
        "in the record, end the line with '(from N)', N its number. Write nothing else."
    ),
    "learner": "Answer the question now. End with a line 'Answer: ' and the answer, and nothing else in that line.",
    "refine": (
        "A critic has read your answer; it can err. Answer the question again, the same or another way. End with a "
        "line 'Answer: ' and the answer, and nothing else in that line."
    ),
    "critic": (
        "Write what is wrong with the last answer, or that you found nothing wrong. If you know the right answer, add "
        "a line 'Answer: ' and that answer. End with a line 'Verdict: right' or 'Verdict: wrong'."
    ),
}
"""What each role is asked for in a turn."""


def attackers_list(listed: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, Any]], most: int = 10) -> str:
    """Earlier questions with what became of them, and some of the last round that did not count."""
    words = {"seed": "to begin with", "right": "answered right", "wrong": "answered wrong"}
    lines = [f"{one['number']}. {one['text']} - {words.get(one['outcome'], 'not known')}" for one in listed]
    lines += [f"did not count, {one['reason']}: {one['text']}" for one in refused[:most]]
    return "\n".join(lines)


def read_verdict(text: str) -> tuple[Literal["right", "wrong"] | None, str | None]:
    """What a critique says of the answer, None where it does not say one thing; and the answer that it gives, if any.

    Examples
    --------
    >>> read_verdict("Step 2 is off.\\nAnswer: 14\\nVerdict: wrong")
    ('wrong', '14')
    >>> read_verdict("It may be right.")
    (None, None)
    """
    words = (re.match(r"(right|wrong)\b", one, re.I) for one in values_of("Verdict", text))
    said = {word[1].lower() for word in words if word is not None}
    corrected = read_answer(text) if values_of("Answer", text) else None
    if said == {"right"}:
        return "right", corrected
    if said == {"wrong"}:
        return "wrong", corrected
    return None, corrected
