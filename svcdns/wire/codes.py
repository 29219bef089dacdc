"""Numbers of the DNS protocol, under their IANA names.

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
MD = 3
MF = 4
CNAME = 5
SOA = 6
MB = 7
MG = 8
MR = 9
PTR = 12
HINFO = 13
MINFO = 14
MX = 15
TXT = 16
RP = 17
AFSDB = 18
RT = 21
NSAP_PTR = 23
SIG = 24
KEY = 25
PX = 26
AAAA = 28
NXT = 30
SRV = 33
NAPTR = 35
KX = 36
DNAME = 39
OPT = 41
DS = 43
RRSIG = 46
NSEC = 47
DNSKEY = 48
NSEC3 = 50
NSEC3PARAM = 51
SVCB = 64
HTTPS = 65
NXNAME = 128
TKEY = 249
TSIG = 250
IXFR = 251
AXFR = 252
MAILB = 253
MAILA = 254
ANY = 255

RESERVED = (0, 65535)
"""Numbers that are no type (RFC 6895 section 3.1)."""
SEVERAL_TYPES = frozenset({MAILB, MAILA, ANY})
"""Types of a question that RRs of several types answer."""
UNASKABLE = frozenset({*RESERVED, OPT, NXNAME, TKEY, TSIG})
"""Types that no question may ask for (reserved numbers and RRs that only live inside a message)."""
ONLY_ASKED = frozenset({*RESERVED, TKEY, TSIG, IXFR, AXFR, *SEVERAL_TYPES})
"""Types that no RR of a section has that is kept: those of questions, and of one message."""

IN = 1
CH = 3

PADDING = 12
EDE = 15

EDE_OTHER = 0
EDE_STALE_ANSWER = 3
EDE_NOT_READY = 14
EDE_PROHIBITED = 18
EDE_STALE_NXDOMAIN = 19
EDE_NOT_AUTHORITATIVE = 20
EDE_NO_REACHABLE_UPSTREAM = 22
EDE_NETWORK_ERROR = 23
EDE_INVALID_QUERY_TYPE = 30
