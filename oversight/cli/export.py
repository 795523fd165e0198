"""``oversight export``: episodes and turns as flat tables, and preference pairs to train on."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigurationError
from .parsing import Parser

__all__ = ["export"]


def export(words: Sequence[str]) -> int:
    """``oversight export``"""
    parser = Parser(
        "export",
        "Finished episodes and their turns as two flat tables, one row an episode and one row a turn:\n"
        "episodes.csv and turns.csv, or Parquet or JSON lines.  docs/columns.md says what each column holds.\n"
        "With --format preferences, pairs of speeches with the one that was preferred, in the columns that TRL's\n"
        "trainers read; docs/training.md says which pairs.",
        "oversight export logs/mine --format parquet",
    )
    parser.add_argument("log_dir", metavar="LOGDIR", help="a run directory")
    parser.add_argument(
        "--format",
        choices=("csv", "parquet", "jsonl", "preferences"),
        default="csv",
        help="of the files (default: csv)",
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="folder to write in (default: export in LOGDIR); of preferences, the file (preferences.jsonl there)",
    )
    parser.add_argument(
        "--by",
        choices=("judge", "truth"),
        help="of preferences: who prefers, the run's judge or the key (default: judge)",
    )
    parser.add_argument("--force", action="store_true", help="replace files of these names that are no earlier export")
    arguments = parser.parse(words)
    if arguments.format == "preferences":
        return _preferences(arguments.log_dir, arguments.output, arguments.by or "judge", arguments.force)
    if arguments.by is not None:
        raise ConfigurationError(f"--by {arguments.by} is for --format preferences: leave it out")
    from ..report.export import export_run
    from ..report.terminal import console, safe

    done = export_run(arguments.log_dir, arguments.format, arguments.output, force=arguments.force)
    out = console()
    for name, path in done.paths.items():
        out.print(safe(f"{path}: {done.rows[name]:,} {name}"), soft_wrap=True)
    return 0


def _preferences(log_dir: str, output: str | None, by: str, force: bool) -> int:
    from ..report.preferences import export_preferences
    from ..report.terminal import console, safe

    done = export_preferences(log_dir, output, by="truth" if by == "truth" else "judge", force=force)
    lines = [f"{done.path}: {done.pairs:,} pairs, by {'the key' if by == 'truth' else 'the judge'}"]
    lines += [f"  {count:,} {how}" for how, count in sorted(done.by_how.items())]
    lines += [f"left out: {count:,} {reason}" for reason, count in sorted(done.left_out.items())]
    lines += [f"prompts hold question and answers alone: {reason}" for reason in done.not_rebuilt]
    out = console()
    for line in lines:
        out.print(safe(line), soft_wrap=True)
    return 0
