"""Answers questions from the index. Shared: one variant serves all flows of a blueprint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from processors import Parameter, Spec, Tasks, Variant
from processors.samples.index import Index, opened
from processors.samples.messages import Answer, Query, encode, query
from processors.samples.sample import Sample

__all__ = ["QueryProcessor"]

MOST_HITS = 100


class QueryProcessor(Sample):
    """Takes ``{"query", "id", "flow", "limit"}`` from ``request``, answers on ``response``."""

    id = "query"
    spec = Spec(topics=("request", "response"), parameters={"index-path": Parameter(str)})

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        """The file is open for as long as the variant runs."""
        async with opened(Path(variant.parameter("index-path", str))) as index:
            tasks.spawn(self._answer(index, variant))
            yield

    async def _answer(self, index: Index, variant: Variant) -> None:
        while True:
            async with self.message(variant.topics["request"], query) as asked:
                if asked is not None:
                    answer = await _look_up(index, asked)
                    await self.bus.publish(variant.topics["response"], encode(answer))


async def _look_up(index: Index, asked: Query) -> Answer:
    limit = min(max(asked.limit, 1), MOST_HITS)
    try:
        hits = await index.search(asked.query, flow=asked.flow, limit=limit)
    except ValueError as error:
        return Answer(id=asked.id, query=asked.query, error=str(error))
    return Answer(id=asked.id, query=asked.query, hits=hits)
