"""``oversight train attacker_learner_critic``"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .parsing import Parser, add_endpoint_options, model_options, picture_path

__all__ = ["attacker_learner_critic"]


def attacker_learner_critic(words: Sequence[str]) -> int:
    """``oversight train attacker_learner_critic``"""
    parser = Parser(
        "train attacker_learner_critic",
        "An attacker writes questions that a learner fails on, a critic who is not told the truth says what is wrong,\n"
        "the learner answers again and is trained on that (Huang et al. 2025).  As it is: a search, a small network\n"
        "and bounded/2 on nested expressions.  The same command goes on where it stopped.",
        "oversight train attacker_learner_critic --critic bounded/1 --critic bounded/3 --plot loop.png",
    )
    who = parser.add_argument_group("who takes part: the arena's own agents, models as openai/NAME, file.py:Name")
    who.add_argument("--attacker", default="attacker/search", metavar="A", help="writes queries (default: %(default)s)")
    who.add_argument("--learner", default="learner/network", metavar="A", help="answers them (default: %(default)s)")
    who.add_argument(
        "--critic",
        action="append",
        default=[],
        metavar="A",
        help="reads query and answer; may be repeated, a loop each with the same chance moves (default: bounded/2)",
    )
    what = parser.add_argument_group("questions")
    what.add_argument(
        "--arena",
        metavar="ARENA",
        help="decides what is right; a query beyond its bounds does not count (default: arithmetic(depth=2, "
        "shape=ragged))",
    )
    what.add_argument(
        "--seed-arena",
        metavar="ARENA",
        help="where the questions to begin with are from (default: sums of numbers up to 4; the arena itself, where "
        "one is given)",
    )
    what.add_argument("--seed-questions", type=int, default=80, metavar="N", help="how many of them (default: 80)")
    what.add_argument("--held-out", type=int, default=200, metavar="N", help="questions for accuracy (default: 200)")
    how = parser.add_argument_group("the loop")
    how.add_argument("--rounds", type=int, default=8, metavar="N", help="rounds (default: 8)")
    how.add_argument("--queries", type=int, default=40, metavar="N", help="queries a round (default: 40)")
    how.add_argument("--batch", type=int, default=10, metavar="N", help="queries asked for at a time (default: 10)")
    how.add_argument("--shown", type=int, default=100, metavar="N", help="queries the attacker sees (default: 100)")
    how.add_argument(
        "--reserved",
        type=float,
        default=0.25,
        metavar="X",
        help="share of the queries kept from critic and training, to measure with later (default: 0.25)",
    )
    how.add_argument(
        "--lessons", type=int, default=8, metavar="N", help="latest critiques in the learner's context (default: 8)"
    )
    how.add_argument(
        "--labels",
        choices=("critic", "truth"),
        default="critic",
        help="who tells the better answer of a pair from the worse one (default: critic)",
    )
    how.add_argument("--untrained", action="store_true", help="leave a learner that can be trained as it begins")
    add_endpoint_options(parser)
    runs = parser.add_argument_group("how it runs")
    runs.add_argument(
        "--max-connections",
        type=int,
        metavar="N",
        help="calls in flight to an endpoint (default: as many as it keeps up with, found on the way)",
    )
    runs.add_argument("--cost-limit", type=float, metavar="USD", help="stop before it could cost more")
    runs.add_argument("--leave-failed", action="store_true", help="close rounds without the items whose calls failed")
    runs.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="how many loops each critic has, of other chance moves each (default: 1)",
    )
    runs.add_argument("--seed", type=int, default=0, metavar="S", help="seed of questions and chance (default: 0)")
    runs.add_argument(
        "--log-dir", metavar="D", help="folder of the results; the same command resumes (default: in logs/)"
    )
    runs.add_argument("--plot", type=picture_path, metavar="PATH", help="a .png or .svg to draw")
    runs.add_argument("--json", action="store_true", help="print every number as JSON, and nothing else")
    arguments = parser.parse(words)
    from ..report.attacker_learner_critic_report import plot_loops, print_loops
    from ..report.terminal import console, error_console, safe
    from ..training import attacker_learner_critic as loops
    from ..training.progress import training_progress

    critics = arguments.critic or ["bounded/2"]
    arena = arguments.arena or loops.DEFAULT_ARENA
    result = loops.attacker_learner_critic(
        arena,
        attacker=arguments.attacker,
        learner=arguments.learner,
        critics=critics,
        seed_arena=arguments.seed_arena,
        log_dir=arguments.log_dir,
        options=model_options(arguments, [arguments.attacker, arguments.learner, *critics]),
        connections=arguments.max_connections,
        cost_limit=arguments.cost_limit,
        leave_failed=arguments.leave_failed,
        progress=training_progress(error_console()),
        command=["train", "attacker_learner_critic", *words],
        train=not arguments.untrained,
        **{name: getattr(arguments, name) for name in _SETTINGS},
    )
    if arguments.plot:
        plot_loops(result, arguments.plot)
    if arguments.json:
        print(json.dumps(result.to_json(), indent=2, allow_nan=False))
        return 0
    out = console()
    print_loops(result, out)
    if arguments.plot:
        out.print(safe(f"drawn in {arguments.plot}"), soft_wrap=True)
    return 0


_SETTINGS = (
    "rounds",
    "queries",
    "batch",
    "seed_questions",
    "held_out",
    "reserved",
    "shown",
    "lessons",
    "labels",
    "seeds",
    "seed",
)
