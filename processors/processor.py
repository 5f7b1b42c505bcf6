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

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar, overload

from processors.configuration import ConfigView, Views
from processors.lifecycle import Tasks
from processors.resolving import Resolver
from processors.spec import Spec
from processors.variant import Variant

__all__ = ["FlowProcessor"]

T = TypeVar("T")


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
    """What a variant must have, and which configuration is read beside. Checked before
    :meth:`variant` sees it."""

    concurrency: ClassVar[int] = 16
    """How many variants may be starting or stopping at the same time."""

    patience_s: ClassVar[float] = 1.0
    """A start or stop that takes longer is reported, and no longer counts for ``concurrency``: one
    that hangs hurts no other."""

    start_timeout_s: ClassVar[float] = 60.0
    """How long entering :meth:`variant`, or :meth:`update`, may take before it is cancelled."""

    drain_timeout_s: ClassVar[float] = 5.0
    """How long tasks spawned with ``drain=True`` may go on when their variant stops."""

    stop_timeout_s: ClassVar[float] = 10.0
    """How long leaving :meth:`variant` may take in all before it is cancelled."""

    secret_resolvers: Mapping[str, Resolver] = MappingProxyType({})
    """How references to secrets are resolved, by scheme; before ``env``, ``file`` and what is
    installed (:mod:`processors.resolving`)."""

    _views: Views = MappingProxyType({})

    def variant(self, variant: Variant, tasks: Tasks) -> AbstractAsyncContextManager[object]:
        """Run one variant: entering starts it, leaving stops it. Subclasses define this.

        Entered means ready: wait for whatever it needs before the ``yield``. ``tasks`` are the
        variant's own background tasks. When it stops, those that drain may come to their end, the
        others are cancelled; then the context is left (with the error, where one crashed).
        """
        raise NotImplementedError(f"{type(self).__name__} does not define variant()")

    async def update(self, old: Variant, new: Variant, running: Any) -> bool:
        """Take a changed value in place, where that can be done; say whether it was.

        ``running`` is what :meth:`variant` yielded for ``old``. With ``False`` (as here), or an
        error, the old one is stopped and the new one started. ``new`` has passed all checks.
        """
        return False

    def check(self, variant: Variant) -> None:
        """Refuse what ``spec`` cannot express, by raising ``InvalidVariant``.

        It is asked while the last good value still runs; no I/O here.
        """

    @overload
    def config(self, type_: str) -> ConfigView[Any]: ...
    @overload
    def config(self, type_: str, shape: type[T]) -> ConfigView[T]: ...
    def config(self, type_: str, shape: Any = None) -> ConfigView[Any]:
        """The live view of a type of configuration that ``spec.config`` declares.

        It is there, and complete, whenever a variant is entered, checked or updated. ``shape``
        only tells the type checker what was declared. Raises ``LookupError`` where nothing was,
        and ``TypeError`` where something else was.
        """
        if type_ not in self.spec.config:
            raise LookupError(f"{type(self).__name__} reads {type_!r}: declare it in spec.config")
        declared = self.spec.config[type_]
        if shape is not None and shape != declared:
            raise TypeError(f"configuration {type_!r} is declared as {declared}, not {shape}")
        if (type_, declared) not in self._views:
            raise LookupError(f"{type(self).__name__} is not hosted yet")
        return self._views[type_, declared]

    def attach(self, views: Mapping[tuple[str, Any], ConfigView[Any]]) -> None:
        """What :meth:`config` gives from now on. Hosts call this, nobody else."""
        self._views = views
