"""What no view may ever hold, over random episodes of every built-in protocol."""

import importlib.util
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from oversight.agents import Agent
from oversight.agents.prompts import choose_messages, speak_messages
from oversight.registry import find_protocol, names
from oversight.requests import Choice, Speak, Speech
from oversight.runs.seating import Seating
from oversight.transcript import Usage


def _load(name):
    file = Path(__file__).with_name(f"{name}.py")
    specification = importlib.util.spec_from_file_location(f"oversight_test_{name}", file)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


helpers, hostile = _load("helpers"), _load("hostile_texts")

MATERIAL, NAMES, NOTE = "canary-material", ("canary-agent-x", "canary-agent-y", "canary-agent-j"), "canary-note"


class Leaky(Agent):
    """An agent that gives everything it can: a speech, and reasoning, notes and costs that are nobody's business."""

    def __init__(self, name, words, weights):
        super().__init__(name)
        self.words, self.weights, self.requests = words, weights, []

    def describe(self):
        return {"agent": self.name, "words": self.words, "weights": self.weights}

    async def speak(self, request):
        self.requests.append(request)
        number = sum(turn.own for turn in request.view.turns)
        return Speech(
            f"{request.view.speaker} says {self.words[number % len(self.words)]}.",
            reasoning=f"canary-reasoning-{request.key}",
            usage=Usage(7177, 717717, 71771, 0.7177),
            notes=(NOTE,),
        )

    async def choose(self, request):
        self.requests.append(request)
        weights = {answer.label: weight for answer, weight in zip(request.view.answers, self.weights, strict=False)}
        total = sum(weights.values())
        return Choice(
            {label: weight / total for label, weight in weights.items()},
            "script",
            reasoning=f"canary-reasoning-{request.key}",
            usage=Usage(7177, 717717, 71771, 0.7177),
            notes=(NOTE,),
        )


@st.composite
def episodes(draw):
    """A protocol, a number of answers, a seating and agents."""
    answers = draw(st.integers(2, 4))
    orderings = ("labels", "speaking", "defends", "options")
    orders = {name: tuple(draw(st.permutations(range(answers)))) for name in orderings}
    words = draw(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=3))
    weights = tuple(draw(st.lists(st.integers(1, 9), min_size=4, max_size=4)))
    return draw(st.sampled_from(helpers.VARIANTS)), answers, Seating(**orders), words, weights


def played(episode, correct):
    """The record of an episode, and all requests that were made in it."""
    protocol, answers, seats, words, weights = episode
    agents = {name: Leaky(name, words, weights) for name in NAMES}
    cast = {
        name: NAMES[:2] if role.argues_for_an_answer else NAMES[2:] for name, role in protocol.roles(answers).items()
    }
    record = helpers.play(
        protocol, agents, question=helpers.question(answers, correct, hidden=MATERIAL), seating=seats, cast=cast
    )
    assert record["status"] == "scored", record["reason"]
    return record, [request for agent in agents.values() for request in agent.requests]


def shown(view):
    """Everything in a view, as text."""
    return json.dumps(asdict(view), ensure_ascii=False, default=dict)


@settings(max_examples=50, deadline=None)
@given(episodes())
def test_no_view_holds_what_its_role_may_not_see(episode):
    """Hidden material only where the role declares it, no other seat's reasoning, no agent's name, cost or notes."""
    record, requests = played(episode, 0)
    roles = episode[0].roles(episode[1])
    seat_of = {turn["reasoning"]: (turn["role"], turn["seat"]) for turn in record["turns"]}
    assert len(seat_of) == len(requests) == len(record["turns"])
    for request in requests:
        text = shown(request.view)
        assert (MATERIAL in text) == roles[request.view.role].sees_material
        mine = seat_of[f"canary-reasoning-{request.key}"]
        for reasoning, seat in seat_of.items():
            assert reasoning not in text or seat == mine
        plain = re.sub("canary-reasoning-[0-9a-f]+", "", text)  # a digest may hold any four digits
        for secret in (*NAMES, NOTE, "7177", "canary-agent"):
            assert secret not in plain


@settings(max_examples=25, deadline=None)
@given(episodes(), st.data())
def test_the_truth_changes_no_request(episode, data):
    """Which answer is correct has no way into a view or a seed: the requests are the same whichever it is."""
    correct = data.draw(st.integers(1, episode[1] - 1))
    first, requests = played(episode, 0)
    second, others = played(episode, correct)
    assert sorted(request.key for request in requests) == sorted(request.key for request in others)
    assert first["turns"] == second["turns"]
    assert first["probabilities"] == second["probabilities"]


@settings(max_examples=25, deadline=None)
@given(episodes())
def test_hidden_material_changes_no_view_of_those_who_may_not_see_it(episode):
    """Two questions that differ in hidden material alone look the same to a judge that sees the turns alone."""
    protocol, answers, seats, _, _ = episode

    def judged(material):
        agent = helpers.Watching(choices={"A": 0.75, "B": 0.25})
        given = helpers.question(answers, hidden=material)
        helpers.play(protocol, agent, question=given, seating=seats)
        return sorted(view.digest for view in agent.views if not protocol.roles(answers)[view.role].sees_material)

    assert judged("one story") == judged("another")


@settings(max_examples=25, deadline=None)
@given(episodes())
def test_labels_answers_and_positions_agree(episode):
    """Labels name the answers in the seating's order, options offer each once, and who argues for what is what the
    record says."""
    record, requests = played(episode, 0)
    _, answers, seats, _, _ = episode
    labels = "ABCD"[:answers]
    for request in requests:
        view = request.view
        assert [(one.label, one.text) for one in view.answers] == [
            (label, f"answer {answer}") for label, answer in zip(labels, seats.labels, strict=True)
        ]
        assert sorted(view.options) == sorted(labels)
        assert all(one.label == one.speaker[-1] for one in view.positions)
    for turn in record["turns"]:
        if turn["kind"] == "speech":
            assert turn["text"].split(" says ")[0][-1] == labels[seats.labels.index(turn["answer"])]


# ---- every protocol of the library, and the prompts that views become -------------------------------

TRUTH = ("canary-truth-id", "canary-truth-source", "canary-truth-group")


class Sly(Agent):
    """Says a hostile text, and keeps its requests; its private reasons name its seat."""

    def __init__(self, name, text):
        super().__init__(name)
        self.text, self.requests = text, []

    def describe(self):
        return {"agent": self.name}

    def _thought(self, request):
        return f"canary-thought of {request.view.speaker}."

    async def speak(self, request):
        self.requests.append(request)
        parts = request.form == "parts" and request.view.question == "Which one?"
        text = f"1. What is {len(self.text)}?\n2. Which part?" if parts else f"{request.view.speaker}: {self.text}"
        return Speech(text, reasoning=self._thought(request), notes=(NOTE,))

    async def choose(self, request):
        self.requests.append(request)
        labels = [answer.label for answer in request.view.answers]
        reasons = self.text if request.explains else self._thought(request)  # what is explained is said to others
        return Choice(dict.fromkeys(labels, 1 / len(labels)), "script", reasoning=reasons, notes=(NOTE,))


def library():
    """Every registered protocol with its default options, and the variants of those that the tests build with."""
    found = [find_protocol(name) for name in names("protocols")]
    return [*found, *helpers.VARIANTS, *helpers.FAMILY]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_prompt_holds_what_its_role_may_not_see(data):
    """Whatever the protocol, its options and what is said: prompts hold no more than their views declare."""
    protocol = data.draw(st.sampled_from(library()), label="protocol")
    text = data.draw(st.one_of(st.sampled_from(sorted(hostile.ATTACKS.values())), st.text(min_size=1)), label="said")
    text = text if text.strip() else "x"
    order = tuple(data.draw(st.permutations(range(2))))
    given = replace(
        helpers.question(hidden=f"{MATERIAL} <quote>x</quote>"), id=TRUTH[0], source=TRUTH[1], group=TRUTH[2]
    )
    agents = {name: Sly(name, text) for name in NAMES}
    roles = protocol.roles(2)
    cast = {name: NAMES[:2] if role.argues_for_an_answer else NAMES[2:] for name, role in roles.items()}
    seats = Seating(labels=order, speaking=order, defends=order[::-1], options=order)
    record = helpers.play(protocol, agents, question=given, seating=seats, cast=cast)
    requests = [request for agent in agents.values() for request in agent.requests]
    assert requests, record["reason"]
    for request in requests:
        view = request.view
        if isinstance(request, Speak):
            forms = ("speech", "thoughts and speech", "thoughts")
            prompts = [speak_messages(view, form=form, limits=request.limits, asked_for=request.form) for form in forms]
        else:
            forms = ("label and confidence", "label", "text", "thoughts")
            prompts = [choose_messages(view, form=form, reasoning=True) for form in forms]
        for messages in prompts:
            shown = "\n".join(message["content"] for message in messages)
            assert (MATERIAL in shown) == roles[view.role].sees_material
            thoughts = set(re.findall(r"canary-thought of ([^.]*)\.", shown))
            assert thoughts <= {view.speaker, view.speaker.rstrip(" AB")}  # a claimant has no letter yet
            for secret in (*NAMES, NOTE, *TRUTH):
                assert secret not in shown or secret in text
