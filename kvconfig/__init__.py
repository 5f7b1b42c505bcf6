"""A live configuration layer on etcd: keys, transactions, watches, informers."""
