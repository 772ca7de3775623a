"""The validator's settings: every name, unit, default and meaning."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from horde_agents.jobs.budget import RESERVATION_S, STARTUP_S
from horde_agents.protocol.signing import is_hotkey
from horde_agents.runtime.settings import AgentSettings
from horde_agents.store.weight_settings import WeightMode


class MinerEntry(BaseModel):
    """A miner named in the settings instead of found on the chain."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hotkey: str
    host: str
    port: int = Field(ge=1, le=65535)


class TrustedMinerEntry(BaseModel):
    """Where the validator's own miner listens; it is addressed by the pseudo-hotkey of 48 zeros."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    port: int = Field(ge=1, le=65535)


class ReceiptValidatorEntry(BaseModel):
    """Another validator that publishes its receipts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hotkey: str
    host: str
    port: int = Field(ge=1, le=65535)


class ValidatorSettings(AgentSettings):
    """What an operator may set."""

    hotkey_file: Path = Field(description="Unencrypted hotkey file of the validator's wallet.")
    database_url: str = Field(
        "sqlite:///validator.sqlite3", description="sqlite:///path or postgresql://user@host/name."
    )
    facilitator_urls: tuple[str, ...] = Field(
        (), description="WebSocket addresses of the facilitators served, e.g. ws://127.0.0.1:9000/ws/v0/."
    )
    chain_url: str | None = Field(
        None, description="Subtensor endpoint, e.g. ws://127.0.0.1:9944; none: no chain."
    )
    netuid: int = Field(12, ge=0, description="The subnet whose metagraph lists miners and validators.")
    chain_poll_s: float = Field(60.0, gt=0, description="Seconds between readings of the metagraph.")
    debug_miners: tuple[MinerEntry, ...] = Field(
        (), description="Miners to use instead of the metagraph's: a list of {hotkey, host, port}."
    )
    trusted_miner: TrustedMinerEntry | None = Field(
        None, description="{host, port} of the miner that serves this validator alone."
    )
    operator_host: str = Field("127.0.0.1", description="Address of /healthz, /readyz and /metrics.")
    operator_port: int = Field(
        9102, ge=0, le=65535, description="Port of /healthz, /readyz and /metrics; 0 takes any free one."
    )
    api_host: str = Field("127.0.0.1", description="Address of the HTTP endpoints /api/v1/….")
    api_port: int = Field(
        9112, ge=0, le=65535, description="Port of the HTTP endpoints; 0 takes any free one."
    )
    api_serves: bool = Field(True, description="Whether the HTTP endpoints are served at all.")
    api_readers: Literal["anyone", "metagraph"] | tuple[str, ...] = Field(
        "metagraph",
        description="Who may read them by signed requests: validators of the metagraph, a list of hotkeys, "
        "or anyone without signing.",
    )
    api_trusts_loopback: bool = Field(
        True, description="Requests of this machine need no signature; off where a proxy passes others' on."
    )
    api_requests_per_minute: int = Field(
        600, ge=1, description="Requests of one reader, by hotkey or address."
    )
    api_reading_s: float = Field(5.0, gt=0, description="Seconds that an answer may take to be read.")
    class_file: Path | None = Field(
        None, description="TOML file of executor classes besides those that come with Horde."
    )
    log_level: str = Field("info", description="debug, info, warning or error.")

    heartbeat_s: float = Field(60.0, gt=0, description="Seconds between heartbeats to a facilitator.")
    reconnect_cap_s: float = Field(30.0, gt=0, description="Longest pause between connection attempts.")
    response_timeout_s: float = Field(
        30.0, gt=0, description="Seconds a facilitator may leave a status update unanswered."
    )
    longest_job_s: int = Field(86_400, gt=0, description="Jobs whose limits add up to more are rejected.")

    cycle_blocks: int = Field(722, gt=0, description="Blocks of a cycle, the accounting period.")
    block_s: float = Field(12.0, gt=0, description="Seconds between blocks of the chain.")
    synthetic_kinds: dict[str, str] = Field(
        {},
        description="Kind by class: `digest`, `llm_prompts` or package.module:Class; none: no batches.",
    )
    synthetic_image: str = Field(
        "", description="Image of `digest` jobs, with a shell and sha256sum; by digest, best."
    )
    prompts_image: str = Field(
        "",
        description="Image of `llm_prompts` jobs: reads /volume/prompts.json, writes /output/answers.json.",
    )
    prompts_per_job: int = Field(16, gt=0, le=1024, description="Prompts of one `llm_prompts` job.")
    prompts_checked_per_job: int = Field(
        8, gt=0, description="Of them, drawn in secret, those that the trusted miner answers; all if fewer."
    )
    prompts_running_s: int = Field(60, gt=0, description="Seconds an `llm_prompts` job may run.")
    objects_url: str = Field("", description="S3 server of prompts and answers, as executors reach it.")
    objects_region: str = Field("us-east-1", description="Region that the S3 server's signatures name.")
    prompts_bucket: str = Field("horde-prompts", description="Bucket of prompts, made if missing.")
    answers_bucket: str = Field("horde-answers", description="Bucket of answers, made if missing; another.")
    objects_access_key_id: str = Field("", description="Access key id at the S3 server.")
    objects_secret_file: Path | None = Field(None, description="File with the secret access key.")
    objects_ca_file: Path | None = Field(
        None,
        description="Authority of the S3 server's certificate, where this machine does not trust it anyway.",
    )
    objects_call_s: float = Field(10.0, gt=0, description="Seconds for one call of the S3 server.")
    synthetic_prepare_s: float = Field(
        12.0, ge=0, description="Seconds to ask miners before a batch, besides what its kinds take for tasks."
    )
    synthetic_running_s: float = Field(
        15.0,
        gt=0,
        description="Seconds that a synthetic job runs, for planning; a kind may say more.",
    )
    synthetic_judge_s: float = Field(60.0, gt=0, description="Seconds a kind has to judge one answer.")
    synthetic_lag_s: float = Field(
        1.0, gt=0, description="When this process itself was later than this, no miner's silence counts."
    )
    synthetic_most_jobs: int = Field(2048, gt=0, description="Synthetic jobs of one batch at most.")
    batch_retention_s: float = Field(
        604_800.0,
        ge=172_800,
        description="Seconds for which ended batches are kept, with jobs, prompts and excuses.",
    )
    weights_scheme: WeightMode = Field(
        WeightMode.TIMELOCKED,
        description="How weights are hidden where the subnet wants that: timelocked or salted.",
    )
    weights_poll_s: float = Field(
        12.0, gt=0, description="Seconds between looks at what has become of weights on the chain."
    )

    configuration_source: str | None = Field(
        None, description="File or http address of the signed dynamic configuration; none: defaults."
    )
    configuration_signers: tuple[str, ...] = Field(
        (), description="Hotkeys whose signature makes a dynamic configuration count."
    )
    configuration_poll_s: float = Field(
        60.0, gt=0, description="Seconds between looks at the dynamic configuration."
    )

    manifest_poll_s: float = Field(300.0, gt=0, description="Seconds between polls of miners' manifests.")
    manifest_stale_s: float = Field(900.0, gt=0, description="A manifest older than this does not count.")
    manifest_timeout_s: float = Field(10.0, gt=0, description="Seconds a miner may take to send a manifest.")
    manifest_concurrency: int = Field(16, gt=0, description="Miners polled at one time.")
    max_executors_per_class: int = Field(
        100, gt=0, description="A miner's count of a class above this is read as this."
    )

    connect_s: float = Field(10.0, gt=0, description="Seconds to reach a miner before another is tried.")
    reservation_s: float = Field(RESERVATION_S, gt=0, description="Seconds a miner has to take an attempt.")
    startup_s: float = Field(STARTUP_S, ge=0, description="Seconds on top of a class's spin-up.")
    leeway_s: int = Field(5, ge=0, description="Seconds added to a running job's limits.")
    miner_absence_s: float = Field(
        60.0, gt=0, description="Seconds a miner may be unreachable in the middle of an attempt."
    )
    cancel_grace_s: float = Field(10.0, gt=0, description="Seconds a miner has to confirm a cancellation.")
    receipt_ack_s: float = Field(5.0, gt=0, description="Seconds to wait for a miner's receipt confirmation.")
    receipt_resend_s: float = Field(86_400.0, gt=0, description="Unconfirmed receipts older are given up.")
    receipt_validators: tuple[ReceiptValidatorEntry, ...] = Field(
        (), description="Validators whose receipt pages are read too: a list of {hotkey, host, port}."
    )
    receipt_poll_s: float = Field(5.0, gt=0, description="Seconds between looks at a peer's receipt pages.")
    receipt_concurrency: int = Field(32, gt=0, description="Peers whose pages are read at one time.")
    receipt_fetch_s: float = Field(3.0, gt=0, description="Seconds that one fetch of a page may take.")
    receipt_fetch_bytes: int = Field(
        1_048_576, ge=262_144, description="Bytes taken of a page at one time; the rest comes next time."
    )
    receipt_page_bytes: int = Field(
        33_554_432, ge=1_048_576, description="Bytes of one page after which it is not read on."
    )
    receipt_catch_up_s: float = Field(
        18_000.0, ge=0, le=172_800, description="Seconds back for which pages are read after a start."
    )
    receipt_retention_s: float = Field(
        259_200.0, ge=172_800, description="Seconds for which receipts and page cursors are kept."
    )
    max_attempts: int = Field(3, ge=1, description="Miners tried for one job.")
    retry_window_s: float = Field(
        45.0, ge=0, description="No further attempt starts later than this after the job was received."
    )

    class_substitutes: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Classes that may serve a job of another class, the cheapest first: {asked: [others]}.",
    )
    longest_wait_s: int = Field(
        3600, ge=0, description="Jobs that want to wait longer than this for capacity are rejected."
    )
    most_waiting_jobs: int = Field(1000, ge=0, description="Jobs that may wait for capacity at one time.")
    most_waiting_jobs_of_user: int = Field(100, ge=0, description="Of them, jobs of one signatory.")
    waiting_retry_s: float = Field(
        10.0, gt=0, description="Seconds before a waiting job tries a busy miner again."
    )
    reliability_half_life_s: float = Field(
        21_600.0, gt=0, description="Seconds after which an incident counts half in routing."
    )

    share_window_s: float = Field(
        86_400.0,
        ge=60,
        description="Seconds over which our own use of miners is kept, to check their declines.",
    )

    minimum_excuse_stake_tao: float = Field(
        30_000.0, ge=0, description="Receipts of validators with less stake excuse no busy miner."
    )
    incident_pause_s: float = Field(
        60.0, ge=0, description="Seconds without jobs after a miner's first fault; doubles with each."
    )
    incident_pause_cap_s: float = Field(14_400.0, ge=0, description="The longest such pause.")
    decline_pause_s: float = Field(10.0, ge=0, description="Seconds without jobs after an unexcused decline.")
    cheated_pause_s: float = Field(
        14_400.0, ge=0, description="Seconds without jobs for a miner that was shown to have cheated."
    )
    cross_validation: bool = Field(
        True, description="Run part of the completed jobs again elsewhere, to compare their outputs."
    )
    cross_validate_env: bool = Field(
        False, description="Also jobs with environment variables, which a second miner would see."
    )
    cross_validation_longest_s: int = Field(
        900, ge=0, description="Jobs whose limits add up to more are not run again."
    )
    cross_validation_daily_s: int = Field(
        36_000, ge=0, description="Executor seconds that may be spent a day on running jobs again."
    )
    strikes_that_bar: int = Field(
        2, ge=2, description="Disagreements in 24 hours, each against two others, that bar a miner."
    )
    reports_per_day: int = Field(20, ge=0, description="Cheat reports taken from one signatory in 24 hours.")
    wrong_reports_per_day: int = Field(
        3, ge=1, description="Wrong cheat reports in 24 hours after which a signatory's are refused."
    )
    report_retry_s: float = Field(
        600.0, gt=0, description="Seconds before a reported job that nobody could run is tried again."
    )
    drain_s: float = Field(20.0, ge=0, description="Seconds that running jobs get to end on SIGTERM.")

    @field_validator("api_readers", mode="before")
    @classmethod
    def _one_word_or_hotkeys(cls, value: Any) -> Any:  # noqa: ANN401  (whatever the file says)
        """A word that came as a list of one, as from the environment, is that word."""
        if isinstance(value, list) and len(value) == 1 and value[0] in {"anyone", "metagraph"}:
            return value[0]
        if isinstance(value, list | tuple):
            for hotkey in value:
                if not (isinstance(hotkey, str) and is_hotkey(hotkey)):
                    raise ValueError(
                        f"{hotkey!r:.80} is no ss58 address; use 'anyone', 'metagraph' or hotkeys"
                    )
        elif value not in {"anyone", "metagraph"}:
            raise ValueError("use 'anyone', 'metagraph' or a list of hotkeys")
        return value

    @model_validator(mode="after")
    def _buckets_differ(self) -> "ValidatorSettings":
        if self.prompts_bucket == self.answers_bucket:
            raise ValueError(
                f"prompts_bucket and answers_bucket are both {self.answers_bucket!r}; name two buckets"
            )
        return self
