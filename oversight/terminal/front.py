"""What a session asks of the terminal, whichever way the terminal shows it.

The session decides what is asked and keeps what is answered; a :class:`Front` shows it and reads the keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from typing import Protocol as Interface

from ..requests import Choose, Speak
from ..transcript import Belief

__all__ = [
    "Asked",
    "Band",
    "Decided",
    "Feedback",
    "Front",
    "Keep",
    "Place",
    "Said",
    "Skipped",
    "Stopped",
]


@dataclass(frozen=True)
class Place:
    """Where in the session a person is.

    Parameters
    ----------
    number : of the item, from 1, counting what this person has finished in earlier sessions.
    waiting : items that wait for this person after it; None while that is not known.
    """

    number: int
    waiting: int | None = None


@dataclass(frozen=True)
class Asked:
    """One request as it is put to a person.

    Parameters
    ----------
    request : what is asked.  Its view is all that may be shown.
    order : the labels of the answers in the order drawn for this person, in which they are listed.
    seen : how many of the view's turns the person was shown in an earlier request of the same episode.
    beliefs : what the person stated on this request before the session was interrupted, in order.
    before : what the person stated last in the episode, a probability for each of the view's answers; empty where
        nothing was asked yet.
    draft : what the person had written before the session was interrupted.
    notes : the person's notes on this episode.
    reading : ``stepped`` shows one turn after another and asks after each; ``whole`` shows them all and asks once.
    seconds : for how long the transcript may be read, where that is limited; None for no limit.
    """

    request: Choose | Speak
    order: tuple[str, ...]
    seen: int = 0
    beliefs: tuple[Belief, ...] = ()
    before: tuple[float, ...] = ()
    draft: str = ""
    notes: tuple[str, ...] = ()
    reading: Literal["stepped", "whole"] = "stepped"
    seconds: float | None = None


class Keep(Interface):
    """Where what a person does is made durable; each returns when it is on disk."""

    def belief(self, belief: Belief) -> None:
        """A credence on the way to the verdict."""

    def note(self, text: str) -> None:
        """A note on the episode."""

    def draft(self, text: str) -> None:
        """What is being written, so that it outlives the process."""


@dataclass(frozen=True)
class Decided:
    """A verdict: a probability for each label, and what came with it.

    Parameters
    ----------
    probabilities : by label, summing to 1.
    reason : why; empty where the person gave none.
    seconds : how long the person took for this request in this session.
    stops : whether the person ends the episode; None where that was not theirs to decide.
    """

    probabilities: Mapping[str, float]
    reason: str = ""
    seconds: float = 0.0
    stops: bool | None = None


@dataclass(frozen=True)
class Said:
    """A speech."""

    text: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Skipped:
    """The person gives the item up, for a reason."""

    reason: str


@dataclass(frozen=True)
class Stopped:
    """The person ends the session; everything that was stated is kept."""


@dataclass(frozen=True)
class Band:
    """Verdicts of one band of confidence in the likelier answer.

    Parameters
    ----------
    low, high : the band, in [0, 1].
    count : verdicts in it.
    right : how many of them were right, a tie counting as its share.
    """

    low: float
    high: float
    count: int
    right: float


@dataclass(frozen=True)
class Feedback:
    """What a person is told after a verdict is committed, where feedback was asked for.

    Parameters
    ----------
    label, answer : the correct answer.
    probability : what the person gave it.
    score : log2 of that probability, in bits; 0 is best.
    paid : what decisions to go on cost, in bits; 0 where they cost nothing.
    count : verdicts of this person so far.
    accuracy : share of them that were right.
    mean_score : mean of their scores, in bits.
    brier : mean Brier score, 0 is best.
    bands : accuracy by band of confidence.
    """

    label: str
    answer: str
    probability: float
    score: float
    paid: float
    count: int
    accuracy: float
    mean_score: float
    brier: float
    bands: Sequence[Band] = field(default=())


class Front(ABC):
    """The terminal as a session sees it."""

    async def __aenter__(self) -> Front:
        """Take the terminal."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Give the terminal back as it was."""

    @abstractmethod
    async def choose(self, asked: Asked, place: Place, keep: Keep) -> Decided | Skipped | Stopped:
        """Show what is new, ask for a credence after each new turn, and for the verdict after the last."""

    @abstractmethod
    async def speak(self, asked: Asked, place: Place, keep: Keep) -> Said | Skipped | Stopped:
        """Show what there is, and take a speech within the limits of the request."""

    @abstractmethod
    async def wait(self, for_what: str, ready: Awaitable[object], place: Place) -> bool:
        """Show that something is being waited for until it is there; False where the person stops instead."""

    @abstractmethod
    async def rest(self, place: Place, feedback: Feedback | None) -> bool:
        """Between two items, after the verdict is kept; False where the person stops."""
