"""The certificate of the executors' listener: made once in the data directory, pinned by every executor."""

import ipaddress
import os
import ssl
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from horde_agents.runtime.clock import now

_LIFE = timedelta(days=3650)


def ensure_certificate(data_dir: Path, host: str) -> Path:
    """Make key and certificate for ``host`` unless they exist; returns the certificate's file."""
    certificate_file, key_file = data_dir / f"executors-{host}.pem", data_dir / f"executors-{host}.key"
    if certificate_file.exists() and key_file.exists():
        return certificate_file
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "horde executors")])
    begin = now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - timedelta(hours=1))
        .not_valid_after(begin + _LIFE)
        .add_extension(x509.SubjectAlternativeName([_subject(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
        sink.write(private)
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_file


def fingerprint(certificate_file: Path) -> bytes:
    """The SHA-256 by which executors know the certificate."""
    return x509.load_pem_x509_certificate(certificate_file.read_bytes()).fingerprint(hashes.SHA256())


def server_context(certificate_file: Path) -> ssl.SSLContext:
    """TLS 1.3 with the certificate and the key beside it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate_file, certificate_file.with_suffix(".key"))
    return context


def _subject(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
