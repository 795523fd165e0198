"""Where a model's files are, what identifies them, and how they are loaded."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError, MissingExtra
from ...identity import digest

if TYPE_CHECKING:
    import torch

__all__ = ["Source", "adapters_quiet", "cache_folder", "find_source", "require_packages"]

_FILES = {".json", ".jinja", ".safetensors", ".model", ".txt"}
"""Kinds of files that decide what a model says."""

_ADAPTER_WEIGHTS = "adapter_model.safetensors"

_CONVERSION = 1
"""Raised when converted files would come out otherwise, so that old ones are not used again."""


def require_packages(*, gguf: bool = False) -> None:
    """Raise MissingExtra where a package is missing; imports none of them."""
    for package in ("torch", "transformers", *(["gguf"] if gguf else [])):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(f"a local model ({package})", "local")


def cache_folder() -> Path:
    """The folder for what can be made again: ``OVERSIGHT_CACHE``, or ``oversight`` in the user's cache folder."""
    if own := os.environ.get("OVERSIGHT_CACHE"):
        return Path(own)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "oversight"


@dataclass(frozen=True)
class Source:
    """A model's files.

    Parameters
    ----------
    named : what the user wrote.
    name : its short name: the folder's or file's, or the hub's.
    folder : the folder with the files; None where they come from the hub.
    gguf : the file with the weights, where they are in that format.
    revision : the hub's commit; None for files of one's own.
    adapter : a folder of PEFT with what was trained on top of the weights; None where there is nothing.
    """

    named: str
    name: str
    folder: Path | None = None
    gguf: Path | None = None
    revision: str | None = None
    adapter: Path | None = None

    def identity(self) -> dict[str, str]:
        """The hub's name and commit, or a digest of the files' content, and the adapter's; no path."""
        return self._base_identity() | ({} if self.adapter is None else {"adapter": _adapter_digest(self.adapter)})

    def _base_identity(self) -> dict[str, str]:
        if self.revision is not None:
            return {"hub": self.name, "revision": self.revision}
        if self.gguf is not None:
            return {"content": _content(self.gguf)}
        assert self.folder is not None
        files = {path.name: path for path in self.folder.iterdir() if path.suffix in _FILES}
        if not any(path.suffix == ".safetensors" for path in files.values()):
            files |= {path.name: path for path in self.folder.glob("pytorch_model*.bin")}
        return {"content": digest({name: _content(path) for name, path in files.items()})}

    def tokenizer(self) -> Any:
        """The tokenizer; raises ConfigurationError where there is none."""
        from transformers import AutoTokenizer

        where: dict[str, Any]
        if self.gguf is not None:
            converted = self._converted()
            known = converted if converted.is_dir() else None
            where = {} if known else {"gguf_file": self.gguf.name}
            path = str(known or self.gguf.parent)
        else:
            path, where = self._where()
        with _explained(self.named), _quiet():
            return AutoTokenizer.from_pretrained(path, **where)

    def weights(self, dtype: torch.dtype) -> Any:
        """The language model, its adapter merged into it, on the processor.

        Raises
        ------
        ConfigurationError
            if it cannot be loaded; MissingExtra where there is an adapter and no PEFT.
        """
        from transformers import AutoModelForCausalLM

        model = self.load(AutoModelForCausalLM, dtype=dtype)
        return (model if self.adapter is None else _merged(model, self.adapter, self.named)).eval()

    def load(self, kind: Any, **options: Any) -> Any:
        """The model as another kind of transformers' automatic classes, on the processor, without the adapter.

        Raises
        ------
        ConfigurationError
            if it cannot be loaded.
        """
        with _explained(self.named), _quiet():
            if self.gguf is not None:
                return kind.from_pretrained(self._convert(), **options)
            path, where = self._where()
            return kind.from_pretrained(path, **where, **options)

    # ---- machinery ------------------------------------------------------------------------------

    def _where(self) -> tuple[str, dict[str, Any]]:
        if self.folder is not None:
            return str(self.folder), {}
        return self.name, {"revision": self.revision}

    def _converted(self) -> Path:
        assert self.gguf is not None
        return cache_folder() / "gguf" / f"{_content(self.gguf)}-{_CONVERSION}"

    def _convert(self) -> Path:
        """The folder with the weights of a GGUF file as plain numbers, made once.

        Reading the file takes a hundred times as long as reading the folder.
        """
        from filelock import FileLock

        assert self.gguf is not None
        target = self._converted()
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            if not target.is_dir():
                made = Path(tempfile.mkdtemp(dir=target.parent))
                try:
                    _convert_gguf(self.gguf, made)
                    made.replace(target)
                except BaseException:
                    shutil.rmtree(made, ignore_errors=True)
                    raise
        return target


def _convert_gguf(file: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name).save_pretrained(folder)
    marked = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
    # The model is marked as quantized, and refuses to be saved; one with the same weights and no mark does not.
    configuration = copy.deepcopy(marked.config)
    if hasattr(configuration, "quantization_config"):
        del configuration.quantization_config
    configuration.architectures = [type(marked).__name__]
    plain = AutoModelForCausalLM.from_config(configuration, dtype=torch.float32)
    plain.load_state_dict(marked.state_dict())
    plain.tie_weights()
    plain.generation_config = copy.deepcopy(marked.generation_config)
    plain.save_pretrained(folder)


def _adapter_digest(folder: Path) -> str:
    """Digest of an adapter's weights and settings, wherever it and the model below it lie."""
    settings = {
        name: sorted(value) if isinstance(value, list) and all(isinstance(one, str) for one in value) else value
        for name, value in _adapter_settings(folder).items()
        if name != "base_model_name_or_path"
    }
    return digest([_content(folder / _ADAPTER_WEIGHTS), settings])


def _adapter_settings(folder: Path) -> dict[str, Any]:
    """What PEFT wrote about an adapter; raises ConfigurationError where there is none that can be merged."""
    try:
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = None
    if not isinstance(settings, dict) or not (folder / _ADAPTER_WEIGHTS).is_file():
        raise ConfigurationError(
            f"adapter {folder}: give a folder with adapter_config.json and {_ADAPTER_WEIGHTS}, as PEFT writes it"
        )
    if settings.get("task_type") not in (None, "CAUSAL_LM"):
        raise ConfigurationError(
            f"adapter {folder}: was trained for {settings['task_type']}, not for a model that writes (CAUSAL_LM)"
        )
    return settings


def _merged(model: Any, adapter: Path, named: str) -> Any:
    """The model with an adapter's changes added to its weights."""
    _require_adapters()
    from peft import PeftModel

    try:
        with adapters_quiet():
            return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"adapter {adapter} does not fit {named}: {_first_line(error)}") from None


def _require_adapters() -> None:
    if importlib.util.find_spec("peft") is None:
        raise MissingExtra("an adapter (peft)", "training")


def find_source(named: str, adapter: str | Path | None = None) -> Source:
    """The files that a user's words stand for: a folder, a GGUF file or a folder with one, or a name on the hub.

    Parameters
    ----------
    named : what the user wrote.
    adapter : a folder of PEFT with what was trained on top of it.

    Raises
    ------
    ConfigurationError
        if there are none; MissingExtra where there is an adapter and no PEFT.
    """
    source = _find_base(named)
    if adapter is None:
        return source
    _require_adapters()
    folder = Path(adapter).expanduser().resolve()
    _adapter_settings(folder)
    return replace(source, adapter=folder)


def _find_base(named: str) -> Source:
    path = Path(named).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise ConfigurationError(f"{named} is no model: give a folder, a .gguf file or a name on the hub")
        return Source(named, path.stem, path.parent.resolve(), path.resolve())
    if path.is_dir():
        path = path.resolve()
        if (path / "config.json").is_file():
            return Source(named, path.name, path)
        files = sorted(path.glob("*.gguf"))
        if len(files) == 1:
            return Source(named, files[0].stem, path, files[0])
        found = f"{len(files)} .gguf files: give the path of one" if files else "neither config.json nor a .gguf file"
        raise ConfigurationError(f"{named} holds {found}")
    if path.is_absolute() or named.startswith((".", "~")) or named.endswith(".gguf") or named.count("/") > 1:
        raise ConfigurationError(f"{named}: no such folder or file: check the path")
    return Source(named, named, revision=_revision(named))


@lru_cache(maxsize=64)
def _revision(name: str) -> str:
    """The commit of a model on the hub: the one that is cached, else the newest."""
    require_packages()
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with _explained(name):
        try:
            path = hf_hub_download(name, "config.json", local_files_only=True)
        except LocalEntryNotFoundError:
            try:
                path = hf_hub_download(name, "config.json")
            except LocalEntryNotFoundError:
                raise ConfigurationError(
                    f"{name} is no folder here and not in the hub's cache, and the hub cannot be reached: check the "
                    "name, or the connection"
                ) from None
    return Path(path).parent.name  # .../snapshots/COMMIT/config.json


def _content(path: Path) -> str:
    """Digest of a file's content."""
    status = path.stat()
    return _content_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _content_of(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


@contextmanager
def _explained(named: str) -> Iterator[None]:
    """What the libraries say about missing and broken files, as one line of ours."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except ImportError as error:
        raise ConfigurationError(f"{named} cannot be loaded: {_first_line(error)}") from None
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise ConfigurationError(f"{named} cannot be loaded: {_first_line(error)}") from None
    except (ValueError, KeyError, json.JSONDecodeError) as error:
        raise ConfigurationError(f"{named} cannot be loaded: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return " ".join((lines[0] if lines else type(error).__name__).split())[:300]


@contextmanager
def adapters_quiet() -> Iterator[None]:
    """PEFT and TRL call things in transformers by names that will go in its version 6; nobody here can change it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`(is_)?gradient_checkpointing` is deprecated", FutureWarning)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of transformers: they would break into ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
