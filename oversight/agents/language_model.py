"""Language models as agents: prompts out, speeches and probabilities back, read strictly."""

from __future__ import annotations

import copy
import math
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from ..errors import ConfigurationError, ContextTooLong, TurnFailed, Unparsable
from ..identity import seed_from
from ..models.base import Completion, Message, Model, ModelCall, ScoreCall, TokenProbabilities
from ..requests import Choice, Choose, Request, Speak, Speech
from ..together import gather_all
from ..transcript import Elicitation, Reading, Usage
from ..views import View
from .base import Agent
from .prompts import SpeechForm, choose_messages, clean, escape, speak_messages, text_start, unescape

__all__ = ["AgentOptions", "LanguageModelAgent"]

Parsed = TypeVar("Parsed")

_LEAST_MASS = 0.5
"""Probability that the labels must hold together for log-probabilities to count as the answer."""

_NATIVE = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_FORM = ["<thinking>", "</thinking>", "<argument>", "</argument>"]
_OUR_TAG = re.compile(r"</?(?:think|thinking|argument)>", re.IGNORECASE)

# What may stand around a word without changing it: markdown, quotation marks, brackets.  "~A", "not A" and
# "A?" say something else and are asked about again.
_BEFORE, _AFTER = r"""[\s*_`"'“(\[{<]*""", r"""[\s*_`"'”)\]}>.]*"""
_LINE = r"""^[\s*_`"'“(\[#>•-]*(?i:(?:(?:my|the|final|correct|best)\s+)*{word})[\s*_`"'”]*:"""
_ANSWER_LINE = re.compile(_LINE.format(word="answer"))
# Many models run on to the form's first line: "... so the passage supports it. Answer: A".
_ANSWER_AT_THE_END = re.compile(r".*\S\s+[*_`]*(?i:answer)[*_`]*:")
_CONFIDENCE_LINE = re.compile(_LINE.format(word="confidence"))
_PERCENT = re.compile(rf"{_BEFORE}([0-9]{{1,3}}(?:\.[0-9]+)?)\s*%{_AFTER}$")


class AgentOptions(BaseModel):
    """How a language model takes its turns: the options of ``provider/name(option=value)``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float | None = Field(
        default=None, ge=0, description="sampling temperature of speeches; none leaves it to the model"
    )
    choosing_temperature: float | None = Field(
        default=0.0, ge=0, description="sampling temperature of choices; none leaves it to the model"
    )
    voting_temperature: float | None = Field(
        default=0.7, ge=0, description="sampling temperature of votes; none leaves it to the model"
    )
    max_tokens: int = Field(default=1024, ge=1, description="most tokens of a reply")
    top_logprobs: int | None = Field(
        default=20, ge=1, description="alternatives asked for at each token of a choice; none asks for none"
    )
    reasoning: bool = Field(default=False, description="whether it thinks in private before it speaks or chooses")
    elicitation: Literal["automatic", "texts", "labels", "confidence", "votes"] = Field(
        default="automatic",
        description="where probabilities come from: log-probabilities of the answers' texts or labels, the stated "
        "confidence, or votes; automatic takes the first that the model has",
    )
    length_normalised: bool = Field(
        default=False, description="whether a text's log-probability is divided by its number of tokens"
    )
    thoughts: Literal["automatic", "together", "apart"] = Field(
        default="automatic",
        description="whether private reasoning stands in one reply with the turn, or in one of its own before it; "
        "automatic: apart for models in this process, which may be too small to hold to a form",
    )
    votes: int = Field(default=5, ge=1, description="draws that a choice by votes is the shares of")
    orders: Literal["both", "one"] = Field(
        default="both", description="whether the options are offered in both orders and the two readings averaged"
    )


class LanguageModelAgent(Agent):
    """A language model that takes turns.

    A choice is made with the options in both orders; the two readings are averaged, and both are kept.  The
    probabilities of a reading come from the first of these that the model has, or from the one that
    ``elicitation`` names:

    ``texts``       log-probabilities of the answers' whole texts in the place of the reply, from a model that
                    scores given texts (small models know answers by their texts, not by their letters);
    ``labels``      log-probabilities of the labels: scored, or those at the place of the answer in a reply, where
                    the endpoint gives them and the labels hold at least half of the mass there;
    ``confidence``  what the model states;
    ``votes``       the shares of several draws.

    A prompt that does not fit the model's window loses its oldest rounds, never the question, the answers or the
    material; how many turns were left out is in the turn's notes.

    Parameters
    ----------
    model : the model.
    name : the agent's name; the model's by default.
    options : how it takes its turns.
    changes : single options, in place of ``options`` or changing them.

    Raises
    ------
    pydantic.ValidationError
        if an option is unknown or out of its range.
    """

    journals_calls = True

    def __init__(
        self, model: Model, *, name: str | None = None, options: AgentOptions | None = None, **changes: Any
    ) -> None:
        super().__init__(name or model.name)
        self.model = model
        self.options = AgentOptions.model_validate({**(options.model_dump() if options else {}), **changes})

    def with_model(self, model: Model) -> Self:
        """The same agent over another model: one that journals its calls, or counts their cost."""
        changed = copy.copy(self)
        changed.model = model
        return changed

    def describe(self) -> dict[str, Any]:
        return {"agent": self.name, "model": self.model.describe(), **self.options.model_dump(mode="json")}

    @property
    def max_tokens(self) -> int:
        """Most tokens of a reply."""
        return self.options.max_tokens

    def calls_of_a_speech(self, thinks: bool | None = None) -> int:
        """How many calls a speech takes; asking again for what cannot be read not counted."""
        return 2 if self._apart and (self.options.reasoning if thinks is None else thinks) else 1

    def calls_of_a_choice(self, votes: int = 0, thinks: bool | None = None) -> tuple[int, int]:
        """How many calls a choice takes, and how many at most; asking again for what cannot be read not counted."""
        reasons = self.options.reasoning if thinks is None else thinks
        if votes or self.options.elicitation == "votes":
            drawn = self.model.scores_options and self.options.elicitation not in ("votes", "confidence")
            return ((2 if drawn and reasons else 1) * (votes or self.options.votes),) * 2
        orders = 2 if self.options.orders == "both" else 1
        scored = self.model.scores_options and self.options.elicitation in ("automatic", "texts", "labels")
        if scored:
            calls = orders * (2 if reasons else 1)
            return calls, calls
        return orders, orders + (self.options.votes if self.options.elicitation == "automatic" else 0)

    def require(self) -> None:
        if self.options.elicitation == "texts" and not self.model.scores_options:
            raise ConfigurationError(
                f"{self.name}: elicitation=texts needs a local model (hf/...), as endpoints do not score given texts; "
                "take labels or confidence"
            )
        asks = self.options.top_logprobs is not None or self.model.scores_options
        if self.options.elicitation == "labels" and not asks:
            raise ConfigurationError(
                f"{self.name}: elicitation=labels needs log-probabilities, and top_logprobs=none asks for none: "
                "give it a number"
            )
        self.model.require()

    async def close(self) -> None:
        await self.model.close()

    async def speak(self, request: Speak) -> Speech:
        together = self._thinks(request) and not self._apart

        def read(completion: Completion) -> tuple[str, str]:
            return _speech(completion.text, together)

        async def attempt(view: View) -> tuple[tuple[str, str], Usage, tuple[str, ...]]:
            reasons, paid, cut = "", Usage(), tuple[str, ...]()
            if self._thinks(request) and self._apart:
                asking = speak_messages(view, form="thoughts")
                reasons, paid, cut = await self._thoughts(request, asking, self.options.temperature)
            form: SpeechForm = "thoughts and speech" if together else "speech"
            messages = speak_messages(view, form=form, limits=request.limits, thoughts=reasons, asked_for=request.form)
            if request.rejected:
                messages = (*messages, *_correction(request.rejected, f"{_SPEAK_AGAIN}: {request.fault}."))
            call = self._call(request, messages, self.options.temperature, None)
            (own, text), usage, notes = await self._ask(call, read)
            return ("\n\n".join(filter(None, [reasons, own])), text), paid + usage, (*cut, *notes)

        ((reasons, text), usage, notes), left_out = await self._fitting(request.view, attempt)
        return Speech(text=text, reasoning=reasons, usage=usage, notes=tuple(dict.fromkeys((*notes, *left_out))))

    async def choose(self, request: Choose) -> Choice:
        how = "votes" if request.votes else self.options.elicitation
        if how == "automatic" and self.model.scores_options:
            how = "texts"
        if how == "texts" and request.of_speeches:
            how = "labels"
        if how == "votes":
            return await self._by_votes(request, request.votes or self.options.votes)
        offered = await gather_all([self._read(one, how) for one in self._orders(request)])
        if all(one.choice.probabilities for one in offered):
            return _mean(offered)
        cast = await self._by_votes(request, self.options.votes)
        paid = sum((one.choice.usage for one in offered), cast.usage)
        notes = [note for one in offered for note in one.choice.notes]
        return replace(
            cast, usage=paid, notes=tuple(dict.fromkeys([*notes, "no confidence stated: votes", *cast.notes]))
        )

    # ---- choices --------------------------------------------------------------------------------

    def _orders(self, request: Choose) -> list[Choose]:
        """The request with its options in each order that is asked for."""
        if self.options.orders == "one":
            return [request]
        return [request, replace(request, view=replace(request.view, options=request.view.options[::-1]))]

    async def _read(self, request: Choose, how: str) -> _Offered:
        """One reading of a choice, with the options in the order of the request."""
        scored = how == "texts" or (how == "labels" and self.model.scores_options)
        attempt = self._scored if scored else self._stated

        async def fitting(view: View) -> Choice:
            return await attempt(replace(request, view=view), how)

        choice, left_out = await self._fitting(request.view, fitting)
        return _Offered(request.view.options, replace(choice, notes=(*choice.notes, *left_out)))

    async def _scored(self, request: Choose, how: str) -> Choice:
        """Probabilities from the scores that the model gives to the options, after its reasons if it is to give any."""
        view, usage, notes = request.view, Usage(), tuple[str, ...]()
        by_text = how != "labels" and self.options.elicitation != "labels"
        reasons, start = "", text_start(view) if by_text else "Answer:"
        if self._thinks(request):
            warmth = self.options.voting_temperature if how == "votes" else self.options.choosing_temperature
            reasons, usage, notes = await self._thoughts(request, choose_messages(view, form="thoughts"), warmth)
            start = f"<thinking>{escape(reasons)}</thinking>\n{start}"
        texts = [clean(view.answer_text(label)) if by_text else label for label in view.options]
        messages = choose_messages(view, form="text" if by_text else "label")
        scores = await self.model.score(ScoreCall(messages, start, tuple(texts)))
        values = [
            value / count if self.options.length_normalised and count else value
            for value, count in zip(scores.logprobs, scores.tokens, strict=True)
        ]
        top = max(values)
        weights = [math.exp(value - top) for value in values]
        shares = [weight / sum(weights) for weight in weights]
        return Choice(
            dict(zip(view.options, shares, strict=True)),
            "text log-probabilities" if by_text else "log-probabilities",
            reasons,
            usage + scores.usage,
            notes,
        )

    async def _stated(self, request: Choose, how: str) -> Choice:
        """Probabilities from a reply: the log-probabilities of its label, or the confidence that it states.

        None at all from a reply that names an answer and, asked again, no confidence in it.
        """
        view = request.view
        labels = [answer.label for answer in view.answers]
        wanted = self.options.top_logprobs if how != "confidence" else None

        def read(completion: Completion) -> _Reading:
            try:
                return _choice(completion if wanted is not None else replace(completion, tokens=None), labels)
            except _Unreadable as unreadable:
                if how == "labels" and unreadable.otherwise is not None:
                    labelled: _Reading = unreadable.otherwise  # its confidence would not be looked at
                    return labelled
                if how == "confidence":
                    unreadable.otherwise = None
                raise

        messages = choose_messages(view, reasoning=self._thinks(request))
        call = self._call(request, messages, self.options.choosing_temperature, wanted)
        reading, usage, notes = await self._ask(call, read)
        if reading.probabilities is not None:
            return Choice(reading.probabilities, "log-probabilities", reading.reasoning, usage, notes)
        if how == "labels":
            await self.model.refuse(call)  # an endpoint that is told to give them may do so when it is retried
            what = "does not give its label by itself" if reading.with_tokens else "has no log-probabilities"
            raise TurnFailed(f"{self.name}: the reply {what}, so elicitation=labels has none: take another")
        if wanted is not None and not reading.with_tokens:
            notes = (*notes, "no log-probabilities came back")
        shares = {} if reading.confidence is None else _spread(labels, reading.label, reading.confidence)
        return Choice(shares, "stated confidence", reading.reasoning, usage, notes)

    async def _by_votes(self, request: Choose, votes: int) -> Choice:
        """The shares of several draws, every other one with the options in the other order."""
        labels = [answer.label for answer in request.view.answers]
        orders = self._orders(request)

        async def drawn_vote(request: Choose) -> Choice:
            async def attempt(view: View) -> Choice:
                return await self._scored(replace(request, view=view), "votes")

            choice, left_out = await self._fitting(request.view, attempt)
            chance = random.Random(seed_from(request.seed, request.sample, *request.draw))
            label = chance.choices(labels, [choice.probabilities[label] for label in labels])[0]
            shares = _spread(labels, label, 1.0)
            notes = (*choice.notes, *left_out, f"votes drawn from its {choice.elicitation}")
            return Choice(shares, "votes", choice.reasoning, choice.usage, notes)

        async def vote(number: int) -> Choice:
            order = orders[number % len(orders)]
            if self.model.scores_options and self.options.elicitation not in ("votes", "confidence"):
                # A model too small to hold to a form votes by a draw from its own probabilities.
                return await drawn_vote(replace(order, draw=(*order.draw, number)))

            async def attempt(view: View) -> tuple[_Reading, Usage, tuple[str, ...]]:
                messages = choose_messages(view, reasoning=self._thinks(request), form="label")
                drawn = replace(order, draw=(*order.draw, number))
                call = self._call(drawn, messages, self.options.voting_temperature, None)
                return await self._ask(call, lambda completion: _choice(completion, labels, confidence=False))

            (reading, usage, notes), left_out = await self._fitting(order.view, attempt)
            return Choice(_spread(labels, reading.label, 1.0), "votes", reading.reasoning, usage, (*notes, *left_out))

        cast = await gather_all([vote(number) for number in range(votes)])
        mean = _mean([_Offered(orders[number % len(orders)].view.options, one) for number, one in enumerate(cast)])
        return replace(mean, reasoning=cast[0].reasoning)

    def _thinks(self, request: Request) -> bool:
        return self.options.reasoning if request.thinks is None else request.thinks

    @property
    def _apart(self) -> bool:
        """Whether private reasoning has a reply of its own."""
        how = self.options.thoughts
        return self.model.scores_options if how == "automatic" else how == "apart"

    async def _thoughts(
        self, request: Request, messages: tuple[Message, ...], temperature: float | None
    ) -> tuple[str, Usage, tuple[str, ...]]:
        """Private reasons; whatever the model writes is taken for them, a tag left open or one too many as well."""
        completion = await self.model.complete(self._call(request, messages, temperature, None))
        reasons = " ".join(unescape(_OUR_TAG.sub(" ", completion.text)).split())
        return reasons, completion.usage, self._cut(completion)

    # ---- machinery ------------------------------------------------------------------------------

    def _call(
        self, request: Request, messages: tuple[Message, ...], temperature: float | None, top_logprobs: int | None
    ) -> ModelCall:
        return ModelCall(
            messages=messages,
            temperature=temperature,
            max_tokens=self.options.max_tokens,
            top_logprobs=top_logprobs,
            sample=request.sample,
            draw=request.draw,
            seed=request.seed,
        )

    async def _fitting(
        self, view: View, attempt: Callable[[View], Awaitable[Parsed]]
    ) -> tuple[Parsed, tuple[str, ...]]:
        """What the attempt gives for as much of the view as fits the model's window, and a note if that is not all."""
        while True:
            try:
                result = await attempt(view)
            except ContextTooLong:
                if not view.turns:
                    raise
                view = _without_oldest_round(view)
                continue
            turns = "oldest turn" if view.omitted == 1 else f"{view.omitted} oldest turns"
            return result, (f"the {turns} left out of the prompt",) if view.omitted else ()

    async def _ask(
        self, call: ModelCall, read: Callable[[Completion], Parsed]
    ) -> tuple[Parsed, Usage, tuple[str, ...]]:
        """The reply as ``read`` reads it, asked for once more where it cannot; with cost and notes."""
        completion = await self.model.complete(call)
        usage, notes = completion.usage, self._cut(completion)
        try:
            return read(completion), usage, notes
        except _Unreadable as unreadable:
            wanted = unreadable.wanted
        again = replace(call, messages=(*call.messages, *_correction(completion.text, wanted)))
        completion = await self.model.complete(again)
        usage, notes = usage + completion.usage, (*notes, "asked once more", *self._cut(completion))
        try:
            return read(completion), usage, notes
        except _Unreadable as unreadable:
            if unreadable.otherwise is not None:
                return unreadable.otherwise, usage, notes
            what = unreadable.what
        for refused in (call, again):
            await self.model.refuse(refused)
        cut = f" (cut at {self.max_tokens} tokens: raise the limit)" if completion.finish == "length" else ""
        raise Unparsable(f"{self.name}: {what}, after one more try{cut}: {_shortened(completion.text)}")

    def _cut(self, completion: Completion) -> tuple[str, ...]:
        return (f"reply cut at {self.max_tokens} tokens",) if completion.finish == "length" else ()


_SPEAK_AGAIN = "That speech is outside the limits. Give it again, in the same form and within them"


def _correction(reply: str, wanted: str) -> tuple[Message, ...]:
    return ({"role": "assistant", "content": reply}, {"role": "user", "content": wanted})


def _without_oldest_round(view: View) -> View:
    """The view without its oldest turns, up to the first by a speaker who has spoken in public before.

    The drafts of the turn that is asked for stay as long as there is anything else: the task is about them.
    """
    last = len(view.turns)
    while last and view.turns[last - 1].private:
        last -= 1
    last = last or len(view.turns)
    speakers: set[str] = set()
    count = 0
    while count < last and view.turns[count].speaker not in speakers:
        if not view.turns[count].private:
            speakers.add(view.turns[count].speaker)
        count += 1
    return replace(view, turns=view.turns[count:], omitted=view.omitted + count)


@dataclass(frozen=True)
class _Offered:
    """A choice, and the order in which its options were offered."""

    options: tuple[str, ...]
    choice: Choice


_LEAST_TOLD: tuple[Elicitation, ...] = ("votes", "stated confidence", "log-probabilities", "text log-probabilities")
"""Elicitations, the one that tells least first: a mean of several is no better than that."""


def _mean(offered: Sequence[_Offered]) -> Choice:
    """The mean of several readings, which are kept where there is more than one."""
    choices = [one.choice for one in offered]
    if len(choices) == 1:
        return choices[0]
    labels = list(choices[0].probabilities)
    return Choice(
        {label: sum(one.probabilities[label] for one in choices) / len(choices) for label in labels},
        min((one.elicitation for one in choices), key=_LEAST_TOLD.index),
        choices[0].reasoning,
        sum((one.usage for one in choices), Usage()),
        tuple(dict.fromkeys(note for one in choices for note in one.notes)),
        tuple(
            Reading(
                one.options,
                tuple(one.choice.probabilities[label] for label in one.options),
                one.choice.elicitation,
                one.choice.reasoning,
            )
            for one in offered
        ),
    )


class _Unreadable(Exception):
    """A reply that is not what was asked for.

    Parameters
    ----------
    what : what is wrong with it, for the record.
    wanted : what the model is told.
    otherwise : what it is taken for if one more try brings nothing better; None: nothing.
    """

    def __init__(self, what: str, wanted: str, otherwise: Any = None) -> None:
        super().__init__(what)
        self.what, self.wanted, self.otherwise = what, wanted, otherwise


def _shortened(text: str) -> str:
    return repr(text) if len(text) <= 120 else f"{text[:120]!r}..."


# ---- speeches -----------------------------------------------------------------------------------


def _without_thinking(text: str) -> tuple[str, str]:
    """The private reasoning in a reply and the rest of it; raises _Unreadable where they cannot be told apart.

    Models mark their reasoning without being asked, and some templates swallow the opening tag.
    """
    kept, thoughts, at, opened = [], [], 0, None
    for tag in _NATIVE.finditer(text):
        if not tag[1]:
            if opened is not None:
                break  # reasoning inside reasoning
            kept.append(text[at : tag.start()])
            opened = tag.end()
        elif opened is not None:
            thoughts.append(text[opened : tag.start()])
            opened, at = None, tag.end()
        elif at == 0 and not thoughts:
            thoughts.append(text[: tag.start()])
            at = tag.end()
        else:
            opened = tag.start()
            break
    if opened is not None:
        raise _Unreadable(
            "private reasoning is not closed",
            "Your private reasoning was not closed. Reply again in the form that was asked for, and close it, "
            "or leave it out.",
        )
    kept.append(text[at:])
    return "\n\n".join(thought.strip() for thought in thoughts if thought.strip()), "".join(kept).strip()


def _speech(reply: str, reasoning: bool) -> tuple[str, str]:
    """Private reasoning and speech."""
    if reasoning:
        form = (
            "Your reply was not in the form that was asked for. Reply again: your thoughts inside <thinking> and "
            "</thinking>, then your speech inside <argument> and </argument>, and nothing outside these tags."
        )
        # Reasoning that the model's own template marks comes before the form.
        native = re.match(r"\s*<think>(.*?)</think>", reply, re.DOTALL)
        rest = reply[native.end() :] if native else reply
        # Found one by one: an expression for the whole form takes time that grows with the square of a hostile reply.
        tags = list(_OUR_TAG.finditer(rest))
        before, thought, between, said, after = (
            _OUR_TAG.split(rest) if [tag[0] for tag in tags] == _FORM else ("-", "", "", "", "")
        )
        if (before + between + after).strip():
            raise _Unreadable("no speech between <argument> and </argument>", form)
        thoughts = [part.strip() for part in (native[1] if native else "", thought) if part.strip()]
        private, public = "\n\n".join(thoughts), said.strip()
    else:
        form = "There was no speech in your reply. Reply with your speech and nothing else."
        private, public = _without_thinking(reply)
    if not public:
        raise _Unreadable("the speech is empty", form)
    return unescape(private), unescape(public)


# ---- choices ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Reading:
    """A choice as read from a reply: the label, and how sure it is by either way."""

    label: str
    confidence: float | None
    probabilities: dict[str, float] | None
    reasoning: str
    with_tokens: bool = False


def _choice(completion: Completion, labels: Sequence[str], *, confidence: bool = True) -> _Reading:
    """The choice that a reply states; ``confidence``: whether it was asked for one."""
    lines_wanted = "exactly two lines" if confidence else "exactly one line"
    form = (
        f"Your reply could not be read. Reply with {lines_wanted} and nothing else: 'Answer: ' followed by "
        f"one of {', '.join(labels)}"
    )
    form += "; and 'Confidence: ' followed by a percentage from 0% to 100%, like 85%." if confidence else "."
    try:
        private, public = _without_thinking(completion.text)
    except _Unreadable as unreadable:
        raise _Unreadable(unreadable.what, form) from None
    lines = public.splitlines()
    answers = _answers_in(lines)
    confidences = {line for line in lines if _CONFIDENCE_LINE.match(line)}
    chosen = {_label_in(line, head, labels) for line, head in answers.items()}
    if len(chosen) != 1:
        raise _Unreadable("two answers" if chosen else "no line 'Answer: ...'", form)
    label = chosen.pop()
    if label is None:
        raise _Unreadable(f"no single one of {', '.join(labels)} after 'Answer:'", form)
    stated = {_percentage(line) for line in confidences}
    remarks = [line for line in lines if line.strip() and line not in answers and line not in confidences]
    reasoning = unescape("\n\n".join(filter(None, [private, "\n".join(remarks)])))
    probabilities = _by_tokens(completion.tokens, label, labels) if completion.tokens is not None else None
    if not confidence:
        return _Reading(label, None, None, reasoning)
    if probabilities is None and (len(stated) > 1 or None in stated):
        raise _Unreadable("no percentage from 0% to 100% after 'Confidence:'", form)
    sure = next(iter(stated)) if len(stated) == 1 else None
    reading = _Reading(label, sure, probabilities, reasoning, completion.tokens is not None)
    if probabilities is None and sure is None:
        raise _Unreadable("no line 'Confidence: ...'", form, otherwise=reading)
    return reading


def _answers_in(lines: Sequence[str]) -> dict[str, int]:
    """The lines that state an answer, each with the index where its ``Answer:`` ends.

    They begin with it.  Where none does, the reply's last line may end in it, if the reply says it only once.
    """
    found = {line: head.end() for line in lines if (head := _ANSWER_LINE.match(line))}
    if found or len(re.findall(r"(?i)\banswer\b[*_`]*:", "\n".join(lines))) != 1:
        return found
    last = next((line for line in reversed(lines) if line.strip() and not _CONFIDENCE_LINE.match(line)), "")
    head = _ANSWER_AT_THE_END.match(last)
    return {last: head.end()} if head else {}


def _label_in(line: str, head: int, labels: Sequence[str]) -> str | None:
    """The one label that follows the ``Answer:`` of a line, and nothing else; None otherwise.  Case matters."""
    choices = "|".join(sorted(map(re.escape, labels), key=len, reverse=True))
    found = re.compile(f"{_BEFORE}({choices}){_AFTER}$").match(line, head)
    return found[1] if found else None


def _percentage(line: str) -> float | None:
    """The probability that a confidence line states; a number without a percent sign could mean anything."""
    head = _CONFIDENCE_LINE.match(line)
    assert head is not None
    found = _PERCENT.match(line, head.end())
    return float(found[1]) / 100 if found and float(found[1]) <= 100 else None


def _by_tokens(tokens: Sequence[TokenProbabilities], label: str, labels: Sequence[str]) -> dict[str, float] | None:
    """Probability of each label where the last answer line names one; None where the tokens do not tell.

    A label that is not among the alternatives gets 0: it has less mass than any of them.
    """
    at = _place_of_answer("".join(token.token for token in tokens), label, labels)
    if at is None:
        return None
    end = 0
    for token in tokens:
        end += len(token.token)
        if end > at:
            break
    if _bare(token.token) != label:  # the label shares its token with other words
        return None
    mass = dict.fromkeys(labels, 0.0)
    for text, logprob in token.alternatives.items():
        if (bare := _bare(text)) in mass:
            mass[bare] += math.exp(logprob)
    total = sum(mass.values())
    if total < _LEAST_MASS or not mass[label]:
        return None
    return {one: value / total for one, value in mass.items()}


def _place_of_answer(text: str, label: str, labels: Sequence[str]) -> int | None:
    """Index of the label in the last answer line of the text."""
    stated = _answers_in([line.rstrip("\r\n") for line in text.splitlines(keepends=True)])
    start, place = 0, None
    for line in text.splitlines(keepends=True):
        stripped = line.rstrip("\r\n")
        head = stated.get(stripped)
        if head is not None and _label_in(stripped, head, labels) == label:
            before = re.compile(_BEFORE).match(stripped, head)
            place = start + (before.end() if before else head)
        start += len(line)
    return place


def _bare(token: str) -> str:
    return token.strip().strip("*_`\"'“”()[]{}<>.:").strip()


def _spread(labels: Sequence[str], label: str, probability: float) -> dict[str, float]:
    """``probability`` for the label, the rest spread evenly over the others."""
    rest = (1.0 - probability) / (len(labels) - 1)
    return {one: probability if one == label else rest for one in labels}
