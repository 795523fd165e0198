"""How a protocol is written: roles, turns, and the graph they form.

A protocol is one short class.  Its roles are class attributes, its options are pydantic fields, and
:meth:`Protocol.graph` composes turns with ``>>`` (then), :func:`together` (at the same time, blind to each
other), :func:`in_turn`, :func:`repeat` and :func:`branch`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from .errors import ConfigurationError
from .identity import digest, source_digest
from .limits import Limits
from .prompt_files import read_prompts
from .requests import Stakes
from .transcript import Transcript

__all__ = [
    "Branch",
    "Checks",
    "Consultant",
    "Debater",
    "Graph",
    "Judge",
    "Protocol",
    "Recursion",
    "Repeat",
    "Role",
    "Seat",
    "Sequence",
    "Step",
    "Together",
    "branch",
    "in_turn",
    "repeat",
    "solves",
    "together",
    "verifies",
]

StepKind = Literal["speech", "claim", "verdict", "solution"]
Condition = Callable[[Transcript], bool]


class Graph:
    """A piece of a protocol; ``a >> b`` is a followed by b."""

    def __rshift__(self, then: Graph) -> Graph:
        if not isinstance(then, Graph):
            return NotImplemented
        left = self.parts if isinstance(self, Sequence) else (self,)
        right = then.parts if isinstance(then, Sequence) else (then,)
        return Sequence((*left, *right))

    def steps(self) -> Iterator[Step]:
        """Every step, loops counted once, in reading order."""
        raise NotImplementedError


@dataclass(frozen=True)
class Seat:
    """A place at the table: a role, and a number where the role has several places.

    Parameters
    ----------
    role : the role.
    index : 0 for the first to speak.
    """

    role: Role
    index: int = 0

    def __hash__(self) -> int:
        return hash((self.role.name, self.index))  # seats are looked up all the time, and a role's texts are long

    @property
    def name(self) -> str:
        """``judge`` and ``judge 2``; ``debater 1`` and ``debater 2`` where the role argues for an answer."""
        numbered = self.role.argues_for_an_answer or self.index
        return f"{self.role.name} {self.index + 1}" if numbered else self.role.name

    def argues(self, *, task: str = "", hears: tuple[Seat, ...] | None = None) -> Step:
        """A speech for the seat's answer.

        ``task``: which of the role's tasks it is asked for beside its instructions.  ``hears``: the seats it
        listens to (default: all that came before).
        """
        return Step(self, "speech", hears, task=task)

    def speaks(
        self, *, task: str = "", hears: tuple[Seat, ...] | None = None, heard_by: tuple[Seat, ...] | None = None
    ) -> Step:
        """A speech of a seat that need not argue for an answer: a question, a critique.

        ``heard_by``: the seats that hear it (default: everyone); ``()`` makes it private to its seat.
        """
        return Step(self, "speech", hears, heard_by=heard_by, task=task)

    def claims(self, *, hears: tuple[Seat, ...] | None = None) -> Step:
        """The seat states in public which answer it holds, and argues for that one from then on."""
        return Step(self, "claim", hears)

    def decides(
        self,
        *,
        hears: tuple[Seat, ...] | None = None,
        told: tuple[Seat, ...] = (),
        heard_by: tuple[Seat, ...] | None = None,
    ) -> Step:
        """A verdict: a probability for each answer.  The last verdict ends the episode.

        ``told``: seats that never speak, whose answers it is told all the same.  ``heard_by``: the seats that
        are shown its probabilities; by default it is private to its seat.
        """
        return Step(self, "verdict", hears, told, heard_by=heard_by)


@dataclass(frozen=True)
class Role:
    """A position in a protocol, and what it may see.

    Parameters
    ----------
    sees_material : whether it sees the question's hidden material; must be declared.
    instructions : its part in the protocol, addressed to whoever plays it.  ``{speaker}``, ``{answer}``
        (label and text of the answer it argues for) and ``{positions}`` (who argues for what) are filled in.
    expert : a judge that is meant to see the hidden material (the ceiling of a comparison).
    argues_for_an_answer : whether each of its seats defends an answer.
    claim_instructions : what it is asked when it states which answer it holds.
    tasks : what it is asked in single turns beside its instructions, by name; filled in like these.
    supervised : whether it belongs to the side that is overseen, which a tournament's debaters play; by default
        the roles that argue for an answer do.
    name : filled in from the attribute it is assigned to.
    """

    sees_material: bool | None = None
    instructions: str = ""
    expert: bool = False
    argues_for_an_answer: bool = False
    claim_instructions: str = "State which answer you believe to be correct. You will then argue for it."
    tasks: Mapping[str, str] = field(default_factory=dict, hash=False)
    supervised: bool | None = None
    name: str = ""

    @property
    def is_supervised(self) -> bool:
        """Whether it belongs to the side that is overseen."""
        return self.argues_for_an_answer if self.supervised is None else self.supervised

    def as_expert(self) -> Self:
        """The same role, declared to see the hidden material."""
        return replace(self, sees_material=True, expert=True)

    def __set_name__(self, owner: type, name: str) -> None:
        object.__setattr__(self, "name", name)

    def __get__(self, protocol: Protocol | None, owner: type) -> Self:
        """The role, with the texts that the protocol's user has put in place of its own."""
        texts = {} if protocol is None else protocol.texts_of(self.name)
        return self if not texts else self.with_texts(texts)

    def texts(self) -> dict[str, str]:
        """Everything that the role is told, by name: ``instructions``, ``claim`` and the tasks."""
        claim = {"claim": self.claim_instructions} if self.argues_for_an_answer else {}
        return {"instructions": self.instructions, **claim, **self.tasks}

    def told(self, text: str) -> Self:
        """The same role with one of its tasks in place of its instructions."""
        return replace(self, instructions=self.tasks[text])

    def with_texts(self, texts: Mapping[str, str]) -> Self:
        """The same role with some of its :meth:`texts` replaced."""
        changed = {**self.texts(), **texts}
        instructions, claim = changed.pop("instructions"), changed.pop("claim", self.claim_instructions)
        return replace(self, instructions=instructions, claim_instructions=claim, tasks=changed)

    def seat(self, index: int) -> Seat:
        """The role's seat number ``index``, from 0."""
        return Seat(self, index)

    def argues(self, *, task: str = "", hears: tuple[Seat, ...] | None = None) -> Step:
        """See :meth:`Seat.argues`, for the role's first seat."""
        return self.seat(0).argues(task=task, hears=hears)

    def speaks(
        self, *, task: str = "", hears: tuple[Seat, ...] | None = None, heard_by: tuple[Seat, ...] | None = None
    ) -> Step:
        """See :meth:`Seat.speaks`, for the role's first seat."""
        return self.seat(0).speaks(task=task, hears=hears, heard_by=heard_by)

    def claims(self, *, hears: tuple[Seat, ...] | None = None) -> Step:
        """See :meth:`Seat.claims`, for the role's first seat."""
        return self.seat(0).claims(hears=hears)

    def decides(
        self,
        *,
        hears: tuple[Seat, ...] | None = None,
        told: tuple[Seat, ...] = (),
        heard_by: tuple[Seat, ...] | None = None,
    ) -> Step:
        """See :meth:`Seat.decides`, for the role's first seat."""
        return self.seat(0).decides(hears=hears, told=told, heard_by=heard_by)


@dataclass(frozen=True)
class Debater(Role):
    """Defends an answer against other debaters; sees the hidden material unless told otherwise."""

    sees_material: bool | None = True
    argues_for_an_answer: bool = True


@dataclass(frozen=True)
class Consultant(Role):
    """Argues for an answer with nobody to object; sees the hidden material unless told otherwise."""

    sees_material: bool | None = True
    argues_for_an_answer: bool = True


@dataclass(frozen=True)
class Judge(Role):
    """Gives the verdict; does not see the hidden material unless it is declared an expert."""

    sees_material: bool | None = False


@dataclass(frozen=True)
class Recursion:
    """How a question is split into parts that are answered as it is.

    Parameters
    ----------
    decomposer, combiner : the seats that split questions, and that answer them from their parts; the seat of the step
        answers what is not split.
    depth : levels below the question, at most; the check refuses None.  With 0 the question is answered as it is, and
        nobody splits, combines or checks.
    most_parts : parts of one question, at most.
    budget : requests for the whole tree, at most; the check refuses None.
    checker : the seat that is asked of every question that was split whether its answer follows from those of its
        parts, beside the budget; None for nobody.
    """

    decomposer: Seat
    combiner: Seat
    depth: int | None
    most_parts: int
    budget: int | None
    checker: Seat | None = None

    @property
    def most_splits(self) -> int:
        """How many questions are split at most: each takes two requests, and one part at least."""
        if self.depth is None or self.budget is None:
            return 0
        return min(int(sum(self.most_parts**level for level in range(self.depth))), max(self.budget - 1, 0) // 2)

    @property
    def most_requests(self) -> int:
        """How many requests are made at most, those of the checker included."""
        if self.depth is None or self.budget is None:
            return 0
        tree = min(self.budget, 2 * self.most_splits + int(self.most_parts**self.depth))
        return tree + (self.most_splits if self.checker is not None else 0)


@dataclass(frozen=True)
class Checks:
    """How a verdict is put together from checks of single steps.

    Parameters
    ----------
    of : the seats whose arguments are checked, step by step, and whether the answer follows from the steps.
    most_steps : steps of one argument, at most.
    rule : how likely an argument is to be sound: the product of the probabilities that its steps hold, or the least.
    """

    of: tuple[Seat, ...]
    most_steps: int
    rule: Literal["product", "minimum"] = "product"

    @property
    def most_requests(self) -> int:
        """How many checks are made at most: of every step, and of what follows from them."""
        return len(self.of) * (self.most_steps + 1)


@dataclass(frozen=True)
class Step(Graph):
    """One turn of one seat.

    Parameters
    ----------
    seat : who takes it.
    kind : what is asked for.
    hears : the seats whose turns it sees; None for every turn before it.  A seat always sees its own.
    told : seats that never speak, whose answers it is told all the same.
    reads_reasoning_of : seats whose private reasoning is in its view, for agents that read it there; the prompt of
        a language model shows only its own.  The check refuses this for a judge.
    forwards : whether what it says repeats word for word what it sees (a tool that relays), so that its
        hearers see that too.
    heard_by : the seats that hear it, its own always; None for everyone in the case of a speech or claim, for
        nobody in that of a verdict.
    task : name of the role's task that is asked for; empty for none.
    limits : how long a speech is to be; None for no limit.
    thinks : whether the seat reasons in private first; None leaves it to the agent.
    candidates : how many speeches are written, of which one is taken.
    preferred_by : the seat that ranks the candidates: a judge, by its probability of the speaker's answer against
        opponents who say nothing to the point (best-of-n, Khan et al. 2024), or the speaker, by its own pick.
    own_first : whether the seat reads its own speech of a round before the others'.
    votes : how many draws a verdict is the shares of; 0 leaves it to the agent.
    explains : whether the reasons for a verdict are public to the seats that hear it.
    recursion : of a solution, how the question is split.
    most_steps : of a speech that is an argument in numbered steps, how many of them at most; 0 for any other.
    critic : the seat that criticises each candidate, after which its speaker writes it again; None for nobody.
    checks : of a verdict that is put together from checks of single steps, how.
    """

    seat: Seat
    kind: StepKind
    hears: tuple[Seat, ...] | None = None
    told: tuple[Seat, ...] = ()
    reads_reasoning_of: tuple[Seat, ...] = ()
    forwards: bool = False
    heard_by: tuple[Seat, ...] | None = None
    task: str = ""
    limits: Limits | None = None
    thinks: bool | None = None
    candidates: int = 1
    preferred_by: Seat | None = None
    own_first: bool = False
    votes: int = 0
    explains: bool = False
    recursion: Recursion | None = None
    most_steps: int = 0
    critic: Seat | None = None
    checks: Checks | None = None

    @property
    def private(self) -> bool:
        """Whether it is a speech that nobody but its own seat hears."""
        return self.kind == "speech" and self.heard_by is not None and set(self.heard_by) <= {self.seat}

    def reaches(self, other: Step) -> bool:
        """Whether a later step sees this one, as far as the two declare."""
        if self.seat == other.seat:
            return True
        if other.hears is not None and self.seat not in other.hears:
            return False
        return self.kind != "verdict" if self.heard_by is None else other.seat in self.heard_by

    def but(self, **changes: Any) -> Step:
        """The same step with some of its parameters changed."""
        return replace(self, **changes)

    def steps(self) -> Iterator[Step]:
        yield self
        if self.recursion is not None and self.recursion.depth != 0:  # those who take part, in the order they are asked
            yield Step(self.recursion.decomposer, "solution", task="split")
            yield Step(self.recursion.combiner, "solution", task="combine")
            if self.recursion.checker is not None:
                yield Step(self.recursion.checker, "solution", task="check")
        if self.critic is not None:
            yield Step(self.critic, "speech", heard_by=(self.seat,), task="criticise")
        if self.most_steps and self.preferred_by not in (None, self.seat, self.critic):
            yield Step(self.preferred_by, "speech", heard_by=(), task="rank")


@dataclass(frozen=True)
class Sequence(Graph):
    """Parts one after another."""

    parts: tuple[Graph, ...]

    def steps(self) -> Iterator[Step]:
        for part in self.parts:
            yield from part.steps()


@dataclass(frozen=True)
class Together(Graph):
    """Parts at the same time, blind to each other; what follows sees all of them."""

    parts: tuple[Graph, ...]

    def steps(self) -> Iterator[Step]:
        for part in self.parts:
            yield from part.steps()


@dataclass(frozen=True)
class Repeat(Graph):
    """A part several times.

    Parameters
    ----------
    part : what is repeated.
    at_most : how often; the check refuses a loop without a bound.
    until : read after each round but the last; the loop ends early when it is true of the transcript.
    between : what comes before each round but the first.
    first : what stands in place of the part in the first round.
    """

    part: Graph
    at_most: int | None
    until: Condition | None = None
    between: Graph | None = None
    first: Graph | None = None

    def steps(self) -> Iterator[Step]:
        if self.first is not None:
            yield from self.first.steps()
        yield from self.part.steps()
        if self.between is not None:
            yield from self.between.steps()


@dataclass(frozen=True)
class Branch(Graph):
    """One of two parts, by a condition on the transcript so far."""

    condition: Condition
    then: Graph
    otherwise: Graph

    def steps(self) -> Iterator[Step]:
        yield from self.then.steps()
        yield from self.otherwise.steps()


def together(*parts: Graph) -> Graph:
    """The parts at the same time, blind to each other.

    Verdicts given side by side that nobody hears are averaged.
    """
    if not parts:
        raise ConfigurationError("together(): give it one part or more")
    return parts[0] if len(parts) == 1 else Together(parts)


def in_turn(*parts: Graph) -> Graph:
    """The parts one after another, each seeing those before it; the same as ``a >> b >> c``."""
    if not parts:
        raise ConfigurationError("in_turn(): give it one part or more")
    return parts[0] if len(parts) == 1 else Sequence(parts)


def repeat(
    part: Graph,
    at_most: int | None = None,
    *,
    until: Condition | None = None,
    between: Graph | None = None,
    first: Graph | None = None,
) -> Graph:
    """The part ``at_most`` times, or until a condition on the transcript holds.

    ``between`` comes between rounds; ``first`` stands in place of the part in the first.
    """
    if at_most is not None and at_most < 1:
        raise ConfigurationError(f"repeat(..., {at_most}): a part is repeated at least once")
    if at_most == 1:
        return part if first is None else first
    return Repeat(part, at_most, until, between, first)


def solves(
    solver: Seat,
    *,
    decomposer: Seat,
    combiner: Seat,
    depth: int | None,
    most_parts: int,
    budget: int | None,
    checker: Seat | None = None,
) -> Step:
    """The question answered by being split into parts, each answered in the same way; see :class:`Recursion`.

    Roles have the tasks ``answer`` (the solver's), ``split`` (the decomposer's), ``combine`` (the combiner's) and
    ``check`` (the checker's).
    """
    recursion = Recursion(decomposer, combiner, depth, most_parts, budget, checker)
    return Step(solver, "solution", task="answer", recursion=recursion)


def verifies(
    judge: Seat, of: tuple[Seat, ...], *, most_steps: int, rule: Literal["product", "minimum"] = "product"
) -> Step:
    """A verdict put together from checks of the single steps of arguments; see :class:`Checks`.

    The judge's role has the task ``check``, which is asked of each step alone, blind to the other checks.
    """
    return Step(judge, "verdict", of, task="check", checks=Checks(of, most_steps, rule))


def branch(condition: Condition, then: Graph, otherwise: Graph) -> Graph:
    """``then`` where the condition holds of the transcript so far, else ``otherwise``."""
    return Branch(condition, then, otherwise)


class Protocol(BaseModel, ABC):
    """A graph of turns that ends in a verdict.

    Subclass it in one file: roles as class attributes, options as pydantic fields, a docstring that states
    the rules, who sees what and the source, and :meth:`graph`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(Role,))

    name: ClassVar[str]
    """The word on the command line."""

    combines: ClassVar[Literal["mean", "majority"]] = "mean"
    """How verdicts given side by side become one: their mean, or the share of them that each answer wins."""

    prefers: ClassVar[bool] = False
    """Whether the verdict is which answer is better, and not which is correct: people are asked in these words."""

    prompts: str = Field(
        default="", description="folder with prompt files of your own: oversight prompts writes the built-in ones"
    )

    label: str = Field(default="", description="how reports tell it from others of its name, in place of its options")

    # ---- override these -------------------------------------------------------------------------

    @abstractmethod
    def graph(self, answers: int) -> Graph:
        """The turns, for a question with this many answers."""

    def judge_score(self, transcript: Transcript, probability: float) -> float | None:
        """What the judge has earned, for a protocol that pays or charges it; None for one that does not.

        ``probability`` is what the verdict gives to the correct answer.
        """
        return None

    def stakes(self, transcript: Transcript) -> Stakes | None:
        """What going on costs a judge that is asked now, after these turns; None where it has no say in it."""
        return None

    # ---- machinery ------------------------------------------------------------------------------

    _texts: dict[str, dict[str, str]] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any) -> None:
        if self.prompts:  # read once: what is edited while a run goes on is another configuration
            own = {name: role.texts() for name, role in self._roles_of_class().items()}
            self._texts.update(read_prompts(self.prompts, own))

    @classmethod
    def _roles_of_class(cls) -> dict[str, Role]:
        found = (value for one in reversed(cls.__mro__) for value in vars(one).values())
        return {role.name: role for role in found if isinstance(role, Role)}

    def texts_of(self, role: str) -> Mapping[str, str]:
        """The texts of a role that the user's prompt files replace."""
        private = self.__pydantic_private__  # None while the options are still being read
        return {} if private is None else self._texts.get(role, {})

    @property
    def texts(self) -> dict[str, dict[str, str]]:
        """Everything that the roles are told, by role and name of the text; see :meth:`Role.texts`."""
        return {name: {**role.texts(), **self.texts_of(name)} for name, role in self._roles_of_class().items()}

    def roles(self, answers: int = 2) -> dict[str, Role]:
        """The roles that a cast must fill, by name, in order of appearance."""
        return {step.seat.role.name: step.seat.role for step in self.graph(answers).steps()}

    def describe(self) -> dict[str, Any]:
        """The protocol and its options, as they stand in a run's configuration.

        The roles' instructions and the source of the class are part of it: an edited prompt or graph makes
        another configuration, whose episodes are played again.
        """
        # As they are read: where a line ends in a file means nothing.
        instructions = {
            name: {text: " ".join(words.split()) for text, words in role.texts().items()}
            for name, role in self.roles().items()
        }
        options = self.model_dump(mode="json", exclude={"prompts", "label"})  # texts count, not where they stand
        kinds = [one for one in type(self).__mro__ if issubclass(one, Protocol) and one is not Protocol]
        files = list(dict.fromkeys(map(source_digest, kinds)))  # what it takes over from others is its code, too
        source = files[0] if len(files) == 1 else digest(files, 12)
        return {"protocol": self.name, **options, "instructions": instructions, "source": source}

    def most_turns(self, answers: int = 2, *, draws: bool = True) -> int:
        """How many turns an episode takes at most; ``draws``: candidates and votes are counted each.

        A tree counts with all its requests, and a verdict that is put together from checks with all of these.
        """
        return _most_turns(self.graph(answers), draws)

    @cached_property
    def key(self) -> str:
        """Digest of the protocol and its options: two configurations of one protocol have two keys."""
        return digest(self.describe())

    @property
    def title(self) -> str:
        """Name and label, or else the options that differ from their defaults as the command line reads them."""
        if self.label:
            return f"{self.name}({self.label})"
        changed = _changed(self)
        return f"{self.name}{changed}" if changed else self.name


def _most_turns(part: Graph, draws: bool) -> int:
    match part:
        case Step():
            if part.recursion is not None:
                return part.recursion.most_requests
            if part.checks is not None:
                return part.checks.most_requests
            written = 1 if part.critic is None else 3  # written, criticised, and written again
            return written * max(part.candidates, part.votes, 1) if draws else written
        case Sequence(parts) | Together(parts):
            return sum(_most_turns(one, draws) for one in parts)
        case Repeat(inner, int(at_most), _, between, first):
            later = _most_turns(inner, draws) + (0 if between is None else _most_turns(between, draws))
            return _most_turns(inner if first is None else first, draws) + (at_most - 1) * later
        case Branch(_, then, otherwise):
            return max(_most_turns(then, draws), _most_turns(otherwise, draws))
        case _:
            raise ConfigurationError("a part of the protocol has no bound: it cannot be said how many turns it takes")


def _changed(model: BaseModel) -> str:
    """Options that differ from their defaults as ``(name=value,...)``; empty where none does."""
    values = {name: getattr(model, name) for name in type(model).model_fields}
    changed = [
        f"{name}={_changed(value) if isinstance(value, BaseModel) else value}"
        for name, value in values.items()
        if value != type(model).model_fields[name].default
    ]
    return f"({','.join(changed)})" if changed else ""
