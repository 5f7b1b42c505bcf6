"""Cuts documents into pieces that overlap."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from processors import InvalidVariant, Parameter, Spec, Tasks, Variant
from processors.samples.messages import Chunk, Document, EndOfLoad, encode, loaded
from processors.samples.sample import Sample

__all__ = ["Chunker", "split"]


class Chunker(Sample):
    """Cuts what comes in into chunks of at most ``chunk-size`` characters."""

    id = "chunker"
    spec = Spec(
        topics=("input", "output"),
        parameters={
            "chunk-size": Parameter(int, default=2000, minimum=1),
            "chunk-overlap": Parameter(int, default=50, minimum=0),
        },
    )

    def check(self, variant: Variant) -> None:
        """A chunk must bring something new."""
        if variant.parameter("chunk-overlap", int) >= variant.parameter("chunk-size", int):
            raise InvalidVariant("$.parameters.chunk-overlap", "expected less than chunk-size")

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        """One task that takes documents as they come."""
        tasks.spawn(self._cut(variant))
        yield

    async def _cut(self, variant: Variant) -> None:
        size = variant.parameter("chunk-size", int)
        overlap = variant.parameter("chunk-overlap", int)
        output = variant.topics["output"]
        chunks = 0
        while True:
            async with self.message(variant.topics["input"], loaded) as message:
                if isinstance(message, Document):
                    for position, text in enumerate(split(message.text, size, overlap)):
                        chunk = Chunk(message.document, position, text)
                        await self.bus.publish(output, encode(chunk))
                        chunks += 1
                elif isinstance(message, EndOfLoad):
                    await self.bus.publish(output, encode(EndOfLoad(message.documents, chunks)))
                    chunks = 0


def split(text: str, size: int, overlap: int) -> Iterator[str]:
    """Pieces of at most ``size`` characters, each beginning ``overlap`` before the last one's end.

    Cut at white space where there is some in the second half. An empty text is one empty piece.
    """
    start = 0
    while True:
        end = start + size
        if end >= len(text):
            yield text[start:]
            return
        earliest = start + max(overlap + 1, size // 2)
        for cut in range(end, earliest, -1):
            if text[cut - 1].isspace():
                end = cut
                break
        yield text[start:end]
        start = end - overlap
