"""Verdicts, batches, prompts, progress, scores, weights: what a scoring validator keeps."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "batch_jobs",
        sa.Column("attempt_uuid", sa.String(length=36), nullable=False),
        sa.Column("batch_uuid", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("miner_hotkey", sa.String(length=64), nullable=False),
        sa.Column("executor_class", sa.String(length=64), nullable=False),
        sa.Column("task_json", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("took_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_uuid", name=op.f("pk_batch_jobs")),
    )
    op.create_index(op.f("ix_batch_jobs_batch_uuid"), "batch_jobs", ["batch_uuid"], unique=False)
    op.create_table(
        "batches",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("cycle", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("fire_block", sa.BigInteger(), nullable=False),
        sa.Column("details_json", sa.Text(), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("uuid", name=op.f("uq_batches_uuid")),
    )
    op.create_index(op.f("ix_batches_cycle"), "batches", ["cycle"], unique=False)
    op.create_index(op.f("ix_batches_state"), "batches", ["state"], unique=False)
    op.create_table(
        "configurations",
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("signed_text", sa.Text(), nullable=False),
        sa.Column("signatory", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_configurations")),
    )
    op.create_table(
        "cross_checks",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("job_uuid", sa.String(length=36), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("executor_class", sa.String(length=64), nullable=False),
        sa.Column("miner_hotkey", sa.String(length=64), nullable=False),
        sa.Column("reporter_hotkey", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("loser_hotkey", sa.String(length=64), nullable=False),
        sa.Column("evidence_json", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cross_checks")),
        sa.UniqueConstraint("uuid", name=op.f("uq_cross_checks_uuid")),
    )
    op.create_index("ix_cross_checks_loser_hotkey", "cross_checks", ["loser_hotkey"], unique=False)
    op.create_index("ix_cross_checks_miner_hotkey", "cross_checks", ["miner_hotkey"], unique=False)
    op.create_index("ix_cross_checks_reporter_hotkey", "cross_checks", ["reporter_hotkey"], unique=False)
    op.create_index(op.f("ix_cross_checks_state"), "cross_checks", ["state"], unique=False)
    op.create_table(
        "cycle_scores",
        sa.Column("cycle", sa.BigInteger(), nullable=False),
        sa.Column("inputs_json", sa.Text(), nullable=False),
        sa.Column("result_json", sa.Text(), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("cycle", name=op.f("pk_cycle_scores")),
    )
    op.create_table(
        "excuse_uses",
        sa.Column("batch_uuid", sa.String(length=36), nullable=False),
        sa.Column("job_uuid", sa.String(length=36), nullable=False),
        sa.Column("miner_hotkey", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("batch_uuid", "job_uuid", name=op.f("pk_excuse_uses")),
    )
    op.create_table(
        "page_cursors",
        sa.Column("peer_hotkey", sa.String(length=64), nullable=False),
        sa.Column("page", sa.Integer(), nullable=False),
        sa.Column("read_bytes", sa.BigInteger(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("peer_hotkey", "page", name=op.f("pk_page_cursors")),
    )
    op.create_table(
        "progress_receipts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("job_uuid", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("validator_hotkey", sa.String(length=64), nullable=False),
        sa.Column("miner_hotkey", sa.String(length=64), nullable=False),
        sa.Column("payload_json", sa.Text(), nullable=False),
        sa.Column("validator_signature", sa.String(length=132), nullable=False),
        sa.Column("miner_signature", sa.String(length=132), nullable=True),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_progress_receipts")),
        sa.UniqueConstraint(
            "job_uuid",
            "sequence",
            "validator_hotkey",
            "miner_hotkey",
            name=op.f("uq_progress_receipts_job_uuid_sequence_validator_hotkey_miner_hotkey"),
        ),
    )
    op.create_index(
        "ix_progress_receipts_miner_hotkey_stored_at",
        "progress_receipts",
        ["miner_hotkey", "stored_at"],
        unique=False,
    )
    op.create_index(op.f("ix_progress_receipts_page"), "progress_receipts", ["page"], unique=False)
    op.create_table(
        "prompt_sets",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("prompts_json", sa.Text(), nullable=False),
        sa.Column("answers_json", sa.Text(), nullable=False),
        sa.Column("batch_uuid", sa.String(length=36), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt_sets")),
        sa.UniqueConstraint("uuid", name=op.f("uq_prompt_sets_uuid")),
    )
    op.create_index(op.f("ix_prompt_sets_state"), "prompt_sets", ["state"], unique=False)
    op.create_table(
        "verdicts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("attempt_uuid", sa.String(length=36), nullable=False),
        sa.Column("job_uuid", sa.String(length=36), nullable=False),
        sa.Column("cycle", sa.BigInteger(), nullable=False),
        sa.Column("is_organic", sa.Boolean(), nullable=False),
        sa.Column("batch_uuid", sa.String(length=36), nullable=False),
        sa.Column("miner_hotkey", sa.String(length=64), nullable=False),
        sa.Column("executor_class", sa.String(length=64), nullable=False),
        sa.Column("user_hotkey", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("run_us", sa.BigInteger(), nullable=False),
        sa.Column("limit_us", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("chain_sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdicts")),
        sa.UniqueConstraint("attempt_uuid", name=op.f("uq_verdicts_attempt_uuid")),
    )
    op.create_index("ix_verdicts_cycle", "verdicts", ["cycle"], unique=False)
    op.create_index(
        "ix_verdicts_miner_hotkey_ended_at", "verdicts", ["miner_hotkey", "ended_at"], unique=False
    )
    op.create_table(
        "weight_settings",
        sa.Column("cycle", sa.BigInteger(), nullable=False),
        sa.Column("netuid", sa.Integer(), nullable=False),
        sa.Column("uids_json", sa.Text(), nullable=False),
        sa.Column("values_json", sa.Text(), nullable=False),
        sa.Column("version_key", sa.BigInteger(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("salt_json", sa.Text(), nullable=False),
        sa.Column("chain_json", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("cycle", name=op.f("pk_weight_settings")),
    )
    op.create_index(op.f("ix_weight_settings_state"), "weight_settings", ["state"], unique=False)
