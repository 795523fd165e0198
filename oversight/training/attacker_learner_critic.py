"""Attacker, learner and critic (Huang et al. 2025): questions that make a learner fail, and what it learns from them.

In each round the attacker writes questions, the learner answers them, and the critic says, without the truth, whether
and where an answer is wrong.  The learner answers again after it has read that, keeps the latest criticism in its
context, and, where it can be trained, is trained on pairs of a better and a worse answer.  An arena that reads any
question in its notation decides what is right: nobody in the loop is told the answer, nor is it trained on it, unless
pairs are asked to be labelled by truth.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from ..agents import Agent
from ..agents.prompts import speak_messages
from ..analysis.attack import ArmReport, Prediction, arm_reports, predictions
from ..errors import ConfigurationError, TurnFailed, Unparsable
from ..identity import digest, seed_from
from ..numbered import read_answer
from ..questions import Arena, Part, Question
from ..registry import find_agent, find_arena
from ..report.preferences import PREFERENCE_COLUMNS
from ..requests import Speak
from ..runs.calls import Budget, connected, respond
from ..runs.directory import versions_of
from ..runs.journal import Journal
from ..views import View, VisibleTurn
from .folder import TrainingFolder
from .learners import TrainableLearner
from .loop_roles import (
    INSTRUCTIONS,
    TASKS,
    attackers_list,
    read_verdict,
)
from .progress import TrainingProgress
from .queries import form_of, normal_form, read_queries, understood
from .reward_models import Comparison, Prompt, Reply
from .settings import read_settings

if TYPE_CHECKING:
    from ..models.openai_compatible import ModelOptions

__all__ = ["AttackerLearnerCritic", "LoopSettings", "attacker_learner_critic"]

DEFAULT_ARENA = "arithmetic(depth=2, shape=ragged)"
DEFAULT_SEEDS = "arithmetic(depth=2, least_depth=1, operators='+', largest=4)"
"""What the structured instance begins with: sums of small numbers."""

_LISTED_SEEDS = 10
"""Seed questions that the attacker is shown, in every round."""

Result = TypeVar("Result")


class LoopSettings(BaseModel):
    """What is played."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rounds: int = Field(default=8, ge=1, description="rounds of attack, criticism and training")
    queries: int = Field(default=40, ge=1, description="queries that the attacker writes in a round")
    batch: int = Field(default=10, ge=1, description="queries that it is asked for at a time")
    seed_questions: int = Field(default=80, ge=1, description="questions that it begins with")
    held_out: int = Field(default=200, ge=1, description="questions of the arena that nobody sees, for accuracy")
    reserved: float = Field(
        default=0.25, ge=0, lt=1, description="share of the queries kept from critic and training, to measure with"
    )
    shown: int = Field(default=100, ge=1, description="latest queries that the attacker is shown")
    lessons: int = Field(default=8, ge=0, description="latest critiques in the learner's context")
    labels: Literal["critic", "truth"] = Field(default="critic", description="who tells better answers from worse ones")
    train: bool = Field(default=True, description="whether a learner that can be trained is trained")
    seeds: int = Field(default=1, ge=1, description="loops with chance moves of their own, for each critic")
    seed: int = Field(default=0, description="seed of questions and chance moves")


@dataclass(frozen=True)
class AttackerLearnerCritic:
    """What came of it.

    Parameters
    ----------
    arms : one for each critic.
    predictions : whether criticism that is right goes with improvement.
    folder : where it is kept.
    settings : what was played.
    agents : by role, who played.
    pairs : files of preference pairs, in TRL's columns.
    trained : whether the learner was trained between rounds.
    """

    arms: tuple[ArmReport, ...]
    predictions: tuple[Prediction, ...]
    folder: Path
    settings: LoopSettings
    agents: Mapping[str, tuple[str, ...]]
    pairs: tuple[Path, ...]
    trained: bool

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON values, None for what there is not."""
        return {
            "agents": {role: list(names) for role, names in self.agents.items()},
            "trained": self.trained,
            "arms": [arm.to_json() for arm in self.arms],
            "predictions": [one.to_json() for one in self.predictions],
            "pairs": [str(path) for path in self.pairs],
        }


def attacker_learner_critic(
    arena: str | Arena = DEFAULT_ARENA,
    *,
    attacker: str | Agent = "attacker/search",
    learner: str | Agent = "learner/network",
    critics: Sequence[str | Agent] = ("bounded/2",),
    seed_arena: str | Arena | None = None,
    log_dir: str | Path | None = None,
    options: Mapping[str, ModelOptions] | None = None,
    connections: int | None = None,
    cost_limit: float | None = None,
    leave_failed: bool = False,
    progress: TrainingProgress | None = None,
    command: Sequence[str] = (),
    **settings: Any,
) -> AttackerLearnerCritic:
    """Play attacker against learner, with a critic, and measure what the learner makes of it.

    Parameters
    ----------
    arena : decides what is right; it reads questions that somebody makes up.
    attacker, learner : agents or their names.
    critics : each has a loop of its own, with the same chance moves.
    seed_arena : where seed questions are from; by default sums of small numbers for the default arena, and else the
        arena itself.
    log_dir : the folder that rounds, calls, weights and pairs are kept in; the same call goes on there.
    options : how models are reached, by name.
    connections : most calls in flight to one endpoint.
    cost_limit : dollars, over all starts.
    leave_failed : close rounds without the items whose calls failed; else the loop stops there, and they are owed.
    progress : told what happens.
    command : the words of the command line, kept with the results.
    settings : see :class:`LoopSettings`.

    Raises
    ------
    ConfigurationError
        if it cannot be done as asked.
    TurnFailed
        if calls failed and are owed; everything else that was paid for is kept.
    RunDirectoryError
        if the folder is in use or holds something else.
    BudgetExceeded
        when the next call could cross the limit.

    References
    ----------
    Huang et al. 2025: a loop of attacker, learner and critic that starts from seed input.
    """
    chosen = read_settings(LoopSettings, settings)
    if seed_arena is None:
        seed_arena = DEFAULT_SEEDS if arena == DEFAULT_ARENA else arena
    ground, seed_ground = (find_arena(one) if isinstance(one, str) else one for one in (arena, seed_arena))
    if not ground.query_rules():
        raise ConfigurationError(
            f"{ground.name} reads no questions that somebody makes up: give an arena that does, such as arithmetic"
        )
    if not critics:
        raise ConfigurationError("no critic: give --critic, such as bounded/2")
    agents: dict[str, Agent] = {}
    for one in (attacker, learner, *critics):
        made = one if isinstance(one, Agent) else find_agent(one, ground, (options or {}).get(one))
        name = one.name if isinstance(one, Agent) else one
        if name in agents and agents[name].describe() != made.describe():
            raise ConfigurationError(f"two different agents are called {name!r}: give each a name of its own")
        if made.asks_people or made.is_composite:
            raise ConfigurationError(f"{name}: neither people nor cascades take part here: name a model or an engine")
        made.require()
        agents.setdefault(name, made)
    who = {
        "attacker": (_name(attacker),),
        "learner": (_name(learner),),
        "critic": tuple(dict.fromkeys(map(_name, critics))),
    }
    if len(who["critic"]) < len(critics):
        raise ConfigurationError("a critic is named twice: each has one loop")
    questions = _Questions.drawn(ground, seed_ground, chosen)
    configuration = {
        "training": "attacker_learner_critic",
        "arena": ground.describe(),
        "seed_arena": seed_ground.describe(),
        "agents": {role: [agents[name].describe() for name in names] for role, names in who.items()},
        "settings": chosen.model_dump(mode="json"),
    }
    path = Path("logs") / f"attacker_learner_critic-{digest(configuration, 8)}" if log_dir is None else Path(log_dir)
    progress = progress or TrainingProgress()
    trained = chosen.train and isinstance(agents[who["learner"][0]], TrainableLearner)
    with (
        progress,
        TrainingFolder(
            path, configuration, versions_of("scalable-oversight", "openai", "torch", "safetensors"), command
        ) as folder,
    ):
        work = _Work(ground, questions, who, chosen, folder, progress, leave_failed, trained)
        asyncio.run(work.carry_out(agents, connections, cost_limit))
        results = list(folder.results)
    pairs = tuple(sorted((path / "preferences").glob("*.jsonl")))
    arms = arm_reports(results, {one.id: one.text for one in questions.held_out})
    return AttackerLearnerCritic(arms, predictions(results, trained), path, chosen, who, pairs, trained)


def _name(agent: str | Agent) -> str:
    return agent.name if isinstance(agent, Agent) else agent


@dataclass(frozen=True)
class _Questions:
    """Questions that nobody in the loop has made up.

    Parameters
    ----------
    seeds : what the attacker begins with, and a trainable learner has been taught.
    held_out : what accuracy is measured on.
    """

    seeds: tuple[tuple[Question, Part], ...]
    held_out: tuple[Question, ...]

    @classmethod
    def drawn(cls, arena: Arena, seed_arena: Arena, settings: LoopSettings) -> _Questions:
        """Seeds and held-out questions, none of them in both; raises ConfigurationError where the arena reads none."""
        seeds = []
        for question in seed_arena.questions(settings.seed_questions, seed_from(settings.seed, "seed questions")):
            part, reason = understood(arena, question.text)
            if part is None:
                raise ConfigurationError(
                    f"{arena.name} does not take the seed question {question.text!r} ({reason}): take an arena that "
                    "reads questions that somebody makes up, such as arithmetic, and seeds within its bounds"
                )
            seeds.append((question, part))
        taken = {normal_form(part) for _, part in seeds}
        wanted = settings.held_out + len(taken)
        found = arena.questions(wanted, seed_from(settings.seed, "held out"))
        kept = [one for one in found if normal_form(_part_of(arena, one.text)) not in taken]
        return cls(tuple(seeds), tuple(kept[: settings.held_out]))


def _part_of(arena: Arena, text: str) -> Part:
    part = arena.part(text)
    if part is None:
        raise ConfigurationError(f"{arena.name} cannot read its own question {text!r}: take another arena")
    return part


# ---- the loop -----------------------------------------------------------------------------------------


@dataclass
class _State:
    """How far a loop is: what follows from its rounds so far.

    Parameters
    ----------
    pool : valid queries, the oldest first: text, structure, outcome, lineage; numbers go on after those of the seeds.
    refused : texts and reasons of the last round's queries that were no queries.
    lessons : critiques that found a fault, the most useful first.
    comparisons : all that the learner was trained on.
    """

    learner: Agent
    pool: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    lessons: list[str] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


class _Work:
    """The loops of all critics, in one folder."""

    def __init__(
        self,
        arena: Arena,
        questions: _Questions,
        who: Mapping[str, tuple[str, ...]],
        settings: LoopSettings,
        folder: TrainingFolder,
        progress: TrainingProgress,
        leave_failed: bool,
        trained: bool,
    ) -> None:
        self.arena, self.questions, self.who, self.settings = arena, questions, who, settings
        self.folder, self.progress, self.leave_failed, self.trained = folder, progress, leave_failed, trained
        self.failures: list[str] = []
        self.held_parts = [_part_of(arena, one.text) for one in questions.held_out]
        self.taught = [
            (Prompt(one.text, part.structure, one.source), Reply(f"Answer: {part.truth}"))
            for one, part in questions.seeds
        ]

    async def carry_out(self, agents: Mapping[str, Agent], connections: int | None, cost_limit: float | None) -> None:
        """Play every round that is not finished."""
        self.journal = Journal(self.folder.path / "journal.sqlite", retry_refused=True)
        try:
            budget = Budget(cost_limit, self.journal.spent())
            self.agents, _ = connected(agents, self.journal, budget, connections)
            try:
                finished = {(one["critic"], one["seed"], one["round"]): one for one in self.folder.results}
                loops = [(critic, seed) for seed in range(self.settings.seeds) for critic in self.who["critic"]]
                every = len(loops) * (self.settings.rounds + 1)
                self.progress.start("rounds", every - len(finished), len(finished))
                for critic, seed in loops:
                    await self._loop(critic, seed, finished)
            finally:
                await self.journal.drain()
                for agent in self.agents.values():
                    await agent.close()
        finally:
            await self.journal.close()

    async def _loop(self, critic: str, seed: int, finished: Mapping[tuple[str, int, int], dict[str, Any]]) -> None:
        state = _State(self.agents[self.who["learner"][0]])
        for number in range(self.settings.rounds + 1):
            result = finished.get((critic, seed, number))
            if result is None:
                self.failures = []
                result = await self._round(critic, seed, number, state)
                if self.failures and not self.leave_failed:
                    raise TurnFailed(
                        f"round {number} with {critic}: {len(self.failures)} calls failed ({self.failures[0]}); what "
                        "was paid for is kept: repeat the command to make them again, or close the round without "
                        "them with --leave-failed"
                    )
                self._learn(critic, seed, number, state, result)
                result |= await self._measured(seed, number, state)
                if self.failures and not self.leave_failed:
                    raise TurnFailed(
                        f"measuring round {number} with {critic}: {len(self.failures)} calls failed "
                        f"({self.failures[0]}); repeat the command to make them again, or use --leave-failed"
                    )
                result["failed"] = len(self.failures)
                self.folder.add(result)
                self.progress.done()
            else:
                self._learn(critic, seed, number, state, result)

    async def _round(self, critic: str, seed: int, number: int, state: _State) -> dict[str, Any]:
        """The queries of a round with what was said about them; round 0 has none."""
        result: dict[str, Any] = {"critic": critic, "seed": seed, "round": number, "items": [], "invalid": {}}
        if not number:
            return result
        items, invalid = await self._attack(seed, number, state)
        await self._all([self._item(one, critic, seed, number, state) for one in items])
        for item in items:
            item["structure"] = dict(item["structure"])
        return result | {"items": items, "invalid": invalid}

    async def _attack(self, seed: int, number: int, state: _State) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Valid queries, and by reason the texts of those that are none."""
        wanted = self.settings.queries
        sizes = [min(self.settings.batch, wanted - at) for at in range(0, wanted, self.settings.batch)]
        seeds = [
            {"number": place, "text": one.text, "structure": dict(part.structure), "outcome": "seed"}
            for place, (one, part) in enumerate(self.questions.seeds[:_LISTED_SEEDS], start=1)
        ]
        first = len(self.questions.seeds) + 1
        pool = [
            {"number": place, **{name: one[name] for name in ("text", "structure", "outcome")}}
            for place, one in enumerate(state.pool, start=first)
        ]
        listed = [*seeds, *pool[-self.settings.shown :]]

        async def ask(place: int, size: int) -> tuple[int, str | None]:
            view = self._view(
                "attacker",
                "Which questions of this arena does the learner answer wrongly?",
                {"wanted": size, "questions": listed},
                [VisibleTurn("Record", None, attackers_list(listed, state.refused))],
                TASKS["attacker"].format(count=size),
                rules=f"{self.arena.rules()}\n{self.arena.query_rules()}".strip(),
            )
            return size, await self._said(self._of("attacker"), view, seed, ("attack", number, place), "queries")

        items: list[dict[str, Any]] = []
        invalid: dict[str, Any] = {}
        # That a question is held out is nothing that the attacker may learn.
        known = {normal_form(part): "asked before" for part in self.held_parts}
        known |= {normal_form(part): "asked before" for _, part in self.questions.seeds}
        known |= {one["id"]: "asked before" for one in state.pool}
        for size, text in await self._all([ask(place, size) for place, size in enumerate(sizes)]):
            if text is None:  # the call failed: nothing was written
                continue
            written = read_queries(text, size)
            if size > len(written):
                invalid.setdefault("not written", []).extend([""] * (size - len(written)))
            for one in written:
                part, reason = understood(self.arena, one.text)
                if part is not None:
                    reason = known.get(normal_form(part), "")
                if part is None or reason:
                    invalid.setdefault(reason, []).append(one.text[:500])
                    continue
                id = normal_form(part)
                known[id] = "asked before"
                items.append(
                    {
                        "id": id,
                        "text": one.text,
                        "structure": part.structure,
                        "truth": part.truth,
                        "lineage": self._lineage(one.parent, state, one.text),
                        "parent": one.parent,
                        "reserved": self._reserved(seed, id),
                    }
                )
        return items, invalid

    def _lineage(self, parent: int | None, state: _State, text: str) -> str:
        """The first question that it goes back to; without a parent its form, which its likes share."""
        if parent is not None:
            place = parent - len(self.questions.seeds) - 1
            if 0 <= place < len(state.pool):
                return str(state.pool[place]["lineage"])
            if 1 <= parent <= len(self.questions.seeds):
                return f"seed {parent}"
        return form_of(text)

    def _reserved(self, seed: int, id: str) -> bool:
        return seed_from(self.settings.seed, "reserved", seed, id) < self.settings.reserved * 2**31

    async def _item(self, item: dict[str, Any], critic: str, seed: int, number: int, state: _State) -> None:
        """Answer, critique, refined answer and, where it may become a pair, a second critique; into the item."""
        truth, id = item["truth"], item["id"]
        part = Part(item["structure"], truth)
        view = self._learners_view(item["text"], part, state)
        said = await self._said(state.learner, view, seed, ("answer", number, id), "answer")
        if said is None:
            return
        item["first"], item["answer"] = said, read_answer(said)
        if item["answer"] is None:
            return
        item["right"] = item["answer"] == truth
        if item["reserved"]:
            return
        critique = await self._criticised(critic, item["text"], part, said, seed, ("critique", number, id))
        if critique is None:
            return
        item["critique"] = critique
        item["verdict"], item["corrected"] = read_verdict(critique)
        again = replace(
            view,
            turns=(
                *view.turns,
                VisibleTurn("Learner", None, said, own=True),
                VisibleTurn("Critic", None, critique),
            ),
            task=TASKS["refine"],
        )
        refined = await self._said(state.learner, again, seed, ("refine", number, id), "answer")
        if refined is None:
            return
        item["second"], item["refined"] = refined, read_answer(refined)
        if item["refined"] is None:
            return
        item["refined_right"] = item["refined"] == truth
        if item["verdict"] == "wrong" and item["refined"] != item["answer"]:
            looked = await self._criticised(critic, item["text"], part, refined, seed, ("second look", number, id))
            if looked is not None:
                item["second_verdict"] = read_verdict(looked)[0]

    async def _criticised(
        self, critic: str, text: str, part: Part, answer: str, seed: int, place: tuple[Any, ...]
    ) -> str | None:
        turns = [VisibleTurn("Learner", None, answer)]
        view = self._view("critic", text, part.structure, turns, TASKS["critic"])
        return await self._said(self.agents[critic], view, seed, place, "critique")

    def _learn(self, critic: str, seed: int, number: int, state: _State, result: dict[str, Any]) -> None:
        """What a round changes for the next: the pool, the lessons, the pairs, and the learner's weights."""
        state.refused = [
            {"text": text, "reason": reason} for reason, texts in result["invalid"].items() for text in texts if text
        ]
        outcomes = {True: "right", False: "wrong", None: "not known"}
        comparisons, rows, found = [], [], []
        for item in result["items"]:
            state.pool.append({**item, "outcome": outcomes[item.get("right")]})
            if item.get("verdict") == "wrong":
                lesson = f"{item['text']}\nAnswer given: {item['answer']}\n{item['critique']}"
                found.append((item.get("second_verdict") != "right", item["id"], lesson))
            preferred = _preferred(item, self.settings.labels)
            if preferred is None:
                continue
            item["pair"] = preferred[0]
            chosen, rejected = (item[name] for name in preferred)
            prompt = Prompt(item["text"], item["structure"], item["lineage"])
            comparisons.append(Comparison(prompt, Reply(chosen), Reply(rejected)))
            view = self._learners_view(item["text"], Part(item["structure"], ""), state)
            asked = "\n\n".join(one["content"] for one in speak_messages(view, asked_for="answer"))
            how = f"refined by {self.settings.labels}"
            loop = f"{critic} {seed} {number} {item['id']}"
            values = (asked, chosen, rejected, 1.0, loop, item["id"], item["lineage"], how)
            rows.append(dict(zip(PREFERENCE_COLUMNS, values, strict=True)))
        state.lessons = [lesson for _, _, lesson in sorted(found)] + state.lessons
        state.lessons = state.lessons[: self.settings.lessons]
        place = f"{digest(critic, 6)}-{seed}-{number}"
        if rows:
            _write_lines(self.folder.path / "preferences" / f"{place}.jsonl", rows)
        result["pairs"] = len(rows)
        state.comparisons += comparisons
        if isinstance(state.learner, TrainableLearner) and (self.trained or not number):
            weights = self.folder.path / "weights" / f"{place}.safetensors"
            chance = seed_from(self.settings.seed, "weights", seed, number)
            if not number:
                state.learner = state.learner.begun(self.taught, weights, chance, self.progress)
            elif state.comparisons:
                state.learner = state.learner.tuned(state.comparisons, self.taught, weights, chance, self.progress)

    async def _measured(self, seed: int, number: int, state: _State) -> dict[str, Any]:
        """The learner as it is now, on held-out questions and on queries of earlier rounds that were kept for this."""
        earlier = [one for one in state.pool if one["reserved"] and "answer" in one and one["answer"] is not None]

        async def right(text: str, part: Part, id: str) -> int | None:
            view = self._learners_view(text, part, state)
            # Nothing but the learner changes what is asked, so where that stays the same nothing is paid.
            said = await self._said(state.learner, view, seed, ("measure", id), "answer")
            answer = None if said is None else read_answer(said)
            return None if answer is None else int(answer == part.truth)

        held = await self._all(
            [
                right(question.text, part, question.id)
                for question, part in zip(self.questions.held_out, self.held_parts, strict=True)
            ]
        )
        old = await self._all([right(one["text"], Part(one["structure"], one["truth"]), one["id"]) for one in earlier])
        return {"held_out": held, "earlier": old, "earlier_lineages": [one["lineage"] for one in earlier]}

    # ---- asking -------------------------------------------------------------------------------------

    def _of(self, role: str) -> Agent:
        return self.agents[self.who[role][0]]

    def _view(
        self,
        role: str,
        question: str,
        structure: Mapping[str, Any],
        turns: Sequence[VisibleTurn],
        task: str,
        rules: str | None = None,
    ) -> View:
        return View(
            role=role,
            speaker=role.capitalize(),
            instructions=INSTRUCTIONS[role],
            rules=self.arena.rules() if rules is None else rules,
            question=question,
            answers=(),
            options=(),
            position=None,
            positions=(),
            structure=dict(structure),
            turns=tuple(turns),
            task=task,
        )

    def _learners_view(self, text: str, part: Part, state: _State) -> View:
        lessons = [VisibleTurn("Critic", None, f"Of another question:\n{one}") for one in state.lessons]
        return self._view("learner", text, part.structure, lessons, TASKS["learner"])

    async def _said(
        self,
        agent: Agent,
        view: View,
        seed: int,
        place: tuple[Any, ...],
        form: Literal["answer", "queries", "critique"],
    ) -> str | None:
        """What it says; empty where its reply cannot be read, None where the call failed and is owed."""
        draw = (int(place[-1]),) if place[0] == "attack" else ()
        request = Speak(view, seed_from(self.settings.seed, "loop", seed, *place), sample=seed, draw=draw, form=form)
        try:
            return (await respond(agent, request, self.journal)).text
        except Unparsable:
            return ""
        except TurnFailed as failure:
            self.failures.append(f"{agent.name}: {failure}")
            return None

    async def _all(self, work: Sequence[Awaitable[Result]]) -> list[Result]:
        """Results of work done at the same time; all of it has ended when the first error is raised."""
        done = await asyncio.gather(*work, return_exceptions=True)
        for one in done:
            if isinstance(one, BaseException):
                raise one
        return [one for one in done if not isinstance(one, BaseException)]


def _preferred(item: Mapping[str, Any], labels: str) -> tuple[str, str] | None:
    """Names of the better and the worse answer in an item; None where nobody says that one is."""
    if "refined" not in item or item["refined"] is None or item["refined"] == item["answer"]:
        return None
    if labels == "critic":
        better = item.get("verdict") == "wrong" and item.get("second_verdict") == "right"
        return ("second", "first") if better else None
    if item["right"] == item["refined_right"]:
        return None
    return ("second", "first") if item["refined_right"] else ("first", "second")


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write JSON lines whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8", errors="replace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)
