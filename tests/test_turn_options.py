"""What a step can ask for: candidates and who ranks them, private turns, public verdicts, votes, tasks."""

from __future__ import annotations

import asyncio
import importlib.util
import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oversight.agents import Agent, LanguageModelAgent, ScriptedAgent
from oversight.agents.prompts import choose_messages, speak_messages
from oversight.errors import CheckFailed
from oversight.graph import check, compile_protocol
from oversight.limits import Limits
from oversight.models import Completion, Model
from oversight.protocol import Debater, Judge, Protocol, Role, branch, in_turn, repeat, together
from oversight.protocols.consultancy import Consultancy
from oversight.protocols.debate import Debate
from oversight.registry import find_protocol, names
from oversight.requests import Choice, Choose, Speak, Speech
from oversight.runs.moderator import NOTHING_TO_THE_POINT
from oversight.transcript import Turn, Usage

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)
play, question, seating, Watching = helpers.play, helpers.question, helpers.seating, helpers.Watching

FAIR = {"A": 0.5, "B": 0.5}


class Custom(Protocol):
    """Roles to build graphs with."""

    name = "custom"

    debater = Debater(tasks={"draft": "Draft it."})
    judge = Judge(tasks={"ask": "Ask."})
    friend = Role(sees_material=False)
    adviser = Role(sees_material=True)
    expert = Judge(sees_material=True, expert=True)

    def graph(self, answers):
        return self.judge.decides()


ROLES = Custom()
FIRST, SECOND, THIRD = (ROLES.debater.seat(number) for number in range(3))
JUDGE, FRIEND, ADVISER = ROLES.judge.seat(0), ROLES.friend.seat(0), ROLES.adviser.seat(0)


def protocol_of(graph, **attributes):
    """A protocol with this graph."""

    class Made(Protocol):
        name = "made"

        def graph(self, answers):
            return graph

    for name, value in attributes.items():
        setattr(Made, name, value)
    return Made()


class Writer(Watching):
    """Writes speeches such as ``A1c``: who speaks, its which speech, which candidate; all with private reasons."""

    async def speak(self, request):
        letter = "abcdefgh"[request.draw[0]] if request.draw else ""
        text = f"{helpers.numbered(request.view)}{letter}"
        return Speech(text, reasoning=f"secret of {text}", usage=Usage(1, 10, 5, 0.25))


def by_draft(scores):
    """A choice that gives the last speaker's answer what its draft is worth, and is fair where there is none."""

    def choose(view):
        drafts = [turn for turn in view.turns if turn.text[-1] in scores]
        if not drafts:
            return FAIR
        worth, label = scores[drafts[-1].text[-1]], drafts[-1].label
        return {one: worth if one == label else 1 - worth for one in "AB"}

    return choose


def cast(protocol, speaker, judge, **settings):
    """The record of an episode whose debaters are one agent, and everybody else another."""
    agents = {"speaker": speaker, "judge": judge}
    speaker.name, judge.name = agents
    names_of = {role: ("speaker" if role == "debater" else "judge",) for role in protocol.roles()}
    return play(protocol, agents, cast=names_of, **settings)


def rankings(judge):
    """What the judge saw while it ranked, as lists of texts."""
    return [
        request.view
        for request in judge.requests
        if isinstance(request, Choose) and request.thinks is False
    ]  # fmt: skip


def best(count=3, by=JUDGE, **changes):
    return FIRST.argues().but(candidates=count, preferred_by=by, **changes)


# ---- candidates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 5])
def test_candidates_are_separate_draws_of_one_request(count):
    """All are asked for in the same words with the same seed, and told apart by their draw."""
    speaker = Writer()
    cast(protocol_of(best(count) >> JUDGE.decides()), speaker, Watching(choices=FAIR))
    asked = [request for request in speaker.requests if isinstance(request, Speak)]
    assert [request.draw for request in asked] == [(number,) for number in range(count)]
    assert len({request.view.digest for request in asked}) == len({request.seed for request in asked}) == 1
    assert len({request.key for request in asked}) == count


class Drawing(Model):
    """A model that draws from the call's own draw."""

    def __init__(self, name="test/drawing"):
        super().__init__(name)
        self.calls = []

    async def complete(self, call):
        self.calls.append(call)
        if "Reply with" in call.messages[-1]["content"]:
            return Completion(
                "Answer: A\nConfidence: 75%" if "Confidence" in call.messages[-1]["content"] else "Answer: A"
            )
        return Completion(f"drawn {call.draw}")


def test_candidates_of_a_language_model_are_separate_calls():
    """The same messages, and as many keys: no cache makes one of them."""
    model = Drawing()
    play(protocol_of(best(4) >> JUDGE.decides()), LanguageModelAgent(model, orders="one"))
    written = [call for call in model.calls if "Speak now" in call.messages[-1]["content"]]
    assert [call.draw for call in written] == [(0,), (1,), (2,), (3,)]
    assert len({str(call.messages) for call in written}) == 1
    assert len({call.key({}) for call in written}) == 4
    ranked = [call for call in model.calls if call not in written]
    assert len({call.key({}) for call in ranked}) == 4 + 1


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ((0.2, 0.7, 0.4), 1),
        ((0.9, 0.7, 0.4), 0),
        ((0.1, 0.2, 0.3), 2),
        ((0.5, 0.5, 0.5), 0),
        ((0.25, 0.75, 0.75), 1),
        ((0.0, 0.0, 1.0), 2),
    ],
)
def test_the_judges_preference_takes_the_best_and_the_first_of_equals(scores, chosen):
    """All candidates are in the record, with what they were ranked by and which was taken."""
    judge = Watching(choices=by_draft(dict(zip("abc", scores, strict=True))))
    record = cast(protocol_of(best() >> JUDGE.decides()), Writer(), judge)
    speech = record["turns"][0]
    assert speech["text"] == f"A1{'abc'[chosen]}"
    assert speech["candidates"] == [
        {
            "text": f"A1{letter}",
            "reasoning": f"secret of A1{letter}",
            "chosen": number == chosen,
            "score": pytest.approx(scores[number]),
            "fault": "",
        }
        for number, letter in enumerate("abc")
    ]
    assert speech["reasoning"] == f"secret of {speech['text']}"
    assert speech["notes"] == ["best of 3, chosen by judge"]
    assert speech["usage"]["calls"] == 3  # the judge here costs nothing
    assert Turn.from_dict(speech).to_dict() == speech


@given(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.9]), min_size=2, max_size=5))
@settings(deadline=None, max_examples=25)  # the machine may be busy, and each is an episode
def test_no_candidate_is_better_than_the_one_that_is_taken(scores):
    """And none before it is as good."""
    judge = Watching(choices=by_draft(dict(zip("abcde", scores, strict=False))))
    record = cast(protocol_of(best(len(scores)) >> JUDGE.decides()), Writer(), judge)
    candidates = record["turns"][0]["candidates"]
    assert [one["score"] for one in candidates] == pytest.approx(scores)
    assert [one["chosen"] for one in candidates].index(True) == scores.index(max(scores))
    assert sum(one["chosen"] for one in candidates) == 1


# Who speaks how, in which of its speeches: the texts that a judge has before it while it ranks candidate a.
SEEN = {
    "alone": (
        best() >> JUDGE.decides(),
        [["A1a"]],
    ),
    "the first of two who speak at the same time": (
        together(best(), SECOND.argues()) >> JUDGE.decides(),
        [["A1a", NOTHING_TO_THE_POINT]],
    ),
    "the second of two who speak at the same time": (
        together(FIRST.argues(), SECOND.argues().but(candidates=3, preferred_by=JUDGE)) >> JUDGE.decides(),
        [["B1a", NOTHING_TO_THE_POINT]],
    ),
    "the first of two who speak in turn": (
        best() >> SECOND.argues() >> JUDGE.decides(),
        [["A1a", NOTHING_TO_THE_POINT]],
    ),
    "the second of two who speak in turn": (
        FIRST.argues() >> SECOND.argues().but(candidates=3, preferred_by=JUDGE) >> JUDGE.decides(),
        [["A1", "B1a"]],
    ),
    "two rounds at the same time": (
        repeat(together(best(), SECOND.argues()), 2) >> JUDGE.decides(),
        [["A1a", NOTHING_TO_THE_POINT], ["A1a", "B1", "A2a", NOTHING_TO_THE_POINT]],
    ),
    "two rounds in turn": (
        repeat(in_turn(FIRST.argues(), SECOND.argues().but(candidates=3, preferred_by=JUDGE)), 2) >> JUDGE.decides(),
        [["A1", "B1a"], ["A1", "B1a", "A2", "B2a"]],
    ),
    "three who speak at the same time": (
        together(best(), SECOND.argues(), THIRD.argues()) >> JUDGE.decides(),
        [["A1a", NOTHING_TO_THE_POINT, NOTHING_TO_THE_POINT]],
    ),
    "after a draft of its own": (
        FIRST.argues().but(heard_by=()) >> together(best(), SECOND.argues()) >> JUDGE.decides(),
        [["A2a", NOTHING_TO_THE_POINT]],
    ),
    "after a question of the judge": (
        JUDGE.speaks(task="ask") >> together(best(), SECOND.argues()) >> JUDGE.decides(),
        [["judge1", "A1a", NOTHING_TO_THE_POINT]],
    ),
}


@pytest.mark.parametrize("case", SEEN)
def test_what_the_judge_sees_while_it_ranks(case):
    """What it would have heard, the candidate, and an opponent who says nothing where none has spoken this round."""
    graph, seen = SEEN[case]
    answers = 3 if "three" in case else 2
    fair = {label: 1 / answers for label in "ABC"[:answers]}
    judge = Writer(choices=lambda view: fair)
    record = cast(protocol_of(graph), Writer(), judge, question=question(answers))
    assert record["status"] == "scored"
    views = rankings(judge)
    assert len(views) == 3 * len(seen)
    shown = [[turn.text for turn in view.turns] for view in views]
    assert [texts for texts in shown if [one for one in texts if one != NOTHING_TO_THE_POINT][-1][-1] == "a"] == seen
    for view in views:
        candidate = [turn for turn in view.turns if turn.text != NOTHING_TO_THE_POINT][-1]
        silent = [turn.label for turn in view.turns if turn.text == NOTHING_TO_THE_POINT]
        assert silent in ([], [label for label in "ABC"[:answers] if label != candidate.label])
        assert (view.role, view.speaker, dict(view.material)) == ("judge", "Judge", {})
        assert not any(turn.reasoning or turn.private for turn in view.turns)
        prompt = str(choose_messages(view))
        assert "secret" not in prompt
        assert "the hidden passage" not in prompt


def test_a_judge_ranks_in_its_own_instructions_and_without_thinking():
    """The ranking is the judge's verdict in all but its place: same instructions, labels and order of options."""
    judge = Watching(choices=FAIR)
    orders = seating(2, labels=(1, 0), options=(1, 0))
    cast(protocol_of(best(2) >> JUDGE.decides().but(thinks=True)), Writer(), judge, seating=orders)
    *ranked, verdict = judge.requests
    assert [request.thinks for request in (*ranked, verdict)] == [False, False, True]
    for request in ranked:
        assert (request.view.instructions, request.view.options) == (verdict.view.instructions, verdict.view.options)
        assert request.view.positions == verdict.view.positions


def test_the_speakers_own_answer_is_what_a_judge_ranks_by():
    """The probability of the label that the speaker bears in this episode, not of the first."""

    def choices(view):
        return {"A": 0.9, "B": 0.1} if view.turns[-1].text.endswith("a") else {"A": 0.2, "B": 0.8}

    protocol = protocol_of(best(2) >> JUDGE.decides())
    record = cast(protocol, Writer(), Watching(choices=choices), seating=seating(2, labels=(1, 0)))
    assert [one["score"] for one in record["turns"][0]["candidates"]] == pytest.approx([0.1, 0.8])
    assert record["turns"][0]["text"] == "B1b"


def test_a_speaker_picks_its_own():
    """It reads its drafts as answers to the question which serves it best; nobody else is asked."""

    class Picking(Writer):
        async def choose(self, request):
            return Choice({"1": 0.2, "2": 0.3, "3": 0.5}, "script", usage=Usage(1, 1, 1, 1.0))

    speaker, judge = Picking(), Watching(choices=FAIR)
    record = cast(protocol_of(best(by=FIRST) >> JUDGE.decides()), speaker, judge, seating=seating(2, labels=(1, 0)))
    speech = record["turns"][0]
    assert (speech["text"], speech["notes"]) == ("B1c", ["best of 3, chosen by its speaker"])
    assert [(one["score"], one["chosen"]) for one in speech["candidates"]] == [(0.2, False), (0.3, False), (0.5, True)]
    assert speech["usage"] == {"calls": 4, "input_tokens": 31, "output_tokens": 16, "dollars": 1.75}
    assert len(judge.requests) == 1
    view = speaker.requests[-1].view
    assert view.question == (
        "Which of these speeches makes the strongest case for answer B (answer 0) to the question: Which one?"
    )
    assert [(answer.label, answer.text) for answer in view.answers] == [("1", "B1a"), ("2", "B1b"), ("3", "B1c")]
    assert (view.options, view.position, view.positions) == (("1", "2", "3"), None, ())
    assert view.task == "Here are drafts of your next speech. Pick the one that serves you best."
    assert dict(view.material) == {"passage": "the hidden passage"}  # it knows what it speaks of
    assert "secret" not in str(choose_messages(view))


def test_a_seat_without_an_answer_picks_its_own_too():
    """An adviser's drafts serve its part."""
    picking = Watching(choices=lambda view: {"1": 0.1, "2": 0.9} if view.options == ("1", "2") else FAIR)
    graph = ADVISER.speaks().but(candidates=2, preferred_by=ADVISER) >> JUDGE.decides()
    record = play(protocol_of(graph), picking)
    assert [one["chosen"] for one in record["turns"][0]["candidates"]] == [False, True]
    assert "strongest case for your part to the question" in picking.views[2].question


def test_a_language_model_picks_its_own_in_both_orders():
    """The pick is a choice like any other."""

    class Picker(Drawing):
        async def complete(self, call):
            done = await super().complete(call)
            return Completion("Answer: 2\nConfidence: 80%") if "Pick the one" in call.messages[-1]["content"] else done

    model = Picker()
    record = play(protocol_of(best(3, FIRST) >> JUDGE.decides()), LanguageModelAgent(model, top_logprobs=None))
    assert [one["score"] for one in record["turns"][0]["candidates"]] == pytest.approx([0.1, 0.8, 0.1])
    picks = [call.messages[-1]["content"] for call in model.calls if "Pick the one" in call.messages[-1]["content"]]
    assert ["1: drawn (0,)\n2: drawn (1,)\n3: drawn (2,)\n\n" in pick for pick in picks] == [True, True]
    assert ["3: drawn (2,)\n2: drawn (1,)\n1: drawn (0,)\n\nReply" in pick for pick in picks] == [False, True]


LONG, SHORT = "a word too many", "fits"


def speaking(*texts):
    """A speaker whose candidates are these texts, whatever the try."""

    class Speaking(Watching):
        async def speak(self, request):
            return Speech(texts[request.draw[0]])

    return Speaking()


@pytest.mark.parametrize(
    ("texts", "scores", "chosen", "faults"),
    [
        ((LONG, SHORT, LONG), (None, 0.1, None), 1, (True, False, True)),
        ((LONG, SHORT, SHORT), (None, 0.1, 0.1), 1, (True, False, False)),
        ((LONG, LONG, LONG), (0.9, 0.9, 0.9), 0, (True, True, True)),
        ((SHORT, SHORT, SHORT), (0.1, 0.1, 0.1), 0, (False, False, False)),
    ],
)
def test_no_candidate_outside_the_limits_beats_one_inside(texts, scores, chosen, faults):
    """Only those inside are ranked, where there are any; where there are none, the best of all is kept with a note."""
    judge = Watching(choices=lambda view: {"A": 0.9, "B": 0.1} if view.turns[0].text == LONG else {"A": 0.1, "B": 0.9})
    protocol = protocol_of(best(limits=Limits(most_words=1, tries=1)) >> JUDGE.decides())
    record = cast(protocol, speaking(*texts), judge)
    speech = record["turns"][0]
    assert [one["score"] for one in speech["candidates"]] == [s if s is None else pytest.approx(s) for s in scores]
    assert [one["chosen"] for one in speech["candidates"]].index(True) == chosen
    fault = "it has 4 words, more than 1"
    assert [one["fault"] for one in speech["candidates"]] == [fault if outside else "" for outside in faults]
    outside = [f"outside the limits: {fault}"] if all(faults) else []
    assert speech["notes"] == [*outside, "best of 3, chosen by judge"]


def test_the_only_candidate_inside_the_limits_is_its_speakers_pick_unasked():
    """There is nothing to choose between."""
    speaker = speaking(LONG, SHORT, LONG)
    protocol = protocol_of(best(by=FIRST, limits=Limits(most_words=1, tries=1)) >> JUDGE.decides())
    record = cast(protocol, speaker, Watching(choices=FAIR))
    assert [one["score"] for one in record["turns"][0]["candidates"]] == [None, 1.0, None]
    assert not any(isinstance(request, Choose) for request in speaker.requests)


def test_every_candidate_has_tries_of_its_own():
    """A candidate outside the limits is asked for again, in a draw of its own."""
    seen = []

    class Trying(Watching):
        async def speak(self, request):
            seen.append((request.draw, request.rejected))
            return Speech(SHORT if len(request.draw) > 1 or request.draw == (1,) else LONG)

    protocol = protocol_of(best(2, limits=Limits(most_words=1)) >> JUDGE.decides())
    record = cast(protocol, Trying(), Watching(choices=FAIR))
    assert sorted(seen) == [((0,), ""), ((0, 1), LONG), ((1,), "")]
    assert [one["fault"] for one in record["turns"][0]["candidates"]] == ["", ""]


@pytest.mark.parametrize("by", [JUDGE, FIRST], ids=["judge", "own"])
@pytest.mark.parametrize("given", [{"A": 1.0}, {"x": 0.5, "y": 0.5}, {"A": 2.0, "B": -1.0}])
def test_a_ranking_that_is_no_distribution_is_a_turn_that_failed(by, given):
    """As with a verdict: the episode is unscored with the reason, and nothing breaks."""

    class Odd(Agent):
        async def speak(self, request):
            return Speech("A speech.")

        async def choose(self, request):
            return Choice(given, "script")

    record = play(protocol_of(best(2, by) >> JUDGE.decides()), Odd("odd"))
    assert (record["status"], record["turns"]) == ("unscored", [])
    assert record["reason"].startswith("odd gave ")


# ---- private speeches -------------------------------------------------------------------------------------


def test_a_private_speech_is_its_seats_alone():
    """Its author reads it later, marked; nobody else ever does."""
    graph = (
        FIRST.argues(task="draft").but(heard_by=())
        >> FRIEND.speaks()
        >> FIRST.argues()
        >> SECOND.argues()
        >> JUDGE.decides()
    )
    agent = Writer(choices=FAIR)
    record = play(protocol_of(graph), agent)
    assert [(turn["step"], turn.get("private", False)) for turn in record["turns"]] == [
        ("debater 1 speech 1", True),
        ("friend speech 1", False),
        ("debater 1 speech 2", False),
        ("debater 2 speech 1", False),
        ("judge verdict 1", False),
    ]
    assert [[turn.text for turn in view.turns] for view in agent.views] == [
        [],
        [],
        ["A1", "friend1"],
        ["friend1", "A2"],
        ["friend1", "A2", "B1"],
    ]
    draft = agent.views[2].turns[0]
    assert (draft.private, draft.own, draft.reasoning) == (True, True, "secret of A1")
    assert (
        '<turn speaker="Debater A (you)" argues-for="A" seen-by="nobody but you">'
        in (speak_messages(agent.views[2])[-1]["content"])
    )


@pytest.mark.parametrize("heard_by", [(FIRST,), (FIRST, FRIEND), (JUDGE,)])
def test_a_speech_is_heard_by_its_own_seat_and_those_that_are_named(heard_by):
    graph = FIRST.speaks(heard_by=heard_by) >> FIRST.argues() >> FRIEND.speaks() >> SECOND.argues() >> JUDGE.decides()
    agent = Writer(choices=FAIR)
    record = play(protocol_of(graph), agent)
    hears = {view.speaker: "A1" in [turn.text for turn in view.turns] for view in agent.views[1:]}
    assert hears == {
        "Debater A": True,
        "Friend": FRIEND in heard_by,
        "Debater B": False,
        "Judge": JUDGE in heard_by,
    }
    assert record["turns"][0].get("private", False) == (heard_by == (FIRST,))


def test_a_condition_sees_nothing_private():
    """What decides what everybody sees next does not turn on drafts, reasons or candidates that were not given."""
    seen = []

    def watch(transcript):
        seen.append([(turn.text, turn.reasoning, turn.candidates) for turn in transcript])
        return False

    one_round = FIRST.argues().but(heard_by=()) >> best(2)
    graph = repeat(one_round, 2, until=watch) >> branch(watch, JUDGE.decides(), JUDGE.decides())
    play(protocol_of(graph), Writer(choices=FAIR))
    assert seen == [[("A2a", "", ())], [("A2a", "", ()), ("A4a", "", ())]]


def test_a_condition_sees_no_reasons_of_a_reading():
    """The reasons of each order are as private as the turn's own."""
    seen = []

    def watch(transcript):
        seen.extend(reading.reasoning for turn in transcript for reading in turn.readings)
        return False

    class Explaining(Drawing):
        async def complete(self, call):
            return Completion("My reasons.\nAnswer: A\nConfidence: 75%")

    agent = LanguageModelAgent(Explaining(), top_logprobs=None)
    play(protocol_of(repeat(JUDGE.decides(), 2, until=watch)), agent)
    assert not any(seen)


# ---- verdicts that are shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "probabilities", "text"),
    [
        ((0, 1), {"A": 0.7, "B": 0.3}, "I give 70% to answer A, 30% to answer B."),
        ((1, 0), {"A": 0.7, "B": 0.3}, "I give 70% to answer A, 30% to answer B."),
        ((0, 1), {"A": 0.0, "B": 1.0}, "I give 0% to answer A, 100% to answer B."),
        ((0, 1), {"A": 0.666, "B": 0.334}, "I give 67% to answer A, 33% to answer B."),
        ((2, 0, 1), {"A": 0.5, "B": 0.25, "C": 0.25}, "I give 50% to answer A, 25% to answer B, 25% to answer C."),
    ],
)
def test_a_verdict_is_shown_to_those_who_hear_it(labels, probabilities, text):
    """In words, by label, in the order of the labels; the others do not see that it was given."""
    graph = FIRST.argues() >> JUDGE.decides(heard_by=(SECOND,)) >> SECOND.argues() >> FIRST.argues() >> JUDGE.decides()
    agent = Watching(choices=probabilities)
    play(protocol_of(graph), agent, question=question(len(labels)), seating=seating(len(labels), labels=labels))
    _, _, second, first, last = agent.views
    opening, reply = helpers.numbered(agent.views[0]), helpers.numbered(second)
    assert [turn.text for turn in second.turns] == [opening, text]
    assert (second.turns[1].speaker, second.turns[1].label, second.turns[1].own) == ("Judge", None, False)
    assert [turn.text for turn in first.turns] == [opening, reply]
    assert [(turn.text, turn.own) for turn in last.turns][1] == (text, True)  # a seat always sees its own


class Reasoned(Watching):
    """Chooses with reasons."""

    async def choose(self, request):
        return Choice({"A": 0.75, "B": 0.25}, "script", reasoning="It <ran>.")


@pytest.mark.parametrize("explains", [True, False])
def test_a_verdict_is_explained_where_the_step_says_so(explains):
    """The reasons are public with the probabilities then, and private otherwise."""
    graph = JUDGE.decides(heard_by=(FIRST,)).but(explains=explains) >> FIRST.argues() >> JUDGE.decides()
    agent = Reasoned()
    record = play(protocol_of(graph), agent)
    verdict, speech = record["turns"][0], agent.views[1]
    shown = "I give 75% to answer A, 25% to answer B."
    assert (verdict.get("text", ""), verdict.get("reasoning", "")) == (
        ("It <ran>.", "") if explains else ("", "It <ran>.")
    )
    assert [turn.text for turn in speech.turns] == [f"{shown}\nIt <ran>." if explains else shown]
    assert speech.turns[0].reasoning == ""
    assert ("It &lt;ran>." in speak_messages(speech)[-1]["content"]) == explains


# ---- own speeches first -----------------------------------------------------------------------------------------


def rounds(*seats, style=together, count=3, **changes):
    return repeat(style(*(seat.argues().but(**changes) for seat in seats)), count) >> JUDGE.decides()


OWN_FIRST = {
    "simultaneous": (
        rounds(FIRST, SECOND, own_first=True),
        {"Debater A": ["", "A1 B1", "A1 B1 A2 B2"], "Debater B": ["", "B1 A1", "B1 A1 B2 A2"]},
    ),
    "simultaneous, as it was said": (
        rounds(FIRST, SECOND),
        {"Debater A": ["", "A1 B1", "A1 B1 A2 B2"], "Debater B": ["", "A1 B1", "A1 B1 A2 B2"]},
    ),
    "sequential": (
        rounds(FIRST, SECOND, style=in_turn, own_first=True),
        {"Debater A": ["", "A1 B1", "A1 B1 A2 B2"], "Debater B": ["A1", "A1 B1 A2", "A1 B1 A2 B2 A3"]},
    ),
    "three": (
        rounds(FIRST, SECOND, THIRD, count=2, own_first=True),
        {"Debater A": ["", "A1 B1 C1"], "Debater B": ["", "B1 A1 C1"], "Debater C": ["", "C1 A1 B1"]},
    ),
    "with drafts": (
        repeat(
            together(
                *(seat.argues().but(heard_by=()) >> seat.argues().but(own_first=True) for seat in (FIRST, SECOND))
            ),
            2,
        )
        >> JUDGE.decides(),
        {
            "Debater A": ["", "A1", "A1 A2 B2", "A1 A2 B2 A3"],
            "Debater B": ["", "B1", "A2 B1 B2", "B1 B2 A2 B3"],
        },
    ),
}


@pytest.mark.parametrize("case", OWN_FIRST)
def test_the_order_in_which_a_round_is_read(case):
    """Its own speech of a round first, where the round was spoken at the same time; what was said in turn stays so."""
    graph, heard = OWN_FIRST[case]
    agent = Watching(choices=lambda view: {answer.label: 1 / len(view.answers) for answer in view.answers})
    play(protocol_of(graph), agent, question=question(3 if case == "three" else 2))
    found = agent.heard()
    found.pop("Judge")
    assert found == heard


# ---- votes, seats and how verdicts become one -----------------------------------------------------------------------


@pytest.mark.parametrize("votes", [1, 3, 4])
def test_a_verdict_by_votes_is_so_many_draws(votes):
    """The step's votes reach the model as calls of their own, and the record says how it came about."""

    class Voter(Drawing):
        async def complete(self, call):
            self.calls.append(call)
            return Completion(f"Answer: {'AB'[call.draw[-1] % 2]}")

    model = Voter()
    record = play(protocol_of(JUDGE.decides().but(votes=votes)), LanguageModelAgent(model))
    assert [call.draw for call in model.calls] == [(number,) for number in range(votes)]
    assert len({call.key({}) for call in model.calls}) == votes
    shares = {1: [1.0, 0.0], 3: [2 / 3, 1 / 3], 4: [0.5, 0.5]}
    assert record["probabilities"] == pytest.approx(shares[votes])
    assert record["elicitation"] == "votes"
    assert len(record["turns"][0].get("readings", [])) == (votes if votes > 1 else 0)


def test_seats_that_see_the_same_draw_for_themselves():
    """Judges side by side read the same words, and are separate draws with separate seeds."""
    judges = [ROLES.judge.seat(number) for number in range(3)]
    graph = FIRST.argues() >> together(*(judge.decides() for judge in judges))
    model = Drawing()
    play(protocol_of(graph), LanguageModelAgent(model, orders="one"))
    verdicts = [call for call in model.calls if "Reply with" in call.messages[-1]["content"]]
    assert len({str(call.messages) for call in verdicts}) == 1
    assert sorted(call.draw for call in verdicts) == [(), (1,), (2,)]
    assert len({call.seed for call in verdicts}) == 3
    assert len({call.key({}) for call in verdicts}) == 3


def test_seats_that_argue_draw_alike_whichever_number_they_bear():
    """A debater's chance moves go with its answer, so that swapped seats say the same."""
    asked = {}
    for order in ((0, 1), (1, 0)):
        agent = Watching(choices=FAIR)
        play(Debate(rounds=1), agent, seating=seating(2, speaking=order, defends=order))
        for request in agent.requests:
            if isinstance(request, Speak):
                asked.setdefault(request.view.position, set()).add((request.seed, request.draw))
    assert {position: len(found) for position, found in asked.items()} == {"A": 1, "B": 1}
    assert all(draw == () for found in asked.values() for _, draw in found)


@pytest.mark.parametrize(
    ("verdicts", "mean", "majority"),
    [
        ((0.6, 0.6, 0.0), 0.4, 2 / 3),
        ((1.0, 1.0, 0.4), 0.8, 2 / 3),
        ((0.9, 0.8, 0.7), 0.8, 1.0),
        ((0.5, 0.4, 0.3), 0.4, 1 / 6),  # a tie is half a vote for each
        ((0.5, 0.5, 0.5), 0.5, 0.5),
    ],
)
def test_verdicts_become_one_by_mean_or_by_majority(verdicts, mean, majority):
    """A majority counts whom each verdict favours, and not by how much."""
    graph = together(*(ROLES.judge.seat(number).decides() for number in range(3)))
    shares = {f"judge {number}": share for number, share in enumerate(verdicts)}
    agents = {name: Watching(name, choices={"A": share, "B": 1 - share}) for name, share in shares.items()}
    for combines, expected in (("mean", mean), ("majority", majority)):
        record = play(protocol_of(graph, combines=combines), agents, cast={"judge": tuple(agents)})
        assert record["probabilities"] == pytest.approx([expected, 1 - expected])


# ---- what a judge earns ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("correct", "score"), [(0, 0.75 - 2), (1, 0.25 - 2)])
def test_what_the_judge_has_earned_is_in_the_record(correct, score):
    """By the protocol's own rule, of the transcript and the probability of the correct answer."""
    protocol = protocol_of(
        FIRST.argues() >> JUDGE.decides(),
        judge_score=lambda self, transcript, probability: probability - len(transcript),
    )
    record = play(protocol, Watching(choices={"A": 0.75, "B": 0.25}), question=question(correct=correct))
    assert record["judge_score"] == pytest.approx(score)


def test_no_verdict_earns_nothing_and_most_protocols_do_not_pay():
    paying = protocol_of(FIRST.argues() >> JUDGE.decides(), judge_score=lambda self, transcript, probability: 1.0)
    assert play(paying, ScriptedAgent("mute", choices=FAIR))["judge_score"] is None
    assert play(Debate(rounds=1), Watching(choices=FAIR))["judge_score"] is None


# ---- the check ----------------------------------------------------------------------------------------------------

NO_TASK = "it has no task {} (known: {}): write it into the role's tasks"
ONLY_SPEECHES = "only speeches have candidates, at least one each"
NOBODY_RANKS = "nobody ranks its candidates: say preferred_by=, a judge's seat or its own"
NO_PART = "{} ranks its candidates and takes no turn in this protocol"
SEES = "{} ranks its candidates and sees hidden material: let another judge do it"
NO_ANSWER = "it has no answer whose probability could rank its candidates: let it pick its own"

BROKEN = {
    "a task that is not there": (
        FIRST.argues(task="drft") >> JUDGE.decides(),
        ["tasks: debater 1: " + NO_TASK.format("'drft'", "draft")],
    ),
    "a task of another role": (
        JUDGE.speaks(task="draft") >> JUDGE.decides(),
        ["tasks: judge: " + NO_TASK.format("'draft'", "ask")],
    ),
    "a task of a role that has none": (
        FRIEND.speaks(task="ask") >> JUDGE.decides(),
        ["tasks: friend: " + NO_TASK.format("'ask'", "none")],
    ),
    "a task that is not there, in a loop and in a branch": (
        repeat(SECOND.argues(task="x"), 3)
        >> branch(lambda turns: True, JUDGE.decides().but(task="y"), JUDGE.decides()),
        ["tasks: debater 2: " + NO_TASK.format("'x'", "draft"), "tasks: judge: " + NO_TASK.format("'y'", "ask")],
    ),
    "no candidates": (
        FIRST.argues().but(candidates=0) >> JUDGE.decides(),
        [f"candidates: debater 1: {ONLY_SPEECHES}"],
    ),
    "candidates of a verdict": (
        FIRST.argues() >> JUDGE.decides().but(candidates=2, preferred_by=JUDGE),
        [f"candidates: judge: {ONLY_SPEECHES}"],
    ),
    "candidates of a claim": (
        FIRST.claims().but(candidates=2, preferred_by=JUDGE) >> JUDGE.decides(),
        [f"candidates: debater 1: {ONLY_SPEECHES}"],
    ),
    "candidates that nobody ranks": (
        FIRST.argues().but(candidates=2) >> JUDGE.decides(),
        [f"candidates: debater 1: {NOBODY_RANKS}"],
    ),
    "candidates ranked by one who takes no turn": (
        best(by=ROLES.judge.seat(1)) >> JUDGE.decides(),
        ["candidates: debater 1: " + NO_PART.format("judge 2")],
    ),
    "candidates ranked by an opponent": (
        best(by=SECOND) >> SECOND.argues() >> JUDGE.decides(),
        ["candidates: debater 1: " + SEES.format("debater 2")],
    ),
    "candidates ranked by an expert": (
        best(by=ROLES.expert.seat(0)) >> ROLES.expert.decides(),
        ["candidates: debater 1: " + SEES.format("expert")],
    ),
    "candidates of one without an answer, ranked by a judge": (
        FRIEND.speaks().but(candidates=2, preferred_by=JUDGE) >> JUDGE.decides(),
        [f"candidates: friend: {NO_ANSWER}"],
    ),
    "the same in both rounds": (
        repeat(FIRST.argues().but(candidates=2) >> SECOND.argues().but(candidates=2), 2) >> JUDGE.decides(),
        [f"candidates: debater 1: {NOBODY_RANKS}", f"candidates: debater 2: {NOBODY_RANKS}"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_found_and_nothing_runs(case):
    """The exact findings, and a protocol that breaks a rule is not compiled."""
    graph, findings = BROKEN[case]
    assert [str(finding) for finding in check(protocol_of(graph))] == findings
    with pytest.raises(CheckFailed) as caught:
        compile_protocol(protocol_of(graph))
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    assert str(caught.value) == (
        f"protocol 'made' does not pass its check: {findings[0]}{more}; oversight check shows it all"
    )


SOUND = {
    "a task": FIRST.argues(task="draft") >> JUDGE.speaks(task="ask") >> JUDGE.decides(),
    "candidates ranked by the judge": best() >> JUDGE.decides(),
    "candidates ranked by a judge who decides first": JUDGE.decides() >> best() >> JUDGE.decides(),
    "candidates picked by their speaker": best(by=FIRST) >> JUDGE.decides(),
    "candidates of one without an answer, picked by itself": (
        ADVISER.speaks().but(candidates=2, preferred_by=ADVISER) >> JUDGE.decides()
    ),
    "one candidate and somebody to rank it": best(1) >> JUDGE.decides(),
}


@pytest.mark.parametrize("case", SOUND)
def test_what_breaks_no_rule_is_let_through(case):
    protocol = protocol_of(SOUND[case])
    assert check(protocol) == []
    compile_protocol(protocol)


# ---- nobody sees what is not theirs ---------------------------------------------------------------------------------

MATERIAL = "MATERIAL-OF-THE-QUESTION"


class Marked(Agent):
    """Marks all that it says and thinks with a number of its own, and keeps every prompt that it would read."""

    def __init__(self, name, numbers):
        super().__init__(name)
        self.numbers, self.read = numbers, []

    async def speak(self, request):
        forms = ("speech", "thoughts and speech", "thoughts")
        prompts = [speak_messages(request.view, form=form, limits=request.limits) for form in forms]
        self.read.append(str(prompts))
        if request.form == "parts":  # nothing of it is said to anybody
            return Speech("NONE")
        number = next(self.numbers)
        said = f"SAID-{number}-"
        return Speech(f"1. {said}" if request.form == "steps" else said, reasoning=f"THOUGHT-{number}-")

    async def choose(self, request):
        forms = ("label and confidence", "label", "text", "thoughts")
        prompts = [choose_messages(request.view, form=form, reasoning=True) for form in forms]
        self.read.append(str(prompts))
        first, *others = (answer.label for answer in request.view.answers)
        chosen = {first: 0.75, **{label: 0.25 / len(others) for label in others}}
        return Choice(chosen, "script", reasoning=f"THOUGHT-{next(self.numbers)}-")


KINDS = {
    # Turns in an exact form hold no mark; tests/test_views.py draws these protocols too.
    **{
        name: find_protocol(name) for name in names("protocols") if name not in ("doubly_efficient", "prover_estimator")
    },
    **{
        f"debate {style} {preference} {refinements} {stop}": Debate(
            rounds=2,
            style=style,
            candidates=2,
            preference=preference,
            refinements=refinements,
            stop=stop,
            interactive=True,
            egocentric=True,
        )
        for style, preference, refinements, stop in itertools.product(
            ["simultaneous", "sequential"], ["judge", "own"], [0, 2], ["never", "sure"]
        )
    },
    **{
        f"consultancy {form}": Consultancy(rounds=2, form=form, candidates=2, refinements=1)
        for form in ("single", "double", "ensembled")
    },
    "open": Debate(rounds=2, positions="open", candidates=2, refinements=1),
    "public verdicts": protocol_of(
        repeat(
            together(best(2), SECOND.argues().but(heard_by=()) >> SECOND.argues())
            >> FRIEND.speaks(heard_by=(JUDGE,))
            >> ADVISER.speaks().but(heard_by=(), candidates=2, preferred_by=ADVISER)
            >> JUDGE.decides(heard_by=(FIRST,)).but(explains=True)
            >> ROLES.judge.seat(1).decides(heard_by=(SECOND,)),
            2,
        )
    ),
}


def named(prompt, marks):
    return {mark for mark in marks if mark in prompt}


@pytest.mark.parametrize("kind", KINDS)
def test_no_prompt_holds_what_its_reader_may_not_see(kind):
    """Every prompt of every seat, rankings and picks included: no material, no thought and no draft of another's.

    A candidate that was not given is seen by its author and by the judge that ranks it; a verdict by those who hear
    it.
    """
    protocol = KINDS[kind]
    numbers = itertools.count(100)
    seats = {step.seat for step in protocol.graph(2).steps()}
    places = {
        role: tuple(f"{role} {n}" for n in range(1 + max(seat.index for seat in seats if seat.role.name == role)))
        for role in protocol.roles()
    }
    agents = {name: Marked(name, numbers) for names_of in places.values() for name in names_of}
    record = play(protocol, agents, cast=places, question=question(hidden=MATERIAL))
    assert record["status"] == "scored"

    owner, public = {}, set()
    instances = compile_protocol(protocol).unrolled.instances
    for turn in record["turns"]:
        step = instances[turn["step"]].step
        hearers = {places[seat.role.name][seat.index] for seat in step.heard_by or ()}
        for candidate in (turn, *turn.get("candidates", ())):
            for mark in (candidate.get("text"), candidate.get("reasoning")):
                if mark:
                    owner[mark] = {turn["agent"]}
        if turn.get("text") and not turn.get("private"):
            if step.heard_by is None:
                public.add(turn["text"])
            owner[turn["text"]] |= hearers
        ranks = step.preferred_by
        if ranks is not None and ranks != step.seat:
            for candidate in turn.get("candidates", ()):
                owner[candidate["text"]].add(places[ranks.role.name][ranks.index])
    assert len(owner) >= sum(turn["kind"] == "speech" for turn in record["turns"])

    sees = {name for role, names_of in places.items() if protocol.roles()[role].sees_material for name in names_of}
    read_back = set()
    for name, agent in agents.items():
        for prompt in agent.read:
            assert (MATERIAL in prompt) == (name in sees)
            strange = {mark for mark in named(prompt, owner) if name not in owner[mark] and mark not in public}
            assert strange == set()
            read_back |= named(prompt, owner) - public
    if any(step.private for step in protocol.graph(2).steps()):  # there was something to see, for its owner
        assert read_back


def test_a_private_turn_of_every_kind_is_in_the_protocols_above():
    """What the law above is about does occur in it."""
    occurring = [step for protocol in KINDS.values() for step in protocol.graph(2).steps()]
    assert any(step.private for step in occurring)
    assert any(step.private and step.candidates > 1 for step in occurring)
    assert any(step.preferred_by not in (None, step.seat) for step in occurring)
    assert any(step.preferred_by == step.seat for step in occurring)
    assert any(step.kind == "verdict" and step.heard_by and step.explains for step in occurring)
    assert any(step.kind == "speech" and step.heard_by for step in occurring)


def test_work_at_the_same_time_fails_as_one():
    """A candidate that fails fails the turn, after the others have been waited for."""
    done = []

    class Half(Watching):
        async def speak(self, request):
            await asyncio.sleep(0.01 * request.draw[0])
            done.append(request.draw)
            return Speech("" if request.draw == (0,) else "A speech.")

    record = cast(protocol_of(best(3) >> JUDGE.decides()), Half(), Watching(choices=FAIR))
    assert (record["status"], record["reason"]) == ("unscored", "speaker said nothing; an empty speech is not a turn")
    assert sorted(done) == [(0,), (1,), (2,)]


def test_no_judge_ranks_drafts_that_are_private():
    """A draft that a judge ranks would be read by it."""
    for heard_by in ((), (FIRST,)):
        draft = FIRST.argues().but(candidates=2, preferred_by=JUDGE, heard_by=heard_by)
        (finding,) = check(protocol_of(draft >> FIRST.argues() >> JUDGE.decides()))
        assert finding.rule == "candidates"
        assert "would read its drafts" in finding.message
    own = FIRST.argues().but(candidates=2, preferred_by=FIRST, heard_by=())
    assert check(protocol_of(own >> FIRST.argues() >> JUDGE.decides())) == []
