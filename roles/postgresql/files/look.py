"""Looks at the PostgreSQL of this machine and prints what it finds as JSON; changes nothing.

Standard library only.

    python3 look.py BIN_DIR DATA_DIR CONF_DIR PORT

Owns the facts; what follows from them, with those of the other machine, is decided in vars/main.yml.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

#: a server that has just been started says no for a moment
_PATIENCE_S = 20.0
_QUESTION = "SELECT pg_is_in_recovery()"


def look(bin_dir: Path, data_dir: Path, conf_dir: Path, port: int) -> dict[str, object]:
    """All that is known of the machine's data, its configuration and its server."""
    configured = _text(conf_dir / "postgresql.conf")
    configured_dir = _setting(configured, "data_directory")
    control = _control(bin_dir, data_dir)
    is_running = _is_running(data_dir)
    in_recovery, said = _ask(port) if is_running else (None, "")
    return {
        "version": _text(data_dir / "PG_VERSION").strip(),
        "is_empty": not data_dir.is_dir() or not any(data_dir.iterdir()),
        "configured_data_dir": configured_dir,
        "configured_has_data": (Path(configured_dir or "/nowhere") / "PG_VERSION").exists(),
        "is_fenced": _text(conf_dir / "start.conf").split() == ["disabled"],
        "has_run": _text(conf_dir / "start.conf").split() == ["auto"],
        "has_standby_signal": (data_dir / "standby.signal").exists(),
        "is_running": is_running,
        "in_recovery": in_recovery,
        "said": said,
        "identifier": control.get("Database system identifier", ""),
        "checkpoint": control.get("Latest checkpoint location", ""),
        "free_mib": _free_mib(data_dir),
        "others_at_port": _others_at_port(conf_dir, port),
    }


def _text(file: Path) -> str:
    return file.read_text() if file.is_file() else ""


def _setting(text: str, name: str) -> str:
    """What a configuration file says; of several lines PostgreSQL takes the last. Empty without one."""
    found: list[str] = re.findall(rf"(?im)^\s*{name}(?:\s*=\s*|\s+)('[^']*'|[^\s#]+)", text)
    return found[-1].strip("'") if found else ""


def _control(bin_dir: Path, data_dir: Path) -> dict[str, str]:
    program = bin_dir / "pg_controldata"
    if not program.exists() or not (data_dir / "global" / "pg_control").exists():
        return {}
    words: list[str | Path] = [program, "-D", data_dir]
    said = subprocess.run(words, capture_output=True, text=True, check=False, env={"LC_ALL": "C"}).stdout
    parted = (line.partition(":") for line in said.splitlines())
    return {name.strip(): value.strip() for name, _, value in parted}


def _is_running(data_dir: Path) -> bool:
    number = _text(data_dir / "postmaster.pid").partition("\n")[0].strip()
    # the number may be another process's after a power cut
    return number.isdigit() and str(data_dir) in _text(Path("/proc") / number / "cmdline").split("\0")


def _ask(port: int) -> tuple[bool | None, str]:
    psql = ["psql", "-XAtq", "-p", str(port), "-d", "postgres", "-c", _QUESTION]
    words = ["runuser", "-u", "postgres", "--", *psql]
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            answer = subprocess.run(
                words, capture_output=True, text=True, check=False, cwd="/", timeout=_PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            return None, f"nothing for {_PATIENCE_S:.0f} s"
        if answer.returncode == 0:
            return answer.stdout.strip() == "t", ""
        if time.monotonic() > end:
            return None, answer.stderr.strip()
        time.sleep(0.5)


def _free_mib(data_dir: Path) -> int:
    place = data_dir
    while not place.exists():
        place = place.parent
    room = os.statvfs(place)
    return room.f_bavail * room.f_frsize // 2**20


def _others_at_port(conf_dir: Path, port: int) -> list[str]:
    """Other clusters of this machine that are configured to listen at our port."""
    files = sorted(Path("/etc/postgresql").glob("*/*/postgresql.conf"))
    ports = {file.parent: _setting(_text(file), "port") or "5432" for file in files}
    return [str(folder) for folder, said in ports.items() if folder != conf_dir and said == str(port)]


if __name__ == "__main__":
    print(json.dumps(look(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))))
