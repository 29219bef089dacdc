"""Numbers of the DNS protocol that this room uses, under their IANA names.

https://www.iana.org/assignments/dns-parameters/
"""

from __future__ import annotations

NOERROR = 0
FORMERR = 1
SERVFAIL = 2
NXDOMAIN = 3
NOTIMP = 4
REFUSED = 5
YXDOMAIN = 6
NOTAUTH = 9
BADVERS = 16

A = 1
NS = 2
CNAME = 5
SOA = 6
HINFO = 13
MX = 15
TXT = 16
AAAA = 28
SRV = 33
DNAME = 39
OPT = 41
DS = 43
NXNAME = 128
TKEY = 249
TSIG = 250
IXFR = 251
AXFR = 252
ANY = 255

IN = 1
CH = 3

UNASKABLE = frozenset({0, OPT, NXNAME, TKEY, TSIG, 65535})
"""Types that no question may ask for (reserved numbers and RRs that only live inside a message)."""

EDE_OTHER = 0
EDE_STALE_ANSWER = 3
EDE_NOT_READY = 14
EDE_PROHIBITED = 18
EDE_STALE_NXDOMAIN = 19
EDE_NOT_AUTHORITATIVE = 20
EDE_NO_REACHABLE_UPSTREAM = 22
EDE_NETWORK_ERROR = 23
EDE_INVALID_QUERY_TYPE = 30
