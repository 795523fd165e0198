"""The built-in protocols, played by scripted agents: who says what in which order, and who sees it."""

import asyncio
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

import oversight
from oversight.agents import Agent, ScriptedAgent
from oversight.errors import TurnFailed
from oversight.protocol import Debater, Judge, Protocol, Role, branch, repeat, together
from oversight.protocols.blind import Blind
from oversight.protocols.consultancy import Consultancy
from oversight.protocols.debate import Debate
from oversight.protocols.direct import Direct
from oversight.protocols.propaganda import Propaganda
from oversight.questions import Question
from oversight.requests import Choice, Speech
from oversight.runs.seating import seatings

_file = Path(__file__).with_name("helpers.py")
_specification = importlib.util.spec_from_file_location("oversight_test_helpers", _file)
helpers = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(helpers)
play, question, seating, transcript, Watching = (
    helpers.play,
    helpers.question,
    helpers.seating,
    helpers.transcript,
    helpers.Watching,
)

# Labels differ from answers, so that a mix-up of the two shows: the first seat defends answer 0, labelled B.
TWO = seating(2, labels=(1, 0))
THREE = seating(3, labels=(2, 0, 1))  # seats defend B, C and A
VERDICT = ("judge verdict 1", "judge", None, "")

CASES = {
    "debate, simultaneous": (
        Debate(rounds=3),
        TWO,
        [
            ("debater 1 speech 1", "debater 1", "B", "B1"),
            ("debater 2 speech 1", "debater 2", "A", "A1"),
            ("debater 1 speech 2", "debater 1", "B", "B2"),
            ("debater 2 speech 2", "debater 2", "A", "A2"),
            ("debater 1 speech 3", "debater 1", "B", "B3"),
            ("debater 2 speech 3", "debater 2", "A", "A3"),
            VERDICT,
        ],
        {
            "Debater B": ["", "B1 A1", "B1 A1 B2 A2"],
            "Debater A": ["", "B1 A1", "B1 A1 B2 A2"],
            "Judge": ["B1 A1 B2 A2 B3 A3"],
        },
    ),
    "debate, simultaneous, three answers": (
        Debate(rounds=2),
        THREE,
        [
            ("debater 1 speech 1", "debater 1", "B", "B1"),
            ("debater 2 speech 1", "debater 2", "C", "C1"),
            ("debater 3 speech 1", "debater 3", "A", "A1"),
            ("debater 1 speech 2", "debater 1", "B", "B2"),
            ("debater 2 speech 2", "debater 2", "C", "C2"),
            ("debater 3 speech 2", "debater 3", "A", "A2"),
            VERDICT,
        ],
        {
            "Debater B": ["", "B1 C1 A1"],
            "Debater C": ["", "B1 C1 A1"],
            "Debater A": ["", "B1 C1 A1"],
            "Judge": ["B1 C1 A1 B2 C2 A2"],
        },
    ),
    "debate, sequential": (
        Debate(rounds=2, style="sequential"),
        TWO,
        [
            ("debater 1 speech 1", "debater 1", "B", "B1"),
            ("debater 2 speech 1", "debater 2", "A", "A1"),
            ("debater 1 speech 2", "debater 1", "B", "B2"),
            ("debater 2 speech 2", "debater 2", "A", "A2"),
            VERDICT,
        ],
        {"Debater B": ["", "B1 A1"], "Debater A": ["B1", "B1 A1 B2"], "Judge": ["B1 A1 B2 A2"]},
    ),
    "debate, sequential, three answers": (
        Debate(rounds=1, style="sequential"),
        THREE,
        [
            ("debater 1 speech 1", "debater 1", "B", "B1"),
            ("debater 2 speech 1", "debater 2", "C", "C1"),
            ("debater 3 speech 1", "debater 3", "A", "A1"),
            VERDICT,
        ],
        {"Debater B": [""], "Debater C": ["B1"], "Debater A": ["B1 C1"], "Judge": ["B1 C1 A1"]},
    ),
    # The first seat would be left with B, holds A, and so defends A; the other seats take what is left, in order.
    "debate, open": (
        Debate(rounds=1, positions="open"),
        TWO,
        [
            ("debater 1 claim 1", "debater 1", "A", ""),
            ("debater 1 speech 2", "debater 1", "A", "A2"),
            ("debater 2 speech 1", "debater 2", "B", "B1"),
            VERDICT,
        ],
        {
            "Debater": [""],
            "Debater A": ["I hold that answer A is correct."],
            "Debater B": ["I hold that answer A is correct."],
            "Judge": ["A2 B1"],
        },
    ),
    "debate, open, three answers": (
        Debate(rounds=1, positions="open", style="sequential"),
        THREE,
        [
            ("debater 1 claim 1", "debater 1", "A", ""),
            ("debater 1 speech 2", "debater 1", "A", "A2"),
            ("debater 2 speech 1", "debater 2", "B", "B1"),
            ("debater 3 speech 1", "debater 3", "C", "C1"),
            VERDICT,
        ],
        {
            "Debater": [""],
            "Debater A": ["I hold that answer A is correct."],
            "Debater B": ["I hold that answer A is correct. A2"],
            "Debater C": ["I hold that answer A is correct. A2 B1"],
            "Judge": ["A2 B1 C1"],
        },
    ),
    "consultancy, single": (
        Consultancy(rounds=2),
        TWO,
        [
            ("consultant 1 speech 1", "consultant 1", "B", "B1"),
            ("consultant 1 speech 2", "consultant 1", "B", "B2"),
            VERDICT,
        ],
        {"Consultant B": ["", "B1"], "Judge": ["B1 B2"]},
    ),
    "consultancy, single, three answers": (
        Consultancy(rounds=1),
        THREE,
        [("consultant 1 speech 1", "consultant 1", "B", "B1"), VERDICT],
        {"Consultant B": [""], "Judge": ["B1"]},
    ),
    "consultancy, double": (
        Consultancy(rounds=2, form="double"),
        TWO,
        [
            ("consultant 1 speech 1", "consultant 1", "B", "B1"),
            ("consultant 1 speech 2", "consultant 1", "B", "B2"),
            ("consultant 2 speech 1", "consultant 2", "A", "A1"),
            ("consultant 2 speech 2", "consultant 2", "A", "A2"),
            VERDICT,
        ],
        {"Consultant B": ["", "B1"], "Consultant A": ["", "A1"], "Judge": ["B1 B2 A1 A2"]},
    ),
    "consultancy, double, three answers": (
        Consultancy(rounds=1, form="double"),
        THREE,
        [
            ("consultant 1 speech 1", "consultant 1", "B", "B1"),
            ("consultant 2 speech 1", "consultant 2", "C", "C1"),
            ("consultant 3 speech 1", "consultant 3", "A", "A1"),
            VERDICT,
        ],
        {"Consultant B": [""], "Consultant C": [""], "Consultant A": [""], "Judge": ["B1 C1 A1"]},
    ),
    "consultancy, ensembled": (
        Consultancy(rounds=2, form="ensembled"),
        TWO,
        [
            ("consultant 1 speech 1", "consultant 1", "B", "B1"),
            ("consultant 1 speech 2", "consultant 1", "B", "B2"),
            VERDICT,
            ("consultant 2 speech 1", "consultant 2", "A", "A1"),
            ("consultant 2 speech 2", "consultant 2", "A", "A2"),
            ("judge 2 verdict 1", "judge 2", None, ""),
        ],
        {"Consultant B": ["", "B1"], "Consultant A": ["", "A1"], "Judge": ["A1 A2", "B1 B2"]},
    ),
    "consultancy, ensembled, three answers": (
        Consultancy(rounds=1, form="ensembled"),
        THREE,
        [
            ("consultant 1 speech 1", "consultant 1", "B", "B1"),
            VERDICT,
            ("consultant 2 speech 1", "consultant 2", "C", "C1"),
            ("judge 2 verdict 1", "judge 2", None, ""),
            ("consultant 3 speech 1", "consultant 3", "A", "A1"),
            ("judge 3 verdict 1", "judge 3", None, ""),
        ],
        {"Consultant B": [""], "Consultant C": [""], "Consultant A": [""], "Judge": ["A1", "B1", "C1"]},
    ),
    "propaganda": (
        Propaganda(),
        TWO,
        [("persuader 1 speech 1", "persuader 1", "B", "B1"), VERDICT],
        {"Persuader B": [""], "Judge": ["B1"]},
    ),
    "propaganda, three answers": (
        Propaganda(),
        THREE,
        [("persuader 1 speech 1", "persuader 1", "B", "B1"), VERDICT],
        {"Persuader B": [""], "Judge": ["B1"]},
    ),
    "blind": (Blind(), TWO, [VERDICT], {"Judge": [""]}),
    "blind, three answers": (Blind(), THREE, [VERDICT], {"Judge": [""]}),
    "direct": (Direct(), TWO, [VERDICT], {"Judge": [""]}),
    "direct, three answers": (Direct(), THREE, [VERDICT], {"Judge": [""]}),
    "direct, expert": (Direct(expert=True), TWO, [VERDICT], {"Judge": [""]}),
}


@pytest.mark.parametrize("case", CASES)
def test_exact_transcript_and_exactly_what_each_turn_saw(case):
    """Each built-in gives exactly these turns in this order, and each agent hears exactly these before its own."""
    protocol, seats, turns, heard = CASES[case]
    agent = Watching()
    record = play(protocol, agent, question=question(len(seats.labels)), seating=seats)
    assert record["status"] == "scored"
    assert transcript(record) == turns
    seen = agent.heard()
    seen["Judge"].sort()  # judges side by side are asked in no particular order
    assert seen == heard


def test_three_answers_are_scored_in_the_questions_order():
    """Probabilities are given to labels and recorded by answer: C is answer 1 here."""
    agent = Watching(choices={"A": 0.1, "B": 0.2, "C": 0.7})
    record = play(Debate(rounds=1), agent, question=question(3, correct=1), seating=THREE)
    assert record["probabilities"] == pytest.approx([0.2, 0.7, 0.1])
    assert (record["credit"], record["elicitation"]) == (1.0, "script")


def test_ensembled_verdicts_are_averaged():
    """The verdict of an ensembled consultancy is the mean of its judges' verdicts."""
    believes = Watching(choices=lambda view: {view.turns[-1].label: 0.9, "AB".replace(view.turns[-1].label, ""): 0.1})
    record = play(Consultancy(form="ensembled"), believes)
    assert [turn["probabilities"] for turn in record["turns"] if turn["kind"] == "verdict"] == [[0.9, 0.1], [0.1, 0.9]]
    assert record["probabilities"] == pytest.approx([0.5, 0.5])
    assert record["credit"] == 0.5


def test_the_blind_judge_knows_the_position_and_no_speech():
    """The blind judge is told who would argue for what, in its instructions too, and sees no turn."""
    agent = Watching()
    play(Blind(), agent, seating=TWO)
    (view,) = agent.views
    assert [(one.speaker, one.label) for one in view.positions] == [("Persuader B", "B")]
    assert "Persuader B argues for answer B." in view.instructions
    assert (view.turns, dict(view.material), view.position) == ((), {}, None)


def test_an_ensembled_judge_is_told_of_its_own_consultant_only():
    """What a judge does not hear, it is not told of either."""
    agent = Watching()
    play(Consultancy(form="ensembled"), agent)
    told = [[one.speaker for one in view.positions] for view in agent.views if view.role == "judge"]
    assert sorted(told) == [["Consultant A"], ["Consultant B"]]


@pytest.mark.parametrize("form", ["double", "ensembled"])
def test_consultants_are_not_told_of_each_other(form):
    """A consultant knows its own position and of no other consultant."""
    agent = Watching()
    play(Consultancy(form=form), agent)
    for view in agent.views:
        if view.role == "consultant":
            assert [one.speaker for one in view.positions] == [view.speaker]


def test_who_sees_the_hidden_material():
    """Those who argue and the expert judge see it, the other judges do not."""
    for protocol in helpers.VARIANTS:
        agent = Watching()
        play(protocol, agent)
        for view in agent.views:
            sees = view.role != "judge" or protocol == Direct(expert=True)
            assert dict(view.material) == ({"passage": "the hidden passage"} if sees else {}), protocol.title


def test_what_a_view_says_of_its_role():
    """Label, instructions with their blanks filled in, rules, options in their own order, and own turns marked."""
    agent = Watching()
    play(Debate(rounds=2), agent, seating=seating(2, labels=(1, 0), options=(0, 1)))
    second = next(view for view in agent.views if view.speaker == "Debater B" and view.turns)
    assert second.position == "B"
    assert second.instructions.startswith("You are Debater B in a debate. You defend answer B (answer 0), whatever")
    assert second.rules == "Rules of the arena. Rules of speech."
    assert [(turn.speaker, turn.label, turn.own) for turn in second.turns] == [
        ("Debater B", "B", True),
        ("Debater A", "A", False),
    ]
    judge = agent.views[-1]
    assert (judge.rules, judge.options) == ("Rules of the arena.", ("B", "A"))
    assert [(answer.label, answer.text) for answer in judge.answers] == [("A", "answer 1"), ("B", "answer 0")]
    assert [(one.speaker, one.label) for one in judge.positions] == [("Debater B", "B"), ("Debater A", "A")]


def test_own_reasoning_comes_back_and_nobody_elses():
    """A seat sees its own private reasoning later on; others see the speech alone."""

    class Reasons(Watching):
        async def speak(self, request):
            return Speech(helpers.numbered(request.view), reasoning=f"secret of {request.view.position}")

    agent = Reasons()
    play(Debate(rounds=2), agent)
    second = next(view for view in agent.views if view.speaker == "Debater B" and view.turns)
    assert [turn.reasoning for turn in second.turns] == ["", "secret of B"]
    assert [turn.reasoning for turn in agent.views[-1].turns] == ["", "", "", ""]


@pytest.mark.parametrize("protocol", [Debate(rounds=3), Consultancy(form="double"), Consultancy(form="ensembled")])
def test_order_does_not_depend_on_who_finishes_first(protocol):
    """Simultaneous turns stand in the protocol's order, and are seen in it, whichever agent is slow."""

    class Slow(Watching):
        def __init__(self, slow):
            super().__init__()
            self.slow = slow

        async def speak(self, request):
            await asyncio.sleep(0.02 if request.view.position == self.slow else 0)
            return await super().speak(request)

    transcripts, heard = [], []
    for slow in ("A", "B"):
        agent = Slow(slow)
        transcripts.append(transcript(play(protocol, agent)))
        heard.append({name: sorted(texts) for name, texts in agent.heard().items()})
    assert transcripts[0] == transcripts[1]
    assert heard[0] == heard[1]


# ---- protocols of a user's own --------------------------------------------------------------------


class Early(Protocol):
    """A debate that ends when somebody gives in."""

    name = "early"
    debater = Debater()
    judge = Judge()
    after: int

    def graph(self, answers):
        one_round = together(self.debater.seat(0).argues(), self.debater.seat(1).argues())
        return repeat(one_round, 4, until=lambda turns: len(turns) >= 2 * self.after) >> self.judge.decides()


@pytest.mark.parametrize(("after", "rounds"), [(1, 1), (2, 2), (3, 3), (4, 4), (9, 4)])
def test_a_loop_ends_when_its_condition_holds_and_at_its_bound(after, rounds):
    """repeat(..., 4, until=...) plays the rounds until the condition holds, and never more than four."""
    agent = Watching()
    record = play(Early(after=after), agent)
    said = [text for _, _, _, text in transcript(record)]
    assert said == [f"{label}{number}" for number in range(1, rounds + 1) for label in "AB"] + [""]
    assert agent.heard()["Judge"] == [" ".join(said[:-1])]


class Revised(Protocol):
    """A judge decides after each speech, and stops when it is sure."""

    name = "revised"
    debater = Debater()
    judge = Judge()

    def graph(self, answers):
        step = self.debater.argues() >> self.judge.decides()
        return repeat(step, 3, until=lambda turns: max(turns[-1].probabilities) > 0.8)


@pytest.mark.parametrize("sure_after", [1, 2, 3, 4])
def test_the_last_verdict_that_was_given_counts(sure_after):
    """A loop around a verdict that ends early is scored by its last verdict, not left unscored."""
    certainty = {number: 0.5 + 0.1 * number for number in range(1, 4)} | {sure_after: 0.9}

    def decide(view):
        given = sum(turn.speaker.startswith("Debater") for turn in view.turns)
        return {"A": certainty[given], "B": 1 - certainty[given]}

    record = play(Revised(), Watching(choices=decide))
    last = min(sure_after, 3)
    assert [turn["kind"] for turn in record["turns"]] == ["speech", "verdict"] * last
    assert record["probabilities"] == pytest.approx([certainty[last], 1 - certainty[last]])


class Forked(Protocol):
    """A second speech is made only where the first asks for it."""

    name = "forked"
    debater = Debater()
    judge = Judge()

    def graph(self, answers):
        first, second = self.debater.seat(0), self.debater.seat(1)
        return (
            first.argues()
            >> branch(
                lambda turns: "more" in turns[-1].text,
                together(first.argues(), second.argues()) >> self.judge.seat(1).decides(),
                self.judge.decides(),
            )
            >> self.judge.seat(2).decides()
        )


@pytest.mark.parametrize(
    ("word", "steps"),
    [
        (
            "more",
            [
                "debater 1 speech 1",
                "debater 1 speech 2",
                "debater 2 speech 1",
                "judge 2 verdict 1",
                "judge 3 verdict 1",
            ],
        ),
        ("done", ["debater 1 speech 1", "judge verdict 1", "judge 3 verdict 1"]),
    ],
)
def test_a_branch_takes_the_side_its_condition_names(word, steps):
    """The condition picks one side; the other side's turns are never taken, and what follows hears what was said."""
    agent = Watching(speeches=lambda view: word)
    record = play(Forked(), agent)
    assert [step for step, *_ in transcript(record)] == steps
    assert agent.heard()["Judge"][-1] == " ".join([word] * sum("speech" in step for step in steps))
    assert record["status"] == "scored"


class SideBySide(Protocol):
    """A loop with a condition next to a seat that speaks at the same time."""

    name = "side_by_side"
    debater = Debater()
    judge = Judge()

    def graph(self, answers):
        loop = repeat(self.debater.seat(0).argues(), 3, until=lambda turns: any("B" in turn.text for turn in turns))
        return together(loop, self.debater.seat(1).argues()) >> self.judge.decides()


def test_a_condition_reads_only_what_leads_to_it():
    """A condition inside one of two simultaneous parts cannot see the other part."""
    said = [text for _, _, _, text in transcript(play(SideBySide(), Watching()))]
    assert said == ["A1", "A2", "A3", "B1", ""]


class ClaimBeside(Protocol):
    """One debater claims while the other speaks twice."""

    name = "claim_beside"
    debater = Debater()
    judge = Judge()

    def graph(self, answers):
        first, second = self.debater.seat(0), self.debater.seat(1)
        return together(first.claims(), second.argues() >> second.argues()) >> self.judge.decides()


def test_a_simultaneous_claim_changes_nothing_for_its_neighbour():
    """A position stated at the same time is not known to a seat whose turns the claim does not lead to."""
    agent = Watching(choices={"B": 1.0})
    play(ClaimBeside(), agent)
    assert [(view.position, view.positions) for view in agent.views if "speech" in view.rules] == [("B", ()), ("B", ())]


class Critics(Protocol):
    """Two seats of a role that defends nothing."""

    name = "critics"
    critic = Role(sees_material=False)
    judge = Judge()

    def graph(self, answers):
        return self.critic.seat(0).argues() >> self.critic.seat(1).argues() >> self.judge.decides()


def test_seats_of_one_role_are_told_apart():
    """Another seat of the same role is not taken for the viewer itself, and is recorded under a name of its own."""
    agent = Watching()
    record = play(Critics(), agent)
    assert [turn["seat"] for turn in record["turns"]] == ["critic", "critic 2", "judge"]
    assert [turn.own for turn in agent.views[1].turns] == [False]


class SecondOpinion(Protocol):
    """A judge decides without the material, then an expert form of the same role decides."""

    name = "second_opinion"
    judge = Judge()

    def graph(self, answers):
        return self.judge.decides() >> self.judge.as_expert().decides()


def test_a_role_and_its_expert_form_take_separate_turns():
    """Both turns are taken under names of their own, the naive one without the material; the last one counts."""
    agent = Watching(choices=lambda view: {"A": 1.0} if view.material else {"B": 1.0})
    record = play(SecondOpinion(), agent)
    assert [step for step, *_ in transcript(record)] == ["judge verdict 1", "judge verdict 2"]
    assert [bool(view.material) for view in agent.views] == [False, True]
    assert record["probabilities"] == [1.0, 0.0]


# ---- two agents on two sides ----------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [Debate(rounds=2), Consultancy(form="double"), Consultancy(form="ensembled")])
def test_two_agents_defend_each_answer_once(protocol):
    """Across the swapped pair each of two agents defends each answer once, and the record names who spoke."""
    agents = {name: Watching(name) for name in ("x", "y", "j")}
    firsts = set()
    for index in range(8):
        pairs = []
        for seats in seatings(index, 2, 2, seed=5, swap=True):
            cast = {next(iter(protocol.roles())): ("x", "y"), "judge": ("j",)}
            record = play(protocol, agents, cast=cast, seating=seats)
            assert {turn["agent"] for turn in record["turns"] if turn["role"] == "judge"} == {"j"}
            spoke = {(turn["agent"], turn["answer"]) for turn in record["turns"] if turn["kind"] == "speech"}
            assert len(spoke) == 2  # each stays on its side throughout
            pairs += spoke
            firsts.add(record["turns"][0]["agent"])
        assert sorted(pairs) == [("x", 0), ("x", 1), ("y", 0), ("y", 1)]
    assert firsts == {"x", "y"}  # who speaks first is drawn apart from who defends what


# ---- failures -------------------------------------------------------------------------------------


class Failing(Watching):
    """Speaks as :func:`helpers.numbered`, and fails where it is told to."""

    def __init__(self, error, at):
        super().__init__()
        self.error, self.at = error, at

    async def respond(self, request):
        if request.view.speaker == self.at and len(request.view.turns) >= 2:
            raise self.error
        return await super().respond(request)


@pytest.mark.parametrize(("at", "kept"), [("Debater B", ["A1", "B1", "A2"]), ("Judge", ["A1", "B1", "A2", "B2"])])
def test_a_failed_turn_leaves_the_episode_unscored(at, kept):
    """The record has the reason, the turns so far and no verdict."""
    failing = Failing(TurnFailed("the endpoint was down"), at)
    record = play(Debate(rounds=2, style="sequential"), failing)
    assert (record["status"], record["reason"]) == ("unscored", "the endpoint was down")
    assert (record["probabilities"], record["credit"], record["elicitation"]) == (None, None, None)
    assert [text for _, _, _, text in transcript(record)] == kept


def test_two_failures_at_once_are_one_unscored_episode(caplog):
    """When both simultaneous speakers fail, one reason is recorded and nothing is left to complain later."""
    record = play(Debate(rounds=2), ScriptedAgent("silent", choices={"A": 1.0}))
    assert (record["status"], record["turns"]) == ("unscored", [])
    assert "silent cannot speak" in record["reason"]
    assert caplog.text == ""


@pytest.mark.parametrize("speech", ["", "  \n\t "])
def test_an_empty_speech_is_no_turn(speech):
    """An episode with a speech of nothing is unscored."""
    record = play(Debate(rounds=1), Watching(speeches=lambda view: speech if view.position == "B" else "I am right."))
    assert record["status"] == "unscored"
    assert "said nothing" in record["reason"]


class Raw(Agent):
    """Speaks, and gives whatever probabilities it was made with."""

    def __init__(self, probabilities):
        super().__init__("raw")
        self.probabilities = probabilities

    async def speak(self, request):
        return Speech("A speech.")

    async def choose(self, request):
        return Choice(self.probabilities, "script")


@pytest.mark.parametrize(
    ("probabilities", "reason"),
    [
        ({"A": 1.0}, "no distribution over A, B"),
        ({"A": 0.5, "B": 0.5, "C": 0.0}, "no distribution over A, B"),
        ({}, "no distribution over A, B"),
        ({"A": 0.5, "B": 0.4}, "no distribution over A, B"),
        ({"A": 1.0, "B": 1.0}, "no distribution over A, B"),
        ({"A": 1.5, "B": -0.5}, "no distribution over A, B"),
        ({"A": 0.0, "B": 0.0}, "no distribution over A, B"),
    ],
)
def test_what_is_no_distribution_is_no_verdict(probabilities, reason):
    """A missing or strange label, a wrong sum or a negative number leaves the episode unscored, its speeches kept."""
    record = play(Debate(rounds=1), Raw(probabilities))
    assert (record["status"], record["probabilities"], record["credit"]) == ("unscored", None, None)
    assert reason in record["reason"]
    assert [turn["kind"] for turn in record["turns"]] == ["speech", "speech"]


def test_a_rounding_error_is_mended():
    """Probabilities that miss one by rounding are made to sum to one."""
    record = play(Direct(), Raw({"A": 0.3333, "B": 0.6666}))
    assert sum(record["probabilities"]) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("at", ["Debater B", "Judge"])
def test_a_bug_is_not_an_unscored_episode(at):
    """An exception that is no TurnFailed comes through as it is."""
    with pytest.raises(ZeroDivisionError, match="a bug"):
        play(Debate(rounds=2), Failing(ZeroDivisionError("a bug"), at))


def test_ties_of_a_claim_go_to_the_first_to_speak():
    """A debater that holds no answer above the others defends the one it was seated for."""
    agent = Watching(choices={"A": 0.5, "B": 0.5})
    record = play(Debate(rounds=1, positions="open"), agent, seating=TWO)
    assert transcript(record)[0] == ("debater 1 claim 1", "debater 1", "B", "")


def test_a_guess_is_not_checked_against_what_its_speaker_cannot_see(tmp_path):
    """A quotation mark in the mouth of one who does not see the material is only words."""

    class Asking(Protocol):
        name = "asking"

        debater = Debater()
        judge = Judge()

        def graph(self, answers):
            return self.judge.argues() >> self.debater.argues() >> self.judge.decides()

    class Checked(helpers.Plain):
        def questions(self, limit, seed):
            return [Question("q", "Which?", ("yes", "no"), 0, "q", hidden={"passage": "It rained all day."})]

        def verifies_quotes(self):
            return True

    said = "<quote>It rained</quote>"
    agents = {name: ScriptedAgent(name, [said] * 3, {"A": 0.5, "B": 0.5}) for name in ("d", "j")}
    run = oversight.run(Asking(), Checked(), debater=agents["d"], judge=agents["j"], swap=False, log_dir=tmp_path / "r")
    (record,) = run.episodes()
    assert [turn.get("quotes", []) for turn in record["turns"][:2]] == [
        [],
        [{"start": 0, "end": len(said), "text": "It rained", "verified": True}],
    ]


def test_a_condition_does_not_see_private_reasoning(tmp_path):
    """What one seat keeps to itself cannot decide what everybody sees next."""
    seen = []

    class Telling(Protocol):
        name = "telling"

        debater = Debater()
        judge = Judge()

        def graph(self, answers):
            def watch(transcript):
                seen.extend(turn.reasoning for turn in transcript)
                return False

            return repeat(self.debater.argues(), 2, until=watch) >> self.judge.decides()

    class Thinking(ScriptedAgent):
        async def speak(self, request):
            return Speech("in public", reasoning="in private")

    agent = Thinking("t", ["x"], {"A": 0.5, "B": 0.5})
    run = oversight.run(Telling(), helpers.Plain(), debater=agent, judge=agent, swap=False, log_dir=tmp_path / "r")
    assert [turn["reasoning"] for record in run.episodes() for turn in record["turns"][:2]] == ["in private"] * 2
    assert seen == [""]


@pytest.mark.parametrize(("protocol", "prefers"), [("preference(assisted=false)", True), ("debate(rounds=1)", False)])
def test_who_judges_is_told_whether_it_prefers_or_says_what_is_correct(tmp_path, protocol, prefers):
    """It is asked of people in these words; what other agents are asked, and where that is found again, stays."""
    asked = []

    class Anybody(Agent):
        def describe(self):
            return {"agent": self.name}

        async def speak(self, request):
            return Speech("This one.")

        async def choose(self, request):
            asked.append(request)
            return Choice(dict.fromkeys((answer.label for answer in request.view.answers), 0.5), "script")

    protocol = oversight.find_protocol(protocol)
    cast = {role: Anybody(role) for role in protocol.roles()}
    oversight.run(protocol, "arithmetic", limit=1, swap=False, log_dir=tmp_path / "run", **cast)
    assert [request.prefers for request in asked] == [prefers]
    assert replace(asked[0], prefers=not prefers).key == asked[0].key
