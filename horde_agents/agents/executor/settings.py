"""The settings of a holder and of the executors it forks."""

from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from horde_agents.protocol.miner_address import MinerAddress
from horde_agents.runtime.settings import AgentSettings

_MIB = 1024 * 1024


class ExecutorSettings(AgentSettings):
    """Everything an executor may be told; on a gpu node Nomad's job template renders them."""

    slot_id: str = Field(
        description="The slot to keep: node and devices, e.g. 'gpu7:GPU-1a2b' or 'laptop:cpu-0'."
    )
    executor_class: str = Field(description="The executor class of the slot.")
    miners: list[str] = Field(
        min_length=1,
        description="Listeners of miners, each host:port/SHA-256 of its certificate; first asked first.",
    )
    token: SecretStr | None = Field(
        default=None, description="The slot's token; given by the environment, never as an argument."
    )
    token_file: Path | None = Field(
        default=None, description="File of the token instead, read at each connection; Nomad renews it."
    )
    allocation_id: str = Field(default="", description="The Nomad allocation that keeps the slot.")
    node_name: str = Field(default="", description="The gpu node's name; part of the slot's id.")
    short_code: str = Field(
        default="", description="The class's short code; part of a slot's id without GPUs."
    )
    meant_for: str = Field(default="", description="The attempt for which the holder was made; empty: any.")
    spin_up_s: float = Field(
        default=30.0, gt=0, description="Seconds within which an executor of the class has to be ready."
    )
    recycle_jobs: int = Field(default=0, ge=0, description="Jobs after which the holder ends; 0: never.")
    recycle_s: float = Field(default=0.0, ge=0, description="Seconds after which the holder ends; 0: never.")
    lonely_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds without an answer of any miner after which an idle holder ends; 0: never.",
    )
    work_dir: Path = Field(
        description="Directory for job data; a folder per slot is made and cleaned inside it."
    )
    gpu_uuids: list[str] = Field(
        default_factory=list, description="The slot's GPUs; empty for a slot without."
    )
    gpus_are_fake: bool = Field(
        default=False,
        description="The GPUs are only listed: jobs that want one get none. For tests.",
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
    parent_pid: int = Field(
        default=0,
        ge=0,
        description="Process that started the holder, which ends when that is gone already; 0: unknown.",
    )
    die_with_parent: bool = Field(
        default=False, description="End when the process that started the holder ends."
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")

    @field_validator("miners")
    @classmethod
    def _readable(cls, miners: list[str]) -> list[str]:
        for text in miners:
            MinerAddress.read(text)
        return miners

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if (self.token is None) == (self.token_file is None):
            raise ValueError("set either token or token_file")
        return self

    def token_text(self) -> str:
        """The token as it is now.

        Raises:
            OSError: the token file cannot be read.
        """
        if self.token is not None:
            return self.token.get_secret_value()
        assert self.token_file is not None
        return self.token_file.read_text().strip()
