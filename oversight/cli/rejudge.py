"""``oversight rejudge`` and ``oversight import``: recorded transcripts, ours and others'."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigurationError
from ..specification import split_list
from .parsing import Parser, add_people_options, add_run_options, add_transcript_options, model_options, people_options

__all__ = ["import_debates", "rejudge"]


def rejudge(words: Sequence[str]) -> int:
    """``oversight rejudge``"""
    parser = Parser(
        "rejudge",
        "Put a new judge before recorded transcripts: those of a run directory, or of the NYU human debate corpus.\n"
        "Nobody speaks anew.  The judge sees the question, the answers under the labels they bore, who argued for\n"
        "what, and the speeches with their quotations checked; nothing of what the recorded judge thought.",
        "oversight rejudge logs/mine --judge openai/gpt-4o-mini --limit 20",
    )
    parser.add_argument("transcripts", metavar="TRANSCRIPTS", help="a run directory, or the corpus's folder")
    who = parser.add_argument_group("who judges")
    who.add_argument("--judge", action="append", default=[], metavar="M", help="a new judge; given twice, each judges")
    who.add_argument("--judges", metavar="A,B,...", help="several judges in one list")
    what = parser.add_argument_group("how they are judged")
    what.add_argument("--stepped", action="store_true", help="a verdict after every round; the last one counts")
    what.add_argument(
        "--both-orders",
        action="store_true",
        help="judge each transcript again with the options in reverse; labels stay, as speeches may name them",
    )
    add_transcript_options(parser, "which transcripts")
    add_run_options(parser)
    add_people_options(parser)
    _reword(parser)
    arguments = parser.parse(words)
    for option, given in (
        ("--answers", arguments.answers),
        ("--no-swap", arguments.no_swap),
        ("--swap", arguments.swap),
    ):
        if given:
            raise ConfigurationError(f"{option}: a recorded transcript has the answers and orderings that it has")
    judges = [*arguments.judge, *split_list(arguments.judges or "")]
    if not judges:
        raise ConfigurationError("nobody is to judge: give --judge AGENT; see oversight rejudge --help")
    from ..report.terminal import console, error_console, print_skipped
    from ..runs.recordings import read_recordings
    from ..runs.rejudge import plan_rejudge
    from .commands import carry_out_plan

    with error_console().status("reading transcripts"):
        found = read_recordings(
            arguments.transcripts, arena=arguments.arena, protocols=arguments.protocol, everything=arguments.all
        )
    plan = plan_rejudge(
        found,
        judges,
        limit=arguments.limit,
        epochs=arguments.epochs,
        seed=arguments.seed,
        stepped=arguments.stepped,
        both_orders=arguments.both_orders,
        messages=None if arguments.judge_messages is None else arguments.judge_messages == "shown",
        options=model_options(arguments, judges),
        people=people_options(arguments),
    )
    print_skipped(found, error_console())
    if arguments.dry_run:
        console().print(f"{len(plan.recordings)} of {len(found.recordings)} transcripts", highlight=False)
    return carry_out_plan(plan, arguments, ("rejudge", *words))


def _reword(parser: Parser) -> None:
    """Say what the options of a run mean here."""
    said = {
        "limit": "how many transcripts, of every protocol and debater (default: all)",
        "epochs": "verdicts on each transcript (default: 1)",
        "seed": "seed of the order of transcripts and of the judges' chance moves (default: 0)",
        "answers": argparse.SUPPRESS,
        "no_swap": argparse.SUPPRESS,
        "swap": argparse.SUPPRESS,
    }
    for action in parser._actions:
        action.help = said.get(action.dest, action.help)


def import_debates(words: Sequence[str]) -> int:
    """``oversight import``"""
    parser = Parser(
        "import",
        "Human debates of the NYU corpus (Michael et al. 2023) as a run directory of finished episodes, which every\n"
        "other command reads like any run, and the paper's figures beside what comes out of the corpus.",
        "oversight import nyu-debate-2023/pub logs/nyu",
    )
    parser.add_argument("path", metavar="PATH", help="folder that holds debates-metadata.jsonl and debates/official/")
    parser.add_argument("log_dir", metavar="LOGDIR", help="the run directory; repeated, what is missing is added")
    parser.add_argument("--all", action="store_true", help="also debates that the paper leaves out")
    parser.add_argument(
        "--people",
        action="store_true",
        help="each person under the name that the corpus gives them (default: all people as human)",
    )
    arguments = parser.parse(words)
    from ..report.terminal import console, error_console, print_imported, print_skipped
    from ..runs.human_corpus import conditions, import_corpus

    folder = Path(arguments.log_dir)
    with error_console().status("reading debates"):
        found = import_corpus(
            arguments.path,
            folder,
            everything=arguments.all,
            people=arguments.people,
            command=("import", *words),
        )
    print_skipped(found, error_console())
    decided = [one for one in found.recordings if one.judged.verdict is not None]
    if len(decided) < len(found.recordings):
        error_console().print(
            f"{len(found.recordings) - len(decided)} debates that no judge decided are not imported; "
            "oversight rejudge --all reads them",
            highlight=False,
        )
    print_imported(conditions(decided), len(decided), folder, console())
    return 0
