"""A secret that a variant was given by reference: shown nowhere, revealed only on purpose.

Code that reveals one may still put it into an error or a log line, and libraries do (an address
with a password in it). So what was read is remembered, and taken out of what this process tells.
"""

from __future__ import annotations

import json
import traceback
from typing import Any, NoReturn, Self, final

__all__ = ["Secret", "hide", "traceback_of"]

_MASK = "***"

_SHORTEST = 6
"""What has fewer characters is left in: it would be found in half the words of a log."""

_MOST_REMEMBERED = 4096

_read: dict[str, None] = {}
"""Every value read, in each form that it may have in a line of a log. They outlive the secrets: an
error is told after its variant has ended. The oldest go first."""


@final
class Secret:
    """The value that a parameter with ``secret=True`` refers to.

    Its text in any form is ``<secret env:API_KEY>``; only :meth:`reveal` gives the value. It cannot
    be pickled or encoded. Two are equal if they have the same ``reference``, whatever the values.
    """

    __slots__ = ("_value", "reference")

    reference: str
    """Where the value comes from, as it stands in etcd: ``env:API_KEY``."""

    def __init__(self, reference: str, value: str | None = None) -> None:
        self.reference = reference
        self._value = value
        if value is not None and len(value) >= _SHORTEST:
            _remember(value)

    def reveal(self) -> str:
        """The value. Keep it where it is used: what is written elsewhere than to the log is told.

        Raises ``RuntimeError`` before the variant is entered (in ``check()``): it is read then.
        """
        if self._value is None:
            raise RuntimeError(f"{self} is not read before its variant is entered")
        return self._value

    def __repr__(self) -> str:
        return f"<secret {self.reference}>"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __eq__(self, other: object) -> bool:
        return self.reference == other.reference if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash((Secret, self.reference))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{self} cannot be pickled")


def hide(text: str) -> str:
    """``text`` with ``***`` for every secret in it that this process has read.

    As it was read, or as JSON or Python write it; not in part, in no other form, and not what has
    less than six characters.
    """
    for form in sorted(_read, key=len, reverse=True):
        text = text.replace(form, _MASK)
    return text


def traceback_of(error: BaseException | None) -> BaseException | None:
    """``error``, to be logged with its traceback; ``None`` where that would tell a secret."""
    if error is None or not _read:
        return error
    text = "".join(traceback.format_exception(error))
    return error if hide(text) == text else None


def _remember(value: str) -> None:
    forms = (value, json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value))
    for form in (forms[0], *(quoted[1:-1] for quoted in forms[1:])):
        _read.pop(form, None)
        _read[form] = None
    while len(_read) > _MOST_REMEMBERED:
        del _read[next(iter(_read))]
