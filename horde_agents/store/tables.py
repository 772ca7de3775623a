"""Every table of an agent's database; each agent uses those it needs. Instants are aware, in UTC."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from horde_agents.store.columns import NAMES, Instant, Name, row_id

metadata = MetaData(naming_convention=NAMES)

#: A user's job, at the facilitator and at the validator.
jobs = Table(
    "jobs",
    metadata,
    row_id(),
    Column("uuid", Name(36), nullable=False, unique=True),
    Column("owner_hotkey", String(64), nullable=False),
    Column("signatory", String(64), nullable=False),
    Column("timestamp_ns", BigInteger, nullable=False),
    Column("signature", String(128), nullable=False),
    Column("signed_sha256", String(64), nullable=False),
    Column("request_json", Text, nullable=False),
    Column("validator_hotkey", String(64), nullable=False),
    Column("tag", Name(255), nullable=False, default=""),
    Column("state", String(32), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("deadline_at", Instant, nullable=False),
    UniqueConstraint("signatory", "timestamp_ns", "signature"),
    Index("ix_jobs_owner_hotkey_id", "owner_hotkey", "id"),
    Index("ix_jobs_state", "state"),
)

#: The story of jobs and attempts, append-only.
job_events = Table(
    "job_events",
    metadata,
    Column("subject_uuid", Name(36), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("payload_json", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

#: One try of a job at one miner, at the validator and at the miner.
attempts = Table(
    "attempts",
    metadata,
    row_id(),
    Column("uuid", Name(36), nullable=False, unique=True),
    Column("job_uuid", Name(36), nullable=False, index=True),
    Column("miner_hotkey", String(64), nullable=False),
    Column("validator_hotkey", String(64), nullable=False),
    Column("executor_class", String(64), nullable=False),
    Column("slot_id", String(255), nullable=False, default=""),
    Column("state", String(32), nullable=False, index=True),
    Column("sequence", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("deadline_at", Instant, nullable=False),
    Index("ix_attempts_miner_hotkey_created_at", "miner_hotkey", "created_at"),
)

#: Which slot works for which attempt; a slot has at most one open lease.
leases = Table(
    "leases",
    metadata,
    Column("attempt_uuid", String(36), primary_key=True),
    Column("slot_id", String(255), nullable=False),
    Column("open_slot_id", String(255), unique=True),
    Column("taken_at", Instant, nullable=False),
    Column("ended_at", Instant),
)

receipts = Table(
    "receipts",
    metadata,
    row_id(),
    Column("job_uuid", Name(36), nullable=False),
    Column("receipt_type", String(32), nullable=False),
    Column("validator_hotkey", String(64), nullable=False),
    Column("miner_hotkey", String(64), nullable=False),
    Column("payload_json", Text, nullable=False),
    Column("validator_signature", String(132), nullable=False),
    Column("miner_signature", String(132)),
    Column("page", Integer, index=True),
    Column("stored_at", Instant, nullable=False),
    Column("acknowledged_at", Instant),
    UniqueConstraint("job_uuid", "receipt_type", "validator_hotkey", "miner_hotkey"),
    Index("ix_receipts_miner_hotkey_stored_at", "miner_hotkey", "stored_at"),
)

#: Messages a peer has not acknowledged yet.
outbox = Table(
    "outbox",
    metadata,
    row_id(),
    Column("peer", String(255), nullable=False, index=True),
    Column("subject_uuid", Name(36), nullable=False),
    Column("message_json", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
)

#: Who may do what, until when; a scope is e.g. ``submit`` or ``blacklist``.
access = Table(
    "access",
    metadata,
    Column("scope", String(32), primary_key=True),
    Column("hotkey", String(64), primary_key=True),
    Column("allowed", Boolean, nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("until", Instant),
)

#: Values that may be used once.
nonces = Table(
    "nonces",
    metadata,
    Column("nonce", String(128), primary_key=True),
    Column("expires_at", Instant, nullable=False),
)

cheat_reports = Table(
    "cheat_reports",
    metadata,
    Column("job_uuid", Name(36), primary_key=True),
    Column("trusted_job_uuid", String(36), nullable=False),
    Column("details_json", Text, nullable=False),
    Column("signature_json", Text, nullable=False),
    Column("reported_at", Instant, nullable=False),
)

feedback = Table(
    "feedback",
    metadata,
    Column("job_uuid", Name(36), primary_key=True),
    Column("result_correctness", Float, nullable=False),
    Column("expected_duration_s", Float),
    Column("given_at", Instant, nullable=False),
)

#: The newest count of executors that a miner announced, by class.
manifests = Table(
    "manifests",
    metadata,
    Column("miner_hotkey", String(64), primary_key=True),
    Column("executor_class", String(64), primary_key=True),
    Column("executors", Integer, nullable=False),
    Column("seen_at", Instant, nullable=False),
)

#: Single values an agent keeps for itself, such as its token key or the last metagraph.
facts = Table(
    "facts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

#: What one attempt of the validator's own came to: the only thing that scores. The hashes chain the rows
#: in their order, so that a row that is changed later shows.
verdicts = Table(
    "verdicts",
    metadata,
    row_id(),
    Column("attempt_uuid", Name(36), nullable=False, unique=True),
    Column("job_uuid", Name(36), nullable=False),
    Column("cycle", BigInteger, nullable=False),
    Column("is_organic", Boolean, nullable=False),
    Column("batch_uuid", String(36), nullable=False, default=""),
    Column("miner_hotkey", String(64), nullable=False),
    Column("executor_class", String(64), nullable=False),
    Column("user_hotkey", String(64), nullable=False, default=""),
    Column("outcome", String(32), nullable=False),
    Column("why", Text, nullable=False, default=""),
    Column("run_us", BigInteger, nullable=False, default=0),
    Column("limit_us", BigInteger, nullable=False, default=0),
    Column("ended_at", Instant, nullable=False),
    Column("chain_sha256", String(64), nullable=False, default=""),
    Index("ix_verdicts_cycle", "cycle"),
    Index("ix_verdicts_miner_hotkey_ended_at", "miner_hotkey", "ended_at"),
)

#: Signed statements that a long job is still running, at the validator and on the miner's pages.
progress_receipts = Table(
    "progress_receipts",
    metadata,
    row_id(),
    Column("job_uuid", Name(36), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("validator_hotkey", String(64), nullable=False),
    Column("miner_hotkey", String(64), nullable=False),
    Column("payload_json", Text, nullable=False),
    Column("validator_signature", String(132), nullable=False),
    Column("miner_signature", String(132)),
    Column("page", Integer, index=True),
    Column("stored_at", Instant, nullable=False),
    Column("acknowledged_at", Instant),
    UniqueConstraint("job_uuid", "sequence", "validator_hotkey", "miner_hotkey"),
    Index("ix_progress_receipts_miner_hotkey_stored_at", "miner_hotkey", "stored_at"),
)

#: How far each page of each peer has been read, in bytes.
page_cursors = Table(
    "page_cursors",
    metadata,
    Column("peer_hotkey", String(64), primary_key=True),
    Column("page", Integer, primary_key=True),
    Column("read_bytes", BigInteger, nullable=False),
    Column("read_at", Instant, nullable=False),
)

#: A synthetic batch, or an unannounced single challenge, of this validator.
batches = Table(
    "batches",
    metadata,
    row_id(),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("cycle", BigInteger, nullable=False, index=True),
    Column("purpose", String(16), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("fire_block", BigInteger, nullable=False),
    Column("details_json", Text, nullable=False, default="{}"),
    Column("planned_at", Instant, nullable=False),
    Column("fired_at", Instant),
    Column("ended_at", Instant),
)

#: One synthetic job of a batch at one executor; what is expected of it never leaves this table.
batch_jobs = Table(
    "batch_jobs",
    metadata,
    Column("attempt_uuid", String(36), primary_key=True),
    Column("batch_uuid", String(36), nullable=False, index=True),
    Column("kind", String(32), nullable=False),
    Column("miner_hotkey", String(64), nullable=False),
    Column("executor_class", String(64), nullable=False),
    Column("task_json", Text, nullable=False),
    Column("outcome", String(32), nullable=False, default=""),
    Column("why", Text, nullable=False, default=""),
    Column("took_us", BigInteger, nullable=False, default=0),
)

#: Organic receipts that have excused a synthetic job, once for a validator and batch.
excuse_uses = Table(
    "excuse_uses",
    metadata,
    Column("batch_uuid", String(36), primary_key=True),
    Column("job_uuid", Name(36), primary_key=True),
    Column("miner_hotkey", String(64), nullable=False),
)

#: Prompts made for one batch, and what the trusted miner answered.
prompt_sets = Table(
    "prompt_sets",
    metadata,
    row_id(),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("state", String(16), nullable=False, index=True),
    Column("prompts_json", Text, nullable=False),
    Column("answers_json", Text, nullable=False, default="{}"),
    Column("batch_uuid", String(36), nullable=False, default=""),
    Column("made_at", Instant, nullable=False),
)

#: A completed job that was run again elsewhere, why, and what the comparison came to.
cross_checks = Table(
    "cross_checks",
    metadata,
    row_id(),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("job_uuid", Name(36), nullable=False),
    Column("reason", String(16), nullable=False),
    Column("executor_class", String(64), nullable=False),
    Column("miner_hotkey", String(64), nullable=False),
    Column("reporter_hotkey", String(64), nullable=False, default=""),
    Column("state", String(16), nullable=False, index=True),
    Column("loser_hotkey", String(64), nullable=False, default=""),
    Column("evidence_json", Text, nullable=False, default="{}"),
    Column("begun_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Index("ix_cross_checks_miner_hotkey", "miner_hotkey"),
    Index("ix_cross_checks_loser_hotkey", "loser_hotkey"),
    Index("ix_cross_checks_reporter_hotkey", "reporter_hotkey"),
)

#: What a cycle was scored from and what came out; both texts are canonical JSON.
cycle_scores = Table(
    "cycle_scores",
    metadata,
    Column("cycle", BigInteger, primary_key=True),
    Column("inputs_json", Text, nullable=False),
    Column("result_json", Text, nullable=False),
    Column("scored_at", Instant, nullable=False),
)

#: Weights on their way to the chain, one row a cycle.
weight_settings = Table(
    "weight_settings",
    metadata,
    Column("cycle", BigInteger, primary_key=True),
    Column("netuid", Integer, nullable=False),
    Column("uids_json", Text, nullable=False),
    Column("hotkeys_json", Text, nullable=False, default="[]"),
    Column("values_json", Text, nullable=False),
    Column("version_key", BigInteger, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("salt_json", Text, nullable=False, default="[]"),
    Column("chain_json", Text, nullable=False, default="{}"),
    Column("why", Text, nullable=False, default=""),
    Column("tries", Integer, nullable=False, default=0),
    Column("stored_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
)

#: Dynamic configurations as they were signed; the newest valid one is in force.
configurations = Table(
    "configurations",
    metadata,
    Column("version", BigInteger, primary_key=True),
    Column("signed_text", Text, nullable=False),
    Column("signatory", String(64), nullable=False),
    Column("signature", String(132), nullable=False),
    Column("applied_at", Instant, nullable=False),
)
