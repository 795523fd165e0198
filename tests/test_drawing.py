"""Drawings: word for word in the terminal and as Mermaid, and pictures that open."""

import importlib.util
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from rich.console import Console

from oversight.errors import ConfigurationError
from oversight.graph import to_mermaid, to_picture, to_terminal
from oversight.protocol import Debater, Judge, Protocol, branch, repeat
from oversight.protocols.blind import Blind
from oversight.protocols.consultancy import Consultancy
from oversight.protocols.critique import Critique
from oversight.protocols.cross_examination import CrossExamination
from oversight.protocols.debate import Debate
from oversight.protocols.direct import Direct
from oversight.protocols.multi_agent_debate import MultiAgentDebate
from oversight.protocols.self_consistency import SelfConsistency

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)


class Forked(Protocol):
    """A protocol with everything that a drawing can show."""

    name = "forked"
    debater = Debater()
    judge = Judge()

    def graph(self, answers):
        first, second = self.debater.seat(0), self.debater.seat(1)
        return (
            first.claims()
            >> branch(
                lambda turns: True,
                repeat(second.argues(), 2, until=lambda turns: False),
                second.argues().but(reads_reasoning_of=(first,)),
            )
            >> self.judge.decides(hears=(first, second))
        )


TERMINAL = {
    Debate(): """\
debate, 2 answers
├── repeat 3 times
│   └── at the same time, blind to each other
│       ├── debater 1 argues   sees the question, hidden material, every speech before it
│       └── debater 2 argues   sees the question, hidden material, every speech before it
└── judge decides   sees the question, every speech before it
""",
    Consultancy(form="ensembled"): """\
consultancy(form=ensembled), 2 answers
└── at the same time, blind to each other
    ├── side
    │   ├── repeat 3 times
    │   │   └── consultant 1 argues   sees the question, hidden material, its own turns
    │   └── judge decides   sees the question, turns of consultant 1
    └── side
        ├── repeat 3 times
        │   └── consultant 2 argues   sees the question, hidden material, its own turns
        └── judge 2 decides   sees the question, turns of consultant 2
""",
    Debate(rounds=8, style="opening", interactive=True, prior=True, stop="sure"): """\
debate(rounds=8,interactive=True,stop=sure,prior=True,style=opening), 2 answers
├── judge decides, seen by debater 1, debater 2   sees the question, every speech before it
└── repeat at most 8 times
    ├── the first time
    │   ├── at the same time, blind to each other
    │   │   ├── debater 1 argues   sees the question, hidden material, every speech before it
    │   │   └── debater 2 argues   sees the question, hidden material, every speech before it
    │   └── judge decides, seen by debater 1, debater 2   sees the question, every speech before it
    └── then
        ├── judge speaks (ask)   sees the question, every speech before it
        ├── debater 1 argues   sees the question, hidden material, every speech before it
        ├── debater 2 argues   sees the question, hidden material, every speech before it
        └── judge decides, seen by debater 1, debater 2   sees the question, every speech before it
""",
    Debate(style="opening"): """\
debate(style=opening), 2 answers
├── repeat 3 times
│   ├── the first time
│   │   └── at the same time, blind to each other
│   │       ├── debater 1 argues   sees the question, hidden material, every speech before it
│   │       └── debater 2 argues   sees the question, hidden material, every speech before it
│   └── then
│       ├── debater 1 argues   sees the question, hidden material, every speech before it
│       └── debater 2 argues   sees the question, hidden material, every speech before it
└── judge decides   sees the question, every speech before it
""",
    Consultancy(interactive=True, positions="open"): """\
consultancy(interactive=True,positions=open), 2 answers
├── consultant 1 states the answer it holds   sees the question, hidden material, its own turns
├── repeat 3 times
│   ├── consultant 1 argues   sees the question, hidden material, every speech before it
│   └── then, before the next round
│       └── judge speaks (ask)   sees the question, every speech before it
└── judge decides   sees the question, every speech before it
""",
    Consultancy(rounds=1, refinements=1, candidates=2): """\
consultancy(rounds=1,candidates=2,refinements=1), 2 answers
├── consultant 1 argues (draft), in private   sees the question, hidden material, every speech
│   before it
├── consultant 1 argues (criticise), in private   sees the question, hidden material, every speech
│   before it
├── consultant 1 argues (rewrite), best of 2 by judge   sees the question, hidden material, every
│   speech before it
└── judge decides   sees the question, every speech before it
""",
    Critique(reply=True, candidates=2): """\
critique(reply=True,candidates=2), 2 answers
├── proposer 1 argues   sees the question, hidden material, every speech before it
├── critic speaks, best of 2 by its own pick   sees the question, hidden material, every speech
│   before it, which answer proposer 1 would argue for
├── proposer 1 argues   sees the question, hidden material, every speech before it
└── judge decides   sees the question, every speech before it, which answer proposer 1 would argue
    for
""",
    CrossExamination(batches=1): """\
cross_examination(batches=1), 2 answers
├── claimant 1 argues   sees the question, hidden material, every speech before it
├── examiner speaks (ask), seen by claimant 1, examiner, examinee   sees the question, turns of
│   claimant 1, examiner, examinee
├── if the condition holds
│   └── examiner decides   sees the question, turns of claimant 1, examiner, examinee
└── otherwise
    ├── examinee speaks (answer), seen by claimant 1, examiner, examinee   sees the question, hidden
    │   material, turns of claimant 1, examiner, examinee
    └── examiner decides   sees the question, turns of claimant 1, examiner, examinee
""",
    MultiAgentDebate(agents=2): """\
multi_agent_debate(agents=2), 2 answers
└── repeat 2 times
    └── at the same time, blind to each other
        ├── agent decides, seen by agent, agent 2   sees the question, every speech before it
        └── agent 2 decides, seen by agent, agent 2   sees the question, every speech before it
""",
    SelfConsistency(): """\
self_consistency, 2 answers
└── judge decides by 7 votes   sees the question, every speech before it
""",
    Blind(): """\
blind, 2 answers
└── judge decides   sees the question, every speech before it, which answer persuader 1 would argue
    for
""",
    Direct(expert=True): """\
direct(expert=True), 2 answers
└── judge decides   sees the question, hidden material, every speech before it
""",
    Forked(): """\
forked, 2 answers
├── debater 1 states the answer it holds   sees the question, hidden material, every speech before
│   it
├── if the condition holds
│   └── repeat at most 2 times
│       └── debater 2 argues   sees the question, hidden material, every speech before it
├── otherwise
│   └── debater 2 argues   sees the question, hidden material, every speech before it, private
│       reasoning of debater 1
└── judge decides   sees the question, turns of debater 1, debater 2
""",
}


@pytest.mark.parametrize("protocol", TERMINAL, ids=lambda protocol: protocol.title)
def test_the_drawing_in_the_terminal(protocol):
    """Who does what when, and what each sees, at a width of 100."""
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        console.print(to_terminal(protocol))
    assert [line.rstrip() for line in captured.get().splitlines()] == TERMINAL[protocol].splitlines()


def test_the_drawing_counts_answers():
    """A debate over three answers has three debaters."""
    console = Console(width=100, no_color=True)
    with console.capture() as captured:
        console.print(to_terminal(Debate(), 3))
    assert "debate, 3 answers" in captured.get()
    assert "debater 3 argues" in captured.get()


def test_mermaid_of_a_debate():
    """Boxes for speeches, a hexagon for the verdict, dotted edges back with the number of rounds."""
    sees = "<br/><small>sees the question"
    assert (
        to_mermaid(Debate())
        == f"""\
flowchart TD
    n0((start))
    n1["debater 1 argues{sees}, hidden material, every speech before it</small>"]
    n2["debater 2 argues{sees}, hidden material, every speech before it</small>"]
    n3{{{{"judge decides{sees}, every speech before it</small>"}}}}
    n4((end))
    n0 --> n1
    n0 --> n2
    n1 -.->|3 rounds| n1
    n1 -.->|3 rounds| n2
    n1 --> n3
    n2 -.->|3 rounds| n1
    n2 -.->|3 rounds| n2
    n2 --> n3
    n3 --> n4"""
    )


def test_mermaid_of_a_first_round_of_its_own_with_questions_between():
    """The first round is apart; the edge back goes from the last speaker to the question before the next round."""
    assert to_mermaid(Debate(rounds=3, style="opening", interactive=True)).splitlines()[9:] == [
        "    n0 --> n1",
        "    n0 --> n2",
        "    n1 --> n3",
        "    n2 --> n3",
        "    n3 --> n4",
        "    n4 --> n5",
        "    n5 -.->|2 rounds| n3",
        "    n5 --> n6",
        "    n6 --> n7",
    ]


def test_mermaid_of_two_rounds_of_which_the_first_is_another():
    """Nothing is repeated, so nothing goes back."""
    assert "-.->" not in to_mermaid(Debate(rounds=2, style="opening"))


def test_mermaid_of_conditions():
    """The sides of a branch are labelled, and a loop that may end early says so."""
    assert to_mermaid(Forked()).splitlines()[7:] == [
        "    n0 --> n1",
        "    n1 -->|then| n2",
        "    n1 -->|otherwise| n3",
        "    n2 -.->|at most 2 rounds| n2",
        "    n2 --> n4",
        "    n3 --> n4",
        "    n4 --> n5",
    ]


def words_of(path):
    """The texts of an SVG file."""
    return [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_a_picture_as_png(tmp_path):
    """The file is a PNG of a readable size, and nothing is left beside it."""
    path = to_picture(Debate(), tmp_path / "debate.png")
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", content[16:24])
    assert 400 < width < 4000
    assert 400 < height < 4000
    assert [file.name for file in path.parent.iterdir()] == ["debate.png"]


def test_a_picture_as_svg(tmp_path):
    """The file is XML that holds the words as words; drawn again, it is the same file."""
    path = to_picture(Debate(), str(tmp_path / "debate.SVG"))
    words = words_of(path)
    for expected in (
        "debate, 2 answers",
        "debater 1 argues",
        "debater 2 argues",
        "judge decides",
        "start",
        "end",
        "dashed: 3 rounds",
    ):
        assert words.count(expected) == 1, expected
    assert path.read_bytes() == to_picture(Debate(), tmp_path / "again.svg").read_bytes()


def test_a_picture_shows_loops_and_conditions(tmp_path):
    """A loop over one step is drawn too, beside its box, and the sides of a branch are labelled."""
    path = to_picture(Forked(), tmp_path / "forked.svg")
    words = words_of(path)
    assert {"then", "otherwise", "dashed: at most 2 rounds", "debater 1 states the answer it holds"} <= set(words)
    page = ElementTree.parse(path)
    width = float(page.getroot().get("viewBox").split()[2])
    dashed = [
        float(line.get("d").split()[1])  # where the stroke begins
        for line in page.iter("{http://www.w3.org/2000/svg}path")
        if "stroke-dasharray" in line.get("style", "")
    ]
    assert dashed
    assert all(width * 0.3 < start < width * 0.6 for start in dashed)  # right of the left box


DRAWN = [*helpers.VARIANTS[:4], *helpers.VARIANTS[7:9], *helpers.FAMILY[-9::2]]


@pytest.mark.parametrize("protocol", DRAWN, ids=lambda protocol: protocol.title)
@pytest.mark.parametrize("answers", [2, 4])
def test_every_protocol_can_be_drawn(protocol, answers, tmp_path):
    """The picture names every seat of the protocol."""
    words = " ".join(word for word in words_of(to_picture(protocol, tmp_path / "drawn.svg", answers)) if word)
    for step in protocol.graph(answers).steps():
        assert step.seat.name in words


@pytest.mark.parametrize("name", ["debate.pdf", "debate", "debate.png.txt"])
def test_another_suffix_is_an_error_that_leaves_nothing(name, tmp_path):
    """Pictures are PNG or SVG; anything else is refused before a file is made."""
    with pytest.raises(ConfigurationError, match=r"a picture is a \.png or a \.svg file"):
        to_picture(Debate(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
