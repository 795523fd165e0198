"""What came of attacks in rounds: success, what was learned, diversity, and what criticism was worth."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .accuracy import Estimate, clustered_mean, t_quantile

if TYPE_CHECKING:
    from ..training.queries import Diversity

__all__ = ["ArmReport", "Prediction", "RoundReport", "arm_reports", "difference", "predictions"]

LEAST_QUERIES = 10
"""Valid queries below which nothing is said about collapse: the entropy of few is small anyway."""
LEAST_DIVERSITY = 1 / 6
"""Below this share of the effective forms of as many questions of the arena's own, queries have collapsed."""
LEAST_ITEMS, LEAST_LINEAGES = 10, 5
"""Below these on either side, no prediction is stated."""
LEAST_LOOPS = 3

Record = Mapping[str, Any]


@dataclass(frozen=True)
class RoundReport:
    """A round, over all its loops with one critic.

    Parameters
    ----------
    round : its number; 0 is before the first attack.
    success : share of valid queries that were answered wrongly; what failed or could not be read is unscored.
    invalid : by reason, queries that were none.
    queries : valid and invalid.
    held_out : accuracy after the round on the arena's questions.
    earlier : the same on reserved queries of this round and those before, which were neither criticised nor trained on.
    diversity : of the valid queries, the mean over loops; None in round 0.
    fresh : share of the queries within bounds that had not been asked before; None without any.
    verdicts : share of the critic's verdicts that are right; what is no verdict is unscored.
    wrong_found, right_left : of wrong answers the share called wrong, of right ones the share called right.
    corrected : share of the answers that the critic gave itself that are right.
    fixed : of wrong answers, the share that is right after the critique was read.
    broken : of right answers, the share that is wrong after it was read.
    pairs : preference pairs; ``pairs_right`` of them prefer a right answer to a wrong one.
    failed : calls that failed for good.
    """

    round: int
    success: Estimate
    invalid: Mapping[str, int]
    queries: int
    held_out: Estimate
    earlier: Estimate
    diversity: Diversity | None
    fresh: float | None
    verdicts: Estimate
    wrong_found: Estimate
    right_left: Estimate
    corrected: Estimate
    fixed: Estimate
    broken: Estimate
    pairs: int
    pairs_right: int
    failed: int

    @property
    def balanced(self) -> float | None:
        """Balanced accuracy of the verdicts; None where answers of one kind alone were judged."""
        both = self.wrong_found.mean, self.right_left.mean
        return None if any(map(math.isnan, both)) else math.fsum(both) / 2

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON values, None for what there is not."""
        judged = ("verdicts", "wrong_found", "right_left", "corrected", "fixed", "broken")
        estimates = ("success", "held_out", "earlier", *judged)
        found = self.diversity
        return {
            "round": self.round,
            **{name: _estimate(getattr(self, name)) for name in estimates},
            "balanced": self.balanced,
            "queries": self.queries,
            "invalid": dict(self.invalid),
            "fresh": self.fresh,
            "diversity": None
            if found is None
            else {
                "queries": found.queries,
                "distinct_1": found.distinct_1,
                "distinct_2": found.distinct_2,
                "forms": found.forms,
                "entropy": found.entropy,
            },
            "pairs": self.pairs,
            "pairs_right": self.pairs_right,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class ArmReport:
    """The loops of one critic.

    Parameters
    ----------
    critic : its name.
    rounds : from 0 on.
    warnings : where diversity collapsed.
    """

    critic: str
    rounds: tuple[RoundReport, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        rounds = [one.to_json() for one in self.rounds]
        return {"critic": self.critic, "rounds": rounds, "warnings": list(self.warnings)}


@dataclass(frozen=True)
class Prediction:
    """Whether criticism that is right goes with improvement.

    Parameters
    ----------
    what : what is compared.
    effect : the difference of two shares, or a slope; None where it is not stated.
    low, high : its 95 % interval.
    n, units : items, and independent units they belong to.
    reason : why nothing is stated; empty where it is.
    """

    what: str
    effect: float | None
    low: float | None
    high: float | None
    n: int
    units: int
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        return dict(vars(self))


def _estimate(one: Estimate) -> dict[str, Any]:
    values = {"mean": one.mean, "low": one.low, "high": one.high}
    plain = {name: None if math.isnan(value) else value for name, value in values.items()}
    return {**plain, "n": one.n, "clusters": one.clusters, "unscored": one.unscored}


# ---- round by round -----------------------------------------------------------------------------------


def arm_reports(results: Sequence[Record], held_out: Mapping[str, str]) -> tuple[ArmReport, ...]:
    """The report of each critic, in the order in which they were first played.

    Parameters
    ----------
    results : finished rounds.
    held_out : the questions that accuracy was measured on, by id, in order: the arena's own.
    """
    arms = []
    for critic in dict.fromkeys(one["critic"] for one in results):
        lines = defaultdict(list)
        for one in results:
            if one["critic"] == critic:
                lines[one["round"]].append(one)
        rounds = tuple(_round(number, lines[number], list(held_out)) for number in sorted(lines))
        arms.append(ArmReport(critic, rounds, _collapsed(rounds, len(lines[0]), list(held_out.values()))))
    return tuple(arms)


def _round(number: int, lines: Sequence[Record], held_out: Sequence[str]) -> RoundReport:
    from ..training.queries import Diversity, diversity

    items = [(line["seed"], item) for line in lines for item in line["items"]]
    invalid: Counter[str] = Counter()
    for line in lines:
        invalid.update({reason: len(texts) for reason, texts in line["invalid"].items()})
    several = [diversity([item["text"] for item in line["items"]]) for line in lines if line["items"]]
    asked_before = invalid["asked before"] + invalid["held out"]
    judged = [(seed, item) for seed, item in items if "critique" in item and "right" in item]

    def share(rows: Sequence[tuple[int, Record]], value: str, of: str = "") -> Estimate:
        kept = [row for row in rows if not of or _value(row[1], of) == 1.0]
        return clustered_mean(
            [_value(item, value) for _, item in kept], [(seed, item["lineage"]) for seed, item in kept]
        )

    held = [(question, value) for line in lines for question, value in zip(held_out, line["held_out"], strict=True)]
    old = [
        ((line["seed"], lineage), value)
        for line in lines
        for lineage, value in zip(line["earlier_lineages"], line["earlier"], strict=True)
    ]
    pairs = [item for _, item in items if "pair" in item]
    return RoundReport(
        round=number,
        success=share(items, "wrong"),
        invalid=dict(invalid),
        queries=len(items) + invalid.total(),
        held_out=_mean(held),
        earlier=_mean(old),
        diversity=_mean_diversity(several, Diversity),
        fresh=len(items) / (len(items) + asked_before) if items or asked_before else None,
        verdicts=share(judged, "verdict right"),
        wrong_found=share(judged, "verdict right", "wrong"),
        right_left=share(judged, "verdict right", "right"),
        corrected=share([one for one in judged if one[1].get("corrected") is not None], "corrected right"),
        fixed=share(judged, "refined right", "wrong"),
        broken=share(judged, "refined wrong", "right"),
        pairs=sum(line["pairs"] for line in lines),
        pairs_right=sum(
            item["right"] != item["refined_right"] and item["refined_right"] == (item["pair"] == "second")
            for item in pairs
        ),
        failed=sum(line["failed"] for line in lines),
    )


def _mean(values: Sequence[tuple[Hashable, int | None]]) -> Estimate:
    return clustered_mean(
        [math.nan if value is None else float(value) for _, value in values], [cluster for cluster, _ in values]
    )


def _mean_diversity(several: Sequence[Diversity], kind: type[Diversity]) -> Diversity | None:
    if not several:
        return None
    if len(several) == 1:
        return several[0]

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return math.fsum(known) / len(known) if known else None

    return kind(
        sum(one.queries for one in several),
        mean([one.distinct_1 for one in several]),
        mean([one.distinct_2 for one in several]),
        round(sum(one.forms for one in several) / len(several)),
        math.fsum(one.entropy for one in several) / len(several),
    )


def _value(item: Record, name: str) -> float:
    """0 or 1, or NaN where it is not known."""
    right = item.get("right")
    refined = item.get("refined_right")
    verdict = item.get("verdict")
    match name:
        case "right" | "wrong":
            return math.nan if right is None else float(right == (name == "right"))
        case "verdict right":
            return math.nan if verdict is None or right is None else float((verdict == "right") == right)
        case "corrected right":
            return float(item["corrected"] == item["truth"])
        case _:
            return math.nan if refined is None else float(refined == (name == "refined right"))


def _collapsed(rounds: Sequence[RoundReport], loops: int, own: Sequence[str]) -> tuple[str, ...]:
    """Where the attacker's queries have become alike, the first round of either sign."""
    from ..training.queries import diversity

    found = []
    for one in rounds:
        if one.diversity is None or one.diversity.queries < LEAST_QUERIES * loops:
            continue
        usual = diversity(own[: one.diversity.queries // loops]).effective
        if one.diversity.effective < usual * LEAST_DIVERSITY:
            found.append(
                f"collapse in round {one.round}: its forms are as diverse as {one.diversity.effective:.1f} equally "
                f"frequent ones, less than a sixth of the {usual:.1f} of as many questions of the arena's own"
            )
            break
    for one in rounds:
        if one.fresh is not None and one.fresh < 0.5 and one.queries >= LEAST_QUERIES * loops:
            share = 100 * (1 - one.fresh)
            found.append(f"collapse in round {one.round}: {share:.0f} % of its queries had been asked before")
            break
    return tuple(found)


# ---- what criticism is worth --------------------------------------------------------------------------


def predictions(results: Sequence[Record], trained: bool) -> tuple[Prediction, ...]:
    """Whether right criticism goes with improvement: item by item in context and, over loops, in training.

    In context answers that were wrong and those that were right at first are taken apart, as both how often criticism
    is right and what it can change depend on that.  In training the held-out gain of a loop is set against how often
    its critic was right, within loops that share their chance moves (a seed), so that a lucky seed counts for nothing.
    """
    items = [(line, item) for line in results for item in line["items"] if "critique" in item and "right" in item]

    def compared(what: str, rows: Sequence[tuple[Record, Record]], by: str, outcome: str) -> Prediction:
        kept = [
            (_value(item, by), _value(item, outcome), (line["seed"], item["lineage"]))
            for line, item in rows
            if not math.isnan(_value(item, by)) and not math.isnan(_value(item, outcome))
        ]
        sides = [[(value, unit) for group, value, unit in kept if group == side] for side in (1.0, 0.0)]
        return difference(what, *sides)

    wrong = [(line, item) for line, item in items if item["right"] is False]
    right = [(line, item) for line, item in items if item["right"] is True]
    found = [
        compared("wrong put right: verdict right - wrong", wrong, "verdict right", "refined right"),
        compared(
            "wrong put right: its answer right - wrong",
            [(line, item) for line, item in wrong if item.get("corrected") is not None],
            "corrected right",
            "refined right",
        ),
        compared("right spoilt: verdict right - wrong", right, "verdict right", "refined wrong"),
    ]
    if trained:
        found.append(_over_loops(results))
    return tuple(found)


def difference(
    what: str, first: Sequence[tuple[float, Hashable]], second: Sequence[tuple[float, Hashable]]
) -> Prediction:
    """The difference of two shares, with an interval; refused where there are too few items, or nothing varies.

    Parameters
    ----------
    first, second : values in {0, 1}, each with the unit that it belongs to.

    Notes
    -----
    Newcombe's interval (1998, method 10) from the clustered Wilson intervals of both shares: it keeps a width where a
    share is 0 or 1.  That units stand on both sides makes it wider than it need be where they are alike.
    """
    n = len(first) + len(second)
    units = {unit for _, unit in (*first, *second)}

    def refused(reason: str) -> Prediction:
        return Prediction(what, None, None, None, n, len(units), reason)

    for side in (first, second):
        if len(side) < LEAST_ITEMS or len({unit for _, unit in side}) < LEAST_LINEAGES:
            return refused(
                f"{len(first)} and {len(second)} items: {LEAST_ITEMS} from {LEAST_LINEAGES} lineages are needed on "
                "either side"
            )
    if len({value for value, _ in (*first, *second)}) < 2:
        return refused("all items came out the same")
    one, other = (clustered_mean([value for value, _ in side], [unit for _, unit in side]) for side in (first, second))
    effect = one.mean - other.mean
    low = effect - math.hypot(one.mean - one.low, other.high - other.mean)
    high = effect + math.hypot(one.high - one.mean, other.mean - other.low)
    return Prediction(what, effect, max(-1.0, low), min(1.0, high), n, len(units))


def _over_loops(results: Sequence[Record]) -> Prediction:
    """Held-out gain per unit of the critic's accuracy: the mean of the slopes of all seeds, t interval over seeds."""
    what = "held-out gain per accuracy of verdicts"
    loops: dict[tuple[int, str], list[Record]] = defaultdict(list)
    for line in results:
        loops[line["seed"], line["critic"]].append(line)
    points: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for (seed, _), lines in loops.items():
        verdicts = [_value(item, "verdict right") for line in lines for item in line["items"] if "critique" in item]
        known = [value for value in verdicts if not math.isnan(value)]
        ends = [[value for value in lines[place]["held_out"] if value is not None] for place in (0, -1)]
        if known and all(ends):
            start, end = (math.fsum(one) / len(one) for one in ends)
            points[seed].append((math.fsum(known) / len(known), end - start))
    slopes = [slope for several in points.values() if (slope := _slope(several)) is not None]
    if len(slopes) < LEAST_LOOPS:
        reason = f"{len(slopes)} seeds in which critics differ: {LEAST_LOOPS} are needed, with two critics or more"
        return Prediction(what, None, None, None, len(loops), len(slopes), reason)
    mean = math.fsum(slopes) / len(slopes)
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in slopes) / (len(slopes) - 1) / len(slopes))
    if spread == 0.0:
        return Prediction(what, None, None, None, len(loops), len(slopes), "all seeds have the same slope")
    half = t_quantile(0.95, len(slopes) - 1) * spread
    return Prediction(what, mean, mean - half, mean + half, len(loops), len(slopes))


def _slope(points: Sequence[tuple[float, float]]) -> float | None:
    """Least squares; None where all have one accuracy."""
    if len(points) < 2:
        return None
    centre, level = (math.fsum(one) / len(points) for one in zip(*points, strict=True))
    squares = math.fsum((x - centre) ** 2 for x, _ in points)
    return None if squares < 1e-12 else math.fsum((x - centre) * (y - level) for x, y in points) / squares
