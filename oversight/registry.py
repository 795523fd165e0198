"""Where protocols, arenas and models come from: entry points, and files of the user's own.

The built-ins are registered through the same entry-point groups as a third party's: ``oversight.protocols``,
``oversight.arenas`` and ``oversight.models``.  A class in a file is named ``path/to/file.py:Name``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ConfigurationError, OversightError, UnknownName
from .specification import Specification, parse_specification, parse_value

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from .agents import Agent
    from .models.openai_compatible import ModelOptions
    from .protocol import Protocol
    from .questions import Arena

__all__ = ["agent_names", "find_agent", "find_arena", "find_protocol", "load_class", "names", "registered"]

Kind = TypeVar("Kind")


def registered(group: str) -> dict[str, EntryPoint]:
    """Entry points of ``oversight.<group>`` (``protocols``, ``arenas`` or ``models``), by name."""
    return {entry.name: entry for entry in sorted(entry_points(group=f"oversight.{group}"))}


def names(group: str) -> list[str]:
    """Registered names of a group, sorted."""
    return list(registered(group))


def _from_file(reference: str) -> Any:
    path_text, _, attribute = reference.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file; a class of your own is named path/to/file.py:Name")
    # One module a file and content: an edited file is not served from an earlier import.
    mark = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:12]
    module_name = f"oversight_user_{path.stem}_{mark}"
    module = sys.modules.get(module_name)
    if module is None:
        specification = importlib.util.spec_from_file_location(module_name, path)
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        sys.modules[module_name] = module
        try:
            specification.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            raise ConfigurationError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        public = [name for name, value in vars(module).items() if not name.startswith("_") and _is_of(module, value)]
        raise UnknownName(f"name in {path}", attribute, public) from None


def _is_of(module: ModuleType, value: Any) -> bool:
    """Whether something in a module was made there, as far as can be told, and not imported."""
    if callable(value):
        return getattr(value, "__module__", None) == module.__name__
    return not isinstance(value, ModuleType)


def load_class(group: str, name: str) -> Any:
    """The object that ``name`` stands for in a group: an entry point's, or a file's ``path.py:Name``."""
    if ".py:" in name:
        return _from_file(name)
    known = registered(group)
    if name not in known:
        if name.endswith(".py"):
            raise ConfigurationError(f"{name}: say which {group.removesuffix('s')} of the file: {name}:Name")
        raise UnknownName(group.removesuffix("s"), name, known)
    return known[name].load()


def one_line(error: ValidationError, what: str, model: type[BaseModel]) -> ConfigurationError:
    """Pydantic's findings as one line of ours."""
    first = error.errors(include_url=False)[0]
    option = ".".join(str(part) for part in first["loc"]) or "options"
    if first["type"] == "extra_forbidden":
        return UnknownName(f"option of {what}", option, model.model_fields)
    if first["type"] == "missing":
        field = model.model_fields[option]
        return ConfigurationError(f"{what} needs the option {option!r}: {field.description or 'give it a value'}")
    return ConfigurationError(
        f"{what}: option {option!r} = {first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
    )


def _build(group: str, text: str, options: dict[str, Any], base: type[Kind]) -> Kind:
    from pydantic import ValidationError

    specification = parse_specification(text)
    found = load_class(group, specification.name)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigurationError(f"{specification.name} is not a subclass of {base.__name__}")
    try:
        return found(**{**specification.options, **options})
    except ValidationError as error:
        raise one_line(error, specification.name, found) from None  # type: ignore[arg-type]


def find_protocol(text: str, **options: Any) -> Protocol:
    """The protocol named ``text``, such as ``debate``, ``debate(rounds=2)`` or ``mine.py:Mine``.

    Raises
    ------
    UnknownName
        if there is none of that name, or no such option; with the nearest match.
    """
    from .protocol import Protocol

    return _build("protocols", text, options, Protocol)  # type: ignore[type-abstract]


def find_arena(text: str, **options: Any) -> Arena:
    """The arena named ``text``, such as ``connect_four`` or ``passage(data=stories)``; raises UnknownName."""
    from .questions import Arena

    return _build("arenas", text, options, Arena)  # type: ignore[type-abstract]


def find_agent(
    name: str, arena: Arena | None = None, options: ModelOptions | Mapping[str, ModelOptions] | None = None
) -> Agent:
    """The agent named ``name``.

    A person (``human``), a stand-in for one (``proxy/noisy(0.2)``), a cascade (``cascade(mcts/8,mcts/32,human)``), the
    arena's own, a model ``provider/name``, or ``file.py:Name``; the first that it can be.

    Parameters
    ----------
    arena : supplies agents of its own, to a cascade too.
    options : how models are reached: by their names, members of others included, or one for every model of ``name``.

    Raises
    ------
    UnknownName
        if nothing supplies it; with the nearest match.
    """
    from pydantic import ValidationError

    from .agents import Agent, AgentOptions, LanguageModelAgent
    from .models import Model
    from .models.openai_compatible import ModelOptions

    if (composed := _composed(name, arena, options)) is not None:
        return composed
    if arena is not None and (own := arena.agent(name)) is not None:
        return own
    reached = options.get(name) if isinstance(options, Mapping) else options
    settings: dict[str, Any] = {}
    given: dict[str, Any] = {}
    if ".py:" in name:
        found = _from_file(name)
        try:
            made: Any = found() if callable(found) else found
        except OversightError:
            raise
        except Exception as error:
            raise ConfigurationError(f"{name}: cannot be made: {type(error).__name__}: {error}") from error
    else:
        # Options of the agent stand after the model's name; a provider may have options of its own.
        read = parse_specification(name) if name.strip() else Specification("")
        given = read.options
        settings = {key: value for key, value in given.items() if key in AgentOptions.model_fields}
        provider, separator, rest = read.name.partition("/")
        known = registered("models")
        if provider not in known or not separator or not rest:
            choices = [*(f"{provider}/..." for provider in known), "cascade(...)", "human", "proxy/..."]
            if arena is not None and arena.agents_help:
                choices.append(arena.agents_help.split()[0])
            raise UnknownName("model", read.name, choices)
        make = known[provider].load()
        others = {key: value for key, value in given.items() if key not in settings}
        taken = [one.name for one in inspect.signature(make).parameters.values() if one.kind is one.KEYWORD_ONLY]
        for key in others:
            if key not in taken:
                raise UnknownName(f"option of {provider}/...", key, [*AgentOptions.model_fields, *taken])
        made = make(rest, reached or ModelOptions(), **others)
    if isinstance(made, Agent):
        if settings:
            raise ConfigurationError(f"{name}: options are for language models, and this agent is none: leave them out")
        return made
    if isinstance(made, Model):
        try:
            return LanguageModelAgent(made, name=name.strip() if given else None, **settings)
        except ValidationError as error:
            raise one_line(error, name, AgentOptions) from None
    raise ConfigurationError(f"{name} gave a {type(made).__name__}, not an Agent or a Model")


def agent_names(name: str) -> list[str]:
    """The agents that ``name`` asks, each once: the members of a cascade, the judge of a stand-in, or itself alone.

    These are the names that options of models go by.  Raises ConfigurationError where the name cannot be read.
    """
    if (made_of := _made_of(name)) is None:
        return [name]
    kind, read = made_of
    inside = [] if kind == "human" else [*read.positional] if kind == "cascade" else _judge_of(read)
    return list(dict.fromkeys(one for member in inside for one in agent_names(member))) or [name]


def _made_of(name: str) -> tuple[str, Specification] | None:
    """What kind of composed agent or person a name is of, and how it reads; None for every other agent."""
    family = re.split(r"[/(]", name.strip(), maxsplit=1)[0].strip()
    in_a_file = re.fullmatch(r"[^(]*\.py:\w+", name.strip())  # in a folder that may be called human, say
    if family not in ("cascade", "human", "proxy") or in_a_file:
        return None
    return family, parse_specification(name, positional=True)


def _judge_of(read: Specification) -> list[str]:
    judge = read.options.get("judge")
    return [] if judge is None else [str(judge)]


def _composed(
    name: str, arena: Arena | None, options: ModelOptions | Mapping[str, ModelOptions] | None
) -> Agent | None:
    """A person, a stand-in or a cascade; None where the name is of none of them."""
    from pydantic import ValidationError

    from .agents.cascade import CascadeAgent, CascadeOptions
    from .agents.proxies import PROXIES, ProxyOptions

    if (made_of := _made_of(name)) is None:
        return None
    kind, read = made_of
    if kind == "human":
        from .agents.human import Human

        if read != Specification("human"):
            raise ConfigurationError(f"{name}: a person takes no options: write human")
        return Human()
    if kind == "cascade":
        if read.name != "cascade":
            raise UnknownName("agent", read.name, ["cascade(...)", *(f"proxy/{one}" for one in PROXIES)])
        members = [find_agent(member, arena, options) for member in read.positional]
        try:
            settings = CascadeOptions(**read.options)
        except ValidationError as error:
            raise one_line(error, "cascade", CascadeOptions) from None
        return CascadeAgent(name.strip(), members, settings)
    word = read.name.partition("/")[2]
    if word not in PROXIES:
        raise UnknownName("proxy", read.name, [f"proxy/{one}" for one in PROXIES])
    given = dict(read.options)
    if len(read.positional) > 1 or (read.positional and "rate" in given):
        raise ConfigurationError(f"{name}: a stand-in takes one rate: write {read.name}(0.2, judge=NAME)")
    if read.positional:
        given["rate"] = parse_value(read.positional[0])
    judges = [find_agent(judge, arena, options) for judge in _judge_of(read)]
    proxy = PROXIES[word]
    try:
        chosen = ProxyOptions(**{"rate": proxy.rate, **given, "judge": judges[0].name if judges else None})
    except ValidationError as error:
        raise one_line(error, read.name, ProxyOptions) from None
    return proxy(chosen, judges[0] if judges else None, name.strip())
