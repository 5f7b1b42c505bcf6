"""One question to etcd: its deadline, and what becomes of it when it goes wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from statistics import median
from typing import TypeVar

from flowsvc.doctor import Unknown
from kvconfig.errors import AuthenticationFailed, KvError, PermissionDenied, Unavailable

__all__ = ["answered", "known", "timed"]

T = TypeVar("T")


async def known(question: Awaitable[T], timeout_s: float) -> T | Unknown:
    """The answer, or why there is none. Raises nothing but a cancellation."""
    try:
        async with asyncio.timeout(timeout_s):
            return await question
    except TimeoutError:
        return Unknown(f"no answer within {timeout_s:g} s")
    except Unavailable as error:
        return Unknown(error.reason)
    except KvError as error:
        return Unknown(str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding and no traceback
        return Unknown(f"{type(error).__name__}: {error}")


async def timed(question: Callable[[], Awaitable[object]], *, times: int = 1) -> float:
    """How many seconds an answer takes, the median of some ``times``."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await question()
        took.append(time.perf_counter() - began)
    return median(took)


async def answered(question: Callable[[], Awaitable[object]]) -> None:
    """Return once there is an answer; a refusal for want of rights is one.

    Of a linearizable read too: etcd asks its quorum first, then looks at the rights (measured on
    3.4.23 and 3.5.30).
    """
    with suppress(AuthenticationFailed, PermissionDenied):
        await question()
