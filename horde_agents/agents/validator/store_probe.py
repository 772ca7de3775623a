"""Asks the store now and then whether it still answers, for readiness."""

import asyncio
from dataclasses import dataclass
from typing import Final, NoReturn

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from horde_agents.store.engine import Store

_EVERY_S: Final = 5.0
_PATIENCE_S: Final = 5.0


@dataclass(slots=True)
class StoreProbe:
    """Keeps the answer to the last question."""

    store: Store
    _trouble: str | None = None

    def why_not_ready(self) -> str | None:
        """What is wrong with the store; ``None`` when nothing is."""
        return self._trouble

    async def serve(self) -> NoReturn:
        """Ask for ever."""
        while True:
            self._trouble = await self._ask()
            await asyncio.sleep(_EVERY_S)

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(_PATIENCE_S), self.store.reading() as connection:
                await connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            return f"the store does not answer: {type(error).__name__}"
        return None
