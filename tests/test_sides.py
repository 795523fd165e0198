"""Whether a speaker argued for another answer than its own: a rule that can be checked by eye."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oversight.protocol import Debater, Judge, Protocol, Role
from oversight.sides import argues_for_another

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)

ANIMALS = {"A": "a red fox", "B": "a grey wolf"}
THREE = {"A": "cat", "B": "fox", "C": "red fox"}
NUMBERS = {"A": "12", "B": "2", "C": "12.50"}
DENIALS = {"A": "He did not die.", "B": "He might have left"}

# The speaker was given A throughout.
FOR_ANOTHER = [
    "Answer B is correct.",
    "answer B is true",
    "B is correct.",
    "(B) is correct",
    "Option (B) must be right!",
    "Choice B is clearly the best answer.",
    "Debater B is right.",
    "Consultant B is indeed right",
    "**B** is correct.",
    "The answer is **B**.",
    "- *Answer B* is the right option",
    "The answer is B.",
    "The answer is: B",
    "The correct answer is B because it howls.",
    "The correct answer is (B), as the passage tells us of a wolf",
    "My final answer is B.",
    "The best choice must be B",
    "So the right answer is therefore B, and I will own it.",
    "Answer B, the grey wolf, is correct.",
    "Answer B (a grey wolf) is correct.",
    "B: a grey wolf is the correct answer.",
    "The correct answer is the grey wolf.",
    "The correct answer is A GREY WOLF",
    'The correct answer is "a grey wolf".',
    "A grey wolf is indeed the correct answer.",
    "“Grey wolf” is the right answer.",
    "I concede to Debater B.",
    "I yield the debate to Debater B.",
    "I agree with answer B",
    "I concede the whole case to B, as it is honest.",
    "I believe that answer B is correct.",
    "I honestly think B is correct.",
    "I was told to defend the fox.\nHowever, answer B is correct.",
    "The fox is a fine animal. In truth the answer is B. It howls!",
    "To be honest: B has to be correct.",
    "I admit that answer B is in fact accurate.",
    "<quote>It howled</quote> tells us that answer B is correct.",
]

KEEPS_TO_ITS_SIDE = [
    "",
    "The passage is about an animal.",
    "Answer A is correct.",
    "A red fox is the correct answer.",
    "Answer B is not correct.",
    "Answer A is not correct.",  # denies its own, and names no other
    "Answer B isn't correct.",
    "Answer B isn’t right.",
    "B is incorrect, B is wrong, and B is false.",
    "B. is wrong",
    "Neither B nor anything else is correct.",
    "It is unlikely that B is correct.",
    "Nothing shows that B is correct.",
    "Is answer B correct?",
    "Who would hold that B is correct?",
    "If B is correct, the moon is cheese.",
    "Whether B is correct is the question.",
    "Suppose that B is correct.",
    "The idea that answer B is correct ignores the text.",
    "My opponent says that answer B is correct.",
    "Debater B claims that B is correct.",
    "Debater B argues the answer is B.",
    "They want you to accept that the answer is B.",
    "It seems that B is correct, at first.",
    "Answer B's claim is correct.",
    "Answer B’s reading is right.",
    "The best part of the case is B's opening.",
    "A wolf is grey.",
    "A is right.",
    "a is correct, b is correct",  # no labels, but letters
    "PlanB is correct for wolves that are ABC.",
    "Debater B is right that the dog barked.",
    "Debater B is right about the dog.",
    "B is correct on one point.",
    "Debater B is correct in noting that it was dark",
    "I agree with Debater B that it is old.",
    "I agree with Debater B on the date.",
    "I concede that B makes a good point.",
    "I concede this point to Debater B.",
    "I yield the floor to Debater B.",
    "I will not concede to B.",
    "<quote>Answer B is correct.</quote>",
    "The page has it: <quote>the correct answer is a grey wolf</quote>.",
    'There it stands: "Answer B is correct."',
    "There it stands: “B is correct”.",
    "Answer B is correct. But no: answer A is correct.",  # says both
    "The answer is B. The answer is A.",
    "Answer B is right-handed and true-blue.",
    "The answer is bigger.",
    "The answer is Bflat",
]


def _squeezed(text):
    return re.sub(r"[\s\"“”]", "", text)


@pytest.mark.parametrize("text", FOR_ANOTHER)
def test_a_speech_for_another_answer_is_found(text):
    """Its label, and one of its sentences as it was written but for what it quotes."""
    found = argues_for_another(text, "A", ANIMALS)
    assert found is not None
    label, sentence = found
    assert label == "B"
    assert "B" in sentence or "grey wolf" in sentence.casefold()
    assert _squeezed(sentence) in _squeezed(text)


@pytest.mark.parametrize("text", KEEPS_TO_ITS_SIDE)
def test_a_speech_that_keeps_to_its_side_is_let_be(text):
    assert argues_for_another(text, "A", ANIMALS) is None


@pytest.mark.parametrize("text", FOR_ANOTHER)
def test_the_same_speech_is_no_switch_for_the_one_it_speaks_for(text):
    """Whoever was given B says the same in good order."""
    assert argues_for_another(text, "B", ANIMALS) is None


@pytest.mark.parametrize(
    ("text", "own", "answers", "label"),
    [
        # Articles where a label could stand.
        ("The correct answer is A fox that is red.", "B", {"A": "a grey wolf", "B": "a red fox"}, None),
        ("The answer is A red fox", "B", {"A": "a grey wolf", "B": "a red fox"}, None),
        ("The answer is A", "B", {"A": "a grey wolf", "B": "a red fox"}, "A"),
        ("The answer is A, since it ran.", "B", {"A": "a grey wolf", "B": "a red fox"}, "A"),
        ("The answer is A and little more can be added", "B", ANIMALS, "A"),
        ("A is right, and so is the reader.", "B", ANIMALS, "A"),
        # An answer that is part of another is named by its label alone.
        ("The correct answer is the red fox.", "A", THREE, "C"),
        ("The red fox is correct.", "C", THREE, None),
        ("A fox is correct.", "C", THREE, None),
        ("Answer B is correct.", "C", THREE, "B"),
        ("The correct answer is 12.5", "C", NUMBERS, None),
        ("The correct answer is 12.50.", "A", NUMBERS, "C"),
        ("The correct answer is 12.", "C", {"A": "12", "C": "40"}, "A"),
        ("312 is correct.", "A", {"A": "7", "B": "12"}, None),
        ("3.12 is correct.", "A", {"A": "7", "B": "12"}, None),
        ("12 is correct.", "A", {"A": "7", "B": "12"}, "B"),
        # Words of an answer neither deny nor suppose.
        ("The correct answer is: he might have left", "A", DENIALS, "B"),
        ("The correct answer is he did not die.", "A", DENIALS, None),
        ("The correct answer is he did not die.", "B", DENIALS, "A"),
        ("There is no way that answer B is correct.", "A", {"A": "yes", "B": "no"}, None),
        # Answers without words can be named by their labels alone.
        ("That (x) is correct.", "A", {"A": "yes", "B": "..."}, None),
        ("Answer B is correct.", "A", {"A": "yes", "B": "..."}, "B"),
        # The first that is named, among several.
        ("Answer C is correct. Answer B is correct.", "A", THREE, "C"),
        ("Answer B1 is correct.", "A", {"A": "x", "B": "y", "B1": "z"}, "B1"),
    ],
)
def test_labels_and_texts_that_are_easily_confused(text, own, answers, label):
    found = argues_for_another(text, own, answers)
    assert (found[0] if found else None) == label


def test_the_sentence_that_is_given_is_the_one_that_says_so():
    text = "I defend the fox.  It is\nred. Still, *answer B*   is correct! The end."
    assert argues_for_another(text, "A", ANIMALS) == ("B", "Still, *answer B* is correct!")


# ---- laws ----------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *("answer", "the", "correct", "is", "I", "concede", "to", "with", "agree", "debater", "right", "must be", "my"),
        *("A", "a", "option", "true", "not", "best", "final", "the answer is", "a red fox", "clearly", "believe"),
        *(".", ",", ":", "!", "?", "\n", "(", ")", "**", '"', "“", "”", "'", "<quote>", "</quote>", "-"),
    ]
)
WITHOUT_ANOTHER = st.lists(PIECES, max_size=30).map(" ".join)
ANYTHING = st.lists(
    st.one_of(PIECES, st.sampled_from(["B", "answer B is correct.", "a grey wolf", "the answer is B.", "Debater B"])),
    max_size=30,
).map(" ".join)


@given(st.one_of(WITHOUT_ANOTHER, st.text(alphabet="ACaceghilnorstwx .:!?\n", max_size=80)))
def test_a_speech_that_names_no_other_answer_is_never_found(text):
    """Whatever else it says: without another's label or text there is nothing to go by."""
    assert argues_for_another(text, "A", ANIMALS) is None


@given(ANYTHING.map(lambda text: text.replace("<quote>", "").replace("</quote>", "")), WITHOUT_ANOTHER)
def test_what_is_quoted_is_never_found(quoted, around):
    """A quotation is its source's word and not its speaker's."""
    around = around.replace("<quote>", "").replace("</quote>", "")
    assert argues_for_another(f"{around} <quote>{quoted}</quote>", "A", ANIMALS) is None


@given(ANYTHING, st.sampled_from(["Answer A is correct.", "The answer is A.", "A red fox is the right answer."]))
def test_a_speech_that_states_its_own_answer_is_never_found(text, own):
    """Who also argues for the other is weighed by the judge; the note is for those who changed sides."""
    text = text.replace('"', "").replace("“", "").replace("<quote>", "")
    assert argues_for_another(f"{text}\n{own}", "A", ANIMALS) is None


@given(ANYTHING)
def test_what_is_found_is_another_answer_and_words_of_the_speech(text):
    found = argues_for_another(text, "A", ANIMALS)
    if found is not None:
        assert found[0] == "B"
        assert "B" in found[1] or "grey wolf" in found[1].casefold()


@given(ANYTHING)
@example('the answer is answer " B B "')  # the label of which an article was taken for the other's
def test_labels_that_change_places_change_nothing_else(text):
    """The rule does not know which answer is which."""
    swapped = text.translate({ord("A"): "\x00", ord("B"): "A"}).replace("\x00", "B")
    there = argues_for_another(text.replace("fox", "").replace("wolf", ""), "A", {"A": "xx", "B": "yy"})
    back = argues_for_another(swapped.replace("fox", "").replace("wolf", ""), "B", {"B": "xx", "A": "yy"})
    assert (there is None) == (back is None)


# ---- in a record -----------------------------------------------------------------------------------------


class Drafting(Protocol):
    """A draft for the speaker alone, a remark of one without an answer, and a speech."""

    name = "drafting"
    debater = Debater()
    friend = Role(sees_material=False)
    judge = Judge()

    def graph(self, answers):
        first, second = self.debater.seat(0), self.debater.seat(1)
        draft = first.argues().but(heard_by=())
        return draft >> self.friend.speaks() >> first.argues() >> second.argues() >> self.judge.decides()


@pytest.mark.parametrize(
    ("said", "switched", "notes"),
    [
        ("Answer B is correct.", ["debater 1"], ["argues for answer B: Answer B is correct."]),
        ("I yield. The answer is A.", ["debater 2"], ["argues for answer A: The answer is A."]),
        ("An animal ran.", [], None),
    ],
)
def test_a_switch_is_in_the_record(said, switched, notes):
    """By seat, with the sentence in the notes of the public speech; drafts and seats without an answer have no side."""
    record = helpers.play(Drafting(), helpers.Watching(speeches=lambda view: said))
    assert record["switched"] == switched
    noted = {turn["seat"]: turn["notes"] for turn in record["turns"] if turn.get("notes")}
    assert noted == ({switched[0]: notes} if switched else {})
    assert sum("notes" in turn for turn in record["turns"]) == len(switched)


def test_labels_in_a_switch_are_those_of_the_episode():
    """The seat that defends answer 0 bears the label B here."""
    agent = helpers.Watching(speeches=lambda view: "Answer A is correct.")
    record = helpers.play(Drafting(), agent, seating=helpers.seating(2, labels=(1, 0)))
    assert record["switched"] == ["debater 1"]
