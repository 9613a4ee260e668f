"""The certificate that the Regions' endpoints show: ``--tls-cert``, ``--tls-key``."""

from __future__ import annotations

import ssl
from pathlib import Path

from lastwriter.errors import UserError


def load_certificate(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """For a server: PEM files; without ``key``, the key stands with the certificate. UserError, one line."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    for path in (certificate, key or certificate):
        try:
            path.open("rb").close()
        except OSError as error:
            raise UserError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError, OSError) as error:
        reason = getattr(error, "reason", None)
        why = (
            "the key is not the certificate's"
            if reason == "KEY_VALUES_MISMATCH"
            else "a PEM file with a certificate and one with its key, without a password, are needed"
        )
        files = f"{certificate} and {key}" if key is not None else str(certificate)
        raise UserError(f"cannot use {files} for TLS: {why}") from None
    return context


def _no_password() -> str:
    """Asked for a password, OpenSSL would ask the terminal."""
    return ""
