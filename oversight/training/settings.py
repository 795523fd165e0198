"""What a training is told, read and refused in the same words by every training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import ConfigurationError, UnknownName

__all__ = ["read_settings"]

Settings = TypeVar("Settings", bound=BaseModel)


def read_settings(kind: type[Settings], given: Mapping[str, Any], spelled: Mapping[str, str] | None = None) -> Settings:
    """The settings of a training, as they were given.

    Parameters
    ----------
    kind : what they are.
    given : by name.
    spelled : by name, the option on the command line, where it has another name.

    Raises
    ------
    ConfigurationError
        with the option and its value, as ``--levels 0: Input should be greater than or equal to 1``; UnknownName for a
        setting that there is not.
    """
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        if first["type"] == "extra_forbidden":
            raise UnknownName("setting", name, kind.model_fields) from None
        option = f"--{(spelled or {}).get(name, name).replace('_', '-')}"
        if first["type"] == "missing":
            raise ConfigurationError(f"{option}: give it a value") from None
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{option} {first['input']}: {message}") from None
