"""Recursive reward modelling (Leike et al. 2018), and what an error at one level does to those above.

Level 0: a human prefers replies unaided, a reward model is trained on these preferences, and an agent is optimised
against it.  Level k: the same with deeper tasks, where the human is assisted by the agent of level k - 1, who answers
the sub-tasks that the judgement rests on.
"""

from __future__ import annotations

import importlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..agents import Agent
from ..analysis.accuracy import Estimate, clustered_mean
from ..analysis.comparison import gap_recovered
from ..analysis.score_difference import clustered_score
from ..composed import ComposedTasks, Task
from ..errors import ConfigurationError, UnknownName
from ..identity import digest, seed_from
from ..questions import Arena
from ..registry import find_agent, find_arena
from ..runs.api import carry_out, plan_run
from ..runs.directory import read_episodes, versions_of
from ..runs.plan import PeopleOptions
from ..runs.progress import Progress
from ..runs.session import SessionOptions
from ..specification import parse_specification
from ..transcript import Usage
from .folder import TrainingFolder
from .preferences import Pair, PreferenceArena, WrittenReplies, draw_pairs, prompt_of
from .progress import TrainingProgress
from .reward_models import Comparison, Prompt, RewardModel
from .settings import read_settings
from .structured import Assistant, StructuredAgent, StructuredRewardModel, require_structured

__all__ = [
    "Growth",
    "LevelRow",
    "RewardModeling",
    "RewardModelingSettings",
    "Waiting",
    "find_reward_model",
    "reward_modeling",
    "truth_of_best",
]

ALONE = 1
"""Depth of the tasks that a human who does one operation judges alone: those of level 0."""

DEEPEST = 8
"""Most levels: a task of the last has 2**8 - 1 operations."""

MakesRewardModel = Callable[[ComposedTasks, RewardModel | None], RewardModel]


class RewardModelingSettings(BaseModel):
    """What is trained on what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: int = Field(default=3, ge=1, le=DEEPEST, description="levels of the recursion")
    judgements: int = Field(default=2000, ge=1, description="judgements asked for at each level")
    seeds: int = Field(default=3, ge=1, description="independent recursions")
    seed: int = Field(default=0, description="seed of all chance moves")
    inject: float = Field(default=0.0, ge=0, le=1, description="share of operations whose judgements are reversed")
    inject_level: int = Field(default=0, ge=0, description="level at which they are")
    test: int = Field(default=300, ge=2, description="held-out tasks at each level")
    best_of: int = Field(default=256, ge=4, le=4096, description="most replies of which the best is taken")
    samples: int = Field(default=3000, ge=1, description="tasks that the policy is tuned on")
    draws: int = Field(default=32, ge=2, description="replies to each of them, of which one is chosen by its reward")
    temperature: float = Field(default=0.1, gt=0, description="of that choice, in units of reward")

    @property
    def sizes(self) -> list[int]:
        """Best of how many: 1, 2, 4 and so on."""
        return [2**power for power in range(int(math.log2(self.best_of)) + 1)]


@dataclass(frozen=True)
class Waiting:
    """Judgements that wait for people.

    Parameters
    ----------
    folder : the run that they are in.
    level : of the recursion.
    done, asked : judgements there.
    """

    folder: Path
    level: int
    done: int
    asked: int


@dataclass(frozen=True)
class LevelRow:
    """One level of the recursions of all seeds.

    Parameters
    ----------
    level : 0 for that of the unaided human.
    injected : whether it is of the recursions into which error was injected.
    judgements : asked for, in all seeds together.
    even : of these, those that preferred neither reply; they train nothing.
    unscored : those that came to nothing.
    human : share of the preferences that agree with the truth, where one reply was right.
    reward_model : its accuracy on true preferences of held-out tasks; a tie counts half.
    agent : probability that the tuned agent's reply is right.
    answers : whether the agent's likeliest value is right, which it states as an assistant.
    times_longer : how many times longer the tuned agent's presentation is, the mean over seeds.
    best_of : truth and reward of the best of so many replies of the base policy, as the reward model ranks them.
    fall : truth of the best of the most less that of the best of the square root of as many.
    seen : share of the held-out tasks that were judged in training.
    """

    level: int
    injected: bool
    judgements: int
    even: int
    unscored: int
    human: float | None
    reward_model: Estimate
    agent: Estimate
    answers: Estimate
    times_longer: float
    best_of: tuple[BestOf, ...]
    fall: Estimate
    seen: float

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values; what there is no number for is null."""
        found: dict[str, Any] = _without_nan(asdict(self))
        return found


@dataclass(frozen=True)
class BestOf:
    """Best-of-n, measured.

    Parameters
    ----------
    n : replies of which the best is taken.
    divergence : KL from the base policy, log n - (n - 1)/n, in nats.
    truth : probability that the best by reward is right.
    reward : its mean reward, above that of one reply.
    """

    n: int
    divergence: float
    truth: Estimate
    reward: Estimate


@dataclass(frozen=True)
class Growth:
    """What the injected error comes to at one level.

    Parameters
    ----------
    level : of the recursion.
    plain, injected : errors of the agents' answers, in [0, 1], means over seeds.
    added : the difference, seeds paired; its interval is over seeds.
    ratio, low, high : added error over that of the level below, with Fieller's interval over seeds; None where the
        denominator is not shown to be above 0, or there is no level below.
    """

    level: int
    plain: float
    injected: float
    added: Estimate
    ratio: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RewardModeling:
    """What came of it.

    Parameters
    ----------
    rows : a row for each level, those with injected error after the others.
    growth : the induction test, from the level of the injection upwards; empty where nothing was injected.
    folder : where it is kept.
    settings : what was trained on what.
    human : who judged.
    waiting : the judgements that people still owe; then there are no rows.
    """

    rows: tuple[LevelRow, ...]
    growth: tuple[Growth, ...]
    folder: Path
    settings: RewardModelingSettings
    human: str
    waiting: Waiting | None = None

    def to_json(self) -> dict[str, Any]:
        """Every number as JSON values."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "human": self.human,
            "levels": [row.to_json() for row in self.rows],
            "growth": _without_nan([asdict(one) for one in self.growth]),
        }


def reward_modeling(
    *,
    arena: str | Arena = "arithmetic(modulus=5)",
    human: str | Agent = "proxy/noisy(0.1,judge=bounded/1)",
    reward_model: str = "structured",
    log_dir: str | Path | None = None,
    progress: TrainingProgress | None = None,
    session: SessionOptions | None = None,
    command: Sequence[str] = (),
    **settings: Any,
) -> RewardModeling:
    """Train reward models and agents level by level, and measure what became of them.

    Parameters
    ----------
    arena : where tasks come from; its tasks must be operations on the values of two halves.
    human : who prefers: ``human``, a stand-in ``proxy/...``, ``bounded/K``, a language model.
    reward_model : what learns from the preferences; see :func:`find_reward_model`.
    log_dir : the folder that everything is kept in as it is finished; the same call goes on there.
    progress : told what happens.
    session : who sits at the terminal, where a person judges.
    command : the words of the command line, kept with the results.
    settings : see :class:`RewardModelingSettings`.

    Raises
    ------
    ConfigurationError
        if it cannot be done as asked; MissingExtra where a library is missing.
    RunDirectoryError
        if the folder is in use or holds something else.

    References
    ----------
    Leike et al. 2018, Scalable agent alignment via reward modeling (arXiv:1811.07871).
    """
    chosen = _settings(settings)
    supply = find_arena(arena) if isinstance(arena, str) else arena
    tasks = supply.composed()
    if tasks is None:
        raise ConfigurationError(
            f"{supply.name}: its tasks are not made of two halves each, which reward modelling needs here: "
            "give --arena 'arithmetic(modulus=5)'"
        )
    require_structured()
    makes, described = find_reward_model(reward_model)
    judge = human if isinstance(human, Agent) else find_agent(human, PreferenceArena.made(supply, tasks, ALONE, []))
    configuration = {
        "training": "reward_modeling",
        "arena": supply.describe(),
        "human": judge.describe(),
        "reward_model": described,
        "settings": chosen.model_dump(mode="json"),
    }
    progress = progress or TrainingProgress()
    path = Path("logs") / f"reward_modeling-{digest(configuration, 8)}" if log_dir is None else Path(log_dir)
    with (
        TrainingFolder(
            path, configuration, versions_of("scalable-oversight", "numpy", "torch", "safetensors"), command
        ) as folder,
        progress,
    ):
        work = _Work(supply, tasks, judge, makes, chosen, folder, progress, session)
        try:
            for number in range(chosen.seeds):
                work.recur(number)
        except _Waits as waits:
            return RewardModeling((), (), path, chosen, judge.name, waits.waiting)
        results = list(folder.results)
    rows = tuple(_rows(results, chosen))
    return RewardModeling(rows, tuple(_growth(results, chosen)), path, chosen, judge.name)


def find_reward_model(text: str) -> tuple[MakesRewardModel, dict[str, Any]]:
    """What makes the reward model of a level, given the tasks and that of the level below; and what it is.

    ``structured`` reads tasks as what they are; ``hf/FOLDER`` is a language model that reads them as text.

    Raises
    ------
    UnknownName
        if there is no such kind.
    """
    if text == "structured":

        def structured(tasks: ComposedTasks, below: RewardModel | None) -> RewardModel:
            assert below is None or isinstance(below, StructuredRewardModel)
            return StructuredRewardModel(tasks, below)

        return structured, {"kind": "structured"}
    read = parse_specification(text)
    kind, _, path = read.name.partition("/")
    if kind != "hf" or not path:
        raise UnknownName("reward model in --reward-model", read.name, ("structured", "hf/FOLDER"))
    made = importlib.import_module("oversight.training.language").LanguageRewardModel(Path(path), **read.options)
    described: dict[str, Any] = made.describe()

    def language(tasks: ComposedTasks, below: RewardModel | None) -> RewardModel:
        found = importlib.import_module("oversight.training.language").LanguageRewardModel(Path(path), **read.options)
        assert isinstance(found, RewardModel)
        return found

    return language, described


def _settings(given: Mapping[str, Any]) -> RewardModelingSettings:
    chosen = read_settings(RewardModelingSettings, given)
    if chosen.inject_level >= chosen.levels:
        raise ConfigurationError(
            f"--inject-level {chosen.inject_level}: there are {chosen.levels} levels, from 0 to {chosen.levels - 1}"
        )
    return chosen


# ---- the work -----------------------------------------------------------------------------------------


class _Waits(Exception):
    """People owe judgements; nothing can go on before."""

    def __init__(self, waiting: Waiting) -> None:
        super().__init__(waiting)
        self.waiting = waiting


class _Judged(Progress):
    """Tells the progress of a training what happens in a run of preferences."""

    def __init__(self, progress: TrainingProgress, what: str) -> None:
        self.progress, self.what = progress, what

    def start(self, owed: int, finished: int) -> None:
        if owed:
            self.progress.start(self.what, owed, finished)

    def finished(self, record: Mapping[str, Any], spent: float, usage: Usage, unknown: int) -> None:
        self.progress.done()


@dataclass(frozen=True)
class _Preferences:
    """What the judgements of a level came to.

    Parameters
    ----------
    comparisons : the preferences, in the order in which their pairs were drawn.
    judgements, even, unscored : how many were asked for, preferred neither, came to nothing.
    agreeing : of the preferences where one reply was right, 1 for those that chose it and 0 for the others.
    tasks : texts of all tasks that were judged, whatever came of it.
    """

    comparisons: list[Comparison]
    judgements: int
    even: int
    unscored: int
    agreeing: list[int]
    tasks: frozenset[str]


class _Work:
    """The recursions: each with what it has trained last, and what is finished read back where it is needed."""

    def __init__(
        self,
        arena: Arena,
        tasks: ComposedTasks,
        human: Agent,
        makes: MakesRewardModel,
        settings: RewardModelingSettings,
        folder: TrainingFolder,
        progress: TrainingProgress,
        session: SessionOptions | None,
    ) -> None:
        self.arena, self.tasks, self.human, self.makes = arena, tasks, human, makes
        self.settings, self.folder, self.progress, self.session = settings, folder, progress, session

    def recur(self, number: int) -> None:
        """One seed's recursion, and from the level of the injection upwards a second one with the injected error."""
        settings = self.settings
        chains = [False, True] if settings.inject else [False]
        finished = {(one["seed"], one["injected"], one["level"]) for one in self.folder.results}
        trained: list[tuple[RewardModel, StructuredAgent]] = []
        for injected in chains:
            first = settings.inject_level if injected else 0
            if all((number, injected, level) in finished for level in range(first, settings.levels)) and (
                injected or len(chains) == 1
            ):
                continue
            trained = trained[:first]
            for level in range(first, settings.levels):
                trained.append(self._level(number, injected, level, trained[-1] if trained else None, finished))

    def _level(
        self,
        number: int,
        injected: bool,
        level: int,
        below: tuple[RewardModel, StructuredAgent] | None,
        finished: set[tuple[int, bool, int]],
    ) -> tuple[RewardModel, StructuredAgent]:
        settings = self.settings
        plain = self.folder.path / f"seed-{number}" / f"level-{level}"
        place = plain.parent / "injected" / plain.name if injected else plain
        seed = seed_from(settings.seed, "recursion", number)
        reverses = injected and level == settings.inject_level
        called = f"seed {number + 1} of {settings.seeds}, level {level}" + (", injected" if injected else "")
        # The judgements that are reversed are those of the recursion without: nobody is asked twice.
        folder = (plain if reverses else place) / "preferences"
        asked = self._asked(folder, level, seed, None if below is None else below[1], called)
        if reverses:
            asked = replace(asked, comparisons=self._reversed(asked.comparisons, seed))
        reward_model = self.makes(self.tasks, None if below is None else below[0])
        # Compared recursions share their chance moves, so an injection is no part of the seeds.
        reward_model.fit(asked.comparisons, place / "reward_model", seed_from(seed, "fit", level), self.progress)
        agent = StructuredAgent(self.tasks, None if below is None else below[1])
        base = StructuredAgent(self.tasks, None if below is None else below[1])
        self.progress.start(f"{called}: tasks to tune on", settings.samples)
        chosen = self._chosen(reward_model, base, level, seed)
        agent.tune(chosen, place / "agent", seed_from(seed, "tune", level), self.progress)
        if (number, injected, level) not in finished:
            measured = self._measured(reward_model, agent, base, level, seed, asked)
            self.folder.add({"seed": number, "injected": injected, "level": level, **measured})
            told = [[one for one in measured[name] if one is not None] for name in ("reward_model", "agent")]
            right = [sum(shares) / len(shares) if shares else math.nan for shares in told]
            self.progress.note(f"{called}: reward model {100 * right[0]:.1f} % right, agent {100 * right[1]:.1f} %")
        return reward_model, agent

    def _asked(
        self, folder: Path, level: int, seed: int, assistant: StructuredAgent | None, called: str
    ) -> _Preferences:
        """The judgements of a level, asked for in a run of its own."""
        settings = self.settings
        pairs = draw_pairs(self.tasks, ALONE + level, settings.judgements, seed_from(seed, "judged", level))
        arena = PreferenceArena.made(self.arena, self.tasks, ALONE + level, pairs)
        cast: dict[str, str | Agent] = {"reply": WrittenReplies(), "judge": self.human}
        if assistant is not None:
            cast["assistant"] = Assistant(assistant)
        plan = plan_run(
            f"preference(assisted={str(assistant is not None).lower()})",
            arena,
            cast,
            limit=settings.judgements,
            seed=seed_from(seed, "preferences", level),
            swap=False,
            people=PeopleOptions(reading="whole", once="question"),
            log_dir=folder,
        )
        if plan.asks_people:
            self.progress.stop()  # the screen is theirs
        carry_out(plan, folder, progress=_Judged(self.progress, f"{called}: judgements"), session=self.session)
        records = {one["question"]: one for one in read_episodes(folder)}
        if len(records) < len(pairs):
            raise _Waits(Waiting(folder, level, len(records), len(pairs)))
        return self._read(pairs, records)

    def _read(self, pairs: Sequence[Pair], records: Mapping[str, Mapping[str, Any]]) -> _Preferences:
        comparisons, agreeing, even, unscored = [], [], 0, 0
        for pair in pairs:
            record = records[pair.id]
            if record["status"] != "scored":
                unscored += 1
                continue
            first, second = record["probabilities"]
            if math.isclose(first, second, abs_tol=1e-9):
                even += 1
                continue
            taken = 0 if first > second else 1
            replies = pair.replies()
            comparisons.append(Comparison(prompt_of(self.tasks, pair.task), replies[taken], replies[1 - taken]))
            right = self.tasks.value(pair.task)
            if right in pair.values:
                agreeing.append(int(pair.values[taken] == right))
        tasks = frozenset(prompt_of(self.tasks, pair.task).text for pair in pairs)
        return _Preferences(comparisons, len(pairs), even, unscored, agreeing, tasks)

    def _reversed(self, comparisons: Sequence[Comparison], seed: int) -> list[Comparison]:
        """The comparisons, reversed where their last operation is one of those that are misjudged.

        These are drawn from all operations on two values, so that a larger share holds those of a smaller one.
        """
        size = self.tasks.values
        every = [(sign, left, right) for sign in self.tasks.operators for left in range(size) for right in range(size)]
        order = sorted(every, key=lambda one: seed_from(seed, "injected", list(one)))
        misjudged = set(order[: round(self.settings.inject * len(order))])
        return [
            Comparison(one.prompt, one.rejected, one.chosen)
            if self._operation(self.tasks.task(one.prompt.structure)) in misjudged
            else one
            for one in comparisons
        ]

    def _operation(self, task: Task) -> tuple[str, int, int]:
        assert isinstance(task, list)
        operator, left, right = task
        return operator, *(half if isinstance(half, int) else self.tasks.value(half) for half in (left, right))

    def _drawn(self, count: int, level: int, *names: Any) -> Iterator[Prompt]:
        for number in range(count):
            yield prompt_of(self.tasks, self.tasks.draw(ALONE + level, random.Random(seed_from(*names, level, number))))

    def _chosen(self, reward_model: RewardModel, base: StructuredAgent, level: int, seed: int) -> list[Comparison]:
        """Replies of the base policy drawn with weights exp(reward / temperature), each against another of them."""
        settings = self.settings
        found = []
        for number, prompt in enumerate(self._drawn(settings.samples, level, seed, "tuned")):
            replies = base.replies(prompt, settings.draws, seed_from(seed, "tuned", level, number))
            rewards = reward_model.rewards(prompt, replies) / settings.temperature
            weights = np.exp(rewards - rewards.max())
            generator = np.random.default_rng(seed_from(seed, "chosen", level, number))
            taken = int(np.searchsorted(np.cumsum(weights)[:-1], generator.random() * weights.sum(), side="right"))
            other = int(generator.integers(len(replies)))
            found.append(Comparison(prompt, replies[taken], replies[other]))
            self.progress.done()
        return found

    def _measured(
        self,
        reward_model: RewardModel,
        agent: StructuredAgent,
        base: StructuredAgent,
        level: int,
        seed: int,
        asked: _Preferences,
    ) -> dict[str, Any]:
        """What reward model and agent are worth on tasks that were held out, item by item."""
        settings = self.settings
        # What was put before the human, whatever came of it, and what the agent was tuned on.
        judged = asked.tasks | {prompt.text for prompt in self._drawn(settings.samples, level, seed, "tuned")}
        prompts = self._held_out(level, seed, judged)
        items = [self.tasks.task(prompt.structure) for prompt in prompts]
        truth = [self.tasks.value(item) for item in items]
        accuracies: list[float | None] = []
        best: dict[int, list[list[float]]] = {n: [] for n in settings.sizes}
        for number, (prompt, right) in enumerate(zip(prompts, truth, strict=True)):
            replies = base.replies(prompt, 2 * settings.best_of, seed_from(seed, "pool", level, number))
            rewards = reward_model.rewards(prompt, replies)
            correct = np.asarray([one.structure["value"] == right for one in replies], dtype=np.float64)
            accuracies.append(_accuracy(rewards, correct))
            for n in settings.sizes:
                best[n].append([truth_of_best(rewards, correct, n), truth_of_best(rewards, rewards, n)])
        chances = agent.chances(items)
        return {
            "judgements": asked.judgements,
            "even": asked.even,
            "unscored": asked.unscored,
            "agreeing": [sum(asked.agreeing), len(asked.agreeing)],
            "sources": [digest(prompt.source, 12) for prompt in prompts],
            "seen": sum(prompt.text in judged for prompt in prompts),
            "reward_model": accuracies,
            "agent": [round(float(row[right] / row.sum()), 12) for row, right in zip(chances, truth, strict=True)],
            "answers": [int(one == right) for one, right in zip(agent.answers(items), truth, strict=True)],
            "times_longer": agent.times_longer,
            "best_of": {str(n): [[round(one, 9) for one in pair] for pair in pairs] for n, pairs in best.items()},
        }

    def _held_out(self, level: int, seed: int, judged: frozenset[str]) -> list[Prompt]:
        """Tasks that nobody judged; at level 0, where there are few and each must be judged to be known, any."""
        found: list[Prompt] = []
        for prompt in self._drawn(100 * self.settings.test, level, seed, "test"):
            if level == 0 or prompt.text not in judged:
                found.append(prompt)
            if len(found) == self.settings.test:
                return found
        raise ConfigurationError(f"level {level} has too few tasks that nobody judged: lower --judgements")


def _accuracy(rewards: Any, correct: Any) -> float | None:
    """Share of the pairs of a right and a wrong reply in which the right one has the higher reward; ties count half.

    None where all replies are right, or all wrong.
    """
    right, wrong = rewards[correct == 1.0], rewards[correct == 0.0]
    if not len(right) or not len(wrong):
        return None
    return float(np.mean(0.5 + 0.5 * np.sign(right[:, None] - wrong[None, :])))


def truth_of_best(rewards: Any, values: Any, n: int) -> float:
    """Mean of a value of the best by reward of ``n`` replies, over all ways to draw these from the ones given.

    Ties are broken by place, which has nothing to do with the value.

    References
    ----------
    Nakano et al. 2021, WebGPT (arXiv:2112.09332), appendix I: the unbiased estimator of best-of-n.

    Examples
    --------
    >>> round(truth_of_best([0.0, 1.0, 2.0], [0.0, 1.0, 0.0], 2), 4)
    0.3333
    """
    order = np.argsort(np.asarray(rewards), kind="stable")
    count = len(order)
    total, chance = 0.0, n / count  # of the last: n/N; of each before, the chance that all n lie at or below it
    for rank in range(count - 1, n - 2, -1):
        total += chance * float(values[order[rank]])
        chance *= (rank - n + 1) / rank if rank else 0.0
    return total


# ---- what came of it ----------------------------------------------------------------------------------


def _rows(results: Sequence[Mapping[str, Any]], settings: RewardModelingSettings) -> Iterator[LevelRow]:
    for injected in (False, True):
        for level in range(settings.levels):
            lines = [one for one in results if one["level"] == level and one["injected"] == injected]
            if lines:
                yield _row(lines, level, injected, settings)


def _row(lines: Sequence[Mapping[str, Any]], level: int, injected: bool, settings: RewardModelingSettings) -> LevelRow:
    # A seed's models are its own: its items are clustered with nobody else's.
    sources = [(line["seed"], source) for line in lines for source in line["sources"]]

    def pooled(name: str) -> list[float]:
        return [math.nan if one is None else float(one) for line in lines for one in line[name]]

    best: dict[int, list[list[float]]] = {
        n: [pair for line in lines for pair in line["best_of"][str(n)]] for n in settings.sizes
    }
    once = [pair[1] for pair in best[1]]
    curve = []
    for n in settings.sizes:
        above = [pair[1] - first for pair, first in zip(best[n], once, strict=True)]
        largest = max(1.0, *map(abs, above))
        curve.append(
            BestOf(
                n,
                math.log(n) - (n - 1) / n,
                clustered_mean([min(1.0, max(0.0, pair[0])) for pair in best[n]], sources),
                clustered_score(above, sources, -largest, largest),
            )
        )
    middle = settings.sizes[len(settings.sizes) // 2]
    falls = [last[0] - before[0] for last, before in zip(best[settings.sizes[-1]], best[middle], strict=True)]
    agreeing = [sum(line["agreeing"][place] for line in lines) for place in (0, 1)]
    return LevelRow(
        level=level,
        injected=injected,
        judgements=sum(line["judgements"] for line in lines),
        even=sum(line["even"] for line in lines),
        unscored=sum(line["unscored"] for line in lines),
        human=agreeing[0] / agreeing[1] if agreeing[1] else None,
        reward_model=clustered_mean(pooled("reward_model"), sources),
        agent=clustered_mean(pooled("agent"), sources),
        answers=clustered_mean(pooled("answers"), sources),
        times_longer=math.fsum(line["times_longer"] for line in lines) / len(lines),
        best_of=tuple(curve),
        fall=clustered_score(falls, sources, -1.0, 1.0),
        seen=sum(line["seen"] for line in lines) / len(sources),
    )


def _growth(results: Sequence[Mapping[str, Any]], settings: RewardModelingSettings) -> Iterator[Growth]:
    """The induction test, seed by seed: the agents' errors with and without the injection, paired."""
    if not settings.inject:
        return
    errors = {
        (one["seed"], one["injected"], one["level"]): 1 - sum(one["answers"]) / len(one["answers"]) for one in results
    }
    seeds = list(range(settings.seeds))
    before: list[float] | None = None
    for level in range(settings.inject_level, settings.levels):
        plain = [errors[number, False, level] for number in seeds]
        injected = [errors[number, True, level] for number in seeds]
        added = [one - other for one, other in zip(injected, plain, strict=True)]
        ratio = None if before is None else gap_recovered(added, [0.0] * len(seeds), before, seeds)
        yield Growth(
            level,
            math.fsum(plain) / len(seeds),
            math.fsum(injected) / len(seeds),
            clustered_score(added, seeds, -1.0, 1.0),
            None if ratio is None else ratio.share,
            None if ratio is None else ratio.low,
            None if ratio is None else ratio.high,
        )
        before = added


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
