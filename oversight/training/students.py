"""Students: what reads a text, frozen, and the probe on top of it.

Three kinds, written as names with options::

    embedding/FOLDER(components=20, strength=10)         a sentence-embedding model
    hf/FOLDER(layer=20, strength=100)                    a layer of a local causal language model
    ngrams(longest=4, strength=1)                        character n-grams: a student with no knowledge of its own
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import ConfigurationError, MissingExtra, UnknownName
from ..identity import digest
from ..specification import parse_specification
from .progress import TrainingProgress

if TYPE_CHECKING:
    from ..models.local.source import Source

__all__ = ["Reading", "Student", "StudentOptions", "ngram_features", "parse_student", "require_training"]

Kind = Literal["embedding", "hf", "ngrams"]

_BATCH = 64
"""Texts that are read together."""


def require_training(*packages: str) -> None:
    """Raise MissingExtra where a package of the extra ``training`` is missing; imports none of them."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            known_as = {"sklearn": "scikit-learn"}.get(package, package)
            raise MissingExtra(f"training ({known_as})", "training")


class StudentOptions(BaseModel):
    """What stands in a student's parentheses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="", description="how the report calls it")
    strength: float = Field(
        default=10.0, gt=0, allow_inf_nan=False, description="of the penalty on the probe's weights, in examples: 1/C"
    )
    components: int = Field(default=0, ge=0, description="principal components that are kept; 0 keeps every feature")
    layer: int = Field(default=-1, description="of hf: whose output is read; 0 the embeddings, -1 the last")
    longest: int = Field(default=4, ge=1, le=8, description="of ngrams: characters in the longest")


@dataclass(frozen=True)
class Student:
    """A student as it was asked for.

    Parameters
    ----------
    kind : what reads the text.
    path : the model's folder, file or name; empty for ``ngrams``.
    options : what stood in the parentheses.
    """

    kind: Kind
    path: str
    options: StudentOptions

    @property
    def name(self) -> str:
        """How the report calls it."""
        if self.options.name:
            return self.options.name
        base = self.kind if self.kind == "ngrams" else (self.source.name if self.source is not None else self.kind)
        parts = []
        if self.kind == "hf":
            parts.append(f"layer {self.options.layer}")
        if self.kind == "ngrams":
            parts.append(f"1-{self.options.longest}")
        if self.options.components:
            parts.append(f"{self.options.components} components")
        return ", ".join([base, *parts])

    @cached_property
    def source(self) -> Source | None:
        """The model's files; None where there is no model."""
        if self.kind == "ngrams":
            return None
        from ..models.local.source import find_source

        require_training("torch", "transformers")
        return find_source(self.path)

    def describe(self) -> dict[str, Any]:
        """What the student is, as JSON values: a changed model is another student; its path is no part of it."""
        options = self.options.model_dump()
        del options["name"]
        for name, kind in (("layer", "hf"), ("longest", "ngrams")):
            if self.kind != kind:
                del options[name]
        model = {} if self.source is None else {"model": self.source.identity()}
        return {"kind": self.kind, "name": self.name, **model, **options}


def parse_student(text: str, option: str = "--student") -> Student:
    """A student from its name and options.

    Raises
    ------
    ConfigurationError
        if it has another form, or an option that there is not; UnknownName for a kind that there is not.
    """
    read = parse_specification(text)
    kind, _, path = read.name.partition("/")
    if kind not in ("embedding", "hf", "ngrams"):
        raise UnknownName(f"kind of student in {option}", kind, ("embedding", "hf", "ngrams"))
    if (kind == "ngrams") != (not path):
        form = "ngrams takes no folder" if path else f"write {kind}/FOLDER"
        raise ConfigurationError(f"{option} {text}: {form}")
    foreign = {"embedding": ("layer", "longest"), "hf": ("longest",), "ngrams": ("layer", "components")}[kind]
    known = [name for name in StudentOptions.model_fields if name not in foreign]
    for name in read.options:
        if name not in known:
            raise UnknownName(f"option of {option} {kind}", name, known)
    try:
        return Student(kind, path, StudentOptions(**read.options))  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"{option} {text}: {first['loc'][0]}: {first['msg']}") from None


# ---- reading texts ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What a frozen model makes of texts.

    Parameters
    ----------
    features : texts × dimensions, each text's at length 1.
    parameters : weights of the model that made them.
    """

    features: NDArray[np.float32]
    parameters: int


def read_texts(student: Student, texts: Sequence[str], progress: TrainingProgress) -> Reading:
    """What the student's model makes of the texts, kept in the user's cache and read from there the next time.

    Raises
    ------
    ConfigurationError
        if the model cannot be loaded, or has no such layer; MissingExtra without torch or transformers.
    """
    from ..models.local.source import cache_folder

    described = student.describe()
    # Neither the probe nor the name changes what the model reads.
    made_by = {name: described[name] for name in ("kind", "model", "layer") if name in described}
    path = cache_folder() / "features" / f"{digest([2, made_by, list(texts)])}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            return Reading(kept["features"], int(kept["parameters"]))
    reading = _read(student, texts, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part.npz")
    np.savez(part, features=reading.features, parameters=np.asarray(reading.parameters))
    os.replace(part, path)
    return reading


def _read(student: Student, texts: Sequence[str], progress: TrainingProgress) -> Reading:
    import torch

    source = student.source
    assert source is not None
    tokenizer = source.tokenizer()
    model = _encoder(source) if student.kind == "embedding" else source.weights(torch.float32)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    first = student.kind == "embedding" and _reads_first_token(source)
    limit = min(int(getattr(model.config, "max_position_embeddings", 512)), 512)
    parameters = sum(weights.numel() for weights in model.parameters())
    layers = int(getattr(model.config, "num_hidden_layers", 0))
    if student.kind == "hf" and not -layers - 1 <= student.options.layer <= layers:
        raise ConfigurationError(f"{student.path} has {layers} layers: layer={student.options.layer} is none of them")
    beginning = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if student.kind == "hf" and beginning is None:
        raise ConfigurationError(f"{student.path}: its tokenizer has no token that begins or ends a text")
    features = np.zeros((len(texts), 0), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # alike in length, little padding
    progress.start(f"texts read by {source.name}", len(texts))
    with torch.inference_mode():
        for begin in range(0, len(order), _BATCH):
            places = order[begin : begin + _BATCH]
            batch = tokenizer(
                [texts[place] or " " for place in places],
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=limit - 1,
                add_special_tokens=student.kind == "embedding",
            )
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            mask = inputs["attention_mask"]
            if student.kind == "hf":
                # The first position of a causal model holds what attention rests on, whatever the text: a token before
                # the text takes that on itself, and its state is left out of the mean.
                ones = mask.new_ones((len(places), 1))
                inputs = {
                    "input_ids": torch.cat([ones * beginning, inputs["input_ids"]], dim=1),
                    "attention_mask": torch.cat([ones, mask], dim=1),
                }
                states = model(**inputs, output_hidden_states=True).hidden_states[student.options.layer][:, 1:]
            else:
                states = model(**inputs).last_hidden_state
            weights = mask[..., None].to(states.dtype)
            pooled = states[:, 0] if first else (states * weights).sum(1) / weights.sum(1)
            pooled = torch.nn.functional.normalize(pooled, dim=-1)
            if not features.shape[1]:
                features = np.zeros((len(texts), pooled.shape[1]), dtype=np.float32)
            features[places] = pooled.numpy()
            progress.done(len(places))
    return Reading(features, parameters)


def _encoder(source: Source) -> Any:
    from transformers import AutoModel

    if source.gguf is not None:
        raise ConfigurationError(f"{source.named}: an embedding model is a folder; for a .gguf file write hf/")
    return source.load(AutoModel).eval()


def _reads_first_token(source: Source) -> bool:
    """Whether the model's sentence vector is that of its first token; else it is the mean over tokens."""
    path = None if source.folder is None else source.folder / "1_Pooling" / "config.json"
    if path is None or not path.is_file():
        return False
    pooling = json.loads(path.read_text(encoding="utf-8"))
    if pooling.get("pooling_mode_cls_token"):
        return True
    if pooling.get("pooling_mode_mean_tokens", True):
        return False
    raise ConfigurationError(f"{path}: this pooling is not known here: the mean over tokens and the first token are")


def standardised(train: Any, others: Sequence[Any]) -> list[NDArray[np.float64]]:
    """The training features and others, each dimension at mean 0 and deviation 1 in training.

    A few dimensions of a language model's layers are so large that the others would count for nothing.
    """
    mean, deviation = np.asarray(train, dtype=np.float64).mean(axis=0), np.asarray(train, dtype=np.float64).std(axis=0)
    deviation[deviation < 1e-12] = 1.0
    return [(np.asarray(one, dtype=np.float64) - mean) / deviation for one in (train, *others)]


def principal_components(train: Any, others: Sequence[Any], count: int) -> list[NDArray[np.float64]]:
    """The training features and others in the coordinates of the training features' first principal components."""
    mean = np.asarray(train, dtype=np.float64).mean(axis=0)
    centred = np.asarray(train, dtype=np.float64) - mean
    _, directions = np.linalg.eigh(centred.T @ centred)
    kept = directions[:, ::-1][:, :count]
    return [(np.asarray(one, dtype=np.float64) - mean) @ kept for one in (train, *others)]


def ngram_features(train: Sequence[str], others: Sequence[Sequence[str]], longest: int) -> list[Any]:
    """Sparse tf-idf weights of character n-grams inside words; the vocabulary is that of the training texts.

    Raises
    ------
    MissingExtra
        if scikit-learn is not installed.
    """
    require_training("sklearn")
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, longest))
    return [vectorizer.fit_transform(train).tocsr(), *(vectorizer.transform(one).tocsr() for one in others)]
