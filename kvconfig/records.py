"""Every value of the system: what stands under the keys of :mod:`kvconfig.keyspace`.

Records are frozen and compare by value. JSON field names are TrustGraph's (``blueprint-name``).
:func:`kvconfig.codec.encode` writes them in canonical form; the decoders below read them, strictly
for what processors act on.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kvconfig.codec import Decoder
from kvconfig.keyspace import VariantName

__all__ = [
    "DEFAULT_WORKSPACE",
    "LAYOUT_VERSION",
    "AppliedRecord",
    "FlowRecord",
    "FlowVariants",
    "HistoryRecord",
    "InstanceStatus",
    "LayoutRecord",
    "VariantFailure",
    "VariantRecord",
    "decode_applied",
    "decode_flow",
    "decode_history",
    "decode_json_object",
    "decode_layout",
    "decode_status",
    "decode_variant",
]

LAYOUT_VERSION = 1

DEFAULT_WORKSPACE = "default"
"""What ``{workspace}`` stands for where nobody says so. A record leaves out just this object:
msgspec leaves out a default by identity, so give it itself, and no text that equals it."""

Interfaces = dict[str, dict[str, str]]


class _Record(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Base of the records; fields that a newer version added are ignored on reading.

    Those that there are many of, and that hold text alone, are kept out of the garbage collector's
    books (``gc=False``).
    """


class VariantRecord(_Record, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The desired state of one variant: ``{"topics": {…}, "parameters": {…}}``, nothing else."""

    topics: dict[str, str] = {}
    parameters: dict[str, str] = {}


class FlowVariants(_Record, frozen=True, kw_only=True, gc=False):
    """The variants of a flow, as ``<processor>/<variant>``, without the root, sorted."""

    own: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    def own_names(self) -> list[VariantName]:
        """The variants that belong to the flow alone."""
        return [VariantName.parse(name) for name in self.own]

    def shared_names(self) -> list[VariantName]:
        """The variants that the flow refers to, perhaps with others."""
        return [VariantName.parse(name) for name in self.shared]


class FlowRecord(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """A flow: the four fields that TrustGraph has, and what stopping and updating it takes.

    ``parameters`` is every value that the flow was made with; ``given`` those of them that were
    given, and so do not change with a default (``None``: it is not known which; then all were).
    ``op`` is the id of the operation that wrote it. ``paused`` holds the rendered variants of a
    flow that is paused, by ``<processor>/<variant>``.
    """

    blueprint_name: str
    description: str
    interfaces: Interfaces
    parameters: dict[str, str]
    variants: FlowVariants
    op: str
    given: dict[str, str] | None = None
    workspace: str = DEFAULT_WORKSPACE
    paused: dict[str, VariantRecord] | None = None


def is_older_flow(data: bytes) -> bool:
    """Whether a flow's record is as older versions wrote it: it does not name its variants.

    Only the text is looked at, since such a record need not decode.
    """
    return data.startswith(b"{") and not (b'"variants"' in data and b'"op"' in data)


class HistoryRecord(_Record, frozen=True, kw_only=True):
    """One entry of ``/history/…``: who did what, when, why, and what stood there after.

    ``at`` is RFC 3339 in UTC. ``after`` is ``{"record": …, "variants": {…}}`` for a flow (the
    variants that stand, so none while it is paused), the definition for a blueprint or a parameter
    type, ``null`` once it is gone.
    """

    action: str
    by: str
    at: str
    why: str
    after: Any = None


class VariantFailure(_Record, frozen=True, kw_only=True):
    """Why a variant does not run as desired; ``since`` is RFC 3339 in UTC."""

    error: str
    attempts: int
    since: str


class InstanceStatus(_Record, frozen=True, kw_only=True):
    """The observed state of one instance.

    Everything at or below ``observed_revision`` runs, except what ``pending`` (starting or
    stopping) and ``failed`` name.
    """

    observed_revision: int
    pending: tuple[str, ...] = ()
    failed: dict[str, VariantFailure] = {}
    host: str
    started: str
    version: str


class AppliedRecord(_Record, frozen=True, kw_only=True):
    """``/applied/<set>``: what ``apply`` made of one set of files.

    ``keys`` are sorted, as ``<type>/<key>`` without the root. While an apply runs, or if it broke
    off, those that it was about to make are among them.
    """

    keys: tuple[str, ...] = ()


class LayoutRecord(_Record, frozen=True, kw_only=True):
    """``/kvconfig/layout``: which layout the keys follow."""

    version: int


decode_variant = Decoder(VariantRecord).decode
decode_flow = Decoder(FlowRecord).decode
decode_history = Decoder(HistoryRecord).decode
decode_status = Decoder(InstanceStatus).decode
decode_layout = Decoder(LayoutRecord).decode
decode_applied = Decoder(AppliedRecord).decode

_decode_dict = Decoder(dict[str, Any]).decode


def decode_json_object(data: bytes, *, key: bytes = b"") -> dict[str, Any]:
    """A blueprint, a parameter type, or any other JSON object. Raises :class:`InvalidValue`."""
    return _decode_dict(data, key=key)
