"""Labelled texts: where they come from, and the labels that a weak supervisor gave them."""

from __future__ import annotations

import csv
import json
import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError, UnknownName
from ..identity import digest, seed_from
from ..questions import Question
from ..runs.directory import read_episodes, read_lines

__all__ = ["Example", "RunLabels", "digest_of", "labels_of_run", "read_examples", "splits"]


@dataclass(frozen=True)
class Example:
    """A text with its true label.

    Parameters
    ----------
    text : what a student reads.
    label : 0 or 1.
    source : what it was made from; examples of one source are never split between training and test.
    id : name of the question, where it is one of a run; else its place in the file.
    weak : probability of label 1 that a weak supervisor gave it, in [0, 1]; None where it gave none.
    """

    text: str
    label: int
    source: str
    id: str
    weak: float | None = None


def read_examples(path: str | Path, column: str | None = None) -> list[Example]:
    """Labelled texts from a CSV file with a header, or from JSON lines where the name ends in ``.jsonl``.

    Parameters
    ----------
    path : a file with ``text`` and ``label`` (0 or 1), perhaps ``source`` (default: the text itself) and ``id``.
    column : of a weak supervisor's labels, probabilities of label 1 in [0, 1]; an empty cell is no label.

    Raises
    ------
    DataError
        if it cannot be read, or a row lacks something; with the line.
    """
    path = Path(path)
    found: list[Example] = []
    ids: dict[str, int] = {}
    for line, row in _rows(path):
        for name in ("text", "label", *([column] if column else [])):
            if row.get(name) is None:
                have = ", ".join(str(one) for one in row) or "nothing"
                raise DataError(
                    path, f"has no {name!r}: a row has text and label, perhaps source and id; here {have}", line
                )
        label = str(row["label"]).strip()
        if label not in ("0", "1"):
            raise DataError(path, f"label {label!r}: a label is 0 or 1", line)
        text = str(row["text"])
        weak = None
        if column:
            given = str(row[column]).strip()
            try:
                weak = float(given) if given else None
            except ValueError:
                weak = math.nan
            if weak is not None and not 0.0 <= weak <= 1.0:
                raise DataError(path, f"{column} {given!r}: a weak label is a probability in [0, 1]", line)
        id = str(row.get("id") or line)
        if id in ids:
            raise DataError(path, f"id {id!r} stands in line {ids[id]} too: give each row its own", line)
        ids[id] = line
        found.append(Example(text, int(label), str(row.get("source") or text), id, weak))
    if not found:
        raise DataError(path, "holds no row: give texts with their labels")
    return found


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".jsonl":
                for line, text in enumerate(file, start=1):
                    if text.strip():
                        try:
                            row = json.loads(text)
                        except ValueError:
                            row = None
                        if not isinstance(row, dict):
                            raise DataError(path, "is no JSON object", line)
                        yield line, row
            else:
                rows = csv.DictReader(file)
                for row in rows:
                    yield rows.line_num, row
    except UnicodeDecodeError as error:
        raise DataError(path, f"is not UTF-8 text: {error.reason} at byte {error.start}") from None
    except csv.Error as error:
        raise DataError(path, f"is not a CSV file: {error}") from None
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from None


def digest_of(examples: Sequence[Example]) -> str:
    """Digest of the content of the examples, weak labels included."""
    return digest([[one.text, one.label, one.source, one.id, one.weak] for one in examples])


# ---- a judge as the weak supervisor -------------------------------------------------------------------


@dataclass(frozen=True)
class RunLabels:
    """What the judge of a run believed.

    Parameters
    ----------
    probabilities : by question, the probability of the answer that label 1 stands for, the mean over its verdicts.
    truth : by question, the label that the run's key gives.
    protocol, judge : what the verdicts are of.
    unscored : episodes without a verdict; they label nothing.
    """

    probabilities: Mapping[str, float]
    truth: Mapping[str, int]
    protocol: str
    judge: str
    unscored: int


def labels_of_run(
    log_dir: str | Path, positive: str | None = None, protocol: str | None = None, judge: str | None = None
) -> RunLabels:
    """Labels from the verdicts of a run: any judge under any protocol as the weak supervisor.

    Parameters
    ----------
    log_dir : a run directory, whose questions have two answers.
    positive : text of the answer that label 1 stands for; the second answer of each question where None.
    protocol, judge : whose verdicts, where the run has several.

    Raises
    ------
    ConfigurationError
        if it is not clear whose verdicts are meant, or there is none.
    RunDirectoryError
        if the folder is not a run directory.
    DataError
        if a question lacks the answer ``positive`` or has more than two.
    """
    log_dir = Path(log_dir)
    questions = {one.id: one for one in map(Question.from_dict, read_lines(log_dir / "questions.jsonl"))}
    given: dict[tuple[str, str], list[tuple[str, list[float]]]] = defaultdict(list)
    unscored: dict[tuple[str, str], int] = defaultdict(int)
    for record in read_episodes(log_dir):
        if record["purpose"] != "comparison":
            continue
        names = dict.fromkeys(name for role in record["deciding"] for name in record["cast"][role])
        whose = record["protocol"], " + ".join(names)
        if record["status"] == "scored":
            given[whose].append((record["question"], record["probabilities"]))
        else:
            unscored[whose] += 1
    for place, (option, wanted) in enumerate((("protocol", protocol), ("judge", judge))):
        known = list(dict.fromkeys(whose[place] for whose in given))
        if wanted is not None and wanted not in known:
            raise UnknownName(f"{option} of {log_dir}", wanted, known)
        if wanted is None and len(known) > 1:
            raise ConfigurationError(
                f"{log_dir} has verdicts of several {option}s ({', '.join(known[:4])}): name one with --label-{option}"
            )
    chosen = [
        whose for whose in given if (protocol is None or whose[0] == protocol) and (judge is None or whose[1] == judge)
    ]
    if not chosen:
        raise ConfigurationError(f"{log_dir} has no scored episode of that protocol and judge: nothing is labelled")
    (whose,) = chosen
    believed: dict[str, list[float]] = defaultdict(list)
    truth = {}
    for id, probabilities in given[whose]:
        question = questions[id]
        if len(question.answers) != 2:
            raise DataError(log_dir, f"question {id!r} has {len(question.answers)} answers: a label is one of two")
        if positive is not None and positive not in question.answers:
            raise DataError(
                log_dir, f"question {id!r} has no answer {positive!r}: it has {' and '.join(question.answers)}"
            )
        index = 1 if positive is None else question.answers.index(positive)
        believed[id].append(probabilities[index])
        truth[id] = int(question.correct == index)
    means = {id: math.fsum(values) / len(values) for id, values in believed.items()}
    return RunLabels(means, truth, *whose, unscored[whose])


# ---- splitting ----------------------------------------------------------------------------------------


def splits(
    examples: Sequence[Example], sizes: Sequence[int], test: int | None, seeds: Sequence[int]
) -> list[list[list[int]]]:
    """For each seed, parts of the examples that share no source: one of each size, and the test.

    Parameters
    ----------
    examples : what is split.
    sizes : examples in each part before the test; what is left of a part's last source stays out.
    test : examples in the test; all that is left in the seed with the fewest where None, so that seeds weigh the same.
    seeds : of the orders in which sources are dealt.

    Raises
    ------
    ConfigurationError
        if there are too few examples.
    """
    by_source: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        by_source[example.source].append(index)
    dealt: list[list[list[int]]] = []
    for seed in seeds:
        order = sorted(by_source)
        random.Random(seed_from(seed, "split")).shuffle(order)
        sources = iter(order)
        parts: list[list[int]] = []
        for size in sizes:
            part: list[int] = []
            while len(part) < size:
                source = next(sources, None)
                if source is None:
                    break
                part += by_source[source]
            parts.append(part[:size])
        rest = [index for source in sources for index in by_source[source]]
        dealt.append([*parts, rest])
    wanted = test if test is not None else min(len(parts[-1]) for parts in dealt)
    if wanted < 2 or any(len(parts[-1]) < wanted for parts in dealt):
        needed = sum(sizes) + (test or 2)
        raise ConfigurationError(
            f"{len(examples)} examples from {len(by_source)} sources are too few: {needed} and more are needed for "
            f"parts of {', '.join(map(str, sizes))} and a test of {test or 'two or more'}; lower --train or --examples"
        )
    return [[*parts[:-1], parts[-1][:wanted]] for parts in dealt]
