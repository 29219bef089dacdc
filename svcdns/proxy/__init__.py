"""The proxy: traffic to a Service's addresses reaches one of its endpoints.

An API client like any other (list and watch; no LMDB): `agent` follows the registry, `cluster.traffic` says
what goes where, an engine (`engine`) puts it into effect: `kernel` by nftables, `relay` in user space.
"""
