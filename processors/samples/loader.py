"""Reads text files from a folder, and publishes each as a document."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePath

from processors import InvalidVariant, Parameter, Spec, Tasks, Variant
from processors.samples.messages import Document, EndOfLoad, encode
from processors.samples.sample import Sample

__all__ = ["Loader", "find_files", "read_text"]

MAX_BYTES = 4 * 2**20
"""Larger files are left out: they are hardly texts."""

logger = logging.getLogger(__name__)


class Loader(Sample):
    """Loads ``input-path`` once, when its variant starts, and says at the end how much it was.

    ``pattern`` may hold several, with spaces between. Started again, it loads again.
    """

    id = "loader"
    spec = Spec(
        topics=("output",),
        parameters={
            "input-path": Parameter(str),
            "pattern": Parameter(str, default="**/*.md **/*.txt"),
        },
    )

    def check(self, variant: Variant) -> None:
        """A pattern stays below the folder."""
        for pattern in variant.parameter("pattern", str).split():
            path = PurePath(pattern)
            if path.is_absolute() or ".." in path.parts:
                raise InvalidVariant("$.parameters.pattern", "expected patterns below input-path")

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        """Find the files first, so that a folder that is not there is a failure to start."""
        folder = Path(variant.parameter("input-path", str))
        patterns = variant.parameter("pattern", str).split()
        files = await asyncio.to_thread(find_files, folder, patterns)
        tasks.spawn(self._load(folder, files, variant))
        yield

    async def _load(self, folder: Path, files: list[Path], variant: Variant) -> None:
        output = variant.topics["output"]
        documents = 0
        for file in files:
            text = await asyncio.to_thread(read_text, file)
            if text is not None:
                name = file.name if file == folder else file.relative_to(folder).as_posix()
                await self.bus.publish(output, encode(Document(name, text)))
                documents += 1
        await self.bus.publish(output, encode(EndOfLoad(documents)))
        logger.info("documents loaded", extra={"variant": variant.name, "documents": documents})


def find_files(folder: Path, patterns: list[str]) -> list[Path]:
    """The files that match, in order; nothing below a folder whose name starts with a dot."""
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    found = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
    return sorted(
        file
        for file in found
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )


def read_text(file: Path) -> str | None:
    """The text of a file, or ``None`` where it is none, or has gone meanwhile."""
    try:
        if file.stat().st_size > MAX_BYTES:
            return None
        data = file.read_bytes()
    except OSError:
        return None
    return None if b"\0" in data else data.decode("utf-8", "replace")
