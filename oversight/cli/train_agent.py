"""``oversight train agent``"""

from __future__ import annotations

from collections.abc import Sequence

from .parsing import Parser, add_options_of
from .train_reward_model import add_preference_options, preference_settings, print_result

__all__ = ["agent"]


def agent(words: Sequence[str]) -> int:
    """``oversight train agent``"""
    from ..training.language import AgentOptions

    parser = Parser(
        "train agent",
        "A language model is tuned to write what pairs prefer (DPO; TRL, LoRA), and is measured on pairs of other\n"
        "sources.  What is tuned plays in runs as hf/MODEL(adapter=FOLDER).\n"
        "The same command goes on where it stopped.",
        "oversight train agent --data LOGDIR/export/preferences.jsonl --model MODEL --log-dir logs/agent",
    )
    add_preference_options(parser)
    add_options_of(parser, AgentOptions, "training", without=("reply", "temperature"))
    arguments = parser.parse(words)
    from ..training.preference_training import train_agent

    command = ["train", "agent", *words]
    result = train_agent(arguments.data, arguments.model, command=command, **preference_settings(arguments))
    return print_result(result, arguments)
