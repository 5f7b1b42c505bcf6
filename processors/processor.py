"""The base class of processors: what happens inside one variant, and nothing else.

::

    class Chunker(FlowProcessor):
        id = "chunker"
        spec = Spec(
            topics=("input", "output"),
            parameters={"chunk-size": Parameter(int, default=2000, minimum=1)},
        )

        @asynccontextmanager
        async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
            tasks.spawn(self.chunk(variant))     # ends with the variant; a crash is noticed
            yield                                # entered: the variant runs

Nobody calls these methods but a host (:mod:`processors.instance`, ``processors run``).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from processors.lifecycle import Tasks
from processors.spec import Spec
from processors.variant import Variant

__all__ = ["FlowProcessor"]


class FlowProcessor:
    """A service that runs the variants which stand under ``/active-flow/<id>/``.

    Promises to a subclass: :meth:`variant` is entered once for each variant and left before it is
    entered again, with another value or after a failure; variants of different names run side by
    side. What is raised, while entering or in a spawned task, is that variant's failure: reported,
    and retried with growing delays (:class:`~processors.errors.Permanent`: not before the next
    put). While a new value cannot be used, the last good one runs on.

    Not promised: that every value ever put is seen; only the latest counts.
    """

    id: str = ""
    """Which processor this is. Set in the class; a host may give an instance another."""

    spec: Spec = Spec()
    """What a variant must have. Checked before :meth:`variant` sees it."""

    concurrency: ClassVar[int] = 16
    """How many variants may be starting or stopping at the same time."""

    start_timeout_s: ClassVar[float] = 60.0
    """How long entering :meth:`variant` may take before it is cancelled and counts as failed."""

    stop_timeout_s: ClassVar[float] = 10.0
    """How long leaving :meth:`variant` may take before it is cancelled."""

    def variant(self, variant: Variant, tasks: Tasks) -> AbstractAsyncContextManager[object]:
        """Run one variant: entering starts it, leaving stops it. Subclasses define this.

        ``tasks`` are the variant's own background tasks. They are cancelled first when it stops;
        then the context is left (with the error, where one of them crashed).
        """
        raise NotImplementedError(f"{type(self).__name__} does not define variant()")

    def check(self, variant: Variant) -> None:
        """Refuse what ``spec`` cannot express, by raising ``InvalidVariant``.

        It is asked while the last good value still runs; no I/O here.
        """
