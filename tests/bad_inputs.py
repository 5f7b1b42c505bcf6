"""What no door lets in: one table of bad names, texts and documents, for the tests of every door.

A door is wherever something comes from outside: the codec, the API, the command line, an import, a
migration, and etcd itself, in which anybody may have written.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from kvconfig.codec import MAX_DEPTH

__all__ = ["JSON", "NAMES", "SCHEMAS", "YAML", "Bad", "deep", "ids", "schema_bomb"]


class Bad(NamedTuple):
    """One input, and a part of what is said about it."""

    name: str
    input: Any
    says: str


def ids(bad: object) -> str | None:
    """What pytest calls one."""
    return bad.name if isinstance(bad, Bad) else None


def deep(levels: int) -> bytes:
    """Lists inside each other."""
    return b"[" * levels + b"]" * levels


def schema_bomb(levels: int) -> dict[str, Any]:
    """A schema of ``levels`` lines that is looked at in 2**levels ways."""
    twice = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$defs": twice | {f"d{levels}": {"type": "object"}}, "$ref": "#/$defs/d0"}


NAMES = [
    Bad(name, input_, "is not allowed")
    for name, input_ in [
        ("empty", ""),
        ("too-long", "x" * 129),
        ("dots", ".."),
        ("path", "../etc/passwd"),
        ("slash", "a/"),
        ("inner-dots", "a/../b"),
        ("inner-dot", "a/./b"),
        ("newline", "chunker\n"),
        ("nul", "a\0b"),
        ("space-last", "a "),
        ("cyrillic", "сhunker"),  # noqa: RUF001 - it only looks like a c
        ("full-width", "１a"),  # noqa: RUF001 - likewise
        ("zero-width", "a\u200bb"),
        ("combining", "a\u0301b"),
        ("placeholder", "{id}"),
    ]
]
"""Names that are none, neither of a flow nor as the key of an item."""

JSON = [
    Bad("not-json", b"not json", "not JSON"),
    Bad("empty", b"", "not JSON"),
    Bad("cut-off", b'{"a": ', "not JSON"),
    Bad("two", b"{} {}", "not JSON"),
    Bad("nan", b'{"a": NaN}', "not JSON"),
    Bad("infinity", b'{"a": -Infinity}', "not JSON"),
    Bad("twice", b'{"a": {"secret": 1, "secret": 2}}', "stands twice"),
    Bad("twice-escaped", b'{"a": {"b": 1, "\\u0062": 2}}', "stands twice"),
    Bad("raw-nul", b'{"a": "\0"}', "not JSON"),
    Bad("nul", b'{"a": "x\\u0000y"}', "NUL"),
    Bad("nul-in-a-name", b'{"a": {"\\u0000": 1}}', "NUL"),
    Bad("surrogate", b'{"a": "\\ud800"}', "surrogate"),
    Bad("surrogate-in-utf-8", b'{"a": "\xed\xa0\x80"}', "not JSON"),
    Bad("latin-1", b'{"a": "\xe9"}', "not JSON"),
    Bad("huge-integer", b'{"a": ' + b"9" * 310 + b"}", "large"),
    Bad("endless-integer", b'{"a": ' + b"9" * 100_000 + b"}", "out of range"),
    Bad("huge-float", b'{"a": 1e400}', "out of range"),
    Bad("deep", b'{"a": ' + deep(MAX_DEPTH + 1) + b"}", "deeper"),
    Bad("bottomless", b'{"a": ' + deep(100_000) + b"}", "deeper"),
]
"""Text that is no JSON object, or one that two readers might take for two different things."""

YAML = [
    Bad("tag", "a: {b: !!python/object/apply:os.system [id]}", "has a tag"),
    Bad("str-tag", "a: {b: !!str 1}", "has a tag"),
    Bad("alias", "a: {b: *x}", "is an alias"),
    Bad("anchor", "a: {b: &x 1}", "has an anchor"),
    Bad("merge", "a: {b: {<<: {c: 1}}}", "is a merge key"),
    Bad(
        "laughs",
        "a:\n  l0: &l0 [x, x]\n"
        + "".join(f"  l{n}: &l{n} [*l{n - 1}, *l{n - 1}]\n" for n in range(1, 40)),
        "has an anchor",
    ),
    Bad("nan", "a: {b: .nan}", "no number"),
    Bad("twice", "a: {b: {c: 1, c: 2}}", "stands twice"),
    Bad("two-documents", "a: {}\n---\nb: {}\n", "second document"),
    Bad("huge-integer", "a: {b: 0x" + "f" * 300 + "}", "too large"),
    Bad("nul", 'a: {b: "\\0"}', "NUL"),
    Bad("deep", "a: {b: " + deep(MAX_DEPTH + 1).decode() + "}", "deep"),
    Bad("bottomless", "a: {b: " + "[" * 20_000 + "]" * 20_000 + "}", "nesting depth"),
]
"""Seeds in YAML that say more than JSON can, or grow."""

SCHEMAS = [
    Bad("http", {"$ref": "http://127.0.0.1:1/x.json"}, "nowhere else"),
    Bad("file", {"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "nowhere else"),
    Bad("relative", {"$id": "http://127.0.0.1:1/", "$ref": "x.json"}, "nowhere else"),
    Bad("dynamic", {"$dynamicRef": "http://127.0.0.1:1/x.json"}, "nowhere else"),
    Bad("meta", {"$schema": "http://127.0.0.1:1/x.json"}, "meta-schema"),
    Bad("missing", {"$ref": "#/$defs/x"}, "not there"),
    Bad("bomb", schema_bomb(40), "ways"),
    Bad("chain", {"$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(5_000)}
                  | {"d5000": {}}, "$ref": "#/$defs/d0"}, "chain"),
    Bad("lookaround", {"pattern": "(?=x)"}, "regex"),
    Bad("huge-pattern", {"pattern": "((a{1000}){1000}){1000}"}, "regex"),
    Bad("no-schema", 5, "boolean"),
]  # fmt: skip
"""JSON Schemas that would fetch something, or take for ever."""

assert all(json.dumps(bad.input) for bad in SCHEMAS)
