"""The command ``oversight``."""

from __future__ import annotations

import shutil
import signal
import sys
import textwrap
from collections.abc import Sequence
from importlib import import_module

__all__ = ["COMMANDS", "main"]

# A command's module is imported when the command is given, so that none waits for another's libraries.
COMMANDS = {
    "run": ("commands", "run", "play a protocol over an arena's questions with one cast"),
    "tournament": ("commands", "tournament", "every debater before every judge under several protocols"),
    "plan": ("planning", "plan", "what a run would cost, and what it could detect"),
    "judge": ("judge", "judge", "judge at the terminal: what waits for a person, or recorded transcripts"),
    "import": ("rejudge", "import_debates", "human debates of the NYU corpus as a run directory"),
    "rejudge": ("rejudge", "rejudge", "put a new judge before recorded transcripts"),
    "rerun": ("commands", "rerun", "run again what a run directory holds, into another"),
    "gap": ("gap", "gap", "judge accuracy against the capability gap of a tournament"),
    "fit": ("law", "fit", "domain ratings against general ratings: which curve, with intervals"),
    "nested": ("law", "nested", "success of nested oversight by number of steps"),
    "compare": ("comparison", "compare", "protocols side by side, on the questions they share"),
    "asd": ("comparison", "asd", "agent score difference of outside results"),
    "open": ("open", "open_command", "judges before speakers who argue for what they hold themselves"),
    "show": ("commands", "show", "the episodes of a run, and their transcripts"),
    "export": ("export", "export", "episodes and turns as flat tables, or as preference pairs"),
    "train": ("train", "train", "reward models, agents, and students of weak supervisors"),
    "prompts": ("commands", "prompts", "write what a protocol tells its roles to files, to edit"),
    "check": ("commands", "check", "check a protocol before it runs, and draw it"),
    "list": ("commands", "list_names", "protocols, arenas, models and presets that can be named"),
    "ratings": ("ratings", "ratings", "ratings of players from matches, or of a tournament's agents"),
}
"""By name: the module in ``oversight.cli`` and the function that carry it out, and what it does."""

HELP = """usage: oversight COMMAND ...

How well can a weak overseer supervise a stronger agent, and how does that fail as the gap grows?

commands:
{commands}

oversight COMMAND --help explains a command, with an example.

example:
  oversight tournament connect_four --limit 20
"""


def _one_line(message: str) -> str:
    """The message on one line, without terminal control: it may quote a file or an endpoint."""
    return " ".join("".join(one if one.isprintable() else " " for one in message).split())


def _on_a_terminal(line: str) -> str:
    """The line as it is in a pipe; on a terminal wrapped between words."""
    if not sys.stderr.isatty():
        return line
    width = shutil.get_terminal_size().columns
    return textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Gives the exit status: 0; 1 for a failed check, or a run of which no episode could be scored; 2 for an error; 130
    for Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:  # what ends a batch job ends a run as Ctrl-C does: calls under way are stored
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    if not words or words[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print(
            HELP.format(commands="\n".join(f"  {name:{width}}  {about}" for name, (*_, about) in COMMANDS.items())),
            end="",
        )
        return 0
    if words[0] == "--version":
        from importlib.metadata import version

        print(f"oversight {version('scalable-oversight')}")
        return 0
    from ..errors import OversightError, UnknownName

    try:
        if words[0] not in COMMANDS:
            raise UnknownName("command", words[0], COMMANDS)
        module, function, _ = COMMANDS[words[0]]
        return int(getattr(import_module(f".{module}", __name__), function)(words[1:]))
    except OversightError as error:
        print(_on_a_terminal(f"oversight: error: {_one_line(str(error))}"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("oversight: stopped; what is finished is kept, repeat the command to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return 0
