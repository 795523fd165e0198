"""Iterated amplification, measured: X beside the same network with true answers, and with H's own answers alone.

Torch is imported where something is trained, so that results can be read without it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..analysis.accuracy import Estimate, clustered_mean
from ..errors import ConfigurationError, DataError, RunDirectoryError
from ..identity import digest, seed_from
from .folder import TrainingFolder
from .progress import TrainingProgress
from .settings import read_settings
from .students import require_training

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .amplification import Consultation, Demonstrator, Overseer
    from .amplification_networks import Learner, Questions

__all__ = [
    "ARMS",
    "Amplification",
    "AmplificationSettings",
    "amplification",
    "load_learner",
    "sizes",
    "true_answers",
]

ARMS = ("amplification", "supervised", "alone")
"""How X is trained: by H' and itself; on true answers (ceiling); on what H answers without sub-questions (floor)."""

RECORDED_TOGETHER = 32
"""Demonstrations that are recorded at a time; also how many H' learns from in a step."""

DECAY = 1.0
"""Of the weights that open gates, as a share of the learning rate."""

CHECKPOINT = "checkpoint.safetensors"


class AmplificationSettings(BaseModel):
    """What is trained, on what, for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    points: int = Field(default=24, ge=4, le=1000, description="points that a permutation permutes; more than power")
    power: int = Field(default=16, ge=2, le=999, description="largest power that is asked for")
    steps: int = Field(default=1500, ge=1, description="steps of gradient descent of each learner")
    demonstrations: int = Field(default=1000, ge=1, description="questions that H answers for H' to imitate")
    human_error: float = Field(default=0.0, ge=0.0, le=1.0, description="how much H does wrong, as a share")
    mistakes: Literal["slips", "forgets"] = Field(
        default="slips",
        description="slips: in such a share of its demonstrations, anywhere; forgets: at such a share of the points, "
        "always the same, it forgets to apply the permutation",
    )
    seeds: int = Field(default=1, ge=1, description="trainings, each with its own weights and questions")
    seed: int = Field(default=0, description="of everything that is drawn")
    width: int = Field(default=32, ge=4, le=1024, description="features of the networks' states")
    permutations: int = Field(default=32, ge=1, description="permutations in a step")
    questions: int = Field(default=8, ge=1, description="questions about each of them")
    rate: float = Field(default=3e-3, gt=0.0, le=1.0, description="learning rate")
    following: float = Field(
        default=0.05,
        gt=0.0,
        le=1.0,
        description="how far the X of the sub-questions goes towards the trained one a step",
    )
    every: int = Field(default=50, ge=1, description="steps between checkpoints, each with a measurement")
    test: int = Field(default=200, ge=2, description="permutations in the test, never trained on")


@dataclass(frozen=True)
class Amplification:
    """What came of it.

    Parameters
    ----------
    settings : what was trained.
    folder : where it is kept.
    curves : measurements in the order of seed, arm and step, as in ``results.jsonl``: ``learner`` and ``amplified`` are
        accuracies by power from 1; ``agreement`` the share of test questions in which H' does all that H would.
    """

    settings: AmplificationSettings
    folder: Path
    curves: tuple[Mapping[str, Any], ...]

    def last(self, arm: str) -> list[Mapping[str, Any]]:
        """The final measurement of each seed."""
        return [row for row in self.curves if row["arm"] == arm and row["step"] == self.settings.steps]

    def accuracy(self, arm: str, player: Literal["learner", "amplified"], size: tuple[int, int]) -> Estimate:
        """Accuracy over the powers of a size, over all seeds, with an interval clustered by permutation."""
        values: list[float] = []
        clusters: list[int] = []
        # Where there are few permutations, one is drawn several times.
        first: dict[tuple[int, ...], int] = {}
        images = test_questions(self.settings).images.tolist()
        same = [first.setdefault(tuple(one), number) for number, one in enumerate(images)]
        for row in self.last(arm):
            for permutation, by_power in enumerate(row["right"][player]):
                for right in by_power[size[0] - 1 : size[1]]:
                    values.append(float(right))
                    clusters.append(same[permutation])
        return clustered_mean(values, clusters)

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        settings = self.settings
        found = []
        for low, high in [*sizes(settings.power), *((one, one) for one in range(1, settings.power + 1))]:
            row: dict[str, Any] = {"powers": [low, high]}
            for name, arm, player in PLAYERS:
                estimate = self.accuracy(arm, player, (low, high))
                row[name] = {
                    **{key: getattr(estimate, key) for key in ("mean", "low", "high", "n")},
                    "permutations": estimate.clusters,
                    "by_seed": [math.fsum(one[player][low - 1 : high]) / (high - low + 1) for one in self.last(arm)],
                }
            found.append(row)
        final = self.last("amplification")
        return {
            "settings": settings.model_dump(mode="json"),
            "demonstrations": [row["demonstrations"] for row in final],
            "agreement": [row["agreement"] for row in final],
            "accuracy": found,
            "curves": [{key: value for key, value in row.items() if key != "right"} for row in self.curves],
        }


PLAYERS: tuple[tuple[str, str, Literal["learner", "amplified"]], ...] = (
    ("amplified", "amplification", "amplified"),
    ("learner", "amplification", "learner"),
    ("supervised", "supervised", "learner"),
    ("alone", "alone", "learner"),
)
"""Whose accuracy is reported: name, training, and whether X answers or Amplify^H'(X)."""


def sizes(largest: int) -> list[tuple[int, int]]:
    """Powers that need as many halvings: 1, 2-3, 4-7, ... up to the largest."""
    return [(2**depth, min(2 ** (depth + 1) - 1, largest)) for depth in range(largest.bit_length())]


def true_answers(questions: Questions) -> Tensor:
    """What is right, by applying each permutation as often as is asked: for the measurement and the ceiling alone."""
    images, powers, points = questions
    reached = points
    for applied in range(1, int(powers.max()) + 1):
        reached = images.gather(1, reached)
        points = reached.where(powers == applied, points)
    return points


def amplification(
    *,
    log_dir: str | Path | None = None,
    progress: TrainingProgress | None = None,
    command: Sequence[str] = (),
    **settings: Any,
) -> Amplification:
    """Train X by iterated amplification, on true answers, and on what H can answer alone; measure all three.

    Parameters
    ----------
    log_dir : the folder that checkpoints and measurements are kept in; the same call goes on there.
    progress : told what happens.
    command : the words of the command line, kept with the results.
    settings : see :class:`AmplificationSettings`.

    Raises
    ------
    ConfigurationError
        if it cannot be done as asked; MissingExtra where a library is missing.
    RunDirectoryError
        if the folder is in use or holds something else.

    References
    ----------
    Christiano, Shlegeris and Amodei 2018, Supervising strong learners by amplifying weak experts (arXiv:1810.08575).
    """
    chosen = _settings(settings)
    require_training("torch", "safetensors")
    import torch

    progress = progress or TrainingProgress()
    configuration = {"training": "amplification", "settings": chosen.model_dump(mode="json")}
    path = Path("logs") / f"amplification-{digest(configuration, 8)}" if log_dir is None else Path(log_dir)
    versions = {"torch": str(torch.__version__)}
    with progress, _one_thread(), TrainingFolder(path, configuration, versions, command) as folder:
        arms = [_Arm(chosen, seed, arm, path) for seed in range(chosen.seeds) for arm in ARMS]
        measured = {_key(row) for row in folder.results}
        finished = sum(one.step for one in arms)
        progress.start("steps", chosen.steps * len(arms) - finished, finished)
        for one in arms:
            one.train(folder, measured, progress)
        rows = {_key(row): row for row in folder.results}
    return Amplification(chosen, path, tuple(rows[key] for key in sorted(rows, key=_order)))


def _settings(given: Mapping[str, Any]) -> AmplificationSettings:
    chosen = read_settings(AmplificationSettings, given)
    if chosen.points <= chosen.power:
        raise ConfigurationError(
            f"--points {chosen.points}: give more than the largest power, {chosen.power}: else a cycle comes round, "
            "and a large power is a small one"
        )
    return chosen


def _key(row: Mapping[str, Any]) -> tuple[int, str, int]:
    return int(row["seed"]), str(row["arm"]), int(row["step"])


def _order(key: tuple[int, str, int]) -> tuple[int, int, int]:
    return key[0], ARMS.index(key[1]), key[2]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of floats depend on how many threads share them; and networks as small as these gain nothing by more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


# ---- one training ---------------------------------------------------------------------------------------


class _Arm:
    """One X and how it is trained; goes on from its checkpoint, where there is one."""

    def __init__(self, settings: AmplificationSettings, number: int, arm: str, folder: Path) -> None:
        import torch

        from .amplification_networks import Imitator, Learner

        self.settings, self.number, self.arm = settings, number, arm
        self.path = folder / f"seed-{number}" / arm / CHECKPOINT
        self.step = 0
        sized = settings.points, settings.power, settings.width
        self.networks: dict[str, torch.nn.Module] = {}
        with torch.random.fork_rng(devices=[]):
            # One beginning for all arms of a seed.
            torch.manual_seed(self._seed("weights"))
            self.learner = Learner(*sized)
            self.networks["learner"] = self.learner
            if arm == "amplification":
                self.imitator, self.slow = Imitator(*sized), Learner(*sized)
                self.slow.load_state_dict(self.learner.state_dict())
                self.networks |= {"imitator": self.imitator, "slow": self.slow}
        self.optimisers = {
            name: torch.optim.AdamW(_groups(network), lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.0)
            for name, network in self.networks.items()
            if name != "slow"
        }
        self.shown: list[Consultation] = []
        self.losses: dict[str, float] = {}
        if self.path.exists():
            self._load()

    def _seed(self, *what: Any) -> int:
        return seed_from(self.settings.seed, self.number, "amplification", *what)

    def _generator(self, *what: Any) -> Any:
        import torch

        return torch.Generator().manual_seed(self._seed(*what))

    def train(self, folder: TrainingFolder, measured: set[tuple[int, str, int]], progress: TrainingProgress) -> None:
        """Go on to the last step; at every checkpoint measure, and keep what came out."""
        steps, every = self.settings.steps, self.settings.every
        while True:
            due = self.step == steps or (self.step > 0 and self.step % every == 0)
            if due and (self.number, self.arm, self.step) not in measured:
                folder.add(self._measured())
            if self.step == steps:
                return
            self.step += 1
            self._take_step()
            if self.step == steps or self.step % every == 0:
                self._save()
            progress.loss(self.losses["learner"])
            progress.done()

    def _take_step(self) -> None:
        from .amplification import amplify, distil, drawn_questions, follow, imitate

        settings, step = self.settings, self.step
        self._set_rate()
        drawn = self._generator("questions", step)
        questions = drawn_questions(drawn, settings.permutations, settings.questions, settings.points, settings.power)
        if self.arm == "supervised":
            answers = true_answers(questions)
        elif self.arm == "alone":
            questions = questions._replace(powers=questions.powers.clamp(max=1))
            answers = demonstrator(settings).applied(questions.images, questions.starts)
        else:
            self._record()
            self.losses["imitator"] = imitate(self.imitator, self.optimisers["imitator"], self._some_shown())
            told = self._generator("answers", step)
            answers = amplify(self.imitator, self.slow, questions, told).concluded
        self.losses["learner"] = distil(self.learner, self.optimisers["learner"], questions, answers)
        if self.arm == "amplification":
            follow(self.slow, self.learner, settings.following)

    def _set_rate(self) -> None:
        """Up in the first twentieth, down to nothing in the last fifth."""
        settings = self.settings
        share = min(1.0, 20 * self.step / settings.steps, 5 * (1 - (self.step - 1) / settings.steps))
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = settings.rate * share

    def _record(self) -> None:
        """Let H answer with the help of X, until as many questions as there may be are spent, half of the way."""
        from .amplification import Slipping, amplify, drawn_questions

        settings = self.settings
        recorded = sum(one.powers.shape[0] for one in self.shown)
        allowed = min(settings.demonstrations, math.ceil(2 * settings.demonstrations * self.step / settings.steps))
        if recorded and allowed - recorded < min(RECORDED_TOGETHER, settings.demonstrations - recorded):
            return
        count = min(RECORDED_TOGETHER, settings.demonstrations - recorded)
        if not count:
            return
        drawn = self._generator("demonstrations", self.step)
        questions = drawn_questions(drawn, count, 1, settings.points, settings.power)
        overseer: Overseer = demonstrator(settings)
        if settings.mistakes == "slips":
            overseer = Slipping(overseer, settings.human_error, self._generator("slips", self.step))
        told = self._generator("answers of demonstrations", self.step)
        self.shown.append(amplify(overseer, self.slow, questions, told))

    def _some_shown(self) -> Consultation:
        """Demonstrations for a step of H', drawn evenly from all that there are."""
        import torch

        everything = _joined(self.shown)
        drawn = torch.randint(
            len(everything.powers), (2 * RECORDED_TOGETHER,), generator=self._generator("imitation", self.step)
        )
        return _consultation(*(part[drawn] for part in _parts(everything)))

    # ---- measurement ------------------------------------------------------------------------------------

    def _measured(self) -> dict[str, Any]:
        from .amplification import amplify

        questions = test_questions(self.settings)
        truth = true_answers(questions)
        right = {"learner": (self.learner.answers(questions) == truth).long()}
        row: dict[str, Any] = {"seed": self.number, "arm": self.arm, "step": self.step}
        row |= {f"{name}_loss": round(loss, 6) for name, loss in self.losses.items()}
        if self.arm == "amplification":
            consulted = amplify(self.imitator, self.learner, questions)
            right["amplified"] = (consulted.concluded == truth).long()
            row["agreement"] = _agreement(consulted, demonstrator(self.settings))
            row["demonstrations"] = sum(one.powers.shape[0] for one in self.shown)
        row |= {name: [round(one, 6) for one in credits.double().mean(0).tolist()] for name, credits in right.items()}
        if self.step == self.settings.steps:
            row["right"] = {name: credits.tolist() for name, credits in right.items()}
        return row

    # ---- checkpoints ------------------------------------------------------------------------------------

    def _tensors(self) -> dict[str, Tensor]:
        found = {
            f"{name}/{key}": value
            for name, network in self.networks.items()
            for key, value in network.state_dict().items()
        }
        for name, optimiser in self.optimisers.items():
            for number, state in optimiser.state_dict()["state"].items():
                found |= {f"optimiser/{name}/{number}/{key}": value for key, value in state.items()}
        if self.shown:
            for place, part in enumerate(_parts(_joined(self.shown))):
                found[f"demonstrations/{place}"] = part
        return found

    def _save(self) -> None:
        """Write the checkpoint whole or not at all; its counters stand in the same file, so they cannot disagree."""
        from safetensors.torch import save

        counters = {"step": self.step, "losses": self.losses, "settings": self.settings.model_dump(mode="json")}
        content = save(
            {name: value.contiguous() for name, value in self._tensors().items()},
            {"oversight": json.dumps(counters, allow_nan=False)},
        )
        part = self.path.with_suffix(".part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, self.path)
        except OSError as error:
            raise RunDirectoryError(
                f"{self.path}: cannot be written: {error.strerror}; repeat the command to go on from the last one"
            ) from None

    def _load(self) -> None:
        tensors, counters = _read_checkpoint(self.path)
        self.step = int(counters["step"])
        self.losses = {name: float(value) for name, value in counters["losses"].items()}
        for name, network in self.networks.items():
            network.load_state_dict(_under(tensors, name))
        for name, optimiser in self.optimisers.items():
            states: dict[int, dict[str, Tensor]] = {}
            for key, value in _under(tensors, f"optimiser/{name}").items():
                number, _, what = key.partition("/")
                states.setdefault(int(number), {})[what] = value
            optimiser.load_state_dict({**optimiser.state_dict(), "state": states})
        parts = _under(tensors, "demonstrations")
        if parts:
            self.shown = [_consultation(*(parts[str(place)] for place in range(len(parts))))]


def _groups(network: torch.nn.Module) -> list[dict[str, Any]]:
    """The weights for an optimiser; those that open gates decay, so that a gate closed by early mistakes can open."""
    named = dict(network.named_parameters())
    gates = [name for name in named if name.startswith(("powers.", "gates."))]
    return [
        {"params": [named[name] for name in gates], "weight_decay": DECAY},
        {"params": [value for name, value in named.items() if name not in gates]},
    ]


def demonstrator(settings: AmplificationSettings) -> Demonstrator:
    """H, with what it always does wrong, and without slips."""
    from .amplification import Demonstrator, Forgetful

    if settings.mistakes == "forgets" and settings.human_error:
        return Forgetful(round(settings.human_error * settings.points))
    return Demonstrator()


def test_questions(settings: AmplificationSettings) -> Questions:
    """The test, the same for all arms and seeds: each held-out permutation with every power, from a drawn start."""
    import torch

    from .amplification import drawn_permutations
    from .amplification_networks import Questions

    generator = torch.Generator().manual_seed(seed_from("amplification", "test", settings.points, settings.power))
    images = drawn_permutations(generator, settings.test, settings.points, held_out=True)
    powers = torch.arange(1, settings.power + 1).expand(settings.test, -1)
    return Questions(images, powers, torch.randint(settings.points, powers.shape, generator=generator))


def _agreement(consulted: Consultation, overseer: Overseer) -> float:
    """Share of the questions in which all was done that the overseer would have done, told what was told there."""
    import torch

    same = torch.ones_like(consulted.questions.powers, dtype=torch.bool)
    for stage in range(consulted.powers.shape[-1]):
        powers, points = overseer.act(consulted.questions, consulted.answers, stage)
        same &= powers == consulted.powers[..., stage]
        asked = (powers > 0) | (stage == consulted.powers.shape[-1] - 1)
        same &= ~asked | (points == consulted.points[..., stage])
    return round(float(same.double().mean()), 6)


def _parts(consultation: Consultation) -> tuple[Tensor, ...]:
    return (*consultation.questions, *consultation[1:])


def _consultation(*parts: Tensor) -> Consultation:
    from .amplification import Consultation
    from .amplification_networks import Questions

    return Consultation(Questions(*parts[:3]), *parts[3:])


def _joined(consultations: Sequence[Consultation]) -> Consultation:
    import torch

    return _consultation(*(torch.cat(parts) for parts in zip(*map(_parts, consultations), strict=True)))


def _under(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def _read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            counters = json.loads(file.metadata()["oversight"])
            return {name: file.get_tensor(name) for name in file.keys()}, counters  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(path, f"is no checkpoint of this training: {error}") from None


def load_learner(folder: str | Path) -> tuple[Learner, AmplificationSettings, str]:
    """A trained X, how it was trained, and a digest of its weights.

    Parameters
    ----------
    folder : of a training, for its first seed's X by amplification; or of one X, such as ``FOLDER/seed-1/supervised``.

    Raises
    ------
    ConfigurationError
        if the folder holds none.
    """
    require_training("torch", "safetensors")
    import hashlib

    from .amplification_networks import Learner

    tried = [Path(folder) / CHECKPOINT, Path(folder) / "seed-0" / "amplification" / CHECKPOINT]
    path = next((one for one in tried if one.is_file()), None)
    if path is None:
        raise ConfigurationError(
            f"{folder}: no learner in it; make one with: oversight train amplification --log-dir D"
        )
    tensors, counters = _read_checkpoint(path)
    settings = _settings(counters["settings"])
    learner = Learner(settings.points, settings.power, settings.width)
    weights = _under(tensors, "learner")
    learner.load_state_dict(weights)
    sha = hashlib.sha256()
    for name in sorted(weights):
        sha.update(name.encode())
        sha.update(weights[name].contiguous().numpy().tobytes())
    return learner, settings, sha.hexdigest()[:16]
