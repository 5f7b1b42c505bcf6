"""Clients of etcd that do the same work, each in a process of its own, on a path of its own.

Each module has ``opened(endpoint)``, an async context manager that gives a :class:`job.Client`.
"""
