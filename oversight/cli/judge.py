"""``oversight judge``: what waits for a person, and recorded transcripts judged by one."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, UnknownName
from .parsing import (
    Parser,
    add_people_options,
    add_run_options,
    add_session_options,
    add_transcript_options,
    people_options,
    session_options,
)

if TYPE_CHECKING:
    from ..runs.people import People

__all__ = ["judge"]


def judge(words: Sequence[str]) -> int:
    """``oversight judge``"""
    parser = Parser(
        "judge",
        "Judge at the terminal: what a run has waiting for people, or recorded transcripts of a run or of the NYU\n"
        "human debate corpus.  You are shown what any judge is shown.  Everything that you state is kept at once;\n"
        "stop whenever you like, and the same command goes on at the same turn.",
        "oversight judge --corpus nyu-debate-2023/pub --as ada",
        usage="oversight judge LOGDIR | --corpus PATH [--as NAME] [options]",
    )
    parser.add_argument(
        "run",
        metavar="LOGDIR",
        nargs="?",
        help="a run that waits for people; of any other run, the transcripts are judged anew, into another folder",
    )
    parser.add_argument("--corpus", metavar="PATH", help="the folder of the NYU human debate corpus")
    parser.add_argument("--status", action="store_true", help="of a run with people: who has done what, and what waits")
    parser.add_argument("--release", metavar="NAME", help="free the items that NAME has begun and will not finish")
    add_transcript_options(parser, "which transcripts")
    add_run_options(parser)
    add_people_options(parser)
    _reword(parser)
    arguments = parser.parse(words)
    if arguments.run is not None and arguments.corpus is not None:
        raise ConfigurationError("a run and a corpus are judged one after the other: give LOGDIR or --corpus PATH")
    if arguments.run is None and arguments.corpus is None:
        raise ConfigurationError("say what is judged: oversight judge LOGDIR, or oversight judge --corpus PATH")
    folder = Path(arguments.run) if arguments.run is not None else None
    if folder is not None and (folder / "train.json").is_file():
        from ..runs.directory import no_run

        raise no_run(folder)
    if folder is not None and not (folder / "run.json").is_file():
        raise ConfigurationError(f"{folder}: not a run directory; the NYU corpus is given with --corpus {folder}")
    if folder is not None and _waits(folder):
        return _go_on(folder, arguments, words)
    for option, given in (("--status", arguments.status), ("--release", arguments.release)):
        if given:
            raise ConfigurationError(f"{option} is about a run in which people take part: give its LOGDIR")
    from ..report.terminal import error_console, print_skipped
    from ..runs.recordings import read_recordings
    from ..runs.rejudge import plan_rejudge
    from .commands import carry_out_plan

    with error_console().status("reading transcripts"):
        found = read_recordings(
            folder or arguments.corpus, arena=arguments.arena, protocols=arguments.protocol, everything=arguments.all
        )
    plan = plan_rejudge(
        found,
        "human",
        limit=arguments.limit,
        seed=arguments.seed,
        messages=None if arguments.judge_messages is None else arguments.judge_messages == "shown",
        people=people_options(arguments),
    )
    print_skipped(found, error_console())
    return carry_out_plan(plan, arguments, ("judge", *words))


def _reword(parser: Parser) -> None:
    """Say what the options of a run mean here, and leave out those that mean nothing."""
    said = {
        "limit": "how many transcripts, of every protocol and debater (default: all)",
        "seed": "seed of the order of transcripts and of answers (default: 0)",
    }
    unused = {"epochs", "answers", "no_swap", "swap", "base_url", "price", "cost_limit", "episode_timeout"}
    unused |= {"max_connections", "max_retries", "timeout", "call_timeout", "workers", "executor"}
    for action in parser._actions:
        action.help = argparse.SUPPRESS if action.dest in unused else said.get(action.dest, action.help)


def _waits(folder: Path) -> bool:
    """Whether people take part in the run of a folder."""
    from ..runs.directory import read_json

    kept = read_json(folder / "run.json")
    return isinstance(kept, dict) and "people" in (kept.get("configuration") or {})


def _go_on(folder: Path, arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """Go on with a run in which people take part: its own command, with this session's options."""
    from ..report.sessions import print_standings
    from ..report.terminal import console
    from ..runs.directory import read_json
    from ..runs.people import People

    if arguments.status or arguments.release:
        people = People(folder / "people.sqlite", session_options(arguments).person)
        try:
            if arguments.release:
                _release(folder, people, arguments.release)
            print_standings(folder, people, console())
        finally:
            people.close()
        return 0
    command = read_json(folder / "run.json").get("command")
    if not command:
        raise ConfigurationError(f"{folder} was not made by a command: run the Python program that made it")
    mine, rest = _split(words, keep_session=True)
    rest.remove(arguments.run)
    if rest:
        raise ConfigurationError(f"{rest[0]}: what {folder} holds is settled; only the options of a session are given")
    _, theirs = _split(command[1:], keep_session=False)
    from .commands import give_again

    return give_again([command[0], *theirs, "--log-dir", str(folder), *mine])


def _release(folder: Path, people: People, name: str) -> None:
    """Free what somebody has begun, unless they are sitting at it."""
    from filelock import FileLock, Timeout

    from ..report.terminal import console
    from ..runs.directory import seat_lock
    from ..runs.session import forget

    known = [one.person for one in people.standings()]
    person = name if name in known else f"human/{name}"
    if person not in known:
        raise UnknownName("person in this run", name, [one.removeprefix("human/") for one in known])
    try:
        with FileLock(folder / seat_lock(person)).acquire(timeout=0):
            seats = people.abandoned(person)
            # First: a thread that is gone comes back from what is stored, and not the other way round.
            asyncio.run(forget(folder, [episode for episode, _ in seats]))
            people.release(person, seats)
    except Timeout:
        raise ConfigurationError(f"{name} has a session open in {folder}: let them end it first") from None
    items, free = ("1 item", "is") if len(seats) == 1 else (f"{len(seats)} items", "are")
    console().print(f"{items} of {name} {free} free again", highlight=False, markup=False)


def _split(words: Sequence[str], *, keep_session: bool) -> tuple[list[str], list[str]]:
    """The words of a session's options, and the others; where the run is kept is left out of a recorded command."""
    session = Parser("judge", "", "", add_help=False)
    add_session_options(session)
    takes = {name: int(action.nargs != 0) for action in session._actions for name in action.option_strings}
    mine: list[str] = []
    rest: list[str] = []
    waiting, where = 0, rest
    for word in words:
        if waiting:
            where.append(word)
            waiting -= 1
            continue
        name, equals, _ = word.partition("=")
        if name in takes:
            where, waiting = mine, 0 if equals else takes[name]
        elif name in ("--log-dir", "--dry-run") and not keep_session:
            where, waiting = [], 0 if equals or name == "--dry-run" else 1
        else:
            where = rest
        where.append(word)
    return mine, rest
