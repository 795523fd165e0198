"""Stand-ins for a person: they err at the rate and in the way they are told to, and the same way again."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import oversight
from oversight.agents import PROXIES, AnswerKey, ScriptedAgent
from oversight.agents.proxies import NEUTRAL_QUESTION, LengthBiased, Negligent, Noisy, PositionBiased
from oversight.errors import CannotSpeak, ConfigurationError, ModelError, TurnFailed
from oversight.questions import Question
from oversight.requests import Choose, Speak, Speech
from oversight.views import Answer, View, VisibleTurn

HERE = Path(__file__).parent


def _load(name):
    specification = importlib.util.spec_from_file_location(f"proxies_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


tiny = _load("tiny")
TEXTS = ("yes", "no", "maybe", "never")


def question(number=0, answers=2, correct=0):
    return Question(f"q{number}", f"Question {number}?", TEXTS[:answers], correct, f"s{number}")


def view(of, order=None, options=None, turns=(), **changes):
    """What a judge sees of a question, its answers labelled in ``order`` and offered in ``options``, both indices."""
    order = tuple(order or range(len(of.answers)))
    label_of = {answer: "ABCDEFGH"[place] for place, answer in enumerate(order)}
    values = {
        "role": "judge",
        "speaker": "Judge",
        "instructions": "",
        "rules": "",
        "question": of.text,
        "answers": tuple(Answer(label_of[answer], of.answers[answer]) for answer in order),
        "options": tuple(label_of[answer] for answer in (options or order)),
        "position": None,
        "positions": (),
        "turns": tuple(VisibleTurn(f"Debater {label_of[answer]}", label_of[answer], text) for answer, text in turns),
    }
    return View(**{**values, **changes})


def verdict(agent, request):
    """The choice, and its probabilities by the answers' texts."""
    choice = asyncio.run(agent.respond(request))
    return choice, {answer.text: choice.probabilities[answer.label] for answer in request.view.answers}


def told(agent, *questions):
    agent.learn(questions)
    return agent


def erred(choice):
    return any(note.startswith("proxy erred") for note in choice.notes)


def within(count, n, rate):
    """Whether a count is one that a binomial gives but for one time in some millions."""
    return abs(count - n * rate) <= 5 * math.sqrt(n * rate * (1 - rate)) + 1e-9


# ---- the answer key ------------------------------------------------------------------------------------


def test_the_answer_key_knows_the_right_answer_by_its_text():
    """Under any labels and any order; the others share the rest."""
    agent = told(AnswerKey(), question(answers=4, correct=2))
    for order in [(0, 1, 2, 3), (2, 0, 3, 1), (3, 2, 1, 0)]:
        choice, given = verdict(agent, Choose(view(question(answers=4), order)))
        assert given == pytest.approx({"maybe": 0.9, "yes": 0.1 / 3, "no": 0.1 / 3, "never": 0.1 / 3})
        assert choice.elicitation == "proxy"
    assert verdict(told(AnswerKey(confidence=1.0), question()), Choose(view(question())))[1] == {"yes": 1.0, "no": 0.0}


def test_a_description_does_not_tell_the_truth():
    """Run directories hold descriptions."""
    agent = Noisy()
    before = agent.describe()
    assert told(agent, question()).describe() == before
    assert "yes" not in str(before)


def test_two_questions_that_read_the_same():
    """The same answer twice is no matter; another one cannot be told apart from it."""
    agent = told(AnswerKey(), question(), replace(question(), id="q9", answers=("no", "yes"), correct=1))
    with pytest.raises(ConfigurationError, match="question 'q8' reads like another one") as caught:
        agent.learn([replace(question(), id="q8", correct=1)])
    assert "\n" not in str(caught.value)
    agent.learn([replace(question(), id="q8", correct=1, answers=("yes", "never"))])  # other answers, another question


def test_a_question_that_was_not_learned():
    """Fails the turn, and with it the episode alone."""
    with pytest.raises(TurnFailed, match=r"the answer key has no answer to 'Question 1\?'"):
        verdict(told(AnswerKey(), question()), Choose(view(question(1))))


@pytest.mark.parametrize("confidence", [0.5, 0.0, 1.1, -1])
def test_a_confidence_that_would_be_for_another_answer(confidence):
    with pytest.raises(ConfigurationError, match="a number above"):
        AnswerKey(confidence)
    with pytest.raises(ValidationError):
        Noisy(confidence=confidence)


# ---- how each errs ----------------------------------------------------------------------------------------


def test_noisy_swaps_two_answers():
    choice, given = verdict(told(Noisy(rate=1.0), question()), Choose(view(question())))
    assert given == pytest.approx({"yes": 0.1, "no": 0.9})
    assert choice.notes == ("proxy erred: flipped",)
    judge = ScriptedAgent("judge", choices={"A": 0.7, "B": 0.3})
    assert verdict(Noisy(judge=judge, rate=1.0), Choose(view(question())))[1] == {"yes": 0.3, "no": 0.7}


def test_noisy_swaps_the_likeliest_of_more_with_a_drawn_one():
    judge = ScriptedAgent("judge", choices={"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1})
    seen = set()
    for seed in range(40):
        _, given = verdict(Noisy(judge=judge, rate=1.0), Choose(view(question(answers=4)), seed))
        assert sorted(given.values()) == [0.1, 0.2, 0.3, 0.4]
        taken = max(given, key=given.get)
        assert given["yes"] == {"no": 0.3, "maybe": 0.2, "never": 0.1}[taken]
        seen.add(taken)
    assert seen == {"no", "maybe", "never"}


def test_position_biased_takes_what_is_offered_first_unread():
    """Its judge is not even asked."""
    agent = PositionBiased(judge=ScriptedAgent("mute"), rate=1.0)
    for options in [(0, 1), (1, 0)]:
        choice, given = verdict(agent, Choose(view(question(), (1, 0), options)))
        assert given[TEXTS[options[0]]] == 0.9
        assert erred(choice)


@pytest.mark.parametrize(
    ("turns", "taken"),
    [
        ([(0, "one two three"), (1, "one two")], "yes"),
        ([(0, "one two"), (1, "one"), (1, "two three")], "no"),
        ([(0, "one two"), (1, "one two")], None),
        ([], None),
        ([(0, "only one side")], "yes"),
    ],
)
def test_length_biased_takes_the_side_of_most_words(turns, taken):
    """A tie is judged."""
    agent = LengthBiased(judge=ScriptedAgent("judge", choices={"A": 0.6, "B": 0.4}), rate=1.0)
    choice, given = verdict(agent, Choose(view(question(), turns=turns)))
    assert erred(choice) == (taken is not None)
    assert given == pytest.approx({"yes": 0.6, "no": 0.4}) if taken is None else given[taken] == 0.9


def test_negligent_draws_an_answer():
    agent = Negligent(judge=ScriptedAgent("mute"), rate=1.0)
    taken = [
        max(given, key=given.get) for given in (verdict(agent, Choose(view(question()), s))[1] for s in range(400))
    ]
    assert within(taken.count("yes"), 400, 0.5)


def test_where_it_does_not_err_it_gives_its_judges_verdict():
    """Marked as a stand-in's, with the judge's own reasons."""
    judge = ScriptedAgent("judge", choices={"A": 0.6, "B": 0.4})
    for kind in PROXIES.values():
        choice, given = verdict(kind(judge=judge, rate=0), Choose(view(question())))
        assert (given, choice.elicitation, choice.notes) == ({"yes": 0.6, "no": 0.4}, "proxy", ())


# ---- laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PROXIES)
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 1.0])
def test_it_errs_at_its_rate(kind, rate):
    """Over many questions, within what a binomial gives; noise in its verdicts is its error rate."""
    questions = [question(number) for number in range(600)]
    agent = told(PROXIES[kind](rate=rate), *questions)
    choices = [verdict(agent, Choose(view(one, turns=[(1, "longer speech"), (0, "speech")]), 5)) for one in questions]
    errors = sum(erred(choice) for choice, _ in choices)
    assert within(errors, 600, rate)
    wrong = sum(given["no"] > given["yes"] for _, given in choices)
    share = {"noisy": rate, "length-biased": rate, "negligent": rate / 2, "position-biased": 0}[kind]
    assert within(wrong, 600, share)


orders = st.permutations(range(4))
requests = st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 3), st.lists(st.integers(0, 3), max_size=2).map(tuple))


@given(st.sampled_from(sorted(PROXIES)), st.floats(0, 1), requests, orders, orders, orders, orders)
def test_labels_and_orders_change_nothing(kind, rate, request, order, options, other_order, other_options):
    """Verdicts by the answers' texts are the same under any labels; under any order of options but for one kind."""
    asked = question(answers=4, correct=1)
    agent = told(PROXIES[kind](rate=rate), asked)
    turns = [(0, "a few words"), (3, "a few words more"), (2, "word")]
    if kind == "position-biased":
        other_options = options
    first, given = verdict(agent, Choose(view(asked, order, options, turns), *request))
    second, again = verdict(agent, Choose(view(asked, other_order, other_options, turns), *request))
    assert given == pytest.approx(again)
    assert first.notes == second.notes


@given(st.sampled_from(sorted(PROXIES)), st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**31 - 1))
def test_at_a_higher_rate_it_errs_wherever_it_did(kind, rate, other, seed):
    """Rates share their chance moves, so that two of them are compared without the luck of the draw."""
    asked = question()
    low, high = (told(PROXIES[kind](rate=one), asked) for one in sorted([rate, other]))
    request = Choose(view(asked, turns=[(0, "two words")]), seed)
    (first, given), (second, again) = verdict(low, request), verdict(high, request)
    assert erred(second) or not erred(first)
    if erred(first):
        assert given == again


@given(st.sampled_from(sorted(PROXIES)), st.integers(0, 2**31 - 1), st.integers(0, 3))
def test_the_same_request_gets_the_same_verdict(kind, seed, sample):
    """From another object in the same state as well."""
    asked = question(answers=3)
    request = Choose(view(asked), seed, sample)
    assert verdict(told(PROXIES[kind](), asked), request) == verdict(told(PROXIES[kind](), asked), request)


def test_samples_and_turns_are_draws_of_their_own():
    asked = question()
    agent = told(Noisy(rate=0.5), asked)
    for changed in ({"seed": 1}, {"sample": 1}, {"draw": (1,)}):
        pairs = [
            (erred(verdict(agent, one)[0]), erred(verdict(agent, replace(one, **{**changed, **more}))[0]))
            for number in range(60)
            for one in [Choose(view(asked), seed=1000 + number)]
            for more in [{"seed": 5000 + number} if "seed" in changed else {}]
        ]
        assert 10 < sum(first != second for first, second in pairs) < 50


# ---- speaking -----------------------------------------------------------------------------------------------


def test_it_asks_what_its_judge_asks_or_a_question_that_leads_nowhere():
    judge = ScriptedAgent("judge", speeches=["Why?"], choices={"A": 1.0})
    assert asyncio.run(Noisy(judge=judge).respond(Speak(view(question())))) == Speech("Why?")
    for mute in (None, ScriptedAgent("mute", choices={"A": 1.0})):
        assert asyncio.run(Noisy(judge=mute).respond(Speak(view(question())))) == Speech(NEUTRAL_QUESTION)


def test_it_does_not_argue_for_a_judge_that_cannot():
    """A question is no argument; and a judge that fails has failed."""
    for seen in ({"position": "A"}, {"material": {"page": "text"}}, {"opposed": True}):
        with pytest.raises(CannotSpeak):
            asyncio.run(Noisy().respond(Speak(view(question(), **seen))))

    class Broken(ScriptedAgent):
        async def speak(self, request):
            raise ModelError("the endpoint is gone")

    with pytest.raises(ModelError, match="gone"):
        asyncio.run(Noisy(judge=Broken("broken")).respond(Speak(view(question()))))


# ---- in a run -------------------------------------------------------------------------------------------------


def test_a_run_with_a_stand_in(tmp_path):
    """Through the library: it errs as told, its notes say where, and the journal keeps no key."""
    arena = tiny.Sums()
    agent = told(Noisy(rate=0.4), *arena.questions(30, 0))
    result = oversight.run("direct", arena, limit=30, judge=agent, log_dir=tmp_path / "run")
    records = list(result.episodes())
    verdicts = [record["turns"][-1] for record in records]
    assert {turn["elicitation"] for turn in verdicts} == {"proxy"}
    for record, turn in zip(records, verdicts, strict=True):
        assert record["credit"] == (0.0 if "proxy erred: flipped" in turn.get("notes", ()) else 1.0)
    assert 0 < sum(record["credit"] for record in records) < len(records)
    with closing(sqlite3.connect(tmp_path / "run" / "journal.sqlite")) as journal:
        assert journal.execute("SELECT COUNT(*) FROM calls").fetchone() == (0,)
