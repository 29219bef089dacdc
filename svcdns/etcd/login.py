"""How members of etcd are convinced: files of certificates, and a user with a password in a file."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from svcdns.system.handshake import shake_hands
from svcdns.system.watched_file import Signature, signature


@dataclass(frozen=True, slots=True)
class Login:
    """How members are to be convinced, and to convince us; each where it is not None or ""."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    user: str = ""
    password_file: Path | None = None

    def signatures(self) -> list[Signature]:
        """Return what differs when the files of certificates have changed."""
        return [signature(file) for file in (self.ca, self.certificate, self.key) if file is not None]

    def context(self) -> ssl.SSLContext | None:
        """Return what TLS is spoken with; None: as this system does.  Raises OSError, ValueError."""
        if self.ca is None and self.certificate is None:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        return context

    def password(self) -> str:
        """Return the password.  Raises OSError, ValueError."""
        return self.password_file.read_text().strip() if self.password_file is not None else ""

    def certificate_trouble(self) -> str:
        """Return why any member refuses our certificate, such as that it has run out; "" where none has to.

        Blocks for some milliseconds.
        """
        try:
            self.certificate_ends()
        except ssl.SSLCertVerificationError as refused:
            return f"store.etcd_certificate is refused: {self.certificate}: {refused.verify_message}"
        except (OSError, ValueError):
            pass  # whoever uses it is told
        return ""

    def certificate_ends(self) -> str:
        """Return until when our certificate is good, as certificates say it; "" where there is none.

        Some members only say that one is bad (etcd made with Go before 1.20).  So it is shown to a server of
        our own, which trusts it itself.  Raises OSError, ValueError, ssl.SSLCertVerificationError.
        """
        if self.certificate is None:
            return ""
        client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        server.verify_mode = ssl.CERT_REQUIRED
        server.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        server.load_verify_locations(self.certificate)
        for end in (client, server):
            end.load_cert_chain(self.certificate, self.key, password=_no_password)
        _, ends = shake_hands(server, client)
        return ends


def _no_password() -> str:
    raise ValueError("store.etcd_key is protected by a password, which nobody can type here")
