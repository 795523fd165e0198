"""``oversight train reward_modeling``: recursive reward modelling."""

from __future__ import annotations

from collections.abc import Sequence

from .parsing import Parser, picture_path

__all__ = ["reward_modeling"]


def reward_modeling(words: Sequence[str]) -> int:
    """``oversight train reward_modeling``"""
    parser = Parser(
        "train reward_modeling",
        "A human prefers replies, a reward model is trained on these preferences, an agent is optimised against it;\n"
        "at the next level the agent assists the human on deeper tasks (Leike et al. 2018).  With --inject the\n"
        "growth of an error over the levels is measured.  The same command goes on where it stopped.",
        "oversight train reward_modeling --levels 3 --inject 0.1 --plot goodhart.png",
    )
    what = parser.add_argument_group("the recursion")
    what.add_argument("--levels", type=int, default=3, metavar="K", help="levels (default: 3)")
    what.add_argument(
        "--arena",
        default="arithmetic(modulus=5)",
        metavar="A",
        help="where tasks come from (default: arithmetic(modulus=5))",
    )
    what.add_argument(
        "--human",
        default="proxy/noisy(0.1,judge=bounded/1)",
        metavar="M",
        help="who prefers: human, proxy/length-biased(0.3,judge=bounded/1), bounded/1, a model "
        "(default: proxy/noisy(0.1,judge=bounded/1))",
    )
    what.add_argument(
        "--judgements", type=int, default=2000, metavar="N", help="judgements asked for at each level (default: 2000)"
    )
    what.add_argument(
        "--reward-model",
        default="structured",
        metavar="R",
        help="what learns from them: structured, a small network that reads the task's structure, or hf/FOLDER, a "
        "language model (default: structured)",
    )
    test = parser.add_argument_group("what is measured")
    test.add_argument(
        "--inject", type=float, default=0.0, metavar="X", help="share of operations to misjudge (default: 0)"
    )
    test.add_argument("--inject-level", type=int, default=0, metavar="L", help="at this level (default: 0)")
    test.add_argument("--test", type=int, default=300, metavar="N", help="held-out tasks a level (default: 300)")
    test.add_argument("--best-of", type=int, default=256, metavar="N", help="most of best-of-n (default: 256)")
    how = parser.add_argument_group("how it runs")
    how.add_argument("--samples", type=int, default=3000, metavar="N", help="tasks to tune on, a level (default: 3000)")
    how.add_argument("--seeds", type=int, default=3, metavar="N", help="independent recursions (default: 3)")
    how.add_argument("--seed", type=int, default=0, metavar="S", help="seed of all chance moves (default: 0)")
    how.add_argument(
        "--log-dir", metavar="D", help="folder of the results; the same command resumes (default: in logs/)"
    )
    how.add_argument(
        "--plot",
        type=picture_path,
        metavar="PATH",
        help="a .png or .svg of the Goodhart curves (default: goodhart.png in the folder)",
    )
    how.add_argument("--json", action="store_true", help="print every number as JSON, and nothing else")
    who = parser.add_argument_group("where a person judges")
    who.add_argument("--as", dest="person", default="", metavar="NAME", help="who sits here, by the name in the record")
    who.add_argument("--plain", action="store_true", help="lines of text, for screen readers and pipes")
    arguments = parser.parse(words)
    import json

    from ..errors import MissingExtra
    from ..report.reward_modeling_report import plot_reward_modeling, print_reward_modeling
    from ..report.terminal import console, error_console, safe
    from ..runs.directory import write_json
    from ..runs.session import SessionOptions
    from ..training.progress import training_progress
    from ..training.reward_modeling import reward_modeling as trained

    result = trained(
        arena=arguments.arena,
        human=arguments.human,
        reward_model=arguments.reward_model,
        log_dir=arguments.log_dir,
        progress=training_progress(error_console()),
        session=SessionOptions(name=arguments.person, plain=arguments.plain),
        command=["train", "reward_modeling", *words],
        **{name: getattr(arguments, name) for name in _SETTINGS},
    )
    plot = ""
    if result.waiting is None:
        write_json(result.folder / "levels.json", result.to_json())
        plot = arguments.plot or str(result.folder / "goodhart.png")
        try:
            plot_reward_modeling(result, plot)
        except MissingExtra as missing:  # the numbers are there without it
            if arguments.plot:
                raise
            error_console().print(safe(str(missing)), soft_wrap=True)
            plot = ""
    if arguments.json and result.waiting is None:
        print(json.dumps(result.to_json(), indent=2, allow_nan=False))
        return 0
    out = console()
    print_reward_modeling(result, out)
    if plot:
        out.print(safe(f"drawn in {plot}"), soft_wrap=True)
    return 0


_SETTINGS = ("levels", "judgements", "inject", "inject_level", "test", "best_of", "samples", "seeds", "seed")
