"""``flowctl blueprint validate`` and ``parameter-type validate``: of files, without a service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import click

from flowsvc.cli.output import View, output_option, show

if TYPE_CHECKING:
    from flowsvc.errors import Finding
    from flowsvc.model import DefinitionKind

__all__ = ["validate_command"]


def validate_command(kind: DefinitionKind, word: str, example: str) -> click.Command:
    """``flowctl <word> validate``."""
    text = word.replace("-", " ")
    help_ = (
        f"Check each {text} in FILE (a JSON object; - is standard input), and store nothing.\n\n"
        "Everything that is wrong is listed, with its path. The exit code is 5 where something is; "
        "warnings alone are 0, unless --strict. Whether parameter types exist and flows rest on "
        f"it is asked by `flowctl {word} put --dry-run`.\n\n\b\nExample:\n"
        f"  flowctl {word} validate {example}.json\n"
        f"  flowctl {word} validate --strict -o jsonl {example}.json"
    )

    @click.command("validate", help=help_, short_help=f"Check a {text} in a file.")
    @click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.File("rb"))
    @click.option("--strict", is_flag=True, help="Take warnings for errors.")
    @output_option
    def validate(*, output: str, files: Sequence[BinaryIO], strict: bool) -> None:
        found = [(file.name, finding) for file in files for finding in _findings(kind, file)]
        show(found, FINDING, output)
        bad = {name for name, finding in found if strict or finding.severity == "error"}
        click.echo(f"{len(files) - len(bad)} of {len(files)} valid", err=True)
        if bad:
            from flowsvc.cli.failure import INVALID

            raise click.exceptions.Exit(INVALID)

    return validate


def _findings(kind: DefinitionKind, file: BinaryIO) -> Sequence[Finding]:
    from flowsvc.blueprint import check
    from flowsvc.errors import ParameterTypeInvalid
    from flowsvc.parameters import parse_parameter_type

    definition = file.read()
    if kind == "flow-blueprint":
        return check("checked", definition)
    try:
        return parse_parameter_type("checked", definition).findings
    except ParameterTypeInvalid as error:
        return error.findings


FINDING = View(
    name=lambda row: row[0],
    columns={
        "FILE": lambda row: row[0],
        "SEVERITY": lambda row: row[1].severity,
        "PATH": lambda row: row[1].path,
        "MESSAGE": lambda row: row[1].message,
    },
    as_json=lambda row: {
        "file": row[0],
        "severity": row[1].severity,
        "path": row[1].path,
        "message": row[1].message,
    },
)
