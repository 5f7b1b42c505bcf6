"""A real pipeline on :class:`processors.FlowProcessor`: a document index.

A loader reads files, a chunker cuts them up, an indexer puts the pieces into SQLite, a query
processor, shared by flows, answers from there, and a gateway lets other processes talk to them.
``document-index.json`` is its blueprint. All of it runs in one process, on topics in memory.
"""
