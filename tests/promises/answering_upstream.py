"""An upstream in a process of its own: answers every question with 192.0.2.1, for no time to be kept.

Its first line says where it is (address:port); it goes on until it is killed.
"""

import socket

from dns.message import from_wire, make_response
from dns.rrset import from_text

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    one.bind(("127.0.0.1", 0))
    print(f"127.0.0.1:{one.getsockname()[1]}", flush=True)
    while True:
        packet, client = one.recvfrom(4096)
        reply = make_response(from_wire(packet))
        reply.answer.append(from_text(reply.question[0].name, 0, "IN", "A", "192.0.2.1"))
        one.sendto(reply.to_wire(), client)
