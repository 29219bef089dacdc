"""Who may use an etcd of a test: users with passwords and tokens, certificates of members and of clients.

A member's certificate is for clients too: its gateway is a client of its own member.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from toolbox.running_etcd import RunningEtcd

from svcdns.cli.certificates import Pair

AS_ADMINISTRATOR = ("--user=root:root",)
"""For etcdctl."""
FAST_PASSWORDS = ("--bcrypt-cost", "4")
"""For members: looking at a password costs little."""
_HOUR = timedelta(hours=1)


def tokens_that_end(folder: Path, seconds: int) -> Sequence[str]:
    """Return the options of members whose tokens (JWT) are good for so long, with keys in a folder."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private, public = folder / "jwt.key", folder / "jwt.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    jwt = f"jwt,pub-key={public},priv-key={private},sign-method=RS256,ttl={seconds}s"
    return ("--auth-token", jwt, *FAST_PASSWORDS)


def have_user(etcd: RunningEtcd, password: str, prefix: str = "/svcdns/") -> None:
    """Have users, of whom `svcdns` may read and write what is below a prefix; `root` is the administrator."""
    for command in (
        "user add root:root",
        "user grant-role root root",
        "role add svcdns",
        f"role grant-permission svcdns --prefix=true readwrite {prefix}",
        f"user add svcdns:{password}",
        "user grant-role svcdns svcdns",
        "auth enable",
    ):
        etcd.ctl(*command.split())


def change_password(etcd: RunningEtcd, password: str) -> None:
    """Have `svcdns` need another password."""
    etcd.ctl("user", "passwd", "svcdns", "--interactive=false", stdin=f"{password}\n")


def certificate(
    ca: Pair,
    name: str,
    *,
    good_for: timedelta = _HOUR,
    good_since: timedelta = -_HOUR,
    address: str = "127.0.0.1",
) -> Pair:
    """Return a certificate for a member or a client, good from and for so long from now on.

    `name` is its common name; one of a client that is a user of etcd has none.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    now, both = datetime.now(UTC), [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []))
        .issuer_name(ca.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + good_since)
        .not_valid_after(now + good_for)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False
        )
    )
    return Pair(made.sign(ca.key, hashes.SHA256()), key)


def write(folder: Path, name: str, pair: Pair) -> Path:
    """Write NAME.crt and NAME.key; return the first."""
    (folder / f"{name}.key").write_bytes(pair.key_pem)
    (folder / f"{name}.crt").write_bytes(pair.certificate_pem)
    return folder / f"{name}.crt"


def shown_by_members(file: Path, trusted: Path) -> Sequence[str]:
    """Return the options of members that show a certificate and want one of clients."""
    return (
        *("--cert-file", str(file), "--key-file", str(file.with_suffix(".key"))),
        *("--trusted-ca-file", str(trusted), "--client-cert-auth"),
    )


def shown_by_etcdctl(file: Path, trusted: Path) -> Sequence[str]:
    """Return the options of etcdctl that shows one."""
    return (f"--cacert={trusted}", f"--cert={file}", f"--key={file.with_suffix('.key')}")


@pytest.fixture
def password(tmp_path: Path) -> Path:
    """Give the file with the password that the user has at first: secret."""
    file = tmp_path / "password"
    file.write_text("secret\n")
    return file
