"""What is as role pki wants it is left alone; each thing that is wrong with it is seen."""

import datetime
import ipaddress
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_PROGRAM = Path(__file__).parents[3] / "roles" / "pki" / "files" / "look.py"
_NOW: Final = datetime.datetime.now(datetime.UTC)
_WRONG_AUTHORITIES: Final[dict[str, Callable[[Path], object]]] = {
    "no key": lambda here: (here / "ca-key.pem").unlink(),
    "a key that others may read": lambda here: (here / "ca-key.pem").chmod(0o640),
    "a key that is none": lambda here: (here / "ca-key.pem").write_text("no key"),
    "another key": lambda here: shutil.copy(here / "m1-key.pem", here / "ca-key.pem"),
    "nothing that signs": lambda here: (here / "signing.pem").unlink(),
    "nothing to trust": lambda here: (here / "ca.pem").unlink(),
    "something to trust that others may read": lambda here: (here / "ca.pem").chmod(0o644),
    "a next one that nobody trusts": lambda here: shutil.copy(here / "signing.pem", here / "next.pem"),
    "a folder that others may read": lambda here: here.chmod(0o755),
}
_WRONG_CERTIFICATES: Final[dict[str, Callable[[Path], object]]] = {
    "no certificate": lambda here: (here / "m1.pem").unlink(),
    "a certificate that is none": lambda here: (here / "m1.pem").write_text("no certificate"),
    "a certificate of another mode": lambda here: (here / "m1.pem").chmod(0o644),
    "no key": lambda here: (here / "m1-key.pem").unlink(),
    "a key that others may read": lambda here: (here / "m1-key.pem").chmod(0o644),
    "another key": lambda here: shutil.copy(here / "ca-key.pem", here / "m1-key.pem"),
    "another certificate": lambda here: shutil.copy(here / "signing.pem", here / "m1.pem"),
    "another authority": lambda here: _make_authority(here),
}


def test_what_is_as_it_shall_be_is_left_alone(pki: Path) -> None:
    assert (_authorities(pki), _certificates(pki)) == ([], [])


def test_a_bare_controller_has_nothing(tmp_path: Path) -> None:
    assert (_authorities(tmp_path), _certificates(tmp_path)) == (["consul"], ["consul"])


def test_what_ends_within_the_days_of_renewal_is_told(pki: Path) -> None:
    assert (_authorities(pki, days=99), _authorities(pki, days=101)) == ([], ["consul"])
    assert (_certificates(pki, days=49), _certificates(pki, days=51)) == ([], ["consul"])


@pytest.mark.parametrize("wrong", _WRONG_AUTHORITIES.values(), ids=_WRONG_AUTHORITIES)
def test_an_authority_with_something_wrong_is_told(pki: Path, wrong: Callable[[Path], object]) -> None:
    wrong(pki / "consul")
    assert _authorities(pki) == ["consul"]


@pytest.mark.parametrize("wrong", _WRONG_CERTIFICATES.values(), ids=_WRONG_CERTIFICATES)
def test_a_certificate_with_something_wrong_is_told(pki: Path, wrong: Callable[[Path], object]) -> None:
    wrong(pki / "consul")
    assert _certificates(pki) == ["consul"]


@pytest.mark.parametrize(
    ("machine", "address", "names"),
    [
        ("m2", "10.0.0.1", ["client.dc1.consul"]),
        ("m1", "10.0.0.2", ["client.dc1.consul"]),
        ("m1", "10.0.0.1", ["server.dc1.consul"]),
        ("m1", "10.0.0.1", ["client.dc1.consul", "server.dc1.consul"]),
    ],
    ids=["another machine", "another address", "another name", "a name more"],
)
def test_a_certificate_of_other_names_is_told(
    pki: Path, machine: str, address: str, names: list[str]
) -> None:
    for end in (".pem", "-key.pem"):
        if machine != "m1":
            shutil.copy(pki / "consul" / f"m1{end}", pki / "consul" / f"{machine}{end}")
    assert _certificates(pki, machine, address, names) == ["consul"]


@pytest.mark.parametrize("use", ["SERVER_AUTH", "CLIENT_AUTH"])
def test_a_certificate_for_less_is_told(pki: Path, use: str) -> None:
    _make_certificate(pki / "consul", uses=[getattr(ExtendedKeyUsageOID, use)])
    assert _certificates(pki) == ["consul"]


@pytest.mark.parametrize("file", ["ca-key.pem", "signing.pem"])
def test_a_certificate_is_told_whose_authority_could_not_sign_it_again(pki: Path, file: str) -> None:
    (pki / "consul" / file).unlink()
    assert _certificates(pki) == ["consul"]


@pytest.mark.parametrize(("machine", "address"), [("m1", "nowhere"), ("mä", "10.0.0.1")])
def test_names_that_no_certificate_can_have_are_told(pki: Path, machine: str, address: str) -> None:
    assert _certificates(pki, machine, address) == ["consul"]


def test_a_machine_trusts_what_signs_what_will_and_what_did(pki: Path) -> None:
    here = pki / "consul"
    _write(here / "next.pem", b"next\n")
    _write(here / "before.pem", b"before\n")
    _write(here / "ca.pem", (here / "signing.pem").read_bytes() + b"next\nbefore\n")
    assert _authorities(pki) == []


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    here = tmp_path / "consul"
    here.mkdir(mode=0o700)
    _make_authority(here)
    _make_certificate(here)
    return tmp_path


def _make_authority(here: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Horde consul authority")])
    certificate = _sign(x509.CertificateBuilder().issuer_name(named).subject_name(named), key, key, days=100)
    _write(here / "ca-key.pem", _pem(key))
    _write(here / "signing.pem", certificate)
    _write(here / "ca.pem", certificate)


def _make_certificate(here: Path, uses: list[x509.ObjectIdentifier] | None = None) -> None:
    signs = x509.load_pem_x509_certificate((here / "signing.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName("client.dc1.consul"), x509.DNSName("localhost")]
    names += [x509.IPAddress(ipaddress.ip_address(number)) for number in ("127.0.0.1", "10.0.0.1")]
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    builder = (
        x509.CertificateBuilder()
        .issuer_name(signs.subject)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "m1")]))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(uses or [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
    )
    ca_key = load_pem_private_key((here / "ca-key.pem").read_bytes(), password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    _write(here / "m1-key.pem", _pem(key))
    _write(here / "m1.pem", _sign(builder, key, ca_key, days=50))


def _sign(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePrivateKey,
    signs: ec.EllipticCurvePrivateKey,
    days: int,
) -> bytes:
    dated = builder.not_valid_before(_NOW).not_valid_after(_NOW + datetime.timedelta(days=days))
    numbered = dated.serial_number(x509.random_serial_number()).public_key(key.public_key())
    return numbered.sign(signs, hashes.SHA256()).public_bytes(Encoding.PEM)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(file: Path, said: bytes) -> None:
    file.write_bytes(said)
    file.chmod(0o600)


def _authorities(folder: Path, days: int = 30) -> list[str]:
    return _look("authorities", folder, str(days), "consul")


def _certificates(
    folder: Path,
    machine: str = "m1",
    address: str = "10.0.0.1",
    names: list[str] | None = None,
    days: int = 30,
) -> list[str]:
    wanted = json.dumps({"consul": names or ["client.dc1.consul"]})
    return _look("certificates", folder, str(days), machine, address, wanted)


def _look(*words: str | Path) -> list[str]:
    said = subprocess.run(
        [sys.executable, _PROGRAM, *words], capture_output=True, text=True, check=True
    ).stdout
    unfit: list[str] = json.loads(said)
    return unfit
