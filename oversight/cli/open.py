"""``oversight open``: judges before speakers who argue for what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .parsing import Parser

__all__ = ["open_command"]


def open_command(words: Sequence[str]) -> int:
    """``oversight open``"""
    parser = Parser(
        "open",
        "Judge accuracy where the first speaker argues for the answer that it holds itself: really run with\n"
        "positions=open, and kept from assigned runs, where the answer it was assigned is the one it gives alone.\n"
        "How often the judge is right when the speaker is wrong tells whether it can be misled by a sincere speaker.",
        "oversight open logs/mine",
    )
    parser.add_argument("log_dir", metavar="LOGDIR", help="a tournament's run directory")
    arguments = parser.parse(words)
    from ..analysis.open_roles import open_roles
    from ..report.terminal import console, print_open_roles
    from ..runs.directory import read_episodes

    print_open_roles(open_roles(read_episodes(Path(arguments.log_dir))), console())
    return 0
