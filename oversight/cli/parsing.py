"""Command-line options, those of protocols and arenas included."""

from __future__ import annotations

import argparse
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args, get_origin

from ..errors import ConfigurationError, UnknownName

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..models.openai_compatible import ModelOptions
    from ..runs.plan import PeopleOptions
    from ..runs.session import SessionOptions

__all__ = [
    "Parser",
    "add_endpoint_options",
    "add_options_of",
    "add_people_options",
    "add_run_options",
    "add_session_options",
    "add_transcript_options",
    "model_options",
    "options_of",
    "people_options",
    "picture_path",
    "session_options",
    "swaps",
]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line with the nearest match."""

    def __init__(self, command: str, about: str, example: str, **settings: Any) -> None:
        super().__init__(
            prog=f"oversight {command}",
            description=about,
            epilog=f"example:\n  {example}",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **settings,
        )
        self.command = command
        self.absent: dict[str, Callable[[], str]] = {}
        """Options that there would be under other ones, and what says so."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message}; see oversight {self.command} --help")

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """Read the words; an option that there is not is answered with the nearest there is."""
        known, left = self.parse_known_args(list(words))
        for word in left:
            if (option := word.partition("=")[0]) in self.absent:
                raise ConfigurationError(f"{option}: {self.absent[option]()}")
            if word.startswith("-"):
                options = [text for action in self._actions for text in action.option_strings]
                raise UnknownName("option", option, options)
            raise ConfigurationError(f"unexpected {word!r}; see oversight {self.command} --help")
        return known


def _kinds(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) is types.UnionType:
        return "|".join(_kinds(one) for one in get_args(annotation) if one is not type(None))
    return {int: "N", float: "X", str: "TEXT", bool: "true|false"}.get(annotation, "VALUE")


def add_options_of(
    parser: Parser, model: type[BaseModel], title: str, prefix: str = "", without: Sequence[str] = ()
) -> None:
    """Give the parser an option for each field of a protocol or arena, some left out, not yet validated."""
    fields = {name: field for name, field in model.model_fields.items() if name not in without}
    if not fields:
        return
    group = parser.add_argument_group(title)
    for name, field in fields.items():
        default = "" if field.is_required() or field.default == "" else f" (default: {field.default})"
        option = f"--{prefix}{name.replace('_', '-')}"
        if option in parser._option_string_actions:
            # An option of ours has that name: --arena-seed, --protocol-seed.
            option = f"--{title.split()[-1]}-{name.replace('_', '-')}"
        boolean: dict[str, Any] = {"nargs": "?", "const": True} if field.annotation in (bool, bool | None) else {}
        group.add_argument(
            option,
            dest=f"{title} {name}",
            default=None,
            metavar=_kinds(field.annotation),
            help=f"{field.description or ''}{default}".replace("%", "%%"),
            **boolean,
        )


def options_of(arguments: argparse.Namespace, title: str) -> dict[str, Any]:
    """The options given for a protocol or arena."""
    return {
        name.removeprefix(f"{title} "): value
        for name, value in vars(arguments).items()
        if name.startswith(f"{title} ") and value is not None
    }


def picture_path(text: str) -> str:
    """Where a picture is to be written, looked at before the work that it shows is done."""
    path = Path(text)
    if path.suffix not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"{text}: a picture is a .png or a .svg file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: there is no folder {path.parent}")
    return text


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def add_endpoint_options(parser: Parser) -> None:
    """How models are reached, and what their tokens cost; see :func:`model_options`."""
    models = parser.add_argument_group("models")
    models.add_argument(
        "--base-url",
        action="append",
        default=[],
        metavar="[MODEL=]URL",
        help="address of an endpoint, for all models or one",
    )
    models.add_argument(
        "--price", action="append", default=[], metavar="MODEL=IN,OUT", help="dollars per million tokens in and out"
    )
    models.add_argument(
        "--max-retries", type=int, metavar="N", help="how often a try that failed is made again (default: 4)"
    )
    models.add_argument(
        "--timeout", type=float, metavar="S", help="seconds without a byte until a try has failed (default: 120)"
    )
    models.add_argument(
        "--call-timeout", type=float, metavar="S", help="seconds until a try has failed in any case (default: 600)"
    )


def add_run_options(parser: Parser) -> None:
    """The options that runs and tournaments share."""
    what = parser.add_argument_group("what is played")
    what.add_argument("--limit", type=_positive, metavar="N", help="how many questions (default: the arena's)")
    what.add_argument("--epochs", type=_positive, default=1, metavar="K", help="samples of each episode (default: 1)")
    what.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed of questions, orderings and agents (default: 0)"
    )
    what.add_argument("--answers", type=_positive, metavar="N", help="keep the correct answer and N-1 others, drawn")
    what.add_argument("--no-swap", action="store_true", help="play one seating a question, not each of its orders")
    what.add_argument("--swap", action="store_true", help="play each of its orders where people take part, too")
    add_endpoint_options(parser)
    how = parser.add_argument_group("how it runs")
    how.add_argument("--log-dir", metavar="D", help="run directory; the same command resumes (default: under logs/)")
    how.add_argument(
        "--max-connections",
        type=_positive,
        metavar="N",
        help="calls in flight to an endpoint (default: as many as it keeps up with, found on the way)",
    )
    how.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="worker processes that play the episodes (default: none, this process plays them)",
    )
    how.add_argument(
        "--executor",
        choices=("processes", "ray"),
        help="where workers run: on this machine (default), or on the machines of a Ray cluster, one a processor",
    )
    how.add_argument("--cost-limit", type=float, metavar="USD", help="stop before the run could cost more")
    how.add_argument(
        "--episode-timeout", type=float, metavar="S", help="seconds until an episode is unscored (default: no limit)"
    )
    how.add_argument("--retry-failed", action="store_true", help="play unscored episodes again")
    how.add_argument(
        "--journal",
        metavar="URL",
        help="keep the paid calls in PostgreSQL: postgresql://USER@HOST:PORT/DATABASE, the password in PGPASSWORD or "
        "~/.pgpass (default: journal.sqlite in the run directory)",
    )
    how.add_argument(
        "--dry-run", action="store_true", help="print the plan, its calls and worst-case tokens; run nothing"
    )


def add_transcript_options(parser: Parser, title: str) -> None:
    """Which recorded transcripts are judged, and what of them is shown."""
    what = parser.add_argument_group(title)
    what.add_argument(
        "--judge-messages",
        choices=("shown", "hidden"),
        help="what the recorded judge said to the speakers (default: shown for runs of ours; hidden for the corpus, "
        "where it often tells how the judge leaned)",
    )
    what.add_argument("--all", action="store_true", help="of the corpus, also debates that the paper leaves out")
    what.add_argument("--arena", metavar="A", help="arena of the run as file.py:Name, where it is not found by itself")
    what.add_argument("--protocol", action="append", default=[], metavar="P", help="the same for a protocol of the run")


def add_people_options(parser: Parser) -> None:
    """How a run puts its items to people, and who sits at the terminal this time."""
    who = parser.add_argument_group("people in the run (agents called human)")
    who.add_argument("--judges-per-item", type=_positive, default=1, metavar="K", help="people an item (default: 1)")
    who.add_argument(
        "--reading",
        choices=("stepped", "whole"),
        default="stepped",
        help="one turn after another with a credence after each, or the whole transcript at once (default: stepped)",
    )
    who.add_argument("--minutes", type=float, metavar="M", help="how long a transcript may be read (default: no limit)")
    who.add_argument(
        "--attention-every",
        type=int,
        default=0,
        metavar="N",
        help="one item in N checks, by a known answer, that somebody reads (default: 0, none)",
    )
    who.add_argument(
        "--once-per",
        choices=("story", "question"),
        default="story",
        help="what nobody is given twice: a story with its questions, or a question (default: story)",
    )
    add_session_options(parser)


def add_session_options(parser: Parser) -> None:
    """The options that are no part of what a run is: they may be others in every session."""
    who = parser.add_argument_group("this session at the terminal")
    who.add_argument("--as", dest="person", default="", metavar="NAME", help="who sits here, by the name in the record")
    who.add_argument("--human-budget", type=int, metavar="N", help="most episodes that go to people or their proxies")
    who.add_argument("--ahead", type=_positive, default=3, metavar="N", help="items prepared beforehand (default: 3)")
    who.add_argument("--prepare-only", action="store_true", help="play the machines' turns, and ask nobody")
    who.add_argument("--feedback", action="store_true", help="tell the answer once a verdict is kept, and calibration")
    who.add_argument("--plain", action="store_true", help="lines of text, for screen readers and pipes")


def people_options(arguments: argparse.Namespace) -> PeopleOptions:
    """How items are put to people; a part of what the run is."""
    from ..runs.plan import PeopleOptions

    return PeopleOptions(
        judges=arguments.judges_per_item,
        reading=arguments.reading,
        minutes=arguments.minutes,
        attention_every=arguments.attention_every,
        once=arguments.once_per,
    )


def session_options(arguments: argparse.Namespace) -> SessionOptions:
    """Who sits at the terminal; no part of what the run is."""
    from ..runs.session import SessionOptions

    return SessionOptions(
        name=arguments.person,
        plain=arguments.plain,
        feedback=arguments.feedback,
        ahead=arguments.ahead,
        budget=arguments.human_budget,
        prepare_only=arguments.prepare_only,
    )


def swaps(arguments: argparse.Namespace) -> bool | None:
    """Whether orders are swapped, where that was said."""
    if arguments.swap and arguments.no_swap:
        raise ConfigurationError("--swap and --no-swap: give one of them")
    return False if arguments.no_swap else True if arguments.swap else None


def model_options(arguments: argparse.Namespace, names: Iterable[str]) -> dict[str, ModelOptions]:
    """Endpoint, price and patience of each model, from the options of a run; of a cascade, of each in it."""
    from ..models.openai_compatible import ModelOptions
    from ..registry import agent_names

    names = list(dict.fromkeys(member for name in names for member in agent_names(name)))
    patience = ("max_retries", "timeout", "call_timeout")
    given = {name: value for name in patience if (value := getattr(arguments, name)) is not None}
    found = {name: ModelOptions(**given) for name in names}

    def split(option: str, text: str) -> tuple[list[str], str]:
        # A model's options hold equals signs too.
        known = max((name for name in names if text.startswith(f"{name}=")), key=len, default=None)
        if known is not None:
            return [known], text[len(known) + 1 :]
        name, separator, value = text.partition("=")
        if separator and "://" not in name:
            if name not in found:
                raise UnknownName(f"model in {option}", name, names)
            return [name], value
        return names, text

    for text in arguments.base_url:
        chosen, url = split("--base-url", text)
        if not url.startswith(("http://", "https://")):
            # Not quoted: what was put there by mistake may be a key.
            raise ConfigurationError("--base-url: an address starts with http:// or https://")
        for name in chosen:
            found[name] = replace(found[name], base_url=url)
    for text in arguments.price:
        chosen, price = split("--price", text)
        try:
            read, made = (float(part) for part in price.split(","))
        except ValueError:
            raise ConfigurationError(f"--price {text}: write MODEL=IN,OUT in dollars per million tokens") from None
        for name in chosen:
            found[name] = replace(found[name], price=(read, made))
    return found
