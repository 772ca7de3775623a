"""Jobs that the published, unmodified SDK sends to a horde, wherever that runs, and what it must say of them.

    python -m tests.e2e.stock_jobs FACILITATOR VALIDATOR_HOTKEY USER_KEY_FILE IMAGE CLASS ADDRESS [trusted]

ADDRESS is one of this machine at which executors reach it: a job's output is uploaded there. With ``trusted``
the jobs are for the validator's trusted miner.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.e2e.receiver import receiving
from tools.setup.stock import stock_python

_SCRIPTS: Final = Path(__file__).parent / "stock"


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where a user comes in, with the hotkey of the validator that it asks for, or its trusted miner."""

    facilitator: str
    validator: str
    user_file: Path
    executor_class: str
    on_trusted_miner: bool = False


def seed_of(key_file: Path) -> str:
    """The seed in a hotkey file, in hexadecimal."""
    return str(json.loads(key_file.read_text())["secretSeed"]).removeprefix("0x")


def said_by(python: Path, script: str, *arguments: str) -> dict[str, Any]:
    """What a script of ``stock`` prints, run by the stock environment's ``python``."""
    result = subprocess.run(
        [python, _SCRIPTS / script, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    said: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return said


def check_sdk_jobs(python: Path, entrance: Entrance, image: str, address: str = "127.0.0.1") -> str:
    """The SDK of ``python`` runs a job that completes and one that fails; returns the uuid of the first."""
    with receiving(address) as receiver:
        said = said_by(
            python,
            "sdk_job.py",
            entrance.facilitator,
            entrance.validator,
            seed_of(entrance.user_file),
            image,
            f"{receiver.url}/put/out.txt",
            entrance.executor_class,
            *(["trusted"] if entrance.on_trusted_miner else []),
        )
    assert (said["status"], said["stdout"]) == ("completed", "Hellö, wörld!\n")
    assert said["artifacts"] == {"/artifacts/stuff": "Hellö, wörld!\n"}
    assert said["uploads"] == ["/output/out.txt"]
    assert receiver.got == {"/put/out.txt": b"from the volume"}
    assert said["listed"]
    assert said["failed_status"] == "failed"
    assert "nonzero_return_code" in said["failed_error"]
    assert said["failed_stdout"] == "so far\n"
    return str(said["uuid"])


def main(words: list[str]) -> None:
    """Print the uuid of the job that completed."""
    facilitator, validator, user_file, image, executor_class, address, *more = words
    entrance = Entrance(facilitator, validator, Path(user_file), executor_class, more == ["trusted"])
    uuid = check_sdk_jobs(stock_python("sdk-0.0.19"), entrance, image, address)
    sys.stdout.write(f"{uuid}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
