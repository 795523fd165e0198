"""What each command does."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from ..errors import ConfigurationError, OversightError, UnknownName
from ..specification import parse_specification, split_list
from .parsing import (
    Parser,
    add_options_of,
    add_people_options,
    add_run_options,
    model_options,
    options_of,
    people_options,
    session_options,
    swaps,
)

if TYPE_CHECKING:
    from ..runs.plan import Plan
    from ..runs.progress import Progress
    from ..runs.spending import Spend

__all__ = [
    "carry_out_plan",
    "check",
    "list_names",
    "prompts",
    "read_run",
    "read_tournament",
    "rerun",
    "run",
    "show",
    "tournament",
]


def _first_word(words: Sequence[str], command: str) -> str | None:
    """The word that a command's options depend on; None where only help is asked for."""
    if words and not words[0].startswith("-"):
        return words[0]
    if "-h" in words or "--help" in words:
        return None
    word = "ARENA" if command.endswith("tournament") else "PROTOCOL"
    raise ConfigurationError(
        f"write the {word.lower()} first: oversight {command} {word} ...; see oversight {command} --help"
    )


def _value_of(words: Sequence[str], option: str) -> str | None:
    for place, word in enumerate(words):
        if word == option and place + 1 < len(words):
            return words[place + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _add_arena(parser: Parser, text: str | None) -> None:
    if text is not None:
        from ..registry import load_class

        add_options_of(parser, load_class("arenas", parse_specification(text).name), "options of the arena")


def run(words: Sequence[str]) -> int:
    """``oversight run``"""
    plan, arguments = read_run(words)
    return carry_out_plan(plan, arguments, ("run", *words))


def read_run(
    words: Sequence[str],
    command: str = "run",
    about: str = "Play a protocol over an arena's questions with one cast.",
    more: Callable[[Parser], None] = lambda parser: None,
) -> tuple[Plan, argparse.Namespace]:
    """The plan that the arguments of a run ask for; ``more`` adds options of another command."""
    from ..registry import find_arena, find_protocol, load_class, names

    parser = Parser(
        command,
        about,
        f"oversight {command} debate --arena connect_four --debater mcts/64 --judge mcts/8 --limit 20",
    )
    parser.add_argument("protocol", metavar="PROTOCOL", help="a protocol's name, or file.py:Name")
    parser.add_argument("--arena", required=True, metavar="A", help="an arena's name, or file.py:Name")
    chosen = _first_word(words, command)
    roles: list[str] = []
    add_run_options(parser)
    add_people_options(parser)
    more(parser)
    if chosen is not None:
        from ..protocol import Protocol

        found = load_class("protocols", parse_specification(chosen).name)
        if not (isinstance(found, type) and issubclass(found, Protocol)):
            raise ConfigurationError(f"{chosen} is not a protocol")
        # The options come first: which roles there are may depend on them.
        first = Parser("run", "", "", add_help=False)
        add_run_options(first)
        add_people_options(first)
        more(first)
        add_options_of(first, found, "options of the protocol")
        given = options_of(first.parse_known_args(list(words[1:]))[0], "options of the protocol")
        helping = "-h" in words or "--help" in words
        try:
            protocol = find_protocol(chosen, **given)
            if not (helping and chosen in names("protocols")):  # help on what is registered need not wait for libraries
                from ..graph.check import require_sound

                require_sound(protocol)
            roles = list(protocol.roles())
            for role in set(protocol.texts).difference(roles):
                parser.absent[f"--{role.replace('_', '-')}"] = partial(_what_brings, role, chosen, given)
        except ConfigurationError:
            if not helping:  # a required option may not be there yet
                raise
        cast = parser.add_argument_group("cast")
        for role in roles:
            cast.add_argument(
                f"--{role.replace('_', '-')}",
                dest=f"cast {role}",
                action="append",
                required=True,
                metavar="M",
                help="who plays it; given twice, one for each seat",
            )
        add_options_of(parser, found, "options of the protocol")
    _add_arena(parser, _value_of(words, "--arena"))
    arguments = parser.parse(words)
    assert chosen is not None  # parsed without it, only help is given
    named = {role: getattr(arguments, f"cast {role}") for role in roles}
    protocol = find_protocol(chosen, **options_of(arguments, "options of the protocol"))
    arena = find_arena(arguments.arena, **options_of(arguments, "options of the arena"))
    from ..runs.api import plan_run

    plan = _prepared(
        plan_run,
        protocol,
        arena,
        named,
        limit=arguments.limit,
        epochs=arguments.epochs,
        seed=arguments.seed,
        answers=arguments.answers,
        swap=swaps(arguments),
        people=people_options(arguments),
        log_dir=arguments.log_dir,
        options=model_options(arguments, [name for names in named.values() for name in names]),
    )
    return plan, arguments


def _what_brings(role: str, chosen: str, given: Mapping[str, Any]) -> str:
    """Under which option of a protocol it has a role that it does not have under those given."""
    from ..registry import find_protocol

    protocol = find_protocol(chosen, **given)
    bringing = []
    for name, field in type(protocol).model_fields.items():
        now = getattr(protocol, name)
        others: Sequence[Any] = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if isinstance(now, int):
            others = [True] if now is False else [False] if now is True else [now + 1]
        for other in others:
            try:
                roles = find_protocol(chosen, **{**given, name: other}).roles()
            except ConfigurationError:  # it does not go with the others
                continue
            if role in roles:
                value = "" if other is True else " false" if other is False else f" {other}"
                bringing.append(f"--{name.replace('_', '-')}{value}")
                break
    known = f"protocol {protocol.title} has no {role}"
    return f"{known}; it has one with {' or '.join(bringing)}" if bringing else f"{known}: leave it out"


def tournament(words: Sequence[str]) -> int:
    """``oversight tournament``"""
    plan, arguments = read_tournament(words)
    return carry_out_plan(plan, arguments, ("tournament", *words))


def rerun(words: Sequence[str]) -> int:
    """``oversight rerun``"""
    parser = Parser(
        "rerun", "Run again what a run directory holds, into another.", "oversight rerun logs/mine --log-dir logs/again"
    )
    parser.add_argument("run", metavar="LOGDIR", help="a run directory made by oversight run or oversight tournament")
    parser.add_argument("--log-dir", required=True, metavar="D", help="the new run directory")
    arguments = parser.parse(words)
    from ..runs.directory import read_json

    command = read_json(Path(arguments.run) / "run.json").get("command")
    if not command:
        raise ConfigurationError(f"{arguments.run} was not made by a command: run the Python program that made it")
    kept, skip = [], False
    for word in command[1:]:
        if skip or word == "--log-dir":
            skip = not skip
        elif not word.startswith("--log-dir="):
            kept.append(word)
    if command[0] == "import":
        raise ConfigurationError(f"{arguments.run} holds imported debates: import them again with oversight import")
    return give_again([command[0], *kept, "--log-dir", arguments.log_dir])


def give_again(command: Sequence[str]) -> int:
    """Give a recorded command again: its name, then its words."""
    from .judge import judge
    from .rejudge import rejudge

    return {"run": run, "tournament": tournament, "rejudge": rejudge, "judge": judge}[command[0]](command[1:])


def read_tournament(
    words: Sequence[str],
    command: str = "tournament",
    about: str = "Every debater before every judge under several protocols, over the same questions.",
    more: Callable[[Parser], None] = lambda parser: None,
) -> tuple[Plan, argparse.Namespace]:
    """The plan that the arguments of a tournament ask for; ``more`` adds options of another command."""
    from ..registry import find_arena, find_protocol

    parser = Parser(
        command,
        about,
        f'oversight {command} connect_four --agents mcts/4,mcts/64 --protocols "direct,debate(rounds=2)" --limit 20',
    )
    parser.add_argument("arena", metavar="ARENA", help="an arena's name, or file.py:Name")
    who = parser.add_argument_group("who and what")
    who.add_argument("--agents", metavar="A,B,...", help="agents for both sides of the table (default: the arena's)")
    who.add_argument("--debaters", metavar="A,B,...", help="agents that argue, instead of --agents")
    who.add_argument("--judges", metavar="A,B,...", help="agents that judge, and play what else does not argue")
    who.add_argument("--protocols", metavar="P,Q,...", help="protocols, with options as debate(rounds=2)")
    who.add_argument(
        "--preset", metavar="NAME", help="protocols and answers of a published experiment: oversight list presets"
    )
    who.add_argument(
        "--pairs",
        choices=("same", "all"),
        default="same",
        help="one agent on every side of a debate, or also each two different ones (default: same)",
    )
    when = parser.add_argument_group("which episodes, and when to stop")
    when.add_argument(
        "--schedule",
        choices=("everything", "round-robin", "swiss", "adaptive"),
        default="everything",
        help="the whole plan at once, or in batches: cell after cell, by rounds, or what is worth most (default: "
        "everything)",
    )
    when.add_argument(
        "--target",
        nargs="+",
        metavar="T",
        help="the interval to narrow: slope (of the gap curve), rating-gap, or rating-gap A:B (default: slope; swiss: "
        "rating-gap)",
    )
    when.add_argument(
        "--until-width",
        type=float,
        metavar="W",
        help="stop when the target's 95 %% interval is at most so wide and rests on 10 sources, or on all that are "
        "planned; a narrower one goes on later",
    )
    when.add_argument("--batch", type=int, default=64, metavar="N", help="episodes between looks (default: 64)")
    add_run_options(parser)
    add_people_options(parser)
    more(parser)
    _add_arena(parser, _first_word(words, command))
    if _value_of(words, "--preset") is not None:
        from ..persuasion import Persuasion
        from ..presets import OF_ONE

        add_options_of(parser, Persuasion, "options of the preset", without=OF_ONE)
    arguments = parser.parse(words)
    arena = find_arena(arguments.arena, **options_of(arguments, "options of the arena"))
    lists = {name: split_list(getattr(arguments, name) or "") or None for name in ("agents", "debaters", "judges")}
    names = [name for chosen in lists.values() for name in chosen or ()]
    from ..runs.api import plan_tournament

    plan = _prepared(
        plan_tournament,
        arena,
        lists["agents"],
        [find_protocol(text) for text in split_list(arguments.protocols or "")] or None,
        debaters=lists["debaters"],
        judges=lists["judges"],
        pairs=arguments.pairs,
        limit=arguments.limit,
        epochs=arguments.epochs,
        seed=arguments.seed,
        answers=arguments.answers,
        swap=swaps(arguments),
        people=people_options(arguments),
        options=model_options(arguments, names),
        log_dir=arguments.log_dir,
        schedule=arguments.schedule,
        target=" ".join(arguments.target) if arguments.target else None,
        until_width=arguments.until_width,
        batch=arguments.batch,
        preset=arguments.preset,
        changes=options_of(arguments, "options of the preset"),
    )
    return plan, arguments


def _prepared(make: Callable[..., Plan], *arguments: Any, **options: Any) -> Plan:
    """The plan, with a word on a terminal while an arena makes its questions."""
    from ..report.terminal import error_console

    with error_console().status("preparing questions"):
        return make(*arguments, **options)


def carry_out_plan(plan: Plan, arguments: Any, command: Sequence[str]) -> int:
    """Carry out what a command has planned, and print what came out."""
    from ..report.terminal import console, error_console, print_gap, print_plan, print_run, print_spending
    from ..runs.api import carry_out, default_log_dir
    from ..runs.progress import progress_for

    folder = Path(arguments.log_dir) if arguments.log_dir else default_log_dir(plan)
    if arguments.dry_run:
        print_plan(plan, folder, console())
        return 0
    session = session_options(arguments)
    progress = progress_for(error_console())
    with _account_of_what_ends_early(folder, arguments.journal, progress):
        result = carry_out(
            plan,
            folder,
            connections=arguments.max_connections,
            cost_limit=arguments.cost_limit,
            episode_timeout=arguments.episode_timeout,
            retry_failed=arguments.retry_failed,
            progress=progress,
            session=session,
            command=command,
            journal=arguments.journal,
            workers=arguments.workers,
            executor=arguments.executor,
        )
    if plan.asks_people:
        from ..report.sessions import print_session

        print_spending(result, console())
        waiting = print_session(plan, result.log_dir, session, console())
        if not waiting:
            _print_cascades(result.log_dir)
        return 0
    if command[0] == "tournament":
        from .gap import save_pictures

        analysis = result.gap()
        print_gap(result, analysis, console(), save_pictures(analysis, result.log_dir))
    else:
        print_run(result, console())
    _print_cascades(result.log_dir)
    print_spending(result, console())
    nothing = all(record["status"] != "scored" for record in result.episodes())
    return int(nothing and any(True for _ in result.episodes()))


@contextmanager
def _account_of_what_ends_early(folder: Path, journal: str | None, progress: Progress) -> Iterator[None]:
    """Print what a run has cost that a cost limit, Ctrl-C or an error ends: above the line that says why."""
    from ..report.terminal import error_console, print_account
    from ..runs.api import RunResult

    earlier: list[list[Spend]] = []
    with suppress(OversightError):  # where it cannot be read, the run will say so
        earlier = RunResult(folder, journal).spending()
    try:
        yield
    except (OversightError, KeyboardInterrupt):
        if progress.spending.lines:  # as it was counted: what ends the run may be that nothing can be stored
            print_account([*earlier, progress.spending.lines], error_console())
        raise


def _print_cascades(folder: Path) -> None:
    """What cascades guarantee, who decided, and what people's time bought; nothing where there was none."""
    from ..runs.cascades import kept_calibrations

    calibrations = kept_calibrations(folder)
    if calibrations:
        from ..analysis.escalation import escalations
        from ..report.escalation_report import print_escalation
        from ..report.terminal import console
        from ..runs.directory import read_episodes

        out = console()
        out.print()
        print_escalation(calibrations, escalations(read_episodes(folder)), out)


def show(words: Sequence[str]) -> int:
    """``oversight show``"""
    parser = Parser(
        "show",
        "The episodes of a run and what its calls have cost, or the transcript of one episode.",
        "oversight show logs/mine 3f2a",
    )
    parser.add_argument("log_dir", metavar="LOGDIR", help="a run directory")
    parser.add_argument("episode", metavar="EPISODE", nargs="?", help="an episode's id, or the beginning of it")
    parser.add_argument("--limit", type=int, default=40, metavar="N", help="how many are listed (default: 40)")
    parser.add_argument("--unscored", action="store_true", help="list unscored episodes only")
    parser.add_argument("--reasoning", action="store_true", help="show private reasoning too")
    parser.add_argument(
        "--json", action="store_true", help="print JSON: counts and spend of the run, or the record of the episode"
    )
    parser.add_argument(
        "--journal", metavar="URL", help="the database that the run keeps its calls in, to read their cost"
    )
    arguments = parser.parse(words)
    from ..report.terminal import console, episode_record, print_episode, print_episodes, print_spending, run_as_json
    from ..runs.api import RunResult

    folder = Path(arguments.log_dir)
    if arguments.json:
        found = (
            run_as_json(RunResult(folder, arguments.journal))
            if arguments.episode is None
            else episode_record(folder, arguments.episode)
        )
        print(json.dumps(found, indent=2, ensure_ascii=True, allow_nan=False))
    elif arguments.episode is None:
        print_episodes(folder, console(), unscored=arguments.unscored, limit=arguments.limit)
        try:
            print_spending(RunResult(folder, arguments.journal), console())
        except OversightError as error:  # the episodes are in another file
            console().print(f"what its calls cost cannot be told: {error}", soft_wrap=True)
    else:
        print_episode(folder, arguments.episode, console(), reasoning=arguments.reasoning)
    return 0


def check(words: Sequence[str]) -> int:
    """``oversight check``"""
    parser = Parser(
        "check",
        "Check a protocol before it runs, and draw it.",
        "oversight check debate --rounds 2 --picture debate.svg",
    )
    parser.add_argument("protocol", metavar="PROTOCOL", help="a protocol's name, or file.py:Name")
    parser.add_argument("--answers", type=int, default=2, metavar="N", help="for questions with N answers (default: 2)")
    parser.add_argument("--mermaid", action="store_true", help="print the graph as Mermaid text, and nothing else")
    parser.add_argument("--picture", metavar="PATH", help="draw the graph as .png or .svg")
    from ..registry import find_protocol, load_class

    chosen = _first_word(words, "check")
    if chosen is not None:
        add_options_of(parser, load_class("protocols", parse_specification(chosen).name), "options of the protocol")
    arguments = parser.parse(words)
    protocol = find_protocol(arguments.protocol, **options_of(arguments, "options of the protocol"))
    from ..graph import check as find
    from ..graph import to_mermaid, to_picture, to_terminal, unroll
    from ..report.terminal import console

    findings = find(protocol, arguments.answers)
    if arguments.mermaid and not any(finding.rule in ("recursion", "graph") for finding in findings):
        print(to_mermaid(protocol, arguments.answers))
        return 1 if findings else 0
    out = console()
    if not any(finding.rule in ("recursion", "graph") for finding in findings):
        out.print(to_terminal(protocol, arguments.answers))
        if arguments.picture:
            out.print(f"drawn in {to_picture(protocol, arguments.picture, arguments.answers)}", markup=False)
    for finding in findings:
        out.print(f"finding: {finding}", markup=False, highlight=False, soft_wrap=True)
    if findings:
        return 1
    unrolled = unroll(protocol.graph(arguments.answers))
    out.print(
        f"sound: every path ends in a verdict, loops are bounded (at most "
        f"{protocol.most_turns(arguments.answers, draws=False)} turns, {unrolled.step_limit} steps), no judge sees "
        "hidden material or private reasoning"
        f"{' but the declared expert' if any(s.seat.role.expert for s in protocol.graph(2).steps()) else ''}, "
        "simultaneous turns are blind to each other",
        highlight=False,
    )
    return 0


def prompts(words: Sequence[str]) -> int:
    """``oversight prompts``"""
    parser = Parser(
        "prompts",
        "Write what a protocol tells its roles to files, one a text, to edit and to play with.",
        "oversight prompts debate my_prompts",
    )
    parser.add_argument("protocol", metavar="PROTOCOL", help="a protocol's name, or file.py:Name")
    parser.add_argument("folder", metavar="FOLDER", help="where the files are written; none of them may be there yet")
    from ..prompt_files import write_prompts
    from ..registry import find_protocol, load_class

    chosen = _first_word(words, "prompts")
    if chosen is not None:
        add_options_of(parser, load_class("protocols", parse_specification(chosen).name), "options of the protocol")
    arguments = parser.parse(words)
    protocol = find_protocol(arguments.protocol, **options_of(arguments, "options of the protocol"))
    texts = protocol.texts
    written = write_prompts(arguments.folder, {role: texts[role] for role in protocol.roles()})
    from ..report.terminal import console

    out = console()
    for path in written:
        out.print(str(path), markup=False, highlight=False, soft_wrap=True)
    folder = arguments.folder
    for line in (
        "Edit them; {speaker}, {answer} and {positions} are filled in, and a file that you delete leaves the built-in",
        f"text. To play with them: oversight run {parse_specification(arguments.protocol).name} --prompts {folder} ...",
    ):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def list_names(words: Sequence[str]) -> int:
    """``oversight list``"""
    parser = Parser("list", "What can be named on the command line.", "oversight list protocols")
    parser.add_argument("what", metavar="protocols|arenas|models|presets", help="which list")
    arguments = parser.parse(words)
    known = ("protocols", "arenas", "models", "presets")
    if arguments.what not in known:
        raise UnknownName("list", arguments.what, known)
    from ..report.terminal import console, print_names, print_presets

    if arguments.what == "presets":
        print_presets(console())
    else:
        print_names(arguments.what, console())
    return 0
