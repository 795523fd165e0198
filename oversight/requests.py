"""What an agent can be asked, and what it answers.

Models, engines, scripts and people answer the same typed requests, so a protocol never asks who it is
talking to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .identity import digest
from .limits import Limits
from .numbered import read_parts, read_steps
from .transcript import Belief, Consulted, Elicitation, Reading, Usage
from .views import View

__all__ = ["FAILS", "HOLDS", "Choice", "Choose", "Request", "Speak", "Speech", "Stakes"]

HOLDS, FAILS = "holds", "fails"
"""The labels of what a check of a step can come to."""


@dataclass(frozen=True)
class Request:
    """A request to take one turn.

    Parameters
    ----------
    view : what the agent may see.
    seed : seed for the agent's own chance moves.  It depends on the question, the role, the answer
        defended and the number of the turn, never on what was said, so that compared arms share their
        chance moves and luck cannot be searched for.
    sample : index of the sample, so that repeated requests of the same content are separate draws.
    draw : which of the turn's own draws this is (the seat, where several have one view; the candidate; the try);
        empty for the only one.
    thinks : whether the agent is to reason in private first; None leaves it to the agent.
    """

    view: View
    seed: int = 0
    sample: int = 0
    draw: tuple[int, ...] = ()
    thinks: bool | None = None

    @property
    def key(self) -> str:
        """Digest of the whole request."""
        return digest([type(self).__name__, self.view.digest, self.seed, self.sample, list(self.draw), self.thinks])


@dataclass(frozen=True)
class Speak(Request):
    """Say something; answered with a :class:`Speech`.

    Parameters
    ----------
    limits : how long the speech is to be; None for no limit.
    rejected, fault : a speech that was outside the limits, and why; empty at the first try.
    form : what is said: a ``speech``; ``parts``, numbered lines with simpler questions, or ``NONE``; ``steps``, the
        numbered lines of an argument; an ``answer``, and nothing else; ``queries``, numbered lines with questions of
        the speaker's own; or a ``critique`` of the last turn, which ends in a line ``Verdict: right`` or
        ``Verdict: wrong``.
    most : of parts and steps, how many at most.
    """

    limits: Limits | None = None
    rejected: str = ""
    fault: str = ""
    form: Literal["speech", "parts", "steps", "answer", "queries", "critique"] = "speech"
    most: int = 0

    @property
    def key(self) -> str:
        limits = None if self.limits is None else self.limits.model_dump(mode="json")
        # The view's task says how many there may be.
        more = [] if self.form == "speech" else [self.form]
        return digest([super().key, limits, self.rejected, self.fault, *more])

    def fault_of(self, text: str) -> str:
        """Why a text cannot be taken for what is asked for; empty where it can."""
        if self.form == "parts":
            return read_parts(text, self.most)[1]
        return (read_steps(text, self.most)[1] if self.form == "steps" else "") or (
            self.limits.fault(text) if self.limits is not None else ""
        )


@dataclass(frozen=True)
class Stakes:
    """What going on costs a judge that decides more than once.

    Parameters
    ----------
    penalty : bits of its score that each decision to go on costs.
    gone_on : how often it has gone on already.
    left : how many decisions can follow this one; 0 for the last.
    """

    penalty: float
    gone_on: int
    left: int


@dataclass(frozen=True)
class Choose(Request):
    """Give a probability to each answer in the view; answered with a :class:`Choice`.

    Parameters
    ----------
    votes : how many separate draws the probabilities are the shares of; 0 for the agent's own way.
    of_speeches : whether what is chosen from are whole speeches: how likely their words are says nothing then.
    of_a_step : whether what is asked is if the last turn in the view follows from those before it: the answers are
        then labelled ``holds`` and ``fails``.
    stakes : what going on costs, where the verdict is not the only one.
    explains : whether the others hear the reasons that come with the choice.
    leads_on : whether anything can follow it in the episode.
    public : whether others see the probabilities.
    prefers : whether what is asked is which answer is better, and not which is correct.
    """

    votes: int = 0
    of_speeches: bool = False
    of_a_step: bool = False
    stakes: Stakes | None = None
    explains: bool = False
    leads_on: bool = False
    public: bool = False
    prefers: bool = False

    @property
    def key(self) -> str:
        # The rest is for people, whose replies are not found by their requests.
        return digest([super().key, self.votes, self.of_speeches, *(["step"] if self.of_a_step else [])])


@dataclass(frozen=True)
class Speech:
    """A public contribution.

    Parameters
    ----------
    text : what everyone who hears the speaker sees; quotations between ``<quote>`` and ``</quote>``.
    reasoning : private; only the same seat sees it later.
    usage : what the speech cost.
    notes : remarks for the record.
    seconds : how long a person took; 0 for everybody else.
    by : who it was, where that is not the agent that was asked: a person.
    """

    text: str
    reasoning: str = ""
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    by: str = ""


@dataclass(frozen=True)
class Choice:
    """A probability for each answer.

    Parameters
    ----------
    probabilities : label to probability in [0, 1], for every label in the view, summing to 1.
    elicitation : where the probabilities come from.
    reasoning : the chooser's private reasons.
    usage : what the choice cost.
    notes : remarks for the record.
    readings : what the probabilities are the mean of, where it is more than one reading.
    beliefs : what a person believed on the way.
    consulted : the judges of a cascade that were asked.
    seconds : how long a person took; 0 for everybody else.
    stops : whether a person ends the episode with this; None leaves it to the protocol's rule.
    by : who it was, where that is not the agent that was asked: a person.
    """

    probabilities: Mapping[str, float]
    elicitation: Elicitation
    reasoning: str = ""
    usage: Usage = field(default_factory=Usage)
    notes: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()
    beliefs: tuple[Belief, ...] = ()
    consulted: tuple[Consulted, ...] = ()
    seconds: float = 0.0
    stops: bool | None = None
    by: str = ""
