"""Keys and values of texts that were read before, found again by the tokens that a new text begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .attention import Segment

__all__ = ["PrefixStore", "Tokens", "common"]

Tokens = npt.NDArray[np.int64]


def common(one: Tokens, other: Tokens) -> int:
    """How many first tokens two texts share."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length


@dataclass(eq=False)
class _Node:
    """Tokens that follow those of the node above, and their keys and values."""

    tokens: Tokens
    segment: Segment
    above: _Node | None
    below: dict[int, _Node] = field(default_factory=dict)
    used: int = 0


class PrefixStore:
    """A tree of token sequences with their keys and values; what was not used for longest goes first.

    What texts have in common is stored once.

    Parameters
    ----------
    limit : most bytes of keys and values.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.size, self._clock = limit, 0, 0
        self._root = _Node(np.empty(0, np.int64), Segment({}, {}), None)

    def length(self, tokens: Tokens) -> int:
        """How many first tokens of a text are stored."""
        return sum(length for _, length in self._path(tokens))

    def find(self, tokens: Tokens) -> list[tuple[Segment, int]]:
        """The stored beginning of a text: segments, and how many tokens of each belong to it."""
        self._clock += 1
        found = []
        for node, length in self._path(tokens):
            node.used = self._clock
            found.append((node.segment, length))
        return found

    def insert(self, tokens: Tokens, read: Callable[[int, int], Segment]) -> None:
        """Store a text; ``read(start, end)`` gives the keys and values of some of its tokens, as a copy."""
        self._clock += 1
        node, at = self._root, 0
        for next_node, length in self._path(tokens):
            node, at = next_node, at + length
            node.used = self._clock
            if length < len(node.tokens):
                self._split(node, length)
        if at == len(tokens):
            return
        new = _Node(tokens[at:].copy(), read(at, len(tokens)), node, used=self._clock)
        node.below[int(new.tokens[0])] = new
        self.size += new.segment.size
        while self.size > self.limit:
            self._drop(min(self._leaves(), key=lambda leaf: leaf.used))

    def clear(self) -> None:
        """Forget everything."""
        self._root.below.clear()
        self.size = 0

    def _path(self, tokens: Tokens) -> Iterator[tuple[_Node, int]]:
        """The nodes that hold the beginning of a text, and how many tokens of each; the last may hold more."""
        node, at = self._root, 0
        while at < len(tokens) and (below := node.below.get(int(tokens[at]))) is not None:
            length = common(below.tokens, tokens[at:])
            yield below, length
            if length < len(below.tokens):
                return
            node, at = below, at + length

    def _split(self, node: _Node, at: int) -> None:
        """Cut a node in two; it keeps its first tokens."""
        # Both halves are copies: a view would hold the memory of the whole after the other half was dropped.
        rest = _Node(node.tokens[at:].copy(), node.segment.part(at, len(node.tokens)), node, node.below, node.used)
        for below in rest.below.values():
            below.above = rest
        node.tokens, node.segment, node.below = node.tokens[:at].copy(), node.segment.part(0, at), {}
        node.below[int(rest.tokens[0])] = rest

    def _leaves(self) -> Iterator[_Node]:
        nodes = list(self._root.below.values())
        while nodes:
            node = nodes.pop()
            if not node.below:
                yield node
            nodes.extend(node.below.values())

    def _drop(self, leaf: _Node) -> None:
        assert leaf.above is not None
        del leaf.above.below[int(leaf.tokens[0])]
        self.size -= leaf.segment.size
