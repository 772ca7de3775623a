"""Which backups count, and what is fetched; restic itself runs in the scenario `backups`."""

import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.role_programs import role_program

program = role_program("backups", "horde_backup")
CONFIG = {"machine": "db1", "postgresql": {"port": 5432}, "consul": {}, "max_age_h": 13}


class Scripted(program.Repository):  # type: ignore[name-defined,misc]
    """A repository that has what the test says."""

    def restic(self, *words: str) -> str:
        if words[0] == "snapshots":
            return json.dumps(self.config["there"])
        for name, text in self.config["files"].items():
            Path(words[words.index("--target") + 1], name).write_text(text)
        return ""


def _backup(hours_ago: float, *tags: str, name: str = "a22b9f05") -> dict[str, Any]:
    at = datetime.fromtimestamp(time.time() - hours_ago * 3600, UTC)
    # as restic writes it, with nanoseconds
    return {
        "time": f"{at:%Y-%m-%dT%H:%M:%S}.123456789Z",
        "tags": ["horde", *tags],
        "id": name + "00",
        "short_id": name,
    }


def _repository(*there: dict[str, Any], files: dict[str, str] | None = None) -> Scripted:
    return Scripted({**CONFIG, "there": list(there), "files": files or {}}, "here", "/var/backups/horde/db1")


def test_a_backup_that_lacks_a_part_does_not_count() -> None:
    repository = _repository(_backup(5, "postgresql", "consul"), _backup(1, "postgresql"))
    newest = program.newest_whole(CONFIG, repository)
    assert round((time.time() - newest) / 3600) == 5


def test_there_may_be_none() -> None:
    assert program.newest_whole(CONFIG, _repository(_backup(1, "consul"))) is None


@pytest.mark.parametrize(
    "text", ["2026-11-27T12:38:35.123456789Z", "2026-11-27T12:38:35Z", "2026-11-27T13:38:35.1+01:00"]
)
def test_times_of_restic_are_read(text: str) -> None:
    assert program._instant(text) == datetime(2026, 11, 27, 12, 38, 35, tzinfo=UTC)


def test_another_machine_s_repository_is_beside_its_own() -> None:
    assert _repository().of("db2").place == "/var/backups/horde/db2"
    with pytest.raises(program.BackupFailed, match="has backups of db1 alone, none of db2"):
        Scripted(CONFIG, "/mnt/brought", "/mnt/brought").of("db2")


def _whole(text: str) -> dict[str, str]:
    checksum = hashlib.sha256(b"rows").hexdigest()
    manifest = {"machine": "db1", "made_at": "now", "parts": {"postgresql": {"miner_17.dump": checksum}}}
    return {"manifest.json": json.dumps(manifest), "miner_17.dump": text}


def test_what_was_dumped_is_fetched(tmp_path: Path) -> None:
    repository = _repository(_backup(1, "postgresql"), files=_whole("rows"))
    said = program.fetch(repository, "db1", "latest", tmp_path / "restored")
    assert (said["id"], said["machine"]) == ("a22b9f05", "db1")
    assert (tmp_path / "restored" / "miner_17.dump").read_text() == "rows"


def test_what_differs_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    repository = _repository(_backup(1, "postgresql"), files=_whole("other rows"))
    with pytest.raises(program.BackupFailed, match=r"miner_17\.dump of the backup a22b9f05 is not what"):
        program.fetch(repository, "db1", "latest", tmp_path / "restored")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_backup_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        program.BackupFailed, match="not exactly one backup 0000 of db1; it has a22b9f05 of 2"
    ):
        program.fetch(_repository(_backup(1)), "db1", "0000", tmp_path / "restored")
