"""``python -m processors.samples.search``: ask the document index from another process."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import uuid
from collections.abc import Iterator, Sequence

import click
import msgspec

from processors.samples.messages import Answer, Hit, Query

__all__ = ["main", "search"]


class _Line(msgspec.Struct, frozen=True):
    topic: str = ""
    message: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""


class SearchFailed(Exception):
    """No answer came, or one that says why there is none."""


async def search(
    socket: str,
    query: Query,
    *,
    request_topic: str,
    response_topic: str,
    done_topics: Sequence[str] = (),
) -> tuple[Hit, ...]:
    """Wait until every one of ``done_topics`` has said something, then ask.

    Waits for the gateway too, so bound it with a timeout. Raises :class:`SearchFailed`.
    """
    reader, writer = await _connect(socket)
    try:
        for topic in (response_topic, *done_topics):
            _send(writer, {"op": "subscribe", "topic": topic})
        missing = set(done_topics)
        while missing:
            missing.discard((await _read(reader)).topic)
        message = msgspec.to_builtins(query)
        _send(writer, {"op": "publish", "topic": request_topic, "message": message})
        answer = await _answer(reader, response_topic, query.id)
    finally:
        writer.close()
    if answer.error:
        raise SearchFailed(answer.error)
    return answer.hits


async def _answer(reader: asyncio.StreamReader, topic: str, id_: str) -> Answer:
    """The answer to this very question; others may be on their way there too."""
    while True:
        line = await _read(reader)
        if line.topic == topic:
            answer = msgspec.json.decode(line.message, type=Answer)
            if answer.id == id_:
                return answer


async def _connect(socket: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to the gateway, as soon as it listens."""
    while True:
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            return await asyncio.open_unix_connection(socket, limit=2**24)
        await asyncio.sleep(0.05)


def _send(writer: asyncio.StreamWriter, order: object) -> None:
    writer.write(msgspec.json.encode(order) + b"\n")


async def _read(reader: asyncio.StreamReader) -> _Line:
    line = await reader.readline()
    if not line:
        raise SearchFailed("the gateway went away")
    decoded = msgspec.json.decode(line, type=_Line)
    if decoded.error:
        raise SearchFailed(decoded.error)
    return decoded


def _shown(hits: Sequence[Hit]) -> Iterator[str]:
    for number, hit in enumerate(hits, 1):
        text = " ".join(hit.snippet.split())
        yield f"{number}. {hit.document} (chunk {hit.position}, flow {hit.flow}): {text}"


@click.command()
@click.argument("query", nargs=-1, required=True)
@click.option("--socket", required=True, metavar="PATH", help="Where the gateway listens.")
@click.option("--request-topic", required=True, metavar="TOPIC", help="Where to ask.")
@click.option("--response-topic", required=True, metavar="TOPIC", help="Where the answer comes.")
@click.option(
    "--done-topic",
    "done_topics",
    multiple=True,
    metavar="TOPIC",
    help="Wait first until a load is indexed, as said there. May be given more than once.",
)
@click.option("--flow", default="", help="Only what this flow has indexed.")
@click.option("--limit", default=5, show_default=True, help="How many hits at the most.")
@click.option("--timeout", "timeout_s", default=60.0, show_default=True, help="In seconds.")
def main(
    query: tuple[str, ...],
    *,
    socket: str,
    request_topic: str,
    response_topic: str,
    done_topics: tuple[str, ...],
    flow: str,
    limit: int,
    timeout_s: float,
) -> None:
    """Search the document index for QUERY; any of its words will do, more are better.

    Exit code 0 where something was found, 1 where not, or where no answer came.

    \b
    Example:
      python -m processors.samples.search --socket /tmp/index.sock \\
        --request-topic request:search:default:document-index \\
        --response-topic response:search:default:document-index \\
        --done-topic flow:indexed:default:f1  one transaction
    """
    asked = Query(query=" ".join(query), id=uuid.uuid4().hex, flow=flow, limit=limit)

    async def ask() -> tuple[Hit, ...]:
        async with asyncio.timeout(timeout_s):
            return await search(
                socket,
                asked,
                request_topic=request_topic,
                response_topic=response_topic,
                done_topics=done_topics,
            )

    try:
        hits = asyncio.run(ask())
    except TimeoutError:
        raise click.ClickException(f"no answer within {timeout_s:g} s") from None
    except (SearchFailed, OSError) as error:
        raise click.ClickException(str(error)) from error
    for line in _shown(hits):
        click.echo(line)
    if not hits:
        click.echo("nothing found", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
