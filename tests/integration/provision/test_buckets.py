"""Buckets are made once, and a store that does not do what it has to is told in a sentence."""

import json
import subprocess
import sys
from pathlib import Path

from horde_agents.testing.object_server import ObjectServer

_PROGRAM = Path(__file__).parents[3] / "roles" / "object_store" / "files" / "buckets.py"


def _run(server: ObjectServer, bucket: str, secret_key: str = "") -> subprocess.CompletedProcess[str]:
    user = {
        "access_key_id": server.access_key_id,
        "secret_key": secret_key or server.secret_key,
        "buckets": [bucket],
    }
    asked = json.dumps({"endpoint": server.url, "region": server.region, "ca": "", "users": [user]})
    words: list[str | Path] = [sys.executable, _PROGRAM]
    return subprocess.run(words, input=asked, capture_output=True, text=True, check=False)


def test_a_bucket_is_made_once(object_server: ObjectServer) -> None:
    assert _run(object_server, "made-once").stdout == "made made-once\n"
    again = _run(object_server, "made-once")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_wrong_key_is_a_sentence_without_the_key(object_server: ObjectServer) -> None:
    said = _run(object_server, "never-made", "another-key")
    assert said.returncode == 1
    assert "may not use the bucket never-made (403)" in said.stderr
    assert "another-key" not in said.stderr
