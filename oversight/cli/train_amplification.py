"""``oversight train amplification``: iterated amplification with learners that are really trained."""

from __future__ import annotations

from collections.abc import Sequence

from .parsing import Parser, picture_path

__all__ = ["amplification"]


def amplification(words: Sequence[str]) -> int:
    """``oversight train amplification``"""
    parser = Parser(
        "train amplification",
        "H answers questions about powers of permutations, X its sub-questions; H' learns to do what H does; X is\n"
        "trained on what H' answers with the help of X (Christiano, Shlegeris and Amodei 2018).  The same network is\n"
        "trained on true answers, the ceiling, and on what H can answer alone, the floor.  The same command goes on\n"
        "where it stopped.",
        "oversight train amplification --human-error 0.1 --mistakes forgets --plot amplification.png",
    )
    what = parser.add_argument_group("questions and overseer")
    what.add_argument("--points", type=int, default=24, metavar="N", help="points of a permutation (default: 24)")
    what.add_argument("--power", type=int, default=16, metavar="N", help="largest power (default: 16)")
    what.add_argument(
        "--demonstrations", type=int, default=1000, metavar="N", help="questions that H answers (default: 1000)"
    )
    what.add_argument(
        "--human-error", type=float, default=0.0, metavar="X", help="share of what H does wrong (default: 0)"
    )
    what.add_argument(
        "--mistakes",
        choices=("slips", "forgets"),
        default="slips",
        help="slips, in such a share of the demonstrations; or it always forgets to apply the permutation to such a "
        "share of the points (default: slips)",
    )
    how = parser.add_argument_group("training")
    how.add_argument("--steps", type=int, default=1500, metavar="N", help="of each learner (default: 1500)")
    how.add_argument("--width", type=int, default=32, metavar="N", help="features of a state (default: 32)")
    how.add_argument("--permutations", type=int, default=32, metavar="N", help="permutations in a step (default: 32)")
    how.add_argument("--questions", type=int, default=8, metavar="N", help="questions about each (default: 8)")
    how.add_argument("--rate", type=float, default=3e-3, metavar="X", help="learning rate (default: 0.003)")
    how.add_argument(
        "--following",
        type=float,
        default=0.05,
        metavar="X",
        help="how far the X that answers sub-questions goes towards the trained one in a step (default: 0.05)",
    )
    how.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings (default: 1)")
    how.add_argument("--seed", type=int, default=0, metavar="S", help="of all that is drawn (default: 0)")
    out = parser.add_argument_group("results")
    out.add_argument(
        "--test", type=int, default=200, metavar="N", help="permutations in the test, never trained on (default: 200)"
    )
    out.add_argument(
        "--every", type=int, default=50, metavar="N", help="steps between checkpoints and measurements (default: 50)"
    )
    out.add_argument(
        "--log-dir", metavar="D", help="folder of the results; the same command resumes (default: in logs/)"
    )
    out.add_argument("--plot", type=picture_path, metavar="PATH", help="a .png or .svg to draw")
    out.add_argument("--json", action="store_true", help="print every number as JSON, and nothing else")
    arguments = parser.parse(words)
    import json

    from ..report.amplification_report import plot_amplification, print_amplification
    from ..report.terminal import console, error_console, safe
    from ..training.amplification_experiment import AmplificationSettings
    from ..training.amplification_experiment import amplification as trained
    from ..training.progress import training_progress

    result = trained(
        log_dir=arguments.log_dir,
        progress=training_progress(error_console()),
        command=["train", "amplification", *words],
        **{name: getattr(arguments, name) for name in AmplificationSettings.model_fields},
    )
    if arguments.plot:
        plot_amplification(result, arguments.plot)
    if arguments.json:
        print(json.dumps(result.to_json(), indent=2, allow_nan=False))
        return 0
    terminal = console()
    print_amplification(result, terminal)
    if arguments.plot:
        terminal.print(safe(f"drawn in {arguments.plot}"), soft_wrap=True)
    return 0
