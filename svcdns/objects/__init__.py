"""What can be registered: Namespace, Service, Pod, EndpointSlice in Kubernetes' own JSON shape.

Pure functions on decoded JSON (dict, list, str, ...): no I/O, no clock, no knowledge of other rooms.
"""
