"""A program for tests of :mod:`flowsvc.cli.children`: ``python -m tests.child_program WHAT``."""

import json
import os
import signal
import sys
import time


def main(what: str) -> None:
    """Says things, and then ends, waits, or does not want to end."""
    print("no JSON: a warning, say")
    print(json.dumps({"event": "hello", "settings": [k for k in os.environ if "FLOWCTL" in k]}))
    print("[1, 2]")
    if what == "ends":
        print(json.dumps({"event": "bad news"}), file=sys.stderr)
        sys.exit(3)
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(json.dumps({"event": "ignoring"}))
    while True:
        time.sleep(60)


main(sys.argv[1])
