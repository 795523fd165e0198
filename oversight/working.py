"""Arguments that show their working, and judges who can check only a little of it.

Some arenas ask for a whole number that follows by small steps, each of them one unit of work for whoever knows the
values that it rests on: an operation of a nested expression, an application of a permutation.  A :class:`Working` says
what the steps of one question are.  A :class:`BoundedAgent` does at most ``budget`` units of work in a turn, so that
what it can do alone, and what it can do with the help of speakers, is measured and exact.
"""

from __future__ import annotations

import random
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .agents import Agent
from .errors import CannotSpeak, ConfigurationError, TurnFailed
from .identity import seed_from
from .numbered import read_answer
from .requests import FAILS, HOLDS, Choice, Choose, Speak, Speech
from .tree import Node, read_outline
from .views import View

__all__ = ["BoundedAgent", "Step", "Working", "bounded_agent", "weigh"]

FLOOR = 1e-6  # no check of an argument makes a judge so certain that its score could be infinite
# Blanks are taken whole (``*+``): given back one by one, a megabyte of them takes a day.
LINE = re.compile(
    r"^[ \t]*+step[ \t]*+[0-9]{0,6}[ \t]*+:(.+)=[ \t]*+([-−]?[0-9]{1,400})[ \t]*+\.?[ \t]*+$", re.I | re.M
)


class Step(NamedTuple):
    """A stated step: what it is about, in the arena's notation, and the value that it is said to have."""

    about: str
    value: int


class Working(ABC):
    """The steps of one question; none of its methods looks at the truth but by working it out.

    ``stated`` is always what one speaker has stated: by what a step is about, its value.
    """

    goal: str
    """What the step that answers the question is about."""

    @property
    @abstractmethod
    def units(self) -> int:
        """Units of work that the answer takes one who is told nothing."""

    @abstractmethod
    def worked_out(self, budget: int) -> list[Step]:
        """The true steps that the first ``budget`` units of work give, in a fixed order, parts before wholes."""

    @abstractmethod
    def leading_to(self, value: int, draw: random.Random) -> list[Step]:
        """All steps to an answer of this value: true ones if it is right, else with exactly one that does not follow.

        Which one that is is drawn, evenly, from those that can lead there without a contradiction.
        """

    @abstractmethod
    def recognised(self, text: str) -> str | None:
        """What a step is about, from the way a speaker writes it; None if it is about nothing in this question."""

    @abstractmethod
    def chain(self, stated: Mapping[str, int]) -> list[str] | None:
        """What the goal rests on as it is stated, itself included, parts before wholes; None if a part is missing."""

    @abstractmethod
    def task(self, about: str, stated: Mapping[str, int]) -> tuple[Any, ...] | None:
        """The unit of work that checks a step given its parts as stated; None if one of these is missing."""

    @abstractmethod
    def carry_out(self, task: tuple[Any, ...]) -> int:
        """Do a unit of work: the value that the step should have."""

    def split(self) -> list[str]:
        """What the answer rests on directly and takes work itself: the parts of a decomposition; none by default."""
        return []

    def asked(self, about: str) -> str:
        """The question whose answer is the value of a step."""
        return f"What is {about}?"

    @abstractmethod
    def rank(self, about: str) -> tuple[int, ...]:
        """A sorting key that puts parts before wholes."""

    def read(self, text: str) -> dict[str, int]:
        """The steps stated in a text, lines ``Step 2: ... = 14``; of several values for one step, the last."""
        found = {}
        for about, value in LINE.findall(text):
            known = self.recognised(about)
            if known is not None:
                found[known] = int(value.replace("−", "-"))
        return found


@dataclass
class Argument:
    """What one speaker has stated for an answer, and what a judge has found out about it.

    Parameters
    ----------
    value : the answer that it argues for.
    stated : its steps.
    """

    value: int
    stated: dict[str, int] = field(default_factory=dict)
    refuted: bool = False
    checked: set[str] = field(default_factory=set)


def weigh(
    working: Working, arguments: Sequence[Argument], values: Sequence[int], budget: int, seed: int
) -> list[float]:
    """A probability for each value, after checking at most ``budget`` steps of the arguments.

    Steps to which two speakers give different values are checked first, parts before wholes; then others, drawn under
    the seed.  A check is one unit of work: the step's value is worked out from its parts *as its speaker stated them*.
    The same work is not paid for twice.  An argument with a step that does not follow is refuted.

    The probabilities are those of Bayes' rule with even odds before, for a judge who takes it that an honest argument
    has no false step and that a dishonest complete one has one, anywhere: an argument for the right answer is never
    refuted; a complete one for a wrong answer, with ``k`` of its ``n`` steps checked, survives with probability
    ``1 - k/n``; an incomplete one says nothing unless it is refuted.  So consistent speakers on every side leave even
    odds, and one who speaks alone is believed a little more with every check that it survives.
    """
    # By their values, so that neither labels nor seats change what is drawn.
    arguments = sorted(arguments, key=lambda one: one.value)
    chains = [_complete(working, one) for one in arguments]
    done: dict[tuple[Any, ...], int] = {}

    def check(argument: Argument, about: str) -> None:
        task = working.task(about, argument.stated)
        if argument.refuted or task is None or (task not in done and len(done) >= budget):
            return
        if task not in done:
            done[task] = working.carry_out(task)
        argument.checked.add(about)
        argument.refuted = done[task] != argument.stated[about]

    for about in sorted({about for one in arguments for about in one.stated}, key=working.rank):
        standing = [one for one in arguments if about in one.stated and not one.refuted]
        if len({one.stated[about] for one in standing}) > 1:
            for one in standing:
                check(one, about)
    others = [
        (one, about)
        for one, chain in zip(arguments, chains, strict=True)
        for about in chain or sorted(one.stated, key=working.rank)
    ]
    random.Random(seed).shuffle(others)
    for one, about in others:
        check(one, about)

    weights = []
    for value in values:
        weight = 1.0
        for one, chain in zip(arguments, chains, strict=True):
            if one.value == value:
                weight *= FLOOR if one.refuted else 1.0
            elif chain is not None and not one.refuted:
                weight *= max(FLOOR, 1 - len(one.checked.intersection(chain)) / len(chain))
        weights.append(weight)
    return [weight / sum(weights) for weight in weights]


def _complete(working: Working, argument: Argument) -> list[str] | None:
    """The steps that an argument's answer rests on; None if it does not get there."""
    if argument.stated.get(working.goal) != argument.value:
        return None
    return working.chain(argument.stated)


class BoundedAgent(Agent):
    """An agent that does a bounded amount of work in a turn, exactly, and no more.

    *Deciding*: it works the answer out if its budget is enough; then it is certain, whatever was said.  Else it spends
    the budget on checks of what the speakers stated (:func:`weigh`).  Where nothing was stated every answer is equally
    likely to it, and says so: a verdict that is scored as a fair draw would be, without the draw's noise.

    *Speaking* for an answer: if its budget is enough for the whole question, it states all steps to that answer: true
    ones for the right answer, and with one false step for a wrong one.  Which step is false is drawn under the
    request's seed.  If the budget is not enough, it cannot know which answer is right, and states the true steps that
    it has worked out.  Later speeches add nothing to a complete argument.

    Parameters
    ----------
    budget : units of work in a turn.
    working : the steps of the question in a view, whose answers have their values in ``by_answer["value"]``.
    assisted : whether, deciding, it takes the steps of a speaker who is on nobody's side as given: then one unit of
        work gives the answer where that speaker has stated all that it rests on directly.
    """

    def __init__(self, budget: int, working: Callable[[View], Working], assisted: bool = False) -> None:
        super().__init__(f"bounded/{budget}")
        self.budget, self.working, self.assisted = budget, working, assisted

    def describe(self) -> dict[str, Any]:
        return {"agent": self.name, "version": 1, **({"assisted": True} if self.assisted else {})}

    async def speak(self, request: Speak) -> Speech:
        """The steps for its answer that it has not stated yet; true ones for a speaker without an answer."""
        view = request.view
        if request.form == "parts":
            return Speech(self._parts(view))
        if request.form == "answer":
            return self._answer(request)
        if request.form == "critique":
            return self._critique(request)
        if request.form == "queries":
            raise CannotSpeak(f"{self.name} makes up no questions: cast somebody else as the attacker")
        working = self.working(view)
        if self.budget < working.units or view.position is None:
            steps = working.worked_out(self.budget)
        else:
            value = _values(view)[view.position]
            steps = working.leading_to(value, random.Random(seed_from(request.seed, "step")))
        # An argument that is checked step by step is given whole, written again or not.
        own = [] if request.form == "steps" else [turn for turn in view.turns if turn.own]
        said = {about for turn in own for about in working.read(turn.text)}
        lines = [
            f"Step {number}: {step.about} = {step.value}"
            for number, step in enumerate(dict.fromkeys(steps), start=1)
            if step.about not in said
        ]
        return Speech("\n".join(lines) or "I have no step to add.")

    def _parts(self, view: View) -> str:
        """The parts of a question that is too much for it, one a line; ``NONE`` for others."""
        if not view.structure:
            return "NONE"
        working = self.working(view)
        parts = [] if self.budget >= working.units else working.split()
        return "\n".join(f"{number}. {working.asked(part)}" for number, part in enumerate(parts, start=1)) or "NONE"

    def _answer(self, request: Speak) -> Speech:
        """The value, worked out from the answers to the parts or by itself; a guess where it can do neither.

        Raises
        ------
        TurnFailed
            if the question is none of its arena's, or it can neither do the work nor guess among answers.
        """
        view = request.view
        if not view.structure:
            raise TurnFailed(f"{self.name} cannot read the question {view.question!r}")
        working = self.working(view)
        if self.budget >= working.units:
            return Speech(str(dict(working.worked_out(self.budget))[working.goal]))
        told = dict(_solved(turn.text) for turn in view.turns)
        stated = {about: told[working.asked(about)] for about in working.split() if working.asked(about) in told}
        task = working.task(working.goal, stated)
        if task is not None:
            return Speech(str(working.carry_out(task)))
        if not view.answers:
            raise TurnFailed(f"{self.name} cannot do {working.units} units of work in a turn, nor guess the answer")
        guess = random.Random(seed_from(request.seed, "guess")).choice(sorted(answer.text for answer in view.answers))
        return Speech(guess, notes=(f"a guess: {working.units} units of work are more than {self.budget}",))

    def _critique(self, request: Speak) -> Speech:
        """What its budget finds wrong with the last turn: the answer worked out, or as many of its steps checked.

        Steps are checked in an order drawn under the request's seed, so that a larger budget checks what a smaller one
        does.  At the first that does not follow, the rest of the budget goes into what rests on it.

        Raises
        ------
        TurnFailed
            if there is no turn to read, or the question is none of its arena's.
        """
        view = request.view
        if not view.structure or not view.turns:
            raise TurnFailed(f"{self.name} has nothing to criticise: it needs a question of its arena and an answer")
        working, said = self.working(view), view.turns[-1].text
        stated = working.read(said)
        if (answer := _answer_line(said)) is not None:
            stated[working.goal] = answer
        if self.budget >= working.units:
            values = dict(working.worked_out(self.budget))
            found = [about for about, value in values.items() if stated.get(about, value) != value]
            if stated.get(working.goal) == values[working.goal]:
                return Speech("I have worked it out: the answer is right.\nVerdict: right")
            return Speech(_fault(found or [working.goal], values, working.goal))
        order = sorted(stated, key=working.rank)
        random.Random(seed_from(request.seed, "checks")).shuffle(order)
        left, checked = self.budget, 0
        for about in order:
            task = working.task(about, stated)
            if task is None or not left:
                continue
            left, checked = left - 1, checked + 1
            value = working.carry_out(task)
            if value != stated[about]:
                return Speech(_fault(*_mended(working, stated, about, value, left), working.goal))
        return Speech(f"I have checked {checked} of {working.units} steps and found no mistake.\nVerdict: right")

    async def choose(self, request: Choose) -> Choice:
        """Its probabilities: certain, after checks, or even."""
        view = request.view
        labels = [answer.label for answer in view.answers]
        if request.of_a_step:
            holds = self._holds(view)
            return Choice({HOLDS: holds, FAILS: 1 - holds}, "engine")
        if request.of_speeches or "value" not in view.by_answer:  # it is no judge of style
            return Choice(dict.fromkeys(labels, 1 / len(labels)), "engine")
        values = _values(view)
        working = self.working(view)
        found = self._worked_out(view, working)
        if found is not None:
            right = [label for label in labels if values[label] == found] or labels
            return Choice({label: (label in right) / len(right) for label in labels}, "engine")
        trees = [turn.text for turn in view.turns if turn.label is None and not turn.own]
        if trees:
            weights = _trusted(working, read_outline(trees[-1]), [values[label] for label in labels], self.budget)
            return Choice(dict(zip(labels, weights, strict=True)), "engine")
        arguments: dict[str, Argument] = {}
        for turn in view.turns:
            if turn.label is not None and not turn.private:
                argument = arguments.setdefault(turn.speaker, Argument(values[turn.label]))
                argument.stated.update(working.read(turn.text))
        seed = seed_from(request.seed, "checks")
        weights = weigh(working, list(arguments.values()), [values[label] for label in labels], self.budget, seed)
        return Choice(dict(zip(labels, weights, strict=True)), "engine")

    def _holds(self, view: View) -> float:
        """How likely the last turn follows from those before it: certain after a unit of work, else even.

        What a step rests on is taken as it is stated.  A step that it cannot read, or that rests on what nobody has
        stated, is as likely to hold as to fail.
        """
        if not view.structure:
            return 0.5
        working = self.working(view)
        stated: dict[str, int] = {}
        for turn in view.turns[:-1]:
            question, mark, _ = turn.text.rpartition("\nAnswer: ")
            if mark:
                part = next((one for one in working.split() if working.asked(one) == question), None)
                value = _whole(turn.text[len(question) + len(mark) :])
                stated.update({} if part is None or value is None else {part: value})
            else:
                stated.update(working.read(f"Step: {turn.text}"))
        last = view.turns[-1].text
        if last.startswith("Answer: "):
            value = _whole(last.removeprefix("Answer: "))
            claimed = {} if value is None else {working.goal: value}
        else:
            claimed = working.read(f"Step: {last}")
        for about, value in claimed.items():
            task = working.task(about, stated)
            if about in stated:
                return float(stated[about] == value)
            if task is not None:
                return float(working.carry_out(task) == value)
        return 0.5

    def _worked_out(self, view: View, working: Working) -> int | None:
        """The answer, by its own work or from what an assistant has stated; None where that is more than it can do."""
        if self.budget >= working.units:
            return dict(working.worked_out(self.budget))[working.goal]
        if not self.assisted:
            return None
        given: dict[str, int] = {}
        for turn in view.turns:
            if turn.label is None and not turn.own:
                given.update(working.read(turn.text))
        task = working.task(working.goal, given)
        return None if task is None else working.carry_out(task)


def _answer_line(text: str) -> int | None:
    """The value of the last line ``Answer: 14``, or of a text that is a number and nothing else."""
    found = read_answer(text)
    return None if found is None else _whole(found)


def _whole(text: str) -> int | None:
    """A whole number; None where the text is none."""
    plain = text.strip()
    return int(plain.replace("−", "-")) if re.fullmatch(r"[-−]?[0-9]{1,400}", plain) else None


def _mended(
    working: Working, stated: Mapping[str, int], about: str, value: int, budget: int
) -> tuple[list[str], dict[str, int]]:
    """Steps that change when one of them is put right, as far as the budget goes, and their values."""
    values, changed = {**stated, about: value}, [about]
    for later in sorted(stated, key=working.rank):
        task = working.task(later, values)
        if working.rank(later) <= working.rank(about) or task is None or task == working.task(later, stated):
            continue
        if not budget:
            break
        budget -= 1
        values[later] = working.carry_out(task)
        changed.append(later)
    return changed, values


def _fault(steps: Sequence[str], values: Mapping[str, int], goal: str) -> str:
    """A critique that puts these steps right, and the answer if it is one of them."""
    lines = ["This does not follow. It should be:"]
    lines += [f"Step {number}: {about} = {values[about]}" for number, about in enumerate(steps, start=1)]
    if goal in steps:
        lines.append(f"Answer: {values[goal]}")
    return "\n".join([*lines, "Verdict: wrong"])


def _solved(text: str) -> tuple[str, int]:
    """The question and the value of a part that was solved; a value that is no number fails the turn."""
    question, _, answer = text.rpartition("\nAnswer: ")
    value = _whole(answer)
    if value is None:
        raise TurnFailed(f"the answer {answer.strip()[:40]!r} to {question!r} is no number")
    return question, value


def _trusted(working: Working, tree: Node | None, values: Sequence[int], budget: int) -> list[float]:
    """A probability for each value, after checking at most ``budget`` nodes of a tree, from the root downwards.

    A node is checked from the answers to its parts; one without parts by its own work, where the budget allows that.
    Bayes' rule as in :func:`weigh`, for a judge who takes it that a tree with a wrong answer has one wrong node,
    anywhere: with ``k`` of ``n`` nodes checked it survives with probability ``1 - k/n``.
    """
    even = [1 / len(values)] * len(values)
    if tree is None or not re.fullmatch(r"[-−]?[0-9]{1,400}", tree.answer):
        return even
    root = int(tree.answer.replace("−", "-"))
    if root not in values:
        return even
    checked = total = 0
    refuted = False
    for _, node in tree.walk():
        total += 1
        if budget < 1 or refuted:
            continue
        stated = {}
        for part in node.parts:
            about = working.recognised(part.question.removeprefix("What is ").removesuffix("?"))
            if about is not None and re.fullmatch(r"[-−]?[0-9]{1,400}", part.answer):
                stated[about] = int(part.answer.replace("−", "-"))
        about = working.recognised(node.question.removeprefix("What is ").removesuffix("?"))
        task = None if about is None else working.task(about, stated)
        if task is not None:
            budget -= 1
            checked += 1
            refuted = str(working.carry_out(task)) != node.answer.replace("−", "-")
    others = FLOOR if not refuted and checked == total else max(FLOOR, 1 - checked / total)
    weights = [(FLOOR if refuted else 1.0) if value == root else (1.0 if refuted else others) for value in values]
    return [weight / sum(weights) for weight in weights]


def _values(view: View) -> dict[str, int]:
    return {answer.label: value for answer, value in zip(view.answers, view.by_answer["value"], strict=True)}


def bounded_agent(name: str, working: Callable[[View], Working], assisted: bool = False) -> BoundedAgent | None:
    """The agent called ``bounded/K``; None for every other family.

    Raises
    ------
    ConfigurationError
        if what follows ``bounded/`` is no whole number from 1.
    """
    family, _, number = name.partition("/")
    if family != "bounded":
        return None
    if not re.fullmatch("[0-9]{1,9}", number) or int(number) < 1:
        raise ConfigurationError(f"agent {name!r}: write bounded/K with K units of work a turn, for example bounded/3")
    return BoundedAgent(int(number), working, assisted)
