"""A secret that a variant was given by reference: shown nowhere, revealed only on purpose."""

from __future__ import annotations

from typing import Any, NoReturn, Self, final

__all__ = ["Secret"]


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

    def reveal(self) -> str:
        """The value. Keep it where it is used: whoever logs it, or raises it, has told it.

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
