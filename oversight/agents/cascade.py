"""A cascade of judges: the cheapest first, each deciding what it is sure enough of, the rest handed on.

How sure is sure enough is calibrated (:mod:`oversight.analysis.escalation`), so that with a stated probability at most
a stated share of what the judges decide is wrong.

References
----------
Jung, Brahman and Choi 2024, Trust or Escalate: LLM Judges with Provable Guarantees for Human Agreement
(arXiv:2407.18370).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from ..errors import Abstained, CannotSpeak, ConfigurationError
from ..requests import Choice, Choose, Speak, Speech
from ..together import gather_all
from ..transcript import Consulted, Reading, Usage
from .base import Agent
from .composite import Ask, CompositeAgent, asked_to_choose, asked_to_speak
from .proxies import Proxy

__all__ = ["CascadeAgent", "CascadeOptions", "Permit"]

Permit = Callable[[Choose, tuple[Consulted, ...]], Awaitable[bool]]
"""Whether a person may be asked this, after what the judges gave."""


class CascadeOptions(BaseModel):
    """How a cascade is calibrated and asks: the options of ``cascade(a,b,human,option=value)``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    risk: float = Field(default=0.1, gt=0, lt=1, description="largest share of wrong verdicts among those by judges")
    delta: float = Field(
        default=0.1, gt=0, lt=1, description="chance, over the calibration items, that the share is larger after all"
    )
    annotators: int = Field(default=1, ge=1, description="draws of each judge that its confidence is the mean of")
    calibration: str | None = Field(
        default=None, description="CSV file of calibration items (judge,question,confidence,right); by default some of "
        "the run's own questions are held out for it",
    )  # fmt: skip
    least: int = Field(
        default=30,
        ge=1,
        description="fewest calibration items that a threshold rests on; more of them allow for an error among the "
        "surest (at a risk and delta of 0.1, 30 allow for none and 65 for three)",
    )
    held_out: float = Field(
        default=0.5, gt=0, lt=1, description="share of the sources whose questions are held out for calibration"
    )


class CascadeAgent(CompositeAgent):
    """Judges in order, and perhaps a person: the first that is sure enough decides.

    A judge's confidence is the largest of its mean probabilities over ``annotators`` draws; it decides where that is
    at least its threshold.  A judge without a feasible threshold is asked, for the record, and decides nothing.  What
    no judge decides goes to the person, ``human`` or a stand-in, if that is the last member; otherwise, and where the
    person may not be asked, the cascade abstains.  Several draws differ only where the judge draws at all: a language
    model at ``choosing_temperature=0`` gives the same one each time.

    Parameters
    ----------
    name : the agent as it is named on the command line and in records.
    members : the judges, in order; the last may be a person or a :class:`Proxy`.
    options : how it is calibrated and asks.
    changes : single options, in place of ``options`` or changing them.

    Raises
    ------
    ConfigurationError
        if there is no judge, a person or a cascade stands where a judge must, or two members have one name.
    pydantic.ValidationError
        if an option is unknown or out of its range.
    """

    def __init__(
        self, name: str, members: Sequence[Agent], options: CascadeOptions | None = None, **changes: Any
    ) -> None:
        super().__init__(name, members)
        self.options = CascadeOptions.model_validate({**(options.model_dump() if options else {}), **changes})
        self.thresholds: tuple[float | None, ...] | None = None
        """The confidence from which each judge decides; None within where none is feasible."""
        self.permit: Permit | None = None
        """Asked before the person is; None where the person may always be asked."""
        self.measures = False
        """Whether it asks every judge and no person, and decides nothing: for calibration."""
        if not self.judges:
            raise ConfigurationError(f"{name}: a cascade needs a judge before the person: cascade(JUDGE,...,human)")
        for judge in self.judges:
            if _is_person(judge):
                raise ConfigurationError(f"{name}: {judge.name} stands for a person, who comes last: move it there")
            if isinstance(judge, CascadeAgent):
                raise ConfigurationError(f"{name}: {judge.name} is a cascade itself: name its judges in this one")
        names = [member.name for member in self.members]
        for one in names:
            if names.count(one) > 1:
                raise ConfigurationError(f"{name}: {one} is named twice: each member has thresholds of its own name")

    @property
    def person(self) -> Agent | None:
        """The last member, if it is a person or a stand-in for one: it decides whatever reaches it."""
        return self.members[-1] if self.members and _is_person(self.members[-1]) else None

    @property
    def judges(self) -> tuple[Agent, ...]:
        """The members that decide what they are sure of."""
        return self.members[:-1] if self.person is not None else self.members

    @property
    def calibrates_in_a_run(self) -> bool:
        """Whether it needs questions of a run for its calibration: it has neither a file nor thresholds."""
        return self.options.calibration is None and self.thresholds is None

    def with_thresholds(self, thresholds: Sequence[float | None]) -> Self:
        """The calibrated cascade.

        Parameters
        ----------
        thresholds : one for each judge, in [0, 1]; None where none is feasible.

        Raises
        ------
        ConfigurationError
            if there is not one for each judge, or one is no probability.
        """
        if len(thresholds) != len(self.judges):
            raise ConfigurationError(f"{self.name} has {len(self.judges)} judges: give a threshold for each")
        for one in thresholds:
            if one is not None and not 0 <= one <= 1 + 1e-6:  # confidences are rounded sums
                raise ConfigurationError(f"{self.name}: threshold {one} is not between 0 and 1")
        changed = copy.copy(self)
        changed.thresholds, changed.measures = tuple(thresholds), False
        return changed

    def with_permit(self, permit: Permit | None) -> Self:
        """The same cascade, which asks ``permit`` before the person."""
        changed = copy.copy(self)
        changed.permit = permit
        return changed

    def for_calibration(self) -> Self:
        """The same cascade asking every judge and no person; the choice is the last judge's, and decides nothing."""
        changed = copy.copy(self)
        changed.thresholds, changed.measures = None, True
        return changed

    def describe(self) -> dict[str, Any]:
        """As for any agent, with the thresholds once there are some: another calibration makes another agent."""
        return {
            **super().describe(),
            "cascade": self.options.model_dump(mode="json"),
            **({} if self.thresholds is None else {"thresholds": list(self.thresholds)}),
            **({"measures": True} if self.measures else {}),
        }

    async def consult(self, request: Speak | Choose, ask: Ask) -> Speech | Choice:
        if isinstance(request, Speak):
            return await self._speaks(request, ask)
        if self.thresholds is None and not self.measures:
            raise ConfigurationError(
                f"{self.name} is not calibrated, so no verdict of it can be trusted: calibrate it in a run, or call "
                "with_thresholds"
            )
        thresholds = self.thresholds or (None,) * len(self.judges)
        consulted: list[Consulted] = []
        paid = Usage()
        choice: Choice | None = None
        for judge, threshold in zip(self.judges, thresholds, strict=True):
            choice = await self._verdict(judge, request, ask)
            paid += choice.usage
            confidence = max(choice.probabilities.values())
            decides = threshold is not None and confidence >= threshold
            consulted.append(Consulted(judge.name, _in_view(request, choice), threshold, decides))
            if decides:
                gave, needed = _apart(confidence, threshold)
                note = f"decided by {judge.name} ({gave}, from {needed} on)"
                return replace(choice, usage=paid, consulted=tuple(consulted), notes=(*choice.notes, note))
        if self.measures:
            assert choice is not None
            note = "asked for calibration: no judge decides"
            return replace(choice, usage=paid, consulted=tuple(consulted), notes=(*choice.notes, note))
        person = self.person
        if person is None:
            raise Abstained(_abstained(consulted))
        if not await self.may_escalate(request, tuple(consulted)):
            raise Abstained(f"{_abstained(consulted)}: beyond the human budget")
        choice = await asked_to_choose(ask, person, request)
        consulted.append(Consulted(person.name, _in_view(request, choice), None, True))
        return replace(
            choice,
            usage=paid + choice.usage,
            consulted=tuple(consulted),
            notes=(*choice.notes, f"escalated to {person.name}"),
        )

    async def may_escalate(self, request: Choose, consulted: tuple[Consulted, ...]) -> bool:
        """Whether the person may be asked; ``permit`` says so where there is one."""
        return self.permit is None or await self.permit(request, consulted)

    async def _verdict(self, judge: Agent, request: Choose, ask: Ask) -> Choice:
        """A judge's verdict: the mean of its draws."""
        draws = self.options.annotators
        if draws == 1:
            return await asked_to_choose(ask, judge, request)
        drawn = await gather_all(
            [asked_to_choose(ask, judge, replace(request, draw=(*request.draw, number))) for number in range(draws)]
        )
        labels = [answer.label for answer in request.view.answers]
        readings: list[Reading] = []
        for one in drawn:
            whole = Reading(
                request.view.options,
                tuple(one.probabilities[label] for label in request.view.options),
                one.elicitation,
                one.reasoning,
            )
            readings += one.readings or [whole]
        ways = list(dict.fromkeys(one.elicitation for one in drawn))
        mixed = (f"the draws of {judge.name} were read in different ways: {', '.join(ways)}",) if ways[1:] else ()
        return Choice(
            probabilities={label: math.fsum(one.probabilities[label] for one in drawn) / draws for label in labels},
            elicitation=drawn[0].elicitation,
            reasoning=drawn[0].reasoning,
            usage=sum((one.usage for one in drawn), Usage()),
            notes=tuple(dict.fromkeys([*(note for one in drawn for note in one.notes), *mixed])),
            readings=tuple(readings),
        )

    async def _speaks(self, request: Speak, ask: Ask) -> Speech:
        """What the first judge that can speak says: a person is asked for verdicts alone."""
        unable: CannotSpeak | None = None
        for judge in self.judges:
            try:
                return await asked_to_speak(ask, judge, request)
            except CannotSpeak as failure:
                unable = unable or failure
        assert unable is not None
        raise unable


def _is_person(agent: Agent) -> bool:
    return isinstance(agent, Proxy) or (agent.asks_people and not isinstance(agent, CompositeAgent))


def _in_view(request: Choose, choice: Choice) -> tuple[float, ...]:
    """The probabilities in the order of the view's answers."""
    return tuple(choice.probabilities[answer.label] for answer in request.view.answers)


def _abstained(consulted: Sequence[Consulted]) -> str:
    """Why nobody decided, in one line."""
    gave = []
    for number, one in enumerate(consulted):
        confidence, needed = _apart(max(one.probabilities), one.threshold)
        needs = f"needs {needed}" if needed else "no threshold is feasible"
        gave.append(f"{one.agent}{' gave' if number == 0 else ''} {confidence} ({needs})")
    return f"abstained: {', '.join(gave)}"


def _apart(confidence: float, threshold: float | None) -> tuple[str, str]:
    """Both numbers with as many digits as tell them apart, two at least; an empty text for no threshold."""
    if threshold is None:
        return f"{confidence:.2f}", ""
    digits = next((n for n in range(2, 16) if f"{confidence:.{n}f}" != f"{threshold:.{n}f}"), 2)
    return f"{confidence:.{digits}f}", f"{threshold:.{digits}f}"
