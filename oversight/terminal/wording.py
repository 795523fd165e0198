"""Sentences that both ways of showing a session have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..limits import Limits, Measured
from ..quotes import find_quotes
from ..requests import FAILS, HOLDS, Choose, Speak, Stakes
from ..views import View
from .credence import Credence, percent
from .front import Feedback, Place
from .transcript_text import Signs, inert, one_line

__all__ = [
    "bits",
    "clock_time",
    "feedback_lines",
    "item_line",
    "kept_line",
    "likely_words",
    "limits_line",
    "measured_line",
    "number_of",
    "part_lines",
    "stakes_lines",
    "verdict_words",
    "what_is_written",
    "written_line",
]

LEAST_PROBABILITY = 2.0**-20
"""What a score takes a probability for at least, as protocols do that score their judge."""


def number_of(count: int, name: str) -> str:
    """``1 turn``, ``3 turns``."""
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def clock_time(seconds: float) -> str:
    """``1:05``."""
    whole = max(0, math.ceil(seconds))
    return f"{whole // 60}:{whole % 60:02}"


def bits(value: float, signs: Signs) -> str:
    """A score with its sign."""
    shown = f"{abs(value):.2f}"
    return shown if float(shown) == 0 else f"{signs.minus if value < 0 else '+'}{shown}"


def item_line(place: Place) -> list[str]:
    """Where in the session the person is."""
    parts = [f"Item {place.number}"]
    if place.waiting is not None:
        parts.append(f"{place.waiting} more wait{'s' if place.waiting == 1 else ''}" if place.waiting else "the last")
    return parts


def kept_line(place: Place) -> str:
    """What there is to say after an item."""
    if place.waiting is None:
        return f"Kept. {place.number} done."
    waiting = "none waits" if not place.waiting else f"{place.waiting} wait{'s' if place.waiting == 1 else ''}"
    return f"Kept. {place.number} done, {waiting}."


def part_lines(view: View, signs: Signs) -> list[str]:
    """What the person is told about their part, a paragraph each."""
    parts = [view.instructions, view.task, view.rules]
    return [one_line(part, signs) for part in parts if part.strip()]


def stakes_lines(stakes: Stakes, credence: Credence, signs: Signs) -> list[str]:
    """What going on costs, and what ending now brings."""
    cost = f"{stakes.penalty:.2f} bits"
    lines = []
    if stakes.left:
        lines.append(
            f"Going on costs {cost}; you {_times(stakes.gone_on)} so far; "
            f"at most {number_of(stakes.left, 'decision')} can follow."
        )
    else:
        lines.append("This is the last decision: no other can follow.")
    shares = credence.probabilities
    scores = [
        f"{bits(math.log2(max(shares[label], LEAST_PROBABILITY)), signs)} if {label} is right"
        for label in credence.order
    ]
    less = (
        f", less {stakes.penalty * stakes.gone_on:.2f} for {number_of(stakes.gone_on, 'decision')} to go on"
        if stakes.gone_on
        else ""
    )
    lines.append(f"Ending now scores, in bits: {', '.join(scores)}{less}.")
    return lines


def _times(count: int) -> str:
    return {0: "have not gone on", 1: "went on once", 2: "went on twice"}.get(count, f"went on {count} times")


def feedback_lines(feedback: Feedback, signs: Signs) -> tuple[list[str], list[tuple[str, str, str]]]:
    """What a person is told after a verdict; and the bands of confidence with their verdicts and the share right."""
    label, answer = one_line(feedback.label, signs), one_line(feedback.answer, signs)
    score = bits(feedback.score, signs)
    less = f", less {feedback.paid:.2f} for going on" if round(feedback.paid, 2) else ""
    lines = [
        f"The correct answer is {label}: {answer}",
        f"You gave it {percent(100 * feedback.probability)} %, which scores {score} bits{less}; 0 is best.",
        f"So far: {number_of(feedback.count, 'verdict')}, {percent(100 * feedback.accuracy)} % right, "
        f"mean score {bits(feedback.mean_score, signs)} bits, Brier score {feedback.brier:.2f} (0 is best).",
    ]
    bands = [
        (
            f"{100 * band.low:.0f} to {100 * band.high:.0f} %",
            number_of(band.count, "verdict"),
            f"{percent(100 * band.right / band.count)} % right",
        )
        for band in feedback.bands
        if band.count
    ]
    return lines, bands


def limits_line(limits: Limits | None) -> str:
    """What a speech is to be like, and what is accepted."""
    return "" if limits is None else limits.asked()


def measured_line(text: str, limits: Limits | None, material: Mapping[str, str]) -> str:
    """How long a speech is, and how many of its quotations stand in the material."""
    found = Measured.of(text)
    words = number_of(found.words, "word")
    if limits is not None:
        words += _band(limits.least_words, limits.most_words)
    parts = [words]
    if limits is not None and limits.most_characters is not None:
        parts.append(number_of(found.characters, "character") + _band(0, limits.most_characters))
    quotes = number_of(found.quotes, "quotation")
    if limits is not None:
        quotes += _band(limits.least_quotes, None)
    if found.quotes and material:
        standing = sum(quote.verified for quote in find_quotes(text, material))
        verb = "stands" if standing == 1 else "stand"
        quotes += f", {standing} of which {verb} in the text"
    parts.append(quotes)
    if limits is not None and limits.most_quoted_characters is not None:
        quoted = number_of(found.quoted_characters, "character") + " quoted"
        parts.append(quoted + _band(0, limits.most_quoted_characters))
    return "; ".join(parts)


def written_line(request: Speak, text: str, material: Mapping[str, str]) -> str:
    """How long a text is, or, where numbered lines are asked for, whether it can be read as them."""
    if request.form in ("speech", "answer") or not text.strip():
        return measured_line(text, request.limits, material)
    return request.fault_of(text.strip()) or f"it can be read as {request.form}"


def what_is_written(request: Speak) -> str:
    """What a person hands in, in a word."""
    return {"parts": "parts", "steps": "argument", "answer": "answer"}.get(request.form, "speech")


def _band(least: int, most: int | None) -> str:
    if most is None:
        return f" (at least {least})" if least else ""
    return f" ({least} to {most})" if least else f" (at most {most})"


def paragraphs(text: str, signs: Signs) -> Sequence[str]:
    """The lines of a text that are not blank, inert."""
    return [line.rstrip() for line in inert(text, signs).split("\n") if line.strip()]


def verdict_words(request: Choose) -> str:
    """What is asked after the last turn that there is: the verdict, or a decision on the way to it."""
    if request.of_a_step:
        return f"Given what stands above it as it is stated: how likely does the last one hold? ({HOLDS} or {FAILS})"
    what = likely_words(request)
    if not request.leads_on:
        return f"Verdict: {what}?"
    if request.stakes is not None:
        return f"Your decision: {what} now?"
    if not request.view.turns:
        return f"Before anything is said: {what}?"
    return f"{what.capitalize()} now? The others speak again after this."


def likely_words(request: Choose) -> str:
    """What a probability is asked for."""
    return f"how likely is each answer to be {'the better one' if request.prefers else 'correct'}"
