"""Wrong numbers beside a right one that tell nothing to whoever reads the options without the question.

Numbers that are drawn around the right one leave it in the middle, and numbers of another shape leave it alone
in its own: such items are answered without being read.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

from .identity import seed_from

__all__ = ["BLIND_RULES", "filled_options", "shared_options", "usual_shape"]

Options = Sequence[Decimal]


def _scale(value: Decimal) -> float:
    """About the logarithm for large numbers of either sign, and a straight line through 0."""
    return math.asinh(float(value))


def _digits(value: Decimal, options: Options) -> float:
    return len(str(value))


def _final_zeros(value: Decimal, options: Options) -> float:
    return len(str(value)) - len(str(value).rstrip("0"))


def _by_five(value: Decimal, options: Options) -> float:
    return float(value % 5 == 0)


def _by_ten(value: Decimal, options: Options) -> float:
    return float(value % 10 == 0)


def _by_two(value: Decimal, options: Options) -> float:
    return float(value % 2 == 0)


def _isolation(value: Decimal, options: Options) -> float:
    return min(abs(_scale(value) - _scale(other)) for other in options if other != value)


def _distance(value: Decimal, options: Options) -> float:
    return math.fsum(abs(_scale(value) - _scale(other)) for other in options)


def _off_the_mean(value: Decimal, options: Options) -> float:
    numbers = [float(option) for option in options]
    return abs(float(value) - math.fsum(numbers) / len(numbers)) / (max(numbers) - min(numbers))


def _off_the_middle(value: Decimal, options: Options) -> float:
    return abs(_scale(value) - math.fsum(map(_scale, options)) / len(options))


def _size(value: Decimal, options: Options) -> float:
    return _scale(value)


def _one_figure(value: Decimal, options: Options) -> float:
    return float(abs(value) < 10)


def _one_or_nought(value: Decimal, options: Options) -> float:
    return float(value in (0, 1))


def _negative(value: Decimal, options: Options) -> float:
    return float(value < 0)


def _alike_in_length(value: Decimal, options: Options) -> float:
    return sum(len(str(other)) == len(str(value)) for other in options)


def _multiples(value: Decimal, options: Options) -> float:
    return sum(value != 0 and other % value == 0 for other in options if other != value)


def _divisors(value: Decimal, options: Options) -> float:
    return sum(other != 0 and value % other == 0 for other in options if other != value)


BLIND_RULES: dict[str, Callable[[Decimal, Options], float]] = {
    "digits": _digits,
    "final zeros": _final_zeros,
    "divisible by five": _by_five,
    "divisible by ten": _by_ten,
    "even": _by_two,
    "negative": _negative,
    "one figure": _one_figure,
    "one or nought": _one_or_nought,
    "size": _size,
    "far from the next": _isolation,
    "far from all others": _distance,
    "far from the mean": _off_the_mean,
    "far from the mean of logarithms": _off_the_middle,
    "as long as others": _alike_in_length,
    "divisor of others": _multiples,
    "multiple of others": _divisors,
}
"""What can be said of an option without the question: each is a rule to pick the option with most of it, or least."""


APART = 0.3
"""Weight of how far rules set right numbers apart, beside how often they pick them: about equal in size with it."""


def _advantages(correct: Decimal, options: Options) -> list[float]:
    """What each rule, both ways round, gains over chance on one item, ties drawn; and how far it sets it apart.

    Where what sets right numbers apart sums to 0, no weighting of the rules in a conditional logit is more likely
    than none: its likelihood is concave, and this sum is its gradient at 0.
    """
    found = []
    for rule in BLIND_RULES.values():
        values = {option: rule(option, options) for option in options}
        for best in (max(values.values()), min(values.values())):
            picked = [option for option in options if values[option] == best]
            found.append((correct in picked) / len(picked) - 1 / len(options))
        found.append(APART * (values[correct] - math.fsum(values.values()) / len(options)))
    return found


def usual_shape(right: Sequence[Decimal]) -> Callable[[Decimal], bool]:
    """Whether a number has the shape of right ones: whole, or not negative, where 99 % of them are."""
    whole = sum(number % 1 == 0 for number in right) >= 0.99 * len(right)
    positive = sum(number >= 0 for number in right) >= 0.99 * len(right)
    return lambda number: (number % 1 == 0 or not whole) and (number >= 0 or not positive)


def shared_options(numbers: Sequence[Decimal], count: int) -> list[tuple[Decimal, ...]]:
    """Options for questions whose right answers are ``numbers``: right answers of other questions of like size.

    Questions are put in groups of ``count`` that share their options, and each option is the right one of one of
    them.  Any rule that reads the options alone is right once in a group: exactly at chance over the whole, up to
    fewer than ``count`` questions left over and those whose number is too common to be grouped.

    Parameters
    ----------
    numbers : the right answers.
    count : options of a question, at least two and no more than there are different numbers.

    Returns
    -------
    for each number, ``count`` different ones in ascending order, itself among them.
    """
    different = sorted(set(numbers))
    if not 2 <= count <= len(different):
        raise ValueError(f"{count} options from {len(different)} different numbers")
    order = sorted(range(len(numbers)), key=lambda index: (numbers[index], index))
    found: list[tuple[Decimal, ...]] = [()] * len(numbers)
    start = 0
    while len(numbers) - start >= count:
        # Members of a group lie ``width`` places apart, so that they are no neighbours and never the same number.
        most = (len(numbers) - start) // count
        width = min(8, most)
        while True:
            band = order[start : start + width * count]
            commonest = max(Counter(numbers[index] for index in band).values())
            if commonest <= width or width == most:
                break
            width = min(commonest, most)
        if commonest > width:
            break
        for place in range(width):
            group = band[place::width]
            for index in group:
                found[index] = tuple(numbers[one] for one in group)
        start += width * count
    for index in order[start:]:
        place = bisect_left(different, numbers[index])
        rank = seed_from("rank among neighbours", str(numbers[index]), index) % count
        first = min(max(place - rank, 0), len(different) - count)
        found[index] = tuple(different[first : first + count])
    return found


def filled_options(
    correct: Sequence[Decimal], wrong: Sequence[Sequence[Decimal]], count: int, tries: int = 12
) -> list[tuple[Decimal, ...]]:
    """Each question's given wrong numbers, filled up with others so that no simple blind rule finds the right one.

    Places in the order of size are dealt out first: the right number is the smallest in as many questions as the
    second smallest, and so on.  The numbers that are filled in lie about as far from given wrong ones as those lie
    from right ones, and are right answers of other questions, so that they have the shape of such.  Of ``tries``
    drawn fillings each question gets the one that brings the sum of what each of :data:`BLIND_RULES` gains nearest
    to 0.

    Parameters
    ----------
    correct : the right answers.
    wrong : for each, different wrong numbers.
    count : options that each question has in the end; fewer where there are not enough numbers.

    Returns
    -------
    for each question, its options in ascending order.
    """
    pool = sorted(filter(usual_shape(correct), set(correct)))
    steps = [_scale(one) - _scale(right) for right, others in zip(correct, wrong, strict=True) for one in others]
    steps = steps or [-1.0, -0.5, 0.5, 1.0]
    ranges = []
    for right, others in zip(correct, wrong, strict=True):
        free = [number for number in pool if number != right and number not in others]
        below, above = sum(one < right for one in others), sum(one > right for one in others)
        size = max(min(count, 1 + len(others) + len(free)), 1 + len(others))
        free_below = sum(number < right for number in free)
        lowest = max(below, size - 1 - above - (len(free) - free_below))
        ranges.append((size, lowest, min(size - 1 - above, below + free_below)))
    ranks = _dealt(ranges)

    found: list[tuple[Decimal, ...]] = [()] * len(correct)
    gains = [0.0] * (3 * len(BLIND_RULES))
    # Where much is given there is little to choose; what it gains is made up for by the others.
    for index in sorted(range(len(correct)), key=lambda index: (-len(wrong[index]), index)):
        right, others = correct[index], wrong[index]
        best = math.inf
        chosen: tuple[tuple[Decimal, ...], list[float]] = ((right,), gains)
        for attempt in range(tries if ranges[index][0] > 1 + len(others) else 1):
            chance = random.Random(seed_from("filling", index, attempt, str(right), [str(one) for one in others]))
            options = _filling(right, others, ranges[index][0], ranks[index], pool, steps, chance)
            if len(options) == 1:
                break
            sums = [gain + more for gain, more in zip(gains, _advantages(right, options), strict=True)]
            off = math.fsum(gain * gain for gain in sums)
            if off < best:
                best, chosen = off, (options, sums)
        found[index], gains = chosen
    return found


def _dealt(ranges: Sequence[tuple[int, int, int]]) -> list[int]:
    """A place for each (options, lowest place, highest place), each place as often as can be."""
    ranks = [0] * len(ranges)
    for size in sorted({size for size, _, _ in ranges}):
        left = {index for index, (one, _, _) in enumerate(ranges) if one == size}
        each, over = divmod(len(left), size)
        for place in range(size):
            open_to = [index for index in left if ranges[index][1] <= place]
            open_to.sort(key=lambda index: (ranges[index][2], seed_from("place", index), index))
            due = sum(ranges[index][2] == place for index in open_to)
            for index in open_to[: max(due, each + (place < over))]:
                ranks[index] = place
                left.remove(index)
    return ranks


def _filling(
    right: Decimal,
    others: Sequence[Decimal],
    size: int,
    rank: int,
    pool: Sequence[Decimal],
    steps: Sequence[float],
    chance: random.Random,
) -> tuple[Decimal, ...]:
    """``size`` options with ``right`` at place ``rank`` among them."""
    options = [right, *others]
    below = sum(one < right for one in others)
    sides = [-1] * (rank - below) + [1] * (size - 1 - rank - (len(others) - below))
    chance.shuffle(sides)
    for side in sides:
        for _ in range(30):
            # Beside a wrong number, not the right one, or the right one would be the one with neighbours.
            beside = chance.choice([one for one in options if one != right] or options)
            aim = _scale(beside) + chance.choice(steps)
            place = bisect_left(pool, aim, key=_scale)
            near = min(pool[max(place - 1, 0) : place + 1], key=lambda number: abs(_scale(number) - aim))
            if near not in options and (near > right) == (side > 0):
                break
        else:
            free = [number for number in pool if number not in options and (number > right) == (side > 0)]
            near = min(free, key=lambda number: abs(_scale(number) - _scale(right)))
        options.append(near)
    return tuple(sorted(options))
