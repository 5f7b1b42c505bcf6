"""Stands in for any processor: takes whatever it is given, and does nothing with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from processors import FlowProcessor, Tasks, Variant

__all__ = ["Generic"]


class Generic(FlowProcessor):
    """For blueprints whose real processors are not here: ``processors.samples.generic:Generic=ID``.

    It shows who hears what, and reports as any processor does.
    """

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        """Runs until it is stopped."""
        yield
