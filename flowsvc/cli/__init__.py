"""``flowctl``: what operators type. Reads arguments, calls ``Flows``, prints.

Starting it must stay quick (``--help`` under 0.15 s, ``flow list`` under 0.30 s), so a command is
loaded when it is asked for, and a module of this package imports click, the standard library's
light parts, and its siblings; all else inside functions that need it. Tests list what is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from flowsvc.cli import defaults
from flowsvc.cli.loading import Commands

__all__ = ["flowctl", "main"]

EPILOG = """\b
Exit codes:
  0 done            3 not found                     6 unavailable
  1 failed          4 conflict or already exists    7 timed out waiting
  2 usage           5 invalid input

\b
Options come from the flag, else the variable, else the configuration file
($FLOWCTL_CONFIG, or flowctl/config.toml under $XDG_CONFIG_HOME or ~/.config):
  server = "127.0.0.1:7480"   # or endpoints = ["127.0.0.1:2379"]
  timeout = "30s"             # and: root, output, by"""

COMMANDS = {
    "flow": "flowsvc.cli.flow:group",
    "blueprint": "flowsvc.cli.definitions:blueprints",
    "parameter-type": "flowsvc.cli.definitions:parameter_types",
    "processor": "flowsvc.cli.processor:group",
    "config": "flowsvc.cli.config:group",
    "apply": "flowsvc.cli.apply:command",
    "diff": "flowsvc.cli.apply:diff",
    "bootstrap": "flowsvc.cli.bootstrap:command",
    "export": "flowsvc.cli.export:command",
    "import": "flowsvc.cli.import_:command",
    "migrate": "flowsvc.cli.migrate:command",
    "fsck": "flowsvc.cli.fsck:command",
    "doctor": "flowsvc.cli.doctor:command",
    "rbac": "flowsvc.cli.rbac:group",
    "serve": "flowsvc.cli.serve:command",
    "token": "flowsvc.cli.token:group",
    "up": "flowsvc.cli.up:command",
    "demo": "flowsvc.cli.demo:command",
    "completion": "flowsvc.cli.completion:command",
}
"""Where each is found; it is loaded once it is asked for."""


@click.group(
    commands=Commands(COMMANDS),
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def flowctl() -> None:
    """Start, change, stop and look at flows of stream processors.

    Talks to a flow service (--server), or does the same itself on etcd (--endpoints).

    \b
    Example:
      flowctl serve --endpoints 127.0.0.1:2379 &
      flowctl blueprint put document-index document-index.json
      flowctl flow start -n document-index -i f1 --param chunk-size=500
      flowctl flow list
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run ``flowctl`` and return its exit code. Errors are told on stderr, without a traceback."""
    try:
        defaults_ = defaults.default_map(flowctl, os.environ)
        result = flowctl.main(
            args, prog_name="flowctl", standalone_mode=False, default_map=defaults_
        )
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:  # usage
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except Exception as error:
        from flowsvc.cli.failure import exit_code, explain

        code = exit_code(error)
        if code is None:
            raise
        click.echo(explain(error), err=True)
        return code
    return result if isinstance(result, int) else 0
