"""Playing one episode: views, requests, turns, the verdict and the record."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from ..agents import Agent
from ..agents.composite import distribution
from ..agents.human import SideBySide
from ..errors import TurnFailed, Unparsable
from ..graph import CompiledProtocol, Instance
from ..graph.compile import Thread
from ..graph.recursion import solve_recursively
from ..identity import seed_from
from ..limits import Limits
from ..numbered import TRIES, ArgumentStep, read_parts, read_steps
from ..protocol import Seat, Step
from ..questions import Arena
from ..quotes import find_quotes
from ..requests import FAILS, HOLDS, Choice, Choose, Speak, Speech, Stakes
from ..sides import argues_for_another
from ..together import gather_all
from ..transcript import Candidate, Turn, Usage, Verdict
from ..tree import Node
from ..verification import log_soundness, weighed
from ..views import Answer, Position, View, VisibleTurn
from .calls import respond
from .journal import Journal
from .plan import Episode, Plan, label_names, player

__all__ = ["EpisodeModerator", "play_episode", "play_one"]

NOTHING_TO_THE_POINT = "My answer is the correct one."
"""What the opponents are taken to say while a judge ranks the candidates of a speech."""

ARGUED_FOR_ANOTHER = "argues for answer"
"""How the note begins on a speech that argues for another answer than its speaker's."""

NO_LIMITS = Limits(tries=1)

UNSOUND = "no argument survives the checks: nothing is said for any answer"
"""The note on a verdict of even odds because every argument has a step that cannot hold."""


class EpisodeModerator:
    """Takes the turns of one episode: projects the view, asks the agent, checks and records what it says.

    Parameters
    ----------
    episode : what is played.
    compiled : its protocol's graph.
    arena : where the question comes from.
    agents : agents by name.
    journal : where replies are kept.
    seed : the run's seed.
    """

    def __init__(
        self,
        episode: Episode,
        compiled: CompiledProtocol,
        arena: Arena,
        agents: Mapping[str, Agent],
        journal: Journal,
        seed: int,
    ) -> None:
        self.episode, self.compiled, self.arena = episode, compiled, arena
        self.agents, self.journal, self.seed = agents, journal, seed
        labels = label_names(len(episode.question.answers))
        self.label_of = {answer: labels[place] for place, answer in enumerate(episode.seating.labels)}
        self.answer_of = {label: answer for answer, label in self.label_of.items()}
        self.taken: list[Turn] = []
        """Turns taken so far, for the record of an episode that fails."""

    # ---- who is who -----------------------------------------------------------------------------

    def positions(self, claims: list[Turn]) -> dict[Seat, int]:
        """The answer that each arguing seat defends: its claim, or else the next one that is left."""
        claimed = {claim.seat: claim.answer for claim in claims}
        left = [answer for answer in self.episode.seating.speaking if answer not in claimed.values()]
        result: dict[Seat, int] = {}
        for seats in self.compiled.arguing:
            free = list(left)
            for seat in seats:
                answer = claimed.get(seat.name)
                if answer is None and free:
                    answer = free.pop(0)
                if answer is not None:
                    result[seat] = answer
        return result

    def agent_at(self, seat: Seat) -> Agent:
        """Who plays a seat."""
        return self.agents[player(self.episode.cast, self.episode.seating, seat)]

    def speaker(self, seat: Seat, positions: Mapping[Seat, int]) -> str:
        """A seat's name as the others know it."""
        title = seat.role.name.replace("_", " ").capitalize()
        if seat in positions:
            return f"{title} {self.label_of[positions[seat]]}"
        return f"{title} {seat.index + 1}" if seat.role.name in self.compiled.numbered else title

    # ---- what it sees ---------------------------------------------------------------------------

    def view(self, instance: Instance, heard: list[Turn], claims: list[Turn]) -> View:
        """What the instance's seat may see: the projection of the episode, and nothing else of it."""
        question, seating, seat = self.episode.question, self.episode.seating, instance.step.seat
        positions = self.positions(claims)
        if instance.step.kind == "claim":
            positions.pop(seat, None)
        position = self.label_of[positions[seat]] if seat in positions else None
        by_name = {one.name: one for one in positions}
        answers = tuple(Answer(self.label_of[answer], question.answers[answer]) for answer in seating.labels)
        told = [one for one in dict.fromkeys(instance.told) if one in positions]
        if self.compiled.claims and not claims:
            told = []  # nobody has a position before the first claim
        public = tuple(Position(self.speaker(one, positions), self.label_of[positions[one]]) for one in told)
        speaker = self.speaker(seat, positions)
        template = seat.role.claim_instructions if instance.step.kind == "claim" else seat.role.instructions
        task = seat.role.tasks[instance.step.task] if instance.step.task else ""
        texts = {answer.label: answer.text for answer in answers}
        filled = {
            "speaker": speaker,
            "answer": f"{position} ({texts[position]})" if position is not None else "",
            "positions": " ".join(f"{one.speaker} argues for answer {one.label}." for one in public),
        }
        rules = [self.arena.rules()]
        # How evidence is given concerns those who have some.
        if instance.step.kind == "speech" and (seat.role.sees_material or seat.role.argues_for_an_answer):
            rules.append(self.arena.speech_rules())
        if instance.step.own_first:
            heard = self.own_first(heard, seat)
        view = View(
            role=seat.role.name,
            speaker=speaker,
            instructions=" ".join(template.format(**filled).split()),
            task=" ".join(task.format(**filled).split()),
            rules=" ".join(rule for rule in rules if rule),
            question=question.text,
            answers=answers,
            options=tuple(self.label_of[answer] for answer in seating.options),
            position=position,
            positions=public,
            material=dict(question.hidden) if seat.role.sees_material else {},
            opposed=seat in self.compiled.opposed,
            structure=question.structure,
            by_answer={name: [values[a] for a in seating.labels] for name, values in question.by_answer.items()},
            turns=tuple(self.visible(turn, instance, by_name.get(turn.seat), seat, positions) for turn in heard),
        )
        exhibit = self.arena.exhibit(view)
        return view if not exhibit else replace(view, exhibit=exhibit)

    def own_first(self, heard: Sequence[Turn], seat: Seat) -> list[Turn]:
        """The turns with the seat's own moved before those that were spoken at the same time."""
        ordered: list[Turn] = []
        for turn in heard:
            place = len(ordered)
            if turn.seat == seat.name:
                while place and ordered[place - 1].seat != seat.name and not self._leads(ordered[place - 1], turn):
                    place -= 1
            ordered.insert(place, turn)
        return ordered

    def _leads(self, earlier: Turn, later: Turn) -> bool:
        return later.step in self.compiled.after(earlier.step)

    def visible(
        self, turn: Turn, instance: Instance, by: Seat | None, viewer: Seat, positions: Mapping[Seat, int]
    ) -> VisibleTurn:
        """A turn as the viewer may see it."""
        label = self.label_of[positions[by]] if by is not None and by in positions else None
        of = self.compiled.unrolled.instances[turn.step].step.seat
        text = turn.text
        if turn.kind == "claim" and turn.answer is not None:
            text = f"I hold that answer {self.label_of[turn.answer]} is correct."
        if turn.kind == "verdict" and turn.probabilities is not None:
            labels = sorted(self.label_of.items(), key=lambda pair: self.episode.seating.labels.index(pair[0]))
            shares = ", ".join(f"{turn.probabilities[answer]:.0%} to answer {shown}" for answer, shown in labels)
            text = f"I give {shares}." + (f"\n{turn.text}" if turn.text else "")
        return VisibleTurn(
            speaker=self.speaker(by if by is not None else of, positions),
            label=label,
            text=text,
            quotes=turn.quotes,
            opposed=by in self.compiled.opposed,
            own=of == viewer,
            reasoning=turn.reasoning if turn.step in instance.private_of else "",
            private=turn.private,
        )

    # ---- taking a turn --------------------------------------------------------------------------

    async def take(self, instance: Instance, heard: list[Turn], claims: list[Turn]) -> Turn:
        """Ask the agent in the instance's seat for its turn; raises TurnFailed when it cannot be had."""
        seat, step = instance.step.seat, instance.step
        view = self.view(instance, heard, claims)
        agent = self.agent_at(seat)
        # Seats that argue have the same chance moves whichever number they bear; others have only that to differ in.
        seed, draw = self._seed(instance, view), (seat.index,) if view.position is None and seat.index else ()
        if step.kind == "speech":
            turn = await self._speech(instance, agent, view, seed, draw, heard, claims)
        elif step.kind == "solution":
            turn = await self._side_by_side(lambda people: self._solution(instance, view, heard, claims, people))
        elif step.checks is not None:
            turn = await self._side_by_side(lambda people: self._verified(instance, heard, claims, people))
        else:
            leads_on = not self.compiled.after(instance.name).isdisjoint(self.compiled.unrolled.instances)
            request = Choose(
                view,
                seed,
                self.episode.sample,
                draw,
                step.thinks,
                votes=step.votes,
                stakes=self.stakes(instance),
                explains=step.explains,
                public=bool(step.heard_by) and leads_on,
                leads_on=leads_on,
                prefers=self.episode.protocol.prefers,
            )
            turn = self._chosen(instance, agent, await respond(agent, request, self.journal))
        self.taken.append(turn)
        return turn

    def recall(self, turns: Sequence[Turn]) -> None:
        """Take in the turns of an earlier process, so that the record of the episode is whole."""
        known = {turn.step for turn in self.taken}
        self.taken += [turn for turn in turns if turn.step not in known]

    def stakes(self, instance: Instance) -> Stakes | None:
        """What going on costs a judge that is asked for its verdict now."""
        if instance.step.kind != "verdict":
            return None
        rank = self.compiled.rank
        before = [turn for turn in self.taken if rank[turn.step] < rank[instance.name]]
        return self.episode.protocol.stakes(self.compiled.ordered(before))

    def _seed(self, instance: Instance, view: View) -> int:
        answer = self.answer_of[view.position] if view.position is not None else None
        seat = instance.step.seat
        who = seat.role.name if answer is not None else seat.name
        return seed_from(self.seed, self.episode.question.id, who, answer, instance.ordinal, self.episode.sample)

    # ---- solutions: a question, its parts, and theirs ------------------------------------------------

    async def _side_by_side(self, make: Callable[[SideBySide], Awaitable[tuple[Turn, str]]]) -> Turn:
        """A turn of many requests, those to people beside each other.

        ``make`` gives the turn and why it failed, if it did; it is called again with every reply, so it asks the same.
        """
        people = SideBySide()
        while True:
            turn, failure = await make(people)
            if not people.open:
                break
            people.wait()
        if failure:
            self.taken.append(turn)  # what there is of it
            raise TurnFailed(failure)
        return turn

    async def _solution(
        self, instance: Instance, view: View, heard: list[Turn], claims: list[Turn], people: SideBySide
    ) -> tuple[Turn, str]:
        """The tree of the question, and why it has no answer where it has none."""
        step = instance.step
        assert step.recursion is not None
        assert step.recursion.depth is not None
        assert step.recursion.budget is not None
        work = _Solving(self, instance, view, heard, claims, people)
        tree = await solve_recursively(
            work,
            view.question,
            depth=step.recursion.depth,
            most=step.recursion.most_parts,
            budget=step.recursion.budget,
        )
        failed = [(path, node) for path, node in reversed([*tree.walk()]) if node.failed]
        if not failed and step.recursion.checker is not None:
            tree = await work.checked(tree, step.recursion.checker)
        turn = Turn(
            step=instance.name,
            seat=step.seat.name,
            role=step.seat.role.name,
            kind="solution",
            text=tree.outline(),
            agent=work.by or self.agent_at(step.seat).name,
            usage=work.usage,
            notes=tuple(dict.fromkeys(work.notes)),
            tree=tree.to_dict(),
            seconds=work.seconds,
        )
        if failed:
            place, node = failed[0]
            where = f"part {place} of the question" if place else "the question"
            return turn, f"{where} has no answer: {node.failed}"
        return turn, _unchecked(tree)

    # ---- checks: does a step follow from what it rests on? ------------------------------------------

    async def _check(
        self,
        instance: Instance,
        seat: Seat,
        people: SideBySide,
        *,
        question: str,
        structure: Mapping[str, Any],
        asked: str,
        rests_on: Sequence[VisibleTurn],
        step: VisibleTurn,
    ) -> Choice | str:
        """Whether a step holds, asked by itself; or why nobody could say.

        Parameters
        ----------
        seat : who is asked; it sees the question, what the step rests on as it was stated, and the step.
        question, structure : what the step is to answer, or to help to answer.
        asked : what is asked of it.
        rests_on, step : as the checker sees them.
        """
        whole = self.view(
            replace(instance, step=replace(instance.step, seat=seat, task="check", own_first=False), told=()), [], []
        )
        view = replace(
            whole,
            question=asked,
            answers=(Answer(HOLDS, "Yes, it follows."), Answer(FAILS, "No, it does not follow.")),
            options=(HOLDS, FAILS),
            position=None,
            positions=(),
            opposed=False,
            structure=structure,
            by_answer={},
            turns=(VisibleTurn("Question", None, question), *rests_on, step),
            exhibit="",
        )
        stated = [turn.text for turn in view.turns]
        # By what is checked: the same step on the same grounds is checked once, whoever states it.
        seed = seed_from(self.seed, self.episode.question.id, "check", stated, self.episode.sample)
        draw = (seat.index,) if seat.index else ()
        given = instance.step
        request = Choose(view, seed, self.episode.sample, draw, given.thinks, votes=given.votes, of_a_step=True)
        agent = self.agent_at(seat)
        try:
            with people.at(seat.name):
                choice = await respond(agent, request, self.journal)
            return replace(choice, probabilities=distribution(agent, choice, [HOLDS, FAILS]))
        except TurnFailed as failure:
            return str(failure)

    async def _verified(
        self, instance: Instance, heard: list[Turn], claims: list[Turn], people: SideBySide
    ) -> tuple[Turn, str]:
        """The verdict that follows from checks of every step of the arguments, and why there is none."""
        seat, how = instance.step.seat, instance.step.checks
        assert how is not None
        arguments: list[tuple[int, Turn, list[ArgumentStep]]] = []
        for one in how.of:
            spoken = [turn for turn in heard if turn.seat == one.name and turn.kind == "speech"]
            if not spoken or spoken[-1].answer is None:
                raise TurnFailed(f"{one.name} has made no argument that could be checked")
            steps, fault = read_steps(spoken[-1].text, how.most_steps)
            if fault:
                raise Unparsable(f"the steps of {one.name} cannot be read: {fault}")
            arguments.append((spoken[-1].answer, spoken[-1], steps))
        question = self.episode.question

        # By what is asked on which grounds, so that a step that several arguments share is asked about once.
        asking: dict[tuple[str, ...], Awaitable[Choice | str]] = {}

        def check(asked: str, rests_on: Sequence[VisibleTurn], step: VisibleTurn) -> tuple[str, ...]:
            key = (asked, *(turn.text for turn in (*rests_on, step)))
            if key not in asking:
                asking[key] = self._check(
                    instance,
                    seat,
                    people,
                    question=question.text,
                    structure=question.structure,
                    asked=asked,
                    rests_on=rests_on,
                    step=step,
                )
            return key

        keys: list[tuple[str, ...]] = []
        for answer, turn, steps in arguments:
            shown = [self._stated(f"Step {number}", step.text, turn) for number, step in enumerate(steps, start=1)]
            for number, step in enumerate(steps, start=1):
                rests_on = [shown[other - 1] for other in step.rests_on]
                keys.append(check(f"Does step {number} hold?", rests_on, shown[number - 1]))
            conclusion = VisibleTurn("Conclusion", None, f"Answer: {question.answers[answer]}")
            keys.append(check("Does the answer follow from the steps?", shown, conclusion))
        found = dict(zip(asking, await gather_all([*asking.values()]), strict=True))

        left, made = (found[key] for key in keys), dict[int, Node]()
        soundness: dict[int, float] = {}
        for answer, _, steps in arguments:
            parts = tuple(_marked(Node(step.text), next(left)) for step in steps)
            node = _marked(Node(f"Answer {self.label_of[answer]}", question.answers[answer], parts), next(left))
            made[answer] = node
            soundness[answer] = log_soundness(
                [0.0 if one.holds is None else one.holds for one in (*parts, node)], how.rule
            )
        choices = [one for one in found.values() if isinstance(one, Choice)]
        probabilities = weighed(soundness, len(question.answers))
        ordered = sorted(made, key=self.episode.seating.labels.index)
        best = [answer for answer in ordered if math.isclose(probabilities[answer], max(probabilities), abs_tol=1e-9)]
        tree = Node(
            question.text,
            question.answers[best[0]] if len(best) == 1 else "open",
            tuple(made[answer] for answer in ordered),
        )
        notes = [note for one in choices for note in one.notes]
        if max(soundness.values()) == -math.inf and len(soundness) == len(question.answers):
            notes.append(UNSOUND)
        failure = _unchecked(tree)
        agent = self.agent_at(seat)
        return Turn(
            step=instance.name,
            seat=seat.name,
            role=seat.role.name,
            kind="verdict",
            reasoning="\n".join(dict.fromkeys(one.reasoning for one in choices if one.reasoning)),
            probabilities=None if failure else probabilities,
            elicitation=choices[0].elicitation if choices else None,
            agent=next((one.by for one in choices if one.by), agent.name),
            usage=sum((one.usage for one in choices), Usage()),
            notes=tuple(dict.fromkeys(notes)),
            tree=tree.to_dict(),
            seconds=math.fsum(one.seconds for one in choices),
        ), failure

    def _stated(self, name: str, text: str, turn: Turn) -> VisibleTurn:
        """A step as a checker sees it; a quotation is checked where its speaker's whole argument was."""
        quotes = find_quotes(text, self.episode.question.hidden) if turn.quotes else ()
        return VisibleTurn(name, None, text, quotes)

    # ---- speeches: tries within limits, candidates, the best of them -------------------------------

    async def _speech(
        self,
        instance: Instance,
        agent: Agent,
        view: View,
        seed: int,
        draw: tuple[int, ...],
        heard: list[Turn],
        claims: list[Turn],
    ) -> Turn:
        """One speech: the best of its candidates, each the nearest of its tries to the limits."""
        step = instance.step
        # A person picks the best of their drafts before they hand it in.
        several = 1 if agent.asks_people else step.candidates
        if step.most_steps:
            view = replace(view, task=f"{view.task} Write {step.most_steps} steps at most.")
        answer = self.answer_of[view.position] if view.position is not None else None
        drafts: dict[int, tuple[Speech, str]] = {}

        async def write(number: int) -> tuple[Speech, Usage]:
            own = (*draw, number) if several > 1 else draw
            speech, cost = await self._within(agent, view, seed, own, step)
            if step.critic is None or agent.asks_people:  # nor are they made to write again
                return speech, cost
            drafted = self._spoken(instance, agent, answer, speech)
            criticism = await self._criticism(instance, step.critic, drafted, own, heard, claims)
            drafts[number] = speech, criticism.text
            asking = replace(instance, step=replace(step, task="refine"))
            again = self.view(asking, [*heard, drafted], claims)
            words = VisibleTurn(self.speaker(step.critic, self.positions(claims)), None, criticism.text)
            again = replace(again, turns=(*again.turns, words))
            better, more = await self._within(agent, again, seed, own, step)
            return better, cost + criticism.usage + more

        made: list[tuple[Speech, Usage]] = await gather_all([write(number) for number in range(several)])
        faults = [step.limits.fault(speech.text) if step.limits is not None else "" for speech, _ in made]
        cost = sum((usage for _, usage in made), Usage())
        if step.limits is not None and step.limits.outside == "fail" and all(faults):
            limits = step.limits
            nearest = min(range(len(made)), key=lambda number: limits.distance(made[number][0].text))
            tries = "1 try" if limits.tries == 1 else f"{limits.tries} tries"
            raise TurnFailed(f"{agent.name}: no speech within the limits in {tries}: {faults[nearest]}")
        able = [number for number, fault in enumerate(faults) if not fault] or list(range(len(made)))
        scores: dict[int, float] = {}
        how = ""
        if len(made) > 1 and step.preferred_by is not None:
            turns = [self._spoken(instance, agent, answer, made[number][0]) for number in able]
            if step.preferred_by == step.seat:
                chosen, usage = await self._own_pick(agent, view, seed, draw, turns, able)
                how = "chosen by its speaker"
            elif step.most_steps:
                chosen, usage = await self._easiest(instance, step.preferred_by, turns, able, heard, claims)
                how = f"the easiest to check by {step.preferred_by.name}"
            else:
                chosen, usage = await self._judge_preference(instance, turns, heard, claims)
                how = f"chosen by {step.preferred_by.name}"
            scores, cost = dict(zip(able, chosen, strict=True)), cost + usage
            best = max(able, key=lambda number: (scores[number], -number))
        else:
            best = able[0]
        speech = made[best][0]
        notes = [*speech.notes, *([f"outside the limits: {faults[best]}"] if faults[best] else ())]
        if how:
            notes.append(f"best of {len(made)}, {how}")
        candidates = tuple(
            Candidate(
                one.text,
                one.reasoning,
                number == best,
                scores.get(number),
                faults[number],
                drafts[number][0].text if number in drafts else "",
                drafts[number][1] if number in drafts else "",
            )
            for number, (one, _) in enumerate(made)
        )
        turn = self._spoken(instance, agent, answer, speech)
        if answer is not None and not turn.private:
            other = argues_for_another(turn.text, view.position or "", {one.label: one.text for one in view.answers})
            if other is not None:
                notes.append(f"{ARGUED_FOR_ANOTHER} {other[0]}: {other[1]}")
        return replace(turn, usage=cost, notes=tuple(notes), candidates=candidates if len(made) > 1 or drafts else ())

    async def _within(
        self, agent: Agent, view: View, seed: int, draw: tuple[int, ...], step: Step
    ) -> tuple[Speech, Usage]:
        """The first try inside the limits, or else the nearest, with what all tries cost."""
        limits = step.limits or NO_LIMITS
        tries: list[Speech] = []
        rejected = fault = ""
        for number in range(max(limits.tries, TRIES) if step.most_steps else limits.tries):
            request = Speak(
                view,
                seed,
                self.episode.sample,
                (*draw, number) if number else draw,
                step.thinks,
                limits=step.limits,
                rejected=rejected,
                fault=fault,
                form="steps" if step.most_steps else "speech",
                most=step.most_steps,
            )
            speech = await respond(agent, request, self.journal)
            if not speech.text.strip():
                raise TurnFailed(f"{agent.name} said nothing; an empty speech is not a turn")
            tries.append(speech)
            rejected, fault = speech.text, request.fault_of(speech.text)
            if not fault:
                break
        readable = tries
        if step.most_steps:
            readable = [one for one in tries if not read_steps(one.text, step.most_steps)[1]]
            if not readable:
                fault = read_steps(tries[-1].text, step.most_steps)[1]
                raise Unparsable(f"{agent.name} wrote no steps that can be read in {len(tries)} tries: {fault}")
        cost = sum((one.usage for one in tries), Usage())
        best = readable[0] if len(readable) == 1 else min(readable, key=lambda one: limits.distance(one.text))
        again = (f"asked {len(tries)} times for a speech within the limits",) if len(tries) > 1 else ()
        return replace(best, notes=(*best.notes, *again)), cost

    async def _criticism(
        self,
        instance: Instance,
        critic: Seat,
        drafted: Turn,
        draw: tuple[int, ...],
        heard: list[Turn],
        claims: list[Turn],
    ) -> Speech:
        """What the critic says of one candidate."""
        asking = replace(instance, step=Step(critic, "speech", task="criticise", thinks=instance.step.thinks))
        view = self.view(asking, [*heard, drafted], claims)
        seed = seed_from(self.seed, self.episode.question.id, "criticism", drafted.answer, self.episode.sample)
        agent = self.agent_at(critic)
        speech = await respond(agent, Speak(view, seed, self.episode.sample, draw), self.journal)
        if not speech.text.strip():
            raise TurnFailed(f"{agent.name} said nothing; an empty critique is none")
        return speech

    async def _easiest(
        self,
        instance: Instance,
        seat: Seat,
        turns: list[Turn],
        numbers: list[int],
        heard: list[Turn],
        claims: list[Turn],
    ) -> tuple[list[float], Usage]:
        """How likely each candidate is the one that is easiest to check (Wen et al. 2024), as the seat expects."""
        if len(turns) == 1:
            return [1.0], Usage()
        labels = [str(number + 1) for number in numbers]
        view = self.view(replace(instance, step=Step(seat, "speech", task="rank")), heard, claims)
        ranking = replace(
            view,
            question=f"Which of these arguments is the easiest to check step by step? They are about: {view.question}",
            answers=tuple(Answer(label, turn.text) for label, turn in zip(labels, turns, strict=True)),
            options=tuple(labels),
            positions=(),
            by_answer={},
            exhibit="",
        )
        seed = seed_from(self.seed, self.episode.question.id, "easiest", turns[0].answer, self.episode.sample)
        agent = self.agent_at(seat)
        request = Choose(ranking, seed, self.episode.sample, (), False, of_speeches=True)
        choice = await respond(agent, request, self.journal)
        return list(distribution(agent, choice, labels).values()), choice.usage

    async def _judge_preference(
        self, instance: Instance, turns: list[Turn], heard: list[Turn], claims: list[Turn]
    ) -> tuple[list[float], Usage]:
        """How likely a judge finds the speaker's answer after each candidate, against opponents who say nothing."""
        judge = instance.step.preferred_by
        assert judge is not None
        speaker = instance.step.seat
        asking = Step(judge, "verdict", thinks=False)
        # Nobody else is in the judge's view than the speaker knows of: consultants are ranked each alone.
        ranking = Instance(f"{instance.name} ranked", asking, 0, (), frozenset(), instance.told)
        instances = self.compiled.unrolled.instances
        public = [turn for turn in heard if instances[turn.step].step.reaches(asking)]
        agent = self.agent_at(judge)
        seed = seed_from(self.seed, self.episode.question.id, "ranking", instance.name, self.episode.sample)

        async def rate(turn: Turn) -> Choice:
            said = [*public, turn]
            spoken = sum(one.seat == speaker.name and one.kind == "speech" for one in said)
            opponents = [seat for seat in instance.told if seat != speaker and seat.role == speaker.role]
            for seat in opponents:
                if sum(one.seat == seat.name and one.kind == "speech" for one in said) < spoken:
                    said.append(Turn(instance.name, seat.name, seat.role.name, "speech", NOTHING_TO_THE_POINT))
            view = self.view(ranking, said, claims)
            return await respond(agent, Choose(view, seed, self.episode.sample, (), False), self.journal)

        choices = await gather_all([rate(turn) for turn in turns])
        given = [distribution(agent, choice, list(self.answer_of)) for choice in choices]
        label = self.label_of[turns[0].answer] if turns[0].answer is not None else ""
        cost = sum((choice.usage for choice in choices), Usage())
        return [probabilities[label] for probabilities in given], cost

    async def _own_pick(
        self, agent: Agent, view: View, seed: int, draw: tuple[int, ...], turns: list[Turn], numbers: list[int]
    ) -> tuple[list[float], Usage]:
        """How likely the speaker finds each of its candidates to be its best."""
        if len(turns) == 1:
            return [1.0], Usage()
        labels = [str(number + 1) for number in numbers]
        side = f"answer {view.position} ({view.answer_text(view.position)})" if view.position else "your part"
        picking = replace(
            view,
            question=f"Which of these speeches makes the strongest case for {side} to the question: {view.question}",
            answers=tuple(Answer(label, turn.text) for label, turn in zip(labels, turns, strict=True)),
            options=tuple(labels),
            position=None,
            positions=(),
            by_answer={},
            task="Here are drafts of your next speech. Pick the one that serves you best.",
        )
        choice = await respond(
            agent, Choose(picking, seed, self.episode.sample, draw, False, of_speeches=True), self.journal
        )
        return list(distribution(agent, choice, labels).values()), choice.usage

    def _spoken(self, instance: Instance, agent: Agent, answer: int | None, speech: Speech) -> Turn:
        # Only for those who see the material: to anyone else a check of a guess would tell what is in it.
        sees = self.arena.verifies_quotes() and instance.step.seat.role.sees_material
        quotes = find_quotes(speech.text, self.episode.question.hidden) if sees else ()
        return Turn(
            step=instance.name,
            seat=instance.step.seat.name,
            role=instance.step.seat.role.name,
            kind="speech",
            text=speech.text,
            reasoning=speech.reasoning,
            quotes=quotes,
            answer=answer,
            agent=speech.by or agent.name,
            usage=speech.usage,
            notes=speech.notes,
            private=instance.step.private,
            seconds=speech.seconds,
        )

    def _chosen(self, instance: Instance, agent: Agent, choice: Choice) -> Turn:
        count = len(self.episode.question.answers)
        given = distribution(agent, choice, [self.label_of[answer] for answer in range(count)])
        probabilities = tuple(given.values())
        kind = instance.step.kind
        claimed = None
        if kind == "claim":  # ties go to the answer whose defender would speak first
            order = self.episode.seating.speaking
            claimed = max(order, key=lambda answer: (probabilities[answer], -order.index(answer)))
        return Turn(
            step=instance.name,
            seat=instance.step.seat.name,
            role=instance.step.seat.role.name,
            kind=kind,
            text=choice.reasoning if instance.step.explains else "",
            reasoning="" if instance.step.explains else choice.reasoning,
            answer=claimed,
            probabilities=probabilities,
            elicitation=choice.elicitation,
            agent=choice.by or agent.name,
            usage=choice.usage,
            notes=choice.notes,
            readings=choice.readings,
            beliefs=tuple(replace(one, probabilities=self._by_answer(one.probabilities)) for one in choice.beliefs),
            consulted=tuple(replace(one, probabilities=self._by_answer(one.probabilities)) for one in choice.consulted),
            seconds=choice.seconds,
            stops=choice.stops,
        )

    def _by_answer(self, shown: Sequence[float]) -> tuple[float, ...]:
        """Probabilities in the order of the view's answers, in the question's."""
        return tuple(shown[self.episode.seating.labels.index(answer)] for answer in range(len(shown)))


class _Solving:
    """Puts the nodes of a tree to the agents that split, answer and combine.

    The same question is put to the same agent in the same words, wherever it stands in the tree: the journal then has
    it made once.
    """

    def __init__(
        self,
        moderator: EpisodeModerator,
        instance: Instance,
        view: View,
        heard: list[Turn],
        claims: list[Turn],
        people: SideBySide,
    ) -> None:
        self.moderator, self.instance, self.view, self.heard, self.claims = moderator, instance, view, heard, claims
        self.people = people
        self.usage, self.notes, self.seconds, self.by = Usage(), list[str](), 0.0, ""
        recursion = instance.step.recursion
        assert recursion is not None
        self.seats = {"split": recursion.decomposer, "answer": instance.step.seat, "combine": recursion.combiner}

    async def split(self, question: str, most: int) -> list[str]:
        view = self._view("split", question)
        view = replace(view, task=f"{view.task} Write {most} at most.")
        rejected = fault = ""
        for number in range(TRIES):
            speech = await self._ask("split", question, view, "parts", most, number, rejected, fault)
            parts, fault = read_parts(speech.text, most)
            if not fault:
                return parts
            rejected = speech.text
        raise Unparsable(f"{self._agent('split').name} wrote no parts that can be read in {TRIES} tries: {fault}")

    async def answer(self, question: str) -> str:
        return await self._text("answer", question, ())

    async def combine(self, question: str, parts: Sequence[tuple[str, str]]) -> str:
        return await self._text("combine", question, parts)

    async def _text(self, task: str, question: str, parts: Sequence[tuple[str, str]]) -> str:
        speech = await self._ask(task, question, self._view(task, question, parts), "answer")
        text = speech.text.strip()
        if not text:
            raise TurnFailed(f"{self._agent(task).name} gave an empty answer")
        return text

    def _agent(self, task: str) -> Agent:
        return self.moderator.agent_at(self.seats[task])

    def _view(self, task: str, question: str, parts: Sequence[tuple[str, str]] = ()) -> View:
        """What is seen of one node: of the whole only that it is the question, of a part nothing but itself."""
        seat = self.seats[task]
        step = replace(self.instance.step, seat=seat, task=task)
        whole = self.moderator.view(replace(self.instance, step=step), self.heard, self.claims)
        solved = _parts_shown(parts)
        if question == whole.question:
            return replace(whole, turns=(*whole.turns, *solved))
        read = self.moderator.arena.part(question)
        return replace(
            whole,
            question=question,
            answers=(),
            options=(),
            positions=(),
            structure={} if read is None else read.structure,
            by_answer={},
            turns=solved,
            exhibit="",
        )

    async def _ask(
        self,
        task: str,
        question: str,
        view: View,
        form: Literal["parts", "answer"],
        most: int = 0,
        number: int = 0,
        rejected: str = "",
        fault: str = "",
    ) -> Speech:
        moderator, step = self.moderator, self.instance.step
        seed = seed_from(moderator.seed, moderator.episode.question.id, task, question, moderator.episode.sample)
        request = Speak(
            view,
            seed,
            moderator.episode.sample,
            (number,) if number else (),
            step.thinks,
            rejected=rejected,
            fault=fault,
            form=form,
            most=most,
        )
        with self.people.at(self.seats[task].name):
            speech = await respond(self._agent(task), request, moderator.journal)
        self._add(speech)
        if task == "answer" and speech.by:
            self.by = speech.by
        return speech

    def _add(self, reply: Speech | Choice) -> None:
        self.usage += reply.usage
        self.notes += reply.notes
        self.seconds += reply.seconds

    async def checked(self, tree: Node, checker: Seat) -> Node:
        """The tree with what the checker finds of every answer that was put together from others."""

        async def check(node: Node) -> Node:
            if not node.parts:
                return node
            parts = tuple(await gather_all([check(part) for part in node.parts]))
            whole = node.question == self.view.question
            read = None if whole else self.moderator.arena.part(node.question)
            found = await self.moderator._check(
                self.instance,
                checker,
                self.people,
                question=node.question,
                structure=self.view.structure if whole else {} if read is None else read.structure,
                asked="Does the answer follow from the answers to the parts?",
                rests_on=_parts_shown([(part.question, part.answer) for part in parts]),
                step=VisibleTurn("Answer", None, f"Answer: {node.answer}"),
            )
            if isinstance(found, Choice):
                self._add(found)
            return _marked(replace(node, parts=parts), found)

        return await check(tree)


def _parts_shown(parts: Sequence[tuple[str, str]]) -> tuple[VisibleTurn, ...]:
    return tuple(
        VisibleTurn(f"Part {number}", None, f"{asked}\nAnswer: {answer}")
        for number, (asked, answer) in enumerate(parts, start=1)
    )


def _marked(node: Node, found: Choice | str) -> Node:
    """The node with what a check came to: a probability that it holds, or why there is none."""
    if isinstance(found, str):
        return replace(node, unchecked=found)
    return replace(node, holds=found.probabilities[HOLDS])


def _unchecked(tree: Node) -> str:
    """Why the first of the nodes has no check that is to have one; empty where all have."""
    place, why = next(((path, node.unchecked) for path, node in tree.walk() if node.unchecked), ("", ""))
    return f"{f'part {place}' if place else 'the answer'} could not be checked: {why}" if why else ""


async def play_episode(
    episode: Episode,
    compiled: CompiledProtocol,
    arena: Arena,
    agents: Mapping[str, Agent],
    journal: Journal,
    seed: int,
    thread: Thread | None = None,
    replies: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> dict[str, Any]:
    """Play an episode and give its record.

    A turn that fails, or more than ``timeout`` seconds, makes the episode unscored, with the reason and the turns
    that were taken; it never becomes a verdict.  Raises :class:`Waiting` where a person is to be asked first; see
    :meth:`CompiledProtocol.play` for ``thread`` and ``replies``.
    """
    moderator = EpisodeModerator(episode, compiled, arena, agents, journal, seed)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(timeout) as bound:
            turns = await compiled.play(moderator, thread, replies)
        verdict = compiled.verdict(turns)
    except (TurnFailed, TimeoutError) as failure:
        if isinstance(failure, TimeoutError):
            if not bound.expired():
                raise
            failure = TurnFailed(f"not finished within {timeout:g} s: raise --episode-timeout, or leave it out")
        turns = compiled.ordered(moderator.taken)
        verdict = Verdict(None, reason=str(failure))
    question = episode.question
    total = sum((turn.usage for turn in turns), Usage())
    deciding = list(
        dict.fromkeys(i.step.seat.role.name for i in compiled.unrolled.instances.values() if i.step.kind == "verdict")
    )
    credit = verdict.credit(question.correct)
    score = None
    if verdict.probabilities is not None:
        score = episode.protocol.judge_score(turns, verdict.probabilities[question.correct])
    return {
        "id": episode.id,
        "purpose": episode.purpose,
        "protocol": episode.protocol.title,
        "protocol_key": episode.protocol.key[:12],
        "arena": arena.name,
        "question": question.id,
        "source": question.source,
        **({"group": question.group} if question.group else {}),
        "answers": len(question.answers),
        "correct": question.correct,
        "cast": {role: list(names) for role, names in episode.cast.items()},
        "arguing": [name for name, role in compiled.roles.items() if role.is_supervised],
        "deciding": deciding,
        "seating": episode.seating.to_dict(),
        "sample": episode.sample,
        **({"sitting": episode.sitting} if episode.sitting else {}),
        "status": "scored" if verdict.scored else "unscored",
        "reason": verdict.reason,
        "probabilities": list(verdict.probabilities) if verdict.probabilities else None,
        "elicitation": verdict.elicitation,
        "credit": credit if verdict.scored else None,
        "judge_score": score,
        "switched": [turn.seat for turn in turns if any(note.startswith(ARGUED_FOR_ANOTHER) for note in turn.notes)],
        "turns": [turn.to_dict() for turn in turns],
        "usage": total.to_dict(),
        "seconds": round(time.perf_counter() - started + sum(turn.seconds for turn in turns), 3),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


async def play_one(
    plan: Plan, episode: Episode, agents: Mapping[str, Agent], journal: Journal, timeout: float | None
) -> dict[str, Any]:
    """The record of an episode of a plan, played by agents that are connected."""
    compiled = plan.compiled_for(episode)
    record = await play_episode(episode, compiled, plan.arena, agents, journal, plan.seed, timeout=timeout)
    if episode.recording is not None:
        record["recording"] = episode.recording.mark()
    return record
