"""What the samples have in common: topics, and a loop over the messages of one."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import msgspec

from processors import FlowProcessor
from processors.samples.topics import Topics, shared_topics

__all__ = ["Sample"]

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Sample(FlowProcessor):
    """A processor on topics: those of the process, or others that a test gives."""

    def __init__(self, topics: Topics | None = None) -> None:
        self.bus: Topics = topics or shared_topics()

    @asynccontextmanager
    async def message(
        self, topic: str, decoder: msgspec.json.Decoder[T]
    ) -> AsyncIterator[T | None]:
        """The next message, decoded; ``None`` for one that is not what it should be.

        It counts as handled when the block is left, not before: a variant that is stopped in the
        middle leaves the message to the next.
        """
        async with self.bus.take(topic) as data:
            try:
                decoded = decoder.decode(data)
            except msgspec.MsgspecError as error:
                reason = type(error).__name__
                logger.warning("message dropped", extra={"topic": topic, "reason": reason})
                decoded = None
            yield decoded
