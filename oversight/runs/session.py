"""A session at the terminal: what a person is given next, and how the machines' turns are ready when they are.

Every episode in which people take part is a thread of LangGraph's checkpointer.  It is advanced until it waits for
somebody; a session picks one that waits and that this person may be given, asks, stores the reply, and lets the
episode go on.  Whatever ends the process, the next start finds the threads and the statements where they were.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..agents.human import chosen_by, request_from_json, said_by
from ..errors import BudgetExceeded, ConfigurationError, RunDirectoryError
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
from .places import next_in_turn
from .plan import Episode, Plan

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

__all__ = ["SessionOptions", "Sitting", "alone", "checkpointer", "forget", "require_name"]

LOOK = 1.0
"""Seconds between looks at what other people's sessions have done."""

OFTEN = 5.0
"""Seconds between the times that are stored of a person who is reading."""

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
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with aiosqlite.connect(folder / "checkpoints.sqlite", timeout=60) as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=FULL")
        # Left to itself, it imports and calls whatever a file from elsewhere names; None leaves LangGraph's own types.
        saver = AsyncSqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        await saver.setup()
        yield saver


async def forget(folder: Path, episodes: Iterable[str]) -> None:
    """Let episodes begin anew: what was paid for and stated comes back from where it is kept."""
    async with checkpointer(folder) as saver:
        for episode in episodes:
            await saver.adelete_thread(episode)


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
    budget : most episodes that go to people in the whole run; None for no limit.
    """

    plan: Plan
    cascades: Cascades
    directory: RunDirectory
    saver: BaseCheckpointSaver[Any]
    people: People
    options: SessionOptions
    budget: int | None = None
    held: dict[str, Held] = field(default_factory=dict)
    short: BudgetExceeded | None = None
    """Why nothing more is prepared: the next call could cross the cost limit."""
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
        next_in_turn()
        async with self._alone(episode):
            self.directory.refresh()
            if self.directory.finished.get(episode.id) is not None:
                await self.saver.adelete_thread(episode.id)  # a process may have ended between its record and this
                return None
            check = episode.purpose == ATTENTION
            while True:
                try:
                    record = await play_episode(
                        episode,
                        self.plan.compiled_for(episode),
                        self._attention_arena if check else self.plan.arena,
                        attention_agents() if check else self.cascades.of(episode),
                        self.directory.journal,
                        self.plan.seed,
                        Thread(self.saver, episode.id),
                        replies,
                    )
                except Waiting as waiting:
                    # Stored, but the process ended before the episode had taken it in.
                    replies = self._stored(episode, waiting.open)
                    if replies:
                        continue
                    seats = self._seats(episode)
                    asked = {one.step: one.seat or seats[one.turn] for one in waiting.open}
                    held = Held(episode, waiting.open, asked)
                    self.held[episode.id] = held
                    return held
                if episode.recording is not None:
                    record["recording"] = episode.recording.mark()
                await self.directory.add(record)
                await self.saver.adelete_thread(episode.id)
                return None

    def _stored(self, episode: Episode, questions: Iterable[Open]) -> dict[str, Any]:
        """What open questions have been answered with already, by LangGraph's names of them."""
        found: dict[str, Any] = {}
        for one in questions:
            known = self._known(episode, one)
            if known is None:
                continue
            # Several of one turn are answered together.
            found[one.id] = {**found.get(one.id, {}), **one.reply(known)} if one.key else known
        return found

    def _known(self, episode: Episode, question: Open) -> Any:
        """The answer to an open question that is known already; None where it is still to be asked for."""
        if question.value["kind"] == ESCALATION:
            if self.budget is None and not self.people.may_escalate(episode.id):
                # Counted against a budget that is given later: what a person has begun is not taken back.
                self.people.escalate({episode.id: float(question.value["confidence"])}, sys.maxsize)
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
        assert task is None or not replies, "an episode that goes on already waits for nobody"
        if task is None:
            task = asyncio.get_running_loop().create_task(self.advance(episode, replies))
            self._under_way[episode.id] = task
            task.add_done_callback(lambda task: self._ended(episode.id, task))
        return task

    def _ended(self, episode: str, task: asyncio.Task[Held | None]) -> None:
        self._under_way.pop(episode, None)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, BudgetExceeded):
            self.short = error
        else:
            self._failure = error  # nobody may be waiting for it: the session ends with it

    @asynccontextmanager
    async def _alone(self, episode: Episode) -> AsyncIterator[None]:
        """Keep everybody else from the turns on the same question: who comes second finds them in the journal."""
        question = episode.question.id
        async with self._on.setdefault(question, asyncio.Lock()), alone(self.directory, question):
            yield

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
        mine = self.people.standing()
        block, place = divmod(mine.done + mine.checks, every)
        if place != seed_from(self.plan.seed, self.options.person, "attention", block) % every:
            return None
        return attention_episode(self.options.person, block, self.plan.seed)

    @property
    def _claims(self) -> int | None:
        """The budget of seats; of what a cascade hands on, the budget has taken its part before."""
        return None if self.cascades.names else self.budget

    def _may_take(self, episode: Episode, seats: Iterable[str]) -> bool:
        """Whether this person has one of these seats of an episode, or could take it."""
        source = self._source(episode)
        if any(self.people.mine(episode.id, seat) for seat in seats):
            return True
        spent = self._claims is not None and source != episode.id and self.people.given() >= self._claims
        return not spent and any(self.people.free(episode.id, seat, source) for seat in seats)

    def _top_up(self, queue: Sequence[Episode]) -> list[asyncio.Task[Held | None]]:
        """Have so many items prepared for this person as were asked for; gives what is being prepared."""
        ready = sum(self._may_take(one.episode, one.seats.values()) for one in self.held.values())
        preparing: list[asyncio.Task[Held | None]] = []
        for episode in queue:
            if ready + len(preparing) >= self.options.ahead:
                break
            if episode.id in self.held or (self.short is not None and episode.id not in self._under_way):
                continue
            if episode.id in self._under_way or self._may_take(episode, self._human_seats(episode)):
                preparing.append(self.begin(episode))
        return preparing

    def waiting_for_me(self, queue: Sequence[Episode]) -> int:
        """How many items this person could still be given."""
        sources = self.people.sources()
        taken = self.people.taken()
        left = math.inf if self._claims is None else self._claims - self.people.given()
        count = 0
        for episode in queue:
            seats = self._human_seats(episode)
            if self._source(episode) not in sources and any((episode.id, seat) not in taken for seat in seats):
                sources.add(self._source(episode))
                count += 1
        return int(min(count, max(left, 0)))

    def owed(self) -> list[Episode]:
        """The episodes with people that are not finished, those that this person has begun first."""
        self.directory.refresh()
        finished = self.directory.finished
        begun = {episode for episode, _ in self.people.begun()}
        if ended := begun & finished.keys():  # a process may have ended between the record and this
            self.people.finish(ended)
            begun -= ended
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
                found = await self._take(held)
                if found is not None:
                    return found
            pending = resuming or preparing
            if not pending:
                others = [one for one in queue if one.id in self.held and self._waits_for_others(one)]
                if not others:
                    if self.short is not None:
                        raise self.short
                    return None
                pending = [asyncio.ensure_future(self._look_again(others))]
            words = "The next item is being prepared" if resuming or preparing else "Somebody else is to take a turn"
            one_done = asyncio.ensure_future(asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED))
            if not await self._wait(front, words, one_done):
                for looking in () if resuming or preparing else pending:
                    looking.cancel()
                raise _Stop
            for ended in () if resuming or preparing else pending:
                ended.result()

    async def _take(self, held: Held) -> tuple[Held, str] | None:
        """The item with a seat of this person's, if it still waits for them once the seat is theirs."""
        episode = held.episode
        for seat in dict.fromkeys(held.seats.values()):
            if not self.people.mine(episode.id, seat):
                if not self.people.claim(episode.id, seat, self._source(episode), self._claims):
                    continue
                # It was prepared before; somebody may have sat there and given it up since.
                fresh = await self.begin(episode)
                if fresh is None or seat not in fresh.seats.values():
                    continue
                held = fresh
            return held, seat
        return None

    def _waits_for_others(self, episode: Episode) -> bool:
        """Whether this person has, or could still take, a seat that is to be asked once others have answered."""
        return self._may_take(episode, self._human_seats(episode))

    async def _look_again(self, episodes: Sequence[Episode]) -> Held | None:
        """Until others have let one of these episodes go on, in whatever process."""
        before = {one.id: [question.step for question in self.held[one.id].open] for one in episodes}
        taken = self.people.taken()
        while True:
            await asyncio.sleep(LOOK)
            for episode in episodes:
                held = await self.begin(episode)
                if held is None or [question.step for question in held.open] != before[episode.id]:
                    return held
            if self.people.taken() != taken:  # a seat was given up
                return None

    async def _wait(self, front: Front, for_what: str, ready: asyncio.Future[Any]) -> bool:
        """Wait, and say so where it takes long; False where the person stops."""
        done, _ = await asyncio.wait([ready], timeout=SOON)
        return bool(done) or await front.wait(for_what, ready, self._place())

    # ---- asking -------------------------------------------------------------------------------------

    def _place(self) -> Place:
        mine = self.people.standing()
        return Place(mine.done + mine.checks + 1, self.waiting_for_me(self.owed()))

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
        turn = ""
        while going is not None and (mine := [one for one in going.open if going.seats[one.step] == seat]):
            turn = mine[0].turn
            answered = await self._ask(front, episode, mine[0])
            if answered is None:
                return False
            if isinstance(answered, Skipped):
                await self._give_up(episode, seat, mine[0], answered.reason)
                return True
            if not self.people.keep_reply(episode.id, mine[0].step, answered):
                raise RunDirectoryError(
                    f"{self.people.path}: {mine[0].step} of {episode.id[:8]} was answered by somebody else"
                )
            task = self.begin(episode, {mine[0].id: mine[0].reply(answered)})
            if not await self._wait(front, "The others take their turns", task):
                return False
            going = task.result()
        if going is not None and self._is_asked_again(going, seat, turn):
            return True  # later, when others have had their turns
        self.people.finish([episode.id])
        feedback = feedback_for(self.directory.path, self.options.person, episode) if self.options.feedback else None
        mine_now = self.people.standing()
        return await front.rest(Place(mine_now.done + mine_now.checks, self.waiting_for_me(self.owed())), feedback)

    def _is_asked_again(self, held: Held, seat: str, turn: str) -> bool:
        """Whether a seat may still be asked: later, or in the same turn once others have answered their part of it."""
        if any(one.turn == turn for one in held.open):
            return True
        compiled = self.plan.compiled_for(held.episode)
        instances = compiled.unrolled.instances
        later = (step for name in compiled.after(turn) if name in instances for step in instances[name].step.steps())
        return any(step.seat.name == seat for step in later)

    async def _give_up(self, episode: Episode, seat: str, question: Open, reason: str) -> None:
        """Leave a seat to somebody else, who begins anew; where others have gone on from it, the episode fails."""
        person = self.options.person
        if person in (answered := self.people.answered(episode.id)) and answered - {person}:
            given_up = {"given_up": reason, "person": person, "shown": 0}
            self.people.keep_reply(episode.id, question.step, given_up)
            await self.begin(episode, {question.id: question.reply(given_up)})
        else:
            async with self._alone(episode):
                self.held.pop(episode.id, None)
                # First: a thread that is gone comes back from what is stored, and not the other way round.
                await self.saver.adelete_thread(episode.id)
                self.people.skip(episode.id, seat, reason)
            return
        self.people.skip(episode.id, seat, reason)

    async def _ask(self, front: Front, episode: Episode, question: Open) -> dict[str, Any] | Skipped | None:
        """Put one request to the person; None where they stop."""
        request = request_from_json(question.value)
        view, person, step = request.view, self.options.person, question.step
        # One of several questions of a turn is asked by itself: nothing that was shown or stated before belongs to it.
        apart = bool(question.key)
        stated = {} if apart else self.people.stated(episode.id)
        spent = self.people.time(episode.id, step)
        limit = self.plan.people.minutes
        asked = Asked(
            request,
            order=view.options if apart else _order(view.options, self.plan.seed, person, episode.question.id),
            seen=0 if apart else self.people.shown(episode.id),
            beliefs=self.people.beliefs(episode.id, step),
            before=tuple(stated[answer.label] for answer in view.answers) if stated else (),
            draft=self.people.draft(episode.id, step),
            notes=self.people.notes(episode.id),
            reading="whole" if apart else self.plan.people.reading,
            seconds=None if limit is None else max(60 * limit - spent, 0.0),
        )
        keeping = _Keeping(self.people, episode.id, step)
        began = time.monotonic()
        ticking = asyncio.ensure_future(self._keep_time(episode.id, step, spent, began))
        try:
            outcome: Decided | Said | Skipped | Stopped
            if isinstance(request, Choose):
                outcome = await front.choose(asked, self._place(), keeping)
            else:
                outcome = await front.speak(asked, self._place(), keeping)
        finally:
            ticking.cancel()
            self.people.keep_time(episode.id, step, spent + time.monotonic() - began)
        match outcome:
            case Decided(probabilities, reason, seconds, stops):
                return chosen_by(
                    person,
                    asked.order,
                    probabilities,
                    reason=reason,
                    seconds=spent + seconds,
                    stops=stops,
                    beliefs=self.people.beliefs(episode.id, step),
                    shown=0 if apart else len(view.turns),
                )
            case Said(text, seconds):
                return said_by(person, text, seconds=spent + seconds, shown=asked.seen)
            case Skipped():
                return outcome
            case Stopped():
                return None

    async def _keep_time(self, episode: str, step: str, spent: float, began: float) -> None:
        """Store now and then for how long the person has been at it, for what ends without a word."""
        while True:
            await asyncio.sleep(OFTEN)
            self.people.keep_time(episode, step, spent + time.monotonic() - began)


class _Stop(Exception):
    """The person ends the session."""


@asynccontextmanager
async def alone(directory: RunDirectory, what: str) -> AsyncIterator[None]:
    """Keep other processes from the same work, without holding up this one."""
    from filelock import Timeout

    lock = directory.working_on(what)
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
