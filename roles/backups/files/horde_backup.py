#!/usr/bin/python3
"""Backs up with restic what this machine keeps for the horde: PostgreSQL's databases, Consul, Nomad.

Standard library only.

    horde-backup make
        dump everything and put it into every repository
    horde-backup check
        status 1 where the newest whole backup is missing or too old
    horde-backup list [--repository R] [--machine M]
        all backups as JSON, the newest last
    horde-backup fetch [--repository R] [--machine M] [--id ID] FOLDER
        the files of one into FOLDER, compared with their checksums
    horde-backup restore-databases FOLDER [NAME …]
        fetched databases in the places of those that are there
    horde-backup accept [PART …]
        back up what is here next time, though another repository has what was here before

Owns how a backup is made and read. When it is made, and by whom it is restored, is the role's and the
playbooks'. Passwords and tokens are in files that root alone can read, and go to other programs by
environment or file, never on a command line.
"""

import argparse
import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

CONFIG = Path("/etc/horde-backup/config.json")
_TAG = "horde"
_MANIFEST = "manifest.json"
#: a standby breaks a dump off when the primary has removed what it reads
_TRIES = 3
_PAUSE_S = 10.0
#: of a file that is cut off, garbled or something else
_NO_SNAPSHOT = (
    OSError,
    EOFError,
    zlib.error,
    tarfile.TarError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
)
_PSQL = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "postgres")
_DATABASES = (
    "SELECT datname FROM pg_database "
    "WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres' "
    # what a restore that was cut off has filled
    r"AND datname NOT LIKE '%\_arriving' ORDER BY 1"
)


class BackupFailed(Exception):
    """Something could not be backed up or restored; the text says what."""


@dataclass(frozen=True)
class Repository:
    """Where backups are kept."""

    config: dict[str, Any]
    name: str
    place: str
    secrets_file: str = ""
    ca_file: str = ""

    @property
    def is_here(self) -> bool:
        """Whether it is lost with this machine."""
        return self.place.startswith("/")

    def of(self, machine: str) -> "Repository":
        """The repository of another machine, where both are at one place; one that was brought is any."""
        if machine == self.config["machine"] or self.name == self.place:
            return self
        before, _, last = self.place.rpartition("/")
        if last != self.config["machine"]:
            raise BackupFailed(
                f"the repository {self.name} has backups of {self.config['machine']} alone, none of {machine}"
            )
        return Repository(self.config, self.name, f"{before}/{machine}", self.secrets_file, self.ca_file)

    def restic(self, *words: str) -> str:
        """What restic prints."""
        secrets = json.loads(Path(self.secrets_file).read_text()) if self.secrets_file else {}
        more = ["--cacert", self.ca_file] if self.ca_file else []
        environ = {
            "RESTIC_REPOSITORY": self.place,
            "RESTIC_PASSWORD_FILE": self.config["password_file"],
            "RESTIC_CACHE_DIR": self.config["cache_dir"],
            **secrets,
        }
        return _run(["restic", *more, *words], environ, name=f"restic {words[0]}")

    def have(self) -> None:
        """Make it unless it is there."""
        try:
            self.restic("cat", "config")
        except BackupFailed as missing:
            # restic makes none over another, so a wrong password ends here, too
            try:
                self.restic("init")
            except BackupFailed as refused:
                raise BackupFailed(f"{missing}; and {refused}") from refused

    def backups(self, machine: str) -> list[dict[str, Any]]:
        """What is there of a machine, the newest last."""
        said = self.restic("snapshots", "--json", "--no-lock", "--host", machine, "--tag", _TAG)
        return sorted(json.loads(said) or [], key=lambda one: _instant(one["time"]))


def dump(config: dict[str, Any], folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Write all that there is to back up into ``folder``; return the manifest and what failed."""
    parts: dict[str, Callable[[], list[Path]]] = {}
    if "postgresql" in config:
        parts["postgresql"] = functools.partial(_dump_databases, config["postgresql"], folder)
    for name in ("consul", "nomad"):
        if name in config:
            parts[name] = functools.partial(_snapshot, name, config[name], folder / f"{name}.snap")
    made: dict[str, Any] = {}
    origins: dict[str, int] = {}
    faults = []
    for name, part in parts.items():
        try:
            files = part()
            origins[name] = _origin(config, name, files)
            made[name] = {file.name: _checksum(file) for file in files}
        except BackupFailed as fault:
            faults.append(f"{name}: {fault}")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {"machine": config["machine"], "made_at": now, "parts": made, "origins": origins}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1))
    return manifest, faults


def make(config: dict[str, Any]) -> int:
    """Dump, keep, forget what is old, look whether the repositories are sound; 1 when something failed."""
    folder = Path(config["staging_dir"])
    with _alone(folder.parent), _empty(folder):
        manifest, faults = dump(config, folder)
        origins = [f"{part}={origin}" for part, origin in manifest["origins"].items()]
        tags = [f"--tag={tag}" for tag in (_TAG, *manifest["parts"], *origins)]
        keep = [f"--keep-{unit}={count}" for unit, count in config["keep"].items() if count]
        try:
            refuse_another_beginning(config, _repositories(config), manifest["origins"])
            repositories = _repositories(config)
        except BackupFailed as fault:
            faults.append(str(fault))
            repositories = []
        for repository in repositories:
            try:
                repository.have()
                # what a run that was killed has locked; the repository is this machine's alone, and no other
                # run is under way
                repository.restic("unlock", "--quiet")
                if manifest["parts"]:
                    repository.restic("backup", "--quiet", "--host", config["machine"], *tags, str(folder))
                of_ours = ["--host", config["machine"], "--tag", _TAG]
                repository.restic("forget", "--quiet", "--prune", *of_ours, *keep)
                repository.restic("check", "--quiet", "--read-data-subset=5%")
            except BackupFailed as fault:
                faults.append(f"{repository.name}: {fault}")
    if not faults:
        _forget_accepted(config)
    _write_metrics(config)
    for part, files in manifest["parts"].items():
        print(f"{part}: {', '.join(files) or 'nothing there'}")
    for sentence in faults:
        print(f"{sentence}.", file=sys.stderr)
    return 1 if faults else 0


def refuse_another_beginning(
    config: dict[str, Any], repositories: list[Repository], origins: dict[str, int]
) -> None:
    """Raise where this machine was set up anew and a repository elsewhere has what was here before.

    A backup of the new beginning would be the latest there, be restored instead of a good one, and push the
    good ones out in time.
    """
    machine = config["machine"]
    if any(_has_backups(repository, machine) for repository in repositories if repository.is_here):
        return
    accepted = {file.name for file in _accepted(config).glob("*")}
    for repository in repositories:
        if repository.is_here:
            continue
        try:
            repository.have()
            found = repository.backups(machine)
        except BackupFailed as fault:
            raise BackupFailed(
                f"{repository.name}: {fault}; {machine} has no backup of its own yet, and makes none until "
                f"{repository.name} says whether it has"
            ) from fault
        unaccepted = [part for part in _parts(config) if part not in accepted]
        if others := [part for part in unaccepted if not _goes_on(part, origins.get(part), found)]:
            newest = f"the newest is {found[-1]['short_id']} of {found[-1]['time'][:16]}"
            what = _spoken(others)
            undumped = _spoken([part for part in others if part not in origins])
            first = (
                f"{undumped} could not be dumped and may be as before: mend that first. " if undumped else ""
            )
            restore = (
                f"playbooks/restore.yml -e restore={what.split()[0]} -e restore_repository={repository.name}"
            )
            raise BackupFailed(
                f"{what} of {machine} began anew, and {repository.name} has backups of what was here before, "
                f"{newest}; nothing was backed up, so that those stay. {first}Restore each ({restore}), or "
                "give up what was here before: playbooks/backups.yml -e backups_start_anew=true"
            )


def _spoken(parts: list[str]) -> str:
    return " and ".join("databases" if part == "postgresql" else part for part in parts)


def accept(config: dict[str, Any], parts: list[str]) -> list[str]:
    """Back these parts up, or all, whatever another repository has, until that went well.

    Return those that are new to it.
    """
    if odd := set(parts) - set(_parts(config)):
        raise BackupFailed(f"{', '.join(sorted(odd))} is not backed up here; {', '.join(_parts(config))} is")
    folder = _accepted(config)
    folder.mkdir(parents=True, exist_ok=True)
    new = [part for part in parts or _parts(config) if not (folder / part).exists()]
    for part in new:
        (folder / part).touch()
    return new


def newest_whole(config: dict[str, Any], repository: Repository) -> float | None:
    """When the newest backup was made that has all that this machine keeps; ``None`` where there is none."""
    wanted = {_TAG, *_parts(config)}
    whole = [one for one in repository.backups(config["machine"]) if wanted <= set(one["tags"])]
    return _instant(whole[-1]["time"]).timestamp() if whole else None


def check(config: dict[str, Any]) -> int:
    """Say of each repository how old its newest whole backup is; 1 where that is too old."""
    faults = 0
    for repository in _repositories(config):
        try:
            newest = newest_whole(config, repository)
        except BackupFailed as fault:
            print(f"{repository.name}: {fault}.", file=sys.stderr)
            faults += 1
            continue
        if newest is None:
            print(
                f"{repository.name} at {repository.place} has no whole backup of {config['machine']}. "
                "Run: systemctl start horde-backup"
            )
            faults += 1
            continue
        age_h = (time.time() - newest) / 3600
        is_old = age_h > config["max_age_h"]
        faults += is_old
        too_old = f"more than {config['max_age_h']} h; see: journalctl -u horde-backup"
        words = too_old if is_old else "young enough"
        age = f"{age_h:.1f} h old, {words}"
        print(f"{repository.name}: the newest whole backup of {config['machine']} is {age}")
    return 1 if faults else 0


def fetch(repository: Repository, machine: str, wanted: str, folder: Path) -> dict[str, Any]:
    """Put the files of a backup into ``folder``; return its manifest.

    Raise where a file is not what was dumped.
    """
    found = repository.of(machine).backups(machine)
    chosen = [one for one in found if wanted == "latest" or one["id"].startswith(wanted)]
    if not chosen or (wanted != "latest" and len(chosen) > 1):
        known = ", ".join(f"{one['short_id']} of {one['time'][:16]}" for one in found[-10:]) or "none"
        raise BackupFailed(
            f"{repository.name} has not exactly one backup {wanted} of {machine}; it has {known}"
        )
    with _empty(folder, stays=True), _empty(folder.with_name(f"{folder.name}.arriving")) as arriving:
        repository.of(machine).restic("restore", "--quiet", "--target", str(arriving), chosen[-1]["id"])
        for file in [file for file in arriving.rglob("*") if file.is_file()]:
            file.rename(folder / file.name)
        manifest = json.loads((folder / _MANIFEST).read_text())
        for files in manifest["parts"].values():
            for name, checksum in files.items():
                if _checksum(folder / name) != checksum:
                    raise BackupFailed(
                        f"{name} of the backup {chosen[-1]['short_id']} is not what was dumped"
                    )
    return {"id": chosen[-1]["short_id"], **manifest}


def restore_databases(config: dict[str, Any], folder: Path, names: list[str]) -> list[str]:
    """Fill databases beside those that are there, then let them change places.

    What was there keeps another name.
    """
    there = [file.name.removesuffix(".dump") for file in sorted(folder.glob("*.dump"))]
    if missing := set(names) - set(there):
        raise BackupFailed(
            f"the backup has no database {', '.join(sorted(missing))}; it has {', '.join(there)}"
        )
    server = config["postgresql"]
    if _sql(server, "SELECT pg_is_in_recovery()") != "f":
        raise BackupFailed("this machine is the standby; databases are restored at the primary")
    wanted = names or there
    if odd := [name for name in wanted if not re.fullmatch("[a-z][a-z0-9_]{0,62}", name)]:
        raise BackupFailed(f"{', '.join(odd)} is no name of a database of ours")
    for name in wanted:
        owner = _sql(server, f"SELECT rolname FROM pg_roles WHERE rolname = '{name}'")  # noqa: S608  (a name of ours)
        if not owner:
            raise BackupFailed(
                f"there is no role {name}; run playbooks/databases.yml with it in postgresql_databases first"
            )
        arriving = _arriving(name)
        _sql(server, f'DROP DATABASE IF EXISTS "{arriving}"')
        create = f'CREATE DATABASE "{arriving}" OWNER "{name}" TEMPLATE template0 ENCODING \'UTF8\''
        _sql(server, f"{create} LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'")
        _sql(server, f'REVOKE ALL ON DATABASE "{arriving}" FROM PUBLIC')
        with (folder / f"{name}.dump").open("rb") as opened:
            words = ["pg_restore", "--exit-on-error", "--no-password", *_port(server), "-d", arriving]
            _run(_as_postgres(words), stdin=opened)
    now = datetime.now(UTC).strftime("%Y%m%dt%H%M%S")
    for name in wanted:
        is_it = f"datname = '{name}'"
        if _sql(server, f"SELECT 1 FROM pg_database WHERE {is_it}"):  # noqa: S608  (a name of ours)
            _sql(server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            _sql(server, f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {is_it}")  # noqa: S608  (a name of ours)
            _sql(server, f'ALTER DATABASE "{name}" RENAME TO "{name[:40]}_before_{now}"')
        _sql(server, f'ALTER DATABASE "{_arriving(name)}" RENAME TO "{name}"')
    return wanted


def main(words: list[str] | None = None) -> int:
    """Do what the words say; what fails is a sentence, with status 1."""
    os.umask(0o077)
    asked = _arguments(words)
    config = json.loads(CONFIG.read_text())
    try:
        match asked.does:
            case "make":
                return make(config)
            case "check":
                return check(config)
            case "list":
                machine = asked.machine or config["machine"]
                print(json.dumps(_repository(config, asked.repository).of(machine).backups(machine)))
            case "fetch":
                repository = _repository(config, asked.repository)
                machine = asked.machine or config["machine"]
                print(json.dumps(fetch(repository, machine, asked.id, asked.folder)))
            case "restore-databases":
                print("\n".join(restore_databases(config, asked.folder, asked.names)))
            case "accept":
                print("".join(f"{part}\n" for part in accept(config, asked.parts)), end="")
            case _:
                pass  # there are no others: argparse has refused them
    except BackupFailed as fault:
        print(f"{fault}.", file=sys.stderr)
        return 1
    return 0


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    does = parser.add_subparsers(dest="does", required=True)
    does.add_parser("make")
    does.add_parser("check")
    for name in ("list", "fetch"):
        reader = does.add_parser(name)
        reader.add_argument("--repository", default="here", help="its name, or a folder")
        reader.add_argument("--machine", default="", help="whose backup; its own where nothing is said")
        if name == "fetch":
            reader.add_argument("--id", default="latest")
            reader.add_argument("folder", type=Path)
    restorer = does.add_parser("restore-databases")
    restorer.add_argument("folder", type=Path)
    restorer.add_argument("names", nargs="*")
    does.add_parser("accept").add_argument("parts", nargs="*")
    return parser.parse_args(words)


def _parts(config: dict[str, Any]) -> list[str]:
    return [name for name in ("postgresql", "consul", "nomad") if name in config]


def _accepted(config: dict[str, Any]) -> Path:
    return Path(config["staging_dir"]).parent / "accepted"


def _forget_accepted(config: dict[str, Any]) -> None:
    """What was accepted is the newest everywhere now.

    The beginning after it is another that somebody has to accept.
    """
    for file in _accepted(config).glob("*"):
        file.unlink()


def _has_backups(repository: Repository, machine: str) -> bool:
    try:
        return bool(repository.backups(machine))
    except BackupFailed:
        return False  # there is no repository yet, or none that can be read


def _origin(config: dict[str, Any], part: str, files: list[Path]) -> int:
    """What tells one beginning from another.

    PostgreSQL's own number of its data, and how far Consul and Nomad have counted.
    """
    if part == "postgresql":
        return int(_sql(config[part], "SELECT system_identifier FROM pg_control_system()"))
    try:
        with tarfile.open(files[0]) as opened:
            member = opened.extractfile("meta.json")
            return int(json.loads(member.read() if member else b"")["Index"])
    except _NO_SNAPSHOT as error:
        raise BackupFailed(f"{files[0].name} is no snapshot: {error}") from error


def _goes_on(part: str, origin: int | None, found: list[dict[str, Any]]) -> bool:
    """Whether a part is what the newest backup with it was made of, or has no backup."""
    having = [one["tags"] for one in found if part in one["tags"]]
    if not having:
        return True
    before = [int(tag.partition("=")[2]) for tag in having[-1] if tag.startswith(f"{part}=")]
    if origin is None or not before:
        return False
    return origin == before[0] if part == "postgresql" else origin >= before[0]


def _repositories(config: dict[str, Any]) -> list[Repository]:
    return [Repository(config, **one) for one in config["repositories"]]


def _repository(config: dict[str, Any], name: str) -> Repository:
    if name.startswith("/"):
        return Repository(config, name, name)
    found = [repository for repository in _repositories(config) if repository.name == name]
    if not found:
        known = ", ".join(repository.name for repository in _repositories(config))
        raise BackupFailed(
            f"there is no repository {name}; there is {known}, or name a folder by its whole path"
        )
    return found[0]


def _dump_databases(server: dict[str, Any], folder: Path) -> list[Path]:
    files = []
    for name in _sql(server, _DATABASES).splitlines():
        file = folder / f"{name}.dump"
        # restic compresses, and finds what has not changed
        how = ["--format=custom", "--compress=0", "--no-password"]
        words = _as_postgres(["pg_dump", *how, *_port(server), "-d", name])
        for left in reversed(range(_TRIES)):
            try:
                with file.open("wb") as opened:
                    _run(words, stdout=opened)
                break
            except BackupFailed:
                if not left:
                    raise
                time.sleep(_PAUSE_S)
        with file.open("rb") as opened:
            _run(["pg_restore", "--list"], stdin=opened)
        files.append(file)
    return files


def _snapshot(name: str, given: dict[str, Any], file: Path) -> list[Path]:
    token = Path(given["token_file"]).read_text().strip()
    _run([*given["command"], str(file)], {**given["environment"], given["token_variable"]: token})
    return [file]


def _sql(server: dict[str, Any], statement: str) -> str:
    return _run(_as_postgres([*_PSQL, *_port(server), "-c", statement])).strip()


def _arriving(name: str) -> str:
    # PostgreSQL cuts names off after 63 letters
    return f"{name[:54]}_arriving"


def _port(server: dict[str, Any]) -> list[str]:
    return ["-p", str(server["port"])]


def _as_postgres(words: list[str]) -> list[str]:
    return ["runuser", "-u", "postgres", "--", *words]


def _run(
    words: list[str],
    environ: dict[str, str] | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    name: str = "",
) -> str:
    program = name or (words[words.index("--") + 1] if words[0] == "runuser" else words[0])
    try:
        done = subprocess.run(
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd="/",
            check=False,
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "LC_ALL": "C.UTF-8",
                **(environ or {}),
            },
        )
    except OSError as error:
        raise BackupFailed(f"{program} cannot be run: {error}") from error
    if done.returncode:
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        raise BackupFailed(f"{program} failed: {' | '.join(said[-3:]) or done.returncode}")
    return done.stdout.decode() if done.stdout else ""


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _empty(folder: Path, *, stays: bool = False) -> Iterator[Path]:
    """A folder of its own, without what a run that was cut off left there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if not stays:
        shutil.rmtree(folder)


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _instant(text: str) -> datetime:
    """restic's time has nanoseconds, which Python cannot read."""
    seconds, _, rest = text.partition(".")
    if not rest:
        return datetime.fromisoformat(text)
    zone = rest.lstrip("0123456789")
    return datetime.fromisoformat(seconds + ("+00:00" if zone in ("", "Z") else zone))


def _write_metrics(config: dict[str, Any]) -> None:
    """For the node exporter, where there is one."""
    folder = Path(config["metrics_dir"])
    if not folder.is_dir():
        return
    lines = [
        "# HELP horde_backup_newest_timestamp_seconds When the newest whole backup was made.",
        "# TYPE horde_backup_newest_timestamp_seconds gauge",
    ]
    for repository in _repositories(config):
        with contextlib.suppress(BackupFailed):
            newest = newest_whole(config, repository) or 0
            labels = f'{{repository="{repository.name}"}}'
            lines.append(f"horde_backup_newest_timestamp_seconds{labels} {newest:.0f}")
    arriving = folder / "horde_backup.prom.arriving"
    arriving.write_text("\n".join(lines) + "\n")
    arriving.chmod(0o644)
    arriving.rename(folder / "horde_backup.prom")


if __name__ == "__main__":
    sys.exit(main())
