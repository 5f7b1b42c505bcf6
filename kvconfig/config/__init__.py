"""Configuration by type and key, without a service in between: ``/<type>/<key>`` → a JSON value.

What TrustGraph's config service does, and what does it here; the last column is both a method of
``ConfigService`` (``config.proto``) and, after ``flowctl config``, a command:

======================  ===========================  =====================================
TrustGraph              :class:`Configuration`       over gRPC; at the command line
======================  ===========================  =====================================
``get`` of names        ``get_many``, ``get``        ``Get``; ``get TYPE KEY…``
``list`` of a type      ``keys``; ``types``          ``ListKeys``; ``list TYPE``; ``list``
``getvalues``           ``list``, ``values``         ``GetValues``; ``get TYPE``
``put``                 ``put_many``, ``put``        ``Put``; ``put``
``delete``              ``delete_many``, ``delete``  ``Delete``; ``delete``
``config``              ``everything``               ``GetEverything``; ``dump``
push of all to all      ``changes``, ``watch``       ``WatchConfig``; ``watch``
======================  ===========================  =====================================

There a value is text, and the version counts all writes of anything. Here a value is JSON, every
answer says as of which revision of etcd it is true, many are written at once or not at all, a write
can have conditions and a type a schema, and who watches hears of what changed and of nothing else.
What is not there is left out of the answer to a ``get``; there it is a ``None``. What
cannot be read is told beside the rest, and the rest is read.
"""

from kvconfig.config.client import Config
from kvconfig.config.port import (
    ConfigChange,
    ConfigChanges,
    ConfigItem,
    Configuration,
    Found,
    Removed,
    Unreadable,
)
from kvconfig.config.schema import Schema

__all__ = [
    "Config",
    "ConfigChange",
    "ConfigChanges",
    "ConfigItem",
    "Configuration",
    "Found",
    "Removed",
    "Schema",
    "Unreadable",
]
