"""What a person gives each answer, in per cent, and how keys change it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

__all__ = ["Credence", "percent"]


def percent(value: float) -> str:
    """A share in per cent as it is shown: whole, and neither 0 nor 100 unless it is that.

    Examples
    --------
    >>> percent(62.0), percent(33.33), percent(0.2), percent(99.9)
    ('62', '33', '<1', '>99')
    """
    if 0 < value < 0.5:
        return "<1"
    if 99.5 <= value < 100:
        return ">99"
    return str(math.floor(value + 0.5))


class Credence:
    """Shares of several answers that sum to 100.

    Parameters
    ----------
    order : the labels, in the order in which they are listed.
    probabilities : what each label starts with; equal shares where it is None.

    Notes
    -----
    Two answers have one share between them: typed numbers are the first one's.  With more, one answer is ``chosen``;
    what it gains the others lose in proportion, but for those that are ``held``.
    """

    def __init__(self, order: Sequence[str], probabilities: Mapping[str, float] | None = None) -> None:
        self.order = tuple(order)
        equal = 100 / len(self.order)
        self.shares = [equal if probabilities is None else 100 * probabilities[label] for label in self.order]
        self.chosen = 0
        self.held: set[int] = set()
        self.typed = ""

    @property
    def probabilities(self) -> dict[str, float]:
        """A probability for each label, summing to 1."""
        whole = math.fsum(self.shares)
        return {label: share / whole for label, share in zip(self.order, self.shares, strict=True)}

    def in_order(self, labels: Sequence[str]) -> tuple[float, ...]:
        """The probabilities in the order of ``labels``."""
        by_label = self.probabilities
        return tuple(by_label[label] for label in labels)

    def words(self) -> str:
        """``A 72 %, B 28 %``."""
        shares = zip(self.order, self.shares, strict=True)
        return ", ".join(f"{label} {percent(share)} %" for label, share in shares)

    def choose(self, place: int) -> None:
        """Let keys change the answer at this place."""
        self.chosen = min(max(place, 0), len(self.order) - 1)
        self.typed = ""

    def hold(self) -> None:
        """Keep the chosen answer as it is while others change, or no longer."""
        self.held ^= {self.chosen}
        self.typed = ""

    def move(self, by: int) -> None:
        """Give the chosen answer so much more, from its whole per cent."""
        self.typed = ""
        self.set(math.floor(self.shares[self.chosen] + 0.5) + by)

    def set(self, share: float) -> None:
        """Give the chosen answer this share; the others keep their proportions to each other."""
        others = [place for place in range(len(self.order)) if place != self.chosen]
        free = [place for place in others if place not in self.held]
        if not free:
            return
        fixed = math.fsum(self.shares[place] for place in others if place in self.held)
        share = min(max(float(share), 0.0), max(100 - fixed, 0.0))
        left = max(100 - fixed - share, 0.0)
        before = math.fsum(self.shares[place] for place in free)
        for place in free:
            self.shares[place] = left * self.shares[place] / before if before > 1e-9 else left / len(free)
        self.shares[self.chosen] = share

    def type(self, digit: str) -> bool:
        """Take a digit of a number for the chosen answer; whether it makes one up to 100."""
        typed = str(int(self.typed + digit))
        if int(typed) > 100:
            return False
        self.set(int(typed))
        self.typed = typed
        return True

    def erase(self) -> None:
        """Take the last digit back."""
        typed = self.typed[:-1]
        if typed:
            self.set(int(typed))
        self.typed = typed
