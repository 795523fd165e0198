"""Which episodes may begin under a cost limit, so that what has begun can be finished with the money that is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from .plan import Episode, Plan

__all__ = ["Allowance"]

Kind = tuple[str, int, tuple[tuple[str, tuple[str, ...]], ...]]


class Allowance:
    """Holds episodes back where those under way could need what is left of the limit.

    Without it all episodes of a run go forward together, and a limit is reached with most of them half played.  An
    episode is expected to cost as much as the dearest so far of its protocol and cast in this start, and before there
    is one, the worst case; and room is left for the worst case of one call, without which none is made.  One episode
    may be under way in any case: the limit itself is :class:`.calls.Budget`'s to keep, call by call.

    Parameters
    ----------
    plan : what is run.
    limit : dollars, over all starts of the run; None for no limit, and nothing is held back.
    spent : gives the dollars spent so far, over all starts.
    """

    def __init__(self, plan: Plan, limit: float | None, spent: Callable[[], float]) -> None:
        self._plan, self._limit, self._spent = plan, limit, spent
        self._dearest: dict[Kind, float] = {}
        self._worst: dict[Kind, float] = {}
        self._worst_call = 0.0
        self._under_way: dict[str, Kind] = {}
        self._turn = asyncio.Lock()
        self._one_has_ended = asyncio.Event()

    def begins(self, episode: Episode) -> bool:
        """Whether an episode may begin now; if so, it is under way."""
        if self._limit is None:
            return True
        kind = (episode.protocol.key, len(episode.question.answers), tuple(sorted(episode.cast.items())))
        if kind not in self._worst:
            costs = self._plan.costs([episode])
            self._worst[kind] = sum(cost.dollars or 0.0 for cost in costs)
            self._worst_call = max([self._worst_call, *((one.dollars or 0.0) / max(one.calls, 1) for one in costs)])
        expected = sum(map(self._expected, [*self._under_way.values(), kind]))
        if self._under_way and self._spent() + expected + self._worst_call > self._limit:
            return False
        self._under_way[episode.id] = kind
        return True

    async def begin(self, episode: Episode) -> None:
        """Wait until an episode may begin; those that wait begin in the order in which they came."""
        if self._limit is None:
            return
        async with self._turn:
            while not self.begins(episode):
                self._one_has_ended.clear()
                await self._one_has_ended.wait()

    def ended(self, identifier: str, record: Mapping[str, Any] | None) -> None:
        """An episode is under way no more; ``record`` is None where nothing came of it here."""
        kind = self._under_way.pop(identifier, None)
        if kind is None:
            return
        if record is not None:
            cost = record["usage"]["dollars"] or 0.0
            self._dearest[kind] = max(cost, self._dearest.get(kind, 0.0))
        self._one_has_ended.set()

    def _expected(self, kind: Kind) -> float:
        return self._dearest.get(kind, self._worst[kind])
