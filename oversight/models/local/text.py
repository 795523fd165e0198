"""From messages to tokens and back: chat templates, and a plain form for models that have none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ConfigurationError
from ..base import Message, ModelCall, ScoreCall

if TYPE_CHECKING:
    from .prefixes import Tokens

__all__ = ["PLAIN_STOPS", "Texts"]

PLAIN_STOPS = ("\nUser:", "\nAssistant:", "\nSystem:")
"""Where a reply in the plain form has run on into another turn."""

_TURN_BEGINS = re.compile(r"^(?=[^\S\n]*+(?:System|User|Assistant)\s*:)", re.IGNORECASE | re.MULTILINE)

_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant"}


class Texts:
    """A tokenizer and the form that messages are given.

    Parameters
    ----------
    name : the model's name, for messages.
    tokenizer : of transformers.
    form : ``chat``, the model's own template; or ``plain``: the system message as it is, then ``User: ...`` and
        ``Assistant: ...``, with an empty line between, ending in ``Assistant:``.

    Raises
    ------
    ConfigurationError
        if the form is ``chat`` and the model has no template.

    Notes
    -----
    A system message goes before the first message of the user where the template takes none.

    Only the form itself ends a turn or begins one.  What stands in a message like a special token of this tokenizer
    is broken by a space after its first character, and in the plain form a line that begins like a turn is set off by
    ``> ``; both whoever wrote the message.
    """

    def __init__(self, name: str, tokenizer: Any, form: str) -> None:
        self.name, self.tokenizer, self.form = name, tokenizer, form
        self.stops: tuple[str, ...] = PLAIN_STOPS if form == "plain" else ()
        self._pieces: dict[int, str] = {}
        special = {str(one) for one in tokenizer.all_special_tokens}
        special |= {str(one) for one in tokenizer.added_tokens_decoder.values() if one.special}
        longest_first = sorted((one for one in special if len(one) > 1), key=lambda one: (-len(one), one))
        self._special = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        # Templates write the token that a text begins with; the plain form has to be given it.
        begins = list(tokenizer("x").input_ids[:1])
        self._begin = begins if form == "plain" and begins == [tokenizer.bos_token_id] else []
        if form == "chat":
            if not tokenizer.chat_template:
                raise ConfigurationError(
                    f"{name} has no chat template: take a version of it that was trained to converse, or the plain "
                    f"form, {name}(template=plain)"
                )
            self._takes_system = self._template_takes_system()

    def end_of_turn(self) -> list[int]:
        """The token that the template ends a reply with, where it is a special one."""
        if self.form == "plain":
            return []
        mark = "a7b9"
        try:
            text = self._template(
                [{"role": "user", "content": "x"}, {"role": "assistant", "content": mark}], begin=False
            )
        except Exception:  # a template can refuse anything
            return []
        after = self.tokenizer(text.rpartition(mark)[2], add_special_tokens=False).input_ids
        return [after[0]] if after and after[0] in self.tokenizer.all_special_ids else []

    def prompt(self, call: ModelCall) -> Tokens:
        """The tokens that the reply follows."""
        return self._tokens(self._rendered(call.messages))

    def answer(self, text: str) -> list[int]:
        """The tokens of a reply as the model would write it after :meth:`prompt`, with the one that ends it."""
        said = self.tokenizer(text if self.form == "chat" else f" {text}", add_special_tokens=False).input_ids
        end = self.end_of_turn()
        if not end and self.tokenizer.eos_token_id is not None:
            end = [int(self.tokenizer.eos_token_id)]
        return [*said, *end]

    def options(self, call: ScoreCall) -> tuple[Tokens, list[list[int]]]:
        """The tokens that all options have before them, and each option's own.

        Notes
        -----
        Text and option are read into tokens together, since tokens may reach over the seam.  Options begin at the
        first token at which the text with any of them differs from the text without, so that all log-probabilities
        are under the same condition.
        """
        rendered, start = self._rendered(call.messages), self._inert(call.start)
        if self.form == "plain" or not start:
            before = f"{rendered} {start}" if start else rendered
        else:
            before = f"{rendered}{start}"
        space = "" if self.form == "chat" and not start else " "
        alone = self._tokens(before)
        whole = [self._tokens(f"{before}{space}{self._inert(option)}") for option in call.options]
        from .prefixes import common

        seam = min(common(alone, one) for one in whole)
        # An option that adds no token (an empty one) would have nothing to be scored by.
        seam = min(seam, min(len(one) for one in whole) - 1)
        return alone[:seam], [one[seam:].tolist() for one in whole]

    def reply(self, tokens: Sequence[int]) -> tuple[str, bool]:
        """The text of a reply, and whether it ran on into another turn; what is said from there on is cut off."""
        text = str(self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))
        if self.form == "chat":
            return text, False
        ends = [at for stop in self.stops if (at := text.find(stop)) >= 0]
        return text[: min(ends, default=len(text))].strip(), bool(ends)

    def piece(self, token: int) -> str:
        """A token's text in the middle of other text."""
        if token not in self._pieces:
            # Alone, a token that begins a word would lose its space in some tokenizers.
            anchor = self.tokenizer("x", add_special_tokens=False).input_ids[-1]
            before = self.tokenizer.decode([anchor], clean_up_tokenization_spaces=False)
            both = self.tokenizer.decode([anchor, token], clean_up_tokenization_spaces=False)
            self._pieces[token] = both.removeprefix(before)
        return self._pieces[token]

    # ---- machinery ------------------------------------------------------------------------------

    def _tokens(self, text: str) -> Tokens:
        ids = self.tokenizer(text, add_special_tokens=False).input_ids
        return np.array([*self._begin, *ids], np.int64)

    def _rendered(self, messages: Sequence[Message]) -> str:
        said = [{**message, "content": self._inert(message["content"])} for message in messages]
        if self.form == "plain":
            return "\n\n".join([*map(_plain, said), "Assistant:"])
        if not self._takes_system:
            said = _merged(said)
        try:
            return self._template(said, begin=True)
        except Exception as error:
            words = " ".join(str(error).split())
            raise ConfigurationError(
                f"{self.name}: its chat template refuses the messages ({words}): write {self.name}(template=plain)"
            ) from None

    def _inert(self, text: str) -> str:
        """The text without anything that the form is made of."""
        if self._special is not None:
            text = self._special.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
        return _TURN_BEGINS.sub("> ", text) if self.form == "plain" else text

    def _template(self, messages: Sequence[Mapping[str, str]], *, begin: bool) -> str:
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=begin)
        assert isinstance(text, str)
        return text

    def _template_takes_system(self) -> bool:
        mark = "s7y3"
        try:
            text = self._template([{"role": "system", "content": mark}, {"role": "user", "content": "x"}], begin=True)
        except Exception:  # templates refuse by an error of their own
            return False
        return mark in text  # some drop it without a word


def _plain(message: Mapping[str, str]) -> str:
    speaker, text = message["role"], message["content"].strip()
    return text if speaker == "system" else f"{_SPEAKERS.get(speaker, speaker)}: {text}"


def _merged(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The messages with the system's words before those of the user's first."""
    system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
    rest = [dict(message) for message in messages if message["role"] != "system"]
    if not system:
        return rest
    first = next((message for message in rest if message["role"] == "user"), None)
    if first is None:
        return [{"role": "user", "content": system}, *rest]
    first["content"] = f"{system}\n\n{first['content']}"
    return rest
