"""How often Python looks for garbage while episodes are played."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["little_garbage_collection"]


_lock = threading.Lock()
_within, _thresholds = 0, gc.get_threshold()


@contextmanager
def little_garbage_collection() -> Iterator[None]:
    """Let the garbage collector pass over what is there already, and look less often at what comes.

    An episode makes thousands of objects that are in use to its end, and hardly any cycles; looking through them and
    through every imported module again and again took a fifth of a run's processor time.
    """
    global _within, _thresholds
    with _lock:  # runs of several threads may overlap
        if not _within:
            _thresholds = gc.get_threshold()
            gc.freeze()
            gc.set_threshold(20_000, *_thresholds[1:])
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within:
                gc.set_threshold(*_thresholds)
                gc.unfreeze()
