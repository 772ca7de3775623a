"""Checks the job specs as Nomad itself does: their form, and each against a real server.

    python -m tools.check_jobs

The server lives for the check alone, on free loopback ports; without one Nomad would not look at node pools.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from horde_agents.agents.miner.nomad.holder_jobs import class_variables
from horde_agents.jobs.classes import CATALOGUE
from horde_agents.testing.nomad_server import NomadServer
from tools.nomad_specs import FOLDER, NAMES, example_file, spec_file, words
from tools.setup.servers import NOMAD, program


def main() -> int:
    """0 when Nomad has nothing to say against any job."""
    nomad = program(NOMAD)
    is_formatted = _run(nomad, "fmt", "-check", "-recursive", FOLDER) is None
    wrong = [] if is_formatted else ["nomad fmt would change files"]
    with (
        tempfile.TemporaryDirectory(prefix="horde-check-jobs-") as folder,
        nomad_server(Path(folder)) as server,
    ):
        cases = _cases()
        wrong += [why for name, options in cases if (why := refusal(server, name, options))]
    print("\n".join(wrong) or f"{len(cases)} Nomad jobs are valid")
    return 1 if wrong else 0


def refusal(server: NomadServer, name: str, options: Sequence[str]) -> str | None:
    """Why Nomad refuses a job with these options of its command line; ``None`` when it does not."""
    address = f"-address={server.url}"
    said = _run(program(NOMAD), "job", "validate", address, *options, spec_file(name))
    return None if said is None else f"{name} {' '.join(options)}: {said}"


@contextmanager
def nomad_server(folder: Path) -> Iterator[NomadServer]:
    """A Nomad server without clients, that knows the gpu nodes' pool.

    Raises:
        ServerNotUp: it ended, or has no leader in time.
    """
    server = NomadServer(program(NOMAD), folder, "check-jobs")
    server.start()
    try:
        server.wait_ready()
        server.make_node_pool()
        yield server
    finally:
        server.process.kill()  # there is nothing to keep


def _cases() -> list[tuple[str, list[str]]]:
    """Each job with its example, and the holder of every class."""
    examples = [(name, [f"-var-file={example_file(name)}"]) for name in NAMES]
    return examples + [("holder", words(class_variables(row))) for row in CATALOGUE.values()]


def _run(*command: str | Path) -> str | None:
    """What a command that failed said; none when it did not fail."""
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    said = f"{asked.stdout}\n{asked.stderr}".strip()
    return None if asked.returncode == 0 else said


if __name__ == "__main__":
    sys.exit(main())
