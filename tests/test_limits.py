"""Limits on speeches: what is asked for, what is accepted, and what happens to a speech outside the band."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from oversight.agents import LanguageModelAgent
from oversight.errors import ConfigurationError
from oversight.limits import Limits, Measured
from oversight.models import Completion, Model
from oversight.protocol import Debater, Judge, Protocol
from oversight.registry import find_protocol
from oversight.requests import Speak, Speech
from oversight.transcript import Usage

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)

KHAN = Limits(words=100, least_words=70, most_words=150, least_quotes=1)


def words(count):
    return " ".join(["word"] * count)


# ---- what is measured ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "measured"),
    [
        ("", Measured(0, 0, 0, 0)),
        ("Two words.", Measured(2, 10, 0, 0)),
        ("It says: <quote>he ran off</quote>.", Measured(5, 20, 1, 10)),
        ("<quote>one</quote> and <quote>two three</quote>", Measured(4, 17, 2, 12)),
        ('<quote verified="yes">he ran</quote>', Measured(2, 6, 1, 6)),
        ("<QUOTE>he ran</QUOTE>", Measured(2, 6, 1, 6)),
        ("a quote that is <quote>never closed", Measured(6, 28, 0, 0)),
        ("tabs\tand\nlines  count once", Measured(5, 26, 0, 0)),
        ("well-known facts, 3.5 of them", Measured(5, 29, 0, 0)),
    ],
)
def test_what_is_measured(text, measured):
    assert Measured.of(text) == measured


# ---- bands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "text", "faults"),
    [
        (Limits(), words(10_000), []),
        (KHAN, words(69) + " <quote>x</quote>", []),
        (KHAN, words(149) + " <quote>x</quote>", []),
        (KHAN, words(68) + " <quote>x</quote>", [("it has 69 words, fewer than 70", 1 / 70)]),
        (KHAN, words(150) + " <quote>x</quote>", [("it has 151 words, more than 150", 1 / 150)]),
        (KHAN, words(100), [("it has 0 quotations, fewer than 1", 1.0)]),
        (KHAN, "x", [("it has 1 word, fewer than 70", 69 / 70), ("it has 0 quotations, fewer than 1", 1.0)]),
        (Limits(most_characters=4), "word", []),
        (Limits(most_characters=4), "words", [("it has 5 characters, more than 4", 0.25)]),
        (Limits(most_quoted_characters=3), "long enough <quote>abc</quote>", []),
        (
            Limits(most_quoted_characters=3),
            "<quote>ab</quote> <quote>cd</quote>",
            [("it has 4 quoted characters, more than 3", 1 / 3)],
        ),
        (Limits(most_quoted_characters=0), "<quote>abcde</quote>", [("it has 5 quoted characters, more than 0", 5.0)]),
        (Limits(least_quotes=2), "<quote>a</quote>", [("it has 1 quotation, fewer than 2", 0.5)]),
        (Limits(words=5), words(500), []),
    ],
)
def test_what_is_wrong_with_a_speech(limits, text, faults):
    """The band is accepted, its ends with it; what was asked for decides nothing."""
    found = limits.faults(text)
    assert [said for said, _ in found] == [said for said, _ in faults]
    assert [off for _, off in found] == pytest.approx([off for _, off in faults])
    assert limits.fault(text) == "; ".join(said for said, _ in faults)
    assert limits.distance(text) == pytest.approx(sum(off for _, off in faults))


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        (Limits(), ""),
        (Limits(tries=9, outside="fail"), ""),
        (Limits(words=100), "Your speech is to have about 100 words."),
        (
            KHAN,
            "Your speech is to have about 100 words, at most 150 words, at least 70 words, at least 1 quotation.",
        ),
        (
            Limits(most_characters=500, least_quotes=2, most_quoted_characters=0),
            "Your speech is to have at most 500 characters, at least 2 quotations, at most 0 characters of quotation.",
        ),
    ],
)
def test_what_a_speaker_is_told(limits, asked):
    assert limits.asked() == asked


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"least_words": 10, "most_words": 9}, "fewest words 10 above most words 9"),
        ({"words": 5, "least_words": 6}, "5 words are asked for, which would not be accepted"),
        ({"words": 5, "most_words": 4}, "5 words are asked for, which would not be accepted"),
        ({"words": 0}, "greater than or equal to 1"),
        ({"tries": 0}, "greater than or equal to 1"),
        ({"least_quotes": -1}, "greater than or equal to 0"),
        ({"outside": "drop"}, "'keep' or 'fail'"),
        ({"most_word": 5}, "Extra inputs are not permitted"),
    ],
)
def test_limits_that_cannot_be_are_refused(values, said):
    with pytest.raises(ValidationError, match=said):
        Limits(**values)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("(words=100,least_words=70,most_words=150,least_quotes=1)", KHAN),
        ("words=100,least_words=70,most_words=150,least_quotes=1", KHAN),
        ("(tries=1,outside=fail)", Limits(tries=1, outside="fail")),
        ("()", Limits()),
    ],
)
def test_limits_as_words(text, limits):
    """The same on a command line, with or without their own parentheses."""
    assert Limits.model_validate(text) == limits


def test_limits_of_a_protocol_on_the_command_line():
    """In a protocol's options; its title reads back as the same protocol."""
    protocol = find_protocol("debate(rounds=2,limits=(words=100,least_words=70,most_words=150,least_quotes=1))")
    assert protocol.limits == KHAN
    assert find_protocol(protocol.title) == protocol
    for text in ("debate(limits=(most_word=5))", "debate(limits=(words=0))", "debate(limits=(words))"):
        with pytest.raises(ConfigurationError) as caught:
            find_protocol(text)
        assert "\n" not in str(caught.value)


# ---- laws --------------------------------------------------------------------------------------------

LIMITS = st.builds(
    Limits,
    least_words=st.integers(0, 20),
    most_words=st.none() | st.integers(20, 40),
    most_characters=st.none() | st.integers(1, 200),
    least_quotes=st.integers(0, 3),
    most_quoted_characters=st.none() | st.integers(0, 50),
)
SPEECHES = st.lists(
    st.one_of(
        st.text(alphabet="ab .,\n", max_size=12), st.text(alphabet="ab ", max_size=9).map("<quote>{}</quote>".format)
    ),
    max_size=25,
).map(" ".join)


@given(LIMITS, SPEECHES)
def test_a_speech_is_at_no_distance_exactly_where_nothing_is_wrong_with_it(limits, text):
    assert (limits.distance(text) == 0) == (limits.fault(text) == "") == (not limits.faults(text))
    assert limits.distance(text) >= 0


@given(st.integers(0, 60), st.integers(0, 30), st.integers(30, 60))
def test_a_band_of_words_is_its_two_ends(count, least, most):
    limits = Limits(least_words=least, most_words=most)
    assert (limits.fault(words(count)) == "") == (least <= count <= most)


@given(LIMITS, SPEECHES)
def test_a_word_more_is_nearer_below_the_band_and_farther_above_it(limits, text):
    """The nearest of several tries is well chosen: the distance grows with what is wrong, and with nothing else."""
    lengths = Limits(least_words=limits.least_words, most_words=limits.most_words)
    before, after = lengths.distance(text), lengths.distance(f"{text} more")
    count = Measured.of(text).words
    if count < limits.least_words:
        assert after < before
    elif limits.most_words is not None and count >= limits.most_words:
        assert after > before
    else:
        assert after == before == 0


@given(LIMITS)
def test_once_is_the_same(limits):
    assert limits.times(1) == limits


@given(LIMITS, SPEECHES, st.integers(1, 4))
def test_the_time_of_several_takes_what_several_may_say(limits, text, factor):
    """Speeches inside the words and quotations of the limits, one after another, are inside them so many times."""
    without = limits.model_copy(update={"most_characters": None})  # the spaces between them are characters too
    if not without.fault(text):
        assert without.times(factor).fault(" ".join([text] * factor)) == ""


def test_which_limits_grow_with_the_speakers():
    """Lengths do; how many quotations there are to be, the tries and what becomes of a failure do not."""
    limits = Limits(
        words=10,
        least_words=5,
        most_words=20,
        most_characters=100,
        least_quotes=1,
        most_quoted_characters=30,
        tries=4,
        outside="fail",
    )
    assert limits.times(2) == Limits(
        words=20,
        least_words=10,
        most_words=40,
        most_characters=200,
        least_quotes=1,
        most_quoted_characters=60,
        tries=4,
        outside="fail",
    )
    assert Limits(least_quotes=2).times(3) == Limits(least_quotes=2)


# ---- in an episode --------------------------------------------------------------------------------------


class Limited(Protocol):
    """One speech within limits."""

    name = "limited"
    limits: Limits
    candidates: int = 1
    debater = Debater()
    judge = Judge()

    def graph(self, answers):
        speech = self.debater.argues().but(limits=self.limits)
        if self.candidates > 1:
            speech = speech.but(candidates=self.candidates, preferred_by=self.judge.seat(0))
        return speech >> self.judge.decides()


class Trying(helpers.Watching):
    """Speaks the n-th of its speeches at the n-th try; every try costs a call."""

    def __init__(self, *speeches):
        super().__init__()
        self.tries = list(speeches)

    async def speak(self, request):
        number = request.draw[-1] if request.draw else 0
        return Speech(self.tries[number], usage=Usage(1, 10, 5, 0.25), notes=(f"try {number}",))


def speeches(agent):
    return [request for request in agent.requests if isinstance(request, Speak)]


def test_a_speech_outside_the_limits_is_asked_for_again_with_what_is_wrong():
    """Each try is a draw of its own and knows the one before it; the first inside the limits is the turn."""
    limits = Limits(least_words=3, most_words=4)
    agent = Trying(words(1), words(9), words(3), words(4))
    record = helpers.play(Limited(limits=limits), agent)
    speech = record["turns"][0]
    assert speech["text"] == words(3)
    assert speech["notes"] == ["try 2", "asked 3 times for a speech within the limits"]
    assert speech["usage"] == {"calls": 3, "input_tokens": 30, "output_tokens": 15, "dollars": 0.75}
    assert [(one.draw, one.rejected, one.fault, one.limits) for one in speeches(agent)] == [
        ((), "", "", limits),
        ((1,), words(1), "it has 1 word, fewer than 3", limits),
        ((2,), words(9), "it has 9 words, more than 4", limits),
    ]
    assert len({one.key for one in speeches(agent)}) == 3


def test_a_speech_inside_the_limits_is_asked_for_once():
    agent = Trying(words(4))
    record = helpers.play(Limited(limits=Limits(most_words=4)), agent)
    assert record["turns"][0]["notes"] == ["try 0"]
    assert len(speeches(agent)) == 1


@pytest.mark.parametrize(
    ("given", "kept", "fault"),
    [
        ((12, 8, 11), 8, "it has 8 words, more than 6"),
        ((12, 12, 2), 2, "it has 2 words, fewer than 4"),
        ((7, 3, 7), 7, "it has 7 words, more than 6"),  # one of six is less than one of four, and the first is kept
    ],
)
def test_the_nearest_try_is_kept_with_a_note(given, kept, fault):
    """Where no try is inside, the one at the least distance is the turn, and the record says so."""
    agent = Trying(*map(words, given))
    record = helpers.play(Limited(limits=Limits(least_words=4, most_words=6)), agent)
    speech = record["turns"][0]
    assert (record["status"], speech["text"]) == ("scored", words(kept))
    assert speech["notes"][1:] == ["asked 3 times for a speech within the limits", f"outside the limits: {fault}"]
    assert speech["usage"]["calls"] == 3


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_turn_that_is_to_fail_outside_the_limits_does(tries):
    """The episode is unscored, with the fault of the nearest try as its reason."""
    agent = Trying(words(9), words(7), words(8))
    record = helpers.play(Limited(limits=Limits(most_words=6, tries=tries, outside="fail")), agent)
    nearest = 9 if tries == 1 else 7
    assert (record["status"], record["turns"], record["probabilities"]) == ("unscored", [], None)
    assert record["reason"] == (
        f"watching: no speech within the limits in {'1 try' if tries == 1 else f'{tries} tries'}: "
        f"it has {nearest} words, more than 6"
    )
    assert len(speeches(agent)) == tries


@pytest.mark.parametrize(("inside", "status"), [({1}, "scored"), (set(), "unscored")])
def test_a_turn_with_candidates_fails_only_where_none_is_inside(inside, status):
    """One acceptable candidate is enough, and then it is the turn."""

    class Writing(helpers.Watching):
        async def speak(self, request):
            return Speech(words(3 if request.draw[0] in inside else 9))

    protocol = Limited(limits=Limits(most_words=6, tries=2, outside="fail"), candidates=3)
    record = helpers.play(protocol, Writing())
    assert record["status"] == status
    if inside:
        assert [one.get("chosen") for one in record["turns"][0]["candidates"]] == [False, True, False]


def test_a_language_model_reads_the_limits_and_what_was_wrong():
    """The fault is fed back in the conversation, after the speech that was rejected."""

    class Writer(Model):
        def __init__(self):
            super().__init__("test/writer")
            self.calls = []

        async def complete(self, call):
            self.calls.append(call)
            return Completion(["Too short.", "This one is long enough, I hope."][len(self.calls) - 1])

    model = Writer()
    agents = {"model": LanguageModelAgent(model, name="model"), "judge": helpers.Watching("judge")}
    cast = {"debater": ("model",), "judge": ("judge",)}
    record = helpers.play(Limited(limits=Limits(words=7, least_words=5)), agents, cast=cast)
    assert record["turns"][0]["text"] == "This one is long enough, I hope."
    first, second = model.calls
    asked = "Speak now, as Debater A, for answer A.\nYour speech is to have about 7 words, at least 5 words."
    assert first.messages[-1]["content"].endswith(asked)
    assert second.messages[:-2] == first.messages
    assert second.messages[-2:] == (
        {"role": "assistant", "content": "Too short."},
        {
            "role": "user",
            "content": "That speech is outside the limits. Give it again, in the same form and within them: "
            "it has 2 words, fewer than 5.",
        },
    )
    assert (first.draw, second.draw) == ((), (1,))
    assert first.key({}) != second.key({})
