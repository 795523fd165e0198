"""Journals in PostgreSQL: one database holds those of many runs, each process has two connections to it."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from ..errors import ConfigurationError, MissingExtra, RunDirectoryError
from .journal_address import JournalAddress
from .journal_stores import Add, Row, Store, Write, dollars_of

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict
except ImportError:  # also where it finds no libpq
    raise MissingExtra("--journal postgresql://...", "postgresql") from None

# A connection that is lost is ours to report: what the library says of it besides is not for people.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

__all__ = ["PostgreSQLStore", "read_postgresql_accounts", "read_postgresql_dollars"]

Result = TypeVar("Result")
Connection = psycopg.Connection[tuple[Any, ...]]

_TABLES = {
    "oversight_calls": """
CREATE TABLE IF NOT EXISTS oversight_calls (
    run TEXT NOT NULL,          -- which journal: what journal.json of the run directory says
    key TEXT NOT NULL,          -- digest of everything that determines the call
    what TEXT NOT NULL,         -- who was called, for a reader
    value TEXT NOT NULL,        -- the result, JSON; the type json would refuse a zero in a text
    dollars DOUBLE PRECISION,   -- what it cost; NULL where unknown
    refused BOOLEAN NOT NULL,   -- whether its result could not be used, so that a retry makes it again
    PRIMARY KEY (run, key)
)""",
    "oversight_promises": """
CREATE TABLE IF NOT EXISTS oversight_promises (  -- what calls in flight could cost, where processes share a limit
    run TEXT NOT NULL, id BIGINT GENERATED ALWAYS AS IDENTITY, holder TEXT NOT NULL, dollars DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run, id)
)""",
    "oversight_starts": """
CREATE TABLE IF NOT EXISTS oversight_starts (    -- what each process has spent in each start of the run
    run TEXT NOT NULL, id BIGINT GENERATED ALWAYS AS IDENTITY, start TEXT NOT NULL, spending TEXT NOT NULL,
    groups BIGINT NOT NULL,     -- how many groups of calls the process has stored
    dollars DOUBLE PRECISION NOT NULL,  -- what they cost: with a limit, the sum is asked for before every call
    PRIMARY KEY (run, id)
)""",
}
_COLUMNS = {
    "oversight_calls": "run, key, what, value, dollars, refused",
    "oversight_promises": "run, id, holder, dollars",
    "oversight_starts": "run, id, start, spending, groups, dollars",
}

# In the order of the keys, so that processes which store the same calls do not wait for each other in a circle.
_ADD = """
WITH given AS (
    SELECT * FROM unnest(%(keys)s::text[], %(whats)s::text[], %(values)s::text[], %(dollars)s::float8[],
                         %(refused)s::bool[]) AS one (key, what, value, dollars, refused)
), stored AS (
    INSERT INTO oversight_calls AS calls (run, key, what, value, dollars, refused)
    SELECT %(run)s, key, what, value, dollars, refused FROM given ORDER BY key
    ON CONFLICT (run, key) DO UPDATE
    SET value = CASE WHEN calls.refused THEN excluded.value ELSE calls.value END,
        refused = calls.refused AND excluded.refused,
        dollars = CASE WHEN calls.dollars IS NULL THEN excluded.dollars
                       ELSE calls.dollars + COALESCE(excluded.dollars, 0) END
    RETURNING key, value
)
SELECT key, stored.value FROM stored JOIN given USING (key) WHERE stored.value <> given.value
"""
_REFUSE = "UPDATE oversight_calls SET refused = TRUE WHERE run = %(run)s AND key = ANY(%(keys)s::text[])"
_FIND = "SELECT key, value, refused FROM oversight_calls WHERE run = %s AND key = ANY(%s::text[])"
_COUNT = """
UPDATE oversight_starts SET groups = %s, dollars = dollars + %s, spending = COALESCE(%s, spending)
WHERE run = %s AND id = %s
"""
_PROMISE = """
INSERT INTO oversight_promises (run, id, holder, dollars) OVERRIDING SYSTEM VALUE
SELECT %(run)s, %(id)s, %(holder)s, %(dollars)s
WHERE (SELECT COALESCE(SUM(dollars), 0) FROM oversight_starts WHERE run = %(run)s)
    + (SELECT COALESCE(SUM(dollars), 0) FROM oversight_promises WHERE run = %(run)s) + %(dollars)s <= %(limit)s
"""
_PROMISED = "SELECT id FROM oversight_promises WHERE run = %s AND id = %s"

_ALIVE = {
    "application_name": "oversight",
    "connect_timeout": 10,
    # A server that is gone without a word is missed after half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 10,
    "keepalives_count": 2,
    "tcp_user_timeout": 30_000,
}

_WAITS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0)
"""Seconds before each try to go on, after the server was lost."""

_PASSING = ("08", "40", "53300", "55P03", "57P01", "57P02", "57P03")
"""How the codes of errors begin that may be no errors a moment later: lost, deadlocked, full, shutting down."""

_UNSTORABLE = re.compile("[\0\\\\\ud800-\udfff]")


class PostgreSQLStore(Store):
    """A journal in a PostgreSQL database; its tables are made on first use.

    Parameters
    ----------
    address : where it is.
    start : the start of the run that this process belongs to.
    """

    at_once = False

    def __init__(self, address: JournalAddress, start: str) -> None:
        self.address, self.start = address, start
        self._reading, self._writing = _Link(address), _Link(address)
        self._row: int | None = None
        self._group = 0
        try:
            self._reading.open(_prepare)
        except BaseException:
            self._reading.close()
            raise

    def find(self, key: str) -> Row | None:
        return self.find_all([key])[0]

    def find_all(self, keys: Sequence[str]) -> list[Row | None]:
        stored = [_storable(key) for key in keys]
        rows = self._reading.do(lambda connection, _: connection.execute(_FIND, (self.address.run, stored)).fetchall())
        found = {key: (value, refused) for key, value, refused in rows}
        return [found.get(key) for key in stored]

    def write(self, writes: Sequence[Write], account: str | None) -> list[str | None]:
        self._group += 1
        stays = self._writing.do(lambda connection, again: self._store(connection, writes, account, again))
        return [stays.get(place) for place in range(len(writes))]

    def _store(
        self, connection: Connection, writes: Sequence[Write], account: str | None, again: bool
    ) -> dict[int, str]:
        """Store a group in one transaction; what it gives are the other values that stay, by place."""
        if again and self._is_stored(connection):
            found = dict(zip((one.key for one in writes), self._values(connection, writes), strict=True))
            return {
                place: value
                for place, one in enumerate(writes)
                if isinstance(one, Add) and (value := found[one.key]) not in (None, one.value)
            }
        if self._row is None:
            into = "INSERT INTO oversight_starts (run, start, spending, groups, dollars) VALUES (%s, %s, '[]', 0, 0)"
            ((self._row,),) = connection.execute(f"{into} RETURNING id", (self.address.run, self.start)).fetchall()
        waves = _waves(writes)
        with connection.pipeline(), connection.transaction():
            connection.execute(_COUNT, (self._group, dollars_of(writes), account, self.address.run, self._row))
            done = [self._send(connection, wave) for wave in waves]
        # Read when all is sent, the commit too: a group takes one round trip.
        stays: dict[int, str] = {}
        for wave, cursor in zip(waves, done, strict=True):
            if cursor.description is not None:
                stays.update((wave[key][0], value) for key, value in cursor.fetchall())
        return stays

    def _is_stored(self, connection: Connection) -> bool:
        """Whether the group was stored before the connection was lost, though nobody told us."""
        if self._row is None:
            return False
        # Waits for a transaction of the lost connection that the server has not ended yet.
        with connection.transaction():
            found = connection.execute(
                "SELECT groups FROM oversight_starts WHERE run = %s AND id = %s FOR UPDATE",
                (self.address.run, self._row),
            ).fetchone()
        if found is None:
            self._row = None
        return found is not None and found[0] >= self._group

    def _values(self, connection: Connection, writes: Sequence[Write]) -> list[str | None]:
        keys = [_storable(one.key) for one in writes]
        found = {key: value for key, value, _ in connection.execute(_FIND, (self.address.run, keys))}
        return [found.get(key) for key in keys]

    def _send(self, connection: Connection, wave: dict[str, tuple[int, Write]]) -> psycopg.Cursor[tuple[Any, ...]]:
        added = [one for _, one in wave.values() if isinstance(one, Add)]
        values: dict[str, Any] = {"run": self.address.run, "keys": list(wave)}
        if not added:
            return connection.execute(_REFUSE, values)
        values["whats"] = [one.what for one in added]
        values["values"] = [one.value for one in added]
        values["dollars"] = [one.dollars for one in added]
        values["refused"] = [bool(one.refused) for one in added]
        return connection.execute(_ADD, values)

    def spent(self) -> float:
        select = "SELECT COALESCE(SUM(dollars), 0) FROM oversight_starts WHERE run = %s"
        ((dollars,),) = self._reading.do(
            lambda connection, _: connection.execute(select, (self.address.run,)).fetchall()
        )
        return float(dollars)

    def promise(self, holder: str, dollars: float, limit: float) -> int | None:
        # The number is ours, so that a promise whose answer was lost is found and not made again.
        number, run = secrets.randbits(62), self.address.run
        values = {"run": run, "id": number, "holder": _storable(holder), "dollars": dollars, "limit": limit}

        def give(connection: Connection, again: bool) -> int | None:
            with connection.transaction():
                # Who comes second sees the promise of who came first.
                connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", (run,))
                made = again and connection.execute(_PROMISED, (run, number)).fetchone() is not None
                made = made or connection.execute(_PROMISE, values).rowcount == 1
            return number if made else None

        return self._reading.do(give)

    def holders(self) -> list[str]:
        select = "SELECT DISTINCT holder FROM oversight_promises WHERE run = %s"
        rows = self._reading.do(lambda connection, _: connection.execute(select, (self.address.run,)).fetchall())
        return [holder for (holder,) in rows]

    def take_back(self, promises: Sequence[int], holder: str | None) -> None:
        def delete(connection: Connection, again: bool) -> None:
            of = "DELETE FROM oversight_promises WHERE run = %s AND"
            if promises:
                connection.execute(f"{of} id = ANY(%s)", (self.address.run, list(promises)))
            if holder is not None:
                connection.execute(f"{of} holder = %s", (self.address.run, _storable(holder)))

        self._reading.do(delete)

    def close(self) -> None:
        self._reading.close()
        self._writing.close()


def read_postgresql_accounts(address: JournalAddress) -> list[tuple[str, str]]:
    """See :func:`oversight.runs.journal_stores.read_accounts`."""

    def read(connection: Connection) -> list[tuple[str, str]]:
        if not _is_there(connection, "oversight_starts"):
            return []
        select = "SELECT start, spending FROM oversight_starts WHERE run = %s ORDER BY id"
        return [(start, spending) for start, spending in connection.execute(select, (address.run,))]

    with closing(_Link(address)) as link:
        return link.open(read)


def read_postgresql_dollars(address: JournalAddress) -> float:
    """See :func:`oversight.runs.journal_stores.read_dollars`."""

    def read(connection: Connection) -> float:
        if not _is_there(connection, "oversight_starts"):
            return 0.0
        select = "SELECT COALESCE(SUM(dollars), 0) FROM oversight_starts WHERE run = %s"
        ((dollars,),) = connection.execute(select, (address.run,)).fetchall()
        return float(dollars)

    with closing(_Link(address)) as link:
        return link.open(read)


def _waves(writes: Sequence[Write]) -> list[dict[str, tuple[int, Write]]]:
    """Writes by what one statement can do: of one sort, each key once, those of a key in their order.

    Each wave holds by key the place of the write and the write.
    """
    waves: list[dict[str, tuple[int, Write]]] = []
    last: dict[str, int] = {}
    for place, write in enumerate(writes):
        key = _storable(write.key)
        number = last.get(key, -1) + 1
        number += (number % 2 == 0) != isinstance(write, Add)  # results in the even ones, refusals in the others
        waves += [{} for _ in range(number + 1 - len(waves))]
        waves[number][key] = (place, write)
        last[key] = number
    return [wave for wave in waves if wave]


def _storable(text: str) -> str:
    """A text that PostgreSQL takes, another one for every text: it has no zeros and no halves of characters."""
    return json.dumps(text) if _UNSTORABLE.search(text) else text


# ---- the connection --------------------------------------------------------------------------------------


class _Link:
    """A connection that is made again where it was lost; used by one thread at a time.

    Parameters
    ----------
    address : where it leads.
    """

    def __init__(self, address: JournalAddress) -> None:
        self.address = address
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._patient = True

    def open(self, work: Callable[[Connection], Result]) -> Result:
        """Work that is not tried again, with a connection that is made for it."""
        with self._lock:
            try:
                self._connection = self._connection or _connect(self.address)
                return work(self._connection)
            except psycopg.Error as error:
                hint = ""
                if self._connection is None:
                    hint = "; see that the server runs, and that user and password (PGPASSWORD, ~/.pgpass) are right"
                raise RunDirectoryError(
                    f"{self.address}: cannot be used as the journal: {_reason(error, self.address)}{hint}"
                ) from None

    def do(self, work: Callable[[Connection, bool], Result]) -> Result:
        """Work that is tried again where the server was lost; it is told whether it may have been done already."""
        with self._lock:
            waits: Iterator[float] = iter(_WAITS if self._patient else ())
            again, begun = False, time.monotonic()
            while True:
                try:
                    self._connection = self._connection or _connect(self.address)
                    done = work(self._connection, again)
                except psycopg.Error as error:
                    wait = next(waits, None) if self._let_go_if_lost(error) or _passes(error) else None
                    if wait is None:
                        # Whoever comes next need not wait as long again.
                        self._patient = self._connection is not None
                        raise RunDirectoryError(
                            f"{self.address}: the journal cannot be used any more: {_reason(error, self.address)} "
                            f"(tried for {time.monotonic() - begun:.0f} s); what was stored before is kept, repeat the "
                            "command to go on"
                        ) from None
                    time.sleep(wait)
                    again = True
                else:
                    self._patient = True
                    return done

    def _let_go_if_lost(self, error: psycopg.Error) -> bool:
        # Where the server has sent no code, it has not answered; the library may not have noticed the end yet.
        unanswered = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
        if self._connection is not None and (self._connection.closed or unanswered):
            self.close()
        return self._connection is None

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect(address: JournalAddress) -> Connection:
    try:
        given = conninfo_to_dict(address.url)
    except psycopg.ProgrammingError:  # its message holds what was given
        raise ConfigurationError(f"--journal: PostgreSQL cannot read the address {address}") from None
    options: dict[str, Any] = {**_ALIVE, **given, "client_encoding": "UTF8"}
    connection = psycopg.connect(**options, autocommit=True)
    try:
        # What is paid for is durable before it is used, whatever the server's default is.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: Connection) -> None:
    """Make the tables where they are missing, and see that they are those of journals."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in ("UTF8", "SQL_ASCII"):
        raise psycopg.NotSupportedError(
            f"the database is encoded in {encoding}, which cannot hold every text: make one with ENCODING 'UTF8'"
        )
    if not all(_is_there(connection, table) for table in _TABLES):
        with _alone(connection):
            for statement in _TABLES.values():
                connection.execute(statement)
    for table, columns in _COLUMNS.items():
        connection.execute(f"SELECT {columns} FROM {table} LIMIT 0")


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """A transaction while which no other process makes tables."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('oversight journal', 0))")
        yield


def _is_there(connection: Connection, table: str) -> bool:
    return connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchall() == [(True,)]


def _passes(error: psycopg.Error) -> bool:
    return (error.sqlstate or "").startswith(_PASSING)


def _reason(error: psycopg.Error, address: JournalAddress) -> str:
    """What went wrong, in one line and without the password."""
    text = " ".join(str(error).split())
    for secret in (*address.secrets, os.environ.get("PGPASSWORD", "")):
        text = text.replace(secret, "***") if secret else text
    return text
