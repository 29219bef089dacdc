"""Sources: processes that keep what somebody else knows in the registry, through the API, and nothing else.

    containers/    what runs in Docker and Podman

A source is a client of the API like any other: it may use the client and the words of objects, never the
registry.
"""
