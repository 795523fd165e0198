"""The keys and values of running sequences, and attention over them without padding.

A step's tokens stand in one flat row, whatever sequences they come from: every linear layer sees one dense matrix,
and a sequence that joins or leaves costs its neighbours nothing.  Only attention looks at sequences one by one.
transformers calls :func:`attend` in each layer through its attention interface, under the name ``NAME``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["NAME", "KeyValueCache", "Piece", "Segment", "Step", "Unsupported", "attend"]

NAME = "oversight"
"""Under which transformers finds :func:`attend`."""

_GRAIN = 128
"""Tokens that the cache grows by, at least."""


class Unsupported(Exception):
    """A model's attention does something that :func:`attend` does not know."""


@dataclass
class Segment:
    """Keys and values of consecutive tokens, by layer; each of shape (heads, tokens, head size)."""

    keys: dict[int, torch.Tensor]
    values: dict[int, torch.Tensor]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.nbytes for side in (self.keys, self.values) for part in side.values())

    def part(self, start: int, end: int) -> Segment:
        """A copy of some of its tokens, that holds no memory of the rest."""
        return Segment(
            {layer: part[:, start:end].clone() for layer, part in self.keys.items()},
            {layer: part[:, start:end].clone() for layer, part in self.values.items()},
        )


class KeyValueCache:
    """Keys and values of the sequences that run, a slot each.

    Parameters
    ----------
    device : where they are kept.

    Notes
    -----
    By layer of shape (slots, heads, capacity, head size), made when a layer first writes: models differ in their
    shapes, some from layer to layer.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.slots = self.capacity = 0
        self.keys: dict[int, torch.Tensor] = {}
        self.values: dict[int, torch.Tensor] = {}

    def reserve(self, slots: int, capacity: int, used: Mapping[int, int]) -> None:
        """Make room for ``slots`` sequences of ``capacity`` tokens; ``used`` are tokens to be kept, by slot."""
        if slots <= self.slots and capacity <= self.capacity:
            return
        if capacity > self.capacity:
            capacity = math.ceil(max(capacity, self.capacity * 5 // 4) / _GRAIN) * _GRAIN
        self.slots, self.capacity = max(slots, self.slots), max(capacity, self.capacity)
        for side in (self.keys, self.values):
            for layer, old in side.items():
                side[layer] = new = self._room(old)
                for slot, length in used.items():
                    new[slot, :, :length] = old[slot, :, :length]

    def _room(self, like: torch.Tensor) -> torch.Tensor:
        shape = (self.slots, like.shape[1], self.capacity, like.shape[3])
        # On a processor, memory costs nothing before it is written.  Elsewhere single tokens attend together, where
        # what no sequence has written is multiplied by a probability of 0, and may not be NaN.
        return like.new_empty(shape) if self.device.type == "cpu" else like.new_zeros(shape)

    def write(
        self, layer: int, key: torch.Tensor, value: torch.Tensor, slots: torch.Tensor, columns: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store a step's keys and values, of shape (1, heads, tokens, head size); gives all of the layer's."""
        for side, new in ((self.keys, key), (self.values, value)):
            if layer not in side:
                side[layer] = self._room(new)
            side[layer][slots, :, columns] = new[0].transpose(0, 1)
        return self.keys[layer], self.values[layer]

    def read(self, slot: int, start: int, end: int) -> Segment:
        """A copy of some of a sequence's tokens."""
        return Segment(
            {layer: part[slot, :, start:end].clone() for layer, part in self.keys.items()},
            {layer: part[slot, :, start:end].clone() for layer, part in self.values.items()},
        )

    def fill(self, slot: int, segments: Iterable[tuple[Segment, int]]) -> None:
        """Copy the first tokens of each segment into a slot, one segment behind the other."""
        at = 0
        for segment, length in segments:
            for side, parts in ((self.keys, segment.keys), (self.values, segment.values)):
                for layer, part in parts.items():
                    side[layer][slot, :, at : at + length] = part[:, :length]
            at += length

    def clear(self) -> None:
        """Free the memory."""
        self.slots = self.capacity = 0
        self.keys.clear()
        self.values.clear()


@dataclass(frozen=True)
class Piece:
    """A sequence's part of a step.

    Parameters
    ----------
    slot : where the sequence's keys and values are.
    start : tokens of it that are there already.
    trunk : the tokens that continue it.
    branches : alternatives that each continue the trunk and do not see each other; they are not kept.
    """

    slot: int
    start: int
    trunk: Sequence[int]
    branches: Sequence[Sequence[int]] = ()

    @property
    def length(self) -> int:
        """Tokens of the step."""
        return len(self.trunk) + sum(map(len, self.branches))

    def positions(self) -> list[int]:
        """Each token's place in its text."""
        end = self.start + len(self.trunk)
        return [*range(self.start, end), *(end + n for branch in self.branches for n in range(len(branch)))]


@dataclass
class Step:
    """Tokens that go through the model together.

    Parameters
    ----------
    cache : where the keys and values of their sequences are; with room for them.
    pieces : the sequences' parts, in the order of the row.
    together : whether single tokens of several sequences attend in one call, over a mask: on a GPU, where a
        call costs more than what is computed in vain.
    """

    cache: KeyValueCache
    pieces: Sequence[Piece]
    together: bool = False
    _masks: dict[tuple[int, int | None], torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        device = self.cache.device
        self.tokens = torch.tensor([t for p in self.pieces for part in (p.trunk, *p.branches) for t in part]).to(device)
        self.positions = torch.tensor([n for p in self.pieces for n in p.positions()]).to(device)
        self.slots = torch.tensor([p.slot for p in self.pieces for _ in range(p.length)]).to(device)
        self.columns = torch.tensor([p.start + n for p in self.pieces for n in range(p.length)]).to(device)

    def attend(
        self,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scaling: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attention of a layer.

        Parameters
        ----------
        layer : its number.
        query, key, value : of shape (1, heads, tokens, head size).
        scaling : what products are multiplied by; None for the usual.
        window : how many tokens back a token sees, itself included; None for all.

        Returns
        -------
        Of shape (1, tokens, heads, head size).
        """
        keys, values = self.cache.write(layer, key, value, self.slots, self.columns)
        result = query.new_empty(1, query.shape[2], query.shape[1], value.shape[3])
        at = 0
        if self.together:
            single = next((n for n, piece in enumerate(self.pieces) if piece.length > 1), len(self.pieces))
            if single > 1:
                result[0, :single] = self._single(query[0, :, :single], keys, values, scaling, window)
                at = single
        for piece in self.pieces[at:]:
            stop = at + piece.length
            known = slice(0, piece.start + piece.length)
            own = keys[piece.slot, :, known], values[piece.slot, :, known]
            if piece.length == 1:
                attended = self._newest(query[:, :, at:stop], *own, scaling, window)
            else:
                attended = self._several(at, piece, query[:, :, at:stop], *own, scaling, window)
            result[:, at:stop] = attended.transpose(1, 2)
            at = stop
        return result

    def _newest(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scaling: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attention of a sequence's newest token to all of it, of shape (1, heads, 1, head size)."""
        if window is not None:
            keys, values = keys[:, -window:], values[:, -window:]
        # The heads that share keys stand as rows, so that keys need not be copied for each of them.
        rows = query.reshape(1, keys.shape[0], -1, query.shape[3])
        attended = scaled_dot_product_attention(rows, keys[None], values[None], scale=scaling)
        return attended.reshape(1, query.shape[1], 1, -1)

    def _several(
        self,
        at: int,
        piece: Piece,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scaling: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attention of a piece that begins at token ``at`` of the row, of shape (1, heads, tokens, head size)."""
        shared = query.shape[1] // keys.shape[0]
        if shared > 1:
            keys, values = keys.repeat_interleave(shared, 0), values.repeat_interleave(shared, 0)
        causal = piece.start == 0 and not piece.branches and (window is None or window >= piece.length)
        if not causal and (at, window) not in self._masks:
            self._masks[at, window] = self._mask(piece, window, query.dtype)
        mask = None if causal else self._masks[at, window]
        return scaled_dot_product_attention(
            query, keys[None], values[None], attn_mask=mask, is_causal=causal, scale=scaling
        )

    def _mask(self, piece: Piece, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        """What each token of a piece sees, of shape (tokens of the piece, all tokens): 0, or minus infinity."""
        device = self.cache.device
        own = torch.tensor(piece.positions(), device=device)
        everything = torch.cat([torch.arange(piece.start, device=device), own])
        seen = everything <= own[:, None]
        if window is not None:
            seen &= everything > own[:, None] - window
        at = len(piece.trunk)
        for branch in piece.branches:  # no other branch sees it, whatever the positions say
            column = piece.start + at
            seen[:at, column : column + len(branch)] = False
            seen[at + len(branch) :, column : column + len(branch)] = False
            at += len(branch)
        return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, -math.inf)

    def _single(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        scaling: float | None,
        window: int | None,
    ) -> torch.Tensor:
        """Attention of the sequences with one token each, which come first; of shape (tokens, heads, head size)."""
        count = query.shape[1]
        slots = self.slots[:count]
        top = 1 + max(piece.slot for piece in self.pieces[:count])
        longest = 1 + max(piece.start for piece in self.pieces[:count])
        if (-1, window) not in self._masks:
            lengths = torch.ones(top, dtype=torch.long, device=self.cache.device)
            lengths[slots] = self.columns[:count] + 1
            columns = torch.arange(longest, device=self.cache.device)
            seen = columns < lengths[:, None]
            if window is not None:
                seen &= columns >= lengths[:, None] - window
            self._masks[-1, window] = seen[:, None, None]
        rows = query.new_zeros(top, query.shape[0], query.shape[2])
        rows[slots] = query.transpose(0, 1)
        attended = scaled_dot_product_attention(
            rows.view(top, keys.shape[1], -1, query.shape[2]),
            keys[:top, :, :longest],
            values[:top, :, :longest],
            attn_mask=self._masks[-1, window],
            scale=scaling,
        )
        return attended.reshape(top, query.shape[0], -1)[slots]


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    oversight_step: Step | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls for attention, with the :class:`Step` that was given to the model's ``forward``."""
    if oversight_step is None:
        raise Unsupported("does not hand its arguments on to its attention")
    for name in ("softcap", "s_aux", "position_bias", "attention_bias"):
        if more.get(name) is not None:
            raise Unsupported(f"has an attention with {name}")
    layer: int = module.layer_idx  # type: ignore[assignment]
    return oversight_step.attend(layer, query, key, value, scaling, sliding_window), None
