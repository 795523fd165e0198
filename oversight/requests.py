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
from .transcript import Belief, Consulted, Elicitation, Reading, Usage
from .views import View

__all__ = ["Choice", "Choose", "Request", "Speak", "Speech", "Stakes"]


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
    form : what is said: a ``speech``; ``parts``, numbered lines with simpler questions, or ``NONE``; an ``answer``,
        and nothing else; ``queries``, numbered lines with questions of the speaker's own; or a ``critique`` of the last
        turn, which ends in a line ``Verdict: right`` or ``Verdict: wrong``.
    """

    limits: Limits | None = None
    rejected: str = ""
    fault: str = ""
    form: Literal["speech", "parts", "answer", "queries", "critique"] = "speech"

    @property
    def key(self) -> str:
        limits = None if self.limits is None else self.limits.model_dump(mode="json")
        more = [] if self.form == "speech" else [self.form]
        return digest([super().key, limits, self.rejected, self.fault, *more])


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
    stakes : what going on costs, where the verdict is not the only one.
    explains : whether the others hear the reasons that come with the choice.
    leads_on : whether anything can follow it in the episode.
    public : whether others see the probabilities.
    """

    votes: int = 0
    of_speeches: bool = False
    stakes: Stakes | None = None
    explains: bool = False
    leads_on: bool = False
    public: bool = False

    @property
    def key(self) -> str:
        # The rest is for people, whose replies are not found by their requests.
        return digest([super().key, self.votes, self.of_speeches])


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
