"""What stands in lines: the parts of a question that was split, the steps of an argument, a stated answer.

Every reader takes time in proportion to the text, whatever that is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["TRIES", "ArgumentStep", "read_answer", "read_parts", "read_steps", "values_of"]

_NUMBERED = re.compile(r"(?:step\s+)?\(?([0-9]{1,3})[.):]\s+(.+)", re.IGNORECASE)
TRIES = 2
"""How often lines are asked for that cannot be read."""

_EMPHASIS = " \t*_`"
"""What stands around words in the markup that models write."""


class ArgumentStep(NamedTuple):
    """A step of an argument as its speaker stated it.

    Parameters
    ----------
    text : what it says, without its number and without the list of what it rests on.
    rests_on : numbers, from 1, of the earlier steps that it rests on; all of them where the speaker names none.
    """

    text: str
    rests_on: tuple[int, ...]


def values_of(name: str, text: str) -> list[str]:
    """What stands behind ``name:`` in the lines that begin so, emphasis left out; empty ones too are left out.

    Examples
    --------
    >>> values_of("Answer", "**Answer:** 14\\nAnswer:\\n> answer: no")
    ['14', 'no']
    """
    found = []
    for line in text.splitlines():
        words = line.lstrip(f"{_EMPHASIS}>-")
        match = re.match(rf"{name}[*_`]*:", words, re.IGNORECASE)
        if match is not None and (value := words[match.end() :].strip(_EMPHASIS)):
            found.append(value)
    return found


def read_answer(text: str) -> str | None:
    """The answer of the last line ``Answer: ...``, or of a text of one line; None where there is none.

    Examples
    --------
    >>> read_answer("Step 1: 3 + 4 = 7\\nAnswer: 7."), read_answer("7"), read_answer("I do not\\nknow.")
    ('7', '7', None)
    """
    found = values_of("Answer", text)
    if not found:
        lines = [line for line in text.splitlines() if line.strip()]
        found = lines if len(lines) == 1 else []
    if not found:
        return None
    plain = found[-1].strip().rstrip(".").strip().replace("−", "-")
    return re.sub(r"^(-?)0+(?=[0-9])", r"\1", plain) or None


def _rests_on(words: str) -> tuple[str, tuple[int, ...] | None]:
    """A step and the numbers in brackets at its end; None where it names none, and the words as they are."""
    plain = words.rstrip().removesuffix(".").rstrip()
    before, bracket, inner = plain.removesuffix("]").rpartition("[")
    listed = [one.strip() for one in inner.split(",")] if inner.strip() else []
    if not (plain.endswith("]") and bracket and before.strip()) or any(
        not re.fullmatch("[0-9]{1,3}", one) for one in listed
    ):
        return words, None
    return before.rstrip(), tuple(dict.fromkeys(map(int, listed)))


def read_parts(text: str, most: int) -> tuple[list[str], str]:
    """The questions of numbered lines, or none for ``NONE``; and what is wrong where they cannot be read.

    Examples
    --------
    >>> read_parts("1. What is 2 + 3?\\n2. What is 5 * 4?", 4)
    (['What is 2 + 3?', 'What is 5 * 4?'], '')
    >>> read_parts("It depends.", 4)
    ([], "the line 'It depends.' is no numbered question")
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1 and lines[0].rstrip(".").upper() == "NONE":
        return [], ""
    parts: list[str] = []
    for line in lines:
        found = re.fullmatch(r"\(?([0-9]{1,3})[.):]\s+(.+)", line)
        if found is None:
            return [], f"the line {line[:60]!r} is no numbered question"
        if int(found[1]) != len(parts) + 1:
            return [], f"line {len(parts) + 1} has the number {found[1]}"
        parts.append(found[2])
    if not parts:
        return [], "it is empty"
    if len(parts) > most:
        return [], f"it has {len(parts)} questions, more than {most}"
    return parts, ""


def read_steps(text: str, most: int) -> tuple[list[ArgumentStep], str]:
    """The steps of numbered lines; and what is wrong where they cannot be read.

    A step begins with its number, as ``3.`` or ``Step 3:``, and goes on over lines without one.  It may end with the
    numbers of the earlier steps that it rests on, as ``[1, 2]``, or ``[]`` where it rests on the question alone.

    Examples
    --------
    >>> read_steps("Step 1: 3 + 4 = 7\\nStep 2: 7 * 2 = 14 [1]", 8)[0]
    [ArgumentStep(text='3 + 4 = 7', rests_on=()), ArgumentStep(text='7 * 2 = 14', rests_on=(1,))]
    >>> read_steps("1. It follows from the next. [2]", 8)[1]
    'step 1 rests on step 2, which does not come before it'
    """
    stated: list[str] = []
    for line in (line.strip() for line in text.splitlines()):
        found = _NUMBERED.fullmatch(line)
        if found is not None and int(found[1]) != len(stated) + 1:
            return [], f"step {len(stated) + 1} has the number {found[1]}"
        if found is not None:
            stated.append(found[2])
        elif line and not stated:
            return [], f"it begins with {line[:60]!r}, which is no step: write 1. or Step 1: before the first"
        elif line:
            stated[-1] += f" {line}"
    if not stated:
        return [], "it is empty"
    if len(stated) > most:
        return [], f"it has {len(stated)} steps, more than {most}"
    steps: list[ArgumentStep] = []
    for number, words in enumerate(stated, start=1):
        text, listed = _rests_on(words)
        rests_on = tuple(range(1, number)) if listed is None else listed
        later = [one for one in rests_on if not 1 <= one < number]
        if later:
            return [], f"step {number} rests on step {later[0]}, which does not come before it"
        steps.append(ArgumentStep(text, rests_on))
    return steps, ""
