"""The invariants of flows, as one function over all keys at one revision. Pure.

- The keys in ``/active-flow/`` are exactly what the records of flows that are not paused name:
  nothing is missing, nothing is left over, no variant is held as its own by one of two.
- Each has the value that the history has for the operation which its flow's record names, so
  a shared one has one value for all who share it.
- References (``/flow-ref/``) and uses of blueprints (``/blueprint-use/``) are exact.
- Of every flow that exists the newest history entry is that of its record, and tells the same; of
  every flow that is gone it says so.
- Every flow can be read, and stopped in one transaction.
- Where a parameter is secret, no key holds a value of it, the past included: references only.

What says what a flow should be: its record; where that cannot be read, or differs from what the
history says of the very operation that the record names, the history. Where they name different
operations nobody here can tell which is right, and nothing is repaired that hangs on it.

A repair is a transaction that compares all that the finding rests on, so it does nothing where
somebody was faster. Repairs are made one by one, then everything is audited again: one may clear
the way for another. It is no judge of what a blueprint would make today: that is an update's job.
"""

from __future__ import annotations

from flowsvc.audit.anomaly import Anomaly
from flowsvc.audit.checks import audit
from flowsvc.audit.reading import AUDITED_TYPES

__all__ = ["AUDITED_TYPES", "Anomaly", "audit"]
