"""Messages of ``kvconfig.flow.v1``, written by protoc from ``flow.proto`` (``make proto``)."""
