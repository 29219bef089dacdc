"""A zone with something of everything, signed by other people's tools.

zone = sign("dnssec-signzone", folder, nsec3=Nsec3(opt_out=True))
zone.text       # the signed zone, as the tool writes it
zone.anchor     # its key-signing key as a DNSKEY record, for validators to trust
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ORIGIN = "example.org."
HANG_SECONDS = 120

ZONE = f"""\
$ORIGIN {ORIGIN}
$TTL 300
@ 1h IN SOA Ns1 hostmaster 2026010101 7200 1800 1209600 60
@ NS Ns1
@ NS ns2.example.net.
@ MX 10 mail
@ A 192.0.2.1
@ TXT "the apex"
@ CAA 0 issue "ca.example.net"
Ns1 A 192.0.2.53
Ns1 AAAA 2001:db8::53
mail A 192.0.2.25
mail AAAA 2001:db8::25
www A 192.0.2.80
www A 192.0.2.81
www AAAA 2001:db8::80
alias CNAME www
alias2 CNAME alias
far CNAME www.example.net.
lost CNAME nothing.here
to-sub CNAME host.sub
to-moved CNAME any.moved
to-wild CNAME any.wild
to-alias CNAME x.cnames
deep.er.still A 192.0.2.99
*.wild A 192.0.2.100
*.wild MX 10 mail
here.wild TXT "blocks"
x.ent.wild TXT "below"
*.cnames CNAME www
*.dead CNAME nothing.dead-end
*.outside CNAME www.example.net.
x.*.starred TXT "below a star"
*.deep.er A 192.0.2.101
_imap._tcp SRV 0 0 143 mail
_imap._tcp SRV 0 0 143 www
svc HTTPS 1 www alpn=h2
sub NS ns.sub
sub NS ns2.example.net.
ns.sub A 192.0.2.54
a.ns.sub AAAA 2001:db8::54
sub DS 12345 13 2 {"ab" * 32}
sub DS 12345 13 4 {"cd" * 48}
insecure NS ns.insecure
ns.insecure A 192.0.2.55
insecure2 NS Ns1
one.two.insecure3 NS ns2.example.net.
moved DNAME wild
moved TXT "itself"
\\000nul TXT "nul"
\\001one TXT "one"
dot\\.ted TXT "a dot in a label"
UPPER.Case TXT "letters"
{"l" * 63} TXT "long"
big TXT {" ".join(chr(34) + "x" * 200 + chr(34) for _ in range(4))}
many A 198.51.100.1
{"".join(f"many A 198.51.100.{n}{chr(10)}" for n in range(2, 60))}\
"""


@dataclass(frozen=True)
class Nsec3:
    """How names are hashed."""

    salt: str = "-"
    iterations: int = 0
    opt_out: bool = False


@dataclass(frozen=True)
class SignedZone:
    """What came out."""

    text: str
    anchor: str


def sign(
    tool: str, folder: Path, nsec3: Nsec3 | None = None, *, expires: str = "", text: str = ZONE
) -> SignedZone:
    """Sign a zone; `tool` is dnssec-signzone or ldns-signzone, `expires` YYYYMMDDHHMMSS."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "zone").write_text(text)
    return (_by_ldns if tool.startswith("ldns") else _by_bind)(folder, nsec3, expires)


def _by_bind(folder: Path, nsec3: Nsec3 | None, expires: str) -> SignedZone:
    for flags in (["-f", "KSK"], []):
        _run(folder, "dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", *flags, ORIGIN)
    arguments = ["-S", "-P", "-o", ORIGIN, "-f", "signed"]
    arguments += ["-s", "20200101000000", "-e", expires] if expires else []
    if nsec3:
        arguments += ["-3", nsec3.salt, "-H", str(nsec3.iterations), *(["-A"] if nsec3.opt_out else [])]
    _run(folder, "dnssec-signzone", *arguments, "zone")
    return _signed(folder)


def _by_ldns(folder: Path, nsec3: Nsec3 | None, expires: str) -> SignedZone:
    keys = [
        _run(folder, "ldns-keygen", "-a", "ECDSAP256SHA256", *flags, ORIGIN).strip() for flags in (["-k"], [])
    ]
    arguments = ["-o", ORIGIN, "-f", "signed"]
    arguments += ["-i", "20200101000000", "-e", expires] if expires else []
    if nsec3:
        arguments += ["-n", "-t", str(nsec3.iterations), *(["-p"] if nsec3.opt_out else [])]
        arguments += ["-s", nsec3.salt] if nsec3.salt != "-" else []
    _run(folder, "ldns-signzone", *arguments, "zone", *keys)
    return _signed(folder)


def _signed(folder: Path) -> SignedZone:
    keys = [path.read_text() for path in folder.glob("K*.key")]
    (anchor,) = [
        found[0] for key in keys if (found := re.search(r"^[^;].*DNSKEY\s+257 .*$", key, re.MULTILINE))
    ]
    return SignedZone((folder / "signed").read_text(), re.sub(r"\s*;.*", "", anchor))


def _run(folder: Path, program: str, *arguments: str) -> str:
    path = shutil.which(program, path="/usr/bin:/usr/sbin:/usr/local/bin:/usr/local/sbin")
    assert path, f"{program} is not installed here"
    done = subprocess.run(
        [path, *arguments], cwd=folder, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
    )
    assert done.returncode == 0, f"{program}: {done.stderr}"
    return done.stdout
