"""Puts chunks into the index."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from processors import Parameter, Spec, Tasks, Variant
from processors.samples.index import Index, opened
from processors.samples.messages import Chunk, EndOfLoad, Indexed, chunked, encode
from processors.samples.sample import Sample

__all__ = ["Indexer"]

logger = logging.getLogger(__name__)


class Indexer(Sample):
    """Indexes the chunks of one flow (the variant's name) in the file ``index-path``.

    At the end of a load it publishes to ``done``, where that topic is given.
    """

    id = "indexer"
    spec = Spec(
        topics=("input",),
        optional_topics=("done",),
        parameters={"index-path": Parameter(str)},
    )

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        """The file is open for as long as the variant runs."""
        async with opened(Path(variant.parameter("index-path", str))) as index:
            tasks.spawn(self._fill(index, variant))
            yield

    async def _fill(self, index: Index, variant: Variant) -> None:
        flow = variant.name
        while True:
            async with self.message(variant.topics["input"], chunked) as message:
                if isinstance(message, Chunk):
                    await index.add(flow, message.document, message.position, message.text)
                elif isinstance(message, EndOfLoad):
                    await self._done(index, variant)

    async def _done(self, index: Index, variant: Variant) -> None:
        documents, chunks = await index.count(variant.name)
        counts = {"documents": documents, "chunks": chunks}
        logger.info("documents indexed", extra={"variant": variant.name, **counts})
        if topic := variant.topics.get("done"):
            await self.bus.publish(topic, encode(Indexed(variant.name, documents, chunks)))
