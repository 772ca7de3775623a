"""What the tables are made of: their types of columns, the names of their keys and indices."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, DateTime, Integer, String, TypeDecorator

NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Instant(TypeDecorator[datetime]):
    """An aware datetime; SQLite keeps it without its zone, so it goes in and comes out as UTC."""

    impl = DateTime(timezone=True)  # type: ignore[mutable-override]  # as SQLAlchemy documents it
    cache_ok = True  # type: ignore[mutable-override]  # as SQLAlchemy documents it

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ANN401
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; instants are stored aware")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:  # noqa: ANN401
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class Name(TypeDecorator[str]):
    """A name that a peer may choose, to be stored or only looked for.

    PostgreSQL takes no NUL, and answers even a question that holds one with an error: it is replaced, so
    such a name is found nowhere.
    """

    impl = String  # type: ignore[mutable-override]  # as SQLAlchemy documents it
    cache_ok = True  # type: ignore[mutable-override]  # as SQLAlchemy documents it

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:  # noqa: ANN401
        return value.replace("\0", "\ufffd") if value and "\0" in value else value


def row_id() -> Column[int]:
    """A number that grows with each row."""
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
