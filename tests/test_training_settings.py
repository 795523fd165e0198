"""What a training is told is refused in the same words by all of them."""

from __future__ import annotations

import importlib

import pytest

from oversight.cli import main
from oversight.errors import ConfigurationError, UnknownName
from oversight.training.settings import read_settings

KINDS = {
    "amplification_experiment": "AmplificationSettings",
    "attacker_learner_critic": "LoopSettings",
    "language": "LanguageOptions",
    "reward_modeling": "RewardModelingSettings",
    "weak_to_strong": "WeakToStrongSettings",
}


@pytest.mark.parametrize("module", KINDS)
def test_a_setting_is_refused_by_its_option_and_value(module):
    """A count of -1 is beyond every bound, and a name with a letter too many has a nearest."""
    kind = getattr(importlib.import_module(f"oversight.training.{module}"), KINDS[module])
    count = next(name for name, field in kind.model_fields.items() if field.annotation is int and name != "seed")
    option = f"--{count.replace('_', '-')}"
    with pytest.raises(ConfigurationError, match=f"^{option} -1: Input should be greater than or equal to [0-9]+$"):
        read_settings(kind, {count: -1})
    with pytest.raises(UnknownName, match=f"unknown setting '{count}s': did you mean '{count}'"):
        read_settings(kind, {f"{count}s": 1})


@pytest.mark.parametrize(
    "words",
    [
        ["amplification", "--steps", "0"],
        ["attacker_learner_critic", "--rounds", "0"],
        ["reward_modeling", "--levels", "0"],
        ["weak_to_strong", "--data", "words.csv", "--student", "ngrams", "--steps", "0"],
    ],
)
def test_commands_refuse_in_one_line(words, tmp_path, monkeypatch, capsys):
    """Before anything is read or made."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"oversight: error: {words[-2]} 0: Input should be greater than or equal to 1")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_option_of_another_name_is_named():
    """Settings that are lists in Python and options of one value, or several, in the command."""
    from oversight.training.weak_to_strong import WeakToStrongSettings

    with pytest.raises(ConfigurationError, match=r"^--flip x: "):
        read_settings(WeakToStrongSettings, {"flips": ("x",)}, {"flips": "flip"})
