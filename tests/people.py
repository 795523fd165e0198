"""People without a terminal: fronts that answer by rule, for tests of everything behind the screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from oversight.requests import Choose
from oversight.terminal.front import Asked, Decided, Feedback, Front, Keep, Place, Said, Skipped, Stopped
from oversight.transcript import Belief

Outcome = Decided | Said | Skipped | Stopped


@dataclass
class Ruled(Front):
    """A person who gives each label a probability by a rule, and notes what they were shown."""

    rule: Callable[[Asked], Outcome]
    credence: Callable[[Asked, int], tuple[float, ...] | None] = lambda asked, after: (0.5, 0.5)
    asked: list[Asked] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    feedback: list[Feedback | None] = field(default_factory=list)
    most: int = 10_000
    """Items after which the person stops."""
    patience: float | None = None
    """Seconds after which the person stops waiting; None for ever."""

    async def choose(self, asked: Asked, place: Place, keep: Keep) -> Decided | Skipped | Stopped:
        self.asked.append(asked)
        self.places.append(place)
        first = max([asked.seen, *(one.after for one in asked.beliefs)])
        for after in range(first + 1, len(asked.request.view.turns)):
            stated = self.credence(asked, after)
            if stated is None:
                return Stopped()
            keep.belief(Belief(after, stated, 1.5))
        outcome = self.rule(asked)
        assert not isinstance(outcome, Said)
        return outcome

    async def speak(self, asked: Asked, place: Place, keep: Keep) -> Said | Skipped | Stopped:
        self.asked.append(asked)
        self.places.append(place)
        outcome = self.rule(asked)
        assert not isinstance(outcome, Decided)
        return outcome

    async def wait(self, for_what: str, ready: Awaitable[object], place: Place) -> bool:
        done, _ = await asyncio.wait([asyncio.ensure_future(ready)], timeout=self.patience)
        return bool(done)

    async def rest(self, place: Place, feedback: Feedback | None) -> bool:
        self.feedback.append(feedback)
        return len(self.feedback) < self.most


def sure_of(text: str) -> Callable[[Asked], Outcome]:
    """A rule: 0.9 for the answer of that text, where there is one, else for the first that is listed."""

    def rule(asked: Asked) -> Outcome:
        view = asked.request.view
        if not isinstance(asked.request, Choose):
            return Said(f"{view.speaker} speaks: {view.position}", 2.0)
        labels = [answer.label for answer in view.answers]
        chosen = next((answer.label for answer in view.answers if answer.text == text), asked.order[0])
        rest = 0.1 / (len(labels) - 1)
        return Decided({label: 0.9 if label == chosen else rest for label in labels}, "I think so", 3.0)

    return rule
