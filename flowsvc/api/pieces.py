"""Long answers in pieces that any gRPC client takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from google.protobuf.message import Message

__all__ = ["PIECE_BYTES", "pieces_of"]

PIECE_BYTES = 1024 * 1024
"""How large a piece of a list grows; one item may be larger, up to the message limit."""

T = TypeVar("T", bound=Message | str)


def pieces_of(items: Iterable[T], most_bytes: int = PIECE_BYTES) -> Iterator[list[T]]:
    """The items in order, in pieces that stay below ``most_bytes`` unless one item is larger."""
    piece: list[T] = []
    size = 0
    for item in items:
        grown = _size(item) + 8
        if piece and size + grown > most_bytes:
            yield piece
            piece, size = [], 0
        piece.append(item)
        size += grown
    if piece:
        yield piece


def _size(item: Message | str) -> int:
    return len(item.encode()) if isinstance(item, str) else item.ByteSize()
