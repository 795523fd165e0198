"""A PostgreSQL server of the tests' own: on a private port of the loopback address, in a folder of its own.

A module that needs it takes the fixtures over::

    postgresql_server = postgresql.postgresql_server   # once for the module; skips where PostgreSQL is not installed
    database = postgresql.database                     # the URL of an empty place for journals, for each test
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "canary-7f3a91"
"""What must be found nowhere."""


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:  # where Debian puts it
        places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        found = str(places[-1]) if places else None
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return found


class Server:
    """A server that runs, and that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # The server refuses to run as root: it is nobody then, and so is the owner of its folder.
        self._owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if self._owner is not None:
            for path in (folder, secret):
                os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        self._call(
            "initdb", "-U", "tester", "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C"
        )
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\n")
        self.start()

    def _call(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [_program(program), "-D", str(self.folder / "data"), *words],
            user=None if self._owner is None else self._owner.pw_uid,
            group=None if self._owner is None else self._owner.pw_gid,
            extra_groups=None if self._owner is None else [],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout or (self.folder / "log").read_text()

    def start(self) -> None:
        """Start the server; returns when it takes connections."""
        self._call("pg_ctl", "start", "-w", "-l", str(self.folder / "log"))

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; ``immediate`` is as good as pulling the plug."""
        self._call("pg_ctl", "stop", "-w", "-m", mode)

    def url(self, database: str = "postgres", password: str = PASSWORD) -> str:
        """The address of a database."""
        return f"postgresql://tester:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, url: str | None = None) -> list[tuple]:
        """Give a statement, at an address or as the one who may do everything, and read what it gives."""
        import psycopg

        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def make_place(self) -> str:
        """The URL of a user with tables of their own: as good as a database, and made much faster."""
        name = f"test_{secrets.token_hex(4)}"
        self.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        self.execute(f"CREATE SCHEMA AUTHORIZATION {name}")
        return self.url().replace("tester", name)

    def make_database(self, options: str = "") -> str:
        """The name of a new database."""
        name = f"test_{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return name


@contextmanager
def running() -> Iterator[Server]:
    """A server in a folder of its own, which is deleted with it."""
    pytest.importorskip("psycopg", reason="the extra postgresql is not installed")
    for program in ("initdb", "pg_ctl", "postgres"):
        _program(program)
    folder = Path(tempfile.mkdtemp(prefix="oversight-postgresql-"))  # pytest's folders are closed to other users
    try:
        server = Server(folder)
        try:
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgresql_server() -> Iterator[Server]:
    """A server for the tests of a module."""
    with running() as server:
        yield server


@pytest.fixture
def database(postgresql_server: Server) -> str:
    """The URL of an empty place for journals, with the password in it."""
    return postgresql_server.make_place()
