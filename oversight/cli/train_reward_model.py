"""``oversight train reward_model``"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .parsing import Parser, add_options_of, options_of

if TYPE_CHECKING:
    from ..training.preference_training import PreferenceTraining

__all__ = ["add_preference_options", "preference_settings", "print_result", "reward_model"]


def reward_model(words: Sequence[str]) -> int:
    """``oversight train reward_model``"""
    from ..training.language import LanguageOptions

    parser = Parser(
        "train reward_model",
        "A language model learns to rate replies as pairs prefer them (TRL, LoRA), and is measured on pairs of other\n"
        "sources.  The same command goes on where it stopped.",
        "oversight train reward_model --data LOGDIR/export/preferences.jsonl --model MODEL --log-dir logs/reward",
    )
    add_preference_options(parser)
    add_options_of(parser, LanguageOptions, "training")
    arguments = parser.parse(words)
    from ..training.preference_training import train_reward_model

    command = ["train", "reward_model", *words]
    result = train_reward_model(arguments.data, arguments.model, command=command, **preference_settings(arguments))
    return print_result(result, arguments)


def add_preference_options(parser: Parser) -> None:
    """What the trainings on preferences have in common."""
    what = parser.add_argument_group("what is learned")
    what.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="JSON lines with prompt, chosen and rejected, perhaps source and margin, as oversight export writes them",
    )
    what.add_argument(
        "--model", required=True, metavar="MODEL", help="a folder, a .gguf file or a name on the hub; without hf/"
    )
    what.add_argument(
        "--test", type=float, default=0.2, metavar="X", help="share of the pairs held out, whole sources (default: 0.2)"
    )
    how = parser.add_argument_group("how it runs")
    how.add_argument("--seed", type=int, default=0, metavar="S", help="seed of split and training (default: 0)")
    how.add_argument(
        "--log-dir", metavar="D", help="folder of results and weights; the same command resumes (default: in logs/)"
    )
    how.add_argument("--json", action="store_true", help="print every number as JSON, and nothing else")


def preference_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of a training on preferences, and where its progress is shown."""
    from ..report.terminal import error_console
    from ..training.progress import training_progress

    common = {name: getattr(arguments, name) for name in ("test", "seed", "log_dir")}
    return {**common, "progress": training_progress(error_console()), **options_of(arguments, "training")}


def print_result(result: PreferenceTraining, arguments: argparse.Namespace) -> int:
    """Print what came of it, as was asked."""
    import json

    from ..report.preference_training_report import print_preference_training
    from ..report.terminal import console

    if arguments.json:
        print(json.dumps(result.to_json(), indent=2, allow_nan=False))
    else:
        print_preference_training(result, console())
    return 0
