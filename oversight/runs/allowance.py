"""Which episodes may begin under a cost limit, so that what has begun can be finished with the money that is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .plan import Episode, Plan

__all__ = ["Allowance"]


@dataclass(frozen=True)
class _Begun:
    """An episode that is under way: what is played by whom, and what that costs in the worst case."""

    protocol: str
    cast: tuple[tuple[str, tuple[str, ...]], ...]
    worst: float


class Allowance:
    """Holds episodes back where those under way could need what is left of the limit.

    Without it all episodes of a run go forward together, and a limit is reached with most of them half played.  What an
    episode is expected to cost is its own worst case times a share: the largest share of its worst case that an episode
    of the same protocol and cast has cost in this start, or else one of the same protocol, or else all of it.  Room is
    left beside for a call, which needs its worst case to be made at all.  One episode may be under way in any case: the
    limit itself is :class:`.calls.Budget`'s to keep, call by call.

    Parameters
    ----------
    plan : what is run.
    limit : dollars, over all starts of the run; None for no limit, and nothing is held back.
    spent : gives the dollars that are spent or may have been, over all starts.
    note : told in a line if what is left may not pay for the first episode.
    """

    def __init__(
        self, plan: Plan, limit: float | None, spent: Callable[[], float], note: Callable[[str], None]
    ) -> None:
        self._plan, self._limit, self._spent, self._note = plan, limit, spent, note
        self._shares: dict[tuple[Any, ...], float] = {}
        self._call = 0.0
        self._under_way: dict[str, _Begun] = {}
        self._turn = asyncio.Lock()
        self._one_has_ended = asyncio.Event()
        self._told = False

    def begins(self, episode: Episode) -> bool:
        """Whether an episode may begin now; if so, it is under way."""
        if self._limit is None:
            return True
        costs = self._plan.costs([episode])
        one = _Begun(
            episode.protocol.key, tuple(sorted(episode.cast.items())), sum(cost.dollars or 0.0 for cost in costs)
        )
        # Twice the mean, as prompts grow from turn to turn.
        self._call = max([self._call, *(2 * (cost.dollars or 0.0) / max(cost.most_calls, 1) for cost in costs)])
        left = self._limit - self._spent() - self._call
        if sum(map(self._expected, [*self._under_way.values(), one])) > left:
            if self._under_way:
                return False
            if not self._told and not self._shares:
                self._told = True
                money = max(self._limit - self._spent(), 0.0)
                self._note(
                    f"what is left of the cost limit, ${money:.2f}, may not pay for one episode: that costs "
                    f"${one.worst:.2f} at most"
                )
        self._under_way[episode.id] = one
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
        one = self._under_way.pop(identifier, None)
        if one is None:
            return
        # One that failed says how much a whole one costs at least, and never that it costs little.
        whole = record is not None and record["status"] == "scored"
        if record is not None and one.worst > 0.0:
            share = (record["usage"]["dollars"] or 0.0) / one.worst
            for known in ((one.protocol, one.cast), (one.protocol,)):
                if whole or known in self._shares:
                    self._shares[known] = max(share, self._shares.get(known, 0.0))
        self._one_has_ended.set()

    def _expected(self, one: _Begun) -> float:
        of_protocol = self._shares.get((one.protocol,), 1.0)
        return one.worst * self._shares.get((one.protocol, one.cast), of_protocol)
