"""How long to wait before trying again: exponential, jittered, bounded. One policy for all.

tenacity's wait strategies do the arithmetic; a :class:`Backoff` is one for loops that live as long
as their owner, which ``tenacity.retry`` is not made for.
"""

from __future__ import annotations

import tenacity

__all__ = ["Backoff"]


class Backoff:
    """Delays that grow from ``first_s`` towards ``most_s``, each drawn at random below its bound.

    Full jitter keeps many clients from coming back at the same moment.
    """

    def __init__(self, *, first_s: float = 0.05, most_s: float = 2.0) -> None:
        self._wait = tenacity.wait_random_exponential(multiplier=first_s, max=most_s)
        self.attempts = 0

    def next_s(self) -> float:
        """Count one more failure; the seconds to wait after it."""
        self.attempts += 1
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = self.attempts
        return self._wait(state)

    def reset(self) -> None:
        """It worked: the next delay is a short one again."""
        self.attempts = 0
