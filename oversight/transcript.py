"""What is said: turns, their sequence, and the verdict they end in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "Belief",
    "Candidate",
    "Consulted",
    "Elicitation",
    "Quote",
    "Reading",
    "Transcript",
    "Turn",
    "Usage",
    "Verdict",
]

Elicitation = Literal[
    "log-probabilities", "text log-probabilities", "stated confidence", "votes", "engine", "script", "person", "proxy"
]
"""Where probabilities come from; each is a measured capability of its own.

``log-probabilities`` are those of the answers' labels where the reply names one, ``text log-probabilities`` those of
the answers' whole texts in the place of the reply.  A ``proxy`` stands for a person and errs as it is told to.
"""


@dataclass(frozen=True)
class Usage:
    """What a turn cost.

    Parameters
    ----------
    calls : model calls made.
    input_tokens, output_tokens : tokens, as the endpoint counted them.
    dollars : price in US dollars; None where a price is not known.
    retries : tries that failed before the calls were answered.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    dollars: float | None = 0.0
    retries: int = 0

    def __add__(self, other: Usage) -> Usage:
        known = self.dollars is not None and other.dollars is not None
        return Usage(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            (self.dollars or 0.0) + (other.dollars or 0.0) if known else None,
            self.retries + other.retries,
        )

    def to_dict(self) -> dict[str, Any]:
        """The usage as JSON values, retries left out where there were none; ``Usage(**values)`` gives it back."""
        return {name: value for name, value in vars(self).items() if name != "retries" or value}


@dataclass(frozen=True)
class Quote:
    """A quotation marked in a speech.

    Parameters
    ----------
    start, end : character span in the turn's text, tags included.
    text : the words quoted.
    verified : whether they stand in the hidden material (normalised, whole words).
    """

    start: int
    end: int
    text: str
    verified: bool


@dataclass(frozen=True)
class Candidate:
    """A speech that was written for a turn, chosen or not.

    Parameters
    ----------
    text, reasoning : as in a turn.
    chosen : whether it became the turn.
    score : what it was ranked by, a probability in [0, 1]; None where nothing ranked it.
    fault : what put it outside the limits of the turn; empty inside.
    draft, critique : what it was before it was written again, and what a critic said of that; empty where nobody was
        asked.
    """

    text: str
    reasoning: str = ""
    chosen: bool = False
    score: float | None = None
    fault: str = ""
    draft: str = ""
    critique: str = ""


@dataclass(frozen=True)
class Reading:
    """One of the readings that a verdict is the mean of: the same question with its options in one order.

    Parameters
    ----------
    options : labels in the order in which they were offered.
    probabilities : a probability for each of them, in the same order.
    elicitation : where they come from.
    reasoning : the private reasons given.
    """

    options: tuple[str, ...]
    probabilities: tuple[float, ...]
    elicitation: Elicitation
    reasoning: str = ""


@dataclass(frozen=True)
class Belief:
    """What a person believed on the way to a verdict.

    Parameters
    ----------
    after : how many of the turns that the verdict was asked on had been shown by then.
    probabilities : one for each answer: in a turn in the question's order, in a choice in that of the view.
    seconds : how long the person looked at what was new, in this session.
    """

    after: int
    probabilities: tuple[float, ...]
    seconds: float = 0.0


@dataclass(frozen=True)
class Consulted:
    """What one judge of a cascade gave.

    Parameters
    ----------
    agent : its name.
    probabilities : one for each answer: in a turn in the question's order, in a choice in that of the view.
    threshold : the confidence from which it decides; None where no threshold is feasible.
    decided : whether its verdict was taken.
    """

    agent: str
    probabilities: tuple[float, ...]
    threshold: float | None = None
    decided: bool = False


@dataclass(frozen=True)
class Turn:
    """One contribution to an episode.

    Parameters
    ----------
    step : the step of the protocol's graph that made it.
    seat : who took it: the role and, where there are several, its number (``debater 1``).
    role : the role's name.
    kind : ``speech``; ``claim`` (a position stated in public); ``verdict`` (private to its seat); ``solution`` (the
        tree of a question that was split).
    text : what was said in public.
    reasoning : private reasoning, seen by nobody but the same seat later on.
    quotes : quotations in ``text``, each checked.
    answer : index of the answer argued for or claimed; None where there is none.
    probabilities : for a claim or verdict, a probability for each answer, in the question's order.
    elicitation : where the probabilities come from.
    agent : the agent that took the turn; recorded, never shown to another role.
    usage : what it cost.
    notes : what the reader of a record should know (``reply cut at the token limit``).
    private : whether a speech is for its own seat alone (a draft, a critique of it).
    candidates : every speech that was written for the turn, in order, where there was more than one.
    readings : the readings that ``probabilities`` is the mean of, where there is more than one; of a person's, the
        one, with the order in which the answers were offered.
    beliefs : what a person believed on the way.
    consulted : the judges of a cascade that were asked, in order.
    seconds : how long a person took; 0 for everybody else.
    stops : whether a person ends the episode with this verdict; None leaves it to the protocol's rule.
    tree : of a solution, or of a verdict that is put together from checks, the tree as
        :meth:`oversight.tree.Node.to_dict` writes it.
    """

    step: str
    seat: str
    role: str
    kind: Literal["speech", "claim", "verdict", "solution"]
    text: str = ""
    reasoning: str = ""
    quotes: tuple[Quote, ...] = ()
    answer: int | None = None
    probabilities: tuple[float, ...] | None = None
    elicitation: Elicitation | None = None
    agent: str = ""
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()
    private: bool = False
    candidates: tuple[Candidate, ...] = ()
    readings: tuple[Reading, ...] = ()
    beliefs: tuple[Belief, ...] = ()
    consulted: tuple[Consulted, ...] = ()
    seconds: float = 0.0
    stops: bool | None = None
    tree: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The turn as JSON values, defaults left out; :meth:`from_dict` gives it back."""
        full = dict(vars(self))
        full["quotes"] = [dict(vars(quote)) for quote in self.quotes]
        full["usage"] = self.usage.to_dict()
        full["candidates"] = [
            {name: value for name, value in vars(one).items() if value or name not in ("draft", "critique")}
            for one in self.candidates
        ]
        full["readings"] = [
            {**vars(one), "options": list(one.options), "probabilities": list(one.probabilities)}
            for one in self.readings
        ]
        for several in ("beliefs", "consulted"):
            full[several] = [{**vars(one), "probabilities": list(one.probabilities)} for one in full[several]]
        if self.stops is None:
            del full["stops"]
        if not self.seconds:
            del full["seconds"]
        for name in _LEFT_OUT_IF_EMPTY:
            if full[name] is None or full[name] is False or full[name] in ("", [], ()):
                del full[name]
            elif isinstance(full[name], tuple):
                full[name] = list(full[name])
        if self.usage == Usage():
            del full["usage"]
        return full

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Turn:
        """The turn that :meth:`to_dict` wrote."""
        known = dict(values)
        known["quotes"] = tuple(Quote(**quote) for quote in known.get("quotes", ()))
        known["usage"] = Usage(**known.get("usage", {}))
        known["notes"] = tuple(known.get("notes", ()))
        known["candidates"] = tuple(Candidate(**candidate) for candidate in known.get("candidates", ()))
        known["readings"] = tuple(reading_from_dict(reading) for reading in known.get("readings", ()))
        known["beliefs"] = tuple(map(belief_from_dict, known.get("beliefs", ())))
        known["consulted"] = tuple(map(consulted_from_dict, known.get("consulted", ())))
        if known.get("probabilities") is not None:
            known["probabilities"] = tuple(known["probabilities"])
        return cls(**known)


_LEFT_OUT_IF_EMPTY = (
    "quotes",
    "text",
    "reasoning",
    "answer",
    "probabilities",
    "elicitation",
    "notes",
    "private",
    "candidates",
    "readings",
    "beliefs",
    "consulted",
    "tree",
)


def reading_from_dict(values: Mapping[str, Any]) -> Reading:
    """A reading from JSON values."""
    return Reading(
        tuple(values["options"]), tuple(values["probabilities"]), values["elicitation"], values.get("reasoning", "")
    )


def belief_from_dict(values: Mapping[str, Any]) -> Belief:
    """A belief from JSON values."""
    return Belief(values["after"], tuple(values["probabilities"]), values.get("seconds", 0.0))


def consulted_from_dict(values: Mapping[str, Any]) -> Consulted:
    """What a judge of a cascade gave, from JSON values."""
    return Consulted(
        values["agent"], tuple(values["probabilities"]), values.get("threshold"), values.get("decided", False)
    )


Transcript = Sequence[Turn]
"""The turns of an episode, in the order of the protocol's graph."""


@dataclass(frozen=True)
class Verdict:
    """A probability for each answer, or unscored with a reason.

    Parameters
    ----------
    probabilities : one for each answer in the question's order, summing to 1; None when unscored.
    elicitation : where they come from.
    reason : why the verdict is unscored; empty otherwise.
    """

    probabilities: tuple[float, ...] | None
    elicitation: Elicitation | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.probabilities is None:
            if not self.reason:
                raise ValueError("an unscored verdict states its reason")
            return
        if any(not math.isfinite(p) or p < 0 for p in self.probabilities) or not math.isclose(
            sum(self.probabilities), 1.0, abs_tol=1e-6
        ):
            raise ValueError(f"probabilities {self.probabilities} are not a distribution")

    @property
    def scored(self) -> bool:
        """Whether there is a verdict to score."""
        return self.probabilities is not None

    def credit(self, correct: int) -> float:
        """1 if the correct answer is the likeliest, 1/k if it ties with k - 1 others, else 0; NaN when unscored.

        The tie rule is the expected accuracy of a judge that breaks ties by a fair draw.
        """
        if self.probabilities is None:
            return math.nan
        top = max(self.probabilities)
        winners = [index for index, p in enumerate(self.probabilities) if math.isclose(p, top, abs_tol=1e-9)]
        return 1.0 / len(winners) if correct in winners else 0.0
