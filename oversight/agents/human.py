"""A person, as the library sees one: whoever sits at the terminal answers the same requests as any agent.

A request to a person is LangGraph's ``interrupt``: the episode stops at that node, is held by a checkpointer, and
goes on when somebody has answered, in this process or in a later one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import TurnFailed
from ..limits import Limits
from ..requests import Choice, Choose, Speak, Speech, Stakes
from ..transcript import Reading, belief_from_dict
from ..views import View
from .base import Agent

if TYPE_CHECKING:
    from ..transcript import Belief

__all__ = ["Human", "chosen_by", "request_from_json", "request_to_json", "said_by"]


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

    reply: Mapping[str, Any] = interrupt(request_to_json(request))
    if "given_up" in reply:
        raise TurnFailed(f"a person gave it up after others had gone on: {reply['given_up']}")
    return reply
