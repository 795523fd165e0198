"""The orderings of an episode, each drawn on its own, balanced by design and swapped by default.

Three things that published code has taken for one: which answer bears which label; who speaks first and who
defends what; in which order the judge is offered its options.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from typing import Any

from ..identity import seed_from

__all__ = ["Seating", "seatings"]


@dataclass(frozen=True, slots=True)
class Seating:
    """The orderings of one episode, as indices into the question's answers.

    Parameters
    ----------
    labels : ``labels[k]`` is the answer that bears the k-th label (A, B, ...).
    speaking : ``speaking[i]`` is the answer defended by the seat that speaks i-th.
    defends : ``defends[j]`` is the answer defended by the j-th agent of an arguing role's cast.
    options : ``options[i]`` is the answer offered i-th in a choice.
    """

    labels: tuple[int, ...]
    speaking: tuple[int, ...]
    defends: tuple[int, ...]
    options: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """The seating as JSON values."""
        return {name: list(getattr(self, name)) for name in _ORDERS}


_ORDERS = tuple(one.name for one in fields(Seating))


def _balanced(seed: int, ordering: str, index: int, answers: int) -> tuple[int, ...]:
    """An order for question ``index``: in every block of ``answers`` questions each answer takes each place once.

    A block's orders are the rotations of one random order, in random sequence.
    """
    block, place = divmod(index, answers)
    chance = random.Random(seed_from(seed, ordering, answers, block))
    order, rotations = list(range(answers)), list(range(answers))
    chance.shuffle(order)
    chance.shuffle(rotations)
    shift = rotations[place]
    return tuple(order[shift:] + order[:shift])


def seatings(index: int, answers: int, arguing_seats: int, seed: int, *, swap: bool) -> list[Seating]:
    """The seatings in which a question is played.

    Parameters
    ----------
    index : the question's place in the run, over which single seatings are balanced.
    answers : how many answers it has.
    arguing_seats : how many seats of the protocol argue for an answer.
    seed : the run's seed.
    swap : False gives one seating.  True gives one an answer where not every answer is argued for, so that
        each is argued for once, and else two, in the second of which every ordering is reversed.

    Notes
    -----
    Two answers have two orders, so reversing all orderings at once swaps each of them within the question;
    that they are drawn independently for each question keeps them from standing for one another.
    """
    base = {
        ordering: _balanced(seed, ordering, index, answers) for ordering in ("labels", "speaking", "defends", "options")
    }
    if not swap:
        return [Seating(**base)]
    if 0 < arguing_seats < answers:
        return [Seating(**{name: order[k:] + order[:k] for name, order in base.items()}) for k in range(answers)]
    return [Seating(**base), Seating(**{name: order[::-1] for name, order in base.items()})]
