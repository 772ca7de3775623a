"""Weights on their way name the hotkeys that earned them."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column, filled from the results that the rows were stored from."""
    op.add_column(
        "weight_settings", sa.Column("hotkeys_json", sa.Text(), nullable=False, server_default="[]")
    )
    connection = op.get_bind()
    rows = connection.execute(
        sa.text(
            "SELECT w.cycle, w.uids_json, s.result_json FROM weight_settings w "
            "JOIN cycle_scores s ON s.cycle = w.cycle"
        )
    ).all()
    for cycle, uids_json, result_json in rows:
        by_uid = {miner["uid"]: miner["hotkey"] for miner in json.loads(result_json)["miners"]}
        hotkeys = [by_uid[uid] for uid in json.loads(uids_json)]
        connection.execute(
            sa.text("UPDATE weight_settings SET hotkeys_json = :hotkeys WHERE cycle = :cycle"),
            {"hotkeys": json.dumps(hotkeys), "cycle": cycle},
        )
