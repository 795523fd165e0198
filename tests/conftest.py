"""What every test gets: no network but this machine's own, no keys, a folder of its own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

# Several threads each, and they wait for one another where tests run side by side; read when torch is first loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_LOCAL = {"127.0.0.1", "::1", "localhost", "", None}
_connect = socket.socket.connect


def _guarded(self: socket.socket, address: object) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple) and address[0] not in _LOCAL:
        raise AssertionError(f"a test tried to reach {address[0]}: the network is forbidden in tests")
    _connect(self, address)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", _guarded)
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith(("LANGCHAIN_", "LANGSMITH_")):
            monkeypatch.delenv(name)


@pytest.fixture
def corpora() -> Path:
    """The folder with real corpora, named by OVERSIGHT_TEST_DATA; the test is skipped without it."""
    folder = os.environ.get("OVERSIGHT_TEST_DATA")
    if not folder:
        pytest.skip("OVERSIGHT_TEST_DATA does not name a folder with the corpora")
    return Path(folder)
