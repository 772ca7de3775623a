"""The API over SQLite and over PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fixtures.validator_api import Api, listening_api


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of this test's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/validator.sqlite3"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def any_api(store_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """The API over SQLite and over PostgreSQL."""
    async with AsyncExitStack() as stack:
        yield await listening_api(stack, store_url, tmp_path)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """The API over SQLite, where the database does not matter."""
    async with AsyncExitStack() as stack:
        yield await listening_api(stack, f"sqlite:///{tmp_path}/validator.sqlite3", tmp_path)
