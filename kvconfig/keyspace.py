"""Every key of the system, built and parsed in this one place.

=============================================  ==============================  ================
key                                            value (see kvconfig.records)    written by
=============================================  ==============================  ================
``/active-flow/<processor>/<variant>``         VariantRecord                   flow service
``/flow/<flow>``                               FlowRecord                      flow service
``/flow-ref/<processor>/<variant>/<flow>``     ``{}``                          flow service
``/flow-blueprint/<name>``                     the blueprint                   flow service
``/blueprint-use/<blueprint>/<flow>``          ``{}``                          flow service
``/parameter-type/<name>``                     the parameter type              flow service
``/history/<type>/<key>/<op>``                 HistoryRecord                   flow service
``/processor/<processor>/<instance>``          InstanceStatus, under a lease   the instance
``/schema/<type>``                             a JSON Schema                   operators
``/applied/<set>``                             AppliedRecord                   flowctl
``/kvconfig/layout``                           LayoutRecord                    the first service
``/<type>/<key>``                              any other configuration         operators
=============================================  ==============================  ================

A root such as ``@staging`` puts a whole system under ``/@staging/`` beside another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kvconfig.errors import InvalidName, ReservedType
from kvconfig.keys import Range, check_item_key, check_name, check_root, prefix

__all__ = ["RESERVED_TYPES", "ItemName", "Keyspace", "VariantName"]

RESERVED_TYPES: dict[str, str] = {
    "active-flow": "the flow service",
    "flow": "the flow service",
    "flow-ref": "the flow service",
    "flow-blueprint": "the flow service",
    "blueprint-use": "the flow service",
    "parameter-type": "the flow service",
    "history": "the flow service",
    "processor": "the processors",
    "schema": "flowctl config schema",
    "applied": "flowctl apply",
    "kvconfig": "kvconfig itself",
}
"""Types that the config layer reads and refuses to write, and who writes them."""


class VariantName(NamedTuple):
    """Which entry of which processor; written ``chunker/f1`` in a flow's record."""

    processor: str
    variant: str

    def __str__(self) -> str:
        return f"{self.processor}/{self.variant}"

    @classmethod
    def parse(cls, text: str) -> VariantName:
        """The inverse of ``str``. Raises :class:`InvalidName`."""
        processor, slash, variant = text.partition("/")
        if not slash:
            raise InvalidName(text, what="variant", rule="<processor>/<variant>")
        return cls(check_name(processor, "processor"), check_name(variant, "variant"))


class ItemName(NamedTuple):
    """A configuration item: ``/<type>/<key>``."""

    type: str
    key: str


class Keyspace:
    """Builds and parses keys under one root (``""`` or ``@name``).

    Builders check each part and raise :class:`InvalidName`; parsers raise it for a key that no
    builder makes (somebody else wrote it), and never guess.
    """

    def __init__(self, root: str = "") -> None:
        self.root = check_root(root)
        self._start = f"/{root}" if root else ""
        self._base = f"{self._start}/"

    def __repr__(self) -> str:
        return f"Keyspace({self.root!r})"

    # -- one key -----------------------------------------------------------------------------

    def active_flow(self, name: VariantName) -> bytes:
        """The desired state of one variant."""
        processor, variant = name
        check_name(processor, "processor")
        check_name(variant, "variant")
        return f"{self._base}active-flow/{processor}/{variant}".encode()

    def flow(self, flow: str) -> bytes:
        """The record of a flow."""
        return self._key("flow", check_name(flow, "flow id"))

    def flow_ref(self, name: VariantName, flow: str) -> bytes:
        """That ``flow`` needs this shared variant."""
        return self._key("flow-ref", *self._variant(name), check_name(flow, "flow id"))

    def flow_blueprint(self, blueprint: str) -> bytes:
        """A blueprint."""
        return self._key("flow-blueprint", check_name(blueprint, "blueprint name"))

    def blueprint_use(self, blueprint: str, flow: str) -> bytes:
        """That ``flow`` was made from ``blueprint``."""
        checked = check_name(blueprint, "blueprint name"), check_name(flow, "flow id")
        return self._key("blueprint-use", *checked)

    def parameter_type(self, name: str) -> bytes:
        """A parameter type."""
        return self._key("parameter-type", check_name(name, "parameter type"))

    def history(self, type_: str, key: str, op: str) -> bytes:
        """What operation ``op`` did to ``/<type>/<key>``."""
        checked = check_name(type_, "type"), check_name(key, "name"), check_name(op, "op")
        return self._key("history", *checked)

    def processor(self, processor: str, instance: str) -> bytes:
        """Presence and status of one instance."""
        checked = check_name(processor, "processor"), check_name(instance, "instance")
        return self._key("processor", *checked)

    def layout(self) -> bytes:
        """The version of this very layout."""
        return self._key("kvconfig", "layout")

    def schema(self, type_: str) -> bytes:
        """What values of a type must be."""
        return self._key("schema", check_name(type_, "type"))

    def applied(self, set_: str) -> bytes:
        """What ``apply`` made of one set of files."""
        return self._key("applied", check_name(set_, "set"))

    def item(self, type_: str, key: str) -> bytes:
        """A configuration item of any type, for reading."""
        return self._key(check_name(type_, "type"), check_item_key(key))

    def writable_item(self, type_: str, key: str) -> bytes:
        """A configuration item that the config layer may write. Raises :class:`ReservedType`."""
        return self.item(_unreserved(type_), key)

    # -- ranges ------------------------------------------------------------------------------

    def everything(self) -> Range:
        """All keys under the root. Without one: all keys, those of other roots too."""
        return prefix(self._base.encode())

    def type_range(self, type_: str) -> Range:
        """All keys of one type."""
        return self._range(check_name(type_, "type"))

    def writable_type(self, type_: str) -> Range:
        """All keys of a type that the config layer may write. Raises :class:`ReservedType`."""
        return self.type_range(_unreserved(type_))

    def type_ranges(self, types: Iterable[str]) -> list[Range]:
        """The keys of ``types``, in order, each once."""
        found = {self.type_range(type_) for type_ in types}
        return sorted(found, key=lambda range_: range_.start)

    def all_types(self, *, but: Iterable[str] = ()) -> list[Range]:
        """All keys of this root alone, those of some types left out, in order."""
        whole = self.everything()
        # Other roots: no type begins with "@", and "A" is what follows it.
        roots = Range(whole.start + b"@", whole.start + b"A")
        ranges, start = [], whole.start
        for gap in sorted([roots, *self.type_ranges(but)], key=lambda range_: range_.start):
            ranges.append(Range(start, gap.start))
            start = gap.end
        return [*ranges, Range(start, whole.end)]

    def active_flow_range(self, processor: str) -> Range:
        """The variants of one processor: what an instance watches."""
        return self._range("active-flow", check_name(processor, "processor"))

    def flow_ref_range(self, name: VariantName) -> Range:
        """The references to one shared variant."""
        return self._range("flow-ref", *self._variant(name))

    def blueprint_use_range(self, blueprint: str) -> Range:
        """The flows made from one blueprint."""
        return self._range("blueprint-use", check_name(blueprint, "blueprint name"))

    def history_range(self, type_: str, key: str) -> Range:
        """All that was ever done to one flow, blueprint or parameter type."""
        return self._range("history", check_name(type_, "type"), check_name(key, "name"))

    def history_type_range(self, type_: str) -> Range:
        """All that was ever done to the things of one type."""
        return self._range("history", check_name(type_, "type"))

    def flow_ref_processor_range(self, processor: str) -> Range:
        """All references to variants of one processor."""
        return self._range("flow-ref", check_name(processor, "processor"))

    def processor_range(self, processor: str) -> Range:
        """The instances of one processor."""
        return self._range("processor", check_name(processor, "processor"))

    # -- parsing -----------------------------------------------------------------------------

    def parse_active_flow(self, key: bytes) -> VariantName:
        """Which variant a key under ``/active-flow/`` stands for."""
        processor, variant = self._parts(key, "active-flow", 2)
        return VariantName(check_name(processor, "processor"), check_name(variant, "variant"))

    def parse_flow_ref(self, key: bytes) -> tuple[VariantName, str]:
        """Which shared variant is held by which flow."""
        processor, variant, flow = self._parts(key, "flow-ref", 3)
        name = VariantName(check_name(processor, "processor"), check_name(variant, "variant"))
        return name, check_name(flow, "flow id")

    def parse_named(self, key: bytes, type_: str) -> str:
        """The name in a key ``/<type>/<name>`` of the flow service's own types."""
        (name,) = self._parts(key, type_, 1)
        return check_name(name, type_)

    def parse_blueprint_use(self, key: bytes) -> tuple[str, str]:
        """Which blueprint is used by which flow."""
        blueprint, flow = self._parts(key, "blueprint-use", 2)
        return check_name(blueprint, "blueprint name"), check_name(flow, "flow id")

    def parse_history(self, key: bytes) -> tuple[str, str, str]:
        """The type and the name of what was changed, and the operation."""
        type_, name, op = self._parts(key, "history", 3)
        return check_name(type_, "type"), check_name(name, "name"), check_name(op, "operation")

    def parse_processor(self, key: bytes) -> tuple[str, str]:
        """Which instance of which processor."""
        processor, instance = self._parts(key, "processor", 2)
        return check_name(processor, "processor"), check_name(instance, "instance")

    def parse_item(self, key: bytes) -> ItemName:
        """Type and key of a configuration item."""
        type_, _, name = self._text(key).partition("/")
        return ItemName(check_name(type_, "type"), check_item_key(name))

    def type_of(self, key: bytes) -> str:
        """Of which type a key below the root is, whatever else it says; ``""`` where of none."""
        name, slash, _ = key.removeprefix(self._base.encode()).partition(b"/")
        try:
            return check_name(name.decode(), "type") if slash else ""
        except (InvalidName, UnicodeDecodeError):
            return ""

    # -- inside ------------------------------------------------------------------------------

    def _key(self, *parts: str) -> bytes:
        return "/".join((self._start, *parts)).encode()

    def _range(self, *parts: str) -> Range:
        return prefix(self._key(*parts) + b"/")

    @staticmethod
    def _variant(name: VariantName) -> tuple[str, str]:
        return check_name(name.processor, "processor"), check_name(name.variant, "variant")

    def _text(self, key: bytes) -> str:
        """The key below the root."""
        try:
            text = key.decode()
        except UnicodeDecodeError:
            shown = key.decode("utf-8", "backslashreplace")
            raise InvalidName(shown, what="key", rule="UTF-8 only") from None
        if not text.startswith(self._base):
            raise InvalidName(text, what="key", rule=f"keys of this root start with {self._base}")
        return text[len(self._base) :]

    def _parts(self, key: bytes, type_: str, count: int) -> list[str]:
        first, *parts = self._text(key).split("/")
        if first != type_ or len(parts) != count:
            rule = f"{self._base}{type_}/ and {count} name{'s' if count > 1 else ''} after it"
            raise InvalidName(key.decode(), what="key", rule=rule)
        return parts


def _unreserved(type_: str) -> str:
    """The type itself, if the config layer may write it."""
    if type_ in RESERVED_TYPES:
        raise ReservedType(type_, owner=RESERVED_TYPES[type_])
    return type_
