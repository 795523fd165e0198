"""A small corpus in the form of the NYU human debates: one debate, one consultancy, one never finished."""

import copy
import json

STORY = ["The", "captain", "had", "n't", "left", ".", "``", "Go", "on", ",", "''", "he", "said", "."]
PASSAGE = 'The captain hadn\'t left. "Go on," he said.'
JUDGE, FIRST, SECOND = "Nosy Nightingale", "Crafty Crow", "Dashing Duck"


def text(words):
    return {"Text": {"text": words}}


def quote(start, end):
    return {"Quote": {"span": [start, end]}}


def speech(speaker, *content):
    return {"speaker": speaker, "timestamp": 1_690_000_000_000, "content": list(content)}


def feedback(first, words, end=False, speaker=JUDGE):
    return {
        "JudgeFeedback": {
            "distribution": [first, round(1 - first, 6)],
            "feedback": speech(speaker, *([text(words)] if words else [])),
            "endDebate": end,
        }
    }


def setup(roles, answers=("He left.", "He stayed."), correct=1):
    return {
        "rules": {},
        "sourceMaterial": {"QuALITYSourceMaterial": {"articleId": "777", "title": "The Captain", "contents": STORY}},
        "question": "What did the captain do?",
        "answers": list(answers),
        "correctAnswerIndex": correct,
        "roles": roles,
        "offlineJudges": {},
        "creationTime": 1_690_000_000_000,
    }


DEBATE = {
    "setup": setup({"Judge": JUDGE, "Debater A": FIRST, "Debater B": SECOND}),
    "rounds": [
        feedback(0.4321, "prior leaning"),
        {
            "SimultaneousSpeeches": {
                "speeches": {
                    "0": speech(FIRST, text("He went: "), quote(1, 2), text(" is gone.")),
                    "1": speech(SECOND, text("See"), quote(0, 6), quote(7, 9), text("so he stayed.")),
                }
            }
        },
        feedback(0.2468, "A, why? I lean to B"),
        {
            "SequentialSpeeches": {
                "speeches": {"0": speech(FIRST, text("Because.")), "1": speech(SECOND, text("No."), quote(11, 14))}
            }
        },
        feedback(0.1357, "final reasons", end=True),
    ],
    "feedback": {},
    "scratchpads": {},
}
CONSULTANCY = {
    "setup": setup({"Judge": JUDGE, "Debater B": "GPT-4"}, answers=("He stayed.", "He left."), correct=0),
    "rounds": [
        feedback(0.5, ""),
        {"SequentialSpeeches": {"speeches": {"1": speech("GPT-4", text("He left, "), quote(11, 13))}}},
        feedback(0.5, "cannot tell", end=True),
    ],
    "feedback": {},
    "scratchpads": {},
}
UNFINISHED = {
    "setup": setup({"Judge": JUDGE, "Debater A": FIRST, "Debater B": SECOND}),
    "rounds": [feedback(0.5, "")],
    "feedback": {},
    "scratchpads": {},
}


def write(folder, *, debate=None):
    """The corpus in a folder, with another debate in the place of the first."""
    pub = folder / "pub"
    (pub / "debates" / "official").mkdir(parents=True)
    files = {"captain-0": debate or DEBATE, "captain-1": CONSULTANCY, "captain-2": UNFINISHED}
    lines = []
    for name, human, paper in (("captain-0", True, True), ("captain-1", False, True), ("captain-2", True, False)):
        setting = {"isHuman": human, "isDebate": human}
        lines.append({"name": name, "setting": setting, "includedInPaper": paper})
    (pub / "debates-metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, content in files.items():
        (pub / "debates" / "official" / f"{name}.json").write_text(json.dumps(content))
    return pub


def changed(change):
    """The debate after ``change`` was done to a copy of it."""
    made = copy.deepcopy(DEBATE)
    change(made)
    return made
