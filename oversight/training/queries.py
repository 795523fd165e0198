"""What an attacker wrote: how it is read, and how diverse it is."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..identity import digest
from ..questions import Arena, Part

__all__ = ["Diversity", "Written", "diversity", "form_of", "normal_form", "read_queries", "understood"]


@dataclass(frozen=True)
class Written:
    """A line of an attacker's reply.

    Parameters
    ----------
    text : the question.
    parent : number of the earlier question that it says it was made from; None where it names none.
    """

    text: str
    parent: int | None = None


def read_queries(text: str, most: int) -> list[Written]:
    """The questions of numbered lines, ``2. What is 3 + 4? (from 7)``; ``most`` of them, and no other lines.

    Examples
    --------
    >>> read_queries("Here you are:\\n1. What is 2 + 3? (from 7)\\n2. What is 5 * 4?", 4)
    [Written(text='What is 2 + 3?', parent=7), Written(text='What is 5 * 4?', parent=None)]
    """
    found = []
    for line in text.splitlines():
        number = re.match(r"\(?[0-9]{1,4}[.):]\s+", line.strip())
        if number is None:
            continue
        words = line.strip()[number.end() :]
        parent = re.search(r"\(from ([0-9]{1,9})\)$", words)
        text = words if parent is None else words[: parent.start()].rstrip()
        if text:
            found.append(Written(text, None if parent is None else int(parent[1])))
    return found[:most]


def understood(arena: Arena, text: str) -> tuple[Part | None, str]:
    """What a query means in the arena, and why it is none; the reason is empty where it is one."""
    part = arena.part(text)
    if part is None:
        return None, "unreadable"
    return (part, "") if arena.admits(part) else (None, "out of bounds")


def normal_form(part: Part) -> str:
    """The same for all ways to write one question."""
    return digest(dict(part.structure), 12)


def form_of(text: str) -> str:
    """A query with its numbers left out: the feature that diversity is told by."""
    return re.sub("[0-9]+", "#", " ".join(text.split()))


@dataclass(frozen=True)
class Diversity:
    """How different the queries of a round are.

    Parameters
    ----------
    queries : how many.
    distinct_1, distinct_2 : different words, and pairs of neighbouring words, per word and pair (Li et al. 2016); None
        without any.
    forms : different forms.
    entropy : of the forms, in bits.
    """

    queries: int
    distinct_1: float | None
    distinct_2: float | None
    forms: int
    entropy: float

    @property
    def effective(self) -> float:
        """Forms that are equally often used and have the same entropy."""
        return 2.0**self.entropy if self.queries else 0.0


def diversity(texts: Sequence[str]) -> Diversity:
    """How different texts are.

    Examples
    --------
    >>> diversity(["1 + 2", "3 + 4", "1 * 2", "5 * 6"]).entropy
    1.0
    """
    words = [re.findall(r"[0-9]+|\w+|[^\w\s]", text) for text in texts]
    singles = [word for one in words for word in one]
    pairs = [pair for one in words for pair in pairwise(one)]
    forms = Counter(form_of(text) for text in texts)
    shares = [count / len(texts) for count in forms.values()]
    return Diversity(
        len(texts),
        len(set(singles)) / len(singles) if singles else None,
        len(set(pairs)) / len(pairs) if pairs else None,
        len(forms),
        max(0.0, -math.fsum(share * math.log2(share) for share in shares)),
    )
