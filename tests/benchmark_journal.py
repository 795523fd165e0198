"""What a call costs in the journal, in a file and in PostgreSQL side by side; not a test.

Run as ``python tests/benchmark_journal.py [CALLS]``.  So many calls at a time are asked of a journal that does not have
them, each of which takes no time itself and has a result of 2,000 characters; then all are asked again.  Rounds of both
stores alternate, and the median is printed: calls a second, and the processor time of this process for each call.  The
server runs on this machine; the processor time that it uses is not counted.
"""

from __future__ import annotations

import asyncio
import importlib.util
import statistics
import sys
import tempfile
import time
from pathlib import Path

from oversight.runs.journal import Journal, JournalAddress

_specification = importlib.util.spec_from_file_location(
    "benchmark_postgresql", Path(__file__).with_name("postgresql.py")
)
assert _specification is not None
assert _specification.loader is not None
postgresql = importlib.util.module_from_spec(_specification)
_specification.loader.exec_module(postgresql)

ROUNDS = 5
TEXT = "All that is said in a speech of usual length, and no more than that. " * 29


async def asked(address: Path | JournalAddress, name: str, calls: int, at_once: int) -> tuple[float, float]:
    """Seconds, and seconds of the processor, for so many calls."""
    journal = Journal(address)

    async def produce() -> dict[str, object]:
        return {"completion": {"text": TEXT[:2000]}, "dollars": 0.001}

    async def worker(numbers: range) -> None:
        for number in numbers:
            await journal.once(f"{name} {number:060d}", "model", produce)

    try:
        began, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(worker(range(start, calls, at_once)) for start in range(at_once)))
        return time.perf_counter() - began, time.process_time() - used
    finally:
        await journal.close()


def main() -> None:
    """Print the table."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    print(f"{'':10} {'at once':>8} {'stored/s':>10} {'ms each':>8} {'found/s':>10} {'ms each':>8}")
    with tempfile.TemporaryDirectory() as folder, postgresql.running() as server:
        url = server.make_place()
        for at_once in (1, 64, 256):
            calls = most if at_once > 1 else most // 8
            seen: dict[str, list[tuple[float, ...]]] = {"SQLite": [], "PostgreSQL": []}
            for number in range(ROUNDS):
                name = f"{at_once}-{number}"
                for store, rounds in seen.items():
                    address = (
                        Path(folder) / f"{name}.sqlite" if store == "SQLite" else JournalAddress(url=url, run=name)
                    )
                    stored = asyncio.run(asked(address, name, calls, at_once))
                    found = asyncio.run(asked(address, name, calls, at_once))
                    rounds.append((calls / stored[0], stored[1] / calls, calls / found[0], found[1] / calls))
            for store, rounds in seen.items():
                a, b, c, d = (statistics.median(column) for column in zip(*rounds, strict=True))
                print(f"{store:10} {at_once:8} {a:10,.0f} {1000 * b:8.3f} {c:10,.0f} {1000 * d:8.3f}", flush=True)


if __name__ == "__main__":
    main()
