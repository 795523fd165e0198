"""Capability as a number: ratings from games, log-odds from solo accuracy."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from .accuracy import t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Intervals",
    "LogOdds",
    "Loss",
    "PairResult",
    "Rating",
    "Ratings",
    "Role",
    "fit_ratings",
    "logistic",
    "solo_log_odds",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Loss = Literal["nll", "squared"]
Intervals = Literal["sandwich", "bootstrap"]
Role = Literal["a", "b"]

_DENSE = 1500
"""Up to so many players matrices are dense; beyond, a dense one would cost more than its sparse factors."""

_FAR = 30.0
"""Natural units between two players from which it is looked whether the squared loss has a minimum there."""

_RESAMPLE_PRIOR = 0.5
"""Virtual tied games of each player in a resample that fell apart."""


@dataclass(frozen=True)
class PairResult:
    """How two players fared against each other; several results of one pair add up.

    Parameters
    ----------
    player_a, player_b : two players; different ones unless the columns are different roles.
    wins_a, ties, wins_b : games won by the first, by nobody, by the second; not negative.
    """

    player_a: str
    player_b: str
    wins_a: float
    ties: float
    wins_b: float


@dataclass(frozen=True)
class Rating:
    """A player's strength, in one role where roles are rated apart.

    Parameters
    ----------
    player : its name.
    rating : in points of the scale, where the mean of all that are rated is given; NaN where it is not identified.
    standard_error : of the rating, by the sandwich formula or over the resamples.
    low, high : ends of the interval, with ``low <= rating <= high``.
    games : games played, against anybody; in this role.
    reason : why the games alone do not determine the rating; empty where they do.  With a prior such a player
        has a rating all the same, and keeps its reason.
    role : ``a`` for the first column of the games, ``b`` for the second; None where roles are not rated apart.
    """

    player: str
    rating: float
    standard_error: float
    low: float
    high: float
    games: float
    reason: str = ""
    role: Role | None = None


@dataclass(frozen=True)
class Ratings:
    """Strengths of players, fitted together.

    Parameters
    ----------
    rated : players with a rating, strongest first; the mean of these ratings is ``mean``.
    unidentified : players whose games do not determine a rating, by name, each with its reason.
    scale : points by which odds of ten to one differ.
    level : coverage of the intervals.
    loss : what was minimised.
    intervals : how the intervals were made.
    mean : mean of all ratings, of both roles together, in points.
    prior : virtual tied games of each player.
    resamples : resamples behind the intervals; 0 for the sandwich formula.
    disconnected_resamples : those among them whose games did not determine every rating.
    """

    rated: tuple[Rating, ...]
    unidentified: tuple[Rating, ...]
    scale: float
    level: float
    loss: Loss = "nll"
    intervals: Intervals = "sandwich"
    mean: float = 0.0
    prior: float = 0.0
    resamples: int = 0
    disconnected_resamples: int = 0

    def __getitem__(self, player: str | tuple[str, Role]) -> Rating:
        """The rating of a player, or of ``player, role``, identified or not; KeyError where there is none."""
        name, role = (player, None) if isinstance(player, str) else player
        for rating in (*self.rated, *self.unidentified):
            if rating.player == name and rating.role == role:
                return rating
        raise KeyError(player)

    def capability(self, role: Role | None = None) -> dict[str, float]:
        """Rating of each player, in ``role`` where roles are rated apart; NaN where it is not identified."""
        every = (*self.rated, *self.unidentified)
        return {rating.player: rating.rating for rating in every if rating.role == role}


@dataclass(frozen=True)
class LogOdds:
    """Capability as solo accuracy.

    Parameters
    ----------
    value : natural logarithm of the odds of a correct answer; NaN where nothing was asked.
    standard_error : of ``value``.
    """

    value: float
    standard_error: float


def fit_ratings(
    results: Sequence[PairResult],
    scale: float = 400.0,
    level: float = 0.95,
    *,
    two_role: bool = False,
    loss: Loss = "nll",
    intervals: Intervals = "sandwich",
    bootstrap: int = 500,
    seed: int = 0,
    prior: float = 0.0,
    mean: float = 0.0,
    clusters: Sequence[Hashable] | None = None,
) -> Ratings:
    """Bradley–Terry ratings by maximum likelihood or least squares.

    The first player beats the second with probability 1/(1 + 10^((R_b − R_a)/scale)); a tie is half a win
    for each.  Ratings have a finite best value only among players who are linked by wins (or ties) in both
    directions, so the largest such group is rated and everybody else is listed with a reason.

    Parameters
    ----------
    results : the games; the order of the rows does not matter.
    scale : points by which odds of ten to one differ.
    level : coverage of the intervals, in (0, 1).
    two_role : whether the columns are different roles.  A player then has one rating for each role it plays,
        apart from the other, and may meet itself; the graph that has to be linked is that of (player, role).
    loss : ``nll``, the negative log-likelihood; ``squared``, the sum over pairs of games · (win rate − p)².
    intervals : ``sandwich``: normal, with the sandwich covariance; ``bootstrap``: percentiles over resamples.
    bootstrap : how many resamples.
    seed : of the resamples.
    prior : virtual tied games of each player, in each of its roles, against one extra player whose strength is
        fitted along with the others' and who is then left out.  The extra player ends where its expected score is
        half its games, so that it is the average player, and every rating is finite and drawn towards it.  0: none.
    mean : mean of all ratings, of both roles together, in points.
    clusters : for each result, what its games have in common (their question's source); games of one cluster may
        be correlated in any way, and whole clusters are resampled.  None: all games are independent.

    Raises
    ------
    ConfigurationError
        if a player meets itself without roles, a count is negative or not finite, an option is out of range,
        there are fewer than two clusters, or the squared loss has no minimum.

    Examples
    --------
    >>> ratings = fit_ratings([PairResult("strong", "weak", 3, 0, 1)])
    >>> round(ratings["strong"].rating - ratings["weak"].rating, 2)  # 400 log10(3)
    190.85

    Notes
    -----
    The covariance is H⁺ S H⁺: H the second derivative of the loss, S the sum of the games' (or the clusters')
    squared scores, H⁺ the inverse under the constraint on the mean.  A tie carries less variance than the
    model's coin flip, and the sandwich says so.  Where there is no scatter at all, and for players that only
    the prior rates, the model's own variance takes the place of S where it is the wider; the bootstrap
    intervals of the latter are widened likewise.  With clusters S is enlarged by G/(G − 1) and the quantile is
    that of t with G − 1 degrees of freedom.

    The squared loss can have several local minima.  Newton's method starts at the maximum of the likelihood and
    at equal strengths; the lower end counts.  With up to 1,500 players it leaves saddle points, and is refused where
    it has no minimum and only falls towards infinite strengths.

    A resample in which some players are no longer linked has no finite ratings; it is fitted with half a
    virtual tied game a player (see ``prior``), and such resamples are counted.  The interval is widened, where
    it has to be, to hold the estimate.

    References
    ----------
    Bradley and Terry 1952; Hunter 2004, MM algorithms for generalized Bradley-Terry models: the condition
    for a maximum to exist.  White 1982: the sandwich.  Khan et al. 2024, Debating with More Persuasive LLMs
    Leads to More Truthful Answers (arXiv:2402.06782): the squared loss.
    """
    _require_options(scale, level, loss, intervals, bootstrap, prior, mean)
    table = _Table.of(results, two_role=two_role, clusters=clusters)
    table_pairs = table.pairs()
    members = table_pairs.linked(table.games)
    identified = set(members.tolist())
    if prior > 0.0:
        members = np.arange(len(table.nodes))
    points = scale / math.log(10.0)

    inside = table.among(members)
    pairs = inside.pairs()
    anchored = pairs.with_extra_player(prior) if prior > 0.0 else pairs
    strengths = _fit(anchored, loss)
    shrunk = np.array([number not in identified for number in members.tolist()], dtype=bool)

    resamples = np.zeros((0, 0))
    fell_apart = 0
    groups = 0 if inside.clusters is None else len(np.unique(inside.clusters))
    if inside.clusters is not None and len(members) and groups < 2:
        raise ConfigurationError("all games are of one question's source: an interval needs two; play more questions")
    if intervals == "bootstrap" and len(members):
        resamples, fell_apart = _resamples(inside, pairs, strengths, loss, prior, bootstrap, seed)
        errors = np.asarray(resamples.std(axis=0, ddof=1))
    else:
        errors = np.sqrt(_variances(inside, anchored, strengths, loss, shrunk))
    values = _centred(strengths[: len(members)])
    if intervals == "bootstrap" and len(members):
        tail = (1.0 - level) / 2.0
        low, high = np.quantile(resamples, [tail, 1.0 - tail], axis=0)
        if shrunk.any():  # no resample lets an undefeated player lose: the model says how far that can mislead
            wide = _quantile(level, groups) * np.sqrt(_variances(inside, anchored, strengths, loss, shrunk))
            low = np.where(shrunk, np.minimum(low, values - wide), low)
            high = np.where(shrunk, np.maximum(high, values + wide), high)
    elif len(members):
        quantile = _quantile(level, groups)
        low, high = values - quantile * errors, values + quantile * errors
    else:
        low = high = values
    # Percentiles of resamples need not hold the estimate; an interval that did not would not be one of it.
    low, high = np.minimum(low, values), np.maximum(high, values)

    def reason(number: int) -> str:
        return "" if number in identified else table_pairs.reason(number, sorted(identified))

    rated = [
        Rating(
            player=table.nodes[number][1],
            rating=mean + float(values[place]) * points,
            standard_error=float(errors[place]) * points,
            low=mean + float(low[place]) * points,
            high=mean + float(high[place]) * points,
            games=float(table.games[number]),
            reason=reason(number),
            role=table.nodes[number][0] or None,
        )
        for place, number in enumerate(members.tolist())
    ]
    nothing = math.nan
    chosen = set(members.tolist())
    unidentified = [
        Rating(name, nothing, nothing, nothing, nothing, float(table.games[number]), reason(number), role or None)
        for number, (role, name) in enumerate(table.nodes)
        if number not in chosen
    ]
    rated.sort(key=lambda rating: (-rating.rating, rating.player, rating.role or ""))
    unidentified.sort(key=lambda rating: (rating.player, rating.role or ""))
    return Ratings(
        rated=tuple(rated),
        unidentified=tuple(unidentified),
        scale=scale,
        level=level,
        loss=loss,
        intervals=intervals,
        mean=mean,
        prior=prior,
        resamples=len(resamples),
        disconnected_resamples=fell_apart,
    )


def solo_log_odds(correct: float, n: int) -> LogOdds:
    """Capability of an agent that answers alone: log-odds of its accuracy, in natural units.

    ln((x + ½)/(n − x + ½)), which stays finite at 0 % and 100 % (Haldane 1956, Anscombe 1956); its standard
    error is √(1/(x + ½) + 1/(n − x + ½)) (Gart and Zweifel 1967).

    Parameters
    ----------
    correct : credits won, in [0, n]; a tie counts as a part.
    n : questions answered.

    Raises
    ------
    ConfigurationError
        if ``correct`` is not in [0, n].

    Examples
    --------
    >>> round(solo_log_odds(9, 12).value, 4)
    0.9985
    """
    if not 0 <= correct <= n:
        raise ConfigurationError(f"{correct} correct of {n}: the number correct lies between 0 and the number asked")
    if n == 0:
        return LogOdds(math.nan, math.nan)
    right, wrong = correct + 0.5, n - correct + 0.5
    return LogOdds(math.log(right / wrong), math.sqrt(1.0 / right + 1.0 / wrong))


def _require_options(
    scale: float, level: float, loss: str, intervals: str, bootstrap: int, prior: float, mean: float
) -> None:
    if not (math.isfinite(scale) and scale > 0.0):
        raise ConfigurationError(f"scale {scale}: points for odds of ten to one are a positive number")
    if not 0.0 < level < 1.0:
        raise ConfigurationError(f"level {level}: the coverage of an interval lies between 0 and 1")
    for name, value, known in (("loss", loss, get_args(Loss)), ("intervals", intervals, get_args(Intervals))):
        if value not in known:
            raise ConfigurationError(f"{name} {value!r}: choose {' or '.join(known)}")
    if bootstrap < 2:
        raise ConfigurationError(f"bootstrap {bootstrap}: an interval needs two resamples or more")
    if not (math.isfinite(prior) and prior >= 0.0):
        raise ConfigurationError(f"prior {prior}: virtual games are not negative")
    if not math.isfinite(mean):
        raise ConfigurationError(f"mean {mean}: the mean of the ratings is a finite number")


def _centred(strengths: Array) -> Array:
    return strengths - strengths.mean() if strengths.size else strengths


def _quantile(level: float, groups: int) -> float:
    """Half-width of an interval in standard errors: normal, or t where few clusters give the error."""
    if groups:
        return t_quantile(level, groups - 1)
    from scipy.special import ndtri  # scipy takes longer to import than the rest of the package

    return float(ndtri(0.5 + level / 2.0))


@dataclass(frozen=True)
class _Pairs:
    """Games of players 0 ... count − 1, one entry a pair.

    Parameters
    ----------
    count : players.
    first, second : the pair, ``first < second``.
    won, tied, lost : games of the pair, seen from the first.
    """

    count: int
    first: Indices
    second: Indices
    won: Array
    tied: Array
    lost: Array

    @property
    def played(self) -> Array:
        return self.won + self.tied + self.lost

    @property
    def scored(self) -> Array:
        """Points of the first."""
        return self.won + self.tied / 2.0

    def with_extra_player(self, ties: float) -> _Pairs:
        """With one player more, the last, who tied so many games with each of the others."""
        every = np.arange(self.count)
        nothing = np.zeros(self.count)
        return _Pairs(
            count=self.count + 1,
            first=np.concatenate([self.first, every]),
            second=np.concatenate([self.second, np.full(self.count, self.count)]),
            won=np.concatenate([self.won, nothing]),
            tied=np.concatenate([self.tied, np.full(self.count, ties)]),
            lost=np.concatenate([self.lost, nothing]),
        )

    def groups(self) -> Indices:
        """The group of each player; players of one group are linked by points in both directions."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        up, down = self.won + self.tied > 0, self.lost + self.tied > 0
        rows = np.concatenate([self.first[up], self.second[down]])
        columns = np.concatenate([self.second[up], self.first[down]])
        graph = coo_array((np.ones(len(rows)), (rows, columns)), shape=(self.count, self.count)).tocsr()
        return np.asarray(connected_components(graph, directed=True, connection="strong")[1], dtype=np.int64)

    def linked(self, games: Array) -> Indices:
        """The largest group of two or more; of equals, the one that played most.  Sorted."""
        if self.count == 0:
            return np.zeros(0, dtype=np.int64)
        groups = self.groups()
        sizes, played = np.bincount(groups), np.bincount(groups, weights=games)
        start = np.full(len(sizes), self.count)
        np.minimum.at(start, groups, np.arange(self.count))
        # Last, the first name in the alphabet: the choice must not depend on the order of the rows.
        best = max(range(len(sizes)), key=lambda group: (sizes[group], played[group], -start[group]))
        return np.flatnonzero(groups == best) if sizes[best] > 1 else np.zeros(0, dtype=np.int64)

    def reason(self, number: int, rated: Sequence[int]) -> str:
        """Why a player outside the rated group has no rating."""
        ahead, behind = self.first == number, self.second == number
        won = self.won[ahead].sum() + self.lost[behind].sum()
        lost = self.lost[ahead].sum() + self.won[behind].sum()
        tied = self.tied[ahead].sum() + self.tied[behind].sum()
        if not won + lost + tied:
            return "played no game"
        if not lost + tied:
            return "undefeated: no finite rating is high enough"
        if not won + tied:
            return "winless: no finite rating is low enough"
        ahead, behind = ahead & np.isin(self.second, rated), behind & np.isin(self.first, rated)
        tied = self.tied[ahead].sum() + self.tied[behind].sum()
        against = self.won[ahead].sum() + self.lost[behind].sum() + tied
        conceded = self.lost[ahead].sum() + self.won[behind].sum() + tied
        if against and not conceded:
            return "not connected: undefeated by the rated players"
        if conceded and not against:
            return "not connected: winless against the rated players"
        return "not connected to the rated players by wins in both directions"

    def sums(self, values: Array) -> Array:
        """For each player, what its pairs give it: the first of a pair gains what the second loses."""
        gained = np.bincount(self.first, weights=values, minlength=self.count)
        lost = np.bincount(self.second, weights=values, minlength=self.count)
        return np.asarray(gained - lost, dtype=float)

    def laplacian(self, weights: Array) -> Any:
        """Matrix of the quadratic form Σ weight · (x_first − x_second)²; sparse where there are many players."""
        diagonal = np.bincount(self.first, weights=weights, minlength=self.count)
        diagonal = diagonal + np.bincount(self.second, weights=weights, minlength=self.count)
        if self.count <= _DENSE:
            matrix = np.zeros((self.count, self.count))
            matrix[self.first, self.second] = -weights
            matrix[self.second, self.first] = -weights
            matrix[np.diag_indices(self.count)] = diagonal
            return matrix
        from scipy.sparse import coo_array

        every = np.arange(self.count)
        rows = np.concatenate([self.first, self.second, every])
        columns = np.concatenate([self.second, self.first, every])
        entries = np.concatenate([-weights, -weights, diagonal])
        return coo_array((entries, (rows, columns)), shape=(self.count, self.count)).tocsc()


@dataclass(frozen=True)
class _Table:
    """Games of (role, player) nodes as they came, each row turned so that ``first < second``.

    Parameters
    ----------
    nodes : role, empty where there are none, and player; sorted.
    first, second, won, tied, lost : the rows, seen from the first.
    clusters : number of each row's cluster, or None.
    games : games of each node, against anybody.
    """

    nodes: tuple[tuple[Any, str], ...]
    first: Indices
    second: Indices
    won: Array
    tied: Array
    lost: Array
    clusters: Indices | None
    games: Array

    @classmethod
    def of(cls, results: Sequence[PairResult], *, two_role: bool, clusters: Sequence[Hashable] | None) -> _Table:
        if clusters is not None and len(clusters) != len(results):
            raise ConfigurationError(
                f"{len(results)} results with {len(clusters)} clusters: each result needs one cluster"
            )
        for result in results:
            counts = (result.wins_a, result.ties, result.wins_b)
            if result.player_a == result.player_b and not two_role:
                raise ConfigurationError(f"{result.player_a!r} meets itself: a game that says nothing about its rating")
            if not all(math.isfinite(count) and count >= 0 for count in counts):
                raise ConfigurationError(
                    f"{result.player_a!r} against {result.player_b!r}: counts {counts} are no counts"
                )
        role_a, role_b = ("a", "b") if two_role else ("", "")
        nodes = sorted({node for r in results for node in ((role_a, r.player_a), (role_b, r.player_b))})
        index = {node: number for number, node in enumerate(nodes)}
        first = np.array([index[role_a, r.player_a] for r in results], dtype=np.int64)
        second = np.array([index[role_b, r.player_b] for r in results], dtype=np.int64)
        wins, ties, losses = np.array([(r.wins_a, r.ties, r.wins_b) for r in results], dtype=float).reshape(-1, 3).T
        turned = first > second
        played = wins + ties + losses
        games = np.bincount(first, played, len(nodes)) + np.bincount(second, played, len(nodes))
        numbers: Indices | None = None
        if clusters is not None:
            known: dict[Hashable, int] = {}
            numbers = np.array([known.setdefault(cluster, len(known)) for cluster in clusters], dtype=np.int64)
        return cls(
            nodes=tuple(nodes),
            first=np.where(turned, second, first),
            second=np.where(turned, first, second),
            won=np.where(turned, losses, wins),
            tied=ties,
            lost=np.where(turned, wins, losses),
            clusters=numbers,
            games=games.astype(float),
        )

    def among(self, members: Indices) -> _Table:
        """The games among some nodes, who are numbered anew."""
        place = np.full(len(self.nodes), -1)
        place[members] = np.arange(len(members))
        kept = (place[self.first] >= 0) & (place[self.second] >= 0)
        clusters = None
        if self.clusters is not None:
            clusters = np.unique(self.clusters[kept], return_inverse=True)[1].astype(np.int64)
        return _Table(
            nodes=tuple(self.nodes[number] for number in members.tolist()),
            first=place[self.first[kept]],
            second=place[self.second[kept]],
            won=self.won[kept],
            tied=self.tied[kept],
            lost=self.lost[kept],
            clusters=clusters,
            games=self.games[members],
        )

    def places(self) -> tuple[Indices, Indices]:
        """The different pairs, as one number each, and the pair of each row."""
        keys, place = np.unique(self.first * len(self.nodes) + self.second, return_inverse=True)
        return keys, place.astype(np.int64)

    def pairs(self) -> _Pairs:
        """The games of each pair together."""
        count = len(self.nodes)
        keys, place = self.places()

        def together(values: Array) -> Array:
            return np.asarray(np.bincount(place, weights=values, minlength=len(keys)), dtype=float)

        return _Pairs(
            count=count,
            first=keys // max(count, 1),
            second=keys % max(count, 1),
            won=together(self.won),
            tied=together(self.tied),
            lost=together(self.lost),
        )


def _value(pairs: _Pairs, strengths: Array, loss: Loss) -> float:
    """The loss at some strengths, in natural units."""
    difference = strengths[pairs.first] - strengths[pairs.second]
    if loss == "nll":
        scored = pairs.scored
        ahead, behind = np.logaddexp(0.0, -difference), np.logaddexp(0.0, difference)
        return float((scored * ahead + (pairs.played - scored) * behind).sum())
    played = pairs.played
    rate = np.divide(pairs.scored, played, out=np.zeros_like(played), where=played > 0)
    return float((played * (rate - logistic(difference)) ** 2).sum())


def _derivatives(pairs: _Pairs, strengths: Array, loss: Loss) -> tuple[Array, Array, Array]:
    """Of each pair's loss by its difference: minus the slope, the bend, and a bend that is never negative."""
    chance = logistic(strengths[pairs.first] - strengths[pairs.second])
    spread = chance * (1.0 - chance)
    missing = pairs.scored - pairs.played * chance
    if loss == "nll":
        bend = pairs.played * spread
        return missing, bend, bend
    plain = 2.0 * pairs.played * spread**2
    bend = plain - 2.0 * missing * spread * (1.0 - 2.0 * chance)
    return 2.0 * missing * spread, bend, np.maximum(bend, plain)


def _solver(matrix: Any) -> Callable[[Array], Array]:
    """Solves the equations of a Laplacian for right sides that sum to 0; LinAlgError where it is not convex."""
    count = matrix.shape[0]
    if isinstance(matrix, np.ndarray):
        from scipy.linalg import cho_factor, cho_solve

        # Makes it invertible without touching the plane on which strengths sum to 0.
        factor = cho_factor(matrix + float(np.diag(matrix).mean() or 1.0) / count)
        return lambda right: np.asarray(cho_solve(factor, right), dtype=float)
    from scipy.sparse.linalg import splu

    # Symmetric, and without need of pivots: a fraction of the fill-in that an order for any matrix makes.
    symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    grounded = splu(matrix[:-1, :-1].tocsc(), **symmetric)

    def solve(right: Array) -> Array:
        result = np.zeros_like(right)
        result[:-1] = grounded.solve(np.ascontiguousarray(right[:-1]))
        return np.asarray(result - result.mean(axis=0), dtype=float)

    return solve


def _convex_solver(pairs: _Pairs, convex: Array, least: float) -> Callable[[Array], Array]:
    """The solver of a convex stand-in, raised to a share of its largest; raises ConfigurationError where it is flat."""
    try:
        return _solver(pairs.laplacian(np.maximum(convex, least * convex.max())))
    except np.linalg.LinAlgError:
        raise _no_minimum() from None


def _no_minimum() -> ConfigurationError:
    return ConfigurationError(
        "the squared loss has no minimum for these results, as it is flat to the last bit far out: rate them with "
        "the loss nll, or play more games"
    )


def _newton(
    pairs: _Pairs,
    loss: Loss,
    start: Array,
    tolerance: float = 1e-11,
    nearby: Callable[[Array], Array] | None = None,
) -> Array:
    """Strengths in natural units, mean 0, at a minimum of the loss; the players must be linked.

    Newton's method with halved steps.  The likelihood has one maximum; of the squared loss this finds the
    minimum downhill from the start, with a convex stand-in for the second derivative where it has none.
    ``nearby`` solves the equations of a problem much like this one; the first steps are taken with it.
    """
    strengths = _centred(start)
    here = _value(pairs, strengths, loss)
    for turn in range(500):
        slope, bend, convex = _derivatives(pairs, strengths, loss)
        gradient = pairs.sums(slope)
        try:
            if nearby is not None and turn < 30:
                step = nearby(gradient)
            elif pairs.count > _DENSE and bool((bend < 0).any()):
                raise np.linalg.LinAlgError  # sparse factors do not tell whether a matrix is convex
            else:
                step = _solver(pairs.laplacian(bend))(gradient)
        except np.linalg.LinAlgError:
            step = _convex_solver(pairs, convex, 1e-9)(gradient)
        step = _centred(step)
        longest = float(np.abs(step).max())
        size = min(1.0, 20.0 / longest) if longest > 0.0 else 1.0
        there = _value(pairs, strengths + size * step, loss)
        while there > here + 1e-12 * abs(here) and size * longest > 1e-12:
            size /= 2.0
            there = _value(pairs, strengths + size * step, loss)
        strengths, here = _centred(strengths + size * step), there
        if size * longest < tolerance:
            break
    return strengths


def _fit(pairs: _Pairs, loss: Loss) -> Array:
    """Strengths in natural units, mean 0; the players must be linked."""
    if pairs.count == 0:
        return np.zeros(0)
    equal = np.zeros(pairs.count)
    likely = _newton(pairs, "nll", equal)
    if loss == "nll":
        return likely
    lowest = _lower(pairs, [_off_a_saddle(pairs, _newton(pairs, loss, start)) for start in (likely, equal)])
    # Far out the loss falls by less than can be told; a minimum may lie far out as well, where it is not yet flat.
    if float(np.ptp(lowest)) > _FAR and pairs.count <= _DENSE and _least_bend(pairs, lowest)[0] < 1e-13:
        raise _no_minimum()
    return lowest


def _lower(pairs: _Pairs, found: Sequence[Array]) -> Array:
    """That of two strengths with the lower squared loss; where neither is clearly lower, the first."""
    values = [_value(pairs, one, "squared") for one in found]
    # The second has to be clearly lower, or rounding would choose between two ways to one minimum.
    return found[1] if values[1] < values[0] * (1.0 - 1e-9) else found[0]


def _least_bend(pairs: _Pairs, strengths: Array) -> tuple[float, Array]:
    """The least second derivative of the squared loss, as a share of the mean one, and its direction."""
    from scipy.linalg import eigh

    matrix = pairs.laplacian(_derivatives(pairs, strengths, "squared")[1])
    size = abs(float(np.diag(matrix).mean())) or 1.0
    # What all strengths share is no direction: it is lifted out of the way.
    (least,), directions = eigh(matrix + size / pairs.count, subset_by_index=(0, 0))
    return float(least) / size, directions[:, 0]


def _off_a_saddle(pairs: _Pairs, strengths: Array) -> Array:
    """A minimum of the squared loss from where Newton's method came to rest, which may be a saddle point."""
    if not 1 < pairs.count <= _DENSE:
        return strengths
    for _ in range(10):  # each time lower; one is what it takes
        least, direction = _least_bend(pairs, strengths)
        if least > -1e-9:
            break
        # A direction comes with either sign; of two minima equally deep that counts where the first name is ahead.
        away = direction / direction[np.argmax(np.abs(direction) > 1e-6)]
        away *= 0.1 / np.abs(away).max()
        strengths = _lower(pairs, [_newton(pairs, "squared", strengths + sign * away) for sign in (1.0, -1.0)])
    return strengths


def _scores(rows: _Table | _Pairs, strengths: Array, loss: Loss) -> tuple[Array, Array]:
    """For each row, the sum of its games' scores and the sum of their squares."""
    chance = logistic(strengths[rows.first] - strengths[rows.second])
    unit = 1.0 if loss == "nll" else 2.0 * chance * (1.0 - chance)
    total = rows.won * (1.0 - chance) + rows.tied * (0.5 - chance) - rows.lost * chance
    squares = rows.won * (1.0 - chance) ** 2 + rows.tied * (0.5 - chance) ** 2 + rows.lost * chance**2
    return total * unit, squares * unit**2


def _variances(inside: _Table, pairs: _Pairs, strengths: Array, loss: Loss, shrunk: NDArray[np.bool_]) -> Array:
    """Variance of each strength against the mean of all, in natural units.

    ``pairs`` are the games of ``inside``, with the extra player's where there is a prior.
    """
    count, size = len(inside.nodes), pairs.count
    if count == 0:
        return np.zeros(0)
    _, bend, convex = _derivatives(pairs, strengths, loss)
    try:
        solve = _solver(pairs.laplacian(bend))
    except np.linalg.LinAlgError:  # a minimum that is flat to rounding
        solve = _convex_solver(pairs, convex, 1e-12)
    chance = logistic(strengths[pairs.first] - strengths[pairs.second])
    spread = chance * (1.0 - chance)
    model = pairs.laplacian(pairs.played * spread * (1.0 if loss == "nll" else 4.0 * spread**2))
    if inside.clusters is None:
        # The virtual games of a prior are no data: only the games as they came have scatter.
        own = inside.pairs()
        scatter = _Pairs(size, own.first, own.second, own.won, own.tied, own.lost).laplacian(
            _scores(own, strengths, loss)[1]
        )
    else:
        from scipy.sparse import coo_array

        groups = int(inside.clusters.max()) + 1
        total, _ = _scores(inside, strengths, loss)
        rows = np.concatenate([inside.clusters, inside.clusters])
        columns = np.concatenate([inside.first, inside.second])
        each = coo_array((np.concatenate([total, -total]), (rows, columns)), shape=(groups, size)).tocsr()
        scatter = (each.T @ each) * (groups / (groups - 1))
        scatter = scatter.toarray() if size <= _DENSE else scatter.tocsc()

    found = np.empty(count)
    for start in range(0, count, 500):  # a block of columns at a time, to keep memory small
        block = np.arange(start, min(start + 500, count))
        contrasts = np.zeros((size, len(block)))
        contrasts[:count] = -1.0 / count
        contrasts[block, np.arange(len(block))] += 1.0
        answers = solve(contrasts)
        by_games = (answers * (scatter @ answers)).sum(axis=0)
        by_model = (answers * (model @ answers)).sum(axis=0)
        # Where every game was a tie there is no scatter to learn a variance from; the model's own stands in.
        bare = by_games <= 1e-12 * by_model
        found[block] = np.where(bare | (shrunk[block] & (by_model > by_games)), by_model, by_games)
    return np.maximum(found, 0.0)


def _resamples(
    inside: _Table, pairs: _Pairs, strengths: Array, loss: Loss, prior: float, number: int, seed: int
) -> tuple[Array, int]:
    """Strengths of each resample, mean 0, and how many resamples fell apart.

    Without clusters the games of all pairs are drawn anew, with replacement; with clusters, whole clusters.
    """
    generator = np.random.default_rng(seed)
    count = len(inside.nodes)
    outcomes = np.concatenate([pairs.won, pairs.tied, pairs.lost])
    games = round(float(outcomes.sum()))
    keys, place = inside.places()
    # The second derivative hardly differs between resamples: one is factored for all.
    anchored = pairs.with_extra_player(prior) if prior else pairs
    convex = _derivatives(anchored, strengths, loss)[2]
    nearby = _solver(anchored.laplacian(np.maximum(convex, 1e-9 * convex.max())))
    found, fell_apart = np.empty((number, count)), 0
    for turn in range(number):
        if inside.clusters is None:
            total = outcomes.sum()
            drawn = generator.multinomial(games, outcomes / total).astype(float) if total else outcomes
            won, tied, lost = drawn.reshape(3, -1)
        else:
            groups = int(inside.clusters.max()) + 1
            weights = generator.multinomial(groups, np.full(groups, 1.0 / groups))[inside.clusters]
            won, tied, lost = (
                np.bincount(place, weights=weights * values, minlength=len(keys))
                for values in (inside.won, inside.tied, inside.lost)
            )
        resample = _Pairs(count, pairs.first, pairs.second, won, tied, lost)
        virtual = prior
        if not prior and int(resample.groups().max()) > 0:
            virtual, fell_apart = _RESAMPLE_PRIOR, fell_apart + 1
        start = strengths[:count]
        if virtual:
            resample = resample.with_extra_player(virtual)
            start = np.append(start, strengths[count] if prior else 0.0)
        alike = nearby if bool(virtual) == bool(prior) else None
        found[turn] = _centred(_newton(resample, loss, start, tolerance=1e-6, nearby=alike)[:count])
    return found, fell_apart


def logistic(values: Array) -> Array:
    """1/(1 + e^−v) without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(values / 2.0)), dtype=float)
