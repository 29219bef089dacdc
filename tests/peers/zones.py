"""Zone files with every corner of RFC 1034, 2181, 2308, 4592 and 6672: what all servers of `peers` load.

None is signed.  Every owner name stands in OWNERS too, so that questions can be made from them.
"""

import re

_APEX = "$TTL 300\n@ IN SOA ns1.example.org. hostmaster.example.org. 7 7200 1800 86400 60\n"
_LABEL = "l" * 63
_LONG = f"{_LABEL}.{_LABEL}.{_LABEL}.{'m' * 49}"
"""With `.example.org.` behind it: 255 octets."""

_EXAMPLE_ORG = rf"""
@ NS ns1
@ NS ns2.example.net.
@ NS ns.lame
@ A 192.0.2.1
@ AAAA 2001:db8::1
@ MX 10 mail
@ MX 20 mail.example.net.
@ MX 30 nothing
@ TXT "apex" "of \"all\""
@ CAA 0 issue "ca.example.net"
@ DNSKEY 256 3 13 oJMRESz5E4gYzS/q6XDrvU1qMPYIjCWzJaOau8XNEZeqCYKD5ar0IRd8 KqXXFJkqmVfRvMGPmM1x8fGAa2XhSA==
ns1 A 192.0.2.53
ns1 AAAA 2001:db8::53
mail A 192.0.2.25
www 120 A 192.0.2.80
www 120 A 192.0.2.81
www AAAA 2001:db8::80
www TXT "seen"
zero 0 A 192.0.2.90
huge-ttl 2147483647 A 192.0.2.91
UPPER.Case A 192.0.2.92
UPPER TXT "of Two Cases"

; empty non-terminals
a.b.c.ent A 192.0.2.20
d.b.c.ent TXT "beside it"

; wildcards
*.wild A 192.0.2.100
*.wild MX 10 mail
*.wild TXT "any"
here.wild TXT "blocks"
x.ent.wild TXT "below an empty non-terminal"
sub.*.wild TXT "below a wildcard"
*.star.wild CNAME www
_x._tcp.service.wild SRV 0 5 80 www
*.alias-in CNAME www
*.alias-out CNAME www.example.net.
*.alias-away CNAME www.example.com.
*.alias-self CNAME here.alias-self
*.alias-wild CNAME anything.wild
only.*.starred A 192.0.2.101
*.deep.wild A 192.0.2.102
*._tcp.wild SRV 0 5 80 www
*.*.double TXT "twice"
*.nested.wild TXT "n"
in*fix.wild A 192.0.2.103

; aliases
alias CNAME www
alias-2 CNAME alias
alias-3 CNAME alias-2
ALIAS-up CNAME WWW.Example.ORG.
alias-ent CNAME ent
alias-nothing CNAME nothing
alias-net CNAME www.example.net.
alias-net-alias CNAME alias.example.net.
alias-net-back CNAME back.example.net.
alias-net-nothing CNAME nothing.example.net.
alias-away CNAME www.example.com.
alias-sub CNAME www.sub
alias-lab CNAME host.lab
alias-lab-top CNAME lab
alias-wild CNAME any.wild
alias-dname CNAME host.moved
alias-apex CNAME @
alias-type CNAME txt-only
txt-only TXT "no address"
loop-self CNAME loop-self
loop-1 CNAME loop-2
loop-2 CNAME loop-1
loop-3a CNAME loop-3b
loop-3b CNAME loop-3c
loop-3c CNAME loop-3a
loop-in CNAME loop-1
loop-net CNAME loop.example.net.

; DNAMEs
moved DNAME target
moved A 192.0.2.110
moved TXT "of a DNAME itself"
host.target A 192.0.2.111
alias.target CNAME host.target
*.any.target A 192.0.2.112
target TXT "top"
moved-net DNAME example.net.
moved-away DNAME example.com.
moved-twice DNAME moved
moved-root DNAME .
moved-ent DNAME ent
moved-wild DNAME wild
moved-lab DNAME lab
moved-sub DNAME sub
moved-self DNAME moved-self
moved-loop-1 DNAME moved-loop-2
moved-loop-2 DNAME moved-loop-1
moved-nothing DNAME nothing
moved-long DNAME {_LABEL}.{_LABEL}.example.net.
through CNAME host.moved-net

; delegations: with glue, without, with glue of others, secure, lame
lab NS ns.lab
lab NS ns1
ns.lab A 192.0.2.54
ns.lab AAAA 2001:db8::54
host.lab A 192.0.2.55
lab TXT "occluded"
*.lab A 192.0.2.56
deeper.lab NS ns.deeper.lab
ns.deeper.lab A 192.0.2.57
alias.lab CNAME www
moved.lab DNAME target
far NS ns1.example.net.
far NS ns2.example.com.
secure NS ns.secure
secure DS 12345 13 2 0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20
ns.secure A 192.0.2.58
lame NS ns.lame
ns.lame A 192.0.2.59
no-glue NS ns.no-glue
cross NS ns.lab
cross NS host.sub
below.ent2.cut NS ns1
sub NS ns.sub
sub NS ns1
ns.sub A 192.0.2.60
host.sub A 192.0.2.61
sub DS 54321 13 2 0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20

; what brings additionals
mx MX 10 mail
mx MX 10 www
mx-alias MX 20 alias
mx-wild MX 30 any.wild
mx-wild-2 MX 30 x.y.deep.wild
mx-blocked MX 30 here.wild
mx-wild-alias MX 30 any.alias-in
mx-star MX 30 *.wild
mx-lab MX 40 host.lab
mx-lab-ns MX 40 ns.lab
mx-sub MX 40 host.sub
mx-dname MX 50 host.moved
mx-net MX 60 www.example.net.
mx-net-wild MX 60 any.w.example.net.
mx-ent MX 10 ent
mx-upper MX 10 MAIL
mx-self MX 10 mx-self
mx-self A 192.0.2.121
null-mx MX 0 .
_sip._tcp SRV 0 5 5060 www
_sip._tcp SRV 0 5 5060 mail
_sip._tcp SRV 10 5 5060 www.example.net.
_none._tcp SRV 0 0 0 .
_alias._tcp SRV 0 0 1 alias
_wild._tcp SRV 0 0 1 a.wild
ns-wild NS any.wild
ns-alias NS alias
ns-apex NS @
https-wild HTTPS 1 any.wild
svc SVCB 0 www
svc-own SVCB 1 . alpn=h2 port=8443
svc-own A 192.0.2.62
https HTTPS 1 . alpn=h2 ipv4hint=192.0.2.63
https A 192.0.2.63
https-alias HTTPS 0 https
https-2 HTTPS 1 www alpn=h3
https-2 HTTPS 2 https
naptr NAPTR 10 10 "s" "SIP+D2U" "" _sip._tcp
afs AFSDB 1 www
kx KX 1 www
rt RT 1 www
rp RP hostmaster www
ptr PTR www
ptr PTR mail

; types and octets
unknown TYPE65280 \# 4 C0000201
unknown TYPE731 \# 0
unknown TYPE65281 \# 3 010203
loc LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
hinfo HINFO "PDP-11" "UNIX"
sshfp SSHFP 4 2 0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20
_443._tcp.www TLSA 3 1 1 0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20
uri URI 10 1 "https://www.example.org/"
cert CERT PGP 0 0 AQIDBA==
openpgp OPENPGPKEY AQIDBA==
many-types A 192.0.2.64
many-types AAAA 2001:db8::64
many-types TXT "x"
many-types MX 5 www
many-types SPF "v=spf1 -all"
many-types SSHFP 4 2 0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20
many-types RP . .
bytes TXT "\000\001\127\200\255" "" "\"\\;"
empty-text TXT ""
text255 TXT "{"t" * 255}"
text-many TXT {" ".join('"' + "u" * 200 + '"' for _ in range(4))}
dot\.ted A 192.0.2.65
spa\032ce A 192.0.2.66
nul\000 A 192.0.2.67
\001one A 192.0.2.68
high\255 A 192.0.2.69
a\000b.c TXT "nul inside"
\@ TXT "at"
\*.escaped A 192.0.2.70
*.escaped TXT "a star is a star"
under_score A 192.0.2.71
-dash- A 192.0.2.72
123 A 192.0.2.73
xn--bcher-kva A 192.0.2.74
{_LABEL} A 192.0.2.75
{_LONG} A 192.0.2.76
1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17.18.19.20 A 192.0.2.77
"""

_BIG = "".join(
    (
        "".join(f"ten A 198.51.100.{n}\n" for n in range(10)),
        "".join(f"forty A 198.51.100.{n}\n" for n in range(40)),
        "".join(f"many A 203.0.113.{n}\n" for n in range(250)),
        "".join(f'text-big TXT "{n:03} {"x" * 200}"\n' for n in range(30)),
        "".join(f"mx-many MX {n} host{n}.mx-many\nhost{n}.mx-many A 203.0.113.{n}\n" for n in range(40)),
        "".join(f"srv-many SRV 0 0 {n} host{n}.mx-many\n" for n in range(40)),
        "".join(
            f"lab-many NS ns{n}.lab-many\nns{n}.lab-many A 203.0.113.{n}\n"
            f"ns{n}.lab-many AAAA 2001:db8::{n + 1}\n"
            for n in range(13)
        ),
        "alias-many CNAME many\n",
        "".join(f"chain-{n} CNAME chain-{n + 1}\n" for n in range(1, 9)),
        "chain-9 A 192.0.2.120\n",
    )
)

ZONES = {
    "example.org": _APEX + _EXAMPLE_ORG + _BIG,
    "sub.example.org": _APEX.replace("300", "200")
    + "@ NS ns\n@ NS ns1.example.org.\nns A 192.0.2.60\nwww A 192.0.2.61\nhost A 192.0.2.61\n"
    'up CNAME www.example.org.\n@ TXT "child\'s"\ndown NS ns.down\nns.down A 192.0.2.62\n*.w TXT "w"\n',
    "example.net": _APEX.replace(" 60\n", " 900\n").replace("@ IN SOA", "@ 30 IN SOA")
    + "@ NS ns1.example.org.\n@ NS ns1\nns1 A 192.0.2.9\nns2 A 192.0.2.10\nwww A 192.0.2.11\n"
    'www TXT "net"\nmail A 192.0.2.12\nalias CNAME www\n'
    "back CNAME www.example.org.\nloop CNAME loop-net.example.org.\n"
    '* TXT "wild apex"\n*.w MX 1 www\n',
    "2.0.192.in-addr.arpa": _APEX
    + "@ NS ns1.example.org.\n80 PTR www.example.org.\n81 PTR www.example.org.\n81 PTR mail.example.org.\n"
    "0/26 NS ns1.example.org.\n1 CNAME 1.0/26\n2 CNAME 2.0/26\n64/26 NS ns.64/26\nns.64/26 A 192.0.2.65\n",
    "alias.example": _APEX + '@ NS ns1.example.org.\n@ DNAME example.org.\n@ TXT "alias"\n@ A 192.0.2.99\n',
    "tiny.example": _APEX + "@ NS ns1.example.org.\n",
    "x": _APEX + "@ NS ns1.example.org.\n@ A 192.0.2.98\ny A 192.0.2.97\n* CNAME y\n",
}
"""Texts of zone files by origin."""


def _owners(origin: str, text: str) -> list[str]:
    found = re.findall(r"^([^\s;$]\S*) ", text, re.MULTILINE)
    return [f"{origin}." if owner == "@" else f"{owner}.{origin}." for owner in dict.fromkeys(found)]


OWNERS = [owner for origin, text in ZONES.items() for owner in _owners(origin, text)]
"""All owner names, in presentation format."""
