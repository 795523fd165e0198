"""How many calls an endpoint is given at a time, against simulated endpoints in virtual time."""

from __future__ import annotations

import asyncio
import importlib.util
import random
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversight.runs.places import MOST, Places, next_in_turn

_file = Path(__file__).with_name("virtual_time.py")
_specification = importlib.util.spec_from_file_location("oversight_test_virtual_time", _file)
_module = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(_module)
simulate = _module.simulate


class Endpoint:
    """Serves so many calls at a time, each in about a second; refuses others, or makes all wait.

    Parameters
    ----------
    capacity : calls that are served at a time.
    refuses : whether a call beyond it is refused at once; else all that are there share what can be served.
    wait : what a refusal asks to wait.
    """

    def __init__(self, capacity, *, refuses, wait=None, seed=0):
        self.capacity, self.refuses, self.wait = capacity, refuses, wait
        self.chance = random.Random(seed)
        self.open = self.served = self.refused = 0

    async def serve(self, slow=1.0):
        """Whether the call was served."""
        self.open += 1
        try:
            if self.refuses and self.open > self.capacity:
                await asyncio.sleep(0.05)
                self.refused += 1
                return False
            # What is served at once takes its time; what queues takes its turn.
            crowd = 1.0 if self.refuses else max(1.0, self.open / self.capacity)
            await asyncio.sleep(slow * crowd * self.chance.uniform(0.8, 1.2))
            self.served += 1
            return True
        finally:
            self.open -= 1


async def call(places, endpoint, model="m", tokens=100):
    """One call, made again until it is served; how many tries it took."""
    tries = 0
    while True:
        tries += 1
        place = await places.take()
        try:
            if await endpoint.serve(tokens / 100):
                places.kept_up(place, model, tokens if tries == 1 else None)
                return tries
            places.crowded(place, endpoint.wait)
        finally:
            places.give_back(place)
        await asyncio.sleep(min(0.5 * 2 ** (tries - 1), 8.0))


async def play(places, endpoint, calls, episodes=MOST, turns=4, watch=None):
    """Episodes of dependent calls, so many under way; what was in flight at every half second, tries by call."""
    waiting = iter(range(calls // turns))
    flights, tries = [], []

    async def worker():
        for _ in waiting:
            next_in_turn()
            for _ in range(turns):
                tries.append(await call(places, endpoint))

    async def look():
        while True:
            await asyncio.sleep(0.5)
            flights.append(places.in_flight)
            if watch is not None:
                watch(len(flights) / 2)

    looking = asyncio.ensure_future(look())
    await asyncio.gather(*(worker() for _ in range(episodes)))
    looking.cancel()
    return flights, tries


def late(flights):
    """The second half, without the end, when there is nothing left to wait."""
    return flights[len(flights) // 2 : len(flights) * 9 // 10]


@pytest.mark.parametrize("capacity", [1, 3, 20, 60, 200])
@pytest.mark.parametrize("wait", [None, 0.2])
def test_an_endpoint_that_refuses_is_kept_nearly_full(capacity, wait):
    """Most of what it can serve is in flight, little is refused, and no call is refused often."""
    endpoint, places = Endpoint(capacity, refuses=True, wait=wait), Places()
    calls = 40 * max(capacity, 8)
    flights, tries = simulate(play(places, endpoint, calls))
    assert endpoint.served == len(tries) == calls
    assert 0.75 * capacity <= fmean(late(flights)) <= capacity + 1
    assert endpoint.refused < (0.5 if capacity == 1 else 0.25) * calls  # of one call, it asks for two now and then
    assert fmean(count <= 5 for count in tries) > 0.98  # the tries that a call has by default


@pytest.mark.parametrize("capacity", [12, 20, 60])
def test_an_endpoint_that_queues_is_given_little_more_than_it_serves_at_once(capacity):
    """Its latency tells: everything is busy, and the queue stays short."""
    endpoint, places = Endpoint(capacity, refuses=False), Places()
    flights, _ = simulate(play(places, endpoint, 100 * capacity))
    assert 0.9 * capacity <= fmean(late(flights)) <= 2.5 * capacity
    assert len(flights) / 2 < 1.1 * 100  # seconds, where 100 are the least there can be


def test_a_server_that_batches_is_not_taken_for_one_that_queues():
    """Twice as many calls take half as long again: it gets more done, so they are given."""

    class Batching(Endpoint):
        async def serve(self, slow=1.0):
            self.open += 1
            await asyncio.sleep(slow * self.chance.uniform(0.9, 1.1) * (1 + self.open / 100))
            self.open -= 1
            return True

    flights, _ = simulate(play(Places(), Batching(0, refuses=False), 10_000))
    assert fmean(late(flights)) > 0.6 * MOST


@pytest.mark.parametrize("refuses", [True, False])
def test_it_follows_a_capacity_that_falls_and_rises_again(refuses):
    """From 60 to 10, and to 60 again: what is in flight goes along, both ways."""
    endpoint, places = Endpoint(60, refuses=refuses), Places()
    seen = {}

    def watch(now):
        endpoint.capacity = 10 if 60 < now <= 200 else 60
        seen.setdefault(int(now), places.in_flight)

    simulate(play(places, endpoint, 12_000, watch=watch))
    spans = {"before": range(30, 60), "fallen": range(120, 200), "risen": range(270, 300)}
    means = {name: fmean(seen[second] for second in span) for name, span in spans.items()}
    assert means["before"] >= 40
    assert means["fallen"] <= (12 if refuses else 30)
    assert means["risen"] >= 40


def test_replies_of_another_length_are_no_slower_endpoint():
    """Verdicts of a few tokens follow on long speeches and go before them: nothing is cut for that."""
    endpoint, places = Endpoint(10_000, refuses=False), Places()

    async def phases():
        for tokens in (20, 1000, 20, 1000):
            await asyncio.gather(*(call(places, endpoint, tokens=tokens) for _ in range(1500)))

    simulate(phases())
    assert places.limit == MOST


def test_nothing_is_sent_while_the_endpoint_asks_to_wait():
    """One refusal with a time holds all calls back until then, those in flight aside."""
    sent = []

    async def work():
        places, loop = Places(), asyncio.get_running_loop()
        first = await places.take()

        async def one():
            place = await places.take()
            sent.append(loop.time())
            places.give_back(place)

        places.crowded(first, 30.0)
        places.give_back(first)
        await asyncio.gather(*(one() for _ in range(100)))

    simulate(work())
    assert len(sent) == 100
    assert min(sent) == 30.0


def test_an_endpoint_that_refuses_everything_is_asked_less_and_less():
    """Down to one call at a time, and that after ever longer pauses of at most half a minute."""
    asked = []

    async def work():
        places, loop = Places(), asyncio.get_running_loop()
        for _ in range(40):
            place = await places.take()
            asked.append(loop.time())
            places.crowded(place, None)
            places.give_back(place)

    simulate(work())
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0


def test_one_cut_for_all_that_were_in_flight_together():
    """Twelve refusals of one moment are one piece of news; the next call's is another."""

    async def work():
        places = Places()
        together = [await places.take() for _ in range(12)]
        for place in together:
            places.crowded(place, None)
            places.give_back(place)
        after_one = places.limit
        places.crowded(place := await places.take(), None)
        places.give_back(place)
        return after_one, places.limit

    after_one, after_two = simulate(work())
    assert after_one == 9
    assert after_two < after_one


def test_a_fixed_number_stays():
    """Neither refusals nor a slow endpoint change it."""
    endpoint, places = Endpoint(5, refuses=True), Places(7)
    flights, _ = simulate(play(places, endpoint, 400))
    assert max(flights) == places.limit == 7


def test_the_oldest_episode_goes_first():
    """Whoever asked first: of those that wait, the calls of the episode that began first."""
    order = []

    async def work():
        places = Places(1)
        held = await places.take()
        begun = [asyncio.Event() for _ in range(6)]

        async def episode(number):
            next_in_turn()
            await begun[number].wait()
            place = await places.take()
            order.append(number)
            places.give_back(place)

        tasks = [asyncio.ensure_future(episode(number)) for number in range(6)]
        await asyncio.sleep(0)
        for number in (3, 5, 0, 4, 1, 2):
            begun[number].set()
            await asyncio.sleep(1)
        places.give_back(held)
        await asyncio.gather(*tasks)

    simulate(work())
    assert order == [0, 1, 2, 3, 4, 5]


@given(data=st.data(), limit=st.sampled_from([1, 2, 5, None]))
@settings(max_examples=60, deadline=None)
def test_whoever_gives_up_leaves_no_hole(data, limit):
    """Calls cancelled while they wait, when they are given their place or in flight: all others are made, none more
    than may be in flight are, and every place comes back."""
    lengths = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0]), min_size=1, max_size=25))
    ends = data.draw(
        st.lists(st.sampled_from([None, 0.0, 0.5, 1.0, 1.5]), min_size=len(lengths), max_size=len(lengths))
    )
    refused = data.draw(st.lists(st.booleans(), min_size=len(lengths), max_size=len(lengths)))
    made = []

    async def work():
        places = Places(limit)
        most = 0

        async def one(number):
            nonlocal most
            next_in_turn()
            place = await places.take()
            most = max(most, places.in_flight)
            try:
                await asyncio.sleep(lengths[number])
                if refused[number]:
                    places.crowded(place, None)
                else:
                    places.kept_up(place, "m", 10)
                made.append(number)
            finally:
                places.give_back(place)

        tasks = [asyncio.ensure_future(one(number)) for number in range(len(lengths))]
        loop = asyncio.get_running_loop()
        for task, end in zip(tasks, ends, strict=True):
            if end is not None:
                loop.call_later(end, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        last = await places.take()  # still to be had
        places.give_back(last)
        return most, places.in_flight

    most, left = simulate(work())
    assert left == 0
    assert most <= (limit or MOST)
    assert set(made) >= {number for number, end in enumerate(ends) if end is None}
