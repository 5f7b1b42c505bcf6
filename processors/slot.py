"""What the reconciler knows about one variant: what runs, what ran, what failed."""

from __future__ import annotations

import math
from collections.abc import Callable

from kvconfig.backoff import Backoff
from kvconfig.errors import KvError
from kvconfig.model import Revision
from kvconfig.records import VariantFailure
from processors.diff import Held, Observed
from processors.errors import Permanent, ProcessorError
from processors.lifecycle import RunningVariant
from processors.secret import hide
from processors.variant import Variant

__all__ = ["Attempts", "Slot", "describe"]

MOST_TEXT = 300
"""How much of an error's text is reported."""


def describe(error: Exception) -> str:
    """An error in one line, as it is reported: our own speak for themselves, and no secret does."""
    # A status is JSON in UTF-8: it holds neither half a surrogate pair nor a NUL.
    said = str(error).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    text = " ".join(hide(said).split())
    if not isinstance(error, ProcessorError | KvError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"


class Attempts:
    """How often one value was tried in a row without lasting success, and when it may be again."""

    __slots__ = ("_backoff", "count", "error", "retry_at", "started_at", "variant")

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.count = 0
        self.error: Exception | None = None
        self.retry_at = 0.0
        self.started_at = 0.0
        self._backoff: Backoff | None = None

    def succeeded(self, now: float) -> None:
        """It was entered. What came before is forgotten only when it has run for a while."""
        self.error = None
        self.started_at = now

    def failed(self, error: Exception, now: float, backoff: Callable[[], Backoff]) -> None:
        """It failed (again)."""
        self.count += 1
        self.error = error
        if isinstance(error, Permanent):
            self.retry_at = math.inf
            return
        if self._backoff is None:
            self._backoff = backoff()
        self.retry_at = now + self._backoff.next_s()

    def reset(self) -> None:
        """A new chance: it may be tried at once, and delays are short again."""
        self.count = 0
        self.retry_at = 0.0
        if self._backoff is not None:
            self._backoff.reset()


class Slot:
    """One variant, as an instance sees it. Mutable; the reconciler alone touches it."""

    __slots__ = (
        "failure", "good", "heard_s", "key", "label", "runner", "since", "starts", "stuck",
        "tries",
    )  # fmt: skip

    def __init__(self, key: bytes, label: str) -> None:
        self.key = key
        self.label = label
        self.runner: RunningVariant | None = None
        self.starts = 0
        self.heard_s = 0.0
        """When the first change came that is not carried out yet, on the reconciler's clock."""
        self.good: Variant | None = None
        self.tries: list[Attempts] = []
        self.stuck: Exception | None = None
        self.failure: VariantFailure | None = None
        self.since = Revision(0)
        """From which revision on it is not as desired; 0 where it is."""

    @property
    def running(self) -> Variant | None:
        """The value that was entered and has not been left."""
        runner = self.runner
        if runner is None or not runner.entered or runner.stopping or runner.crashed:
            return None
        return runner.variant

    def observed(self, now: float) -> Observed:
        """What :func:`processors.diff.decide` is to know."""
        held = tuple(
            Held(tried.variant, tried.error)
            for tried in self.tries
            if tried.error is not None and now < tried.retry_at
        )
        running = self.running
        ending = self.runner is not None and running is None
        crashed = self.runner is not None and self.runner.crashed
        return Observed(running=running, good=self.good, held=held, ending=ending, crashed=crashed)

    def behind(self, revision: Revision) -> None:
        """It is not as desired from ``revision`` on."""
        self.since = min(self.since, revision) if self.since else revision

    def attempts(self, variant: Variant) -> Attempts:
        """The attempts at this very value."""
        for tried in self.tries:
            if tried.variant.same_value(variant):
                return tried
        tried = Attempts(variant)
        self.tries.append(tried)
        return tried

    def forget_others(self, wanted: Variant | None) -> None:
        """Drop the attempts at values that are neither desired nor to be gone back to."""
        kept = [v for v in (wanted, self.good, self.running) if v is not None]
        self.tries = [t for t in self.tries if any(t.variant.same_value(v) for v in kept)]

    def next_retry_at(self, now: float) -> float:
        """When the first value that is held back may be tried again; infinity where none may."""
        times = (t.retry_at for t in self.tries if t.error is not None and t.retry_at > now)
        return min(times, default=math.inf)
