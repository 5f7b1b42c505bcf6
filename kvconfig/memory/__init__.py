"""The store port in memory: revisions, compaction, leases, watches and scripted faults.

It is one etcd member in one process and one event loop: whatever the contract suite asks of etcd
it asks of this one (``tests/contract``, with a differential test of random transactions), so that
a test may use it where a real server would be slow or could not be made to fail on cue.

What it is not: durable, shared between processes, secured (``PermissionDenied`` and
``AuthenticationFailed`` never come from it), or a cluster (no leader to lose).
"""

from kvconfig.memory.store import Gate, MemoryStore, Moment, Snapshot

__all__ = ["Gate", "MemoryStore", "Moment", "Snapshot"]
