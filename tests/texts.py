"""Text as values may hold it, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["text"]


def text(*, min_size: int = 0, max_size: int | None = None) -> st.SearchStrategy[str]:
    """Any Unicode text without NUL, which is refused everywhere (``tests/bad_inputs.py``)."""
    allowed = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.text(allowed, min_size=min_size, max_size=max_size)
