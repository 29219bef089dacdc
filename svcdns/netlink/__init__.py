"""Netlink: what is said to the kernel about packets and addresses, as octets.

`wire` has what all families of messages share: headers, attributes, batches, the socket.  The other files
have one family each.  Rules: no file here knows what a Service is; an answer that is cut off or malformed is
an error, nothing of it is guessed.
https://docs.kernel.org/userspace-api/netlink/intro.html
"""
