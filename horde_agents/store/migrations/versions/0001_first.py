"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "access",
        sa.Column("scope", sa.String(length=32), nullable=False),
        sa.Column("hotkey", sa.String(length=64), nullable=False),
        sa.Column("allowed", sa.Boolean(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("scope", "hotkey", name=op.f("pk_access")),
    )
    op.create_table(
        "attempts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("job_uuid", sa.String(length=36), nullable=False),
        sa.Column("miner_hotkey", sa.String(length=64), nullable=False),
        sa.Column("validator_hotkey", sa.String(length=64), nullable=False),
        sa.Column("executor_class", sa.String(length=64), nullable=False),
        sa.Column("slot_id", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("uuid", name=op.f("uq_attempts_uuid")),
    )
    op.create_index(op.f("ix_attempts_job_uuid"), "attempts", ["job_uuid"], unique=False)
    op.create_index(op.f("ix_attempts_state"), "attempts", ["state"], unique=False)
    op.create_index(
        "ix_attempts_miner_hotkey_created_at", "attempts", ["miner_hotkey", "created_at"], unique=False
    )
    op.create_table(
        "cheat_reports",
        sa.Column("job_uuid", sa.String(length=36), nullable=False),
        sa.Column("trusted_job_uuid", sa.String(length=36), nullable=False),
        sa.Column("details_json", sa.Text(), nullable=False),
        sa.Column("signature_json", sa.Text(), nullable=False),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_uuid", name=op.f("pk_cheat_reports")),
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_facts")),
    )
    op.create_table(
        "feedback",
        sa.Column("job_uuid", sa.String(length=36), nullable=False),
        sa.Column("result_correctness", sa.Float(), nullable=False),
        sa.Column("expected_duration_s", sa.Float(), nullable=True),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("job_uuid", name=op.f("pk_feedback")),
    )
    op.create_table(
        "job_events",
        sa.Column("subject_uuid", sa.String(length=36), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("payload_json", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("subject_uuid", "sequence", name=op.f("pk_job_events")),
    )
    op.create_table(
        "jobs",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("uuid", sa.String(length=36), nullable=False),
        sa.Column("owner_hotkey", sa.String(length=64), nullable=False),
        sa.Column("signatory", sa.String(length=64), nullable=False),
        sa.Column("timestamp_ns", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("signed_sha256", sa.String(length=64), nullable=False),
        sa.Column("request_json", sa.Text(), nullable=False),
        sa.Column("validator_hotkey", sa.String(length=64), nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint(
            "signatory", "timestamp_ns", "signature", name=op.f("uq_jobs_signatory_timestamp_ns_signature")
        ),
        sa.UniqueConstraint("uuid", name=op.f("uq_jobs_uuid")),
    )
    op.create_index("ix_jobs_owner_hotkey_id", "jobs", ["owner_hotkey", "id"], unique=False)
    op.create_index("ix_jobs_state", "jobs", ["state"], unique=False)
    op.create_table(
        "leases",
        sa.Column("attempt_uuid", sa.String(length=36), nullable=False),
        sa.Column("slot_id", sa.String(length=255), nullable=False),
        sa.Column("open_slot_id", sa.String(length=255), nullable=True),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("attempt_uuid", name=op.f("pk_leases")),
        sa.UniqueConstraint("open_slot_id", name=op.f("uq_leases_open_slot_id")),
    )
    op.create_table(
        "manifests",
        sa.Column("miner_hotkey", sa.String(length=64), nullable=False),
        sa.Column("executor_class", sa.String(length=64), nullable=False),
        sa.Column("executors", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("miner_hotkey", "executor_class", name=op.f("pk_manifests")),
    )
    op.create_table(
        "nonces",
        sa.Column("nonce", sa.String(length=128), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_nonces")),
    )
    op.create_table(
        "outbox",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("peer", sa.String(length=255), nullable=False),
        sa.Column("subject_uuid", sa.String(length=36), nullable=False),
        sa.Column("message_json", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(op.f("ix_outbox_peer"), "outbox", ["peer"], unique=False)
    op.create_table(
        "receipts",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("job_uuid", sa.String(length=36), nullable=False),
        sa.Column("receipt_type", sa.String(length=32), nullable=False),
        sa.Column("validator_hotkey", sa.String(length=64), nullable=False),
        sa.Column("miner_hotkey", sa.String(length=64), nullable=False),
        sa.Column("payload_json", sa.Text(), nullable=False),
        sa.Column("validator_signature", sa.String(length=132), nullable=False),
        sa.Column("miner_signature", sa.String(length=132), nullable=True),
        sa.Column("page", sa.Integer(), nullable=True),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipts")),
        sa.UniqueConstraint(
            "job_uuid",
            "receipt_type",
            "validator_hotkey",
            "miner_hotkey",
            name=op.f("uq_receipts_job_uuid_receipt_type_validator_hotkey_miner_hotkey"),
        ),
    )
    op.create_index(op.f("ix_receipts_page"), "receipts", ["page"], unique=False)
    op.create_index(
        "ix_receipts_miner_hotkey_stored_at", "receipts", ["miner_hotkey", "stored_at"], unique=False
    )


def downgrade() -> None:
    """Drop every table."""
    op.drop_index("ix_receipts_miner_hotkey_stored_at", table_name="receipts")
    op.drop_index(op.f("ix_receipts_page"), table_name="receipts")
    op.drop_table("receipts")
    op.drop_index(op.f("ix_outbox_peer"), table_name="outbox")
    op.drop_table("outbox")
    op.drop_table("nonces")
    op.drop_table("manifests")
    op.drop_table("leases")
    op.drop_index("ix_jobs_state", table_name="jobs")
    op.drop_index("ix_jobs_owner_hotkey_id", table_name="jobs")
    op.drop_table("jobs")
    op.drop_table("job_events")
    op.drop_table("feedback")
    op.drop_table("facts")
    op.drop_table("cheat_reports")
    op.drop_index("ix_attempts_miner_hotkey_created_at", table_name="attempts")
    op.drop_index(op.f("ix_attempts_state"), table_name="attempts")
    op.drop_index(op.f("ix_attempts_job_uuid"), table_name="attempts")
    op.drop_table("attempts")
    op.drop_table("access")
