"""The gRPC API: its messages (``v1``), its methods, and the way to and from our own values."""
