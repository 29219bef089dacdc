"""The engine `user`: connections to a Service's addresses are taken here and carried to an endpoint.

It takes no rights: sockets that listen, and octets moved between them, in one thread with a loop of its own.
"""

from svcdns.proxy.relay.engine import Relay

__all__ = ["Relay"]
