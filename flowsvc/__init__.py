"""The flow service: blueprints and flows, each change of them one transaction in etcd."""
