"""Language models that learn from preferences: reward models, and agents that are tuned (TRL, PEFT, transformers).

What is trained on is what is played: prompts and replies are read into tokens in the form that ``hf/`` models of a
run are given them, the chat template where the model has one.  Everything heavy is imported where it is used.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import math
import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..errors import ConfigurationError, MissingExtra, ModelError
from ..identity import digest, seed_from
from ..models.base import Message, ModelCall
from ..models.local.source import Source, adapters_quiet, find_source
from ..runs.directory import FORMAT, holds, write_json
from .progress import TrainingProgress
from .reward_models import Comparison, Prompt, Reply, RewardModel, TunedAgent
from .settings import read_settings
from .students import require_training

if TYPE_CHECKING:
    import torch

    from ..models.local import LocalModel
    from ..models.local.text import Texts

__all__ = ["AgentOptions", "LanguageAgent", "LanguageOptions", "LanguageRewardModel"]

CHECKPOINT_SECONDS = 60.0
"""A training that is killed loses at most about so much work."""

_COMPLETE = "complete"
"""File in a checkpoint that says that everything in it is on the disk; one without it is never resumed from."""

_SCORED_TOGETHER = 16


class LanguageOptions(BaseModel):
    """How a language model is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=16, ge=0, description="of the LoRA matrices; 0 trains every weight")
    steps: int = Field(default=100, ge=1, description="steps of the optimiser (AdamW, falling linearly to 0)")
    batch: int = Field(default=16, ge=1, description="pairs in a step")
    learning_rate: float = Field(default=2e-4, gt=0, allow_inf_nan=False, description="of the first step")
    longest: int = Field(
        default=1024, ge=2, description="tokens of a prompt with its reply; a longer prompt loses its beginning"
    )
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="of the weights below the LoRA ones")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="where it is trained")


class AgentOptions(LanguageOptions):
    """How an agent is tuned by DPO (Rafailov et al. 2023), and how it replies."""

    learning_rate: float = Field(default=5e-5, gt=0, allow_inf_nan=False, description="of the first step")
    beta: float = Field(
        default=0.1, gt=0, allow_inf_nan=False, description="of DPO: how much it costs to leave the model it was"
    )
    reply: int = Field(default=128, ge=1, description="most tokens of a reply that it writes")
    temperature: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="that replies are drawn at")


class LanguageRewardModel(RewardModel):
    """A language model with a head that rates a reply to a prompt, trained by TRL's ``RewardTrainer``.

    With LoRA (Hu et al. 2022) on every linear layer, at scale 2, and a new head in full; or all weights.

    Parameters
    ----------
    model : a folder, a GGUF file or a name on the hub.
    options : see :class:`LanguageOptions`.

    Raises
    ------
    ConfigurationError
        if the model is not there or an option is out of its range; MissingExtra without the extra ``training``.
    """

    def __init__(self, model: str | Path, **options: Any) -> None:
        self.options = read_settings(LanguageOptions, options)
        self._files = _Files(str(model), self.options)
        self.weights: Path | None = None
        """The folder of what was trained; None before."""
        self._model: Any = None
        self._trained: int | None = None

    def describe(self) -> dict[str, Any]:
        return {"kind": "language", **self._files.describe()}

    @property
    def parameters(self) -> int:
        if self._trained is None:
            with _aside(0):
                self._trained = _trainable(self._begun())
        return self._trained

    def fit(self, comparisons: Sequence[Comparison], folder: Path, seed: int, progress: TrainingProgress) -> None:
        rows = self._files.rows(comparisons, progress)
        with _aside(seed_from(seed, "language reward model")) as seeded:
            self.weights = _fit(self._trainer, self.describe(), rows, folder, seeded, progress, self._files.tokenizer)
            self._model = self._read(self.weights)

    def rewards(self, prompt: Prompt, replies: Sequence[Reply]) -> NDArray[np.float64]:
        return self.rewards_of([(prompt, reply) for reply in replies])

    def agreement(self, comparisons: Sequence[Comparison]) -> NDArray[np.float64]:
        return 0.5 + 0.5 * np.sign(self.differences(comparisons))

    def differences(self, comparisons: Sequence[Comparison]) -> NDArray[np.float64]:
        """For each comparison, the reward of the chosen reply less that of the other."""
        pairs = [(one.prompt, reply) for one in comparisons for reply in (one.chosen, one.rejected)]
        rewards = self.rewards_of(pairs)
        return rewards[0::2] - rewards[1::2]

    def rewards_of(self, pairs: Sequence[tuple[Prompt, Reply]]) -> NDArray[np.float64]:
        """The reward of each reply to its prompt.

        Raises
        ------
        ConfigurationError
            if it is not trained.
        """
        import torch

        if self._model is None:
            raise ConfigurationError(f"the reward model of {self._files.source.name} is not trained: call fit first")
        found = np.zeros(len(pairs))
        tokens = [before + said for before, said in self._files.together(pairs)]
        with torch.inference_mode():
            for places, inputs in self._files.batches(tokens):
                found[places] = self._model(**inputs).logits[:, 0].double().cpu().numpy()
        return found

    # ---- machinery ------------------------------------------------------------------------------

    def _base(self, path: Path | None = None) -> Any:
        """The model with one number as its output; a head that is read from nowhere is drawn."""
        from transformers import AutoModelForSequenceClassification

        options = {"num_labels": 1, "dtype": self._files.dtype}
        if path is not None:
            model = AutoModelForSequenceClassification.from_pretrained(str(path), **options)
        else:
            model = self._files.source.load(AutoModelForSequenceClassification, **options)
        model.config.get_text_config().pad_token_id = self._files.padding  # where a text ends is found by it
        return model

    def _begun(self) -> Any:
        """The untrained model, with its LoRA matrices where it has some, and a head drawn under the seed."""
        from peft import LoraConfig, TaskType, get_peft_model

        base = self._base()
        if not self.options.rank:
            return base
        lora = LoraConfig(**_lora(self.options.rank), task_type=TaskType.SEQ_CLS, modules_to_save=["score"])
        return get_peft_model(base, lora)

    def _trainer(self, rows: list[dict[str, list[int]]], **settings: Any) -> Any:
        from datasets import Dataset

        trl: Any = importlib.import_module("trl")  # its types do not say that it exports its trainers
        model = self._begun()
        joined = [{f"{side}_ids": row["prompt"] + row[side] for side in ("chosen", "rejected")} for row in rows]
        arguments = trl.RewardConfig(**self._files.arguments(**settings), max_length=None)
        return trl.RewardTrainer(
            model, arguments, train_dataset=Dataset.from_list(joined), processing_class=self._files.tokenizer
        )

    def _read(self, weights: Path) -> Any:
        from peft import PeftModel

        model = PeftModel.from_pretrained(self._base(), str(weights)) if self.options.rank else self._base(weights)
        return model.to(self._files.device).eval()


class LanguageAgent(TunedAgent):
    """A language model that replies to prompts and is tuned by TRL's ``DPOTrainer`` on which replies are preferred.

    With LoRA the reference of DPO is the same model without its LoRA matrices, else a copy.  What was tuned can take
    part in runs under :attr:`name`.

    Parameters
    ----------
    model : a folder, a GGUF file or a name on the hub.
    options : see :class:`AgentOptions`.

    Raises
    ------
    ConfigurationError
        if the model is not there or an option is out of its range; MissingExtra without the extra ``training``.

    References
    ----------
    Rafailov et al. 2023, Direct Preference Optimization (arXiv:2305.18290).
    """

    def __init__(self, model: str | Path, **options: Any) -> None:
        self.options = read_settings(AgentOptions, options)
        self._files = _Files(str(model), self.options)
        self.weights: Path | None = None
        """The folder of what was trained; None before."""
        self._player: LocalModel | None = None

    def describe(self) -> dict[str, Any]:
        return {"kind": "language", **self._files.describe()}

    @property
    def name(self) -> str:
        """How the agent is called in runs: ``hf/FOLDER``, with ``(adapter=FOLDER)`` once it is tuned."""
        folder, options = self._files.source.named, []
        if self.weights is not None and self.options.rank:
            options.append(f"adapter={self.weights}")
        elif self.weights is not None:
            folder = str(self.weights)
        if self._files.texts.form == "plain":
            options.append("template=plain")
        return f"hf/{folder}" + (f"({','.join(options)})" if options else "")

    def replies(self, prompt: Prompt, count: int, seed: int) -> list[Reply]:
        calls = [
            ModelCall(
                messages=_messages(prompt),
                temperature=self.options.temperature,
                max_tokens=self.options.reply,
                sample=number,
                seed=seed_from(seed, "reply"),
            )
            for number in range(count)
        ]
        player = self._playing()

        async def played() -> list[Reply]:
            done = await asyncio.gather(*(player.complete(call) for call in calls))
            return [Reply(one.text.strip()) for one in done]

        return asyncio.run(played())

    def tune(self, comparisons: Sequence[Comparison], folder: Path, seed: int, progress: TrainingProgress) -> None:
        rows = self._files.rows(comparisons, progress)
        with _aside(seed_from(seed, "language agent")) as seeded:
            self.weights = _fit(self._trainer, self.describe(), rows, folder, seeded, progress, self._files.tokenizer)
        self.close()

    def close(self) -> None:
        """Free the memory of the model that replies; the next reply loads it again."""
        player, self._player = self._player, None
        if player is not None:
            asyncio.run(player.close())

    def log_probabilities(self, pairs: Sequence[tuple[Prompt, Reply]], *, tuned: bool = True) -> NDArray[np.float64]:
        """The natural log-probability of each reply after its prompt, the token that ends it included.

        Parameters
        ----------
        pairs : prompts and replies.
        tuned : of the model as it was tuned, or as it was before; the same before it is tuned.
        """
        import torch

        found = np.zeros(len(pairs))
        tokens = self._files.together(pairs)
        model = self._read(tuned)
        with torch.inference_mode():
            for places, inputs in self._files.batches([before + said for before, said in tokens]):
                logits = model(**inputs).logits
                for row, place in enumerate(places):
                    before, said = (len(part) for part in tokens[place])
                    at = logits[row, before - 1 : before + said - 1].float().log_softmax(-1)
                    wanted = inputs["input_ids"][row, before : before + said, None]
                    found[place] = float(at.gather(1, wanted).double().sum())
        return found

    def implicit_rewards(self, pairs: Sequence[tuple[Prompt, Reply]]) -> NDArray[np.float64]:
        """DPO's own reward of each reply, up to a constant of its prompt: beta · log of tuned over untuned."""
        after, before = (self.log_probabilities(pairs, tuned=tuned) for tuned in (True, False))
        return self.options.beta * (after - before)

    # ---- machinery ------------------------------------------------------------------------------

    def _source(self, tuned: bool) -> Source:
        if not tuned or self.weights is None:
            return self._files.source
        if self.options.rank:
            return find_source(self._files.source.named, self.weights)
        return find_source(str(self.weights))

    def _read(self, tuned: bool) -> Any:
        return self._source(tuned).weights(self._files.dtype).to(self._files.device)

    def _playing(self) -> LocalModel:
        if self._player is None:
            from ..models.local import LocalModel

            source = self._source(True)
            self._player = LocalModel(
                source.named,
                adapter=None if source.adapter is None else str(source.adapter),
                dtype=self.options.dtype,
                device=self._files.device,
                template=cast(Any, self._files.texts.form),
            )
        return self._player

    def _trainer(self, rows: list[dict[str, list[int]]], **settings: Any) -> Any:
        import copy

        from datasets import Dataset
        from peft import LoraConfig, TaskType

        trl: Any = importlib.import_module("trl")

        class Trainer(trl.DPOTrainer):  # type: ignore[misc]
            def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
                return dataset  # it is in tokens already, in the form that runs give it

        model = self._files.source.weights(self._files.dtype)
        lora = LoraConfig(**_lora(self.options.rank), task_type=TaskType.CAUSAL_LM) if self.options.rank else None
        renamed = [{f"{name}_ids": ids for name, ids in row.items()} for row in rows]
        return Trainer(
            model,
            ref_model=None if lora else copy.deepcopy(model),
            args=trl.DPOConfig(**self._files.arguments(**settings), beta=self.options.beta, max_length=None),
            train_dataset=Dataset.from_list(renamed),
            processing_class=self._files.tokenizer,
            peft_config=lora,
        )


# ---- models and texts ---------------------------------------------------------------------------------


class _Files:
    """A model's files, and how texts become its tokens."""

    def __init__(self, model: str, options: LanguageOptions) -> None:
        require_training("torch", "transformers", "accelerate", "datasets", "peft", "trl")
        self.source, self.options = find_source(model), options

    def describe(self) -> dict[str, Any]:
        """What is trained and how, as JSON values; where it is trained is no part of it."""
        return {"model": self.source.identity(), **self.options.model_dump(exclude={"device"})}

    @cached_property
    def tokenizer(self) -> Any:
        tokenizer = self.source.tokenizer()
        if tokenizer.eos_token_id is None:
            raise ConfigurationError(f"{self.source.named}: its tokenizer has no token that ends a text")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @property
    def padding(self) -> int:
        return int(self.tokenizer.pad_token_id)

    @cached_property
    def texts(self) -> Texts:
        from ..models.local.text import Texts

        form = "chat" if self.tokenizer.chat_template else "plain"
        return Texts(f"hf/{self.source.named}", self.tokenizer, form)

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return cast("torch.dtype", getattr(torch, self.options.dtype))

    @cached_property
    def device(self) -> str:
        import torch

        if self.options.device == "cuda" and not torch.cuda.is_available():
            raise ConfigurationError("--device cuda: there is no GPU that torch can use here: leave it out")
        if self.options.device == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return self.options.device

    def tokens(self, prompt: Prompt, reply: Reply) -> tuple[list[int], list[int]]:
        """The tokens of a prompt and of a reply; of a prompt that is too long for its reply, the end."""
        before = self.texts.prompt(ModelCall(_messages(prompt))).tolist()
        said = self.texts.answer(reply.text)
        room = self.options.longest - len(said)
        if room < 1:
            raise ConfigurationError(
                f"a reply of {len(said):,} tokens does not fit --longest {self.options.longest}: raise it "
                f"({_short(reply.text)!r})"
            )
        return before[-room:], said

    def together(self, pairs: Sequence[tuple[Prompt, Reply]]) -> list[tuple[list[int], list[int]]]:
        """The tokens of prompts and replies.  All replies to one prompt follow the same part of it."""
        tokens = [self.tokens(*pair) for pair in pairs]
        kept: dict[int, int] = {}
        for (prompt, _), (before, _) in zip(pairs, tokens, strict=True):
            kept[id(prompt)] = min(len(before), kept.get(id(prompt), len(before)))
        return [
            (before[len(before) - kept[id(prompt)] :], said)
            for (prompt, _), (before, said) in zip(pairs, tokens, strict=True)
        ]

    def rows(self, comparisons: Sequence[Comparison], progress: TrainingProgress) -> list[dict[str, list[int]]]:
        """The comparisons as tokens.  Both replies follow the same part of the prompt."""
        if not comparisons:
            raise ConfigurationError("no comparison to train on: give pairs")
        rows, cut = [], 0
        for one in comparisons:
            whole = len(self.texts.prompt(ModelCall(_messages(one.prompt))))
            (first, chosen), (second, rejected) = (
                self.tokens(one.prompt, reply) for reply in (one.chosen, one.rejected)
            )
            prompt = min(first, second, key=len)
            cut += len(prompt) < whole
            rows.append({"prompt": prompt, "chosen": chosen, "rejected": rejected})
        if cut:
            progress.note(f"{cut} of {len(rows)} prompts lose their beginning: --longest {self.options.longest} tokens")
        return rows

    def batches(self, tokens: Sequence[list[int]]) -> Iterator[tuple[list[int], dict[str, Any]]]:
        """Places of texts that are alike in length, and the model's inputs for them, padded on the right."""
        import torch

        order = sorted(range(len(tokens)), key=lambda place: len(tokens[place]))
        for begin in range(0, len(order), _SCORED_TOGETHER):
            places = order[begin : begin + _SCORED_TOGETHER]
            width = max(len(tokens[place]) for place in places)
            ids = torch.full((len(places), width), self.padding)
            mask = torch.zeros((len(places), width), dtype=torch.long)
            for row, place in enumerate(places):
                ids[row, : len(tokens[place])] = torch.tensor(tokens[place])
                mask[row, : len(tokens[place])] = 1
            yield places, {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}

    def arguments(self, folder: Path, seed: int) -> dict[str, Any]:
        """Arguments that both trainers of TRL take."""
        return {
            "output_dir": str(folder),
            "seed": seed,
            "max_steps": self.options.steps,
            "per_device_train_batch_size": self.options.batch,
            "learning_rate": self.options.learning_rate,
            "use_cpu": self.device == "cpu",
            "bf16": False,  # on a processor it is slower; TRL's default
            "gradient_checkpointing": False,  # pays with time for memory that is not short here; TRL's default
            "dataloader_pin_memory": self.device != "cpu",
            "save_strategy": "no",  # the callback says when
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            "disable_tqdm": True,
            "report_to": "none",
        }


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    """What a model is asked: the prompt's own messages where it has some, else its text as a user's."""
    messages = prompt.structure.get("messages")
    return tuple(messages) if messages else ({"role": "user", "content": prompt.text},)


def _lora(rank: int) -> dict[str, Any]:
    return {"r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0, "target_modules": "all-linear"}


def _trainable(model: Any) -> int:
    return sum(weights.numel() for weights in model.parameters() if weights.requires_grad)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:57]}..."


# ---- training -----------------------------------------------------------------------------------------


def _fit(
    trainer_of: Any,
    described: Mapping[str, Any],
    rows: list[dict[str, list[int]]],
    folder: Path,
    seed: int,
    progress: TrainingProgress,
    tokenizer: Any,
) -> Path:
    """Train, or go on where it was stopped, or do nothing where it had finished; gives the folder of the weights.

    ``training.json`` says what is trained, ``checkpoints`` is there while it is, and ``adapter`` (LoRA) or ``model``
    (all weights) appears whole in the end.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    what = json.loads(json.dumps({"trained": dict(described), "seed": seed, "comparisons": digest(rows)}))
    if not holds(folder / "training.json", what, "training"):
        write_json(folder / "training.json", {"format": FORMAT, "configuration": what})
    kept = folder / ("adapter" if described["rank"] else "model")
    checkpoints = folder / "checkpoints"
    if not kept.is_dir():
        try:
            trainer = trainer_of(rows, folder=checkpoints, seed=seed)
        except ImportError as error:
            raise MissingExtra(f"training ({_first_line(error)})", "training") from None
        begun = _newest_complete(checkpoints)
        _watch(trainer, checkpoints, progress)
        trainer.train(resume_from_checkpoint=None if begun is None else str(begun))
        _keep(trainer.model, tokenizer, kept)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return kept


def _watch(trainer: Any, checkpoints: Path, progress: TrainingProgress) -> None:
    """Have a trainer of transformers report to ``progress`` alone, and keep checkpoints that can be trusted.

    transformers writes a checkpoint file by file under its final name.  Here it gets a mark once all of it is on the
    disk; the one before it is deleted after that.
    """
    from transformers import PrinterCallback, TrainerCallback

    class Watch(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.saved = time.monotonic()
            progress.start("training steps", state.max_steps - state.global_step, state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            due = time.monotonic() - self.saved >= CHECKPOINT_SECONDS
            control.should_save = due and state.global_step < state.max_steps

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if "loss" not in (logs or {}):
                return  # the summary at the end
            if not math.isfinite(logs["loss"]):
                raise ModelError(f"the loss of step {state.global_step} is no number: lower --learning-rate")
            progress.loss(logs["loss"])
            progress.done()

        def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            made = checkpoints / f"checkpoint-{state.global_step}"
            _sync(made)
            (made / _COMPLETE).touch()
            _sync(made)
            _sync(checkpoints, inside=False)
            _newest_complete(checkpoints)
            self.saved = time.monotonic()

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Watch())


def _newest_complete(checkpoints: Path) -> Path | None:
    """The newest checkpoint that was written to its end; all others are deleted."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    newest = next((path for path in reversed(found) if (path / _COMPLETE).is_file()), None)
    for path in found:
        if path != newest:
            shutil.rmtree(path)
    return newest


def _keep(model: Any, tokenizer: Any, target: Path) -> None:
    """Save the weights as safetensors, under their name only once they are whole and on the disk."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    (part / "README.md").unlink(missing_ok=True)  # PEFT's form for a hub page, not filled in
    if target.name == "model":
        tokenizer.save_pretrained(part)
    _sync(part)
    part.rename(target)
    _sync(target.parent, inside=False)


def _sync(folder: Path, *, inside: bool = True) -> None:
    """Have a folder, and what is in it, on the disk."""
    for path in [*(folder.rglob("*") if inside else ()), folder]:
        if path.is_dir() and os.name == "nt":
            continue  # Windows opens no folders, and keeps their entries itself
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _aside(seed: int) -> Iterator[int]:
    """Everything drawn from the libraries' common states is drawn under the seed, and leaves them as they were.

    What the libraries would print meanwhile is not printed, but for errors: a head that begins untrained is no news.
    """
    import torch

    datasets, hub = importlib.import_module("datasets"), importlib.import_module("transformers").utils.logging
    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    verbosity, bars, hub_bars = hub.get_verbosity(), datasets.is_progress_bar_enabled(), hub.is_progress_bar_enabled()
    loggers = [logging.getLogger(name) for name in ("trl", "peft", "accelerate")]
    levels = [logger.level for logger in loggers]
    hub.set_verbosity_error()
    hub.disable_progress_bar()
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    try:
        with adapters_quiet():
            yield seed
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])
        hub.set_verbosity(verbosity)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if hub_bars:
            hub.enable_progress_bar()
        if bars:
            datasets.enable_progress_bars()


def _first_line(error: Exception) -> str:
    return next((" ".join(line.split()) for line in str(error).splitlines() if line.strip()), type(error).__name__)
