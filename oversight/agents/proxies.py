"""Stand-ins for a person who oversees: they judge by a rule, and err in one known way at a known rate.

What a protocol, or a cascade that ends in a person, would do with a flawed overseer can be measured with them before
anybody's time is spent.  All chance follows from the request's seed and the question, so that a run can be repeated.

The flaws are parametric, one a stand-in: verdicts flipped at random, as Gao et al. 2024 (Bayesian Calibration of Win
Rate Estimation with LLM Evaluators) take a noisy judge to be; the option that is offered first, and the side that
says more, as Zheng et al. 2023 (Judging LLM-as-a-Judge) found judges to prefer; and not reading at all.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from ..errors import CannotSpeak, ConfigurationError, TurnFailed
from ..identity import seed_from
from ..requests import Choice, Choose, Request, Speak, Speech
from ..views import View
from .base import Agent
from .composite import Ask, CompositeAgent, asked_to_choose, asked_to_speak

if TYPE_CHECKING:
    from ..questions import Question

__all__ = [
    "PROXIES",
    "AnswerKey",
    "LengthBiased",
    "Negligent",
    "Noisy",
    "PositionBiased",
    "Proxy",
    "ProxyOptions",
]

NEUTRAL_QUESTION = "Which evidence supports your answer most, and what is the best argument against it?"
"""What a stand-in asks a speaker where its judge cannot speak: it leads to no answer."""


class ProxyOptions(BaseModel):
    """How a stand-in errs: the options of ``proxy/NAME(option=value)``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(ge=0, le=1, description="chance of erring at a verdict; may stand without its name")
    judge: str | None = Field(
        default=None, description="agent whose verdict it gives where it does not err; by default the answer key"
    )
    confidence: float = Field(
        default=0.9, gt=0.5, le=1, description="probability of the answer that it takes, by the answer key or in error"
    )


class AnswerKey(Agent):
    """An overseer who knows the right answers: it is told them before the run, and sees none in any view.

    The key is kept by the public texts of question and answers; it is no part of :meth:`describe`, so that neither
    run directories nor whoever reads the agent's description hold it.

    Parameters
    ----------
    confidence : probability that it gives to the right answer, in (0.5, 1]; the others share the rest.
    """

    # It costs nothing, and a key in the journal could outlive the questions it was made for.
    journals_calls = True

    def __init__(self, confidence: float = 0.9) -> None:
        super().__init__("answer key")
        if not 0.5 < confidence <= 1:
            raise ConfigurationError(f"answer key: confidence {confidence}: give a number above 0.5, and at most 1")
        self.confidence = confidence
        self._right: dict[tuple[str, tuple[str, ...]], str] = {}

    def describe(self) -> dict[str, Any]:
        return {"agent": self.name, "confidence": self.confidence}

    def learn(self, questions: Sequence[Question]) -> None:
        """Take in the truth of these questions, beside what is known.

        Raises
        ------
        ConfigurationError
            if two questions read the same, answers included, and have different right answers.
        """
        for question in questions:
            key = (question.text, tuple(sorted(question.answers)))
            right = question.answers[question.correct]
            if self._right.setdefault(key, right) != right:
                raise ConfigurationError(
                    f"question {question.id!r} reads like another one that has a different right answer, so an answer "
                    "key cannot tell them apart: leave one out, or give the proxy a judge=NAME"
                )

    async def choose(self, request: Choose) -> Choice:
        view = request.view
        key = (view.question, tuple(sorted(answer.text for answer in view.answers)))
        if key not in self._right:
            raise TurnFailed(
                f"the answer key has no answer to {_shortened(view.question)!r}: give the proxy a judge=NAME"
            )
        return Choice(_sure_of(view, self._right[key], self.confidence), "proxy")


class Proxy(CompositeAgent):
    """A stand-in for a person: the verdict of its judge, but for the errors of its kind.

    Whether it errs depends on the question, the run's seed, the sample and the number of the turn, and neither on
    labels nor on the order of options; at a higher rate it errs wherever it did at a lower one.

    Parameters
    ----------
    options : how it errs.
    judge : whose verdict it gives where it does not err; by default an :class:`AnswerKey`.
    name : its name; by default that of its kind with its rate.
    changes : single options, in place of ``options`` or changing them.

    Raises
    ------
    pydantic.ValidationError
        if an option is unknown or out of its range.
    """

    kind = ""
    """The word after ``proxy/``."""

    rate = 0.5
    """Chance of erring where none is given."""

    def __init__(
        self, options: ProxyOptions | None = None, judge: Agent | None = None, name: str | None = None, **changes: Any
    ) -> None:
        given = {"rate": self.rate, **(options.model_dump() if options else {}), **changes}
        self.options = ProxyOptions.model_validate(given)
        super().__init__(
            name or f"proxy/{self.kind}({self.options.rate:g})", [judge or AnswerKey(self.options.confidence)]
        )

    # ---- override these -------------------------------------------------------------------------

    async def errs(self, request: Choose, ask: Ask, chance: random.Random) -> Choice | None:
        """The verdict of a turn at which it errs; None where its error has nothing to go by, so that it judges."""
        raise NotImplementedError

    # ---- machinery ------------------------------------------------------------------------------

    @property
    def judge(self) -> Agent:
        """Whose verdict it gives where it does not err."""
        return self.members[0]

    def describe(self) -> dict[str, Any]:
        options = self.options.model_dump(mode="json")
        return {**super().describe(), "proxy": self.kind, **options}

    async def consult(self, request: Speak | Choose, ask: Ask) -> Speech | Choice:
        if isinstance(request, Speak):
            return await self._speaks(request, ask)
        chance = self.chance_of(request)
        if chance.random() < self.options.rate:
            erred = await self.errs(request, ask, chance)
            if erred is not None:
                return replace(erred, elicitation="proxy")
        return replace(await asked_to_choose(ask, self.judge, request), elicitation="proxy")

    def chance_of(self, request: Request) -> random.Random:
        """The chance moves at a request: by its content, never by labels or the order of answers."""
        view = request.view
        texts = sorted(answer.text for answer in view.answers)
        return random.Random(
            seed_from("proxy", self.kind, request.seed, request.sample, list(request.draw), view.question, texts)
        )

    async def _speaks(self, request: Speak, ask: Ask) -> Speech:
        try:
            return await asked_to_speak(ask, self.judge, request)
        except CannotSpeak:
            # An overseer can always ask; whoever argues for an answer or has something to show cannot be stood in for.
            if request.view.position is not None or request.view.opposed or request.view.material:
                raise
            return Speech(NEUTRAL_QUESTION)

    def _takes(self, view: View, text: str, how: str) -> Choice:
        """The verdict for the answer of that text, with a note on how it came about."""
        return Choice(_sure_of(view, text, self.options.confidence), "proxy", notes=(f"proxy erred: {how}",))


class Noisy(Proxy):
    """Flips the verdict with probability ``rate``, 0.2 by default.

    With two answers their probabilities are swapped; with more, the likeliest answer's with that of another, drawn.
    """

    kind = "noisy"
    rate = 0.2

    async def errs(self, request: Choose, ask: Ask, chance: random.Random) -> Choice | None:
        choice = await asked_to_choose(ask, self.judge, request)
        shares = dict(choice.probabilities)
        in_order = _by_text(request.view)
        likeliest = max(in_order, key=shares.__getitem__)
        other = chance.choice([label for label in in_order if label != likeliest])
        shares[likeliest], shares[other] = shares[other], shares[likeliest]
        # The readings are of the verdict before it was flipped, and would contradict it.
        return replace(choice, probabilities=shares, readings=(), notes=(*choice.notes, "proxy erred: flipped"))


class PositionBiased(Proxy):
    """Takes the option that is offered first, unread, with probability ``rate``, 0.5 by default."""

    kind = "position-biased"

    async def errs(self, request: Choose, ask: Ask, chance: random.Random) -> Choice | None:
        view = request.view
        return self._takes(view, view.answer_text(view.options[0]), "took the option offered first, unread")


class LengthBiased(Proxy):
    """Takes the answer for which most words were said with probability ``rate``, 0.5 by default; it judges a tie."""

    kind = "length-biased"

    async def errs(self, request: Choose, ask: Ask, chance: random.Random) -> Choice | None:
        view = request.view
        words = {answer.label: 0 for answer in view.answers}
        for turn in view.turns:
            if turn.label in words and not turn.private:
                words[turn.label] += len(turn.text.split())
        most = max(words.values())
        longest = [label for label, count in words.items() if count == most]
        if len(longest) > 1:
            return None
        return self._takes(view, view.answer_text(longest[0]), f"took the answer of most words ({most})")


class Negligent(Proxy):
    """Does not read, and gives a drawn answer, with probability ``rate``, 0.5 by default."""

    kind = "negligent"

    async def errs(self, request: Choose, ask: Ask, chance: random.Random) -> Choice | None:
        view = request.view
        drawn = chance.choice(_by_text(view))
        return self._takes(view, view.answer_text(drawn), "did not read, and drew an answer")


PROXIES: Mapping[str, type[Proxy]] = {one.kind: one for one in (LengthBiased, Negligent, Noisy, PositionBiased)}
"""The stand-ins by the word after ``proxy/``."""


def _by_text(view: View) -> list[str]:
    """The labels in the order of their answers' texts, which labelling does not change."""
    return [answer.label for answer in sorted(view.answers, key=lambda answer: (answer.text, answer.label))]


def _sure_of(view: View, text: str, confidence: float) -> dict[str, float]:
    """The confidence on the answer of that text, shared where several read the same, and the rest on the others."""
    taken = [answer.label for answer in view.answers if answer.text == text]
    others = len(view.answers) - len(taken)
    if not others:
        return {label: 1 / len(taken) for label in taken}
    return {
        answer.label: confidence / len(taken) if answer.label in taken else (1 - confidence) / others
        for answer in view.answers
    }


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
