"""How the registry is driven: Kubernetes' REST paths on aiohttp, watch streams, health, metrics."""

from svcdns.system.deferred_package import defer

defer("aiohttp")  # before anything of them is loaded: of its client nothing is used here
defer("prometheus_client")  # nor of its own server
