"""Words with their polarity as a CSV file for ``oversight train weak_to_strong``, from the VADER lexicon.

    pip install vaderSentiment
    python examples/word_polarity.py words.csv

A word is kept if people rate it at least 1 away from neutral, on a scale from -4 to 4 (Hutto and Gilbert 2014);
label 1 is positive.  ``--stem 5`` gives words that begin with the same five letters one source, so that "abandon"
and "abandoned" are never on both sides of a split; without it each word is a source of its own.
"""

import argparse
import csv
import importlib.util
import re
from pathlib import Path

parser = argparse.ArgumentParser(description="Words with their polarity, from the VADER lexicon, as a CSV file.")
parser.add_argument("output", nargs="?", default="words.csv", help="the file to write (default: words.csv)")
parser.add_argument(
    "--stem", type=int, default=0, metavar="N", help="one source for words with the same N first letters"
)
parser.add_argument("--least", type=float, default=1.0, metavar="X", help="how far from neutral (default: 1)")
arguments = parser.parse_args()

package = importlib.util.find_spec("vaderSentiment")
if package is None or not package.submodule_search_locations:
    raise SystemExit("the lexicon is not installed: pip install vaderSentiment")
lexicon = Path(package.submodule_search_locations[0]) / "vader_lexicon.txt"

rows = []
for line in lexicon.read_text(encoding="utf-8").splitlines():
    word, rating, *_ = line.split("\t")
    if re.fullmatch("[a-z]{3,}", word) and abs(float(rating)) >= arguments.least:
        rows.append((word, int(float(rating) > 0), word[: arguments.stem] if arguments.stem else word))

with open(arguments.output, "w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(("text", "label", "source"))
    writer.writerows(rows)
print(f"{arguments.output}: {len(rows):,} words, {sum(label for _, label, _ in rows):,} of them positive")
