"""Which way of showing a session suits the terminal."""

from __future__ import annotations

import importlib.util
import os
import sys

from .front import Front

__all__ = ["front_for"]


def front_for(plain: bool) -> Front:
    """The full screen, or line by line where that is asked for or the terminal cannot be drawn on."""
    drawable = (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
        and importlib.util.find_spec("termios") is not None
    )
    if plain or not drawable:
        from .plain import Plain

        return Plain()
    from .screen import Screen

    return Screen()
