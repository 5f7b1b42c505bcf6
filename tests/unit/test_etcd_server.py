"""What is known about versions of etcd."""

from __future__ import annotations

import pytest

from kvconfig.etcd.server import advise, parse_version


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3.4.23", ["3.4 line", "progress", "nested", "watch", "NOSPACE"]),
        ("3.4.25", ["3.4 line", "nested", "watch", "NOSPACE"]),
        ("3.4.42", ["3.4 line", "watch", "NOSPACE"]),
        ("3.5.1", ["committed data", "progress", "nested", "watch", "NOSPACE"]),
        ("3.5.5", ["committed data", "progress", "nested", "watch", "NOSPACE"]),
        ("3.5.6", ["progress", "nested", "watch", "NOSPACE"]),
        ("3.5.8", ["nested", "watch", "NOSPACE"]),
        ("3.5.27", ["nested", "watch", "NOSPACE"]),
        ("3.5.28", ["watch", "NOSPACE"]),
        ("3.5.32", ["watch", "NOSPACE"]),
        ("3.5.33", ["NOSPACE"]),
        ("3.6.8", ["nested", "watch"]),
        ("3.6.13", ["watch"]),
        ("v3.6.14", []),
        ("3.7.0-rc.1", ["watch"]),
        ("3.7.1", []),
        ("3.8.0", []),
        ("4.0.0", []),
    ],
)
def test_what_a_version_is_known_for(text: str, words: list[str]) -> None:
    """Each known fault is named for exactly the versions that have it."""
    version = parse_version(text)
    assert version is not None
    advice = advise(version)
    assert len(advice) == len(words)
    for each, word in zip(advice, words, strict=True):
        assert word in each.what


def test_what_is_no_version() -> None:
    """Then nothing is said."""
    assert parse_version("") is None
    assert parse_version("master") is None
