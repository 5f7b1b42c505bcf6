"""References to secrets: what is one, and what may be the secret itself."""

from __future__ import annotations

import pytest

from kvconfig.reference import allowed, is_reference, is_scheme


@pytest.mark.parametrize(
    "text",
    ["env:A", "env:_API_KEY2", "file:/run/secrets/key", "file:/with space/ü", "vault:kv/key#field"],
)
def test_what_is_a_reference(text: str) -> None:
    """A variable, an absolute path, or what a plug-in that was declared shall find."""
    assert is_reference(text, ["vault"])


@pytest.mark.parametrize(
    "text",
    [
        *("", "hunter2", ":hunter2", "env:", "env:2A", "env:a-b", "env:A\n", "ENV:A", " env:A"),
        *("file:key", "file:/", "file:/a\nb", "file:/a\0", "file:/" + "a" * 1024),
        *("vault:", "vault:a b", "vault:a\n", "other:a", "https://user:hunter2@host"),
    ],
)
def test_what_is_none(text: str) -> None:
    """Whatever may be a password that has a colon in it by chance."""
    assert not is_reference(text, ["vault"])


def test_a_scheme_counts_where_it_was_declared() -> None:
    """Otherwise it is text before a colon."""
    assert not is_reference("vault:a")
    assert allowed() == "env:NAME or file:/path"
    assert allowed(["vault"]) == "env:NAME, file:/path or vault:..."
    assert [
        name for name in ("vault", "a-1", "env", "file", "A", "1", "", "a:") if is_scheme(name)
    ] == [
        "vault",
        "a-1",
    ]
