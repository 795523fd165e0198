"""Preference pairs for ``oversight train reward_model``: of two words the pleasant one, from the VADER lexicon.

    pip install vaderSentiment
    python examples/pleasant_preferences.py preferences.jsonl

A word is kept if people rate it at least 1 away from neutral, on a scale from -4 to 4 (Hutto and Gilbert 2014).  Each
pair is a pleasant word against an unpleasant one, in reply to "Write something pleasant."; no word is in two pairs.
``source`` holds families of words together: words that begin with the same five letters, and whatever is paired with
one of them, so that "abandon" and "abandoned" are never on both sides of a split.  ``margin`` is how far apart
the ratings are.
"""

import argparse
import importlib.util
import json
import random
import re
from collections import defaultdict
from pathlib import Path

parser = argparse.ArgumentParser(description="Pairs of a pleasant and an unpleasant word, as preference pairs.")
parser.add_argument("output", nargs="?", default="preferences.jsonl", help="the file (default: preferences.jsonl)")
parser.add_argument("--least", type=float, default=1.0, metavar="X", help="how far from neutral (default: 1)")
parser.add_argument("--stem", type=int, default=5, metavar="N", help="first letters that make a family (default: 5)")
parser.add_argument("--limit", type=int, metavar="N", help="so many pairs (default: all)")
arguments = parser.parse_args()

package = importlib.util.find_spec("vaderSentiment")
if package is None or not package.submodule_search_locations:
    raise SystemExit("the lexicon is not installed: pip install vaderSentiment")
lexicon = Path(package.submodule_search_locations[0]) / "vader_lexicon.txt"

families = {True: defaultdict(list), False: defaultdict(list)}
for line in lexicon.read_text(encoding="utf-8").splitlines():
    word, rating, *_ = line.split("\t")
    if re.fullmatch("[a-z]{3,}", word) and abs(float(rating)) >= arguments.least:
        families[float(rating) > 0][word[: arguments.stem]].append((word, float(rating)))
for stem in families[True].keys() & families[False].keys():  # "care" and "careless": on no side alone
    del families[True][stem], families[False][stem]

# A pleasant family is set against unpleasant ones as long as both have words left.
chance = random.Random(0)
pleasant, unpleasant = ([(stem, list(kept[stem])) for stem in sorted(kept)] for kept in families.values())
chance.shuffle(pleasant)
chance.shuffle(unpleasant)
rows = []
for (good, praised), (bad, blamed) in zip(pleasant, unpleasant, strict=False):
    for (chosen, high), (rejected, low) in zip(praised, blamed, strict=False):
        rows.append(
            {
                "prompt": "Write something pleasant.",
                "chosen": chosen,
                "rejected": rejected,
                "margin": round(high - low, 2),
                "source": f"{good} against {bad}",
            }
        )
rows = rows[: arguments.limit]
with open(arguments.output, "w", encoding="utf-8") as file:
    file.writelines(json.dumps(row) + "\n" for row in rows)
print(f"{arguments.output}: {len(rows):,} pairs of {len({row['source'] for row in rows}):,} sources")
