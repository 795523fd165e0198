"""Ratings by role, by either loss, with either interval and with a prior: against other implementations, and laws."""

from __future__ import annotations

import itertools
import math

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from oversight.analysis import PairResult, fit_ratings
from oversight.analysis import ratings as module
from oversight.errors import ConfigurationError

POINTS = 400 / math.log(10)
GUARDS = {"small": -120.0, "medium": 10.0, "large": 90.0}
HOUDINIS = {"small": -60.0, "medium": 0.0, "large": 150.0, "giant": 240.0}


def chance(ahead, behind, scale=400.0):
    return 1 / (1 + 10 ** ((behind - ahead) / scale))


def drawn(seed, games=60, ties=0.0, guards=GUARDS, houdinis=HOUDINIS):
    generator = np.random.default_rng(seed)
    results = []
    for (guard, one), (houdini, other) in itertools.product(guards.items(), houdinis.items()):
        p = chance(one, other)
        wins, tied, losses = generator.multinomial(games, [p * (1 - ties), ties, (1 - p) * (1 - ties)])
        results.append(PairResult(guard, houdini, float(wins), float(tied), float(losses)))
    return results


def directly(results, loss, two_role=True, mean=0.0, scale=400.0, prior=0.0):
    """The same by scipy's general minimiser, over ratings in points, with nothing of ours."""
    nodes = sorted({("a", r.player_a) for r in results} | {("b" if two_role else "a", r.player_b) for r in results})
    index = {node: number for number, node in enumerate(nodes)}
    first = [index["a", r.player_a] for r in results]
    second = [index["b" if two_role else "a", r.player_b] for r in results]
    points = [r.wins_a + r.ties / 2 for r in results]
    games = [r.wins_a + r.ties + r.wins_b for r in results]
    if prior:
        first += range(len(nodes))
        second += [len(nodes)] * len(nodes)
        points += [prior / 2] * len(nodes)
        games += [prior] * len(nodes)
    points, games = np.array(points), np.array(games)

    def value(x):
        p = chance(100 * x[first], 100 * x[second], scale)
        if loss == "nll":
            return -(points * np.log(p) + (games - points) * np.log1p(-p)).sum() + x.mean() ** 2
        return (games * (points / games - p) ** 2).sum() + x.mean() ** 2

    count = len(nodes) + bool(prior)
    found = minimize(value, np.zeros(count), method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    x = 100 * found.x[: len(nodes)]
    return dict(zip(nodes, x - x.mean() + mean, strict=True))


def by_node(ratings):
    return {(one.role or "a", one.player): one.rating for one in ratings.rated}


# ---- against other implementations


@pytest.mark.parametrize("ties", [0.0, 0.3])
@pytest.mark.parametrize("two_role", [True, False])
@pytest.mark.parametrize("loss", ["nll", "squared"])
def test_against_a_general_minimiser(loss, two_role, ties):
    results = drawn(3, ties=ties)
    if not two_role:
        results = [r for r in results if r.player_a != r.player_b]
    ours = fit_ratings(results, 500.0, two_role=two_role, loss=loss, mean=70.0)
    theirs = directly(results, loss, two_role, mean=70.0, scale=500.0)
    assert by_node(ours) == pytest.approx(theirs, abs=0.02)
    assert len(ours.rated) == (7 if two_role else 4)


@pytest.mark.parametrize("loss", ["nll", "squared"])
def test_a_prior_against_a_general_minimiser(loss):
    results = [*drawn(5, games=20), PairResult("hero", "small", 4, 0, 0), PairResult("nobody", "giant", 0, 0, 3)]
    ours = fit_ratings(results, two_role=True, prior=0.5, loss=loss)
    theirs = directly(results, loss, prior=0.5)
    assert by_node(ours) == pytest.approx(theirs, abs=0.3)
    assert ours.unidentified == ()
    assert ours["hero", "a"].reason.startswith("undefeated")
    assert ours["nobody", "a"].reason.startswith("winless")
    assert ours["large", "a"].reason == ""


def test_two_roles_against_choix():
    results = drawn(8, ties=0.2)
    nodes = sorted({("a", name) for name in GUARDS} | {("b", name) for name in HOUDINIS})
    matrix = np.zeros((7, 7))
    for r in results:
        first, second = nodes.index(("a", r.player_a)), nodes.index(("b", r.player_b))
        matrix[first, second] += r.wins_a + r.ties / 2
        matrix[second, first] += r.wins_b + r.ties / 2
    theirs = choix.ilsr_pairwise_dense(matrix, tol=1e-12) * POINTS
    ours = by_node(fit_ratings(results, two_role=True))
    assert ours == pytest.approx(dict(zip(nodes, theirs - theirs.mean(), strict=True)), abs=1e-5)


def test_one_role_against_choix_by_another_method():
    results = [r for r in drawn(9, games=30) if r.player_a != r.player_b]
    names = sorted({r.player_a for r in results} | {r.player_b for r in results})
    wins = []
    for r in results:
        a, b = names.index(r.player_a), names.index(r.player_b)
        wins += [(a, b)] * int(r.wins_a) + [(b, a)] * int(r.wins_b)
    theirs = choix.opt_pairwise(len(names), wins, alpha=0.0, tol=1e-10) * POINTS
    ours = fit_ratings(results)
    assert [ours[name].rating for name in names] == pytest.approx(list(theirs - theirs.mean()), abs=0.01)


def test_the_squared_loss_of_two_players_is_their_win_rate():
    for loss in ("nll", "squared"):
        ratings = fit_ratings([PairResult("x", "y", 30, 0, 10)], loss=loss)
        assert ratings["x"].rating - ratings["y"].rating == pytest.approx(400 * math.log10(3))
        assert ratings["x"].standard_error == pytest.approx(POINTS / 2 * math.sqrt(1 / 30 + 1 / 10))


def test_the_squared_loss_finds_the_lower_of_two_minima():
    # Three players in a circle of lopsided results: many starting points agree on no lower value.
    results = [PairResult("x", "y", 99, 0, 1), PairResult("y", "z", 97, 0, 3), PairResult("z", "x", 90, 0, 10)]
    ours = by_node(fit_ratings(results, loss="squared"))

    def value(r):
        pairs = (("x", "y", 0.99), ("y", "z", 0.97), ("z", "x", 0.9))
        return sum(100 * (rate - chance(r[a], r[b])) ** 2 for a, b, rate in pairs)

    generator = np.random.default_rng(0)
    others = [
        value(dict(zip("xyz", minimize(lambda x: value(dict(zip("xyz", x, strict=True))), start).x, strict=True)))
        for start in generator.normal(0, 400, (20, 3))
    ]
    assert value({name: ours["a", name] for name in "xyz"}) <= min(others) + 1e-6


def test_sparse_matrices_give_the_same(monkeypatch):
    plain = [(loss, drawn(12, ties=0.1)) for loss in ("nll", "squared")]
    dense = [fit_ratings(results, two_role=True, loss=loss, clusters=None) for loss, results in plain]
    groups = ["x", "y", "z", "w"] * 3
    clustered = fit_ratings(plain[0][1], two_role=True, clusters=groups)
    monkeypatch.setattr(module, "_DENSE", 2)
    for (loss, results), one in zip(plain, dense, strict=True):
        other = fit_ratings(results, two_role=True, loss=loss)
        assert by_node(other) == pytest.approx(by_node(one), abs=1e-5)
        assert [r.standard_error for r in other.rated] == pytest.approx([r.standard_error for r in one.rated])
    other = fit_ratings(plain[0][1], two_role=True, clusters=groups)
    assert [r.standard_error for r in other.rated] == pytest.approx([r.standard_error for r in clustered.rated])


def test_more_players_than_dense_matrices_are_for():
    generator = np.random.default_rng(2)
    names = [f"p{number:04}" for number in range(1600)]
    strength = dict(zip(names, generator.normal(0, 150, 1600), strict=True))
    results = []
    for place, one in enumerate(names):
        for other in (names[(place + 1) % 1600], *generator.choice(names, 5)):
            if one != other:
                won = float(generator.binomial(20, chance(strength[one], strength[other])))
                results.append(PairResult(one, other, won, 0, 20 - won))
    ratings = fit_ratings(results)
    assert len(ratings.rated) == 1600
    missed = sum(
        not one.low <= strength[one.player] - np.mean(list(strength.values())) <= one.high for one in ratings.rated
    )
    assert missed / 1600 == pytest.approx(0.05, abs=0.015)


# ---- roles


def test_a_model_has_one_rating_for_each_role():
    ratings = fit_ratings(drawn(1), two_role=True, mean=1103.0)
    assert {(one.player, one.role) for one in ratings.rated} == {(name, "a") for name in GUARDS} | {
        (name, "b") for name in HOUDINIS
    }
    assert math.fsum(one.rating for one in ratings.rated) / 7 == pytest.approx(1103.0, abs=1e-9)
    assert ratings["large", "a"].games == 4 * 60
    assert ratings["large", "b"].games == 3 * 60
    assert ratings["large", "a"].rating != ratings["large", "b"].rating
    assert ratings.capability("a").keys() == GUARDS.keys()
    assert ratings.capability("b").keys() == HOUDINIS.keys()
    assert ratings.capability() == {}
    with pytest.raises(KeyError):
        ratings["large"]


def test_the_graph_of_roles_has_to_be_linked():
    # As one graph of players x and y are linked; as roles, x as a never lost and y as b never won.
    results = [PairResult("x", "y", 3, 0, 0), PairResult("y", "x", 2, 0, 0)]
    assert len(fit_ratings(results).rated) == 2
    ratings = fit_ratings(results, two_role=True)
    assert ratings.rated == ()
    assert [(one.player, one.role, one.reason.partition(":")[0]) for one in ratings.unidentified] == [
        ("x", "a", "undefeated"),
        ("x", "b", "winless"),
        ("y", "a", "undefeated"),
        ("y", "b", "winless"),
    ]


def test_the_larger_of_two_islands_is_rated():
    results = [*drawn(4), PairResult("isle", "shore", 5, 0, 5)]
    ratings = fit_ratings(results, two_role=True)
    assert len(ratings.rated) == 7
    assert {(one.player, one.role) for one in ratings.unidentified} == {("isle", "a"), ("shore", "b")}
    joined = fit_ratings(results, two_role=True, prior=0.1)
    assert joined["isle", "a"].rating == pytest.approx(joined["shore", "b"].rating, abs=1e-6)
    assert joined["isle", "a"].reason.startswith("not connected")


# ---- intervals


@pytest.mark.parametrize("loss", ["nll", "squared"])
def test_coverage_of_the_sandwich_by_simulation(loss):
    truth = {("a", name): value for name, value in GUARDS.items()} | {("b", name): v for name, v in HOUDINIS.items()}
    centre = np.mean(list(truth.values()))
    inside = total = 0
    errors, found = [], []
    for seed in range(200):
        ratings = fit_ratings(drawn(1000 + seed), two_role=True, loss=loss)
        for one in ratings.rated:
            inside += one.low <= truth[one.role, one.player] - centre <= one.high
            total += 1
        errors.append(ratings["giant", "b"].standard_error)
        found.append(ratings["giant", "b"].rating)
    assert total == 1400
    assert inside / total == pytest.approx(0.95, abs=0.02)
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.15)


def test_clusters_widen_where_games_of_a_question_agree():
    """Each question has an outcome, met four times over: games seem four times what they are."""
    generator = np.random.default_rng(6)
    inside = naive = 0
    truth = 400 * math.log10(3) / 2
    for _ in range(200):
        results, clusters = [], []
        for question in range(60):
            won = float(generator.random() < 0.75)
            results += [PairResult("x", "y", won, 0, 1 - won)] * 4
            clusters += [question] * 4
        one = fit_ratings(results, clusters=clusters)["x"]
        inside += one.low <= truth <= one.high
        one = fit_ratings(results)["x"]
        naive += one.low <= truth <= one.high
    assert inside / 200 == pytest.approx(0.95, abs=0.04)
    assert naive / 200 < 0.8


def test_single_games_as_clusters_are_the_plain_sandwich():
    results = [r for r in drawn(2, games=12) if r.player_a != r.player_b]
    single = [
        PairResult(r.player_a, r.player_b, *outcome)
        for r in results
        for outcome, times in (((1, 0, 0), r.wins_a), ((0, 0, 1), r.wins_b))
        for _ in range(int(times))
    ]
    plain, apart = fit_ratings(results), fit_ratings(single, clusters=range(len(single)))
    enlarged = math.sqrt(len(single) / (len(single) - 1))
    for one in plain.rated:
        assert apart[one.player].rating == pytest.approx(one.rating)
        assert apart[one.player].standard_error == pytest.approx(enlarged * one.standard_error)


def test_the_bootstrap_agrees_with_the_sandwich():
    results = drawn(21, games=200, ties=0.1)
    plain = fit_ratings(results, two_role=True)
    resampled = fit_ratings(results, two_role=True, intervals="bootstrap", bootstrap=400, seed=1)
    assert (resampled.resamples, resampled.disconnected_resamples) == (400, 0)
    for one in plain.rated:
        other = resampled[one.player, one.role]
        assert other.rating == one.rating
        assert other.standard_error == pytest.approx(one.standard_error, rel=0.15)
        assert other.low == pytest.approx(one.low, abs=0.5 * one.standard_error)
        assert other.high == pytest.approx(one.high, abs=0.5 * one.standard_error)
    same = fit_ratings(results, two_role=True, intervals="bootstrap", bootstrap=400, seed=1)
    assert same == resampled
    assert fit_ratings(results, two_role=True, intervals="bootstrap", bootstrap=400, seed=2) != resampled


def test_the_bootstrap_draws_whole_clusters():
    generator = np.random.default_rng(6)
    results, clusters = [], []
    for question in range(80):
        won = float(generator.random() < 0.75)
        results += [PairResult("x", "y", won, 0, 1 - won)] * 4
        clusters += [question] * 4
    sandwich = fit_ratings(results, clusters=clusters)["x"]
    bootstrap = fit_ratings(results, clusters=clusters, intervals="bootstrap", bootstrap=300)["x"]
    assert bootstrap.standard_error == pytest.approx(sandwich.standard_error, rel=0.2)


def test_resamples_that_fall_apart_stay_finite_and_are_counted():
    results = [PairResult("x", "y", 9, 0, 1), PairResult("y", "z", 4, 0, 1)]
    ratings = fit_ratings(results, intervals="bootstrap", bootstrap=100)
    assert 20 < ratings.disconnected_resamples < 100
    assert all(math.isfinite(one.low) and math.isfinite(one.high) for one in ratings.rated)
    assert all(one.low <= one.rating <= one.high for one in ratings.rated)


@pytest.mark.parametrize("intervals", ["sandwich", "bootstrap"])
def test_who_is_rated_by_the_prior_alone_has_a_wide_interval(intervals):
    results = [*drawn(4), PairResult("hero", "small", 9, 0, 0)]
    ratings = fit_ratings(results, two_role=True, prior=0.5, intervals=intervals, bootstrap=60)
    assert ratings["hero", "a"].high - ratings["hero", "a"].rating > 500
    assert ratings["large", "a"].high - ratings["large", "a"].rating < 250


# ---- laws


@st.composite
def matches(draw):
    count = st.integers(0, 5)
    return [
        PairResult(a, b, draw(count), draw(st.integers(0, 2)), draw(count))
        for a in "pqr"[: draw(st.integers(1, 3))]
        for b in "pst"[: draw(st.integers(1, 3))]
    ]


losses = st.sampled_from(["nll", "squared"])


def fitted(results, loss, prior=0.0):
    """Ratings by role; None where the squared loss has no minimum, which is refused."""
    try:
        return fit_ratings(results, two_role=True, loss=loss, prior=prior)
    except ConfigurationError as error:
        if loss == "squared" and "no minimum" in str(error):
            return None
        raise


def values(ratings):
    return {(one.role, one.player): one.rating for one in (*ratings.rated, *ratings.unidentified)}


@settings(deadline=None, max_examples=60)
@given(matches(), losses, st.randoms(use_true_random=False))
def test_the_order_and_the_splitting_of_rows_do_not_matter(results, loss, generator):
    split = [
        PairResult(r.player_a, r.player_b, *part)
        for r in results
        for part, times in (((1, 0, 0), r.wins_a), ((0, 1, 0), r.ties), ((0, 0, 1), r.wins_b), ((0, 0, 0), 1))
        for _ in range(times)
    ]
    generator.shuffle(split)
    one, other = fitted(results, loss), fitted(split, loss)
    assert (one is None) == (other is None)
    if one and other:
        assert values(other) == pytest.approx(values(one), abs=1e-3, nan_ok=True)


@pytest.mark.parametrize(
    "games",
    [
        # Without curvature far out, where no equation can be solved any more.
        [("q", "p", 1, 0, 0), ("q", "s", 0, 0, 1), ("r", "p", 0, 0, 1), ("r", "s", 0, 1, 0)],
        # Where one can be, and strengths of thousands of points would come of it.
        [("p", "s", 2, 1, 2), ("p", "r", 0, 1, 0), ("r", "q", 0, 2, 2), ("r", "s", 1, 0, 0), ("r", "r", 0, 0, 1)],
    ],
)
def test_a_squared_loss_without_a_minimum_is_refused_in_one_line(games):
    results = [PairResult(*game) for game in games]
    with pytest.raises(ConfigurationError, match="squared loss has no minimum"):
        fit_ratings(results, two_role=True, loss="squared")
    assert all(math.isfinite(one.rating) for one in fit_ratings(results, two_role=True, loss="nll").rated)


def test_a_saddle_point_is_no_minimum():
    """Newton's method comes to rest at one from either start; the squared loss is lower beside it."""
    games = [("p", "r", 0, 1, 0), ("q", "s", 0, 0, 2), ("q", "r", 0, 0, 1), ("r", "p", 2, 0, 0)]
    results = [PairResult(*game) for game in games]
    pairs = module._Table.of(results, two_role=True, clusters=None).pairs().with_extra_player(0.1)
    rest = module._newton(pairs, "squared", module._newton(pairs, "nll", np.zeros(pairs.count)))
    slope, bend, _ = module._derivatives(pairs, rest, "squared")
    assert np.abs(pairs.sums(slope)).max() < 1e-9
    assert np.linalg.eigvalsh(pairs.laplacian(bend))[0] < -1e-3
    found = module._fit(pairs, "squared")
    assert module._value(pairs, found, "squared") < 0.98 * module._value(pairs, rest, "squared")
    slope, bend, _ = module._derivatives(pairs, found, "squared")
    assert np.abs(pairs.sums(slope)).max() < 1e-9
    assert np.linalg.eigvalsh(pairs.laplacian(bend))[0] > -1e-12


@settings(deadline=None, max_examples=60)
@given(matches(), losses)
def test_swapping_the_columns_swaps_the_roles_and_nothing_else(results, loss):
    swapped = [PairResult(r.player_b, r.player_a, r.wins_b, r.ties, r.wins_a) for r in results]
    one, other = fitted(results, loss), fitted(swapped, loss)
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    if len(one.rated) * 2 <= len(values(one)):
        return  # two groups of one size: which is rated goes by name, and the names of roles were swapped
    turned = {("a" if role == "b" else "b", player): rating for (role, player), rating in values(other).items()}
    assert turned == pytest.approx(values(one), abs=1e-3, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(matches(), losses, st.floats(-2000, 2000), st.sampled_from([0.0, 0.5]))
def test_the_shift_and_the_scale(results, loss, mean, prior):
    plain = fitted(results, loss, prior)
    if plain is None:
        return
    shifted = fit_ratings(results, 800.0, two_role=True, loss=loss, prior=prior, mean=mean)
    if plain.rated:
        assert math.fsum(one.rating for one in shifted.rated) / len(shifted.rated) == pytest.approx(mean, abs=1e-6)
    for one in plain.rated:
        other = shifted[one.player, one.role]
        assert other.rating - mean == pytest.approx(2 * one.rating, abs=1e-6)
        assert other.standard_error == pytest.approx(2 * one.standard_error)
        assert one.low <= one.rating <= one.high
        assert math.isfinite(one.low + one.high)


@settings(deadline=None, max_examples=60)
@given(matches(), st.sampled_from([0.1, 1.0]), losses)
def test_with_a_prior_everybody_is_rated(results, prior, loss):
    ratings = fit_ratings(results, two_role=True, prior=prior, loss=loss)
    assert ratings.unidentified == ()
    plain = fit_ratings(results, two_role=True)  # who is determined by the games does not depend on the loss
    assert {(one.player, one.role) for one in ratings.rated if one.reason} == {
        (one.player, one.role) for one in plain.unidentified
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "absolute"}, "loss 'absolute': choose nll or squared"),
        ({"intervals": "jackknife"}, "intervals 'jackknife': choose sandwich or bootstrap"),
        ({"bootstrap": 1}, "bootstrap 1"),
        ({"prior": -1.0}, "prior -1.0"),
        ({"prior": math.nan}, "prior nan"),
        ({"mean": math.inf}, "mean inf"),
        ({"clusters": ["one"]}, "12 results with 1 clusters"),
        ({"clusters": ["one"] * 12}, "an interval needs two"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ConfigurationError, match=message):
        fit_ratings(drawn(1), two_role=True, **options)
