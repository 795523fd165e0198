"""Questions with answers to choose from, out of files and datasets in the field's layouts, and recorded solutions."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from oversight.agents import Agent
from oversight.distractors import filled_options, shared_options, usual_shape
from oversight.errors import ConfigurationError, DataError, MissingExtra, TurnFailed, UnknownName
from oversight.identity import digest, seed_from
from oversight.questions import Arena, Question
from oversight.reading import Collection, is_whole, json_lines, read_text, spread
from oversight.requests import Choice, Choose, Speak, Speech
from oversight.views import View

__all__ = ["MultipleChoice", "RecordedSolver"]

LayoutName = Literal["mmlu", "gpqa", "truthfulqa", "boolq", "arc", "gsm8k", "recorded", "big_bench_hard"]
Reading = Literal["index", "number", "letter", "text"]


class MultipleChoice(Arena):
    """Multiple choice from a file, a folder or a Hugging Face dataset.

    Sees: question and answers are for everyone; a passage, and the columns named as material, are hidden material.
    Data: JSON lines, JSON (a list, or an object with ``examples``), CSV or TSV in the layout of MMLU (Hendrycks et al.
    2021), GPQA (Rein et al. 2023), TruthfulQA with one right answer (Lin et al. 2022), BoolQ (Clark et al. 2019), ARC
    (Clark et al. 2018), GSM8K (Cobbe et al. 2021), its recorded solutions, or BIG-Bench Hard (Suzgun et al. 2022);
    others by naming their columns.  None is shipped.  The layout is told by the columns where that is unambiguous.
    Answers to GSM8K are the right number and right ones of other questions; with recorded solutions, the right number
    and the wrong ones that were reached, filled up to one number for all questions (see :mod:`oversight.distractors`).
    Questions share the source of their subject, task or passage, where there is more than one of these; else each is
    a source of its own.  ``recorded/NAME`` says the solution that NAME reached, and answers by it.
    """

    name = "multiple_choice"
    agents_help = "recorded/NAME  says the solution that NAME recorded, and answers by it"

    data: str | None = Field(default=None, description="file or folder of .jsonl, .json, .csv or .tsv")
    dataset: str | None = Field(
        default=None, description="id of a Hugging Face dataset, or a folder of one (extra: datasets), instead of data"
    )
    subset: str | None = Field(default=None, description="of a dataset: its configuration")
    split: str | None = Field(
        default=None, description="of a dataset: its split; else test, validation or train, the first there is"
    )
    mapping: LayoutName | None = Field(default=None, description="layout of the data; told by its columns if not given")
    question_column: str | None = Field(default=None, description="own layout: column of the question")
    options_column: str | None = Field(
        default=None, description="own layout: column with the list of answers, or columns of one each, with commas"
    )
    correct_column: str | None = Field(default=None, description="own layout: column of the correct answer")
    wrong_column: str | None = Field(
        default=None, description="own layout: columns of wrong answers or lists of them, instead of options_column"
    )
    correct_as: Reading | None = Field(
        default=None, description="how the correct answer is given: index from 0, number from 1, letter or text"
    )
    material_column: str | None = Field(
        default=None, description="columns that only those who see hidden material see, with commas"
    )
    source_column: str | None = Field(default=None, description="column that questions are clustered by")
    identifier_column: str | None = Field(default=None, description="column that identifies a question")
    choices: int | None = Field(
        default=None, ge=2, description="answers of a question whose wrong ones are made: 4, or all recorded and one"
    )
    shapes: Literal["alike", "all"] = Field(
        default="all", description="recorded wrong numbers: all, or those like right ones (whole, not negative) alone"
    )

    def questions(self, limit: int | None, seed: int) -> Sequence[Question]:
        """The first ``limit`` questions (all, where None), one of each source before the second of any.

        Raises
        ------
        DataError
            if the data is missing, malformed, in no known layout, or holds no usable question.
        ConfigurationError
            if options contradict each other or do not apply to the data.
        """
        return spread(self.collection.questions, seed)[:limit]

    def verifies_quotes(self) -> bool:
        return self.collection.has_material

    def rules(self) -> str:
        if not self.verifies_quotes():
            return ""
        return "Some participants can read material on the question that others cannot, and may quote it."

    def speech_rules(self) -> str:
        if not self.verifies_quotes():
            return ""
        return (
            "Put words that you quote from the material between <quote> and </quote>. Each quotation is compared with "
            "it word for word, and the judge is shown whether it was found there."
        )

    def agent(self, name: str) -> Agent | None:
        family, _, recorder = name.partition("/")
        if family != "recorded":
            return None
        recorded = self.collection.recorded
        if not recorded:
            place = self.data or self.dataset
            raise ConfigurationError(f"agent {name!r}: {place} holds no recorded solutions; give a file that does")
        if recorder not in recorded:
            raise UnknownName("agent", name, [f"recorded/{known}" for known in recorded])
        return RecordedSolver(name, recorded[recorder])

    @property
    def skipped(self) -> tuple[str, ...]:
        """What the data holds and cannot be used, each with the reason."""
        return self.collection.skipped

    @cached_property
    def collection(self) -> "RecordedCollection":
        """What the data holds, read once."""
        columns = self._own_columns()
        if (self.data is None) == (self.dataset is None):
            raise ConfigurationError(
                "multiple_choice: give data=FILE_OR_FOLDER, or dataset=ID of a Hugging Face dataset"
            )
        if self.dataset is not None:
            rows = _dataset_rows(self.dataset, self.subset, self.split)
            place: Path | str = self.dataset
        else:
            if self.subset is not None or self.split is not None:
                raise ConfigurationError("multiple_choice: subset and split are those of a dataset=ID; leave them out")
            place = Path(self.data or "").expanduser()
            rows = _rows(place)
        return _collect(rows, place, self, columns)

    def _own_columns(self) -> "Columns | None":
        """The columns of the user's own layout; None where a ready mapping is to be used."""
        given = {
            name: getattr(self, name)
            for name in ("question_column", "options_column", "correct_column", "wrong_column", "correct_as")
            if getattr(self, name) is not None
        }
        if not given:
            return None
        if self.mapping is not None:
            raise ConfigurationError(
                f"{next(iter(given))}: mapping={self.mapping} names its own; leave out one of them"
            )
        needs = "an own layout needs question_column, correct_column and one of options_column and wrong_column"
        if self.question_column is None or self.correct_column is None:
            raise ConfigurationError(f"multiple_choice: {needs}")
        if (self.options_column is None) == (self.wrong_column is None):
            raise ConfigurationError(f"multiple_choice: {needs}")
        if self.wrong_column is not None and self.correct_as not in (None, "text"):
            raise ConfigurationError(
                f"correct_as={self.correct_as}: beside wrong_column the correct answer is a text; leave it out"
            )
        return Columns(
            self.question_column,
            _names(self.options_column),
            self.correct_column,
            _names(self.wrong_column),
            self.correct_as,
        )


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


# ---- what was read ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Solution:
    """A recorded solution.

    Parameters
    ----------
    text : what is said.
    answer : text of the answer that it reaches; None where it reaches none that can be read.
    reason : why there is no answer.
    correct : whether the file calls it correct.
    """

    text: str
    answer: str | None
    reason: str
    correct: bool


@dataclass(frozen=True)
class RecordedCollection(Collection):
    """Questions as read, and recorded solutions.

    Parameters
    ----------
    recorded : for each who recorded solutions, the solution of each question by the question's text.
    """

    recorded: Mapping[str, Mapping[str, Solution]] = field(default_factory=dict)

    @cached_property
    def has_material(self) -> bool:
        """Whether any question has hidden material."""
        return any(question.hidden for question in self.questions)


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a layout of the user's own."""

    question: str
    options: tuple[str, ...]
    correct: str
    wrong: tuple[str, ...]
    correct_as: Reading | None


class _Skip(Exception):
    """The row is no usable question, for the reason that is its text."""


@dataclass(frozen=True)
class Row:
    """One row of the data.

    Parameters
    ----------
    values : column to value.
    path : file or dataset it stands in.
    number : its line, where the file has one a line or row; else its place among the entries, from 1.
    is_line : whether ``number`` is that of a line.
    task : name of the file, or of the dataset's subset.
    """

    values: Mapping[str, Any]
    path: Path | str
    number: int
    is_line: bool
    task: str

    @property
    def place(self) -> str:
        """Where the row stands, for a list of what was left out."""
        return f"{Path(self.path).name}, {'line' if self.is_line else 'entry'} {self.number}"

    def error(self, message: str) -> DataError:
        """An error that says where."""
        if self.is_line:
            return DataError(self.path, message, self.number)
        return DataError(self.path, f"entry {self.number}: {message}")

    def value(self, column: str) -> Any:
        """The value of a column, None where it is empty."""
        if column not in self.values:
            raise self.error(f"column {column} is missing; columns found: {', '.join(self.values)}")
        value = self.values[column]
        return None if isinstance(value, str) and not value.strip() else value

    def text(self, column: str) -> str:
        """A column that must be text."""
        value = self.value(column)
        if value is None:
            raise _Skip(f"{column} is empty")
        if not isinstance(value, str):
            raise self.error(f"column {column} is not text")
        return value.strip()

    def answer(self, value: Any, column: str) -> str:
        """An answer as text."""
        if value is None or (isinstance(value, str) and not value.strip()):
            raise _Skip(f"an answer in {column} is empty")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(f"column {column} holds an answer that is neither text nor a number")
        return str(value).strip()

    def structure(self, column: str) -> Any:
        """A list or an object, or the JSON of one in a cell."""
        value = self.value(column)
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                raise self.error(f"column {column} holds neither a list nor the JSON of one") from None
        return value

    def answers(self, column: str) -> list[str]:
        """A column that must be a list of answers."""
        value = self.structure(column)
        if value is None:
            raise _Skip(f"{column} is empty")
        if not isinstance(value, list):
            raise self.error(f"column {column} is not a list of answers")
        return [self.answer(one, column) for one in value]


@dataclass(frozen=True)
class Draft:
    """A question as its row gives it.

    Parameters
    ----------
    text : the question.
    answers : its answers; empty where the wrong ones are still to be made.
    correct : index of the correct one.
    source : what it is clustered by, beside others; None for the question itself.
    identifier : what the data calls it; None for the digest of its content.
    hidden : hidden material by name.
    drawn : whether the order of the answers tells which is correct, and has to be drawn.
    number : the right number, where the wrong ones are still to be made.
    solutions : recorded solutions, by who recorded them.
    """

    text: str
    answers: tuple[str, ...]
    correct: int
    source: str | None = None
    identifier: str | None = None
    hidden: Mapping[str, str] = field(default_factory=dict)
    drawn: bool = False
    number: Decimal | None = None
    solutions: Mapping[str, Solution] = field(default_factory=dict)


# ---- layouts ------------------------------------------------------------------------------------------------

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MADE_HEADER = ("question", "A", "B", "C", "D", "answer")


def _mmlu(row: Row) -> Draft:
    text = row.text("question" if "question" in row.values else "input")
    if "choices" in row.values:
        answers, column = row.answers("choices"), "answer"
    else:
        answers = [row.answer(row.value(letter), letter) for letter in "ABCD"]
        column = "answer" if "answer" in row.values else "target"
    given = row.value(column)
    if isinstance(given, str) and given.strip().isdecimal():
        given = int(given)  # a cell of a CSV
    reading: Reading = "index" if is_whole(given) else "letter"
    subject = row.text("subject") if "subject" in row.values else re.sub(r"_(test|dev|val)$", "", row.task)
    return Draft(text, tuple(answers), _place(row, given, answers, column, reading), subject)


def _gpqa(row: Row) -> Draft:
    wrong = [name for name in row.values if re.fullmatch(r"Incorrect Answer \d+", name)]
    answers = [row.answer(row.value(name), name) for name in ("Correct Answer", *wrong)]
    return Draft(
        row.text("Question"),
        tuple(answers),
        0,
        source=_optional(row, "Subdomain"),
        identifier=_optional(row, "Record ID"),
        drawn=True,
    )


def _truthfulqa(row: Row) -> Draft:
    if "mc1_targets" not in row.values:  # the authors' TruthfulQA.csv, of which mc1_targets are made
        column = "Incorrect Answers"
        wrong = [one for one in row.text(column).split(";") if one.strip()]
        answers = [row.answer(one, column) for one in (row.text("Best Answer"), *wrong)]
        return Draft(row.text("Question"), tuple(answers), 0, source=_optional(row, "Category"), drawn=True)
    targets = row.structure("mc1_targets")
    if isinstance(targets, dict) and isinstance(targets.get("choices"), list):
        answers = [row.answer(one, "mc1_targets") for one in targets["choices"]]
        labels = targets.get("labels")
    elif isinstance(targets, dict) and targets:
        answers, labels = [row.answer(one, "mc1_targets") for one in targets], list(targets.values())
    else:
        raise row.error("column mc1_targets is neither choices with labels nor answers with 0 or 1")
    if not isinstance(labels, list) or len(labels) != len(answers):
        raise row.error("column mc1_targets does not have one label for each of its choices")
    if sorted(map(str, labels)) != ["0"] * (len(labels) - 1) + ["1"]:
        raise _Skip("mc1_targets does not mark exactly one answer as correct")
    return Draft(row.text("question"), tuple(answers), labels.index(1), source=_optional(row, "category"), drawn=True)


TRUTH = {"true": 0, "yes": 0, "1": 0, "false": 1, "no": 1, "0": 1}


def _boolq(row: Row) -> Draft:
    column = "answer" if "answer" in row.values else "label"
    given = row.value(column)
    if given is None or given == -1:
        raise _Skip("no correct answer is given")
    correct = TRUTH.get(str(given).strip().lower())
    if correct is None:
        raise row.error(f"column {column} is {given!r}, expected true or false")
    passage = row.text("passage")
    return Draft(row.text("question"), ("Yes", "No"), correct, digest(passage, 12), hidden={"passage": passage})


def _arc(row: Row) -> Draft:
    question, choices = row.structure("question"), None
    if isinstance(question, dict):  # the authors' files; the dataset has it flat
        text, choices = question.get("stem"), question.get("choices")
        if not isinstance(text, str) or not text.strip():
            raise row.error("column question has no text in stem")
    else:
        text, choices = row.text("question"), row.structure("choices")
    if isinstance(choices, list) and all(isinstance(one, dict) for one in choices):
        choices = {part: [one.get(part) for one in choices] for part in ("text", "label")}
    if not isinstance(choices, dict) or not all(isinstance(choices.get(part), list) for part in ("text", "label")):
        raise row.error("column choices does not hold text and label")
    answers = [row.answer(one, "choices") for one in choices["text"]]
    key = row.value("answerKey")
    if key is None:
        raise _Skip("no correct answer is given")
    labels = [str(label) for label in choices["label"]]
    if len(labels) != len(answers):
        raise row.error("column choices does not have one label for each text")
    if labels.count(str(key)) != 1:
        raise _Skip(f"the correct answer {key!r} is not among the labels {', '.join(labels)}")
    return Draft(text.strip(), tuple(answers), labels.index(str(key)), identifier=_optional(row, "id"))


NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")


def _number(text: str) -> Decimal | None:
    """A plain number, thousands apart by commas or not; None for anything else."""
    return Decimal(text.replace(",", "")) if NUMBER.fullmatch(text.strip()) else None


def _written(number: Decimal) -> str:
    """The one way in which a number is written here: what model wrote it must not show."""
    return format(number.normalize(), "f") if number else "0"


def _gsm8k(row: Row) -> Draft:
    _, marker, final = row.text("answer").rpartition("####")
    number = _number(final) if marker else None
    if number is None:
        raise _Skip("its answer does not end in #### and a number")
    return Draft(row.text("question"), (), 0, number=number)


FINAL = re.compile(r"(?:\A|\n)A: *([^\n]*)\Z")


def _recorded(row: Row) -> Draft:
    final = FINAL.search(row.text("ground_truth"))
    number = _number(final[1]) if final else None
    if number is None:
        raise _Skip("ground_truth does not end in A: and a number")
    solutions = {}
    for recorder in _recorders(row.values):
        entry = row.values[recorder]
        if not isinstance(entry["solution"], str) or not isinstance(entry["is_correct"], bool):
            raise row.error(f"column {recorder} does not hold solution as text and is_correct as true or false")
        solution = _solution(entry["solution"].strip(), entry["is_correct"])
        if solution.correct != (solution.answer == _written(number)):
            raise _Skip(f"{recorder} reaches {solution.answer}, which is_correct contradicts")
        solutions[recorder] = solution
    return Draft(row.text("question"), (), 0, number=number, solutions=solutions)


def _recorders(values: Mapping[str, Any]) -> list[str]:
    return [
        name for name, value in values.items() if isinstance(value, dict) and {"solution", "is_correct"} <= {*value}
    ]


def _solution(text: str, correct: bool) -> Solution:
    """A solution as it is said: without the calculator's annotations, its last line not to be taken for a label."""
    final = FINAL.search(text)
    said = re.sub(r"<<[^<>\n]*>>", "", text)
    if final is None:
        return Solution(said or "I have no solution.", None, "its solution breaks off before an answer", correct)
    said = f"{said[: FINAL.search(said).start()]}\nAnswer: {final[1].strip()}".strip()  # type: ignore[union-attr]
    number = _number(final[1])
    if number is None:
        return Solution(said, None, f"its answer {final[1].strip()!r} is no plain number", correct)
    return Solution(said, _written(number), "", correct)


OPTIONS = "\nOptions:\n"
OPTION = re.compile(r"\(([A-Z])\) +(.*)|- +(.*)")
PAIRS = (("True", "False"), ("Yes", "No"), ("yes", "no"), ("valid", "invalid"))


def _big_bench_hard(row: Row) -> Draft:
    text, target = row.text("input"), row.text("target")
    question, marker, listed = text.rpartition(OPTIONS)
    if not marker:
        pair = next((pair for pair in PAIRS if target in pair), None)
        if pair is None:
            raise _Skip(f"free-form: no options in its text, and {target!r} is not yes or no")
        return Draft(text, pair, pair.index(target), row.task)
    found = [OPTION.fullmatch(line.strip()) for line in listed.split("\n")]
    if not all(found):
        raise _Skip("its options are not one a line, as (A) or -")
    letters = [option[1] for option in found if option]
    answers = tuple((option[2] if option[1] else option[3]).strip() for option in found if option)
    given = re.fullmatch(r"\(([A-Z])\)", target)
    if given:
        if letters.count(given[1]) != 1:
            raise _Skip(f"the correct answer {target!r} is not among its options")
        correct = letters.index(given[1])
    else:
        correct = _place(row, target, answers, "target", "text")
    return Draft(question.strip(), answers, correct, row.task)


def _optional(row: Row, column: str) -> str | None:
    value = row.values.get(column)
    return str(value).strip() if value is not None and str(value).strip() else None


def _place(row: Row, given: Any, answers: Sequence[str], column: str, reading: Reading | None) -> int:
    """The index of the correct answer; nothing that can be read in two ways is guessed."""
    if given is None:
        raise _Skip(f"no correct answer is given in {column}")
    if isinstance(given, bool) or not isinstance(given, str | int | float):
        raise row.error(f"column {column} is {given!r}, expected an index, a letter or a text")
    text = str(given).strip()
    whole = int(text) if re.fullmatch(r"\d+", text) else None
    places: dict[Reading, int | None] = {
        "index": whole if whole is not None and whole < len(answers) else None,
        "number": whole - 1 if whole is not None and 1 <= whole <= len(answers) else None,
        "letter": LETTERS.index(text) if len(text) == 1 and text in LETTERS[: len(answers)] else None,
        "text": answers.index(text) if answers.count(text) == 1 else None,
    }
    if reading is not None:
        place = places[reading]
    else:
        found = {name: place for name, place in places.items() if place is not None}
        if len(found) > 1:
            raise row.error(f"column {column} is {text!r}, which can be {' or '.join(found)}: give correct_as=")
        place = next(iter(found.values()), None)
    if place is None:
        if text in answers:
            raise _Skip("two of its answers are the same")
        raise _Skip(f"the correct answer {text!r} is not among its answers")
    return place


def _own(row: Row, columns: Columns) -> Draft:
    text = row.text(columns.question)
    if columns.wrong:
        wrong = [
            answer
            for name in columns.wrong
            for answer in (
                row.answers(name) if isinstance(row.structure(name), list) else [row.answer(row.value(name), name)]
            )
        ]
        given = row.value(columns.correct)
        if given is None:
            raise _Skip(f"no correct answer is given in {columns.correct}")
        return Draft(text, (row.answer(given, columns.correct), *wrong), 0, drawn=True)
    if len(columns.options) == 1:
        answers = row.answers(columns.options[0])
    else:
        answers = [row.answer(row.value(name), name) for name in columns.options]
    return Draft(
        text,
        tuple(answers),
        _place(row, row.value(columns.correct), answers, columns.correct, columns.correct_as),
    )


@dataclass(frozen=True)
class Layout:
    """A ready mapping: what its columns are called, how to tell them, how to read a row."""

    expects: str
    matches: Callable[[Mapping[str, Any]], bool]
    read: Callable[[Row], Draft]


def _has(*names: str) -> Callable[[Mapping[str, Any]], bool]:
    return lambda values: {*names} <= {*values}


def _is_mmlu(values: Mapping[str, Any]) -> bool:
    given = {*values}
    flat = {*"ABCD"} <= given and ({"question", "answer"} <= given or {"input", "target"} <= given)
    return {"question", "choices", "answer"} <= given or flat


def _is_arc(values: Mapping[str, Any]) -> bool:
    return {"question", "answerKey"} <= {*values} and ("choices" in values or isinstance(values["question"], dict))


def _is_boolq(values: Mapping[str, Any]) -> bool:
    return {"question", "passage"} <= {*values} and ("answer" in values or "label" in values)


def _is_gsm8k(values: Mapping[str, Any]) -> bool:
    return {"question", "answer"} <= {*values} and not {"choices", "passage", "A", "options"} & {*values}


def _is_truthfulqa(values: Mapping[str, Any]) -> bool:
    return {"question", "mc1_targets"} <= {*values} or {"Question", "Best Answer", "Incorrect Answers"} <= {*values}


def _is_recorded(values: Mapping[str, Any]) -> bool:
    return {"question", "ground_truth"} <= {*values} and bool(_recorders(values))


def _is_big_bench(values: Mapping[str, Any]) -> bool:
    return {"input", "target"} <= {*values} and not {*"ABCD"} <= {*values}


LAYOUTS: dict[str, Layout] = {
    "mmlu": Layout("question, choices, answer, or question, A, B, C, D, answer", _is_mmlu, _mmlu),
    "gpqa": Layout(
        "Question, Correct Answer, Incorrect Answer 1",
        _has("Question", "Correct Answer", "Incorrect Answer 1"),
        _gpqa,
    ),
    "truthfulqa": Layout(
        "question, mc1_targets, or Question, Best Answer, Incorrect Answers", _is_truthfulqa, _truthfulqa
    ),
    "boolq": Layout("question, passage, answer", _is_boolq, _boolq),
    "arc": Layout("question, choices, answerKey", _is_arc, _arc),
    "gsm8k": Layout("question, answer", _is_gsm8k, _gsm8k),
    "recorded": Layout("question, ground_truth, and columns with solution and is_correct", _is_recorded, _recorded),
    "big_bench_hard": Layout("input, target", _is_big_bench, _big_bench_hard),
}


def _layout(row: Row, wanted: str | None) -> str:
    """The layout of a file's first row."""
    found = ", ".join(row.values) or "none"
    if wanted is not None:
        if not LAYOUTS[wanted].matches(row.values):
            raise row.error(f"columns found: {found}; mapping={wanted} expects {LAYOUTS[wanted].expects}")
        return wanted
    fitting = [name for name, layout in LAYOUTS.items() if layout.matches(row.values)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise row.error(f"columns found: {found}; they fit {' and '.join(fitting)}: give mapping=")
    known = "; ".join(f"{name}: {layout.expects}" for name, layout in LAYOUTS.items())
    raise row.error(
        f"columns found: {found}; expected those of a known layout ({known}), or name them: question_column=, "
        "correct_column=, and options_column= or wrong_column="
    )


# ---- rows ---------------------------------------------------------------------------------------------------

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")


def _rows(path: Path) -> list[Row]:
    """The rows of a file, or of every file of a folder, in the order of their names."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise DataError(path, f"the folder has no file that ends in {', '.join(SUFFIXES)}")
    elif path.is_file():
        files = [path]
    else:
        raise DataError(path, "no such file or folder; a dataset of the Hugging Face hub is given as dataset=ID")
    return [row for file in files for row in _file_rows(file)]


def _file_rows(path: Path) -> Iterator[Row]:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        yield from _table_rows(path, "\t" if suffix == ".tsv" else ",")
        return
    entries = None if suffix == ".jsonl" else _whole(path)
    if entries is None:
        for line, values in json_lines(path):
            yield Row(values, path, line, True, path.stem)
        return
    for number, values in enumerate(entries, start=1):
        row = Row({}, path, number, False, path.stem)
        if not isinstance(values, dict):
            raise row.error("not an object")
        yield replace(row, values=values)


def _whole(path: Path) -> list[Any] | None:
    """The entries of a file that is one JSON value; None where it is not, and may hold one a line."""
    text = read_text(path)
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise DataError(path, "not usable JSON: nested too deeply") from error
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            return None
        raise DataError(path, f"not JSON: {error.msg} at column {error.colno}", error.lineno) from error
    if isinstance(value, dict):
        lists = [value[name] for name in ("examples", "data", "rows", "questions") if isinstance(value.get(name), list)]
        return lists[0] if len(lists) == 1 else [value]
    if not isinstance(value, list):
        raise DataError(path, "neither a list of entries nor an object with one in examples")
    return value


def _table_rows(path: Path, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), delimiter=delimiter)
    header: Sequence[str] | None = None
    before = 0
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                if len(cells) == len(MADE_HEADER) and cells[-1].strip() in {*"ABCD"}:
                    header = MADE_HEADER  # the authors' files of MMLU, which have none
                else:
                    header = [cell.strip() for cell in cells]
                    if len(set(header)) < len(header):
                        raise DataError(path, "two columns have the same name", line)
                    continue
            if len(cells) != len(header):
                raise DataError(path, f"{len(cells)} cells under {len(header)} columns", line)
            yield Row(dict(zip(header, cells, strict=True)), path, line, True, path.stem)
    except csv.Error as error:
        raise DataError(path, f"not readable as a table: {error}", before + 1) from error


def _dataset_rows(name: str, subset: str | None, split: str | None) -> list[Row]:
    try:
        import datasets
    except ImportError:
        raise MissingExtra("a dataset of the Hugging Face hub", "datasets") from None
    try:
        loaded = datasets.load_dataset(name, subset, split=split)
    except Exception as error:  # connection, gate, id, subset and split fail in many classes of several packages
        said = " ".join(str(error).split())
        raise DataError(
            name,
            f"cannot be loaded: {type(error).__name__}: {said[:300]}; check id, subset, split and connection, or "
            "download the file and give data=FILE",
        ) from error
    if isinstance(loaded, dict):
        chosen = next((one for one in ("test", "validation", "train") if one in loaded), None)
        if chosen is None and len(loaded) == 1:
            chosen = next(iter(loaded))
        if chosen is None:
            raise DataError(name, f"give split=, one of {', '.join(loaded)}")
        loaded = loaded[chosen]
    task = subset or Path(name).name
    return [Row(dict(values), name, number, False, task) for number, values in enumerate(loaded, start=1)]


# ---- from rows to questions ---------------------------------------------------------------------------------


def _collect(
    rows: Sequence[Row], place: Path | str, arena: MultipleChoice, columns: Columns | None
) -> RecordedCollection:
    skipped: list[str] = []
    drafts: list[tuple[Row, Draft]] = []
    layouts: dict[str, str] = {}
    layout = "own"
    for row in rows:
        if columns is None:
            if str(row.path) not in layouts:
                layouts[str(row.path)] = layout = _layout(row, arena.mapping)
                if len({*layouts.values()}) > 1:
                    one, other = (f"{Path(path).name} ({kind})" for path, kind in [*layouts.items()][-2:])
                    raise DataError(place, f"files in two layouts, {one} and {other}: give one of them")
            if not LAYOUTS[layout].matches(row.values):
                raise row.error(
                    f"columns found: {', '.join(row.values) or 'none'}; {layout} expects {LAYOUTS[layout].expects}"
                )
        try:
            draft = LAYOUTS[layout].read(row) if columns is None else _own(row, columns)
            drafts.append((row, _with_columns(row, draft, arena)))
        except _Skip as reason:
            skipped.append(f"{row.place}: {reason}")
    if columns is not None and columns.correct_as is None and not columns.wrong:
        _require_a_zero(drafts, columns.correct, place)
    if layout in ("gsm8k", "recorded"):
        drafts = _with_numbers(drafts, layout, arena, place, skipped)
    elif arena.choices is not None:
        raise ConfigurationError(
            f"choices={arena.choices}: wrong answers are given in layout {layout}; --answers keeps some"
        )
    questions = _questions(drafts, layout, skipped)
    if not questions:
        why = f"{len(skipped)} left out, the first {skipped[0]}" if skipped else "the data holds none"
        raise DataError(place, f"no usable question: {why}")
    recorders = dict.fromkeys(name for _, draft in drafts for name in draft.solutions)
    asked = {question.text for question in questions}
    recorded = {
        name: {d.text: d.solutions[name] for _, d in drafts if name in d.solutions and d.text in asked}
        for name in recorders
    }
    return RecordedCollection(tuple(questions), tuple(skipped), recorded)


def _with_columns(row: Row, draft: Draft, arena: MultipleChoice) -> Draft:
    """The draft with what the options for every layout name."""
    hidden = {name: row.text(name) for name in _names(arena.material_column)}
    draft = replace(draft, hidden={**draft.hidden, **hidden})
    for column in (arena.source_column, arena.identifier_column):
        if column is not None and row.value(column) is None:
            raise _Skip(f"{column} is empty")
    if arena.source_column is not None:
        draft = replace(draft, source=str(row.value(arena.source_column)).strip())
    if arena.identifier_column is not None:
        draft = replace(draft, identifier=str(row.value(arena.identifier_column)).strip())
    return draft


def _require_a_zero(drafts: Iterable[tuple[Row, Draft]], column: str, place: Path | str) -> None:
    """Refuse whole numbers that may as well count from 1."""
    given = [row.values[column] for row, _ in drafts]
    wholes = [str(one).strip() for one in given if is_whole(one) or (isinstance(one, str) and one.strip().isdecimal())]
    if wholes and "0" not in wholes:
        raise DataError(place, f"column {column} counts from 0 or from 1: give correct_as=index, number or text")


def _with_numbers(
    drafts: list[tuple[Row, Draft]], layout: str, arena: MultipleChoice, place: Path | str, skipped: list[str]
) -> list[tuple[Row, Draft]]:
    """The drafts with wrong numbers beside the right one, in ascending order."""
    first: dict[str, Decimal | None] = {}
    kept: list[tuple[Row, Draft]] = []
    for row, draft in drafts:
        if draft.text in first:
            skipped.append(f"{row.place}: the question stands in the data before")
            continue
        first[draft.text] = draft.number
        kept.append((row, draft))
    numbers = [draft.number for _, draft in kept if draft.number is not None]
    if not numbers:
        return []
    if layout == "gsm8k":
        count = arena.choices or 4
        if len({*numbers}) < count:
            raise DataError(
                place,
                f"{len({*numbers})} different right numbers, too few for {count} choices",
            )
        options = shared_options(numbers, count)
    else:
        usual = usual_shape(numbers)
        wrong = [
            sorted(
                {
                    number
                    for solution in draft.solutions.values()
                    if solution.answer is not None
                    and (number := Decimal(solution.answer)) != draft.number
                    and (arena.shapes == "all" or usual(number))
                }
            )
            for _, draft in kept
        ]
        options = filled_options(numbers, wrong, arena.choices or 1 + max(len(draft.solutions) for _, draft in kept))
    made = []
    for (row, draft), number, chosen in zip(kept, numbers, options, strict=True):
        answers = tuple(_written(one) for one in chosen)
        made.append((row, replace(draft, answers=answers, correct=chosen.index(number))))
    return made


def _questions(drafts: Sequence[tuple[Row, Draft]], layout: str, skipped: list[str]) -> list[Question]:
    """Every question once; those that contradict another are left out."""
    questions: dict[str, Question] = {}
    sources: dict[str, str | None] = {}
    contradicted = set()
    for row, draft in drafts:
        if len(draft.answers) < 2:
            skipped.append(f"{row.place}: fewer than two answers")
            continue
        if len({*draft.answers}) < len(draft.answers):
            skipped.append(f"{row.place}: two of its answers are the same")
            continue
        content = [draft.text, sorted(draft.answers), dict(draft.hidden), draft.source]
        unique = draft.identifier or digest(content, 12)
        name = "/".join(part for part in (layout, draft.source, unique) if part)
        answers, right = draft.answers, draft.answers[draft.correct]
        if draft.drawn:
            answers = tuple(sorted(answers, key=lambda answer: seed_from("order", content[:2], answer)))
        question = Question(name, draft.text, answers, answers.index(right), draft.source or name, dict(draft.hidden))
        other = questions.setdefault(name, question)
        sources[name] = draft.source
        if other == question:
            continue
        if draft.identifier is not None:
            raise row.error(f"identifier {draft.identifier!r} is that of another question")
        contradicted.add(name)
        skipped.append(f"{row.place}: its correct answer is not that of the same question before")
    kept = [question for name, question in questions.items() if name not in contradicted]
    if len({question.source for question in kept}) == 1:  # one cluster says nothing about others
        kept = [replace(question, source=question.id) for question in kept]
    return kept


# ---- recorded solutions -------------------------------------------------------------------------------------


class RecordedSolver(Agent):
    """An agent that says a recorded solution, and holds the answer that it reached.

    It argues for that answer only: asked to defend another, it fails with the reason.  Its first speech is the
    solution; it has nothing to add in later ones.

    Parameters
    ----------
    name : the agent's name.
    solutions : its solution of each question, by the question's text.
    """

    def __init__(self, name: str, solutions: Mapping[str, Solution]) -> None:
        super().__init__(name)
        self.solutions = solutions
        self.content = digest([[question, said.text, said.answer] for question, said in solutions.items()])

    def describe(self) -> dict[str, Any]:
        return {"agent": self.name, "solutions": self.content}

    async def speak(self, request: Speak) -> Speech:
        view = request.view
        solution = self._solution(view)
        if view.position is not None and view.answer_text(view.position) != solution.answer:
            reason = solution.reason or f"its recorded solution reached {solution.answer}"
            raise TurnFailed(f"{self.name} cannot defend {view.answer_text(view.position)}: {reason}")
        said = any(turn.own and turn.text == solution.text for turn in view.turns)
        return Speech("I have nothing to add to my solution." if said else solution.text)

    async def choose(self, request: Choose) -> Choice:
        """Probability 1 for the answer that its solution reached; raises TurnFailed before speeches of others."""
        view = request.view
        if any(not turn.own for turn in view.turns):
            raise TurnFailed(f"{self.name} answers alone and hears nobody: let a model judge (--judges MODEL)")
        solution = self._solution(view)
        if solution.answer is None:
            raise TurnFailed(f"{self.name} has no answer: {solution.reason}")
        if solution.answer not in [answer.text for answer in view.answers]:
            raise TurnFailed(f"{self.name} has no answer: its solution reached {solution.answer}, which is not offered")
        return Choice({answer.label: float(answer.text == solution.answer) for answer in view.answers}, "script")

    def _solution(self, view: View) -> Solution:
        solution = self.solutions.get(view.question)
        if solution is None:
            raise TurnFailed(f"{self.name} recorded no solution of this question: ask one of its own file")
        return solution
