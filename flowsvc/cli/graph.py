"""``flowctl blueprint graph``, and what ``flow describe --graph`` draws: to stdout, for pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, cast

import click

from flowsvc.cli.output import output_of, warn
from flowsvc.cli.settings import Settings, ask, connection_options, look_up

if TYPE_CHECKING:
    from flowsvc.blueprint import Blueprint
    from flowsvc.graph import Graph
    from flowsvc.model import Flow, Flows, HistoryEntry
    from flowsvc.status import FlowStatus

__all__ = ["PICTURES", "command", "draw_flow"]

PICTURES = ("mermaid", "dot", "svg")
"""What -o can be for a picture."""

LAYOUT_TIMEOUT_S = 120.0
"""How long Graphviz may take; the largest real blueprint takes it a second."""


class _NameOrFile(click.ParamType["str | BinaryIO"]):
    """A name, or what looks like a file, which is opened."""

    name = "name or file"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | BinaryIO:
        """See click."""
        if value == "-" or "/" in value or value.endswith(".json"):
            return cast(BinaryIO, click.File("rb").convert(value, param, ctx))
        return value


@click.command("graph")
@click.argument("source", metavar="NAME|FILE", type=_NameOrFile())
@connection_options
@output_of(*PICTURES)
def command(*, settings: Settings, output: str, source: str | BinaryIO) -> None:
    """Draw a blueprint: its entries, the topics that join them, and its interfaces.

    As text of Mermaid (which Markdown at GitHub shows) or of Graphviz, or as SVG where Graphviz
    is installed. What has a slash in it or ends with .json is a file, as `blueprint put` takes it;
    - is standard input. Which way an edge goes follows from the names of topics (input, request,
    …); one without an arrow may go either way.

    \b
    Example:
      flowctl blueprint graph document-index
      flowctl blueprint graph document-index -o dot
    """
    blueprint = _stored(settings, source) if isinstance(source, str) else _read(source)
    from flowsvc.graph import of_blueprint

    _draw(of_blueprint(blueprint), output)


def draw_flow(settings: Settings, flow_id: str, output: str) -> None:
    """Draw a flow, with the state of each variant, as one of :data:`PICTURES`."""

    async def question(flows: Flows) -> tuple[Flow, FlowStatus, list[HistoryEntry]]:
        from flowsvc.errors import NotFound

        flow, status = await flows.get_flow(flow_id), await flows.get_status(flow_id)
        try:
            return flow, status, await flows.history("flow", flow_id)
        except NotFound:
            return flow, status, []

    flow, status, history = ask(settings, question)
    from flowsvc.graph import of_flow, recorded

    values = recorded(flow, history)
    variants = flow.record.variants
    if not values and (variants.own or variants.shared):
        message = f"warning: the history of flow {flow_id!r} has no topics of its variants"
        click.echo(message, err=True)
    _draw(of_flow(flow, status, values), output)


def _stored(settings: Settings, name: str) -> Blueprint:
    found = look_up(settings, lambda reader: reader.get_definition("flow-blueprint", name))
    from flowsvc.blueprint import parse_blueprint

    return parse_blueprint(name, found.definition)


def _read(file: BinaryIO) -> Blueprint:
    """A blueprint with the name of its file, where that can be one."""
    from pathlib import Path

    from flowsvc.blueprint import parse_blueprint
    from kvconfig.errors import InvalidName
    from kvconfig.keys import check_name

    try:
        name = check_name(Path(getattr(file, "name", "")).stem, "blueprint name")
    except InvalidName:
        name = "blueprint"
    blueprint = parse_blueprint(name, file.read())
    warn(blueprint.findings)
    return blueprint


def _draw(graph: Graph, output: str) -> None:
    from flowsvc.cli import drawing

    if output == "mermaid":
        click.echo(drawing.mermaid(graph), nl=False)
    elif output == "dot":
        click.echo(drawing.dot(graph), nl=False)
    else:
        click.echo(_svg(drawing.dot(graph)), nl=False)


def _svg(text: str) -> bytes:
    """What Graphviz makes of DOT. Raises ``FlowServiceError`` where it cannot, with the cure."""
    import shutil
    import subprocess

    from flowsvc.errors import FlowServiceError

    program = shutil.which("dot")
    if program is None:
        raise FlowServiceError(
            "SVG is drawn by `dot` of Graphviz, and there is none on PATH\n"
            "hint: install Graphviz, or take -o mermaid or -o dot, which need nothing"
        )
    try:
        done = subprocess.run(
            [program, "-Tsvg"],
            input=text.encode(),
            capture_output=True,
            timeout=LAYOUT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise FlowServiceError(
            f"`dot` was not done after {LAYOUT_TIMEOUT_S:g} s\n"
            "hint: -o dot | sfdp -Tsvg is quicker with what is large"
        ) from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "backslashreplace").strip()
        raise FlowServiceError(f"`dot` ended with {done.returncode}: {said}")
    return done.stdout
