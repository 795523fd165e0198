"""What several test files build with: a plain arena, questions, agents that note what they see, one episode played.

Test files load this one by its path, as pytest's importlib mode puts no folder on the import path.
"""

import asyncio
import re
import tempfile
from functools import lru_cache
from itertools import product
from pathlib import Path

from oversight.agents import ScriptedAgent
from oversight.graph import compile_protocol
from oversight.protocols.blind import Blind
from oversight.protocols.consultancy import Consultancy
from oversight.protocols.critique import Critique
from oversight.protocols.cross_examination import CrossExamination
from oversight.protocols.debate import Debate
from oversight.protocols.direct import Direct
from oversight.protocols.multi_agent_debate import MultiAgentDebate
from oversight.protocols.propaganda import Propaganda
from oversight.protocols.self_consistency import SelfConsistency
from oversight.questions import Arena, Question
from oversight.requests import Speech
from oversight.runs.journal import Journal
from oversight.runs.moderator import NOTHING_TO_THE_POINT, play_episode
from oversight.runs.plan import Episode
from oversight.runs.seating import Seating

VARIANTS = [
    Direct(),
    Direct(expert=True),
    Blind(),
    Propaganda(),
    *(Consultancy(form=form, rounds=rounds) for form, rounds in product(["single", "ensembled", "double"], [1, 3])),
    *(
        Debate(style=style, positions=positions, rounds=rounds)
        for style, positions, rounds in product(["simultaneous", "sequential"], ["assigned", "open"], [1, 3])
    ),
]
"""Every variant of every built-in protocol, with one round and with three."""

_PERSUASION = (
    {"interactive": True},
    {"stop": "sure"},
    {"stop": "settled", "prior": True},
    {"prior": True},
    {"candidates": 2},
    {"candidates": 2, "preference": "own"},
    {"refinements": 1},
    {"refinements": 2, "candidates": 2},
    {"private_reasoning": True, "judge_reasoning": True},
)
FAMILY = [
    *(Debate(style="opening", rounds=rounds) for rounds in (1, 2, 3)),
    *(Debate(rounds=2, **options) for options in _PERSUASION),
    *(Debate(rounds=2, style="opening", **options) for options in _PERSUASION[:4]),
    Debate(rounds=2, style="sequential", interactive=True, stop="sure", candidates=2),
    Debate(rounds=2, positions="open", prior=True, candidates=2),
    Debate(rounds=2, egocentric=True),
    Debate(rounds=2, egocentric=True, interactive=True, refinements=1),
    Debate(rounds=3, style="opening", interactive=True, prior=True, stop="sure", sure=0.95),
    *(Consultancy(rounds=2, **options) for options in _PERSUASION),
    Consultancy(rounds=2, positions="open"),
    Consultancy(rounds=3, positions="open", interactive=True, prior=True, stop="sure"),
    *(
        Consultancy(rounds=2, form=form, candidates=2, refinements=1, preference=preference)
        for form, preference in product(["ensembled", "double"], ["judge", "own"])
    ),
    *(Critique(author="argues", critiques=number, reply=reply) for number, reply in product([1, 2], [False, True])),
    Critique(author="silent"),
    Critique(author="silent", critiques=2, candidates=2),
    Critique(candidates=2, reply=True),
    CrossExamination(),
    CrossExamination(batches=1, repeats=3),
    CrossExamination(batches=2, repeats=2, positions="open"),
    SelfConsistency(),
    SelfConsistency(equal_to="debate(rounds=2)"),
    MultiAgentDebate(),
    MultiAgentDebate(agents=2, rounds=3),
]
"""Variants of the debate family by their other options, two rounds where nothing else matters."""


class Plain(Arena):
    """Questions as they are, with rules of one line."""

    name = "plain"

    def questions(self, limit, seed):
        return [question()]

    def rules(self):
        return "Rules of the arena."

    def speech_rules(self):
        return "Rules of speech."


def question(answers=2, correct=0, hidden="the hidden passage", **changes):
    """A question with so many answers, called ``answer 0`` and so on."""
    values = {
        "id": "q1",
        "text": "Which one?",
        "answers": tuple(f"answer {number}" for number in range(answers)),
        "correct": correct,
        "source": "s1",
        "hidden": {"passage": hidden},
    }
    return Question(**{**values, **changes})


def seating(answers=2, **orders):
    """A seating in the question's own order, but for the orders given."""
    plain = tuple(range(answers))
    return Seating(**{"labels": plain, "speaking": plain, "defends": plain, "options": plain, **orders})


def numbered(view):
    """A speech that says who gives it and which of its speeches it is: ``B2``."""
    return f"{view.position or view.role}{sum(turn.own for turn in view.turns) + 1}"


class Watching(ScriptedAgent):
    """A scripted agent that keeps the requests it was given; it speaks :func:`numbered` and is sure of A."""

    def __init__(self, name="watching", speeches=numbered, choices=None):
        super().__init__(name, speeches, choices or {"A": 1.0})
        self.requests = []

    @property
    def views(self):
        return [request.view for request in self.requests]

    async def respond(self, request):
        self.requests.append(request)
        return await super().respond(request)

    def heard(self):
        """By display name, what each of its turns saw, as the texts of the turns in a line."""
        result = {}
        for view in self.views:
            result.setdefault(view.speaker, []).append(" ".join(turn.text for turn in view.turns))
        return result


def spoken(view):
    """A speech that says who gives it and which of its speeches it is, claims and decisions left out: ``B2``."""
    own = sum(turn.own and not turn.text.startswith(("I hold", "I give")) for turn in view.turns)
    return f"{view.position}{own + 1}" if view.position else f"{view.speaker.casefold().replace(' ', '')}-{own + 1}"


def short(turn):
    """A visible turn in a word: ``B2``, ``(B2)`` in private, ``=B`` a claim, ``judge=60/40`` a decision.

    ``B0`` is what opponents are taken to say while candidates are ranked.
    """
    claim = re.fullmatch(r"I hold that answer (\w) is correct\.", turn.text)
    if claim:
        return f"={claim[1]}"
    if turn.text.startswith("I give"):
        given, _, reasons = turn.text.partition("\n")
        shares = "/".join(re.findall(r"(\d+)% to answer", given))
        return f"{turn.speaker.casefold().replace(' ', '')}={shares}" + (f":{reasons}" if reasons else "")
    if turn.text == NOTHING_TO_THE_POINT:
        return f"{turn.label}0"
    return f"({turn.text})" if turn.private else turn.text


class Player(Watching):
    """Speaks :func:`spoken`, its candidates with a, b, ... at the end; keeps the requests that it was given."""

    def __init__(self, choices=None, speeches=spoken, name="player"):
        super().__init__(name, speeches, choices)

    async def speak(self, request):
        speech = await super().speak(request)
        of_a_candidate = request.draw and (request.view.position or request.view.role == "critic")
        return Speech(speech.text + "abc"[request.draw[0]]) if of_a_candidate else speech

    def saw(self, protocol, answers=2):
        """By display name, what each request showed in short, its task before it; sorted, as some come at once."""
        tasks = {
            " ".join(text.split()): f"{name}:"
            for role in protocol.roles(answers).values()
            for name, text in role.tasks.items()
        }
        result = {}
        for view in self.views:
            task = tasks.get(view.task, "pick:") if view.task else ""
            result.setdefault(view.speaker, []).append(" ".join(filter(None, [task, *map(short, view.turns)])))
        return {speaker: sorted(seen) for speaker, seen in result.items()}


def course(words, **seats):
    """The turns that words like those of :func:`short` stand for, as :func:`turns_of` gives those of a record.

    ``seats`` names the seat that argues for each label.
    """
    count, result = {}, []
    for word in words.split():
        bare = word.strip("()")
        kind, text = ("claim", "") if bare[0] == "=" else ("verdict", bare) if "=" in bare else ("speech", bare)
        label = bare[1] if kind == "claim" else bare[0] if bare[0] in seats else None
        name = seats[label] if label else re.sub(r"(?<=[a-z])(?=\d)", " ", re.split("[-=]", bare)[0])
        count[name] = count.get(name, 0) + 1
        result.append((f"{name} {kind} {count[name]}", name, label, bare != word, text))
    return result


def turns_of(record):
    """The turns of a record as (step, seat, label of its answer, whether it is private, text or shares)."""
    order = record["seating"]["labels"]
    labels = {answer: "ABCDEFGH"[place] for place, answer in enumerate(order)}
    result = []
    for turn in record["turns"]:
        text = turn.get("text", "")
        if turn["kind"] == "verdict":
            shares = "/".join(f"{turn['probabilities'][answer]:.0%}" for answer in order).replace("%", "")
            text = f"{turn['seat'].replace(' ', '')}={shares}" + (f":{text}" if text else "")
        result.append((turn["step"], turn["seat"], labels.get(turn.get("answer")), turn.get("private", False), text))
    return result


compiled = lru_cache(maxsize=None)(compile_protocol)


def play(protocol, agents, *, question=None, seating=None, cast=None, arena=None, seed=0):
    """The record of one episode; ``agents`` is one agent for every role, or agents by name with a cast."""
    if not isinstance(agents, dict):
        agents = {agents.name: agents}
    given = question or globals()["question"]()
    count = len(given.answers)
    cast = cast or {role: tuple(agents) for role in protocol.roles(count)}
    episode = Episode("e1", protocol, given, cast, seating or globals()["seating"](count), 0)

    async def run(folder):
        journal = Journal(Path(folder) / "journal.sqlite")
        try:
            return await play_episode(episode, compiled(protocol, count), arena or Plain(), agents, journal, seed)
        finally:
            await journal.close()

    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(run(folder))


def transcript(record):
    """The turns of a record as (step, seat, label of the answer argued for or claimed, text)."""
    labels = {answer: "ABCDEFGH"[place] for place, answer in enumerate(record["seating"]["labels"])}
    return [
        (turn["step"], turn["seat"], labels.get(turn.get("answer")), turn.get("text", "")) for turn in record["turns"]
    ]
