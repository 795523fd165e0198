"""Training language models on preferences, and what came of it on pairs of other sources.

Pairwise accuracy is the share of held-out pairs whose chosen reply is given more; a tie is half.  Beside it stand
what needs no training: the longer reply, and the reply that the untrained model finds likelier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis.accuracy import Estimate, clustered_mean
from ..identity import digest
from ..runs.directory import versions_of
from .folder import TrainingFolder
from .language import LanguageAgent, LanguageRewardModel
from .preference_files import Preference, digest_of, read_preferences, split_by_source
from .progress import TrainingProgress
from .reward_models import Comparison, Prompt, Reply

__all__ = ["Measured", "PreferenceTraining", "train_agent", "train_reward_model"]

Differences = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """How often something gives the chosen reply more.

    Parameters
    ----------
    name : what it is.
    accuracy : share of held-out pairs; the interval is clustered by source.
    loss : mean of -log P(chosen) where differences are log-odds; None where they are none.
    """

    name: str
    accuracy: Estimate
    loss: float | None = None


@dataclass(frozen=True)
class PreferenceTraining:
    """What came of a training on preferences.

    Parameters
    ----------
    rows : what is compared; the trained one last.
    by_margin : the trained one on pairs that were preferred by little and by much; empty where no margin is said.
    weights : the folder of what was trained.
    folder : where everything is kept.
    model : how an agent is called in runs; empty for a reward model.
    parameters : weights that were trained; None for an agent.
    train, test : pairs on each side.
    train_sources, test_sources : what they were made from.
    """

    rows: tuple[Measured, ...]
    by_margin: tuple[Measured, ...]
    weights: Path
    folder: Path
    model: str
    parameters: int | None
    train: int
    test: int
    train_sources: int
    test_sources: int

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON values."""

        def numbers(measured: Measured) -> dict[str, Any]:
            estimate = {name: _number(value) for name, value in asdict(measured.accuracy).items()}
            return {"name": measured.name, **estimate, "loss": measured.loss}

        plain = ("model", "parameters", "train", "test", "train_sources", "test_sources")
        return {
            "rows": [numbers(one) for one in self.rows],
            "by_margin": [numbers(one) for one in self.by_margin],
            "weights": str(self.weights),
            **{name: getattr(self, name) for name in plain},
        }


def train_reward_model(
    data: str | Path,
    model: str,
    *,
    test: float = 0.2,
    seed: int = 0,
    log_dir: str | Path | None = None,
    progress: TrainingProgress | None = None,
    command: Sequence[str] = (),
    **options: Any,
) -> PreferenceTraining:
    """Train a language model to rate replies as the pairs prefer them, and measure it on pairs of other sources.

    Parameters
    ----------
    data : see :func:`~oversight.training.preference_files.read_preferences`.
    model : a folder, a GGUF file or a name on the hub.
    test : share of the pairs that is held out, whole sources.
    seed : of the split, the new weights and the order of pairs.
    log_dir : the folder that everything is kept in; the same call goes on there.
    progress : told what happens.
    command : the words of the command line, kept with the results.
    options : see :class:`~oversight.training.language.LanguageOptions`.

    Raises
    ------
    ConfigurationError
        if it cannot be done as asked; MissingExtra where a library is missing.
    DataError
        if the pairs cannot be read.
    RunDirectoryError
        if the folder is in use or holds something else.
    """
    preferences = read_preferences(data)
    learner = LanguageRewardModel(model, **options)
    # What the untrained model finds likelier is asked of an agent that is never tuned.
    shared = {name: value for name, value in options.items() if name in ("longest", "dtype", "device")}
    pupil = _Pupil(
        "reward_model",
        "trained reward model",
        learner,
        learner.fit,
        learner.differences,
        LanguageAgent(model, **shared),
    )
    found = _trained(pupil, preferences, test, seed, log_dir, progress, command)
    return replace(found, parameters=learner.parameters)


def train_agent(
    data: str | Path,
    model: str,
    *,
    test: float = 0.2,
    seed: int = 0,
    log_dir: str | Path | None = None,
    progress: TrainingProgress | None = None,
    command: Sequence[str] = (),
    **options: Any,
) -> PreferenceTraining:
    """Tune a language model by DPO to write what the pairs prefer, and measure it on pairs of other sources.

    Parameters and errors are those of :func:`train_reward_model`; options are those of
    :class:`~oversight.training.language.AgentOptions`.  What is measured is DPO's implicit reward: beta times the
    log-probability of a reply less that of the untuned model.

    References
    ----------
    Rafailov et al. 2023, Direct Preference Optimization (arXiv:2305.18290).
    """
    preferences = read_preferences(data)
    learner = LanguageAgent(model, **options)

    def implicit(held: Sequence[Comparison]) -> Differences:
        return _differences(learner.implicit_rewards, held)

    pupil = _Pupil(
        "agent", "tuned agent, implicit reward", learner, learner.tune, implicit, LanguageAgent(model, **options)
    )
    found = _trained(pupil, preferences, test, seed, log_dir, progress, command)
    return replace(found, model=learner.name)


# ---- machinery ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pupil:
    """Who is trained, and how its preferences are asked for."""

    training: str
    title: str
    learner: LanguageRewardModel | LanguageAgent
    fit: Callable[[list[Comparison], Path, int, TrainingProgress], None]
    differences: Callable[[list[Comparison]], Differences]
    untrained: LanguageAgent


def _trained(
    pupil: _Pupil,
    preferences: list[Preference],
    test: float,
    seed: int,
    log_dir: str | Path | None,
    progress: TrainingProgress | None,
    command: Sequence[str],
) -> PreferenceTraining:
    progress = progress or TrainingProgress()
    train, held = split_by_source(preferences, test, seed)
    configuration = {
        "training": pupil.training,
        "data": {"pairs": len(preferences), "digest": digest_of(preferences)},
        "learner": pupil.learner.describe(),
        "test": test,
        "seed": seed,
    }
    path = Path("logs") / f"{pupil.training}-{digest(configuration, 8)}" if log_dir is None else Path(log_dir)
    comparisons = [one.comparison for one in held]
    with (
        progress,
        TrainingFolder(
            path,
            configuration,
            versions_of("scalable-oversight", "torch", "transformers", "trl", "peft", "accelerate", "datasets"),
            command,
        ) as folder,
    ):

        def kept(piece: str, found: Callable[[], Differences]) -> list[float]:
            """The differences of a piece of work, which is done unless it is in the folder already."""
            known = next((one for one in folder.results if one.get("piece") == piece), None)
            if known is None:
                known = {"piece": piece, "lines": [one.line for one in held], "differences": found().tolist()}
                folder.add(known)
            return [float(one) for one in known["differences"]]

        likelier = kept("untrained", lambda: _differences(pupil.untrained.log_probabilities, comparisons))
        pupil.fit([one.comparison for one in train], path / "learner", seed, progress)
        given = kept("trained", lambda: pupil.differences(comparisons))
    assert pupil.learner.weights is not None
    longer = [float(len(one.chosen.text) - len(one.rejected.text)) for one in comparisons]
    return PreferenceTraining(
        rows=(
            _measured("always the longer reply", longer, held),
            _measured("likelier to the untrained model", likelier, held),
            _measured(pupil.title, given, held, odds=True),
        ),
        by_margin=_by_margin(given, held),
        weights=pupil.learner.weights,
        folder=path,
        model="",
        parameters=None,
        train=len(train),
        test=len(held),
        train_sources=len({one.source for one in train}),
        test_sources=len({one.source for one in held}),
    )


def _differences(
    of: Callable[[list[tuple[Prompt, Reply]]], Differences], comparisons: Sequence[Comparison]
) -> Differences:
    """For each comparison, what the chosen reply is given less what the other is."""
    given = of([(one.prompt, reply) for one in comparisons for reply in (one.chosen, one.rejected)])
    return given[0::2] - given[1::2]


def _measured(name: str, differences: Sequence[float], held: Sequence[Preference], *, odds: bool = False) -> Measured:
    values = np.asarray(differences)
    credits = (0.5 + 0.5 * np.sign(values)).tolist()  # NaN stays NaN, and is counted as unscored
    loss = float(np.logaddexp(0.0, -values).mean()) if odds else math.nan
    return Measured(name, clustered_mean(credits, [one.source for one in held]), loss if math.isfinite(loss) else None)


def _by_margin(differences: Sequence[float], held: Sequence[Preference]) -> tuple[Measured, ...]:
    """Of the pairs with a margin, the half that was preferred by less and the half by more."""
    known = [(one.margin, place) for place, one in enumerate(held) if one.margin is not None]
    if len({margin for margin, _ in known}) < 2:
        return ()
    middle = float(np.median([margin for margin, _ in known]))
    sides = (
        [place for margin, place in known if margin <= middle],
        [place for margin, place in known if margin > middle],
    )
    names = (f"margin up to {middle:.2g}", f"margin above {middle:.2g}")
    return tuple(
        _measured(name, [differences[place] for place in places], [held[place] for place in places])
        for name, places in zip(names, sides, strict=True)
        if places
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
