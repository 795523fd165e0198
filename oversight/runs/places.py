"""How many calls an endpoint is given at a time: as many as it keeps up with, the oldest episode's first.

The number is found as congestion control finds it.  It grows while calls wait and the endpoint keeps up, by one a
call at first and by a tenth a round after the first cut.  It is cut to three quarters when the endpoint says
that it is crowded (429, 503), once for all calls that were in flight together (Chiu and Jain 1989; Jacobson 1988).
An endpoint that queues instead of refusing is known by its latency: where a model takes more than twice its least
time and gets no more done than with half as many calls, the number falls to what its latency says it can take.  More
latency alone says nothing: a server that batches is slower with every call that joins, and gets more done.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["MOST", "Place", "Places", "next_in_turn"]

FIRST, MOST = 12, 256
"""Calls in flight at first, and at most."""

CUT = 0.75
"""What is left of the limit when the endpoint is crowded."""

GROWTH = 1 / 10
"""What is added to the limit for each reply after the first cut: this share of it in a round."""

SLOW, GAIN = 2.0, 1.15
"""How many times its least latency a model takes, and how much more it gets done than with half as many calls, before
the limit is cut."""

DRIFT = 1.01
"""By how much the least latency known of a model rises with every look at it: it was another day's."""

LEAST_LOOK = 16
"""Replies that a look at the latency is a mean of, at least."""

ASIDE = 100
"""Tokens that reading a prompt and the way there and back are taken to be worth, beside those that are written."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds that nothing is sent to an endpoint that refuses even a single call and does not say for how long."""

_rank: ContextVar[int] = ContextVar("rank of the episode", default=0)
_ranks = itertools.count(1)


def next_in_turn() -> None:
    """From here on this task's calls are those of a new episode, which comes after all that have begun."""
    _rank.set(next(_ranks))


@dataclass(frozen=True, slots=True)
class Place:
    """A call that is in flight.

    Parameters
    ----------
    number : how many places were given before it.
    since : when it was given, in seconds of the event loop's clock.
    """

    number: int
    since: float


@dataclass
class _Pace:
    """What is known of a model's latency with replies of about one length, in seconds for a token."""

    least: float = math.inf
    wanted: int = LEAST_LOOK
    seconds: float = 0.0
    flights: int = 0
    replies: int = 0
    done: dict[int, float] = field(default_factory=dict)
    """By the power of two that was in flight, how much got done in a second."""

    def begin(self, limit: float) -> None:
        """Begin a look, at the replies of about a round."""
        self.seconds, self.flights, self.replies, self.wanted = 0.0, 0, 0, max(int(limit), LEAST_LOOK)


class Places:
    """The calls that may be in flight to one endpoint.

    Parameters
    ----------
    fixed : how many; None to find it.
    """

    def __init__(self, fixed: int | None = None) -> None:
        self.fixed = fixed is not None
        self.limit = float(FIRST if fixed is None else fixed)
        self.in_flight = 0
        self._numbers, self._order = itertools.count(), itertools.count()
        self._last = -1  # the number of the place given last
        self._cut_after = -1  # calls up to this number were in flight at the last cut, and say nothing new
        self._slow_start = True
        self._waiting: list[tuple[int, int, asyncio.Future[Place]]] = []
        self._paces: dict[tuple[str, int], _Pace] = {}
        self._pause = 0.0
        self._closed_until = -math.inf
        self._opening: asyncio.TimerHandle | None = None

    async def take(self) -> Place:
        """A place, as soon as there is one and no older episode waits for it."""
        loop = asyncio.get_running_loop()
        if not self._someone_waits() and self._has_room(loop.time()):
            return self._give(loop.time())
        future: asyncio.Future[Place] = loop.create_future()
        heapq.heappush(self._waiting, (_rank.get(), next(self._order), future))
        self._hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # given to somebody who has just gone
                self.give_back(future.result())
            raise

    def give_back(self, place: Place) -> None:
        """The call that had the place is no longer in flight."""
        self.in_flight -= 1
        self._hand_out()

    def kept_up(self, place: Place, model: str, tokens: int | None) -> None:
        """The call in a place, which it has still, was answered with so many tokens; None if they do not compare."""
        self._pause = 0.0
        if self.fixed:
            return
        if self.in_flight <= self.limit and self._someone_waits():
            self.limit = min(self.limit + (1 if self._slow_start else GROWTH), MOST)
        if tokens is not None and place.number > self._cut_after:  # the others were made in a crowd
            now = asyncio.get_running_loop().time()
            # Only replies of about the same length compare: a verdict says nothing of how long a speech takes.
            pace = self._paces.setdefault((model, tokens.bit_length()), _Pace())
            self._time(pace, (now - place.since) / (tokens + ASIDE))

    def crowded(self, place: Place, wait: float | None) -> None:
        """The endpoint had no room for the call in a place, which it has still; for so many seconds, if it says so."""
        news = place.number > self._cut_after
        if wait is None and news and self.limit < 2 and not self.fixed:
            wait = self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        if news:
            self._cut(min(self.limit, self.in_flight) * CUT)
        if wait is not None:
            self._closed_until = max(self._closed_until, asyncio.get_running_loop().time() + wait)

    # ---- machinery ------------------------------------------------------------------------------

    def _cut(self, limit: float) -> None:
        self._cut_after = self._last
        if not self.fixed:
            self.limit, self._slow_start = max(limit, 1.0), False
        for pace in self._paces.values():
            pace.begin(self.limit)

    def _time(self, pace: _Pace, seconds: float) -> None:
        """Take in how long a reply took; after a round of them, look whether the endpoint keeps up."""
        pace.seconds, pace.flights, pace.replies = (
            pace.seconds + seconds,
            pace.flights + self.in_flight,
            pace.replies + 1,
        )
        if pace.replies < pace.wanted:
            return
        mean, flight = pace.seconds / pace.replies, pace.flights / pace.replies
        pace.begin(self.limit)
        pace.least = min(pace.least * DRIFT, mean)
        if mean <= 0:  # a clock too coarse for it
            return
        step, rate = int(math.log2(max(flight, 1.0))), flight / mean
        as_much_with = [2**below for below, done in pace.done.items() if below < step and done * GAIN > rate]
        pace.done[step] = (pace.done.get(step, rate) + rate) / 2
        if mean > SLOW * pace.least and as_much_with:
            # So many calls as are served at once, less what the queue needs to drain.
            self._cut(max(self.limit * 0.8 * pace.least / mean, min(as_much_with)))

    def _someone_waits(self) -> bool:
        while self._waiting and self._waiting[0][2].done():  # they have gone
            heapq.heappop(self._waiting)
        return bool(self._waiting)

    def _has_room(self, now: float) -> bool:
        return self.in_flight < int(self.limit) and now >= self._closed_until

    def _give(self, now: float) -> Place:
        self.in_flight += 1
        self._last = next(self._numbers)
        return Place(self._last, now)

    def _hand_out(self) -> None:
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._someone_waits() and self._has_room(now):
            heapq.heappop(self._waiting)[2].set_result(self._give(now))
        if self._someone_waits() and now < self._closed_until and self._opening is None:
            self._opening = loop.call_at(self._closed_until, self._open)

    def _open(self) -> None:
        self._opening = None
        self._hand_out()
