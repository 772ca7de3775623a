"""The statement that both tables of receipts need: the first of its key stands, to be signed by its miner."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite


def imports(table: Table, key: Sequence[str]) -> Mapping[str, Any]:
    """By dialect, the insert of a peer's receipt.

    One that is known by the columns of ``key`` stays as it is, but for the miner's signature: an own receipt,
    stored when it was signed, gets it where the payload is the same.
    """
    return {"sqlite": _import(sqlite, table, key), "postgresql": _import(postgresql, table, key)}


def _import(dialect: Any, table: Table, key: Sequence[str]) -> Any:  # noqa: ANN401  (each has its own insert)
    statement = dialect.insert(table)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=list(key),
        set_={"miner_signature": new.miner_signature},
        where=table.c.miner_signature.is_(None)
        & (table.c.payload_json == new.payload_json)
        & new.miner_signature.is_not(None),
    ).inline()
