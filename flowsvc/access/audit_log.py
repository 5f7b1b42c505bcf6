"""The record of who has called what, and how it ended. It never holds a value.

A line for each call once it has ended, and one for each watch when it begins: ``identity``,
``shown`` (what the caller has shown for it), ``peer``, ``method``, ``names`` (of flows and the like
that the request names), ``op``, ``claimed`` (who a change says it is by), ``result`` (``ok``,
``cancelled``, or the class of the error) and ``revision``.

What changes something, and every refusal, is at level INFO, the rest at DEBUG: so a service's
ordinary log has what matters, and a file of its own (:func:`write_to`) has all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from logging.handlers import WatchedFileHandler
from pathlib import Path

from kvconfig import jsonlog

__all__ = ["AUDIT_LOG", "write_to"]

AUDIT_LOG = logging.getLogger("flowsvc.audit_log")


@contextmanager
def write_to(path: Path) -> Iterator[None]:
    """All of it, as JSON lines, to the end of a file that only its owner may read.

    A file that was moved away is made anew, as logrotate expects. Raises OSError where it cannot be
    written at first.
    """
    path.touch(mode=0o600)
    handler = WatchedFileHandler(path, encoding="utf-8")
    jsonlog.format_as("json", handler)
    level, AUDIT_LOG.propagate = AUDIT_LOG.level, False
    AUDIT_LOG.setLevel(logging.DEBUG)
    AUDIT_LOG.addHandler(handler)
    try:
        yield
    finally:
        AUDIT_LOG.removeHandler(handler)
        AUDIT_LOG.setLevel(level)
        AUDIT_LOG.propagate = True
        handler.close()
