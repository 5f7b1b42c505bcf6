"""Items on their way into a store: any number of them, in memory a bounded part.

They wait in a temporary file of SQLite's, sorted by type and key as etcd sorts them, so that they
can be compared with what stands there page by page. Nobody else can open that file, and it is gone
when the process is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeAlias

from flowsvc.errors import FlowServiceError
from kvconfig.config.bulk import Write

__all__ = ["Row", "Staging"]

Row: TypeAlias = tuple[str, str, bytes, int]
"""Type, key and value of an item, and the number of the source that it comes from."""

_CACHE_KIB = 16_384
"""How much of the file SQLite holds in memory."""


class Staging:
    """The items of one seed. Close it, if any were added.

    First they are what shall be there. :meth:`settle`, :meth:`expect` and :meth:`delete` make them
    what is to be written, which :meth:`items` gives then.
    """

    def __init__(self) -> None:
        self._open: sqlite3.Connection | None = None

    def add(self, rows: Iterator[Row], twice: Callable[[str, str, int], None]) -> None:
        """Take in items. For one that is there already, ``twice`` is called.

        It gets the type, the key, and the number of the source that the first one came from.
        """
        row: Row | None = None

        def each() -> Iterator[Row]:
            nonlocal row
            for row in rows:  # noqa: UP028 - so that it is known which one was the last
                yield row

        if (first := next(remaining := each(), None)) is None:
            return  # and no file was needed
        remaining = chain([first], remaining)
        while True:
            try:
                self._db.executemany("INSERT INTO item VALUES (?, ?, ?, 0, ?)", remaining)
                return
            except sqlite3.OperationalError as error:
                reason = f"cannot keep the items in a temporary file: {error}; see TMPDIR"
                raise FlowServiceError(reason) from error
            except sqlite3.IntegrityError:  # the last one that was taken; then go on
                assert row is not None
                where = "SELECT source FROM item WHERE type = ? AND key = ?"
                (source,) = self._db.execute(where, row[:2]).fetchone()
                twice(*row[:2], source)

    def items(self, type_: str | None = None) -> Iterator[Write]:
        """All, or those of one type, in order. What is behind may change meanwhile."""
        if self._open is None:
            return iter(())
        where, values = ("", ()) if type_ is None else ("WHERE type = ?", (type_,))
        asked = f"SELECT type, key, value, expected FROM item {where} ORDER BY type, key"
        return map(Write._make, self._db.execute(asked, values))

    def settle(self, type_: str, key: str) -> None:
        """Nothing is to be done about this one."""
        self._db.execute("DELETE FROM item WHERE type = ? AND key = ?", (type_, key))

    def expect(self, type_: str, key: str, revision: int) -> None:
        """This one replaces what stands at ``revision``."""
        update = "UPDATE item SET expected = ? WHERE type = ? AND key = ?"
        self._db.execute(update, (revision, type_, key))

    def delete(self, type_: str, key: str, revision: int) -> None:
        """What stands at ``revision`` is to go."""
        self._db.execute("INSERT INTO item VALUES (?, ?, NULL, ?, 0)", (type_, key, revision))

    def close(self) -> None:
        """Let go of the file. Twice does no harm."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._open is None:
            # No name: a file of its own, which SQLite has removed from its folder already.
            self._open = sqlite3.connect("", isolation_level=None)
            for pragma in (
                "journal_mode = OFF",
                "synchronous = OFF",
                f"cache_size = -{_CACHE_KIB}",
            ):
                self._open.execute(f"PRAGMA {pragma}")
            self._open.execute(
                "CREATE TABLE item (type TEXT, key TEXT, value BLOB, expected INTEGER,"
                " source INTEGER, PRIMARY KEY (type, key)) WITHOUT ROWID"
            )
            self._open.execute("BEGIN")
        return self._open
