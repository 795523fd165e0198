"""A person, as the library sees one: whoever sits at the terminal answers the same requests as any agent.

A request to a person is LangGraph's ``interrupt``: the episode stops at that node, is held by a checkpointer, and
goes on when somebody has answered, in this process or in a later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import TurnFailed
from ..identity import digest
from ..limits import Limits
from ..requests import Choice, Choose, Speak, Speech, Stakes
from ..transcript import Reading, belief_from_dict
from ..views import View
from .base import Agent

if TYPE_CHECKING:
    from ..transcript import Belief

__all__ = ["SEVERAL", "Human", "SideBySide", "chosen_by", "request_from_json", "request_to_json", "said_by"]

SEVERAL = "several"
"""The kind of an interrupt that holds several requests of one turn, each with a reply of its own."""


@dataclass
class SideBySide:
    """The requests to people that one turn makes beside each other: at the nodes of a tree, for the checks of steps.

    A turn that makes several is played through as far as it goes without people, so that all that can be asked is
    asked at once; then it waits in one interrupt, and with each reply it is played through again.  What machines said
    is in the journal, and what people said comes from here, by what they were asked.

    Parameters
    ----------
    replies : what people have said, by the request's key.
    open : what is still to be asked: by key, the ``seat`` and the ``request`` as JSON values.
    """

    replies: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    open: dict[str, dict[str, Any]] = field(default_factory=dict)

    @contextmanager
    def at(self, seat: str) -> Iterator[None]:
        """People that are asked inside are asked beside each other, in this seat."""
        token = _PLACE.set((self, seat))
        try:
            yield
        finally:
            _PLACE.reset(token)

    def ask(self, seat: str, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """What was said to a request; raises TurnFailed where it is still to be asked."""
        key = digest([seat, request], 24)
        if key not in self.replies:
            self.open[key] = {"seat": seat, "request": dict(request)}
            raise TurnFailed("a person is to be asked first")
        return self.replies[key]

    def wait(self) -> None:
        """Stop the episode here until somebody has answered one of the open requests or more."""
        from langgraph.types import interrupt

        self.replies.update(interrupt({"kind": SEVERAL, "requests": self.open}))
        self.open = {}


_PLACE: ContextVar[tuple[SideBySide, str] | None] = ContextVar("place", default=None)


def request_to_json(request: Choose | Speak) -> dict[str, Any]:
    """A request as JSON values: all that a person may see, and nothing else."""
    values = asdict(request)
    if isinstance(request, Speak):
        values["limits"] = None if request.limits is None else request.limits.model_dump(mode="json")
    return {"kind": "speak" if isinstance(request, Speak) else "choose", **values}


def request_from_json(values: Mapping[str, Any]) -> Choose | Speak:
    """The request that :func:`request_to_json` wrote."""
    known = {name: value for name, value in values.items() if name != "kind"}
    known["view"] = View.from_dict(known["view"])
    known["draw"] = tuple(known["draw"])
    if values["kind"] == "speak":
        known["limits"] = None if known["limits"] is None else Limits(**known["limits"])
        return Speak(**known)
    known["stakes"] = None if known["stakes"] is None else Stakes(**known["stakes"])
    return Choose(**known)


def chosen_by(
    person: str,
    order: Sequence[str],
    probabilities: Mapping[str, float],
    *,
    reason: str = "",
    seconds: float = 0.0,
    stops: bool | None = None,
    beliefs: Sequence[Belief] = (),
    shown: int = 0,
) -> dict[str, Any]:
    """A person's verdict as the JSON values that the episode goes on with.

    Parameters
    ----------
    person : the name in the record.
    order : labels in the order in which the answers were listed for this person.
    probabilities : by label.
    reason, seconds, stops : as in :class:`Choice`.
    beliefs : what the person stated on the way, in the order of the view's answers.
    shown : how many turns the person had been shown by then.
    """
    return {
        "person": person,
        "order": list(order),
        "probabilities": dict(probabilities),
        "reason": reason,
        "seconds": round(seconds, 1),
        "stops": stops,
        "beliefs": [{**vars(one), "probabilities": list(one.probabilities)} for one in beliefs],
        "shown": shown,
    }


def said_by(person: str, text: str, *, seconds: float = 0.0, shown: int = 0) -> dict[str, Any]:
    """A person's speech as the JSON values that the episode goes on with."""
    return {"person": person, "text": text, "seconds": round(seconds, 1), "shown": shown}


class Human(Agent):
    """Whoever sits at the terminal.

    Records name the person as ``human`` or, with ``--as NAME``, ``human/NAME``; casts say ``human``, so that
    analyses put all people of one role together.
    """

    asks_people = True

    def __init__(self, name: str = "human") -> None:
        super().__init__(name)

    async def speak(self, request: Speak) -> Speech:
        reply = _ask(request)
        return Speech(reply["text"], seconds=reply["seconds"], by=reply["person"])

    async def choose(self, request: Choose) -> Choice:
        reply = _ask(request)
        order = tuple(reply["order"])
        return Choice(
            probabilities=reply["probabilities"],
            elicitation="person",
            reasoning=reply["reason"],
            readings=(Reading(order, tuple(reply["probabilities"][label] for label in order), "person"),),
            beliefs=tuple(map(belief_from_dict, reply["beliefs"])),
            seconds=reply["seconds"],
            stops=reply["stops"],
            by=reply["person"],
        )


def _ask(request: Choose | Speak) -> Mapping[str, Any]:
    """Stop the episode here until a person has answered."""
    from langgraph.types import interrupt

    place = _PLACE.get()
    values = request_to_json(request)
    reply: Mapping[str, Any] = interrupt(values) if place is None else place[0].ask(place[1], values)
    if "given_up" in reply:
        raise TurnFailed(f"a person gave it up after others had gone on: {reply['given_up']}")
    return reply
