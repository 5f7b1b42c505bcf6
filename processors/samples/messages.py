"""What goes over the topics of the document index, as JSON. ``kind`` says which is which."""

from __future__ import annotations

import msgspec

__all__ = [
    "Answer",
    "Chunk",
    "Chunked",
    "Document",
    "EndOfLoad",
    "Hit",
    "Indexed",
    "Loaded",
    "Query",
    "chunked",
    "encode",
    "loaded",
    "query",
]


class Document(msgspec.Struct, frozen=True, tag_field="kind", tag="document"):
    """A text, and the name it goes by."""

    document: str
    text: str


class Chunk(msgspec.Struct, frozen=True, tag_field="kind", tag="chunk"):
    """A piece of a document; ``position`` 0 is its first, which begins the document anew."""

    document: str
    position: int
    text: str


class EndOfLoad(msgspec.Struct, frozen=True, tag_field="kind", tag="end-of-load"):
    """All has been sent: so many documents, cut into so many chunks (once they are)."""

    documents: int
    chunks: int = 0


class Indexed(msgspec.Struct, frozen=True, tag_field="kind", tag="indexed"):
    """All that was loaded can be found now; the counts are those of the index, for this flow."""

    flow: str
    documents: int
    chunks: int


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """A question: words, in one flow or (``""``) in all. ``id`` comes back with the answer."""

    query: str
    id: str = ""
    flow: str = ""
    limit: int = 5


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that was found; the lower ``score`` (BM25), the better it fits."""

    flow: str
    document: str
    position: int
    snippet: str
    score: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The hits, best first; or ``error``."""

    id: str
    query: str
    hits: tuple[Hit, ...] = ()
    error: str = ""


Loaded = Document | EndOfLoad
Chunked = Chunk | EndOfLoad

encode = msgspec.json.Encoder().encode
loaded: msgspec.json.Decoder[Loaded] = msgspec.json.Decoder(Loaded)
chunked: msgspec.json.Decoder[Chunked] = msgspec.json.Decoder(Chunked)
query: msgspec.json.Decoder[Query] = msgspec.json.Decoder(Query)
