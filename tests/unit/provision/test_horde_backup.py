"""Which backups count, and what is fetched; restic itself runs in the scenario `backups`."""

import hashlib
import io
import json
import os
import tarfile
import time
from collections.abc import Callable
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
        if words[0] in self.config.get("fails", ()):
            raise program.BackupFailed("restic failed: no route to host")
        if words[0] == "snapshots":
            return json.dumps(self.config["there"])
        for name, text in self.config.get("files", {}).items():
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
        Scripted(CONFIG, "here", "/srv/backups").of("db2")


def test_a_folder_that_was_brought_may_be_another_machine_s() -> None:
    brought = Scripted(CONFIG, "/mnt/horde/of-db2", "/mnt/horde/of-db2")
    assert brought.of("db2").place == "/mnt/horde/of-db2"


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


def _begun(tmp_path: Path) -> dict[str, Any]:
    return {**CONFIG, "staging_dir": str(tmp_path / "now")}


def _at_s3(config: dict[str, Any], *there: dict[str, Any], fails: tuple[str, ...] = ()) -> Scripted:
    return Scripted({**config, "there": list(there), "fails": fails}, "s3", "s3:https://s3/b/db1")


ORIGINS = {"postgresql": 7312, "consul": 90}
OLD = _backup(30, "postgresql", "consul", "postgresql=7000", "consul=5000")


def test_a_new_beginning_is_not_backed_up_over_what_s3_has(tmp_path: Path) -> None:
    config = _begun(tmp_path)
    with pytest.raises(program.BackupFailed) as refused:
        program.refuse_another_beginning(config, [_repository(), _at_s3(config, OLD)], ORIGINS)
    assert "databases and consul of db1 began anew, and s3 has backups" in str(refused.value)
    assert "the newest is a22b9f05 of " in str(refused.value)
    assert "-e restore=databases -e restore_repository=s3" in str(refused.value)
    assert "-e backups_start_anew=true" in str(refused.value)


def test_what_goes_on_is_backed_up_on_a_new_disk(tmp_path: Path) -> None:
    config = _begun(tmp_path)
    own = _backup(30, "postgresql", "consul", "postgresql=7312", "consul=80")
    program.refuse_another_beginning(config, [_repository(), _at_s3(config, own)], ORIGINS)
    program.refuse_another_beginning(config, [_repository(), _at_s3(config)], ORIGINS)
    program.refuse_another_beginning(config, [_repository()], ORIGINS)


def test_a_machine_that_has_backups_is_not_asked_where_it_began(tmp_path: Path) -> None:
    config = _begun(tmp_path)
    program.refuse_another_beginning(
        config, [_repository(_backup(5, "consul")), _at_s3(config, OLD)], ORIGINS
    )


@pytest.mark.parametrize("tags", [["postgresql"], ["postgresql", "postgresql=7312", "consul"]])
def test_a_beginning_that_nobody_wrote_down_is_another(tmp_path: Path, tags: list[str]) -> None:
    config = _begun(tmp_path)
    with pytest.raises(program.BackupFailed, match="began anew"):
        program.refuse_another_beginning(config, [_repository(), _at_s3(config, _backup(30, *tags))], ORIGINS)


def test_a_part_that_could_not_be_dumped_is_not_taken_for_what_it_was(tmp_path: Path) -> None:
    config = _begun(tmp_path)
    own = _backup(30, "postgresql", "consul", "postgresql=7312", "consul=80")
    with pytest.raises(program.BackupFailed) as refused:
        program.refuse_another_beginning(config, [_repository(), _at_s3(config, own)], {"postgresql": 7312})
    assert str(refused.value).startswith("consul of db1 began anew")
    assert "consul could not be dumped and may be as before: mend that first." in str(refused.value)


def test_what_was_restored_or_given_up_is_backed_up(tmp_path: Path) -> None:
    config = _begun(tmp_path)
    repositories = [_repository(), _at_s3(config, OLD)]
    assert program.accept(config, ["postgresql"]) == ["postgresql"]
    with pytest.raises(program.BackupFailed, match=r"^consul of db1 began anew"):
        program.refuse_another_beginning(config, repositories, ORIGINS)
    assert program.accept(config, []) == ["consul"]
    program.refuse_another_beginning(config, repositories, ORIGINS)
    with pytest.raises(program.BackupFailed, match="nomad is not backed up here; postgresql, consul is"):
        program.accept(config, ["nomad"])


def test_what_was_accepted_is_so_until_it_is_in_every_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**_begun(tmp_path), "keep": {}}
    monkeypatch.setattr(program, "dump", lambda _config, _folder: ({"parts": {}, "origins": ORIGINS}, []))
    monkeypatch.setattr(program, "_write_metrics", lambda _config: None)
    for fails, accepted_after in ((("check",), ["postgresql"]), ((), [])):
        program.accept(config, ["postgresql"])
        there = [_repository(_backup(5, "consul")), _at_s3(config, OLD, fails=fails)]
        monkeypatch.setattr(program, "_repositories", lambda _config, there=there: there)
        assert program.make(config) == bool(fails)
        assert [file.name for file in program._accepted(config).glob("*")] == accepted_after


def test_an_s3_that_does_not_answer_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    config = _begun(tmp_path)
    away = _at_s3(config, fails=("cat", "init"))
    with pytest.raises(program.BackupFailed, match=r"no route to host.* none until s3 says whether it has"):
        program.refuse_another_beginning(config, [_repository(), away], ORIGINS)


def _snapshot(file: Path, meta: bytes) -> Path:
    with tarfile.open(file, "w:gz") as opened:
        member = tarfile.TarInfo("meta.json")
        member.size = len(meta)
        opened.addfile(member, io.BytesIO(meta))
    return file


def _folder_for_meta(file: Path) -> None:
    with tarfile.open(file, "w:gz") as opened:
        folder = tarfile.TarInfo("meta.json")
        folder.type = tarfile.DIRTYPE
        opened.addfile(folder)


def _cut_off(file: Path) -> None:
    # random bytes cannot be compressed: half the file is half of them
    whole = _snapshot(file, b'{"Index": 90, "ID": "' + os.urandom(4096).hex().encode() + b'"}').read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


def _garbled(file: Path) -> None:
    whole = bytearray(_snapshot(file, os.urandom(4096).hex().encode()).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 64] = bytes(64)
    file.write_bytes(whole)


def test_a_snapshot_says_how_far_its_cluster_has_counted(tmp_path: Path) -> None:
    meta = json.dumps({"ID": "2-90-1", "Index": 90, "Term": 2}).encode()
    file = _snapshot(tmp_path / "consul.snap", meta)
    assert program._origin(CONFIG, "consul", [file]) == 90


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write_text("a page of a proxy"),
        _folder_for_meta,
        _cut_off,
        _garbled,
        lambda file: _snapshot(file, b"[90]"),
        lambda file: _snapshot(file, b'{"Term": 2}'),
        lambda file: _snapshot(file, b'{"Index": [90]}'),
        lambda file: _snapshot(file, b'{"Index": "many"}'),
        lambda file: _snapshot(file, b'{"Index": 1e999}'),
    ],
    ids=["text", "folder", "cut off", "garbled", "list", "no index", "index list", "index text", "infinite"],
)
def test_what_is_no_snapshot_is_told_in_a_sentence(tmp_path: Path, write: Callable[[Path], object]) -> None:
    file = tmp_path / "consul.snap"
    write(file)
    with pytest.raises(program.BackupFailed, match=r"consul\.snap is no snapshot"):
        program._origin(CONFIG, "consul", [file])
