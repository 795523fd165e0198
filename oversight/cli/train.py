"""``oversight train``: what is trained, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import ConfigurationError, UnknownName
from .parsing import Parser, picture_path
from .train_agent import agent
from .train_amplification import amplification
from .train_attacker_learner_critic import attacker_learner_critic
from .train_reward_model import reward_model
from .train_reward_modeling import reward_modeling

__all__ = ["TRAININGS", "train"]


def train(words: Sequence[str]) -> int:
    """``oversight train NAME``"""
    if words and not words[0].startswith("-"):
        if words[0] not in TRAININGS:
            raise UnknownName("training", words[0], TRAININGS)
        return TRAININGS[words[0]][0](words[1:])
    width = max(map(len, TRAININGS))
    listed = "\n".join(f"  {name:{width}}  {about}" for name, (_, about) in TRAININGS.items())
    parser = Parser(
        "train",
        f"Train something, and measure what came of it:\n{listed}\n\noversight train NAME --help explains one.",
        "oversight train weak_to_strong --data words.csv --student ngrams",
    )
    parser.parse(words)
    raise ConfigurationError(f"train what? name one of {', '.join(TRAININGS)}; see oversight train --help")


def weak_to_strong(words: Sequence[str]) -> int:
    """``oversight train weak_to_strong``"""
    parser = Parser(
        "train weak_to_strong",
        "A weak supervisor labels texts, students are trained on its labels and, as their ceiling, on the true ones:\n"
        "how much of the gap does a student recover (Burns et al. 2023)?  The same command goes on where it stopped.",
        "oversight train weak_to_strong --data words.csv --student 'embedding/FOLDER(components=20)' --student ngrams",
    )
    what = parser.add_argument_group("texts and labels")
    what.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="CSV or .jsonl with text and label (0 or 1), perhaps source and id",
    )
    what.add_argument(
        "--examples", type=int, default=300, metavar="N", help="labelled texts for the n-gram supervisor (default: 300)"
    )
    what.add_argument("--labels", metavar="LOGDIR", help="a run whose judge is the weak supervisor, by question id")
    what.add_argument("--label-protocol", metavar="TITLE", help="of --labels: under which protocol, if it has several")
    what.add_argument("--label-judge", metavar="NAME", help="of --labels: whose verdicts, if it has several judges")
    what.add_argument(
        "--positive", metavar="TEXT", help="of --labels: the answer that label 1 stands for (default: the second)"
    )
    what.add_argument("--column", metavar="NAME", help="of the file: a weak supervisor's probabilities of label 1")
    who = parser.add_argument_group("students")
    who.add_argument(
        "--student",
        action="append",
        default=[],
        metavar="STUDENT",
        help="embedding/FOLDER, hf/FOLDER(layer=N) or ngrams(longest=4); with (strength=10), the probe's penalty, "
        "(components=20), how many are kept, (name=TEXT); may be repeated",
    )
    who.add_argument(
        "--flip", default="0", metavar="X,...", help="shares of the weak labels to flip, a row each (default: 0)"
    )
    who.add_argument(
        "--confidence",
        default="0",
        metavar="X,...",
        help="largest weights of the confidence loss, a row each; 0 is the plain loss (default: 0)",
    )
    who.add_argument(
        "--targets",
        choices=("hard", "soft"),
        default="hard",
        help="weak labels as 0 or 1, or as they are (default: hard)",
    )
    who.add_argument("--unbalanced", action="store_true", help="let the commoner label weigh more in training")
    who.add_argument("--train", type=int, default=3000, metavar="N", help="weakly labelled texts (default: 3000)")
    who.add_argument("--test", type=int, metavar="N", help="texts in the test (default: all that are left)")
    who.add_argument("--steps", type=int, default=300, metavar="N", help="steps of gradient descent (default: 300)")
    how = parser.add_argument_group("how it runs")
    how.add_argument("--seeds", type=int, default=8, metavar="N", help="splits, each dealt anew (default: 8)")
    how.add_argument("--seed", type=int, default=0, metavar="S", help="seed of splits and flips (default: 0)")
    how.add_argument(
        "--log-dir", metavar="D", help="folder of the results; the same command resumes (default: in logs/)"
    )
    how.add_argument("--plot", type=picture_path, metavar="PATH", help="a .png or .svg to draw")
    how.add_argument("--json", action="store_true", help="print every number as JSON, and nothing else")
    arguments = parser.parse(words)
    flips, confidences = (_numbers(name, getattr(arguments, name)) for name in ("flip", "confidence"))
    import json

    from ..report.terminal import console, error_console, safe
    from ..report.training_report import plot_weak_to_strong, print_weak_to_strong
    from ..training.progress import training_progress
    from ..training.weak_to_strong import weak_to_strong as trained

    result = trained(
        arguments.data,
        arguments.student,
        labels=arguments.labels,
        positive=arguments.positive,
        label_protocol=arguments.label_protocol,
        label_judge=arguments.label_judge,
        column=arguments.column,
        log_dir=arguments.log_dir,
        progress=training_progress(error_console()),
        command=["train", "weak_to_strong", *words],
        flips=flips,
        confidences=confidences,
        balanced=not arguments.unbalanced,
        **{name: getattr(arguments, name) for name in _SETTINGS},
    )
    if arguments.plot:
        plot_weak_to_strong(result, arguments.plot)
    if arguments.json:
        print(json.dumps([row.to_json() for row in result.rows], indent=2, allow_nan=False))
        return 0
    out = console()
    print_weak_to_strong(result, out)
    if arguments.plot:
        out.print(safe(f"drawn in {arguments.plot}"), soft_wrap=True)
    return 0


_SETTINGS = ("examples", "train", "test", "seeds", "seed", "targets", "steps")


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigurationError(f"--{option} {text}: write numbers in [0, 1], separated by commas") from None


TRAININGS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "agent": (agent, "a language model that writes what preference pairs prefer, by DPO"),
    "amplification": (amplification, "a learner that answers what an overseer can only decompose"),
    "attacker_learner_critic": (
        attacker_learner_critic,
        "a learner on queries that it fails on, criticised by who does not know the truth",
    ),
    "reward_model": (reward_model, "a language model that rates replies as preference pairs do"),
    "reward_modeling": (reward_modeling, "reward models and agents by recursion: each level's agents assist the next"),
    "weak_to_strong": (weak_to_strong, "students of a weak supervisor, and the share of the gap that they recover"),
}
"""By name: what carries it out, and what it does."""
