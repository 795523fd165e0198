"""``oversight plan``: what a run would cost and what it could detect, before anything is spent."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .parsing import Parser

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from ..analysis.power import Arm, Detectable, Needed, Prior
    from ..protocol import Protocol
    from ..runs.plan import Cast, Plan, RoleCost

__all__ = ["plan"]

_ABOUT = {
    "run": "What a run would cost, and what it could detect; the arguments are those of oversight run.",
    "tournament": "What a tournament would cost, and what it could detect; the arguments are those of oversight "
    "tournament.",
}

_HELP = """What a run or a tournament would cost, and what it could detect: episodes, calls, worst-case tokens and
dollars by role, and power by simulation.  Nothing is played, no call is made, no folder is written.

what is planned, with the arguments of oversight run or oversight tournament:
  run PROTOCOL --arena A ...     a run; the word run may be left out
  tournament ARENA ...           a tournament
oversight plan run --help and oversight plan tournament --help list every option."""


def plan(words: Sequence[str]) -> int:
    """``oversight plan``"""
    words = list(words)
    if not words or words[0].startswith("-"):
        parser = Parser(
            "plan",
            _HELP,
            "oversight plan tournament connect_four --agents mcts/4,mcts/64 --limit 100 --detect 0.05",
            usage="oversight plan run|tournament ... [--detect DIFFERENCE] [--json]",
        )
        parser.parse(words)
        raise ConfigurationError("write what is planned: oversight plan run PROTOCOL ... or tournament ARENA ...")
    kind = words.pop(0) if words[0] in _ABOUT else _kind(words)
    from .commands import read_run, read_tournament

    read = read_run if kind == "run" else read_tournament
    # What is out of its range is said before an arena makes its questions.
    numbers = Parser("plan", "", "", add_help=False)
    _add_options(numbers)
    _prior(numbers.parse_known_args(words)[0])
    made, arguments = read(words, f"plan {kind}", _ABOUT[kind], _add_options)
    power = _power(made, arguments)
    if arguments.json:
        print(json.dumps(_to_json(made, power), indent=2, allow_nan=False))
        return 0
    from ..report.terminal import console, print_plan
    from ..runs.api import default_log_dir

    out = console()
    print_plan(made, Path(arguments.log_dir) if arguments.log_dir else default_log_dir(made), out)
    _print_power(power, out)
    if made.scheduling is not None:
        out.print("Power is that of every episode that the schedule could play; fewer detect less.", soft_wrap=True)
    return 0


def _kind(words: Sequence[str]) -> str:
    """Whether the words are a run's or a tournament's where they do not say so."""
    from ..registry import registered
    from ..specification import parse_specification

    if any(word == "--arena" or word.startswith("--arena=") for word in words):
        return "run"
    return "tournament" if parse_specification(words[0]).name in registered("arenas") else "run"


def _add_options(parser: Parser) -> None:
    from ..analysis.power import Prior

    default = Prior()
    power = parser.add_argument_group("what it could detect")
    power.add_argument(
        "--detect", type=float, metavar="D", help="say how many questions find a difference D in accuracy, as 0.05"
    )
    power.add_argument(
        "--power", type=float, default=0.8, metavar="P", help="probability of finding what there is (default: 0.8)"
    )
    power.add_argument(
        "--alpha", type=float, default=0.05, metavar="A", help="level of the two-sided test (default: 0.05)"
    )
    power.add_argument(
        "--simulations", type=int, default=1000, metavar="N", help="simulated runs an effect size (default: 1000)"
    )
    prior = parser.add_argument_group("what is believed before measuring")
    for name, metavar, about in (
        ("baseline", "P", "accuracy of the lower of two protocols, and at the middle gap"),
        ("question_sd", "SD", "how much questions differ in difficulty, in log-odds"),
        ("source_sd", "SD", "how much sources differ in difficulty, in log-odds"),
        ("protocol_sd", "SD", "how differently two protocols take to one question, each its own, in log-odds"),
        ("seating_sd", "SD", "how differently a question turns out with another cast or seating, in log-odds"),
        ("spread", "ELO", "from the weakest to the strongest debater, and judge, until that is measured"),
    ):
        value = getattr(default, name)
        option = f"--{name.replace('_', '-')}"
        prior.add_argument(
            option, type=float, default=value, metavar=metavar, help=f"{about} (default: {value:g})", dest=name
        )
    parser.add_argument("--json", action="store_true", help="print costs and power as JSON, and nothing else")


def _prior(arguments: argparse.Namespace) -> Prior:
    """The prior that is asked for; raises ConfigurationError for any number of these options out of its range."""
    from ..analysis.power import Prior, require_test

    names = ("baseline", "question_sd", "source_sd", "protocol_sd", "seating_sd", "spread")
    prior = Prior(**{name: getattr(arguments, name) for name in names})
    require_test(arguments.power, arguments.alpha, arguments.simulations)
    if arguments.detect is not None:
        prior.require_difference(arguments.detect)
    return prior


# ---- from a plan to its power ------------------------------------------------------------------------


@dataclass(frozen=True)
class _DifferenceRow:
    """Two protocols, with one cast each or with all of each pooled."""

    protocols: tuple[str, str]
    casts: tuple[int, int]
    found: Detectable
    needed: Needed | None
    costs: Sequence[RoleCost] | None


@dataclass(frozen=True)
class _SlopeRow:
    """One protocol over all its casts."""

    protocol: str
    gaps: tuple[float, ...]
    found: Detectable


@dataclass(frozen=True)
class _Power:
    prior: Prior
    power: float
    alpha: float
    detect: float | None
    differences: Sequence[_DifferenceRow]
    slopes: Sequence[_SlopeRow]


def _arms(plan: Plan) -> list[tuple[Protocol, tuple[Cast, ...], Arm]]:
    """Each protocol with its casts and how often it answers each question."""
    from ..analysis.power import Arm

    played = Counter((one.protocol.key, one.question.id) for one in plan.episodes() if one.purpose == "comparison")
    seen = Counter(protocol.key for protocol, _ in plan.entries)
    return [
        (
            protocol,
            casts,
            Arm(
                tuple(
                    played[protocol.key, question.id] // (len(casts) * plan.epochs * seen[protocol.key])
                    for question in plan.questions
                ),
                len(casts),
                plan.epochs,
            ),
        )
        for protocol, casts in plan.entries
    ]


def _power(plan: Plan, arguments: argparse.Namespace) -> _Power:
    from ..analysis.power import detectable_difference, detectable_slope, questions_needed

    prior, sources = _prior(arguments), [question.source for question in plan.questions]
    test = {
        "power": arguments.power,
        "alpha": arguments.alpha,
        "simulations": arguments.simulations,
        "seed": plan.seed,
    }
    arms = _arms(plan)
    pairs = [((a.title, b.title), one, other) for (a, _, one), (b, _, other) in combinations(arms, 2)]
    if not pairs:
        protocol, _, arm = arms[0]
        pairs = [((protocol.title, "another of the same design"), arm, arm)]
    costs = plan.costs() if arguments.detect is not None else []
    differences: list[_DifferenceRow] = []
    known: dict[tuple[Arm, Arm], tuple[Detectable, Needed | None]] = {}
    for pooled in (False, True):
        for titles, one, other in pairs:
            if pooled and one.casts == other.casts == 1:
                continue
            chosen = (one, other) if pooled else (replace(one, casts=1), replace(other, casts=1))
            if chosen not in known:
                found = detectable_difference(sources, *chosen, prior, **test)
                needed = None
                if arguments.detect is not None:
                    needed = questions_needed(arguments.detect, sources, *chosen, prior, **test)
                known[chosen] = found, needed
            found, needed = known[chosen]
            scaled = None
            if needed is not None and needed.questions is not None:
                scaled = [_scaled(cost, needed.questions / len(sources)) for cost in costs]
            differences.append(_DifferenceRow(titles, (chosen[0].casts, chosen[1].casts), found, needed, scaled))
    slopes = []
    for protocol, casts, arm in arms:
        gaps = _gaps(protocol, casts, prior.spread)
        if gaps is not None and len(casts) > 1:
            slopes.append(_SlopeRow(protocol.title, gaps, detectable_slope(sources, arm, gaps, prior, **test)))
    return _Power(prior, arguments.power, arguments.alpha, arguments.detect, differences, slopes)


def _scaled(cost: RoleCost, times: float) -> RoleCost:
    """The cost with another number of questions."""

    def up(number: int | None) -> int | None:
        return None if number is None else math.ceil(number * times - 1e-9)

    return replace(
        cost,
        calls=math.ceil(cost.calls * times - 1e-9),
        most_calls=math.ceil(cost.most_calls * times - 1e-9),
        input_tokens=up(cost.input_tokens),
        output_tokens=up(cost.output_tokens),
        dollars=None if cost.dollars is None else cost.dollars * times,
    )


def _gaps(protocol: Protocol, casts: Sequence[Cast], spread: float) -> tuple[float, ...] | None:
    """The gap of each cast if ratings are evenly spread over each side; None where nobody argues."""
    from ..analysis.power import evenly_spread

    roles = protocol.roles()
    sides = []
    for argues in (True, False):
        named = [
            [name for role, names in cast.items() if roles[role].argues_for_an_answer == argues for name in names]
            for cast in casts
        ]
        if not all(named):
            return None
        ratings = evenly_spread([name for names in named for name in names], spread)
        sides.append([math.fsum(ratings[name] for name in names) / len(names) for names in named])
    return tuple(debater - judge for debater, judge in zip(*sides, strict=True))


# ---- saying it ------------------------------------------------------------------------------------------


def _total(costs: Sequence[RoleCost]) -> float | None:
    dollars = [cost.dollars for cost in costs if cost.dollars is not None]
    return math.fsum(dollars) if len(dollars) == len(costs) else None


def _to_json(plan: Plan, power: _Power) -> dict[str, Any]:
    costs = plan.costs()
    episodes = Counter((one.purpose, one.protocol.title) for one in plan.episodes())
    return {
        "arena": plan.arena.name,
        "questions": len(plan.questions),
        "sources": len({question.source for question in plan.questions}),
        "seed": plan.seed,
        "episodes": [
            {"purpose": purpose, "protocol": title, "episodes": count} for (purpose, title), count in episodes.items()
        ],
        "costs": [asdict(cost) for cost in costs],
        "dollars": _total(costs),
        "prior": power.prior.to_json(),
        "power": power.power,
        "alpha": power.alpha,
        "detect": power.detect,
        "differences": [
            {
                "protocols": list(row.protocols),
                "casts": list(row.casts),
                "smallest": row.found.to_json(),
                "needed": None
                if row.needed is None
                else {
                    **row.needed.to_json(),
                    "costs": None if row.costs is None else [asdict(cost) for cost in row.costs],
                    "dollars": None if row.costs is None else _total(row.costs),
                },
            }
            for row in power.differences
        ],
        "slopes": [
            {
                "protocol": row.protocol,
                "gap_low": min(row.gaps),
                "gap_high": max(row.gaps),
                "per_100_elo": _per_100(row),
                "smallest": row.found.to_json(),
            }
            for row in power.slopes
        ],
    }


def _per_100(row: _SlopeRow) -> float | None:
    """Log-odds per 100 Elo; None without an effect."""
    width = max(row.gaps) - min(row.gaps)
    return None if row.found.effect is None else 100.0 * row.found.effect / width


def _short(titles: Sequence[str]) -> dict[str, str]:
    """Titles without their options where no two are then the same."""
    heads = {title: title.partition("(")[0] for title in titles}
    shared = Counter(heads.values())
    return {title: head if shared[head] == 1 else title for title, head in heads.items()}


def _percent(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"


def _print_power(power: _Power, out: Console) -> None:
    from rich.table import Table

    from ..report.terminal import safe

    def say(text: str = "") -> None:
        out.print(safe(text), soft_wrap=True)

    say()
    prior = power.prior
    say(
        f"Power: an effect counts as detected where a two-sided test at {power.alpha:g} finds it in "
        f"{100 * power.power:g} % of simulated runs."
    )
    say(
        f"Believed before measuring: baseline accuracy {prior.baseline:g}; standard deviations in log-odds of "
        f"questions {prior.question_sd:g}, sources {prior.source_sd:g}, protocol by question {prior.protocol_sd:g}, "
        f"cast and seating {prior.seating_sd:g}."
    )
    together: dict[tuple[Any, ...], list[_DifferenceRow]] = {}
    for row in power.differences:
        together.setdefault((row.casts, row.found, row.needed), []).append(row)
    short = _short([title for row in power.differences for title in row.protocols])
    everything = {row.protocols for row in power.differences}
    table, more = Table(box=None), Table(box=None)
    table.add_column("difference of", min_width=20, overflow="fold")
    more.add_column(f"to detect {100 * (power.detect or 0.0):g} %", min_width=20, overflow="fold")
    for name in ("casts", "smallest detected", "false alarms"):
        table.add_column(name, justify="right")
    for name in ("casts", "questions", "sources", "calls", "dollars"):
        more.add_column(name, justify="right")
    for rows in together.values():
        row, casts = rows[0], " and ".join(map(str, rows[0].casts))
        named = "; ".join(" and ".join(short[title] for title in one.protocols) for one in rows)
        if len(rows) > 1 and {one.protocols for one in rows} == everything:
            named = "any two protocols"
        table.add_row(*map(safe, (named, casts, _percent(row.found.effect), _percent(row.found.false_alarms))))
        if row.needed is not None and row.needed.questions is not None and row.costs is not None:
            dollars = _total(row.costs)
            cells = [f"{row.needed.questions:,}", f"{row.needed.sources:,}"]
            cells += [f"{sum(cost.calls for cost in row.costs):,}", "unknown" if dollars is None else f"{dollars:,.2f}"]
            more.add_row(*map(safe, (named, casts, *cells)))
        elif row.needed is not None:
            more.add_row(safe(named), casts, *["—"] * 4)
    out.print(table)
    for reason in dict.fromkeys(row.found.reason for row in power.differences if row.found.reason):
        say(f"no difference: {reason}")
    if power.detect is not None:
        out.print(more)
        for reason in dict.fromkeys(row.needed.reason for row in power.differences if row.needed and row.needed.reason):
            say(f"no number: {reason}")
        say(
            "Calls and dollars, at most, are those of the whole plan with so many questions; these are taken to come "
            "from more sources like the plan's, in the same proportions."
        )
    if power.slopes:
        _print_slopes(power, out)
    found = [row.found for row in power.differences] + [row.found for row in power.slopes]
    counts = {one.simulations for one in found} - {0}
    said = " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)})) if counts else "no"
    say(
        f"From {said} simulated runs; every episode is taken to be scored, and p-values not to be corrected for "
        "several comparisons (--alpha lowers the level)."
    )


def _print_slopes(power: _Power, out: Console) -> None:
    from rich.table import Table

    from ..report.terminal import safe

    table = Table(box=None)
    table.add_column("slope of", min_width=11, overflow="fold")
    for name in ("smallest detected", "accuracy", "per 100 Elo", "false alarms"):
        table.add_column(name, justify="right")
    start = math.log(power.prior.baseline / (1.0 - power.prior.baseline))
    short = _short([row.protocol for row in power.slopes])
    for row in power.slopes:
        change, steep = row.found.effect, _per_100(row)
        ends = "—"
        if change is not None:
            high, low = (1.0 / (1.0 + math.exp(-(start + sign * change / 2.0))) for sign in (1, -1))
            ends = f"{100 * high:.0f} % to {100 * low:.0f} %"
        table.add_row(
            safe(short[row.protocol]),
            "—" if change is None else f"{change:.2f} log-odds",
            ends,
            "—" if steep is None else f"{steep:.3f}",
            _percent(row.found.false_alarms),
        )
    out.print(table)
    for reason in dict.fromkeys(filter(None, (row.found.reason for row in power.slopes))):
        out.print(safe(f"no slope: {reason}"), soft_wrap=True)
    out.print(
        safe(
            "A change is that from the smallest to the largest gap.  Ratings are not known before they are measured: "
            f"debaters are taken to be evenly spread over {power.prior.spread:g} Elo, and judges likewise (--spread); "
            "cells are taken to lie on the curve."
        ),
        soft_wrap=True,
    )
