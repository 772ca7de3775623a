"""Buckets are made once, and a store that does not do what it has to is told in a sentence."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from horde_agents.testing.object_server import ObjectServer

_PROGRAM = Path(__file__).parents[3] / "roles" / "object_store" / "files" / "buckets.py"


def _run(server: ObjectServer, bucket: str, secret_key: str = "") -> subprocess.CompletedProcess[str]:
    return _ask(server.url, server.region, bucket, server.access_key_id, secret_key or server.secret_key)


def _ask(url: str, region: str, bucket: str, key_id: str, key: str) -> subprocess.CompletedProcess[str]:
    user = {"access_key_id": key_id, "secret_key": key, "buckets": [bucket]}
    asked = json.dumps({"endpoint": url, "region": region, "ca": "", "users": [user]})
    words: list[str | Path] = [sys.executable, _PROGRAM]
    return subprocess.run(words, input=asked, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def _store_that_breaks_off(said: bytes) -> Iterator[str]:
    """Refuses strangers as a store does; says ``said`` to the next, and closes."""
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def answer(listener: socket.socket) -> None:
        for text in (refusal, said):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(text)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        teller = threading.Thread(target=answer, args=(listener,), daemon=True)
        teller.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        teller.join(30)


def test_a_bucket_is_made_once(object_server: ObjectServer) -> None:
    assert _run(object_server, "made-once").stdout == "made made-once\n"
    again = _run(object_server, "made-once")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_wrong_key_is_a_sentence_without_the_key(object_server: ObjectServer) -> None:
    said = _run(object_server, "never-made", "another-key")
    assert said.returncode == 1
    assert "may not use the bucket never-made (403)" in said.stderr
    assert "another-key" not in said.stderr


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 2", b"<html>a proxy</html>\r\n\r\n"], ids=["nothing", "cut off", "no HTTP"]
)
def test_a_store_that_breaks_off_is_a_sentence(said: bytes) -> None:
    with _store_that_breaks_off(said) as url:
        done = _ask(url, "us-east-1", "photos", "somebody", "a-secret")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{url} ceased to answer: ")
    assert done.stderr.endswith("Run this again.\n")
    assert "a-secret" not in done.stderr
