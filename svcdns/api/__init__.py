"""How the registry is driven: Kubernetes' REST paths on aiohttp, watch streams, health, metrics."""
