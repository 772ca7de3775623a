"""The settings of a facilitator."""

from pathlib import Path

from pydantic import Field

from horde_agents.jobs.budget import FACILITATOR_GRACE_S
from horde_agents.runtime.settings import AgentSettings


class FacilitatorSettings(AgentSettings):
    """What an operator may set."""

    database_url: str = Field(description="sqlite:///path or postgresql://user@host/name.")
    host: str = Field(default="0.0.0.0", description="Address of the public listener.")  # noqa: S104
    port: int = Field(
        default=9000, ge=0, le=65535, description="Port of the public listener; 0 takes a free one."
    )
    operator_host: str = Field(default="127.0.0.1", description="Address of /healthz, /readyz and /metrics.")
    operator_port: int = Field(
        default=9101, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics."
    )
    netuid: int = Field(default=12, ge=0, description="The subnet.")
    chain_url: str | None = Field(
        default=None, description="Subtensor endpoint; none: only allowed_validators."
    )
    chain_poll_s: float = Field(default=60.0, gt=0, description="Seconds between readings of the metagraph.")
    allowed_validators: list[str] = Field(
        default_factory=list, description="Hotkeys that may link besides the chain's validators."
    )
    allow_unlisted_hotkeys: bool = Field(
        default=False, description="Let every hotkey submit that is not denied; else only allowed ones."
    )
    nonce_life_s: float = Field(default=300.0, gt=0, description="Seconds a login nonce may be used.")
    token_life_s: float = Field(default=3600.0, gt=0, description="Seconds a login lasts.")
    signature_back_s: float = Field(
        default=300.0, gt=0, description="Seconds by which a signature may be old."
    )
    signature_ahead_s: float = Field(
        default=60.0, ge=0, description="Seconds by which it may be in the future."
    )
    auth_s: float = Field(
        default=10.0, gt=0, description="Seconds within which a validator has to say who it is."
    )
    idle_s: float = Field(
        default=75.0, gt=0, description="Seconds after which a connection that says nothing is ended."
    )
    max_body_bytes: int = Field(default=2 * 1024 * 1024, gt=0, description="Bytes of a request body.")
    body_s: float = Field(default=30.0, gt=0, description="Seconds a request body may take to come.")
    heartbeat_fresh_s: float = Field(
        default=180.0,
        gt=0,
        description="Seconds after a validator's last sign of life that it still gets jobs.",
    )
    deadline_grace_s: float = Field(
        default=FACILITATOR_GRACE_S,
        ge=0,
        description="Seconds beyond a job's whole budget before it is ended.",
    )
    cancel_answer_s: float = Field(
        default=4.0, gt=0, description="Seconds a validator may take to answer a cancel."
    )
    refusals_per_minute: int = Field(
        default=60, gt=0, description="Refused requests of one address or key after which it must wait."
    )
    trusted_proxies: list[str] = Field(
        default_factory=list,
        description="Addresses of proxies of your own, whose header X-Forwarded-For says who asks.",
    )
    class_file: Path | None = Field(
        default=None, description="TOML file of executor classes besides those that come with Horde."
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")
