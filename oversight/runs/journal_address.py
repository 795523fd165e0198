"""Where the journal of a run is kept: a file of its own, or a database that holds the journals of many runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from ..errors import ConfigurationError

__all__ = ["JournalAddress", "without_passwords"]

_SCHEMES = ("postgresql", "postgres")

_REMEMBERED = {"host", "hostaddr", "port", "user", "dbname", "sslmode", "sslrootcert", "sslcert", "service", "options"}
"""Parameters of an address that say where a database is and how it is reached, and are no secrets."""

_URL = re.compile(r"postgres(?:ql)?://\S*")


@dataclass(frozen=True, repr=False)
class JournalAddress:
    """Where a journal is kept.  It can be sent to another process, which then opens the same journal.

    Parameters
    ----------
    path : the SQLite file; None where the journal is in PostgreSQL.
    url : ``postgresql://user:password@host:port/database``; the password may also come from ``PGPASSWORD`` or
        ``~/.pgpass`` of the process that opens it.
    run : which of the database's journals it is.

    Raises
    ------
    ConfigurationError
        if the URL is none of a PostgreSQL database.
    """

    path: Path | None = None
    url: str = ""
    run: str = ""

    def __post_init__(self) -> None:
        if (self.path is None) == (not self.url):
            raise ValueError("a journal is a file or in a database")
        if self.url:
            _Parts.of(self.url)
            if not self.run:
                raise ValueError("a database holds the journals of many runs: say which it is")

    @property
    def public(self) -> str:
        """The address without the password."""
        return str(self.path) if self.path is not None else _Parts.of(self.url).public()

    @property
    def place(self) -> str:
        """What two addresses of one journal have in common, whoever connects and however."""
        return str(self.path) if self.path is not None else f"{_Parts.of(self.url).place()} {self.run}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password in each form in which a message could hold it."""
        return () if self.path is not None else _Parts.of(self.url).secrets()

    def __str__(self) -> str:
        return self.public

    def __repr__(self) -> str:
        return f"JournalAddress({self.public!r}{f', run={self.run!r}' if self.run else ''})"


@dataclass(frozen=True, repr=False)
class _Parts:
    """What a URL consists of, each part as it is written there."""

    login: str
    hosts: str
    database: str
    parameters: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, url: str) -> _Parts:
        # Messages do not quote what was given: where a password is written wrongly, any part may be a piece of it.
        split = urlsplit(url)
        if split.scheme not in _SCHEMES or not url.startswith(f"{split.scheme}://"):
            raise ConfigurationError("--journal: an address is postgresql://USER@HOST:PORT/DATABASE")
        login, _, hosts = split.netloc.rpartition("@")
        ports = [one.rpartition(":")[2] for one in hosts.split(",") if ":" in one.rpartition("]")[2]]
        if (
            any("@" in part for part in (login, split.path, split.query))
            or "/" in split.path[1:]
            or split.fragment
            or not all(port.isdecimal() for port in ports if port)
            or re.search(r"[\s\0-\x1f\x7f]", url)
        ):
            raise ConfigurationError(
                "--journal: the address cannot be read: signs such as @ : / ? # in a password are written as %40 %3A "
                "%2F %3F %23; or leave the password out and give it as PGPASSWORD or in ~/.pgpass"
            )
        return cls(login, hosts, split.path.lstrip("/"), tuple(parse_qsl(split.query, keep_blank_values=True)))

    def public(self) -> str:
        user = self.login.partition(":")[0]
        kept = [(name, value) for name, value in self.parameters if name in _REMEMBERED]
        login, query = (f"{user}@" if user else ""), (f"?{urlencode(kept)}" if kept else "")
        return f"postgresql://{login}{self.hosts}/{self.database}{query}"

    def place(self) -> str:
        named = dict(self.parameters)
        hosts = self.hosts or ",".join(named.get(name, "") for name in ("host", "port"))
        listed = [one if ":" in one.rpartition("]")[2] else f"{one}:5432" for one in hosts.split(",")]
        # Options may name the schema that the tables are in.
        found = [*listed, f"/{self.database or named.get('dbname', '')}", named.get("options", "")]
        return " ".join(unquote(one) for one in found if one)

    def secrets(self) -> tuple[str, ...]:
        written = [self.login.partition(":")[2]]
        written += [value for name, value in self.parameters if name not in _REMEMBERED]
        found = {form for one in written for form in (one, unquote(one), quote(one, safe="")) if form}
        return tuple(sorted(found, key=len, reverse=True))


def without_passwords(words: Sequence[str]) -> list[str]:
    """The words of a command line, addresses of databases in them without their passwords."""

    def public(found: re.Match[str]) -> str:
        try:
            return _Parts.of(found[0]).public()
        except ConfigurationError:
            return "postgresql:"

    return [_URL.sub(public, word) for word in words]
