"""The interface that every source of text has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import ModelError
from ..identity import digest
from ..transcript import Usage

__all__ = ["Completion", "FailedTry", "Message", "Model", "ModelCall", "ScoreCall", "Scores", "TokenProbabilities"]

Message = Mapping[str, str]
"""``{"role": "system" | "user" | "assistant", "content": text}``."""


@dataclass(frozen=True)
class FailedTry:
    """A try of a call that failed, and is made again.

    Parameters
    ----------
    reason : why, in a word or two (``429``, ``no reply``); the same words for the same reason.
    crowded : whether the endpoint had no room for it.
    wait : seconds until the next try that the endpoint itself asks for; None where it does not.
    paid : what a reply that could not be used has cost; None where nothing was paid.
    lost : whether the endpoint may have made a reply, and counted it, that never arrived.
    """

    reason: str
    crowded: bool = False
    wait: float | None = None
    paid: Usage | None = None
    lost: bool = False


@dataclass(frozen=True)
class ModelCall:
    """One call for a completion.

    Parameters
    ----------
    messages : the conversation.
    temperature : sampling temperature, 0 for the likeliest text; None leaves it to the endpoint.
    max_tokens : most tokens of the reply.
    top_logprobs : how many alternatives to ask for at each token; None asks for no log-probabilities.
    sample : index of the sample, so that repeated calls of the same content are separate draws.
    draw : which of the episode's own draws this is (a candidate, a vote, a seat); empty for the only one.
    seed : seed of the sampling, for models that can be given one (local ones).
    between_tries : given a try that failed, what is entered for the time until the next; may raise.  No part of the
        call's content.
    """

    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int = 1024
    top_logprobs: int | None = None
    sample: int = 0
    draw: tuple[int, ...] = ()
    seed: int = 0
    between_tries: Callable[[FailedTry], AbstractAsyncContextManager[None]] | None = field(
        default=None, compare=False, repr=False
    )

    def key(self, identity: Mapping[str, Any]) -> str:
        """Digest of model identity, messages, sampling parameters and sample index."""
        return digest(
            [
                "model call",
                dict(identity),
                [dict(message) for message in self.messages],
                self.temperature,
                self.max_tokens,
                self.top_logprobs,
                self.sample,
                list(self.draw),
                self.seed,
            ]
        )


@dataclass(frozen=True)
class ScoreCall:
    """One call for the log-probabilities of given texts in the place of the reply; nothing is sampled.

    Parameters
    ----------
    messages : the conversation.
    start : how the reply begins, before the option (``The correct answer is``); a reply of the model's own may be
        part of it.
    options : the texts that are compared, at least two; each continues ``start`` after one space.
    """

    messages: tuple[Message, ...]
    start: str
    options: tuple[str, ...]

    def key(self, identity: Mapping[str, Any]) -> str:
        """Digest of model identity, messages, start and options."""
        messages = [dict(message) for message in self.messages]
        return digest(["score call", dict(identity), messages, self.start, list(self.options)])


@dataclass(frozen=True)
class Scores:
    """What a :class:`ScoreCall` is answered with.

    Parameters
    ----------
    logprobs : for each option, the natural log-probability of all its tokens together, finite and at most 0.
    tokens : how many tokens each option has.
    usage : what it cost.
    model : the model's name as it reports itself.
    """

    logprobs: tuple[float, ...]
    tokens: tuple[int, ...]
    usage: Usage = field(default_factory=lambda: Usage(calls=1))
    model: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The scores as JSON values; :meth:`from_dict` gives them back."""
        return {
            "logprobs": list(self.logprobs),
            "tokens": list(self.tokens),
            "usage": list(vars(self.usage).values()),
            "model": self.model,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scores:
        """The scores that :meth:`to_dict` wrote."""
        return cls(tuple(values["logprobs"]), tuple(values["tokens"]), Usage(*values["usage"]), values["model"])


@dataclass(frozen=True)
class TokenProbabilities:
    """A token of a reply and the log-probabilities (natural, at most 0) of the likeliest tokens in its place."""

    token: str
    alternatives: Mapping[str, float]


@dataclass(frozen=True)
class Completion:
    """A finished reply.

    Parameters
    ----------
    text : the reply.
    finish : ``stop``, or ``length`` when it was cut at ``max_tokens``.
    tokens : log-probabilities by token, where the endpoint gave them (some ignore the request); else None.
    usage : what it cost.
    model : the model's name as the endpoint reports it.
    """

    text: str
    finish: Literal["stop", "length"] = "stop"
    tokens: tuple[TokenProbabilities, ...] | None = None
    usage: Usage = field(default_factory=lambda: Usage(calls=1))
    model: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The completion as JSON values; :meth:`from_dict` gives it back."""
        return {
            "text": self.text,
            "finish": self.finish,
            "tokens": None if self.tokens is None else [[t.token, dict(t.alternatives)] for t in self.tokens],
            "usage": list(vars(self.usage).values()),
            "model": self.model,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Completion:
        """The completion that :meth:`to_dict` wrote."""
        tokens = values["tokens"]
        return cls(
            text=values["text"],
            finish=values["finish"],
            tokens=None if tokens is None else tuple(TokenProbabilities(t, p) for t, p in tokens),
            usage=Usage(*values["usage"]),
            model=values["model"],
        )


class Model(ABC):
    """A source of text: an endpoint, a local model, a script.

    Parameters
    ----------
    name : the model as it is named on the command line (``openai/gpt-4o-mini``).
    """

    def __init__(self, name: str) -> None:
        self.name = name

    scores_options: bool = False
    """Whether :meth:`score` can be called."""

    computes_here: bool = False
    """Whether it computes in the process that calls it, so that each process has a copy of its own."""

    @abstractmethod
    async def complete(self, call: ModelCall) -> Completion:
        """The reply to a call.

        Raises
        ------
        ContextTooLong
            if the prompt and the longest reply do not fit the model's window; nothing was paid.
        ModelError
            when there is no reply to be had for another reason.
        """

    async def score(self, call: ScoreCall) -> Scores:
        """The log-probabilities of given texts; raises as :meth:`complete` does."""
        raise ModelError(f"{self.name} cannot score given texts: choose another elicitation")

    def describe(self) -> dict[str, Any]:
        """What makes this model this model (endpoint and adapter included), without secrets."""
        return {"model": self.name}

    def price(self, usage: Usage) -> float | None:
        """Dollars for the tokens of ``usage``; None where the price is unknown."""
        return None

    def require(self) -> None:
        """Raise MissingKey, or another ConfigurationError, where the model cannot be called as things stand."""

    async def refuse(self, call: ModelCall) -> None:
        """Take note that the reply to a call was of no use, so that it is asked for again if the turn is retried."""

    async def close(self) -> None:
        """Release connections."""
