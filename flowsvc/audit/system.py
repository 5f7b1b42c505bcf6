"""What an audit looks at: keys by what they mean, flows as they should be, who claims what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flowsvc.audit.anomaly import unchanged
from flowsvc.masking import SecretsOf
from kvconfig.errors import InvalidValue
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.records import FlowRecord, FlowVariants, VariantRecord, decode_variant
from kvconfig.txn import Compare

__all__ = ["Claims", "Entry", "Flow", "Keys", "Said", "System", "active", "listed", "value_of"]

_NOTHING = FlowVariants()


class Said(msgspec.Struct, frozen=True):
    """A history entry; ``after`` is not looked into until somebody asks."""

    action: str
    by: str
    at: str
    why: str
    after: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def gone(self) -> bool:
        """Whether the flow was gone after it."""
        return bytes(self.after) == b"null"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A history entry of a flow; ``said`` is ``None`` where it cannot be read, for ``reason``."""

    op: str
    kv: KeyValue
    said: Said | None
    reason: str = ""


class Flow(msgspec.Struct, kw_only=True):
    """A flow that exists, and what it should be.

    ``record`` is ``None`` where nothing can be read that says so. ``values`` by
    ``<processor>/<variant>``: those that its variants should have, as far as anything says.
    ``disputed``: variants that it would have, if its history were right and not its record.
    ``unwritten``: the guard of the history entry that its record names, where that is not readable.
    """

    id: str
    kv: KeyValue
    record: FlowRecord | None = None
    values: Mapping[str, VariantRecord] = {}
    disputed: Sequence[str] = ()
    unwritten: Compare | None = None

    @property
    def own(self) -> Sequence[str]:
        """What it should have in ``/active-flow/`` for itself."""
        return () if self.record is None else active(self.record).own

    @property
    def shared(self) -> Sequence[str]:
        """What it should refer to."""
        return () if self.record is None else active(self.record).shared

    @property
    def names(self) -> Sequence[str]:
        """All that it should have in ``/active-flow/``, its own and what it shares."""
        return (*self.own, *self.shared)

    @property
    def guard(self) -> Compare:
        """That its record was not written since."""
        return unchanged(self.kv)


class Claims(msgspec.Struct):
    """Who says that he has a variant."""

    own: list[Flow] = []
    shared: list[Flow] = []


class Keys(msgspec.Struct):
    """All keys by what they mean; variants as ``<processor>/<variant>``."""

    active: dict[str, KeyValue] = {}
    flows: dict[str, KeyValue] = {}
    refs: dict[str, dict[str, KeyValue]] = {}
    uses: dict[tuple[str, str], KeyValue] = {}
    blueprints: dict[str, KeyValue] = {}
    types: dict[str, KeyValue] = {}
    history: dict[str, list[Entry]] = {}
    type_history: dict[str, list[KeyValue]] = {}


class System(msgspec.Struct, kw_only=True):
    """What the checks look at."""

    keyspace: Keyspace
    keys: Keys
    flows: dict[str, Flow]
    claims: dict[str, Claims] = {}
    at: str
    secrets: SecretsOf

    def is_plain(self, flow: Flow, variants: Mapping[str, VariantRecord]) -> bool:
        """Whether these values of its variants hold one for which a reference has to stand."""
        if flow.record is None:
            return False
        found = self.secrets(flow.record.blueprint_name).plain_in(flow.id, flow.record, variants)
        return any(plain.variant for plain in found)


def active(record: FlowRecord) -> FlowVariants:
    """What the flow has, by its record, in ``/active-flow/``: nothing while it is paused."""
    return record.variants if record.paused is None else _NOTHING


def value_of(kv: KeyValue) -> VariantRecord | None:
    """The value of a variant; ``None`` where it is none."""
    try:
        return decode_variant(kv.value, key=kv.key)
    except InvalidValue:
        return None


def listed(flows: Sequence[Flow]) -> str:
    """Some of them by name, at most three."""
    names = ", ".join(repr(flow.id) for flow in flows[:3])
    more = f" and {len(flows) - 3} more" if len(flows) > 3 else ""
    return f"flow{'s' if len(flows) > 1 else ''} {names}{more}"
