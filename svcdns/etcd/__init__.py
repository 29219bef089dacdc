"""A client of etcd, over its JSON gateway."""
