"""The settings of a miner."""

from pathlib import Path

from pydantic import Field

from horde_agents.runtime.settings import AgentSettings


class MinerSettings(AgentSettings):
    """One miner serves one UID."""

    hotkey_file: Path = Field(description="The wallet's unencrypted hotkey file of this UID.")
    database_url: str = Field(description="sqlite:///path or postgresql://user@host/name.")
    data_dir: Path = Field(
        description="Directory for certificates and job data; only the miner's user may read it."
    )
    host: str = Field(default="0.0.0.0", description="Address of the public listener.")  # noqa: S104
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port of the public listener; 0 takes a free one."
    )
    executor_host: str = Field(default="127.0.0.1", description="Address of the executors' listener (TLS).")
    executor_port: int = Field(default=8443, ge=0, le=65535, description="Port of the executors' listener.")
    operator_host: str = Field(default="127.0.0.1", description="Address of /healthz, /readyz and /metrics.")
    operator_port: int = Field(
        default=9103, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics."
    )
    netuid: int = Field(default=12, ge=0, description="The subnet.")
    chain_url: str | None = Field(
        default=None, description="Subtensor endpoint, e.g. ws://127.0.0.1:9944; none: no chain."
    )
    chain_poll_s: float = Field(default=60.0, gt=0, description="Seconds between readings of the metagraph.")
    axon_ip: str | None = Field(
        default=None, description="Public IP to serve on the chain; none: serve no axon."
    )
    axon_port: int | None = Field(
        default=None, description="Public port to serve on the chain; none: the port."
    )
    allowed_validators: list[str] = Field(
        default_factory=list, description="Hotkeys served besides the chain's validators."
    )
    pool: str = Field(
        default="process", description="'process', or 'package.module:Class' of an executor pool."
    )
    slots: dict[str, int] = Field(
        default_factory=lambda: {"always_on.test": 1},
        description="Slots per executor class, for the pool 'process'.",
    )
    executor_env: dict[str, str] = Field(
        default_factory=dict, description="Extra HORDE_EXECUTOR_* settings for the pool's executors."
    )
    reconnect_grace_s: float = Field(
        default=30.0, ge=0, description="Seconds an executor may be away during a job."
    )
    require_frame_signature: bool = Field(
        default=False, description="Decline validators whose frames carry no validator_signature."
    )
    max_open_attempts: int = Field(
        default=64, gt=0, description="Attempts one validator may have open at once."
    )
    drain_s: float = Field(default=30.0, ge=0, description="Seconds running jobs get after SIGTERM.")
    class_file: Path | None = Field(
        default=None, description="TOML file of executor classes besides those that come with Horde."
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")
