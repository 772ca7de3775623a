"""The settings of a holder and of the executors it forks."""

from pathlib import Path

from pydantic import Field, SecretStr

from horde_agents.runtime.settings import AgentSettings

_MIB = 1024 * 1024


class ExecutorSettings(AgentSettings):
    """Everything an executor may be told; on a gpu node Nomad's job template renders them."""

    slot_id: str = Field(
        description="The slot to keep: node and devices, e.g. 'gpu7:GPU-1a2b' or 'laptop:cpu-0'."
    )
    executor_class: str = Field(description="The executor class of the slot.")
    miner_address: str = Field(description="The miner's executor listener, host:port.")
    token: SecretStr = Field(description="The slot's token; given by the environment, never as an argument.")
    certificate_file: Path = Field(description="PEM file of the certificate or authority of the miner.")
    work_dir: Path = Field(
        description="Directory for job data; a folder per slot is made and cleaned inside it."
    )
    gpu_uuids: list[str] = Field(
        default_factory=list, description="The slot's GPUs; empty for a slot without."
    )
    memory_bytes: int = Field(
        default=2048 * _MIB, gt=0, description="Memory of a job's container, in bytes; swap is off."
    )
    cpus: float = Field(default=2.0, gt=0, description="Processors of a job's container.")
    pids: int = Field(default=1024, gt=0, description="Processes and threads of a job's container.")
    tmp_bytes: int = Field(default=256 * _MIB, gt=0, description="Size of /tmp in the container, in bytes.")
    space_bytes: int = Field(
        default=8192 * _MIB,
        gt=0,
        description="Bytes of volumes, /output, artifacts and the container's own files together.",
    )
    output_bytes: int = Field(
        default=256 * _MIB, gt=0, description="Bytes of standard output and error together."
    )
    reconnect_grace_s: float = Field(
        default=30.0, ge=0, description="Seconds a job goes on without its miner."
    )
    drain_s: float = Field(default=30.0, ge=0, description="Seconds a running job gets after SIGTERM.")
    allow_private_addresses: bool = Field(
        default=False,
        description="Let volumes and uploads reach private addresses: one-machine set-ups only.",
    )
    die_with_parent: bool = Field(
        default=False, description="End when the process that started the holder ends."
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")
