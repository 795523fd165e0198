"""Local models as the rest of the library sees them; imports neither torch nor transformers before they are used."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from ...errors import ConfigurationError, UnknownName
from ...transcript import Usage
from ..base import Completion, Model, ModelCall, ScoreCall, Scores
from ..openai_compatible import ModelOptions
from .source import Source, find_source, require_packages

if TYPE_CHECKING:
    from .engine import Engine, Settings

__all__ = ["LocalModel", "hf"]

Form = Literal["chat", "plain"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]


class LocalModel(Model):
    """A model of transformers in this process, on a GPU or on the processor.

    Calls that are in flight together run as one batch, which others join and leave at any token.  What prompts
    begin with is read once and kept (``prefix_memory``); the options of a :class:`ScoreCall` are scored in one pass.
    In float32 a call has the same reply whatever runs beside it, but for rounding (log-probabilities within 1e-4):
    a draw depends on the call, its seed and sample alone.

    A temperature of None samples as the model's makers recommend (``generation_config.json``), else at 1; their
    ``top_k`` and ``top_p`` hold for other temperatures above 0 too, if they recommend sampling.  Log-probabilities
    are those of the model's own distribution.

    Weights are loaded at the first call, and shared by all models in the process with the same files, dtype and
    device; the batch and memory of the one that is used first hold for them all.

    Parameters
    ----------
    source : a folder, a GGUF file or a folder with one, or a name on the hub (``Qwen/Qwen2.5-0.5B-Instruct``).
    adapter : a folder of PEFT with what was trained on top of it, such as ``oversight train agent`` writes; its
        content is part of what the model is.
    dtype : of weights and arithmetic; ``auto`` is bfloat16 on a GPU that has it, else float32.
    device : of torch (``cpu``, ``cuda``); ``auto`` is the GPU where there is one.
    template : ``chat``, the model's own template; ``plain`` for models without one: ``User: ...`` and
        ``Assistant: ...``, where a reply ends when it goes on with another turn.
    max_batch : most calls that run together, at least 1.
    max_step_tokens : most tokens of prompts that are read between two tokens of running replies, at least 1; None
        for 512 on the processor, 4,096 on a GPU.
    prefix_memory : most gigabytes (2**30 bytes) of keys and values that are kept of texts read before, at least 0;
        None for 2, or an eighth of what is free where that is less; on a GPU 16 or a quarter.

    Raises
    ------
    ConfigurationError
        if an option is out of its range.
    """

    scores_options = True
    computes_here = True

    def __init__(
        self,
        source: str,
        *,
        adapter: str | None = None,
        dtype: Precision = "auto",
        device: str = "auto",
        template: Form = "chat",
        max_batch: int = 64,
        max_step_tokens: int | None = None,
        prefix_memory: float | None = None,
    ) -> None:
        super().__init__(f"hf/{source}")
        for option, value, known in (("dtype", dtype, get_args(Precision)), ("template", template, get_args(Form))):
            if value not in known:
                raise UnknownName(option, str(value), known)
        for option, number in (("max_batch", max_batch), ("max_step_tokens", max_step_tokens)):
            if number is not None and (type(number) is not int or number < 1):
                raise ConfigurationError(f"{self.name}: {option} {number!r}: give a whole number of at least 1")
        if prefix_memory is not None and not (isinstance(prefix_memory, int | float) and prefix_memory >= 0):
            raise ConfigurationError(f"{self.name}: prefix_memory {prefix_memory!r}: give gigabytes, at least 0")
        self.named, self.adapter = source, adapter
        self.dtype, self.device, self.template = dtype, device, template
        self.max_batch, self.max_step_tokens, self.prefix_memory = max_batch, max_step_tokens, prefix_memory
        self._found: Source | None = None
        self._identity: dict[str, Any] | None = None
        self._shared: _Shared | None = None
        self._opening = threading.Lock()

    def describe(self) -> dict[str, Any]:
        if self._identity is None:
            self._identity = {
                "model": self._source().name,
                "provider": "hf",
                **self._source().identity(),
                "dtype": self._settings().dtype,
                "template": self.template,
            }
        return dict(self._identity)

    def price(self, usage: Usage) -> float | None:
        return 0.0

    def require(self) -> None:
        from .text import Texts

        source = self._source()
        require_packages(gguf=source.gguf is not None)
        Texts(f"hf/{self.named}", source.tokenizer(), self.template)
        self._settings()

    async def complete(self, call: ModelCall) -> Completion:
        engine = await self._engine()
        return await asyncio.wrap_future(engine.complete(call, self.template, call.key(self.describe())))

    async def score(self, call: ScoreCall) -> Scores:
        engine = await self._engine()
        return await asyncio.wrap_future(engine.score(call, self.template))

    async def close(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            await asyncio.to_thread(shared.release)

    # ---- machinery ------------------------------------------------------------------------------

    def _source(self) -> Source:
        if self._found is None:
            self._found = find_source(self.named, self.adapter)
        return self._found

    def _settings(self) -> Settings:
        """How the model is run on this machine; raises ConfigurationError where it cannot be."""
        require_packages()
        import torch

        from .engine import Settings

        device = self.device if self.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        try:
            kind = torch.device(device).type
        except RuntimeError:
            raise ConfigurationError(f"{self.name}: device {device!r}: write cpu, cuda or cuda:1") from None
        if kind == "cuda" and not torch.cuda.is_available():
            raise ConfigurationError(f"{self.name}: there is no GPU that torch can use here: write device=cpu")
        native = kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = self.dtype if self.dtype != "auto" else "bfloat16" if native else "float32"
        memory = None if self.prefix_memory is None else int(self.prefix_memory * 2**30)
        return Settings(dtype, device, self.max_batch, self.max_step_tokens, memory)

    async def _engine(self) -> Engine:
        if self._shared is None:
            await asyncio.to_thread(self._open)
        assert self._shared is not None
        return self._shared.engine

    def _open(self) -> None:
        with self._opening:
            if self._shared is None:
                self._shared = _Shared.of(self._source(), self._settings(), self.describe())


@dataclass
class _Shared:
    """A loaded model and how many users it has."""

    key: tuple[str, ...]
    engine: Engine
    users: int = 0

    _loaded: ClassVar[dict[tuple[str, ...], _Shared]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def of(cls, source: Source, settings: Settings, identity: dict[str, Any]) -> _Shared:
        """The model that is loaded, or a new one."""
        from .engine import Engine

        content = identity.get("content") or f"{identity['hub']} {identity['revision']}"
        key = (content, identity.get("adapter", ""), settings.dtype, settings.device)
        with cls._lock:
            shared = cls._loaded.get(key)
            if shared is None:
                shared = cls._loaded[key] = cls(key, Engine(source, settings))
            shared.users += 1
            return shared

    def release(self) -> None:
        """One user less; the last one unloads the model."""
        with self._lock:
            self.users -= 1
            if self.users:
                return
            self._loaded.pop(self.key, None)
        self.engine.stop()


def hf(
    name: str,
    options: ModelOptions,
    *,
    adapter: str | None = None,
    dtype: Precision = "auto",
    device: str = "auto",
    template: Form = "chat",
    max_batch: int = 64,
    max_step_tokens: int | None = None,
    prefix_memory: float | None = None,
) -> Model:
    """``hf/PATH_OR_ID``: a model in this process, such as ``hf/PATH_OR_ID(template=plain,dtype=float32)``.

    ``hf/PATH_OR_ID(adapter=FOLDER)`` is one that was tuned (``oversight train agent``).  The options of every provider
    are for endpoints; nothing here needs them.  See :class:`LocalModel` for the rest.

    Raises
    ------
    ConfigurationError
        if an option is out of its range.
    """
    return LocalModel(
        name,
        adapter=adapter,
        dtype=dtype,
        device=device,
        template=template,
        max_batch=max_batch,
        max_step_tokens=max_step_tokens,
        prefix_memory=prefix_memory,
    )
