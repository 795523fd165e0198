"""From checks of single steps to how likely each answer is.

An argument is sound if every step of it follows from what it rests on, and the answer from the steps.  Each of these is
checked alone, by somebody who sees no other check, so the probability that the argument is sound is the product of
the probabilities that its steps hold: how the steps of a solution are put together where they are scored one by one
(Lightman et al. 2023, who also try the least of them).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

__all__ = ["log_soundness", "weighed"]


def log_soundness(holds: Sequence[float], rule: Literal["product", "minimum"]) -> float:
    """Log-probability that an argument is sound, from the probabilities that its steps hold; minus infinity for 0.

    Logarithms, so that arguments of many doubtful steps can still be told apart.
    """
    logs = [math.log(one) if one > 0 else -math.inf for one in holds]
    return min(logs) if rule == "minimum" else math.fsum(logs)


def weighed(soundness: Mapping[int, float], answers: int) -> tuple[float, ...]:
    """A probability for each answer, from the log-probabilities that the arguments for them are sound.

    Where every answer has an argument, an answer is as likely as its argument is sound, in proportion: exactly one
    answer is right, and even odds before.  If no argument can be sound, nothing is said for any answer against another,
    and all are equally likely.  Where one answer alone has an argument, it is as likely as that is sound, and the
    others share what is left.

    Parameters
    ----------
    soundness : by answer, of those that are argued for: all, or one.
    answers : how many there are.

    Examples
    --------
    >>> [round(one, 3) for one in weighed({0: math.log(0.9), 1: math.log(0.3)}, 2)]
    [0.75, 0.25]
    >>> weighed({0: -math.inf, 1: -math.inf}, 2)
    (0.5, 0.5)
    """
    if len(soundness) == 1 < answers:
        ((argued, log),) = soundness.items()
        sound = math.exp(log)
        return tuple(sound if answer == argued else (1 - sound) / (answers - 1) for answer in range(answers))
    top = max(soundness.values())
    if top == -math.inf:
        return (1 / answers,) * answers
    weights = [math.exp(soundness[answer] - top) for answer in range(answers)]
    return tuple(weight / math.fsum(weights) for weight in weights)
