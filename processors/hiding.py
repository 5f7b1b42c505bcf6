"""What is logged by whoever runs in this process, without the secrets that it has looked up."""

from __future__ import annotations

import logging

from processors.secret import hide

__all__ = ["hide_in_logs"]


def hide_in_logs() -> None:
    """From now on, in every line of the handlers that the root logger has: also of other code."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Hiding(handler.formatter or logging.Formatter()))


class _Hiding(logging.Formatter):
    """Looks at lines as they are about to be written."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        return hide(self._formatter.format(record))
