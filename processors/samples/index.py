"""The index itself: chunks in SQLite, found by full-text search (FTS5).

All calls of one :class:`Index` run in one thread of its own, one after another. Several indexes
may be open on one file; SQLite lets one write at a time, and the others wait.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from processors.samples.messages import Hit

__all__ = ["Index", "opened"]

T = TypeVar("T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunk (
    id INTEGER PRIMARY KEY,
    flow TEXT NOT NULL,
    document TEXT NOT NULL,
    position INTEGER NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (flow, document, position)
);
CREATE VIRTUAL TABLE IF NOT EXISTS chunk_text USING fts5 (
    text, content = 'chunk', content_rowid = 'id'
);
CREATE TRIGGER IF NOT EXISTS chunk_added AFTER INSERT ON chunk BEGIN
    INSERT INTO chunk_text (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER IF NOT EXISTS chunk_removed AFTER DELETE ON chunk BEGIN
    INSERT INTO chunk_text (chunk_text, rowid, text) VALUES ('delete', old.id, old.text);
END;
"""
_SEARCH = """
SELECT chunk.flow, chunk.document, chunk.position,
       snippet(chunk_text, 0, '[', ']', '…', 24), bm25(chunk_text)
FROM chunk_text JOIN chunk ON chunk.id = chunk_text.rowid
WHERE chunk_text MATCH :words AND (:flow = '' OR chunk.flow = :flow)
ORDER BY rank LIMIT :limit
"""
_opening = threading.Lock()  # two that make a file at the same time would find it locked


class Index:
    """An open index. :func:`opened` makes one."""

    def __init__(self, path: Path, thread: ThreadPoolExecutor) -> None:
        self._path = path
        self._thread = thread
        self._connection: sqlite3.Connection | None = None

    async def add(self, flow: str, document: str, position: int, text: str) -> None:
        """Put a chunk; position 0 first removes what there was of the document.

        Doing it twice is as doing it once.
        """
        await self._call(lambda db: _add(db, flow, document, position, text))

    async def count(self, flow: str) -> tuple[int, int]:
        """How many documents, and how many chunks, there are of a flow."""
        return await self._call(lambda db: _count(db, flow))

    async def search(self, query: str, *, flow: str = "", limit: int = 5) -> tuple[Hit, ...]:
        """The chunks with any of the words, those with more and rarer ones first.

        Raises ``ValueError`` where there is no word in ``query``.
        """
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))
        if not words:
            raise ValueError("no word to search for")
        given = {"words": words, "flow": flow, "limit": limit}
        rows = await self._call(lambda db: db.execute(_SEARCH, given).fetchall())
        return tuple(
            Hit(flow=row[0], document=row[1], position=row[2], snippet=row[3], score=row[4])
            for row in rows
        )

    async def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """``work`` in the thread. It goes on to its end there, also where the caller does not."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: work(self._connect())
        )

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            with _opening:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self._path, timeout=10)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
                connection.executescript(_SCHEMA)
            self._connection = connection
        return self._connection

    def close(self) -> None:
        """Close the file, in the thread, behind all that was asked before."""
        self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Index]:
    """The index in this file, made where there is none. Raises ``sqlite3.Error``, ``OSError``."""
    index = Index(path, ThreadPoolExecutor(1, thread_name_prefix="index"))
    try:
        await index.count("")
        yield index
    finally:
        index.close()


def _add(db: sqlite3.Connection, flow: str, document: str, position: int, text: str) -> None:
    with db:
        whole = position == 0
        db.execute(
            "DELETE FROM chunk WHERE flow = ? AND document = ? AND (? OR position = ?)",
            (flow, document, whole, position),
        )
        if text.strip():
            db.execute(
                "INSERT INTO chunk (flow, document, position, text) VALUES (?, ?, ?, ?)",
                (flow, document, position, text),
            )


def _count(db: sqlite3.Connection, flow: str) -> tuple[int, int]:
    row = db.execute(
        "SELECT count(DISTINCT document), count(*) FROM chunk WHERE flow = ?", (flow,)
    ).fetchone()
    return row[0], row[1]
