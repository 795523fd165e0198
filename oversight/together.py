"""Work done at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

__all__ = ["gather_all"]

Result = TypeVar("Result")


async def gather_all(work: Sequence[Awaitable[Result]]) -> list[Result]:
    """Results of work done at the same time; the first failure is raised once all of it has ended.

    Waiting for the rest keeps what was paid: a call that is given up would be made again.
    """
    if len(work) == 1:
        return [await work[0]]
    done = await asyncio.gather(*work, return_exceptions=True)
    results: list[Result] = []
    for one in done:
        if isinstance(one, BaseException):
            raise one
        results.append(one)
    return results
