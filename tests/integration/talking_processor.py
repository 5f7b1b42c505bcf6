"""A processor that logs, inside its variants and in tasks of theirs, and fails as it is told."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from processors import FlowProcessor, Parameter, Spec, Tasks, Variant

logger = logging.getLogger(__name__)


class Talking(FlowProcessor):
    """Says ``said`` on each occasion."""

    id = "talking"
    spec = Spec(parameters={"fail": Parameter(bool, default=False)}, config={"prompt": object})

    def __init__(self, said: str = "hello") -> None:
        self.said = said

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        logger.info("in the variant", extra={"said": self.said})
        if variant.parameter("fail", bool):
            raise RuntimeError("told to fail")
        tasks.spawn(self._task())
        yield

    async def _task(self) -> None:
        logger.info("in a task", extra={"said": self.said})
