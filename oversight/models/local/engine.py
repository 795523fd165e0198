"""One loaded model, and the thread that reads and writes with it for everybody.

Requests join and leave between steps.  A step takes one token of every reply that is being written, and as many
tokens of new prompts as fit; all go through the model as one row (see :mod:`.attention`).
"""

from __future__ import annotations

import atexit
import math
import os
import queue
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from transformers import AttentionInterface

from ...errors import ConfigurationError, ContextTooLong, ModelError, OversightError
from ...identity import seed_from
from ...transcript import Usage
from ..base import Completion, ModelCall, ScoreCall, Scores, TokenProbabilities
from .attention import NAME, KeyValueCache, Piece, Step, Unsupported, attend
from .prefixes import PrefixStore, Tokens, common
from .source import Source
from .text import Texts

__all__ = ["Engine", "Settings"]

_COLLECTING = 0.005
"""Seconds that a model at rest waits for more requests after the first."""

_WORTH_WAITING = 16
"""Tokens that a request must share with one that is being read, more than with what is stored, to wait for it."""

_LOADING = threading.Lock()
"""Held while weights are read: transformers makes models in a state of the whole process."""

_CHECKED = 24
"""Tokens that a model reads when it is loaded, by its own attention and by ours."""


@dataclass(frozen=True)
class Settings:
    """How a model is run.

    Parameters
    ----------
    dtype : ``float32``, ``bfloat16`` or ``float16``.
    device : of torch (``cpu``, ``cuda``, ``cuda:1``).
    max_batch : most sequences that run together, at least 1.
    max_step_tokens : most tokens of prompts in a step, at least 1; None for 512 on a processor, 4,096 elsewhere.
    prefix_memory : most bytes of keys and values of texts read before; None for 2 GiB, or an eighth of what
        is free where that is less; on a GPU 16 GiB or a quarter.
    """

    dtype: str
    device: str
    max_batch: int = 64
    max_step_tokens: int | None = None
    prefix_memory: int | None = None


@dataclass(frozen=True)
class _Arrival:
    """A request that has come in, and what makes a sequence of it in the thread, where the tokenizer is."""

    future: Future[Any]
    prepare: Callable[[], _Sequence]


@dataclass(eq=False)
class _Sequence:
    """A request that waits or runs.

    ``tokens`` are its prompt and what was written; ``known`` how many of them are in ``slot``.
    """

    call: ModelCall | ScoreCall
    texts: Texts
    future: Future[Any]
    tokens: Tokens
    prompt: int
    branches: list[list[int]]
    draws: random.Random
    slot: int = -1
    known: int = 0
    stored: bool = False
    pieces: list[TokenProbabilities] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens that it takes room for, its branches included."""
        return len(self.tokens) + sum(map(len, self.branches))


@dataclass(frozen=True)
class _Sampling:
    """What the model's makers recommend for sampling."""

    temperature: float
    top_k: int
    top_p: float


class Engine:
    """A loaded model that answers calls from any thread.

    Weights are loaded by the thread, at the first call.

    Parameters
    ----------
    source : the model's files.
    settings : how it is run.
    """

    def __init__(self, source: Source, settings: Settings) -> None:
        self.source, self.settings = source, settings
        self.device = torch.device(settings.device)
        self.max_batch = settings.max_batch
        self.max_step_tokens = settings.max_step_tokens or (512 if self.device.type == "cpu" else 4096)
        self.steps = self.tokens_read = self.tokens_found = self.largest = 0
        """Steps made, tokens put through the model, tokens of prompts found in store, most sequences in a step."""
        self._inbox: queue.SimpleQueue[_Arrival | None] = queue.SimpleQueue()
        self._texts: dict[str, Texts] = {}
        self._waiting: list[_Sequence] = []
        self._running: list[_Sequence] = []
        self._model: Any = None
        self._failed: Exception | None = None
        self._stopped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"oversight {source.name}", daemon=True)
        atexit.register(self.stop)  # a thread inside torch while the interpreter is taken down can crash it
        self._thread.start()

    def complete(self, call: ModelCall, form: str, key: str) -> Future[Completion]:
        """The reply to a call; ``key`` and the call's seed decide every draw."""
        future: Future[Completion] = Future()

        def prepare() -> _Sequence:
            texts = self._form(form)
            prompt = texts.prompt(call)
            self._fits(len(prompt) + call.max_tokens)
            draws = random.Random(seed_from(call.seed, key))
            return _Sequence(call, texts, future, prompt, len(prompt), [], draws)

        self._submit(future, prepare)
        return future

    def score(self, call: ScoreCall, form: str) -> Future[Scores]:
        """The log-probabilities of a call's options."""
        future: Future[Scores] = Future()

        def prepare() -> _Sequence:
            texts = self._form(form)
            prompt, branches = texts.options(call)
            self._fits(len(prompt) + max(map(len, branches)))
            return _Sequence(call, texts, future, prompt, len(prompt), branches, random.Random(0))

        self._submit(future, prepare)
        return future

    def stop(self) -> None:
        """End the thread after its step and free the memory; waiting calls fail."""
        atexit.unregister(self.stop)
        with self._lock:
            self._stopped = True
        self._inbox.put(None)
        self._thread.join()

    # ---- the thread -----------------------------------------------------------------------------

    def _submit(self, future: Future[Any], prepare: Callable[[], _Sequence]) -> None:
        with self._lock:
            if self._stopped:
                raise ModelError(f"hf/{self.source.named} was closed: call it again")
            self._inbox.put(_Arrival(future, prepare))

    def _work(self) -> None:
        with torch.inference_mode():
            try:
                self._load()
            except OversightError as error:
                self._failed = error
            except Exception as error:
                what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                self._failed = ConfigurationError(f"hf/{self.source.named} cannot be loaded: {what}")
            while not self._stopped:
                self._receive()
                self._waiting = [one for one in self._waiting if not one.future.cancelled()]
                self._running = [one for one in self._running if not one.future.cancelled()]
                self._advance()
            self._close()

    def _receive(self) -> None:
        """Take in what has come; with nothing to do, wait for it."""
        idle = not (self._running or self._waiting)
        while True:
            try:
                arrival = self._inbox.get(block=idle, timeout=_COLLECTING if self._waiting else None)
            except queue.Empty:
                return
            if arrival is None:
                return
            if self._failed is not None:
                _fail(arrival.future, self._failed)
                continue
            try:
                self._waiting.append(arrival.prepare())
            except Exception as error:
                _fail(arrival.future, error)

    def _close(self) -> None:
        """Let nobody wait for ever, and free the memory."""
        closed = ModelError(f"hf/{self.source.named} was closed before it replied")
        for one in [*self._waiting, *self._running]:
            _fail(one.future, closed)
        while not self._inbox.empty():
            if (arrival := self._inbox.get()) is not None:
                _fail(arrival.future, closed)
        self._waiting, self._running = [], []
        self._model = None
        self._forget()

    def _load(self) -> None:
        dtype = getattr(torch, self.settings.dtype)
        self._tokenizer = self.source.tokenizer()
        try:
            with _LOADING:
                model = self.source.weights(dtype)
            self._model = model.to(self.device)
        except Exception as error:
            if _out_of_memory(error):
                raise ConfigurationError(
                    f"{self.source.named} does not fit the memory of {self.settings.device}: take a smaller model or "
                    "a smaller dtype, or serve it elsewhere and call it as vllm/..."
                ) from None
            raise
        configuration = model.config.get_text_config()
        self.window: int | None = getattr(configuration, "max_position_embeddings", None)
        given = model.generation_config
        sampled = bool(given.do_sample)
        self._sampling = _Sampling(
            float(given.temperature or 1.0) if sampled and given.temperature is not None else 1.0,
            int(given.top_k or 0) if sampled else 0,
            float(given.top_p) if sampled and given.top_p is not None else 1.0,
        )
        ends = given.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else set(ends or ())
        if self._tokenizer.eos_token_id is not None:
            self._ends.add(self._tokenizer.eos_token_id)
        limit = self.settings.prefix_memory
        self._store = PrefixStore(_default_memory(self.device) if limit is None else limit)
        self._cache = KeyValueCache(self.device)
        self._take_over(configuration.vocab_size)

    def _take_over(self, vocabulary: int) -> None:
        """Put our attention in the place of the model's, and see that both say the same.

        Models whose attention is not only attention (a recurrent state, keys shared between layers) would answer
        nonsense, not fail.
        """
        tokens = torch.randint(vocabulary, (_CHECKED,), generator=torch.Generator().manual_seed(0))
        positions = torch.arange(_CHECKED, device=self.device)[None]
        expected = self._model(input_ids=tokens[None].to(self.device), position_ids=positions, use_cache=False).logits
        AttentionInterface.register(NAME, attend)
        reason = "reads text by more than attention"
        try:
            self._model.set_attn_implementation(NAME)
            row, cut = tokens.tolist(), _CHECKED // 2
            self._cache.reserve(1, _CHECKED + 1, {})
            # What is read in two parts, the second of them in two branches, must come out as if it was read whole.
            first = self._forward([Piece(0, 0, row[:cut])], list(range(cut)))
            second = self._forward([Piece(0, cut, row[cut:-1], (row[-1:], row[-1:]))], list(range(_CHECKED + 1 - cut)))
            found = torch.cat([first, second[:-1]]).float()
            difference = (found - expected[0].float()).abs().max() / expected.float().abs().max()
            same = bool(difference < (1e-3 if self.settings.dtype == "float32" else 0.1))
        except (Unsupported, TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            same = False
            if isinstance(error, Unsupported):
                reason = str(error)
        if not same:
            raise ConfigurationError(
                f"{self.source.named} ({type(self._model).__name__}) {reason}, which is not known here: serve it with "
                "vLLM or 'transformers serve', and call it as vllm/..."
            )

    def _form(self, form: str) -> Texts:
        if form not in self._texts:
            texts = Texts(f"hf/{self.source.named}", self._tokenizer, form)
            self._texts[form] = texts
            self._ends |= set(texts.end_of_turn())
        return self._texts[form]

    def _fits(self, tokens: int) -> None:
        if self.window is not None and tokens > self.window:
            raise ContextTooLong(f"hf/{self.source.named}", tokens, self.window)

    # ---- steps ----------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Take in what waits and make a step; where memory runs out, go on with less."""
        try:
            self._admit()
            if self._running:
                self._step()
        except Exception as error:
            if _out_of_memory(error):
                self._shrink()
                return
            # A fault of ours or of the model's code: these calls are lost, the thread is not.
            what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            fault = ModelError(f"hf/{self.source.named}: the model failed ({what}): report this, or serve it elsewhere")
            for one in self._running:
                _fail(one.future, fault)
            self._running = []

    def _admit(self) -> None:
        """Give slots to requests that wait, with what is known of their prompts."""
        for one in list(self._waiting):
            if len(self._running) >= self.max_batch:
                return
            tokens = one.tokens[:-1]  # the last is read in any case, for what follows it
            stored = self._store.length(tokens)
            reading = (common(other.tokens[: other.prompt], tokens) for other in self._running if not other.stored)
            if max(reading, default=0) >= stored + _WORTH_WAITING:
                continue
            used = {other.slot for other in self._running}
            one.slot = next(slot for slot in range(len(used) + 1) if slot not in used)
            if one.slot >= self._cache.slots:  # room for all that wait, at once
                slots = min(self.max_batch, len(self._running) + len(self._waiting))
                longest = max(other.length for other in self._waiting[: slots - len(self._running)])
                self._reserve(max(slots, one.slot + 1), longest)
            self._reserve(0, one.length)
            self._waiting.remove(one)
            self._running.append(one)
            self._cache.fill(one.slot, self._store.find(tokens))
            one.known = stored
            self.tokens_found += stored

    def _reserve(self, slots: int, capacity: int) -> None:
        self._cache.reserve(slots, capacity, {one.slot: one.known for one in self._running})

    def _shrink(self) -> None:
        """After memory ran out: halve what runs together; with one sequence left, give it up."""
        for one in self._running:  # those that go on are read again, from their first token
            one.slot, one.known, one.stored = -1, 0, False
        alone = len(self._running) == 1
        self.max_batch = max(1, min(self.max_batch, len(self._running)) // 2)
        if alone and self.max_step_tokens > 64:
            self.max_step_tokens //= 2
        elif alone:
            (one,) = self._running
            self._running = []
            _fail(
                one.future,
                ModelError(
                    f"hf/{self.source.named}: {len(one.tokens):,} tokens do not fit the memory of "
                    f"{self.settings.device}, even alone: take shorter material, fewer rounds, a smaller model or dtype"
                ),
            )
        self._waiting = self._running + self._waiting
        self._running = []
        self._forget()

    def _step(self) -> None:
        pieces: list[Piece] = []
        finished: list[_Sequence] = []
        parts: list[tuple[_Sequence, Piece]] = []
        room = self.max_step_tokens
        # Single tokens come first, as attention wants them.
        for one in sorted(self._running, key=lambda one: len(one.tokens) - one.known + len(one.branches) > 1):
            left = len(one.tokens) - one.known
            if left + len(one.branches) > 1:
                if room <= 0:
                    continue
                left = min(left, room)
                room -= left
            last = one.known + left == len(one.tokens)
            trunk = one.tokens[one.known : one.known + left].tolist()
            # A branch's last token decides nothing more.
            branches = [branch[:-1] for branch in one.branches] if last else []
            room -= sum(map(len, branches))
            piece = Piece(one.slot, one.known, trunk, branches)
            pieces.append(piece)
            parts.append((one, piece))
        wanted: list[int] = []
        at = 0
        for one, piece in parts:
            if piece.start + len(piece.trunk) == len(one.tokens):
                wanted += range(at + len(piece.trunk) - 1, at + piece.length)
            at += piece.length
        self._reserve(0, max(piece.start + piece.length for piece in pieces))
        logits = self._forward(pieces, wanted)
        self.steps += 1
        self.tokens_read += at
        self.largest = max(self.largest, len(pieces))
        at, replies = 0, []
        for one, piece in parts:
            one.known = piece.start + len(piece.trunk)
            if one.known < len(one.tokens):
                continue
            if not one.stored:
                one.stored = True
                self._keep(one)
            if isinstance(one.call, ScoreCall):
                self._scored(one, logits[at : at + 1 + piece.length - len(piece.trunk)])
                finished.append(one)
            else:
                replies.append((one, at))
            at += 1 + piece.length - len(piece.trunk)
        if replies:
            rows = logits[[row for _, row in replies]]
            for one, token, entry in self._sample([one for one, _ in replies], rows):
                if self._written(one, token, entry):
                    finished.append(one)
        self._running = [one for one in self._running if one not in finished]

    def _forward(self, pieces: Sequence[Piece], wanted: Sequence[int]) -> torch.Tensor:
        """Log-odds of the next token after each of the wanted tokens of the row, of shape (wanted, vocabulary)."""
        step = Step(self._cache, pieces, together=self.device.type != "cpu")
        # A step may hold no prompt's end: one row is made all the same, since no model knows an empty choice.
        kept = torch.tensor(list(wanted) or [0]).to(self.device)
        output = self._model(
            input_ids=step.tokens[None],
            position_ids=step.positions[None],
            use_cache=False,
            logits_to_keep=kept,
            oversight_step=step,
        )
        logits: torch.Tensor = output.logits[0]
        return logits

    def _keep(self, one: _Sequence) -> None:
        """Store what was read and written of a sequence."""
        try:
            self._store.insert(one.tokens[: one.known], lambda start, end: self._cache.read(one.slot, start, end))
        except Exception as error:
            if not _out_of_memory(error):
                raise
            self._store.clear()  # a reply is worth more than what might be found again

    def _forget(self) -> None:
        """Free what can be computed again."""
        if self._failed is None:
            self._store.clear()
            self._cache.clear()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    # ---- what comes out -------------------------------------------------------------------------

    def _scored(self, one: _Sequence, logits: torch.Tensor) -> None:
        """Answer a call for scores; logits after the trunk's last token, then after the branches' but their last."""
        logprobs = torch.log_softmax(logits.float(), -1)
        sums, at = [], 1
        for branch in one.branches:
            rows = [0, *range(at, at + len(branch) - 1)]
            at += len(branch) - 1
            sums.append(min(float(logprobs[rows, branch].double().sum()), 0.0))
        lengths = tuple(map(len, one.branches))
        if not all(map(math.isfinite, sums)):
            _fail(one.future, ModelError(f"hf/{self.source.named} gave log-probabilities {sums}: take dtype=float32"))
            return
        usage = Usage(1, one.prompt + sum(lengths), 0, 0.0)
        _answer(one.future, Scores(tuple(sums), lengths, usage, self.source.name))

    def _sample(
        self, replies: Sequence[_Sequence], logits: torch.Tensor
    ) -> list[tuple[_Sequence, int, TokenProbabilities | None]]:
        """The next token of each reply, and what else was likely in its place where that is asked for."""
        logits = logits.float()
        tokens = logits.argmax(-1)
        given = self._sampling
        temperatures = [one.call.temperature for one in replies if isinstance(one.call, ModelCall)]
        warm = [
            (row, given.temperature if temperature is None else temperature)
            for row, temperature in enumerate(temperatures)
            if temperature is None or temperature > 0
        ]
        if warm:
            # One uniform number a token decides: the same on every device, and whatever else is in the batch.
            uniform = torch.tensor([[replies[row].draws.random()] for row, _ in warm], dtype=torch.float64)
            rows = [row for row, _ in warm]
            heat = torch.tensor([[temperature] for _, temperature in warm], device=self.device)
            tokens[rows] = _drawn(logits[rows] / heat, uniform.to(self.device), given)
        chosen = tokens.tolist()
        entries: list[TokenProbabilities | None] = [None] * len(replies)
        for row, one in enumerate(replies):
            assert isinstance(one.call, ModelCall)
            if one.call.top_logprobs is not None:
                entries[row] = _alternatives(logits[row], chosen[row], one.call.top_logprobs, one.texts.piece)
        return list(zip(replies, chosen, entries, strict=True))

    def _written(self, one: _Sequence, token: int, entry: TokenProbabilities | None) -> bool:
        """Take a token into a reply; answers the call and gives True where it was the last."""
        assert isinstance(one.call, ModelCall)
        written = len(one.tokens) - one.prompt + 1
        finish: Literal["stop", "length"] = "stop"
        if token in self._ends:
            tokens = one.tokens[one.prompt :].tolist()
            text, _ = one.texts.reply(tokens)
        else:
            one.tokens = np.append(one.tokens, token)
            if entry is not None:
                one.pieces.append(entry)
            tokens = one.tokens[one.prompt :].tolist()
            full = written >= one.call.max_tokens
            # Only the end of a reply can complete a stop, and a stop is a few tokens long.
            over = bool(one.texts.stops) and one.texts.reply([*tokens[-8:]])[1]
            if not (full or over):
                return False
            text, over = one.texts.reply(tokens)
            if not over:
                if not full:
                    return False
                finish = "length"
        self._keep(one)
        _answer(
            one.future,
            Completion(
                text=text,
                finish=finish,
                tokens=_before(one.texts.stops, one.pieces) if one.call.top_logprobs is not None else None,
                usage=Usage(1, one.prompt, written, 0.0),
                model=self.source.name,
            ),
        )
        return True


def _drawn(logits: torch.Tensor, uniform: torch.Tensor, sampling: _Sampling) -> torch.Tensor:
    """A token for each row: where the cumulated probability passes the row's uniform number."""
    if 0 < sampling.top_k < logits.shape[-1]:
        least = logits.topk(sampling.top_k, -1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    probabilities = logits.softmax(-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        probabilities = probabilities.scatter(-1, order, ordered.masked_fill(before >= sampling.top_p, 0.0))
    cumulated = probabilities.double().cumsum(-1)
    tokens = torch.searchsorted(cumulated, uniform * cumulated[:, -1:], right=True)[:, 0]
    return tokens.clamp_(max=logits.shape[-1] - 1)


def _alternatives(logits: torch.Tensor, chosen: int, count: int, piece: Callable[[int], str]) -> TokenProbabilities:
    """The likeliest tokens and the chosen one, of the model's own distribution (temperature 1)."""
    logprobs = logits.log_softmax(-1)
    ids = logprobs.topk(min(count, len(logprobs))).indices.tolist() if count else []
    found: dict[str, float] = {}
    for token in dict.fromkeys([*ids, chosen]):
        value = min(float(logprobs[token]), 0.0)
        if not math.isfinite(value):
            continue
        text = piece(token)
        if text in found:  # several tokens that are written alike
            value = min(float(np.logaddexp(found[text], value)), 0.0)
        found[text] = value
    return TokenProbabilities(piece(chosen), found)


def _before(stops: Sequence[str], pieces: Sequence[TokenProbabilities]) -> tuple[TokenProbabilities, ...]:
    """The tokens of a reply without those of a turn that it ran on into."""
    text = "".join(piece.token for piece in pieces)
    end = min((at for stop in stops if (at := text.find(stop)) >= 0), default=len(text))
    kept, at = [], 0
    for piece in pieces:
        if at >= end:
            break
        kept.append(piece)
        at += len(piece.token)
    return tuple(kept)


def _default_memory(device: torch.device) -> int:
    most = 2 * 2**30
    if device.type == "cuda":
        return min(8 * most, torch.cuda.mem_get_info(device)[0] // 4)
    try:
        return min(most, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8)
    except (AttributeError, ValueError, OSError):  # not on every system
        return most // 2


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and ("allocate memory" in words or "out of memory" in words)


def _answer(future: Future[Any], value: object) -> None:
    with suppress(InvalidStateError):  # nobody waits for it any more
        future.set_result(value)


def _fail(future: Future[Any], error: Exception) -> None:
    with suppress(InvalidStateError):
        future.set_exception(error)
