"""What is to run while etcd does not answer: the last known configuration, kept in a file.

Promises:

* Where etcd does not answer in time, that is said, and whatever the file holds is recalled: the
  informers are ``stale`` then, until etcd answers. Without a file they wait, and that is said too.
* The file is written whole or not at all, and readable by its owner only: values may be secret.
* It is written soon after a change, but never twice within ``every_s``, and not at all where it
  says the same already. The rest is written on leaving.
* It is never written before every informer has its first list, so nothing known is lost to an
  outage, however often the process is started in it.
* A write that fails is said once for each reason, ends nothing, and is tried again.

::

    {"format": 1, "root": "", "written": "2026-01-31T12:00:00Z",
     "ranges": {"/active-flow/chunker/": {"revision": 12, "items": [
       {"key": "/active-flow/chunker/f1", "value": "{…}", "create-revision": 7, …}]}}}

A file belongs to one process. Not promised: that what it holds was all true at one moment (each
range has a revision of its own), nor values that are no UTF-8.
"""

from __future__ import annotations

import asyncio
import glob
import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self, TypeAlias

import msgspec

from kvconfig.codec import Decoder
from kvconfig.errors import InvalidValue, show_key
from kvconfig.informer import Batch, Informer
from kvconfig.model import KeyValue, LeaseId, Revision
from kvconfig.owner import Owner
from processors.errors import CannotHost

__all__ = ["StateFile"]

FORMAT = 1
"""The version of the file's format; others are not read."""

logger = logging.getLogger(__name__)

_Counter: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]


class _Record(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Base of what the file is made of; its fields stand in the file as they do here."""


class _Item(_Record, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A :class:`KeyValue`, with text for its bytes."""

    key: str
    value: str
    create_revision: _Counter
    mod_revision: _Counter
    version: _Counter
    lease: int = 0

    @classmethod
    def of(cls, kv: KeyValue) -> Self:
        """Raises ``UnicodeDecodeError`` for what is no text."""
        return cls(
            key=kv.key.decode(),
            value=kv.value.decode(),
            create_revision=kv.create_revision,
            mod_revision=kv.mod_revision,
            version=kv.version,
            lease=kv.lease,
        )

    def key_value(self) -> KeyValue:
        """The inverse of :meth:`of`."""
        return KeyValue(
            key=self.key.encode(),
            value=self.value.encode(),
            create_revision=Revision(self.create_revision),
            mod_revision=Revision(self.mod_revision),
            version=self.version,
            lease=LeaseId(self.lease),
        )


class _Range(_Record, frozen=True, kw_only=True):
    """All of a range, by key, as it stood at ``revision``."""

    revision: _Counter
    items: tuple[_Item, ...]


class _Head(_Record, frozen=True, kw_only=True):
    """What tells whether to read on."""

    format: int
    root: str


class _Content(_Head, frozen=True, kw_only=True):
    """The whole file. ``ranges`` are by the first key that could be in them."""

    written: Annotated[datetime, msgspec.Meta(tz=True)]
    ranges: dict[str, _Range]


_decode_head = Decoder(_Head).decode
_decode_content = Decoder(_Content).decode

_Cached: TypeAlias = Mapping[str, tuple[Revision, Sequence[KeyValue]]]
"""What informers hold, by the first key that could be in their ranges."""


class StateFile(Owner):
    """Says that etcd does not answer; keeps what ``informers`` hold in a file, and recalls it.

    Without a ``path`` it only says so. ``root`` is that of the keys: the file of another system is
    not used. etcd gets ``patience_s`` to answer. Whoever acts on an informer waits for its
    :meth:`~kvconfig.informer.Informer.filled`.

    Entering raises :class:`CannotHost` where ``path`` can never be written. What ends an informer
    before its first list (``PermissionDenied``) ends this too.
    """

    def __init__(
        self,
        path: Path | None,
        informers: Sequence[Informer[Any]],
        *,
        root: str = "",
        every_s: float = 5.0,
        patience_s: float = 3.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = str(path or "")
        self._path = path
        self._informers = tuple(informers)
        self._root = root
        self._every_s = every_s
        self._patience_s = patience_s
        self._now = now
        self._found: _Content | None = None  # what the file holds, until it is looked at or written
        self._dirty = asyncio.Event()
        self._saving: asyncio.Task[None] | None = None
        self._said: set[str] = set()

    # -- life --------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._path is not None:
            self._path = await asyncio.to_thread(_usable, self._path)
            self._found = await self._load(self._path)
            self._dirty.set()
            for informer in self._informers:
                informer.subscribe(self._heard)
        return await super().__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        finally:
            if self._saving is not None:
                await self._saving
            if self._dirty.is_set() and all(informer.revision for informer in self._informers):
                await self._save()

    async def _run(self) -> None:
        await self._answered()
        while True:
            await self._dirty.wait()
            self._saving = asyncio.create_task(self._save(), name=f"saving {self.name}")
            await asyncio.shield(self._saving)  # leaving ends the wait, and never a write
            await asyncio.sleep(self._every_s)

    # -- while etcd does not answer ----------------------------------------------------------

    async def _answered(self) -> None:
        """Return when every informer has its first list; help out where that takes long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                await self._synced()
        empty = [informer for informer in self._informers if not informer.revision]
        if empty:
            recalled = self._recall(empty)
            await self._synced()
            event = "configuration is fresh again" if recalled else "etcd answers"
            logger.info(event, extra=self._about())

    async def _synced(self) -> None:
        for informer in self._informers:
            await informer.synced()

    def _recall(self, empty: Sequence[Informer[Any]]) -> bool:
        """Fill them from the file, and say so; whether there was anything."""
        ranges = self._found.ranges if self._found else {}
        recalled: list[Informer[Any]] = []
        waiting: list[str] = []
        for informer in empty:
            held = ranges.get(show_key(informer.range.start))
            if held is not None and informer.recall(map(_Item.key_value, held.items)):
                recalled.append(informer)
            else:
                waiting.append(informer.name)
        if self._found is None or not recalled:
            logger.warning("etcd does not answer: waiting", extra=self._about(waiting=waiting))
            return False
        logger.warning(
            "etcd does not answer: starting from the last known configuration",
            extra=self._about(
                written=msgspec.to_builtins(self._found.written),
                items=sum(len(informer.items) for informer in recalled),
                waiting=waiting,
            ),
        )
        return True

    async def _load(self, path: Path) -> _Content | None:
        """What the file holds, if that can be used."""
        try:
            return await asyncio.to_thread(_read, path, self._root)
        except FileNotFoundError:
            logger.info("no state file yet", extra=self._about())
        except (OSError, InvalidValue) as error:
            cure = "it is replaced once etcd has answered; move it away to keep it"
            about = self._about(reason=_reason(error), cure=cure)
            logger.warning("state file ignored", extra=about)
        return None

    # -- while it does -----------------------------------------------------------------------

    def _heard(self, batch: Batch[Any]) -> None:
        if batch.changes:
            self._dirty.set()

    async def _save(self) -> None:
        """Write what is cached, unless the file says so already. Only when all have their list."""
        assert self._path is not None
        self._dirty.clear()
        cached = {
            show_key(informer.range.start): (
                informer.revision,
                [item.kv for item in informer.items.values()],
            )
            for informer in self._informers
        }
        written = self._now().replace(microsecond=0)
        try:
            await asyncio.to_thread(
                _write, self._path, cached, root=self._root, written=written, found=self._found
            )
        except OSError as error:
            self._dirty.set()
            self._say(_reason(error))
        else:
            self._found = None
            self._said.clear()

    def _say(self, reason: str) -> None:
        """Log a problem once, however long it lasts."""
        if reason not in self._said:
            self._said.add(reason)
            logger.warning("state file not written", extra=self._about(reason=reason))

    def _about(self, **fields: object) -> dict[str, object]:
        return fields if self._path is None else {"file": str(self._path), **fields}


# -- the file itself: what blocks, and so runs in a thread --------------------------------------


def _usable(path: Path) -> Path:
    """Where the file really is. Raises :class:`CannotHost` where none can be."""
    try:
        real = path.resolve()
        if not real.parent.is_dir():
            raise CannotHost(f"state file {path}: there is no folder {real.parent}: create it")
        if real.exists() and not real.is_file():
            raise CannotHost(f"state file {path}: that is no regular file: name another")
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        raise CannotHost(f"state file {path}: {_reason(error)}: name another") from error
    return real


def _read(path: Path, root: str) -> _Content:
    """The content. Raises ``OSError``, and ``InvalidValue`` where it is none of ours."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # of a write that was killed
        with suppress(OSError):
            left.unlink()
    data = path.read_bytes()
    head = _decode_head(data)
    if head.format != FORMAT:
        raise InvalidValue(f"format {head.format}, this program knows {FORMAT}", path="$.format")
    if head.root != root:
        raise InvalidValue(f"it belongs to root {head.root!r}, not to {root!r}", path="$.root")
    return _decode_content(data)


def _write(
    path: Path, cached: _Cached, *, root: str, written: datetime, found: _Content | None
) -> None:
    """Write all that is ``cached``, unless ``found`` is just that. Raises ``OSError``."""
    ranges = {start: _range(revision, items) for start, (revision, items) in cached.items()}
    if found is not None and _items(found.ranges) == _items(ranges):
        return
    content = _Content(format=FORMAT, root=root, written=written, ranges=ranges)
    _replace(path, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
    logger.debug("state file written", extra={"file": str(path)})


def _range(revision: Revision, items: Iterable[KeyValue]) -> _Range:
    kept: list[_Item] = []
    for kv in items:
        if b"\0" in kv.key or b"\0" in kv.value:  # no value of ours holds it: the codec refuses it
            continue
        with suppress(UnicodeDecodeError):
            kept.append(_Item.of(kv))
    return _Range(revision=revision, items=tuple(sorted(kept, key=attrgetter("key"))))


def _items(ranges: Mapping[str, _Range]) -> dict[str, tuple[_Item, ...]]:
    """All but the revisions, which move on while a range stays as it is."""
    return {start: range_.items for start, range_ in ranges.items()}


def _replace(path: Path, data: bytes) -> None:
    """Put ``data`` in the place of the file: whole, or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:  # mkstemp made it with mode 0600
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _reason(error: Exception) -> str:
    """An error without the names of temporary files, so that equal ones look equal."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
