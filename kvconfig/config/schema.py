"""What the values of a type must be: the JSON Schema at ``/schema/<type>``, compiled.

References are never followed out of the schema, what it refers to itself is bounded
(:mod:`kvconfig.config.growth`), patterns are matched in linear time, and what is said of a value
never holds the value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from kvconfig.config.growth import MAX_WAYS, depth_of, ways_through
from kvconfig.errors import InvalidSchema, InvalidValue, SchemaViolated, Violation

if TYPE_CHECKING:
    import jsonschema_rs

__all__ = ["Schema"]

MOST_FOUND = 100
"""How many violations of one value are told."""


class Schema:
    """A compiled schema. Raises :class:`InvalidSchema` for a document that is none.

    Also where the library that checks is not there: it comes with ``kvconfig[service]``, and a
    value is never written unchecked.
    """

    def __init__(self, type_: str, document: Any) -> None:
        try:
            import jsonschema_rs
        except ModuleNotFoundError as error:
            reason = "checking it needs jsonschema-rs: pip install 'kvconfig[service]'"
            raise InvalidSchema(type_, reason) from error
        self.type = type_
        self.document = document
        try:
            self._ways = ways_through(document)
        except InvalidValue as error:
            raise InvalidSchema(type_, error.reason, path=error.path) from error
        patterns = jsonschema_rs.RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
        try:
            self._validator: jsonschema_rs.Validator = jsonschema_rs.validator_for(
                document, offline=True, mask="the value", pattern_options=patterns
            )
        except (jsonschema_rs.ValidationError, ValueError) as error:
            reason = getattr(error, "message", str(error))
            path = json_path(getattr(error, "instance_path", ()))
            raise InvalidSchema(type_, reason, path=path) from error

    def check(self, value: Any, *, key: bytes) -> None:
        """Raise :class:`SchemaViolated`, with every violation, where there is one.

        Raises :class:`InvalidValue` for what the validator cannot hold.
        """
        try:
            if self._validator.is_valid(value):
                return
            found = sorted(self._violations(value))
        except (ValueError, RecursionError) as error:
            raise InvalidValue(str(error), key=key) from error
        raise SchemaViolated(self.type, key, found)

    def _violations(self, value: Any) -> Iterator[Violation]:
        """What is wrong, if that can be said at all.

        Each way through the schema has its own violations, and each way back into it multiplies
        them with every level of the value.
        """
        ways, back = self._ways
        if back > 1 and ways * back ** depth_of(value) > MAX_WAYS:
            yield Violation("$", "is not as it should be, and too deep to say where")
            return
        for error in islice(self._validator.iter_errors(value), MOST_FOUND):
            yield Violation(json_path(error.instance_path), error.message)


def json_path(steps: Sequence[str | int]) -> str:
    """``$.a[0].b``"""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
