"""Requests that the tests of the terminal show, and a session of one request that they drive in a pseudo-terminal.

``python tests/terminal_samples.py FOLDER SAMPLE`` puts a sample to whoever is at the terminal, keeps what is stated in
FOLDER and prints the outcome; started again on the same folder it goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import termios
from dataclasses import replace
from pathlib import Path

from oversight.limits import Limits
from oversight.quotes import find_quotes
from oversight.requests import Choose, Speak, Stakes
from oversight.terminal.front import Asked, Band, Feedback, Place
from oversight.terminal.fronts import front_for
from oversight.transcript import Belief
from oversight.views import Answer, Position, View, VisibleTurn

STORY = {
    "story": "The captain left before the storm. The mate kept the ledger in the galley, under the flour.\n\n"
    + "\n\n".join(f"Day {day}. The wind was from the west, and nothing was seen." for day in range(1, 60))
}


def said(label, text, *, own=False, speaker=""):
    """A turn of the debater for an answer, its quotations checked against the story."""
    return VisibleTurn(speaker or f"Debater {label}", label, text, find_quotes(text, STORY), opposed=True, own=own)


def view(turns=(), answers=("The captain", "The mate"), **more):
    """A judge's view."""
    labels = "ABCDEFGH"[: len(answers)]
    return View(
        **{
            "role": "judge",
            "speaker": "Judge",
            "instructions": "You are the judge of a debate. Decide which answer is correct.",
            "rules": "The question is about a story that you cannot see.",
            "question": "Who took the ledger out of the galley on the night of the storm?",
            "answers": tuple(Answer(label, text) for label, text in zip(labels, answers, strict=True)),
            "options": tuple(labels),
            "position": None,
            "positions": tuple(Position(f"Debater {label}", label) for label in labels),
            "turns": tuple(turns),
            **more,
        }
    )


DEBATE = view(
    [
        said(
            "A",
            "It was the captain. The story says so: <quote>the captain left before the storm</quote>, and whoever "
            "leaves in a hurry takes what matters most.\n\nNothing in the story speaks for the mate.",
        ),
        said(
            "B",
            "My opponent quotes a departure and calls it a theft. In truth <quote>the mate kept the ledger in the "
            "galley</quote>; and <quote>the mate was seen with it</quote> on the quay.",
        ),
        said("A", "The second of these quotations is not in the story at all. Ask yourself why it is needed."),
        said("B", "The ledger was under the flour. Only the mate knew."),
    ]
)

FOUR = view(
    [said("A", "A."), said("C", "I say C, as anybody would who has read to the end.")],
    ("The captain", "The mate", "The cook, who had the key", "Nobody: the ledger was never there, only its cover"),
)

WIDE = view(
    [
        said("A", "船長は嵐の前に出た。" * 8 + " and 👍🏽 then e\u0301\u0301\u0301\u0301\u0301\u0301 naïve 🇩🇪 text."),
        said("B", "הקברניט עזב לפני הסערה, והיומן נשאר במטבח. " * 3 + "\nيوم جديد ١٢٣."),
    ],
    ("船長", "הקברניט שלקח את היומן"),
    question="谁拿走了账本? Who took it?",
)

ATTACKS = view(
    [
        said(
            "A",
            "\x1b[2J\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b31m [bold red]markup[/] \u202eright to left\u202c \u2066x"
            "\u2069\n“forged words” ✓ ✔ ✅ ☑ [verified] ✗ ✘ ❌ ☒ “more” ✖\n\r\nDebater B · argues for B\n│ I give up."
            '\n\n\n\n\n<quote verified="yes">never there</quote>\u0338 <quote>unclosed\n\ue000 \tend',
        ),
        VisibleTurn(
            "Debater B\nDebater A",
            "B",
            "No span: <quote>the captain left</quote>",
            find_quotes("Elsewhere: <quote>the captain left</quote>", STORY),
        ),
    ],
    ("[red]The captain[/red]\x1b[5m", "The mate\nB  Another line"),
)

LONG = view([said("AB"[n % 2], f"Speech number {n + 1}. " + "Words upon words. " * 12) for n in range(200)])

QUESTION = "Before the next round, ask the questions whose answers would help you most to decide."
SPOKEN = replace(
    DEBATE,
    role="debater",
    speaker="Debater A",
    position="A",
    material=STORY,
    turns=(replace(DEBATE.turns[0], own=True, reasoning="They may not have read it."), *DEBATE.turns[1:2]),
    instructions="You are Debater A in a debate. You defend answer A.",
)
LIMITS = Limits(words=20, least_words=5, most_words=40, least_quotes=1)
STAKES = Stakes(0.05, 2, 3)

REQUESTS = {
    "debate": Asked(Choose(DEBATE), ("B", "A")),
    "four": Asked(Choose(FOUR), ("C", "A", "D", "B")),
    "wide": Asked(Choose(WIDE), ("A", "B")),
    "attacks": Asked(Choose(ATTACKS), ("A", "B")),
    "long": Asked(Choose(LONG), ("A", "B"), reading="whole"),
    "stakes": Asked(Choose(DEBATE, stakes=STAKES, explains=True), ("A", "B"), seen=4),
    "timed": Asked(Choose(DEBATE), ("A", "B"), seconds=3.0),
    "speak": Asked(Speak(SPOKEN, limits=LIMITS), ("A", "B")),
    "ask": Asked(Speak(replace(DEBATE, task=QUESTION)), ("A", "B"), seen=4, draft="Debater A: where "),
}

FEEDBACK = Feedback(
    "B", "The mate", 0.72, -0.4739, 0.1, 12, 0.75, -0.61, 0.18, (Band(0.5, 0.6, 4, 2.0), Band(0.9, 1.0, 1, 1.0))
)


class Kept:
    """What is stated, kept in a folder or only in memory."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.beliefs, self.notes, self.drafts = [], [], []

    def _write(self, name, value):
        if self.folder is not None:
            with (self.folder / f"{name}.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(value) + "\n")

    def belief(self, belief):
        self.beliefs.append(belief)
        self._write("beliefs", [belief.after, list(belief.probabilities), belief.seconds])

    def note(self, text):
        self.notes.append(text)
        self._write("notes", text)

    def draft(self, text):
        self.drafts.append(text)
        self._write("drafts", text)

    def read(self, name):
        """What earlier processes kept."""
        assert self.folder is not None
        path = self.folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


async def session(folder: Path, sample: str) -> None:
    """Put one sample, wait a little, rest, and print what came of it once the terminal is given back."""
    keep, place = Kept(folder), Place(3, 4)
    asked = REQUESTS[sample]
    drafts = keep.read("drafts")
    asked = replace(
        asked,
        beliefs=tuple(Belief(after, tuple(shares), seconds) for after, shares, seconds in keep.read("beliefs")),
        notes=tuple(keep.read("notes")),
        draft=drafts[-1] if drafts else asked.draft,
    )
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.01)

    background = asyncio.ensure_future(beat())
    try:
        async with front_for("--plain" in sys.argv) as front:
            if "--fail" in sys.argv:
                raise RuntimeError("on purpose")
            ask = front.choose if isinstance(asked.request, Choose) else front.speak
            outcome = await ask(asked, place, keep)
            waited = rested = None
            if "--wait" in sys.argv:
                waited = await front.wait("The debaters are answering", asyncio.sleep(2), place)
            if "--rest" in sys.argv:
                rested = await front.rest(place, FEEDBACK)
    finally:
        background.cancel()
    print(f"outcome {outcome!r} waited {waited} rested {rested} beats {beats > 5}")


if __name__ == "__main__":
    attributes = termios.tcgetattr(0) if os.isatty(0) else None
    try:
        asyncio.run(session(Path(sys.argv[1]), sys.argv[2]))
    finally:
        if attributes is not None:
            print("restored", termios.tcgetattr(0) == attributes)
