"""Certificates that nobody trusts unless told to."""

import ssl
import subprocess
from pathlib import Path

from tests.requirements import find


def certify(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for this name, localhost and 127.0.0.1; return its file and that of its key."""
    program = find("openssl")
    assert program, "openssl is not installed: see tests/requirements.py"
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    names = f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1"
    make = [program, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subject = ["-subj", f"/CN={name}", "-addext", names]
    subprocess.run(
        [*make, *subject, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    return certificate, key


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS settings of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
