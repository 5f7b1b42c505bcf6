"""What a stream processor is built on: subclass :class:`FlowProcessor`, write one variant.

The rest (watching etcd, starting, stopping, retrying, reporting) is done for you. See
:mod:`processors.processor` for an example and ``processors run --help`` for how to run one.
"""

from processors.configuration import ConfigChange, ConfigView
from processors.errors import (
    CannotHost,
    Finding,
    InvalidVariant,
    Permanent,
    ProcessorError,
    SecretUnavailable,
    StartTimeout,
    StopTimeout,
    UpdateTimeout,
)
from processors.instance import Instance
from processors.lifecycle import Tasks
from processors.processor import FlowProcessor
from processors.runner import run, running
from processors.secret import Secret
from processors.spec import Parameter, Spec
from processors.variant import Value, Variant

__all__ = [
    "CannotHost",
    "ConfigChange",
    "ConfigView",
    "Finding",
    "FlowProcessor",
    "Instance",
    "InvalidVariant",
    "Parameter",
    "Permanent",
    "ProcessorError",
    "Secret",
    "SecretUnavailable",
    "Spec",
    "StartTimeout",
    "StopTimeout",
    "Tasks",
    "UpdateTimeout",
    "Value",
    "Variant",
    "run",
    "running",
]
