"""The settings of a miner."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, field_validator, model_validator

from horde_agents.placement.records import MOST_HOLDERS
from horde_agents.runtime.settings import AgentSettings

_URL: Final = re.compile(r"https?://[^/@?#\s]+")


class Dance(StrEnum):
    """What changes at the turn of a cycle, so that nobody can rely on which hardware a UID has."""

    AUTO = "auto"
    SLOTS = "slots"
    MAIN_HOTKEY = "main_hotkey"
    OFF = "off"


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
    executor_advertise: str | None = Field(
        default=None, description="Address under which gpu nodes reach it; none: executor_host."
    )
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
    trusted_by: str | None = Field(
        default=None,
        description="Hotkey of the validator that this miner serves alone, outside the metagraph; none: all.",
    )
    pool: str = Field(
        default="process",
        description="'process', 'nomad', or 'package.module:Class' of an executor pool of one's own.",
    )
    slots: dict[str, int] = Field(
        default_factory=lambda: {"always_on.test": 1},
        description="Executors per class. Pool 'process': of this miner. Pool 'nomad': of the whole horde, "
        "-1 for all that its nodes hold; of a class that is not kept warm, jobs at once at this miner.",
    )
    executor_env: dict[str, str] = Field(
        default_factory=dict,
        description="Extra HORDE_EXECUTOR_* settings for the executors of the pools that come with Horde.",
    )
    horde: str = Field(
        default="horde",
        pattern=r"^[a-z0-9][a-z0-9-]{0,39}$",
        description="Name of the horde: all miners of one coldkey that share slots have the same.",
    )
    placement_file: Path | None = Field(
        default=None, description="SQLite file in which the miners of one machine keep their placement."
    )
    consul_urls: list[str] = Field(
        default_factory=list, description="Consul's addresses, to keep placement there; tried in order."
    )
    consul_token_file: Path | None = Field(
        default=None, description="File of the Consul token, read again when it changes."
    )
    consul_ca_file: Path | None = Field(
        default=None, description="Authority that signed Consul's certificate."
    )
    consul_certificate_file: Path | None = Field(default=None, description="Our certificate for Consul.")
    consul_key_file: Path | None = Field(default=None, description="The key of that certificate.")
    nomad_urls: list[str] = Field(
        default_factory=list, description="Nomad's addresses (pool 'nomad'); tried in order."
    )
    nomad_namespace: str = Field(default="default", description="Nomad namespace of the holders.")
    nomad_node_pool: str = Field(default="horde-gpu", description="Nomad node pool of the gpu nodes.")
    nomad_token_file: Path | None = Field(
        default=None, description="File of the Nomad token, read again when it changes."
    )
    nomad_ca_file: Path | None = Field(default=None, description="Authority that signed Nomad's certificate.")
    nomad_certificate_file: Path | None = Field(default=None, description="Our certificate for Nomad.")
    nomad_key_file: Path | None = Field(default=None, description="The key of that certificate.")
    holder_job_file: Path | None = Field(
        default=None, description="Nomad job file of the holders; none: the one that comes with Horde."
    )
    holder_variables: dict[str, Any] = Field(
        default_factory=dict, description="Values for variables of the holders' job file, e.g. user, command."
    )
    consul_service: str | None = Field(
        default=None,
        description="Name of the miner in Consul's catalogue; none: its Nomad job shows it there.",
    )
    session_ttl_s: float = Field(
        default=10.0, ge=10, le=3600, description="Seconds of silence after which a miner counts as gone."
    )
    owner_gone_s: float = Field(
        default=30.0, ge=0, description="Seconds after which the slots of a UID without an agent move on."
    )
    horde_secret_file: Path | None = Field(
        default=None,
        description="File of the secret in executors' tokens (pool 'process'); none: an own one.",
    )
    dance: Dance = Field(
        default=Dance.AUTO, description="auto, slots, main_hotkey or off: what changes with each cycle."
    )
    dance_least_per_class: int = Field(
        default=1, ge=0, description="Slots of a class that a UID keeps in a dance."
    )
    dance_largest_share: float = Field(
        default=0.3, ge=0, le=1, description="Share of a class's slots that one dance moves at most."
    )
    cycle_blocks: int = Field(default=722, gt=0, description="Length of a cycle on the chain.")
    reconnect_grace_s: float = Field(
        default=30.0, ge=0, description="Seconds an executor may be away during a job."
    )
    require_frame_signature: bool = Field(
        default=False, description="Decline validators whose frames carry no validator_signature."
    )
    auth_s: float = Field(
        default=10.0, gt=0, description="Seconds within which a validator has to say who it is."
    )
    price_micro: dict[str, int] = Field(
        default_factory=dict,
        description="Price of a second of an executor by class, in millionths of a class weight of 1; "
        "a class that is missing costs its weight.",
    )
    max_open_attempts: int = Field(
        default=1024, gt=0, description="Attempts one validator may have open at once."
    )
    share_window_s: float = Field(
        default=14_400.0,
        ge=60,
        description="Seconds over which validators' use is compared with their stake.",
    )
    share_patience_s: float = Field(
        default=15.0,
        ge=0,
        description="Seconds a freed slot is kept for a validator below its share that was turned away.",
    )
    drain_s: float = Field(default=30.0, ge=0, description="Seconds running jobs get after SIGTERM.")
    class_file: Path | None = Field(
        default=None, description="TOML file of executor classes besides those that come with Horde."
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")

    @property
    def shares_slots(self) -> bool:
        """Whether other UIDs of the horde share this miner's slots."""
        return bool(self.consul_urls or self.placement_file)

    @field_validator("slots")
    @classmethod
    def _counts_make_sense(cls, slots: dict[str, int]) -> dict[str, int]:
        for name, count in slots.items():
            if not -1 <= count <= MOST_HOLDERS:
                raise ValueError(f"{name!r:.80} has {count}; from -1 (all) to {MOST_HOLDERS} are possible")
        return slots

    @field_validator("price_micro")
    @classmethod
    def _prices_make_sense(cls, prices: dict[str, int]) -> dict[str, int]:
        for name, price in prices.items():
            if price <= 0:
                raise ValueError(f"{name!r:.80} costs {price}; a price is above 0")
        return prices

    @field_validator("consul_urls", "nomad_urls")
    @classmethod
    def _plain_urls(cls, urls: list[str]) -> list[str]:
        for url in urls:
            if "@" in url:
                raise ValueError("an address must not have a name or password in it; use the token file")
            if _URL.fullmatch(url) is None:
                raise ValueError("an address is http:// or https://, then host:port, and nothing behind it")
        return urls

    @model_validator(mode="after")
    def _trusted_is_outside(self) -> Self:
        if self.trusted_by is not None and (self.chain_url is not None or self.allowed_validators):
            raise ValueError(
                "trusted_by makes a miner that one validator uses alone: leave chain_url and "
                "allowed_validators out"
            )
        return self

    @model_validator(mode="after")
    def _nomad_is_complete(self) -> Self:
        if self.pool == "nomad" and not self.nomad_urls:
            raise ValueError("pool 'nomad' needs nomad_urls: where Nomad is")
        if self.pool == "nomad" and not self.shares_slots:
            raise ValueError("pool 'nomad' needs consul_urls (or placement_file): where placement is kept")
        return self
