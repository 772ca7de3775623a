"""No secret of any kind stays in a text, known or not, and what helps to find a fault does."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from horde_agents.cli.redaction import Redactor, known_secrets, main
from horde_agents.testing.wallets import hotkey_file

TOKEN = "0b6a3f5e-3a43-4c07-9c2b-7d7b3a1f0c55"
GOSSIP = "7Yk0b/3bT+S5vC8mQ1Yy0mWn7u2a5Jp0Yz1s9t8u7v6="
PEM = """-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIAabcdefghijklmnopqrstuvwxyz0123456789ABCDEF
-----END EC PRIVATE KEY-----
"""
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJnbG9iYWwifQ.c2lnbmF0dXJlLW9mLWl0"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A controller's folder of secrets, and a hotkey."""
    folder = tmp_path / "secrets"
    (folder / "nomad").mkdir(parents=True)
    (folder / "nomad" / "management").write_text(f"{TOKEN}\n")
    (folder / "nomad" / "gossip").write_text(GOSSIP)
    hotkey_file(folder, "miner")
    return folder


@pytest.mark.parametrize(
    "written",
    [
        TOKEN,
        f"X-Something: {TOKEN}",
        base64.b64encode(TOKEN.encode()).decode(),
        f"https://host/?a={quote(GOSSIP, safe='')}",
        json.dumps({"x": GOSSIP}),
        f"word{TOKEN}word",
    ],
)
def test_a_known_secret_is_taken_out_however_it_is_written(secrets: Path, written: str) -> None:
    text = Redactor(known_secrets([secrets])).redacted(f"before {written} after")
    assert TOKEN not in text
    assert base64.b64encode(TOKEN.encode()).decode().rstrip("=") not in text
    assert quote(GOSSIP, safe="") not in text
    assert GOSSIP not in text
    assert "[redacted: nomad/" in text
    assert text.startswith("before ")
    assert text.endswith(" after")


def test_a_hotkey_s_secrets_are_taken_out_and_its_address_stays(secrets: Path) -> None:
    told = json.loads(next(secrets.glob("*.hotkey")).read_text())
    private = [value for name, value in told.items() if name not in {"accountId", "publicKey", "ss58Address"}]
    redactor = Redactor(known_secrets([secrets]))
    assert private
    for value in private:
        assert str(value).removeprefix("0x") not in redactor.redacted(f"keyfile {value}.")
    kept = told.get("ss58Address", "5GgY4oBHBUs7mZjq8BRrHZw7H7bvgPvgENiboKAwxLW2X4eS")
    assert kept in redactor.redacted(f"hotkey {kept} is registered")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Authorization: Bearer {JWT}", JWT),
        (f"identity is {JWT}", JWT),
        ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("X-Consul-Token: 11111111-2222", "11111111-2222"),
        ("postgresql://miner_17:hunter22@/miner_17?host=10.0.0.1:5432", "hunter22"),
        ("fetching https://user:p%40ss@registry/v2", "p%40ss"),
        ('{"SecretID": "9f1c0c1e-aaaa-bbbb-cccc-000000000000"}', "9f1c0c1e-aaaa-bbbb-cccc-000000000000"),
        ("POSTGRES_PASSWORD=swordfish1", "swordfish1"),
        ('secretPhrase: "legal winner thank year wave sausage"', "legal winner thank year wave sausage"),
        (r"{\"mnemonic\": \"legal winner thank\"}", "legal winner thank"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI/K7MDENG"),
        ("GET /b/o?X-Amz-Credential=AK%2F1&X-Amz-Signature=abcdef012345 HTTP/1.1", "abcdef012345"),
        ("key 0x" + "ab" * 64, "ab" * 64),
        (PEM, "MHcCAQEEIAabcdefghijklmnop"),
        ("-----BEGIN PRIVATE KEY-----\nMHcCAQEE cut off", "MHcCAQEE"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret_is_taken_out_unknown(text: str, secret: str) -> None:
    redactor = Redactor({})
    assert secret not in redactor.redacted(text)
    assert sum(redactor.taken.values()) >= 1


@pytest.mark.parametrize(
    "text",
    [
        "allocation 3f0c9a7e-1111-2222-3333-444455556666 of node 0b6a3f5e-aaaa-4c07-9c2b-7d7b3a1f0c55",
        "nomad_token_file = /secrets/nomad_token",
        "block 0x" + "ab" * 32,
        "GET http://10.20.1.11:8000/admin/login/ 200",
        "hotkey 5GgY4oBHBUs7mZjq8BRrHZw7H7bvgPvgENiboKAwxLW2X4eS",
        "image registry:5000/horde/agent@sha256:" + "0" * 64,
        "accessor_id: 3f0c9a7e-1111-2222-3333-444455556666",
        '"token_type": "client"',
    ],
)
def test_what_helps_to_find_a_fault_stays(text: str) -> None:
    assert Redactor({}).redacted(text) == text


def test_a_private_key_of_the_folder_is_known_by_its_lines(tmp_path: Path) -> None:
    (tmp_path / "ca-key.pem").write_text(PEM)
    (tmp_path / "ca.pem").write_text(PEM.replace("EC PRIVATE KEY", "CERTIFICATE").replace("MHc", "MII"))
    redactor = Redactor(known_secrets([tmp_path]))
    assert "MHcCAQEE" not in redactor.redacted(f"it said {PEM.splitlines()[1]}")
    certificate = PEM.splitlines()[1].replace("MHc", "MII")
    assert redactor.redacted(certificate) == certificate


def test_a_folder_is_rewritten_and_nothing_is_printed_but_counts(
    secrets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = tmp_path / "logs" / "gpu1"
    logs.mkdir(parents=True)
    (logs / "nomad.log").write_bytes(
        b"\xff\xfe token " + TOKEN.encode() + b" again " + TOKEN.encode() + b"\n"
    )
    assert main([str(tmp_path / "logs"), "--known", str(secrets)]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"nomad/management": 2}
    assert TOKEN not in said.out + said.err
    kept = (logs / "nomad.log").read_bytes()
    assert kept.startswith(b"\xff\xfe token [redacted: nomad/management]")
    assert main([str(tmp_path / "logs"), "--known", str(secrets)]) == 0
    assert (logs / "nomad.log").read_bytes() == kept


def test_it_needs_python_alone() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-S", "-m", "horde_agents.cli.redaction", "--help"]
    assert subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0


def test_ids_of_nodes_are_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "miner1").write_text("5df8f1d2-0b0e-4c35-8a55-0d9c8a1f4b11")
    (tmp_path / "management").write_text("8bd5d2c4-1f0d-4f0f-9c5e-3f6c7a2b9e22")
    assert set(known_secrets([tmp_path])) == {"8bd5d2c4-1f0d-4f0f-9c5e-3f6c7a2b9e22"}
