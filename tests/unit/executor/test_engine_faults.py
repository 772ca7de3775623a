"""Whose fault it is that a container did not start, by what Docker said: the texts are recorded ones."""

import pytest
from aiodocker import DockerError
from aiodocker.containers import DockerContainer
from aiodocker.stream import Stream

from horde_agents.clients.docker import DockerEngine
from horde_agents.clients.docker_faults import EngineRefused, PlanRefused

_RUNC = (
    "failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: "
)
#: the toolkit's hook without its own program, and a GPU that has gone
_HOOK = (
    "error during container init: error running hook #0: error running hook: exit status 1, stdout: , "
    "stderr: Auto-detected mode as 'legacy'\ncouldn't find binary nvidia-container-cli in PATH: "
    'exec: "nvidia-container-cli": executable file not found in $PATH: unknown'
)
_GONE = (
    "failed to create shim task: OCI runtime create failed: could not apply required modification to OCI "
    "specification: error modifying OCI spec: failed to create the automatic CDI modifier: failed to "
    'generate CDI spec for mode "auto": failed to construct device spec generators: failed to get device '
    "handle from UUID: Not Found: unknown"
)


async def refused(monkeypatch: pytest.MonkeyPatch, said: str, status: int) -> None:
    """Have the daemon say this when a container is started."""

    async def attached(output: Stream) -> Stream:
        return output

    async def start(_container: DockerContainer) -> None:
        raise DockerError(status, said)

    monkeypatch.setattr(Stream, "__aenter__", attached)
    monkeypatch.setattr(DockerContainer, "start", start)
    engine = DockerEngine()
    try:
        await engine.start("container")
    finally:
        await engine.close()


@pytest.mark.parametrize(("said", "status"), [(f"{_RUNC}{_HOOK}", 400), (_GONE, 500)])
async def test_gpus_that_cannot_be_given_are_the_nodes_fault(
    monkeypatch: pytest.MonkeyPatch, said: str, status: int
) -> None:
    with pytest.raises(EngineRefused):
        await refused(monkeypatch, said, status)


@pytest.mark.parametrize(
    "program", ["no-such-program", "nvidia-container-cli", "error during container init: error running hook"]
)
async def test_program_that_is_not_there_is_the_jobs_fault_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    with pytest.raises(PlanRefused, match="not found in"):
        await refused(
            monkeypatch, f'{_RUNC}exec: "{program}": executable file not found in $PATH: unknown', 400
        )
