"""How often Python looks for garbage while episodes are played."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["little_garbage_collection"]


@contextmanager
def little_garbage_collection() -> Iterator[None]:
    """Let the garbage collector pass over what is there already, and look less often at what comes.

    An episode makes thousands of objects that are in use to its end, and hardly any cycles; looking through them and
    through every imported module again and again took a fifth of a run's processor time.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
