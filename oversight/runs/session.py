"""A session at the terminal: what a person is given next, and how the machines' turns are ready when they are.

Every episode in which people take part is a thread of LangGraph's checkpointer.  It is advanced until it waits for
somebody; a session picks one that waits and that this person may be given, asks, stores the reply, and lets the
episode go on.  Whatever ends the process, the next start finds the threads and the statements where they were.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agents.human import chosen_by, request_from_json, said_by
from ..errors import ConfigurationError
from ..graph.compile import Open, Thread, Waiting
from ..identity import seed_from
from ..requests import Choose
from ..terminal.front import Asked, Decided, Front, Place, Said, Skipped, Stopped
from ..together import gather_all
from ..transcript import Belief
from .attention import ATTENTION, AttentionArena, attention_agents, attention_episode
from .cascades import ESCALATION, Cascades
from .directory import RunDirectory
from .feedback import feedback_for
from .moderator import play_episode
from .people import People
from .plan import Episode, Plan

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

__all__ = ["SessionOptions", "Sitting", "checkpointer", "require_name"]

LOOK = 1.0
"""Seconds between looks at what other people's sessions have done."""

SOON = 0.3
"""Seconds that a machine's turn may take before the person is told that it is waited for."""


@dataclass(frozen=True)
class SessionOptions:
    """Who sits at the terminal, and how.

    Parameters
    ----------
    name : the person's name in the record; empty for none.
    plain : lines for a screen reader instead of a screen.
    feedback : whether the correct answer is told once a verdict is kept.
    ahead : for how many items the machines' turns are prepared before they are needed.
    budget : most episodes that people may be given; None for no limit.
    prepare_only : play the machines' turns and ask nobody.
    front : the terminal; None for the one of this process.
    """

    name: str = ""
    plain: bool = False
    feedback: bool = False
    ahead: int = 3
    budget: int | None = None
    prepare_only: bool = False
    front: Front | None = None

    def __post_init__(self) -> None:
        require_name(self.name)
        if self.budget is not None and self.budget < 0:
            raise ConfigurationError(f"--human-budget {self.budget}: give a number of episodes, 0 or more")
        if self.ahead < 1:
            raise ConfigurationError(f"--ahead {self.ahead}: prepare at least one item")

    @property
    def person(self) -> str:
        """The name in records."""
        return f"human/{self.name}" if self.name else "human"


def require_name(name: str) -> None:
    """Raise ConfigurationError unless a name can stand in a record: printable, without a slash, not too long."""
    if name and (not name.isprintable() or "/" in name or len(name) > 40 or name != name.strip()):
        raise ConfigurationError(f"--as {name!r}: give at most 40 letters or digits, without a slash")


@asynccontextmanager
async def checkpointer(folder: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """LangGraph's checkpointer of a run directory, which several processes may have open."""
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with aiosqlite.connect(folder / "checkpoints.sqlite", timeout=60) as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=FULL")
        saver = AsyncSqliteSaver(connection)
        await saver.setup()
        yield saver


@dataclass
class Held:
    """An episode that waits for somebody."""

    episode: Episode
    open: tuple[Open, ...]
    seats: Mapping[str, str]
    """By step that waits, the seat that is asked."""


@dataclass
class Sitting:
    """The episodes of a run in which people take part, as one session sees them.

    Parameters
    ----------
    plan : what is run.
    cascades : who plays what.
    directory : the run directory.
    saver : holds the episodes that wait.
    people : what this person and the others have stated.
    options : who sits here, and how.
    """

    plan: Plan
    cascades: Cascades
    directory: RunDirectory
    saver: BaseCheckpointSaver[Any]
    people: People
    options: SessionOptions
    held: dict[str, Held] = field(default_factory=dict)
    _under_way: dict[str, asyncio.Task[Held | None]] = field(default_factory=dict)
    _on: dict[str, asyncio.Lock] = field(default_factory=dict)
    _seats_of: dict[str, list[str]] = field(default_factory=dict)
    _failure: BaseException | None = None

    def __post_init__(self) -> None:
        self._attention_arena = AttentionArena()

    # ---- letting episodes go on ---------------------------------------------------------------------

    async def advance(self, episode: Episode, replies: Mapping[str, Any] | None = None) -> Held | None:
        """Let an episode go on until it waits for somebody or ends; None where it has ended."""
        self.held.pop(episode.id, None)
        async with self._alone(episode):
            self.directory.refresh()
            if self.directory.finished.get(episode.id) is not None:
                return None
            thread = Thread(self.saver, episode.id)
            while True:
                try:
                    record = await play_episode(
                        episode,
                        self.plan.compiled_for(episode),
                        self._attention_arena if episode.purpose == ATTENTION else self.plan.arena,
                        {**self.cascades.of(episode), **attention_agents()},
                        self.directory.journal,
                        self.plan.seed,
                        thread,
                        replies,
                    )
                except Waiting as waiting:
                    # Stored, but the process ended before the episode had taken it in.
                    stored = {one.id: self._known(episode, one) for one in waiting.open}
                    replies = {name: reply for name, reply in stored.items() if reply is not None}
                    if replies:
                        continue
                    seats = self._seats(episode)
                    self.held[episode.id] = Held(
                        episode, waiting.open, {one.step: seats[one.step] for one in waiting.open}
                    )
                    return self.held[episode.id]
                if episode.recording is not None:
                    record["recording"] = episode.recording.mark()
                await self.directory.add(record)
                await self.saver.adelete_thread(episode.id)
                return None

    def _known(self, episode: Episode, question: Open) -> Any:
        """The answer to an open question that is stored already; None where it is still to be asked for."""
        if question.value["kind"] == ESCALATION:
            return self.people.may_escalate(episode.id) or None
        return self.people.reply(episode.id, question.step)

    async def escalate(self, budget: int) -> None:
        """Hand to people what the cascades' judges are least sure of, and have them abstain from the rest.

        Everything must have been played as far as it goes without people: what is least sure is known only then.
        """
        asking = {
            held.episode.id: (held.episode, one)
            for held in self.held.values()
            for one in held.open
            if one.value["kind"] == ESCALATION
        }
        confidences = {name: float(one.value["confidence"]) for name, (_, one) in asking.items()}
        decided = self.people.escalate(confidences, budget)
        await gather_all([self.begin(episode, {one.id: decided[name]}) for name, (episode, one) in asking.items()])

    def begin(self, episode: Episode, replies: Mapping[str, Any] | None = None) -> asyncio.Task[Held | None]:
        """Let an episode go on in the background; once, however often it is asked for."""
        task = self._under_way.get(episode.id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self.advance(episode, replies))
            self._under_way[episode.id] = task
            task.add_done_callback(lambda task: self._ended(episode.id, task))
        return task

    def _ended(self, episode: str, task: asyncio.Task[Held | None]) -> None:
        self._under_way.pop(episode, None)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()  # nobody may be waiting for it: the session ends with it

    @asynccontextmanager
    async def _alone(self, episode: Episode) -> AsyncIterator[None]:
        """Keep everybody else from the turns on the same question: who comes second finds them in the journal."""
        from filelock import Timeout

        question = episode.question.id
        async with self._on.setdefault(question, asyncio.Lock()):
            lock = self.directory.working_on(question)
            while True:
                try:
                    lock.acquire(timeout=0)
                    break
                except Timeout:
                    await asyncio.sleep(0.1)
            try:
                yield
            finally:
                lock.release()

    def _seats(self, episode: Episode) -> dict[str, str]:
        instances = self.plan.compiled_for(episode).unrolled.instances
        return {name: one.step.seat.name for name, one in instances.items()}

    async def stop(self) -> None:
        """Give up what is under way; calls that are paid for are waited for by the journal."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- what comes next ----------------------------------------------------------------------------

    def _source(self, episode: Episode) -> str:
        if episode.purpose == ATTENTION:
            return episode.id  # however often: it tells nothing about another
        return self.plan.people.source(episode.question)

    def _human_seats(self, episode: Episode) -> list[str]:
        if episode.purpose == ATTENTION:
            return ["judge"]
        if episode.id not in self._seats_of:
            self._seats_of[episode.id] = sorted(self.plan.people_in(episode))
        return self._seats_of[episode.id]

    def _attention(self) -> Episode | None:
        """The item that checks whether this person reads, where it is their turn to be given one."""
        every = self.plan.people.attention_every
        if not every:
            return None
        block, place = divmod(self.people.standing().done, every)
        if place != seed_from(self.plan.seed, self.options.person, "attention", block) % every:
            return None
        return attention_episode(self.options.person, block, self.plan.seed)

    def _free_seats(self, episode: Episode, seats: Sequence[str]) -> Iterator[str]:
        """The seats of these that this person has or could take."""
        # Of what a cascade hands on, the budget has taken its part before.
        budget = None if self.cascades.names else self.options.budget
        spent = budget is not None and len({one for one, _ in self.people.taken()}) >= budget
        for seat in seats:
            # What somebody has begun is theirs to finish, whatever the budget is by then.
            free = not spent and self.people.free(episode.id, seat, self._source(episode))
            if free or self.people.mine(episode.id, seat):
                yield seat

    def _top_up(self, queue: Sequence[Episode]) -> list[asyncio.Task[Held | None]]:
        """Have so many items prepared for this person as were asked for; gives what is being prepared."""
        ready = sum(
            any(True for _ in self._free_seats(one.episode, list(one.seats.values()))) for one in self.held.values()
        )
        preparing: list[asyncio.Task[Held | None]] = []
        for episode in queue:
            if ready + len(preparing) >= self.options.ahead:
                break
            if episode.id in self.held:
                continue
            if episode.id in self._under_way or any(
                True for _ in self._free_seats(episode, self._human_seats(episode))
            ):
                preparing.append(self.begin(episode))
        return preparing

    def waiting_for_me(self, queue: Sequence[Episode]) -> int:
        """How many items this person could still be given."""
        sources = self.people.sources()
        taken = self.people.taken()
        count = 0
        for episode in queue:
            seats = self._human_seats(episode)
            if self._source(episode) not in sources and any((episode.id, seat) not in taken for seat in seats):
                sources.add(self._source(episode))
                count += 1
        return count

    def owed(self) -> list[Episode]:
        """The episodes with people that are not finished, those that this person has begun first."""
        self.directory.refresh()
        finished = self.directory.finished
        begun = {episode for episode, _ in self.people.begun()}
        owed = [one for one in self._with_people if finished.get(one.id) is None]
        check = self._attention()
        if check is not None and finished.get(check.id) is None and (begun or self.waiting_for_me(owed)):
            owed.insert(0, check)
        return sorted(owed, key=lambda one: one.id not in begun)  # stable: else as planned

    @property
    def _with_people(self) -> list[Episode]:
        if self._episodes is None:
            self._episodes = [one for one in self.plan.episodes() if self._human_seats(one)]
        return self._episodes

    _episodes: list[Episode] | None = None

    async def next(self, front: Front) -> tuple[Held, str] | None:
        """An item for this person with the seat that is theirs, waited for if need be; None where there is none."""
        while True:
            if self._failure is not None:
                raise self._failure
            queue = self.owed()
            if queue and queue[0].purpose == ATTENTION and queue[0].id not in self.held:
                await self.begin(queue[0])  # its speakers are scripted
            preparing = self._top_up(queue)
            begun = {episode for episode, _ in self.people.begun()}
            resuming = [self._under_way[one] for one in begun if one in self._under_way]
            for episode in queue:
                held = self.held.get(episode.id)
                if held is None or (resuming and episode.id not in begun):
                    continue
                for seat in self._free_seats(episode, list(held.seats.values())):
                    if self.people.claim(episode.id, seat, self._source(episode)):
                        return held, seat
            pending = resuming or preparing
            if not pending:
                others = [one for one in queue if one.id in self.held and self._waits_for_others(one)]
                if not others:
                    return None
                looking = asyncio.ensure_future(self._look_again(others))
                if not await self._wait(front, "Somebody else is to take a turn", looking):
                    looking.cancel()
                    raise _Stop
                continue
            one_done = asyncio.ensure_future(asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED))
            if not await self._wait(front, "The next item is being prepared", one_done):
                raise _Stop

    def _waits_for_others(self, episode: Episode) -> bool:
        """Whether this person has, or could still take, a seat that is to be asked once others have answered."""
        return any(True for _ in self._free_seats(episode, self._human_seats(episode)))

    async def _look_again(self, episodes: Sequence[Episode]) -> None:
        """Until others have let one of these episodes go on, in whatever process."""
        before = {one.id: [question.id for question in self.held[one.id].open] for one in episodes}
        while True:
            await asyncio.sleep(LOOK)
            for episode in episodes:
                held = await self.begin(episode)
                if held is None or [question.id for question in held.open] != before[episode.id]:
                    return

    async def _wait(self, front: Front, for_what: str, ready: asyncio.Future[Any]) -> bool:
        """Wait, and say so where it takes long; False where the person stops."""
        done, _ = await asyncio.wait([ready], timeout=SOON)
        return bool(done) or await front.wait(for_what, ready, self._place())

    # ---- asking -------------------------------------------------------------------------------------

    def _place(self) -> Place:
        return Place(self.people.standing().done + 1, self.waiting_for_me(self.owed()))

    async def hold(self, front: Front) -> bool:
        """Give this person one item after another; whether they came to the end of them."""
        try:
            while True:
                found = await self.next(front)
                if found is None:
                    return True
                if not await self._sit(front, *found):
                    return False
        except _Stop:
            return False

    async def _sit(self, front: Front, held: Held, seat: str) -> bool:
        """One item from its first open question to its last; False where the person stops."""
        episode = held.episode
        going: Held | None = held
        while going is not None and (mine := [one for one in going.open if going.seats[one.step] == seat]):
            answered = await self._ask(front, episode, mine[0])
            if answered is None:
                return False
            if isinstance(answered, Skipped):
                self.people.skip(episode.id, seat, answered.reason)
                return True
            self.people.keep_reply(episode.id, mine[0].step, answered)
            task = self.begin(episode, {mine[0].id: answered})
            if not await self._wait(front, "The others take their turns", task):
                return False
            going = task.result()
        self.people.finish(episode.id)
        feedback = feedback_for(self.directory.path, self.options.person, episode) if self.options.feedback else None
        done = self.people.standing().done
        return await front.rest(Place(done, self.waiting_for_me(self.owed())), feedback)

    async def _ask(self, front: Front, episode: Episode, question: Open) -> dict[str, Any] | Skipped | None:
        """Put one request to the person; None where they stop."""
        request = request_from_json(question.value)
        view, person, step = request.view, self.options.person, question.step
        stated = self.people.stated(episode.id)
        asked = Asked(
            request,
            order=_order(view.options, self.plan.seed, person, episode.question.id),
            seen=self.people.shown(episode.id),
            beliefs=self.people.beliefs(episode.id, step),
            before=tuple(stated[answer.label] for answer in view.answers) if stated else (),
            draft=self.people.draft(episode.id, step),
            notes=self.people.notes(episode.id),
            reading=self.plan.people.reading,
            seconds=None if self.plan.people.minutes is None else 60 * self.plan.people.minutes,
        )
        keeping = _Keeping(self.people, episode.id, step)
        outcome: Decided | Said | Skipped | Stopped
        if isinstance(request, Choose):
            outcome = await front.choose(asked, self._place(), keeping)
        else:
            outcome = await front.speak(asked, self._place(), keeping)
        match outcome:
            case Decided(probabilities, reason, seconds, stops):
                beliefs = self.people.beliefs(episode.id, step)
                seconds += sum(one.seconds for one in asked.beliefs)  # from sessions before
                return chosen_by(
                    person,
                    asked.order,
                    probabilities,
                    reason=reason,
                    seconds=seconds,
                    stops=stops,
                    beliefs=beliefs,
                    shown=len(view.turns),
                )
            case Said(text, seconds):
                return said_by(person, text, seconds=seconds, shown=asked.seen)
            case Skipped():
                return outcome
            case Stopped():
                return None


class _Stop(Exception):
    """The person ends the session."""


def _order(labels: Sequence[str], seed: int, person: str, question: str) -> tuple[str, ...]:
    """The answers in an order of this person's own: drawn, and the same whenever they come back."""
    return tuple(sorted(labels, key=lambda label: seed_from(seed, "order of answers", person, question, label)))


@dataclass(frozen=True)
class _Keeping:
    """Makes durable what is stated at one step."""

    people: People
    episode: str
    step: str

    def belief(self, belief: Belief) -> None:
        self.people.keep_belief(self.episode, self.step, replace(belief, seconds=round(belief.seconds, 1)))

    def note(self, text: str) -> None:
        self.people.keep_note(self.episode, text)

    def draft(self, text: str) -> None:
        self.people.keep_draft(self.episode, self.step, text)
