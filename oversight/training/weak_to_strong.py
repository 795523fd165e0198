"""Weak-to-strong generalisation (Burns et al. 2023): what a student makes of a weak supervisor's labels.

The weak supervisor labels texts, a student is trained on these labels alone, and the ceiling is the same student
trained on the true ones.  The share of the gap between weak supervisor and ceiling that the student recovers, PGR,
is stated where there is a gap, and refused where there is none to be shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..analysis.accuracy import Estimate, clustered_mean
from ..analysis.comparison import Recovered, gap_recovered
from ..errors import ConfigurationError, DataError
from ..identity import digest, seed_from
from ..runs.directory import versions_of
from .examples import Example, digest_of, labels_of_run, read_examples, splits
from .folder import TrainingFolder
from .probe import fit_probe
from .progress import TrainingProgress
from .settings import read_settings
from .students import (
    Reading,
    Student,
    ngram_features,
    parse_student,
    principal_components,
    read_texts,
    require_training,
    standardised,
)

__all__ = ["StudentRow", "Supervisor", "WeakToStrong", "WeakToStrongSettings", "weak_to_strong"]

BOOTSTRAPS = 1000
"""Draws of the bootstrap over sources."""


class WeakToStrongSettings(BaseModel):
    """What is trained on what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    examples: int = Field(default=300, ge=2, description="labelled examples that the n-gram supervisor is trained on")
    train: int = Field(default=3000, ge=2, description="weakly labelled examples that each student is trained on")
    test: int | None = Field(default=None, ge=2, description="examples in the test (default: all that are left)")
    seeds: int = Field(default=8, ge=1, description="splits, each dealt anew")
    seed: int = Field(default=0, description="seed of the splits and of flipped labels")
    flips: tuple[float, ...] = Field(default=(0.0,), description="shares of the weak labels that are flipped")
    confidences: tuple[float, ...] = Field(
        default=(0.0,), description="largest weights of the student's own predictions; 0 is the plain loss"
    )
    targets: Literal["hard", "soft"] = Field(default="hard", description="weak labels as 0 or 1, or as probabilities")
    balanced: bool = Field(default=True, description="both labels weigh the same in every training")
    steps: int = Field(default=300, ge=10, description="steps of gradient descent")


@dataclass(frozen=True)
class Supervisor:
    """Where weak labels come from.

    Parameters
    ----------
    kind : ``ngrams``, trained on labelled examples; ``run``, the verdicts of a judge; ``column``, of the file.
    described : what it is, as JSON values.
    remarks : what a reader of the report should know.
    """

    kind: Literal["ngrams", "run", "column"]
    described: Mapping[str, Any]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class StudentRow:
    """One student under one share of flipped labels and one loss.

    Parameters
    ----------
    student : its name.
    parameters : weights of what reads the texts, frozen; of an n-gram student its features.
    inputs : features that the probe has.
    flip : share of the weak labels that were flipped.
    confidence : largest weight of the student's own predictions in its targets.
    labels : share of the labels it was trained on that are right, after flipping; the mean over seeds.
    weak, trained, ceiling : accuracy on the test of the weak supervisor (not flipped), of the student and of the same
        student trained on true labels; over all seeds, intervals clustered by source.
    seeds : how many.
    over_sources : share of the gap recovered, with the interval of Fieller clustered by source.
    over_seeds : the same with seeds as the units; None with one seed.
    low, high : 95 % interval of the share by a bootstrap that resamples sources; None where the share is undefined
        or the interval is not bounded.
    """

    student: str
    parameters: int
    inputs: int
    flip: float
    confidence: float
    labels: float
    weak: Estimate
    trained: Estimate
    ceiling: Estimate
    seeds: int
    over_sources: Recovered
    over_seeds: Recovered | None
    low: float | None = None
    high: float | None = None

    @property
    def share(self) -> float | None:
        """Performance gap recovered; None unless the gap's interval excludes 0 over sources and over seeds."""
        return self.over_sources.share if not self.reason else None

    @property
    def reason(self) -> str:
        """Why there is no share; empty where there is one."""
        if self.over_sources.share is None:
            return f"{self.over_sources.reason}, by source"
        if self.over_seeds is not None and self.over_seeds.share is None:
            return f"{self.over_seeds.reason}, over {self.seeds} seeds"
        return ""

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON values, None for what there is not."""
        plain = {
            name: getattr(self, name)
            for name in ("student", "parameters", "inputs", "flip", "confidence", "labels", "seeds", "low", "high")
        }
        accuracies = {
            name: {"mean": one.mean, "low": one.low, "high": one.high, "n": one.n, "sources": one.clusters}
            for name, one in (("weak", self.weak), ("trained", self.trained), ("ceiling", self.ceiling))
        }
        over_seeds = None if self.over_seeds is None else self.over_seeds.to_json()
        recovered = {"over_sources": self.over_sources.to_json(), "over_seeds": over_seeds}
        return {**plain, **accuracies, "share": self.share, "reason": self.reason, **recovered}


@dataclass(frozen=True)
class WeakToStrong:
    """What came of it.

    Parameters
    ----------
    rows : one for each student, share of flips and loss, the smallest student first.
    folder : where it is kept.
    supervisor : where weak labels come from.
    settings : what was trained on what.
    test : examples in each seed's test.
    remarks : what a reader of the report should know.
    """

    rows: tuple[StudentRow, ...]
    folder: Path
    supervisor: Supervisor
    settings: WeakToStrongSettings
    test: int
    remarks: tuple[str, ...] = ()


def weak_to_strong(
    data: str | Path,
    students: Sequence[str],
    *,
    labels: str | Path | None = None,
    positive: str | None = None,
    label_protocol: str | None = None,
    label_judge: str | None = None,
    column: str | None = None,
    log_dir: str | Path | None = None,
    progress: TrainingProgress | None = None,
    command: Sequence[str] = (),
    **settings: Any,
) -> WeakToStrong:
    """Train students on weak labels and on true ones, and measure how much of the gap they recover.

    Parameters
    ----------
    data : labelled texts; see :func:`~oversight.training.examples.read_examples`.
    students : names with options; see :mod:`oversight.training.students`.
    labels : a run directory, whose judge is the weak supervisor; joined by question id with ``id`` of the texts.
    positive, label_protocol, label_judge : see :func:`~oversight.training.examples.labels_of_run`.
    column : of the texts' file, with a weak supervisor's labels.  Where neither is given, the weak supervisor is a
        logistic regression on character n-grams of labelled examples that no student and no test has.
    log_dir : the folder that results are kept in as they are finished; the same call goes on there.
    progress : told what happens.
    command : the words of the command line, kept with the results.
    settings : see :class:`WeakToStrongSettings`.

    Raises
    ------
    ConfigurationError
        if it cannot be done as asked; MissingExtra where a library is missing.
    DataError
        if the texts or labels cannot be read, or the run's key contradicts the texts' labels.
    RunDirectoryError
        if the folder is in use or holds something else.

    References
    ----------
    Burns et al. 2023, Weak-to-strong generalization (arXiv:2312.09390).
    """
    chosen = _settings(settings)
    if labels is not None and column is not None:
        raise ConfigurationError("labels of a run and of a column: give one of them")
    if not students:
        raise ConfigurationError("no student: give --student, such as ngrams or embedding/FOLDER(components=20)")
    require_training("sklearn")
    progress = progress or TrainingProgress()
    pupils = [parse_student(text) for text in students]
    names = [pupil.name for pupil in pupils]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"two students are called {name!r}: give each a name, as in ngrams(name=mine)")
    examples = read_examples(data, column)
    examples, supervisor = _supervised(examples, labels, positive, label_protocol, label_judge, column, chosen)
    sizes = [chosen.examples, chosen.train] if supervisor.kind == "ngrams" else [chosen.train]
    parts = splits(examples, sizes, chosen.test, [seed_from(chosen.seed, number) for number in range(chosen.seeds)])
    configuration = {
        "training": "weak_to_strong",
        "data": {"examples": len(examples), "digest": digest_of(examples)},
        "supervisor": dict(supervisor.described),
        "students": [pupil.describe() for pupil in pupils],
        "settings": chosen.model_dump(mode="json"),
    }
    path = Path("logs") / f"weak_to_strong-{digest(configuration, 8)}" if log_dir is None else Path(log_dir)
    with (
        progress,
        TrainingFolder(
            path,
            configuration,
            versions_of("scalable-oversight", "numpy", "scipy", "scikit-learn", "torch", "transformers"),
            command,
        ) as folder,
    ):
        work = _Work(examples, supervisor, pupils, parts, chosen, progress)
        finished = {_key(result) for result in folder.results}
        owed = [unit for unit in work.units() if unit.key not in finished]
        work.read({unit.student for unit in owed})
        progress.start("students trained", len(owed), len(finished))
        for unit in owed:
            folder.add(work.train(unit))
            progress.done()
        results = {_key(result): result for result in folder.results}
    rows = tuple(work.rows(results))
    return WeakToStrong(rows, path, supervisor, chosen, len(parts[0][-1]), supervisor.remarks)


def _settings(given: Mapping[str, Any]) -> WeakToStrongSettings:
    chosen = read_settings(WeakToStrongSettings, given, {"flips": "flip", "confidences": "confidence"})
    for option, values in (("--flip", chosen.flips), ("--confidence", chosen.confidences)):
        if not values:
            raise ConfigurationError(f"{option}: give one value or more")
        for value in values:
            if not 0.0 <= value <= 1.0:
                raise ConfigurationError(f"{option} {value:g}: a share lies in [0, 1]")
        if len(set(values)) < len(values):
            raise ConfigurationError(f"{option}: a value is given twice")
    return chosen


def _supervised(
    examples: list[Example],
    labels: str | Path | None,
    positive: str | None,
    protocol: str | None,
    judge: str | None,
    column: str | None,
    settings: WeakToStrongSettings,
) -> tuple[list[Example], Supervisor]:
    """The examples with their weak labels, those without one left out, and who gave them."""
    if labels is None:
        if positive is not None or protocol is not None or judge is not None:
            raise ConfigurationError("--positive, --label-protocol and --label-judge are for --labels: leave them out")
        if column is None:
            return examples, Supervisor("ngrams", {"kind": "ngrams", "longest": 4, "strength": 1.0})
        kept = [one for one in examples if one.weak is not None]
        return _kept(examples, kept, Supervisor("column", {"kind": "column", "column": column}), settings)
    found = labels_of_run(labels, positive, protocol, judge)
    kept = []
    for one in examples:
        if one.id not in found.probabilities:
            continue
        if found.truth[one.id] != one.label:
            raise DataError(
                labels,
                f"question {one.id!r} has label {found.truth[one.id]} by the run's key and {one.label} in the texts: "
                "--positive names the answer that label 1 stands for",
            )
        kept.append(Example(one.text, one.label, one.source, one.id, found.probabilities[one.id]))
    described = {"kind": "run", "protocol": found.protocol, "judge": found.judge, "positive": positive}
    remarks: tuple[str, ...] = (f"weak labels: {found.judge} under {found.protocol}, {len(kept)} questions",)
    if found.unscored:
        remarks += (f"{found.unscored} unscored episodes of it label nothing",)
    return _kept(examples, kept, Supervisor("run", described, remarks), settings)


def _kept(
    examples: list[Example], kept: list[Example], supervisor: Supervisor, settings: WeakToStrongSettings
) -> tuple[list[Example], Supervisor]:
    left = len(examples) - len(kept)
    if not kept:
        raise ConfigurationError("no text has a weak label: is its id that of the run's question?")
    remarks = (*supervisor.remarks, *([f"{left} of {len(examples)} texts have no weak label"] if left else ()))
    return kept, Supervisor(supervisor.kind, supervisor.described, remarks)


# ---- the work -----------------------------------------------------------------------------------------

Key = tuple[int, str, float, float]


def _key(result: Mapping[str, Any]) -> Key:
    return int(result["seed"]), str(result["student"]), float(result["flip"]), float(result["confidence"])


@dataclass(frozen=True)
class _Unit:
    """One student in one seed, under one share of flips and one loss."""

    seed: int
    student: int
    name: str
    flip: float
    confidence: float

    @property
    def key(self) -> Key:
        return self.seed, self.name, self.flip, self.confidence


@dataclass(frozen=True)
class _Weak:
    """A supervisor's labels in one seed: probabilities of label 1 for the students' texts and the test's."""

    train: NDArray[np.float64]
    test: NDArray[np.float64]


class _Work:
    """What is trained, with what can be used again kept for the seed and student under way.

    Parameters
    ----------
    examples, supervisor, pupils, settings, progress : as in :func:`weak_to_strong`.
    parts : of each seed, the parts of the examples; the last two are for training students and for the test.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        supervisor: Supervisor,
        pupils: Sequence[Student],
        parts: Sequence[Sequence[Sequence[int]]],
        settings: WeakToStrongSettings,
        progress: TrainingProgress,
    ) -> None:
        self.examples, self.supervisor, self.pupils = examples, supervisor, pupils
        self.parts, self.settings, self.progress = parts, settings, progress
        self.readings: dict[int, Reading] = {}
        self._weak: tuple[int, _Weak] | None = None
        self._student: tuple[tuple[int, int], tuple[Any, Any, NDArray[np.float64], int]] | None = None

    @cached_property
    def truth(self) -> NDArray[np.float64]:
        """The true labels."""
        return np.asarray([one.label for one in self.examples], dtype=np.float64)

    def units(self) -> list[_Unit]:
        """All that is to be done, in order."""
        return [
            _Unit(seed, place, pupil.name, flip, confidence)
            for seed in range(self.settings.seeds)
            for place, pupil in enumerate(self.pupils)
            for flip in self.settings.flips
            for confidence in self.settings.confidences
        ]

    def read(self, students: set[int]) -> None:
        """Let the frozen models of these students read all texts."""
        texts = [one.text for one in self.examples]
        for place in sorted(students):
            if self.pupils[place].kind != "ngrams":
                self.readings[place] = read_texts(self.pupils[place], texts, self.progress)

    def train(self, unit: _Unit) -> dict[str, Any]:
        """Train one student; gives its line in the results."""
        settings, weak = self.settings, self._weak_labels(unit.seed)
        train, test, ceiling, parameters = self._of(unit.seed, unit.student)
        truth_here = self.truth[list(self.parts[unit.seed][-2])]
        given = _flipped(weak.train, unit.flip, seed_from(settings.seed, "flip", unit.seed))
        if settings.targets == "hard":
            given = _hard(given)
        probe = self._fit(unit.student, train, given, unit.confidence)
        correct = self.truth[list(self.parts[unit.seed][-1])]
        return {
            "seed": unit.seed,
            "student": unit.name,
            "flip": unit.flip,
            "confidence": unit.confidence,
            "parameters": parameters,
            "inputs": int(train.shape[1]),
            "labels": float(np.mean(_credits(given, truth_here))),
            "loss": probe.loss,
            "test": list(self.parts[unit.seed][-1]),
            "weak": _listed(_credits(weak.test, correct)),
            "trained": _listed(_credits(probe.probabilities(test), correct)),
            "ceiling": _listed(_credits(ceiling, correct)),
        }

    def _fit(self, student: int, features: Any, labels: NDArray[np.float64], confidence: float) -> Any:
        return fit_probe(
            features,
            labels,
            strength=self.pupils[student].options.strength,
            steps=self.settings.steps,
            confidence=confidence,
            balanced=self.settings.balanced,
            told=self.progress.loss,
        )

    def _weak_labels(self, seed: int) -> _Weak:
        """What the supervisor says of the students' texts and of the test's."""
        if self._weak is not None and self._weak[0] == seed:
            return self._weak[1]
        *before, train, test = self.parts[seed]
        if self.supervisor.kind == "ngrams":
            (own,) = before
            labels = self.truth[list(own)]
            if len(set(labels)) < 2:
                raise ConfigurationError(
                    f"the {len(own)} examples of seed {seed} have one label alone: raise --examples"
                )
            described = self.supervisor.described
            texts = [[self.examples[index].text for index in part] for part in (own, train, test)]
            learnt, *others = ngram_features(texts[0], texts[1:], described["longest"])
            probe = fit_probe(
                learnt,
                labels,
                strength=described["strength"],
                steps=self.settings.steps,
                balanced=self.settings.balanced,
            )
            weak = _Weak(*(probe.probabilities(one) for one in others))
        else:
            given = np.asarray([one.weak for one in self.examples], dtype=np.float64)
            weak = _Weak(given[list(train)], given[list(test)])
        self._weak = seed, weak
        return weak

    def _of(self, seed: int, student: int) -> tuple[Any, Any, NDArray[np.float64], int]:
        """Features for training and test, the ceiling's probabilities for the test, and how large the student is."""
        if self._student is not None and self._student[0] == (seed, student):
            return self._student[1]
        pupil = self.pupils[student]
        *_, train, test = self.parts[seed]
        learnt: Any
        tested: Any
        if pupil.kind == "ngrams":
            texts = [[self.examples[index].text for index in part] for part in (train, test)]
            learnt, tested = ngram_features(texts[0], texts[1:], pupil.options.longest)
            parameters = int(learnt.shape[1])
        else:
            reading = self.readings[student]
            parameters = reading.parameters
            learnt, tested = reading.features[list(train)], reading.features[list(test)]
            if pupil.kind == "hf":
                learnt, tested = standardised(learnt, [tested])
            if pupil.options.components:
                if pupil.options.components > min(learnt.shape):
                    raise ConfigurationError(
                        f"components={pupil.options.components} of {pupil.name}: there are {min(learnt.shape)} at most"
                    )
                learnt, tested = principal_components(learnt, [tested], pupil.options.components)
        ceiling = self._fit(student, learnt, self.truth[list(train)], 0.0).probabilities(tested)
        self._student = (seed, student), (learnt, tested, ceiling, parameters)
        return self._student[1]

    def rows(self, results: Mapping[Key, Mapping[str, Any]]) -> list[StudentRow]:
        """The rows of the report, the smallest student first."""
        sources = [one.source for one in self.examples]
        found = []
        for place, pupil in enumerate(self.pupils):
            for flip in self.settings.flips:
                for confidence in self.settings.confidences:
                    lines = [results[seed, pupil.name, flip, confidence] for seed in range(self.settings.seeds)]
                    found.append((int(lines[0]["parameters"]), place, _row(lines, sources, self.settings.seed)))
        return [row for _, _, row in sorted(found, key=lambda one: one[:2])]


def _flipped(labels: NDArray[np.float64], share: float, seed: int) -> NDArray[np.float64]:
    """The labels with a share of them turned round, drawn so that a larger share turns what a smaller one does too."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turned = order[: round(share * len(labels))]
    flipped = labels.copy()
    flipped[turned] = 1.0 - flipped[turned]
    return flipped


def _hard(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 or 1; one half, which says nothing, stays."""
    return np.where(probabilities == 0.5, 0.5, (probabilities > 0.5).astype(np.float64))


def _credits(probabilities: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 right, 0 wrong, 1/2 where neither label is likelier."""
    return 1.0 - np.abs(_hard(probabilities) - truth)


def _listed(credits: NDArray[np.float64]) -> list[float]:
    return [int(one) if one in (0.0, 1.0) else float(one) for one in credits]


# ---- what came of it ----------------------------------------------------------------------------------


def _row(lines: Sequence[Mapping[str, Any]], sources: Sequence[str], seed: int) -> StudentRow:
    of = [sources[index] for line in lines for index in line["test"]]
    pooled = {name: [float(one) for line in lines for one in line[name]] for name in ("weak", "trained", "ceiling")}
    over_sources = gap_recovered(pooled["trained"], pooled["weak"], pooled["ceiling"], of)
    over_seeds = None
    if len(lines) > 1:
        means = {name: [math.fsum(line[name]) / len(line[name]) for line in lines] for name in pooled}
        over_seeds = gap_recovered(means["trained"], means["weak"], means["ceiling"], list(range(len(lines))))
    low, high = None, None
    if over_sources.share is not None:
        low, high = _bootstrap(pooled, of, over_sources.share, seed_from(seed, "bootstrap"))
    first = lines[0]
    return StudentRow(
        student=str(first["student"]),
        parameters=int(first["parameters"]),
        inputs=int(first["inputs"]),
        flip=float(first["flip"]),
        confidence=float(first["confidence"]),
        labels=math.fsum(line["labels"] for line in lines) / len(lines),
        weak=clustered_mean(pooled["weak"], of),
        trained=clustered_mean(pooled["trained"], of),
        ceiling=clustered_mean(pooled["ceiling"], of),
        seeds=len(lines),
        over_sources=over_sources,
        over_seeds=over_seeds,
        low=low,
        high=high,
    )


def _bootstrap(
    pooled: Mapping[str, Sequence[float]], sources: Sequence[str], share: float, seed: int
) -> tuple[float | None, float | None]:
    """95 % percentile interval of the share where sources are drawn again, each with all its examples in all seeds.

    A draw without a gap has no finite share: where that is one in forty or more, the interval has no end on a side.
    """
    place = {source: number for number, source in enumerate(dict.fromkeys(sources))}
    at = np.asarray([place[source] for source in sources])
    weak = np.asarray(pooled["weak"])
    above = np.bincount(at, np.asarray(pooled["trained"]) - weak, len(place))
    gaps = np.bincount(at, np.asarray(pooled["ceiling"]) - weak, len(place))
    generator = np.random.default_rng(seed)
    shares = np.empty(BOOTSTRAPS)
    for draw in range(BOOTSTRAPS):
        drawn = generator.integers(0, len(place), len(place))
        gap = float(gaps[drawn].sum())
        shares[draw] = above[drawn].sum() / gap if gap > 0.0 else math.nan
    lost = np.isnan(shares)
    ends: list[float | None] = []
    for missing, level in ((-math.inf, 0.025), (math.inf, 0.975)):
        end = float(np.quantile(np.where(lost, missing, shares), level, method="nearest"))
        ends.append(end if math.isfinite(end) else None)
    low, high = ends
    return (None if low is None else min(low, share)), (None if high is None else max(high, share))
