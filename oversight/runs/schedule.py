"""Which planned episodes a tournament plays next, and whether it has played enough.

A schedule picks from the plan's episodes and never makes one up.  It goes in batches: what the next batch is
follows from the plan, the options and what came out of the batches before, never from the order in which a
batch's episodes happened to finish.  A run that was stopped is resumed by asking for its batches again.

Every schedule plays a question in all its seatings at once, so that orderings stay balanced wherever it stops.

``round-robin``  question by question, every cell (protocol, debaters, judge) on each: all cells have played
                 equally often, but for one question.
``swiss``        rounds on one question each, in which each debater meets one other, before each judge under
                 each protocol: one of about the same score, not met before where that can be had.
``adaptive``     what most shrinks the width of the target under a model fitted to the results so far: the cell
                 whose next question most lowers the variance of the slope, or the two debaters whose next debate
                 most lowers the variance of a rating difference.  Questions of new sources come first.

An interval that ended a run by its own width is slightly too narrow: runs stop sooner where chance made it
narrow.  As the width, not the estimate or its significance, decides, the estimate stays unbiased to first
order and the coverage tends to the nominal one (Chow and Robbins 1965); ``tests/benchmark_schedules.py``
prints the coverage that is left.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.accuracy import t_quantile
from ..analysis.curve import CellRows, fit_curve
from ..analysis.ratings import PairResult, fit_ratings, logistic
from .plan import Episode, Plan, Scheduling, player

__all__ = [
    "MINIMUM_SOURCES",
    "Bye",
    "Cell",
    "Look",
    "Planned",
    "Result",
    "Schedule",
    "look_to_json",
    "planned_episodes",
    "rating_widths",
    "result_of",
    "unit_of",
]

Array = NDArray[np.float64]

MINIMUM_SOURCES = 10
"""A width that rests on fewer sources stops nothing: a clustered variance may then be far too small."""

_LEVEL = 0.95
_POINTS = 400.0 / math.log(10.0)
"""Rating points of one natural unit of log-odds."""

_EXPLORED = 8
"""One question in so many goes to the cell that played least: two ends alone cannot show a curve's shape."""

_SLOPE_PRIOR = 1.0 / 2.5**2
"""Precision of intercept and slope on a gap of unit variance, for choosing only (scale of Gelman et al. 2008)."""

_RATING_PRIOR = 1.0 / 2.0**2
"""Precision of a strength in natural units, for choosing only: a standard deviation of about 350 points."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is compared: a protocol with those who argue and those who decide.

    Parameters
    ----------
    protocol : key of the protocol.
    debaters : different agents that argue, in the order of the cast: none, one or two.
    judges : different agents that decide.
    """

    protocol: str
    debaters: tuple[str, ...]
    judges: tuple[str, ...]

    @property
    def meets(self) -> bool:
        """Whether two agents argue against each other."""
        return len(self.debaters) == 2

    def gap(self, capability: Mapping[str, float]) -> float | None:
        """Capability of who argues minus that of who decides; None where it is not known, or nobody argues."""
        values = [[capability.get(name, math.nan) for name in names] for names in (self.debaters, self.judges)]
        if not all(side and all(map(math.isfinite, side)) for side in values):
            return None
        above, below = (math.fsum(side) / len(side) for side in values)
        return above - below


@dataclass(frozen=True, slots=True)
class Planned:
    """A planned episode, as far as a schedule needs to know it.

    Parameters
    ----------
    id : of the episode.
    cell : who plays it, under which protocol.
    question : the question's id.
    source : what the question was made from.
    sample : index of the sample.
    """

    id: str
    cell: Cell
    question: str
    source: str
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What came out of an episode.

    Parameters
    ----------
    credit : of the verdict, in [0, 1]; NaN when unscored.
    won : by the first of two debaters: 1, 0, or ½ where both answers got the same probability; NaN where no two
        debaters met, or unscored.
    """

    credit: float
    won: float = math.nan


@dataclass(frozen=True)
class Bye:
    """An agent that sat out a Swiss round, as nobody was left to meet.

    Parameters
    ----------
    round : number of the round, from 1.
    protocol : key of the protocol.
    judges : who would have decided.
    agent : who sat out.
    """

    round: int
    protocol: str
    judges: tuple[str, ...]
    agent: str


@dataclass(frozen=True)
class Look:
    """How far a tournament is.

    Parameters
    ----------
    episodes : played so far.
    sources : different sources that the target's interval rests on.
    width : of the 95 % interval, in log-odds per unit of capability or in rating points; infinite where the
        target is not identified.
    enough : whether the width is at most what was asked for, on enough sources.
    reason : why the target is not identified; empty where it is.
    """

    episodes: int
    sources: int
    width: float
    enough: bool
    reason: str = ""


@dataclass(frozen=True)
class _Bundle:
    """A cell on a question: all its seatings, played together."""

    cell: int
    place: int
    source: str
    episodes: tuple[Planned, ...]


@dataclass
class _Choice:
    """The bundles of a batch while it is put together."""

    size: int
    chosen: list[_Bundle] = field(default_factory=list)
    episodes: int = 0

    @property
    def full(self) -> bool:
        return self.episodes >= self.size

    def add(self, bundle: _Bundle) -> None:
        self.chosen.append(bundle)
        self.episodes += len(bundle.episodes)


class Schedule:
    """Chooses the batches of a tournament, from results alone.

    Parameters
    ----------
    planned : every episode that may be played, in the order of the plan.
    scheduling : how to choose, what to look at, when to stop.
    capability : capability of each agent; missing or NaN where it is not known.

    Examples
    --------
    >>> cell = Cell("debate", ("strong", "weak"), ("judge",))
    >>> schedule = Schedule([Planned("e1", cell, "q1", "page 1")], Scheduling("round-robin"))
    >>> [one.id for one in schedule.next({})]
    ['e1']
    >>> schedule.next({"e1": Result(1.0, 1.0)})
    []
    """

    def __init__(
        self, planned: Iterable[Planned], scheduling: Scheduling, capability: Mapping[str, float] | None = None
    ) -> None:
        self.planned = list(planned)
        self.scheduling = scheduling
        self.capability = dict(capability or {})
        self.byes: list[Bye] = []
        """Byes of the Swiss rounds chosen so far."""
        self.cells = list(dict.fromkeys(one.cell for one in self.planned))
        self._number = {cell: number for number, cell in enumerate(self.cells)}
        self._places = _places(self.planned)
        self._rounds: Counter[tuple[str, tuple[str, ...]]] = Counter()
        grouped: dict[tuple[int, int], list[Planned]] = defaultdict(list)
        for one in self.planned:
            grouped[self._number[one.cell], self._places[one.question, one.sample]].append(one)
        self._bundles = [
            _Bundle(cell, place, members[0].source, tuple(members)) for (cell, place), members in grouped.items()
        ]
        self._bundles.sort(key=lambda bundle: (bundle.place, bundle.cell))
        self._order = {one.id: number for number, one in enumerate(self.planned)}
        self._bundle_of = {one.id: number for number, bundle in enumerate(self._bundles) for one in bundle.episodes}

    # ---- what is played next --------------------------------------------------------------------

    def next(self, results: Mapping[str, Result]) -> list[Planned]:
        """The next batch, none of it in ``results``; empty when the schedule has nothing left.

        Parameters
        ----------
        results : by episode, what came out of the batches so far; their order does not matter.
        """
        closed = {
            number
            for number in {self._bundle_of[one.id] for one, _ in self._known(results)}
            if all(one.id in results for one in self._bundles[number].episodes)
        }
        left = [bundle for number, bundle in enumerate(self._bundles) if number not in closed]
        choice = _Choice(self.scheduling.batch)
        if self.scheduling.kind == "swiss":
            self._swiss(choice, left, results)
            if not choice.chosen and self.scheduling.until_width is not None:
                self._in_turn(choice, left)
        else:
            if self.scheduling.kind == "adaptive" and self.scheduling.target == "slope":
                self._for_slope(choice, left, results)
            elif self.scheduling.kind == "adaptive":
                self._for_rating_gap(choice, left, results)
            self._in_turn(choice, left)
        return [one for bundle in choice.chosen for one in bundle.episodes if one.id not in results]

    @staticmethod
    def _in_turn(choice: _Choice, left: Sequence[_Bundle]) -> None:
        """What is left, question by question, until the batch is full."""
        taken = {id(bundle) for bundle in choice.chosen}
        for bundle in left:
            if choice.full:
                return
            if id(bundle) not in taken:
                choice.add(bundle)

    def _known(self, results: Mapping[str, Result]) -> list[tuple[Planned, Result]]:
        """What is known, in the order of the plan, whatever the order it came in."""
        numbers = sorted(self._order[name] for name in results if name in self._order)
        return [(self.planned[number], results[self.planned[number].id]) for number in numbers]

    def _played(self, results: Mapping[str, Result]) -> Iterator[_Bundle]:
        """Bundles of which something is played."""
        return (
            self._bundles[number] for number in sorted({self._bundle_of[one.id] for one, _ in self._known(results)})
        )

    # ---- swiss ----------------------------------------------------------------------------------

    def _swiss(self, choice: _Choice, left: Sequence[_Bundle], results: Mapping[str, Result]) -> None:
        """One round: a matching of the debaters before each judge under each protocol."""
        open_to: dict[int, list[_Bundle]] = defaultdict(list)
        for bundle in left:
            open_to[bundle.cell].append(bundle)
        met: Counter[int] = Counter()
        used: dict[tuple[str, tuple[str, ...]], Counter[int]] = defaultdict(Counter)
        points: dict[tuple[str, tuple[str, ...], str], list[float]] = defaultdict(list)
        for bundle in self._played(results):
            cell = self.cells[bundle.cell]
            met[bundle.cell] += 1
            used[cell.protocol, cell.judges][bundle.place] += 1
            won = [results[one.id].won for one in bundle.episodes if one.id in results]
            known = [value for value in won if not math.isnan(value)]
            if cell.meets and known:
                share = math.fsum(known) / len(known)
                for agent, score in zip(cell.debaters, (share, 1.0 - share), strict=True):
                    points[cell.protocol, cell.judges, agent].append(score)
        groups: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
        for number, cell in enumerate(self.cells):
            groups[cell.protocol, cell.judges].append(number)
        places = range(len(self._places))
        for group, numbers in groups.items():
            meeting = [number for number in numbers if self.cells[number].meets]
            fewest = min((used[group][place] for place in places), default=0)
            if fewest and self.scheduling.until_width is None:
                continue  # every question has had its round
            if not meeting:
                for number in numbers:  # nobody to meet: each cell plays along, a question a round
                    if open_to[number]:
                        choice.add(open_to[number][0])
                continue
            games: Counter[str] = Counter()
            for number in meeting:
                games.update({agent: met[number] for agent in self.cells[number].debaters})
            scores = {agent: _mean(points[(*group, agent)]) for agent in games}
            pairs, bye = self._matching(meeting, open_to, met, games, scores)
            if not pairs:
                continue
            self._rounds[group] += 1
            self.byes += [Bye(self._rounds[group], *group, agent) for agent in bye]
            for number in pairs:
                choice.add(min(open_to[number], key=lambda bundle: (used[group][bundle.place], bundle.place)))

    def _matching(
        self,
        meeting: Sequence[int],
        open_to: Mapping[int, Sequence[_Bundle]],
        met: Mapping[int, int],
        games: Mapping[str, int],
        scores: Mapping[str, float],
    ) -> tuple[list[int], list[str]]:
        """Cells of a round, and who sits out: as many pairs as can be, met least, nearest in score."""
        import networkx

        # Of an odd number, who has had the fewest byes, and so the most games, sits out; then the weakest.
        order = list(games)
        ranked = sorted(order, key=lambda agent: (-scores[agent], order.index(agent)))
        out = [max(reversed(ranked), key=lambda agent: games[agent])] if len(ranked) % 2 else []
        ranked = [agent for agent in ranked if agent not in out]
        rank = {agent: place for place, agent in enumerate(ranked)}
        apart, often = len(rank) ** 3 + 1, max((met[number] for number in meeting), default=0)
        graph = networkx.Graph()
        graph.add_nodes_from(range(len(ranked)))
        cell_of: dict[tuple[int, int], int] = {}
        for number in meeting:
            first, second = self.cells[number].debaters
            if open_to.get(number) and first in rank and second in rank:
                pair = (min(rank[first], rank[second]), max(rank[first], rank[second]))
                cell_of[pair] = number
                weight = (often - met[number] + 1) * apart - (pair[1] - pair[0]) ** 2
                graph.add_edge(*pair, weight=weight)
        matched = networkx.max_weight_matching(graph, maxcardinality=True)
        pairs = sorted((min(pair), max(pair)) for pair in matched)
        paired = {place for pair in pairs for place in pair}
        out += [agent for agent, place in rank.items() if place not in paired]
        return [cell_of[pair] for pair in pairs], out

    # ---- adaptive -------------------------------------------------------------------------------

    def _for_slope(self, choice: _Choice, left: Sequence[_Bundle], results: Mapping[str, Result]) -> None:
        """Bundles that most lower the variance of the slope of the protocol whose interval is widest."""
        queues = _queues(left, [number for number, gap in enumerate(self._gaps) if gap is not None])
        widths = {key: fit[0] for key, fit in self._slopes(results).items()}
        models: dict[str, _SlopeModel] = {}
        for key in widths:
            numbers = [n for n, cell in enumerate(self.cells) if cell.protocol == key and self._gaps[n] is not None]
            gaps = [gap for n in numbers if (gap := self._gaps[n]) is not None]
            if len(set(gaps)) > 1:
                models[key] = _SlopeModel(numbers, gaps)
        count: Counter[int] = Counter()
        for bundle in self._played(results):
            if self._gaps[bundle.cell] is None:
                continue
            count[bundle.cell] += 1
            credits = [results[one.id].credit for one in bundle.episodes if one.id in results]
            key = self.cells[bundle.cell].protocol
            if key in models:
                models[key].learn(bundle.cell, [value for value in credits if not math.isnan(value)])
        for key, model in models.items():
            model.fit(widths[key])
        turn = sum(count.values())
        while not choice.full:
            able = {key: model for key, model in models.items() if any(queues.get(n) for n in model.numbers)}
            if not able:
                return
            turn += 1
            if turn % _EXPLORED == 0:
                number = min(
                    (n for model in able.values() for n in model.numbers if queues.get(n)), key=lambda n: (count[n], n)
                )
            else:
                widest = list(able.values())[_first_highest([model.variance for model in able.values()])]
                number = widest.best(lambda n: len(queues[n][0].episodes) if queues.get(n) else 0)
            bundle = queues[number].pop(0)
            count[number] += 1
            models[self.cells[number].protocol].expect(number, len(bundle.episodes))
            choice.add(bundle)

    def _for_rating_gap(self, choice: _Choice, left: Sequence[_Bundle], results: Mapping[str, Result]) -> None:
        """Bundles of the two debaters whose next debate most lowers the variance of the widest rating difference."""
        agents = self._meeting
        if len(agents) < 2:
            return
        index = {agent: place for place, agent in enumerate(agents)}
        queues: dict[tuple[int, int], list[_Bundle]] = defaultdict(list)
        pair_of: dict[int, tuple[int, int]] = {}
        for number, cell in enumerate(self.cells):
            if cell.meets:
                first, second = sorted(index[agent] for agent in cell.debaters)
                pair_of[number] = (first, second)
        for bundle in left:
            if bundle.cell in pair_of:
                queues[pair_of[bundle.cell]].append(bundle)
        used: Counter[int] = Counter()
        sources: Counter[tuple[int, int, str]] = Counter()
        anywhere: Counter[str] = Counter()
        scored, games = np.zeros((len(agents), len(agents))), np.zeros((len(agents), len(agents)))
        for bundle in self._played(results):
            if bundle.cell not in pair_of:
                continue
            a, b = (index[agent] for agent in self.cells[bundle.cell].debaters)
            used[bundle.cell] += 1
            sources[(*pair_of[bundle.cell], bundle.source)] += 1
            anywhere[bundle.source] += 1
            for one in bundle.episodes:
                won = results[one.id].won if one.id in results else math.nan
                if not math.isnan(won):
                    scored[a, b] += won
                    scored[b, a] += 1.0 - won
                    games[a, b] += 1.0
                    games[b, a] += 1.0
        strengths = _posterior_mode(scored, games)
        chances = logistic(strengths[:, None] - strengths[None, :])
        weight = chances * (1.0 - chances)
        information = _laplacian(games * weight) + _RATING_PRIOR * np.eye(len(agents))
        covariance = np.linalg.inv(information)
        pairs = self._contrasts(index)
        while not choice.full:
            able = [pair for pair in sorted(queues) if queues[pair]]
            if not able:
                return
            variances = [covariance[a, a] + covariance[b, b] - 2.0 * covariance[a, b] for a, b in pairs]
            a, b = pairs[_first_highest(variances)]
            lower, upper = np.array(able).T
            size = np.array([len(queues[pair][0].episodes) for pair in able], dtype=float)
            column = covariance[:, a] - covariance[:, b]
            spread = covariance[lower, lower] + covariance[upper, upper] - 2.0 * covariance[lower, upper]
            informs = size * weight[lower, upper]
            gains = (column[lower] - column[upper]) ** 2 * informs / (1.0 + informs * spread)
            pair = able[_first_highest(gains / size)]
            queue = queues[pair]
            # New to the two, then to everybody: the more sources, the more the interval has to rest on.
            bundle = min(
                queue,
                key=lambda one: (
                    sources[(*pair, one.source)],
                    anywhere[one.source],
                    used[one.cell],
                    one.place,
                    one.cell,
                ),
            )
            queue.remove(bundle)
            used[bundle.cell] += 1
            sources[(*pair, bundle.source)] += 1
            anywhere[bundle.source] += 1
            choice.add(bundle)
            direction = covariance[:, pair[0]] - covariance[:, pair[1]]
            added = len(bundle.episodes) * float(weight[pair])
            covariance = covariance - np.outer(direction, direction) * added / (
                1.0 + added * float(direction[pair[0]] - direction[pair[1]])
            )

    # ---- whether it is enough -------------------------------------------------------------------

    def look(self, results: Mapping[str, Result]) -> Look:
        """How wide the target's interval is by these results, and whether that ends the tournament."""
        played = len(self._known(results))
        if self.scheduling.target == "slope":
            fits = list(self._slopes(results).values())
            if fits:
                width, _, reason = max(fits, key=lambda fit: fit[0])
                sources = min(fit[1] for fit in fits)
            else:
                width, sources, reason = math.inf, 0, "nobody argues"
            planned = self._sources_argued
        else:
            width, sources, reason = self._rating_width(results)
            planned = self._sources_met
        needed = min(MINIMUM_SOURCES, planned)
        wanted = self.scheduling.until_width
        enough = wanted is not None and width <= wanted and sources >= needed
        return Look(played, sources, width, enough, reason)

    def unconnected(self, results: Mapping[str, Result]) -> dict[str, str]:
        """Debaters whose rating the debates so far do not determine, by name, each with the reason."""
        rows = [PairResult(a, b, won, 0.0, 1.0 - won) for a, b, won, _ in self._games(results) if won != 0.5]
        rows += [PairResult(a, b, 0.0, 1.0, 0.0) for a, b, won, _ in self._games(results) if won == 0.5]
        found = {one.player: one.reason for one in fit_ratings(rows).unidentified} if rows else {}
        seen = {name for row in rows for name in (row.player_a, row.player_b)}
        return {
            agent: found.get(agent, "played no game")
            for agent in sorted(self._meeting)
            if agent in found or agent not in seen
        }

    def remarks(
        self, look: Look, ended: str, byes: Sequence[Bye] = (), unconnected: Mapping[str, str] | None = None
    ) -> list[str]:
        """What a reader of the results must know of how they were chosen.

        Parameters
        ----------
        look : the last one.
        ended : why no more was played.
        byes : of the rounds that were played.
        unconnected : debaters without a rating, each with the reason.
        """
        kind = self.scheduling.kind
        found = [f"schedule {kind}: {look.episodes} of {len(self.planned)} planned episodes; {ended}"]
        if kind != "round-robin" and look.episodes < len(self.planned):
            found.append("the schedule asked different cells different questions, chosen before they were asked")
        if look.enough:
            found.append(
                "the run was ended by the width of its own interval, which is therefore slightly too narrow; as the "
                "width and not the estimate decided, the estimate is hardly affected"
            )
        found += [f"{name} is not connected by debates: {reason}" for name, reason in (unconnected or {}).items()]
        if byes:
            had = Counter(bye.agent for bye in byes)
            found.append("byes: " + ", ".join(f"{agent} {count}" for agent, count in sorted(had.items())))
        return found

    @cached_property
    def _sources_argued(self) -> int:
        return len({one.source for one in self.planned if one.cell.debaters})

    @cached_property
    def _sources_met(self) -> int:
        return len({one.source for one in self.planned if one.cell.meets})

    @cached_property
    def _gaps(self) -> list[float | None]:
        return [cell.gap(self.capability) for cell in self.cells]

    @cached_property
    def _meeting(self) -> list[str]:
        """Agents that meet another one, in the order of the plan."""
        return list(dict.fromkeys(agent for cell in self.cells if cell.meets for agent in cell.debaters))

    def _contrasts(self, index: Mapping[str, int]) -> list[tuple[int, int]]:
        """The differences that the target is about."""
        if self.scheduling.pair is not None:
            first, second = self.scheduling.pair
            return [(index[first], index[second])]
        return list(combinations(range(len(index)), 2))

    def _slopes(self, results: Mapping[str, Result]) -> dict[str, tuple[float, int, str]]:
        """Of each protocol in which somebody argues: width of the slope's interval, sources, why there is none."""
        rows: dict[int, list[tuple[float, str]]] = defaultdict(list)
        for one, found in self._known(results):
            if not math.isnan(found.credit):
                rows[self._number[one.cell]].append((found.credit, one.source))
        fits = {}
        for key in dict.fromkeys(cell.protocol for cell in self.cells if cell.debaters):
            cells = [
                CellRows(
                    debater=" + ".join(cell.debaters),
                    judge=" + ".join(cell.judges),
                    x=gap,
                    credits=tuple(credit for credit, _ in rows[number]),
                    sources=tuple(source for _, source in rows[number]),
                    low=0.0,
                    high=1.0,
                )
                for number, cell in enumerate(self.cells)
                if cell.protocol == key and rows.get(number) and (gap := self._gaps[number]) is not None
            ]
            fit = fit_curve(key, key, cells, _LEVEL, [])
            width = math.inf
            if fit.slope_low is not None and fit.slope_high is not None:
                width = fit.slope_high - fit.slope_low
            fits[key] = (width, fit.sources, fit.reason)
        return fits

    def _games(self, results: Mapping[str, Result]) -> list[tuple[str, str, float, str]]:
        """Debates between two agents that somebody judged: first, second, won by the first, source."""
        return [
            (one.cell.debaters[0], one.cell.debaters[1], found.won, one.source)
            for one, found in self._known(results)
            if one.cell.meets and not math.isnan(found.won)
        ]

    def _rating_width(self, results: Mapping[str, Result]) -> tuple[float, int, str]:
        games = self._games(results)
        sources = len({source for *_, source in games})
        index = {agent: place for place, agent in enumerate(self._meeting)}
        if len(index) < 2:
            return math.inf, sources, "no two debaters meet"
        widths = rating_widths(games, self._meeting)
        width = max(float(widths[pair]) for pair in self._contrasts(index))
        if math.isfinite(width):
            return width, sources, ""
        loose = self.unconnected(results)
        if self.scheduling.pair is not None:
            loose = {name: why for name, why in loose.items() if name in self.scheduling.pair} or loose
        why = "; ".join(f"{name}: {reason}" for name, reason in loose.items())
        return math.inf, sources, why or "one source: nothing to tell its chance from strength"


def rating_widths(games: Sequence[tuple[str, str, float, str]], agents: Sequence[str]) -> Array:
    """Widths of the 95 % intervals of all rating differences, in points (400 for odds of ten to one).

    Parameters
    ----------
    games : first player, second player, won by the first (1, ½ or 0), source.
    agents : the players, in the order of rows and columns.

    Returns
    -------
    array of shape (agents, agents)
        infinite where two players are not linked by wins in both directions, or there are fewer than two sources.

    Notes
    -----
    Bradley–Terry by maximum likelihood with the sandwich covariance H⁺ S H⁺, S summed by source and times
    G/(G − 1), and the t quantile with G − 1 degrees of freedom.  Debates on one question in both seatings share
    the question's difficulty, so they are no independent games.  With fewer than ten sources whose scores do not
    cancel, S of independent games is used where it gives the wider interval.
    """
    import networkx

    count = len(agents)
    widths = np.full((count, count), math.inf)
    np.fill_diagonal(widths, 0.0)
    index = {agent: place for place, agent in enumerate(agents)}
    if not games:
        return widths
    first = np.array([index[one[0]] for one in games])
    second = np.array([index[one[1]] for one in games])
    won = np.array([one[2] for one in games], dtype=float)
    number = {name: place for place, name in enumerate(dict.fromkeys(one[3] for one in games))}
    source = np.array([number[one[3]] for one in games])
    scored = np.zeros((count, count))
    np.add.at(scored, (first, second), won)
    np.add.at(scored, (second, first), 1.0 - won)
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from((int(a), int(b)) for a, b in np.argwhere(scored > 0.0))
    for group in networkx.strongly_connected_components(graph):
        members = sorted(group)
        if len(members) < 2:
            continue
        chosen = np.isin(first, members) & np.isin(second, members)
        groups = len(np.unique(source[chosen]))
        if groups < 2:
            continue
        place = np.full(count, -1)
        place[members] = np.arange(len(members))
        a, b, mine, where = place[first[chosen]], place[second[chosen]], won[chosen], source[chosen]
        inner = scored[np.ix_(members, members)]
        strengths = _posterior_mode(inner, inner + inner.T, prior=0.0)
        chances = logistic(strengths[a] - strengths[b])
        weights = np.zeros_like(inner)
        np.add.at(weights, (a, b), chances * (1.0 - chances))
        every = np.full_like(inner, 1.0 / len(members))
        inverse = np.linalg.inv(_laplacian(weights + weights.T) + every) - every
        scores = mine - chances
        summed = np.zeros((len(number), len(members)))
        np.add.at(summed, (where, a), scores)
        np.add.at(summed, (where, b), -scores)
        squares = np.zeros_like(inner)
        np.add.at(squares, (a, b), scores**2)
        influence = summed @ inverse
        clustered = influence.T @ influence * groups / (groups - 1)
        informative = int((np.abs(summed).max(axis=1) > 1e-6).sum())
        variance = _differences(clustered)
        if informative < min(MINIMUM_SOURCES, groups):
            variance = np.maximum(variance, _differences(inverse @ _laplacian(squares + squares.T) @ inverse))
        # Where every debate was a tie there is no scatter to learn a variance from; the model's own stands in.
        bare = variance <= 1e-12 * _differences(inverse)
        variance = np.where(bare, _differences(inverse), variance)
        widths[np.ix_(members, members)] = (
            2.0 * t_quantile(_LEVEL, groups - 1) * np.sqrt(np.maximum(variance, 0.0)) * _POINTS
        )
    return widths


class _SlopeModel:
    """Logistic curve of one protocol on its standardised gap, under a weak prior: for choosing, not for reporting."""

    def __init__(self, numbers: Sequence[int], gaps: Sequence[float]) -> None:
        self.numbers = list(numbers)
        self._row = {number: row for row, number in enumerate(self.numbers)}
        x = np.asarray(gaps, dtype=float)
        self._unit = float(x.std())
        self._design = np.column_stack([np.ones_like(x), (x - x.mean()) / self._unit])
        self._count = np.zeros(len(x))
        self._credit = np.zeros(len(x))
        self._inflation = 1.0

    def learn(self, number: int, credits: Sequence[float]) -> None:
        """Take in the credits of a cell's episodes."""
        self._count[self._row[number]] += len(credits)
        self._credit[self._row[number]] += math.fsum(credits)

    def fit(self, width: float) -> None:
        """Mode and curvature of the posterior; the interval's real width says how far the model is off."""
        weights = np.zeros(2)
        prior = _SLOPE_PRIOR * np.eye(2)
        for _ in range(100):
            chance = logistic(self._design @ weights)
            gradient = self._design.T @ (self._credit - self._count * chance) - prior @ weights
            curvature = (self._design * (self._count * chance * (1.0 - chance))[:, None]).T @ self._design + prior
            step = np.linalg.solve(curvature, gradient)
            step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
            weights = weights + step
            if float(np.abs(step).max()) < 1e-10:
                break
        chance = logistic(self._design @ weights)
        self._weight = chance * (1.0 - chance)
        self._information = (self._design * (self._count * self._weight)[:, None]).T @ self._design + prior
        if math.isfinite(width):
            bare = 4.0 * float(np.linalg.inv(self._information)[1, 1]) / self._unit**2
            self._inflation = (width / 2.0) ** 2 / bare

    @property
    def variance(self) -> float:
        """Of the slope, with what is to be expected of the episodes chosen since."""
        return self._inflation * float(np.linalg.inv(self._information)[1, 1]) / self._unit**2

    def expect(self, number: int, episodes: int) -> None:
        """Take episodes into account whose results are not known yet."""
        row = self._design[self._row[number]]
        self._information = self._information + np.outer(row, row) * episodes * self._weight[self._row[number]]

    def best(self, size: Any) -> int:
        """The cell whose next question most lowers the variance of the slope, an episode; ``size`` its episodes."""
        sizes = np.array([size(number) for number in self.numbers], dtype=float)
        covariance = np.linalg.inv(self._information)
        reach = self._design @ covariance
        spread = (reach * self._design).sum(axis=1)
        informs = sizes * self._weight
        gains = reach[:, 1] ** 2 * informs / (1.0 + informs * spread) / np.maximum(sizes, 1.0)
        return self.numbers[_first_highest(np.where(sizes > 0.0, gains, -1.0))]


def _posterior_mode(scored: Array, games: Array, prior: float = _RATING_PRIOR) -> Array:
    """Strengths in natural units under a normal prior of that precision; without one, of linked players, mean 0."""
    count = len(scored)
    fixed = np.full((count, count), 1.0 / count) if prior == 0.0 else prior * np.eye(count)
    strengths = np.zeros(count)
    for _ in range(200):
        chances = logistic(strengths[:, None] - strengths[None, :])
        gradient = (scored - games * chances).sum(axis=1) - prior * strengths
        step = np.linalg.solve(_laplacian(games * chances * (1.0 - chances)) + fixed, gradient)
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))  # far from the mode a full step goes astray
        strengths = strengths + step
        if float(np.abs(step).max()) < 1e-10:
            break
    return strengths


def _laplacian(weights: Array) -> Array:
    return np.asarray(np.diag(weights.sum(axis=1)) - weights, dtype=float)


def _differences(covariance: Array) -> Array:
    """Variance of each difference of two of the variables."""
    own = np.diag(covariance)
    return np.asarray(own[:, None] + own[None, :] - 2.0 * covariance, dtype=float)


def _first_highest(values: Sequence[float] | Array) -> int:
    """Place of the highest value; of values equal but for rounding, the first: ties must not hang on rounding."""
    array = np.asarray(values, dtype=float)
    top = float(array.max())
    return int(np.argmax(array >= top - 1e-9 * abs(top)))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.5


def _queues(left: Iterable[_Bundle], cells: Iterable[int]) -> dict[int, list[_Bundle]]:
    wanted = set(cells)
    queues: dict[int, list[_Bundle]] = defaultdict(list)
    for bundle in left:
        if bundle.cell in wanted:
            queues[bundle.cell].append(bundle)
    return queues


def _places(planned: Iterable[Planned]) -> dict[tuple[str, int], int]:
    """An order of all questions and samples that all cells keep: new samples late, new sources early."""
    found = dict.fromkeys((one.question, one.sample, one.source) for one in planned)
    rank: dict[tuple[str, int], int] = {}
    used: Counter[tuple[str, int]] = Counter()
    for question, sample, source in found:
        rank[question, sample] = used[source, sample]
        used[source, sample] += 1
    order = sorted(rank, key=lambda key: (key[1], rank[key]))  # stable: else in the order of the plan
    return {key: place for place, key in enumerate(order)}


# ---- from a plan and its records ------------------------------------------------------------------


def planned_episodes(plan: Plan) -> dict[str, tuple[Planned, Episode]]:
    """The comparison's episodes by id, in the order of the plan, each as a schedule sees it."""
    found = {}
    roles: dict[tuple[str, int], tuple[list[str], list[str]]] = {}
    cells: dict[Cell, Cell] = {}  # one for all of its episodes: there are many
    for episode in plan.episodes():
        if episode.purpose != "comparison":
            continue
        key = (episode.protocol.key, len(episode.question.answers))
        if key not in roles:
            instances = plan.compiled(episode.protocol, key[1]).unrolled.instances.values()
            arguing = [name for name, role in episode.protocol.roles(key[1]).items() if role.is_supervised]
            deciding = [one.step.seat.role.name for one in instances if one.step.kind == "verdict"]
            roles[key] = (arguing, deciding)
        sides = [tuple(dict.fromkeys(name for role in names for name in episode.cast[role])) for names in roles[key]]
        cell = Cell(episode.protocol.key, *sides)
        question = episode.question
        cell = cells.setdefault(cell, cell)
        found[episode.id] = (Planned(episode.id, cell, question.id, question.source, episode.sample), episode)
    return found


def result_of(record: Mapping[str, Any], planned: Planned, episode: Episode) -> Result:
    """What an episode's record says to a schedule.

    The winner is the agent whose answer got the higher probability; agents that argued for the same answer, or
    one for several, are not matched.
    """
    if record["status"] != "scored" or record["credit"] is None:
        return Result(math.nan)
    credit = float(record["credit"])
    probabilities = record["probabilities"]
    if not planned.cell.meets or not probabilities:
        return Result(credit)
    steps = episode.protocol.graph(len(episode.question.answers)).steps()
    who = {
        step.seat.name: player(episode.cast, episode.seating, step.seat)
        for step in steps
        if step.seat.role.argues_for_an_answer
    }
    argued: dict[str, set[int]] = defaultdict(set)
    for turn in record["turns"]:
        if turn["seat"] in who and turn.get("answer") is not None:
            argued[who[turn["seat"]]].add(turn["answer"])
    sides = [argued[name] for name in planned.cell.debaters]
    if any(len(side) != 1 for side in sides) or sides[0] == sides[1]:
        return Result(credit)
    first, second = (float(probabilities[answer]) for side in sides for answer in side)
    return Result(credit, 0.5 if first == second else float(first > second))


def unit_of(scheduling: Scheduling) -> str:
    """What the target's width is measured in."""
    return "log-odds per unit of capability" if scheduling.target == "slope" else "rating points"


def look_to_json(look: Look) -> dict[str, Any]:
    """A look as JSON values; None for a width that is not finite."""
    return {**asdict(look), "width": look.width if math.isfinite(look.width) else None}
