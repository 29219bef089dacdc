"""Certificates of a private CA: made in memory, as PEM.

    CA (10 years) ─┬─▶ server: host names and addresses, serverAuth
                   └─▶ client: CN is the user, O are the groups, clientAuth

Keys are EC P-256.  Extensions are as RFC 5280 has them, so that strict verifiers take them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS = 3650
LEAF_DAYS = 365
LONGEST_WORD = 64
"""Letters of a common name or organization (RFC 5280, appendix A.1)."""
SKEW = timedelta(minutes=5)
"""Certificates are good this long before they are made: clocks differ."""


class CertificateError(Exception):
    """What can't be made or read; one line."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as a file holds it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key as a file holds it, without a password."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def read_pair(certificate: bytes, key: bytes) -> Pair:
    """Return a CA from PEM.  Raises CertificateError."""
    try:
        pair = x509.load_pem_x509_certificate(certificate), serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as wrong:
        raise CertificateError(f"no certificate or key in PEM format: {wrong}") from None
    if not isinstance(pair[1], ec.EllipticCurvePrivateKey) or pair[0].public_key() != pair[1].public_key():
        raise CertificateError("the key does not belong to the certificate")
    return Pair(pair[0], pair[1])


def make_ca() -> Pair:
    """Return a new CA."""
    ends = datetime.now(UTC) + timedelta(days=CA_DAYS)
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    return _signed(None, _name("svcdns CA"), ends, [constraints, _key_usage("key_cert_sign", "crl_sign")], [])


def make_server(ca: Pair, hosts: Sequence[str], days: int = LEAF_DAYS) -> Pair:
    """Return a certificate for host names (lower case) and addresses.  Raises CertificateError."""
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return _leaf(ca, _name("svcdns"), ExtendedKeyUsageOID.SERVER_AUTH, days, names)


def make_client(ca: Pair, user: str, groups: Sequence[str], days: int = LEAF_DAYS) -> Pair:
    """Return a certificate for a user with groups.  Raises CertificateError."""
    return _leaf(ca, _name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, days)


def _leaf(
    ca: Pair,
    subject: x509.Name,
    purpose: x509.ObjectIdentifier,
    days: int,
    *names: x509.SubjectAlternativeName,
) -> Pair:
    ends = min(datetime.now(UTC) + timedelta(days=days), ca.certificate.not_valid_after_utc)
    if ca.certificate.not_valid_after_utc < datetime.now(UTC):
        raise CertificateError("the CA has expired; make a new one")
    ca_key = ca.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    critical = [x509.BasicConstraints(ca=False, path_length=None), _key_usage("digital_signature")]
    others = [
        x509.ExtendedKeyUsage([purpose]),
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_key),
        *names,
    ]
    return _signed(ca, subject, ends, critical, others)


def _signed(
    ca: Pair | None,
    subject: x509.Name,
    ends: datetime,
    critical: Sequence[x509.ExtensionType],
    others: Sequence[x509.ExtensionType],
) -> Pair:
    """Return a certificate with a new key and these extensions, signed by a CA or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.certificate.subject if ca else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - SKEW)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension in (*critical, *others):
        builder = builder.add_extension(extension, critical=extension in critical)
    return Pair(builder.sign(ca.key if ca else key, hashes.SHA256()), key)


def _key_usage(*uses: str) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    names += " key_cert_sign crl_sign encipher_only decipher_only"
    return x509.KeyUsage(**{name: name in uses for name in names.split()})


def _name(common_name: str, organizations: Sequence[str] = ()) -> x509.Name:
    for word in (common_name, *organizations):
        if not 1 <= len(word) <= LONGEST_WORD or not word.isprintable():
            raise CertificateError(f"{word[:80]!r} can't be a user or group; allowed: 1 to 64 letters")
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
