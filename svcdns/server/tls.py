"""TLS of the API: from the files of the configuration to a context.

Rules:

* a mistake is one line that names the option and the file; what would only disturb clients (a
  certificate that has expired) is a warning, and the server starts;
* clients are asked for a certificate where there is a CA for it, and may go without: then a token
  has to say who they are.

Standard library only.
"""

from __future__ import annotations

import contextlib
import ssl
import time
from pathlib import Path

from svcdns.config.sections import ApiConfig
from svcdns.system.handshake import shake_hands

MAX_FILE_OCTETS = 4 << 20
SOON_SECONDS = 30 * 86400
"""A certificate that ends sooner than this is worth a warning."""


class TlsError(Exception):
    """Files that TLS can't work with; the text is one line."""


class _Encrypted(Exception):
    """A key that asks for a password."""


def context_of(config: ApiConfig) -> ssl.SSLContext | None:
    """Return the context of the configuration's files, None for plain HTTP.  Raises TlsError."""
    if config.tls_cert is None or config.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, config.tls_cert, config.tls_key)
    if config.client_ca is not None:
        _load_ca(context, config.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _load_pair(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    if "-----BEGIN CERTIFICATE-----" not in _text("tls_cert", cert):
        raise TlsError(f"api.tls_cert: {cert}: holds no certificate in PEM format")
    if "PRIVATE KEY-----" not in _text("tls_key", key):
        raise TlsError(f"api.tls_key: {key}: holds no private key in PEM format")
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except _Encrypted:
        text = "is protected by a password, which nobody can type here; allowed: a key without one"
        raise TlsError(f"api.tls_key: {key}: {text}") from None
    except ssl.SSLError as failed:
        if failed.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"api.tls_key: {key}: does not belong to the certificate in {cert}") from None
        raise TlsError(f"api.tls_cert: {cert} with {key}: {_reason(failed)}") from None
    except (OSError, ValueError) as failed:
        raise TlsError(f"api.tls_cert: {cert} with {key}: {failed}") from None


def _no_password() -> str:
    raise _Encrypted


def _load_ca(context: ssl.SSLContext, ca: Path) -> None:
    try:
        context.load_verify_locations(cadata=_text("client_ca", ca))
    except (ssl.SSLError, ValueError) as failed:
        text = _reason(failed) if isinstance(failed, ssl.SSLError) else str(failed)
        raise TlsError(f"api.client_ca: {ca}: holds no certificates in PEM format ({text})") from None
    if not context.get_ca_certs():
        raise TlsError(f"api.client_ca: {ca}: holds no certificate of a CA")


def pem_text(path: Path) -> str:
    """Return what stands in a file, as OpenSSL takes it: ASCII, with "?" for all else.  Raises OSError."""
    with path.open("rb") as opened:
        return opened.read(MAX_FILE_OCTETS).decode("latin-1").encode("ascii", "replace").decode()


def _text(option: str, path: Path) -> str:
    try:
        return pem_text(path)
    except OSError as failed:
        text = (failed.strerror or str(failed)).lower()
        raise TlsError(f"api.{option}: {path}: can't be read: {text}") from None


def _reason(failed: ssl.SSLError) -> str:
    return (failed.reason or str(failed)).replace("_", " ").lower()


def ends_soon(ends: str) -> bool:
    """Return whether a certificate that is good until then, as certificates say it, is worth a warning."""
    return ssl.cert_time_to_seconds(ends) - time.time() < SOON_SECONDS


def warnings(config: ApiConfig) -> list[str]:
    """Return what clients will not like about the certificate, a line each.  Raises TlsError.

    A client of our own verifies it in memory, with the file itself as what it trusts.
    """
    server = context_of(config)
    if server is None or config.tls_cert is None or config.tls_key is None:
        return []
    found = []
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(config.tls_cert)
    try:
        ends, _ = shake_hands(server, client)
        if ends_soon(ends):
            found.append(f"api.tls_cert: {config.tls_cert}: expires on {ends}")
    except ssl.SSLCertVerificationError as refused:
        found.append(f"api.tls_cert: {config.tls_cert}: clients will refuse it: {refused.verify_message}")
    except ssl.SSLError as refused:
        found.append(f"api.tls_cert: {config.tls_cert}: clients will refuse it: {_reason(refused)}")
    with contextlib.suppress(OSError):
        if config.tls_key.stat().st_mode & 0o007:
            found.append(f"api.tls_key: {config.tls_key}: everybody on this machine can read it (chmod 600)")
    return found
